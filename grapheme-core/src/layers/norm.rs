//! Layer normalisation.

use super::ShapeError;
use crate::param_tree;
use crate::scalar::Scalar;
use ndarray::{Array1, Array2, Zip};

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
        let mut y = self.unit.clone();
        for mut row in y.rows_mut() {
            Zip::from(&mut row).and(&norm.gain).and(&norm.shift).for_each(|y, &g, &s| *y = *y * g + s);
        }
        y
    }
}

impl<S: Scalar> LayerNorm<S> {
    /// The identity up to normalisation: gain 1, shift 0.
    pub fn new(width: usize) -> Self {
        Self { gain: Array1::ones(width), shift: Array1::zeros(width) }
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
        let inverse_deviation = unit
            .rows_mut()
            .into_iter()
            .map(|mut row| {
                let mean = row.sum() / count;
                row -= mean;
                let variance = row.fold(S::zero(), |sum, &v| sum + v * v) / count;
                let inverse = (variance + S::lit(1e-5)).sqrt().recip();
                row *= inverse;
                inverse
            })
            .collect();
        let cache = NormCache { unit, inverse_deviation };
        Ok((cache.output(self), cache))
    }

    /// `dx`; adds the parameters' gradient into `grad`.
    pub fn backward(&self, cache: &NormCache<S>, mut dy: Array2<S>, grad: &mut Self) -> Array2<S> {
        let count = S::lit(self.gain.len() as f64);
        for ((mut row, unit), &inverse) in
            dy.rows_mut().into_iter().zip(cache.unit.rows()).zip(&cache.inverse_deviation)
        {
            let (mut sum, mut dot) = (S::zero(), S::zero());
            Zip::from(&mut row).and(&unit).and(&self.gain).and(&mut grad.gain).and(&mut grad.shift).for_each(
                |dy, &u, &gain, dgain, dshift| {
                    *dgain += *dy * u;
                    *dshift += *dy;
                    *dy *= gain;
                    sum += *dy;
                    dot += *dy * u;
                },
            );
            let (mean, slope) = (sum / count, dot / count);
            Zip::from(&mut row).and(&unit).for_each(|dx, &u| *dx = (*dx - mean - u * slope) * inverse);
        }
        dy
    }
}
