//! The distance itself, by depth-first branch and bound.

use super::pair::{Pair, Side};
use super::sinkhorn::Approximate;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Sets of nodes are the bits of a word.
pub const MAX_EXACT_NODES: usize = 64;

/// Branch and bound over injections, one node of the smaller graph at a time.
///
/// A partial matching costs what it has decided, and what remains costs at least (the anchor-aware label-set bound of
/// Chang et al., Speeding up GED verification for graph similarity search, ICDE 2020):
/// - the labels of the remaining nodes that have no counterpart,
/// - for each matched pair, the difference of the numbers of edges from its nodes to remaining nodes,
/// - the difference of the numbers of edges among the remaining nodes.
///
/// Twins in the larger graph (same label, same edges) are tried once. Exponential in the number of nodes: made for
/// graphs up to about 12 nodes, where it takes microseconds to milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exact {
    /// When to give up: partial matchings that are looked at.
    pub max_states: u64,
}

impl Default for Exact {
    fn default() -> Self {
        Self { max_states: 1_000_000_000 }
    }
}

/// Why there is no exact distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExactError {
    /// The search cannot hold it.
    #[error("a graph has {nodes} nodes, the exact search holds {MAX_EXACT_NODES}: use the method sinkhorn")]
    TooLarge {
        /// Its nodes.
        nodes: usize,
    },
    /// The search was longer than allowed.
    #[error("not decided after {states} partial matchings; the distance is at most {at_most}: use the method sinkhorn")]
    Undecided {
        /// The partial matchings that were looked at.
        states: u64,
        /// The best found.
        at_most: usize,
    },
}

impl Exact {
    /// The best injection of the smaller into the larger graph. The search starts from what the approximation finds at once:
    /// the better that is, the shorter the search, and the distance does not depend on it.
    ///
    /// # Errors
    /// [`ExactError`].
    pub(super) fn solve(&self, pair: &Pair) -> Result<Vec<u32>, ExactError> {
        let nodes = pair.large.nodes();
        if nodes > MAX_EXACT_NODES {
            return Err(ExactError::TooLarge { nodes });
        }
        let mut image = Approximate { effort: 0, ..Approximate::default() }.solve(pair);
        let best = pair.ceiling() - pair.value(&image);
        let mut search = Search::new(pair, best, self.max_states);
        if best > pair.counting_bound() {
            search.descend(0, search.root());
        }
        if search.states > self.max_states {
            return Err(ExactError::Undecided { states: self.max_states, at_most: search.best });
        }
        if search.best < best {
            search.order.iter().zip(&search.best_image).for_each(|(&i, &p)| image[i] = u32::from(p));
        }
        Ok(image)
    }
}

/// Neighbours as sets: those that an edge leads to, and those that one comes from; both alike where edges join, and then
/// only the first is counted.
struct Sets {
    leaving: Vec<u64>,
    entering: Vec<u64>,
}

impl Sets {
    /// Node `order[d]` becomes number `d`.
    fn new(side: &Side, order: &[usize]) -> Self {
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(d, &i)| place[i] = d);
        let of = |bit: u8| {
            let set = |&i: &usize| {
                let there = side.neighbours(i).iter().filter(|(_, code)| code & bit != 0);
                there.fold(0, |set, &(k, _)| set | 1_u64 << place[k as usize])
            };
            order.iter().map(set).collect()
        };
        Self { leaving: of(1), entering: of(2) }
    }

    /// How many edges join node `i` and nodes of `set`.
    #[inline]
    fn edges_to(&self, i: usize, set: u64) -> u32 {
        (self.leaving[i] & set).count_ones() + (self.entering[i] & set).count_ones()
    }
}

/// A partial matching of the first nodes of the order.
#[derive(Clone, Copy)]
struct Partial {
    /// The nodes of the larger graph that are not matched.
    free: u64,
    /// What is decided.
    cost: u32,
    /// Edges among the free nodes.
    inner: u32,
    /// Remaining nodes of both graphs that can be matched by label.
    common: u32,
}

struct Search<'a> {
    pair: &'a Pair,
    order: Vec<usize>,
    small: Sets,
    large: Sets,
    /// For each depth, the edges among the nodes of the smaller graph that are not matched then.
    small_inner: Vec<u32>,
    /// For each depth, how many nodes of each label are not matched then.
    small_labels: Vec<Vec<u32>>,
    large_labels: Vec<u32>,
    /// For each node of the larger graph, the twins before it.
    twins: Vec<u64>,
    image: Vec<u8>,
    best_image: Vec<u8>,
    best: usize,
    states: u64,
    max_states: u64,
}

impl<'a> Search<'a> {
    fn new(pair: &'a Pair, best: usize, max_states: u64) -> Self {
        let (n, m) = (pair.small.nodes(), pair.large.nodes());
        let order = order(&pair.small);
        let small = Sets::new(&pair.small, &order);
        let large = Sets::new(&pair.large, &(0..m).collect::<Vec<_>>());
        let labels = 1 + pair.small.labels.iter().chain(&pair.large.labels).max().map_or(0, |&label| label as usize);
        let count = |all: &mut dyn Iterator<Item = u32>| {
            let mut counts = vec![0; labels];
            all.for_each(|label| counts[label as usize] += 1);
            counts
        };
        let small_labels = (0..=n).map(|d| count(&mut order[d..].iter().map(|&i| pair.small.labels[i]))).collect();
        let small_inner = (0..=n).map(|d| (d..n).map(|i| small.edges_to(i, below(n) & !below(i + 1))).sum()).collect();
        let twins = (0..m).map(|j| (0..j).filter(|&k| are_twins(pair, &large, j, k)).fold(0, |set, k| set | 1 << k));
        Self {
            order,
            small_inner,
            small_labels,
            large_labels: count(&mut pair.large.labels.iter().copied()),
            twins: twins.collect(),
            image: vec![0; n],
            best_image: vec![0; n],
            best,
            states: 0,
            max_states,
            pair,
            small,
            large,
        }
    }

    fn root(&self) -> Partial {
        let m = self.pair.large.nodes();
        let common = self.small_labels[0].iter().zip(&self.large_labels).map(|(x, y)| x.min(y)).sum();
        Partial { free: below(m), cost: 0, inner: self.pair.large.edges as u32, common }
    }

    /// Looks at everything that begins with `image[..depth]`.
    fn descend(&mut self, depth: usize, at: Partial) {
        let n = self.order.len();
        if depth == n {
            // What remains is inserted, with every edge at it: the bound is the cost itself then.
            self.best_image.copy_from_slice(&self.image);
            return;
        }
        let label = self.pair.small.labels[self.order[depth]] as usize;
        // The node's own label leaves the smaller graph whatever it is matched with.
        let lost = u32::from(self.small_labels[depth][label] <= self.large_labels[label]);
        let matched = below(depth);
        let (mut leaving, mut entering) = (0_u64, 0_u64);
        for k in bits(self.small.leaving[depth] & matched) {
            leaving |= 1 << self.image[k];
        }
        for k in bits(self.small.entering[depth] & matched) {
            entering |= 1 << self.image[k];
        }
        let used = below(self.pair.large.nodes()) & !at.free;
        let mut children = [(0_u32, 0_u8, at); MAX_EXACT_NODES];
        let mut count = 0;
        for j in bits(at.free) {
            if self.twins[j] & at.free != 0 {
                continue;
            }
            let (other, free) = (self.pair.large.labels[j] as usize, at.free & !(1 << j));
            let broken = (leaving ^ (self.large.leaving[j] & used)).count_ones()
                + (entering ^ (self.large.entering[j] & used)).count_ones();
            let cost = at.cost + u32::from(label != other) + broken;
            let inner = at.inner - self.large.edges_to(j, free);
            let common = at.common - lost - u32::from(self.large_labels[other] <= self.small_labels[depth + 1][other]);
            let mut bound = cost + free.count_ones() - common + inner.abs_diff(self.small_inner[depth + 1]);
            self.image[depth] = j as u8;
            bound += self.crossing(depth + 1, free);
            self.states += 1;
            if (bound as usize) < self.best {
                children[count] = (bound, j as u8, Partial { free, cost, inner, common });
                count += 1;
            }
        }
        let children = &mut children[..count];
        children.sort_unstable_by_key(|&(bound, j, _)| (bound, j));
        for &(bound, j, child) in children.iter() {
            if bound as usize >= self.best || self.states > self.max_states {
                return;
            }
            self.image[depth] = j;
            let other = self.pair.large.labels[j as usize] as usize;
            if depth + 1 == n {
                self.best = bound as usize;
            }
            self.large_labels[other] -= 1;
            self.descend(depth + 1, child);
            self.large_labels[other] += 1;
        }
    }

    /// The least cost of edges between the first `depth` nodes and the rest.
    #[inline]
    fn crossing(&self, depth: usize, free: u64) -> u32 {
        let rest = below(self.order.len()) & !below(depth);
        let mut cost = 0;
        for (k, &p) in self.image[..depth].iter().enumerate() {
            let p = p as usize;
            let count = |sets: u64, within: u64| (sets & within).count_ones();
            cost += count(self.small.leaving[k], rest).abs_diff(count(self.large.leaving[p], free));
            cost += count(self.small.entering[k], rest).abs_diff(count(self.large.entering[p], free));
        }
        cost
    }
}

/// The nodes below `d`.
fn below(d: usize) -> u64 {
    if d == MAX_EXACT_NODES { u64::MAX } else { (1 << d) - 1 }
}

fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let next = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        next
    })
}

/// Whether nothing tells `j` and `k` apart but an edge between them that leads both ways or neither.
fn are_twins(pair: &Pair, sets: &Sets, j: usize, k: usize) -> bool {
    let others = !(1 << j | 1 << k);
    let code = pair.large.code(j, k);
    pair.large.labels[j] == pair.large.labels[k]
        && (sets.leaving[j] ^ sets.leaving[k]) & others == 0
        && (sets.entering[j] ^ sets.entering[k]) & others == 0
        && code == pair.large.code(k, j)
}

/// First the node with most edges, then always the one with most edges to those before it.
fn order(side: &Side) -> Vec<usize> {
    let n = side.nodes();
    let mut order = Vec::with_capacity(n);
    let mut ties = vec![0_usize; n];
    let mut left: Vec<usize> = (0..n).collect();
    while !left.is_empty() {
        let key = |&(_, &i): &(usize, &usize)| (ties[i], side.neighbours(i).len(), std::cmp::Reverse(i));
        let (slot, &next) = left.iter().enumerate().max_by_key(key).expect("a node is left");
        left.remove(slot);
        order.push(next);
        side.neighbours(next).iter().for_each(|&(k, _)| ties[k as usize] += 1);
    }
    order
}
