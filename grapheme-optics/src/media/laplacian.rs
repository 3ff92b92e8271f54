//! The combinatorial Laplacian of a batch of graphs.
//!
//! `(L x)_i = sum over neighbours j of |w_ij| (x_i - x_j)`: sequential edges of a chain with weight 1, explicit edges with
//! the absolute value of theirs, both directions alike. Symmetric and positive semidefinite; rows and columns sum to 0,
//! so `L` moves nothing that is constant over a graph and changes no sum. Skip edges at distance 2^k are not in it.

use super::rows::{dot, slices, slices_mut};
use grapheme_core::{Scalar, Topology};
use ndarray::Array2;

/// The largest weighted degree of a node; the spectrum of `L` lies in [0, 2 x this].
pub fn max_degree(topology: &Topology) -> f64 {
    let explicit = |node: usize| -> f64 {
        let both = topology.incoming().of(node).iter().chain(topology.outgoing().of(node));
        both.map(|edge| f64::from(edge.weight.abs())).sum()
    };
    let has_edges = !topology.incoming().as_slice().is_empty();
    let mut most: f64 = 0.0;
    for graph in 0..topology.graphs() {
        let range = topology.range(graph);
        let n = range.len();
        if topology.is_chain() {
            most = most.max(n.saturating_sub(1).min(2) as f64);
        }
        if has_edges {
            for node in range.clone() {
                let chain = if topology.is_chain() {
                    usize::from(node > range.start) + usize::from(node + 1 < range.end)
                } else {
                    0
                };
                most = most.max(chain as f64 + explicit(node));
            }
        }
    }
    most
}

/// Writes `L x` over `y`, which has the shape of `x`. `O((n + edges) d)`.
pub fn apply<S: Scalar>(topology: &Topology, x: &Array2<S>, y: &mut Array2<S>) {
    y.fill(S::zero());
    let d = x.ncols();
    let from = x.as_slice().expect("gradients are stored in row-major order");
    let to = y.as_slice_mut().expect("gradients are stored in row-major order");
    let mut edge = |a: usize, b: usize, weight: S| {
        for c in 0..d {
            let flow = weight * (from[a * d + c] - from[b * d + c]);
            to[a * d + c] += flow;
            to[b * d + c] -= flow;
        }
    };
    if topology.is_chain() {
        for graph in 0..topology.graphs() {
            let range = topology.range(graph);
            (range.start + 1..range.end).for_each(|node| edge(node - 1, node, S::one()));
        }
    }
    for e in topology.incoming().as_slice() {
        edge(e.source as usize, e.target as usize, S::lit(f64::from(e.weight.abs())));
    }
}

/// `<x, L x>`, the sum over edges of `|w| ||x_i - x_j||^2`: never negative.
pub fn roughness<S: Scalar>(topology: &Topology, x: &Array2<S>) -> f64 {
    let d = x.ncols();
    let rows = x.as_slice().expect("gradients are stored in row-major order");
    let edge = |a: usize, b: usize| -> f64 {
        let gap = |c: usize| (rows[a * d + c] - rows[b * d + c]).widen();
        (0..d).map(|c| gap(c) * gap(c)).sum()
    };
    let mut sum = 0.0;
    if topology.is_chain() {
        for graph in 0..topology.graphs() {
            let range = topology.range(graph);
            sum += (range.start + 1..range.end).map(|node| edge(node - 1, node)).sum::<f64>();
        }
    }
    let explicit = topology.incoming().as_slice().iter();
    sum + explicit.map(|e| f64::from(e.weight.abs()) * edge(e.source as usize, e.target as usize)).sum::<f64>()
}

/// `x -= rate L x` over plain chains, in place and in one pass with two rows of scratch. Returns `<x, L x>` and
/// `||L x||^2` of what was there before.
pub fn smooth_chains<S: Scalar>(topology: &Topology, x: &mut Array2<S>, rate: S, buffer: &mut Vec<S>) -> (f64, f64) {
    let d = x.ncols();
    // The step to the row before, and the flow through a row.
    buffer.clear();
    buffer.resize(2 * d, S::zero());
    let (step, flow) = buffer.split_at_mut(d);
    let rows = x.as_slice_mut().expect("gradients are stored in row-major order");
    let (mut rough, mut squares) = (0.0, 0.0);
    for graph in 0..topology.graphs() {
        let range = topology.range(graph);
        step.fill(S::zero());
        let mut rest = &mut rows[range.start * d..range.end * d];
        while !rest.is_empty() {
            let (row, after) = rest.split_at_mut(d);
            if let Some(next) = after.get(..d) {
                // L x_i = (x_i - x_(i-1)) - (x_(i+1) - x_i).
                for (((x, &next), step), flow) in row.iter_mut().zip(next).zip(step.iter_mut()).zip(flow.iter_mut()) {
                    let ahead = next - *x;
                    *flow = *step - ahead;
                    *x -= rate * *flow;
                    *step = ahead;
                }
                rough += dot(step, step).widen();
                squares += dot(flow, flow).widen();
            } else {
                for (x, &step) in row.iter_mut().zip(step.iter()) {
                    *x -= rate * step;
                }
                squares += dot(step, step).widen();
            }
            rest = after;
        }
    }
    (rough, squares)
}

/// `x -= rate L x` for any topology, `y` being scratch of the same shape. Returns what [`smooth_chains`] does.
pub fn smooth<S: Scalar>(topology: &Topology, x: &mut Array2<S>, rate: S, y: &mut Array2<S>) -> (f64, f64) {
    let rough = roughness(topology, x);
    apply(topology, x, y);
    let mut squares = 0.0;
    for (row, flow) in slices_mut(x).zip(slices(y)) {
        squares += dot(flow, flow).widen();
        super::rows::add_scaled(row, -rate, flow);
    }
    (rough, squares)
}
