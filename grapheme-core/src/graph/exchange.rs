//! Grapheme graphs as DOT, to look at, and as JSON, to keep and to exchange.

use super::grapheme_graph::GraphemeNode;
use super::{EdgeKind, GraphError, GraphemeEdge, GraphemeGraph, Pattern};
use petgraph::stable_graph::NodeIndex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use thiserror::Error;

/// The version of the JSON form that [`GraphemeGraph::to_json`] writes and [`GraphemeGraph::from_json`] reads.
pub const JSON_VERSION: u32 = 1;

/// Why a JSON text is not a grapheme graph.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON, or not with these fields. The message names line and column.
    #[error("not a grapheme graph in JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Written by another version of the program.
    #[error("version {found} of the JSON form, but this program reads version {JSON_VERSION}: write it again")]
    Version {
        /// The version found.
        found: u32,
    },
    /// A node that a graph refuses.
    #[error("nodes[{index}]: {cause}")]
    Node {
        /// Its place in `nodes`.
        index: usize,
        /// What is wrong with it.
        cause: GraphError,
    },
    /// An edge that a graph refuses.
    #[error("edges[{index}]: {cause}")]
    Edge {
        /// Its place in `edges`.
        index: usize,
        /// What is wrong with it.
        cause: GraphError,
    },
    /// An edge to nowhere.
    #[error("edges[{index}]: there is no nodes[{node}], they end before {nodes}: correct the edge or add the node")]
    Dangling {
        /// Its place in `edges`.
        index: usize,
        /// The node that it names.
        node: usize,
        /// The number of nodes.
        nodes: usize,
    },
    /// A second edge of one kind between the same nodes.
    #[error("edges[{index}]: a second {kind:?} edge from nodes[{from}] to nodes[{to}]: keep one of them")]
    Duplicate {
        /// Its place in `edges`.
        index: usize,
        /// Where it leaves.
        from: usize,
        /// Where it enters.
        to: usize,
        /// Its kind.
        kind: EdgeKind,
    },
}

impl GraphemeGraph {
    /// The graph in the language of Graphviz, from left to right in topological order.
    ///
    /// Sequential edges are solid, skip edges dotted, semantic edges dashed, structural edges bold; a weight other than 1
    /// is written at its edge. White space and control characters are written as `\u{a}`.
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph grapheme {\n  rankdir=LR;\n");
        for (id, node) in self.nodes() {
            dot.push_str(&format!("  n{} [label=\"{}\"];\n", id.index(), escape(node.label())));
        }
        for (_, source, target, edge) in self.edges() {
            let style = match edge.kind {
                EdgeKind::Sequential => "solid",
                EdgeKind::Skip => "dotted",
                EdgeKind::Semantic => "dashed",
                EdgeKind::Structural => "bold",
            };
            let weight = if edge.weight == 1.0 { String::new() } else { format!(", label=\"{}\"", edge.weight) };
            dot.push_str(&format!("  n{} -> n{} [style={style}{weight}];\n", source.index(), target.index()));
        }
        dot.push_str("}\n");
        dot
    }

    /// The graph as JSON:
    ///
    /// ```json
    /// {"version":1,
    ///  "nodes":[{"label":"a"},{"label":"b","activation":[0.5]}],
    ///  "edges":[{"source":0,"target":1,"kind":"Sequential","weight":1.0}]}
    /// ```
    ///
    /// Nodes are written in topological order and edges by source, target and kind, so equal graphs give equal bytes.
    /// `source` and `target` count from 0 in `nodes`. A node that was made of several has a `pattern` of `nodes` and `edges`, in
    /// the same form. Reading it back gives the same graph with nodes numbered in this
    /// order. `O(nodes + edges log edges)`.
    pub fn to_json(&self) -> String {
        let mut places = vec![0; self.nodes().map(|(id, _)| id.index() + 1).max().unwrap_or(0)];
        let mut nodes = Vec::with_capacity(self.node_count());
        for (place, (id, node)) in self.nodes().enumerate() {
            places[id.index()] = place;
            nodes.push(PlainNode::of(node));
        }
        let mut edges: Vec<PlainEdge> = self
            .edges()
            .map(|(_, source, target, edge)| PlainEdge::new(places[source.index()], places[target.index()], edge))
            .collect();
        edges.sort_by_key(PlainEdge::key);
        serde_json::to_string(&PlainGraph { version: JSON_VERSION, nodes, edges })
            .expect("strings, numbers and lists can always be written as JSON")
    }

    /// Reads what [`Self::to_json`] writes, or what a person wrote: `activation` and `weight` may be left out, and nodes
    /// may stand in any order. The node at place `i` of `nodes` gets index `i`.
    ///
    /// `O(bytes + edges log edges)`. Where all edges lead from earlier to later nodes, as [`Self::to_json`] writes them,
    /// the topological order of the graph is that of `nodes`.
    ///
    /// # Errors
    /// Any [`JsonError`], with the place of the node or edge: empty labels, numbers that are not finite, dangling edges,
    /// two edges of a kind between the same nodes, and the edge that would close a cycle.
    ///
    /// ```
    /// use grapheme_core::graph::GraphemeGraph;
    ///
    /// let graph = GraphemeGraph::from_text("né")?;
    /// assert_eq!(GraphemeGraph::from_json(&graph.to_json())?.to_text()?, "né");
    ///
    /// let loose = r#"{"version":1,"nodes":[{"label":"a"}],"edges":[{"source":0,"target":7,"kind":"Skip"}]}"#;
    /// let error = GraphemeGraph::from_json(loose).unwrap_err();
    /// assert_eq!(error.to_string(), "edges[0]: there is no nodes[7], they end before 1: correct the edge or add the node");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_json(json: &str) -> Result<Self, JsonError> {
        // The version first: the fields of another version may differ, and that would be a misleading complaint.
        let Version { version } = serde_json::from_str(json)?;
        if version != JSON_VERSION {
            return Err(JsonError::Version { found: version });
        }
        let plain: PlainGraph = serde_json::from_str(json)?;
        let mut graph = Self::new();
        for (index, node) in plain.nodes.into_iter().enumerate() {
            let refuse = |cause| JsonError::Node { index, cause };
            let activation = node.activation.clone();
            let id = graph.push(node.node().map_err(refuse)?).map_err(refuse)?;
            graph.set_activation(id, activation).map_err(refuse)?;
        }
        let nodes = graph.node_count();
        let mut seen = BTreeSet::new();
        let mut edges = Vec::with_capacity(plain.edges.len());
        for (index, edge) in plain.edges.iter().enumerate() {
            let &PlainEdge { source, target, kind, weight } = edge;
            if let Some(&node) = [source, target].iter().find(|&&node| node >= nodes) {
                return Err(JsonError::Dangling { index, node, nodes });
            }
            if !seen.insert(edge.key()) {
                return Err(JsonError::Duplicate { index, from: source, to: target, kind });
            }
            let edge = GraphemeEdge::new(kind, weight).map_err(|cause| JsonError::Edge { index, cause })?;
            edges.push((NodeIndex::new(source), NodeIndex::new(target), edge));
        }
        graph.connect_all(&edges).map_err(|(index, cause)| JsonError::Edge { index, cause })
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainGraph {
    version: u32,
    nodes: Vec<PlainNode>,
    edges: Vec<PlainEdge>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainNode {
    label: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    activation: Vec<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pattern: Option<PlainPattern>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainPattern {
    nodes: Vec<PlainNode>,
    edges: Vec<PlainEdge>,
}

impl PlainNode {
    fn of(node: &GraphemeNode) -> Self {
        let pattern = node.pattern().map(|pattern| PlainPattern {
            nodes: pattern.parts.iter().map(Self::of).collect(),
            edges: pattern.edges.iter().map(|&(source, target, edge)| PlainEdge::new(source, target, edge)).collect(),
        });
        Self { label: node.label().to_owned(), activation: node.activation().to_vec(), pattern }
    }

    /// The node, with the activations of its parts but without its own.
    fn node(self) -> Result<GraphemeNode, GraphError> {
        let Some(PlainPattern { nodes, edges }) = self.pattern else { return GraphemeNode::new(&self.label) };
        let part = |plain: Self| {
            let activation = plain.activation.clone();
            plain.node()?.with_activation(activation)
        };
        let edge = |plain: PlainEdge| {
            GraphemeEdge::new(plain.kind, plain.weight).map(|edge| (plain.source, plain.target, edge))
        };
        let parts = nodes.into_iter().map(part).collect::<Result<Vec<_>, _>>()?;
        let pattern = Pattern::new(parts, edges.into_iter().map(edge).collect::<Result<Vec<_>, _>>()?)?;
        if pattern.label() != self.label {
            let reason = format!("{:?} is not the labels of its parts in a row: {:?}", self.label, pattern.label());
            return Err(GraphError::Pattern(reason));
        }
        Ok(GraphemeNode::of_pattern(pattern))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainEdge {
    source: usize,
    target: usize,
    kind: EdgeKind,
    #[serde(default = "plain_weight")]
    weight: f32,
}

impl PlainEdge {
    fn new(source: usize, target: usize, GraphemeEdge { kind, weight }: GraphemeEdge) -> Self {
        Self { source, target, kind, weight }
    }

    fn key(&self) -> (usize, usize, EdgeKind) {
        (self.source, self.target, self.kind)
    }
}

fn plain_weight() -> f32 {
    1.0
}

/// A label inside a quoted DOT string. Graphviz also reads HTML entities, so `&` is written as one.
fn escape(label: &str) -> String {
    let mut escaped = String::with_capacity(label.len());
    for c in label.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            '&' => escaped.push_str("&amp;"),
            c if c.is_control() || c.is_whitespace() => escaped.push_str(&format!("\\\\u{{{:x}}}", c as u32)),
            c => escaped.push(c),
        }
    }
    escaped
}
