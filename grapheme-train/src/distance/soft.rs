//! A soft assignment of nodes to nodes: entropic transport, and graduated assignment on top of it.

use super::pair::{Pair, Side};
use crate::loss::align::{Aligner, Problem, Sinkhorn, Value};
use crate::loss::band::{Band, Banded};

/// How far around a node its surroundings are counted.
const HOPS: usize = 3;
/// What a difference in the surroundings weighs, for each further step away from the node.
const FADE: f64 = 0.5;

/// Settings of the soft assignment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Soft {
    /// The weight of the entropy at the end.
    pub(super) epsilon: f64,
    /// How often the edges are looked at again under the assignment so far.
    pub(super) rounds: usize,
}

impl Soft {
    /// The plan, `n x m`.
    ///
    /// The first plan transports by labels, degrees, and what lies up to three steps around each node. Each round then takes
    /// as cost of a match minus its gain under the last plan, `same label + 2 sum of P_kq over edges that would meet`, and
    /// lowers epsilon: the graduated assignment of Gold and Rangarajan (IEEE TPAMI 18, 1996), which is Frank and Wolfe's
    /// method on the relaxed problem with entropy instead of a line search. `O(rounds (n m iterations + sum of products of
    /// degrees))`.
    pub(super) fn plan(&self, pair: &Pair) -> Vec<f64> {
        let (n, m) = (pair.small.nodes(), pair.large.nodes());
        if n == 0 {
            return Vec::new();
        }
        let mut cost = surroundings_cost(pair);
        let mut epsilon = 0.5;
        let mut plan = transport(n, m, &cost, epsilon);
        for _ in 0..self.rounds {
            epsilon = (epsilon * 0.75).max(self.epsilon);
            cost.fill(0.0);
            for i in 0..n {
                for (p, cost) in cost[i * m..(i + 1) * m].iter_mut().enumerate() {
                    let mut gain = f64::from(u8::from(pair.small.labels[i] == pair.large.labels[p]));
                    for &(k, code) in pair.small.neighbours(i) {
                        let row = &plan[k as usize * m..(k as usize + 1) * m];
                        for &(q, other) in pair.large.neighbours(p) {
                            gain += 2.0 * row[q as usize] * f64::from((code & other).count_ones());
                        }
                    }
                    *cost = -gain;
                }
            }
            plan = transport(n, m, &cost, epsilon);
        }
        plan
    }
}

/// Every node of the smaller graph goes somewhere, what is left of the larger stays empty.
fn transport(n: usize, m: usize, cost: &[f64], epsilon: f64) -> Vec<f64> {
    let band = Band::dense(n, m);
    let cost = Banded::from_fn(&band, |i, j| cost[i * m + j]);
    let problem = Problem::new(cost, vec![f64::INFINITY; n], vec![0.0; m], vec![1.0; n])
        .expect("every part has the length that the band asks for");
    let method = Sinkhorn {
        epsilon,
        anneal_from: 0.0,
        max_iterations: 30,
        tolerance: 1e-2,
        value: Value::TransportCost,
        ..Sinkhorn::default()
    };
    method.align(&problem).plan.values().to_vec()
}

/// Labels, half of the difference in degrees, and the fading differences of what is around.
fn surroundings_cost(pair: &Pair) -> Vec<f64> {
    let labels = 1 + pair.small.labels.iter().chain(&pair.large.labels).max().map_or(0, |&label| label as usize);
    let (small, large) = (Surroundings::new(&pair.small, labels), Surroundings::new(&pair.large, labels));
    let mut cost = Vec::with_capacity(pair.small.nodes() * pair.large.nodes());
    for i in 0..pair.small.nodes() {
        for p in 0..pair.large.nodes() {
            let unlike = f64::from(u8::from(pair.small.labels[i] != pair.large.labels[p]));
            cost.push(unlike + small.difference(i, &large, p));
        }
    }
    cost
}

/// For each node and each number of steps, degrees and how many nodes of each label are that far away.
struct Surroundings {
    width: usize,
    counts: Vec<f64>,
}

impl Surroundings {
    fn new(side: &Side, labels: usize) -> Self {
        // Many labels are folded: two of them that share a column are told apart by the nodes themselves.
        let labels = labels.min(16);
        let width = 2 + 2 * HOPS * labels;
        let n = side.nodes();
        let mut counts = vec![0.0; n * width];
        let mut distance = vec![usize::MAX; n];
        let mut queue = Vec::new();
        for (i, row) in counts.chunks_exact_mut(width).enumerate() {
            let degrees = side.degrees(i);
            row[0] = 0.5 * degrees[0] as f64;
            row[1] = 0.5 * degrees[1] as f64;
            queue.clear();
            queue.push(i);
            distance[i] = 0;
            let mut next = 0;
            while next < queue.len() {
                let k = queue[next];
                next += 1;
                if distance[k] == HOPS {
                    break;
                }
                for &(q, code) in side.neighbours(k) {
                    let q = q as usize;
                    if distance[q] == usize::MAX {
                        distance[q] = distance[k] + 1;
                        queue.push(q);
                        let hop = distance[k];
                        let column = 2 + (2 * hop + usize::from(code & 1 == 0)) * labels;
                        let label = side.labels[q] as usize % labels;
                        row[column + label] += 0.5 * FADE.powi(hop as i32 + 1);
                    }
                }
            }
            queue.iter().for_each(|&k| distance[k] = usize::MAX);
        }
        Self { width, counts }
    }

    fn difference(&self, i: usize, other: &Self, p: usize) -> f64 {
        let (x, y) = (&self.counts[i * self.width..], &other.counts[p * self.width..]);
        x[..self.width].iter().zip(y).map(|(x, y)| (x - y).abs()).sum()
    }
}
