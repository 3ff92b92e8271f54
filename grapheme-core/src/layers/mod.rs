//! Layers: values of parameters without state.
//!
//! `forward` returns the output and a cache; `backward` consumes the cache, *adds* the parameters' gradient into a value
//! of the layer's own type and returns the gradient of the input. Shapes are checked in `forward`, so `backward` cannot
//! fail. There is no autodiff tape: these derivatives are the product, and the gradient checker walks every one of them.
//!
//! Sizes: n nodes, d features a node. `dx` is the gradient of `x`.

mod activation;
mod dropout;
mod embedding;
mod gated;
mod linear;
mod neighbours;
mod norm;
mod recurrent;

pub use activation::{gelu, log_sigmoid, log_sigmoids, sigmoid, tanh};
pub use dropout::{Dropout, DropoutKeys};
pub use embedding::HashedEmbedding;
pub use gated::{GatedCache, GatedRound};
pub use linear::Linear;
pub use norm::{LayerNorm, NormCache};
pub use recurrent::{Lstm, Recurrence, RecurrentCache, RecurrentRound, Step, Way};

use crate::graph::{Edge, Topology};
use crate::kept::{Keep, Kept, Matrix};
use crate::morph::{EdgeCache, EdgeError, EdgeMorph, Plan, Wiring};
use crate::param::{PairVisitor, ParamTree, Path, Visitor, VisitorMut};
use crate::random::Stream;
use crate::scalar::Scalar;
use ndarray::Array2;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a layer needs to know about the pass besides its input.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a, S> {
    /// Who is joined to whom among the rows of the input.
    pub topology: &'a Topology,
    /// The weights of its explicit edges, by place, where a layer below has learned them; else the edges' own.
    pub weights: Option<&'a [S]>,
    /// The random numbers of this pass; `None` outside training.
    pub dropout: Option<&'a DropoutKeys>,
}

impl<'a, S: Scalar> Pass<'a, S> {
    /// A pass in which no weight is learned and nothing dropped.
    pub fn over(topology: &'a Topology) -> Self {
        Self { topology, weights: None, dropout: None }
    }

    /// The weight of an explicit edge, which is at `place` among the incoming ones.
    #[inline]
    pub fn weight(&self, place: usize, edge: &Edge) -> S {
        self.weights.map_or_else(|| S::lit(f64::from(edge.weight)), |weights| weights[place])
    }
}

/// An input of the wrong shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{layer}: expected an input of {expected:?}, found {found:?}")]
pub struct ShapeError {
    /// The layer that refused.
    pub layer: &'static str,
    /// Rows and columns that it needs.
    pub expected: [usize; 2],
    /// Rows and columns that it was given.
    pub found: [usize; 2],
}

impl ShapeError {
    pub(crate) fn check<S>(layer: &'static str, x: &Array2<S>, expected: [usize; 2]) -> Result<(), Self> {
        let found = [x.nrows(), x.ncols()];
        if found == expected { Ok(()) } else { Err(Self { layer, expected, found }) }
    }
}

/// A layer that maps one row of features a node to another.
pub trait Layer<S: Scalar>: Sized {
    /// What `backward` needs to know about the forward pass.
    type Cache;

    /// Output and cache for `x` (n x d).
    ///
    /// # Errors
    /// [`ShapeError`] if `x` has other than n rows of d columns.
    fn forward(&self, x: Matrix<S>, pass: Pass<'_, S>) -> Result<(Matrix<S>, Self::Cache), ShapeError>;

    /// The gradient of the input for the gradient `dy` of the output; adds the parameters' gradient into `grad`, and that of
    /// the edges' weights into `dweights`, by place: it has none where no weight is learned.
    fn backward(
        &self,
        cache: Self::Cache,
        dy: Matrix<S>,
        pass: Pass<'_, S>,
        dweights: &mut Kept<S>,
        grad: &mut Self,
    ) -> Matrix<S>;
}

/// Which round of message passing to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RoundKind {
    /// Gated messages between nodes at the given distance.
    Gated {
        /// The distance of the neighbours in the chain; 1 for the nodes next to it.
        distance: usize,
    },
    /// The same without the residual connection: the message replaces the node. For experiments with depth.
    Plain {
        /// As of a gated round.
        distance: usize,
    },
    /// Messages in topological order, both ways.
    Recurrent,
    /// No messages: edges come, go and are weighted, and later rounds of the stage pass messages along what is left.
    Edges {
        /// How far apart in the topological order two nodes may be that a new edge joins.
        window: usize,
    },
}

/// One round of message passing.
#[derive(Clone, Debug)]
pub enum Round<S> {
    /// See [`GatedRound`].
    Gated(Box<GatedRound<S>>),
    /// See [`RecurrentRound`].
    Recurrent(Box<RecurrentRound<S>>),
    /// See [`EdgeMorph`].
    Edges(Box<EdgeMorph<S>>),
}

/// The cache of a [`Round`]. As large as the largest: there are a few, in memory that is kept, where a box would be asked for.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum RoundCache<S: Scalar> {
    /// See [`GatedRound`].
    Gated(GatedCache<S>),
    /// See [`RecurrentRound`].
    Recurrent(RecurrentCache<S>),
    /// See [`EdgeMorph`].
    Edges(EdgeCache<S>),
}

impl<S: Scalar> Keep for RoundCache<S> {}

impl<S: Scalar> Round<S> {
    /// A round with fresh parameters; `dropout` acts on its messages, `rank` and `temperature` are those of gates.
    pub fn new(
        kind: RoundKind,
        width: usize,
        (rank, temperature): (usize, f64),
        dropout: Dropout,
        stream: &mut Stream,
    ) -> Self {
        match kind {
            RoundKind::Gated { distance } => Self::Gated(Box::new(GatedRound::new(width, distance, dropout, stream))),
            RoundKind::Plain { distance } => {
                Self::Gated(Box::new(GatedRound::new(width, distance, dropout, stream).without_residual()))
            }
            RoundKind::Recurrent => Self::Recurrent(Box::new(RecurrentRound::new(width, dropout, stream))),
            RoundKind::Edges { window } => {
                Self::Edges(Box::new(EdgeMorph::new(width, rank, window, temperature, stream)))
            }
        }
    }

    /// Output and cache for `x` (n x d). A round that rewrites edges repeats the choices of `plan`, or takes the most probable
    /// ones.
    ///
    /// # Errors
    /// [`EdgeError`]: an input of the wrong shape, or a plan that does not fit it.
    pub fn forward(
        &self,
        x: Matrix<S>,
        pass: Pass<'_, S>,
        plan: Option<&Plan>,
    ) -> Result<(Matrix<S>, RoundCache<S>), EdgeError> {
        Ok(match self {
            Self::Gated(round) => round.forward(x, pass).map(|(y, cache)| (y, RoundCache::Gated(cache)))?,
            Self::Recurrent(round) => round.forward(x, pass).map(|(y, cache)| (y, RoundCache::Recurrent(cache)))?,
            Self::Edges(round) => {
                let cache = round.forward(&x, pass, plan)?;
                (x, RoundCache::Edges(cache))
            }
        })
    }

    /// As [`Layer::backward`]; where the round rewrites edges, `dweights` comes in as the gradient of the weights of those that
    /// it made and leaves as that of those that it was given.
    pub fn backward(
        &self,
        cache: RoundCache<S>,
        dy: Matrix<S>,
        pass: Pass<'_, S>,
        dweights: &mut Kept<S>,
        grad: &mut Self,
    ) -> Matrix<S> {
        match (self, cache, grad) {
            (Self::Gated(round), RoundCache::Gated(cache), Self::Gated(grad)) => {
                round.backward(cache, dy, pass, dweights, grad)
            }
            (Self::Recurrent(round), RoundCache::Recurrent(cache), Self::Recurrent(grad)) => {
                round.backward(cache, dy, pass, dweights, grad)
            }
            (Self::Edges(round), RoundCache::Edges(cache), Self::Edges(grad)) => {
                round.backward(cache, dy, dweights, grad)
            }
            _ => unreachable!("a cache and a gradient come from a round of the same kind"),
        }
    }
}

impl<S> Round<S> {
    /// Whether it rewrites edges, by a plan.
    pub fn rewrites(&self) -> bool {
        matches!(self, Self::Edges(_))
    }
}

impl<S: Scalar> RoundCache<S> {
    /// How rows are joined after a round that rewrites edges.
    pub fn wiring(&self) -> Option<&Wiring<S>> {
        self.edges().map(|cache| &cache.wiring)
    }

    /// The choices of a round that rewrites edges.
    pub fn plan(&self) -> Option<&Plan> {
        self.edges().map(|cache| &cache.plan)
    }

    fn edges(&self) -> Option<&EdgeCache<S>> {
        match self {
            Self::Edges(cache) => Some(cache),
            Self::Gated(_) | Self::Recurrent(_) => None,
        }
    }
}

impl<S: Scalar> ParamTree<S> for Round<S> {
    fn visit<'t>(&'t self, path: &mut Path, f: &mut Visitor<'_, 't, S>) {
        match self {
            Self::Gated(round) => round.visit(path, f),
            Self::Recurrent(round) => round.visit(path, f),
            Self::Edges(round) => round.visit(path, f),
        }
    }

    fn visit_mut<'t>(&'t mut self, path: &mut Path, f: &mut VisitorMut<'_, 't, S>) {
        match self {
            Self::Gated(round) => round.visit_mut(path, f),
            Self::Recurrent(round) => round.visit_mut(path, f),
            Self::Edges(round) => round.visit_mut(path, f),
        }
    }

    fn visit_pair<'t>(&'t mut self, other: &'t Self, path: &mut Path, f: &mut PairVisitor<'_, 't, S>) {
        match (self, other) {
            (Self::Gated(round), Self::Gated(other)) => round.visit_pair(other, path, f),
            (Self::Recurrent(round), Self::Recurrent(other)) => round.visit_pair(other, path, f),
            (Self::Edges(round), Self::Edges(other)) => round.visit_pair(other, path, f),
            _ => unreachable!("trees of one model have rounds of the same kind"),
        }
    }
}

/// A matrix of independent uniform numbers in (-bound, bound).
pub(crate) fn uniform<S: Scalar>(shape: (usize, usize), bound: f64, stream: &mut Stream) -> Array2<S> {
    Array2::from_shape_simple_fn(shape, || S::lit((2.0 * stream.random::<f64>() - 1.0) * bound))
}

/// Adds the sum of the rows of `dy` to `db`: the gradient of a bias.
pub(crate) fn add_row_sum<S: Scalar>(mut db: ndarray::ArrayViewMut1<'_, S>, dy: ndarray::ArrayView2<'_, S>) {
    let (Some(db), Some(dy)) = (db.as_slice_mut(), dy.to_slice()) else {
        unreachable!("biases and their gradients are stored in row-major order");
    };
    crate::wide! {
        for row in dy.chunks_exact(db.len().max(1)) {
            crate::vector::add(db, row);
        }
    }
}

/// The rows of a matrix in row-major order, as slices: what inner loops run over.
pub(crate) fn row_slices<S>(x: &Array2<S>) -> impl DoubleEndedIterator<Item = &[S]> + ExactSizeIterator {
    x.as_slice().expect("activations are stored in row-major order").chunks_exact(x.ncols().max(1))
}

/// The same, to be written.
pub(crate) fn row_slices_mut<S>(x: &mut Array2<S>) -> impl DoubleEndedIterator<Item = &mut [S]> + ExactSizeIterator {
    let width = x.ncols().max(1);
    x.as_slice_mut().expect("activations are stored in row-major order").chunks_exact_mut(width)
}
