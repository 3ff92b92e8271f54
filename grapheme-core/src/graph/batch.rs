//! The form that is computed on: flat arrays, one node a code point.

use super::builder::Builder;
use super::{Edge, EdgeKind, GraphemeEdge, GraphemeGraph, NodeKind, Topology, TopologyError};
use crate::kept::{Kept, KeptText};
use petgraph::Direction;
use petgraph::visit::{EdgeRef, IntoEdgeReferences};
use thiserror::Error;

/// The code of a [`NodeKind::Begin`] node, the first number that is not a code point.
pub const BEGIN_CODE: u32 = 0x11_0000;

/// The code of a [`NodeKind::End`] node.
pub const END_CODE: u32 = 0x11_0001;

/// Many graphs side by side, as flat arrays.
///
/// Each graph is a Begin node, the nodes of its graphemes in order, and an End node. The nodes of a grapheme are the code
/// points of its canonical decomposition (NFD), so `é` is `e` and an acute accent, and a Hangul syllable is its jamo; a
/// cluster number keeps them together. The original text is kept, so nothing is lost: not even whether an accent was
/// composed.
///
/// Decomposition is cluster by cluster. For a text this is the NFD of the whole: canonical order moves marks only, and a
/// mark is in one cluster with what precedes it. Marks that Unicode 18 added are an exception, as long as the tables for
/// segmentation are those of Unicode 17: each is still a cluster by itself, so it keeps its place.
///
/// Memory is 9 bytes a node and 4 bytes a grapheme, the text itself, and 4 bytes a graph: 14 bytes a node in ASCII, less
/// in scripts with several nodes a grapheme. Explicit edges come on top. [`Self::bytes_per_node`] measures it.
///
/// ```
/// use grapheme_core::graph::{GraphBatch, NodeKind};
///
/// let batch = GraphBatch::from_texts(&["né", "한"])?;
/// assert_eq!(batch.graphs(), 2);
/// assert_eq!(batch.topology().range(0), 0..5); // Begin, n, e, acute accent, End
/// assert_eq!(batch.codes()[1..4], ['n' as u32, 'e' as u32, 0x301]);
/// assert_eq!(batch.kinds()[3], NodeKind::Mark);
/// assert_eq!((batch.grapheme(3), batch.position(3)), (Some("é"), 1));
/// assert_eq!(batch.text(1), "한");
/// # Ok::<(), grapheme_core::graph::BatchError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GraphBatch {
    pub(super) codes: Kept<u32>,
    /// For each node the number of its cluster; for Begin and End the number of the next cluster.
    pub(super) clusters: Kept<u32>,
    pub(super) kinds: Kept<NodeKind>,
    /// For each cluster its first byte in `text`; at last the length of `text`.
    pub(super) starts: Kept<u32>,
    pub(super) text: KeptText,
    pub(super) topology: Topology,
}

/// Why a batch was not made.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Byte offsets are kept in 32 bits.
    #[error("{bytes} bytes of text in one batch: at most {} fit, so make the batch smaller", u32::MAX)]
    TextTooLong {
        /// The number of bytes in all texts together.
        bytes: usize,
    },
    /// The nodes or edges do not make a topology.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

impl GraphBatch {
    /// A chain for each text, in one pass over the texts.
    ///
    /// `O(bytes)`; sorting the marks of a grapheme adds `O(m log m)` for `m` marks out of order.
    ///
    /// # Errors
    /// [`BatchError::TextTooLong`] beyond 4 GiB of text, [`TopologyError::TooManyNodes`] beyond 2^32 - 1 nodes.
    pub fn from_texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T, IntoIter: Clone>) -> Result<Self, BatchError> {
        let texts = texts.into_iter();
        let mut builder = Builder::of(texts.clone())?;
        for text in texts {
            builder.begin();
            builder.text(text.as_ref());
            builder.end();
        }
        builder.finish(true, Vec::new())
    }

    /// The same for graphs that people made: each node becomes the code points of its label, which are one cluster.
    ///
    /// Nodes are laid out in the topological order of [`GraphemeGraph::nodes`]. If every graph is a
    /// [plain path](GraphemeGraph::is_plain_path), the batch is a chain, and other edges (skip, semantic, structural) are
    /// explicit; a graph from a text gives what [`Self::from_texts`] gives. Otherwise no edge is implied: all edges of
    /// all graphs are explicit, with sequential edges of weight 1 from each code point of a node to the next, from Begin
    /// to every node that no sequential edge enters, and to End from every node that no sequential edge leaves. An edge
    /// goes from the last code point of its source to the first of its target.
    ///
    /// `O(bytes + nodes + edges log edges)`.
    ///
    /// # Errors
    /// As [`Self::from_texts`].
    pub fn from_graphs(graphs: &[GraphemeGraph]) -> Result<Self, BatchError> {
        let bytes = graphs.iter().flat_map(GraphemeGraph::nodes).map(|(_, node)| node.label().len()).sum();
        let chain = graphs.iter().all(GraphemeGraph::is_plain_path);
        let mut builder = Builder::new(graphs.len(), bytes)?;
        let mut edges = Vec::new();
        for graph in graphs {
            lay_out(graph, chain, &mut builder, &mut edges)?;
        }
        builder.finish(chain, edges)
    }

    /// The number of graphs.
    pub fn graphs(&self) -> usize {
        self.topology.graphs()
    }

    /// The number of nodes over all graphs.
    pub fn nodes(&self) -> usize {
        self.codes.len()
    }

    /// Where graphs begin and end, and who is joined to whom.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// For each node its code point, or [`BEGIN_CODE`] or [`END_CODE`].
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// For each node its kind.
    pub fn kinds(&self) -> &[NodeKind] {
        &self.kinds
    }

    /// The text that a graph was made from, to the byte; the labels in order if it was made from a graph.
    pub fn text(&self, graph: usize) -> &str {
        let clusters = self.cluster_range(graph);
        &self.text[self.starts[clusters.start] as usize..self.starts[clusters.end] as usize]
    }

    /// The graphemes of a graph, in order.
    pub fn graphemes(&self, graph: usize) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        self.cluster_range(graph).map(|cluster| self.cluster_text(cluster))
    }

    /// The number of the cluster that a node belongs to, counted over the whole batch; none for Begin and End.
    pub fn cluster(&self, node: usize) -> Option<u32> {
        (!self.is_bound(node)).then(|| self.clusters[node])
    }

    /// The text of the cluster that a node belongs to; none for Begin and End.
    pub fn grapheme(&self, node: usize) -> Option<&str> {
        self.cluster(node).map(|cluster| self.cluster_text(cluster as usize))
    }

    /// Where the cluster of a node stands in the text of its graph, in bytes; none for Begin and End. `O(log graphs)`.
    pub fn span(&self, node: usize) -> Option<std::ops::Range<usize>> {
        let cluster = self.cluster(node)? as usize;
        let first = self.cluster_range(self.topology.graph_of(node as u32)).start;
        let place = |cluster: usize| (self.starts[cluster] - self.starts[first]) as usize;
        Some(place(cluster)..place(cluster + 1))
    }

    /// The position of a node among the nodes of its cluster, from 0; 0 for Begin and End.
    ///
    /// Constant time for the first nodes of a cluster, `O(log nodes)` beyond.
    pub fn position(&self, node: usize) -> usize {
        let same = |other: usize| !self.is_bound(other) && self.clusters[other] == self.clusters[node];
        if self.is_bound(node) || !same(node - 1) {
            0
        } else if !same(node - 2) {
            1
        } else {
            // Cluster numbers never fall. Begin may share the number of the first cluster, but is no part of it.
            let begin = self.topology.range(self.topology.graph_of(node as u32)).start;
            let earlier = &self.clusters[begin + 1..node];
            earlier.len() - earlier.partition_point(|&cluster| cluster < self.clusters[node])
        }
    }

    /// Bytes that are written for each node, explicit edges aside; for an empty batch all of them.
    pub fn bytes_per_node(&self) -> f64 {
        let words = self.codes.len() + self.clusters.len() + self.starts.len() + self.topology.offsets().len();
        let bytes = 4 * words + self.kinds.len() + self.text.len();
        bytes as f64 / self.nodes().max(1) as f64
    }

    /// Bytes of memory that are held for each node, as [`bytes_per_node`](Self::bytes_per_node) counts what is written: less than twice as
    /// many, since vectors of up to a million items have room for a power of two.
    pub fn room_per_node(&self) -> f64 {
        let words = self.codes.capacity() + self.clusters.capacity() + self.starts.capacity();
        let bytes = 4 * (words + self.topology.offsets().len()) + self.kinds.capacity() + self.text.capacity();
        bytes as f64 / self.nodes().max(1) as f64
    }

    fn is_bound(&self, node: usize) -> bool {
        matches!(self.kinds[node], NodeKind::Begin | NodeKind::End)
    }

    /// The clusters of a graph: its Begin and End nodes hold the numbers of the first and of the one after the last.
    fn cluster_range(&self, graph: usize) -> std::ops::Range<usize> {
        let nodes = self.topology.range(graph);
        self.clusters[nodes.start] as usize..self.clusters[nodes.end - 1] as usize
    }

    fn cluster_text(&self, cluster: usize) -> &str {
        &self.text[self.starts[cluster] as usize..self.starts[cluster + 1] as usize]
    }
}

/// Appends the nodes of one graph to `builder` and its explicit edges to `edges`.
fn lay_out(
    graph: &GraphemeGraph,
    chain: bool,
    builder: &mut Builder,
    edges: &mut Vec<Edge>,
) -> Result<(), TopologyError> {
    let index = |node: usize| u32::try_from(node).map_err(|_| TopologyError::TooManyNodes { nodes: node });
    let sequential = |source: u32, target: u32| Edge { source, target, kind: EdgeKind::Sequential, weight: 1.0 };
    let inner = graph.as_petgraph();
    // The first and the last code point of each node, by its index in the petgraph graph.
    let mut spans = vec![(0, 0); inner.node_indices().next_back().map_or(0, |last| last.index() + 1)];
    let mut sinks = Vec::new();

    let begin = index(builder.nodes())?;
    builder.begin();
    for (node, label) in graph.nodes() {
        let first = index(builder.nodes())?;
        builder.label(label.label());
        let last = index(builder.nodes() - 1)?;
        spans[node.index()] = (first, last);
        if !chain {
            edges.extend((first..last).map(|code| sequential(code, code + 1)));
            let is_end = |direction| {
                inner.edges_directed(node, direction).all(|edge| edge.weight().kind != EdgeKind::Sequential)
            };
            if is_end(Direction::Incoming) {
                edges.push(sequential(begin, first));
            }
            if is_end(Direction::Outgoing) {
                sinks.push(last);
            }
        }
    }
    let end = index(builder.nodes())?;
    builder.end();

    for edge in inner.edge_references() {
        let &GraphemeEdge { kind, weight } = edge.weight();
        if !(chain && kind == EdgeKind::Sequential) {
            let (source, target) = (spans[edge.source().index()].1, spans[edge.target().index()].0);
            edges.push(Edge { source, target, kind, weight });
        }
    }
    if !chain {
        edges.extend(sinks.iter().map(|&last| sequential(last, end)));
        if graph.node_count() == 0 {
            edges.push(sequential(begin, end));
        }
    }
    Ok(())
}
