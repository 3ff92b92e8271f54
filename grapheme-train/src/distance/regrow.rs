//! Growing a placement from what is placed already, and improving it by lifting a part and growing it anew.

use super::pair::Pair;
use super::placement::{NONE, Placement};
use super::tabu::Best;
use grapheme_core::Stream;
use grapheme_core::random::mix;
use rand::{Rng, RngExt};
use std::collections::BinaryHeap;

/// Entries of a plan that are smaller look alike.
const LEAST: f64 = 1e-9;
/// How many places each node is offered where no edge speaks for any.
const OFFERS: usize = 8;

/// Which places look alike, from a plan.
pub(super) struct Likeness {
    columns: usize,
    /// `n x m`, in `0 ..= 2^16 - 1`.
    scores: Vec<u16>,
    /// The likeliest pairs, each node with a few, in falling order.
    offers: Vec<(u32, u32)>,
}

impl Likeness {
    pub(super) fn new(pair: &Pair, plan: &[f64]) -> Self {
        let m = pair.large.nodes();
        // On a scale of logarithms: what is small in a plan still differs.
        let score = |p: f64| ((1.0 - p.max(LEAST).ln() / LEAST.ln()) * 60_000.0).clamp(0.0, 60_000.0) as u16;
        let scores: Vec<u16> = plan.iter().map(|&p| score(p)).collect();
        let mut offers = Vec::new();
        let mut row: Vec<(u16, u32)> = Vec::with_capacity(m);
        for i in 0..pair.small.nodes() {
            row.clear();
            row.extend(scores[i * m..(i + 1) * m].iter().copied().zip(0..));
            let few = OFFERS.min(m);
            if few < m {
                row.select_nth_unstable_by_key(few, |&(score, p)| (std::cmp::Reverse(score), p));
            }
            offers.extend(row[..few].iter().map(|&(score, p)| (score, i as u32, p)));
        }
        offers.sort_unstable_by_key(|&(score, i, p)| (std::cmp::Reverse(score), i, p));
        Self { columns: m, scores, offers: offers.into_iter().map(|(_, i, p)| (i, p)).collect() }
    }

    fn score(&self, i: usize, p: usize) -> u64 {
        u64::from(self.scores[i * self.columns + p])
    }

    pub(super) fn offers(&self) -> &[(u32, u32)] {
        &self.offers
    }
}

/// Up to so many nodes, those that were grown anew are also swapped with each other.
const SMALL_BALL: usize = 16;

/// How far chance may outweigh likeness when a part is grown anew, in units of a score.
const NOISE: [u64; 3] = [1 << 10, 1 << 13, 1 << 16];

/// Room to work in.
#[derive(Default)]
pub(super) struct Grower {
    heap: BinaryHeap<(u64, u32, u32)>,
    lifted: Vec<(u32, u32)>,
    queue: Vec<u32>,
    seen: Vec<u32>,
    round: u32,
}

impl Grower {
    /// Places what has no place: always the pair that most edges speak for, among those the likelier one. `salt` shuffles
    /// likeness as far as `noise` (in `0 ..= 2^16`) goes. `O(edges * degree * log)`.
    pub(super) fn grow(&mut self, placement: &mut Placement<'_>, likeness: &Likeness, noise: u64, salt: u64) {
        let pair = placement.pair;
        self.heap.clear();
        let open: Vec<u32> = (0..).zip(&placement.image).filter(|(_, p)| **p == NONE).map(|(i, _)| i).collect();
        for &i in &open {
            for &(k, _) in pair.small.neighbours(i as usize) {
                let q = placement.image[k as usize];
                if q != NONE {
                    self.push_around(placement, likeness, noise, salt, i as usize, q as usize);
                }
            }
        }
        let mut offers = likeness.offers.iter();
        let mut left = open.len();
        while left > 0 {
            let (i, p) = match self.heap.pop() {
                Some((key, i, p)) => {
                    let (i, p) = (i as usize, p as usize);
                    let fits = placement.image[i] == NONE && placement.origin[p] == NONE;
                    if !fits || (key >> 32) as i32 != placement.gain(i, p) {
                        continue;
                    }
                    (i, p)
                }
                None => {
                    let mut fitting = offers
                        .by_ref()
                        .filter(|&&(i, p)| placement.image[i as usize] == NONE && placement.origin[p as usize] == NONE);
                    match fitting.next() {
                        Some(&(i, p)) => (i as usize, p as usize),
                        None => break,
                    }
                }
            };
            placement.place(i, p);
            left -= 1;
            for &(k, _) in pair.small.neighbours(i) {
                if placement.image[k as usize] == NONE {
                    self.push_around(placement, likeness, noise, salt, k as usize, p);
                }
            }
        }
        for &i in &open {
            if placement.image[i as usize] == NONE {
                let gains = placement.gains(i as usize);
                let free = (0..gains.len()).filter(|&p| placement.origin[p] == NONE);
                let p = free.max_by_key(|&p| (gains[p], likeness.score(i as usize, p), std::cmp::Reverse(p)));
                placement.place(i as usize, p.expect("the larger graph has a place for every node"));
            }
        }
    }

    /// Node `i` beside `q`.
    fn push_around(
        &mut self,
        placement: &Placement<'_>,
        likeness: &Likeness,
        noise: u64,
        salt: u64,
        i: usize,
        q: usize,
    ) {
        for &(p, _) in placement.pair.large.neighbours(q) {
            let gain = placement.gain(i, p as usize);
            if placement.origin[p as usize] == NONE && gain > 1 {
                let shuffle = mix(salt ^ ((i as u64) << 32 | u64::from(p))) & 0xFFFF;
                let rank = likeness.score(i, p as usize) + ((shuffle * noise) >> 16);
                self.heap.push(((gain as u64) << 32 | rank, i as u32, p));
            }
        }
    }

    /// Large-neighbourhood search: lifts a node that could gain with some that are around it in either graph, grows them
    /// anew, improves them, and keeps that unless it is worse. The best is kept apart. Stops after `patience` rounds without a better one, after
    /// `rounds` in all, or at `enough`.
    pub(super) fn search(
        &mut self,
        placement: &mut Placement<'_>,
        best: &mut Best,
        likeness: &Likeness,
        limits: Limits,
        stream: &mut Stream,
    ) {
        let n = placement.image.len();
        best.offer(placement);
        self.seen.clear();
        self.seen.resize(n, 0);
        self.round = 0;
        let mut idle = 0;
        for _ in 0..limits.rounds {
            if best.value >= limits.enough || idle >= limits.patience || n < 2 {
                return;
            }
            idle += 1;
            let random = stream.next_u64();
            let start = (random >> 8) as usize % n;
            let Some(centre) = (0..n).map(|s| (start + s) % n).find(|&i| could_gain(placement, i)) else { return };
            // As many small balls as large ones, on a scale of logarithms.
            let most = (2.0 * (limits.ball as f64 / 2.0).powf(stream.random::<f64>())).round() as usize;
            self.ball(placement, centre, most, stream.next_u64());
            let before = placement.value();
            self.lifted.clear();
            for &i in &self.queue {
                self.lifted.push((i, placement.image[i as usize]));
                placement.lift(i as usize);
            }
            self.grow(placement, likeness, NOISE[stream.random_range(0..NOISE.len())], stream.next_u64());
            let ball = std::mem::take(&mut self.queue);
            let lifted = std::mem::take(&mut self.lifted);
            if ball.len() <= SMALL_BALL {
                self.improve_within(placement, &ball);
            }
            // Now and then it may get worse by one edge, which leads out of what is best for every ball by itself.
            let slack = if random & 63 == 0 { 2 } else { 0 };
            if placement.value() < before - slack {
                for &(i, _) in &lifted {
                    placement.lift(i as usize);
                }
                for &(i, p) in &lifted {
                    placement.place(i as usize, p as usize);
                }
            } else if best.offer(placement) {
                idle = 0;
            }
            (self.queue, self.lifted) = (ball, lifted);
        }
    }

    /// Swaps within a set of nodes, and moves to free places beside it.
    fn improve_within(&mut self, placement: &mut Placement<'_>, which: &[u32]) {
        let mut again = true;
        while again {
            again = false;
            for (s, &i) in which.iter().enumerate() {
                for &k in &which[s + 1..] {
                    if placement.swap_gain(i as usize, k as usize) > 0 {
                        placement.swap(i as usize, k as usize);
                        again = true;
                    }
                }
            }
        }
    }

    /// Up to `most` nodes around `centre`, into the queue: neighbours, and those placed at neighbours of its place.
    fn ball(&mut self, placement: &Placement<'_>, centre: usize, most: usize, salt: u64) {
        self.round += 1;
        self.queue.clear();
        self.queue.push(centre as u32);
        self.seen[centre] = self.round;
        let mut next = 0;
        while next < self.queue.len() && self.queue.len() < most {
            let i = self.queue[next] as usize;
            next += 1;
            let near = placement.pair.small.neighbours(i).iter().map(|&(k, _)| k);
            let there = placement.pair.large.neighbours(placement.image[i] as usize).iter();
            let there = there.map(|&(q, _)| placement.origin[q as usize]).filter(|&k| k != NONE);
            for k in near.chain(there) {
                // A few are left out, so that the same centre does not always mean the same ball.
                if self.seen[k as usize] != self.round && mix(salt ^ u64::from(k)) & 7 != 0 && self.queue.len() < most {
                    self.seen[k as usize] = self.round;
                    self.queue.push(k);
                }
            }
        }
        if self.queue.len() < 2 {
            let n = placement.image.len();
            let other = (centre + 1 + salt as usize % (n - 1)) % n;
            self.queue.push(other as u32);
        }
    }
}

/// When a search ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rounds: usize,
    pub(super) patience: usize,
    pub(super) ball: usize,
    pub(super) enough: i64,
}

/// Whether another placement could be worth more for node `i`, or for the node that it is placed at.
fn could_gain(placement: &Placement<'_>, i: usize) -> bool {
    let pair = placement.pair;
    let p = placement.image[i] as usize;
    let edges = |side: &super::pair::Side, i| side.degrees(i).iter().sum::<usize>() as i32;
    let most = 1 + 2 * edges(&pair.small, i).max(edges(&pair.large, p));
    placement.here(i) < most
}
