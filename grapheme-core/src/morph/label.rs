//! Which label a candidate carries if it stays.

use crate::kept::Matrix;
use crate::layers::{Linear, ShapeError, row_slices, row_slices_mut};
use crate::param_tree;
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::vector;

/// `log softmax(x U + u)` over the symbols seen in training targets and, last, `Copy`: the label of the node itself.
///
/// Rows of nodes that have no label (begin and end) cannot copy: there the probability of `Copy` is zero.
#[derive(Clone, Debug)]
pub struct LabelHead<S> {
    /// d to symbols + 1.
    pub linear: Linear<S>,
}

param_tree!(LabelHead { linear });

/// What [`LabelHead::backward`] needs.
#[derive(Clone, Debug)]
pub struct HeadCache<S: Scalar> {
    input: Matrix<S>,
}

impl<S: Scalar> LabelHead<S> {
    /// A head for `outcomes` outcomes, `Copy` included.
    pub fn new(width: usize, outcomes: usize, stream: &mut Stream) -> Self {
        Self { linear: Linear::new(width, outcomes, stream) }
    }

    /// Log probabilities, n x outcomes, for `x` of n x d; row i may copy where `can_copy(i)`.
    ///
    /// # Errors
    /// [`ShapeError`] if `x` has other than d columns.
    pub fn forward(
        &self,
        x: Matrix<S>,
        can_copy: impl Fn(usize) -> bool,
    ) -> Result<(Matrix<S>, HeadCache<S>), ShapeError> {
        let mut log_label = self.linear.forward(x.view())?;
        let copy = log_label.ncols() - 1;
        for (i, row) in row_slices_mut(&mut log_label).enumerate() {
            // With nothing else to say, a node that cannot copy keeps its only outcome.
            if copy > 0 && !can_copy(i) {
                row[copy] = S::neg_infinity();
            }
        }
        crate::wide! {
            for row in row_slices_mut(&mut log_label) {
                let largest = vector::max(row);
                let log_sum = largest + vector::sum_of(row, |v| probability(v - largest)).ln();
                for v in row {
                    *v -= log_sum;
                }
            }
        }
        Ok((log_label, HeadCache { input: x }))
    }

    /// `dx` for the gradient of the log probabilities; adds the parameters' gradient into `grad`.
    pub fn backward(
        &self,
        cache: HeadCache<S>,
        log_label: &Matrix<S>,
        mut dlog_label: Matrix<S>,
        grad: &mut Self,
    ) -> Matrix<S> {
        crate::wide! {
            for (row, log_row) in row_slices_mut(&mut dlog_label).zip(row_slices(log_label)) {
                let sum = vector::sum(row);
                for (d, &l) in row.iter_mut().zip(log_row) {
                    *d -= sum * probability(l);
                }
            }
        }
        self.linear.backward(cache.input.view(), dlog_label.view(), &mut grad.linear)
    }
}

/// The exponential of a log probability; 0 where it is nothing beside 1.
#[inline(always)]
fn probability<S: Scalar>(log: S) -> S {
    let p = log.quick_exp();
    if log < S::lit(-80.0) { S::zero() } else { p }
}
