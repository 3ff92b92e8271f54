//! The form that people build, inspect and edit: a petgraph graph with one node a grapheme.

use super::{EdgeKind, NodeKind, Pattern};
use petgraph::acyclic::Acyclic;
use petgraph::algo::{has_path_connecting, toposort};
use petgraph::data::{Build, Create, DataMapMut};
use petgraph::stable_graph::{EdgeIndex, IndexType, NodeIndex, StableDiGraph};
use petgraph::visit::{Dfs, EdgeRef, VisitMap};
use thiserror::Error;
use unicode_segmentation::UnicodeSegmentation;

/// How many nodes an edge may go back over for petgraph to mend its order. It recurses once a node on a path, so on a long
/// text it would run out of stack.
const NEAR: usize = 1000;

/// A directed acyclic graph of graphemes.
///
/// A node is a grapheme: its label is the text of one extended grapheme cluster (UAX #29), or any other text that should
/// stay one unit, but never empty. An edge has a kind and a finite weight, and between two nodes there is at most one of
/// each kind. That there is no cycle is kept by the type ([`petgraph::acyclic::Acyclic`]), which also keeps a topological
/// order up to date (Pearce and Kelly, ACM J. Exp. Algorithmics 11, 2007).
///
/// Indices stay valid when other nodes and edges are removed. Memory is about 130 bytes a grapheme; to compute, make a
/// [`GraphBatch`](super::GraphBatch).
///
/// ```
/// use grapheme_core::graph::{EdgeKind, GraphemeGraph};
///
/// let mut graph = GraphemeGraph::from_text("cat")?;
/// let ids: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
/// graph.relabel(ids[0], "b")?;
/// graph.connect(ids[1], ids[2], EdgeKind::Semantic, 0.5)?;
/// assert_eq!(graph.to_text()?, "bat");
///
/// let refused = graph.connect(ids[2], ids[0], EdgeKind::Skip, 1.0).unwrap_err().to_string();
/// assert!(refused.starts_with(r#"edge from node 2 ("t") to node 0 ("b") would close a cycle"#));
/// # Ok::<(), grapheme_core::graph::GraphError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct GraphemeGraph(Acyclic<StableDiGraph<GraphemeNode, GraphemeEdge>>);

/// A node: its label and what a network computed for it.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphemeNode {
    label: Box<str>,
    activation: Box<[f32]>,
    pattern: Option<Box<Pattern>>,
}

/// What an edge carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GraphemeEdge {
    /// What it says about its two nodes.
    pub kind: EdgeKind,
    /// Its weight; 1 for a plain edge.
    pub weight: f32,
}

/// Why a graph refused an edit, or has no text.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A label of a node to be.
    #[error("a label may not be empty: remove the node instead")]
    EmptyLabel,
    /// An activation that is not a number.
    #[error("activation[{index}] of a node is {value}: activations must be finite")]
    Activation {
        /// Its place in the vector.
        index: usize,
        /// The value found.
        value: f32,
    },
    /// A weight that is not a number.
    #[error("the weight of an edge is {0}: weights must be finite")]
    Weight(f32),
    /// There is no such node.
    #[error("there is no node {0}: use an index that this graph returned and that was not removed")]
    NoNode(usize),
    /// There is no such edge.
    #[error("there is no edge {0}: use an index that this graph returned and that was not removed")]
    NoEdge(usize),
    /// An edge against the direction of the graph.
    #[error(
        "edge from node {source_node} ({source_label:?}) to node {target_node} ({target_label:?}) would close a cycle: \
         turn it round or leave it out"
    )]
    Cycle {
        /// Index of the node that the edge would leave.
        source_node: usize,
        /// Its label.
        source_label: String,
        /// Index of the node that the edge would enter.
        target_node: usize,
        /// Its label.
        target_label: String,
    },
    /// The sequential edges are no path through all nodes, so there is no one text.
    #[error("{0}, so the graph is no single text: join its nodes in one line by sequential edges")]
    NotOneText(String),
    /// What cannot be made one node so that it can be undone.
    #[error("no pattern: {0}")]
    Pattern(String),
    /// More nodes than an index can name.
    #[error("more than {max} nodes in one graph: split the text")]
    TooManyNodes {
        /// The largest number of nodes.
        max: usize,
    },
}

impl GraphemeGraph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// One node a grapheme, joined in order by sequential edges of weight 1.
    ///
    /// `O(bytes + n log n)` for `n` graphemes, the logarithm being that of the ordered map of positions.
    ///
    /// # Errors
    /// [`GraphError::TooManyNodes`] beyond 2^32 - 1 graphemes.
    pub fn from_text(text: &str) -> Result<Self, GraphError> {
        // As many as there are code points at most; counting those is fast, counting graphemes is the work itself.
        let nodes = text.chars().count();
        let mut graph = Self(Acyclic::with_capacity(nodes, nodes.saturating_sub(1)));
        let mut last = None;
        for cluster in text.graphemes(true) {
            let node = graph.add_node(cluster)?;
            if let Some(last) = last {
                graph.connect(last, node, EdgeKind::Sequential, 1.0)?;
            }
            last = Some(node);
        }
        Ok(graph)
    }

    /// The labels along the sequential path: the inverse of [`Self::from_text`]. `O(nodes + edges)`.
    ///
    /// # Errors
    /// [`GraphError::NotOneText`] unless the sequential edges are one path through all nodes.
    pub fn to_text(&self) -> Result<String, GraphError> {
        self.check_path()?;
        Ok(self.nodes().map(|(_, node)| node.label()).collect())
    }

    /// Whether the sequential edges are one path through all nodes, each of weight 1. `O(nodes + edges)`.
    pub fn is_plain_path(&self) -> bool {
        let plain = |edge: &GraphemeEdge| edge.kind != EdgeKind::Sequential || edge.weight == 1.0;
        self.0.inner().edge_weights().all(plain) && self.check_path().is_ok()
    }

    /// Whether the edges, and not only the order kept beside them, are free of cycles: an independent check of what the
    /// type promises. `O(nodes + edges)`.
    pub fn is_acyclic(&self) -> bool {
        toposort(self.0.inner(), None).is_ok()
    }

    /// The number of nodes.
    pub fn node_count(&self) -> usize {
        self.0.inner().node_count()
    }

    /// The number of edges.
    pub fn edge_count(&self) -> usize {
        self.0.inner().edge_count()
    }

    /// The nodes in a topological order; without edges between them, in the order of being added.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &GraphemeNode)> {
        self.0.nodes_iter().filter_map(|id| Some((id, self.node(id)?)))
    }

    /// The edges, each with its source and its target, in the order of their indices.
    pub fn edges(&self) -> impl Iterator<Item = (EdgeIndex, NodeIndex, NodeIndex, GraphemeEdge)> {
        let inner = self.0.inner();
        inner.edge_indices().filter_map(|id| {
            let (source, target) = inner.edge_endpoints(id)?;
            Some((id, source, target, *inner.edge_weight(id)?))
        })
    }

    /// One node.
    pub fn node(&self, node: NodeIndex) -> Option<&GraphemeNode> {
        self.0.inner().node_weight(node)
    }

    /// The graph as petgraph knows it, for its algorithms.
    pub fn as_petgraph(&self) -> &StableDiGraph<GraphemeNode, GraphemeEdge> {
        self.0.inner()
    }

    /// Adds a node without edges, last in the order.
    ///
    /// # Errors
    /// [`GraphError::EmptyLabel`], [`GraphError::TooManyNodes`].
    pub fn add_node(&mut self, label: &str) -> Result<NodeIndex, GraphError> {
        self.push(GraphemeNode::new(label)?)
    }

    /// The same for a node that is known to be one.
    pub(super) fn push(&mut self, node: GraphemeNode) -> Result<NodeIndex, GraphError> {
        let max = <u32 as IndexType>::max().index();
        if self.node_count() >= max {
            return Err(GraphError::TooManyNodes { max });
        }
        Ok(self.0.add_node(node))
    }

    /// Gives a node another label and returns the old one. Its activation stays; that it was made of several is forgotten.
    ///
    /// # Errors
    /// [`GraphError::EmptyLabel`], [`GraphError::NoNode`].
    pub fn relabel(&mut self, node: NodeIndex, label: &str) -> Result<String, GraphError> {
        let label = GraphemeNode::new(label)?.label;
        let node = self.node_mut(node)?;
        node.pattern = None;
        Ok(std::mem::replace(&mut node.label, label).into())
    }

    /// Keeps a vector with a node, to look at or to compare. It may differ in length from node to node.
    ///
    /// # Errors
    /// [`GraphError::NoNode`], [`GraphError::Activation`].
    pub fn set_activation(&mut self, node: NodeIndex, activation: Vec<f32>) -> Result<(), GraphError> {
        check_activation(&activation)?;
        self.node_mut(node)?.activation = activation.into();
        Ok(())
    }

    /// Removes a node with all its edges. Its neighbours are not joined.
    ///
    /// # Errors
    /// [`GraphError::NoNode`].
    pub fn remove_node(&mut self, node: NodeIndex) -> Result<GraphemeNode, GraphError> {
        // Asked first, since the order of petgraph loses another node if told to remove one that is gone.
        self.known(node)?;
        self.0.remove_node(node).ok_or(GraphError::NoNode(node.index()))
    }

    /// Joins two nodes, or sets the weight of the edge of that kind which joins them already.
    ///
    /// Linear in the number of edges at the source where the order of nodes allows the edge. Where it does not, the order
    /// is mended between the two nodes, or, if they stand far apart, made anew in `O(nodes + edges)`.
    ///
    /// # Errors
    /// [`GraphError::NoNode`], [`GraphError::Weight`], [`GraphError::Cycle`]; the graph is then as before.
    pub fn connect(
        &mut self,
        source: NodeIndex,
        target: NodeIndex,
        kind: EdgeKind,
        weight: f32,
    ) -> Result<EdgeIndex, GraphError> {
        self.known(source)?;
        self.known(target)?;
        let edge = GraphemeEdge::new(kind, weight)?;
        let mut parallel = self.0.inner().edges_connecting(source, target);
        if let Some(id) = parallel.find(|edge| edge.weight().kind == kind).map(|edge| edge.id()) {
            if let Some(known) = self.0.edge_weight_mut(id) {
                *known = edge;
            }
            return Ok(id);
        }
        if self.is_far_ahead(target, source) {
            if has_path_connecting(self.0.inner(), target, source, None) {
                return Err(self.cycle(source, target));
            }
            let mut graph = std::mem::take(&mut self.0).into_inner();
            let id = graph.add_edge(source, target, edge);
            self.0 = Acyclic::try_from(graph).expect("no path leads back, so the edge closes no cycle");
            return Ok(id);
        }
        // Both nodes exist and parallel edges are allowed, so a cycle is the only reason left.
        self.0.try_add_edge(source, target, edge).map_err(|_| self.cycle(source, target))
    }

    /// Adds many edges between known nodes at once, no two of a kind between the same nodes, in `O(nodes + edges)`. The
    /// order of nodes stays if it allows all of them.
    ///
    /// # Errors
    /// The place in `edges` of one that lies on a cycle, and what [`Self::connect`] would say of it.
    pub(super) fn connect_all(
        mut self,
        edges: &[(NodeIndex, NodeIndex, GraphemeEdge)],
    ) -> Result<Self, (usize, GraphError)> {
        if edges.iter().all(|&(source, target, _)| self.0.get_position(source) < self.0.get_position(target)) {
            // Nothing to sort, and none can be refused.
            for &(source, target, edge) in edges {
                self.0.add_edge(source, target, edge);
            }
            return Ok(self);
        }
        let mut graph = self.0.into_inner();
        for &(source, target, edge) in edges {
            graph.add_edge(source, target, edge);
        }
        match toposort(&graph, None) {
            Ok(_) => Ok(Self(Acyclic::try_from(graph).expect("the graph was just sorted"))),
            Err(cycle) => {
                let node = cycle.node_id();
                let mut search = Dfs::new(&graph, node);
                while search.next(&graph).is_some() {}
                // The node is on a cycle, so an edge that enters it comes from what it reaches.
                let closes = |edge: &(NodeIndex, NodeIndex, _)| edge.1 == node && search.discovered.is_visited(&edge.0);
                let place = edges.iter().position(closes).expect("a node of a cycle is entered from the cycle");
                let (source, target, _) = edges[place];
                Err((place, cycle_error(&graph, source, target)))
            }
        }
    }

    /// Removes an edge.
    ///
    /// # Errors
    /// [`GraphError::NoEdge`].
    pub fn remove_edge(&mut self, edge: EdgeIndex) -> Result<GraphemeEdge, GraphError> {
        self.0.remove_edge(edge).ok_or(GraphError::NoEdge(edge.index()))
    }

    fn known(&self, node: NodeIndex) -> Result<&GraphemeNode, GraphError> {
        self.node(node).ok_or(GraphError::NoNode(node.index()))
    }

    fn node_mut(&mut self, node: NodeIndex) -> Result<&mut GraphemeNode, GraphError> {
        self.0.node_weight_mut(node).ok_or(GraphError::NoNode(node.index()))
    }

    fn cycle(&self, source: NodeIndex, target: NodeIndex) -> GraphError {
        cycle_error(self.0.inner(), source, target)
    }

    /// Whether `node` comes before `other` in the order with more than [`NEAR`] nodes from one to the other.
    fn is_far_ahead(&self, node: NodeIndex, other: NodeIndex) -> bool {
        let (from, to) = (self.0.get_position(node), self.0.get_position(other));
        from < to && self.0.range(from..=to).take(NEAR + 1).count() > NEAR
    }

    /// A path through all nodes fixes their topological order, so looking along any one such order decides.
    fn check_path(&self) -> Result<(), GraphError> {
        let inner = self.0.inner();
        let sequential = inner.edge_weights().filter(|edge| edge.kind == EdgeKind::Sequential).count();
        for (a, b) in self.0.nodes_iter().zip(self.0.nodes_iter().skip(1)) {
            if !inner.edges_connecting(a, b).any(|edge| edge.weight().kind == EdgeKind::Sequential) {
                let gap = format!("no sequential edge leads from node {} to node {}", a.index(), b.index());
                return Err(GraphError::NotOneText(gap));
            }
        }
        if sequential + 1 > self.node_count().max(1) {
            let branch = format!("{sequential} sequential edges join {} nodes", self.node_count());
            return Err(GraphError::NotOneText(branch));
        }
        Ok(())
    }
}

fn cycle_error(graph: &StableDiGraph<GraphemeNode, GraphemeEdge>, source: NodeIndex, target: NodeIndex) -> GraphError {
    let label = |node| graph.node_weight(node).map_or_else(String::new, |node| node.label().to_owned());
    GraphError::Cycle {
        source_node: source.index(),
        source_label: label(source),
        target_node: target.index(),
        target_label: label(target),
    }
}

fn check_activation(activation: &[f32]) -> Result<(), GraphError> {
    match activation.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((index, &value)) => Err(GraphError::Activation { index, value }),
        None => Ok(()),
    }
}

impl GraphemeEdge {
    /// An edge with a finite weight.
    ///
    /// # Errors
    /// [`GraphError::Weight`].
    pub fn new(kind: EdgeKind, weight: f32) -> Result<Self, GraphError> {
        if !weight.is_finite() {
            return Err(GraphError::Weight(weight));
        }
        Ok(Self { kind, weight })
    }
}

impl GraphemeNode {
    pub(super) fn new(label: &str) -> Result<Self, GraphError> {
        if label.is_empty() {
            return Err(GraphError::EmptyLabel);
        }
        Ok(Self { label: label.into(), activation: Box::default(), pattern: None })
    }

    /// A node that was made of several.
    pub(super) fn of_pattern(pattern: Pattern) -> Self {
        Self { label: pattern.label().into(), activation: Box::default(), pattern: Some(Box::new(pattern)) }
    }

    /// The same node with a vector of numbers, all finite.
    pub(super) fn with_activation(self, activation: Vec<f32>) -> Result<Self, GraphError> {
        check_activation(&activation)?;
        Ok(Self { activation: activation.into(), ..self })
    }

    /// What it was made of, if it was made of several nodes.
    pub fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_deref()
    }

    /// The text of the node.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The kind of the node, which is that of the first code point of its label.
    pub fn kind(&self) -> NodeKind {
        self.label.chars().next().map_or(NodeKind::Other, NodeKind::of)
    }

    /// What [`GraphemeGraph::set_activation`] kept; empty at first.
    pub fn activation(&self) -> &[f32] {
        &self.activation
    }
}
