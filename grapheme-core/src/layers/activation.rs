//! Scalar functions and their derivatives.

use crate::scalar::Scalar;

/// The logistic function `1 / (1 + exp(-x))`, without overflow for any finite `x`.
#[inline]
pub fn sigmoid<S: Scalar>(x: S) -> S {
    // exp(-|x|) never overflows, and both branches use it.
    let e = (-x.abs()).exp();
    let small = e / (S::one() + e);
    if x >= S::zero() { S::one() - small } else { small }
}

/// `ln sigmoid(x) = -ln(1 + exp(-x))`, exact also where the sigmoid rounds to 0 or 1.
#[inline]
pub fn log_sigmoid<S: Scalar>(x: S) -> S {
    x.min(S::zero()) - (-x.abs()).exp().ln_1p()
}

/// The Gaussian error linear unit in its tanh form (Hendrycks and Gimpel, 2016): the value and the derivative at `x`.
#[inline]
pub fn gelu<S: Scalar>(x: S) -> (S, S) {
    let half = S::lit(0.5);
    let scale = S::lit(0.797_884_560_802_865_4); // sqrt(2 / pi)
    let cubic = S::lit(0.044_715);
    let t = (scale * (x + cubic * x * x * x)).tanh();
    let slope = scale * (S::one() + S::lit(3.0) * cubic * x * x);
    (half * x * (S::one() + t), half * (S::one() + t) + half * x * (S::one() - t * t) * slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms_and_extremes() {
        assert_eq!(sigmoid(0.0_f64), 0.5);
        assert!((sigmoid(2.0_f64) - 0.880_797_077_977_882_3).abs() < 1e-15);
        assert!((log_sigmoid(-2.0_f64) + 2.126_928_011_042_972).abs() < 1e-15);
        for x in [-1e4_f32, -100.0, 100.0, 1e4] {
            assert!(sigmoid(x).is_finite() && log_sigmoid(x).is_finite());
        }
        assert_eq!(log_sigmoid(-1e4_f64), -1e4);
        let (value, slope) = gelu(1.0_f64);
        assert!((value - 0.841_191_990_607_477_4).abs() < 1e-12, "{value}");
        let h = 1e-5;
        assert!((slope - (gelu(1.0 + h).0 - gelu(1.0 - h).0) / (2.0 * h)).abs() < 1e-9);
    }
}
