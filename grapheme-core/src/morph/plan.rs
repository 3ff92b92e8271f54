//! The discrete half of a morph.

use super::Gates;
use crate::scalar::Scalar;

/// Which candidates stay. The rest merge into their targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// One choice a candidate.
    pub stays: Vec<bool>,
}

impl Plan {
    /// The most probable choice of each gate: a candidate merges where g > 1/2.
    pub fn most_probable<S: Scalar>(gates: &Gates<S>) -> Self {
        Self { stays: gates.log_stay.iter().zip(&gates.log_merge).map(|(stay, merge)| merge <= stay).collect() }
    }

    /// The number of candidates that merge away.
    pub fn merges(&self) -> usize {
        self.stays.iter().filter(|&&stays| !stays).count()
    }
}
