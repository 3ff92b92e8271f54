//! Layer normalisation.

use super::{ShapeError, row_slices, row_slices_mut};
use crate::param_tree;
use crate::scalar::Scalar;
use crate::vector;
use ndarray::{Array1, Array2};

/// `y = gain * (x - mean) / sqrt(variance + 1e-5) + shift`, mean and variance over the features of each row
/// (Ba, Kiros and Hinton, 2016).
///
/// Backward, with `u = (x - mean) / deviation` and `v = dy * gain`: `dx = (v - mean(v) - u mean(v u)) / deviation`,
/// `dgain += sum of dy u`, `dshift += sum of dy`. The cache keeps `u` and `1 / deviation`.
#[derive(Clone, Debug)]
pub struct LayerNorm<S> {
    /// d.
    pub gain: Array1<S>,
    /// d.
    pub shift: Array1<S>,
}

param_tree!(LayerNorm { gain, shift });

/// What [`LayerNorm::backward`] needs.
#[derive(Clone, Debug)]
pub struct NormCache<S> {
    unit: Array2<S>,
    inverse_deviation: Vec<S>,
}

impl<S: Scalar> NormCache<S> {
    /// The output of the forward pass again, so that layers above need not keep it.
    pub fn output(&self, norm: &LayerNorm<S>) -> Array2<S> {
        let mut y = Vec::with_capacity(self.unit.len());
        let (gain, shift) = norm.slices();
        crate::wide! {
            for row in row_slices(&self.unit) {
                y.extend(row.iter().zip(gain).zip(shift).map(|((&u, &g), &s)| u * g + s));
            }
        }
        Array2::from_shape_vec(self.unit.dim(), y).expect("a number for each")
    }
}

impl<S: Scalar> LayerNorm<S> {
    /// The identity up to normalisation: gain 1, shift 0.
    pub fn new(width: usize) -> Self {
        Self { gain: Array1::ones(width), shift: Array1::zeros(width) }
    }

    /// Gain and shift.
    fn slices(&self) -> (&[S], &[S]) {
        match (self.gain.as_slice(), self.shift.as_slice()) {
            (Some(gain), Some(shift)) => (gain, shift),
            _ => unreachable!("a parameter is stored in row-major order"),
        }
    }

    /// Normalised rows, and the cache.
    ///
    /// # Errors
    /// [`ShapeError`] if `x` has other than d columns.
    pub fn forward(&self, x: &Array2<S>) -> Result<(Array2<S>, NormCache<S>), ShapeError> {
        let d = self.gain.len();
        ShapeError::check("layer norm", x, [x.nrows(), d])?;
        let count = S::lit(d as f64);
        let mut unit = x.to_owned();
        let mut inverse_deviation = Vec::with_capacity(unit.nrows());
        crate::wide! {
            for row in row_slices_mut(&mut unit) {
                let mean = vector::sum(row) / count;
                row.iter_mut().for_each(|x| *x -= mean);
                let inverse = (vector::dot(row, row) / count + S::lit(1e-5)).sqrt().recip();
                row.iter_mut().for_each(|x| *x *= inverse);
                inverse_deviation.push(inverse);
            }
        }
        let cache = NormCache { unit, inverse_deviation };
        Ok((cache.output(self), cache))
    }

    /// `dx`; adds the parameters' gradient into `grad`.
    pub fn backward(&self, cache: &NormCache<S>, mut dy: Array2<S>, grad: &mut Self) -> Array2<S> {
        let count = S::lit(self.gain.len() as f64);
        let (gain, _) = self.slices();
        let (Some(dgain), Some(dshift)) = (grad.gain.as_slice_mut(), grad.shift.as_slice_mut()) else {
            unreachable!("a parameter is stored in row-major order");
        };
        crate::wide! {
            let rows = row_slices_mut(&mut dy).zip(row_slices(&cache.unit)).zip(&cache.inverse_deviation);
            for ((row, unit), &inverse) in rows {
                for ((dy, &u), (&gain, (dgain, dshift))) in
                    row.iter_mut().zip(unit).zip(gain.iter().zip(dgain.iter_mut().zip(dshift.iter_mut())))
                {
                    *dgain += *dy * u;
                    *dshift += *dy;
                    *dy *= gain;
                }
                let (mean, slope) = (vector::sum(row) / count, vector::dot(row, unit) / count);
                row.iter_mut().zip(unit).for_each(|(dx, &u)| *dx = (*dx - mean - u * slope) * inverse);
            }
        }
        dy
    }
}
