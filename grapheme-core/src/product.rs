//! Matrix products: all of a network's heavy work goes through this file.
//!
//! The kernel is that of the `gemm` crate. At the sizes of a training step, tens to hundreds of rows and 128 to 512
//! columns, it runs at 70 to 110 Gflop/s on one core of the machine it was chosen on, where `matrixmultiply`, which
//! ndarray brings along, runs at 8 to 100: that one packs both factors anew for each of the thin products of a recurrent
//! round. Always one thread: work is spread over lanes, and a product must give the same bits for any number of threads.

use crate::scalar::Scalar;
use gemm::Parallelism;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Ix2, RawArrayViewMut};
use std::cell::Cell;
use std::time::Instant;

/// What the matrix products of one thread did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metered {
    /// How many there were.
    pub products: u64,
    /// Their additions and multiplications.
    pub operations: f64,
    /// The time within them.
    pub seconds: f64,
}

thread_local! {
    static METER: Cell<Option<Metered>> = const { Cell::new(None) };
}

/// Watches the products that this thread makes in `work`. A look at the clock before and after each; nothing otherwise.
pub fn metered<R>(work: impl FnOnce() -> R) -> (R, Metered) {
    let before = METER.replace(Some(Metered::default()));
    let result = work();
    (result, METER.replace(before).unwrap_or_default())
}

/// `a b` for `a` of n x k and `b` of k x m.
///
/// # Panics
/// If the columns of `a` are not as many as the rows of `b`.
pub fn product<S: Scalar>(a: ArrayView2<'_, S>, b: ArrayView2<'_, S>) -> Array2<S> {
    let mut c = Array2::uninit((a.nrows(), b.ncols()));
    // SAFETY: `c` is new, and nothing of it is read before every number is written. To clear it first would be a pass over it.
    #[allow(unsafe_code)]
    unsafe {
        run(c.raw_view_mut().cast(), false, a, b);
        c.assume_init()
    }
}

/// `c += a b` for `a` of n x k, `b` of k x m and `c` of n x m; any of them may be transposed or a slice.
///
/// # Panics
/// If the shapes do not fit.
pub fn add_product<S: Scalar>(mut c: ArrayViewMut2<'_, S>, a: ArrayView2<'_, S>, b: ArrayView2<'_, S>) {
    // SAFETY: a view is valid, and as it is borrowed mutably it overlaps no other.
    #[allow(unsafe_code)]
    unsafe {
        run(c.raw_view_mut(), true, a, b);
    }
}

/// `c = a b`, whatever `c` held.
///
/// # Panics
/// If the shapes do not fit.
pub fn write_product<S: Scalar>(mut c: ArrayViewMut2<'_, S>, a: ArrayView2<'_, S>, b: ArrayView2<'_, S>) {
    // SAFETY: a view is valid, and as it is borrowed mutably it overlaps no other.
    #[allow(unsafe_code)]
    unsafe {
        run(c.raw_view_mut(), false, a, b);
    }
}

/// Writes every number of `c`, and reads none unless `adds`.
///
/// # Safety
/// `c` is valid for writes, overlaps neither `a` nor `b`, and is initialised if `adds`.
#[allow(unsafe_code)]
unsafe fn run<S: Scalar>(mut c: RawArrayViewMut<S, Ix2>, adds: bool, a: ArrayView2<'_, S>, b: ArrayView2<'_, S>) {
    let ((n, k), m) = (a.dim(), b.ncols());
    assert!(
        b.nrows() == k && c.dim() == (n, m),
        "a product of {:?} and {:?} does not fit {:?}",
        a.dim(),
        b.dim(),
        c.dim()
    );
    let meter = METER.get().map(|sums| (sums, Instant::now()));
    // The kernel takes a transposed right factor apart number by number; to copy it in blocks first costs less.
    let copy = (b.strides()[0] == 1 && m > 1).then(|| transposed(b.t()));
    let b = copy.as_ref().map_or(b, |copy| copy.view());
    let (c_strides, a_strides, b_strides) = (strides(&c), strides(&a), strides(&b));
    // SAFETY: all three are valid for their shapes and strides, which were just checked against each other, the rest is the caller's
    // promise; and `Scalar` is sealed to `f32` and `f64`, which the kernel knows.
    unsafe {
        gemm::gemm(
            n,
            m,
            k,
            c.as_mut_ptr(),
            c_strides[1],
            c_strides[0],
            adds,
            a.as_ptr(),
            a_strides[1],
            a_strides[0],
            b.as_ptr(),
            b_strides[1],
            b_strides[0],
            S::one(),
            S::one(),
            false,
            false,
            false,
            Parallelism::None,
        );
    }
    if let Some((Metered { products, operations, seconds }, started)) = meter {
        METER.set(Some(Metered {
            products: products + 1,
            operations: operations + 2.0 * n as f64 * k as f64 * m as f64,
            seconds: seconds + started.elapsed().as_secs_f64(),
        }));
    }
}

/// The transpose in row-major order, for a factor that many products share.
pub fn transposed<S: Scalar>(x: ArrayView2<'_, S>) -> Array2<S> {
    let (n, m) = x.dim();
    let mut y = Array2::zeros((m, n));
    let (Some(from), Some(to)) = (x.to_slice(), y.as_slice_mut()) else {
        y.assign(&x.t());
        return y;
    };
    // Whole blocks of constant size, whose loops are unrolled, and the rest number by number.
    const BLOCK: usize = 8;
    let (whole_rows, whole_columns) = (n - n % BLOCK, m - m % BLOCK);
    crate::wide! {
        for i in (0..whole_rows).step_by(BLOCK) {
            for j in (0..whole_columns).step_by(BLOCK) {
                let mut block = [[S::zero(); BLOCK]; BLOCK];
                for (r, row) in block.iter_mut().enumerate() {
                    row.copy_from_slice(&from[(i + r) * m + j..][..BLOCK]);
                }
                for c in 0..BLOCK {
                    let column: [S; BLOCK] = std::array::from_fn(|r| block[r][c]);
                    to[(j + c) * n + i..][..BLOCK].copy_from_slice(&column);
                }
            }
        }
    }
    for i in 0..n {
        for j in if i < whole_rows { whole_columns } else { 0 }..m {
            to[j * n + i] = from[i * m + j];
        }
    }
    y
}

fn strides<T>(x: &ndarray::ArrayBase<impl ndarray::RawData<Elem = T>, ndarray::Ix2>) -> [isize; 2] {
    [x.strides()[0], x.strides()[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::uniform;
    use crate::random::Stream;
    use ndarray::{Axis, s};

    /// The readable reference.
    fn naive<S: Scalar>(a: ArrayView2<'_, S>, b: ArrayView2<'_, S>) -> Array2<S> {
        Array2::from_shape_fn((a.nrows(), b.ncols()), |(i, j)| {
            a.row(i).iter().zip(b.column(j)).fold(S::zero(), |sum, (&x, &y)| sum + x * y)
        })
    }

    fn agree<S: Scalar>(tolerance: f64) {
        let mut stream = Stream::new(1);
        for (n, k, m) in
            [(1, 1, 1), (3, 5, 2), (16, 128, 40), (33, 7, 64), (2, 300, 9), (4, 0, 3), (0, 4, 3), (3, 4, 0)]
        {
            let (a, b) = (uniform::<S>((n, k), 1.0, &mut stream), uniform::<S>((k, m), 1.0, &mut stream));
            let expected = naive(a.view(), b.view());
            let near = |found: &Array2<S>, what: &str| {
                let worst = (found - &expected).iter().fold(0.0, |w: f64, d| w.max(d.widen().abs()));
                assert!(worst <= tolerance, "{what}, {n} x {k} x {m}: {worst:e}");
            };
            near(&product(a.view(), b.view()), "product");
            // The same through transposed and reversed views, and into a slice of something larger.
            let (mut at, mut bt) = (a.t().as_standard_layout().to_owned(), b.t().as_standard_layout().to_owned());
            near(&product(at.t(), bt.t()), "transposed");
            at.invert_axis(Axis(0));
            bt.invert_axis(Axis(1));
            near(&product(at.t(), bt.t()), "reversed");
            let mut large = Array2::from_elem((n + 2, m + 3), S::one());
            let inside = s![1..n + 1, 2..m + 2];
            add_product(large.slice_mut(inside), a.view(), b.view());
            near(&(&large.slice(inside) - S::one()), "added");
            large.slice_mut(inside).fill(S::nan());
            write_product(large.slice_mut(inside), a.view(), b.view());
            near(&large.slice(inside).to_owned(), "written");
            large.slice_mut(inside).fill(S::one());
            assert!(large.iter().all(|&x| x == S::one()), "written outside the slice");
        }
    }

    #[test]
    fn agrees_with_sums_written_out() {
        agree::<f64>(1e-13);
        agree::<f32>(2e-5);
    }

    #[test]
    fn the_meter_counts_what_it_watches_and_nothing_else() {
        let x = Array2::<f32>::zeros((3, 3));
        product(x.view(), x.view());
        let (_, outer) = metered(|| {
            let (_, inner) = metered(|| product(x.view(), x.view()));
            assert_eq!((inner.products, inner.operations), (1, 54.0));
            product(x.view(), x.view());
            product(x.view(), x.view());
        });
        assert_eq!((outer.products, outer.operations), (2, 108.0));
        assert!(outer.seconds > 0.0 && METER.get().is_none());
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn shapes_are_checked() {
        let x = Array2::<f32>::zeros((2, 3));
        product(x.view(), x.view());
    }
}
