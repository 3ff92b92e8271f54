//! The affine map.

use super::{ShapeError, add_row_sum, uniform};
use crate::param_tree;
use crate::product::{add_product, product};
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
    pub fn forward(&self, x: ArrayView2<'_, S>) -> Result<Array2<S>, ShapeError> {
        if x.ncols() != self.weight.nrows() {
            let expected = [x.nrows(), self.weight.nrows()];
            return Err(ShapeError { layer: "linear", expected, found: [x.nrows(), x.ncols()] });
        }
        // The product adds onto the bias rows, which saves a pass over the output.
        let bias = self.bias.as_slice().expect("a parameter is stored in row-major order");
        let mut y =
            Array2::from_shape_vec((x.nrows(), bias.len()), bias.repeat(x.nrows())).expect("a bias for each row");
        add_product(y.view_mut(), x, self.weight.view());
        Ok(y)
    }

    /// Adds the parameters' gradient into `grad` and returns `dx`.
    pub fn backward(&self, x: ArrayView2<'_, S>, dy: ArrayView2<'_, S>, grad: &mut Self) -> Array2<S> {
        self.backward_parameters(x, dy, grad);
        product(dy, self.weight.t()).into()
    }

    /// Adds the parameters' gradient into `grad`, for an input that has no gradient of its own.
    pub fn backward_parameters(&self, x: ArrayView2<'_, S>, dy: ArrayView2<'_, S>, grad: &mut Self) {
        add_product(grad.weight.view_mut(), x.t(), dy);
        add_row_sum(&mut grad.bias, dy);
    }
}
