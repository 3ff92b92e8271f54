//! Who is matched with whom: a problem, a method and an answer.
//!
//! `n` predicted nodes are assigned to `m` target nodes. [`Monotone`] keeps their order, [`Sinkhorn`] does not.

pub(crate) mod lattice;
mod monotone;
mod sinkhorn;

pub use monotone::Monotone;
pub use sinkhorn::{Differentiation, Potentials, Sinkhorn, Value};

use super::band::Banded;
use grapheme_core::Kept;
use grapheme_core::{Scalar, wide};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an assignment costs. Every target has mass 1; infinity makes a match, a deletion or an insertion impossible.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem<S: Scalar> {
    cost: Banded<S>,
    deletion: Kept<S>,
    insertion: Kept<S>,
    mass: Kept<S>,
}

impl<S: Scalar> Problem<S> {
    /// Puts the parts together: `cost` (`n x m`) of matching `i` with `j`, `deletion` (`n`) of leaving a predicted node
    /// unmatched, `insertion` (`m`) of leaving a target unmatched, and `mass` (`n`, in `[0, 1]`) of the predicted
    /// nodes.
    ///
    /// # Errors
    /// [`LengthMismatch`] if the lengths differ from the shape of `cost`.
    pub fn new(cost: Banded<S>, deletion: Kept<S>, insertion: Kept<S>, mass: Kept<S>) -> Result<Self, LengthMismatch> {
        let (n, m) = (cost.band().rows(), cost.band().columns());
        for (what, expected, found) in
            [("deletion", n, deletion.len()), ("insertion", m, insertion.len()), ("mass", n, mass.len())]
        {
            if expected != found {
                return Err(LengthMismatch { what, expected, found });
            }
        }
        Ok(Self { cost, deletion, insertion, mass })
    }

    /// The cost of matching predicted node `i` with target `j`.
    pub fn cost(&self) -> &Banded<S> {
        &self.cost
    }

    /// The cost of leaving each predicted node unmatched.
    pub fn deletion(&self) -> &[S] {
        &self.deletion
    }

    /// The cost of leaving each target unmatched.
    pub fn insertion(&self) -> &[S] {
        &self.insertion
    }

    /// The mass of each predicted node.
    pub fn mass(&self) -> &[S] {
        &self.mass
    }

    /// Whether no cost is infinite.
    fn is_finite(&self) -> bool {
        let parts = [self.cost.values(), &self.deletion, &self.insertion];
        wide!(parts.iter().fold(true, |all, costs| costs.iter().fold(all, |all, cost| all & (*cost < S::infinity()))))
    }

    /// Whether [`is_cost`] holds of every cost, and every mass is a finite number that is not negative.
    fn is_sound(&self, most: S) -> bool {
        // Every one is looked at, for loops that do not stop early are compiled to wide ones.
        let parts = [self.cost.values(), &self.deletion, &self.insertion];
        let costs =
            wide!(parts.iter().fold(true, |all, costs| costs.iter().fold(all, |all, &cost| all & is_cost(cost, most))));
        costs && self.mass.iter().all(|&a| a >= S::zero() && a.is_finite())
    }
}

/// Whether a number can be a cost: plus infinity, or of a size of at most so much.
#[inline(always)]
pub(crate) fn is_cost<S: Scalar>(cost: S, most: S) -> bool {
    (cost.abs() <= most) | (cost == S::infinity())
}

/// A part whose length differs from the shape of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what} has {found} entries, the cost matrix asks for {expected}")]
pub struct LengthMismatch {
    /// The part.
    pub what: &'static str,
    /// The length that the cost matrix asks for.
    pub expected: usize,
    /// The length found.
    pub found: usize,
}

/// How an alignment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// The answer holds to the tolerance asked for.
    Converged,
    /// The iterations ran out; the residual says how far off the answer is. Raise epsilon or the iterations.
    NotConverged,
    /// Every assignment costs infinity. The value is infinite, the plan and all gradients are zero.
    Infeasible,
    /// A cost or mass is not a number, a cost is minus infinity or so large without being infinite that the method cannot compute with
    /// it, or a mass is negative or infinite. The value is infinite, the plan and all gradients are zero.
    NotFinite,
}

impl Status {
    /// Whether value, plan and gradients mean something.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Converged | Self::NotConverged)
    }
}

/// The answer to a [`Problem`]. Never holds a value that is not a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment<S: Scalar> {
    /// The cost of the assignment, as the method defines it.
    pub value: S,
    /// The expected matches, `n x m` on the band of the problem.
    pub plan: Banded<S>,
    /// The expected deletions, `n`.
    pub deleted: Kept<S>,
    /// The expected insertions, `m`.
    pub inserted: Kept<S>,
    /// The mass that the plan misplaces, as a share of all mass; 0 for an exact method.
    pub residual: f64,
    /// How many iterations the method took.
    pub iterations: usize,
    /// How it ended.
    pub status: Status,
    /// What [`Sinkhorn`] needs to differentiate; [`Monotone`] has none.
    pub potentials: Option<Potentials>,
}

impl<S: Scalar> Alignment<S> {
    /// The answer where there is none: an infinite value and nothing matched.
    fn none(problem: &Problem<S>, status: Status) -> Self {
        let zeros = ProblemGradient::zeros(problem);
        Self {
            value: S::infinity(),
            plan: zeros.cost,
            deleted: zeros.deletion,
            inserted: zeros.insertion,
            residual: 1.0,
            iterations: 0,
            status,
            potentials: None,
        }
    }
}

/// The derivative of a loss with respect to an [`Alignment`].
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a, S: Scalar> {
    /// With respect to the value.
    pub value: S,
    /// With respect to the plan, on the band of the problem; `None` is zero.
    pub plan: Option<&'a Banded<S>>,
}

/// The derivative of a loss with respect to each part of a [`Problem`].
#[derive(Clone, Debug, PartialEq)]
pub struct ProblemGradient<S: Scalar> {
    /// With respect to the matching costs.
    pub cost: Banded<S>,
    /// With respect to the deletion costs.
    pub deletion: Kept<S>,
    /// With respect to the insertion costs.
    pub insertion: Kept<S>,
    /// With respect to the masses of the predicted nodes.
    pub mass: Kept<S>,
}

impl<S: Scalar> ProblemGradient<S> {
    fn zeros(problem: &Problem<S>) -> Self {
        Self {
            cost: Banded::filled(problem.cost.band(), S::zero()),
            deletion: Kept::zeros(problem.deletion.len()),
            insertion: Kept::zeros(problem.insertion.len()),
            mass: Kept::zeros(problem.mass.len()),
        }
    }
}

/// How many problems are put to a method at once.
pub const TOGETHER: usize = 8;

/// What concerns each of several problems, some of which may be missing.
pub type Together<T> = [Option<T>; TOGETHER];

/// A method of assignment and its derivative.
pub trait Aligner<S: Scalar> {
    /// Assigns predicted nodes to targets. Not converging is data, not an error: see [`Alignment::status`].
    fn align(&self, problem: &Problem<S>) -> Alignment<S>;

    /// The gradient of a loss with respect to `problem`, given its gradient with respect to `alignment`, which must be
    /// what [`align`](Self::align) answered to `problem`.
    ///
    /// # Panics
    /// If the upstream plan is not on the band of the problem.
    fn vjp(&self, problem: &Problem<S>, alignment: &Alignment<S>, upstream: Upstream<'_, S>) -> ProblemGradient<S>;

    /// What [`align`](Self::align) answers to each of several problems, to the bit, in whatever time a method can save by having them at
    /// once.
    fn align_together(&self, problems: Together<&Problem<S>>) -> Together<Alignment<S>> {
        problems.map(|problem| problem.map(|problem| self.align(problem)))
    }

    /// What [`vjp`](Self::vjp) answers to each of several questions.
    ///
    /// # Panics
    /// As `vjp` does.
    fn vjp_together(
        &self,
        asked: Together<(&Problem<S>, &Alignment<S>, Upstream<'_, S>)>,
    ) -> Together<ProblemGradient<S>> {
        asked.map(|asked| asked.map(|(problem, alignment, upstream)| self.vjp(problem, alignment, upstream)))
    }
}

/// One of the methods, as a setting.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    /// Order is kept.
    Monotone(Monotone),
    /// Order is free.
    Sinkhorn(Sinkhorn),
}

impl Assignment {
    /// Refuses settings with which the method cannot run.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn check(&self) -> Result<(), SettingError> {
        match self {
            Self::Monotone(method) => method.check(),
            Self::Sinkhorn(method) => method.check(),
        }
    }
}

impl<S: Scalar> Aligner<S> for Assignment {
    fn align(&self, problem: &Problem<S>) -> Alignment<S> {
        match self {
            Self::Monotone(method) => method.align(problem),
            Self::Sinkhorn(method) => method.align(problem),
        }
    }

    fn vjp(&self, problem: &Problem<S>, alignment: &Alignment<S>, upstream: Upstream<'_, S>) -> ProblemGradient<S> {
        match self {
            Self::Monotone(method) => method.vjp(problem, alignment, upstream),
            Self::Sinkhorn(method) => method.vjp(problem, alignment, upstream),
        }
    }

    fn align_together(&self, problems: Together<&Problem<S>>) -> Together<Alignment<S>> {
        match self {
            Self::Monotone(method) => method.align_together(problems),
            Self::Sinkhorn(method) => method.align_together(problems),
        }
    }

    fn vjp_together(
        &self,
        asked: Together<(&Problem<S>, &Alignment<S>, Upstream<'_, S>)>,
    ) -> Together<ProblemGradient<S>> {
        match self {
            Self::Monotone(method) => method.vjp_together(asked),
            Self::Sinkhorn(method) => method.vjp_together(asked),
        }
    }
}

/// A setting out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{setting} is {found}, it must be {expected}")]
pub struct SettingError {
    /// The dotted name of the setting.
    pub setting: &'static str,
    /// What it must be.
    pub expected: &'static str,
    /// What it is.
    pub found: f64,
}

impl SettingError {
    /// Refuses what is not a positive finite number.
    pub(super) fn unless_positive(setting: &'static str, found: f64) -> Result<(), Self> {
        let fine = found > 0.0 && found.is_finite();
        if fine { Ok(()) } else { Err(Self { setting, expected: "positive and finite", found }) }
    }

    /// Refuses what is negative or not a finite number.
    pub(super) fn unless_weight(setting: &'static str, found: f64) -> Result<(), Self> {
        let fine = found >= 0.0 && found.is_finite();
        if fine { Ok(()) } else { Err(Self { setting, expected: "zero or positive, and finite", found }) }
    }
}

#[cfg(test)]
mod tests;
