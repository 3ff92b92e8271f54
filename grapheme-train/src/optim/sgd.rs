//! Gradient descent.

use super::Optimiser;
use grapheme_core::param::each_pair;
use grapheme_core::{ParamTree, Scalar};

/// Plain gradient descent, `w -= rate * dw`: no memory, no decay, no momentum.
///
/// To first order the loss falls by `rate * |dw|^2`, which is what the descent tests check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sgd;

impl<S: Scalar, T: ParamTree<S>> Optimiser<S, T> for Sgd {
    fn step(&mut self, model: &mut T, gradient: &T, rate: f64) {
        let rate = S::lit(rate);
        each_pair(model, gradient, |_, w, dw| {
            for (w, &dw) in w.iter_mut().zip(dw) {
                *w -= rate * dw;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr1;

    #[test]
    fn on_a_parabola_every_step_shrinks_the_distance_by_the_same_factor() {
        // L(w) = sum a_i w_i^2 / 2, so w_i after n steps is w_i (1 - rate a_i)^n.
        let (a, start, rate, n) = (arr1(&[1.0, 3.0]), arr1(&[2.0, -5.0]), 0.1, 25);
        let mut w = start.clone();
        for _ in 0..n {
            let dw = &a * &w;
            Sgd.step(&mut w, &dw, rate);
        }
        for i in 0..2 {
            let expected: f64 = start[i] * (1.0 - rate * a[i]).powi(n);
            assert!((w[i] - expected).abs() < 1e-14, "w[{i}] = {}, expected {expected}", w[i]);
        }
    }
}
