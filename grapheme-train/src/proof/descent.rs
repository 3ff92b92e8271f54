//! Plain gradient descent on the pairs, from many starts, with a control whose backward pass forgets the merges.

use super::pairs::{PAIRS, Pairs, ProofError};
use crate::estimator::{Crossing, Estimate, EstimateError, Estimator, EstimatorName, Held};
use crate::lanes::Lanes;
use crate::objective::{Objective, Task};
use crate::optim::{Optimiser, SettingError, Sgd};
use grapheme_core::check::differentiate;
use grapheme_core::network::{Closing, ForwardOptions};
use grapheme_core::{Boundary, GradientMedium, GraphTransformNet, Matrix, Topology, param};
use ndarray::Array2;
use serde::Serialize;
use std::collections::BTreeSet;

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DescentSettings {
    /// Starts; the seeds are 0, 1, ...
    pub seeds: u64,
    /// Epochs in which every single one must lower the loss.
    pub epochs: usize,
    /// Epochs in all, after which the loss must be under half of the start.
    pub long_epochs: usize,
    /// Learning rate.
    pub rate: f64,
}

impl Default for DescentSettings {
    fn default() -> Self {
        Self { seeds: 100, epochs: 20, long_epochs: 100, rate: 0.01 }
    }
}

impl DescentSettings {
    /// Refuses settings that describe no descent.
    ///
    /// # Errors
    /// The first setting out of its range.
    pub fn check(&self) -> Result<(), SettingError> {
        let (epochs, long_epochs) = (self.epochs as f64, self.long_epochs as f64);
        for (holds, name, value, expected) in [
            (self.seeds > 0, "seeds", 0.0, "at least 1"),
            (self.epochs > 0, "epochs", epochs, "at least 1"),
            (self.long_epochs >= self.epochs, "long_epochs", long_epochs, "at least as many as epochs"),
            (self.rate > 0.0 && self.rate.is_finite(), "rate", self.rate, "a positive number"),
        ] {
            if !holds {
                return Err(SettingError { name, value, expected });
            }
        }
        Ok(())
    }
}

/// Whether the backward pass knows what became of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// It does.
    Kept,
    /// The control: output nodes are mistaken for the input nodes of the same index.
    Forgotten,
}

/// A ratio of the final loss to the first at or above this is a failure.
pub const RATIO: f64 = 0.5;

/// A contributor's gradient may miss the slope of the loss by this much, relative to the slope.
pub const TOLERANCE: f64 = 1e-6;

/// What became of all starts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DescentReport {
    /// How the gradient was taken.
    pub estimator: EstimatorName,
    /// Whether with merge histories.
    pub history: History,
    /// The number of starts.
    pub seeds: u64,
    /// Seed and epoch wherever one of the first epochs did not lower the loss of its plan.
    pub increases: Vec<(u64, usize)>,
    /// How often that happened in later epochs. Not a failure: near a minimum the step may be too long.
    pub late_increases: usize,
    /// Seed and epoch wherever the most probable plan after the step is another one than before it.
    pub plan_flips: Vec<(u64, usize)>,
    /// Those of the plan flips at which the loss rose.
    pub jumps: Vec<(u64, usize)>,
    /// The largest ratio of the final loss to the first. Not a number if any is none.
    pub worst_final_ratio: f64,
    /// Its seed.
    pub worst_seed: u64,
    /// The median of the ratios.
    pub median_final_ratio: f64,
    /// How many nodes that contributed to a merge were looked at, before the first step and after the last.
    pub contributors: usize,
    /// Those without gradient.
    pub without_gradient: usize,
    /// Those with a gradient that is not the slope of the loss.
    pub wrong_gradient: usize,
    /// The largest relative gap between the gradient of a contributor and the slope.
    pub worst_gradient_error: f64,
    /// Alignments that did not converge, in all epochs.
    pub unconverged: usize,
}

impl DescentReport {
    /// What does not hold, in words; nothing if the test passes.
    pub fn failures(&self) -> Vec<String> {
        let Self { seeds, contributors, worst_final_ratio, worst_seed, .. } = self;
        let mut failures = Vec::new();
        if let Some((seed, epoch)) = self.increases.first() {
            failures.push(format!("{} increases, the first at seed {seed} epoch {epoch}", self.increases.len()));
        }
        if worst_final_ratio.is_nan() || *worst_final_ratio >= RATIO {
            failures
                .push(format!("the final loss of seed {worst_seed} of {seeds} is {worst_final_ratio:.4} of the first"));
        }
        if self.without_gradient > 0 {
            failures.push(format!("{} of {contributors} contributors without gradient", self.without_gradient));
        }
        if self.wrong_gradient > 0 {
            failures.push(format!("{} of {contributors} contributors with a wrong gradient", self.wrong_gradient));
        }
        failures
    }
}

/// Goes down the loss of the pairs from every start, and watches.
///
/// One epoch is one step `w -= rate * g` on the whole batch, `g` being the gradient of the mean over the three pairs. Where an
/// estimator holds a plan fixed, the loss may jump where the plan flips; so the loss after a step counts as an increase only if
/// the loss at the new weights *under the plan of the step* is not below the loss before.
///
/// Before the first step and after the last, every node of the batch that contributed to a merge is looked at. Its
/// gradient must be non-zero, both at the morph's own boundary and at the features of the node, and at the features its
/// length must be the slope of the loss along it, as finite differences see it. Where the plan is realised, contributors
/// are the nodes in output nodes that more than one candidate went into; where all choices are summed over, every
/// candidate merges with some probability, and every node contributes.
///
/// Runs over the threads of `lanes`, each of which calls `done` after a start; the report does not depend on their number.
///
/// # Errors
/// [`ProofError`] if a setting is out of its range.
pub fn descend(
    pairs: &Pairs,
    estimator: EstimatorName,
    history: History,
    settings: &DescentSettings,
    lanes: &Lanes<()>,
    done: impl Fn() + Sync,
) -> Result<DescentReport, ProofError> {
    settings.check()?;
    let way: Box<dyn Estimator<f64, Witness>> = match history {
        History::Kept => estimator.build(),
        History::Forgotten => Box::new(Forgetful(estimator.closing())),
    };
    let seeds: Vec<u64> = (0..settings.seeds).collect();
    let runs = lanes.map(&seeds, |_, &seed| {
        let run = Descent::start(pairs, &*way, seed)?.run(settings);
        done();
        run
    })?;
    Ok(summarise(estimator, history, settings, &runs))
}

/// One start.
struct Descent<'a> {
    pairs: &'a Pairs,
    way: &'a dyn Estimator<f64, Witness>,
    net: GraphTransformNet<f64>,
    grad: GraphTransformNet<f64>,
}

/// What one start saw.
#[derive(Clone, Debug, Default)]
struct Run {
    increases: Vec<usize>,
    flips: Vec<usize>,
    jumps: Vec<usize>,
    ratio: f64,
    nodes: Nodes,
    unconverged: usize,
}

/// What became of the gradient of nodes that contributed to a merge.
#[derive(Clone, Copy, Debug, Default)]
struct Nodes {
    checked: usize,
    without: usize,
    wrong: usize,
    worst: f64,
}

impl<'a> Descent<'a> {
    fn start(pairs: &'a Pairs, way: &'a dyn Estimator<f64, Witness>, seed: u64) -> Result<Self, ProofError> {
        let net = pairs.fresh(seed)?;
        let grad = param::zeros_like(&net);
        Ok(Self { pairs, way, net, grad })
    }

    fn run(mut self, settings: &DescentSettings) -> Result<Run, ProofError> {
        let mut run = Run::default();
        let (mut estimate, mut crossed) = self.differentiate()?;
        self.look_at_contributors(&estimate, &crossed, &mut run.nodes)?;
        let first: f64 = estimate.losses.iter().sum();
        let mut last = first;
        for epoch in 1..=settings.long_epochs {
            run.unconverged += estimate.unconverged;
            Sgd.step(&mut self.net, &self.grad, settings.rate / PAIRS.len() as f64);
            let (now, arrived) = self.differentiate()?;
            let before = std::mem::replace(&mut estimate, now);
            crossed = arrived;
            let loss: f64 = estimate.losses.iter().sum();
            let has_flipped = estimate.plans() != before.plans();
            let of_the_plan = if has_flipped { self.loss_of(&before)? } else { loss };
            // What is not a number has not decreased.
            if of_the_plan.is_nan() || of_the_plan >= last {
                run.increases.push(epoch);
            }
            if has_flipped {
                run.flips.push(epoch);
                if loss > last {
                    run.jumps.push(epoch);
                }
            }
            last = loss;
        }
        run.unconverged += estimate.unconverged;
        self.look_at_contributors(&estimate, &crossed, &mut run.nodes)?;
        run.ratio = last / first;
        Ok(run)
    }

    /// Losses and gradient at the present weights, and what crossed the boundaries, the last first.
    fn differentiate(&mut self) -> Result<(Estimate<f64>, Vec<Array2<f64>>), ProofError> {
        param::each_mut(&mut self.grad, |_, _, values| values.fill(0.0));
        let mut record = Vec::new();
        let pass = Crossing { dropout: None, medium: &Witness, record: &mut record };
        let Pairs { objective, .. } = self.pairs;
        let estimate = self.way.gradient(&self.net, objective, self.pairs.task(), pass, &mut self.grad)?;
        Ok((estimate, record))
    }

    /// The loss of earlier plans.
    fn loss_of(&self, earlier: &Estimate<f64>) -> Result<f64, ProofError> {
        Ok(earlier.surrogate(&self.net, &self.pairs.objective, self.pairs.task())?.values.iter().sum())
    }

    fn look_at_contributors(
        &self,
        estimate: &Estimate<f64>,
        crossed: &[Array2<f64>],
        nodes: &mut Nodes,
    ) -> Result<(), ProofError> {
        // From the head down: below the head, below the morph, ..., at the features.
        let (below_morph, features) = (&crossed[1], &crossed[crossed.len() - 1]);
        let x = self.net.embedding.forward(self.pairs.task().batch);
        let loss: f64 = estimate.losses.iter().sum();
        for node in self.contributors()? {
            nodes.checked += 1;
            let gradient = features.row(node);
            let length = gradient.dot(&gradient).sqrt();
            if length == 0.0 || below_morph.row(node).iter().all(|&d| d == 0.0) {
                nodes.without += 1;
                continue;
            }
            let slope = differentiate(
                |delta| {
                    let mut moved = x.clone();
                    moved.row_mut(node).scaled_add(delta / length, &gradient);
                    // The same shapes passed a moment ago; were they refused now, this would count as wrong.
                    self.loss_from(moved, estimate).unwrap_or(f64::NAN)
                },
                loss,
                0.02,
            );
            let error = (length - slope.value).abs() / length.max(slope.value.abs());
            nodes.wrong += usize::from(error.is_nan() || error > TOLERANCE);
            nodes.worst = nodes.worst.max(error);
        }
        Ok(())
    }

    /// The loss from given features under the plans of an estimate.
    fn loss_from(&self, features: Matrix<f64>, estimate: &Estimate<f64>) -> Result<f64, ProofError> {
        let Pairs { objective, .. } = self.pairs;
        let found = estimate.surrogate_from(features, &self.net, objective, self.pairs.task(), None)?;
        Ok(found.values.iter().sum())
    }

    /// The nodes of the batch that contributed to a merge, by the histories of the forward pass.
    fn contributors(&self) -> Result<BTreeSet<usize>, ProofError> {
        let closing = self.way.closing();
        let options = ForwardOptions { closing, dropout: None, plans: None };
        let (_, trace) = self.net.forward(self.pairs.task().batch, options)?;
        let history = trace.history()?;
        let is_merge = |output: &usize| match closing {
            Closing::Marginalised => true,
            Closing::Realised => trace.histories().last().is_some_and(|last| last.contributors(*output).count() > 1),
        };
        let merges = (0..history.outputs()).filter(is_merge);
        Ok(merges.flat_map(|output| history.contributors(output)).map(|(node, _)| node as usize).collect())
    }
}

/// A vacuum that remembers what crossed it.
struct Witness;

impl GradientMedium<f64> for Witness {
    type Trace = Vec<Array2<f64>>;

    fn cross(&self, _: Boundary, _: &Topology, gradient: &mut Array2<f64>, trace: &mut Self::Trace) {
        trace.push(gradient.clone());
    }
}

/// The control: the estimator of the same closing, but its backward pass has forgotten the histories.
struct Forgetful(Closing);

impl<M: GradientMedium<f64>> Estimator<f64, M> for Forgetful {
    fn closing(&self) -> Closing {
        self.0
    }

    fn gradient(
        &self,
        net: &GraphTransformNet<f64>,
        objective: &Objective,
        task: Task<'_>,
        pass: Crossing<'_, f64, M>,
        grad: &mut GraphTransformNet<f64>,
    ) -> Result<Estimate<f64>, EstimateError> {
        let options = ForwardOptions { closing: self.0, dropout: pass.dropout, plans: None };
        let (morphed, mut trace) = net.forward(task.batch, options)?;
        let assessment = objective.assess(task, &morphed)?;
        let mut earlier = trace.plans();
        let held = match self.0 {
            Closing::Marginalised => Held::Nothing,
            Closing::Realised => earlier.pop().map_or(Held::Nothing, Held::Plan),
        };
        trace.forget_histories();
        net.backward(trace, &morphed, assessment.upstream, pass.medium, pass.record, grad);
        Ok(Estimate { losses: assessment.losses, unconverged: assessment.unconverged, earlier, held })
    }
}

fn summarise(estimator: EstimatorName, history: History, settings: &DescentSettings, runs: &[Run]) -> DescentReport {
    let named = |epochs: fn(&Run) -> &Vec<usize>| -> Vec<(u64, usize)> {
        (0..).zip(runs).flat_map(|(seed, run)| epochs(run).iter().map(move |&epoch| (seed, epoch))).collect()
    };
    let (increases, late): (Vec<_>, Vec<_>) =
        named(|run| &run.increases).into_iter().partition(|&(_, epoch)| epoch <= settings.epochs);
    let mut ratios: Vec<(f64, u64)> = runs.iter().map(|run| run.ratio).zip(0..).collect();
    // A ratio that is not a number is the worst.
    ratios.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
    let (worst_final_ratio, worst_seed) = ratios[ratios.len() - 1];
    let sum = |count: fn(&Run) -> usize| runs.iter().map(count).sum();
    DescentReport {
        estimator,
        history,
        seeds: settings.seeds,
        increases,
        late_increases: late.len(),
        plan_flips: named(|run| &run.flips),
        jumps: named(|run| &run.jumps),
        worst_final_ratio,
        worst_seed,
        median_final_ratio: ratios[ratios.len() / 2].0,
        contributors: sum(|run| run.nodes.checked),
        without_gradient: sum(|run| run.nodes.without),
        wrong_gradient: sum(|run| run.nodes.wrong),
        worst_gradient_error: runs.iter().map(|run| run.nodes.worst).fold(0.0, f64::max),
        unconverged: sum(|run| run.unconverged),
    }
}
