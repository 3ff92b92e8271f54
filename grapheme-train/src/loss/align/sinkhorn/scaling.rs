//! The iteration without exponentials: products with a fixed kernel.
//!
//! While the potentials of the columns stay near some `g0`, everything that an iteration needs is a multiple of
//!
//! `W_ij = exp((g0_j - C_ij) / epsilon - h_i)`, `h_i` such that the largest entry of a row is 1.
//!
//! With `e_j = exp((g_j - g0_j) / epsilon)`, the sum that a row takes the logarithm of is `exp(h_i) sum_j W_ij b_j e_j`, and that
//! of a column `exp(-g0_j / epsilon) sum_i W_ij a_i / r_i`, `r_i` being the row's. Where the potentials have gone further
//! than [`FARTHEST`], `g0` follows them and `W` is made anew, so nothing overflows and nothing that matters underflows at any
//! epsilon (stabilised scaling: Schmitzer, Stabilized sparse scaling algorithms for entropy regularized transport
//! problems, SIAM J. Sci. Comput. 2019).

use super::Potentials;
use super::bordered::Bordered;
use grapheme_core::vector::{self, exp, ln};
use grapheme_core::wide;

/// How far the potentials of the columns may go from those that the kernel was made for, in units of epsilon. Entries of the
/// kernel that underflowed are below `exp(-708)`: even multiplied by `exp(60)` they are nothing beside the 1 of their row.
const FARTHEST: f64 = 30.0;
/// The range in which the sum of a column is trusted: below it terms that matter may have underflowed, above it a column without
/// mass, which the largest entry of a row does not look at, is about to overflow.
const TRUSTED: std::ops::Range<f64> = 1e-250..1e250;

/// `W`, and where it was made.
struct Kernel {
    epsilon: f64,
    /// `g0`.
    columns: Vec<f64>,
    /// `h`; minus infinity for a row in which nothing fits.
    high: Vec<f64>,
    /// `W`, as a bordered matrix.
    entries: Vec<f64>,
}

impl Kernel {
    fn new(bordered: &Bordered, epsilon: f64, columns: &[f64]) -> Self {
        let mut high = vec![f64::NEG_INFINITY; bordered.rows()];
        let mut entries = vec![0.0; bordered.cost.len()];
        let (inverse, dummy) = (1.0 / epsilon, columns.len() - 1);
        // A column without mass has no say in what is large; only the dummy can be one.
        let counts = bordered.column_mass[dummy] > 0.0;
        wide!({
            for (i, high) in high.iter_mut().enumerate() {
                let (slots, range) = (bordered.slots(i), bordered.range(i));
                let (row, cost) = (&mut entries[slots.clone()], &bordered.cost[slots]);
                for ((x, g), c) in row.iter_mut().zip(&columns[range.clone()]).zip(cost) {
                    *x = (g - c) * inverse;
                }
                row[range.len()] = (columns[dummy] - cost[range.len()]) * inverse;
                *high = vector::max(if counts { row } else { &row[..range.len()] });
                let subtracted = if *high > f64::NEG_INFINITY { *high } else { 0.0 };
                row.iter_mut().for_each(|x| *x = exp(*x - subtracted));
            }
        });
        Self { epsilon, columns: columns.to_vec(), high, entries }
    }

    /// `exp((g_j - g0_j) / epsilon)` for all columns, if none is farther away than [`FARTHEST`].
    fn scales(&self, epsilon: f64, columns: &[f64], scales: &mut Vec<f64>) -> bool {
        if epsilon != self.epsilon {
            return false;
        }
        let inverse = 1.0 / epsilon;
        scales.clear();
        scales.extend(columns.iter().zip(&self.columns).map(|(g, start)| (g - start) * inverse));
        let near = scales.iter().all(|x| x.abs() <= FARTHEST);
        wide!(scales.iter_mut().for_each(|x| *x = exp(*x)));
        near
    }
}

/// Runs iterations forwards.
pub(super) struct Sweeper<'a> {
    bordered: &'a Bordered,
    kernel: Option<Kernel>,
    scales: Vec<f64>,
    row_sums: Vec<f64>,
    sums: Vec<f64>,
}

impl<'a> Sweeper<'a> {
    pub(super) fn new(bordered: &'a Bordered) -> Self {
        let (row_sums, sums) = (vec![0.0; bordered.rows()], vec![0.0; bordered.columns()]);
        Self { bordered, kernel: None, scales: Vec::new(), row_sums, sums }
    }

    /// One iteration, `f_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon)` and then
    /// `g_j = -epsilon log sum_i a_i exp((f_i - C_ij) / epsilon)`. Returns the share of mass that the potentials
    /// misplaced before. [`Bordered::sweep`] does the same without a kernel, and is what this is tested against.
    pub(super) fn sweep(&mut self, epsilon: f64, potentials: &mut Potentials) -> f64 {
        let Self { bordered, kernel, scales, row_sums, sums } = self;
        let is_near = kernel.as_ref().is_some_and(|kernel| kernel.scales(epsilon, &potentials.columns, scales));
        if !is_near {
            *kernel = Some(Kernel::new(bordered, epsilon, &potentials.columns));
            scales.clear();
            scales.resize(bordered.columns(), 1.0);
        }
        let kernel = kernel.as_ref().expect("it was just made");
        scales.iter_mut().zip(&bordered.column_mass).for_each(|(s, mass)| *s *= mass);
        let inverse = 1.0 / epsilon;
        let misplaced = wide!({
            sums.fill(0.0);
            for (i, row_sum) in row_sums.iter_mut().enumerate() {
                let row = &kernel.entries[bordered.slots(i)];
                *row_sum = bordered.gather(i, row, scales);
                let mass = bordered.row_mass[i];
                if mass > 0.0 {
                    bordered.scatter(i, row, mass / *row_sum, sums);
                }
            }
            // The logarithms of all rows at once, and then those of all columns.
            let rows = potentials.rows.iter_mut().zip(&kernel.high).zip(&bordered.row_mass);
            for (row_sum, ((f, high), mass)) in row_sums.iter_mut().zip(rows) {
                // Only a row without mass has no sum; any potential will do.
                let log_sum = if *row_sum > 0.0 { high + ln(*row_sum) } else { 0.0 };
                *row_sum = mass * (exp(*f * inverse + log_sum) - 1.0).abs();
                *f = -epsilon * log_sum;
            }
            for ((g, start), &sum) in potentials.columns.iter_mut().zip(&kernel.columns).zip(&*sums) {
                *g = start - epsilon * ln(sum);
            }
            vector::sum(row_sums)
        });
        for (j, sum) in sums.iter().enumerate() {
            if !TRUSTED.contains(sum) {
                potentials.columns[j] = bordered.column_potential(j, epsilon, &potentials.rows);
            }
        }
        if bordered.total > 0.0 { misplaced / bordered.total } else { 0.0 }
    }
}

/// Runs iterations backwards.
pub(super) struct Puller<'a> {
    bordered: &'a Bordered,
    kernel: Option<Kernel>,
    before: Vec<f64>,
    here: Vec<f64>,
    /// Room for `sum_i W_ij x_i df_i`.
    sums: Vec<f64>,
}

/// The gradient of the potentials after an iteration, and what they leave to everything else.
pub(super) struct Pulled<'a> {
    pub(super) df: &'a mut [f64],
    pub(super) dg: &'a mut [f64],
    pub(super) gradient: &'a mut super::BorderedGradient,
}

impl<'a> Puller<'a> {
    /// `None` where something has no mass: its derivative is held by no constraint, and needs the log domain.
    pub(super) fn new(bordered: &'a Bordered) -> Option<Self> {
        let mut masses = bordered.row_mass.iter().chain(&bordered.column_mass);
        let sums = vec![0.0; bordered.columns()];
        masses.all(|&mass| mass > 0.0).then(|| Self {
            bordered,
            kernel: None,
            before: Vec::new(),
            here: Vec::new(),
            sums,
        })
    }

    /// What the plan `P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)` of the last iteration leaves to everything: with
    /// `Q_ij = P_ij dP_ij`, `df_i += sum_j Q_ij / epsilon`, costs take `-Q_ij / epsilon` and masses `sum_j Q_ij / a_i`.
    pub(super) fn pull_plan(&self, epsilon: f64, plan: &[f64], mut dplan: Vec<f64>, to: Pulled<'_>) {
        let (bordered, inverse, Pulled { df, dg, gradient }) = (self.bordered, 1.0 / epsilon, to);
        let mut sums = vec![0.0; bordered.columns()];
        wide!({
            for (i, df) in df.iter_mut().enumerate() {
                let slots = bordered.slots(i);
                let q = &mut dplan[slots.clone()];
                for ((q, p), dcost) in q.iter_mut().zip(&plan[slots.clone()]).zip(&mut gradient.cost[slots]) {
                    *q *= p;
                    *dcost -= *q * inverse;
                }
                let sum = vector::sum(q);
                *df += sum * inverse;
                gradient.rows[i] += sum / bordered.row_mass[i];
                bordered.scatter(i, q, 1.0, &mut sums);
            }
            let columns = dg.iter_mut().zip(&mut gradient.columns).zip(sums.iter().zip(&bordered.column_mass));
            for ((dg, dmass), (sum, mass)) in columns {
                *dg += sum * inverse;
                *dmass += sum / mass;
            }
        });
    }

    /// Goes back through the iteration that led from the columns of `before` to `here`. False, with nothing done, where it went
    /// too far for one kernel.
    ///
    /// With `x_i = exp(f_i / epsilon + h_i)`, `u_j` and `e_j` the scales of the columns here and before, and `b_j`, `a_i` masses:
    /// `df_i -= a_i x_i D_i`, `D_i = sum_j W_ij u_j dg_j`, and then `dg_j = -b_j e_j E_j`, `E_j = sum_i W_ij x_i df_i`. Costs take
    /// `W_ij x_i (a_i u_j dg_j + b_j e_j df_i)`, masses `-epsilon x_i D_i` and `-epsilon e_j E_j`.
    pub(super) fn pull(&mut self, epsilon: f64, before: &[f64], here: &Potentials, to: Pulled<'_>) -> bool {
        let Self { bordered, kernel: saved, before: e, here: v, sums } = self;
        let mut near = |kernel: &Kernel| kernel.scales(epsilon, before, e) && kernel.scales(epsilon, &here.columns, v);
        if !saved.as_ref().is_some_and(&mut near) && !near(saved.insert(Kernel::new(bordered, epsilon, &here.columns)))
        {
            return false;
        }
        let kernel = saved.as_ref().expect("it is there or was just made");
        let Pulled { df, dg, gradient } = to;
        wide!({
            sums.fill(0.0);
            v.iter_mut().zip(&*dg).for_each(|(v, dg)| *v *= dg);
            let dummy = bordered.columns() - 1;
            // From here on `dg` is that of `log e`, up to the sum.
            dg.iter_mut().zip(&*e).zip(&bordered.column_mass).for_each(|((dg, e), mass)| *dg = e * mass);
            for (i, df) in df.iter_mut().enumerate() {
                let (slots, range) = (bordered.slots(i), bordered.range(i));
                let row = &kernel.entries[slots.clone()];
                let x = exp(here.rows[i] / epsilon + kernel.high[i]);
                let sum = x * bordered.gather(i, row, v);
                let of_column = bordered.row_mass[i] * x;
                *df -= bordered.row_mass[i] * sum;
                gradient.rows[i] -= epsilon * sum;
                let of_row = x * *df;
                bordered.scatter(i, row, of_row, sums);
                let cost = &mut gradient.cost[slots];
                let terms = row.iter().zip(&v[range.clone()]).zip(&dg[range.clone()]);
                for (cost, ((w, v), s)) in cost.iter_mut().zip(terms) {
                    *cost += w * (of_column * v + of_row * s);
                }
                cost[range.len()] += row[range.len()] * (of_column * v[dummy] + of_row * dg[dummy]);
                *df = 0.0;
            }
            for (j, sum) in sums.iter().enumerate() {
                dg[j] *= -sum;
                gradient.columns[j] -= epsilon * e[j] * sum;
            }
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::random_problem;
    use super::*;
    use crate::loss::band::Band;

    /// Far and near potentials, columns without mass, entries that cost infinity, and bands.
    #[test]
    fn a_sweep_is_that_of_the_log_domain() {
        for epsilon in [1.0, 0.1, 0.01, 0.001] {
            for (seed, band) in
                (0..).zip([Band::dense(1, 1), Band::dense(5, 3), Band::dense(3, 9), Band::window(30, 25, 3)])
            {
                for massless in [false, true] {
                    let mut problem = random_problem(seed, &band);
                    if massless {
                        problem.mass.fill(0.0);
                    } else {
                        problem.deletion[0] = f64::INFINITY;
                    }
                    let bordered = Bordered::new(&problem);
                    let (mut one, mut other) = (bordered.zero_potentials(), bordered.zero_potentials());
                    let mut sweeper = Sweeper::new(&bordered);
                    let (mut sums, mut terms) = (vec![0.0; bordered.columns()], Vec::new());
                    for t in 0..60 {
                        // Annealed at first, and pushed once, as a Newton step does.
                        let epsilon = epsilon * f64::max(1.0, 8.0 * 0.5f64.powi(t));
                        if t == 20 {
                            one.columns[0] += 50.0 * epsilon;
                            other.columns[0] += 50.0 * epsilon;
                        }
                        let misplaced = sweeper.sweep(epsilon, &mut one);
                        let expected = bordered.sweep(epsilon, &mut other, &mut sums, &mut terms);
                        let what = format!("epsilon {epsilon}, problem {seed}, massless {massless}, iteration {t}");
                        assert!(
                            (misplaced - expected).abs() <= 1e-10 * expected.max(1.0),
                            "{what}: {misplaced} {expected}"
                        );
                        for (a, b) in one.rows.iter().zip(&other.rows).chain(one.columns.iter().zip(&other.columns)) {
                            assert!((a - b).abs() <= 1e-10 * b.abs().max(1.0), "{what}: {a} and {b}");
                        }
                    }
                }
            }
        }
    }
}
