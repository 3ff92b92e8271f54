//! Hard choices on the way there, soft ones on the way back.

use super::{Crossing, Estimate, EstimateError, Estimator, Held, open, through_other_gates};
use crate::objective::{Objective, Task};
use grapheme_core::layers::log_sigmoid;
use grapheme_core::morph::{Gates, GatesGradient, Plan};
use grapheme_core::network::Closing;
use grapheme_core::{GradientMedium, GraphTransformNet, Scalar};

/// The most probable choices are carried out as if they were certain; the derivative with respect to a choice is handed to what
/// it was taken from (Bengio, Léonard and Courville, 2013). It is the gradient of no loss.
///
/// [`Through::Gate`] is the estimator of that name. The plan is realised with merge indicators `m` in {0, 1} in place of the
/// gates: weights of the history are equal, what stays has mass 1. Backward, `dg = dm`. What merged away has no row any more
/// and so no label: nothing tells its gate what it could have written.
///
/// [`Through::Logit`] keeps every candidate in sight. No candidate is taken out; one that goes against its choice costs
/// `SATURATION`, as the logits are replaced by plus or minus that number, and the gradient of a logit is handed on unchanged:
/// the choice less how often it was taken in the assignments that give the target. That is the step of a structured
/// perceptron (Collins, 2002) with a soft maximum. For the `words` loss alone, whose programme sums over assignments.
#[derive(Clone, Copy, Debug)]
pub struct StraightThrough {
    /// What the derivative of a choice is handed to.
    pub through: Through,
}

/// What the derivative of a choice is handed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// The gate: `dg = dm`.
    Gate,
    /// The logit of the gate.
    Logit,
}

/// The size of a logit that counts as certain: the other choice has a probability of 4.5e-5.
pub const SATURATION: f64 = 10.0;

impl<S: Scalar, M: GradientMedium<S>> Estimator<S, M> for StraightThrough {
    fn closing(&self) -> Closing {
        match self.through {
            Through::Gate => Closing::Realised,
            Through::Logit => Closing::Marginalised,
        }
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
        let (through_what, plan) = (self.through, Plan::most_probable(opened.gates()));
        let hard = harden(through_what, &plan);
        let held = Held::Certain { through: through_what, plan, gates: opened.gates().clone() };
        let carry = |gradient, own: &Gates<S>| hand_on(through_what, gradient, &hard, own);
        through_other_gates((net, objective, task), opened, held, carry, pass, grad)
    }
}

/// The gates of choices that are certain.
pub(super) fn harden<S: Scalar>(through: Through, plan: &Plan) -> Gates<S> {
    let (likely, unlikely) = match through {
        Through::Gate => (S::zero(), S::neg_infinity()),
        Through::Logit => (log_sigmoid(S::lit(SATURATION)), log_sigmoid(S::lit(-SATURATION))),
    };
    let pair = |&stays: &bool| if stays { (likely, unlikely) } else { (unlikely, likely) };
    let (log_stay, log_merge) = plan.stays.iter().map(pair).unzip();
    Gates { log_stay, log_merge }
}

/// The same where the gates have moved from `then` to `now`: `m = z + g - g'`, or `l = +-10 + l - l'` of logits.
pub(super) fn shifted<S: Scalar>(through: Through, plan: &Plan, then: &Gates<S>, now: &Gates<S>) -> Gates<S> {
    let logit = |gates: &Gates<S>, c: usize| gates.log_merge[c] - gates.log_stay[c];
    let pair = |(c, &stays): (usize, &bool)| match through {
        Through::Gate => {
            let moved = now.log_merge[c].exp() - then.log_merge[c].exp();
            let merge = moved + if stays { S::zero() } else { S::one() };
            // Of each pair only the one at 1 is read; the other may have moved below 0.
            ((S::one() - merge).max(S::zero()).ln(), merge.max(S::zero()).ln())
        }
        Through::Logit => {
            let moved = logit(now, c) - logit(then, c);
            let hard = moved + S::lit(if stays { -SATURATION } else { SATURATION });
            (log_sigmoid(-hard), log_sigmoid(hard))
        }
    };
    let (log_stay, log_merge) = plan.stays.iter().enumerate().map(pair).unzip();
    Gates { log_stay, log_merge }
}

/// From the gradient of certain gates to that of the network's own.
fn hand_on<S: Scalar>(
    through: Through,
    gradient: GatesGradient<S>,
    hard: &Gates<S>,
    own: &Gates<S>,
) -> GatesGradient<S> {
    let GatesGradient { mut log_stay, mut log_merge } = gradient;
    for c in 0..log_stay.len() {
        let (dstay, dmerge) = (log_stay[c], log_merge[c]);
        (log_stay[c], log_merge[c]) = match through {
            // At 1 the derivative of a logarithm is that of its argument, and d ln g = g dg.
            Through::Gate => (dstay * own.log_stay[c].exp(), dmerge * own.log_merge[c].exp()),
            Through::Logit => {
                let dlogit = dmerge * hard.log_stay[c].exp() - dstay * hard.log_merge[c].exp();
                // What the gate makes of the pair (-d, d) is d.
                (-dlogit, dlogit)
            }
        };
    }
    GatesGradient { log_stay, log_merge }
}
