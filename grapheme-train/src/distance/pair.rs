//! Two graphs prepared for comparison.
//!
//! With unit costs some cheapest edit path matches every node of the smaller graph: to match two nodes that are left
//! over costs at most 1 instead of 2, and takes no edge away. So with `n <= m` nodes only injections from the smaller
//! into the larger graph are looked at, and
//!
//! `distance = m + edges of both - value`, `value = matched nodes of one label + 2 * edges matched with edges`.

use super::graph::{Direction, LabelledGraph};
use super::path::Matching;
use std::collections::BTreeMap;
use thiserror::Error;

/// The largest graph that is compared: methods keep matrices of nodes by nodes.
pub const MAX_NODES: usize = 8000;

/// Why two graphs cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PairError {
    /// One has directed edges, the other has not.
    #[error("one graph is directed and the other is not: give both the same kind of edges")]
    MixedDirections,
    /// The matrices would be too large.
    #[error("a graph has {nodes} nodes, and at most {MAX_NODES} can be compared: compare parts of it")]
    TooLarge {
        /// Its nodes.
        nodes: usize,
    },
}

/// Two graphs, the smaller one first, labels as numbers.
#[derive(Clone, Debug)]
pub struct Pair {
    pub(super) small: Side,
    pub(super) large: Side,
    swapped: bool,
    directed: bool,
}

/// One of two graphs.
///
/// The code of a node `j` as seen from `i`: 0 without an edge, 1 with one. In a directed graph bit 0 is the edge from `i`
/// to `j` and bit 1 that from `j` to `i`. So the edges that `(i, k)` and `(p, q)` share are the bits that their codes share.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) labels: Vec<u32>,
    pub(super) edges: usize,
    /// `nodes x nodes`.
    codes: Vec<u8>,
    starts: Vec<usize>,
    neighbours: Vec<(u32, u8)>,
}

impl Side {
    fn new(graph: &LabelledGraph, numbers: &BTreeMap<&str, u32>) -> Self {
        let nodes = graph.nodes();
        let mut codes = vec![0; nodes * nodes];
        let back = if graph.direction() == Direction::Directed { 2 } else { 1 };
        for &(from, to) in graph.edges() {
            codes[from * nodes + to] |= 1;
            codes[to * nodes + from] |= back;
        }
        let mut starts = Vec::with_capacity(nodes + 1);
        let mut neighbours = Vec::with_capacity(2 * graph.edges().len());
        starts.push(0);
        for i in 0..nodes {
            let row = codes[i * nodes..(i + 1) * nodes].iter().zip(0..);
            neighbours.extend(row.filter(|(code, _)| **code != 0).map(|(&code, j)| (j, code)));
            starts.push(neighbours.len());
        }
        let labels = graph.labels().iter().map(|label| numbers[label.as_str()]).collect();
        Self { labels, edges: graph.edges().len(), codes, starts, neighbours }
    }

    pub(super) fn nodes(&self) -> usize {
        self.labels.len()
    }

    /// The nodes that share an edge with `i`, in order, with their codes.
    pub(super) fn neighbours(&self, i: usize) -> &[(u32, u8)] {
        &self.neighbours[self.starts[i]..self.starts[i + 1]]
    }

    /// The code of `j` as seen from `i`.
    #[inline]
    pub(super) fn code(&self, i: usize, j: usize) -> u8 {
        self.codes[i * self.labels.len() + j]
    }

    /// How many edges leave node `i`, and how many enter it; all of an undirected graph leave.
    pub(super) fn degrees(&self, i: usize) -> [usize; 2] {
        let of = |bit| self.neighbours(i).iter().filter(|(_, code)| code & bit != 0).count();
        [of(1), of(2)]
    }
}

impl Pair {
    /// Prepares two graphs. `O(n^2 + m^2)` time and bytes.
    ///
    /// # Errors
    /// [`PairError`].
    pub fn new(a: &LabelledGraph, b: &LabelledGraph) -> Result<Self, PairError> {
        if a.direction() != b.direction() {
            return Err(PairError::MixedDirections);
        }
        let nodes = a.nodes().max(b.nodes());
        if nodes > MAX_NODES {
            return Err(PairError::TooLarge { nodes });
        }
        let mut numbers = BTreeMap::new();
        for label in a.labels().iter().chain(b.labels()) {
            let next = numbers.len() as u32;
            numbers.entry(label.as_str()).or_insert(next);
        }
        let directed = a.direction() == Direction::Directed;
        let swapped = a.nodes() > b.nodes();
        let (small, large) = if swapped { (b, a) } else { (a, b) };
        Ok(Self { small: Side::new(small, &numbers), large: Side::new(large, &numbers), swapped, directed })
    }

    pub(super) fn is_directed(&self) -> bool {
        self.directed
    }

    /// What everything costs that no value is subtracted from.
    pub(super) fn ceiling(&self) -> usize {
        self.large.nodes() + self.small.edges + self.large.edges
    }

    /// The value of an injection, `image[i]` being the node of the larger graph that `i` is matched with.
    pub(super) fn value(&self, image: &[u32]) -> usize {
        let mut twice = 0;
        let mut same = 0;
        for (i, &p) in image.iter().enumerate() {
            same += usize::from(self.small.labels[i] == self.large.labels[p as usize]);
            for &(k, code) in self.small.neighbours(i) {
                twice += (code & self.large.code(p as usize, image[k as usize] as usize)).count_ones() as usize;
            }
        }
        // Each edge was seen from both ends.
        same + twice
    }

    /// A lower bound of the distance: labels and numbers of edges.
    pub(super) fn counting_bound(&self) -> usize {
        let mut spare = BTreeMap::<u32, usize>::new();
        self.large.labels.iter().for_each(|&label| *spare.entry(label).or_default() += 1);
        let mut unlike = self.large.nodes();
        for label in &self.small.labels {
            if let Some(left) = spare.get_mut(label).filter(|left| **left > 0) {
                *left -= 1;
                unlike -= 1;
            }
        }
        unlike + self.small.edges.abs_diff(self.large.edges)
    }

    /// Matched nodes, of the smaller and of the larger graph, as a matching of the first graph with the second.
    pub(super) fn matching(&self, matched: impl Iterator<Item = (usize, usize)>) -> Matching {
        let mut partners = vec![None; if self.swapped { self.large.nodes() } else { self.small.nodes() }];
        for (i, p) in matched {
            let (from, to) = if self.swapped { (p, i) } else { (i, p) };
            partners[from] = Some(to);
        }
        Matching::from_injection(partners)
    }

    /// The matching of an injection.
    pub(super) fn matching_of(&self, image: &[u32]) -> Matching {
        self.matching(image.iter().enumerate().map(|(i, &p)| (i, p as usize)))
    }
}
