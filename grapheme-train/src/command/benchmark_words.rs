//! Trains and scores one model, or a set, for every language of a folder.

use crate::command::CommandLine;
use crate::command::interrupt::Interrupt;
use crate::data::{BadLines, Example, Loader, Split, two_columns};
use crate::distillation::Distillation;
use crate::ensemble::Ensemble;
use crate::event::{Event, Listener};
use crate::file::{self, FileError};
use crate::job::{self, Existing};
use crate::lanes::Lanes;
use crate::memory;
use crate::output::{print, tell};
use crate::prepare::{Source, Wishes, prepare_members};
use crate::progress::Progress;
use crate::run::lock;
use crate::screen::left;
use crate::trainer::TrainError;
use anyhow::{Context, Result, bail, ensure};
use clap::{ArgMatches, Parser};
use grapheme_core::{Stream, param};
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Trains and scores one model, or a set, for every LANG_train.tsv and LANG_dev.tsv of a folder, and prints a table.
///
/// Each result goes to results.json in --out as soon as it is there; the same command again goes on where it was stopped.
/// The error rates are those of the weights that did best on the dev set, on that set. With --against the exit code is
/// not 0 if the mean over languages and seeds got worse.
#[derive(Clone, Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// Folder with LANG_train.tsv and LANG_dev.tsv
    #[arg(long)]
    data: PathBuf,
    /// Where runs and results.json go
    #[arg(long, default_value = "runs/words")]
    out: PathBuf,
    /// Languages, parted by commas [default: all that the folder has]
    #[arg(long, value_delimiter = ',')]
    languages: Vec<String>,
    /// Seeds, parted by commas
    #[arg(long, value_delimiter = ',', default_value = "1")]
    seeds: Vec<u64>,
    /// Models a language, used as one
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    members: u16,
    /// Score one model that is taught by the set, instead of the set
    #[arg(long)]
    student: bool,
    /// Learn from so many words alone, drawn by the seed [default: all]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    words: Option<u32>,
    #[command(flatten)]
    wishes: Wishes,
    /// Threads; 0 for one a core. Does not change the result
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Hold the result against that of another results.json, with the same settings, languages and seeds
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// By how much the mean word error rate may be worse, in percentage points
    #[arg(long, default_value_t = 0.5, requires = "against", value_parser = slack)]
    slack: f64,
    /// Print results.json instead of the table
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  benchmark_words --data \"$GRAPHEME_DATA/g2p\"                                        one model a language
  benchmark_words --data \"$GRAPHEME_DATA/g2p\" --members 3 --seeds 1,2,3 --out runs/sets   sets of three, three times
  benchmark_words --data \"$GRAPHEME_DATA/g2p\" --members 3 --student --out runs/sets         one model taught by a set
  benchmark_words --data \"$GRAPHEME_DATA/g2p\" --words 100 --seeds 1,2,3 --out runs/few     little data
  benchmark_words --data \"$GRAPHEME_DATA/g2p\" --languages hun --against data/words.json        fails if it got worse";

fn slack(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|slack| (0.0..=100.0).contains(slack)).ok_or_else(|| "it must be from 0 to 100".to_owned())
}

/// What came out for one language and seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    /// Word error rate of the set, or of its only member, in percent.
    wer: f64,
    /// Token error rate, in percent.
    ter: f64,
    /// Expected calibration error, in percent.
    ece: f64,
    /// Word error rate of each member.
    members: Vec<f64>,
    /// Scalars of all members.
    parameters: usize,
    /// Wall-clock time of training, in seconds; too low for a run that was stopped and gone on with.
    seconds: f64,
}

/// By language and seed.
type Known = BTreeMap<String, BTreeMap<u64, Outcome>>;

/// By settings.
type Results = BTreeMap<String, Known>;

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        memory::keep();
        self.benchmark()
    }
}

impl Cli {
    fn benchmark(&self) -> Result<()> {
        let languages = self.languages()?;
        let file = self.out.join("results.json");
        let settings = self.settings();
        // Before hours of training, whether there is something to hold it against.
        let baseline = self.against.as_ref().map(|path| self.baseline(path, &settings, &languages)).transpose()?;
        let wanted: Vec<(u64, &String)> =
            self.seeds.iter().flat_map(|&seed| languages.iter().map(move |language| (seed, language))).collect();
        let missing = |results: &Results| -> Vec<(u64, &String)> {
            let of = |language: &String| results.get(&settings)?.get(language);
            let is_missing =
                |(seed, language): &(u64, &String)| !of(language).is_some_and(|seeds| seeds.contains_key(seed));
            wanted.iter().copied().filter(is_missing).collect()
        };
        let mut results = known(&file)?;
        let mut locked = None;
        if let Some(&(seed, language)) = missing(&results).first() {
            self.check(language, seed)?;
            std::fs::create_dir_all(&self.out).map_err(FileError::of("create", &self.out))?;
            // Each process writes all results: of two, the later would undo what the other had added.
            locked = Some(lock(&self.out.join(".lock"))?);
            results = known(&file)?;
        }
        let missing = missing(&results);
        let (begun, interrupt) = (Instant::now(), Interrupt::listen()?);
        let stopped = || interrupt.stopped("what was done is kept; the same command goes on from there");
        for (i, &(seed, language)) in missing.iter().enumerate() {
            if interrupt.heard() {
                return Err(stopped());
            }
            let outcome = self.learn(language, seed, &settings, &interrupt);
            let outcome = outcome.map_err(|error| match error.downcast_ref() {
                Some(TrainError::Stopped { .. }) => stopped(),
                _ => error,
            })?;
            let line = format!("{language}, seed {seed}: WER {:.2} in {:.0} s", outcome.wer, outcome.seconds);
            results.entry(settings.clone()).or_default().entry(language.clone()).or_default().insert(seed, outcome);
            let mut json = serde_json::to_vec_pretty(&results)?;
            json.push(b'\n');
            file::replace(&file, &json)?;
            let to_come = missing.len() - i - 1;
            let left = left(begun.elapsed(), i as u64 + 1, to_come as u64);
            tell(&format!("{line}; {} of {} done, {left}", wanted.len() - to_come, wanted.len()));
        }
        drop((interrupt, locked));
        let results = &results[&settings];
        if self.json {
            print(&(serde_json::to_string(results)? + "\n"))?;
        } else {
            print(&table(&languages, results)?)?;
        }
        baseline.map_or(Ok(()), |before| self.judge(before, self.mean(results, &languages)?))
    }

    /// The mean word error rate that a file has for these settings, languages and seeds.
    fn baseline(&self, path: &Path, settings: &str, languages: &[String]) -> Result<f64> {
        let known: Results = serde_json::from_slice(&file::read(path)?)
            .with_context(|| format!("{}: no results.json of this command", path.display()))?;
        let none = BTreeMap::new();
        let mean = self.mean(known.get(settings).unwrap_or(&none), languages);
        mean.with_context(|| format!("{}: nothing to compare \"{settings}\" with", path.display()))
    }

    /// The mean word error rate over languages and seeds.
    fn mean(&self, results: &Known, languages: &[String]) -> Result<f64> {
        let mut sum = 0.0;
        for language in languages {
            for seed in &self.seeds {
                let found = results.get(language).and_then(|seeds| seeds.get(seed));
                sum += found.with_context(|| format!("no result for {language}, seed {seed}"))?.wer;
            }
        }
        Ok(sum / (languages.len() * self.seeds.len()) as f64)
    }

    fn judge(&self, before: f64, now: f64) -> Result<()> {
        tell(&format!("mean WER {now:.2}, {before:.2} in the baseline"));
        ensure!(
            now <= before + self.slack,
            "the mean word error rate is {now:.2} where the baseline has {before:.2}, which is more than --slack {} worse",
            self.slack
        );
        Ok(())
    }

    /// What the results depend on besides language and seed.
    fn settings(&self) -> String {
        let mut name = format!("members-{}", self.members);
        if self.student {
            name.push_str("-student");
        }
        if let Some(words) = self.words {
            let _ = write!(name, "-words-{words}");
        }
        for (wish, value) in self.wishes.named() {
            let _ = write!(name, "-{wish}-{value}");
        }
        name
    }

    fn languages(&self) -> Result<Vec<String>> {
        let folder = &self.data;
        let entries = std::fs::read_dir(folder).map_err(FileError::of("read", folder))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut found: Vec<String> =
            names.filter_map(|name| name.strip_suffix("_train.tsv").map(str::to_owned)).collect();
        found.sort();
        ensure!(!found.is_empty(), "{}: no LANG_train.tsv in this folder; check --data", folder.display());
        if self.languages.is_empty() {
            return Ok(found);
        }
        for wanted in &self.languages {
            if !found.contains(wanted) {
                bail!("{}: no {wanted}_train.tsv; there are {}", folder.display(), found.join(", "));
            }
        }
        Ok(self.languages.clone())
    }

    /// Refuses what no training can be made of, before there is a folder.
    fn check(&self, language: &str, seed: u64) -> Result<()> {
        let [train, dev] = ["train", "dev"].map(|split| self.data.join(format!("{language}_{split}.tsv")));
        let members = prepare_members(&Source::Files { train, dev }, BadLines::Stop, self.wishes, seed, 1)?;
        members.iter().try_for_each(|member| Ok(job::trainer(member, usize::from(self.threads)).map(drop)?))
    }

    fn learn(&self, language: &str, seed: u64, settings: &str, interrupt: &Interrupt) -> Result<Outcome> {
        let path = |split: &str| self.data.join(format!("{language}_{split}.tsv"));
        let out = self.out.join(settings).join(format!("{language}-{seed}"));
        let mut train = path("train");
        if let Some(words) = self.words {
            let loader = Loader { bad_lines: BadLines::Stop, ..Loader::default() };
            let all = loader.file(&train)?;
            let few = draw(all.examples(), words as usize, seed);
            let rows: String =
                few.into_iter().filter_map(|example| two_columns(&example.input, &example.target)).collect();
            std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
            train = out.join("train.tsv");
            file::replace(&train, rows.as_bytes())?;
        }
        if self.student {
            self.teach(&mut train, &out, language, seed, interrupt)?;
        }
        let members = if self.student { 1 } else { self.members };
        let (model, dev, seconds) = self.train(train, path("dev"), &out, seed, members, interrupt)?;
        let lanes = Lanes::new(usize::from(self.threads))?;
        let dev = dev.examples();
        let evaluation = model.evaluate(dev, &lanes)?;
        let mut members = Vec::new();
        for member in model.members() {
            let alone = Ensemble::from(member.clone()).evaluate(dev, &lanes)?;
            members.push(alone.score.figures().wer);
        }
        let figures = evaluation.score.figures();
        let parameters = model.members().iter().map(|member| param::count(&member.net)).sum();
        Ok(Outcome { wer: figures.wer, ter: figures.ter, ece: evaluation.ece, members, parameters, seconds })
    }

    /// Trains a model, or goes on with one that was stopped, and calibrates it: with its dev set, and the seconds that it took.
    fn train(
        &self,
        train: PathBuf,
        dev: PathBuf,
        out: &Path,
        seed: u64,
        members: u16,
        interrupt: &Interrupt,
    ) -> Result<(Ensemble, Arc<Split>, f64)> {
        let started = Instant::now();
        let threads = usize::from(self.threads);
        // A folder that holds a run is one that was stopped, or a teacher's: its result would be known otherwise.
        let mut jobs = if Ensemble::folders(out).is_ok() {
            job::reopen(out)?
        } else {
            let source = Source::Files { train, dev };
            let members = prepare_members(&source, BadLines::Stop, self.wishes, seed, usize::from(members))?;
            // Whatever is refused is refused before there is a run to go on with.
            members.iter().try_for_each(|member| job::trainer(member, threads).map(drop))?;
            job::begin(out, members, Existing::Refuse)?
        };
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        let mut steps = Steps { name: &name, progress: None };
        job::train(&jobs, threads, &mut steps, |_, trainer| trainer.stop_when(interrupt.asked()))?;
        let model = job::calibrate(out, &jobs, &Lanes::new(threads)?)?;
        Ok((model, jobs.swap_remove(0).prepared.dev, started.elapsed().as_secs_f64()))
    }

    /// Lets a set learn from `train`, which becomes the file that its student learns from: see the command `distill`.
    fn teach(&self, train: &mut PathBuf, out: &Path, language: &str, seed: u64, interrupt: &Interrupt) -> Result<()> {
        let lessons = out.join("lessons.tsv");
        if !lessons.exists() {
            let set = Self { student: false, ..self.clone() };
            let folder = self.out.join(set.settings()).join(format!("{language}-{seed}"));
            let dev = self.data.join(format!("{language}_dev.tsv"));
            let (teacher, ..) = self.train(train.clone(), dev, &folder, seed, self.members, interrupt)?;
            let loader = Loader { bad_lines: BadLines::Stop, ..Loader::default() };
            let known = loader.file(&*train)?;
            let distillation = Distillation { seed, ..Distillation::default() };
            let lanes = Lanes::new(usize::from(self.threads))?;
            let progress = OnceLock::new();
            let new = distillation.lessons(&teacher, known.examples(), &lanes, |words| {
                progress.get_or_init(|| Progress::new(words as u64, "words to teach")).advance(1);
            })?;
            drop(progress);
            let known = known.examples().iter().map(|example| (&example.input, &example.target));
            let rows: String =
                known.chain(new.iter().map(|(a, b)| (a, b))).filter_map(|(a, b)| two_columns(a, b)).collect();
            std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
            file::replace(&lessons, rows.as_bytes())?;
        }
        *train = lessons;
        Ok(())
    }
}

/// Says how far a training is.
struct Steps<'a> {
    name: &'a str,
    progress: Option<Progress>,
}

impl Listener for Steps<'_> {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Started { steps, resumed_at, .. } => {
                let progress = Progress::resumed(*resumed_at, *steps, "steps");
                progress.name(self.name);
                self.progress = Some(progress);
            }
            Event::Step { .. } => self.progress.iter().for_each(|progress| progress.advance(1)),
            Event::Finished { .. } => self.progress = None,
            _ => {}
        }
    }
}

/// The results of a file, which may not be there yet.
fn known(file: &Path) -> Result<Results> {
    if !file.exists() {
        return Ok(Results::new());
    }
    serde_json::from_slice(&file::read(file)?)
        .with_context(|| format!("{}: restore the file, or delete it to begin again", file.display()))
}

/// So many of the examples, or all if there are fewer, in their order. A file is often sorted, so its beginning is no sample.
fn draw(examples: &[Example], count: usize, seed: u64) -> Vec<&Example> {
    let mut drawn = sample(&mut Stream::new(seed), examples.len(), count.min(examples.len())).into_vec();
    drawn.sort_unstable();
    drawn.into_iter().map(|i| &examples[i]).collect()
}

/// Languages down, figures across, and the means over languages at the end.
fn table(languages: &[String], results: &Known) -> Result<String> {
    let mut out = String::new();
    writeln!(
        out,
        "| language | seeds | WER | spread | token error | calibration error | each member's WER | seconds |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|")?;
    let row = |out: &mut String, name: &str, of: &[Outcome]| {
        let mean = |value: &dyn Fn(&Outcome) -> f64| of.iter().map(value).sum::<f64>() / of.len() as f64;
        let (low, high) = of.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), outcome| {
            (low.min(outcome.wer), high.max(outcome.wer))
        });
        let members = of.iter().map(|outcome| outcome.members.len()).min().unwrap_or(0);
        let each: Vec<String> =
            (0..members).map(|i| format!("{:.2}", mean(&|outcome: &Outcome| outcome.members[i]))).collect();
        writeln!(
            out,
            "| {name} | {} | {:.2} | {low:.2} to {high:.2} | {:.2} | {:.2} | {} | {:.0} |",
            of.len(),
            mean(&|outcome| outcome.wer),
            mean(&|outcome| outcome.ter),
            mean(&|outcome| outcome.ece),
            each.join(", "),
            mean(&|outcome| outcome.seconds),
        )
    };
    for language in languages {
        let outcomes: Vec<Outcome> = results[language].values().cloned().collect();
        row(&mut out, language, &outcomes)?;
    }
    // The macro average of each seed, so that its spread is that over seeds.
    let seeds: Vec<u64> = results[&languages[0]].keys().copied().collect();
    let macros: Vec<Outcome> = seeds.iter().filter_map(|seed| macro_average(languages, results, *seed)).collect();
    row(&mut out, "macro", &macros)?;
    Ok(out)
}

/// The mean over languages of one seed, if all have it.
fn macro_average(languages: &[String], results: &Known, seed: u64) -> Option<Outcome> {
    let of = languages.iter().map(|language| results[language].get(&seed)).collect::<Option<Vec<_>>>()?;
    let n = of.len() as f64;
    let mean = |value: &dyn Fn(&Outcome) -> f64| of.iter().map(|outcome| value(outcome)).sum::<f64>() / n;
    let members = of.iter().map(|outcome| outcome.members.len()).min()?;
    Some(Outcome {
        wer: mean(&|outcome| outcome.wer),
        ter: mean(&|outcome| outcome.ter),
        ece: mean(&|outcome| outcome.ece),
        members: (0..members).map(|i| mean(&|outcome: &Outcome| outcome.members[i])).collect(),
        parameters: of.iter().map(|outcome| outcome.parameters).max()?,
        seconds: mean(&|outcome| outcome.seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macro_averages_are_over_languages_and_rows_over_seeds() {
        let outcome =
            |wer: f64| Outcome { wer, ter: 1.0, ece: 0.0, members: vec![wer, wer + 1.0], parameters: 7, seconds: 2.0 };
        let languages = ["a", "b"].map(str::to_owned).to_vec();
        let results = BTreeMap::from([
            ("a".to_owned(), BTreeMap::from([(1, outcome(10.0)), (2, outcome(12.0))])),
            ("b".to_owned(), BTreeMap::from([(1, outcome(20.0)), (2, outcome(26.0))])),
        ]);
        let table = table(&languages, &results).unwrap();
        assert!(table.contains("| a | 2 | 11.00 | 10.00 to 12.00 |"), "{table}");
        assert!(table.contains("| macro | 2 | 17.00 | 15.00 to 19.00 | 1.00 | 0.00 | 17.00, 18.00 | 2 |"), "{table}");
    }

    #[test]
    fn words_are_drawn_by_the_seed_and_each_once() {
        let example = |i: usize| Example { id: None, level: None, input: i.to_string(), target: String::new() };
        let examples: Vec<Example> = (0..50).map(example).collect();
        let drawn = |seed| -> Vec<usize> {
            draw(&examples, 20, seed).into_iter().map(|example| example.input.parse().unwrap()).collect()
        };
        assert_eq!(drawn(1).len(), 20);
        assert!(drawn(1).is_sorted_by(|a, b| a < b));
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_eq!(draw(&examples, 100, 1).len(), 50);
    }

    #[test]
    fn a_worse_mean_is_refused_and_a_missing_one_named() {
        let cli = Cli::parse_from(["benchmark_words", "--data", "x", "--seeds", "1,2"]);
        let outcome = |wer: f64| Outcome { wer, ter: 1.0, ece: 0.0, members: vec![], parameters: 7, seconds: 2.0 };
        let mut known = Known::from([("a".to_owned(), BTreeMap::from([(1, outcome(10.0)), (2, outcome(12.0))]))]);
        let languages = ["a".to_owned()];
        assert_eq!(cli.mean(&known, &languages).unwrap(), 11.0);
        cli.judge(11.0, 11.5).unwrap();
        assert!(cli.judge(11.0, 11.51).unwrap_err().to_string().contains("--slack 0.5"));
        known.get_mut("a").unwrap().remove(&2);
        assert_eq!(cli.mean(&known, &languages).unwrap_err().to_string(), "no result for a, seed 2");
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
