//! A band that holds the energy of a gradient.

use super::ledger::Ledger;
use super::rows::{energy, slices_mut};
use grapheme_core::Scalar;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Scales a gradient so that its mean energy a row, E, stays within a band: a smooth replacement for clipping by norm.
///
/// With `x = ln E`, m the middle and h half the width of the band in logarithms, the energy behind it is
/// `exp(m + h tanh((x - m) / h))`: in the middle nothing changes, beyond the ends it saturates. The direction of the gradient
/// as a whole stays. A gradient of zero stays zero. Rows of all graphs of a lane are scaled alike, so the result depends
/// on how a batch is cut into lanes, and on nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyBand {
    /// The least mean energy a row.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl EnergyBand {
    /// The mean energy a row behind the band, for the one before it.
    pub fn held(&self, energy: f64) -> f64 {
        let (low, high) = (self.low.ln(), self.high.ln());
        let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
        (middle + half * ((energy.ln() - middle) / half).tanh()).exp()
    }

    /// How far an energy is outside, as the squared logarithm of the factor that it is beyond the nearer end; 0 inside.
    pub fn penalty(&self, energy: f64) -> f64 {
        (energy / self.high).ln().max((self.low / energy).ln()).max(0.0).powi(2)
    }

    /// The derivative of [`penalty`](Self::penalty) with respect to the logarithm of the energy.
    pub fn penalty_slope(&self, energy: f64) -> f64 {
        2.0 * ((energy / self.high).ln().max(0.0) - (self.low / energy).ln().max(0.0))
    }

    /// Scales `g` in place; what that added to the energy is booked as gained.
    pub fn cross<S: Scalar>(&self, g: &mut Array2<S>, ledger: &mut Ledger) {
        let before = energy(g);
        let mean = before / g.nrows().max(1) as f64;
        if !(mean > 0.0 && mean.is_finite()) {
            return;
        }
        // A factor that the type cannot hold would make an infinity of a faint gradient.
        let factor = S::lit((self.held(mean) / mean).sqrt());
        if !factor.is_finite() {
            return;
        }
        slices_mut(g).for_each(|row| row.iter_mut().for_each(|x| *x *= factor));
        ledger.gained += (factor.widen() * factor.widen() - 1.0) * before;
    }
}
