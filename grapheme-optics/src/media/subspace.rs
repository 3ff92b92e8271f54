//! The directions in which the gradients at a boundary run, followed over steps.

use super::refraction::Frame;
use super::rows::{add_scaled, dot};
use grapheme_core::{Scalar, Stream, param_tree};
use ndarray::{Array1, Array2};
use rand::RngExt;

/// The running mean direction and the running principal subspace of the gradient rows at one boundary.
///
/// The subspace follows `C = r C + (1 - r) E[g g^T]` by one step of orthogonal iteration a training step, with C known by its
/// last axes: `Y = r diag(l) U + (1 - r) E[c g]`, `U = orthonormal rows of Y`, `l = their lengths` (Golub and Van Loan, 8.2.4).
/// It is part of a training's state, and a tree of named blocks like any parameters.
#[derive(Clone, Debug)]
pub struct Eye<S> {
    /// The running mean of the rows, d.
    pub mean: Array1<S>,
    /// The axes, k x d, orthonormal.
    pub axes: Array2<S>,
    /// The running energy along each axis, k.
    pub energies: Array1<S>,
}

param_tree!(Eye { mean, axes, energies });

impl<S: Scalar> Eye<S> {
    /// Random axes, no mean: what is seen before the first gradient.
    pub fn new(width: usize, rank: usize, stream: &mut Stream) -> Self {
        let k = rank.min(width);
        let mut axes = Array2::from_shape_simple_fn((k, width), || S::lit(2.0 * stream.random::<f64>() - 1.0));
        orthonormalise(&mut axes);
        Self { mean: Array1::zeros(width), axes, energies: Array1::zeros(k) }
    }

    /// Learns from the rows of one step: their number, their sum, and for each axis their sum weighted by their coordinate.
    /// `memory` in [0, 1) is the share of the past that stays. Without rows nothing changes.
    pub fn learn(&mut self, memory: f64, rows: usize, sum: &Array1<S>, moments: &Array2<S>) {
        if rows == 0 || moments.dim() != self.axes.dim() || sum.len() != self.mean.len() {
            return;
        }
        let (old, new) = (S::lit(memory), S::lit((1.0 - memory) / rows as f64));
        self.mean.zip_mut_with(sum, |mean, &s| *mean = old * *mean + new * s);
        for ((mut axis, &energy), moment) in self.axes.rows_mut().into_iter().zip(&self.energies).zip(moments.rows()) {
            axis.zip_mut_with(&moment, |u, &m| *u = old * energy * *u + new * m);
        }
        let lengths = orthonormalise(&mut self.axes);
        self.energies.iter_mut().zip(lengths).for_each(|(energy, length)| *energy = S::lit(length));
    }

    /// The frame that rays are bent in: the normal is the running mean direction, or `prescribed`, which then is the first
    /// axis and the others are turned to stand at right angles to it.
    pub fn frame(&self, prescribed: Option<&[f64]>) -> Frame<S> {
        let k = self.axes.nrows();
        if let Some(normal) = prescribed.filter(|normal| normal.len() == self.axes.ncols() && k > 0) {
            let mut axes = self.axes.clone();
            // The last axis, which carries least energy, gives way.
            for j in (1..k).rev() {
                let (mut to, from) = axes.multi_slice_mut((ndarray::s![j, ..], ndarray::s![j - 1, ..]));
                to.assign(&from);
            }
            axes.row_mut(0).iter_mut().zip(normal).for_each(|(u, &n)| *u = S::lit(n));
            orthonormalise(&mut axes);
            let mut normal = vec![0.0; k];
            normal[0] = 1.0;
            return Frame { axes, normal };
        }
        let mean = self.mean.as_slice().expect("a mean is stored in order");
        let mut normal: Vec<f64> = self
            .axes
            .rows()
            .into_iter()
            .map(|axis| axis.as_slice().map_or(0.0, |axis| dot(axis, mean).widen()))
            .collect();
        let length = normal.iter().map(|n| n * n).sum::<f64>().sqrt();
        // A mean that hardly lies in the frame is no direction of it.
        let known = length > 1e-6 * dot(mean, mean).widen().sqrt() && length > 0.0;
        normal.iter_mut().for_each(|n| *n = if known { *n / length } else { 0.0 });
        Frame { axes: self.axes.clone(), normal }
    }
}

/// Makes the rows orthonormal, in order, by Gram and Schmidt's method done twice ("twice is enough": Kahan), and returns
/// the lengths that were left of them. A row that lies in the span of those before it is replaced by a unit vector that
/// does not, with length 0.
fn orthonormalise<S: Scalar>(rows: &mut Array2<S>) -> Vec<f64> {
    let (k, d) = rows.dim();
    let mut lengths = Vec::with_capacity(k);
    let values = rows.as_slice_mut().expect("axes are stored in row-major order");
    for j in 0..k {
        let (done, rest) = values.split_at_mut(j * d);
        let row = &mut rest[..d];
        let whole = dot(row, row).widen().sqrt();
        let mut length = 0.0;
        // The candidates: the row itself, then the unit vectors. One of the first j + 1 is not in the span of j rows.
        for candidate in 0..=j + 1 {
            if candidate > 0 {
                row.fill(S::zero());
                row[(j + candidate - 1) % d] = S::one();
            }
            for _ in 0..2 {
                for other in done.chunks_exact(d) {
                    let along = dot(row, other);
                    add_scaled(row, -along, other);
                }
            }
            let left = dot(row, row).widen().sqrt();
            if left > 1e-4 * if candidate == 0 { whole } else { 1.0 } && left.is_finite() {
                // Lengths of rows that had to be replaced count as nothing.
                length = if candidate == 0 { left } else { 0.0 };
                let scale = S::lit(1.0 / left);
                row.iter_mut().for_each(|x| *x *= scale);
                break;
            }
        }
        lengths.push(length);
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_orthonormal(axes: &Array2<f64>) -> bool {
        let gram = axes.dot(&axes.t());
        gram.indexed_iter().all(|((i, j), &g)| (g - f64::from(u8::from(i == j))).abs() < 1e-12)
    }

    #[test]
    fn dependent_rows_are_replaced() {
        let mut rows = ndarray::array![[3.0, 0.0, 4.0], [6.0, 0.0, 8.0], [0.0, 0.0, 0.0]];
        let lengths = orthonormalise(&mut rows);
        assert_eq!(lengths, [5.0, 0.0, 0.0]);
        assert!(is_orthonormal(&rows), "{rows}");
    }

    /// Rows with most of their energy in two known directions: the eye finds them, and the mean.
    #[test]
    fn the_principal_directions_are_found() {
        let (d, mut stream) = (12, Stream::new(3));
        let mut eye = Eye::<f64>::new(d, 3, &mut stream);
        assert!(is_orthonormal(&eye.axes));
        for _ in 0..200 {
            let rows = Array2::from_shape_fn((20, d), |(_, c)| {
                let noise = 0.1 * (stream.random::<f64>() - 0.5);
                let scale = [5.0, 3.0].get(c).copied().unwrap_or(0.0);
                noise + scale * (stream.random::<f64>() - 0.5) + if c == 0 { 1.0 } else { 0.0 }
            });
            let coordinates = rows.dot(&eye.axes.t());
            eye.learn(0.9, 20, &rows.sum_axis(ndarray::Axis(0)), &coordinates.t().dot(&rows));
        }
        assert!(is_orthonormal(&eye.axes));
        assert!(eye.axes[[0, 0]].abs() > 0.99 && eye.axes[[1, 1]].abs() > 0.99, "{}", eye.axes);
        // E[g_0^2] = 1 + 25/12, E[g_1^2] = 9/12.
        assert!((eye.energies[0] - 3.08).abs() < 0.5 && (eye.energies[1] - 0.75).abs() < 0.2, "{}", eye.energies);
        let frame = eye.frame(None);
        assert!(frame.normal[0].abs() > 0.9, "{:?}", frame.normal);
        // A prescribed direction becomes the first axis.
        let wanted: Vec<f64> = (0..d).map(|c| if c == 7 { 2.0 } else { 0.0 }).collect();
        let frame = eye.frame(Some(&wanted));
        assert!(is_orthonormal(&frame.axes) && frame.axes[[0, 7]] == 1.0 && frame.normal == [1.0, 0.0, 0.0]);
    }
}
