//! The most probable choices, held fixed.

use super::{Crossing, Estimate, EstimateError, Estimator, Held, open, through};
use crate::objective::{Objective, Task};
use grapheme_core::morph::Plan;
use grapheme_core::network::Closing;
use grapheme_core::{GradientMedium, GraphTransformNet, Scalar};

/// Each gate takes its most probable choice; the gradient is that of the loss with those choices held fixed.
///
/// It is exact for the fixed plan: through the merge histories, whose weights are smooth in the gates, and through the
/// masses of what stays. It does not see that another plan might be better; where a plan flips, the loss may jump.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pathwise;

impl<S: Scalar, M: GradientMedium<S>> Estimator<S, M> for Pathwise {
    fn closing(&self) -> Closing {
        Closing::Realised
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
        let held = Held::Plan(Plan::most_probable(opened.gates()));
        through((net, objective, task), opened, held, pass, grad)
    }
}
