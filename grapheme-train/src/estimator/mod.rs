//! How a gradient is taken through a discrete morph.
//!
//! With `L(z)` the loss of realised choices `z` and `g` the gates, the members and what each is the gradient of:
//!
//! | member | objective |
//! |---|---|
//! | [`Marginal`] | `-ln E[exp(-L)]`, exactly; for the `words` loss |
//! | [`Pathwise`] | `L(z)` at the most probable `z`, held fixed |
//! | [`StraightThrough`] | none: the derivative of a [surrogate](Held), taken for that of `E[L]` or of `-ln E[exp(-L)]` |
//! | [`Reinforce`] | `E[L]`, on average over its samples |
//!
//! Where there are few candidates all choices can be gone through: [`enumeration`] is the judge of the others. Choices of
//! morphs before the last are the most probable ones under every member, and the judge holds them fixed as well.

pub mod enumeration;
mod held;
mod marginal;
mod name;
mod pathwise;
mod reinforce;
mod straight_through;

pub use held::{Held, Sample, Surrogate};
pub use marginal::Marginal;
pub use name::{EstimatorName, Unsuited};
pub use pathwise::Pathwise;
pub use reinforce::{Reinforce, SAMPLES};
pub use straight_through::{StraightThrough, Through};

use crate::loss::LossError;
use crate::objective::{Objective, Task};
use grapheme_core::layers::DropoutKeys;
use grapheme_core::morph::{Gates, GatesGradient, Plan};
use grapheme_core::network::{Choice, Closing, ForwardError, ForwardOptions, Opened, Trace};
use grapheme_core::{Detour, GradientMedium, GraphTransformNet, Kept, Matrix, Scalar};
use thiserror::Error;

/// What an estimator returns besides the gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate<S: Scalar> {
    /// The loss of each graph; infinite where its target cannot be reached, and then it gave no gradient, except that morphs
    /// before the last merge less of it.
    pub losses: Kept<f64>,
    /// How many alignments did not converge.
    pub unconverged: usize,
    /// The plans of the morphs before the last, in order.
    pub earlier: Vec<Plan>,
    /// What was held fixed at the last morph.
    pub held: Held<S>,
}

impl<S: Scalar> Estimate<S> {
    /// The plans of all realised morphs; those of the last morph are one for each sample.
    pub fn plans(&self) -> Vec<Plan> {
        self.earlier.iter().chain(self.held.plans()).cloned().collect()
    }

    /// The [surrogate](Held::surrogate) at other weights, nothing dropped: its derivative at those of the estimate is the
    /// gradient.
    ///
    /// # Errors
    /// [`EstimateError`] if the network does not fit what was held.
    pub fn surrogate(
        &self,
        net: &GraphTransformNet<S>,
        objective: &Objective,
        task: Task<'_>,
    ) -> Result<Surrogate, EstimateError> {
        self.surrogate_from(net.embedding.forward(task.batch), net, objective, task, None)
    }

    /// The same from given features of the nodes, by a detour.
    ///
    /// # Errors
    /// [`EstimateError`] if the network or the features do not fit what was held.
    pub fn surrogate_from(
        &self,
        features: Matrix<S>,
        net: &GraphTransformNet<S>,
        objective: &Objective,
        task: Task<'_>,
        detour: Option<&dyn Detour<S>>,
    ) -> Result<Surrogate, EstimateError> {
        let options = ForwardOptions { plans: Some(&self.earlier), ..ForwardOptions::realised() };
        let opened = net.open_through(features, task.batch, options, detour)?;
        self.held.surrogate(net, &opened, objective, task)
    }
}

/// Why no gradient was taken.
#[derive(Debug, Error)]
#[non_exhaustive]
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
    ) -> Result<Estimate<S>, EstimateError>;
}

/// What a backward pass goes through: the random numbers of its forward pass, and the medium between layers.
pub struct Crossing<'a, S: Scalar, M: GradientMedium<S>> {
    /// Random numbers of a training pass, those of sampled choices among them. Without them nothing is dropped, and choices
    /// are sampled by fixed numbers of each graph's place in the batch.
    pub dropout: Option<&'a DropoutKeys>,
    /// The medium at the boundaries.
    pub medium: &'a M,
    /// What the medium records.
    pub record: &'a mut M::Trace,
}

/// The pass up to the gates of the last morph, with the most probable plans of earlier morphs.
fn open<'a, S: Scalar, M: GradientMedium<S>>(
    net: &GraphTransformNet<S>,
    task: Task<'a>,
    pass: &Crossing<'a, S, M>,
) -> Result<Opened<'a, S>, ForwardError> {
    net.open(task.batch, ForwardOptions { closing: Closing::Realised, dropout: pass.dropout, plans: None })
}

/// One closing of the last morph by the network's own gates, and the way back.
fn through<S: Scalar, M: GradientMedium<S>>(
    (net, objective, task): (&GraphTransformNet<S>, &Objective, Task<'_>),
    opened: Opened<'_, S>,
    held: Held<S>,
    pass: Crossing<'_, S, M>,
    grad: &mut GraphTransformNet<S>,
) -> Result<Estimate<S>, EstimateError> {
    let choice = held.plan().map_or(Choice::Open, Choice::Taken);
    let (morphed, closed) = net.close(&opened, opened.gates(), choice)?;
    let assessment = objective.assess(task, &morphed)?;
    let earlier = opened.plans();
    pass.medium.carry(net, Trace::new(opened, closed), &morphed, assessment.upstream, pass.record, grad);
    Ok(Estimate { losses: assessment.losses, unconverged: assessment.unconverged, earlier, held })
}

/// The same where the morph was closed with other gates: `hand_on` takes their gradient to that of the network's own. The
/// medium is crossed in real amplitudes.
fn through_other_gates<S: Scalar, M: GradientMedium<S>>(
    (net, objective, task): (&GraphTransformNet<S>, &Objective, Task<'_>),
    opened: Opened<'_, S>,
    held: Held<S>,
    hand_on: impl FnOnce(GatesGradient<S>, &Gates<S>) -> GatesGradient<S>,
    pass: Crossing<'_, S, M>,
    grad: &mut GraphTransformNet<S>,
) -> Result<Estimate<S>, EstimateError> {
    let gates = held.gates(opened.gates());
    let choice = held.plan().map_or(Choice::Open, Choice::Taken);
    let (morphed, closed) = net.close(&opened, &gates, choice)?;
    let assessment = objective.assess(task, &morphed)?;
    let Crossing { medium, record, .. } = pass;
    let mut seam = net.close_backward(&opened, (&morphed, closed), assessment.upstream, medium, record, grad);
    seam.gates = hand_on(seam.gates, opened.gates());
    let earlier = opened.plans();
    net.open_backward(opened, seam, medium, record, grad);
    Ok(Estimate { losses: assessment.losses, unconverged: assessment.unconverged, earlier, held })
}

#[cfg(test)]
mod tests;
