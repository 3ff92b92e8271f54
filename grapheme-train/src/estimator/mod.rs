//! How a gradient is taken through a discrete morph.
//!
//! With `L(z)` the loss of realised choices `z`: [`Pathwise`] holds `z` fixed and takes everything smooth exactly;
//! [`Marginal`] takes the gradient of `-ln E[exp(-L)]` by summing over all choices.

mod marginal;
mod pathwise;

pub use marginal::Marginal;
pub use pathwise::Pathwise;

use crate::loss::LossError;
use crate::objective::{Objective, Task};
use grapheme_core::layers::DropoutKeys;
use grapheme_core::morph::Plan;
use grapheme_core::network::{Closing, ForwardError, ForwardOptions};
use grapheme_core::{GradientMedium, GraphTransformNet, Scalar};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an estimator returns besides the gradient.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The loss of each graph; infinite where its target cannot be reached, and then it gave no gradient.
    pub losses: Vec<f64>,
    /// How many alignments did not converge.
    pub unconverged: usize,
    /// The plans of the realised morphs.
    pub plans: Vec<Plan>,
}

/// Why no gradient was taken.
#[derive(Debug, Error)]
pub enum EstimateError {
    /// The network refused the batch.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The loss refused what the network said.
    #[error(transparent)]
    Loss(#[from] LossError),
}

/// A way through the discrete choices.
pub trait Estimator<S: Scalar, M: GradientMedium<S>>: Send + Sync {
    /// How the last morph closes under this estimator.
    fn closing(&self) -> Closing;

    /// Adds the gradient of the sum of the losses of `task` into `grad`.
    ///
    /// # Errors
    /// [`EstimateError`] if task, network and objective do not fit together.
    fn gradient(
        &self,
        net: &GraphTransformNet<S>,
        objective: &Objective,
        task: Task<'_>,
        pass: Crossing<'_, S, M>,
        grad: &mut GraphTransformNet<S>,
    ) -> Result<Estimate, EstimateError>;
}

/// What a backward pass goes through: the random numbers of its forward pass, and the medium between layers.
pub struct Crossing<'a, S: Scalar, M: GradientMedium<S>> {
    /// Random numbers of a training pass.
    pub dropout: Option<&'a DropoutKeys>,
    /// The medium at the boundaries.
    pub medium: &'a M,
    /// What the medium records.
    pub record: &'a mut M::Trace,
}

/// The estimators by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EstimatorName {
    /// All choices summed over, exactly; for the `words` loss.
    Marginal,
    /// The most probable choices held fixed.
    Pathwise,
}

impl EstimatorName {
    /// How the last morph closes under this estimator, in training and in use.
    pub fn closing(self) -> Closing {
        match self {
            Self::Marginal => Closing::Marginalised,
            Self::Pathwise => Closing::Realised,
        }
    }

    /// The estimator.
    pub fn build<S: Scalar, M: GradientMedium<S>>(self) -> Box<dyn Estimator<S, M>> {
        match self {
            Self::Marginal => Box::new(Marginal),
            Self::Pathwise => Box::new(Pathwise),
        }
    }
}

/// The losses of a task without a gradient; `plans` repeats the choices of an earlier pass.
///
/// # Errors
/// [`EstimateError`].
pub fn losses<S: Scalar>(
    net: &GraphTransformNet<S>,
    objective: &Objective,
    task: Task<'_>,
    closing: Closing,
    plans: Option<&[Plan]>,
) -> Result<Vec<f64>, EstimateError> {
    let (morphed, _) = net.forward(task.batch, ForwardOptions { closing, dropout: None, plans })?;
    Ok(objective.assess(task, &morphed)?.losses)
}

/// Forward, loss, backward, with the last morph closed as told: the work that the two estimators here share.
fn through<S: Scalar, M: GradientMedium<S>>(
    closing: Closing,
    net: &GraphTransformNet<S>,
    objective: &Objective,
    task: Task<'_>,
    pass: Crossing<'_, S, M>,
    grad: &mut GraphTransformNet<S>,
) -> Result<Estimate, EstimateError> {
    let options = ForwardOptions { closing, dropout: pass.dropout, plans: None };
    let (morphed, trace) = net.forward(task.batch, options)?;
    let assessment = objective.assess(task, &morphed)?;
    let plans = trace.plans();
    pass.medium.carry(net, trace, &morphed, assessment.upstream, pass.record, grad);
    Ok(Estimate { losses: assessment.losses, unconverged: assessment.unconverged, plans })
}
