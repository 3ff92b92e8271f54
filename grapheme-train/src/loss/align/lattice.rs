//! All monotone paths through a band, summed over: the recursion behind [`Monotone`](super::Monotone).
//!
//! A *lattice point* `(r, c)` says that the first `r` predicted nodes and the first `c` targets are done with. A step
//! matches `(+1, +1)`, deletes `(+1, 0)` or inserts `(0, +1)`.

use crate::loss::band::Band;
use std::ops::{Add, Mul, RangeInclusive, Sub};

/// The log weight of each step: of a match by row, column and slot in the band, of a deletion by its row, of an
/// insertion by its column. Two passes of `O(points)`; one share a point is stored between them, two with insertions.
pub(crate) struct Lattice<'a, M, D, I> {
    pub(crate) band: &'a Band,
    pub(crate) matched: M,
    pub(crate) deleted: D,
    pub(crate) inserted: I,
    pub(crate) may_insert: bool,
}

/// What the backward pass reads. Points lie row after row; a point that no path reaches has arbitrary shares, and as no
/// step leaves it, no flow ever arrives there.
pub(crate) struct Forward<T> {
    /// The log of the weight of all paths.
    pub(crate) total: T,
    /// Of the paths that enter the point by a match or a deletion, the share that matches.
    match_share: Vec<T>,
    /// Of the paths through the point, the share that enters by an insertion. Empty if nothing may be inserted.
    insert_share: Vec<T>,
}

/// The probability that a path takes a step: all of a match and of a deletion, a part of an insertion.
pub(crate) enum Flow<T> {
    /// By row, column and slot.
    Match(usize, usize, usize, T),
    /// By row.
    Delete(usize, T),
    /// By column.
    Insert(usize, T),
}

impl<T, M, D, I> Lattice<'_, M, D, I>
where
    T: Number,
    M: Fn(usize, usize, usize) -> T,
    D: Fn(usize) -> T,
    I: Fn(usize) -> T,
{
    /// Sums over all paths.
    pub(crate) fn forward(&self) -> Forward<T> {
        let n = self.band.rows();
        let count = (0..=n).map(|r| row_length(&self.points(r))).sum();
        let width = (0..=n).map(|r| row_length(&self.points(r))).max().unwrap_or(0);
        let mut match_share = Vec::with_capacity(count);
        let mut insert_share = Vec::with_capacity(if self.may_insert { count } else { 0 });
        let mut above = Vec::with_capacity(width);
        let mut here = Vec::with_capacity(width);
        here.push(T::from(0.0));
        match_share.push(T::from(0.0));
        self.extend_by_insertions(self.points(0), &mut here, &mut match_share, &mut insert_share);
        for r in 1..=n {
            std::mem::swap(&mut above, &mut here);
            here.clear();
            let skipped = self.points(r).start() - self.points(r - 1).start();
            let slots = self.band.slots(r - 1);
            let sources = &above[skipped..=skipped + slots.len()];
            let delete = (self.deleted)(r - 1);
            here.push(sources[0] + delete);
            match_share.push(T::from(0.0));
            for ((slot, j), pair) in slots.zip(self.band.range(r - 1)).zip(sources.windows(2)) {
                let (weight, share) = T::merge(pair[0] + (self.matched)(r - 1, j, slot), pair[1] + delete);
                here.push(weight);
                match_share.push(share);
            }
            self.extend_by_insertions(self.points(r), &mut here, &mut match_share, &mut insert_share);
        }
        Forward { total: here[here.len() - 1], match_share, insert_share }
    }

    /// The columns of lattice row `r`: those that the matrix row above ends at and the one below begins at.
    fn points(&self, r: usize) -> RangeInclusive<usize> {
        let first = if r == 0 { 0 } else { self.band.range(r - 1).start };
        let last = if r == self.band.rows() { self.band.columns() } else { self.band.range(r).end };
        first..=last
    }

    /// Lets the points of a row, so far reached from the row above, be reached by insertions as well.
    fn extend_by_insertions(
        &self,
        points: RangeInclusive<usize>,
        here: &mut Vec<T>,
        match_share: &mut Vec<T>,
        insert_share: &mut Vec<T>,
    ) {
        let unreached = row_length(&points) - here.len();
        here.extend(std::iter::repeat_n(T::from(f64::NEG_INFINITY), unreached));
        match_share.extend(std::iter::repeat_n(T::from(0.0), unreached));
        if !self.may_insert {
            return;
        }
        insert_share.push(T::from(0.0));
        for (k, j) in (*points.start()..*points.end()).enumerate() {
            let (weight, share) = T::merge(here[k] + (self.inserted)(j), here[k + 1]);
            here[k + 1] = weight;
            insert_share.push(share);
        }
    }

    /// Tells `visit` the probability of every step, row after row from the last to the first.
    pub(crate) fn backward(&self, forward: &Forward<T>, mut visit: impl FnMut(Flow<T>)) {
        let n = self.band.rows();
        let one = T::from(1.0);
        let mut end = forward.match_share.len();
        let mut below = Vec::new();
        let mut here = vec![T::from(0.0); row_length(&self.points(n))];
        here[row_length(&self.points(n)) - 1] = one;
        for r in (0..=n).rev() {
            let points = self.points(r);
            let row = end - row_length(&points)..end;
            end = row.start;
            if self.may_insert {
                let shares = &forward.insert_share[row.clone()];
                for (k, j) in (*points.start()..*points.end()).enumerate().rev() {
                    let flow = here[k + 1] * shares[k + 1];
                    here[k + 1] = here[k + 1] * (one - shares[k + 1]);
                    here[k] = here[k] + flow;
                    visit(Flow::Insert(j, flow));
                }
            }
            if r == 0 {
                break;
            }
            std::mem::swap(&mut below, &mut here);
            let above = self.points(r - 1);
            here.clear();
            here.resize(row_length(&above), T::from(0.0));
            let skipped = points.start() - above.start();
            let slots = self.band.slots(r - 1);
            let mut deleted = below[0];
            here[skipped] = below[0];
            for (k, (slot, j)) in (1..).zip(slots.zip(self.band.range(r - 1))) {
                let matched = below[k] * forward.match_share[row.start + k];
                let delete = below[k] * (one - forward.match_share[row.start + k]);
                here[skipped + k - 1] = here[skipped + k - 1] + matched;
                here[skipped + k] = delete;
                deleted = deleted + delete;
                visit(Flow::Match(r - 1, j, slot, matched));
            }
            visit(Flow::Delete(r - 1, deleted));
        }
    }
}

fn row_length(points: &RangeInclusive<usize>) -> usize {
    points.end() + 1 - points.start()
}

/// What the recursion runs on: plain numbers, or numbers with a derivative.
pub(crate) trait Number:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + From<f64>
{
    /// `log(exp a + exp b)`, and the share of `a` in it.
    fn merge(a: Self, b: Self) -> (Self, Self);
}

impl Number for f64 {
    #[inline]
    fn merge(a: f64, b: f64) -> (f64, f64) {
        let high = if a >= b { a } else { b };
        if high == f64::NEG_INFINITY {
            return (high, 0.0);
        }
        let odds = (-(a - b).abs()).exp();
        let share = 1.0 / (1.0 + odds);
        (high + (1.0 + odds).ln(), if a >= b { share } else { odds * share })
    }
}

/// A number and its derivative along one direction.
#[derive(Clone, Copy)]
pub(crate) struct Dual {
    pub(crate) value: f64,
    pub(crate) tangent: f64,
}

impl From<f64> for Dual {
    fn from(value: f64) -> Self {
        Self { value, tangent: 0.0 }
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, tangent: self.tangent + other.tangent }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { value: self.value - other.value, tangent: self.tangent - other.tangent }
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self { value: self.value * other.value, tangent: self.value * other.tangent + self.tangent * other.value }
    }
}

impl Number for Dual {
    fn merge(a: Self, b: Self) -> (Self, Self) {
        let (value, share) = f64::merge(a.value, b.value);
        let difference = a.tangent - b.tangent;
        (
            Self { value, tangent: b.tangent + share * difference },
            Self { value: share, tangent: share * (1.0 - share) * difference },
        )
    }
}
