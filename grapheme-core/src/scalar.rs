//! The number type that everything numeric is generic over.

use crate::kept::Keep;
use crate::product::Registers;
use ndarray::NdFloat;
use num_traits::FromPrimitive;
use std::fmt::{Debug, Display};
use std::iter::Sum;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` trains, `f64` proves. Sealed: the derivatives are proved for these two types only.
pub trait Scalar:
    sealed::Sealed + Keep + Registers + Default + NdFloat + FromPrimitive + Sum + Debug + Display + Send + Sync + 'static
{
    /// The name of the type as people write it, `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// A constant of the source text, rounded to this type. Every literal in generic code goes through here.
    fn lit(x: f64) -> Self;

    /// The same value in `f64`, exactly.
    fn widen(self) -> f64;

    /// The exponential as activations use it: for `f32` a polynomial that loops vectorise, within three units of the last
    /// place and the same bits on every machine, clamped to the range of normal numbers; for `f64` the one of the
    /// standard library. NaN stays NaN.
    fn quick_exp(self) -> Self;

    /// The logarithm of `1 + x` for `x` from 0 to 1, likewise: for `f32` within three units of the last place of the result, however small
    /// it is, and for `f64` that of the standard library. NaN stays NaN.
    fn quick_ln_1p(self) -> Self;
}

impl Scalar for f32 {
    const NAME: &'static str = "f32";

    #[inline(always)]
    fn lit(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }

    /// `2^k e^r` with `k = round(x / ln 2)` and `|r| <= ln 2 / 2`; ln 2 is split in two so that `r` keeps its digits
    /// (Cody and Waite, Software manual for the elementary functions, 1980). `e^r` is its Taylor polynomial of degree 6.
    #[inline(always)]
    fn quick_exp(self) -> Self {
        // Adding this shifts the fraction out: the low bits of the sum are the rounded integer.
        const SHIFT: f32 = 12_582_912.0; // 1.5 x 2^23
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        // Written so that a NaN passes both comparisons by.
        let x = if self < -87.0 { -87.0 } else { self };
        let x = if x > 88.0 { 88.0 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + SHIFT;
        let k = shifted - SHIFT;
        let r = x - k * LN2_HIGH - k * LN2_LOW;
        let p = 1.0 / 720.0;
        let p = p * r + 1.0 / 120.0;
        let p = p * r + 1.0 / 24.0;
        let p = p * r + 1.0 / 6.0;
        let p = p * r + 0.5;
        let p = p * r + 1.0;
        let p = p * r + 1.0;
        let power = f32::from_bits((shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127)) << 23);
        p * power
    }

    /// `2 atanh(s)` with `s = x / (2 + x)`, at most a third, by its series.
    #[inline(always)]
    fn quick_ln_1p(self) -> Self {
        const TERMS: [f32; 7] = [2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0];
        let s = self / (2.0 + self);
        let z = s * s;
        let mut p = TERMS[0];
        for term in &TERMS[1..] {
            p = p * z + term;
        }
        2.0 * s + s * (z * p)
    }
}

impl Scalar for f64 {
    const NAME: &'static str = "f64";

    #[inline(always)]
    fn lit(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }

    #[inline(always)]
    fn quick_exp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn quick_ln_1p(self) -> Self {
        self.ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_ln_1p_is_the_logarithm() {
        let near = (0..=100_000).map(|i| i as f32 * 1e-5);
        let small = (0..=126).map(|k| 1.3 * 2.0_f32.powi(-k - 1));
        let worst = near.chain(small).filter(|&x| x > 0.0).map(|x| {
            let exact = f64::from(x).ln_1p();
            (f64::from(x.quick_ln_1p()) / exact - 1.0).abs()
        });
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 3.0 * f64::from(f32::EPSILON), "relative error {worst:e}");
        assert!(0.0_f32.quick_ln_1p() == 0.0 && f32::NAN.quick_ln_1p().is_nan());
    }

    #[test]
    fn quick_exp_is_the_exponential() {
        let mut worst = 0.0_f64;
        for i in -86_999..=87_999 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(x.quick_exp()) / exact - 1.0).abs());
        }
        assert!(worst < 3.0 * f64::from(f32::EPSILON), "relative error {worst:e}");
        assert_eq!(0.0_f32.quick_exp(), 1.0);
        assert!(f32::NAN.quick_exp().is_nan());
        for (x, low, high) in [(f32::NEG_INFINITY, 0.0, 2e-38), (-1e4, 0.0, 2e-38), (1e4, 1e38, f32::MAX)] {
            assert!((low..=high).contains(&x.quick_exp()));
        }
    }
}
