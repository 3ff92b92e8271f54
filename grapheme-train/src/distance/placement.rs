//! An injection with everything that local search asks of it in constant time.

use super::pair::Pair;

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// Where nodes of the smaller graph are placed in the larger, perhaps not all of them yet.
///
/// `gain[i][p]` is what placing `i` at `p` is worth by itself, everything else as it is: 1 where labels are the same, and 2
/// for each edge of `i` that meets an edge. It is kept for all `i` and `p`, so a swap is judged in constant time and made
/// in `O(degree^2)`.
#[derive(Clone, Debug)]
pub(super) struct Placement<'a> {
    pub(super) pair: &'a Pair,
    pub(super) image: Vec<u32>,
    pub(super) origin: Vec<u32>,
    gain: Vec<i32>,
    /// The gain of each node where it is, so that a scan over partners reads it in order.
    here: Vec<i32>,
    value: i64,
}

impl<'a> Placement<'a> {
    /// Nothing is placed. `O(n m)`.
    pub(super) fn empty(pair: &'a Pair) -> Self {
        let (n, m) = (pair.small.nodes(), pair.large.nodes());
        let mut gain = Vec::with_capacity(n * m);
        for label in &pair.small.labels {
            gain.extend(pair.large.labels.iter().map(|other| i32::from(label == other)));
        }
        Self { pair, image: vec![NONE; n], origin: vec![NONE; m], gain, here: vec![0; n], value: 0 }
    }

    /// Every node `i` at `image[i]`. `O(n m + edges * degree)`.
    pub(super) fn of(pair: &'a Pair, image: &[u32]) -> Self {
        let mut placement = Self::empty(pair);
        (0..).zip(image).for_each(|(i, &p)| placement.place(i, p as usize));
        placement
    }

    /// Twice the edges that meet edges, and the nodes whose labels meet.
    pub(super) fn value(&self) -> i64 {
        self.value
    }

    #[inline]
    pub(super) fn gain(&self, i: usize, p: usize) -> i32 {
        self.gain[i * self.origin.len() + p]
    }

    /// The gains of `i` everywhere.
    #[inline]
    pub(super) fn gains(&self, i: usize) -> &[i32] {
        let m = self.origin.len();
        &self.gain[i * m..(i + 1) * m]
    }

    /// The gain of `i` where it is placed.
    #[inline]
    pub(super) fn here(&self, i: usize) -> i32 {
        self.here[i]
    }

    /// Places `i`, which has no place, at `p`, which is free.
    pub(super) fn place(&mut self, i: usize, p: usize) {
        self.value += i64::from(self.gain(i, p));
        self.here[i] = self.gain(i, p);
        self.image[i] = p as u32;
        self.origin[p] = i as u32;
        self.spread(i, p, 2);
    }

    /// Takes `i` from its place.
    pub(super) fn lift(&mut self, i: usize) {
        let p = self.image[i] as usize;
        self.spread(i, p, -2);
        self.image[i] = NONE;
        self.origin[p] = NONE;
        self.value -= i64::from(self.gain(i, p));
    }

    /// What `i` at `p` is worth to the gains of their neighbours.
    fn spread(&mut self, i: usize, p: usize, worth: i32) {
        let m = self.origin.len();
        let Self { pair, gain, here, image, .. } = self;
        for &(k, code) in pair.small.neighbours(i) {
            let k = k as usize;
            let row = &mut gain[k * m..(k + 1) * m];
            for &(q, other) in pair.large.neighbours(p) {
                row[q as usize] += worth * (code & other).count_ones() as i32;
            }
            if image[k] != NONE {
                here[k] = row[image[k] as usize];
            }
        }
    }

    /// What the value grows by if `i` and `k` change places.
    #[inline]
    pub(super) fn swap_gain(&self, i: usize, k: usize) -> i32 {
        let (p, q) = (self.image[i] as usize, self.image[k] as usize);
        self.gain(i, q) + self.gain(k, p) - self.here[i] - self.here[k] + self.between(i, k, p, q)
    }

    /// What the gains of two nodes that change places do not say of an edge between them: it was counted with both before,
    /// and is counted with neither after.
    #[inline]
    pub(super) fn between(&self, i: usize, k: usize, p: usize, q: usize) -> i32 {
        let code = self.pair.small.code(i, k);
        if code == 0 {
            return 0;
        }
        let (before, after) = (self.pair.large.code(p, q), self.pair.large.code(q, p));
        2 * ((code & before).count_ones() + (code & after).count_ones()) as i32
    }

    /// `i` and `k` change places.
    pub(super) fn swap(&mut self, i: usize, k: usize) {
        let (p, q) = (self.image[i] as usize, self.image[k] as usize);
        self.lift(i);
        self.lift(k);
        self.place(i, q);
        self.place(k, p);
    }

    /// `i` goes to `p`, which is free.
    pub(super) fn shift(&mut self, i: usize, p: usize) {
        self.lift(i);
        self.place(i, p);
    }
}
