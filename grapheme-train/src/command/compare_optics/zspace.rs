//! Damped rays over the loss of a real training, in the subspace of its path.

use super::{Cli, mean_and_deviation};
use crate::data::Example;
use crate::ensemble::Ensemble;
use crate::estimator::Crossing;
use crate::lanes::Lanes;
use crate::objective::Task;
use crate::optim::{AdamW, AdamWSettings, GradientNorm, Optimiser, clip};
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::transducer::{Transducer, label};
use anyhow::{Context, Result, bail};
use grapheme_core::layers::DropoutKeys;
use grapheme_core::{GraphTransformNet, Stream, Vacuum, param};
use grapheme_optics::zspace::{RaySettings, ZSpace, descend, trace};
use serde::Serialize;

type Net = GraphTransformNet<f32>;

/// What both methods are tried at: six learning rates. A ray's step is the square root of one, which moves it as far in its
/// first step, and its damping is such that it keeps nine tenths of its momentum each step.
const RATES: [f64; 6] = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// What one method came to, over the seeds: mean and deviation.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// The rate that was best with the first seed.
    pub(super) rate: f64,
    /// Mean loss of an example that the loss was taken over.
    pub(super) loss: [f64; 2],
    /// Dev word error rate in percent.
    pub(super) wer: [f64; 2],
}

/// One training, half over: the state, the subspace of its path, and the loss whose rays are traced.
struct Half<'a> {
    model: Transducer,
    space: ZSpace<Net>,
    examples: &'a [Example],
    /// How many of them have a finite loss.
    finite: usize,
    /// Counts the examples that are gone through.
    progress: &'a Progress,
}

/// Trains by AdamW for `cli.steps`, keeping the path; then goes on from there for `evaluations` of the loss of the first
/// `cli.examples` examples and its gradient, in four ways: not at all, by gradient descent of all parameters, by gradient
/// descent within the subspace, and by damped rays within it.
pub(super) fn compare(
    cli: &Cli,
    prepared: &Prepared,
    rank: usize,
    evaluations: usize,
    lanes: &mut Lanes<Net>,
) -> Result<Vec<Row>> {
    let examples = prepared.train.examples().len().min(cli.examples) as u64;
    let steps = u64::from(cli.steps) * u64::from(cli.batch).min(examples);
    // Each half looks at all examples at its end and as the start; three ways do at six rates, and at the best with every seed.
    let looks = 2 * cli.seeds + 3 * (RATES.len() as u64 + cli.seeds) * evaluations as u64;
    let progress = Progress::new(cli.seeds * steps + looks * examples, "examples");
    progress.name("the first half");
    let halves = (1..=cli.seeds).map(|seed| half(cli, prepared, rank, seed, lanes, &progress));
    let halves = halves.collect::<Result<Vec<_>>>()?;
    let dev = &prepared.dev.examples()[..prepared.dev.examples().len().min(cli.examples)];
    let mut rows = Vec::new();
    for (name, way) in [
        ("start", None),
        ("descent, all parameters", Some(Way::All)),
        ("descent, subspace", Some(Way::Descent)),
        ("rays, subspace", Some(Way::Rays)),
    ] {
        let mut best: Option<(f64, f64)> = None;
        for rate in RATES {
            let Some(way) = way else { break };
            progress.name(format!("{name}, rate {rate}"));
            let (loss, _) = go(way, &halves[0], rate, evaluations, lanes)?;
            progress.tell(&format!("{name}, rate {rate}: loss {loss:.4}"));
            if loss.is_finite() && best.is_none_or(|(_, least)| loss < least) {
                best = Some((rate, loss));
            }
        }
        let rate = best.map_or(0.0, |(rate, _)| rate);
        progress.name(name);
        let (mut losses, mut errors) = (Vec::new(), Vec::new());
        for half in &halves {
            let (loss, net) = match way {
                Some(way) => go(way, half, rate, evaluations, lanes)?,
                None => (half.loss(&half.model.net, lanes)?.0, half.model.net.clone()),
            };
            let model = Transducer { spec: half.model.spec.clone(), net };
            losses.push(loss);
            errors.push(Ensemble::from(model).evaluate(dev, lanes)?.score.figures().wer);
        }
        let of = |values: &[f64]| mean_and_deviation(values.iter().copied());
        rows.push(Row { name, rate, loss: of(&losses), wer: of(&errors) });
    }
    Ok(rows)
}

#[derive(Clone, Copy)]
enum Way {
    All,
    Descent,
    Rays,
}

/// The loss and the weights behind `evaluations` evaluations.
fn go(way: Way, half: &Half<'_>, rate: f64, evaluations: usize, lanes: &mut Lanes<Net>) -> Result<(f64, Net)> {
    let start = vec![0.0; half.space.rank()];
    let mut failed = None;
    // The landscape knows no errors: the first is kept, and the loss is no number from then on.
    let mut landscape = |z: &[f64]| match half.loss(&half.space.at::<f32>(z), lanes) {
        Ok((loss, gradient)) => (loss, half.space.slope::<f32>(&gradient)),
        Err(error) => {
            failed.get_or_insert(error);
            (f64::NAN, vec![f64::NAN; z.len()])
        }
    };
    let found = match way {
        Way::All => {
            let mut net = half.model.net.clone();
            let mut last = f64::NAN;
            for i in 0..evaluations {
                let (loss, gradient) = half.loss(&net, lanes)?;
                last = loss;
                if i + 1 < evaluations {
                    param::each_pair(&mut net, &gradient, |_, w, d| {
                        w.iter_mut().zip(d).for_each(|(w, d)| *w -= rate as f32 * d);
                    });
                }
            }
            (last, net)
        }
        Way::Descent => {
            let mut places = Vec::with_capacity(evaluations);
            let losses = descend(rate, &start, evaluations, |z| {
                places.push(z.to_vec());
                landscape(z)
            });
            let z = places.last().context("there is at least one evaluation")?;
            (losses.last().copied().unwrap_or(f64::NAN), half.space.at(z))
        }
        Way::Rays => {
            let step = rate.sqrt();
            let settings = RaySettings { step, damping: -(0.9_f64.ln()) / step, surplus: 0.01 };
            let path = trace(settings, &start, evaluations, &mut landscape)?;
            let last = path.last().context("there is at least one evaluation")?;
            (last.loss, half.space.at(&last.z))
        }
    };
    failed.map_or(Ok(found), Err)
}

impl Half<'_> {
    /// The mean loss of an example, and its gradient.
    fn loss(&self, net: &Net, lanes: &mut Lanes<Net>) -> Result<(f64, Net)> {
        let members: Vec<usize> = (0..self.examples.len()).collect();
        let (loss, finite, gradient) = pass(&self.model, net, self.examples, &members, None, lanes)?;
        self.progress.advance(members.len() as u64);
        // What was in reach of the model that was trained is out of reach where weights are beyond all numbers.
        let loss = if finite < self.finite { f64::NAN } else { loss };
        Ok((loss, gradient.clone()))
    }
}

fn half<'a>(
    cli: &Cli,
    prepared: &'a Prepared,
    rank: usize,
    seed: u64,
    lanes: &mut Lanes<Net>,
    progress: &'a Progress,
) -> Result<Half<'a>> {
    let mut model = Transducer::new(prepared.config.model.clone(), seed)?;
    let mut adamw = AdamW::new(AdamWSettings::default(), &model.net)?;
    let examples = &prepared.train.examples()[..prepared.train.examples().len().min(cli.examples)];
    let (steps, batch) = (cli.steps as usize, (cli.batch as usize).min(examples.len()));
    let mut path = vec![model.net.clone()];
    for step in 0..steps {
        let stream = Stream::new(seed).fork(step as u64);
        let members: Vec<usize> = (0..batch).map(|i| (stream.at(i as u64) % examples.len() as u64) as usize).collect();
        let (_, _, gradient) = pass(&model, &model.net, examples, &members, Some(&stream), lanes)?;
        if let GradientNorm::NotFinite { block } = clip(gradient, 2.0) {
            bail!("seed {seed}, step {}: the gradient of {block} is not finite", step + 1);
        }
        adamw.step(&mut model.net, gradient, 3e-3);
        progress.advance(batch as u64);
        // As many states as directions are wanted, the last one included.
        if (step + 1) * rank / steps > step * rank / steps {
            path.push(model.net.clone());
        }
    }
    let space = ZSpace::of_path::<f32>(&path, rank).context("a path has a last state")?;
    let mut half = Half { model, space, examples, finite: 1, progress };
    let members: Vec<usize> = (0..examples.len()).collect();
    half.finite = pass(&half.model, &half.model.net, examples, &members, None, lanes)?.1.max(1);
    progress.advance(members.len() as u64);
    Ok(half)
}

/// The mean loss of some examples under the weights `net` of a model, over how many of them it is finite, and its gradient.
fn pass<'l>(
    model: &Transducer,
    net: &Net,
    examples: &[Example],
    members: &[usize],
    stream: Option<&Stream>,
    lanes: &'l mut Lanes<Net>,
) -> Result<(f64, usize, &'l mut Net)> {
    let (spec, objective) = (&model.spec, model.objective());
    let jobs: Vec<&[usize]> = members.chunks(16).collect();
    let (parts, gradient) = lanes.gradient(net, &jobs, |_, members, gradient| -> Result<_> {
        let (graphs, labelling) = label(members.iter().map(|&i| &examples[i]), spec)?;
        let keys = stream.map(|stream| DropoutKeys::new(stream, members.iter().map(|&i| i as u64)));
        let task = Task { batch: &graphs, labelling: &labelling };
        let pass = Crossing { dropout: keys.as_ref(), medium: &Vacuum, record: &mut () };
        Ok(spec.estimator.build::<f32, Vacuum>().gradient(net, &objective, task, pass, gradient)?.losses)
    })?;
    let finite: Vec<f64> = parts.iter().flatten().copied().filter(|loss| loss.is_finite()).collect();
    let count = finite.len() as f64;
    param::each_mut(gradient, |_, _, values: &mut [f32]| values.iter_mut().for_each(|d| *d /= count as f32));
    Ok((finite.iter().sum::<f64>() / count, finite.len(), gradient))
}
