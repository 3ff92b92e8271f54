//! The derivative of the equations that hold at convergence.
//!
//! At convergence the plan satisfies `P 1 = a`, `P^T 1 = b`. With `U` the gradient with respect to `P` and `W = U o P`,
//! the adjoint potentials solve the symmetric system
//!
//! `[diag(P 1)  P; P^T  diag(P^T 1)] [x; y] = [W 1; W^T 1]`,
//!
//! and then `dC_ij = (P_ij (x_i + y_j) - W_ij) / epsilon`, `da_i = x_i`, `db_j = y_j`. Adding a constant to `x` and
//! taking it from `y` changes nothing; the potential of the dummy column is fixed at 0.
//!
//! Rows are eliminated: with `Q` the conditional distributions of the rows, `x = Q o U 1 - Q y`, which also holds in
//! rows without mass, and `y` solves the [`Schur`] complement with right side `W^T 1 - Q^T W 1`.

use super::bordered::{Bordered, dot};
use super::schur::Schur;
use super::{BorderedGradient, Potentials, Sinkhorn, Value};

/// A few times the precision of a double.
const ROUNDING: f64 = 1e-14;

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
    let mut gradient = BorderedGradient::zeros(bordered);
    if dplan.iter().any(|&u| u != 0.0) {
        let schur = Schur::new(bordered, epsilon, &potentials.columns);
        let expected: Vec<f64> = (0..rows).map(|i| dot(schur.row(i), &dplan[bordered.slots(i)])).collect();
        let mut right_side = vec![0.0; columns];
        for (i, (&mass, &mean)) in bordered.row_mass.iter().zip(&expected).enumerate() {
            for ((j, slot), q) in bordered.columns_of(i).zip(bordered.slots(i)).zip(schur.row(i)) {
                right_side[j] += mass * q * (dplan[slot] - mean);
            }
        }
        // What the differences above round to is no right side: a plan that is as good as decided would turn it into a
        // large gradient.
        let largest = dplan.iter().fold(0.0_f64, |largest, u| largest.max(u.abs()));
        for (entry, sum) in right_side.iter_mut().zip(schur.column_sums()) {
            if entry.abs() <= ROUNDING * largest * sum {
                *entry = 0.0;
            }
        }
        let y = schur.solve(right_side);
        for (i, mean) in expected.into_iter().enumerate() {
            let x = mean - bordered.gather(i, schur.row(i), &y);
            for (j, slot) in bordered.columns_of(i).zip(bordered.slots(i)) {
                gradient.cost[slot] = plan[slot] * (x + y[j] - dplan[slot]) / epsilon;
            }
            gradient.rows[i] = x;
        }
        gradient.columns = y.into();
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
