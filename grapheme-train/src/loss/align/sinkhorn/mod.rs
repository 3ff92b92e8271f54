//! Assignment in any order: entropic optimal transport.
//!
//! The problem is bordered by a dummy row and a dummy column, which deletions and insertions go to. With `a` the masses
//! of the `n + 1` rows, `b` those of the `m + 1` columns and `T` the sum of either, the plan minimises
//!
//! `<C, P> + epsilon KL(P | a b^T / T)` over `P >= 0` with row sums `a` and column sums `b`.
//!
//! | row or column | mass | cost |
//! |---|---|---|
//! | predicted node `i` | `mass_i` | `cost_ij` |
//! | target `j` | 1 | |
//! | dummy row | `m`, the sum of all targets | `insertion_j` |
//! | dummy column | the sum of all predicted masses | `deletion_i` |
//! | corner | | 0 |

mod bordered;
mod implicit;
mod lockstep;
mod scaling;
mod schur;
mod unrolled;

use super::{
    Aligner, Alignment, Monotone, Problem, ProblemGradient, SettingError, Status, TOGETHER, Together, Upstream,
};
use bordered::{Bordered, Delivery};
use grapheme_core::Kept;
use grapheme_core::Scalar;
use scaling::Sweeper;
use schur::Schur;
use serde::{Deserialize, Serialize};

/// Newton steps begin when no more than this share of the mass is misplaced.
const LEAP_BELOW: f64 = 1e-2;
/// After a Newton step that failed, the next waits until this share of what was misplaced is left.
const LEAP_AGAIN: f64 = 0.1;
/// The longest Newton step, in units of epsilon: what the exponents of the plan change by.
const LONGEST_LEAP: f64 = 3.0;

/// Iterations that memory is asked for at once where all of them are kept.
const FORESEEN: usize = 32;

/// Which number an alignment calls its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// `<C, P>`: what the plan costs.
    TransportCost,
    /// `<C, P> + epsilon KL(P | a b^T / T)`, evaluated as its dual. Its gradient is the plan itself, with no linear
    /// system to solve, and an error `r` of the plan moves it by only `O(r^2)`.
    Regularised,
}

/// How the plan is differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Differentiation {
    /// Of the equations that hold at convergence: one symmetric linear system. Wrong as far as the residual is from 0,
    /// so the iterations end in Newton steps, which solve the same system and square the residual.
    Implicit,
    /// Of the iterations that were run, converged or not. Keeps the potentials of each: `O((n + m) iterations)` memory.
    Unrolled,
}

/// Entropic optimal transport by alternating exact updates of the dual potentials in the log domain (Sinkhorn; Peyré
/// and Cuturi, Computational optimal transport, 2019, section 4.4).
///
/// Sums and potentials are in `f64` whatever `S` is, because costs are divided by `epsilon`. An iteration is one pass over a
/// kernel, two multiplications an entry, whose exponentials are taken again only when the potentials have moved far; a column
/// whose sum underflows is summed in the log domain. The kernel of an `f32` problem is in `f32` as long as more is misplaced than
/// its rounding could misplace. `O(entries of the band)` time for an iteration.
///
/// The smaller `epsilon`, the closer to the cheapest assignment and the more iterations: about `cost / epsilon` of them
/// where assignments compete. Annealing (`epsilon_t = max(epsilon, start decay^t)`) shortens that.
///
/// [`Status::Infeasible`] is told for certain where a row or column with mass has no entry of finite cost, or where
/// nothing may be inserted (deleted) and there is too little (too much) predicted mass. Where a group of nodes
/// competes for too few places, the potentials run away instead and the status is [`Status::NotConverged`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sinkhorn {
    /// The weight of the entropy, in units of cost; down to 1e-3.
    pub epsilon: f64,
    /// What `epsilon` starts from. At or below `epsilon` nothing is annealed.
    pub anneal_from: f64,
    /// What the annealed epsilon is multiplied with from one iteration to the next, in `(0, 1)`.
    pub anneal_decay: f64,
    /// When to give up.
    pub max_iterations: usize,
    /// The share of all mass that may be misplaced at convergence.
    pub tolerance: f64,
    /// Which number is the value.
    pub value: Value,
    /// How the plan is differentiated.
    pub differentiation: Differentiation,
}

/// The largest cost but infinity, in units of epsilon: of the exponents of the plan, which are costs in this unit, an `f64` then still
/// holds three digits behind the point.
const LARGEST: f64 = 1e12;

impl Default for Sinkhorn {
    fn default() -> Self {
        Self {
            epsilon: 0.05,
            anneal_from: 1.0,
            anneal_decay: 0.5,
            max_iterations: 1000,
            tolerance: 1e-9,
            value: Value::TransportCost,
            differentiation: Differentiation::Implicit,
        }
    }
}

/// The dual potentials at the end of the iterations:
/// `P_ij = a_i b_j exp((rows_i + columns_j - C_ij) / epsilon)`, the last of each being that of the dummy.
///
/// In `f64` whatever the type of the problem: an `f32` would lose the plan when they are divided by `epsilon`.
#[derive(Clone, Debug, PartialEq)]
pub struct Potentials {
    /// Of the predicted nodes and the dummy row, `n + 1`.
    pub rows: Kept<f64>,
    /// Of the targets and the dummy column, `m + 1`.
    pub columns: Kept<f64>,
    /// The potentials after every iteration, those of rows and columns in turn, where the iterations are differentiated; else
    /// nothing. In lockstep, scales in place of potentials.
    iterations: Kept<f64>,
    /// Whether they were found in lockstep with those of other problems, and go back in lockstep.
    is_of_lockstep: bool,
}

impl Potentials {
    /// Zero for so many rows and columns, dummies included.
    fn zeros(rows: usize, columns: usize) -> Self {
        let [rows, columns] = [rows, columns].map(Kept::zeros);
        Self { rows, columns, iterations: Kept::default(), is_of_lockstep: false }
    }

    /// The number of iterations that were kept.
    fn count(&self) -> usize {
        self.iterations.len() / (self.rows.len() + self.columns.len())
    }

    /// Those of rows and columns after iteration `t`, counted from 0.
    fn after(&self, t: usize) -> (&[f64], &[f64]) {
        let both = self.rows.len() + self.columns.len();
        self.iterations[t * both..(t + 1) * both].split_at(self.rows.len())
    }
}

impl Sinkhorn {
    /// Refuses settings with which the iteration cannot run.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn check(&self) -> Result<(), SettingError> {
        SettingError::unless_positive("aligner.sinkhorn.epsilon", self.epsilon)?;
        SettingError::unless_weight("aligner.sinkhorn.anneal_from", self.anneal_from)?;
        SettingError::unless_weight("aligner.sinkhorn.tolerance", self.tolerance)?;
        if !(self.anneal_decay > 0.0 && self.anneal_decay < 1.0) {
            let (setting, found) = ("aligner.sinkhorn.anneal_decay", self.anneal_decay);
            return Err(SettingError { setting, expected: "between 0 and 1", found });
        }
        if self.max_iterations == 0 {
            let (setting, found) = ("aligner.sinkhorn.max_iterations", 0.0);
            return Err(SettingError { setting, expected: "at least 1", found });
        }
        Ok(())
    }

    /// Epsilon at iteration `t`.
    fn epsilon_at(&self, t: usize) -> f64 {
        if self.anneal_from <= self.epsilon {
            return self.epsilon;
        }
        let annealed = self.anneal_from * self.anneal_decay.powf(t as f64);
        annealed.max(self.epsilon)
    }

    /// Potentials that are zero, with room for those of the iterations where these are differentiated.
    fn room(&self, rows: usize, columns: usize) -> Potentials {
        let mut potentials = Potentials::zeros(rows, columns);
        if self.differentiation == Differentiation::Unrolled {
            potentials.iterations = Kept::with_capacity((rows + columns) * self.max_iterations.min(FORESEEN));
        }
        potentials
    }

    /// The gradient with respect to the mass of a predicted node: that of its row, and of the dummy column, whose mass is the sum of all
    /// predicted masses. Of a mass of nearly nothing it may be larger than an `f32` can be.
    fn of_mass<S: Scalar>(row: f64, dummy: f64) -> S {
        let most = S::max_value().widen();
        S::lit((row + dummy).clamp(-most, most))
    }

    /// Runs the iterations. Returns their number and the potentials that they end with.
    fn iterate(&self, bordered: &Bordered, sweeper: &mut Sweeper) -> (usize, Potentials) {
        let is_unrolled = self.differentiation == Differentiation::Unrolled;
        let mut potentials = self.room(bordered.rows(), bordered.columns());
        let mut leap_below = if is_unrolled { -1.0 } else { LEAP_BELOW };
        let (mut has_leapt, mut just_leapt) = (false, false);
        let mut leapt_from: Option<(f64, Kept<f64>)> = None;
        for t in 0..self.max_iterations {
            // What was misplaced is known of the potentials before the sweep, if they came from a sweep at this
            // epsilon; the sweep only improves on them.
            let misplaced = sweeper.sweep(self.epsilon_at(t), &mut potentials);
            if is_unrolled {
                let Potentials { rows, columns, iterations, .. } = &mut potentials;
                iterations.extend(rows.iter().chain(&*columns));
            }
            if t == 0 || self.epsilon_at(t - 1) > self.epsilon || std::mem::take(&mut just_leapt) {
                continue;
            }
            // A leap that did not halve what was misplaced is taken back.
            if let Some((before, saved)) = leapt_from.take().filter(|(before, _)| misplaced > 0.5 * before) {
                potentials.columns = saved;
                leap_below = LEAP_AGAIN * before;
                just_leapt = true;
                continue;
            }
            // Half of the tolerance is left to rounding.
            let done = misplaced <= 0.5 * self.tolerance;
            // One leap is made even from there: it costs little and leaves hardly anything misplaced.
            if misplaced <= leap_below && !(done && has_leapt) {
                let saved = potentials.columns.clone();
                just_leapt = self.leap(bordered, &mut potentials.columns);
                if just_leapt {
                    (leapt_from, has_leapt) = (Some((misplaced, saved)), true);
                    continue;
                }
                leap_below = LEAP_AGAIN * misplaced;
            }
            if done {
                return (t + 1, potentials);
            }
        }
        (self.max_iterations, potentials)
    }

    /// One Newton step for the potentials of the columns, those of the rows following from them. Refused, as false,
    /// where it is longer than the quadratic model holds: groups of nodes with hardly any exchange would be torn apart.
    fn leap(&self, bordered: &Bordered, columns: &mut [f64]) -> bool {
        let schur = Schur::new(bordered, self.epsilon, columns);
        let missing = bordered.column_mass.iter().zip(schur.column_sums()).map(|(mass, sum)| mass - sum).collect();
        let step = schur.solve(missing);
        let fits = step.iter().all(|y| y.abs() <= LONGEST_LEAP);
        if fits {
            columns.iter_mut().zip(step).for_each(|(g, y)| *g += self.epsilon * y);
        }
        fits
    }
}

impl<S: Scalar> Aligner<S> for Sinkhorn {
    fn align(&self, problem: &Problem<S>) -> Alignment<S> {
        let [first, ..] = self.align_together(std::array::from_fn(|k| (k == 0).then_some(problem)));
        first.expect("an answer to each problem")
    }

    fn vjp(&self, problem: &Problem<S>, alignment: &Alignment<S>, upstream: Upstream<'_, S>) -> ProblemGradient<S> {
        let asked = (problem, alignment, upstream);
        let [first, ..] = self.vjp_together(std::array::from_fn(|k| (k == 0).then_some(asked)));
        first.expect("an answer to each problem")
    }

    fn align_together(&self, problems: Together<&Problem<S>>) -> Together<Alignment<S>> {
        let mut answers = problems.map(|problem| self.refused(problem?));
        let small: Together<&Problem<S>> = std::array::from_fn(|k| {
            problems[k].filter(|problem| answers[k].is_none() && lockstep::fits(self, problem))
        });
        if small.iter().any(Option::is_some) {
            for (answer, found) in answers.iter_mut().zip(lockstep::align(self, small)) {
                *answer = answer.take().or(found);
            }
        }
        for (answer, problem) in answers.iter_mut().zip(problems) {
            *answer = answer.take().or_else(|| Some(self.align_alone(problem?)));
        }
        answers
    }

    fn vjp_together(
        &self,
        asked: Together<(&Problem<S>, &Alignment<S>, Upstream<'_, S>)>,
    ) -> Together<ProblemGradient<S>> {
        let in_lockstep = |alignment: &Alignment<S>| alignment.potentials.as_ref().is_some_and(|p| p.is_of_lockstep);
        let small = asked.map(|asked| asked.filter(|(_, alignment, _)| in_lockstep(alignment)));
        let mut answers = match small.iter().any(Option::is_some) {
            true => lockstep::vjp(self, small),
            false => [const { None }; TOGETHER],
        };
        for (answer, asked) in answers.iter_mut().zip(asked) {
            *answer = answer
                .take()
                .or_else(|| asked.map(|(problem, alignment, upstream)| self.vjp_alone(problem, alignment, upstream)));
        }
        answers
    }
}

impl Sinkhorn {
    /// The answer to a problem that has none.
    fn refused<S: Scalar>(&self, problem: &Problem<S>) -> Option<Alignment<S>> {
        if !problem.is_sound(S::lit(LARGEST * self.epsilon).min(Monotone::largest())) {
            return Some(Alignment::none(problem, Status::NotFinite));
        }
        // Where every cost is finite, every mass finds a place.
        let infeasible = !problem.is_finite() && Bordered::new(problem).is_infeasible(self.tolerance);
        infeasible.then(|| Alignment::none(problem, Status::Infeasible))
    }

    /// The answer to a problem that is not [`refused`](Self::refused), by itself.
    fn align_alone<S: Scalar>(&self, problem: &Problem<S>) -> Alignment<S> {
        let bordered = Bordered::new(problem);
        let mut alignment = Alignment::none(problem, Status::Converged);
        let mut sweeper = Sweeper::new(&bordered);
        let (iterations, potentials) = self.iterate(&bordered, &mut sweeper);
        let mut delivery = Delivery::new(&bordered, &mut alignment);
        sweeper.deliver(self.epsilon, &potentials, &mut delivery);
        let value = match self.value {
            Value::TransportCost => delivery.cost,
            Value::Regularised => bordered.dual_value(self.epsilon, &potentials, delivery.total),
        };
        let residual = delivery.residual();
        alignment.value = S::lit(value);
        alignment.residual = residual;
        alignment.iterations = iterations;
        alignment.potentials = Some(potentials);
        if alignment.residual > self.tolerance {
            alignment.status = Status::NotConverged;
        }
        alignment
    }

    /// The gradient with respect to a problem that went by itself.
    fn vjp_alone<S: Scalar>(
        &self,
        problem: &Problem<S>,
        alignment: &Alignment<S>,
        upstream: Upstream<'_, S>,
    ) -> ProblemGradient<S> {
        let mut gradient = ProblemGradient::zeros(problem);
        let Some(potentials) = alignment.potentials.as_ref().filter(|_| alignment.status.is_usable()) else {
            return gradient;
        };
        let bordered = Bordered::new(problem);
        let plan = bordered.plan(self.epsilon, potentials);
        let mut dplan = bordered.extend(upstream.plan);
        let dvalue = upstream.value.widen();
        if self.value == Value::TransportCost {
            bordered.add_cost(dvalue, &mut dplan);
        }
        let mut parts = match self.differentiation {
            Differentiation::Implicit => implicit::vjp(self, &bordered, potentials, &plan, &dplan, dvalue),
            Differentiation::Unrolled => unrolled::vjp(self, &bordered, potentials, &plan, dplan, dvalue),
        };
        if self.value == Value::TransportCost {
            parts.cost.iter_mut().zip(&plan).for_each(|(d, p)| *d += dvalue * p);
        }
        let ProblemGradient { cost, deletion, insertion, mass } = &mut gradient;
        bordered.split(&parts.cost, cost, deletion, insertion);
        let dummy = parts.columns[bordered.columns() - 1];
        mass.iter_mut().zip(&parts.rows).for_each(|(d, row)| *d = Self::of_mass(*row, dummy));
        gradient
    }
}

/// A gradient with respect to the bordered costs, the masses of all rows and those of all columns.
struct BorderedGradient {
    cost: Kept<f64>,
    rows: Kept<f64>,
    columns: Kept<f64>,
}

impl BorderedGradient {
    fn zeros(bordered: &Bordered) -> Self {
        let [cost, rows, columns] = [bordered.cost.len(), bordered.rows(), bordered.columns()].map(Kept::zeros);
        Self { cost, rows, columns }
    }
}

#[cfg(test)]
mod tests;
