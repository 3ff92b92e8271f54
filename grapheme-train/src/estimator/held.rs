//! What an estimator holds fixed, and the function that its gradient is the derivative of.

use super::EstimateError;
use super::straight_through::{harden, shifted};
use super::{Through, reinforce};
use crate::objective::{Objective, Task};
use grapheme_core::morph::{Gates, Plan};
use grapheme_core::network::{Choice, Opened};
use grapheme_core::{GraphTransformNet, Kept, Scalar};
use std::borrow::Cow;

/// What an estimator held fixed at the last morph when it took a gradient. With that fixed, every estimator's gradient is the
/// derivative of a smooth function, its *surrogate* (Schulman et al., Gradient estimation using stochastic computation
/// graphs, 2015): finite differences of [`surrogate`](Self::surrogate) check it.
///
/// Only under `Nothing` and `Plan` is the surrogate also the loss in a neighbourhood. How far the derivatives of the others
/// are from that of an expectation is another question, which [`enumeration`](super::enumeration) answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Held<S: Scalar> {
    /// Nothing: all choices are summed over.
    Nothing,
    /// One plan.
    Plan(Plan),
    /// One plan carried out as if certain, and the gates that it was taken from: `m = z + g - (the g of then)` stands for the
    /// gates, or the same of logits.
    Certain {
        /// What the derivative is handed through to.
        through: Through,
        /// The plan.
        plan: Plan,
        /// The gates of then.
        gates: Gates<S>,
    },
    /// Plans that were sampled, and by how much each was worse than expected.
    Samples(Vec<Sample<S>>),
}

/// The values of a surrogate.
#[derive(Clone, Debug, PartialEq)]
pub struct Surrogate {
    /// One a graph.
    pub values: Kept<f64>,
    /// How many alignments did not converge.
    pub unconverged: usize,
}

/// One sampled plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<S> {
    /// The choices, over all graphs of the batch.
    pub plan: Plan,
    /// For each graph its loss less the baseline.
    pub advantages: Vec<S>,
}

impl<S: Scalar> Held<S> {
    /// The plans, none where all choices are summed over.
    pub fn plans(&self) -> Vec<&Plan> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Plan(plan) | Self::Certain { plan, .. } => vec![plan],
            Self::Samples(samples) => samples.iter().map(|sample| &sample.plan).collect(),
        }
    }

    /// The plan that is carried out, where it is one.
    pub(super) fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Plan(plan) | Self::Certain { through: Through::Gate, plan, .. } => Some(plan),
            Self::Nothing | Self::Certain { .. } | Self::Samples(_) => None,
        }
    }

    /// The gates that the morph is closed with.
    pub(super) fn gates<'a>(&self, own: &'a Gates<S>) -> Cow<'a, Gates<S>> {
        match self {
            Self::Certain { through, plan, .. } => Cow::Owned(harden(*through, plan)),
            _ => Cow::Borrowed(own),
        }
    }

    /// The surrogate of each graph at a pass that may be of other weights than those of then: its derivative there is the
    /// gradient that the estimator gave. Where nothing is sampled its value there is the loss.
    ///
    /// # Errors
    /// [`EstimateError`] if the pass does not fit what was held.
    pub fn surrogate(
        &self,
        net: &GraphTransformNet<S>,
        opened: &Opened<'_, S>,
        objective: &Objective,
        task: Task<'_>,
    ) -> Result<Surrogate, EstimateError> {
        let losses = |gates: &Gates<S>, choice: Choice<'_>| -> Result<Surrogate, EstimateError> {
            let (morphed, _) = net.close(opened, gates, choice)?;
            let assessment = objective.assess(task, &morphed)?;
            Ok(Surrogate { values: assessment.losses, unconverged: assessment.unconverged })
        };
        let choice = self.plan().map_or(Choice::Open, Choice::Taken);
        match self {
            Self::Nothing | Self::Plan(_) => losses(opened.gates(), choice),
            Self::Certain { through, plan, gates } => losses(&shifted(*through, plan, gates, opened.gates()), choice),
            Self::Samples(samples) => {
                let mut sums = Surrogate { values: Kept::zeros(task.batch.graphs()), unconverged: 0 };
                for Sample { plan, advantages } in samples {
                    let found = losses(opened.gates(), Choice::Taken(plan))?;
                    sums.unconverged += found.unconverged;
                    for (graph, sum) in sums.values.iter_mut().enumerate() {
                        let log = reinforce::log_probability(plan, opened, graph);
                        *sum += (found.values[graph] + (advantages[graph] * log).widen()) / samples.len() as f64;
                    }
                }
                Ok(sums)
            }
        }
    }
}
