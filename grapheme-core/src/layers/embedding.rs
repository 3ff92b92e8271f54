//! Features of code points without a vocabulary.

use super::{row_slices, row_slices_mut, uniform};
use crate::graph::GraphBatch;
use crate::kept::Matrix;
use crate::param_tree;
use crate::random::{Stream, mix};
use crate::scalar::Scalar;
use crate::vector::add;
use ndarray::Array2;

/// Code points beyond this place in their cluster share its tag.
const POSITIONS: usize = 8;

/// `x_v = sum over h of table[hash_h(code point of v)] + positions[place of v in its cluster]`.
///
/// Each code point is hashed by H functions into B buckets (hash embeddings: Svenstrup, Hansen and Winther, 2017, with
/// all importance weights one), so any script has features; two code points are confused only where all H hashes agree.
/// The parts of a Hangul syllable and an accent are code points of their own after canonical decomposition.
///
/// Backward: each row of the output gradient is added to the H rows and the tag that made it.
#[derive(Clone, Debug)]
pub struct HashedEmbedding<S> {
    /// B x d.
    pub table: Array2<S>,
    /// 8 x d.
    pub positions: Array2<S>,
    hashes: usize,
}

param_tree!(HashedEmbedding { table, positions });

impl<S: Scalar> HashedEmbedding<S> {
    /// Rows uniform with variance 1 / H, so that the sum of H has variance one; tags start at a tenth of that.
    pub fn new(buckets: usize, hashes: usize, width: usize, stream: &mut Stream) -> Self {
        let bound = (3.0 / hashes.max(1) as f64).sqrt();
        Self {
            table: uniform((buckets.max(1), width), bound, stream),
            positions: uniform((POSITIONS, width), 0.1 * 3.0_f64.sqrt(), stream),
            hashes: hashes.max(1),
        }
    }

    /// The rows of the table that a code point is the sum of.
    pub fn rows(&self, code: u32) -> impl Iterator<Item = usize> + use<S> {
        let buckets = self.table.nrows() as u64;
        (0..self.hashes as u64).map(move |h| (mix(u64::from(code) | (h + 1) << 32) % buckets) as usize)
    }

    /// Features of every node, n x d.
    pub fn forward(&self, batch: &GraphBatch) -> Matrix<S> {
        let d = self.table.ncols();
        let mut x = Matrix::unset((batch.nodes(), d));
        let (table, positions) = (slice(&self.table), slice(&self.positions));
        crate::wide! {
            for ((node, &code), x) in batch.codes().iter().enumerate().zip(row_slices_mut(&mut x)) {
                x.copy_from_slice(&positions[position(batch, node) * d..][..d]);
                for bucket in self.rows(code) {
                    add(x, &table[bucket * d..][..d]);
                }
            }
        }
        x
    }

    /// Adds the gradient of the tables into `grad`.
    pub fn backward(&self, batch: &GraphBatch, dx: &Matrix<S>, grad: &mut Self) {
        let d = self.table.ncols();
        let (table, positions) = (slice_mut(&mut grad.table), slice_mut(&mut grad.positions));
        crate::wide! {
            for ((node, &code), dx) in batch.codes().iter().enumerate().zip(row_slices(dx)) {
                add(&mut positions[position(batch, node) * d..][..d], dx);
                for bucket in self.rows(code) {
                    add(&mut table[bucket * d..][..d], dx);
                }
            }
        }
    }
}

/// The tag of a node.
fn position(batch: &GraphBatch, node: usize) -> usize {
    batch.position(node).min(POSITIONS - 1)
}

fn slice<S>(table: &Array2<S>) -> &[S] {
    table.as_slice().expect("a parameter is stored in row-major order")
}

fn slice_mut<S>(table: &mut Array2<S>) -> &mut [S] {
    table.as_slice_mut().expect("a parameter is stored in row-major order")
}
