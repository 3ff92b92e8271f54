//! The derivative of the equations that hold at convergence.
//!
//! At convergence the plan satisfies `P 1 = a`, `P^T 1 = b`. With `U` the gradient with respect to `P` and `W = U o P`,
//! the adjoint potentials solve the symmetric system
//!
//! `[diag(P 1)  P; P^T  diag(P^T 1)] [x; y] = [W 1; W^T 1]`,
//!
//! and then `dC_ij = (P_ij (x_i + y_j) - W_ij) / epsilon`, `da_i = x_i`, `db_j = y_j`. Adding a constant to `x` and
//! taking it from `y` changes nothing, so the system is singular. It is consistent, which is all that conjugate gradients
//! ask for; the potential of the dummy column is fixed at 0 afterwards.
//!
//! Rows are eliminated: with `Q` the conditional distributions of the rows, `x = Q o U 1 - Q y`, which also holds in
//! rows without mass, and `(diag(P^T 1) - Q^T diag(P 1) Q) y = W^T 1 - Q^T W 1`. That Schur complement is solved by
//! conjugate gradients preconditioned by its diagonal rather than by Cholesky: it needs only products with `Q`, so a
//! band stays a band, and in `m` unknowns it is done in about as many steps.

use super::bordered::{Bordered, dot};
use super::{BorderedGradient, Potentials, Sinkhorn, Value};

/// The relative residual at which the linear system counts as solved.
const TOLERANCE: f64 = 1e-15;
/// Steps of conjugate gradients for each unknown; in exact arithmetic one would do.
const STEPS_PER_UNKNOWN: usize = 4;
/// No more steps than this, however many unknowns: a band's system is well conditioned unless epsilon is tiny.
const MAX_STEPS: usize = 2000;

pub(super) fn vjp(
    settings: &Sinkhorn,
    bordered: &Bordered,
    potentials: &Potentials,
    plan: &[f64],
    dplan: &[f64],
    dvalue: f64,
) -> BorderedGradient {
    let (rows, columns) = (bordered.rows(), bordered.columns());
    let epsilon = settings.epsilon;
    let mut gradient =
        BorderedGradient { cost: vec![0.0; plan.len()], rows: vec![0.0; rows], columns: vec![0.0; columns] };
    if dplan.iter().any(|&u| u != 0.0) {
        let system = System::new(bordered, epsilon, potentials, plan);
        let expected: Vec<f64> = (0..rows).map(|i| dot(system.row(i), &dplan[bordered.slots(i)])).collect();
        let y = system.solve(dplan, &expected);
        for (i, mean) in expected.into_iter().enumerate() {
            let slots = bordered.slots(i);
            let x = mean - bordered.gather(i, system.row(i), &y);
            for (j, slot) in bordered.columns_of(i).zip(slots) {
                gradient.cost[slot] = plan[slot] * (x + y[j] - dplan[slot]) / epsilon;
            }
            gradient.rows[i] = x;
        }
        gradient.columns = y;
        if bordered.column_mass[columns - 1] == 0.0 {
            gradient.columns[columns - 1] = massless_dummy(bordered, epsilon, potentials, dplan, &gradient.rows);
        }
    }
    if settings.value == Value::Regularised {
        // The envelope theorem: the potentials are at their optimum, so only what they are multiplied with moves.
        gradient.cost.iter_mut().zip(plan).for_each(|(d, p)| *d += dvalue * p);
        let shift = epsilon * bordered.log_total();
        gradient.rows.iter_mut().zip(&potentials.rows).for_each(|(d, f)| *d += dvalue * (f + shift));
        gradient.columns.iter_mut().zip(&potentials.columns).for_each(|(d, g)| *d += dvalue * g);
    }
    gradient
}

/// The adjoint potential of a dummy column without mass: no equation holds it, so it is read off the distribution over
/// rows that the column would have.
fn massless_dummy(bordered: &Bordered, epsilon: f64, potentials: &Potentials, dplan: &[f64], x: &[f64]) -> f64 {
    let dummy = bordered.columns() - 1;
    (0..bordered.rows())
        .filter(|&i| bordered.row_mass[i] > 0.0)
        .map(|i| {
            let slot = bordered.slots(i).end - 1;
            let exponent = (potentials.rows[i] + potentials.columns[dummy] - bordered.cost[slot]) / epsilon;
            bordered.row_mass[i] * exponent.exp() * (dplan[slot] - x[i])
        })
        .sum()
}

/// The Schur complement `diag(P^T 1) - Q^T diag(P 1) Q`.
struct System<'a> {
    bordered: &'a Bordered,
    conditional: Vec<f64>,
    row_sums: Vec<f64>,
    column_sums: Vec<f64>,
    inverse_diagonal: Vec<f64>,
}

impl<'a> System<'a> {
    fn new(bordered: &'a Bordered, epsilon: f64, potentials: &Potentials, plan: &[f64]) -> Self {
        let conditional = bordered.conditional(epsilon, &potentials.columns);
        let mut column_sums = vec![0.0; bordered.columns()];
        let mut diagonal = vec![0.0; bordered.columns()];
        let mut row_sums = Vec::with_capacity(bordered.rows());
        for i in 0..bordered.rows() {
            let row = &plan[bordered.slots(i)];
            bordered.scatter(i, row, 1.0, &mut column_sums);
            // P_ij - P_ij Q_ij summed over rows, and 1 - Q_ij without cancellation where Q_ij is near 1.
            let conditional = &conditional[bordered.slots(i)];
            let sum: f64 = conditional.iter().sum();
            for ((j, p), q) in bordered.columns_of(i).zip(row).zip(conditional) {
                diagonal[j] += p * (sum - q).max(0.0);
            }
            row_sums.push(row.iter().sum());
        }
        // A column tied to the rest by less than a normal number stands alone: its potential stays 0.
        let inverse = |d: f64| if d.is_normal() { 1.0 / d } else { 0.0 };
        let inverse_diagonal = diagonal.into_iter().map(inverse).collect();
        Self { bordered, conditional, row_sums, column_sums, inverse_diagonal }
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.conditional[self.bordered.slots(i)]
    }

    /// `out = (diag(P^T 1) - Q^T diag(P 1) Q) y`.
    fn apply(&self, y: &[f64], out: &mut [f64]) {
        for ((out, sum), y) in out.iter_mut().zip(&self.column_sums).zip(y) {
            *out = sum * y;
        }
        for (i, &sum) in self.row_sums.iter().enumerate() {
            let x = self.bordered.gather(i, self.row(i), y);
            self.bordered.scatter(i, self.row(i), -sum * x, out);
        }
    }
}

impl System<'_> {
    /// Solves for the adjoint potentials of the columns. `expected` is the mean of `dplan` under the conditional
    /// distribution of each row, so that the right side is `sum_i P_ij (U_ij - expected_i)`.
    fn solve(&self, dplan: &[f64], expected: &[f64]) -> Vec<f64> {
        let columns = self.column_sums.len();
        let mut residual = vec![0.0; columns];
        for (i, (&sum, &mean)) in self.row_sums.iter().zip(expected).enumerate() {
            let slots = self.bordered.slots(i);
            for ((j, slot), q) in self.bordered.columns_of(i).zip(slots).zip(self.row(i)) {
                residual[j] += sum * q * (dplan[slot] - mean);
            }
        }
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
