//! Morphing: how a graph changes shape, and how the gradient finds its way back.
//!
//! One morph splits each node into K *candidates* ([`Morph`]), gives each a *gate* (merge into the candidate before it, or
//! stay: [`Gate`]), and closes in one of two ways over the same gates:
//!
//! - *realised*: [`Plan`] takes the discrete choice, [`realise`] carries it out and records a [`MergeHistory`];
//! - *marginalised*: every candidate is kept with its gate, and the loss sums over all choices.
//!
//! Before that, edges may come, go and be weighted ([`EdgeMorph`]), with a plan and a history of their own.
//!
//! Read [`MergeHistory`] first: it is the reason why the backward pass is exact.

mod edges;
mod gate;
mod history;
mod label;
mod pattern;
mod plan;
mod realise;
mod split;

pub use edges::{EdgeCache, EdgeCandidate, EdgeError, EdgeMorph, Wiring, edge_candidates};
pub use gate::{Gate, GateCache, Gates, GatesGradient, NO_TARGET, merge_targets};
pub use history::{HistoryError, MergeHistory};
pub use label::{HeadCache, LabelHead};
pub use pattern::runs;
pub use plan::Plan;
pub use realise::{DROPPED, Realised, realise};
pub use split::{Morph, MorphCache};
