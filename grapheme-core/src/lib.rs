//! Graphs of graphemes, a network that rewrites them, and a backward pass that follows every merge.
//!
//! Read [`morph::MergeHistory`] first, then [`network::GraphTransformNet`], which shows the whole way of a batch:
//! [`graph`] makes it from text, [`layers`] pass messages, [`morph`] rewrites. [`param`] is the walk that names every
//! parameter, [`check`] the proof of every derivative. [`medium`] is a hook for gradient optics: skip it at first.
//!
//! Everything numeric is generic over [`Scalar`]: `f32` trains, `f64` proves.

pub mod check;
pub mod graph;
pub mod layers;
pub mod medium;
pub mod morph;
pub mod network;
pub mod param;
pub mod product;
pub mod random;
pub mod scalar;
pub mod vector;

pub use graph::{GraphBatch, GraphemeGraph, Topology};
pub use medium::{Boundary, BoundaryFigures, Detour, GradientMedium, Media, Vacuum};
pub use morph::MergeHistory;
pub use network::{GraphTransformNet, NetworkConfig};
pub use param::ParamTree;
pub use random::Stream;
pub use scalar::Scalar;
