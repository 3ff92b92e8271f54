//! Layer normalisation.

use super::{ShapeError, row_slices, row_slices_mut};
use crate::kept::{Kept, Matrix};
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

/// What [`LayerNorm::backward`] needs, and [`LayerNorm::output`].
#[derive(Clone, Debug)]
pub struct NormCache<S: Scalar> {
    unit: Matrix<S>,
    inverse_deviation: Kept<S>,
}

impl<S: Scalar> NormCache<S> {
    /// Rows and columns.
    pub fn dim(&self) -> (usize, usize) {
        self.unit.dim()
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

    /// The cache, from which [`output`](Self::output) makes the normalised rows, as often as they are needed.
    ///
    /// # Errors
    /// [`ShapeError`] if `x` has other than d columns.
    pub fn forward(&self, x: &Array2<S>) -> Result<NormCache<S>, ShapeError> {
        let d = self.gain.len();
        ShapeError::check("layer norm", x, [x.nrows(), d])?;
        let count = S::lit(d as f64);
        let mut unit = Matrix::unset(x.dim());
        let mut inverse_deviation = Kept::with_capacity(x.nrows());
        crate::wide! {
            for (row, x) in row_slices_mut(&mut unit).zip(row_slices(x)) {
                let mean = vector::sum(x) / count;
                for (u, &x) in row.iter_mut().zip(x) {
                    *u = x - mean;
                }
                let inverse = (vector::dot(row, row) / count + S::lit(1e-5)).sqrt().recip();
                for u in row.iter_mut() {
                    *u *= inverse;
                }
                inverse_deviation.push(inverse);
            }
        }
        Ok(NormCache { unit, inverse_deviation })
    }

    /// The normalised rows.
    pub fn output(&self, cache: &NormCache<S>) -> Matrix<S> {
        let mut y = Matrix::unset(cache.unit.dim());
        crate::wide! {
            for (i, y) in row_slices_mut(&mut y).enumerate() {
                self.write_row(cache, i, y);
            }
        }
        y
    }

    /// One normalised row, for whoever lays rows out in another order.
    #[inline(always)]
    pub(crate) fn write_row(&self, cache: &NormCache<S>, row: usize, y: &mut [S]) {
        let ((gain, shift), d) = (self.slices(), y.len());
        let unit = &cache.unit.values()[row * d..][..d];
        for ((y, &u), (&g, &s)) in y.iter_mut().zip(unit).zip(gain.iter().zip(shift)) {
            *y = u * g + s;
        }
    }

    /// `dx`, and `past` beside it, the gradient that reaches `x` otherwise; adds the parameters' gradient into `grad`.
    pub fn backward(
        &self,
        cache: &NormCache<S>,
        mut dy: Matrix<S>,
        past: Option<&Matrix<S>>,
        grad: &mut Self,
    ) -> Matrix<S> {
        let count = S::lit(self.gain.len() as f64);
        let (gain, _) = self.slices();
        let (Some(dgain), Some(dshift)) = (grad.gain.as_slice_mut(), grad.shift.as_slice_mut()) else {
            unreachable!("a parameter is stored in row-major order");
        };
        let mut past = past.map(|past| row_slices(past));
        crate::wide! {
            let rows = row_slices_mut(&mut dy).zip(row_slices(&cache.unit)).zip(&cache.inverse_deviation);
            for ((row, unit), &inverse) in rows {
                for ((&dy, &u), (dgain, dshift)) in row.iter().zip(unit).zip(dgain.iter_mut().zip(dshift.iter_mut())) {
                    *dgain += dy * u;
                    *dshift += dy;
                }
                for (dy, &gain) in row.iter_mut().zip(gain) {
                    *dy *= gain;
                }
                let (mean, slope) = (vector::sum(row) / count, vector::dot(row, unit) / count);
                match past.as_mut().and_then(Iterator::next) {
                    Some(past) => {
                        for ((dx, &u), &past) in row.iter_mut().zip(unit).zip(past) {
                            *dx = (*dx - mean - u * slope) * inverse + past;
                        }
                    }
                    None => {
                        for (dx, &u) in row.iter_mut().zip(unit) {
                            *dx = (*dx - mean - u * slope) * inverse;
                        }
                    }
                }
            }
        }
        dy
    }
}
