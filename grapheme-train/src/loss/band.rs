//! Matrices of which each row stores one contiguous range of columns.
//!
//! `n` is the number of rows (predicted nodes), `m` the number of columns (target nodes).

use grapheme_core::Kept;
use grapheme_core::Scalar;
use std::ops::Range;
use std::sync::Arc;

/// Which entries of an `n x m` matrix exist: one contiguous range of columns for each row.
///
/// Invariant: neither the first nor the last column of a row decreases from row to row, the first row begins at column
/// 0 and the last row ends at column `m`. So a monotone path leads from corner to corner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    rows: usize,
    columns: usize,
    /// `None` where every entry exists.
    cut: Option<Arc<Cut>>,
}

/// The range of each row.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    first: Vec<usize>,
    starts: Vec<usize>,
}

impl Band {
    /// Every entry exists.
    pub fn dense(rows: usize, columns: usize) -> Self {
        Self { rows, columns, cut: None }
    }

    /// The entries within `half_width` columns of the diagonal `j = i m / n`: row `i` holds the columns that the
    /// diagonal crosses in it, `floor(i m / n) .. ceil((i + 1) m / n)`, and `half_width` more on either side.
    ///
    /// Two sequences that run ahead of each other by more than `half_width` cannot be aligned in it; widen it then.
    /// About `n (2 half_width + 1 + m / n)` entries.
    pub fn window(rows: usize, columns: usize, half_width: usize) -> Self {
        Self::of_rows(rows, columns, |i| {
            let enters = (i as u128 * columns as u128 / rows as u128) as usize;
            let leaves = ((i as u128 + 1) * columns as u128).div_ceil(rows as u128) as usize;
            enters.saturating_sub(half_width)..leaves.saturating_add(half_width).min(columns)
        })
    }

    fn of_rows(rows: usize, columns: usize, range: impl Fn(usize) -> Range<usize>) -> Self {
        let mut first = Vec::with_capacity(rows);
        let mut starts = Vec::with_capacity(rows + 1);
        let mut entries = 0;
        starts.push(0);
        for i in 0..rows {
            let range = range(i);
            entries += range.len();
            first.push(range.start);
            starts.push(entries);
        }
        let cut = (entries < rows * columns).then(|| Arc::new(Cut { first, starts }));
        Self { rows, columns, cut }
    }

    /// The number of rows, `n`.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns, `m`.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The number of entries that exist.
    pub fn entries(&self) -> usize {
        self.cut.as_ref().map_or(self.rows * self.columns, |cut| cut.starts[self.rows])
    }

    /// The columns of row `i` that exist.
    #[inline]
    pub fn range(&self, i: usize) -> Range<usize> {
        match &self.cut {
            None => 0..self.columns,
            Some(cut) => cut.first[i]..cut.first[i] + (cut.starts[i + 1] - cut.starts[i]),
        }
    }

    /// Where row `i` lies among all entries in row order.
    #[inline]
    pub fn slots(&self, i: usize) -> Range<usize> {
        match &self.cut {
            None => i * self.columns..(i + 1) * self.columns,
            Some(cut) => cut.starts[i]..cut.starts[i + 1],
        }
    }
}

/// The values of the entries of a [`Band`], row after row in one vector. Matrices of one shape share their band.
#[derive(Clone, Debug, PartialEq)]
pub struct Banded<S: Scalar> {
    band: Band,
    values: Kept<S>,
}

impl<S: Scalar> Banded<S> {
    /// Every entry is `value`.
    pub fn filled(band: &Band, value: S) -> Self {
        Self { band: band.clone(), values: Kept::filled(band.entries(), value) }
    }

    /// Entry `(i, j)` is `f(i, j)`.
    pub fn from_fn(band: &Band, mut f: impl FnMut(usize, usize) -> S) -> Self {
        let mut values = Kept::with_capacity(band.entries());
        for i in 0..band.rows() {
            values.extend(band.range(i).map(|j| f(i, j)));
        }
        Self { band: band.clone(), values }
    }

    /// Which entries exist.
    pub fn band(&self) -> &Band {
        &self.band
    }

    /// The entries of row `i`; the first is that of column `self.band().range(i).start`.
    #[inline]
    pub fn row(&self, i: usize) -> &[S] {
        &self.values[self.band.slots(i)]
    }

    /// The entries of row `i`, to be written.
    #[inline]
    pub fn row_mut(&mut self, i: usize) -> &mut [S] {
        let slots = self.band.slots(i);
        &mut self.values[slots]
    }

    /// Entry `(i, j)` if it exists.
    #[inline]
    pub fn get(&self, i: usize, j: usize) -> Option<S> {
        let range = self.band.range(i);
        range.contains(&j).then(|| self.row(i)[j - range.start])
    }

    /// All entries, row after row.
    pub fn values(&self) -> &[S] {
        &self.values
    }

    /// All entries, row after row, to be written.
    pub fn values_mut(&mut self) -> &mut [S] {
        &mut self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_always_joins_the_corners() {
        for n in 0..9 {
            for m in 0..9 {
                for half_width in 0..4 {
                    let band = Band::window(n, m, half_width);
                    if n == 0 {
                        assert_eq!(band.entries(), 0);
                        continue;
                    }
                    assert_eq!((band.range(0).start, band.range(n - 1).end), (0, m));
                    for i in 1..n {
                        let (above, here) = (band.range(i - 1), band.range(i));
                        assert!(above.start <= here.start && above.end <= here.end && here.start <= above.end);
                    }
                }
                assert_eq!(Band::window(n, m, m), Band::dense(n, m));
            }
        }
    }

    #[test]
    fn entries_are_found_by_row_and_column() {
        let matrix = Banded::from_fn(&Band::window(4, 4, 1), |i, j| (10 * i + j) as f64);
        assert_eq!(matrix.row(2), &[21.0, 22.0, 23.0]);
        assert_eq!((matrix.get(3, 2), matrix.get(3, 1), matrix.get(0, 4)), (Some(32.0), None, None));
        assert_eq!(matrix.values().len(), matrix.band().entries());
    }
}
