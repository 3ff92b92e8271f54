//! What a gradient crosses between two layers.

use crate::graph::Topology;
use crate::kept::Matrix;
use crate::network::{GraphTransformNet, MorphedGraph, Trace, Upstream};
use crate::param::ParamTree;
use crate::scalar::Scalar;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

/// The seam between layer `index` and layer `index + 1` of a network, counted from the embedding (layer 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Boundary {
    /// How many layers lie below the seam, less one.
    pub index: usize,
}

/// A medium between layers. The network's backward pass calls [`cross`](Self::cross) at every boundary on the way from
/// the loss to the input; layers never see it.
///
/// State goes in and comes out: a medium is read-only during a pass, and what it observes is written to a trace of its
/// own. Traces of the lanes of a batch are handed back in lane order, so telemetry does not depend on the thread count.
pub trait GradientMedium<S: Scalar>: Sync {
    /// What the medium records during one backward pass.
    type Trace: Default + Send;

    /// Carries `gradient` (nodes x width) across `boundary`, in place; `topology` says who is joined to whom among its rows.
    fn cross(&self, boundary: Boundary, topology: &Topology, gradient: &mut Array2<S>, trace: &mut Self::Trace);

    /// Runs the whole backward pass of `net` under this medium, as [`GraphTransformNet::backward`] does by one crossing a
    /// boundary. A medium that carries more than one real gradient (complex amplitudes) runs its own.
    fn carry(
        &self,
        net: &GraphTransformNet<S>,
        trace: Trace<'_, S>,
        morphed: &MorphedGraph<S>,
        upstream: Upstream<S>,
        record: &mut Self::Trace,
        grad: &mut GraphTransformNet<S>,
    ) -> Matrix<S>
    where
        Self: Sized,
    {
        net.backward(trace, morphed, upstream, self, record, grad)
    }
}

/// The medium that changes nothing: ordinary backpropagation. Zero-sized, and its crossing compiles to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuum;

impl<S: Scalar> GradientMedium<S> for Vacuum {
    type Trace = ();

    #[inline(always)]
    fn cross(&self, _: Boundary, _: &Topology, _: &mut Array2<S>, (): &mut ()) {}
}

/// What features pass at the boundaries on their way forward, for proofs: the forward twin of a medium. A network trains and
/// predicts without any.
pub trait Detour<S: Scalar>: Sync {
    /// Replaces the features (nodes x width) that cross `boundary`, lowest boundary first.
    fn pass(&self, boundary: Boundary, topology: &Topology, features: &mut Array2<S>);
}

/// The media of a training run: which one gradients cross in the next step, and what becomes of what it saw.
///
/// A step is: if [`wants_plain`](Self::wants_plain), [`see_plain`](Self::see_plain) with the gradient of the batch in a vacuum;
/// then the passes under [`medium`](Self::medium), and [`observe`](Self::observe) with their traces; then, if
/// [`wants_response`](Self::wants_response), [`see_response`](Self::see_response). What it remembers from step to step is its
/// [`state`](Self::state), so that a resumed run is the same run.
pub trait Media<S: Scalar>: Send + Sync {
    /// What is crossed in a step.
    type Medium: GradientMedium<S>;
    /// What is remembered between steps, as named blocks.
    type State: ParamTree<S>;

    /// The medium of the next step.
    fn medium(&self) -> &Self::Medium;

    /// Whether the next step needs the gradient of its batch in a vacuum besides: one more pass.
    fn wants_plain(&self) -> bool {
        false
    }

    /// The mean gradient of the next step's batch, without any medium.
    fn see_plain(&mut self, _gradient: &GraphTransformNet<S>) {}

    /// What the lanes of a step recorded, in the order of lanes. Ends the step, and says what is to be told of it.
    fn observe(&mut self, traces: Vec<<Self::Medium as GradientMedium<S>>::Trace>) -> Vec<BoundaryFigures>;

    /// Whether the step that was just observed needs its response.
    fn wants_response(&self) -> bool {
        false
    }

    /// How the parameters were moved by the step, the direction of descent counted positive. `gradient` is that of the step;
    /// `scale` is what the sum over its lanes was multiplied by, and `respond` is the method as if it were linear: it
    /// multiplies by the rate and by the preconditioner of the step.
    fn see_response(
        &mut self,
        _gradient: &GraphTransformNet<S>,
        _scale: f64,
        _respond: &dyn Fn(&GraphTransformNet<S>) -> GraphTransformNet<S>,
    ) {
    }

    /// What a checkpoint must hold, if anything.
    fn state(&self) -> Option<&Self::State>;

    /// The same, to be read back; [`resume`](Self::resume) follows.
    fn state_mut(&mut self) -> Option<&mut Self::State>;

    /// Goes on after `step` steps with the state that was read.
    fn resume(&mut self, step: u64);
}

impl<S: Scalar> Media<S> for Vacuum {
    type Medium = Self;
    type State = Vec<Array1<S>>;

    fn medium(&self) -> &Self {
        self
    }

    fn observe(&mut self, _: Vec<()>) -> Vec<BoundaryFigures> {
        Vec::new()
    }

    fn state(&self) -> Option<&Self::State> {
        None
    }

    fn state_mut(&mut self) -> Option<&mut Self::State> {
        None
    }

    fn resume(&mut self, _: u64) {}
}

/// What is told of one boundary after one step: energies are sums over the batch, angles in radians.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoundaryFigures {
    /// The boundary.
    pub boundary: usize,
    /// Rows that crossed.
    pub rows: u64,
    /// Energy before the medium.
    pub energy_in: f64,
    /// Energy behind it, the real part.
    pub energy_out: f64,
    /// Energy of the imaginary part behind it.
    #[serde(skip_serializing_if = "is_zero")]
    pub quadrature: f64,
    /// Energy kept back.
    #[serde(skip_serializing_if = "is_zero")]
    pub absorbed: f64,
    /// Energy thrown back.
    #[serde(skip_serializing_if = "is_zero")]
    pub reflected: f64,
    /// Energy lost to diffusion.
    #[serde(skip_serializing_if = "is_zero")]
    pub diffused: f64,
    /// Energy led away by light guides.
    #[serde(skip_serializing_if = "is_zero")]
    pub guided: f64,
    /// Energy added by light guides, interference included.
    #[serde(skip_serializing_if = "is_zero")]
    pub arrived: f64,
    /// Energy added by a band.
    #[serde(skip_serializing_if = "is_zero")]
    pub gained: f64,
    /// Mean angle by which rays were turned.
    #[serde(skip_serializing_if = "is_zero")]
    pub angle_mean: f64,
    /// The largest of them.
    #[serde(skip_serializing_if = "is_zero")]
    pub angle_max: f64,
    /// 0 if all amplitudes have one phase, 1 if they are spread evenly.
    #[serde(skip_serializing_if = "is_zero")]
    pub phase_spread: f64,
    /// Energy of the sum over the sum of the energies of the routes that meet here; none where there is one route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coherence: Option<f64>,
    /// Transparency of the gate, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<f64>,
    /// Norm of the derivative of what leaves with respect to the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jacobian: Option<f64>,
    /// Shares of the light guides that begin here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<f64>,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}
