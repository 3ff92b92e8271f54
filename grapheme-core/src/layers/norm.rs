//! Layer normalisation.

use super::{ShapeError, row_slices, row_slices_mut};
use crate::kept::{Kept, Matrix};
use crate::param_tree;
use crate::scalar::Scalar;
use ndarray::{Array1, Array2};
use std::array::from_fn;

/// Running sums of a row: so many numbers side by side are added at once. They go to memory before they are added up, for all rows:
/// a row need not wait for the sums of the one before, and the compiler holds them in whole registers.
const LANES: usize = 16;

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

    /// The rows before gain and shift.
    pub(super) fn unit(&self) -> &Matrix<S> {
        &self.unit
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
        let n = x.nrows();
        ShapeError::check("layer norm", x, [n, self.gain.len()])?;
        let mut unit = Matrix::unset(x.dim());
        let (mut means, mut inverse_deviation) = (Kept::unset(n), Kept::unset(n));
        let mut sums = Kept::unset(n * LANES);
        crate::wide! {
            let sums = sums.as_chunks_mut::<LANES>().0;
            for (sums, x) in sums.iter_mut().zip(row_slices(x)) {
                let (blocks, rest) = x.as_chunks::<LANES>();
                let mut running = [S::zero(); LANES];
                for x in blocks {
                    running = from_fn(|k| running[k] + x[k]);
                }
                *sums = running;
                for (sum, &x) in sums.iter_mut().zip(rest) {
                    *sum += x;
                }
            }
            self.means(sums, &mut means);
            for ((sums, &mean), (unit, x)) in sums.iter_mut().zip(&means).zip(row_slices_mut(&mut unit).zip(row_slices(x))) {
                let ((blocks, rest), (x_blocks, x_rest)) = (unit.as_chunks_mut::<LANES>(), x.as_chunks::<LANES>());
                let mut running = [S::zero(); LANES];
                for (unit, x) in blocks.iter_mut().zip(x_blocks) {
                    *unit = x.map(|x| x - mean);
                    running = from_fn(|k| running[k] + unit[k] * unit[k]);
                }
                *sums = running;
                for (sum, (unit, &x)) in sums.iter_mut().zip(rest.iter_mut().zip(x_rest)) {
                    *unit = x - mean;
                    *sum += *unit * *unit;
                }
            }
            self.means(sums, &mut inverse_deviation);
            for variance in inverse_deviation.iter_mut() {
                *variance = (*variance + S::lit(1e-5)).sqrt().recip();
            }
            for (unit, &inverse) in row_slices_mut(&mut unit).zip(&inverse_deviation) {
                for unit in unit {
                    *unit *= inverse;
                }
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
        let (gain, _) = self.slices();
        let (Some(dgain), Some(dshift)) = (grad.gain.as_slice_mut(), grad.shift.as_slice_mut()) else {
            unreachable!("a parameter is stored in row-major order");
        };
        let n = dy.nrows();
        let (mut means, mut slopes) = (Kept::unset(n), Kept::unset(n));
        let (mut sums, mut products) = (Kept::unset(n * LANES), Kept::unset(n * LANES));
        crate::wide! {
            let (sums, products) = (sums.as_chunks_mut::<LANES>().0, products.as_chunks_mut::<LANES>().0);
            let (gain, gain_rest) = gain.as_chunks::<LANES>();
            for ((sums, products), (dy, unit)) in
                sums.iter_mut().zip(products.iter_mut()).zip(row_slices_mut(&mut dy).zip(row_slices(&cache.unit)))
            {
                for ((&dy, &u), (dgain, dshift)) in dy.iter().zip(unit).zip(dgain.iter_mut().zip(dshift.iter_mut())) {
                    *dgain += dy * u;
                    *dshift += dy;
                }
                let ((dy, dy_rest), (unit, unit_rest)) = (dy.as_chunks_mut::<LANES>(), unit.as_chunks::<LANES>());
                let (mut sum, mut product) = ([S::zero(); LANES], [S::zero(); LANES]);
                for ((dy, unit), gain) in dy.iter_mut().zip(unit).zip(gain) {
                    *dy = from_fn(|k| dy[k] * gain[k]);
                    sum = from_fn(|k| sum[k] + dy[k]);
                    product = from_fn(|k| product[k] + dy[k] * unit[k]);
                }
                (*sums, *products) = (sum, product);
                let rest = dy_rest.iter_mut().zip(unit_rest).zip(gain_rest);
                for (((dy, &unit), &gain), (sum, product)) in rest.zip(sums.iter_mut().zip(products)) {
                    *dy *= gain;
                    *sum += *dy;
                    *product += *dy * unit;
                }
            }
            self.means(sums, &mut means);
            self.means(products, &mut slopes);
            let mut past = past.map(|past| row_slices(past));
            let rows = row_slices_mut(&mut dy).zip(row_slices(&cache.unit)).zip(&cache.inverse_deviation);
            for (((dx, unit), &inverse), (&mean, &slope)) in rows.zip(means.iter().zip(&slopes)) {
                match past.as_mut().and_then(Iterator::next) {
                    Some(past) => {
                        for ((dx, &u), &past) in dx.iter_mut().zip(unit).zip(past) {
                            *dx = (*dx - mean - u * slope) * inverse + past;
                        }
                    }
                    None => {
                        for (dx, &u) in dx.iter_mut().zip(unit) {
                            *dx = (*dx - mean - u * slope) * inverse;
                        }
                    }
                }
            }
        }
        dy
    }

    /// The means of rows over their d features, from running sums.
    #[inline(always)]
    fn means(&self, sums: &[[S; LANES]], means: &mut [S]) {
        let count = S::lit(self.gain.len() as f64);
        for (mean, sums) in means.iter_mut().zip(sums) {
            let eight: [S; 8] = from_fn(|k| sums[k] + sums[k + 8]);
            let four: [S; 4] = from_fn(|k| eight[k] + eight[k + 4]);
            *mean = ((four[0] + four[2]) + (four[1] + four[3])) / count;
        }
    }
}
