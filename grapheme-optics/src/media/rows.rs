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

/// `y += sum over j of a_j x_j`, with `x_j` the j-th row of `axes`: the same bits as [`add_scaled`] for each in turn, and `y` is
/// read and written once.
#[inline]
pub fn add_combination<S: Scalar>(y: &mut [S], a: &[S], axes: &[S]) {
    let d = y.len();
    let (lanes, rest) = y.as_chunks_mut::<LANES>();
    let whole = lanes.len() * LANES;
    for (i, lane) in lanes.iter_mut().enumerate() {
        for (j, &a) in a.iter().enumerate() {
            let (x, _) = axes[j * d + i * LANES..].as_chunks::<LANES>();
            for (y, &x) in lane.iter_mut().zip(&x[0]) {
                *y += a * x;
            }
        }
    }
    for (j, &a) in a.iter().enumerate() {
        add_scaled(rest, a, &axes[j * d + whole..(j + 1) * d]);
    }
}

/// `y_j += a_j x` for the rows `y_j` of `sums`: the same bits as [`add_scaled`] for each, and `x` is read once.
#[inline]
pub fn add_to_each<S: Scalar>(sums: &mut [S], a: &[S], x: &[S]) {
    let d = x.len();
    let (lanes, rest) = x.as_chunks::<LANES>();
    let whole = lanes.len() * LANES;
    for (i, lane) in lanes.iter().enumerate() {
        for (j, &a) in a.iter().enumerate() {
            let (y, _) = sums[j * d + i * LANES..].as_chunks_mut::<LANES>();
            for (y, &x) in y[0].iter_mut().zip(lane) {
                *y += a * x;
            }
        }
    }
    for (j, &a) in a.iter().enumerate() {
        add_scaled(&mut sums[j * d + whole..(j + 1) * d], a, rest);
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

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::Stream;
    use rand::RngExt;

    #[test]
    fn many_rows_at_once_are_the_bits_of_one_after_another() {
        let mut stream = Stream::new(1);
        for (d, k) in [(128, 4), (6, 3), (16, 1), (35, 16), (0, 2), (20, 0)] {
            let mut numbers = |n: usize| -> Vec<f32> { (0..n).map(|_| stream.random::<f32>() - 0.5).collect() };
            let (x, a, axes) = (numbers(d), numbers(k), numbers(d * k));
            let (mut at_once, mut in_turn) = (x.clone(), x.clone());
            add_combination(&mut at_once, &a, &axes);
            (0..k).for_each(|j| add_scaled(&mut in_turn, a[j], &axes[j * d..(j + 1) * d]));
            assert_eq!(at_once, in_turn, "{d} x {k}");
            let (mut at_once, mut in_turn) = (axes.clone(), axes);
            add_to_each(&mut at_once, &a, &x);
            (0..k).for_each(|j| add_scaled(&mut in_turn[j * d..(j + 1) * d], a[j], &x));
            assert_eq!(at_once, in_turn, "{d} x {k}");
        }
    }
}
