//! Every derivative of every combination of loss, assignment, estimator and layers against finite differences.
//!
//! Problem: a [`Combination`] and a seed, which give a network, a batch of three graphs and, under
//! [`Pathwise`](crate::estimator::Pathwise), the plans that are held fixed. Method: [`grapheme_core::check`], in `f64`.
//! A medium that is linear makes the backward pass the derivative of another loss, in which what crosses a boundary goes
//! `h -> h0 + M^T (h - h0)`, with h0 the features at the place of the derivative: so media are checked as well ([`Checked`]).
//! Answer: an [`Outcome`]. The check is itself checked: an error of 1% is planted in each block of the gradient, and in the
//! backward pass at each boundary between layers, and all must be caught.

mod case;
mod outcome;
mod subject;

pub use case::{Combination, InputError, Layers, Matching};
pub use outcome::{BlockOutcome, CombinationOutcome, Faults, Outcome};

use crate::estimator::EstimateError;
use crate::lanes::{Lanes, ThreadsError};
use crate::loss::LossError;
use case::Inputs;
use grapheme_core::check::{NumericGradient, Report};
use grapheme_core::network::{ConfigError, ForwardError};
use grapheme_core::{Boundary, GradientMedium, Topology, Vacuum};
use ndarray::Array2;
use std::sync::atomic::{AtomicUsize, Ordering};
use subject::{Gradient, Subject};
use thiserror::Error;

/// What a planted fault multiplies a gradient by.
const FAULT: f64 = 1.01;

/// A linear medium with its transpose, and so one whose backward pass finite differences can judge.
pub trait Checked: GradientMedium<f64> + GradientMedium<f32> {
    /// `x -> M^T x`, in place, for the map `M` that gradients cross at `boundary`.
    fn transpose(&self, boundary: Boundary, topology: &Topology, x: &mut Array2<f64>);
}

impl Checked for Vacuum {
    fn transpose(&self, _: Boundary, _: &Topology, _: &mut Array2<f64>) {}
}

/// What to check, and how strictly.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The first seed.
    pub seed: u64,
    /// The number of seeds.
    pub seeds: u64,
    /// The largest relative error in `f64` that passes.
    pub tolerance: f64,
    /// The largest relative error of the `f32` gradient against the `f64` one that passes.
    pub single_tolerance: f64,
    /// Only combinations whose name contains this.
    pub filter: String,
    /// Threads; 0 for one a core. The outcome does not depend on them.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let filter = String::new();
        Self { seed: 1, seeds: 10, tolerance: 1e-6, single_tolerance: 5e-3, filter, threads: 0 }
    }
}

/// The check could not be done; this is no verdict on any derivative.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// No combination has such a name.
    #[error("no combination has {filter:?} in its name; names look like {example}")]
    NothingToCheck {
        /// What was asked for.
        filter: String,
        /// The name of a combination.
        example: String,
    },
    /// No threads.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// One case could not be evaluated.
    #[error("{case}: {reason}")]
    Case {
        /// The combination and the seed.
        case: String,
        /// What happened.
        reason: Reason,
    },
}

/// Why a case could not be evaluated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Reason {
    /// Its network could not be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its inputs could not be built.
    #[error(transparent)]
    Inputs(#[from] InputError),
    /// Network or loss refused the batch.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// The loss at hand is not the one whose derivative is checked.
    #[error("{alignments} alignments did not converge, so the loss has no derivative to check; raise epsilon")]
    NotConverged {
        /// How many.
        alignments: usize,
    },
    /// An infinite loss has no derivative.
    #[error("the target of {text:?} cannot be reached, so the loss has no derivative")]
    Unreachable {
        /// The input.
        text: String,
    },
    /// Nothing to see: plans merged everything or nothing or too much, in every network that was tried.
    #[error("no network was found whose plans merge some candidates and keep enough for the targets; try another seed")]
    TrivialPlans,
    /// A gate stands so near to one half that the choice depends on rounding.
    #[error("in {scalar} the network makes other choices than in f64; try another seed")]
    OtherPlans {
        /// The type.
        scalar: &'static str,
    },
}

impl From<LossError> for Reason {
    fn from(error: LossError) -> Self {
        Self::Estimate(error.into())
    }
}

impl From<ForwardError> for Reason {
    fn from(error: ForwardError) -> Self {
        Self::Estimate(error.into())
    }
}

/// Checks the backward pass behind `medium`. `hear(done, all)` is told of progress, in any order and from any thread.
///
/// Each case takes about ten evaluations of its loss a number: some seconds of one core a combination of ten seeds.
///
/// # Errors
/// [`CheckError`] if a case has no derivative to check. A wrong derivative is no error, it is in the outcome.
pub fn check<M: Checked>(
    settings: &Settings,
    medium: &M,
    hear: impl Fn(usize, usize) + Sync,
) -> Result<Outcome, CheckError> {
    let all = Combination::all();
    let wanted: Vec<Combination> =
        all.iter().copied().filter(|combination| combination.to_string().contains(&settings.filter)).collect();
    if wanted.is_empty() {
        let (filter, example) = (settings.filter.clone(), all[0].to_string());
        return Err(CheckError::NothingToCheck { filter, example });
    }
    let defined: Vec<Combination> = wanted.iter().copied().filter(|one| one.undefined().is_none()).collect();
    let seeds = settings.seed..settings.seed.saturating_add(settings.seeds);
    let groups = defined.chunk_by(|a, b| a.shares_value_with(*b));
    let cases: Vec<(&[Combination], u64)> =
        groups.flat_map(|group| seeds.clone().map(move |seed| (group, seed))).collect();
    let done = AtomicUsize::new(0);
    let findings = Lanes::<()>::new(settings.threads)?.map(&cases, |_, &(group, seed)| {
        let findings = examine(group, seed, settings, medium);
        hear(done.fetch_add(1, Ordering::Relaxed) + 1, cases.len());
        findings
    })?;
    let mut outcome = Outcome::new(settings, &wanted);
    findings.into_iter().flatten().for_each(|finding| outcome.absorb(finding));
    Ok(outcome)
}

/// What one combination and one seed showed.
struct Finding {
    combination: Combination,
    seed: u64,
    report: Report,
    /// For each block of the report the worst relative error of the `f32` gradient.
    single: Vec<f64>,
    /// For each block of the report whether a fault in it was caught; none where there is no gradient to be wrong.
    block_faults: Vec<Option<bool>>,
    /// The same for each boundary, by name.
    boundary_faults: Vec<(String, Option<bool>)>,
}

/// Combinations that share their loss share the finite differences.
fn examine<M: Checked>(
    group: &[Combination],
    seed: u64,
    settings: &Settings,
    medium: &M,
) -> Result<Vec<Finding>, CheckError> {
    let inputs = Inputs::of_seed(seed);
    let subject = Subject::new(group[0], seed)?;
    let numeric = subject.numeric(&group[0].objective(inputs), medium)?;
    let single_net = subject.net_in::<f32>(group[0])?;
    let finding = |&combination: &Combination| {
        let objective = combination.objective(inputs);
        let truth = subject.gradient(&subject.net, &objective, medium, None)?;
        let report = numeric.compare(settings.tolerance, |name| truth.block(name));
        let single = subject.gradient(&single_net, &objective, medium, None)?;
        let single = report.blocks.iter().map(|block| {
            let reached = |i: &usize| subject.reaches(&block.name, *i);
            relative_error(single.block(&block.name), truth.block(&block.name), block.rms, reached)
        });
        let single = single.collect();
        let block_faults = block_faults(&numeric, &truth, &report);
        let names = subject.net.layer_names();
        let boundary_faults = names.windows(2).zip(&truth.crossed).enumerate().map(|(i, (layers, &crossed))| {
            let caught = if crossed {
                let faulty = subject.gradient(&subject.net, &objective, medium, Some(i))?;
                Some(!numeric.compare(settings.tolerance, |name| faulty.block(name)).passed())
            } else {
                None
            };
            Ok((format!("{} | {}", layers[0], layers[1]), caught))
        });
        let boundary_faults = boundary_faults.collect::<Result<_, CheckError>>()?;
        Ok(Finding { combination, seed, report, single, block_faults, boundary_faults })
    };
    group.iter().map(finding).collect()
}

/// Multiplies each block that has a gradient in turn, and says whether that block then fails.
fn block_faults(numeric: &NumericGradient, truth: &Gradient, report: &Report) -> Vec<Option<bool>> {
    let caught = |name: &str| {
        let wrong: Vec<f64> = truth.block(name).iter().map(|d| d * FAULT).collect();
        let faulty = numeric.compare(report.tolerance, |other| if other == name { &wrong } else { truth.block(other) });
        faulty.blocks.iter().any(|block| block.name == name && block.worst > report.tolerance)
    };
    let has_gradient = |name: &str| truth.block(name).iter().any(|&d| d != 0.0);
    report.blocks.iter().map(|block| has_gradient(&block.name).then(|| caught(&block.name))).collect()
}

/// The largest `|a - b| / max(|a|, |b|, 0.01 x root mean square of the block)`.
fn relative_error(a: &[f64], b: &[f64], rms: f64, counts: impl Fn(&usize) -> bool) -> f64 {
    let error = |i: usize| {
        let gap = (a[i] - b[i]).abs();
        if gap == 0.0 { 0.0 } else { gap / a[i].abs().max(b[i].abs()).max(0.01 * rms) }
    };
    // A gap that is not a number is the worst there is.
    (0..a.len()).filter(counts).map(error).fold(0.0, |worst, e| if e.is_nan() { f64::INFINITY } else { worst.max(e) })
}

#[cfg(test)]
mod tests;
