//! The project's approximation: a soft assignment, rounded, and improved by local search.

use super::linear::assign;
use super::pair::Pair;
use super::placement::Placement;
use super::regrow::{Grower, Likeness, Limits};
use super::soft;
use super::tabu::{self, Best};
use grapheme_core::Stream;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Up to so many nodes of the larger graph, tabu search looks at every swap in every step.
const FEW: usize = 24;
/// Steps of one tabu search, for each node of the larger graph.
const TABU_STEPS: usize = 10;
/// How many placements of larger graphs are grown from a single pair of nodes, and how many of all are searched on from.
const SEEDS: usize = 40;
const KEPT: usize = 2;
/// Rounds of large-neighbourhood search from each, for each node of the smaller graph.
const ROUNDS: usize = 150;

/// Matches nodes by entropic transport, and improves the matching by local search. Never calls the exact search.
///
/// 1. A transport plan between the nodes, whose costs look three steps around each node.
/// 2. Starts: the plan rounded by linear assignment, and placements that grow from a seed: always the pair of nodes that most
///    edges speak for, the likelier by the plan among equals.
/// 3. Up to 24 nodes: robust tabu search over swaps from each start. Beyond: large-neighbourhood search from the best
///    starts, which lifts a part around a node that could gain and grows it anew.
///
/// What it finds is the length of an edit path, so never below the distance. Same seed, same matching. Time:
/// `O(n^2 m)` for the rounding and `O(effort n^2 degree^2)` for the search; memory `O(n m)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Approximate {
    /// Of the random numbers.
    pub seed: u64,
    /// How long to search: the numbers of starts or rounds are multiplied by it. With 0 only the rounded plan is improved.
    pub effort: usize,
}

impl Default for Approximate {
    fn default() -> Self {
        Self { seed: 1, effort: 1 }
    }
}

impl Approximate {
    /// An injection of the smaller graph into the larger.
    pub(super) fn solve(&self, pair: &Pair) -> Vec<u32> {
        let (n, m) = (pair.small.nodes(), pair.large.nodes());
        if n == 0 {
            return Vec::new();
        }
        let plan = soft::plan(pair);
        let negative: Vec<f64> = plan.iter().map(|p| -p).collect();
        let rounded: Vec<u32> = assign(&negative, n, m).0.into_iter().map(|p| p as u32).collect();
        let likeness = Likeness::new(pair, &plan);
        let start = Placement::of(pair, &rounded);
        let enough = (pair.ceiling() - pair.counting_bound()) as i64;
        if m <= FEW { self.small(start, &likeness, enough) } else { self.large(start, &likeness, enough) }
    }

    /// Tabu search from several starts.
    fn small(&self, mut start: Placement<'_>, likeness: &Likeness, enough: i64) -> Vec<u32> {
        let pair = start.pair;
        let (n, m) = (pair.small.nodes(), pair.large.nodes());
        let mut best = Best::none();
        let mut stream = Stream::new(self.seed);
        let mut grower = Grower::default();
        let mut memory = Vec::new();
        tabu::search(&mut start, &mut best, enough, TABU_STEPS * m, &mut stream, &mut memory);
        // Somewhat larger graphs have many more local optima, and more time.
        let starts = self.effort * (12 + 2 * m.saturating_sub(10));
        for turn in 0..starts {
            if best.value >= enough {
                break;
            }
            let mut draw = |below: usize| (stream.next_u64() >> 8) as usize % below;
            let (i, p) = if turn % 2 == 0 {
                let (i, p) = likeness.offers()[draw(likeness.offers().len())];
                (i as usize, p as usize)
            } else {
                (draw(n), draw(m))
            };
            let mut start = Placement::empty(pair);
            start.place(i, p);
            grower.grow(&mut start, likeness, 1 << 16, stream.next_u64());
            tabu::search(&mut start, &mut best, enough, TABU_STEPS * m, &mut stream, &mut memory);
        }
        best.image
    }

    /// Large-neighbourhood search from the best of many starts.
    fn large(&self, start: Placement<'_>, likeness: &Likeness, enough: i64) -> Vec<u32> {
        let pair = start.pair;
        let n = pair.small.nodes();
        let mut best = Best::none();
        let mut stream = Stream::new(self.seed);
        let mut grower = Grower::default();
        let mut starts = vec![start];
        for &(i, p) in likeness.offers().iter().take(SEEDS) {
            let mut grown = Placement::empty(pair);
            grown.place(i as usize, p as usize);
            grower.grow(&mut grown, likeness, 0, 0);
            starts.push(grown);
            // Only the best are kept, because each has a matrix of its own; sorting is stable, so the first of equals stays.
            starts.sort_by_key(|start| std::cmp::Reverse(start.value()));
            starts.truncate(KEPT);
        }
        let rounds = self.effort * ROUNDS * n;
        let limits = Limits { rounds, patience: rounds / 2, ball: (n / 2).max(8), enough };
        for start in &mut starts {
            grower.search(start, &mut best, likeness, limits, &mut stream);
        }
        best.image
    }
}
