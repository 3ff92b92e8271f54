//! A layer of your own, and the proof that its backward pass is right.
//!
//! `y = x * a` with `a = sigmoid(x W)`, element by element: features that gate each other.
//! Backward: `da = dy * x`, `dz = da * a * (1 - a)`, `dW += x^T dz`, `dx = dy * a + dz W^T`.

use grapheme_core::check::NumericGradient;
use grapheme_core::layers::{Layer, Pass, ShapeError, sigmoid};
use grapheme_core::product::{add_product, product};
use grapheme_core::{GraphBatch, Kept, Matrix, Scalar, param, param_tree};
use ndarray::Array2;

/// `weight` is d x d.
#[derive(Clone, Debug)]
struct SelfGate<S> {
    weight: Array2<S>,
}

param_tree!(SelfGate { weight });

impl<S: Scalar> Layer<S> for SelfGate<S> {
    /// `x` and `a`, both n x d.
    type Cache = (Matrix<S>, Matrix<S>);

    fn forward(&self, x: Matrix<S>, _: Pass<'_, S>) -> Result<(Matrix<S>, Self::Cache), ShapeError> {
        let (found, expected) = ([x.nrows(), x.ncols()], [x.nrows(), self.weight.nrows()]);
        if found != expected {
            return Err(ShapeError { layer: "self gate", expected, found });
        }
        let mut a = product(x.view(), self.weight.view());
        a.mapv_inplace(sigmoid);
        let mut y = x.clone();
        *y *= &*a;
        Ok((y, (x, a)))
    }

    // No messages, so the weights of edges have no gradient.
    fn backward(
        &self,
        (x, a): Self::Cache,
        mut dy: Matrix<S>,
        _: Pass<'_, S>,
        _: &mut Kept<S>,
        grad: &mut Self,
    ) -> Matrix<S> {
        let dz = &*dy * &*x * &*a * a.mapv(|a| S::one() - a);
        add_product(grad.weight.view_mut(), x.t(), dz.view());
        *dy *= &*a;
        add_product(dy.view_mut(), dz.view(), self.weight.t());
        dy
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batch = GraphBatch::from_texts(&["abc"])?;
    let pass = Pass::over(batch.topology());
    let (n, d) = (batch.nodes(), 4);
    let layer = SelfGate { weight: Array2::from_shape_fn((d, d), |(i, j)| (i as f64 - 1.3 * j as f64).sin()) };
    let x = Array2::from_shape_fn((n, d), |(i, j)| (1.7 * i as f64 + j as f64).cos());
    // A loss with a different slope for each number of the output.
    let slope = Array2::from_shape_fn((n, d), |(i, j)| (0.3 * i as f64 - 2.0 * j as f64).sin());
    let loss = |layer: &SelfGate<f64>, x: &Array2<f64>| -> f64 {
        let (y, _) = layer.forward(x.clone().into(), pass).expect("shapes fit");
        (&*y * &slope).sum()
    };

    let mut grad = param::zeros_like(&layer);
    let (_, cache) = layer.forward(x.clone().into(), pass)?;
    let dx = layer.backward(cache, slope.clone().into(), pass, &mut Kept::new(), &mut grad);

    let of_input = |values: &[f64]| loss(&layer, &Array2::from_shape_vec((n, d), values.to_vec()).expect("n x d"));
    let numeric = NumericGradient::of_model(&layer, |_, _| true, |layer| loss(layer, &x))
        .and(NumericGradient::of_slice("x", x.as_slice().expect("row-major"), of_input));
    let analytic = |name: &str| match name {
        "x" => dx.as_slice().expect("row-major"),
        _ => grad.weight.as_slice().expect("row-major"),
    };
    let report = numeric.compare(1e-8, analytic);
    print!("{report}");
    assert!(report.passed());

    // A check is worth what it catches: one number that is 1% off must fail.
    let mut wrong = grad.weight.clone();
    wrong[[1, 2]] *= 1.01;
    let report =
        numeric.compare(1e-8, |name| if name == "x" { analytic(name) } else { wrong.as_slice().expect("row-major") });
    assert!(!report.passed());
    Ok(())
}
