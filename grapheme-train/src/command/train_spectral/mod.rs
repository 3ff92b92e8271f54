//! Trains the predictor of wave fields on one of them, scores it on frames that it never saw, and draws what it does.

mod family;
mod picture;
mod protocol;
mod scene;
mod training;

use crate::file;
use crate::output::{conclude, print, tell};
use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use grapheme_optics::field::charge::{Breakdown, Charge, ChargeSettings};
use grapheme_optics::field::fronts::{isoline, length};
use grapheme_optics::spectral::protocol::{Errors, Figure, WARM};
use grapheme_optics::spectral::{Loss, Predictor, PredictorSettings};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array2;
use picture::{Moment, animation, sheet};
use scene::Scene;
use serde::Serialize;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use training::{TrainingSettings, halves, learn_all};

/// Trains the predictor of wave fields on one of them and scores it on frames that it never saw.
///
/// The recurrences are fitted in closed form, the attention that corrects them is trained by gradients on frames that they were not
/// fitted to. Then history is cleared, and the first 16 frames of the test only warm it up. Writes metrics.jsonl, events.json
/// (breakdowns of stored error), moments.png and animation.png (an animated PNG). In both, from left to right: the frame with
/// the heaviest wormholes that end in it, the prediction, the absolute error with the isoline of half its maximum, and the stored
/// error with what broke down. Errors are in units of the largest of the test, and drawn by their root.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// What moves: eleven patterns by formula, or pulses of the wave equation, with or without an obstacle
    #[arg(long, value_enum, default_value = "blob")]
    pattern: Scene,
    /// Rows and columns
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..=512))]
    size: u16,
    /// Frames to learn from
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(40..=100_000))]
    frames: u32,
    /// Frames to be scored on, with 16 before them
    #[arg(long, default_value_t = 85, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    test: u32,
    /// Frames of the rollout that is scored; 0 for none
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(..=10_000))]
    rollout: u32,
    /// Passes of the attention over its half of the frames; 0 leaves the recurrences alone
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=10_000))]
    passes: u32,
    /// Learning rate of the attention at its highest
    #[arg(long, default_value_t = 3e-3)]
    rate: f64,
    /// What the attention minimises
    #[arg(long, value_enum, default_value = "squared")]
    loss: LossName,
    /// Seed of weights, hashing and random scenes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for figures and pictures
    #[arg(long, default_value = "runs/spectral")]
    out: PathBuf,
    /// Score one model on all eleven patterns beside the simple methods: 1 is one sequence each, frames 0 to 499 and then 10,000 to
    /// 10,100; 2 is a family of sequences each, of which no two are alike. Of the options above --size, --passes and --rate count,
    /// and --seed for 2
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=2))]
    protocol: Option<u8>,
    /// Seeds of protocol 1; each must be as good as the best simple method
    #[arg(long, value_delimiter = ',', default_value = "1,2,3", requires = "protocol")]
    seeds: Vec<u64>,
    /// Sequences of a family to learn from and to be scored on
    #[arg(long, num_args = 2, value_names = ["LEARN", "TEST"], default_values_t = [400, 50], requires = "protocol",
        value_parser = clap::value_parser!(u16).range(2..=2000))]
    sequences: Vec<u16>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  train_spectral
  train_spectral --pattern double_slit --out runs/double_slit
  train_spectral --pattern obstacle --size 48 --passes 4
  train_spectral --pattern bifurcation --loss quantised --json
  train_spectral --protocol 1 --seeds 1,2,3
  train_spectral --protocol 2";

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

/// One line of metrics.jsonl.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    /// One frame of training.
    Train { pass: u32, frame: usize, loss: f64, gradient_norm: f64 },
    /// One frame of the test.
    Test { frame: usize, error: f64, front: f64, stored: f64, breakdowns: usize, trust: f64, passed_gate: f64 },
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    conclude(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    ensure!(cli.rate > 0.0 && cli.rate <= 1.0, "--rate {}: must be above 0 and at most 1", cli.rate);
    let n = usize::from(cli.size);
    if cli.protocol.is_some() {
        let training = TrainingSettings { passes: cli.passes, rate: cli.rate, seed: cli.seed };
        if cli.protocol == Some(1) {
            return protocol::run(n, &cli.seeds, training, cli.json);
        }
        let [learn, test] = [0, 1].map(|i| usize::from(cli.sequences[i]));
        return family::run(n, cli.seed, family::Counts { learn, test }, training, cli.json);
    }
    // Of a frame that is scored six maps are kept until the pictures are drawn.
    let cells = n * n * (cli.frames as usize + 6 * (WARM + cli.test as usize));
    ensure!(
        cells <= MOST_CELLS,
        "--size {n} with {} and {} frames takes {:.0} GB, more than 4: lower --size, --frames or --test",
        cli.frames,
        cli.test,
        cells as f64 * 8e-9
    );
    let [frames, test] = cli.pattern.sequences(n, cli.frames as usize, WARM + cli.test as usize, cli.seed)?;
    std::fs::create_dir_all(&cli.out).map_err(file::FileError::of("create", &cli.out))?;

    let settings = PredictorSettings { loss: cli.loss.settings(), ..PredictorSettings::default() };
    let mut predictor = Predictor::<f32>::new([n, n], settings, cli.seed)?;
    let mut lines = Vec::new();
    let seconds = learn(cli, &mut predictor, &frames, &mut lines)?;

    let look = look(&mut predictor, &test, &mut lines)?;
    let mut rolled = Errors::default();
    // A rollout that the test is too short for is not scored rather than scored on less.
    let steps = cli.rollout as usize;
    let has_rollout = steps > 0 && WARM + steps <= test.len();
    if has_rollout {
        rolled.rollout(&mut predictor, &test, steps)?;
    }

    let text: Vec<String> = lines.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    file::replace(&cli.out.join("metrics.jsonl"), (text.join("\n") + "\n").as_bytes())?;
    let events: Vec<_> = look.events.iter().map(event).collect();
    file::replace(&cli.out.join("events.json"), (serde_json::to_string_pretty(&events)? + "\n").as_bytes())?;
    let drawn = sheet(&look.moments).context("moments.png cannot be drawn")?;
    file::replace(&cli.out.join("moments.png"), &drawn)?;
    let drawn = animation(&look.moments).context("animation.png cannot be drawn")?;
    file::replace(&cli.out.join("animation.png"), &drawn)?;

    let one_step = look.errors.figures(&predictor);
    let rollout = if has_rollout { rolled.figures(&predictor) } else { Vec::new() };
    let mut said = String::new();
    if cli.json {
        let line = json!({
            "pattern": cli.pattern.to_possible_value().map(|value| value.get_name().to_owned()),
            "loss": cli.loss.settings(),
            "one_step": one_step,
            "rollout": rollout,
            "trust": predictor.trust(),
            "breakdowns": look.events.len(),
            "training_seconds": seconds,
            "prediction_milliseconds": look.milliseconds,
            "out": cli.out,
        });
        writeln!(said, "{line}")?;
    } else {
        write_table(&mut said, "one step ahead", &one_step)?;
        if has_rollout {
            write_table(&mut said, &format!("rollout of {steps} frames"), &rollout)?;
        }
        writeln!(
            said,
            "training {seconds:.1} s, a prediction {:.2} ms, {} breakdowns of stored error",
            look.milliseconds,
            look.events.len()
        )?;
        let out = cli.out.display();
        writeln!(
            said,
            "pictures {out}/moments.png, {out}/animation.png; figures {out}/metrics.jsonl, {out}/events.json"
        )?;
    }
    Ok(print(&said)?)
}

/// Learns from the frames, and shows how far it is. Returns the seconds that took.
fn learn(cli: &Cli, predictor: &mut Predictor<f32>, frames: &[Array2<f64>], lines: &mut Vec<Line>) -> Result<f64> {
    let clock = Instant::now();
    let settings = TrainingSettings { passes: cli.passes, rate: cli.rate, seed: cli.seed };
    let (first, second) = halves(frames);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} frames  {per_sec}  {eta} left  {msg}")?;
    let bar = ProgressBar::new(settings.steps(second.len()) as u64).with_style(style);
    tell("fitting the recurrences");
    learn_all(predictor, frames, settings, |step| {
        bar.inc(1);
        bar.set_message(format!("loss {:.4}", step.loss));
        if step.frame + 1 == second.len() && bar.is_hidden() {
            tell(&format!("pass {}/{}  loss {:.4}", step.pass + 1, cli.passes, step.mean_loss));
        }
        let frame = first.len() + step.frame;
        lines.push(Line::Train { pass: step.pass, frame, loss: step.loss, gradient_norm: step.norm });
    })?;
    bar.finish_and_clear();
    Ok(clock.elapsed().as_secs_f64())
}

/// What the test showed.
struct Look {
    errors: Errors,
    moments: Vec<Moment>,
    events: Vec<Breakdown>,
    /// Of one prediction and of taking one frame in.
    milliseconds: f64,
}

fn look(predictor: &mut Predictor<f32>, test: &[Array2<f64>], lines: &mut Vec<Line>) -> Result<Look> {
    let (mut errors, mut seen) = (Errors::default(), Vec::new());
    errors.one_step(predictor, test, |_, prediction, predictor| {
        let (links, share) = predictor.wormholes();
        seen.push((prediction.clone(), links, share, predictor.trust()));
    })?;
    // Again without spectators, as these take longer than the prediction.
    let clock = Instant::now();
    predictor.clear();
    for frame in test {
        predictor.predict();
        predictor.observe(frame)?;
    }
    let milliseconds = clock.elapsed().as_secs_f64() * 1e3 / test.len() as f64;

    // The first frames cannot be predicted, so their errors say nothing of the predictor.
    let maps: Vec<Array2<f64>> =
        seen.iter().zip(test).skip(WARM).map(|((prediction, ..), frame)| (frame - prediction).mapv(f64::abs)).collect();
    let peak = maps.iter().flatten().fold(f64::MIN_POSITIVE, |peak, &e| peak.max(e));
    // In units of the largest error, so that what counts as charged does not depend on how good the predictor is.
    let mut charge = Charge::new([test[0].nrows(), test[0].ncols()], ChargeSettings::default());
    let (mut moments, mut events) = (Vec::new(), Vec::new());
    for ((t, error), (prediction, links, share, trust)) in maps.iter().enumerate().zip(seen.into_iter().skip(WARM)) {
        let broken = charge.observe(&error.mapv(|e| e / peak));
        let top = error.iter().fold(0.0_f64, |top, &e| top.max(e));
        let front = isoline(error, 0.5 * top);
        lines.push(Line::Test {
            frame: WARM + t,
            error: error.mapv(|e| e * e).sum() / error.len() as f64,
            front: length(&front),
            stored: charge.stored().sum(),
            breakdowns: broken.len(),
            trust,
            passed_gate: share,
        });
        moments.push(Moment {
            frame: test[WARM + t].clone(),
            prediction,
            error: error.mapv(|e| e / peak),
            front,
            stored: charge.stored().clone(),
            broken: broken.clone(),
            links,
        });
        events.extend(broken.into_iter().map(|event| Breakdown { step: WARM + t, ..event }));
    }
    Ok(Look { errors, moments, events, milliseconds })
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

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        for name in LossName::value_variants() {
            name.settings().check().unwrap();
        }
    }
}
