//! The smooth half of a morph: carrying out a plan.

use super::{Gates, GatesGradient, MergeHistory, NO_TARGET, Plan};
use crate::graph::{Edge, Topology, TopologyError};
use crate::kept::{Kept, Matrix};
use crate::scalar::Scalar;

/// What became of the candidates under a plan.
#[derive(Clone, Debug)]
pub struct Realised<S: Scalar> {
    /// The candidate behind each output node, in increasing order.
    pub kept: Kept<u32>,
    /// The output node that each candidate is part of, or [`DROPPED`].
    pub owner: Kept<u32>,
    /// Which candidates made each output node. Weights are proportional to 1 for the kept candidate and g for each that
    /// merges into it, and sum to 1.
    pub history: MergeHistory<S>,
    /// The shape of the morphed graph.
    pub topology: Topology,
    /// Which explicit edges, by place, made each of its explicit edges, with weights of 1: parallel edges add up. An edge
    /// within a node that several were merged into is dropped.
    pub edges: MergeHistory<S>,
}

/// Marks a candidate of a graph in which nothing stayed.
pub const DROPPED: u32 = u32::MAX;

/// Carries out `plan` over the candidates of the nodes of `topology`, K = `slots` side by side. Linear in nodes and edges.
///
/// A candidate that merges joins whatever its target is part of. Where nothing before it stays, it joins the first
/// candidate of its graph that does; where none does, it is dropped, and the history says so.
///
/// # Errors
/// [`TopologyError`] if merging adds parallel edges up to a weight that is not finite.
///
/// # Panics
/// If gates, plan and targets are not of one length, `nodes x slots`.
pub fn realise<S: Scalar>(
    plan: &Plan,
    gates: &Gates<S>,
    targets: &[u32],
    topology: &Topology,
    slots: usize,
) -> Result<Realised<S>, TopologyError> {
    let candidates = topology.nodes() * slots;
    assert!([plan.stays.len(), gates.log_merge.len(), targets.len()] == [candidates; 3], "one choice a candidate");
    let (mut kept, mut owner) = (Kept::with_capacity(candidates), Kept::filled(candidates, DROPPED));
    let mut lengths = Kept::<usize>::with_capacity(topology.graphs());
    for graph in 0..topology.graphs() {
        let nodes = topology.range(graph);
        let (first, last) = (nodes.start * slots, nodes.end * slots);
        let before = kept.len();
        for c in first..last {
            if plan.stays[c] {
                owner[c] = kept.len() as u32;
                kept.push(c as u32);
            } else if targets[c] != NO_TARGET {
                owner[c] = owner[targets[c] as usize];
            }
        }
        if kept.len() > before {
            // Nothing before these stays: they join the first that does.
            owner[first..last].iter_mut().filter(|o| **o == DROPPED).for_each(|o| *o = before as u32);
        }
        lengths.push(kept.len() - before);
    }
    let history = record(&kept, &owner, gates);
    let (edges, contracted) = contract(topology, &owner, slots);
    let topology = Topology::new(lengths.iter().copied(), topology.is_chain(), contracted)?;
    Ok(Realised { kept, owner, history, topology, edges })
}

/// The rows of the merge history, by a counting sort over owners.
fn record<S: Scalar>(kept: &[u32], owner: &[u32], gates: &Gates<S>) -> MergeHistory<S> {
    let mut starts = Kept::<u32>::zeros(kept.len() + 1);
    owner.iter().filter(|&&o| o != DROPPED).for_each(|&o| starts[o as usize + 1] += 1);
    for i in 0..kept.len() {
        starts[i + 1] += starts[i];
    }
    let entries = starts[kept.len()] as usize;
    let (mut contributors, mut weights) = (Kept::unset(entries), Kept::unset(entries));
    let mut next = starts.clone();
    for (c, &o) in owner.iter().enumerate().filter(|&(_, &o)| o != DROPPED) {
        let entry = next[o as usize] as usize;
        next[o as usize] += 1;
        contributors[entry] = c as u32;
        weights[entry] = if kept[o as usize] == c as u32 { S::one() } else { gates.log_merge[c].quick_exp() };
    }
    for row in starts.windows(2) {
        let row = &mut weights[row[0] as usize..row[1] as usize];
        let total: S = row.iter().copied().sum();
        row.iter_mut().for_each(|weight| *weight /= total);
    }
    MergeHistory::from_compressed_rows(owner.len(), starts, contributors, weights)
}

/// Explicit edges between the output nodes: loops vanish, parallel edges of a kind add their weights. Output nodes keep the
/// order of the candidates that they were, and an edge that would lead back in it is turned round.
fn contract<S: Scalar>(topology: &Topology, owner: &[u32], slots: usize) -> (MergeHistory<S>, Vec<Edge>) {
    let known = topology.incoming().as_slice();
    let mut moved: Vec<(Edge, u32)> = (0u32..)
        .zip(known)
        .filter_map(|(place, edge)| {
            // An edge belongs to the first slot of a node, as the node's own place.
            let (a, b) = (owner[edge.source as usize * slots], owner[edge.target as usize * slots]);
            let moved = Edge { source: a.min(b), target: a.max(b), ..*edge };
            (a != DROPPED && b != DROPPED && a != b).then_some((moved, place))
        })
        .collect();
    let key = |edge: &Edge| (edge.target, edge.source, edge.kind);
    moved.sort_by_key(|(edge, _)| key(edge));
    let (mut edges, mut starts) = (Vec::new(), Kept::<u32>::filled(1, 0));
    let places = moved.iter().map(|&(_, place)| place).collect();
    for bundle in moved.chunk_by(|(a, _), (b, _)| key(a) == key(b)) {
        let weight = bundle.iter().map(|(edge, _)| edge.weight).sum();
        edges.push(Edge { weight, ..bundle[0].0 });
        let start = starts[starts.len() - 1];
        starts.push(start + bundle.len() as u32);
    }
    (MergeHistory::from_compressed_rows(known.len(), starts, places, Kept::filled(moved.len(), S::one())), edges)
}

impl<S: Scalar> Realised<S> {
    /// Hands the gradient of the history's weights on to the gates: `dout` is the gradient of the output nodes, `h` the
    /// features of the candidates.
    ///
    /// A weight is `w_j / sum of w` over its row with `w_j = g_j` for what merges, so
    /// `d ln g_j += g_j (dM_j - sum of M_k dM_k) / sum of w`.
    pub fn add_gate_gradient(&self, dout: &Matrix<S>, h: &Matrix<S>, dgates: &mut GatesGradient<S>) {
        let dweights = self.history.weight_gradient(dout, h);
        let (weights, contributors) = (self.history.weights(), self.history.contributor_indices());
        for (i, &kept) in self.kept.iter().enumerate() {
            let row = self.history.row(i);
            if row.len() < 2 {
                continue;
            }
            let mean: S = row.clone().map(|e| weights[e] * dweights[e]).sum();
            for e in row.filter(|&e| contributors[e] != kept) {
                // The stored weight is already g_j / sum of w.
                dgates.log_merge[contributors[e] as usize] += weights[e] * (dweights[e] - mean);
            }
        }
    }
}
