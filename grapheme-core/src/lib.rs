//! Graphs of graphemes, a network that rewrites them, and a backward pass that follows every merge.
//!
//! Read [`morph::MergeHistory`] first, then [`network::GraphTransformNet`], which shows the whole way of a batch:
//! [`graph`] makes it from text, [`layers`] pass messages, [`morph`] rewrites. [`param`] is the walk that names every
//! parameter, [`check`] the proof of every derivative. [`medium`] is a hook for gradient optics: skip it at first.
//!
//! Everything numeric is generic over [`Scalar`]: `f32` trains, `f64` proves.
//!
//! A text goes through a fresh network, its last morph realised; then a gradient comes back along the history of what was merged:
//!
//! ```
//! use grapheme_core::network::{ForwardOptions, Upstream};
//! use grapheme_core::{GraphBatch, GraphTransformNet, NetworkConfig, Vacuum, param};
//!
//! let net = GraphTransformNet::<f64>::new(&NetworkConfig::tiny(4), 1)?;
//! let batch = GraphBatch::from_texts(&["한국어"])?;
//! let (morphed, trace) = net.forward(&batch, ForwardOptions::realised())?;
//! let history = trace.history()?;
//! for node in 0..history.outputs() {
//!     println!("{node} was made of {:?}", history.contributors(node).collect::<Vec<_>>());
//! }
//!
//! // As if the loss were minus the log probability that each node writes the first label.
//! let mut upstream = Upstream::zeros(&morphed);
//! upstream.log_label.column_mut(0).fill(-1.0);
//! let mut gradient = param::zeros_like(&net);
//! net.backward(trace, &morphed, upstream, &Vacuum, &mut (), &mut gradient);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod check;
pub mod graph;
pub mod kept;
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
pub use kept::{Kept, Matrix};
pub use medium::{Boundary, BoundaryFigures, Detour, GradientMedium, Media, Vacuum};
pub use morph::MergeHistory;
pub use network::{GraphTransformNet, NetworkConfig};
pub use param::ParamTree;
pub use random::Stream;
pub use scalar::Scalar;
