//! The project's approximation: a soft assignment, rounded, and improved by local search.

use super::linear::assign;
use super::pair::Pair;
use super::placement::Placement;
use super::regrow::{Grower, Likeness, Limits};
use super::soft::Soft;
use super::tabu::{self, Best};
use grapheme_core::Stream;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Up to so many nodes of the larger graph, every swap is looked at in every step.
const FEW: usize = 24;

/// The matching of nodes from entropic transport, improved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Approximate {
    /// Of the random numbers.
    pub seed: u64,
    /// How long to search: all numbers of steps are multiplied by it.
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
        let enough = (pair.ceiling() - pair.counting_bound()) as i64;
        let env = |name: &str, or: usize| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(or);
        let soft = Soft { epsilon: 0.1, rounds: env("ROUNDS", 4) };
        let plan = soft.plan(pair);
        let negative: Vec<f64> = plan.iter().map(|p| -p).collect();
        let rounded: Vec<u32> = assign(&negative, n, m).0.into_iter().map(|p| p as u32).collect();
        let likeness = Likeness::new(pair, &plan);
        let mut best = Best::none();
        let mut stream = Stream::new(self.seed);
        let mut grower = Grower::default();
        let mut start = Placement::of(pair, &rounded);
        if m <= FEW {
            let steps = env("STEPS", 10) * m * self.effort;
            let mut memory = Vec::new();
            tabu::search(&mut start, &mut best, enough, steps, &mut stream, &mut memory);
            for r in 0..env("STARTS", 3) as u64 {
                if best.value >= enough {
                    break;
                }
                let mut start = Placement::empty(pair);
                let i = (stream.next_u64() >> 8) as usize % n;
                let p = (stream.next_u64() >> 8) as usize % m;
                start.place(i, p);
                grower.grow(&mut start, &likeness, 1 << 16, r);
                tabu::search(&mut start, &mut best, enough, steps, &mut stream, &mut memory);
            }
            return best.image;
        }
        // Starts: as rounded, grown from the likeliest pairs, and grown from single pairs.
        let debug = std::env::var("DEBUG").is_ok();
        let mut starts = vec![start];
        let mut grown = Placement::empty(pair);
        grower.grow(&mut grown, &likeness, 0, 0);
        starts.push(grown);
        let mut seeds = 0;
        for &(i, p) in likeness.offers() {
            if seeds == env("SEEDS", 40) {
                break;
            }
            let mut grown = Placement::empty(pair);
            grown.place(i as usize, p as usize);
            grower.grow(&mut grown, &likeness, 0, 0);
            if debug { eprintln!("seed {i} {p}: {}", pair.ceiling() as i64 - grown.value()); }
            starts.push(grown);
            seeds += 1;
        }
        if debug {
            eprintln!("rounded {} grown {}", pair.ceiling() as i64 - starts[0].value(), pair.ceiling() as i64 - starts[1].value());
        }
        starts.sort_by_key(|start| std::cmp::Reverse(start.value()));
        starts.truncate(env("KEEP", 4));
        let limits = Limits { rounds: env("LNS", 50) * n * self.effort, patience: env("PAT", 20) * n * self.effort, ball: 12, enough };
        for start in &mut starts {
            let t = std::time::Instant::now();
            grower.search(start, &mut best, &likeness, limits, &mut stream);
            if debug { eprintln!("lns {} best {} {:?}", pair.ceiling() as i64 - start.value(), pair.ceiling() as i64 - best.value, t.elapsed()); }
        }
        best.image
    }
}
