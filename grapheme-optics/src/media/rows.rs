//! Sums over contiguous rows, in lanes that compilers vectorise. The order of adding is fixed by the length alone.

use grapheme_core::Scalar;
use ndarray::Array2;

const LANES: usize = 16;

/// `<a, b>`, over the shorter of the two.
#[inline]
pub fn dot<S: Scalar>(a: &[S], b: &[S]) -> S {
    let mut sums = [S::zero(); LANES];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: S = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(&x, &y)| x * y).sum();
    for (x, y) in a_lanes.zip(b_lanes) {
        for (sum, (&x, &y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().copied().sum::<S>() + rest
}

/// `||g||^2` of all rows, each row in its own precision and the rows in `f64`.
pub fn energy<S: Scalar>(g: &Array2<S>) -> f64 {
    slices(g).map(|row| dot(row, row).widen()).sum()
}

/// `y += a x`.
#[inline]
pub fn add_scaled<S: Scalar>(y: &mut [S], a: S, x: &[S]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// The rows of a gradient.
///
/// # Panics
/// If it is not stored in row-major order, as every gradient of the network is.
pub fn slices<S>(g: &Array2<S>) -> impl DoubleEndedIterator<Item = &[S]> + ExactSizeIterator {
    g.as_slice().expect("gradients are stored in row-major order").chunks_exact(g.ncols().max(1))
}

/// The same, to be written.
///
/// # Panics
/// As [`slices`].
pub fn slices_mut<S>(g: &mut Array2<S>) -> impl DoubleEndedIterator<Item = &mut [S]> + ExactSizeIterator {
    let width = g.ncols().max(1);
    g.as_slice_mut().expect("gradients are stored in row-major order").chunks_exact_mut(width)
}
