//! Which label a candidate carries if it stays.

use crate::layers::{Linear, ShapeError};
use crate::param_tree;
use crate::random::Stream;
use crate::scalar::Scalar;
use ndarray::{Array2, ArrayView2};

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
pub struct HeadCache<S> {
    input: Array2<S>,
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
        x: Array2<S>,
        can_copy: impl Fn(usize) -> bool,
    ) -> Result<(Array2<S>, HeadCache<S>), ShapeError> {
        let mut log_label = self.linear.forward(x.view())?;
        let copy = log_label.ncols() - 1;
        for (i, mut row) in log_label.rows_mut().into_iter().enumerate() {
            // With nothing else to say, a node that cannot copy keeps its only outcome.
            if copy > 0 && !can_copy(i) {
                row[copy] = S::neg_infinity();
            }
            let largest = row.fold(S::neg_infinity(), |a, &b| a.max(b));
            let sum = row.fold(S::zero(), |sum, &v| sum + (v - largest).exp());
            row -= largest + sum.ln();
        }
        Ok((log_label, HeadCache { input: x }))
    }

    /// `dx` for the gradient of the log probabilities; adds the parameters' gradient into `grad`.
    pub fn backward(
        &self,
        cache: HeadCache<S>,
        log_label: ArrayView2<'_, S>,
        mut dlog_label: Array2<S>,
        grad: &mut Self,
    ) -> Array2<S> {
        for (mut row, log_row) in dlog_label.rows_mut().into_iter().zip(log_label.rows()) {
            let sum = row.sum();
            ndarray::Zip::from(&mut row).and(&log_row).for_each(|d, &l| *d -= sum * l.exp());
        }
        self.linear.backward(cache.input.view(), dlog_label.view(), &mut grad.linear)
    }
}
