//! Trains a model from pairs of texts.

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use grapheme_core::param;
use grapheme_train::data::{BadLines, TargetUnits};
use grapheme_train::estimator::EstimatorName;
use grapheme_train::event::{Event, Listener};
use grapheme_train::objective::LossName;
use grapheme_train::prepare::{Prepared, Source, Wishes, prepare, reload};
use grapheme_train::run::RunFolder;
use grapheme_train::screen::Screen;
use grapheme_train::settings::{Preset, TrainingSettings};
use grapheme_train::trainer::{Reachable, Trainer};
use grapheme_train::transducer::{Transducer, read_config};
use std::path::{Path, PathBuf};

/// Trains a model from pairs of texts: two columns of a TSV file, or "input" and "target" of JSON lines.
///
/// Without arguments it learns data/generated. The run folder holds config.json, metrics.jsonl, model.safetensors (the
/// best weights on dev) and state.safetensors (what --resume needs). Same options, same bits, whatever the threads.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Cli {
    /// Folder with train.* and dev.* (.tsv or .jsonl)
    #[arg(long, default_value = "data/generated", conflicts_with_all = ["train", "dev"])]
    data: PathBuf,
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
    #[arg(long)]
    overwrite: bool,
    /// Say what would be trained, and how long it would take
    #[arg(long)]
    dry_run: bool,
    /// Network and its regularisation
    #[arg(long, value_enum, default_value_t = Preset::Words)]
    preset: Preset,
    /// What is minimised
    #[arg(long, value_enum, default_value_t = LossName::Words)]
    loss: LossName,
    /// How a gradient is taken through the last morph [default: marginal for words, pathwise for graph]
    #[arg(long, value_enum)]
    estimator: Option<EstimatorName>,
    /// What a label stands for
    #[arg(long, value_enum, default_value_t = Units::Auto)]
    units: Units,
    /// Candidates that each node splits into [default: the fewest from 2 that reach nearly every target]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    slots: Option<u16>,
    /// Half width of the band of the assignment, for very long texts [default: every pair]
    #[arg(long)]
    window: Option<usize>,
    /// Features a node [default: the preset's]
    #[arg(long)]
    width: Option<usize>,
    /// Dropout of messages, in [0, 1) [default: the preset's]
    #[arg(long)]
    dropout: Option<f64>,
    /// Seed of fresh weights, order and dropout
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 for one a core. Does not change the result
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Passes over the training examples
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Stop after so many minutes; the learning rate then falls with the clock
    #[arg(long)]
    minutes: Option<f64>,
    /// Examples a step
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Examples a lane, the unit of work of a thread; part of the result, as the order of sums depends on it
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    lane: u32,
    /// Highest learning rate
    #[arg(long, default_value_t = 3e-3)]
    rate: f64,
    /// Largest norm of a gradient
    #[arg(long, default_value_t = 2.0)]
    clip: f64,
    /// Epochs without a better dev figure before training stops; 0 for never
    #[arg(long, default_value_t = 0)]
    patience: usize,
    /// Leave malformed lines out instead of stopping
    #[arg(long)]
    skip_bad: bool,
}

const EXAMPLES: &str = "\
Examples:
  train                                                  learn data/generated
  train --train hun_train.tsv --dev hun_dev.tsv          a two-column file
  train --data data/generated --epochs 100 --out runs/a  a folder, longer
  train --train a.tsv --dev b.tsv --dry-run              units, labels, unreachable examples, expected time
  train --out runs/a --resume                            go on after an interruption";

#[derive(Clone, Copy, ValueEnum)]
enum Units {
    /// Proposed from the training targets, and said
    Auto,
    /// What stands between spaces
    Tokens,
    /// Grapheme clusters
    Graphemes,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let mut screen = Screen::new();
    let (run, prepared) = if cli.resume {
        let run = RunFolder::open(cli.out.as_deref().expect("clap requires --out"))?;
        let prepared = reload(read_config(&run)?, run.path())?;
        (Some(run), prepared)
    } else {
        (None, cli.prepare()?)
    };
    for note in &prepared.notes {
        eprintln!("{note}");
    }
    for message in &prepared.warnings {
        screen.hear(&Event::Warning { message: message.clone() });
    }
    let Prepared { config, train, dev, .. } = &prepared;
    let mut trainer = Trainer::new(config, train.examples(), dev.examples(), cli.threads)?;
    if cli.dry_run {
        return describe(&prepared, trainer);
    }
    let run = match run {
        Some(run) => run,
        None => {
            let run = cli.folder()?;
            run.write_config(config)?;
            run
        }
    };
    trainer.run(&run, cli.resume, &mut screen)?;
    drop(screen);
    finish(&run, &prepared)
}

impl Cli {
    fn source(&self) -> Source {
        match (&self.train, &self.dev) {
            (Some(train), Some(dev)) => Source::Files { train: train.clone(), dev: dev.clone() },
            _ => Source::Folder(self.data.clone()),
        }
    }

    fn prepare(&self) -> Result<Prepared> {
        let positive = |name: &str, value: Option<f64>| match value {
            Some(value) if !(value > 0.0 && value.is_finite()) => bail!("--{name} {value}: must be a positive number"),
            _ => Ok(()),
        };
        positive("minutes", self.minutes)?;
        positive("clip", Some(self.clip))?;
        let estimator = self.estimator;
        if self.loss == LossName::Graph && estimator == Some(EstimatorName::Marginal) {
            bail!("--loss graph has no exact marginal: use --estimator pathwise, or --loss words");
        }
        let units = match self.units {
            Units::Auto => None,
            Units::Tokens => Some(TargetUnits::Tokens),
            Units::Graphemes => Some(TargetUnits::Graphemes),
        };
        let wishes = Wishes {
            preset: self.preset,
            units,
            slots: self.slots.map(usize::from),
            loss: self.loss,
            estimator,
            window: self.window,
            width: self.width,
            dropout: self.dropout,
        };
        let mut training = TrainingSettings {
            seed: self.seed,
            epochs: self.epochs as usize,
            minutes: self.minutes,
            batch: self.batch as usize,
            lane: self.lane as usize,
            clip: self.clip,
            patience: self.patience,
            ..TrainingSettings::default()
        };
        training.schedule.peak = self.rate;
        let bad_lines = if self.skip_bad { BadLines::Skip } else { BadLines::Stop };
        let source = self.source();
        let prepared = prepare(&source, bad_lines, wishes, training);
        prepared.with_context(|| match &source {
            Source::Folder(folder) if folder == Path::new("data/generated") => {
                "the default data/generated is made by `cargo run --bin generate`, in the project's folder".to_owned()
            }
            _ => "the examples cannot be used".to_owned(),
        })
    }

    /// The folder to train in.
    fn folder(&self) -> Result<RunFolder> {
        if let Some(out) = &self.out {
            return Ok(if self.overwrite { RunFolder::overwrite(out)? } else { RunFolder::create(out)? });
        }
        let source = match &self.train {
            Some(file) => file.file_stem(),
            None => self.data.file_name(),
        };
        let name = source.map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
        let free = (1..).map(|i| if i == 1 { name.clone() } else { format!("{name}-{i}") });
        let mut free = free.map(|name| Path::new("runs").join(name)).filter(|folder| !folder.exists());
        Ok(RunFolder::create(free.next().expect("one of endless names is free"))?)
    }
}

/// What a dry run says.
fn describe(prepared: &Prepared, trainer: Trainer<'_>) -> Result<()> {
    let Prepared { config, train, dev, .. } = prepared;
    let (model, training) = (&config.model, &config.training);
    let reachable = Reachable::new(train.examples(), model);
    let symbols = model.labels.symbols();
    let shown: Vec<&str> = symbols.iter().take(40).map(String::as_str).collect();
    let more = if symbols.len() > shown.len() { " ..." } else { "" };
    println!("units        {}", model.units);
    println!("labels       {} and Copy: {}{more}", symbols.len(), shown.join(" "));
    println!("train        {}, {} examples", train.path().display(), train.examples().len());
    println!("dev          {}, {} examples", dev.path().display(), dev.examples().len());
    println!("unreachable  {} of the training examples", reachable.unreachable.len());
    println!("slots        {} candidates a node", model.network.stages.last().map_or(1, |stage| stage.slots));
    let parameters = trainer.parameters();
    println!("parameters   {parameters}, {:.1} MB on disk", parameters as f64 * 4e-6);
    let steps = trainer.steps_per_epoch() * training.epochs;
    let seconds = trainer.rehearse(5)?;
    println!("steps        {steps} in {} epochs, {:.1} ms each", training.epochs, 1e3 * seconds);
    println!("time         about {}", duration(seconds * steps as f64));
    match peak_memory() {
        Some(bytes) => println!("memory       about {:.0} MB", bytes * 1e-6),
        None => println!("memory       not known on this system"),
    }
    Ok(())
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The most memory that this process has held, after a few steps a fair guess at what training will hold.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}

/// Says how well it went, shows an example, and what to type next.
fn finish(run: &RunFolder, prepared: &Prepared) -> Result<()> {
    let model = Transducer::load(run)?;
    let lanes = grapheme_train::lanes::Lanes::new(0)?;
    let evaluation = model.evaluate(prepared.dev.examples(), &lanes)?;
    let figures = evaluation.score.figures();
    println!(
        "{}: {} parameters; dev: {:.1}% of {} right, token error rate {:.1}%",
        run.path().display(),
        param::count(&model.net),
        figures.exact,
        figures.n,
        figures.ter
    );
    let example = &prepared.dev.examples()[0];
    println!("{}\t{}", example.input, evaluation.predictions[0]);
    let folder = run.path().display();
    println!("\nNext:");
    println!("  cargo run --bin infer -- --run {folder} {:?}", example.input);
    println!("  cargo run --bin infer -- --run {folder} --explain {:?}", example.input);
    println!("  cargo run --bin evaluate -- --run {folder} --data {}", prepared.dev.path().display());
    Ok(())
}
