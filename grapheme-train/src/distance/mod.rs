//! Graph edit distance.
#![allow(dead_code)]
mod bipartite;
mod exact;
mod graph;
mod linear;
mod pair;
mod path;
mod placement;
mod regrow;
pub mod sample;
mod sinkhorn;
mod soft;
mod tabu;

pub use bipartite::bipartite;
pub use exact::{Exact, ExactError, MAX_EXACT_NODES};
pub use graph::{Direction, GraphError, LabelledGraph};
pub use pair::{MAX_NODES, Pair, PairError};
pub use path::{Edit, EditError, EditPath, Matching, MatchingError};
pub use sinkhorn::Approximate;

/// x
pub fn approx(pair: &Pair) -> usize { pair.ceiling() - pair.value(&Approximate::default().solve(pair)) }
/// x
pub fn approx_image(pair: &Pair) -> Vec<u32> { Approximate::default().solve(pair) }
/// x
pub fn exact(pair: &Pair, known: &[u32]) -> usize { pair.ceiling() - pair.value(&Exact::default().improve(pair, known).unwrap()) }
