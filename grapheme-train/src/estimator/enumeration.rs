//! The judge: all choices of the last morph gone through, one by one.
//!
//! Slow and readable, for up to 16 candidates a graph. With `p(z) = prod g prod (1 - g)` the probability of the choices z:
//!
//! - [`mean`]: `E[L] = sum p L`, gradient `sum p (dL + L d ln p)`;
//! - [`soft_minimum`]: `-ln E[exp(-L)]`, gradient `sum r (dL - d ln p)` with `r ~ p exp(-L)`;
//! - [`marginal`]: the same where `L(z)` is `-ln p(target | z)` with each label read off its candidate, infinite unless as many
//!   candidates stay as the target has units. It is what [`Marginal`](super::Marginal) computes without enumeration.
//!
//! The first two are defined for every loss: `L(z)` is that of the realised plan, in which what merges flows into what stays.
//! The graphs of a batch do not see each other, so they go through their choices side by side.

use super::EstimateError;
use super::reinforce::{add_score, log_probability};
use crate::objective::{Objective, Task};
use crate::writing::Writing;
use grapheme_core::morph::Plan;
use grapheme_core::network::{Choice, ForwardError, ForwardOptions, Opened, Seam, Upstream};
use grapheme_core::{GraphTransformNet, Scalar, Vacuum};
use thiserror::Error;

/// The most candidates of a graph: 65,536 plans.
pub const MOST_CANDIDATES: usize = 16;

/// Why nothing was enumerated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnumerationError {
    /// Too many choices.
    #[error(
        "{candidates} candidates have 2^{candidates} choices: at most {MOST_CANDIDATES} can be enumerated, use a shorter text"
    )]
    TooMany {
        /// Of one graph.
        candidates: usize,
    },
    /// Network or loss refused the batch.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
}

impl From<ForwardError> for EnumerationError {
    fn from(error: ForwardError) -> Self {
        Self::Estimate(error.into())
    }
}

impl From<crate::loss::LossError> for EnumerationError {
    fn from(error: crate::loss::LossError) -> Self {
        Self::Estimate(error.into())
    }
}

/// `E[L]` of each graph; adds the gradient of their sum into `grad`.
///
/// # Errors
/// [`EnumerationError`].
pub fn mean<S: Scalar>(
    net: &GraphTransformNet<S>,
    objective: &Objective,
    task: Task<'_>,
    grad: &mut GraphTransformNet<S>,
) -> Result<Vec<f64>, EnumerationError> {
    let judge = Judge::new(net, objective, task)?;
    let table = judge.table()?;
    let values = table.iter().map(|rows| rows.iter().map(|&(p, loss)| p * loss).sum()).collect();
    judge.backward(&table, |_, p, loss| (p, p * loss), grad)?;
    Ok(values)
}

/// `-ln E[exp(-L)]` of each graph; adds the gradient of their sum into `grad`.
///
/// # Errors
/// [`EnumerationError`].
pub fn soft_minimum<S: Scalar>(
    net: &GraphTransformNet<S>,
    objective: &Objective,
    task: Task<'_>,
    grad: &mut GraphTransformNet<S>,
) -> Result<Vec<f64>, EnumerationError> {
    let judge = Judge::new(net, objective, task)?;
    let table = judge.table()?;
    let sum = |rows: &Vec<(f64, f64)>| rows.iter().map(|&(p, loss)| p * (-loss).exp()).sum::<f64>();
    let sums: Vec<f64> = table.iter().map(sum).collect();
    let share = |graph: usize, p: f64, loss: f64| {
        let share = p * (-loss).exp() / sums[graph];
        (share, -share)
    };
    judge.backward(&table, share, grad)?;
    Ok(sums.into_iter().map(|sum| -sum.ln()).collect())
}

/// Minus the log probability of each target text, every way to write it gone through; adds the gradient of their sum into
/// `grad`. Infinite where no way writes the target.
///
/// # Errors
/// [`EnumerationError`].
pub fn marginal<S: Scalar>(
    net: &GraphTransformNet<S>,
    task: Task<'_>,
    grad: &mut GraphTransformNet<S>,
) -> Result<Vec<f64>, EnumerationError> {
    let opened = open(net, task)?;
    let (morphed, closed) = net.close(&opened, opened.gates(), Choice::Open)?;
    let writing = Writing::new(&morphed, task.labelling);
    let mut upstream = Upstream::zeros(&morphed);
    let gates = opened.gates();
    let mut values = Vec::with_capacity(task.batch.graphs());
    for graph in 0..task.labelling.graphs() {
        let target = task.labelling.target(graph);
        let candidates = opened.range(graph);
        let stays = |z: usize| candidates.clone().filter(move |c| z >> (c - candidates.start) & 1 == 1);
        let fits = |&z: &usize| z.count_ones() as usize == target.len();
        let log_joint = |z: usize| {
            let labels = stays(z).enumerate().map(|(j, c)| writing.log_label(c, target[j]));
            let gates = candidates
                .clone()
                .map(|c| if z >> (c - candidates.start) & 1 == 1 { gates.log_stay[c] } else { gates.log_merge[c] });
            gates.chain(labels).sum::<S>().widen()
        };
        let plans: Vec<(usize, f64)> =
            (0..1 << candidates.len()).filter(fits).map(|z| (z, log_joint(z).exp())).collect();
        let total: f64 = plans.iter().map(|(_, p)| p).sum();
        values.push(-total.ln());
        if total == 0.0 {
            continue;
        }
        for (z, p) in plans {
            let share = S::lit(-p / total);
            for c in candidates.clone() {
                let is_stay = z >> (c - candidates.start) & 1 == 1;
                let to = if is_stay { &mut upstream.gates.log_stay } else { &mut upstream.gates.log_merge };
                to[c] += share;
            }
            for (j, c) in stays(z).enumerate() {
                writing.add_gradient(c, target[j], share, &mut upstream);
            }
        }
    }
    let seam = net.close_backward(&opened, (&morphed, closed), upstream, &Vacuum, &mut (), grad);
    net.open_backward(opened, seam, &Vacuum, &mut (), grad);
    Ok(values)
}

fn open<'a, S: Scalar>(net: &GraphTransformNet<S>, task: Task<'a>) -> Result<Opened<'a, S>, EnumerationError> {
    let opened = net.open(task.batch, ForwardOptions::realised())?;
    let most = (0..task.batch.graphs()).map(|graph| opened.range(graph).len()).max().unwrap_or(0);
    if most > MOST_CANDIDATES {
        return Err(EnumerationError::TooMany { candidates: most });
    }
    Ok(opened)
}

struct Judge<'a, S: Scalar> {
    net: &'a GraphTransformNet<S>,
    objective: &'a Objective,
    task: Task<'a>,
    opened: Opened<'a, S>,
}

/// For each graph, probability and loss of each of its plans.
type Table = Vec<Vec<(f64, f64)>>;

impl<'a, S: Scalar> Judge<'a, S> {
    fn new(net: &'a GraphTransformNet<S>, objective: &'a Objective, task: Task<'a>) -> Result<Self, EnumerationError> {
        Ok(Self { net, objective, task, opened: open(net, task)? })
    }

    fn sizes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.task.batch.graphs()).map(|graph| 1 << self.opened.range(graph).len())
    }

    /// The z-th plan of every graph; graphs that have fewer begin again.
    fn plan(&self, z: usize) -> Plan {
        let choices = |graph: usize| (0..self.opened.range(graph).len()).map(move |c| z >> c & 1 == 1);
        Plan { stays: (0..self.task.batch.graphs()).flat_map(choices).collect() }
    }

    fn table(&self) -> Result<Table, EnumerationError> {
        let mut table: Table = self.sizes().map(Vec::with_capacity).collect();
        for z in 0..self.sizes().max().unwrap_or(0) {
            let plan = self.plan(z);
            let (morphed, _) = self.net.close(&self.opened, self.opened.gates(), Choice::Taken(&plan))?;
            let losses = self.objective.assess(self.task, &morphed)?.losses;
            for (graph, (rows, size)) in table.iter_mut().zip(self.sizes()).enumerate() {
                if z < size {
                    rows.push((log_probability(&plan, &self.opened, graph).widen().exp(), losses[graph]));
                }
            }
        }
        Ok(table)
    }

    /// Adds the gradient: `weights(graph, p, loss)` are those of `dL` and of `d ln p`.
    fn backward(
        self,
        table: &Table,
        weights: impl Fn(usize, f64, f64) -> (f64, f64),
        grad: &mut GraphTransformNet<S>,
    ) -> Result<(), EnumerationError> {
        let mut seam = Seam::zeros(&self.opened);
        for z in 0..self.sizes().max().unwrap_or(0) {
            let plan = self.plan(z);
            let of = |(graph, rows): (usize, &Vec<(f64, f64)>)| match rows.get(z) {
                Some(&(p, loss)) if loss.is_finite() => weights(graph, p, loss),
                _ => (0.0, 0.0),
            };
            let (loss, score): (Vec<f64>, Vec<f64>) = table.iter().enumerate().map(of).unzip();
            let (morphed, closed) = self.net.close(&self.opened, self.opened.gates(), Choice::Taken(&plan))?;
            let mut upstream = self.objective.assess(self.task, &morphed)?.upstream;
            upstream.unreachable.clear();
            for (graph, &weight) in loss.iter().enumerate() {
                upstream.scale_graph(&morphed, graph, S::lit(weight));
            }
            let score: Vec<S> = score.into_iter().map(S::lit).collect();
            seam.add(&self.net.close_backward(&self.opened, (&morphed, closed), upstream, &Vacuum, &mut (), grad));
            add_score(&plan, &self.opened, &score, &mut seam);
        }
        self.net.open_backward(self.opened, seam, &Vacuum, &mut (), grad);
        Ok(())
    }
}
