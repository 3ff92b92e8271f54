//! Trains the predictor of wave fields on one of them, scores it on frames that it never saw, and draws what it does.

#[cfg(test)]
#[path = "../../../tests/mutants/damage.rs"]
mod damage;
mod family;
pub(super) mod kept;
mod latents;
pub(super) mod look;
mod method;
mod obstacle;
mod picture;
mod protocol;
mod rows;
mod scene;
mod score;
mod training;

use crate::command::{CommandLine, spoken};
use crate::file;
use crate::output::{print, shell_word, tell};
use crate::run::{MetricsLog, RunError, RunFolder};
use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Parser, ValueEnum};
use grapheme_optics::field::charge::Breakdown;
use grapheme_optics::spectral::protocol::{Errors, Figure, WARM};
use grapheme_optics::spectral::{Loss, Pattern, Predictor, PredictorSettings};
use kept::{Config, Trained, Wishes};
use look::{Look, look};
use ndarray::Array2;
use picture::{animation, sheet};
use scene::Scene;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use training::TrainingSettings;

/// Trains the predictor of wave fields on one of them and scores it on frames that it never saw.
///
/// The recurrences are fitted in closed form, the attention that corrects them is trained by gradients on frames that they were not
/// fitted to. Then history is cleared, and the first 16 frames of the test only warm it up. The run folder holds config.json,
/// metrics.jsonl, model.safetensors (the trained predictor), events.json (breakdowns of stored error), moments.png and animation.png
/// (an animated PNG). In both pictures, from left to right: the frame with the heaviest wormholes that end in it, the prediction, the
/// absolute error with the isoline of half its maximum, and the stored error with what broke down. Errors are in units of the largest
/// of the test, and drawn by their root. `dashboard` makes a page of it.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// What moves: eleven patterns by formula, or pulses of the wave equation, with or without an obstacle [default: blob]
    #[arg(long, value_enum)]
    pattern: Option<Scene>,
    /// Rows and columns [default: 32]
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=512))]
    size: Option<u16>,
    /// Frames to learn from [default: 500]
    #[arg(long, value_parser = clap::value_parser!(u32).range(40..=100_000))]
    frames: Option<u32>,
    /// Frames to be scored on, with 16 before them [default: 85]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    test: Option<u32>,
    /// Frames of the rollout that is scored; 0 for none [default: 40]
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=10_000))]
    rollout: Option<u32>,
    /// Passes of the attention over its half of the frames; 0 leaves the recurrences alone [default: 2]
    #[arg(long, value_parser = clap::value_parser!(u32).range(..=10_000))]
    passes: Option<u32>,
    /// Learning rate of the attention at its highest [default: 0.003]
    #[arg(long)]
    rate: Option<f64>,
    /// What the attention minimises [default: squared]
    #[arg(long, value_enum)]
    loss: Option<LossName>,
    /// Seed of weights, hashing and random scenes [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// Run folder [default: the first free of runs/PATTERN, runs/PATTERN-2, ...; none with --run]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Go on with the run in --out, to the same bits as if it had never stopped; settings come from the run
    #[arg(long, requires = "out", conflicts_with_all = ["overwrite", "run", "protocol", "pattern", "size", "frames", "test", "rollout",
        "passes", "rate", "loss", "seed"])]
    resume: bool,
    /// Replace the run in --out
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// Score the predictor that another run has trained; --pattern, --test, --rollout and --seed are those of the run unless they are
    /// given
    #[arg(long, value_name = "DIR", conflicts_with_all = ["protocol", "size", "frames", "passes", "rate", "loss"])]
    run: Option<PathBuf>,
    /// Compare instead, see the list. Of the options above --size, --passes and --rate count, and --seed for 2 and obstacle
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,
    /// Seeds of protocol 1, each of which must be as good as the best simple method, and of the latents
    #[arg(long, value_delimiter = ',', default_value = "1,2,3", requires = "protocol")]
    seeds: Vec<u64>,
    /// Sequences of a family to learn from and to be scored on
    #[arg(long, num_args = 2, value_names = ["LEARN", "TEST"], default_values_t = [400, 50], requires = "protocol",
        value_parser = clap::value_parser!(u16).range(2..=2000))]
    sequences: Vec<u16>,
    /// Keep what protocols 1 and 2 found of each pattern in this file, and go on behind what is there
    #[arg(long, value_name = "FILE", requires = "protocol")]
    keep: Option<PathBuf>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Seconds between checkpoints; 0 for one after every step. Does not change the result
    #[arg(long, hide = true)]
    checkpoint_seconds: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  train_spectral
  train_spectral --pattern double_slit --out runs/double_slit
  train_spectral --pattern obstacle --size 48 --passes 4
  train_spectral --pattern bifurcation --loss quantised --json
  train_spectral --out runs/double_slit --resume            go on after an interruption
  train_spectral --run runs/double_slit --pattern chirp     what was trained there, on something else
  train_spectral --protocol 1 --seeds 1,2,3
  train_spectral --protocol 2 --keep rows.jsonl              again, to go on after an interruption
  train_spectral --protocol obstacle --sequences 100 20
  train_spectral --protocol latents --seeds 1,2,3";

/// How predictors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// Eleven patterns, one sequence each: frames 0 to 499, then 10,000 to 10,100
    #[value(name = "1")]
    Sequence,
    /// Eleven patterns, a family of sequences each, of which no two are alike
    #[value(name = "2")]
    Family,
    /// Pulses of the wave equation that run into a square, beside a convolutional network too
    Obstacle,
    /// Whether predictors of the eleven patterns that were trained apart see alike; --seeds says how many of each
    Latents,
}

/// The losses, with the settings that a command has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum LossName {
    /// Squared error: the mean of what can come
    Squared,
    /// Cross-entropy over 15 bins: the most probable value of each place
    Quantised,
    /// Three hypotheses of the whole frame: the most probable one
    Energy,
    /// Squared error, and a discriminator that must not tell predictions from frames
    Adversarial,
}

impl LossName {
    fn settings(self) -> Loss {
        match self {
            Self::Squared => Loss::Squared,
            Self::Quantised => Loss::Quantised { bins: 15 },
            Self::Energy => Loss::Energy { modes: 3, variance: 0.3, penalty: 0.1 },
            Self::Adversarial => Loss::Adversarial { weight: 1.0 },
        }
    }
}

/// Numbers that frames and pictures may take, 4 GB of them.
const MOST_CELLS: usize = 1 << 29;
/// Frames, rules or widths that a setting of the predictor may ask for.
const MOST_OF_A_SETTING: u64 = 1024;
/// Time between two states of a training.
const CHECKPOINT: Duration = Duration::from_secs(60);
const SIZE: usize = 32;
const PASSES: u32 = 2;
const RATE: f64 = 3e-3;

impl Default for Wishes {
    fn default() -> Self {
        let pattern = Scene::Pattern(Pattern::Blob);
        let predictor = PredictorSettings::default();
        Self { pattern, size: SIZE, frames: 500, test: 85, rollout: 40, passes: PASSES, rate: RATE, seed: 1, predictor }
    }
}

impl Wishes {
    /// Whether a run can be made of them.
    ///
    /// # Errors
    /// More frames than can be held; settings that no predictor can have.
    fn check(&self) -> Result<()> {
        let Self { size: n, frames, test, rate, seed, .. } = *self;
        ensure!(rate > 0.0 && rate <= 1.0, "rate {rate}: must be above 0 and at most 1");
        // Of a frame that is scored six maps are kept until the pictures are drawn.
        let cells = [WARM, test].iter().try_fold(0_usize, |sum, &more| sum.checked_add(more));
        let cells = cells.and_then(|scored| scored.checked_mul(6)?.checked_add(frames)?.checked_mul(n)?.checked_mul(n));
        ensure!(
            cells.is_some_and(|cells| cells <= MOST_CELLS),
            "--size {n} with {frames} and {test} frames takes more than 4 GB: lower --size, --frames or --test"
        );
        moderate(&self.predictor)?;
        Predictor::<f32>::new([n, n], self.predictor.clone(), seed)?;
        Ok(())
    }

    /// Those of a run.
    ///
    /// # Errors
    /// A configuration that is damaged, or that no run can be made of.
    pub fn of(run: &RunFolder) -> Result<Self> {
        let Config { spectral: wishes } = run.read_config()?;
        wishes.check().with_context(|| format!("{}: restore the file", run.config().display()))?;
        Ok(wishes)
    }

    /// Frames to learn from, and to be scored on with those before them.
    ///
    /// # Errors
    /// As [`Wishes::check`]; a grid that is too small for the scene.
    pub fn sequences(&self) -> Result<[Vec<Array2<f64>>; 2]> {
        self.check()?;
        self.pattern.sequences(self.size, self.frames, WARM + self.test, self.seed)
    }

    /// Those to be scored on alone.
    ///
    /// # Errors
    /// As [`Wishes::sequences`].
    pub fn test(&self) -> Result<Vec<Array2<f64>>> {
        let [_, test] = Self { frames: 0, ..self.clone() }.sequences()?;
        Ok(test)
    }
}

/// Refuses numbers that no such setting has: room is made for what a file asks for before the rest of it is seen to be wrong.
///
/// # Errors
/// The setting.
fn moderate(settings: &PredictorSettings) -> Result<()> {
    let settings = serde_json::to_value(settings)?;
    let mut all = vec![("predictor".to_owned(), &settings)];
    while let Some((name, value)) = all.pop() {
        match value {
            Value::Object(fields) => all.extend(fields.iter().map(|(key, value)| (format!("{name}.{key}"), value))),
            Value::Array(items) => all.extend(items.iter().map(|value| (name.clone(), value))),
            Value::Number(number) => {
                let is_moderate = number.as_u64().is_none_or(|number| number <= MOST_OF_A_SETTING);
                ensure!(is_moderate, "{name} = {number}: must be at most {MOST_OF_A_SETTING}");
            }
            _ => {}
        }
    }
    Ok(())
}

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        run(&self)
    }
}

fn run(cli: &Cli) -> Result<()> {
    let rate = cli.rate.unwrap_or(RATE);
    ensure!(rate > 0.0 && rate <= 1.0, "--rate {rate}: must be above 0 and at most 1");
    if let Some(protocol) = cli.protocol {
        let (n, seed) = (cli.size.map_or(SIZE, usize::from), cli.seed.unwrap_or(1));
        let training = TrainingSettings { passes: cli.passes.unwrap_or(PASSES), rate, seed };
        let counts @ [learn, test] = [0, 1].map(|i| usize::from(cli.sequences[i]));
        let keep = cli.keep.as_deref();
        ensure!(
            keep.is_none() || matches!(protocol, Protocol::Sequence | Protocol::Family),
            "--keep: only protocols 1 and 2 are kept; leave it out"
        );
        return match protocol {
            Protocol::Sequence => protocol::run(n, &cli.seeds, training, keep, cli.json),
            Protocol::Family => family::run(n, seed, family::Counts { learn, test }, training, keep, cli.json),
            Protocol::Obstacle => obstacle::run(n, counts, training, cli.json),
            Protocol::Latents => latents::run(n, &cli.seeds, training, cli.json),
        };
    }
    let every = cli.checkpoint_seconds.map_or(CHECKPOINT, Duration::from_secs);
    if let Some(from) = &cli.run {
        let from = RunFolder::open(from)?;
        let wishes = cli.wishes(&Wishes::of(&from)?);
        let (predictor, _) = kept::load(&from.model())?;
        let test = wishes.test()?;
        let Some(out) = &cli.out else {
            return tell_of(cli, &wishes, &score(predictor, &test, wishes.rollout)?, None, None);
        };
        let run = cli.folder(out)?;
        run.write_config(&Config { spectral: wishes.clone() })?;
        kept::save(&run.model(), &predictor, wishes.seed, 0)?;
        let log = MetricsLog::open(&run.metrics(), 0)?;
        return finish(cli, &wishes, &run, Trained { predictor, log, seconds: None }, &test);
    }
    let (wishes, run) = match (&cli.out, cli.resume) {
        (Some(out), true) => {
            let run = RunFolder::open(out)?;
            (Wishes::of(&run)?, Some(run))
        }
        _ => (cli.wishes(&Wishes::default()), None),
    };
    // Whatever is refused is refused before a folder is touched.
    let [frames, test] = wishes.sequences()?;
    let run = match run {
        Some(run) => run,
        None => {
            let run = cli.folder(&cli.out.clone().unwrap_or_else(|| free_folder(wishes.pattern)))?;
            run.write_config(&Config { spectral: wishes.clone() })?;
            run
        }
    };
    let trained = kept::train(&run, &wishes, &frames, every)?;
    finish(cli, &wishes, &run, trained, &test)
}

impl Cli {
    /// What is asked for, where nothing is said as `before`.
    fn wishes(&self, before: &Wishes) -> Wishes {
        let mut wishes = before.clone();
        wishes.pattern = self.pattern.unwrap_or(before.pattern);
        wishes.size = self.size.map_or(before.size, usize::from);
        wishes.frames = self.frames.map_or(before.frames, |frames| frames as usize);
        wishes.test = self.test.map_or(before.test, |test| test as usize);
        wishes.rollout = self.rollout.map_or(before.rollout, |rollout| rollout as usize);
        wishes.passes = self.passes.unwrap_or(before.passes);
        wishes.rate = self.rate.unwrap_or(before.rate);
        wishes.seed = self.seed.unwrap_or(before.seed);
        if let Some(loss) = self.loss {
            wishes.predictor.loss = loss.settings();
        }
        wishes
    }

    fn folder(&self, out: &Path) -> Result<RunFolder, RunError> {
        if self.overwrite { RunFolder::overwrite(out) } else { RunFolder::create(out) }
    }
}

fn free_folder(scene: Scene) -> PathBuf {
    let mut free = (1..).map(|i| if i == 1 { scene.name().to_owned() } else { format!("{}-{i}", scene.name()) });
    let free = free.find(|name| !Path::new("runs").join(name).exists());
    Path::new("runs").join(free.unwrap_or_default())
}

/// Scores a trained predictor, and leaves metrics, events and pictures in its run.
fn finish(cli: &Cli, wishes: &Wishes, run: &RunFolder, trained: Trained, test: &[Array2<f64>]) -> Result<()> {
    let Trained { predictor, mut log, seconds } = trained;
    if seconds.is_none() {
        tell("trained already: scoring what was kept");
    }
    let scored = score(predictor, test, wishes.rollout)?;
    scored.look.lines.iter().for_each(|line| log.append(line));
    log.commit()?;
    let events: Vec<_> = scored.look.events.iter().map(event).collect();
    let out = run.path();
    file::replace(&out.join("events.json"), (serde_json::to_string_pretty(&events)? + "\n").as_bytes())?;
    let drawn = sheet(&scored.look.moments).context("moments.png cannot be drawn")?;
    file::replace(&out.join("moments.png"), &drawn)?;
    let drawn = animation(&scored.look.moments).context("animation.png cannot be drawn")?;
    file::replace(&out.join("animation.png"), &drawn)?;
    tell_of(cli, wishes, &scored, seconds, Some(out))
}

/// What a predictor showed on frames that it never saw.
struct Scored {
    look: Look,
    one_step: Vec<Figure>,
    /// Empty where none was asked for.
    rollout: Vec<Figure>,
    trust: f64,
}

fn score(mut predictor: Predictor<f32>, test: &[Array2<f64>], steps: usize) -> Result<Scored> {
    let look = look(&mut predictor, test)?;
    let (one_step, trust) = (look.errors.figures(&predictor), predictor.trust());
    let mut rollout = Vec::new();
    // A rollout that the test is too short for is not scored rather than scored on less.
    if steps > 0 && WARM + steps <= test.len() {
        let mut rolled = Errors::default();
        rolled.rollout(&mut predictor, test, steps)?;
        rollout = rolled.figures(&predictor);
    }
    Ok(Scored { look, one_step, rollout, trust })
}

fn tell_of(cli: &Cli, wishes: &Wishes, scored: &Scored, seconds: Option<f64>, out: Option<&Path>) -> Result<()> {
    let Scored { look, one_step, rollout, trust } = scored;
    let mut said = String::new();
    if cli.json {
        let line = json!({
            "pattern": wishes.pattern,
            "loss": wishes.predictor.loss,
            "one_step": one_step,
            "rollout": rollout,
            "trust": trust,
            "breakdowns": look.events.len(),
            "frames_between_breakdowns": look.waiting(),
            "training_seconds": seconds,
            "prediction_milliseconds": look.milliseconds,
            "out": out,
        });
        writeln!(said, "{line}")?;
    } else {
        write_table(&mut said, "one step ahead", one_step)?;
        if !rollout.is_empty() {
            write_table(&mut said, &format!("rollout of {} frames", wishes.rollout), rollout)?;
        }
        if let Some(seconds) = seconds {
            write!(said, "training {seconds:.1} s, ")?;
        }
        let breakdowns = look.events.len();
        write!(said, "a prediction {:.2} ms, {breakdowns} breakdowns of stored error", look.milliseconds)?;
        writeln!(said, "{}", look.rhythm())?;
        if let Some(out) = out {
            let run = shell_word(&out.to_string_lossy());
            writeln!(said, "pictures in {run}: moments.png, animation.png. Next:")?;
            writeln!(said, "  {} {run}", spoken("dashboard"))?;
            writeln!(said, "  {} --run {run} --seed 2", spoken("train_spectral"))?;
        }
    }
    Ok(print(&said)?)
}

fn event(event: &Breakdown) -> serde_json::Value {
    let Breakdown { step, place: [row, column], size, released } = event;
    json!({ "frame": step, "row": row, "column": column, "cells": size, "released": released })
}

fn write_table(said: &mut String, title: &str, figures: &[Figure]) -> std::fmt::Result {
    writeln!(said, "\nmean squared error, {title}{:>width$}      median", "mean", width = 42 - title.len())?;
    let (own, methods) = figures.split_at(2.min(figures.len()));
    let mut methods: Vec<&Figure> = methods.iter().collect();
    methods.sort_by(|a, b| a.mean.total_cmp(&b.mean));
    for Figure { name, mean, median, .. } in own.iter().chain(methods) {
        writeln!(said, "  {name:<50} {mean:>9.2e}   {median:>9.2e}")?;
    }
    writeln!(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::time::Instant;

    #[test]
    fn mutants_of_the_configuration_are_refused_by_line_or_setting_or_read() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::create(folder.path()).unwrap();
        run.write_config(&Config { spectral: Wishes::default() }).unwrap();
        let whole = file::read(&run.config()).unwrap();
        Wishes::of(&run).unwrap();
        let (each, mut refused) = (damage::count(300), 0);
        for seed in 0..each {
            std::fs::write(run.config(), damage::mutant(&whole, &(0..whole.len()), seed)).unwrap();
            let clock = Instant::now();
            if let Err(error) = Wishes::of(&run) {
                let message = format!("{error:#}");
                assert!(message.contains("config.json") && message.len() < 2000, "mutant {seed}: {message}");
                refused += 1;
            }
            assert!(clock.elapsed() < Duration::from_secs(5), "mutant {seed} takes {:?}", clock.elapsed());
        }
        println!("config.json: {refused} of {each} mutants refused");
        assert!(refused > each / 4, "{refused}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        for name in LossName::value_variants() {
            name.settings().check().unwrap();
        }
    }
}
