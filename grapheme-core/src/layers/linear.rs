//! The affine map.

use super::{ShapeError, add_row_sum, uniform};
use crate::kept::Matrix;
use crate::param_tree;
use crate::product::{add_affine, add_product, affine, product};
use crate::random::Stream;
use crate::scalar::Scalar;
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// `y = x W + b` for each row, with `x` n x d, `W` d x m, `b` m.
///
/// Backward: `dW += x^T dy`, `db += sum of the rows of dy`, `dx = dy W^T`.
#[derive(Clone, Debug)]
pub struct Linear<S> {
    /// d x m.
    pub weight: Array2<S>,
    /// m.
    pub bias: Array1<S>,
}

param_tree!(Linear { weight, bias });

impl<S: Scalar> Linear<S> {
    /// Weights uniform in +-1/sqrt(d) (LeCun et al., Efficient BackProp, 1998, up to a factor), bias likewise.
    pub fn new(inputs: usize, outputs: usize, stream: &mut Stream) -> Self {
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        let weight = uniform((inputs, outputs), bound, stream);
        let bias = uniform((1, outputs), bound, stream).remove_axis(Axis(0));
        Self { weight, bias }
    }

    /// `x W + b`. One matrix product over the whole batch.
    ///
    /// # Errors
    /// [`ShapeError`] if `x` has other than d columns.
    pub fn forward(&self, x: ArrayView2<'_, S>) -> Result<Matrix<S>, ShapeError> {
        self.check(x)?;
        Ok(affine(x, self.weight.view(), self.bias()))
    }

    /// Adds `x W + b` to `y`, which has as many rows and m columns.
    ///
    /// # Errors
    /// [`ShapeError`] if `x` has other than d columns.
    pub fn add_forward(&self, x: ArrayView2<'_, S>, y: &mut Matrix<S>) -> Result<(), ShapeError> {
        self.check(x)?;
        add_affine(y, x, self.weight.view(), self.bias());
        Ok(())
    }

    /// Adds the parameters' gradient into `grad` and returns `dx`.
    pub fn backward(&self, x: ArrayView2<'_, S>, dy: ArrayView2<'_, S>, grad: &mut Self) -> Matrix<S> {
        self.backward_parameters(x, dy, grad);
        self.backward_input(dy)
    }

    /// `dx` alone.
    pub fn backward_input(&self, dy: ArrayView2<'_, S>) -> Matrix<S> {
        product(dy, self.weight.t())
    }

    /// The same where `x` has a gradient already, to which this one is added.
    pub fn add_backward(&self, x: ArrayView2<'_, S>, dy: ArrayView2<'_, S>, dx: &mut Matrix<S>, grad: &mut Self) {
        self.backward_parameters(x, dy, grad);
        add_product(dx.view_mut(), dy, self.weight.t());
    }

    /// Adds the parameters' gradient into `grad`, for an input that has no gradient of its own.
    pub fn backward_parameters(&self, x: ArrayView2<'_, S>, dy: ArrayView2<'_, S>, grad: &mut Self) {
        add_product(grad.weight.view_mut(), x.t(), dy);
        add_row_sum(grad.bias.view_mut(), dy);
    }

    fn check(&self, x: ArrayView2<'_, S>) -> Result<(), ShapeError> {
        let (expected, found) = ([x.nrows(), self.weight.nrows()], [x.nrows(), x.ncols()]);
        if expected == found { Ok(()) } else { Err(ShapeError { layer: "linear", expected, found }) }
    }

    /// m numbers.
    pub(super) fn bias(&self) -> &[S] {
        self.bias.as_slice().expect("a parameter is stored in row-major order")
    }
}
