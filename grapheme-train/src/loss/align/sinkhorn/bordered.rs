//! The transport problem with its dummy row and column, in `f64`.

use super::{Alignment, Potentials, Problem};
use crate::loss::band::{Band, Banded};
use grapheme_core::Kept;
use grapheme_core::Scalar;
use grapheme_core::vector::{self, exp};
use grapheme_core::wide;
use std::ops::Range;

/// Below this a sum of products of exponentials may have lost terms that matter to underflow.
#[cfg(test)]
const UNDERFLOW: f64 = 1e-280;

/// Costs and masses of all rows and columns. A bordered matrix is one vector, row after row: the entries of the band
/// and then the one in the dummy column; at last the dummy row, which is full, and the corner.
pub(super) struct Bordered {
    band: Band,
    pub(super) cost: Kept<f64>,
    pub(super) row_mass: Kept<f64>,
    pub(super) column_mass: Kept<f64>,
    log_row_mass: Kept<f64>,
    log_column_mass: Kept<f64>,
    pub(super) total: f64,
    /// Whether no cost is infinite.
    is_finite: bool,
    /// Whether the problem is in `f64` itself.
    pub(super) is_double: bool,
}

impl Bordered {
    pub(super) fn new<S: Scalar>(problem: &Problem<S>) -> Self {
        let band = problem.cost().band().clone();
        let (n, m) = (band.rows(), band.columns());
        let mut cost = Kept::unset(band.entries() + n + m + 1);
        let is_finite = wide!({
            let mut is_finite = true;
            let mut rest = &mut cost[..];
            for i in 0..=n {
                let from = if i < n { problem.cost().row(i) } else { problem.insertion() };
                let (row, last);
                (row, rest) = rest.split_at_mut(from.len());
                (last, rest) = rest.split_first_mut().expect("a dummy in every row");
                for (to, c) in row.iter_mut().zip(from) {
                    *to = c.widen();
                    is_finite &= *to < f64::INFINITY;
                }
                *last = problem.deletion().get(i).map_or(0.0, |c| c.widen());
                is_finite &= *last < f64::INFINITY;
            }
            is_finite
        });
        let mut row_mass = Kept::with_capacity(n + 1);
        row_mass.extend(problem.mass().iter().map(|a| a.widen()));
        let predicted: f64 = row_mass.iter().sum();
        row_mass.push(m as f64);
        let mut column_mass = Kept::filled(m + 1, 1.0);
        column_mass[m] = predicted;
        let log = |masses: &[f64]| masses.iter().map(|mass| mass.ln()).collect();
        let (log_row_mass, log_column_mass) = (log(&row_mass), log(&column_mass));
        let (total, is_double) = (predicted + m as f64, size_of::<S>() == size_of::<f64>());
        Self { band, cost, log_row_mass, log_column_mass, total, is_finite, is_double, row_mass, column_mass }
    }

    /// The number of rows with the dummy, `n + 1`.
    pub(super) fn rows(&self) -> usize {
        self.band.rows() + 1
    }

    /// The number of columns with the dummy, `m + 1`.
    pub(super) fn columns(&self) -> usize {
        self.band.columns() + 1
    }

    /// Where row `i` lies in a bordered matrix.
    #[inline]
    pub(super) fn slots(&self, i: usize) -> Range<usize> {
        if i < self.band.rows() {
            let slots = self.band.slots(i);
            slots.start + i..slots.end + i + 1
        } else {
            let start = self.band.entries() + i;
            start..start + self.columns()
        }
    }

    /// The columns of row `i` besides the dummy column.
    #[inline]
    pub(super) fn range(&self, i: usize) -> Range<usize> {
        if i < self.band.rows() { self.band.range(i) } else { 0..self.band.columns() }
    }

    /// All rows in blocks of at most `size` that follow each other: few enough, and those of a band have about the same columns. The
    /// dummy row is full: beside rows of a band it stands by itself.
    pub(super) fn blocks(&self, size: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = self.rows();
        let alone = usize::from(self.range(0) != self.range(rows - 1));
        let starts = (0..rows - alone).step_by(size);
        starts.map(move |start| start..(start + size).min(rows - alone)).chain((alone == 1).then(|| rows - 1..rows))
    }

    /// Column numbers of the entries of row `i`, in their order.
    pub(super) fn columns_of(&self, i: usize) -> impl Iterator<Item = usize> + Clone {
        self.range(i).chain(std::iter::once(self.band.columns()))
    }

    /// Whether it is certain that there is no plan. `tolerance` is the share of all mass that may be misplaced.
    pub(super) fn is_infeasible(&self, tolerance: f64) -> bool {
        // Where every cost is finite, every mass finds a place.
        if self.is_finite {
            return false;
        }
        let (n, m) = (self.band.rows(), self.band.columns());
        let (mut row_fits, mut column_fits) = (vec![false; n + 1], vec![false; m + 1]);
        for (i, row_fits) in row_fits.iter_mut().enumerate() {
            for (j, slot) in self.columns_of(i).zip(self.slots(i)) {
                let fits = self.cost[slot] < f64::INFINITY;
                *row_fits |= fits && self.column_mass[j] > 0.0;
                column_fits[j] |= fits && self.row_mass[i] > 0.0;
            }
        }
        let lost = |fits: &[bool], mass: &[f64]| fits.iter().zip(mass).any(|(&fits, &mass)| mass > 0.0 && !fits);
        if lost(&row_fits, &self.row_mass) || lost(&column_fits, &self.column_mass) {
            return true;
        }
        // A dummy that has only the corner to go to must fit into the other dummy.
        let may_insert = self.cost[self.slots(n)][..m].iter().any(|&c| c < f64::INFINITY);
        let may_delete = (0..n).any(|i| self.cost[self.slots(i).end - 1] < f64::INFINITY);
        let surplus = (self.row_mass[n] - self.column_mass[m]) / self.total;
        (!may_insert && surplus > tolerance) || (!may_delete && -surplus > tolerance)
    }

    #[cfg(test)]
    pub(super) fn zero_potentials(&self) -> Potentials {
        Potentials::zeros(self.rows(), self.columns())
    }

    /// One iteration, `f_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon)` and then
    /// `g_j = -epsilon log sum_i a_i exp((f_i - C_ij) / epsilon)`. Returns the share of mass that the potentials
    /// misplaced before.
    ///
    /// The readable reference of [`Sweeper`](super::scaling::Sweeper): everything in the log domain, one exponential an entry.
    /// `sums` (one for each column) and `terms` are room to work in.
    #[cfg(test)]
    pub(super) fn sweep(
        &self,
        epsilon: f64,
        potentials: &mut Potentials,
        sums: &mut [f64],
        terms: &mut Vec<f64>,
    ) -> f64 {
        let mut misplaced = 0.0;
        sums.fill(0.0);
        for i in 0..self.rows() {
            terms.resize(self.slots(i).len(), 0.0);
            self.row_exponents(i, epsilon, &potentials.columns, terms);
            let high = vector::max(terms);
            if high == f64::NEG_INFINITY {
                // Only a row without mass gets here; any potential will do.
                potentials.rows[i] = 0.0;
                continue;
            }
            let mut sum = 0.0;
            for term in terms.iter_mut() {
                *term = (*term - high).exp();
                sum += *term;
            }
            let log_sum = high + sum.ln();
            let mass = self.row_mass[i];
            if mass > 0.0 {
                misplaced += mass * ((potentials.rows[i] / epsilon + log_sum).exp() - 1.0).abs();
                self.scatter(i, terms, mass / sum, sums);
            }
            potentials.rows[i] = -epsilon * log_sum;
        }
        for (j, &sum) in sums.iter().enumerate() {
            if sum > UNDERFLOW {
                potentials.columns[j] += epsilon * (self.log_column_mass[j] - sum.ln());
            } else {
                potentials.columns[j] = self.column_potential(j, epsilon, &potentials.rows);
            }
        }
        if self.total > 0.0 { misplaced / self.total } else { 0.0 }
    }

    /// `log b_j + (g_j - C_ij) / epsilon` of row `i` into `row`.
    #[inline(always)]
    fn row_exponents(&self, i: usize, epsilon: f64, columns: &[f64], row: &mut [f64]) {
        let (inverse, range, dummy) = (1.0 / epsilon, self.range(i), self.band.columns());
        let (cost, log) = (&self.cost[self.slots(i)], &self.log_column_mass);
        let terms = columns[range.clone()].iter().zip(&log[range.clone()]).zip(cost);
        for (x, ((g, log), c)) in row.iter_mut().zip(terms) {
            *x = log + (g - c) * inverse;
        }
        row[range.len()] = log[dummy] + (columns[dummy] - cost[range.len()]) * inverse;
    }

    /// The potential of one column from those of the rows, in the log domain.
    pub(super) fn column_potential(&self, j: usize, epsilon: f64, rows: &[f64]) -> f64 {
        let exponents = || {
            (0..self.rows()).filter_map(|i| {
                let slot = self.slot(i, j)?;
                Some(self.log_row_mass[i] + (rows[i] - self.cost[slot]) / epsilon)
            })
        };
        let high = exponents().fold(f64::NEG_INFINITY, f64::max);
        if high == f64::NEG_INFINITY {
            // Only a column without mass gets here; any potential will do.
            return 0.0;
        }
        -epsilon * (high + exponents().map(|x| (x - high).exp()).sum::<f64>().ln())
    }

    /// Where entry `(i, j)` lies, if it exists.
    fn slot(&self, i: usize, j: usize) -> Option<usize> {
        let (range, slots) = (self.range(i), self.slots(i));
        if j == self.band.columns() {
            Some(slots.end - 1)
        } else {
            range.contains(&j).then(|| slots.start + j - range.start)
        }
    }

    /// The distribution over columns that the potentials of the columns give each row, whether or not it has mass;
    /// zero in a row where nothing fits.
    pub(super) fn conditional(&self, epsilon: f64, columns: &[f64]) -> Vec<f64> {
        let mut conditional = vec![0.0; self.cost.len()];
        wide!({
            for i in 0..self.rows() {
                let row = &mut conditional[self.slots(i)];
                self.row_exponents(i, epsilon, columns, row);
                let high = vector::max(row);
                if high == f64::NEG_INFINITY {
                    row.fill(0.0);
                    continue;
                }
                row.iter_mut().for_each(|x| *x = exp(*x - high));
                let inverse = 1.0 / vector::sum(row);
                row.iter_mut().for_each(|x| *x *= inverse);
            }
        });
        conditional
    }

    /// `P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)`.
    pub(super) fn plan(&self, epsilon: f64, potentials: &Potentials) -> Kept<f64> {
        let mut plan = Kept::unset(self.cost.len());
        wide!({
            for i in 0..self.rows() {
                self.plan_row(i, epsilon, potentials, &mut plan[self.slots(i)]);
            }
        });
        plan
    }

    /// Row `i` of the [`plan`](Self::plan).
    #[inline(always)]
    pub(super) fn plan_row(&self, i: usize, epsilon: f64, potentials: &Potentials, row: &mut [f64]) {
        self.row_exponents(i, epsilon, &potentials.columns, row);
        let log_row = self.log_row_mass[i] + potentials.rows[i] / epsilon;
        for x in row {
            *x = exp(*x + log_row);
        }
    }

    /// `<a, f> + <b, g> + epsilon (T log T + T - sum P)` by the sum of a plan: with `1 / T` taken into the potentials, the dual of the
    /// regularised problem.
    pub(super) fn dual_value(&self, epsilon: f64, potentials: &Potentials, sum: f64) -> f64 {
        let entropy = if self.total > 0.0 { self.total * self.total.ln() } else { 0.0 };
        dot(&self.row_mass, &potentials.rows)
            + dot(&self.column_mass, &potentials.columns)
            + epsilon * (entropy + self.total - sum)
    }

    /// The log of `T`; 0 where there is no mass.
    pub(super) fn log_total(&self) -> f64 {
        if self.total > 0.0 { self.total.ln() } else { 0.0 }
    }

    /// Adds `scale C` to `matrix` where costs are finite.
    pub(super) fn add_cost(&self, scale: f64, matrix: &mut [f64]) {
        wide!({
            for (x, &c) in matrix.iter_mut().zip(&self.cost) {
                *x += if c.is_finite() { scale * c } else { 0.0 };
            }
        });
    }

    /// `sum_j row_j x_j` over the entries of row `i`.
    #[inline(always)]
    pub(super) fn gather(&self, i: usize, row: &[f64], x: &[f64]) -> f64 {
        let (range, dummy) = (self.range(i), self.band.columns());
        vector::dot(&row[..range.len()], &x[range.clone()]) + row[range.len()] * x[dummy]
    }

    /// `x_j += scale row_j` over the entries of row `i`.
    #[inline(always)]
    pub(super) fn scatter(&self, i: usize, row: &[f64], scale: f64, x: &mut [f64]) {
        let (range, dummy) = (self.range(i), self.band.columns());
        for (x, entry) in x[range.clone()].iter_mut().zip(row) {
            *x += scale * entry;
        }
        x[dummy] += scale * row[range.len()];
    }

    /// A bordered matrix with `inner` inside, zero without it, and zero in the dummy row and column.
    ///
    /// # Panics
    /// If `inner` does not lie on the band of the problem.
    pub(super) fn extend<S: Scalar>(&self, inner: Option<&Banded<S>>) -> Kept<f64> {
        let mut matrix = Kept::zeros(self.cost.len());
        if let Some(inner) = inner {
            assert_eq!(inner.band(), &self.band, "the upstream plan lies on the band of the problem");
            for i in 0..self.band.rows() {
                let slots = self.slots(i);
                matrix[slots].iter_mut().zip(inner.row(i)).for_each(|(to, from)| *to = from.widen());
            }
        }
        matrix
    }

    /// Takes a bordered matrix apart into the band, the dummy column and the dummy row.
    pub(super) fn split<S: Scalar>(
        &self,
        matrix: &[f64],
        inner: &mut Banded<S>,
        last_column: &mut [S],
        last_row: &mut [S],
    ) {
        wide!({
            for i in 0..self.rows() {
                self.split_row(i, &matrix[self.slots(i)], inner, last_column, last_row);
            }
        });
    }

    /// The same for row `i`.
    #[inline(always)]
    fn split_row<S: Scalar>(
        &self,
        i: usize,
        row: &[f64],
        inner: &mut Banded<S>,
        last_column: &mut [S],
        last_row: &mut [S],
    ) {
        let to = match last_column.get_mut(i) {
            Some(last) => {
                *last = S::lit(row[row.len() - 1]);
                inner.row_mut(i)
            }
            None => last_row,
        };
        for (to, &from) in to.iter_mut().zip(row) {
            *to = S::lit(from);
        }
    }
}

/// Takes a plan some rows at a time, as a large one is not in the cache a second time: into an alignment, and into sums.
pub(super) struct Delivery<'a, S: Scalar> {
    pub(super) bordered: &'a Bordered,
    alignment: &'a mut Alignment<S>,
    /// The sum of all that was taken.
    pub(super) total: f64,
    /// `<C, P>`, where a cost is finite.
    pub(super) cost: f64,
    misplaced: f64,
    columns: Kept<f64>,
}

impl<'a, S: Scalar> Delivery<'a, S> {
    pub(super) fn new(bordered: &'a Bordered, alignment: &'a mut Alignment<S>) -> Self {
        let columns = Kept::zeros(bordered.columns());
        Self { bordered, alignment, total: 0.0, cost: 0.0, misplaced: 0.0, columns }
    }

    /// The entries of some rows of the plan. Each comes once.
    #[inline(always)]
    pub(super) fn take(&mut self, rows: Range<usize>, plan: &[f64]) {
        let Self { bordered, alignment, total, cost, misplaced, columns } = self;
        let start = bordered.slots(rows.start).start;
        let costs = &bordered.cost[start..][..plan.len()];
        *cost += if bordered.is_finite {
            vector::dot(plan, costs)
        } else {
            plan.iter().zip(costs).filter(|(_, c)| c.is_finite()).map(|(p, c)| p * c).sum()
        };
        for i in rows {
            let slots = bordered.slots(i);
            let row = &plan[slots.start - start..slots.end - start];
            let sum = vector::sum(row);
            *total += sum;
            *misplaced += (sum - bordered.row_mass[i]).abs();
            bordered.scatter(i, row, 1.0, columns);
            bordered.split_row(i, row, &mut alignment.plan, &mut alignment.deleted, &mut alignment.inserted);
        }
    }

    /// The share of mass by which the sums of rows and columns of the plan miss their masses.
    pub(super) fn residual(&self) -> f64 {
        let Self { bordered, misplaced, columns, .. } = self;
        let misses = columns.iter().zip(&bordered.column_mass).map(|(sum, mass)| (sum - mass).abs());
        let misplaced = misplaced + misses.sum::<f64>();
        if bordered.total > 0.0 { misplaced / bordered.total } else { 0.0 }
    }
}

pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    wide!(vector::dot(x, y))
}
