//! Transparency gates and shares of light guides that are learned by hypergradient.
//!
//! A gate at boundary b has transparency `t = sigmoid(u)` and multiplies the gradient by `c = sqrt(t)`. Everything below it is
//! homogeneous of degree one (layers are linear in their gradient; bending depends on directions alone), so the gradient G of
//! every parameter below b is proportional to c: `dG/d ln c = G` there, and 0 above. A step `w' = w - rate P G` then has
//! `dw'/d ln c = -rate P G` below b, and the loss of the next batch
//!
//! ```text
//! dL'/du_b = - (1 - t) / 2 * sum over layers l <= b of <dL'/dw', rate P G>_l
//! ```
//!
//! with `dL'/dw'` the plain gradient, taken in a vacuum, and `d ln c/du = (1 - t) / 2`. For plain descent (P = 1) without
//! clipping this is exact. With AdamW, P is the diagonal preconditioner of the step, held fixed; since Adam divides by the
//! size of its gradients, a gate that is constant over steps nearly cancels there.
//!
//! The share `s = sigmoid(v)` of a guide is no factor of the gradient: it moves light from one route to another, and both meet
//! again below. So the derivative `dG/dv` is carried down beside the gradient ([`crate::Medium`]), and
//! `dL'/dv = -<dL'/dw', rate P dG/dv>`, as exact as above through linear media.

use crate::settings::{GateSettings, GuideSettings, Layout};
use grapheme_core::layers::sigmoid;
use grapheme_core::{GraphTransformNet, Scalar, param, param_tree};
use ndarray::Array1;

/// The gates' part of the state.
#[derive(Clone, Debug)]
pub struct GateState<S> {
    /// u: one a gate.
    pub logits: Array1<S>,
    /// Slope of the penalty at each boundary of the last step, with respect to the logarithm of the energy there.
    pub penalty: Array1<S>,
    /// `rate P G` of the last step that was asked for; none without gates.
    pub response: Option<GraphTransformNet<S>>,
}

param_tree!(GateState { logits, penalty, response });

impl<S: Scalar> GateState<S> {
    /// Gates at their initial transparency.
    pub fn new(settings: Option<&GateSettings>, boundaries: usize, net: &GraphTransformNet<S>) -> Self {
        let Some(settings) = settings else {
            return Self { logits: Array1::zeros(0), penalty: Array1::zeros(0), response: None };
        };
        let gates = settings.boundaries[1] - settings.boundaries[0] + 1;
        let logit = (settings.initial / (1.0 - settings.initial)).ln();
        let (logits, penalty) = (Array1::from_elem(gates, S::lit(logit)), Array1::zeros(boundaries));
        Self { logits, penalty, response: Some(param::zeros_like(net)) }
    }

    /// t of gate `i`.
    pub fn transparency(&self, i: usize) -> f64 {
        sigmoid(self.logits[i].widen())
    }

    /// The derivative of the next loss with respect to each logit, from the inner products of each layer
    /// ([`layer_products`]), and that of the penalty: a gate dims all boundaries from its own down, in energy by t.
    pub fn slopes(&self, settings: &GateSettings, products: &[f64]) -> Vec<f64> {
        let below = |boundary: usize| products.iter().take(boundary + 1).sum::<f64>();
        let costs = |boundary: usize| self.penalty.iter().take(boundary + 1).map(|slope| slope.widen()).sum::<f64>();
        let slope = |i: usize| {
            let boundary = settings.boundaries[0] + i;
            let rest = 1.0 - self.transparency(i);
            -0.5 * rest * below(boundary) + rest * costs(boundary)
        };
        (0..self.logits.len()).map(slope).collect()
    }

    /// Moves the logits against their slopes. They stay within +-12, where a gate is all but open or closed.
    pub fn descend(&mut self, settings: &GateSettings, products: &[f64]) {
        let slopes = self.slopes(settings, products);
        for (logit, slope) in self.logits.iter_mut().zip(slopes) {
            if slope.is_finite() {
                *logit = S::lit((logit.widen() - settings.rate * slope).clamp(-12.0, 12.0));
            }
        }
    }
}

/// The guides' part of the state.
#[derive(Clone, Debug)]
pub struct GuideState<S> {
    /// v: one a guide; that of a guide which does not learn is never read.
    pub logits: Array1<S>,
    /// `rate P dG/dv` of the last step that was asked for, one a guide which learns.
    pub responses: Vec<GraphTransformNet<S>>,
}

param_tree!(GuideState { logits, responses });

impl<S: Scalar> GuideState<S> {
    /// Guides at their initial shares; none where no guide learns.
    pub fn new(guides: &[GuideSettings], net: &GraphTransformNet<S>) -> Option<Self> {
        let learners = guides.iter().filter(|guide| guide.learn.is_some()).count();
        let logit = |guide: &GuideSettings| match guide.learn {
            Some(_) => S::lit((guide.share.at(0) / (1.0 - guide.share.at(0))).ln()),
            None => S::zero(),
        };
        let logits = guides.iter().map(logit).collect();
        (learners > 0).then(|| Self { logits, responses: vec![param::zeros_like(net); learners] })
    }

    /// The derivative of the next loss with respect to the logit of a learner, counted among learners, from the gradient
    /// of that loss in a vacuum.
    pub fn slope(&self, learner: usize, plain: &GraphTransformNet<S>) -> f64 {
        let (mut sum, mut copy) = (0.0, plain.clone());
        param::each_pair(&mut copy, &self.responses[learner], |_, a, b| {
            sum += a.iter().zip(b).map(|(a, b)| a.widen() * b.widen()).sum::<f64>();
        });
        -sum
    }

    /// Moves the logits of the guides that are due against their slopes, within +-12.
    pub fn descend(&mut self, guides: &[GuideSettings], due: impl Fn(u64) -> bool, plain: &GraphTransformNet<S>) {
        let learners = guides.iter().enumerate().filter_map(|(i, guide)| Some((i, guide.learn?)));
        for (learner, (guide, learning)) in learners.enumerate() {
            let slope = if due(learning.every) { self.slope(learner, plain) } else { 0.0 };
            if slope.is_finite() {
                let logit = &mut self.logits[guide];
                *logit = S::lit((logit.widen() - learning.rate * slope).clamp(-12.0, 12.0));
            }
        }
    }
}

/// `<a, b>` over the parameters of each layer, in the order of `layout.layers`.
pub fn layer_products<S: Scalar>(layout: &Layout, a: &GraphTransformNet<S>, b: &GraphTransformNet<S>) -> Vec<f64> {
    let mut products = vec![0.0; layout.layers.len()];
    // The walk over pairs writes its first tree.
    let mut copy = a.clone();
    param::each_pair(&mut copy, b, |name, a, b| {
        let owns = |layer: &String| name.strip_prefix(layer.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if let Some(layer) = layout.layers.iter().position(owns) {
            products[layer] += a.iter().zip(b).map(|(x, y)| x.widen() * y.widen()).sum::<f64>();
        }
    });
    products
}
