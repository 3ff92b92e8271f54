//! Beer-Lambert attenuation.

use super::Scratch;
use super::fourier::FourierWindow;
use super::ledger::Ledger;
use super::rows::{dot, slices_mut};
use grapheme_core::{Scalar, Topology};
use ndarray::Array2;

/// Scales amplitudes, everywhere or within a window of graph frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attenuation {
    /// What the amplitude is multiplied by, in [0, 1].
    pub amplitude: f64,
    /// The frequencies that are dimmed; `None` for all.
    pub window: Option<FourierWindow>,
}

/// `sqrt(t) exp(-a s / 2)`: the amplitude behind a layer of transparency `t`, absorption `a` and thickness `s`, so that its
/// energy is `t exp(-a s)` (Beer 1852, Lambert 1760).
pub fn amplitude(transparency: f64, absorption: f64, thickness: f64) -> f64 {
    transparency.sqrt() * (-0.5 * absorption * thickness).exp()
}

impl Attenuation {
    /// Dims `g` in place. With a window f, `g - (1 - c) f(L) g`, whose energy is less by
    /// `2 (1 - c) <g, f g> - (1 - c)^2 ||f g||^2`.
    pub fn cross<S: Scalar>(
        &self,
        topology: &Topology,
        g: &mut Array2<S>,
        ledger: &mut Ledger,
        scratch: &mut Scratch<S>,
    ) {
        let c = self.amplitude;
        let Some(window) = self.window else {
            let scale = S::lit(c);
            let mut energy = 0.0;
            for row in slices_mut(g) {
                energy += dot(row, row).widen();
                row.iter_mut().for_each(|x| *x *= scale);
            }
            ledger.absorbed += (1.0 - c * c) * energy;
            return;
        };
        let within = window.filter(topology, g, scratch);
        let (mut overlap, mut energy) = (0.0, 0.0);
        let lost = S::lit(1.0 - c);
        for (row, part) in slices_mut(g).zip(super::rows::slices(within)) {
            overlap += dot(row, part).widen();
            energy += dot(part, part).widen();
            super::rows::add_scaled(row, -lost, part);
        }
        ledger.absorbed += 2.0 * (1.0 - c) * overlap - (1.0 - c).powi(2) * energy;
    }
}
