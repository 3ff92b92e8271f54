//! Scalar functions and their derivatives.

use crate::scalar::Scalar;

/// The logistic function `1 / (1 + exp(-x))`, without overflow for any finite `x`.
#[inline(always)]
pub fn sigmoid<S: Scalar>(x: S) -> S {
    // exp(-|x|) never overflows, and both signs use it: no branch is taken, so loops vectorise.
    let e = (-x.abs()).quick_exp();
    let near_one = (S::one() + e).recip();
    if x < S::zero() { e * near_one } else { near_one }
}

/// The hyperbolic tangent, `(1 - exp(-2|x|)) / (1 + exp(-2|x|))` with the sign of `x`.
///
/// The error is a few units of the last place of 1, not of the result: nothing that reads an activation near zero cares.
#[inline(always)]
pub fn tanh<S: Scalar>(x: S) -> S {
    let e = (S::lit(-2.0) * x.abs()).quick_exp();
    let t = (S::one() - e) / (S::one() + e);
    if x < S::zero() { -t } else { t }
}

/// `ln sigmoid(x) = -ln(1 + exp(-x))`, exact also where the sigmoid rounds to 0 or 1.
#[inline(always)]
pub fn log_sigmoid<S: Scalar>(x: S) -> S {
    log_sigmoids(x).1
}

/// [`log_sigmoid`] of `-x` and of `x`, which share the logarithm.
#[inline(always)]
pub fn log_sigmoids<S: Scalar>(x: S) -> (S, S) {
    let beyond = (-x.abs()).quick_exp().quick_ln_1p();
    ((-x).min(S::zero()) - beyond, x.min(S::zero()) - beyond)
}

/// The Gaussian error linear unit in its tanh form (Hendrycks and Gimpel, 2016): the value and the derivative at `x`.
#[inline(always)]
pub fn gelu<S: Scalar>(x: S) -> (S, S) {
    let half = S::lit(0.5);
    let scale = S::lit(0.797_884_560_802_865_4); // sqrt(2 / pi)
    let cubic = S::lit(0.044_715);
    let t = tanh(scale * (x + cubic * x * x * x));
    let slope = scale * (S::one() + S::lit(3.0) * cubic * x * x);
    (half * x * (S::one() + t), half * (S::one() + t) + half * x * (S::one() - t * t) * slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms_and_extremes() {
        assert_eq!(sigmoid(0.0_f64), 0.5);
        assert!(sigmoid(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        for x in [-20.0, -1.5, -1e-9, 0.0, 1e-9, 0.3, 7.0] {
            assert!((tanh(x) - f64::tanh(x)).abs() < 1e-15);
            assert!((tanh(x as f32) - f32::tanh(x as f32)).abs() < 3e-7);
        }
        assert!((sigmoid(2.0_f64) - 0.880_797_077_977_882_3).abs() < 1e-15);
        assert!((log_sigmoid(-2.0_f64) + 2.126_928_011_042_972).abs() < 1e-15);
        for x in [-1e4_f32, -100.0, 100.0, 1e4] {
            assert!(sigmoid(x).is_finite() && log_sigmoid(x).is_finite());
            assert_eq!(log_sigmoids(x), (log_sigmoid(-x), log_sigmoid(x)));
        }
        assert_eq!(log_sigmoid(-1e4_f64), -1e4);
        let (value, slope) = gelu(1.0_f64);
        assert!((value - 0.841_191_990_607_477_4).abs() < 1e-12, "{value}");
        let h = 1e-5;
        assert!((slope - (gelu(1.0 + h).0 - gelu(1.0 - h).0) / (2.0 * h)).abs() < 1e-9);
    }
}
