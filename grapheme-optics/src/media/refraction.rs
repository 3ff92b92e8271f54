//! Refraction within the subspace in which gradients live.

use super::ledger::Ledger;
use super::rows::{add_scaled, dot, slices, slices_mut};
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

/// What became of one ray within the frame, as a linear map of coordinates: a turn in the plane of the ray and the normal.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn {
    /// Nothing was changed.
    Straight,
    /// Nothing of it passed.
    Nothing,
    /// It was turned and dimmed.
    By {
        /// The unit vector across the normal in the plane, away from which a positive angle turns; k.
        across: Vec<f64>,
        /// Cosine of the angle, by which the ray was turned away from the normal as it stood to the ray.
        cos: f64,
        /// Sine of it.
        sin: f64,
        /// What the amplitude was multiplied by.
        amplitude: f64,
    },
}

impl<S: Scalar> Refraction<S> {
    /// What becomes of each row of `g`, as linear maps.
    pub fn turns(&self, g: &Array2<S>) -> Vec<Turn> {
        let turn = |row: &[S]| {
            let before = self.coordinates(row);
            let mut after = before.clone();
            let share = match self.bend(&mut after) {
                Fate::Absent => return Turn::Straight,
                Fate::Reflected => return Turn::Nothing,
                Fate::Passes { share, .. } => share,
            };
            let normal = &self.frame.normal;
            let split = |c: &[f64]| -> (f64, Vec<f64>) {
                let along: f64 = c.iter().zip(normal).map(|(x, n)| x * n).sum();
                (along, c.iter().zip(normal).map(|(x, n)| x - along * n).collect())
            };
            let (from, mut across) = split(&before);
            let length = across.iter().map(|x| x * x).sum::<f64>().sqrt();
            across.iter_mut().for_each(|x| *x /= if length > 0.0 { length } else { 1.0 });
            let (to, rest) = split(&after);
            let beside: f64 = rest.iter().zip(&across).map(|(x, e)| x * e).sum();
            // The turn that takes (from, length) to (to, beside), as complex numbers their quotient.
            let square = from * from + length * length;
            let amplitude = share.sqrt();
            if amplitude == 0.0 {
                return Turn::Nothing;
            }
            let scale = 1.0 / (square * amplitude);
            Turn::By {
                across,
                cos: (to * from + beside * length) * scale,
                sin: (beside * from - to * length) * scale,
                amplitude,
            }
        };
        slices(g).map(turn).collect()
    }

    /// Turns row i of `g` as `turns[i]` says, whatever its own direction is.
    pub fn cross_frozen(&self, turns: &[Turn], g: &mut Array2<S>) {
        for (row, turn) in slices_mut(g).zip(turns) {
            if matches!(turn, Turn::Straight) || row.iter().all(|&x| x == S::zero()) {
                continue;
            }
            let before = self.coordinates(row);
            let after = match turn {
                Turn::Straight => continue,
                Turn::Nothing => vec![0.0; before.len()],
                Turn::By { across, cos, sin, amplitude } => {
                    let on = |axis: &[f64]| -> f64 { before.iter().zip(axis).map(|(x, a)| x * a).sum() };
                    let (along, beside) = (on(&self.frame.normal), on(across));
                    // What is left when the plane is taken out stays as it is.
                    let (n, e) = (along * (cos - 1.0) - beside * sin, along * sin + beside * (cos - 1.0));
                    let axes = self.frame.normal.iter().zip(across);
                    let turned = before.iter().zip(axes).map(|(x, (u, v))| amplitude * (x + n * u + e * v));
                    turned.collect()
                }
            };
            for (j, (to, from)) in after.iter().zip(&before).enumerate() {
                add_scaled(row, S::lit(to - from), self.axis(j));
            }
        }
    }

    fn axis(&self, j: usize) -> &[S] {
        let d = self.frame.axes.ncols();
        &self.frame.axes.as_slice().expect("axes are stored in row-major order")[j * d..(j + 1) * d]
    }

    fn coordinates(&self, row: &[S]) -> Vec<f64> {
        (0..self.frame.axes.nrows().min(MOST_AXES)).map(|j| dot(row, self.axis(j)).widen()).collect()
    }

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
        let k = self.frame.axes.nrows().min(MOST_AXES);
        let mut before = [0.0; MOST_AXES];
        for row in slices_mut(g) {
            for (j, c) in before[..k].iter_mut().enumerate() {
                let coordinate = dot(row, self.axis(j));
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
                add_scaled(row, S::lit(after[j] - before[j]), self.axis(j));
            }
        }
    }
}
