//! Graph edit distance: how many edits lead from one labelled graph to another.
//!
//! An edit relabels, inserts or deletes a node, or inserts or deletes an edge, and costs 1. Read [`LabelledGraph`] first, then
//! [`Method`]: problem and method; [`Distance`] is the answer, and its [`EditPath`] the proof that it is no less than
//! the truth. Every method finds a matching of nodes and counts the edits that it induces, so each is an upper bound:
//!
//! | method | what |
//! |---|---|
//! | [`Exact`] | branch and bound; the judge, for graphs up to about 12 nodes |
//! | [`bipartite`] | one linear assignment (Riesen and Bunke); the baseline |
//! | [`Approximate`] | entropic transport, rounding, local search; polynomial at any size |
//!
//! [`measure`] compares a method with known distances, [`sample`] makes pairs to measure on, [`read`] and [`dot`] read graphs,
//! [`picture`] draws two with their matching. This is a plain number for people; what training descends is
//! [`crate::loss`].

mod bipartite;
pub mod dot;
mod exact;
mod graph;
mod linear;
pub mod measure;
mod pair;
mod path;
pub mod picture;
mod placement;
pub mod read;
mod regrow;
pub mod sample;
mod sinkhorn;
mod soft;
mod tabu;

pub use bipartite::bipartite;
pub use exact::{Exact, ExactError, MAX_EXACT_NODES};
pub use graph::{Direction, GraphError, LabelledGraph};
pub use linear::assign;
pub use pair::{MAX_NODES, Pair, PairError};
pub use path::{Edit, EditError, EditPath, Matching, MatchingError};
pub use sinkhorn::Approximate;

use thiserror::Error;

/// How a distance is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Entropic transport and local search.
    Sinkhorn(Approximate),
    /// One linear assignment.
    Bipartite,
    /// Branch and bound.
    Exact(Exact),
}

/// The answer of a [`Method`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distance {
    /// How many edits the path of the matching has.
    pub distance: usize,
    /// Which nodes become which.
    pub matching: Matching,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DistanceError {
    /// The graphs cannot be compared.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// The exact search does not get there.
    #[error(transparent)]
    Exact(#[from] ExactError),
}

impl Method {
    /// The distance from `a` to `b`, and a matching that induces it.
    ///
    /// ```
    /// use grapheme_train::distance::{Exact, LabelledGraph, Method};
    ///
    /// let a = LabelledGraph::undirected(["C", "C", "O"], &[(0, 1), (1, 2)])?;
    /// let b = LabelledGraph::undirected(["O", "C"], &[(0, 1)])?;
    /// let found = Method::Exact(Exact::default()).compare(&a, &b)?;
    /// assert_eq!(found.distance, 2); // one edge and one carbon less
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`DistanceError`].
    pub fn compare(&self, a: &LabelledGraph, b: &LabelledGraph) -> Result<Distance, DistanceError> {
        let pair = Pair::new(a, b)?;
        let matching = match self {
            Self::Sinkhorn(method) => pair.matching_of(&method.solve(&pair)),
            Self::Bipartite => bipartite(&pair),
            Self::Exact(method) => pair.matching_of(&method.solve(&pair)?),
        };
        Ok(Distance { distance: EditPath::new(a, b, &matching).cost(), matching })
    }
}

#[cfg(test)]
mod tests;
