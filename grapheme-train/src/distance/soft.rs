//! A soft assignment of nodes to nodes: entropic transport by what is around them.

use super::pair::{Pair, Side};
use crate::loss::align::{Aligner, Problem, Sinkhorn, Value};
use crate::loss::band::{Band, Banded};
use grapheme_core::Kept;

/// How many steps around a node count. More of them tell more nodes apart, and let one edit disturb more of them.
const DEPTH: usize = 3;
/// What a difference one step away weighs against one at the node itself.
const FADE: f64 = 0.5;
/// The weight of the entropy, in edits.
const EPSILON: f64 = 0.5;

/// Where each node of the smaller graph belongs, `n x m`, rows summing to 1 as far as the iteration got.
///
/// The transport cost is [`surroundings`]; every node of the smaller graph goes somewhere, and what is left of the larger stays
/// empty at no cost. Only the order of the entries matters to what follows, so a hundredth of the mass may be misplaced.
pub(super) fn plan(pair: &Pair) -> Vec<f64> {
    let (n, m) = (pair.small.nodes(), pair.large.nodes());
    if n == 0 {
        return Vec::new();
    }
    let cost = surroundings(pair);
    let cost = Banded::from_fn(&Band::dense(n, m), |i, p| cost[i * m + p]);
    let problem = Problem::new(cost, Kept::filled(n, f64::INFINITY), Kept::filled(m, 0.0), Kept::filled(n, 1.0))
        .expect("every part has the length that the band asks for");
    let method = Sinkhorn {
        epsilon: EPSILON,
        anneal_from: 0.0,
        max_iterations: 30,
        tolerance: 1e-2,
        value: Value::TransportCost,
        ..Sinkhorn::default()
    };
    method.align(&problem).plan.values().to_vec()
}

/// `D_0 = unlike label`, and `D_(t+1)(i, p) = unlike label + half the difference of degrees + FADE / 2 (sum over neighbours
/// k of i of min over neighbours q of p of D_t(k, q), and the same the other way round)`: the Hausdorff edit distance
/// (Fischer et al., Approximation of graph edit distance based on Hausdorff matching, Pattern Recognition 48, 2015), taken
/// into itself. `O(DEPTH (n + m) (nodes + edges))`.
fn surroundings(pair: &Pair) -> Vec<f64> {
    let (n, m) = (pair.small.nodes(), pair.large.nodes());
    let degrees = |side: &Side| (0..side.nodes()).map(|i| side.degrees(i)).collect::<Vec<_>>();
    let (small, large) = (degrees(&pair.small), degrees(&pair.large));
    let mut last: Vec<f64> = {
        let pairs = pair.small.labels.iter().flat_map(|x| pair.large.labels.iter().map(move |y| (x, y)));
        pairs.map(|(x, y)| f64::from(u8::from(x != y))).collect()
    };
    let mut base = last.clone();
    for (i, row) in base.chunks_exact_mut(m).enumerate() {
        for (p, base) in row.iter_mut().enumerate() {
            let difference = small[i][0].abs_diff(large[p][0]) + small[i][1].abs_diff(large[p][1]);
            *base += 0.5 * difference as f64;
        }
    }
    let mut next = base.clone();
    let mut nearest = vec![0.0; n * m];
    // Directed edges are compared by direction.
    let bits = if pair.is_directed() { &[1, 2][..] } else { &[1] };
    for _ in 0..DEPTH {
        next.copy_from_slice(&base);
        for &bit in bits {
            // For each node k of the smaller graph and p of the larger: the nearest to k of p's neighbours.
            for (nearest, row) in nearest.chunks_exact_mut(m).zip(last.chunks_exact(m)) {
                for (p, nearest) in nearest.iter_mut().enumerate() {
                    let least = neighbours(&pair.large, p, bit).map(|q| row[q]).fold(f64::INFINITY, f64::min);
                    *nearest = if least < f64::INFINITY { least } else { 0.0 };
                }
            }
            for (i, row) in next.chunks_exact_mut(m).enumerate() {
                for k in neighbours(&pair.small, i, bit) {
                    row.iter_mut().zip(&nearest[k * m..]).for_each(|(d, nearest)| *d += 0.5 * FADE * nearest);
                }
            }
            // For each node i of the smaller graph and q of the larger: the nearest to q of i's neighbours.
            for (i, (nearest, row)) in nearest.chunks_exact_mut(m).zip(next.chunks_exact_mut(m)).enumerate() {
                nearest.fill(f64::INFINITY);
                for k in neighbours(&pair.small, i, bit) {
                    nearest.iter_mut().zip(&last[k * m..]).for_each(|(least, &d)| *least = least.min(d));
                }
                if nearest[0] == f64::INFINITY {
                    continue;
                }
                for (p, d) in row.iter_mut().enumerate() {
                    *d += 0.5 * FADE * neighbours(&pair.large, p, bit).map(|q| nearest[q]).sum::<f64>();
                }
            }
        }
        std::mem::swap(&mut last, &mut next);
    }
    last
}

/// The neighbours of a node by edges of one direction.
fn neighbours(side: &Side, i: usize, bit: u8) -> impl Iterator<Item = usize> {
    side.neighbours(i).iter().filter(move |(_, code)| code & bit != 0).map(|(k, _)| *k as usize)
}
