//! All choices of the last morph, summed over.

use super::{Crossing, Estimate, EstimateError, Estimator, Held, open, through};
use crate::objective::{Objective, Task};
use grapheme_core::network::Closing;
use grapheme_core::{GradientMedium, GraphTransformNet, Scalar};

/// The gradient of `-ln E[exp(-L)]`, exact by the dynamic programme of the monotone assignment.
///
/// With the `words` loss, `exp(-L(z))` is the probability of the target given the choices z if as many candidates stay
/// as there are units, and 0 otherwise; the expectation over the gates is the probability of the target, and the loss is
/// its negative logarithm. Linear in the entries of the band. Morphs before the last are realised as in
/// [`Pathwise`](super::Pathwise).
///
/// No other loss has such a programme here: it needs `exp(-L)` to be a product over candidates in order, given the place in the
/// target, and edges, cliques and what merges into a node reach across.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marginal;

impl<S: Scalar, M: GradientMedium<S>> Estimator<S, M> for Marginal {
    fn closing(&self) -> Closing {
        Closing::Marginalised
    }

    fn gradient(
        &self,
        net: &GraphTransformNet<S>,
        objective: &Objective,
        task: Task<'_>,
        pass: Crossing<'_, S, M>,
        grad: &mut GraphTransformNet<S>,
    ) -> Result<Estimate<S>, EstimateError> {
        let opened = open(net, task, &pass)?;
        through((net, objective, task), opened, Held::Nothing, pass, grad)
    }
}
