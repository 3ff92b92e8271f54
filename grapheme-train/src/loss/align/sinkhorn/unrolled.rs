//! The derivative of the iterations, run backwards one by one.
//!
//! An iteration is `f = F(g)` and then `g = G(f)`, both log-sum-exps whose derivatives are the conditional
//! distributions of rows and columns. The epsilons of the iterations and their number are constants.

use super::bordered::Bordered;
use super::scaling::{Pulled, Puller};
use super::{BorderedGradient, Potentials, Sinkhorn, Value};
use grapheme_core::Kept;

/// A row or column of mass `a` has exponents up to `-log a`, and one without mass is held by no constraint: far from
/// convergence its derivative may exceed what an `f32` can hold, and is cut off here.
const MAX_EXPONENT: f64 = 80.0;

pub(super) fn vjp(
    settings: &Sinkhorn,
    bordered: &Bordered,
    last: &Potentials,
    plan: &[f64],
    mut dplan: Kept<f64>,
    dvalue: f64,
) -> BorderedGradient {
    let (rows, columns) = (bordered.rows(), bordered.columns());
    let mut gradient = BorderedGradient::zeros(bordered);
    let mut df = Kept::zeros(rows);
    let mut dg = Kept::zeros(columns);
    if settings.value == Value::Regularised {
        dual_value(settings.epsilon, bordered, last, dvalue, &mut dplan, &mut gradient);
        df.iter_mut().zip(&bordered.row_mass).for_each(|(df, a)| *df = dvalue * a);
        dg.iter_mut().zip(&bordered.column_mass).for_each(|(dg, b)| *dg = dvalue * b);
    }
    let iterations = last.count();
    let mut puller = Puller::new(bordered, iterations);
    let to = Pulled { df: &mut df, dg: &mut dg, gradient: &mut gradient };
    match &puller {
        Some(puller) => puller.pull_plan(settings.epsilon, plan, dplan, to),
        None => pull_plan(settings.epsilon, bordered, last, plan, &dplan, to),
    }
    let start = Kept::zeros(columns);
    for t in (0..iterations).rev() {
        let epsilon = settings.epsilon_at(t);
        let (f, g) = last.after(t);
        let g_before = if t == 0 { &start } else { last.after(t - 1).1 };
        let to = Pulled { df: &mut df, dg: &mut dg, gradient: &mut gradient };
        if puller.as_mut().is_some_and(|puller| puller.pull(epsilon, g_before, (f, g), to)) {
            continue;
        }
        // The same in the log domain: the readable reference, and what is left where a kernel does not reach.
        each_entry(bordered, epsilon, f, g, |i, j, slot, exponential| {
            let share = bordered.row_mass[i] * exponential * dg[j];
            df[i] -= share;
            gradient.cost[slot] += share;
            gradient.rows[i] -= epsilon * exponential * dg[j];
        });
        dg.fill(0.0);
        each_entry(bordered, epsilon, f, g_before, |i, j, slot, exponential| {
            let share = bordered.column_mass[j] * exponential * df[i];
            dg[j] -= share;
            gradient.cost[slot] += share;
            gradient.columns[j] -= epsilon * exponential * df[i];
        });
        df.fill(0.0);
    }
    if let Some(puller) = &mut puller {
        puller.settle(&mut gradient.cost);
    }
    gradient
}

/// What the plan of the last iteration leaves to the potentials, to costs and to masses, in the log domain.
fn pull_plan(
    epsilon: f64,
    bordered: &Bordered,
    last: &Potentials,
    plan: &[f64],
    dplan: &[f64],
    Pulled { df, dg, gradient }: Pulled<'_>,
) {
    each_entry(bordered, epsilon, &last.rows, &last.columns, |i, j, slot, exponential| {
        let (by_row, by_column) = (bordered.column_mass[j] * exponential, bordered.row_mass[i] * exponential);
        let weighted = dplan[slot] * plan[slot] / epsilon;
        df[i] += weighted;
        dg[j] += weighted;
        gradient.cost[slot] -= weighted;
        gradient.rows[i] += dplan[slot] * by_row;
        gradient.columns[j] += dplan[slot] * by_column;
    });
}

/// The explicit part of `V = <a, f> + <b, g> + epsilon (T log T + T - sum P)`, where `T` is the sum of the row masses.
fn dual_value(
    epsilon: f64,
    bordered: &Bordered,
    potentials: &Potentials,
    dvalue: f64,
    dplan: &mut [f64],
    gradient: &mut BorderedGradient,
) {
    dplan.iter_mut().for_each(|d| *d -= dvalue * epsilon);
    let total = dvalue * epsilon * (bordered.log_total() + 2.0);
    gradient.rows.iter_mut().zip(&potentials.rows).for_each(|(d, f)| *d += dvalue * f + total);
    gradient.columns.iter_mut().zip(&potentials.columns).for_each(|(d, g)| *d += dvalue * g);
}

/// Visits every entry of finite cost with `exp((f_i + g_j - C_ij) / epsilon)`.
fn each_entry(
    bordered: &Bordered,
    epsilon: f64,
    f: &[f64],
    g: &[f64],
    mut visit: impl FnMut(usize, usize, usize, f64),
) {
    for (i, &f) in f.iter().enumerate() {
        for (j, slot) in bordered.columns_of(i).zip(bordered.slots(i)) {
            let exponent = (f + g[j] - bordered.cost[slot]) / epsilon;
            if exponent > f64::NEG_INFINITY {
                visit(i, j, slot, exponent.min(MAX_EXPONENT).exp());
            }
        }
    }
}
