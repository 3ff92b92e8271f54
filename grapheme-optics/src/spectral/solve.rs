//! Small symmetric systems, and the principal components of frames.

use grapheme_core::{vector, wide};
use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1};

/// The factor of a symmetric positive matrix, which answers right sides.
#[derive(Clone, Debug)]
pub struct Factor(nalgebra::Cholesky<f64, nalgebra::Dyn>);

impl Factor {
    /// The Cholesky factor of `a + ridge * mean(diagonal) I`. Where rounding has made that indefinite the ridge is raised
    /// tenfold until it is not; the identity where no ridge helps, as entries are no numbers or nearly beyond them. O(n^3 / 3).
    pub fn new(a: &Array2<f64>, ridge: f64) -> Self {
        let n = a.nrows();
        let mean = (a.diag().sum() / n.max(1) as f64).max(f64::MIN_POSITIVE);
        let mut ridge = ridge.max(1e-15);
        loop {
            let matrix = DMatrix::from_fn(n, n, |i, j| a[(i, j)] + if i == j { ridge * mean } else { 0.0 });
            if let Some(factor) = matrix.cholesky() {
                return Self(factor);
            }
            ridge *= 10.0;
            if !(ridge * mean).is_finite() {
                return Self(DMatrix::identity(n, n).cholesky().expect("the identity is positive"));
            }
        }
    }

    /// The answer to one right side.
    pub fn solve(&self, b: &Array1<f64>) -> Array1<f64> {
        let answer = self.0.solve(&nalgebra::DVector::from_iterator(b.len(), b.iter().copied()));
        Array1::from_iter(answer.iter().copied())
    }

    /// The answers to the columns of `b`.
    pub fn solve_columns(&self, b: &Array2<f64>) -> Array2<f64> {
        let answer = self.0.solve(&DMatrix::from_fn(b.nrows(), b.ncols(), |i, j| b[(i, j)]));
        Array2::from_shape_fn(b.dim(), |(i, j)| answer[(i, j)])
    }
}

/// Adds rows that lie in one piece, each times its weight, to `out`, in their order; those without weight are left out. Four at once,
/// so that `out` is gone through a quarter as often.
pub fn add_rows<'a>(rows: impl IntoIterator<Item = (f64, ArrayView1<'a, f64>)>, out: &mut ArrayViewMut1<'_, f64>) {
    let out = out.as_slice_mut().expect(IN_ONE_PIECE);
    let weighted = rows.into_iter().filter(|(weight, _)| *weight != 0.0);
    let weighted: Vec<_> = weighted.map(|(weight, row)| (weight, row.to_slice().expect(IN_ONE_PIECE))).collect();
    for block in weighted.chunks(4) {
        if let &[(p, a), (q, b), (r, c), (s, d)] = block {
            wide!(for ((((o, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *o = (((*o + p * a) + q * b) + r * c) + s * d;
            });
        } else {
            for &(weight, row) in block {
                wide!(for (o, &x) in out.iter_mut().zip(row) {
                    *o += weight * x;
                });
            }
        }
    }
}

/// The inner product of each row with `x`.
pub fn along_rows(rows: ArrayView2<'_, f64>, x: ArrayView1<'_, f64>) -> Array1<f64> {
    let (flat, x) = (rows.as_slice().expect(IN_ONE_PIECE), x.as_slice().expect(IN_ONE_PIECE));
    let mut products = vec![0.0; rows.nrows()];
    let each = products.iter_mut().zip(flat.chunks_exact(x.len().max(1)));
    wide!(for (product, row) in each {
        *product = long_dot(row, x);
    });
    Array1::from(products)
}

/// `<x, y>` as [`vector::dot`] has it, in four times as many sums: rows of pixels are so long that eight would wait for each other.
#[inline(always)]
fn long_dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [[0.0; 8]; 4];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<32>(), y.as_chunks::<32>());
    for (x, y) in x.iter().zip(y) {
        for ((sums, x), y) in sums.iter_mut().zip(x.as_chunks::<8>().0).zip(y.as_chunks::<8>().0) {
            for k in 0..8 {
                sums[k] += x[k] * y[k];
            }
        }
    }
    total(&sums) + vector::dot(x_rest, y_rest)
}

/// Apart from the loop, or its order would be mixed into that of the registers.
#[inline(never)]
fn total(sums: &[[f64; 8]; 4]) -> f64 {
    vector::halved(std::array::from_fn(|k| (sums[0][k] + sums[1][k]) + (sums[2][k] + sums[3][k])))
}

const IN_ONE_PIECE: &str = "frames and rows of new matrices lie in one piece";

/// The mean of the rows of `x` and at most `count` unit vectors along which they vary most, as rows, with the largest
/// first. Directions whose variance is below 1e-14 of the first are left out. Through the Gram matrix of the rows, O(n^2 P + n^3).
pub fn principal_components(x: ArrayView2<'_, f64>, count: usize) -> (Array1<f64>, Array2<f64>) {
    let n = x.nrows();
    let mean = x.mean_axis(ndarray::Axis(0)).unwrap_or_else(|| Array1::zeros(x.ncols()));
    let centred = &x - &mean;
    let gram = grapheme_core::product::product(centred.view(), centred.t());
    let eigen = SymmetricEigen::new(DMatrix::from_fn(n, n, |i, j| gram[(i, j)]));
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let largest = order.first().map_or(0.0, |&i| eigen.eigenvalues[i]);
    order.retain(|&i| eigen.eigenvalues[i] > 1e-14 * largest);
    order.truncate(count);
    let weights = Array2::from_shape_fn((order.len(), n), |(row, i)| {
        eigen.eigenvectors[(i, order[row])] / eigen.eigenvalues[order[row]].sqrt()
    });
    (mean, grapheme_core::product::product(weights.view(), centred.view()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_factor_solves_and_a_singular_matrix_is_met_with_a_ridge() {
        let a = array![[4.0, 1.0], [1.0, 3.0]];
        let x = Factor::new(&a, 0.0).solve(&array![1.0, 2.0]);
        assert!((a.dot(&x) - array![1.0, 2.0]).iter().all(|gap| gap.abs() < 1e-12));
        let rows = array![[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]];
        assert_eq!(along_rows(rows.view(), array![2.0, 4.0, -1.0].view()), array![7.0, 0.0]);
        let many = Array2::from_shape_fn((5, 109), |(i, j)| (i as f64 + 1.7 * j as f64).sin());
        let x = many.row(2);
        assert!((along_rows(many.view(), x) - many.dot(&x)).iter().all(|gap| gap.abs() < 1e-12));
        let singular = Factor::new(&array![[1.0, 1.0], [1.0, 1.0]], 0.0).solve(&array![2.0, 2.0]);
        assert!((singular[0] + singular[1] - 2.0).abs() < 1e-6);
        for wild in [f64::NAN, f64::INFINITY, f64::MAX] {
            let answer = Factor::new(&array![[wild, wild], [wild, 1.0]], 0.0).solve(&array![2.0, 3.0]);
            assert!(answer.iter().all(|x| x.is_finite()), "{wild}: {answer}");
        }
    }

    #[test]
    fn components_are_the_axes_of_an_ellipse() {
        let x = Array2::from_shape_fn((40, 2), |(i, j)| {
            let angle = i as f64 * std::f64::consts::TAU / 40.0;
            [5.0 + 3.0 * angle.cos(), 1.0 - angle.sin()][j]
        });
        let (mean, axes) = principal_components(x.view(), 5);
        assert!((mean[0] - 5.0).abs() < 1e-12 && axes.dim() == (2, 2));
        assert!((axes[(0, 0)].abs() - 1.0).abs() < 1e-12 && (axes[(1, 1)].abs() - 1.0).abs() < 1e-12);
        // All frames equal: nothing varies.
        assert_eq!(principal_components(Array2::ones((3, 2)).view(), 2).1.nrows(), 0);
    }
}
