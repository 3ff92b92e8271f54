//! Compares the ways to take a gradient through a discrete morph, with an exact judge and in training.

use crate::command::CommandLine;
use crate::comparison::curves::{Curve, CurveData, ending, train, write_pairs};
use crate::comparison::judge::{JudgeSettings, Judged, SUBJECTS, judge};
use crate::comparison::picture::draw;
use crate::data::{BadLines, Example, Loader, Split};
use crate::estimator::EstimatorName;
use crate::file;
use crate::objective::LossName;
use crate::output::print;
use crate::progress::Progress;
use crate::proof::pairs::PAIRS;
use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Parser};
use peak_alloc::PeakAlloc;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// Compares the ways to take a gradient through merges that are all or nothing.
///
/// First the judge: on texts so short that all choices can be gone through, the bias, variance and cosine of each estimator's
/// gradient, for every block of parameters, against its own enumerated objective and against the gradient of the expected
/// loss; and what a gradient costs. Then training: the same model on the same data under each estimator, on three pairs, on
/// one-digit problems of level 1 of the curriculum, to be learned by heart, and on 1,000 Hungarian words and their sounds,
/// scored on 200 others. Writes judged.json, curves.json and estimators.svg. Exit code 0 only if
/// the marginal equals its enumeration, the mean of the sampled gradients lies within its noise of the exact one, and every
/// training came to its end.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// Gradients of the estimator that samples, for its mean and its variance
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..))]
    calls: u32,
    /// Trainings for each estimator and each data set
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Only the judge, no training
    #[arg(long)]
    judge_only: bool,
    /// A short look: fewer gradients, one seed, the three pairs alone
    #[arg(long)]
    quick: bool,
    /// Folder of the curriculum
    #[arg(long, default_value = "data/generated")]
    curriculum: PathBuf,
    /// Folder with hun_train.tsv and hun_dev.tsv [default: $GRAPHEME_DATA/g2p; without it that part is skipped]
    #[arg(long)]
    words: Option<PathBuf>,
    /// Threads; 0 for one a core. Does not change the figures besides times
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Folder for figures, picture and runs
    #[arg(long, default_value = "runs/estimators")]
    out: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  compare_estimators                              all of it
  compare_estimators --quick                      a short look
  compare_estimators --judge-only --calls 10000   bias and variance alone, more exactly
  compare_estimators --json --out runs/compared";

/// Steps of descent before the judge looks a second time.
const TRAINED: usize = 300;

#[derive(Serialize)]
struct Summary<'a> {
    passed: bool,
    complaints: &'a [String],
    judged: Vec<Line>,
    trained: Vec<Ending>,
    skipped: &'a [String],
    picture: PathBuf,
}

/// The whole gradient in one line; the blocks are in judged.json.
#[derive(Serialize)]
struct Line {
    subject: String,
    trained: usize,
    loss: LossName,
    estimator: String,
    objective: &'static str,
    own_bias: f64,
    own_cosine: f64,
    bias: f64,
    cosine: f64,
    deviation: f64,
    gate_cosine: f64,
    milliseconds: f64,
    kilobytes: Option<f64>,
}

#[derive(Serialize)]
struct Ending {
    data: String,
    estimator: EstimatorName,
    median: f64,
    best: f64,
    worst: f64,
}

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        run(&self)
    }
}

fn run(cli: &Cli) -> Result<()> {
    // What is missing is said before anything is computed, or written.
    let (data, skipped) = if cli.judge_only { Default::default() } else { data(cli)? };
    std::fs::create_dir_all(&cli.out).map_err(file::FileError::of("create", &cli.out))?;
    let judged = judge_all(cli)?;
    let mut curves = Vec::new();
    let seeds = if cli.quick { 1 } else { cli.seeds };
    let examples: usize = data.iter().map(|data| data.examples * data.epochs).sum();
    let progress = Progress::new(examples as u64 * EstimatorName::ALL.len() as u64 * seeds, "examples");
    for data in &data {
        for estimator in EstimatorName::ALL {
            progress.tell(&format!("training on {} under {estimator}, {seeds} seeds", data.name));
            for seed in 1..=seeds {
                let (out, threads) = (cli.out.join("runs"), usize::from(cli.threads));
                curves.push(train(data, estimator, seed, &out, threads, &progress)?);
            }
        }
    }
    drop(progress);
    let picture = cli.out.join("estimators.svg");
    let drawn = draw(&judged, &curves).map_err(|error| anyhow::anyhow!("{}: {error}", picture.display()))?;
    file::replace(&picture, drawn.as_bytes())?;
    file::replace(&cli.out.join("judged.json"), &serde_json::to_vec_pretty(&judged)?)?;
    file::replace(&cli.out.join("curves.json"), &serde_json::to_vec_pretty(&curves)?)?;

    let mut complaints: Vec<String> = judged.iter().filter_map(Judged::complaint).collect();
    for data in &data {
        let unfinished = curves.iter().filter(|curve| curve.data == data.name && curve.wer.len() != data.epochs);
        complaints.extend(unfinished.map(|curve| format!("{} under {} stopped early", curve.data, curve.estimator)));
    }
    let lines: Vec<Line> = judged.iter().map(line).collect();
    let endings = endings(&curves);
    let mut said = String::new();
    if cli.json {
        let passed = complaints.is_empty();
        let summary =
            Summary { passed, complaints: &complaints, judged: lines, trained: endings, skipped: &skipped, picture };
        writeln!(said, "{}", serde_json::to_string(&summary)?)?;
    } else {
        write_tables(&mut said, &lines, &endings)?;
        skipped.iter().try_for_each(|what| writeln!(said, "skipped: {what}"))?;
        writeln!(said, "picture {}, figures by block {}", picture.display(), cli.out.join("judged.json").display())?;
    }
    let printed = print(&said);
    ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(printed?)
}

fn judge_all(cli: &Cli) -> Result<Vec<Judged>> {
    let bytes = |work: &mut dyn FnMut()| {
        let before = PeakAlloc.current_usage();
        PeakAlloc.reset_peak_usage();
        work();
        // It counts where it is the allocator, which is in the binary of this name alone.
        let peak = PeakAlloc.peak_usage();
        (peak > 0).then(|| peak.saturating_sub(before))
    };
    let calls = if cli.quick { 100 } else { cli.calls as usize };
    let subjects = if cli.quick { &SUBJECTS[..1] } else { &SUBJECTS[..] };
    let states = if cli.quick { &[0][..] } else { &[0, TRAINED][..] };
    let losses = [LossName::Words, LossName::Graph];
    let progress = Progress::new((losses.len() * subjects.len() * states.len()) as u64, "cases");
    let mut judged = Vec::new();
    for loss in losses {
        for &subject in subjects {
            for &trained in states {
                progress.tell(&format!("judging {}, {loss} loss, after {trained} steps", subject.name));
                let settings = JudgeSettings { calls, trained, seed: 1 };
                judged.extend(judge(subject, loss, settings, &bytes)?);
                progress.advance(1);
            }
        }
    }
    Ok(judged)
}

/// What to train on, and what is missing.
fn data(cli: &Cli) -> Result<(Vec<CurveData>, Vec<String>)> {
    let folder = cli.out.join("data");
    let mut skipped = Vec::new();
    let set = |name: &str, title: &str, epochs: usize, examples: usize| {
        let file = |part: &str| folder.join(format!("{name}-{part}.tsv"));
        CurveData {
            name: name.to_owned(),
            title: title.to_owned(),
            train: file("train"),
            dev: file("dev"),
            epochs,
            examples,
        }
    };
    let curriculum = if cli.quick { None } else { Some(load(&cli.curriculum.join("train.jsonl"))?) };
    let words = match cli.quick {
        true => None,
        false => cli.words.clone().or_else(|| Some(PathBuf::from(std::env::var_os("GRAPHEME_DATA")?).join("g2p"))),
    };
    let words = words
        .map(|folder| -> Result<_> { Ok([load(&folder.join("hun_train.tsv"))?, load(&folder.join("hun_dev.tsv"))?]) });
    let words = words.transpose()?;
    std::fs::create_dir_all(&folder).map_err(file::FileError::of("create", &folder))?;
    // An epoch of three examples would be a single step.
    let times = 50;
    let pairs = set("pairs", "three pairs, such as abc to ab", 20, times * PAIRS.len());
    let texts = PAIRS.map(|(input, target)| (input.to_owned(), target.to_owned()));
    write_pairs(&pairs.train, &texts, times)?;
    write_pairs(&pairs.dev, &texts, 1)?;
    let mut all = vec![pairs];
    let Some(examples) = curriculum else { return Ok((all, skipped)) };
    // Held-out arithmetic is learned under no estimator; whether it can be learned by heart tells them apart.
    let of_one_digit = |example: &&Example| {
        let mut operands = example.input.split(|c: char| !c.is_ascii_digit());
        example.level == Some(1) && operands.all(|digits| digits.len() <= 1)
    };
    let pairs: Vec<_> = examples.examples().iter().filter(of_one_digit).map(pair).collect();
    let times = 3;
    let level = set("level-1", "level 1: one-digit arithmetic, by heart", 40, times * pairs.len());
    write_pairs(&level.train, &pairs, times)?;
    write_pairs(&level.dev, &pairs, 1)?;
    all.push(level);
    match words {
        Some([train, dev]) => {
            let [learn, test] = [1000, 200];
            let examples = learn.min(train.examples().len());
            let hungarian = set("hungarian", "Hungarian pronunciation, new words", 12, examples);
            for (split, to, most) in [(train, &hungarian.train, learn), (dev, &hungarian.dev, test)] {
                write_pairs(to, &split.examples().iter().take(most).map(pair).collect::<Vec<_>>(), 1)?;
            }
            all.push(hungarian);
        }
        None => skipped.push("Hungarian, as neither --words nor GRAPHEME_DATA names a folder".to_owned()),
    }
    Ok((all, skipped))
}

fn load(file: &Path) -> Result<Split> {
    let loader = Loader { bad_lines: BadLines::Stop, ..Loader::default() };
    loader.file(file).context("the examples to train on cannot be used")
}

fn pair(example: &Example) -> (String, String) {
    (example.input.clone(), example.target.clone())
}

fn line(judged: &Judged) -> Line {
    let (own, whole) = (judged.own_whole(), judged.expectation_whole());
    Line {
        subject: judged.subject.clone(),
        trained: judged.trained,
        loss: judged.loss,
        estimator: judged.estimator.clone(),
        objective: judged.objective,
        own_bias: own.bias,
        own_cosine: own.cosine,
        bias: whole.bias,
        cosine: whole.cosine,
        deviation: whole.variance.sqrt(),
        gate_cosine: judged.gate_cosine(),
        milliseconds: judged.milliseconds,
        kilobytes: judged.bytes.map(|bytes| bytes as f64 / 1024.0),
    }
}

fn endings(curves: &[Curve]) -> Vec<Ending> {
    let mut endings: Vec<Ending> = Vec::new();
    for curve in curves {
        let Curve { data, estimator, .. } = curve;
        if endings.iter().any(|known| (&known.data, known.estimator) == (data, *estimator)) {
            continue;
        }
        let own: Vec<&Curve> =
            curves.iter().filter(|other| (&other.data, other.estimator) == (data, *estimator)).collect();
        let (median, best, worst) = ending(&own);
        endings.push(Ending { data: data.clone(), estimator: *estimator, median, best, worst });
    }
    endings
}

fn write_tables(said: &mut String, lines: &[Line], endings: &[Ending]) -> fmt::Result {
    let mut group = None;
    for line in lines {
        let now = (line.loss, line.subject.as_str(), line.trained);
        if group.replace(now) != Some(now) {
            writeln!(said, "\n{} loss, {}, after {} steps", line.loss, line.subject, line.trained)?;
            writeln!(
                said,
                "{:<23} {:<15} {:>9} {:>7}   {:>9} {:>7} {:>7} {:>8} {:>8} {:>8}",
                "estimator", "own objective", "bias", "cosine", "bias E[L]", "cosine", "gates", "st.dev.", "ms", "kB"
            )?;
        }
        let kilobytes = line.kilobytes.map_or("-".to_owned(), |kilobytes| format!("{kilobytes:.0}"));
        writeln!(
            said,
            "{:<23} {:<15} {:>9.2e} {:>7.4}   {:>9.2e} {:>7.4} {:>7.4} {:>8.3} {:>8.3} {:>8}",
            line.estimator,
            line.objective,
            line.own_bias,
            line.own_cosine,
            line.bias,
            line.cosine,
            line.gate_cosine,
            line.deviation,
            line.milliseconds,
            kilobytes
        )?;
    }
    if !endings.is_empty() {
        writeln!(
            said,
            "\nword error rate after the last epoch, %\n{:<12} {:<23} median   best  worst",
            "data", "estimator"
        )?;
    }
    for Ending { data, estimator, median, best, worst } in endings {
        writeln!(said, "{data:<12} {:<23} {median:>6.1} {best:>6.1} {worst:>6.1}", estimator.to_string())?;
    }
    writeln!(said)
}
