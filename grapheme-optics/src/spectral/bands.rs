//! Radial bands of a frame's spectrum.

use super::FieldError;
use ndarray::{Array2, Array3, Axis};
use rustfft::num_complex::Complex64;
use rustfft::{Fft, FftPlanner};
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_PI_2;
use std::sync::Arc;

/// How many bands a frame is split into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partition {
    /// Slow, middle and fast.
    #[default]
    Three,
    /// About an octave a band.
    Seven,
    /// This many, at least one.
    Of(usize),
}

impl Partition {
    /// The number of bands.
    pub fn bands(self) -> usize {
        match self {
            Self::Three => 3,
            Self::Seven => 7,
            Self::Of(bands) => bands,
        }
    }
}

/// Splits frames of one shape into K smooth radial bands, `x = x_1 + ... + x_K`.
///
/// Band k is the frame filtered by a weight `m_k(r)` of the radius `r` in the frequency plane, in cycles a cell. On the axis
/// `u = log2(1 + r / r_0)`, with r_0 one cycle over the frame, the centres `u_k` stand at equal distances from zero to the
/// fastest wave, and `m_k = cos^2(pi/2 (u - u_k) / du)` within one distance `du` of its centre, else 0. Two neighbours add
/// up to `cos^2 + sin^2 = 1`, so the bands add up to the frame, without anything being divided.
///
/// Any shape works, square or not, power of two or not. A frame costs one forward and K inverse transforms, O(K P log P).
#[derive(Clone)]
pub struct Bands {
    shape: [usize; 2],
    /// K x h x w.
    weights: Array3<f64>,
    /// Forward and inverse along rows, then along columns.
    rows: [Arc<dyn Fft<f64>>; 2],
    columns: [Arc<dyn Fft<f64>>; 2],
}

impl std::fmt::Debug for Bands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bands").field("shape", &self.shape).field("bands", &self.len()).finish_non_exhaustive()
    }
}

impl Bands {
    /// A split of frames of the given shape.
    ///
    /// # Errors
    /// No band, or a frame without a cell.
    pub fn new(shape: [usize; 2], partition: Partition) -> Result<Self, FieldError> {
        let k = partition.bands();
        FieldError::require(k >= 1, "bands", k as f64, "at least 1")?;
        let [h, w] = shape;
        if h == 0 || w == 0 {
            return Err(FieldError::Small { found: shape, least: 1 });
        }
        let slowest = 1.0 / h.max(w) as f64;
        let axis = |r: f64| (1.0 + r / slowest).log2();
        let distance = axis(frequency(h / 2, h).hypot(frequency(w / 2, w))) / (k - 1).max(1) as f64;
        let weights = Array3::from_shape_fn((k, h, w), |(band, row, column)| {
            if k == 1 || distance == 0.0 {
                return if band == 0 { 1.0 } else { 0.0 };
            }
            let from_centre = axis(radius(shape, row, column)) / distance - band as f64;
            if from_centre.abs() < 1.0 { (FRAC_PI_2 * from_centre).cos().powi(2) } else { 0.0 }
        });
        let mut planner = FftPlanner::new();
        let mut both = |n| [planner.plan_fft_forward(n), planner.plan_fft_inverse(n)];
        let (rows, columns) = (both(w), both(h));
        Ok(Self { shape, weights, rows, columns })
    }

    /// The number of bands K.
    pub fn len(&self) -> usize {
        self.weights.len_of(Axis(0))
    }

    /// Whether there is no band; never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and columns of a frame.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The weights `m_k` over the frequency plane, K x h x w, zero frequency first.
    pub fn weights(&self) -> &Array3<f64> {
        &self.weights
    }

    /// The two-dimensional discrete Fourier transform, not normalised: `sum |X|^2 = P sum x^2` (Parseval).
    ///
    /// # Panics
    /// A frame of another shape.
    pub fn spectrum(&self, frame: &Array2<f64>) -> Array2<Complex64> {
        assert_eq!([frame.nrows(), frame.ncols()], self.shape, "the shape that the bands were made for");
        let mut spectrum = frame.mapv(|x| Complex64::new(x, 0.0));
        self.transform(&mut spectrum, 0);
        spectrum
    }

    /// The K bands of a frame, K x h x w.
    ///
    /// # Panics
    /// A frame of another shape.
    pub fn split(&self, frame: &Array2<f64>) -> Array3<f64> {
        let spectrum = self.spectrum(frame);
        let scale = 1.0 / frame.len() as f64;
        let mut bands = Array3::zeros(self.weights.dim());
        // A real field leaves the imaginary part of the inverse empty, so two bands share one transform.
        for first in (0..self.len()).step_by(2) {
            let second = first + 1;
            let mut pair = Array2::from_shape_fn(frame.dim(), |(row, column)| {
                let odd = if second < self.len() { self.weights[(second, row, column)] } else { 0.0 };
                spectrum[(row, column)] * Complex64::new(self.weights[(first, row, column)], odd)
            });
            self.transform(&mut pair, 1);
            for ((row, column), value) in pair.indexed_iter() {
                bands[(first, row, column)] = value.re * scale;
                if second < self.len() {
                    bands[(second, row, column)] = value.im * scale;
                }
            }
        }
        bands
    }

    /// The energy of each band as its spectrum has it, `sum |m_k X|^2 / P`, which is the sum of its squares in space.
    ///
    /// # Panics
    /// A frame of another shape.
    pub fn energies(&self, frame: &Array2<f64>) -> Vec<f64> {
        let power = self.spectrum(frame).mapv(|x| x.norm_sqr() / frame.len() as f64);
        self.weights.outer_iter().map(|weights| (&weights * &weights * &power).sum()).collect()
    }

    /// The energy at each radius: `sum |X|^2 / P` over the waves of 0, 1, 2, ... cycles over the longer side, rounded.
    ///
    /// # Panics
    /// A frame of another shape.
    pub fn radial_energies(&self, frame: &Array2<f64>) -> Vec<f64> {
        let longest = self.shape[0].max(self.shape[1]) as f64;
        let mut energies = Vec::new();
        for ((row, column), x) in self.spectrum(frame).indexed_iter() {
            let bin = (radius(self.shape, row, column) * longest).round() as usize;
            if energies.len() <= bin {
                energies.resize(bin + 1, 0.0);
            }
            energies[bin] += x.norm_sqr() / frame.len() as f64;
        }
        energies
    }

    fn transform(&self, field: &mut Array2<Complex64>, direction: usize) {
        let along_rows = &self.rows[direction];
        along_rows.process(field.as_slice_mut().expect("made in row-major order"));
        let mut turned = field.t().as_standard_layout().into_owned();
        self.columns[direction].process(turned.as_slice_mut().expect("made in row-major order"));
        field.assign(&turned.t());
    }
}

/// The frequency of row or column `i` of `n`, in cycles a cell, without sign.
fn frequency(i: usize, n: usize) -> f64 {
    i.min(n - i) as f64 / n as f64
}

fn radius([h, w]: [usize; 2], row: usize, column: usize) -> f64 {
    frequency(row, h).hypot(frequency(column, w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::Stream;
    use rand::RngExt;

    fn random(h: usize, w: usize) -> Array2<f64> {
        let mut stream = Stream::new(5);
        Array2::from_shape_simple_fn((h, w), || stream.random::<f64>() - 0.3)
    }

    const SHAPES: [[usize; 2]; 6] = [[32, 32], [1, 1], [1, 7], [9, 4], [15, 27], [2, 2]];

    #[test]
    fn bands_add_up_to_the_frame_and_keep_its_energy() {
        for [h, w] in SHAPES {
            for partition in [Partition::Of(1), Partition::Of(2), Partition::Three, Partition::Seven] {
                let (bands, frame) = (Bands::new([h, w], partition).unwrap(), random(h, w));
                let split = bands.split(&frame);
                let gap = (&split.sum_axis(Axis(0)) - &frame).iter().fold(0.0, |m: f64, x| m.max(x.abs()));
                assert!(gap < 1e-14, "{h} x {w}, {partition:?}: {gap:e}");
                // Parseval, band by band: what the spectrum says is what stands in space.
                for (band, energy) in split.outer_iter().zip(bands.energies(&frame)) {
                    let in_space = band.mapv(|x| x * x).sum();
                    assert!((in_space - energy).abs() < 1e-12 * (1.0 + energy), "{in_space} {energy}");
                }
                let total: f64 = bands.radial_energies(&frame).iter().sum();
                assert!((total / frame.mapv(|x| x * x).sum() - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_transform_is_the_sum_written_out() {
        let frame = random(3, 5);
        let spectrum = Bands::new([3, 5], Partition::Three).unwrap().spectrum(&frame);
        for ((u, v), found) in spectrum.indexed_iter() {
            let expected: Complex64 = frame
                .indexed_iter()
                .map(|((i, j), &x)| {
                    let turns = (u * i) as f64 / 3.0 + (v * j) as f64 / 5.0;
                    Complex64::from_polar(x, -std::f64::consts::TAU * turns)
                })
                .sum();
            assert!((found - expected).norm() < 1e-12);
        }
    }

    #[test]
    fn a_constant_is_in_the_first_band_and_a_chessboard_in_the_last() {
        let bands = Bands::new([8, 8], Partition::Seven).unwrap();
        let flat = bands.energies(&Array2::ones((8, 8)));
        assert!((flat[0] - 64.0).abs() < 1e-12 && flat[1..].iter().all(|&e| e < 1e-20), "{flat:?}");
        let chess = bands.energies(&Array2::from_shape_fn((8, 8), |(i, j)| if (i + j) % 2 == 0 { 1.0 } else { -1.0 }));
        assert!((chess[6] - 64.0).abs() < 1e-12 && chess[..6].iter().all(|&e| e < 1e-20), "{chess:?}");
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        assert!(matches!(Bands::new([0, 3], Partition::Three), Err(FieldError::Small { .. })));
        assert!(matches!(Bands::new([3, 3], Partition::Of(0)), Err(FieldError::Setting { name: "bands", .. })));
    }
}
