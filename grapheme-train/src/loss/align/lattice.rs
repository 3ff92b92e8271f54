//! All monotone paths through a band, summed over: the recursion behind [`Monotone`](super::Monotone).
//!
//! A *lattice point* `(r, c)` says that the first `r` predicted nodes and the first `c` targets are done with. A step
//! matches `(+1, +1)`, deletes `(+1, 0)` or inserts `(0, +1)`.

use crate::loss::band::Band;
use grapheme_core::keep;
use grapheme_core::kept::{Keep, Kept};
use grapheme_core::vector::{self, exp, ln};
use grapheme_core::wide;
use std::ops::{Add, Mul, RangeInclusive, Sub};

/// Points of a row that are merged at once; rows in work are padded to a multiple of it with what comes.
const LANES: usize = 8;

/// The log weight of each step: of the matches of a row into a slice, of a deletion by its row, of an insertion by its
/// column. Two passes of `O(points)`; one share a point is stored between them, two with insertions.
pub(crate) struct Lattice<'a, M, D, I> {
    pub(crate) band: &'a Band,
    pub(crate) matched: M,
    pub(crate) deleted: D,
    pub(crate) inserted: I,
    pub(crate) may_insert: bool,
}

/// What the backward pass reads. Points lie row after row; a point that no path reaches has arbitrary shares, and as no
/// step leaves it, no flow ever arrives there.
pub(crate) struct Forward<T: Number> {
    /// The log of the weight of all paths.
    pub(crate) total: T,
    /// Of the paths that enter the point by a match or a deletion, the share that matches.
    match_share: Kept<T>,
    /// Of the paths through the point, the share that enters by an insertion. Empty if nothing may be inserted.
    insert_share: Kept<T>,
}

/// The probability that a path takes a step.
pub(crate) enum Flow<'a, T> {
    /// All that become of a row: its matches, in the order of the band, and its deletion.
    Row { row: usize, matched: &'a [T], deleted: T },
    /// A part of an insertion, by column.
    Insert(usize, T),
}

impl<T, M, D, I> Lattice<'_, M, D, I>
where
    T: Number,
    M: Fn(usize, &mut [T]),
    D: Fn(usize) -> T,
    I: Fn(usize) -> T,
{
    /// Sums over all paths.
    pub(crate) fn forward(&self) -> Forward<T> {
        let n = self.band.rows();
        let (count, room) = ((0..=n).map(|r| row_length(&self.points(r))).sum::<usize>(), self.room());
        let zero = T::from(0.0);
        let mut match_share = Kept::with_capacity(count + LANES);
        let mut insert_share = Kept::with_capacity(if self.may_insert { count } else { 0 });
        let [mut above, mut here, mut matched] = [room; 3].map(Kept::zeros);
        match_share.push(zero);
        self.extend_by_insertions(0, 1, &mut here, &mut match_share, &mut insert_share);
        for r in 1..=n {
            std::mem::swap(&mut above, &mut here);
            let skipped = self.points(r).start() - self.points(r - 1).start();
            let width = self.band.range(r - 1).len();
            let padded = width.next_multiple_of(LANES);
            (self.matched)(r - 1, &mut matched[..width]);
            let delete = (self.deleted)(r - 1);
            here[0] = above[skipped] + delete;
            match_share.push(zero);
            let first = match_share.len();
            match_share.resize(first + padded, zero);
            let share = &mut match_share[first..];
            merge_row(&above[skipped..][..padded + 1], &matched[..padded], delete, &mut here[1..=padded], share);
            match_share.truncate(first + width);
            self.extend_by_insertions(r, width + 1, &mut here, &mut match_share, &mut insert_share);
        }
        Forward { total: here[row_length(&self.points(n)) - 1], match_share, insert_share }
    }

    /// The columns of lattice row `r`: those that the matrix row above ends at and the one below begins at.
    #[inline]
    fn points(&self, r: usize) -> RangeInclusive<usize> {
        let first = if r == 0 { 0 } else { self.band.range(r - 1).start };
        let last = if r == self.band.rows() { self.band.columns() } else { self.band.range(r).end };
        first..=last
    }

    /// Room for the points of any row with the padding of the row that begins or ends in it.
    fn room(&self) -> usize {
        (0..=self.band.rows()).map(|r| row_length(&self.points(r))).max().unwrap_or(0) + LANES
    }

    /// Lets the points of a row, so many of which are reached from the row above, be reached by insertions as well.
    fn extend_by_insertions(
        &self,
        r: usize,
        reached: usize,
        here: &mut [T],
        match_share: &mut Vec<T>,
        insert_share: &mut Vec<T>,
    ) {
        let points = self.points(r);
        let length = row_length(&points);
        here[reached..length].fill(T::from(f64::NEG_INFINITY));
        match_share.extend(std::iter::repeat_n(T::from(0.0), length - reached));
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
    pub(crate) fn backward(&self, forward: &Forward<T>, mut visit: impl FnMut(Flow<'_, T>)) {
        let n = self.band.rows();
        let (zero, one) = (T::from(0.0), T::from(1.0));
        let mut end = forward.match_share.len();
        let [mut below, mut here, mut matched] = [self.room(); 3].map(Kept::zeros);
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
            let skipped = points.start() - above.start();
            let width = self.band.range(r - 1).len();
            here[..row_length(&above)].fill(zero);
            let shares = &forward.match_share[row.start + 1..][..width];
            let deleted =
                split_row(&below[..=width], shares, &mut matched[..width], &mut here[skipped..=skipped + width]);
            visit(Flow::Row { row: r - 1, matched: &matched[..width], deleted });
        }
    }
}

/// Of the row `above`, which begins with the point before the first match, to the next: each point by its match and by the deletion of
/// the row, and the share of the match.
fn merge_row<T: Number>(above: &[T], matched: &[T], delete: T, here: &mut [T], share: &mut [T]) {
    let points = above.iter().zip(&above[1..]).zip(matched).zip(here.iter_mut().zip(share));
    wide!({
        for (((&before, &beside), &matched), (here, share)) in points {
            (*here, *share) = T::merge_lane(before + matched, beside + delete);
        }
    });
}

/// Parts what flows into the points of a row: into its matches and, `here`, into the points above. Returns what deletes the row.
fn split_row<T: Number>(below: &[T], share: &[T], matched: &mut [T], here: &mut [T]) -> T {
    let one = T::from(1.0);
    wide!({
        here[0] = below[0];
        let (_, flows) = below.split_first().expect("a point before the first match");
        for (((matched, here), &flow), &share) in matched.iter_mut().zip(&mut here[1..]).zip(flows).zip(share) {
            *matched = flow * share;
            *here = flow * (one - share);
        }
        let deleted = T::sum(here);
        for (here, &matched) in here.iter_mut().zip(&*matched) {
            *here = *here + matched;
        }
        deleted
    })
}

#[inline]
fn row_length(points: &RangeInclusive<usize>) -> usize {
    points.end() + 1 - points.start()
}

/// What the recursion runs on: plain numbers, or numbers with a derivative.
pub(crate) trait Number:
    Keep + Copy + Default + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + From<f64>
{
    /// `log(exp a + exp b)`, and the share of `a` in it.
    fn merge(a: Self, b: Self) -> (Self, Self);

    /// The same within some units of the last place, for loops that merge many pairs at once: one alone is slower.
    fn merge_lane(a: Self, b: Self) -> (Self, Self);

    /// The sum of all.
    fn sum(x: &[Self]) -> Self;
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

    #[inline(always)]
    fn merge_lane(a: f64, b: f64) -> (f64, f64) {
        let high = if a >= b { a } else { b };
        // Where neither is reached, their difference is no number.
        let odds = exp(if high == f64::NEG_INFINITY { 0.0 } else { -(a - b).abs() });
        let share = 1.0 / (1.0 + odds);
        (high + ln(1.0 + odds), if a >= b { share } else { odds * share })
    }

    #[inline(always)]
    fn sum(x: &[f64]) -> f64 {
        vector::sum(x)
    }
}

/// A number and its derivative along one direction.
#[derive(Clone, Copy, Default)]
pub(crate) struct Dual {
    pub(crate) value: f64,
    pub(crate) tangent: f64,
}

keep!(Dual);

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

impl Dual {
    /// The derivative of a merger, whatever made it.
    #[inline(always)]
    fn merged(a: Self, b: Self, (value, share): (f64, f64)) -> (Self, Self) {
        let difference = a.tangent - b.tangent;
        (
            Self { value, tangent: b.tangent + share * difference },
            Self { value: share, tangent: share * (1.0 - share) * difference },
        )
    }
}

impl Number for Dual {
    fn merge(a: Self, b: Self) -> (Self, Self) {
        Self::merged(a, b, f64::merge(a.value, b.value))
    }

    #[inline(always)]
    fn merge_lane(a: Self, b: Self) -> (Self, Self) {
        Self::merged(a, b, f64::merge_lane(a.value, b.value))
    }

    #[inline(always)]
    fn sum(x: &[Self]) -> Self {
        x.iter().fold(Self::from(0.0), |sum, &x| sum + x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::Stream;
    use rand::RngExt;

    /// Rows of merged lanes against sums of the paths into and out of each point, by `merge` alone.
    #[test]
    fn lanes_are_the_sums_over_all_paths() {
        for seed in 0..40 {
            let mut stream = Stream::new(seed);
            let (n, m) = (stream.random_range(1..60), stream.random_range(0..30));
            let band = if n > m { Band::window(n, m, stream.random_range(1..20)) } else { Band::dense(n, m) };
            // Some steps are impossible.
            let mut draw = |count: usize, impossible: usize| -> Vec<f64> {
                let weight = |k| if k % 7 == impossible { f64::NEG_INFINITY } else { stream.random_range(-9.0..1.0) };
                (0..count).map(weight).collect()
            };
            let (matches, deletions) = (draw(n * m, 3), draw(n, 9));
            let lattice = Lattice {
                band: &band,
                matched: |i: usize, row: &mut [f64]| row.copy_from_slice(&matches[i * m..][band.range(i)]),
                deleted: |i: usize| deletions[i],
                inserted: |_| f64::NEG_INFINITY,
                may_insert: false,
            };
            let step =
                |i: usize, j: usize| if band.range(i).contains(&j) { matches[i * m + j] } else { f64::NEG_INFINITY };
            let (mut into, mut out) =
                (vec![vec![f64::NEG_INFINITY; m + 1]; n + 1], vec![vec![f64::NEG_INFINITY; m + 1]; n + 1]);
            (into[0][0], out[n][m]) = (0.0, 0.0);
            // A point that lies beside the band is on no path.
            let on_band = |r: usize, c: usize| lattice.points(r).contains(&c);
            for r in 1..=n {
                for c in (0..=m).filter(|&c| on_band(r, c)) {
                    let matched = if c > 0 { into[r - 1][c - 1] + step(r - 1, c - 1) } else { f64::NEG_INFINITY };
                    into[r][c] = f64::merge(matched, into[r - 1][c] + deletions[r - 1]).0;
                }
            }
            for r in (0..n).rev() {
                for c in (0..=m).filter(|&c| on_band(r, c)) {
                    let matched = if c < m { out[r + 1][c + 1] + step(r, c) } else { f64::NEG_INFINITY };
                    let deleted = if on_band(r + 1, c) { out[r + 1][c] + deletions[r] } else { f64::NEG_INFINITY };
                    out[r][c] = f64::merge(matched, deleted).0;
                }
            }
            let forward = lattice.forward();
            let total = into[n][m];
            if total == f64::NEG_INFINITY {
                assert_eq!(forward.total, total, "seed {seed}");
                continue;
            }
            let near = |found: f64, expected: f64, what: &str| {
                assert!(
                    (found - expected).abs() < 1e-12 * expected.abs().max(1.0),
                    "seed {seed}, {what}: {found} {expected}"
                );
            };
            near(forward.total, total, "total");
            lattice.backward(&forward, |flow| {
                let Flow::Row { row, matched, deleted } = flow else { unreachable!("nothing may be inserted") };
                for (j, &p) in band.range(row).zip(matched) {
                    near(p, (into[row][j] + step(row, j) + out[row + 1][j + 1] - total).exp(), "match");
                }
                let paths = (0..=m).filter(|&c| on_band(row, c) && on_band(row + 1, c));
                let expected = paths.map(|c| (into[row][c] + deletions[row] + out[row + 1][c] - total).exp()).sum();
                near(deleted, expected, "deletion");
            });
        }
    }
}
