//! Graphs as the distance sees them: labelled nodes, plain edges, directed or not.

use grapheme_core::GraphemeGraph;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A simple graph with labelled nodes. Edges have no labels, there are no loops and no parallel edges.
///
/// Nodes are numbered from 0. Edges are kept sorted, those of an undirected graph with the smaller node first, so two
/// graphs are equal exactly if they have the same labels and edges under the same numbers.
///
/// ```
/// use grapheme_train::distance::LabelledGraph;
///
/// let water = LabelledGraph::undirected(["O", "H", "H"], &[(0, 1), (2, 0)])?;
/// assert_eq!(water.edges(), [(0, 1), (0, 2)]);
/// # Ok::<(), grapheme_train::distance::GraphError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelledGraph {
    labels: Vec<String>,
    edges: Vec<(usize, usize)>,
    directed: bool,
}

/// Whether edges have a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// An edge leads from its first to its second node.
    Directed,
    /// An edge joins its two nodes.
    Undirected,
}

/// Why labels and edges are no simple graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// An edge to nowhere.
    #[error("edges[{index}]: there is no node {node}, nodes are numbered from 0 to below {nodes}: correct the edge")]
    Dangling {
        /// Its place among the edges.
        index: usize,
        /// The node that it names.
        node: usize,
        /// The number of nodes.
        nodes: usize,
    },
    /// An edge from a node to itself.
    #[error("edges[{index}]: a loop at node {node}, and loops have no place here: leave it out")]
    Loop {
        /// Its place among the edges.
        index: usize,
        /// The node.
        node: usize,
    },
    /// The same edge again.
    #[error("edges[{index}]: the edge {from}-{to} a second time: keep one of them")]
    Duplicate {
        /// Its place among the edges.
        index: usize,
        /// Its first node.
        from: usize,
        /// Its second node.
        to: usize,
    },
}

impl LabelledGraph {
    /// A graph of these nodes and edges. `O(nodes + edges log edges)`.
    ///
    /// # Errors
    /// [`GraphError`], for the first edge that is none.
    pub fn new(labels: Vec<String>, edges: &[(usize, usize)], direction: Direction) -> Result<Self, GraphError> {
        let directed = direction == Direction::Directed;
        let nodes = labels.len();
        let mut placed = Vec::with_capacity(edges.len());
        for (index, &(from, to)) in edges.iter().enumerate() {
            if let Some(&node) = [from, to].iter().find(|&&node| node >= nodes) {
                return Err(GraphError::Dangling { index, node, nodes });
            }
            if from == to {
                return Err(GraphError::Loop { index, node: from });
            }
            let edge = if directed { (from, to) } else { (from.min(to), from.max(to)) };
            placed.push((edge, index));
        }
        placed.sort_unstable();
        let twice = placed.windows(2).filter(|two| two[0].0 == two[1].0).map(|two| two[1].1).min();
        if let Some(index) = twice {
            let (from, to) = edges[index];
            return Err(GraphError::Duplicate { index, from, to });
        }
        Ok(Self { labels, edges: placed.into_iter().map(|(edge, _)| edge).collect(), directed })
    }

    /// A graph whose edges join.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn undirected<L: Into<String>>(
        labels: impl IntoIterator<Item = L>,
        edges: &[(usize, usize)],
    ) -> Result<Self, GraphError> {
        Self::new(labels.into_iter().map(Into::into).collect(), edges, Direction::Undirected)
    }

    /// A graph whose edges lead.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn directed<L: Into<String>>(
        labels: impl IntoIterator<Item = L>,
        edges: &[(usize, usize)],
    ) -> Result<Self, GraphError> {
        Self::new(labels.into_iter().map(Into::into).collect(), edges, Direction::Directed)
    }

    /// The labels of the nodes, in their order.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The edges, sorted.
    pub fn edges(&self) -> &[(usize, usize)] {
        &self.edges
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.labels.len()
    }

    /// Whether edges lead or join.
    pub fn direction(&self) -> Direction {
        if self.directed { Direction::Directed } else { Direction::Undirected }
    }

    /// Whether there is an edge `from`-`to`. `O(log edges)`.
    pub fn has_edge(&self, from: usize, to: usize) -> bool {
        self.edges.binary_search(&self.ordered((from, to))).is_ok()
    }

    /// An edge the way it is kept: of an undirected graph, the smaller node first.
    pub(super) fn ordered(&self, (from, to): (usize, usize)) -> (usize, usize) {
        if self.directed || from < to { (from, to) } else { (to, from) }
    }

    /// The same graph with node `i` at place `places[i]`.
    ///
    /// # Panics
    /// If `places` is no permutation of the nodes.
    #[must_use]
    pub fn renumbered(&self, places: &[usize]) -> Self {
        assert_eq!(places.len(), self.nodes(), "one place for each node");
        let mut labels = vec![None; self.nodes()];
        for (label, &place) in self.labels.iter().zip(places) {
            assert!(labels[place].replace(label.clone()).is_none(), "two nodes at place {place}");
        }
        let labels = labels.into_iter().flatten().collect();
        let edges: Vec<_> = self.edges.iter().map(|&(from, to)| (places[from], places[to])).collect();
        Self::new(labels, &edges, self.direction()).expect("renumbering keeps a simple graph simple")
    }

    /// A grapheme graph as a directed graph, in topological order. Kinds and weights of edges are left out, parallel
    /// edges of different kinds are one.
    pub fn from_graphemes(graph: &GraphemeGraph) -> Self {
        let mut places = vec![0; graph.nodes().map(|(id, _)| id.index() + 1).max().unwrap_or(0)];
        let mut labels = Vec::with_capacity(graph.node_count());
        for (place, (id, node)) in graph.nodes().enumerate() {
            places[id.index()] = place;
            labels.push(node.label().to_owned());
        }
        let mut edges: Vec<_> =
            graph.edges().map(|(_, from, to, _)| (places[from.index()], places[to.index()])).collect();
        edges.sort_unstable();
        edges.dedup();
        Self { labels, edges, directed: true }
    }
}
