//! The classic pipeline against gradient media, on the same data, seeds and budget.

mod picture;
mod row;
mod zspace;

use crate::command::CommandLine;
use crate::data::BadLines;
use crate::ensemble::Ensemble;
use crate::estimator::Crossing;
use crate::file;
use crate::lanes::Lanes;
use crate::objective::Task;
use crate::optim::{AdamW, AdamWSettings, GradientNorm, Optimiser, Sgd, clip};
use crate::output::print;
use crate::prepare::{Prepared, Source, Wishes, prepare};
use crate::progress::Progress;
use crate::settings::Preset;
use crate::transducer::{Transducer, label};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{ArgMatches, Parser};
use grapheme_core::layers::{DropoutKeys, RoundKind};
use grapheme_core::network::StageConfig;
use grapheme_core::{BoundaryFigures, GradientMedium, GraphTransformNet, Media, Stream, param};
use grapheme_optics::settings::{BandSettings, IndexWindow, OpticLayer, Value};
use grapheme_optics::{Optics, OpticsSettings};
use rand::seq::SliceRandom;
use row::{Outcome, Row, read, table};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Trains a network classically and through media: same examples, same seeds, same number of steps, each way of training at
/// six learning rates of which the best by loss counts. Reports loss, dev error and how far the gradient's energy a row spreads
/// over the boundaries.
///
/// With --deep the network is that many plain rounds without residual connections, where gradients vanish or explode by
/// themselves. With --zspace a training that is half over goes on by damped rays of light over its loss, within the subspace of
/// its path, against gradient descent for as many evaluations. Exit code 0 only if every way stayed finite at some rate.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// Folder with train.* and dev.*
    #[arg(long, conflicts_with_all = ["train", "dev"])]
    data: Option<PathBuf>,
    /// Training examples; goes with --dev
    #[arg(long, requires = "dev")]
    train: Option<PathBuf>,
    /// Held-out examples
    #[arg(long, requires = "train")]
    dev: Option<PathBuf>,
    /// Rounds without residual connections, instead of the preset's network
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=512))]
    deep: Option<u16>,
    /// Dimensions of the subspace in which rays are traced, in place of the comparison of media
    #[arg(long, conflicts_with = "only", value_parser = clap::value_parser!(u16).range(1..=64))]
    zspace: Option<u16>,
    /// Evaluations of the loss that each method has, with --zspace
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(2..))]
    evaluations: u32,
    /// Features a node
    #[arg(long, default_value_t = 32)]
    width: usize,
    /// Steps of each run
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Examples a step
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Seeds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Most training and dev examples that are used
    #[arg(long, default_value_t = 2000)]
    examples: usize,
    /// Only the ways whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Threads; 0 for one a core. Does not change the result
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Draw loss curves and energies, as SVG
    #[arg(long, value_name = "FILE", conflicts_with = "zspace")]
    picture: Option<PathBuf>,
    /// Train nothing: show what was printed with --json, later files in place of earlier ones
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["data", "train", "zspace", "only"])]
    show: Vec<PathBuf>,
    /// Print one line of JSON, with the loss curves
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  compare_optics --data data/generated --seeds 3
  compare_optics --train hun_train.tsv --dev hun_dev.tsv --width 64 --steps 600
  compare_optics --data data/drop_last --deep 48 --steps 200 --json
  compare_optics --data data/drop_last --deep 48 --json > deep.json
  compare_optics --show deep.json --picture deep.svg
  compare_optics --data data/generated --zspace 8 --steps 200 --examples 256 --seeds 3";

/// How one way of training moves the weights.
#[derive(Clone, Copy, PartialEq)]
enum Method {
    Sgd,
    AdamW,
}

/// One way of training. Equal effort: each is tried at six learning rates, half a decade apart.
struct Way {
    name: &'static str,
    method: Method,
    clip: f64,
    optics: OpticsSettings,
    rates: [f64; 6],
}

fn ways() -> Vec<Way> {
    let (sgd, banded) = ([0.01, 0.03, 0.1, 0.3, 1.0, 3.0], [3e-3, 0.01, 0.03, 0.1, 0.3, 1.0]);
    let adamw = [3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1];
    let vacuum = OpticsSettings::default();
    let band = BandSettings { boundaries: None, low: 1e-3, high: 4e-3 };
    let band = OpticsSettings { energy_band: Some(band), ..vacuum.clone() };
    let value = Value::Constant;
    let glass = OpticsSettings {
        layers: vec![OpticLayer { transparency: value(0.9), diffusion: value(0.1), ..OpticLayer::default() }],
        indices: vec![IndexWindow { layers: [1, 1], index: value(1.2) }],
        ..vacuum.clone()
    };
    let way = |name, method, clip, optics: &OpticsSettings| Way {
        name,
        method,
        clip,
        optics: optics.clone(),
        // A band sets the size of every gradient, so plain descent needs other rates under it.
        rates: match (method, optics.energy_band.is_some()) {
            (Method::Sgd, false) => sgd,
            (Method::Sgd, true) => banded,
            (Method::AdamW, _) => adamw,
        },
    };
    vec![
        way("sgd", Method::Sgd, f64::INFINITY, &vacuum),
        way("sgd, clipped", Method::Sgd, 2.0, &vacuum),
        way("sgd, energy band", Method::Sgd, f64::INFINITY, &band),
        way("sgd, glass", Method::Sgd, 2.0, &glass),
        way("adamw, clipped", Method::AdamW, 2.0, &vacuum),
        way("adamw, energy band", Method::AdamW, f64::INFINITY, &band),
        way("adamw, glass", Method::AdamW, 2.0, &glass),
    ]
}

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        run(&self)
    }
}

fn run(cli: &Cli) -> Result<()> {
    cli.picture.iter().try_for_each(|path| file::place(path, &cli.show))?;
    if !cli.show.is_empty() {
        return tell_all(cli, &read(&cli.show)?);
    }
    let source = match (&cli.train, &cli.dev) {
        (Some(train), Some(dev)) => Source::Files { train: train.clone(), dev: dev.clone() },
        _ => Source::Folder(cli.data.clone().unwrap_or_else(|| PathBuf::from("data/generated"))),
    };
    let wishes = Wishes { preset: Preset::Tiny, width: Some(cli.width), dropout: Some(0.0), ..Wishes::default() };
    let mut prepared = prepare(&source, BadLines::Stop, wishes, 1).context("the examples cannot be used")?;
    if let Some(rounds) = cli.deep {
        let slots = prepared.config.model.network.stages.last().map_or(2, |stage| stage.slots);
        let rounds = vec![RoundKind::Plain { distance: 1 }; usize::from(rounds)];
        prepared.config.model.network.stages = vec![StageConfig { rounds, slots }];
    }
    let mut lanes = Lanes::new(usize::from(cli.threads))?;
    if let Some(rank) = cli.zspace {
        return rays(cli, &prepared, usize::from(rank), &mut lanes);
    }
    let wanted = |way: &Way| cli.only.as_ref().is_none_or(|only| way.name.contains(only.as_str()));
    let (ways, others): (Vec<Way>, Vec<Way>) = ways().into_iter().partition(wanted);
    if ways.is_empty() {
        let names: Vec<&str> = others.iter().map(|way| way.name).collect();
        let only = cli.only.as_deref().unwrap_or("");
        bail!("--only {only}: no way of training has that in its name; there are {}", names.join("; "));
    }
    let trainings = ways.iter().map(|way| way.rates.len() as u64 + cli.seeds - 1).sum::<u64>();
    let progress = Progress::new(trainings * u64::from(cli.steps), "steps");
    let mut rows = Vec::with_capacity(ways.len());
    for way in &ways {
        rows.push(compare(cli, &prepared, way, &mut lanes, &progress)?);
    }
    drop(progress);
    tell_all(cli, &rows)
}

fn tell_all(cli: &Cli, rows: &[Row]) -> Result<()> {
    if let Some(path) = &cli.picture {
        file::replace(path, picture::draw(rows).map_err(|error| anyhow!("the picture: {error}"))?.as_bytes())?;
    }
    let mut said = String::new();
    if cli.json {
        writeln!(said, "{}", serde_json::to_string(rows)?)?;
    } else {
        table(&mut said, rows)?;
    }
    print(&said)?;
    let broken = rows.iter().find(|row| !row.loss[0].is_finite());
    broken.map_or(Ok(()), |row| Err(anyhow!("{}: the loss is not finite at any learning rate", row.name)))
}

/// The comparison of rays with descent.
fn rays(cli: &Cli, prepared: &Prepared, rank: usize, lanes: &mut Lanes<GraphTransformNet<f32>>) -> Result<()> {
    let rows = zspace::compare(cli, prepared, rank, cli.evaluations as usize, lanes)?;
    let mut said = String::new();
    if cli.json {
        writeln!(said, "{}", serde_json::to_string(&rows)?)?;
    } else {
        writeln!(said, "{:<24} {:>8} {:>17} {:>17}", "way", "rate", "loss", "dev WER")?;
        for zspace::Row { name, rate, loss, wer } in &rows {
            let (loss, wer) = (format!("{:.4} +- {:.3}", loss[0], loss[1]), format!("{:.2} +- {:.2}", wer[0], wer[1]));
            writeln!(said, "{name:<24} {rate:>8} {loss:>17} {wer:>17}")?;
        }
    }
    print(&said)?;
    let broken = rows.iter().find(|row| !row.loss[0].is_finite());
    ensure!(broken.is_none(), "a loss is not finite at any rate: {}", broken.map_or("", |row| row.name));
    Ok(())
}

/// The rate is chosen on the first seed; the other seeds run at that rate.
fn compare(
    cli: &Cli,
    prepared: &Prepared,
    way: &Way,
    lanes: &mut Lanes<GraphTransformNet<f32>>,
    progress: &Progress,
) -> Result<Row> {
    let mut best: Option<Outcome> = None;
    let mut tried = Vec::with_capacity(way.rates.len());
    for rate in way.rates {
        progress.name(format!("{}, rate {rate}", way.name));
        let outcome = train(cli, prepared, way, rate, 1, lanes, progress)?;
        let loss = match outcome.loss.is_finite() {
            true => format!("loss {:.4}", outcome.loss),
            false => "its loss is not finite".to_owned(),
        };
        progress.tell(&format!("{}, rate {rate}: {loss}, dev WER {:.2}", way.name, outcome.wer));
        tried.push((rate, outcome.wer));
        if best.as_ref().is_none_or(|best| !best.loss.is_finite() || outcome.loss < best.loss) {
            best = Some(outcome);
        }
    }
    let first = best.context("there is at least one rate")?;
    let rate = first.rate;
    let mut runs = vec![first];
    for seed in 2..=cli.seeds {
        progress.name(format!("{}, rate {rate}, seed {seed}", way.name));
        runs.push(train(cli, prepared, way, rate, seed, lanes, progress)?);
    }
    let whole = |run: &&Outcome| run.loss.is_finite();
    let of = |figure: &dyn Fn(&Outcome) -> f64| mean_and_deviation(runs.iter().filter(whole).map(figure));
    let spread = of(&|run| run.spread.ln())[0].exp();
    let broken = runs.iter().filter(|run| !run.loss.is_finite()).count();
    Ok(Row {
        name: way.name.to_owned(),
        rate,
        loss: of(&|run| run.loss),
        wer: of(&|run| run.wer),
        spread,
        broken,
        tried,
        runs,
    })
}

fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    let square: f64 = values.map(|x| (x - mean) * (x - mean)).sum();
    [mean, (square / (n - 1.0).max(1.0)).sqrt()]
}

fn train(
    cli: &Cli,
    prepared: &Prepared,
    way: &Way,
    rate: f64,
    seed: u64,
    lanes: &mut Lanes<GraphTransformNet<f32>>,
    progress: &Progress,
) -> Result<Outcome> {
    let spec = &prepared.config.model;
    let mut model = Transducer::new(spec.clone(), seed)?;
    let objective = model.objective();
    let mut media = Optics::new(way.optics.clone(), &spec.network, &model.net, seed)?;
    let mut adamw = AdamW::new(AdamWSettings::default(), &model.net)?;
    let examples = &prepared.train.examples()[..prepared.train.examples().len().min(cli.examples)];
    let (steps, batch) = (cli.steps as usize, (cli.batch as usize).min(examples.len()));
    let (mut curve, mut told): (Vec<f64>, Vec<Vec<f64>>) = (Vec::with_capacity(steps), Vec::with_capacity(steps));
    let mut order: Vec<usize> = Vec::new();
    for step in 0..steps {
        if order.len() < batch {
            order = (0..examples.len()).collect();
            order.shuffle(&mut Stream::new(seed).fork(1).fork(step as u64));
        }
        let members = order.split_off(order.len() - batch);
        let jobs: Vec<&[usize]> = members.chunks(16).collect();
        let stream = Stream::new(seed).fork(2).fork(step as u64);
        let (net, medium) = (&model.net, media.medium());
        let (parts, gradient) = lanes.gradient(net, &jobs, |_, members, gradient| -> Result<_> {
            let (graphs, labelling) = label(members.iter().map(|&i| &examples[i]), spec)?;
            let keys = DropoutKeys::new(&stream, members.iter().map(|&i| i as u64));
            let task = Task { batch: &graphs, labelling: &labelling };
            let mut record = Default::default();
            let pass = Crossing { dropout: Some(&keys), medium, record: &mut record };
            let estimate = estimator(spec, medium).gradient(net, &objective, task, pass, gradient)?;
            Ok((estimate.losses, record))
        })?;
        let (losses, records): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let finite: Vec<f64> = losses.iter().flatten().copied().filter(|loss: &f64| loss.is_finite()).collect();
        let share = 1.0 / finite.len().max(1) as f32;
        param::each_mut(gradient, |_, _, values| values.iter_mut().for_each(|d| *d *= share));
        let figures = media.observe(records);
        told.push(figures.iter().map(behind).collect());
        // Weights that can write no target any more have a gradient of zero, and would stay where they are.
        let is_lost = finite.is_empty();
        if matches!(clip(gradient, way.clip), GradientNorm::NotFinite { .. }) || is_lost {
            curve.push(f64::NAN);
            progress.advance((steps - step) as u64);
            break;
        }
        curve.push(finite.iter().sum::<f64>() * f64::from(share));
        // The rate falls to a tenth, the same for all.
        let rate = rate * 0.1_f64.powf(step as f64 / steps as f64);
        match way.method {
            Method::Sgd => Sgd.step(&mut model.net, gradient, rate),
            Method::AdamW => adamw.step(&mut model.net, gradient, rate),
        }
        progress.advance(1);
    }
    let late = &curve[curve.len() - curve.len().div_ceil(10)..];
    let loss = late.iter().sum::<f64>() / late.len() as f64;
    let dev = &prepared.dev.examples()[..prepared.dev.examples().len().min(cli.examples)];
    let wer = match loss.is_finite() {
        true => Ensemble::from(model).evaluate(dev, lanes)?.score.figures().wer,
        false => 100.0,
    };
    let spreads: Vec<f64> = told.iter().map(|energies| spread(energies)).collect();
    let energies = (0..told[0].len()).map(|b| median(told.iter().map(|energies| energies[b]).collect())).collect();
    Ok(Outcome { seed, rate, loss, wer, first_spread: spreads[0], spread: median(spreads), energies, curve })
}

/// The estimator of a model for a medium whose type only the compiler knows.
fn estimator<M: GradientMedium<f32>>(
    spec: &crate::settings::ModelSpec,
    _: &M,
) -> Box<dyn crate::estimator::Estimator<f32, M>> {
    spec.estimator.build()
}

/// Energy a row behind a boundary.
fn behind(figures: &BoundaryFigures) -> f64 {
    (figures.energy_out + figures.quadrature) / figures.rows.max(1) as f64
}

/// Largest over smallest.
fn spread(energies: &[f64]) -> f64 {
    let (low, high) = energies.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &e| (low.min(e), high.max(e)));
    high / low.max(f64::MIN_POSITIVE)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
