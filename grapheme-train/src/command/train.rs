//! Trains a model from pairs of texts.

use crate::command::CommandLine;
use crate::command::interrupt::Interrupt;
use crate::command::{node_field, spoken};
use crate::data::BadLines;
use crate::estimator::EstimatorName;
use crate::event::{Event, Listener};
use crate::file;
use crate::job::{self, Existing, Job};
use crate::lanes::Lanes;
use crate::locate::line_of;
use crate::memory;
use crate::output::{print, shell_word, tell};
use crate::prepare::{Prepared, Source, Wishes, prepare_members};
use crate::screen::{Screen, duration};
use crate::trainer::{Reachable, TrainError, Trainer};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, Parser};
use grapheme_core::layers::RoundKind;
use grapheme_core::{GraphTransformNet, param};
use grapheme_optics::{Layout, Optics, OpticsError, OpticsSettings};
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Trains a model from pairs of texts: two columns of a TSV file, or "input" and "target" of JSON lines.
///
/// Without arguments it learns data/generated. The run folder holds config.json, metrics.jsonl, model.safetensors (the
/// best weights on dev) and state.safetensors (what --resume needs). Same options, same bits, whatever the threads.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// Folder with train.* and dev.* (.tsv or .jsonl) [default: data/generated]
    #[arg(long, conflicts_with_all = ["train", "dev"])]
    data: Option<PathBuf>,
    /// Training examples; goes with --dev
    #[arg(long, requires = "dev")]
    train: Option<PathBuf>,
    /// Held-out examples, which choose the best weights
    #[arg(long, requires = "train")]
    dev: Option<PathBuf>,
    /// Run folder [default: the first free of runs/NAME, runs/NAME-2, ...]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Go on with the run in --out, to the same bits as if it had never stopped; settings come from the run
    #[arg(long, requires = "out", conflicts_with = "overwrite")]
    resume: bool,
    /// Replace the run in --out
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// Say what would be trained, and how long it would take
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wishes: Wishes,
    /// Models to train and use as one: recurrent, dilated, and with tokens decomposed, in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    members: u16,
    /// Seed of fresh weights, order and dropout
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 for one a core. Does not change the result
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Media that gradients cross between layers, a JSON file or the settings themselves; metrics.jsonl then tells of every
    /// boundary (see doctor)
    #[arg(long, value_name = "FILE|JSON")]
    optics: Option<PathBuf>,
    /// Held-out examples, the first ones, whose nodes are watched: metrics.jsonl then tells eight times an epoch how wrong each node
    /// is, and where a long error breaks down. Does not change the result
    #[arg(long, default_value_t = 0, value_name = "EXAMPLES", value_parser = clap::value_parser!(u16).range(..=1000))]
    watch: u16,
    /// Leave malformed lines out instead of stopping
    #[arg(long)]
    skip_bad: bool,
    /// Seconds between checkpoints within an epoch; 0 for one after every step. Does not change the result
    #[arg(long, hide = true)]
    checkpoint_seconds: Option<u64>,
}

/// What is learned where nothing else is named.
const GENERATED: &str = "data/generated";

const EXAMPLES: &str = "\
Examples:
  train                                                  learn data/generated
  train --train hun_train.tsv --dev hun_dev.tsv          a two-column file
  train --data data/generated --epochs 100 --out runs/a  a folder, longer
  train --graph tree --out runs/trees                    expressions as trees
  train --train a.tsv --dev b.tsv --members 3            three models that are used as one
  train --train a.tsv --dev b.tsv --morphs 2 --edges     two morphs, with learned edges
  train --data data/generated --optics optics.json       through media; {} in the file only watches
  train --optics '{\"layers\": [{\"diffusion\": 0.1}]}'    the same, on the command line
  train --train a.tsv --dev b.tsv --watch 8              tell of the nodes of eight held-out examples
  train --train a.tsv --dev b.tsv --dry-run              units, labels, unreachable examples, expected time
  train --out runs/a --resume                            go on after an interruption";

impl CommandLine for Cli {
    fn run(self, matches: &ArgMatches) -> Result<()> {
        memory::keep();
        self.train(matches)
    }
}

/// What may be said besides --resume.
const OF_A_RESUMED_RUN: [&str; 5] = ["out", "resume", "dry_run", "threads", "checkpoint_seconds"];

impl Cli {
    fn train(&self, matches: &ArgMatches) -> Result<()> {
        let mut screen = Screen::new();
        let mut reopened = match (self.resume, &self.out) {
            (true, Some(out)) => Some(job::reopen(out)?),
            _ => None,
        };
        if let (Some(flags), Some([first, ..])) = (ignored(matches), reopened.as_deref_mut()) {
            let config = first.run.config();
            first.prepared.warnings.push(format!("{flags} ignored: the run goes on as {} says", config.display()));
        }
        let fresh = if reopened.is_none() { self.prepare()? } else { Vec::new() };
        let members: Vec<&Prepared> = reopened.iter().flatten().map(|job| &job.prepared).chain(&fresh).collect();
        for prepared in &members {
            for message in &prepared.warnings {
                screen.hear(&Event::Warning { message: message.clone() });
            }
        }
        let threads = usize::from(self.threads);
        // Whatever is refused is refused before a folder is touched.
        for prepared in &members {
            job::trainer(prepared, threads)?;
            optics_of(prepared).map_err(|error| self.in_optics(error))?;
        }
        members.iter().flat_map(|prepared| &prepared.notes).for_each(|note| tell(note));
        if self.dry_run {
            return members.iter().try_for_each(|prepared| describe(prepared, job::trainer(prepared, threads)?));
        }
        let out = self.out.clone().unwrap_or_else(|| self.free_folder());
        let existing = if self.overwrite { Existing::Replace } else { Existing::Refuse };
        let jobs = match reopened {
            Some(jobs) => jobs,
            None => job::begin(&out, fresh, existing)?,
        };
        let interrupt = Interrupt::listen()?;
        for (i, job) in jobs.iter().enumerate() {
            if jobs.len() > 1 {
                tell(&format!("Member {} of {}: {}", i + 1, jobs.len(), summary(&job.prepared)));
            }
            self.train_one(job, threads, &interrupt, &mut screen).map_err(|error| match error.downcast_ref() {
                Some(TrainError::Stopped { step }) => interrupt.stopped(format!(
                    "{step} steps are kept; go on with  {} --resume --out {}",
                    spoken("train"),
                    shell_word(&out.to_string_lossy())
                )),
                _ => error,
            })?;
        }
        drop((screen, interrupt));
        finish(&out, &jobs, &Lanes::new(threads)?)
    }

    fn train_one(&self, job: &Job, threads: usize, interrupt: &Interrupt, screen: &mut Screen) -> Result<()> {
        let mut trainer = job::trainer(&job.prepared, threads)?.watching(node_field::instrument)?;
        trainer.stop_when(interrupt.asked());
        if let Some(seconds) = self.checkpoint_seconds {
            trainer.checkpoint_every(Duration::from_secs(seconds));
        }
        let config = &job.prepared.config;
        match optics_of(&job.prepared)? {
            None => trainer.run(&job.run, true, screen)?,
            Some(settings) => {
                let make = |net: &_| Optics::new(settings, &config.model.network, net, config.training.seed);
                trainer.through(make)?.run(&job.run, true, screen)?
            }
        };
        Ok(())
    }

    /// The settings of --optics, read whole.
    fn optics(&self) -> Result<Option<serde_json::Value>> {
        let Some(text) = self.optics_text()? else { return Ok(None) };
        let settings: OpticsSettings =
            serde_json::from_slice(&text).map_err(|error| {
            let name = self.optics_name();
            anyhow!("{name}: {error}; media are written like {{\"layers\": [{{\"diffusion\": 0.1}}]}}, and {{}} only watches")
        })?;
        Ok(Some(serde_json::to_value(settings)?))
    }

    /// What --optics gives: its file, or the settings themselves.
    fn optics_text(&self) -> Result<Option<Vec<u8>>> {
        let Some(given) = &self.optics else { return Ok(None) };
        Ok(Some(match given.to_str() {
            Some(settings) if settings.trim_start().starts_with('{') => settings.as_bytes().to_vec(),
            _ => file::read(given)?,
        }))
    }

    /// An error in what media are set to, with its file and, where one setting is at fault, its line.
    fn in_optics(&self, error: anyhow::Error) -> anyhow::Error {
        let text = self.optics_text().ok().flatten().and_then(|text| String::from_utf8(text).ok());
        let setting = error.downcast_ref::<OpticsError>().map(|error| &error.setting);
        let line = text.zip(setting).and_then(|(text, setting)| line_of(&text, setting));
        let name = self.optics_name();
        error.context(line.map_or_else(|| name.clone(), |line| format!("{name}:{line}")))
    }

    /// Where the media come from, in messages.
    fn optics_name(&self) -> String {
        match &self.optics {
            Some(given) if given.to_string_lossy().trim_start().starts_with('{') => "--optics".to_owned(),
            Some(file) => file.display().to_string(),
            None => "config.json".to_owned(),
        }
    }

    fn source(&self) -> Source {
        match (&self.train, &self.dev) {
            (Some(train), Some(dev)) => Source::Files { train: train.clone(), dev: dev.clone() },
            _ => Source::Folder(self.data.clone().unwrap_or_else(|| PathBuf::from(GENERATED))),
        }
    }

    fn prepare(&self) -> Result<Vec<Prepared>> {
        if let Some(estimator) = self.wishes.estimator {
            estimator.loss(self.wishes.loss)?;
        }
        let bad_lines = if self.skip_bad { BadLines::Skip } else { BadLines::Stop };
        let source = self.source();
        let optics = self.optics()?;
        let prepared = prepare_members(&source, bad_lines, self.wishes, self.seed, usize::from(self.members));
        let mut prepared = prepared.with_context(|| match &source {
            Source::Folder(folder) if folder == Path::new(GENERATED) => {
                format!("the default data/generated is made by `{}`", spoken("generate").trim_end_matches(" --"))
            }
            _ => "the examples cannot be used".to_owned(),
        })?;
        for Prepared { config, .. } in &mut prepared {
            config.optics.clone_from(&optics);
            config.training.watch = usize::from(self.watch);
        }
        Ok(prepared)
    }

    /// The first free folder of runs/NAME, runs/NAME-2, ...
    fn free_folder(&self) -> PathBuf {
        let source = match &self.train {
            Some(file) => file.file_stem(),
            None => self.data.as_deref().unwrap_or(Path::new(GENERATED)).file_name(),
        };
        let name = source.map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
        let free = (1..).map(|i| if i == 1 { name.clone() } else { format!("{name}-{i}") });
        let mut free = free.map(|name| Path::new("runs").join(name)).filter(|folder| !folder.exists());
        free.next().expect("one of endless names is free")
    }
}

/// The media of a run, checked against its network.
fn optics_of(prepared: &Prepared) -> Result<Option<OpticsSettings>> {
    let Some(settings) = &prepared.config.optics else { return Ok(None) };
    let settings = OpticsSettings::deserialize(settings).context("its optics")?;
    settings.check(&Layout::of(&prepared.config.model.network))?;
    // A batch that is closed several times, or by other gates, has no one complex gradient to carry down.
    match prepared.config.model.estimator {
        EstimatorName::Marginal | EstimatorName::Pathwise => {}
        EstimatorName::Reinforce => bail!("media do not go with --estimator reinforce: use marginal or pathwise"),
        EstimatorName::StraightThrough | EstimatorName::StraightThroughLogit => {
            let simple = !settings.has_phases() && !settings.learns_shares();
            ensure!(simple, "phases and learned shares in --optics need --estimator marginal or pathwise");
        }
    }
    Ok(Some(settings))
}

/// A member in a few words.
fn summary(prepared: &Prepared) -> String {
    let (model, training) = (&prepared.config.model, &prepared.config.training);
    let rounds = model.network.stages.iter().flat_map(|stage| &stage.rounds);
    let recurrent = rounds.clone().filter(|round| matches!(round, RoundKind::Recurrent)).count();
    let edges = rounds.clone().filter(|round| matches!(round, RoundKind::Edges { .. })).count();
    let gated = rounds.count() - recurrent - edges;
    let morphs = model.network.stages.len();
    let more =
        if (morphs, edges) == (1, 0) { String::new() } else { format!(" and {morphs} morphs, {edges} of edges") };
    format!("{gated} gated and {recurrent} recurrent rounds{more}, labels are {}, seed {}", model.units, training.seed)
}

/// The settings that were given with --resume, where those of the run count.
fn ignored(matches: &ArgMatches) -> Option<String> {
    let command = Cli::command();
    let given =
        |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine) && !OF_A_RESUMED_RUN.contains(&id);
    let args = command.get_arguments().filter(|arg| given(arg.get_id().as_str()));
    let flags: Vec<String> = args.filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")).collect();
    (!flags.is_empty()).then(|| flags.join(" "))
}

/// What a dry run says.
fn describe(prepared: &Prepared, trainer: Trainer<'_>) -> Result<()> {
    let Prepared { config, train, dev, .. } = prepared;
    let mut out = String::new();
    let (model, training) = (&config.model, &config.training);
    let reachable = Reachable::new(train.examples(), model);
    let symbols = model.labels.symbols();
    let shown: Vec<&str> = symbols.iter().take(40).map(String::as_str).collect();
    let more = if symbols.len() > shown.len() { " ..." } else { "" };
    writeln!(out, "graphs       each input a {}", model.graph)?;
    writeln!(out, "units        {}", model.units)?;
    writeln!(out, "labels       {} and Copy: {}{more}", symbols.len(), shown.join(" "))?;
    writeln!(out, "train        {}, {} examples", train.path().display(), train.examples().len())?;
    writeln!(out, "dev          {}, {} examples", dev.path().display(), dev.examples().len())?;
    writeln!(out, "unreachable  {} of the training examples", reachable.unreachable.len())?;
    writeln!(out, "slots        {} candidates a node", model.network.stages.last().map_or(1, |stage| stage.slots))?;
    let parameters = trainer.parameters();
    writeln!(out, "parameters   {parameters}, {:.1} MB on disk", parameters as f64 * 4e-6)?;
    let steps = trainer.steps_per_epoch() * training.epochs;
    let seconds = trainer.rehearse(5)?;
    writeln!(out, "steps        {steps} in {} epochs, {:.1} ms each", training.epochs, 1e3 * seconds)?;
    writeln!(out, "time         about {}", duration(seconds * steps as f64))?;
    match peak_memory() {
        Some(bytes) => writeln!(out, "memory       about {:.0} MB", bytes * 1e-6),
        None => writeln!(out, "memory       not known on this system"),
    }?;
    Ok(print(&out)?)
}

/// The most memory that this process has held, after a few steps a fair guess at what training will hold.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}

/// Calibrates, says how well it went, shows an example, and what to type next.
fn finish(run: &Path, jobs: &[Job], lanes: &Lanes<GraphTransformNet<f32>>) -> Result<()> {
    let model = job::calibrate(run, jobs, lanes)?;
    let prepared = &jobs[0].prepared;
    let evaluation = model.evaluate(prepared.dev.examples(), lanes)?;
    let figures = evaluation.score.figures();
    let mut out = String::new();
    let parameters: usize = model.members().iter().map(|member| param::count(&member.net)).sum();
    writeln!(
        out,
        "{}: {parameters} parameters; dev: {:.1}% of {} right, token error rate {:.1}%",
        run.display(),
        figures.exact,
        figures.n,
        figures.ter
    )?;
    let example = &prepared.dev.examples()[0];
    writeln!(out, "{}\t{}\n\nNext:", example.input, evaluation.answers[0].text())?;
    let word = |path: &Path| shell_word(&path.to_string_lossy());
    let (folder, dev) = (word(run), word(prepared.dev.path()));
    let text = shell_word(&example.input);
    let text = if text.starts_with('-') { format!("-- {text}") } else { text };
    let [infer, evaluate] = ["infer", "evaluate"].map(spoken);
    writeln!(out, "  {infer} --run {folder} {text}")?;
    writeln!(out, "  {infer} --run {folder} --explain {text}")?;
    writeln!(out, "  {evaluate} --run {folder} --data {dev}")?;
    Ok(print(&out)?)
}
