//! Small problems side by side: the iteration of [`scaling`](super::scaling) and the way back through it, one problem a lane of the
//! registers.
//!
//! A row of ten entries fills no register, and its sum waits for itself. Here the same entry of up to [`TOGETHER`] problems is one
//! register, and nothing is ever added across it. Rows and columns that a problem does not have are zeros in its lane, so its answer
//! is the same to the bit whatever stands beside it.
//!
//! A lane has one kernel for each epsilon, made where the iterations at it begin. A problem whose potentials go farther from there than the
//! kernel reaches is handed back, and goes by itself.

use super::super::{Problem, ProblemGradient, TOGETHER, Together, Upstream};
use super::scaling::{Entry, FEW};
use super::{Alignment, Differentiation, Potentials, Sinkhorn, Status, Value};
use crate::loss::band::Banded;
use grapheme_core::kept::Aligned;
use grapheme_core::vector::{exp, ln};
use grapheme_core::{Kept, Scalar, wide};
use pulp::{Arch, Simd, WithSimd};
use std::array::from_fn;

/// A number of each problem.
type Lane = [f64; TOGETHER];

/// Vectors and matrices of a number of each problem: [`TOGETHER`] of them in a place.
fn zeros(places: usize) -> Aligned<f64> {
    Aligned::filled(TOGETHER * places, 0.0)
}

#[inline(always)]
fn lanes(x: &[f64]) -> &[Lane] {
    x.as_chunks().0
}

#[inline(always)]
fn lanes_mut(x: &mut [f64]) -> &mut [Lane] {
    x.as_chunks_mut().0
}

/// Part `k` of the lanes, as many as a register holds.
#[inline(always)]
fn part<V: Simd>(x: &Lane, k: usize) -> V::f64s {
    V::as_simd_f64s(x).0[k]
}

#[inline(always)]
fn part_mut<V: Simd>(x: &mut Lane, k: usize) -> &mut V::f64s {
    &mut V::as_mut_simd_f64s(x).0[k]
}

/// Whether a sound problem can stand in a lane.
pub(super) fn fits<S: Scalar>(settings: &Sinkhorn, problem: &Problem<S>) -> bool {
    let band = problem.cost().band();
    let (n, m) = (band.rows(), band.columns());
    // A Newton step takes a system of its own for each problem, and what has no mass is held by no constraint.
    settings.differentiation == Differentiation::Unrolled
        && n > 0
        && m > 0
        && (n + 1) * (m + 1) <= FEW
        && band.entries() == n * m
        && problem.mass().iter().all(|&mass| mass > S::zero())
}

/// Costs, masses and the kernel `W_ij = exp((g0_j - C_ij) / epsilon - h_i)` of problems side by side, as in
/// [`scaling`](super::scaling); each problem's dummies come after its own rows and columns.
struct Lockstep<'a, S: Scalar> {
    problems: Together<&'a Problem<S>>,
    /// Of the largest problem, with dummies.
    rows: usize,
    columns: usize,
    /// Row after row; infinite where a problem has no such entry.
    cost: Aligned<f64>,
    row_mass: Aligned<f64>,
    column_mass: Aligned<f64>,
    total: Lane,
    /// NaN while there is no kernel.
    epsilon: f64,
    /// `g0`, `h` and `W`.
    start: Aligned<f64>,
    high: Aligned<f64>,
    kernel: Aligned<f64>,
}

impl<'a, S: Scalar> Lockstep<'a, S> {
    fn new(problems: Together<&'a Problem<S>>) -> Self {
        let bands = || problems.iter().flatten().map(|problem| problem.cost().band());
        let rows = 1 + bands().map(|band| band.rows()).max().unwrap_or(0);
        let columns = 1 + bands().map(|band| band.columns()).max().unwrap_or(0);
        let mut cost = Aligned::filled(TOGETHER * rows * columns, f64::INFINITY);
        let (mut row_mass, mut column_mass, mut total) = (zeros(rows), zeros(columns), [0.0; TOGETHER]);
        for (l, problem) in problems.iter().enumerate() {
            let Some(problem) = problem else { continue };
            let (n, m) = (problem.cost().band().rows(), problem.cost().band().columns());
            let of_rows = (0..n).map(|i| problem.cost().row(i)).chain([problem.insertion()]);
            for (i, (to, from)) in lanes_mut(&mut cost).chunks_exact_mut(columns).zip(of_rows).enumerate() {
                to.iter_mut().zip(from).for_each(|(to, c)| to[l] = c.widen());
                to[m][l] = problem.deletion().get(i).map_or(0.0, |c| c.widen());
            }
            let (row_mass, column_mass) = (lanes_mut(&mut row_mass), lanes_mut(&mut column_mass));
            row_mass.iter_mut().zip(problem.mass()).for_each(|(to, mass)| to[l] = mass.widen());
            let predicted: f64 = row_mass[..n].iter().map(|mass| mass[l]).sum();
            row_mass[n][l] = m as f64;
            column_mass[..m].iter_mut().for_each(|to| to[l] = 1.0);
            column_mass[m][l] = predicted;
            total[l] = predicted + m as f64;
        }
        let (start, high, kernel) = (zeros(columns), zeros(rows), Aligned::unset(TOGETHER * rows * columns));
        Self { problems, rows, columns, cost, row_mass, column_mass, total, epsilon: f64::NAN, start, high, kernel }
    }

    /// Rows and columns of the problem in lane `l`, with dummies.
    fn size(&self, l: usize) -> (usize, usize) {
        self.problems[l].map_or((0, 0), |problem| (problem.mass().len() + 1, problem.insertion().len() + 1))
    }

    /// Makes the kernel for potentials of the columns near `at`.
    fn make(&mut self, epsilon: f64, at: &[f64]) {
        let Self { cost, start, high, kernel, .. } = self;
        self.epsilon = epsilon;
        start.copy_from_slice(at);
        let inverse = 1.0 / epsilon;
        wide!({
            let rows = kernel.chunks_exact_mut(start.len()).zip(cost.chunks_exact(start.len()));
            for ((row, cost), high) in rows.zip(lanes_mut(high)) {
                for ((w, c), g) in row.iter_mut().zip(cost).zip(&**start) {
                    *w = (g - c) * inverse;
                }
                let mut highest = [f64::NEG_INFINITY; TOGETHER];
                for w in lanes(row) {
                    for l in 0..TOGETHER {
                        highest[l] = if w[l] > highest[l] { w[l] } else { highest[l] };
                    }
                }
                *high = highest.map(|high| if high > f64::NEG_INFINITY { high } else { 0.0 });
                for w in lanes_mut(row) {
                    for l in 0..TOGETHER {
                        w[l] -= high[l];
                    }
                }
            }
            for w in kernel.iter_mut() {
                *w = exp(*w);
            }
        });
    }

    /// The potentials of which these are the scales: `f_i = epsilon (log x_i - h_i)`, `g_j = g0_j + epsilon log e_j`.
    fn potentials(&self, [x, e]: [&[f64]; 2]) -> [Aligned<f64>; 2] {
        let (mut f, mut g) = (Aligned::unset(x.len()), Aligned::unset(e.len()));
        wide!({
            for ((f, x), high) in f.iter_mut().zip(x).zip(&*self.high) {
                *f = self.epsilon * (ln(*x) - high);
            }
            for ((g, e), start) in g.iter_mut().zip(e).zip(&*self.start) {
                *g = start + self.epsilon * ln(*e);
            }
        });
        [f, g]
    }

    /// Goes over to another epsilon, and `scales` to those of the same potentials there.
    fn go_to(&mut self, epsilon: f64, scales: [&mut [f64]; 2]) {
        if epsilon == self.epsilon {
            return;
        }
        let [x, e] = scales;
        let [f, g] = self.potentials([x, e]);
        self.make(epsilon, &g);
        e.fill(1.0);
        let inverse = 1.0 / epsilon;
        wide!({
            for ((x, f), high) in x.iter_mut().zip(&*f).zip(&*self.high) {
                *x = exp(f * inverse + high);
            }
        });
    }

    /// The plan `P_ij = a_i x_i W_ij e_j b_j`.
    fn plan(&self, [x, e]: [&[f64]; 2]) -> Aligned<f64> {
        let [mut ax, mut be] = [x, e].map(|scales| Aligned::unset(scales.len()));
        let mut plan = Aligned::unset(self.kernel.len());
        wide!({
            ax.iter_mut().zip(x).zip(&*self.row_mass).for_each(|((to, x), a)| *to = a * x);
            be.iter_mut().zip(e).zip(&*self.column_mass).for_each(|((to, e), b)| *to = b * e);
            let rows = plan.chunks_exact_mut(e.len()).zip(self.kernel.chunks_exact(e.len()));
            for ((to, row), ax) in rows.zip(lanes(&ax)) {
                for ((to, w), be) in lanes_mut(to).iter_mut().zip(lanes(row)).zip(lanes(&be)) {
                    for l in 0..TOGETHER {
                        to[l] = ax[l] * w[l] * be[l];
                    }
                }
            }
        });
        plan
    }

    /// Hands lane `l` of a matrix on to its entries, its dummy column and its dummy row.
    fn split(&self, l: usize, matrix: &[f64], inner: &mut Banded<S>, last_column: &mut [S], last_row: &mut [S]) {
        for (i, row) in lanes(matrix).chunks_exact(self.columns).enumerate().take(last_column.len() + 1) {
            let to = match last_column.get_mut(i) {
                Some(last) => {
                    *last = S::lit(row[last_row.len()][l]);
                    inner.row_mut(i)
                }
                None => &mut *last_row,
            };
            to.iter_mut().zip(row).for_each(|(to, from)| *to = S::lit(from[l]));
        }
    }
}

/// One iteration: `x_i = 1 / sum_j W_ij y_j`, then `e_j = 1 / sum_i W_ij a_i x_i`; 0 where the sum is.
struct Sweep<'s> {
    kernel: &'s [f64],
    row_mass: &'s [f64],
    /// `b_j e_j` of the scales before.
    y: &'s [f64],
    /// Of the iteration before, and then of this one.
    x: &'s mut [f64],
    /// Of this one.
    e: &'s mut [f64],
}

impl WithSimd for Sweep<'_> {
    /// The mass that the scales misplaced before.
    type Output = Lane;

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) -> Lane {
        let Self { kernel, row_mass, y, x, e } = self;
        let (width, y, x, e) = (e.len(), lanes(y), lanes_mut(x), lanes_mut(e));
        let (zero, one) = (simd.splat_f64s(0.0), simd.splat_f64s(1.0));
        let inverse = |sum| simd.select_f64s(simd.greater_than_f64s(sum, zero), simd.div_f64s(one, sum), zero);
        let mut all = [0.0; TOGETHER];
        for k in 0..V::as_simd_f64s(&all).0.len() {
            let mut misplaced = zero;
            e.iter_mut().for_each(|e| *part_mut::<V>(e, k) = zero);
            for ((row, a), x) in kernel.chunks_exact(width).zip(lanes(row_mass)).zip(x.iter_mut()) {
                let (row, a, x) = (lanes(row), part::<V>(a, k), part_mut::<V>(x, k));
                let mut sum = zero;
                for (w, y) in row.iter().zip(y) {
                    sum = simd.add_f64s(sum, simd.mul_f64s(part::<V>(w, k), part::<V>(y, k)));
                }
                let excess = simd.sub_f64s(simd.mul_f64s(sum, *x), one);
                let excess = simd.max_f64s(excess, simd.sub_f64s(zero, excess));
                misplaced = simd.add_f64s(misplaced, simd.mul_f64s(a, excess));
                *x = inverse(sum);
                let share = simd.mul_f64s(a, *x);
                for (e, w) in e.iter_mut().zip(row) {
                    let e = part_mut::<V>(e, k);
                    *e = simd.add_f64s(*e, simd.mul_f64s(part::<V>(w, k), share));
                }
            }
            for e in e.iter_mut() {
                let e = part_mut::<V>(e, k);
                *e = inverse(*e);
            }
            *part_mut::<V>(&mut all, k) = misplaced;
        }
        all
    }
}

/// The answers to problems that [fit](fits) and are feasible; nothing for one whose potentials went too far.
pub(super) fn align<S: Scalar>(settings: &Sinkhorn, problems: Together<&Problem<S>>) -> Together<Alignment<S>> {
    let mut lockstep = Lockstep::new(problems);
    let mut x = zeros(lockstep.rows);
    let [mut e, mut y] = [(); 2].map(|()| zeros(lockstep.columns));
    lockstep.make(settings.epsilon_at(0), &y);
    e.fill(1.0);
    // What was found, with the scales after every iteration, and how many there were, once they have ended.
    let mut found: Together<Potentials> = from_fn(|l| {
        let (rows, columns) = lockstep.size(l);
        problems[l].map(|_| settings.room(rows, columns))
    });
    let mut ended: Together<usize> = problems.map(|problem| problem.is_none().then_some(0));
    for t in 0..settings.max_iterations {
        lockstep.go_to(settings.epsilon_at(t), [&mut x, &mut e]);
        let Lockstep { kernel, row_mass, column_mass, .. } = &lockstep;
        wide!({
            for ((y, e), b) in y.iter_mut().zip(&*e).zip(&**column_mass) {
                *y = e * b;
            }
        });
        let misplaced = Arch::new().dispatch(Sweep { kernel, row_mass, y: &y, x: &mut x, e: &mut e });
        // A column whose sum underflowed has a scale of 0.
        let reach = (-f64::FARTHEST).exp()..f64::FARTHEST.exp();
        let judged = t > 0 && settings.epsilon_at(t - 1) <= settings.epsilon;
        for l in 0..TOGETHER {
            let (None, Some(Potentials { iterations, .. })) = (ended[l], &mut found[l]) else { continue };
            let (rows, columns) = lockstep.size(l);
            let e = &lanes(&e)[..columns];
            if !e.iter().all(|e| reach.contains(&e[l])) {
                (found[l], ended[l]) = (None, Some(0));
                continue;
            }
            iterations.extend(lanes(&x)[..rows].iter().chain(e).map(|x| x[l]));
            if judged && misplaced[l] <= 0.5 * settings.tolerance * lockstep.total[l] {
                ended[l] = Some(t + 1);
            }
        }
        if ended.iter().all(Option::is_some) {
            break;
        }
    }
    for (l, found) in found.iter().enumerate() {
        let Some(found) = found else { continue };
        let (of_rows, of_columns) = found.after(found.count() - 1);
        of_rows.iter().zip(lanes_mut(&mut x)).for_each(|(from, to)| to[l] = *from);
        of_columns.iter().zip(lanes_mut(&mut e)).for_each(|(from, to)| to[l] = *from);
    }
    let potentials = lockstep.potentials([&x, &e]);
    for (l, found) in found.iter_mut().enumerate() {
        let Some(Potentials { rows, columns, .. }) = found else { continue };
        rows.iter_mut().zip(lanes(&potentials[0])).for_each(|(to, f)| *to = f[l]);
        columns.iter_mut().zip(lanes(&potentials[1])).for_each(|(to, g)| *to = g[l]);
    }
    lockstep.go_to(settings.epsilon, [&mut x, &mut e]);
    deliver(settings, &lockstep, [&x, &e], found)
}

/// Plans, values and residuals of what was found.
fn deliver<S: Scalar>(
    settings: &Sinkhorn,
    lockstep: &Lockstep<'_, S>,
    scales: [&[f64]; 2],
    found: Together<Potentials>,
) -> Together<Alignment<S>> {
    let plan = lockstep.plan(scales);
    let [mut cost, mut sum, mut misplaced] = [[0.0; TOGETHER]; 3];
    let mut of_columns = zeros(lockstep.columns);
    wide!({
        let (rows, width) = (lanes(&lockstep.row_mass), of_columns.len());
        for ((plan, costs), mass) in plan.chunks_exact(width).zip(lockstep.cost.chunks_exact(width)).zip(rows) {
            let mut of_row = [0.0; TOGETHER];
            for (p, c) in lanes(plan).iter().zip(lanes(costs)) {
                for l in 0..TOGETHER {
                    cost[l] += p[l] * if c[l] < f64::INFINITY { c[l] } else { 0.0 };
                    of_row[l] += p[l];
                }
            }
            for (to, p) in of_columns.iter_mut().zip(plan) {
                *to += p;
            }
            for l in 0..TOGETHER {
                sum[l] += of_row[l];
                misplaced[l] += (of_row[l] - mass[l]).abs();
            }
        }
        for (of_column, mass) in lanes(&of_columns).iter().zip(lanes(&lockstep.column_mass)) {
            for l in 0..TOGETHER {
                misplaced[l] += (of_column[l] - mass[l]).abs();
            }
        }
    });
    let mut lane = 0..;
    found.map(|potentials| {
        let l = lane.next()?;
        let (problem, potentials) = (lockstep.problems[l]?, potentials?);
        let mut alignment = Alignment::none(problem, Status::Converged);
        let Alignment { plan: matched, deleted, inserted, .. } = &mut alignment;
        lockstep.split(l, &plan, matched, deleted, inserted);
        alignment.value = S::lit(match settings.value {
            Value::TransportCost => cost[l],
            Value::Regularised => {
                let along = |masses: &[f64], x: &[f64]| lanes(masses).iter().zip(x).map(|(a, x)| a[l] * x).sum::<f64>();
                let total = lockstep.total[l];
                along(&lockstep.row_mass, &potentials.rows)
                    + along(&lockstep.column_mass, &potentials.columns)
                    + settings.epsilon * (total * total.ln() + total - sum[l])
            }
        });
        alignment.residual = misplaced[l] / lockstep.total[l];
        alignment.iterations = potentials.count();
        alignment.potentials = Some(Potentials { is_of_lockstep: true, ..potentials });
        if alignment.residual > settings.tolerance {
            alignment.status = Status::NotConverged;
        }
        Some(alignment)
    })
}

/// What [`vjp`] is asked: a problem, what [`align`] answered, and the gradient of that.
pub(super) type Asked<'a, S> = (&'a Problem<S>, &'a Alignment<S>, Upstream<'a, S>);

/// The gradients with respect to problems, of alignments that [`align`] made.
pub(super) fn vjp<S: Scalar>(settings: &Sinkhorn, asked: Together<Asked<'_, S>>) -> Together<ProblemGradient<S>> {
    let mut lockstep = Lockstep::new(asked.map(|asked| asked.map(|(problem, ..)| problem)));
    let mut back = Back::new(settings, &lockstep, &asked);
    let (mut x, mut e) = (zeros(lockstep.rows), zeros(lockstep.columns));
    back.make(&mut lockstep, back.longest);
    back.tape.rows(back.longest, &mut x);
    back.tape.columns(back.longest, &mut e);
    lockstep.go_to(settings.epsilon, [&mut x, &mut e]);
    let plan = lockstep.plan([&x, &e]);
    back.pull_plan(&lockstep, &asked, &plan);
    for t in (1..=back.longest).rev() {
        back.pull(&mut lockstep, t);
    }
    back.settle(&lockstep);
    let Back { dcost, drows, dcolumns, .. } = &mut back;
    let mut lane = 0..;
    asked.map(|asked| {
        let l = lane.next()?;
        let (problem, _, upstream) = asked?;
        if settings.value == Value::TransportCost {
            let dvalue = upstream.value.widen();
            lanes_mut(dcost).iter_mut().zip(lanes(&plan)).for_each(|(d, p)| d[l] += dvalue * p[l]);
        }
        let mut gradient = ProblemGradient::zeros(problem);
        let ProblemGradient { cost, deletion, insertion, mass } = &mut gradient;
        lockstep.split(l, dcost, cost, deletion, insertion);
        let dummy = lanes(dcolumns)[lockstep.size(l).1 - 1][l];
        mass.iter_mut().zip(lanes(drows)).for_each(|(to, d)| *to = Sinkhorn::of_mass(d[l], dummy));
        Some(gradient)
    })
}

/// The scales of every iteration of each problem.
struct Tape<'a> {
    found: Together<&'a Potentials>,
    /// The number of iterations.
    length: [usize; TOGETHER],
}

impl Tape<'_> {
    /// Those of the rows after so many iterations, or after the last one of a problem that took fewer.
    fn rows(&self, t: usize, to: &mut [f64]) {
        self.each(t, |l, (rows, _)| lanes_mut(to).iter_mut().zip(rows).for_each(|(to, from)| to[l] = *from));
    }

    /// Those of the columns.
    fn columns(&self, t: usize, to: &mut [f64]) {
        self.each(t, |l, (_, columns)| lanes_mut(to).iter_mut().zip(columns).for_each(|(to, from)| to[l] = *from));
    }

    fn each(&self, t: usize, mut take: impl FnMut(usize, (&[f64], &[f64]))) {
        for (l, found) in self.found.iter().enumerate() {
            if let Some(found) = found {
                take(l, found.after(t.min(self.length[l]) - 1));
            }
        }
    }
}

/// The way back through the iterations.
struct Back<'a> {
    settings: &'a Sinkhorn,
    tape: Tape<'a>,
    /// The number of iterations of the problem that took most.
    longest: usize,
    /// For each iteration, how many there were before the first one at its epsilon.
    begun: Kept<u32>,
    /// What the plan leaves to the potentials, which enters at the last iteration of each problem.
    plan_df: Aligned<f64>,
    plan_dg: Aligned<f64>,
    df: Aligned<f64>,
    dg: Aligned<f64>,
    dcost: Aligned<f64>,
    drows: Aligned<f64>,
    dcolumns: Aligned<f64>,
    /// `G` of [`Pull`], since the last settlement.
    gathered: Aligned<f64>,
    /// Room to work in.
    x: Aligned<f64>,
    v: Aligned<f64>,
    e: Aligned<f64>,
    sums: Aligned<f64>,
}

impl<'a> Back<'a> {
    fn new<S: Scalar>(settings: &'a Sinkhorn, lockstep: &Lockstep<'_, S>, asked: &Together<Asked<'a, S>>) -> Self {
        let found = asked.map(|asked| asked.and_then(|(_, alignment, _)| alignment.potentials.as_ref()));
        let length = found.map(|found| found.map_or(0, Potentials::count));
        let longest = length.into_iter().max().unwrap_or(0);
        let mut first = 0;
        let begun = (0..longest).map(|t| {
            if t > 0 && settings.epsilon_at(t) != settings.epsilon_at(t - 1) {
                first = t as u32;
            }
            first
        });
        let begun: Kept<u32> = begun.collect();
        let [plan_df, df, drows, x] = [(); 4].map(|()| zeros(lockstep.rows));
        let [plan_dg, dg, dcolumns, v, e, sums] = [(); 6].map(|()| zeros(lockstep.columns));
        let [dcost, gathered] = [(); 2].map(|()| zeros(lockstep.rows * lockstep.columns));
        let tape = Tape { found, length };
        Self {
            settings,
            tape,
            longest,
            begun,
            plan_df,
            plan_dg,
            df,
            dg,
            dcost,
            drows,
            dcolumns,
            gathered,
            x,
            v,
            e,
            sums,
        }
    }

    /// Makes the kernel that iteration `t`, counted from 1, had, from one epsilon to the next.
    fn make<S: Scalar>(&self, lockstep: &mut Lockstep<'_, S>, t: usize) {
        let (mut x, mut e) = (zeros(lockstep.rows), zeros(lockstep.columns));
        lockstep.make(self.settings.epsilon_at(0), &e);
        for t in (1..=self.begun[t - 1] as usize).filter(|&t| self.begun[t] as usize == t) {
            self.tape.rows(t, &mut x);
            self.tape.columns(t, &mut e);
            lockstep.go_to(self.settings.epsilon_at(t), [&mut x, &mut e]);
        }
    }

    /// What the plan leaves to potentials, costs and masses; as [`Puller::pull_plan`](super::scaling::Puller::pull_plan).
    fn pull_plan<S: Scalar>(&mut self, lockstep: &Lockstep<'_, S>, asked: &Together<Asked<'_, S>>, plan: &[f64]) {
        let (mut q, mut dvalue) = (Aligned::filled(plan.len(), 0.0), [0.0; TOGETHER]);
        for (l, asked) in asked.iter().enumerate() {
            let Some((problem, _, upstream)) = asked else { continue };
            dvalue[l] = upstream.value.widen();
            let Some(from) = upstream.plan else { continue };
            assert_eq!(from.band(), problem.cost().band(), "the upstream plan lies on the band of the problem");
            for (i, to) in lanes_mut(&mut q).chunks_exact_mut(lockstep.columns).enumerate().take(from.band().rows()) {
                to.iter_mut().zip(from.row(i)).for_each(|(to, d)| to[l] = d.widen());
            }
        }
        let Self { settings, tape, plan_df, plan_dg, dcost, drows, dcolumns, sums, .. } = self;
        let (epsilon, inverse) = (settings.epsilon, 1.0 / settings.epsilon);
        let Lockstep { row_mass, column_mass, total, cost, .. } = lockstep;
        match settings.value {
            Value::TransportCost => {
                for (q, c) in lanes_mut(&mut q).iter_mut().zip(lanes(cost)) {
                    for l in 0..TOGETHER {
                        q[l] += dvalue[l] * if c[l] < f64::INFINITY { c[l] } else { 0.0 };
                    }
                }
            }
            Value::Regularised => {
                // The explicit part of V = <a, f> + <b, g> + epsilon (T log T + T - sum P), T the sum of the row masses.
                for (l, found) in tape.found.iter().enumerate() {
                    let Some(Potentials { rows, columns, .. }) = found else { continue };
                    let of_total = dvalue[l] * epsilon * (total[l].ln() + 2.0);
                    let explicit = |df: &mut [f64], dmass: &mut [f64], mass: &[f64], f: &[f64], of_total: f64| {
                        let parts = lanes_mut(df).iter_mut().zip(lanes_mut(dmass)).zip(lanes(mass).iter().zip(f));
                        for ((df, dmass), (mass, f)) in parts {
                            df[l] = dvalue[l] * mass[l];
                            dmass[l] = dvalue[l] * f + of_total;
                        }
                    };
                    explicit(plan_df, drows, row_mass, rows, of_total);
                    explicit(plan_dg, dcolumns, column_mass, columns, 0.0);
                }
                lanes_mut(&mut q).iter_mut().for_each(|q| (0..TOGETHER).for_each(|l| q[l] -= dvalue[l] * epsilon));
            }
        }
        wide!({
            for ((q, p), dcost) in q.iter_mut().zip(plan).zip(dcost.iter_mut()) {
                *q *= p;
                *dcost -= *q * inverse;
            }
            let of_rows = lanes_mut(plan_df).iter_mut().zip(lanes_mut(drows)).zip(lanes(row_mass));
            for (q, ((df, dmass), mass)) in q.chunks_exact(sums.len()).zip(of_rows) {
                let mut of_row = [0.0; TOGETHER];
                for q in lanes(q) {
                    for l in 0..TOGETHER {
                        of_row[l] += q[l];
                    }
                }
                for l in 0..TOGETHER {
                    df[l] += of_row[l] * inverse;
                    dmass[l] += if mass[l] > 0.0 { of_row[l] / mass[l] } else { 0.0 };
                }
                for (sum, q) in sums.iter_mut().zip(q) {
                    *sum += q;
                }
            }
            let of_columns = plan_dg.iter_mut().zip(dcolumns.iter_mut()).zip(sums.iter().zip(&**column_mass));
            for ((dg, dmass), (sum, mass)) in of_columns {
                *dg += sum * inverse;
                *dmass += if *mass > 0.0 { sum / mass } else { 0.0 };
            }
        });
    }

    /// Back through iteration `t`, counted from 1. Iterations are gone through from the last one on.
    fn pull<S: Scalar>(&mut self, lockstep: &mut Lockstep<'_, S>, t: usize) {
        for l in (0..TOGETHER).filter(|&l| self.tape.length[l] == t) {
            lanes_mut(&mut self.df).iter_mut().zip(lanes(&self.plan_df)).for_each(|(to, d)| to[l] = d[l]);
            lanes_mut(&mut self.dg).iter_mut().zip(lanes(&self.plan_dg)).for_each(|(to, d)| to[l] = d[l]);
        }
        let epsilon = self.settings.epsilon_at(t - 1);
        if epsilon != lockstep.epsilon {
            self.settle(lockstep);
            self.make(lockstep, t);
        }
        self.tape.rows(t, &mut self.x);
        self.tape.columns(t, &mut self.v);
        match t - 1 == self.begun[t - 1] as usize {
            // Where a kernel is made, all scales are 1.
            true => self.e.fill(1.0),
            false => self.tape.columns(t - 1, &mut self.e),
        }
        let Self { df, dg, drows, dcolumns, gathered, x, v, e, sums, .. } = self;
        let Lockstep { kernel, row_mass, column_mass, .. } = lockstep;
        wide!({
            // From here on `dg` is `b e`.
            for ((v, dg), (e, b)) in v.iter_mut().zip(dg.iter_mut()).zip(e.iter().zip(&**column_mass)) {
                *v *= *dg;
                *dg = e * b;
            }
        });
        sums.fill(0.0);
        Arch::new().dispatch(Pull { epsilon, kernel, row_mass, x, v, be: dg, df, drows, gathered, sums });
        wide!({
            for ((dg, dmass), (sum, e)) in dg.iter_mut().zip(dcolumns.iter_mut()).zip(sums.iter().zip(&**e)) {
                *dg *= -sum;
                *dmass -= epsilon * e * sum;
            }
        });
    }

    /// Adds to the gradient of the costs what the iterations since the last settlement left to them.
    fn settle<S: Scalar>(&mut self, lockstep: &Lockstep<'_, S>) {
        let Self { dcost, gathered, .. } = self;
        wide!({
            for ((dcost, gathered), w) in dcost.iter_mut().zip(gathered.iter_mut()).zip(&*lockstep.kernel) {
                *dcost += w * *gathered;
                *gathered = 0.0;
            }
        });
    }
}

/// The rows of an iteration, backwards.
///
/// With `x_i = exp(f_i / epsilon + h_i)` and `u_j`, `e_j` the scales of the columns after the iteration and before it:
/// `D_i = sum_j W_ij u_j dg_j`, `r_i = x_i (df_i - a_i x_i D_i)`, and then `dg_j = -b_j e_j E_j`, `E_j = sum_i W_ij r_i`. Costs take
/// `W_ij G_ij` with `G_ij = a_i x_i u_j dg_j + b_j e_j r_i`, masses `-epsilon x_i D_i` and `-epsilon e_j E_j`.
struct Pull<'s> {
    epsilon: f64,
    kernel: &'s [f64],
    row_mass: &'s [f64],
    x: &'s [f64],
    /// `u_j dg_j` and `b_j e_j`.
    v: &'s [f64],
    be: &'s [f64],
    /// Taken: zero afterwards.
    df: &'s mut [f64],
    /// These are added to: the gradient of the masses of the rows, `G` and `E`.
    drows: &'s mut [f64],
    gathered: &'s mut [f64],
    sums: &'s mut [f64],
}

impl WithSimd for Pull<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let Self { epsilon, kernel, row_mass, x, v, be, df, drows, gathered, sums } = self;
        let (width, v, be, sums) = (sums.len(), lanes(v), lanes(be), lanes_mut(sums));
        let (zero, epsilon) = (simd.splat_f64s(0.0), simd.splat_f64s(epsilon));
        for k in 0..V::as_simd_f64s(&[0.0; TOGETHER]).0.len() {
            let rows = kernel.chunks_exact(width).zip(gathered.chunks_exact_mut(width));
            let of_rows = lanes(x).iter().zip(lanes(row_mass)).zip(lanes_mut(df).iter_mut().zip(lanes_mut(drows)));
            for ((row, gathered), ((x, a), (df, dmass))) in rows.zip(of_rows) {
                let (row, gathered) = (lanes(row), lanes_mut(gathered));
                let (x, a, df, dmass) =
                    (part::<V>(x, k), part::<V>(a, k), part_mut::<V>(df, k), part_mut::<V>(dmass, k));
                let mut sum = zero;
                for (w, v) in row.iter().zip(v) {
                    sum = simd.add_f64s(sum, simd.mul_f64s(part::<V>(w, k), part::<V>(v, k)));
                }
                let sum = simd.mul_f64s(x, sum);
                *dmass = simd.sub_f64s(*dmass, simd.mul_f64s(epsilon, sum));
                let r = simd.mul_f64s(x, simd.sub_f64s(*df, simd.mul_f64s(a, sum)));
                *df = zero;
                let ax = simd.mul_f64s(a, x);
                for (((w, gathered), sum), (v, be)) in
                    row.iter().zip(gathered).zip(sums.iter_mut()).zip(v.iter().zip(be))
                {
                    let (gathered, sum) = (part_mut::<V>(gathered, k), part_mut::<V>(sum, k));
                    *sum = simd.add_f64s(*sum, simd.mul_f64s(part::<V>(w, k), r));
                    let both = simd.add_f64s(simd.mul_f64s(ax, part::<V>(v, k)), simd.mul_f64s(part::<V>(be, k), r));
                    *gathered = simd.add_f64s(*gathered, both);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::Stream;
    use rand::RngExt;

    const ROWS: usize = 5;
    const COLUMNS: usize = 7;

    fn random(places: usize, seed: u64) -> Vec<f64> {
        let mut stream = Stream::new(seed);
        (0..TOGETHER * places).map(|_| stream.random_range(0.1..2.0)).collect()
    }

    /// What an iteration and the way back through it write, on registers of one kind.
    fn on<V: Simd>(simd: V) -> Vec<Vec<f64>> {
        let (kernel, row_mass) = (random(ROWS * COLUMNS, 1), random(ROWS, 2));
        let (y, mut x, mut e) = (random(COLUMNS, 3), random(ROWS, 4), random(COLUMNS, 5));
        let sweep = Sweep { kernel: &kernel, row_mass: &row_mass, y: &y, x: &mut x, e: &mut e };
        let misplaced = simd.vectorize(sweep).to_vec();
        let (v, be, mut df, mut drows) = (random(COLUMNS, 6), random(COLUMNS, 7), random(ROWS, 8), random(ROWS, 9));
        let (mut gathered, mut sums) = (random(ROWS * COLUMNS, 10), random(COLUMNS, 11));
        simd.vectorize(Pull {
            epsilon: 0.3,
            kernel: &kernel,
            row_mass: &row_mass,
            x: &x,
            v: &v,
            be: &be,
            df: &mut df,
            drows: &mut drows,
            gathered: &mut gathered,
            sums: &mut sums,
        });
        vec![misplaced, x, e, df, drows, gathered, sums]
    }

    /// Where nothing is fused, the width of registers is the width alone.
    #[test]
    fn bits_are_those_of_any_registers() {
        struct Best;
        impl WithSimd for Best {
            type Output = Vec<Vec<f64>>;

            fn with_simd<V: Simd>(self, simd: V) -> Self::Output {
                on(simd)
            }
        }
        let plain = on(pulp::Scalar::new());
        assert_eq!(Arch::new().dispatch(Best), plain);
        #[cfg(target_arch = "x86_64")]
        if let Some(narrow) = pulp::x86::V3::try_new() {
            assert_eq!(on(narrow), plain);
        }
        assert!(plain.iter().flatten().all(|x| x.is_finite()) && plain[3].iter().all(|&df| df == 0.0));
    }
}
