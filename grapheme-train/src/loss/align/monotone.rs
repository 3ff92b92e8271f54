//! Assignment that keeps the order of nodes: the soft edit distance.

use super::lattice::{Dual, Flow, Lattice};
use super::{Aligner, Alignment, Problem, ProblemGradient, SettingError, Status, Upstream};
use crate::loss::band::Banded;
use grapheme_core::Scalar;
use serde::{Deserialize, Serialize};

/// The soft edit distance, `-tau log sum_A exp(-cost(A) / tau)` over all lattice paths `A`, and its expected plan.
///
/// The masses of the predicted nodes are ignored: a node that may be absent says so by its deletion cost, and the
/// gradient with respect to mass is zero.
///
/// Every *path* counts once. Where insertions are impossible each alignment is one path, so at `tau = 1` with costs
/// `-log p` this is minus the log of the exact marginal. Where both are possible, an insertion next to a deletion can
/// be taken in either order, and both orders count, as in any soft edit distance. As `tau -> 0` only the cheapest path
/// is left: with unit costs the value is the Levenshtein distance.
///
/// `O(entries of the band)` time and memory. The recursion runs in `f64` whatever `S` is: the log weights of 100,000
/// nodes are about `1e5`, where an `f32` resolves only `0.008`. Where nothing can be inserted, the points of a row do not wait for each
/// other and are merged eight at once. It keeps the conditional probability of each step into a point, between 0
/// and 1, so the backward pass needs neither exponential nor logarithm, and nothing underflows that matters (Mensch and
/// Blondel, Differentiable dynamic programming, ICML 2018).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monotone {
    /// The temperature, in units of cost.
    pub tau: f64,
}

impl Default for Monotone {
    fn default() -> Self {
        Self { tau: 1.0 }
    }
}

impl Monotone {
    /// The largest cost but infinity: sums of such are far from where numbers end.
    pub(crate) fn largest<S: Scalar>() -> S {
        S::max_value().sqrt()
    }

    /// Refuses a temperature that is not positive and finite.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn check(&self) -> Result<(), SettingError> {
        SettingError::unless_positive("aligner.monotone.tau", self.tau)
    }
}

impl<S: Scalar> Aligner<S> for Monotone {
    fn align(&self, problem: &Problem<S>) -> Alignment<S> {
        if !problem.is_sound(Self::largest()) {
            return Alignment::none(problem, Status::NotFinite);
        }
        let scale = -1.0 / self.tau;
        let lattice = Lattice {
            band: problem.cost().band(),
            matched: |i: usize, row: &mut [f64]| {
                for (to, cost) in row.iter_mut().zip(problem.cost().row(i)) {
                    *to = cost.widen() * scale;
                }
            },
            deleted: |i: usize| problem.deletion()[i].widen() * scale,
            inserted: |j: usize| problem.insertion()[j].widen() * scale,
            may_insert: may_insert(problem),
        };
        let forward = lattice.forward();
        if forward.total == f64::NEG_INFINITY {
            return Alignment::none(problem, Status::Infeasible);
        }
        let mut alignment = Alignment::none(problem, Status::Converged);
        alignment.value = S::lit(forward.total / scale);
        lattice.backward(&forward, |flow| match flow {
            Flow::Row { row, matched, deleted } => {
                for (to, &p) in alignment.plan.row_mut(row).iter_mut().zip(matched) {
                    *to = S::lit(p);
                }
                alignment.deleted[row] = S::lit(deleted);
            }
            Flow::Insert(j, p) => alignment.inserted[j] += S::lit(p),
        });
        alignment.residual = 0.0;
        alignment.iterations = 1;
        alignment
    }

    /// The gradient of the value is the plan. The gradient of `<U, plan>` is the second derivative of the value times
    /// `U`, and as that is symmetric it is the derivative of the plan as the costs move along `U`: both passes run once
    /// more, on dual numbers.
    fn vjp(&self, problem: &Problem<S>, alignment: &Alignment<S>, upstream: Upstream<'_, S>) -> ProblemGradient<S> {
        let mut gradient = ProblemGradient::zeros(problem);
        if !alignment.status.is_usable() {
            return gradient;
        }
        let scaled = |p: &S| *p * upstream.value;
        gradient.cost.values_mut().iter_mut().zip(alignment.plan.values()).for_each(|(d, p)| *d = scaled(p));
        gradient.deletion.iter_mut().zip(&alignment.deleted).for_each(|(d, p)| *d = scaled(p));
        gradient.insertion.iter_mut().zip(&alignment.inserted).for_each(|(d, p)| *d = scaled(p));
        if let Some(plan) = upstream.plan {
            self.add_plan_vjp(problem, plan, &mut gradient);
        }
        gradient
    }
}

impl Monotone {
    fn add_plan_vjp<S: Scalar>(&self, problem: &Problem<S>, plan: &Banded<S>, gradient: &mut ProblemGradient<S>) {
        assert_eq!(plan.band(), problem.cost().band(), "the upstream plan lies on the band of the problem");
        let scale = -1.0 / self.tau;
        let constant = |cost: S| Dual { value: cost.widen() * scale, tangent: 0.0 };
        let lattice = Lattice {
            band: problem.cost().band(),
            matched: |i: usize, row: &mut [Dual]| {
                for (to, (cost, along)) in row.iter_mut().zip(problem.cost().row(i).iter().zip(plan.row(i))) {
                    *to = Dual { value: cost.widen() * scale, tangent: along.widen() * scale };
                }
            },
            deleted: |i: usize| constant(problem.deletion()[i]),
            inserted: |j: usize| constant(problem.insertion()[j]),
            may_insert: may_insert(problem),
        };
        let forward = lattice.forward();
        lattice.backward(&forward, |flow| match flow {
            Flow::Row { row, matched, deleted } => {
                for (to, p) in gradient.cost.row_mut(row).iter_mut().zip(matched) {
                    *to += S::lit(p.tangent);
                }
                gradient.deletion[row] += S::lit(deleted.tangent);
            }
            Flow::Insert(j, p) => gradient.insertion[j] += S::lit(p.tangent),
        });
    }
}

fn may_insert<S: Scalar>(problem: &Problem<S>) -> bool {
    problem.insertion().iter().any(|&cost| cost != S::infinity())
}
