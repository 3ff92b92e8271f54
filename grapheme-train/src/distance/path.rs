//! From a matching of nodes to the edit path that it induces.

use super::graph::LabelledGraph;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use thiserror::Error;

/// Which node of a second graph each node of a first is matched with; no two with the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Matching {
    partners: Vec<Option<usize>>,
}

/// Two nodes were matched with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("nodes {first} and {second} are both matched with {partner}: a node has one partner at most")]
pub struct MatchingError {
    /// The one node.
    pub first: usize,
    /// The other.
    pub second: usize,
    /// Their partner.
    pub partner: usize,
}

impl Matching {
    /// A matching with these partners of the first graph's nodes.
    ///
    /// # Errors
    /// [`MatchingError`] where two nodes have one partner.
    pub fn new(partners: Vec<Option<usize>>) -> Result<Self, MatchingError> {
        let mut taken: Vec<_> = partners.iter().enumerate().filter_map(|(i, j)| j.map(|j| (j, i))).collect();
        taken.sort_unstable();
        match taken.windows(2).find(|two| two[0].0 == two[1].0) {
            Some(two) => Err(MatchingError { first: two[0].1, second: two[1].1, partner: two[0].0 }),
            None => Ok(Self { partners }),
        }
    }

    pub(super) fn from_injection(partners: Vec<Option<usize>>) -> Self {
        Self { partners }
    }

    /// The partner of each node of the first graph.
    pub fn partners(&self) -> &[Option<usize>] {
        &self.partners
    }
}

/// One edit. Nodes of the first graph keep their numbers; inserted nodes are numbered on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum Edit {
    /// Takes an edge away.
    DeleteEdge {
        /// Its first node.
        from: usize,
        /// Its second node.
        to: usize,
    },
    /// Takes away a node without edges.
    DeleteNode {
        /// The node.
        node: usize,
        /// What it was labelled.
        label: String,
    },
    /// Gives a node another label.
    Relabel {
        /// The node.
        node: usize,
        /// Its label before.
        from: String,
        /// Its label after.
        to: String,
    },
    /// Adds a node without edges.
    InsertNode {
        /// Its number.
        node: usize,
        /// Its label.
        label: String,
    },
    /// Adds an edge.
    InsertEdge {
        /// Its first node.
        from: usize,
        /// Its second node.
        to: usize,
    },
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeleteEdge { from, to } => write!(f, "delete edge {from}-{to}"),
            Self::DeleteNode { node, label } => write!(f, "delete node {node} {label:?}"),
            Self::Relabel { node, from, to } => write!(f, "relabel node {node} {from:?} to {to:?}"),
            Self::InsertNode { node, label } => write!(f, "insert node {node} {label:?}"),
            Self::InsertEdge { from, to } => write!(f, "insert edge {from}-{to}"),
        }
    }
}

/// The edits that turn one graph into another, each of cost 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EditPath {
    edits: Vec<Edit>,
    /// The number in the second graph of every node that is left at the end, in order.
    places: Vec<usize>,
}

/// Why a path does not apply to a graph: it was made for another one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EditError {
    /// An edit that the graph has no place for.
    #[error("edits[{index}], {edit}, does not fit: {reason}")]
    Misfit {
        /// Its place in the path.
        index: usize,
        /// The edit.
        edit: Edit,
        /// What is in its way.
        reason: &'static str,
    },
    /// All edits fit, and yet this is not the graph.
    #[error("{found} nodes are left, the path leads to {expected}")]
    Leftover {
        /// The nodes of the graph that the path leads to.
        expected: usize,
        /// The nodes that are left.
        found: usize,
    },
}

impl EditPath {
    /// The path from `a` to `b` that keeps and relabels matched nodes, keeps edges between matched nodes on both sides,
    /// and deletes and inserts the rest: the shortest with this matching. `O((nodes + edges) log edges)`.
    ///
    /// # Panics
    /// If the matching is none of `a` with `b`.
    pub fn new(a: &LabelledGraph, b: &LabelledGraph, matching: &Matching) -> Self {
        assert_eq!(matching.partners.len(), a.nodes(), "a matching has one entry for each node of the first graph");
        let mut origin = vec![None; b.nodes()];
        for (i, j) in matching.partners.iter().enumerate().filter_map(|(i, j)| j.map(|j| (i, j))) {
            origin[j] = Some(i);
        }
        let mut edits = Vec::new();
        for &(from, to) in a.edges() {
            let kept = matching.partners[from].zip(matching.partners[to]).is_some_and(|(p, q)| b.has_edge(p, q));
            if !kept {
                edits.push(Edit::DeleteEdge { from, to });
            }
        }
        let mut places = Vec::with_capacity(b.nodes());
        for (node, (label, partner)) in a.labels().iter().zip(&matching.partners).enumerate() {
            match partner {
                None => edits.push(Edit::DeleteNode { node, label: label.clone() }),
                Some(j) => {
                    places.push(*j);
                    if *label != b.labels()[*j] {
                        edits.push(Edit::Relabel { node, from: label.clone(), to: b.labels()[*j].clone() });
                    }
                }
            }
        }
        let mut number = Vec::with_capacity(b.nodes());
        let mut next = a.nodes();
        for (j, (label, origin)) in b.labels().iter().zip(&origin).enumerate() {
            number.push(origin.unwrap_or(next));
            if origin.is_none() {
                edits.push(Edit::InsertNode { node: next, label: label.clone() });
                places.push(j);
                next += 1;
            }
        }
        for &(p, q) in b.edges() {
            if !origin[p].zip(origin[q]).is_some_and(|(from, to)| a.has_edge(from, to)) {
                let (from, to) = a.ordered((number[p], number[q]));
                edits.push(Edit::InsertEdge { from, to });
            }
        }
        Self { edits, places }
    }

    /// The edits in the order in which they apply: edges go before their nodes, nodes come before their edges.
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// What it costs: the number of edits.
    pub fn cost(&self) -> usize {
        self.edits.len()
    }

    /// Carries out every edit on `a`. Gives what is left, numbered as the graph that the path leads to.
    ///
    /// # Errors
    /// [`EditError`] if the path was made for another graph.
    pub fn apply(&self, a: &LabelledGraph) -> Result<LabelledGraph, EditError> {
        let mut labels: Vec<Option<String>> = a.labels().iter().cloned().map(Some).collect();
        let mut edges: BTreeSet<(usize, usize)> = a.edges().iter().copied().collect();
        for (index, edit) in self.edits.iter().enumerate() {
            let refuse = |reason| Err(EditError::Misfit { index, edit: edit.clone(), reason });
            let is_there = |labels: &[Option<String>], node: usize| labels.get(node).is_some_and(Option::is_some);
            match edit {
                Edit::DeleteEdge { from, to } => {
                    if !edges.remove(&a.ordered((*from, *to))) {
                        return refuse("there is no such edge");
                    }
                }
                Edit::DeleteNode { node, label } => {
                    if edges.iter().any(|(from, to)| from == node || to == node) {
                        return refuse("the node still has edges");
                    }
                    if labels.get(*node).and_then(Option::as_ref) != Some(label) {
                        return refuse("there is no such node");
                    }
                    labels[*node] = None;
                }
                Edit::Relabel { node, from, to } => {
                    if labels.get(*node).and_then(Option::as_ref) != Some(from) {
                        return refuse("there is no such node");
                    }
                    labels[*node] = Some(to.clone());
                }
                Edit::InsertNode { node, label } => {
                    if *node != labels.len() {
                        return refuse("the number is not the next one");
                    }
                    labels.push(Some(label.clone()));
                }
                Edit::InsertEdge { from, to } => {
                    if from == to || !is_there(&labels, *from) || !is_there(&labels, *to) {
                        return refuse("it needs two nodes");
                    }
                    if !edges.insert(a.ordered((*from, *to))) {
                        return refuse("there is such an edge already");
                    }
                }
            }
        }
        let left: Vec<usize> = (0..labels.len()).filter(|&node| labels[node].is_some()).collect();
        if left.len() != self.places.len() {
            return Err(EditError::Leftover { expected: self.places.len(), found: left.len() });
        }
        let compact: Vec<_> = {
            let place = |node: usize| left.partition_point(|&other| other < node);
            edges.iter().map(|&(from, to)| (place(from), place(to))).collect()
        };
        let labels = labels.into_iter().flatten().collect();
        let graph = LabelledGraph::new(labels, &compact, a.direction()).expect("each edit keeps the graph simple");
        Ok(graph.renumbered(&self.places))
    }
}
