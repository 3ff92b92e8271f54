//! From gradients to steps: optimisers, clipping, learning-rate schedule and weight averaging.
//!
//! [`Optimiser`] is the family; [`Sgd`] is the plain method of which everything can be proved, [`AdamW`] the one that
//! trains. A step is `clip` the gradient, ask the [`Schedule`] for the rate, `step`, then `update` the [`Average`].

mod adamw;
mod average;
mod clip;
mod flat;
pub(crate) mod pieces;
mod schedule;
mod sgd;

pub use adamw::{AdamW, AdamWSettings};
pub use average::Average;
pub use clip::{GradientNorm, clip};
pub use flat::{Block, Flat};
pub use schedule::{Schedule, ScheduleSettings};
pub use sgd::Sgd;

use crate::checkpoint::{Checkpoint, CheckpointError};
use grapheme_core::{ParamTree, Scalar};
use thiserror::Error;

/// A method that moves a model against its gradient.
pub trait Optimiser<S: Scalar, T: ParamTree<S>> {
    /// One step at learning rate `rate`. The gradient has the model's shape.
    fn step(&mut self, model: &mut T, gradient: &T, rate: f64);

    /// Puts what the method remembers between steps into a checkpoint; a method without memory has nothing to put.
    ///
    /// # Errors
    /// A state that a checkpoint refuses.
    fn save(&self, _checkpoint: &mut Checkpoint) -> Result<(), CheckpointError> {
        Ok(())
    }

    /// Takes back what [`Optimiser::save`] put.
    ///
    /// # Errors
    /// A state that is missing or of another shape; the optimiser is then as it was.
    fn load(&mut self, _checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        Ok(())
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{name} = {value}: must be {expected}")]
pub struct SettingError {
    /// The setting's name.
    pub name: &'static str,
    /// The value found.
    pub value: f64,
    /// What it may be.
    pub expected: &'static str,
}

/// Refuses `value` unless `holds`. NaN fails every comparison, so it is refused wherever `holds` is one.
fn require(holds: bool, name: &'static str, value: f64, expected: &'static str) -> Result<(), SettingError> {
    if holds { Ok(()) } else { Err(SettingError { name, value, expected }) }
}
