//! Who is joined to whom in a disjoint union of directed acyclic graphs.

use super::EdgeKind;
use crate::kept::Kept;
use thiserror::Error;

/// One explicit edge between two nodes of the same graph, from a smaller to a larger index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edge {
    /// Index of the node that the edge leaves, in the whole batch.
    pub source: u32,
    /// Index of the node that the edge enters, in the whole batch.
    pub target: u32,
    /// What the edge says.
    pub kind: EdgeKind,
    /// Its weight; 1 for a plain edge.
    pub weight: f32,
}

/// Explicit edges in compressed sparse row form: for each node, its neighbours on one side in increasing order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edges {
    starts: Vec<u32>,
    edges: Vec<Edge>,
}

impl Edges {
    /// The edges of `node`, sorted by the index of the other node. Empty where the topology has no explicit edges.
    pub fn of(&self, node: usize) -> &[Edge] {
        match self.starts.get(node..node + 2) {
            Some(range) => &self.edges[range[0] as usize..range[1] as usize],
            None => &[],
        }
    }

    /// All edges, grouped by node.
    pub fn as_slice(&self) -> &[Edge] {
        &self.edges
    }

    /// Sorts `edges` by `key` (the node that each belongs to), then by the other end.
    fn group(mut edges: Vec<Edge>, nodes: usize, key: impl Fn(&Edge) -> (u32, u32)) -> Self {
        if edges.is_empty() {
            return Self::default();
        }
        edges.sort_by_key(|edge| (key(edge), edge.kind));
        let mut starts = vec![0; nodes + 1];
        for edge in &edges {
            starts[key(edge).0 as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        Self { starts, edges }
    }
}

/// The shape of a batch: where each graph begins and ends, and its edges.
///
/// Invariants: node indices within a graph are a topological order, so every edge goes from a smaller to a larger index;
/// no edge joins two graphs. In a *chain* consecutive nodes of a graph are joined by a sequential edge, and nodes at
/// distance 2^k by a skip edge; both are implied by the offsets and take no memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    offsets: Kept<u32>,
    chain: bool,
    incoming: Edges,
    outgoing: Edges,
    /// For each outgoing edge its place among the incoming ones.
    places: Vec<u32>,
}

/// Why a topology was refused.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// An edge does not go forward within one graph.
    #[error("edge {source_node} -> {target_node}: an edge must go from a smaller to a larger index within one graph")]
    NotForward {
        /// Where the edge leaves.
        source_node: u32,
        /// Where the edge enters.
        target_node: u32,
    },
    /// A weight is not a finite number.
    #[error("edge {source_node} -> {target_node}: weight {weight} is not finite")]
    Weight {
        /// Where the edge leaves.
        source_node: u32,
        /// Where the edge enters.
        target_node: u32,
        /// The weight found.
        weight: f32,
    },
    /// More nodes than an index can name.
    #[error("{nodes} nodes in one batch: at most {} fit, so make the batch smaller", u32::MAX)]
    TooManyNodes {
        /// The number of nodes asked for.
        nodes: usize,
    },
}

impl Topology {
    /// A disjoint union of chains: graph `g` has `lengths[g]` nodes.
    ///
    /// # Errors
    /// [`TopologyError::TooManyNodes`].
    pub fn chains(lengths: impl IntoIterator<Item = usize>) -> Result<Self, TopologyError> {
        Self::new(lengths, true, Vec::new())
    }

    /// A disjoint union of graphs with explicit edges, and with the implied edges of chains if `chain`.
    ///
    /// # Errors
    /// Any [`TopologyError`]. `O(nodes + edges log edges)`.
    pub fn new(lengths: impl IntoIterator<Item = usize>, chain: bool, edges: Vec<Edge>) -> Result<Self, TopologyError> {
        let lengths = lengths.into_iter();
        let mut offsets = Kept::with_capacity(lengths.size_hint().0 + 1);
        offsets.push(0u32);
        let mut nodes = 0usize;
        for length in lengths {
            nodes = nodes.saturating_add(length);
            offsets.push(u32::try_from(nodes).map_err(|_| TopologyError::TooManyNodes { nodes })?);
        }
        let (incoming, outgoing, places) = (Edges::default(), Edges::default(), Vec::new());
        let mut topology = Self { offsets, chain, incoming, outgoing, places };
        for &Edge { source, target, weight, .. } in &edges {
            let (source_node, target_node) = (source, target);
            let within = (target as usize) < nodes && topology.graph_of(source) == topology.graph_of(target);
            if source >= target || !within {
                return Err(TopologyError::NotForward { source_node, target_node });
            }
            if !weight.is_finite() {
                return Err(TopologyError::Weight { source_node, target_node, weight });
            }
        }
        topology.incoming = Edges::group(edges, nodes, |edge| (edge.target, edge.source));
        let edges = topology.incoming.as_slice();
        topology.places = (0..edges.len() as u32).collect();
        topology.places.sort_by_key(|&place| {
            let edge = &edges[place as usize];
            (edge.source, edge.target, edge.kind)
        });
        topology.outgoing = Edges::group(edges.to_vec(), nodes, |edge| (edge.source, edge.target));
        Ok(topology)
    }

    /// The same graphs with other explicit edges.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn rewired(&self, edges: Vec<Edge>) -> Result<Self, TopologyError> {
        Self::new(self.offsets.windows(2).map(|pair| (pair[1] - pair[0]) as usize), self.chain, edges)
    }

    /// The number of graphs.
    pub fn graphs(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The number of nodes over all graphs.
    pub fn nodes(&self) -> usize {
        self.offsets[self.graphs()] as usize
    }

    /// Where each graph begins, and at last the number of nodes: `graphs + 1` numbers.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// The nodes of one graph.
    pub fn range(&self, graph: usize) -> std::ops::Range<usize> {
        self.offsets[graph] as usize..self.offsets[graph + 1] as usize
    }

    /// The graph that a node belongs to, by binary search.
    pub fn graph_of(&self, node: u32) -> usize {
        self.offsets.partition_point(|&offset| offset <= node) - 1
    }

    /// Whether consecutive nodes are joined without an explicit edge.
    pub fn is_chain(&self) -> bool {
        self.chain
    }

    /// Explicit edges by the node that they enter.
    pub fn incoming(&self) -> &Edges {
        &self.incoming
    }

    /// Explicit edges by the node that they leave.
    pub fn outgoing(&self) -> &Edges {
        &self.outgoing
    }

    /// The explicit edges that enter `node`, each with its *place*: its index among all of [`incoming`](Self::incoming),
    /// by which weights that are learned are stored beside a topology.
    pub fn entering(&self, node: usize) -> impl Iterator<Item = (usize, &Edge)> {
        let start = self.incoming.starts.get(node).map_or(0, |&start| start as usize);
        self.incoming.of(node).iter().enumerate().map(move |(i, edge)| (start + i, edge))
    }

    /// The explicit edges that leave `node`, each with the same place.
    pub fn leaving(&self, node: usize) -> impl Iterator<Item = (usize, &Edge)> {
        let start = self.outgoing.starts.get(node).map_or(0, |&start| start as usize);
        self.outgoing.of(node).iter().enumerate().map(move |(i, edge)| (self.places[start + i] as usize, edge))
    }

    /// The places of the explicit edges of one graph.
    pub fn places(&self, graph: usize) -> std::ops::Range<usize> {
        let start = |node: u32| self.incoming.starts.get(node as usize).map_or(0, |&start| start as usize);
        start(self.offsets[graph])..start(self.offsets[graph + 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(source: u32, target: u32) -> Edge {
        Edge { source, target, kind: EdgeKind::Structural, weight: 1.0 }
    }

    #[test]
    fn edges_are_grouped_on_both_sides() {
        let topology = Topology::new([4, 0, 2], false, vec![edge(1, 3), edge(0, 3), edge(0, 1), edge(4, 5)]).unwrap();
        let sources: Vec<u32> = topology.incoming().of(3).iter().map(|e| e.source).collect();
        let targets: Vec<u32> = topology.outgoing().of(0).iter().map(|e| e.target).collect();
        assert_eq!((sources, targets), (vec![0, 1], vec![1, 3]));
        assert_eq!(topology.incoming().of(0), &[]);
        assert_eq!(topology.range(1), 4..4);
        assert_eq!(topology.graph_of(4), 2);
        // Both sides name an edge by the same place.
        let places = |edges: Vec<(usize, &Edge)>| {
            edges
                .into_iter()
                .map(|(place, edge)| {
                    assert_eq!(&topology.incoming().as_slice()[place], edge);
                    place
                })
                .collect::<Vec<_>>()
        };
        let entering: Vec<_> = (0..6).flat_map(|node| places(topology.entering(node).collect())).collect();
        let mut leaving: Vec<_> = (0..6).flat_map(|node| places(topology.leaving(node).collect())).collect();
        leaving.sort_unstable();
        assert_eq!((entering, leaving), ((0..4).collect(), (0..4).collect()));
        assert_eq!([0, 1, 2].map(|graph| topology.places(graph)), [0..3, 3..3, 3..4]);
        assert_eq!(Topology::chains([3]).unwrap().places(0), 0..0);
    }

    #[test]
    fn backward_crossing_and_outlying_edges_are_refused() {
        for (source, target) in [(1, 1), (2, 1), (3, 4), (4, 6)] {
            let refused = Topology::new([4, 2], true, vec![edge(source, target)]);
            assert_eq!(refused, Err(TopologyError::NotForward { source_node: source, target_node: target }));
        }
    }
}
