//! The linear system behind the transport problem, with rows eliminated.

use super::bordered::{Bordered, dot};

/// The relative residual at which the linear system counts as solved.
const TOLERANCE: f64 = 1e-15;
/// Steps of conjugate gradients for each unknown; in exact arithmetic one would do.
const STEPS_PER_UNKNOWN: usize = 4;
/// No more steps than this, however many unknowns: a band's system is well conditioned unless epsilon is tiny.
const MAX_STEPS: usize = 2000;
/// A column tied to the rest by less than this share of its mass stands alone, and its unknown stays 0. The products
/// below subtract numbers of the size of its mass, so a weaker tie is all rounding, and dividing by it would blow that up.
const DECOUPLED: f64 = 1e-13;

/// `diag(Q^T a) - Q^T diag(a) Q`, with `Q` the conditional distributions of the rows: the Schur complement of
/// `[diag(P 1)  P; P^T  diag(P^T 1)]` where the rows of the plan, `P_ij = a_i Q_ij`, have their masses.
///
/// Solved by conjugate gradients preconditioned by its diagonal rather than by Cholesky: they need only products with
/// `Q`, so a band stays a band, and `m` unknowns take about `m` steps. The system is singular, since a constant added
/// to all columns changes nothing, but its right sides are consistent, which is all that conjugate gradients ask for.
pub(super) struct Schur<'a> {
    bordered: &'a Bordered,
    conditional: Vec<f64>,
    column_sums: Vec<f64>,
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
        let inverse = |(d, &sum): (f64, &f64)| if d > DECOUPLED * sum { 1.0 / d } else { 0.0 };
        let inverse_diagonal = diagonal.into_iter().zip(&column_sums).map(inverse).collect();
        Self { bordered, conditional, column_sums, inverse_diagonal }
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
        for (i, &mass) in self.bordered.row_mass.iter().enumerate() {
            let x = self.bordered.gather(i, self.row(i), y);
            self.bordered.scatter(i, self.row(i), -mass * x, out);
        }
    }

    /// The solution of which the last entry, that of the dummy column, is 0.
    pub(super) fn solve(&self, right_side: Vec<f64>) -> Vec<f64> {
        let columns = self.column_sums.len();
        let mut residual = right_side;
        let mut y = vec![0.0; columns];
        let mut image = vec![0.0; columns];
        let mut scaled: Vec<f64> = residual.iter().zip(&self.inverse_diagonal).map(|(r, d)| r * d).collect();
        let mut direction = scaled.clone();
        let mut energy = dot(&residual, &scaled);
        let enough = energy * TOLERANCE * TOLERANCE;
        for _ in 0..(STEPS_PER_UNKNOWN * columns).min(MAX_STEPS) {
            self.apply(&direction, &mut image);
            let curvature = dot(&direction, &image);
            // Zero once nothing is left of the right side but what rounding put outside of the range.
            if energy <= enough || curvature <= 0.0 {
                break;
            }
            let step = energy / curvature;
            for j in 0..columns {
                y[j] += step * direction[j];
                residual[j] -= step * image[j];
                scaled[j] = residual[j] * self.inverse_diagonal[j];
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
