//! Where the energy of a gradient goes at a boundary.

use std::ops::AddAssign;

/// The energy `||g||^2` of a crossing, entry by entry. Each entry is computed on its own, from what its cause does and
/// not as a difference, so [`imbalance`](Self::imbalance) is a check of the media:
/// `incoming + gained + arrived = outgoing + quadrature + absorbed + reflected + diffused + guided`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ledger {
    /// Energy before the medium, imaginary parts included.
    pub incoming: f64,
    /// Energy of the real part behind it.
    pub outgoing: f64,
    /// Energy of the imaginary part behind it; zero without phase.
    pub quadrature: f64,
    /// Kept back by transparency, absorption and gates.
    pub absorbed: f64,
    /// Thrown back where the refractive index changes.
    pub reflected: f64,
    /// Lost to diffusion over the graph.
    pub diffused: f64,
    /// Led away by light guides that begin here.
    pub guided: f64,
    /// Added by light guides that end here, interference with what is there included: may be negative.
    pub arrived: f64,
    /// Added by the energy band; negative where it took energy away.
    pub gained: f64,
}

impl Ledger {
    /// The gap between both sides, relative to the larger; 0 for an empty ledger.
    pub fn imbalance(&self) -> f64 {
        let from = self.incoming + self.gained.max(0.0) + self.arrived.max(0.0);
        let to = self.outgoing
            + self.quadrature
            + self.absorbed
            + self.reflected
            + self.diffused
            + self.guided
            + (-self.gained).max(0.0)
            + (-self.arrived).max(0.0);
        if from == to { 0.0 } else { (from - to).abs() / from.max(to) }
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.incoming += other.incoming;
        self.outgoing += other.outgoing;
        self.quadrature += other.quadrature;
        self.absorbed += other.absorbed;
        self.reflected += other.reflected;
        self.diffused += other.diffused;
        self.guided += other.guided;
        self.arrived += other.arrived;
        self.gained += other.gained;
    }
}
