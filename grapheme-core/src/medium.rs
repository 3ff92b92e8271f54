//! What a gradient crosses between two layers.

use crate::graph::Topology;
use crate::network::{GraphTransformNet, MorphedGraph, Trace, Upstream};
use crate::scalar::Scalar;
use ndarray::Array2;

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
    ) -> Array2<S>
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
