//! Clipping by global norm.

use super::pieces;
use grapheme_core::param::each;
use grapheme_core::{ParamTree, Scalar, wide};

/// The length of a gradient over all its blocks, or where it stopped being a number.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a step along a gradient that is not finite destroys the model"]
pub enum GradientNorm {
    /// The Euclidean norm.
    Finite(f64),
    /// The sum of squares is no longer finite from this block on.
    NotFinite {
        /// The dotted name of the block.
        block: String,
    },
}

/// Scales `gradient` to the norm `limit` where it is longer (Pascanu, Mikolov & Bengio 2013), and tells the norm that it
/// had before. A gradient that is not finite is left as it is: the caller refuses the step.
///
/// The sum runs in `f64`, over fixed pieces in a fixed order, so the answer does not depend on threads or on the vector width of
/// the machine. `limit` must be positive; infinity only measures. One pass to read, one more to write where it clips.
pub fn clip<S: Scalar>(gradient: &mut impl ParamTree<S>, limit: f64) -> GradientNorm {
    let norm = pieces::sum_of(gradient, sum_of_squares).sqrt();
    if !norm.is_finite() {
        return GradientNorm::NotFinite { block: first_not_finite(gradient) };
    }
    if norm > limit {
        let factor = S::lit(limit / norm);
        pieces::each(gradient, |x| *x *= factor);
    }
    GradientNorm::Finite(norm)
}

/// The block from which on the sum of squares is not finite.
fn first_not_finite<S: Scalar>(gradient: &impl ParamTree<S>) -> String {
    let (mut sum, mut block) = (0.0f64, String::new());
    each(gradient, |name, _, values| {
        if sum.is_finite() {
            sum += sum_of_squares(values);
            name.clone_into(&mut block);
        }
    });
    block
}

/// Eight running sums instead of one: additions need not wait for each other, and the order is still fixed.
fn sum_of_squares<S: Scalar>(values: &[S]) -> f64 {
    wide!({
        let mut sums = [0.0; 8];
        let (chunks, rest) = values.as_chunks::<8>();
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *sum += x.widen() * x.widen();
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|x| x.widen() * x.widen()).sum::<f64>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::param::norm;
    use ndarray::{Array1, arr1};

    #[test]
    fn a_long_gradient_is_shortened_and_keeps_its_direction() {
        let mut gradient = vec![arr1(&[3.0, 0.0]), arr1(&[0.0, -4.0])];
        assert_eq!(clip(&mut gradient, 2.0), GradientNorm::Finite(5.0));
        assert!((norm(&gradient) - 2.0).abs() < 1e-15);
        assert_eq!(gradient, vec![arr1(&[3.0 * 0.4, 0.0]), arr1(&[0.0, -4.0 * 0.4])]);
        // It is short enough now, up to rounding, and an infinite limit only measures.
        assert_eq!(clip(&mut gradient, f64::INFINITY), GradientNorm::Finite(norm(&gradient)));
    }

    #[test]
    fn a_short_gradient_keeps_its_bits() {
        let before: Vec<Array1<f32>> = vec![Array1::from_shape_fn(37, |i| (i as f32).sin() * 0.1), arr1(&[])];
        let mut gradient = before.clone();
        let GradientNorm::Finite(length) = clip(&mut gradient, 2.0) else { panic!("the gradient is finite") };
        assert!((length - norm(&before)).abs() < 1e-14 * length);
        assert_eq!(gradient, before);
        assert_eq!(clip(&mut vec![Array1::<f32>::zeros(5)], 2.0), GradientNorm::Finite(0.0));
    }

    #[test]
    fn the_first_block_that_is_not_finite_is_named_and_nothing_is_written() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
            let mut gradient = vec![arr1(&[30.0, 1.0]), arr1(&[0.5, bad]), arr1(&[f64::NAN])];
            assert_eq!(clip(&mut gradient, 2.0), GradientNorm::NotFinite { block: "1".to_owned() });
            assert_eq!(gradient[0], arr1(&[30.0, 1.0]));
        }
        // What overflows in f32 arithmetic does not in f64.
        let GradientNorm::Finite(length) = clip(&mut arr1(&[3e30_f32, 4e30]), 2.0) else { panic!("5e30 is finite") };
        assert!((length / 5e30 - 1.0).abs() < 1e-6);
    }
}
