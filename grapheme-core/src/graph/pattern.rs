//! Runs of nodes made one node, and back.

use super::grapheme_graph::{GraphError, GraphemeEdge, GraphemeGraph, GraphemeNode};
use petgraph::stable_graph::NodeIndex;
use std::ops::Range;

/// What a node remembers that was made of several: they, and the edges between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pattern {
    pub(super) parts: Vec<GraphemeNode>,
    /// Source and target by their place in `parts`.
    pub(super) edges: Vec<(usize, usize, GraphemeEdge)>,
}

impl Pattern {
    /// The nodes that it was made of, in order. At least one.
    pub fn parts(&self) -> &[GraphemeNode] {
        &self.parts
    }

    /// A pattern that [`GraphemeGraph::expanded`] can restore.
    ///
    /// # Errors
    /// [`GraphError::Pattern`] without parts, or with an edge that is not between two of them and forward.
    pub(super) fn new(parts: Vec<GraphemeNode>, edges: Vec<(usize, usize, GraphemeEdge)>) -> Result<Self, GraphError> {
        let fault = |reason: String| Err(GraphError::Pattern(reason));
        if parts.is_empty() {
            return fault("a pattern has no parts: leave it out".to_owned());
        }
        match edges.iter().find(|(source, target, _)| source >= target || *target >= parts.len()) {
            Some((source, target, _)) => {
                fault(format!("edge {source} -> {target} of a pattern of {} must go forward within it", parts.len()))
            }
            None => Ok(Self { parts, edges }),
        }
    }

    /// The labels of the parts as one text.
    pub(super) fn label(&self) -> String {
        self.parts.iter().map(GraphemeNode::label).collect()
    }
}

impl GraphemeGraph {
    /// The graph with each of `runs` made one node, which remembers what it was made of; its label is theirs in a row.
    ///
    /// A run is a range of places in the order of [`nodes`](Self::nodes). Runs are given in order and do not overlap. Edges
    /// into a run must enter its first node and edges out of it leave its last, so that
    /// [`expanded`](Self::expanded) knows where they were; edges within are remembered. `O(nodes + edges)`.
    ///
    /// ```
    /// use grapheme_core::GraphemeGraph;
    ///
    /// let graph = GraphemeGraph::from_text("gyöngy")?;
    /// let short = graph.compressed(&[0..2, 4..6])?;
    /// let labels: Vec<&str> = short.nodes().map(|(_, node)| node.label()).collect();
    /// assert_eq!(labels, ["gy", "ö", "n", "gy"]);
    /// assert_eq!(short.expanded()?.to_json(), graph.to_json());
    /// # Ok::<(), grapheme_core::graph::GraphError>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Pattern`] naming what is no run.
    pub fn compressed(&self, runs: &[Range<usize>]) -> Result<Self, GraphError> {
        let nodes: Vec<(NodeIndex, &GraphemeNode)> = self.nodes().collect();
        let mut group = Vec::with_capacity(nodes.len());
        for run in runs {
            if run.start < group.len() || run.is_empty() || run.end > nodes.len() {
                let reason = format!("{run:?} of {} nodes: runs must be given in order, and not overlap", nodes.len());
                return Err(GraphError::Pattern(reason));
            }
            group.extend((group.len()..run.start).map(|place| place..place + 1));
            group.extend(run.clone().map(|_| run.clone()));
        }
        group.extend((group.len()..nodes.len()).map(|place| place..place + 1));
        let mut places = vec![0; nodes.iter().map(|(id, _)| id.index() + 1).max().unwrap_or(0)];
        nodes.iter().enumerate().for_each(|(place, (id, _))| places[id.index()] = place);

        let (mut outer, mut inner) = (Vec::new(), vec![Vec::new(); nodes.len()]);
        for (_, source, target, edge) in self.edges() {
            let (source, target) = (places[source.index()], places[target.index()]);
            let (from, to) = (&group[source], &group[target]);
            if from == to {
                inner[from.start].push((source - from.start, target - from.start, edge));
            } else if source + 1 == from.end && target == to.start {
                outer.push((from.start, to.start, edge));
            } else {
                let label = |place: usize| nodes[place].1.label();
                return Err(GraphError::Pattern(format!(
                    "the edge from {:?} to {:?} has an end inside {:?}: an edge may enter the first node of a run and leave \
                     the last",
                    label(source),
                    label(target),
                    if source + 1 == from.end { to } else { from },
                )));
            }
        }
        let mut waiting = runs.iter().peekable();
        let mut short = Self::new();
        let mut made = vec![NodeIndex::new(0); nodes.len()];
        for run in group.chunk_by(|a, b| a == b).map(|same| &same[0]) {
            made[run.start] = if waiting.next_if_eq(&run).is_some() {
                let parts = nodes[run.clone()].iter().map(|(_, node)| (*node).clone()).collect();
                let mut edges = std::mem::take(&mut inner[run.start]);
                edges.sort_by_key(|&(source, target, edge)| (source, target, edge.kind));
                short.push(GraphemeNode::of_pattern(Pattern::new(parts, edges)?))?
            } else {
                short.push(nodes[run.start].1.clone())?
            };
        }
        let edges: Vec<_> =
            outer.into_iter().map(|(source, target, edge)| (made[source], made[target], edge)).collect();
        short.connect_all(&edges).map_err(|(_, error)| error)
    }

    /// The inverse of [`compressed`](Self::compressed), however often that was done: every node that was made of several is these
    /// again, down to those that were made of none, and the graph is as it was, to the byte of its JSON.
    /// `O((nodes + edges) depth)` for patterns within patterns to a depth.
    ///
    /// # Errors
    /// [`GraphError::TooManyNodes`].
    pub fn expanded(&self) -> Result<Self, GraphError> {
        let mut long = self.expanded_once()?;
        while long.nodes().any(|(_, node)| node.pattern().is_some()) {
            long = long.expanded_once()?;
        }
        Ok(long)
    }

    /// The outermost patterns undone.
    fn expanded_once(&self) -> Result<Self, GraphError> {
        let mut long = Self::new();
        let mut ends =
            vec![(NodeIndex::new(0), NodeIndex::new(0)); self.nodes().map(|(id, _)| id.index() + 1).max().unwrap_or(0)];
        let mut edges = Vec::new();
        for (id, node) in self.nodes() {
            ends[id.index()] = match node.pattern() {
                None => {
                    let same = long.push(node.clone())?;
                    (same, same)
                }
                Some(pattern) => {
                    let parts = pattern.parts.iter().map(|part| long.push(part.clone()));
                    let parts: Vec<NodeIndex> = parts.collect::<Result<_, _>>()?;
                    edges.extend(
                        pattern.edges.iter().map(|&(source, target, edge)| (parts[source], parts[target], edge)),
                    );
                    (parts[0], parts[parts.len() - 1])
                }
            };
        }
        edges.extend(
            self.edges().map(|(_, source, target, edge)| (ends[source.index()].1, ends[target.index()].0, edge)),
        );
        long.connect_all(&edges).map_err(|(_, error)| error)
    }
}
