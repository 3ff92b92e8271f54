//! How densely the neighbours of nodes are joined, compared between two graphs without an assignment.

use super::edge::WeightedEdge;
use grapheme_core::Scalar;
use grapheme_core::graph::EdgeKind;
use std::ops::Range;

/// The number of edge kinds.
const KINDS: usize = EdgeKind::ALL.len();

/// The clique cost and its derivatives.
#[derive(Clone, Debug, PartialEq)]
pub struct CliqueCost<S> {
    /// The cost.
    pub value: S,
    /// Its gradient with respect to the masses of the predicted nodes.
    pub mass: Vec<S>,
    /// Its gradient with respect to the weights of the predicted edges.
    pub weight: Vec<S>,
}

/// The distance between the local densities of a predicted graph and of a target graph with `target_nodes` nodes.
///
/// The density of node `i` for edge kind `c` is the weighted clustering coefficient (Zhang and Horvath, A general
/// framework for weighted gene co-expression network analysis, 2005) with its numerator split by the kind of the
/// closing edge, on the graph without directions:
///
/// `sum_{j != k} w_ij w_ik w^c_jk / ((sum_j w_ij)^2 - sum_j w_ij^2)`, 0 where the denominator is 0,
///
/// with `w_ij` the weight of all edges between `i` and `j`. A predicted edge weighs `w a_i a_k`. For each kind the
/// densities of the nodes of each graph form a uniform distribution on the line; the cost is the sum over kinds of the
/// squared 2-Wasserstein distance between the two, which sorting solves. A graph without nodes counts as one node of
/// density 0. Two plain paths have no triangles, so they cost 0.
///
/// All edges must lie within their graph. `O(n log n + m log m + sum_i degree_i^2 log degree)` time.
pub fn clique_cost<S: Scalar>(
    mass: &[S],
    predicted: &[WeightedEdge<S>],
    target_nodes: usize,
    target: &[WeightedEdge<S>],
) -> CliqueCost<S> {
    let here = Neighbours::new(mass.len(), predicted, |edge| edge.effective_weight(mass));
    let there = Neighbours::new(target_nodes, target, |edge| edge.weight.widen());
    let (profile, target_profile) = (here.densities(), there.densities());
    let mut value = 0.0;
    let mut ddensity = vec![[0.0; KINDS]; mass.len()];
    for kind in 0..KINDS {
        value += squared_wasserstein(&profile, &target_profile, kind, &mut ddensity);
    }
    let deffective = here.densities_vjp(predicted.len(), &profile, &ddensity);
    let mut dmass = vec![0.0; mass.len()];
    let mut dweight = Vec::with_capacity(predicted.len());
    for (edge, d) in predicted.iter().zip(deffective) {
        let (w, source, target) = (edge.weight.widen(), mass[edge.source].widen(), mass[edge.target].widen());
        dmass[edge.source] += d * w * target;
        dmass[edge.target] += d * w * source;
        dweight.push(S::lit(d * source * target));
    }
    CliqueCost { value: S::lit(value), mass: dmass.into_iter().map(S::lit).collect(), weight: dweight }
}

/// One side of an edge.
#[derive(Clone, Copy)]
struct Neighbour {
    node: usize,
    kind: usize,
    weight: f64,
    edge: usize,
}

/// Every edge seen from both of its ends, grouped by node and sorted by neighbour.
struct Neighbours {
    starts: Vec<usize>,
    all: Vec<Neighbour>,
}

impl Neighbours {
    fn new<S: Scalar>(nodes: usize, edges: &[WeightedEdge<S>], weight: impl Fn(&WeightedEdge<S>) -> f64) -> Self {
        let mut sides = Vec::with_capacity(2 * edges.len());
        for (index, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.source != edge.target) {
            let side = Neighbour { node: edge.target, kind: edge.kind as usize, weight: weight(edge), edge: index };
            sides.push((edge.source, side));
            sides.push((edge.target, Neighbour { node: edge.source, ..side }));
        }
        sides.sort_by_key(|(node, side)| (*node, side.node, side.edge));
        let mut starts = vec![0; nodes + 1];
        for (node, _) in &sides {
            starts[node + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        Self { starts, all: sides.into_iter().map(|(_, side)| side).collect() }
    }

    fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, node: usize) -> &[Neighbour] {
        &self.all[self.starts[node]..self.starts[node + 1]]
    }

    /// The edges between two nodes.
    fn between(&self, node: usize, other: usize) -> &[Neighbour] {
        let neighbours = self.of(node);
        let range: Range<usize> =
            neighbours.partition_point(|side| side.node < other)..neighbours.partition_point(|side| side.node <= other);
        &neighbours[range]
    }

    /// Visits the pairs of edges of `node` that lead to two different neighbours, each pair once.
    fn each_pair(&self, node: usize, mut visit: impl FnMut(&Neighbour, &Neighbour)) {
        let neighbours = self.of(node);
        for (index, first) in neighbours.iter().enumerate() {
            for second in neighbours[index + 1..].iter().filter(|second| second.node != first.node) {
                visit(first, second);
            }
        }
    }

    /// Half the denominator of the density: pairs are summed, since the difference of squares cancels where weights are
    /// small.
    fn pairs(&self, node: usize) -> f64 {
        let mut pairs = 0.0;
        self.each_pair(node, |first, second| pairs += first.weight * second.weight);
        pairs
    }

    /// The density of every node for each kind.
    fn densities(&self) -> Vec<[f64; KINDS]> {
        let density = |node| {
            let mut closed = [0.0; KINDS];
            self.each_pair(node, |first, second| {
                for closing in self.between(first.node, second.node) {
                    closed[closing.kind] += first.weight * second.weight * closing.weight;
                }
            });
            let pairs = self.pairs(node);
            closed.map(|closed| if pairs > 0.0 { closed / pairs } else { 0.0 })
        };
        (0..self.nodes()).map(density).collect()
    }

    /// The gradient with respect to the weights of the edges, given that with respect to the densities.
    fn densities_vjp(&self, edges: usize, densities: &[[f64; KINDS]], ddensity: &[[f64; KINDS]]) -> Vec<f64> {
        let mut dweight = vec![0.0; edges];
        for (node, (density, d)) in densities.iter().zip(ddensity).enumerate() {
            if d.iter().all(|&d| d == 0.0) {
                continue;
            }
            let pairs = self.pairs(node);
            if pairs == 0.0 {
                continue;
            }
            let common: f64 = d.iter().zip(density).map(|(d, density)| d * density).sum();
            self.each_pair(node, |first, second| {
                let mut closed = -common;
                for closing in self.between(first.node, second.node) {
                    closed += d[closing.kind] * closing.weight;
                    dweight[closing.edge] += d[closing.kind] * (first.weight * second.weight / pairs);
                }
                dweight[first.edge] += closed * (second.weight / pairs);
                dweight[second.edge] += closed * (first.weight / pairs);
            });
        }
        dweight
    }
}

/// The squared 2-Wasserstein distance between the uniform distributions on the densities of one kind; adds its gradient
/// with respect to the first to `dfirst`.
fn squared_wasserstein(
    first: &[[f64; KINDS]],
    second: &[[f64; KINDS]],
    kind: usize,
    dfirst: &mut [[f64; KINDS]],
) -> f64 {
    let (rows, columns) = (sorted(first, kind), sorted(second, kind));
    // Both are cut into pieces of mass 1 / (n m), so that the two walk along each other in whole numbers.
    let piece = 1.0 / (rows.len() as f64 * columns.len() as f64);
    let (mut value, mut row, mut column) = (0.0, 0, 0);
    let (mut row_left, mut column_left) = (columns.len(), rows.len());
    while row < rows.len() && column < columns.len() {
        let moved = row_left.min(column_left);
        let ((x, node), (y, _)) = (rows[row], columns[column]);
        let mass = moved as f64 * piece;
        value += mass * (x - y) * (x - y);
        if let Some(d) = dfirst.get_mut(node) {
            d[kind] += 2.0 * mass * (x - y);
        }
        row_left -= moved;
        column_left -= moved;
        if row_left == 0 {
            (row, row_left) = (row + 1, columns.len());
        }
        if column_left == 0 {
            (column, column_left) = (column + 1, rows.len());
        }
    }
    value
}

/// The densities of one kind in increasing order, each with its node; ties in the order of nodes.
fn sorted(densities: &[[f64; KINDS]], kind: usize) -> Vec<(f64, usize)> {
    if densities.is_empty() {
        return vec![(0.0, 0)];
    }
    let mut sorted: Vec<(f64, usize)> = densities.iter().enumerate().map(|(node, d)| (d[kind], node)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(usize, usize, f64)]) -> Vec<WeightedEdge<f64>> {
        let edge = |&(source, target, weight)| WeightedEdge { source, target, kind: EdgeKind::Semantic, weight };
        edges.iter().map(edge).collect()
    }

    #[test]
    fn a_triangle_against_a_path_costs_its_density() {
        let path = graph(&[(0, 1, 1.0), (1, 2, 1.0)]);
        let triangle = graph(&[(0, 1, 1.0), (1, 2, 1.0), (0, 2, 1.0)]);
        let cost = |a: &[_], b: &[_]| clique_cost(&[1.0; 3], a, 3, b).value;
        assert_eq!((cost(&path, &path), cost(&triangle, &triangle)), (0.0, 0.0));
        assert_eq!((cost(&triangle, &path), cost(&path, &triangle)), (1.0, 1.0));
        // Against no nodes at all the profile is that of one node of density 0, and the other way round.
        assert_eq!(clique_cost(&[1.0; 3], &triangle, 0, &[]).value, 1.0);
        assert_eq!(clique_cost(&[], &[], 3, &triangle).value, 1.0);
        assert_eq!(clique_cost::<f64>(&[], &[], 0, &[]).value, 0.0);
    }

    #[test]
    fn two_plain_paths_of_different_lengths_cost_nothing() {
        let path = |n: usize| graph(&(1..n).map(|i| (i - 1, i, 0.5 + i as f64)).collect::<Vec<_>>());
        assert_eq!(clique_cost(&[0.7; 5], &path(5), 9, &path(9)).value, 0.0);
    }

    #[test]
    fn densities_are_the_weighted_clustering_coefficient() {
        let n = 6;
        let weight = |i: usize, j: usize| ((i * j + i + j) % 4) as f64 / 3.0;
        let edges: Vec<_> = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j, weight(i, j)))).collect();
        let densities = Neighbours::new(n, &graph(&edges), |edge| edge.weight).densities();
        for (i, density) in densities.iter().enumerate() {
            let w = |i: usize, j: usize| if i == j { 0.0 } else { weight(i.min(j), i.max(j)) };
            let sum: f64 = (0..n).map(|j| w(i, j)).sum();
            let squares: f64 = (0..n).map(|j| w(i, j) * w(i, j)).sum();
            let closed: f64 = (0..n).flat_map(|j| (0..n).map(move |k| w(i, j) * w(j, k) * w(k, i))).sum();
            assert!((density[EdgeKind::Semantic as usize] - closed / (sum * sum - squares)).abs() < 1e-12);
            assert_eq!(density[EdgeKind::Skip as usize], 0.0);
        }
    }

    #[test]
    fn sorting_solves_transport_on_the_line() {
        let profile = |x: &[f64]| x.iter().map(|&x| [x, 0.0, 0.0, 0.0]).collect::<Vec<_>>();
        let mut d = vec![[0.0; KINDS]; 2];
        // Halves of mass 1/2 against thirds: 3 -> (1, 2 half), 0 -> (0.5, 1 half).
        let value = squared_wasserstein(&profile(&[3.0, 0.0]), &profile(&[2.0, 0.5, 1.0]), 0, &mut d);
        assert!((value - (0.25 / 3.0 + 1.0 / 6.0 + 4.0 / 6.0 + 1.0 / 3.0)).abs() < 1e-12);
        assert!((d[0][0] - 2.0 * (2.0 / 6.0 + 1.0 / 3.0)).abs() < 1e-12);
    }

    #[test]
    fn gradients_are_what_finite_differences_say_and_vanishing_masses_stay_finite() {
        let edges = graph(&[(0, 1, 0.5), (1, 2, 1.5), (0, 2, 0.7), (2, 3, 1.1), (1, 3, 0.4), (3, 4, 0.9), (2, 4, 0.3)]);
        let target = graph(&[(0, 1, 1.0), (1, 2, 0.5), (0, 2, 2.0)]);
        let mass = [0.9, 0.8, 0.3, 0.6, 0.5];
        let cost = clique_cost(&mass, &edges, 4, &target);
        let step = 1e-5;
        for k in 0..edges.len() {
            let moved = |step: f64| {
                let mut edges = edges.clone();
                edges[k].weight += step;
                clique_cost(&mass, &edges, 4, &target).value
            };
            let numeric = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((numeric - cost.weight[k]).abs() < 1e-8, "weight {k}: {} and {numeric}", cost.weight[k]);
        }
        for k in 0..mass.len() {
            let moved = |step: f64| {
                let mut mass = mass;
                mass[k] += step;
                clique_cost(&mass, &edges, 4, &target).value
            };
            let numeric = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((numeric - cost.mass[k]).abs() < 1e-8, "mass {k}: {} and {numeric}", cost.mass[k]);
        }
        let narrow: Vec<_> = edges
            .iter()
            .map(|e| WeightedEdge { source: e.source, target: e.target, kind: e.kind, weight: e.weight as f32 })
            .collect();
        for tiny in [0.0f32, 1e-30, 1e-12] {
            let cost = clique_cost(&[tiny, 1.0, tiny, 1.0, tiny], &narrow, 0, &[]);
            assert!(cost.value.is_finite() && cost.mass.iter().chain(&cost.weight).all(|d| d.is_finite()), "{cost:?}");
        }
    }
}
