//! The edges that a plan leaves without a counterpart.
//!
//! `n` predicted nodes with masses `a`, `m` targets, `P` the plan between them.

use super::band::Banded;
use grapheme_core::Scalar;
use grapheme_core::graph::EdgeKind;

/// An edge between two nodes of one graph, by their indices in that graph.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedEdge<S> {
    /// The node that the edge leaves.
    pub source: usize,
    /// The node that the edge enters.
    pub target: usize,
    /// What the edge says.
    pub kind: EdgeKind,
    /// Its weight, 0 or more; 1 for a plain edge.
    pub weight: S,
}

impl<S: Scalar> WeightedEdge<S> {
    /// The weight of an edge between nodes that may be absent: `w a_source a_target`.
    pub(super) fn effective_weight(&self, mass: &[S]) -> f64 {
        self.weight.widen() * mass[self.source].widen() * mass[self.target].widen()
    }
}

/// The edge cost and its derivatives.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeCost<S: Scalar> {
    /// The cost.
    pub value: S,
    /// Its gradient with respect to the plan.
    pub plan: Banded<S>,
    /// Its gradient with respect to the masses of the predicted nodes.
    pub mass: Vec<S>,
    /// Its gradient with respect to the weights of the predicted edges.
    pub weight: Vec<S>,
}

/// The expected edge cost under a plan,
///
/// `sum_e w_e^2 a_i a_k + sum_e' w_e'^2 - 2 sum_{e, e' of one kind} w_e w_e' P_ij P_kl`,
///
/// over predicted edges `e = (i, k)` and target edges `e' = (j, l)`. With weights 1 this is the expected number of
/// predicted edges without a counterpart plus target edges without one, the two ends of an edge being matched
/// independently (the quadratic term of Gromov-Wasserstein and graph matching losses). Parallel edges of one kind count
/// as one whose weight is their sum. Never negative if the rows of `P` sum to `a` or less and its columns to 1 or less.
///
/// All edges must lie within the shape of `plan`, and `mass` must have one entry for each of its rows. Time:
/// the sum over predicted edges of the target edges that leave the band of their source, so `O(edges x window)`, and a
/// sort.
pub fn edge_cost<S: Scalar>(
    plan: &Banded<S>,
    mass: &[S],
    predicted: &[WeightedEdge<S>],
    target: &[WeightedEdge<S>],
) -> EdgeCost<S> {
    let band = plan.band();
    let leaving = Leaving::new(target, band.columns());
    let mut dplan = vec![0.0; band.entries()];
    let mut dmass = vec![0.0; band.rows()];
    let mut dweight = Vec::with_capacity(predicted.len());
    let mut value: f64 = target.iter().zip(bundle_weights(target)).map(|(edge, sum)| edge.weight.widen() * sum).sum();
    for (edge, bundle) in predicted.iter().zip(bundle_weights(predicted)) {
        let (i, k, w) = (edge.source, edge.target, edge.weight.widen());
        let (mass_i, mass_k) = (mass[i].widen(), mass[k].widen());
        let (columns_i, columns_k) = (band.range(i), band.range(k));
        let (slot_i, slot_k) = (band.slots(i).start, band.slots(k).start);
        let mut matched = 0.0;
        for counterpart in leaving.within(columns_i.clone()) {
            if counterpart.kind != edge.kind || !columns_k.contains(&counterpart.target) {
                continue;
            }
            let here = slot_i + counterpart.source - columns_i.start;
            let there = slot_k + counterpart.target - columns_k.start;
            let (p_here, p_there) = (plan.values()[here].widen(), plan.values()[there].widen());
            let weight = counterpart.weight.widen();
            matched += weight * p_here * p_there;
            dplan[here] -= 2.0 * w * weight * p_there;
            dplan[there] -= 2.0 * w * weight * p_here;
        }
        value += w * (bundle * mass_i * mass_k - 2.0 * matched);
        dmass[i] += w * bundle * mass_k;
        dmass[k] += w * bundle * mass_i;
        dweight.push(S::lit(2.0 * (bundle * mass_i * mass_k - matched)));
    }
    let mut plan = Banded::filled(band, S::zero());
    plan.values_mut().iter_mut().zip(&dplan).for_each(|(to, &from)| *to = S::lit(from));
    EdgeCost { value: S::lit(value), plan, mass: dmass.into_iter().map(S::lit).collect(), weight: dweight }
}

/// For each edge, the weight of all edges of its kind from its source to its target.
fn bundle_weights<S: Scalar>(edges: &[WeightedEdge<S>]) -> Vec<f64> {
    let key = |&index: &usize| (edges[index].source, edges[index].target, edges[index].kind);
    let mut order: Vec<usize> = (0..edges.len()).collect();
    order.sort_by_key(key);
    let mut weights = vec![0.0; edges.len()];
    for bundle in order.chunk_by(|a, b| key(a) == key(b)) {
        let sum = bundle.iter().map(|&index| edges[index].weight.widen()).sum();
        bundle.iter().for_each(|&index| weights[index] = sum);
    }
    weights
}

/// Edges grouped by the node that they leave.
struct Leaving<S> {
    starts: Vec<usize>,
    edges: Vec<WeightedEdge<S>>,
}

impl<S: Scalar> Leaving<S> {
    fn new(edges: &[WeightedEdge<S>], nodes: usize) -> Self {
        let mut edges = edges.to_vec();
        edges.sort_by_key(|edge| edge.source);
        let mut starts = vec![0; nodes + 1];
        for edge in &edges {
            starts[edge.source + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        Self { starts, edges }
    }

    /// The edges that leave one of `nodes`.
    fn within(&self, nodes: std::ops::Range<usize>) -> &[WeightedEdge<S>] {
        &self.edges[self.starts[nodes.start]..self.starts[nodes.end]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::band::Band;

    fn edge(source: usize, target: usize, kind: EdgeKind, weight: f64) -> WeightedEdge<f64> {
        WeightedEdge { source, target, kind, weight }
    }

    #[test]
    fn plain_edges_without_a_counterpart_are_counted() {
        use EdgeKind::{Sequential, Structural};
        let identity = Banded::from_fn(&Band::dense(4, 4), |i, j| if i == j { 1.0 } else { 0.0 });
        let a = [edge(0, 1, Sequential, 1.0), edge(1, 2, Sequential, 1.0), edge(0, 3, Structural, 1.0)];
        let b = [edge(0, 1, Sequential, 1.0), edge(0, 3, Sequential, 1.0), edge(2, 3, Structural, 1.0)];
        let cost = |a: &[_], b: &[_]| edge_cost(&identity, &[1.0; 4], a, b).value;
        assert_eq!(cost(&a, &a), 0.0);
        // Only (0, 1) is shared: an edge of another kind, or the other way round, is no counterpart.
        assert_eq!(cost(&a, &b), 4.0);
        assert_eq!(cost(&[], &b), 3.0);
        // Two halves make a whole.
        assert_eq!(cost(&[edge(0, 1, Sequential, 0.5), edge(0, 1, Sequential, 0.5)], &a[..1]), 0.0);
        assert_eq!(cost(&[edge(1, 0, Sequential, 1.0)], &[edge(0, 1, Sequential, 1.0)]), 2.0);
    }

    #[test]
    fn the_cost_is_its_formula() {
        let band = Band::window(6, 4, 1);
        let plan = Banded::from_fn(&band, |i, j| ((3 * i + 2 * j) % 5) as f64 / 7.0);
        let mass = [0.9, 0.2, 0.7, 1.0, 0.0, 0.5];
        let kind = |k: usize| EdgeKind::ALL[k % 2];
        let a: Vec<_> = (0..5).map(|i| edge(i, 5 - i / 2, kind(i), 0.3 + i as f64)).collect();
        let b: Vec<_> = (0..3).map(|j| edge(j, j + 1, kind(j), 1.0 / (j as f64 + 1.0))).collect();
        let mut expected = 0.0;
        for e in &a {
            expected += e.weight * e.weight * mass[e.source] * mass[e.target];
            for f in b.iter().filter(|f| f.kind == e.kind) {
                let p = |i, j| plan.get(i, j).unwrap_or(0.0);
                expected -= 2.0 * e.weight * f.weight * p(e.source, f.source) * p(e.target, f.target);
            }
        }
        expected += b.iter().map(|f| f.weight * f.weight).sum::<f64>();
        assert!((edge_cost(&plan, &mass, &a, &b).value - expected).abs() < 1e-12);
    }
}
