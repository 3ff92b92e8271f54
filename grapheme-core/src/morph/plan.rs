//! The discrete half of a morph.

use super::Gates;
use crate::kept::{Keep, Kept};
use crate::random::Stream;
use crate::scalar::Scalar;
use rand::RngExt;

/// Which candidates stay. The rest merge into their targets; candidates that are edges are there or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// One choice a candidate.
    pub stays: Kept<bool>,
}

impl Keep for Plan {}

impl Plan {
    /// The most probable choice of each gate: a candidate merges where g > 1/2.
    pub fn most_probable<S: Scalar>(gates: &Gates<S>) -> Self {
        Self { stays: gates.log_stay.iter().zip(&gates.log_merge).map(|(stay, merge)| merge <= stay).collect() }
    }

    /// A choice of each gate at random: candidate c merges with probability `g_c`, by the c-th number of `stream` onwards from
    /// its counter. The same stream gives the same choices.
    pub fn sample<S: Scalar>(gates: &Gates<S>, stream: &mut Stream) -> Self {
        Self { stays: gates.log_stay.iter().map(|stay| stream.random::<f64>() < stay.widen().exp()).collect() }
    }

    /// The number of candidates that merge away.
    pub fn merges(&self) -> usize {
        self.stays.iter().filter(|&&stays| !stays).count()
    }
}
