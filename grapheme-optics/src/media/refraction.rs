//! Refraction within the subspace in which gradients live.

use super::ledger::Ledger;
use super::rows::{add_scaled, dot, slices_mut};
use super::snell::{Polarisation, reflectance, refracted_cosine};
use grapheme_core::Scalar;
use ndarray::Array2;

/// The most dimensions of a subspace.
pub const MOST_AXES: usize = 16;

/// A k-dimensional subspace of the feature space, and the direction in it that stands normal to the boundary.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame<S> {
    /// Orthonormal rows, k x d.
    pub axes: Array2<S>,
    /// A unit vector of k coordinates; zeros where no direction is known yet, and then nothing is bent.
    pub normal: Vec<f64>,
}

/// Turns each ray (row) by Snell's law.
///
/// Of a ray g only its part `p = U^T U g` in the frame is bent, the rest passes: in many dimensions rows stand at nearly 90
/// degrees to any fixed direction, and a literal law would reflect almost everything. `p` turns in the plane of `p` and the
/// normal, whose sign is taken so that the angle is at most 90 degrees; its length stays, but for what Fresnel's equations
/// reflect. Beyond the critical angle all of `p` is reflected and nothing of it passes. Parts that are zero or parallel to
/// the normal pass straight.
///
/// Bending depends on the ray's direction and not on its length, so a crossing is homogeneous of degree one.
/// Cost: 2 k d multiplications a row, 3 k d where rays are watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Refraction<S> {
    /// Where rays are bent.
    pub frame: Frame<S>,
    /// Index of the layer that the gradient comes from, the one above.
    pub n_in: f64,
    /// Index of the layer below.
    pub n_out: f64,
    /// Reflects at every angle, not only beyond the critical one.
    pub fresnel: Option<Polarisation>,
}

/// How far rays were turned.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bend {
    /// Rays that passed and were not zero in the frame.
    pub rays: u64,
    /// Rays that were reflected as a whole.
    pub reflected: u64,
    /// Sum of the angles between before and behind, in radians.
    pub sum: f64,
    /// The largest of them.
    pub max: f64,
}

/// What becomes of one ray within the frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// Nothing of it lies in the frame.
    Absent,
    /// It passes, turned by an angle in radians, with this share of its energy.
    Passes {
        /// The angle.
        turn: f64,
        /// The share.
        share: f64,
    },
    /// Nothing of it passes.
    Reflected,
}

impl<S: Scalar> Refraction<S> {
    /// Bends the coordinates `c` of a ray within the frame, in place.
    pub fn bend(&self, c: &mut [f64]) -> Fate {
        let square: f64 = c.iter().map(|x| x * x).sum();
        let length = square.sqrt();
        let along: f64 = c.iter().zip(&self.frame.normal).map(|(x, n)| x * n).sum();
        let known = self.frame.normal.iter().any(|&n| n != 0.0);
        if !(length > 0.0 && length.is_finite() && known) {
            return Fate::Absent;
        }
        let sign = if along < 0.0 { -1.0 } else { 1.0 };
        let cos_in = (along.abs() / length).min(1.0);
        // The part of the ray across the normal, and its length from its own coordinates: near the normal, 1 - cos^2 would
        // have no digits left.
        let across2: f64 = c.iter().zip(&self.frame.normal).map(|(x, n)| (x - along * n).powi(2)).sum();
        let sin_in = (across2.sqrt() / length).min(1.0);
        let Some(cos_out) = refracted_cosine(cos_in, self.n_in, self.n_out) else {
            c.fill(0.0);
            return Fate::Reflected;
        };
        let share = self
            .fresnel
            .map_or(1.0, |polarisation| 1.0 - reflectance(polarisation, cos_in, cos_out, self.n_in, self.n_out));
        let sin_out = (self.n_in / self.n_out * sin_in).min(1.0);
        let amplitude = share.sqrt();
        let stretch = if sin_in > 0.0 { sin_out / sin_in } else { 1.0 };
        for (x, n) in c.iter_mut().zip(&self.frame.normal) {
            let across = *x - along * n;
            *x = amplitude * (length * cos_out * sign * n + stretch * across);
        }
        Fate::Passes { turn: (sin_out * cos_in - cos_out * sin_in).abs().min(1.0).asin(), share }
    }

    /// Bends every row of `g` in place. With `watch` (k x d), adds for each axis the rows weighted by their coordinates:
    /// what the running subspace learns from.
    pub fn cross(&self, g: &mut Array2<S>, ledger: &mut Ledger, bend: &mut Bend, mut watch: Option<&mut Array2<S>>) {
        let axes = &self.frame.axes;
        let k = axes.nrows().min(MOST_AXES);
        let axis = |j: usize| {
            let d = axes.ncols();
            &axes.as_slice().expect("axes are stored in row-major order")[j * d..(j + 1) * d]
        };
        let mut before = [0.0; MOST_AXES];
        for row in slices_mut(g) {
            for (j, c) in before[..k].iter_mut().enumerate() {
                let coordinate = dot(row, axis(j));
                *c = coordinate.widen();
                if let Some(watch) = watch.as_deref_mut() {
                    let d = row.len();
                    let moments = watch.as_slice_mut().expect("moments are stored in row-major order");
                    add_scaled(&mut moments[j * d..(j + 1) * d], coordinate, row);
                }
            }
            let mut after = before;
            let square: f64 = before[..k].iter().map(|x| x * x).sum();
            match self.bend(&mut after[..k]) {
                Fate::Absent => continue,
                Fate::Reflected => {
                    bend.reflected += 1;
                    ledger.reflected += square;
                }
                Fate::Passes { turn, share } => {
                    bend.rays += 1;
                    bend.sum += turn;
                    bend.max = bend.max.max(turn);
                    ledger.reflected += (1.0 - share) * square;
                }
            }
            for j in 0..k {
                add_scaled(row, S::lit(after[j] - before[j]), axis(j));
            }
        }
    }
}
