//! Matrix products: all of a network's heavy work goes through this file.
//!
//! Always one thread: work is spread over lanes, and a product must give the same bits for any number of threads.

mod kernel;
mod transpose;

pub(crate) use kernel::DEPTH;
use kernel::Left;
pub use kernel::{Factor, Registers, Right};

use crate::kept::Matrix;
use crate::scalar::Scalar;
use ndarray::{ArrayView2, ArrayViewMut2};
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
pub fn product<'b, S: Scalar>(a: ArrayView2<'_, S>, b: impl Into<Right<'b, S>>) -> Matrix<S> {
    let b = b.into();
    let mut c = Matrix::unset((a.nrows(), b.dim().1));
    run(c.view_mut(), false, None, Left::Array(a), b);
    c
}

/// `a b` with `bias`, m numbers, added to each row.
///
/// # Panics
/// If the shapes do not fit.
pub fn affine<'b, S: Scalar>(a: ArrayView2<'_, S>, b: impl Into<Right<'b, S>>, bias: &[S]) -> Matrix<S> {
    let b = b.into();
    let mut c = Matrix::unset((a.nrows(), b.dim().1));
    run(c.view_mut(), false, Some(bias), Left::Array(a), b);
    c
}

/// `c += a b` with `bias`, m numbers, added to each row.
///
/// # Panics
/// If the shapes do not fit.
pub fn add_affine<'b, S: Scalar>(c: &mut Matrix<S>, a: ArrayView2<'_, S>, b: impl Into<Right<'b, S>>, bias: &[S]) {
    run(c.view_mut(), true, Some(bias), Left::Array(a), b.into());
}

/// `c += a b`, for `a` of n x k, `b` of k x m and `c` of n x m; any of them may be transposed or a slice.
///
/// # Panics
/// If the shapes do not fit.
pub fn add_product<'b, S: Scalar>(c: ArrayViewMut2<'_, S>, a: ArrayView2<'_, S>, b: impl Into<Right<'b, S>>) {
    run(c, true, None, Left::Array(a), b.into());
}

/// `c = a b`, whatever `c` held.
///
/// # Panics
/// If the shapes do not fit.
pub fn write_product<'b, S: Scalar>(c: ArrayViewMut2<'_, S>, a: ArrayView2<'_, S>, b: impl Into<Right<'b, S>>) {
    run(c, false, None, Left::Array(a), b.into());
}

/// `c[to] += a[from] b` for each pair `[from, to]` of rows: of `a`, n x k, those alone are multiplied that are named, where they are.
///
/// # Panics
/// If the shapes do not fit, or a pair names a row that is not there.
pub fn add_product_of_rows<'b, S: Scalar>(
    c: &mut Matrix<S>,
    pairs: &[[u32; 2]],
    a: &Matrix<S>,
    b: impl Into<Right<'b, S>>,
) {
    run(c.view_mut(), true, None, Left::Rows(a, pairs), b.into());
}

/// `c += ` the sum of `a[from]^T b[to]` over pairs `[from, to]` of rows, in the order of `to`: what the transpose of `a` would be multiplied
/// with, of rows that are named alone.
///
/// # Panics
/// If the shapes do not fit, a pair names a row that is not there, or pairs are in another order.
pub fn add_product_over_rows<'b, S: Scalar>(
    c: ArrayViewMut2<'_, S>,
    pairs: &[[u32; 2]],
    a: &Matrix<S>,
    b: impl Into<Right<'b, S>>,
) {
    assert!(pairs.is_sorted_by_key(|&[_, to]| to), "terms are in the order of the right factor's rows");
    run(c, true, None, Left::Terms(a, pairs), b.into());
}

fn run<S: Scalar>(mut c: ArrayViewMut2<'_, S>, adds: bool, bias: Option<&[S]>, a: Left<'_, S>, b: Right<'_, S>) {
    let (k, m) = b.dim();
    // Rows of the result, numbers that each row of the left factor must have, and how many products there are in one of a column.
    let (n, [found, expected], terms) = match a {
        Left::Array(a) => (a.nrows(), [a.ncols(), k], a.nrows() * k),
        Left::Rows(a, pairs) => (c.nrows(), [a.ncols(), k], pairs.len() * k),
        Left::Terms(a, pairs) => (a.ncols(), [k, k], pairs.len() * a.ncols()),
    };
    assert!(
        found == expected && c.dim() == (n, m) && bias.is_none_or(|bias| bias.len() == m),
        "a product of {n} x {found} and {:?} does not fit {:?}",
        b.dim(),
        c.dim()
    );
    let meter = METER.get().map(|sums| (sums, Instant::now()));
    match c.as_slice_mut() {
        Some(c) => kernel::multiply(c, adds, bias, a, b),
        None => {
            let mut whole = Matrix::of(c.view());
            kernel::multiply(whole.values_mut(), adds, bias, a, b);
            c.assign(&whole);
        }
    }
    if let Some((Metered { products, operations, seconds }, started)) = meter {
        METER.set(Some(Metered {
            products: products + 1,
            operations: operations + 2.0 * terms as f64 * m as f64,
            seconds: seconds + started.elapsed().as_secs_f64(),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::uniform;
    use crate::random::Stream;
    use ndarray::{Array2, Axis, s};

    /// The readable reference.
    fn naive<S: Scalar>(a: ArrayView2<'_, S>, b: ArrayView2<'_, S>) -> Array2<S> {
        Array2::from_shape_fn((a.nrows(), b.ncols()), |(i, j)| {
            a.row(i).iter().zip(b.column(j)).fold(S::zero(), |sum, (&x, &y)| sum + x * y)
        })
    }

    fn agree<S: Scalar>(tolerance: f64) {
        let mut stream = Stream::new(1);
        // Empty, thin, and beyond what a tile, a block and a register hold.
        let sizes = [(1, 1, 1), (3, 5, 2), (16, 128, 40), (33, 7, 64), (2, 300, 9), (4, 0, 3), (0, 4, 3), (3, 4, 0)];
        for (n, k, m) in sizes.into_iter().chain([(23, 130, 96), (29, 257, 131), (24, 1, 17), (7, 400, 33)]) {
            let (a, b) = (uniform::<S>((n, k), 1.0, &mut stream), uniform::<S>((k, m), 1.0, &mut stream));
            let expected = naive(a.view(), b.view());
            let near = |found: &Array2<S>, what: &str| {
                let worst = (found - &expected).iter().fold(0.0, |w: f64, d| w.max(d.widen().abs()));
                assert!(worst <= tolerance, "{what}, {n} x {k} x {m}: {worst:e}");
            };
            near(&product(a.view(), b.view()), "product");
            near(&product(a.view(), &Factor::new(b.view())), "of a factor");
            let bias: Vec<S> = (0..m).map(|j| S::lit(j as f64)).collect();
            let mut moved = affine(a.view(), b.view(), &bias);
            let bias = ndarray::ArrayView1::from(&bias);
            near(&(&*moved - &bias), "with a bias");
            moved.fill(S::one());
            add_affine(&mut moved, a.view(), b.view(), bias.to_slice().unwrap());
            near(&(&*moved - &bias - S::one()), "added with a bias");
            // Every third row of the result, each from the row as far from the end.
            let pairs: Vec<[u32; 2]> = (0..n as u32).step_by(3).map(|i| [n as u32 - 1 - i, i]).collect();
            let (mut rows, am) = (Matrix::zeros((n, m)), Matrix::of(a.view()));
            add_product_of_rows(&mut rows, &pairs, &am, b.view());
            let mut picked = Array2::zeros((n, m));
            pairs.iter().for_each(|&[from, to]| picked.row_mut(to as usize).assign(&expected.row(from as usize)));
            assert!(rows.iter().zip(&picked).all(|(&x, &y): (&S, &S)| (x - y).widen().abs() <= tolerance));
            // As terms of sums: the right factor's rows, of which each second is left out.
            let pairs: Vec<[u32; 2]> = (0..k as u32).step_by(2).map(|to| [k as u32 - 1 - to, to]).collect();
            let (mut sums, at) = (Array2::<S>::ones((n, m)), Matrix::of(a.t()));
            let some: Vec<usize> = pairs.iter().map(|&[from, _]| from as usize).collect();
            let others: Vec<usize> = pairs.iter().map(|&[_, to]| to as usize).collect();
            let picked = naive(a.select(Axis(1), &some).view(), b.select(Axis(0), &others).view());
            for _ in 0..2 {
                add_product_over_rows(sums.view_mut(), &pairs, &at, b.view());
            }
            let off = |(&x, &y): (&S, &S)| (x - S::one() - y - y).widen().abs();
            assert!(sums.iter().zip(&picked).map(off).all(|off| off <= 3.0 * tolerance));
            // The same through transposed and reversed views, and into a slice of something larger.
            let (mut at, mut bt) = (a.t().as_standard_layout().to_owned(), b.t().as_standard_layout().to_owned());
            near(&product(at.t(), bt.t()), "transposed");
            near(&product(at.t(), &Factor::new(bt.t())), "of a transposed factor");
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

    /// A row of the result has the bits that it has alone, in either layout, and the sum is that of blocks in order.
    #[test]
    fn bits_depend_on_no_neighbour_and_no_layout() {
        let mut stream = Stream::new(2);
        let (a, b) = (uniform::<f32>((50, 300), 1.0, &mut stream), uniform::<f32>((300, 80), 1.0, &mut stream));
        let (all, bt) = (product(a.view(), b.view()), b.t().as_standard_layout().into_owned());
        assert_eq!(all, product(a.view(), bt.t()));
        assert_eq!(all, product(a.view(), &Factor::new(b.view())));
        for rows in [s![..1, ..], s![7..12, ..], s![20..46, ..]] {
            assert_eq!(all.slice(rows), *product(a.slice(rows), b.view()));
        }
        let columns = s![.., 3..20];
        assert_eq!(all.slice(columns), *product(a.view(), b.slice(columns)));
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
