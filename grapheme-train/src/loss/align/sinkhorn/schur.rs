//! The linear system behind the transport problem, with rows eliminated.

use super::bordered::{Bordered, dot};
use grapheme_core::wide;

/// The relative residual at which the linear system counts as solved.
const TOLERANCE: f64 = 1e-15;
/// Steps of conjugate gradients for each unknown; in exact arithmetic one would do.
const STEPS_PER_UNKNOWN: usize = 4;
/// No more steps than this, however many unknowns: a band's system is well conditioned unless epsilon is tiny.
const MAX_STEPS: usize = 2000;
/// A column tied to the rest by less than this share of its mass stands alone, and its unknown stays 0. The products
/// below subtract numbers of the size of its mass, so a weaker tie is all rounding, and dividing by it would blow that up.
const DECOUPLED: f64 = 1e-13;
/// A direction whose curvature is less than this share of what the diagonal alone would give it is constant on each group
/// of columns that exchange anything, up to rounding. A step divides by the curvature, so none is taken along it.
const FLAT: f64 = 1e-16;

/// `diag(Q^T a) - Q^T diag(a) Q`, with `Q` the conditional distributions of the rows: the Schur complement of
/// `[diag(P 1)  P; P^T  diag(P^T 1)]` where the rows of the plan, `P_ij = a_i Q_ij`, have their masses.
///
/// Solved by conjugate gradients preconditioned by its diagonal rather than by Cholesky: they need only products with
/// `Q`, so a band stays a band, and `m` unknowns take about `m` steps. The system is singular, since a constant added
/// to all columns changes nothing: its right sides sum to 0. So does the residual in exact arithmetic; what rounding adds
/// to its sum is taken out at every step, or it would end as a long step along the constants.
pub(super) struct Schur<'a> {
    bordered: &'a Bordered,
    conditional: Vec<f64>,
    column_sums: Vec<f64>,
    /// 0 where a column stands alone, and so is the next.
    diagonal: Vec<f64>,
    inverse_diagonal: Vec<f64>,
}

impl<'a> Schur<'a> {
    pub(super) fn new(bordered: &'a Bordered, epsilon: f64, column_potentials: &[f64]) -> Self {
        let conditional = bordered.conditional(epsilon, column_potentials);
        let mut column_sums = vec![0.0; bordered.columns()];
        let mut diagonal = vec![0.0; bordered.columns()];
        for (i, &mass) in bordered.row_mass.iter().enumerate() {
            let row = &conditional[bordered.slots(i)];
            bordered.scatter(i, row, mass, &mut column_sums);
            for (j, q) in bordered.columns_of(i).zip(row) {
                diagonal[j] += mass * q * (1.0 - q);
            }
        }
        for (d, &sum) in diagonal.iter_mut().zip(&column_sums) {
            if *d <= DECOUPLED * sum {
                *d = 0.0;
            }
        }
        let inverse_diagonal = diagonal.iter().map(|&d| if d > 0.0 { 1.0 / d } else { 0.0 }).collect();
        Self { bordered, conditional, column_sums, diagonal, inverse_diagonal }
    }

    /// The conditional distribution of row `i`.
    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.conditional[self.bordered.slots(i)]
    }

    /// `Q^T a`: the masses of the columns if every row had its own.
    pub(super) fn column_sums(&self) -> &[f64] {
        &self.column_sums
    }

    /// `out = (diag(Q^T a) - Q^T diag(a) Q) y`.
    fn apply(&self, y: &[f64], out: &mut [f64]) {
        for ((out, sum), y) in out.iter_mut().zip(&self.column_sums).zip(y) {
            *out = sum * y;
        }
        wide!({
            for (i, &mass) in self.bordered.row_mass.iter().enumerate() {
                let x = self.bordered.gather(i, self.row(i), y);
                self.bordered.scatter(i, self.row(i), -mass * x, out);
            }
        });
    }

    /// Takes out of a residual what no solution could remove. Weighted by the diagonal, so that the preconditioned residual
    /// holds nothing of the constants.
    fn remove_sum(&self, residual: &mut [f64], whole: f64) {
        let coupled = residual.iter().zip(&self.diagonal).filter(|(_, d)| **d > 0.0);
        let excess = coupled.map(|(r, _)| r).sum::<f64>() / whole;
        residual.iter_mut().zip(&self.diagonal).for_each(|(r, d)| *r -= excess * d);
    }

    /// The solution of which the last entry, that of the dummy column, is 0.
    pub(super) fn solve(&self, right_side: Vec<f64>) -> Vec<f64> {
        let columns = self.column_sums.len();
        let mut y = vec![0.0; columns];
        let whole: f64 = self.diagonal.iter().sum();
        if whole == 0.0 {
            return y;
        }
        let mut residual = right_side;
        self.remove_sum(&mut residual, whole);
        let mut image = vec![0.0; columns];
        let mut scaled: Vec<f64> = residual.iter().zip(&self.inverse_diagonal).map(|(r, d)| r * d).collect();
        let mut direction = scaled.clone();
        let mut energy = dot(&residual, &scaled);
        let enough = energy * TOLERANCE * TOLERANCE;
        for _ in 0..(STEPS_PER_UNKNOWN * columns).min(MAX_STEPS) {
            self.apply(&direction, &mut image);
            let curvature = dot(&direction, &image);
            let by_diagonal: f64 = direction.iter().zip(&self.diagonal).map(|(x, d)| x * x * d).sum();
            if energy <= enough || curvature <= FLAT * by_diagonal {
                break;
            }
            let step = energy / curvature;
            for j in 0..columns {
                y[j] += step * direction[j];
                residual[j] -= step * image[j];
            }
            self.remove_sum(&mut residual, whole);
            for (scaled, (r, d)) in scaled.iter_mut().zip(residual.iter().zip(&self.inverse_diagonal)) {
                *scaled = r * d;
            }
            let before = std::mem::replace(&mut energy, dot(&residual, &scaled));
            for (d, s) in direction.iter_mut().zip(&scaled) {
                *d = s + energy / before * *d;
            }
        }
        let fixed = y[columns - 1];
        y.iter_mut().for_each(|y| *y -= fixed);
        y
    }
}
