//! Bias, variance and direction of each estimator's gradient, against all choices gone through.

use crate::data::{LabelInventory, TargetUnits};
use crate::estimator::enumeration::{EnumerationError, marginal, mean, soft_minimum};
use crate::estimator::{Crossing, EstimateError, EstimatorName};
use crate::labelling::Labelling;
use crate::loss::Assignment;
use crate::objective::{LossName, Objective, Task};
use crate::optim::{Optimiser, Sgd};
use grapheme_core::graph::BatchError;
use grapheme_core::layers::DropoutKeys;
use grapheme_core::network::ConfigError;
use grapheme_core::{GraphBatch, GraphTransformNet, NetworkConfig, Stream, Vacuum, param};
use serde::Serialize;
use std::time::Instant;
use thiserror::Error;

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JudgeSettings {
    /// Gradients of an estimator that samples.
    pub calls: usize,
    /// Steps of descent on the exact marginal before anything is judged; 0 for a fresh network.
    pub trained: usize,
    /// Of the network and of the samples.
    pub seed: u64,
}

/// A set of pairs, each short enough to be enumerated.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// What people call it.
    pub name: &'static str,
    /// Input and target.
    pub pairs: &'static [(&'static str, &'static str)],
}

/// The three pairs, and random strings of several scripts: Latin with an accent, Greek, Hangul in parts, Devanagari, Han.
pub const SUBJECTS: [Subject; 2] = [
    Subject { name: "three pairs", pairs: &crate::proof::pairs::PAIRS },
    Subject {
        name: "scripts",
        pairs: &[("eé", "é"), ("λξ", "xl"), ("한", "han"), ("कि", "ki"), ("語字", "字"), ("Жq", "zh q")],
    },
];

/// How far one block of an estimator's gradient is from that of an objective. Lengths are relative to the objective's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deviation {
    /// Dotted name; `all` for the whole gradient.
    pub block: String,
    /// Length of the mean gradient less the objective's.
    pub bias: f64,
    /// What of that is expected of the noise of a mean of so many gradients.
    pub noise: f64,
    /// Mean squared length of a gradient less the mean gradient.
    pub variance: f64,
    /// Cosine of the mean gradient and the objective's.
    pub cosine: f64,
}

/// What was found of one estimator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// The set of pairs.
    pub subject: String,
    /// Steps before.
    pub trained: usize,
    /// The loss.
    pub loss: LossName,
    /// The estimator, or the enumerated objective that stands for one.
    pub estimator: String,
    /// What the estimator is the gradient of, or taken for it.
    pub objective: &'static str,
    /// Against that; the whole gradient last.
    pub own: Vec<Deviation>,
    /// Against `E[L]`; the whole gradient last.
    pub expectation: Vec<Deviation>,
    /// Milliseconds a gradient of the whole set.
    pub milliseconds: f64,
    /// Most bytes held at a time beyond those held before, where the caller can tell.
    pub bytes: Option<usize>,
}

impl Judged {
    /// The whole gradient against the estimator's own objective.
    pub fn own_whole(&self) -> &Deviation {
        &self.own[self.own.len() - 1]
    }

    /// The whole gradient against that of `E[L]`.
    pub fn expectation_whole(&self) -> &Deviation {
        &self.expectation[self.expectation.len() - 1]
    }

    /// The cosine with the gradient of `E[L]` in the blocks of the gates alone, thresholds and projections of the similarity:
    /// what learns whether to merge. The mean over blocks.
    pub fn gate_cosine(&self) -> f64 {
        let gates = self.expectation.iter().filter(|block| block.block.contains(".gate."));
        let (sum, count) = gates.fold((0.0, 0.0), |(sum, count), block| (sum + block.cosine, count + 1.0));
        sum / count
    }

    /// What is wrong, if this estimator misses what it is exact for, or right on average for.
    pub fn complaint(&self) -> Option<String> {
        let whole = self.own_whole();
        let allowed = match self.estimator.as_str() {
            "marginal" => 1e-9,
            // The length of a mean of noise; at four times that it is none.
            "reinforce" => 4.0 * whole.noise,
            _ => return None,
        };
        let Self { subject, loss, estimator, .. } = self;
        let message =
            format!("{estimator}, {loss} loss, {subject}: off by {:.2e}, allowed are {allowed:.2e}", whole.bias);
        (whole.bias.is_nan() || whole.bias > allowed).then_some(message)
    }
}

/// The judging could not be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The texts fit into no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The network could not be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A text is too long to be enumerated.
    #[error(transparent)]
    Enumeration(#[from] EnumerationError),
    /// No gradient.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
}

type Net = GraphTransformNet<f64>;

const MEAN: &str = "E[L]";
const SOFT: &str = "-ln E[exp(-L)]";

/// Every estimator of one loss on one set. `bytes(work)` runs the work and says how much memory it held at most, if it can.
///
/// `L` is the loss of a realised plan, the same for all that realise one: [`EstimatorName::loss`] of `Reinforce`. Takes
/// `2^candidates` closings twice, and `calls` gradients of `Reinforce`.
///
/// # Errors
/// [`JudgeError`] if a text has more than 16 candidates.
pub fn judge(
    subject: Subject,
    loss: LossName,
    settings: JudgeSettings,
    bytes: &dyn Fn(&mut dyn FnMut()) -> Option<usize>,
) -> Result<Vec<Judged>, JudgeError> {
    let inputs: Vec<&str> = subject.pairs.iter().map(|&(input, _)| input).collect();
    let targets = || subject.pairs.iter().map(|&(_, target)| target);
    let labels = LabelInventory::of(targets(), TargetUnits::Graphemes);
    let batch = GraphBatch::from_texts(&inputs)?;
    let labelling = Labelling::new(&batch, targets(), TargetUnits::Graphemes, &labels);
    let task = Task { batch: &batch, labelling: &labelling };
    let objective = |estimator: EstimatorName| {
        let mut loss = estimator.loss(loss).ok()?;
        if let Assignment::Sinkhorn(sinkhorn) = &mut loss.aligner {
            sinkhorn.tolerance = 1e-10;
        }
        Some(Objective::new(loss, None, &labels))
    };
    let config = NetworkConfig { width: 16, buckets: 64, gate_rank: 8, ..NetworkConfig::tiny(labels.outcomes()) };
    let mut net = Net::new(&config, settings.seed)?;
    let words = Objective::new(LossName::Words.settings(), None, &labels);
    descend(&mut net, &words, task, settings.trained)?;

    let realised = objective(EstimatorName::Reinforce).unwrap_or_else(|| words.clone());
    let truth = |judge: &dyn Fn(&mut Net) -> Result<Vec<f64>, EnumerationError>| -> Result<Vec<Vec<f64>>, JudgeError> {
        let mut grad = param::zeros_like(&net);
        judge(&mut grad)?;
        Ok(values(&grad))
    };
    let expected = truth(&|grad| mean(&net, &realised, task, grad))?;
    let start = Instant::now();
    let soft = match loss {
        LossName::Words => truth(&|grad| marginal(&net, task, grad))?,
        LossName::Graph => truth(&|grad| soft_minimum(&net, &realised, task, grad))?,
    };
    let enumeration = 1e3 * start.elapsed().as_secs_f64();
    let mut names = Vec::new();
    param::each(&net, |name, _, _| names.push(name.to_owned()));
    let judged = |estimator: String, objective, sample: &Sample, milliseconds, bytes| {
        let own = if objective == MEAN { &expected } else { &soft };
        let (own, expectation) = (deviations(&names, sample, own), deviations(&names, sample, &expected));
        let subject = subject.name.to_owned();
        let trained = settings.trained;
        Judged { subject, trained, loss, estimator, objective, own, expectation, milliseconds, bytes }
    };
    let mut all = Vec::new();
    for name in EstimatorName::ALL {
        let Some(own) = objective(name) else { continue };
        // One L for all that realise a plan.
        let (own, what) =
            if name.closing() == EstimatorName::Reinforce.closing() { (&realised, MEAN) } else { (&own, SOFT) };
        let estimator = name.build::<f64, Vacuum>();
        let calls = if name == EstimatorName::Reinforce { settings.calls.max(2) } else { 1 };
        let mut sample = Sample::new(&net);
        let stream = Stream::new(settings.seed).fork(1);
        let gradient = |call: usize| -> Result<Net, EstimateError> {
            let graphs = batch.graphs();
            let keys = DropoutKeys::new(&stream, (0..graphs).map(|graph| (call * graphs + graph) as u64));
            let mut grad = param::zeros_like(&net);
            let pass = Crossing { dropout: Some(&keys), medium: &Vacuum, record: &mut () };
            estimator.gradient(&net, own, task, pass, &mut grad)?;
            Ok(grad)
        };
        for call in 0..calls {
            sample.add(&gradient(call)?);
        }
        let held = bytes(&mut || drop(gradient(0)));
        // The best of a few, since other work disturbs.
        let times = (0..10).map(|call| {
            let start = Instant::now();
            drop(gradient(call));
            start.elapsed().as_secs_f64()
        });
        let seconds = times.fold(f64::INFINITY, f64::min);
        all.push(judged(name.to_string(), what, &sample, 1e3 * seconds, held));
    }
    if loss == LossName::Graph {
        // No estimator takes this for the graph loss; all choices can still be gone through.
        let mut sample = Sample::new(&net);
        sample.add_values(&soft);
        all.push(judged("enumerated".to_owned(), SOFT, &sample, enumeration, None));
    }
    Ok(all)
}

/// Plain descent on the exact marginal.
fn descend(net: &mut Net, words: &Objective, task: Task<'_>, steps: usize) -> Result<(), EstimateError> {
    let estimator = EstimatorName::Marginal.build::<f64, Vacuum>();
    for _ in 0..steps {
        let mut grad = param::zeros_like(net);
        let pass = Crossing { dropout: None, medium: &Vacuum, record: &mut () };
        estimator.gradient(net, words, task, pass, &mut grad)?;
        Sgd.step(net, &grad, 0.03 / task.batch.graphs() as f64);
    }
    Ok(())
}

fn values(tree: &Net) -> Vec<Vec<f64>> {
    let mut blocks = Vec::new();
    param::each(tree, |_, _, values| blocks.push(values.to_vec()));
    blocks
}

/// Sums over independent gradients: of values, and of their squares.
struct Sample {
    count: f64,
    sums: Vec<Vec<(f64, f64)>>,
}

impl Sample {
    fn new(net: &Net) -> Self {
        Self { count: 0.0, sums: values(net).iter().map(|block| vec![(0.0, 0.0); block.len()]).collect() }
    }

    fn add(&mut self, gradient: &Net) {
        self.add_values(&values(gradient));
    }

    fn add_values(&mut self, gradient: &[Vec<f64>]) {
        self.count += 1.0;
        for (sums, block) in self.sums.iter_mut().zip(gradient) {
            for ((sum, square), &x) in sums.iter_mut().zip(block) {
                *sum += x;
                *square += x * x;
            }
        }
    }
}

/// Sums over gradients of one block, and the objective's gradient there.
type Block<'a> = (&'a Vec<(f64, f64)>, &'a Vec<f64>);

/// One entry a block that has a gradient, and one for the whole.
fn deviations(names: &[String], sample: &Sample, truth: &[Vec<f64>]) -> Vec<Deviation> {
    let n = sample.count;
    let deviation = |block: &str, parts: &[Block<'_>]| {
        let entries = || parts.iter().flat_map(|(sums, truth)| sums.iter().zip(truth.iter()));
        let (mut gap, mut own, mut length, mut product, mut variance) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (&(sum, square), &truth) in entries() {
            let mean = sum / n;
            gap += (mean - truth).powi(2);
            own += mean * mean;
            length += truth * truth;
            product += mean * truth;
            variance += if n > 1.0 { (square - sum * mean).max(0.0) / (n - 1.0) } else { 0.0 };
        }
        (length > 0.0).then(|| Deviation {
            block: block.to_owned(),
            bias: (gap / length).sqrt(),
            noise: (variance / n / length).sqrt(),
            variance: variance / length,
            cosine: if own > 0.0 { product / (own * length).sqrt() } else { 0.0 },
        })
    };
    let parts: Vec<Block<'_>> = sample.sums.iter().zip(truth).collect();
    let mut all: Vec<Deviation> =
        names.iter().zip(&parts).filter_map(|(name, part)| deviation(name, std::slice::from_ref(part))).collect();
    all.extend(deviation("all", &parts));
    all
}
