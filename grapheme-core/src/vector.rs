//! Plain loops on the widest registers that the processor has.
//!
//! Builds are for every processor of an architecture, so the compiler may use its smallest registers only. [`wide!`](crate::wide) compiles a
//! block once for each width and picks at run time. Additions keep the order in which they are written and are never
//! fused with multiplications, so the bits are those of the plain loop, on any processor.

/// Runs a block, compiled for the widest registers of this processor. What it calls must be inlined to gain from it: closures
/// within it are, and functions marked `#[inline(always)]`. About ten nanoseconds; meant for loops over many numbers.
///
/// ```
/// let mut x = [1.0, 2.0, 3.0];
/// grapheme_core::wide!(x.iter_mut().for_each(|x| *x *= 2.0));
/// assert_eq!(x, [2.0, 4.0, 6.0]);
/// ```
#[macro_export]
macro_rules! wide {
    ($($block:tt)*) => {
        $crate::vector::run(
            // Three callers, one for each width: left to itself, the compiler would make it a function of its own.
            #[inline(always)]
            || { $($block)* },
        )
    };
}

/// What [`wide!`](crate::wide) expands to.
#[inline(always)]
pub fn run<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

use crate::scalar::Scalar;

/// ln 2 in two parts: the first has zeros at its end, so that its product with a small integer is exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// The exponential in double precision as loops vectorise it, within two units of the last place and the same bits on every
/// machine: `2^k e^r` with `k = round(x / ln 2)`, ln 2 split in two (Cody and Waite, 1980), `e^r` by its Taylor polynomial of
/// degree 13. 0 below -708, the exponential of 709 above; NaN is not kept.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    // Adding this shifts the fraction out: the low bits of the sum are the rounded integer.
    const SHIFT: f64 = 6_755_399_441_055_744.0; // 1.5 x 2^52
    // 1 / 13!, 1 / 12!, ..., 1 / 2!.
    const TERMS: [f64; 12] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
    ];
    let clamped = if x > -708.0 { x } else { -708.0 };
    let clamped = if clamped < 709.0 { clamped } else { 709.0 };
    let shifted = clamped * std::f64::consts::LOG2_E + SHIFT;
    let k = shifted - SHIFT;
    let r = clamped - k * LN2_HIGH - k * LN2_LOW;
    let mut p = TERMS[0];
    for term in &TERMS[1..] {
        p = p * r + term;
    }
    let p = (p * r + 1.0) * r + 1.0;
    let power = f64::from_bits((shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(1023)) << 52);
    if x > -708.0 { p * power } else { 0.0 }
}

/// The logarithm in double precision as loops vectorise it, within two units of the last place and the same bits on every machine, for
/// positive normal numbers: `k ln 2 + ln m`, `m` within a square root of 2 of 1, `ln m = 2 atanh((m - 1) / (m + 1))` by its series.
/// Of anything else it is some number.
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    // 2 / 21, 2 / 19, ..., 2 / 3.
    const TERMS: [f64; 10] = [
        2.0 / 21.0,
        2.0 / 19.0,
        2.0 / 17.0,
        2.0 / 15.0,
        2.0 / 13.0,
        2.0 / 11.0,
        2.0 / 9.0,
        2.0 / 7.0,
        2.0 / 5.0,
        2.0 / 3.0,
    ];
    const ROOT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    // 2^52, whose low bits are an integer that is added to it.
    const SHIFT: f64 = 4_503_599_627_370_496.0;
    // The exponent goes up by one where the fraction is above the square root of 2.
    let bits = x.to_bits().wrapping_add(0x3FF0_0000_0000_0000 - ROOT_HALF);
    let k = f64::from_bits((bits >> 52) | SHIFT.to_bits()) - SHIFT - 1023.0;
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF).wrapping_add(ROOT_HALF));
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let mut p = TERMS[0];
    for term in &TERMS[1..] {
        p = p * z + term;
    }
    // 2 s = (m - 1) - s (m - 1), whose first part is exact.
    let f = m - 1.0;
    k * LN2_HIGH + (f - (s * (f - z * p) - k * LN2_LOW))
}

/// The largest of `x`, minus infinity if there is none.
#[inline(always)]
pub fn max<S: Scalar>(x: &[S]) -> S {
    let larger = |a: S, b: S| if b > a { b } else { a };
    let mut highs = [S::neg_infinity(); 8];
    let (x, rest) = x.as_chunks::<8>();
    for x in x {
        for k in 0..8 {
            highs[k] = larger(highs[k], x[k]);
        }
    }
    // In halves, as an iterator over them would hold them in memory all along.
    for half in [4, 2, 1] {
        for k in 0..half {
            highs[k] = larger(highs[k], highs[k + half]);
        }
    }
    let mut high = highs[0];
    for &x in rest {
        high = larger(high, x);
    }
    high
}

/// `<x, y>` in eight running sums: additions need not wait for each other, and the order is still fixed.
#[inline(always)]
pub fn dot<S: Scalar>(x: &[S], y: &[S]) -> S {
    let mut sums = [S::zero(); 8];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    for (x, y) in x.iter().zip(y) {
        for k in 0..8 {
            sums[k] += x[k] * y[k];
        }
    }
    halved(sums) + x_rest.iter().zip(y_rest).map(|(&x, &y)| x * y).sum::<S>()
}

/// `to += from`.
#[inline(always)]
pub fn add<S: Scalar>(to: &mut [S], from: &[S]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

/// `to += weight from`.
#[inline(always)]
pub fn add_scaled<S: Scalar>(to: &mut [S], weight: S, from: &[S]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += weight * from;
    }
}

/// The sum of `x`, added as in [`dot`].
#[inline(always)]
pub fn sum<S: Scalar>(x: &[S]) -> S {
    sum_of(x, |x| x)
}

/// The sum of what `f` makes of each number, added as in [`dot`].
#[inline(always)]
pub fn sum_of<S: Scalar>(x: &[S], f: impl Fn(S) -> S) -> S {
    let mut sums = [S::zero(); 8];
    let (x, rest) = x.as_chunks::<8>();
    for x in x {
        for k in 0..8 {
            sums[k] += f(x[k]);
        }
    }
    let mut of_rest = S::zero();
    for &x in rest {
        of_rest += f(x);
    }
    halved(sums) + of_rest
}

/// Eight running sums added up: folded in halves, which leaves them in one register while a loop runs.
#[inline(always)]
pub fn halved<S: Scalar>(mut sums: [S; 8]) -> S {
    for half in [4, 2, 1] {
        for k in 0..half {
            let other = sums[k + half];
            sums[k] += other;
        }
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_exponential_and_wide_loops_have_the_bits_of_narrow_ones() {
        let xs: Vec<f64> = (-707_999..=708_999).map(|i| f64::from(i) * 1e-3 + 1e-5).collect();
        let narrow: Vec<f64> = xs.iter().map(|&x| exp(x)).collect();
        let worst = xs.iter().zip(&narrow).map(|(x, e)| (e / x.exp() - 1.0).abs()).fold(0.0, f64::max);
        assert!(worst <= 2.0 * f64::EPSILON, "relative error {worst:e}");
        let mut found = xs.clone();
        wide!(found.iter_mut().for_each(|x| *x = exp(*x)));
        assert!(found.iter().zip(&narrow).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert_eq!([exp(0.0), exp(-709.0), exp(f64::NEG_INFINITY)], [1.0, 0.0, 0.0]);
        assert!(exp(f64::INFINITY) == exp(709.0) && exp(709.0) > 8e307);
        let ys: Vec<f64> = xs.iter().map(|x| x.sin()).collect();
        assert_eq!([max(&xs), max(&xs[..3]), max(&[])], [xs[xs.len() - 1], xs[2], f64::NEG_INFINITY]);
        assert_eq!(wide!(dot(&xs[..1003], &ys[..1003])).to_bits(), dot(&xs[..1003], &ys[..1003]).to_bits());
        let sum: f64 = xs[..1003].iter().zip(&ys).map(|(x, y)| x * y).sum();
        assert!((dot(&xs[..1003], &ys[..1003]) / sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn ln_is_the_logarithm() {
        let near = (1..=200_000).flat_map(|i| [1.0 - f64::from(i) * 1e-6, 1.0 + f64::from(i) * 5e-6]);
        let far = (-1020..=1020).flat_map(|k| [1.0, 1.1, 1.414, 1.415, 1.9].map(|m| m * 2f64.powi(k)));
        let worst = near.chain(far).map(|x| (ln(x) / x.ln() - 1.0).abs()).filter(|e| !e.is_nan()).fold(0.0, f64::max);
        assert!(worst <= 2.0 * f64::EPSILON, "relative error {worst:e}");
        assert_eq!(ln(1.0), 0.0);
        let xs: Vec<f64> = (1..1000).map(|i| f64::from(i) * 0.37).collect();
        let mut wide = xs.clone();
        wide!(wide.iter_mut().for_each(|x| *x = ln(*x)));
        assert!(wide.iter().zip(&xs).all(|(a, &x)| a.to_bits() == ln(x).to_bits()));
    }
}
