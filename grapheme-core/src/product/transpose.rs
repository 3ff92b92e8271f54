//! Rows to columns, as the kernel of products reads a factor that is stored the other way round.

use crate::scalar::Scalar;
use std::ops::Range;

/// A matrix of rows that are `from_stride` apart, and where its columns go: as rows that are `to_stride` apart.
pub struct Transpose<'a, S> {
    pub(super) from: &'a [S],
    pub(super) from_stride: usize,
    pub(super) to: &'a mut [S],
    pub(super) to_stride: usize,
}

impl<S: Scalar> Transpose<'_, S> {
    /// Some rows and columns, number by number, in the order of the rows: what is written fits the cache, what is read may be far away.
    fn plain(&mut self, rows: Range<usize>, columns: Range<usize>) {
        for i in rows {
            for j in columns.clone() {
                self.to[j * self.to_stride + i] = self.from[i * self.from_stride + j];
            }
        }
    }
}

/// `n` rows of `m` numbers.
pub(super) fn f64s(mut work: Transpose<'_, f64>, n: usize, m: usize) {
    work.plain(0..n, 0..m);
}

/// `n` rows of `m` numbers; whole blocks of eight by eight go through registers where there are such.
pub(super) fn f32s(mut work: Transpose<'_, f32>, n: usize, m: usize) {
    let whole = blocks(&mut work, n, m);
    work.plain(0..whole.0, whole.1..m);
    work.plain(whole.0..n, 0..m);
}

/// The blocks that fit. Returns how many rows and columns they are.
#[cfg(target_arch = "x86_64")]
fn blocks(work: &mut Transpose<'_, f32>, n: usize, m: usize) -> (usize, usize) {
    use pulp::x86::V3;
    use pulp::{Simd, WithSimd, cast};
    use std::arch::x86_64::__m256;

    const BLOCK: usize = 8;

    /// Two rows, from one place on, their numbers in turn: halves of each pair of four.
    #[inline(always)]
    fn pair(V3 { avx, .. }: V3, from: &[f32], stride: usize) -> [__m256; 2] {
        let row = |at: usize| *from[at..].first_chunk::<BLOCK>().expect("a whole block");
        let (a, b) = (cast(row(0)), cast(row(stride)));
        [avx._mm256_unpacklo_ps(a, b), avx._mm256_unpackhi_ps(a, b)]
    }

    /// Columns 0 to 3 of four rows, and beside them 4 to 7.
    #[inline(always)]
    fn four(V3 { avx, .. }: V3, [a, b]: [__m256; 2], [c, d]: [__m256; 2]) -> [__m256; 4] {
        [
            avx._mm256_shuffle_ps::<0x44>(a, c),
            avx._mm256_shuffle_ps::<0xEE>(a, c),
            avx._mm256_shuffle_ps::<0x44>(b, d),
            avx._mm256_shuffle_ps::<0xEE>(b, d),
        ]
    }

    struct Blocks<'w, 'a>(V3, &'w mut Transpose<'a, f32>, usize, usize);
    impl WithSimd for Blocks<'_, '_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<V: Simd>(self, _: V) {
            let Self(simd, Transpose { from, from_stride, to, to_stride }, n, m) = self;
            let (from_stride, to_stride) = (*from_stride, *to_stride);
            for i in (0..n).step_by(BLOCK) {
                for j in (0..m).step_by(BLOCK) {
                    let from = &from[i * from_stride + j..];
                    let two = 2 * from_stride;
                    let above = four(simd, pair(simd, from, from_stride), pair(simd, &from[two..], from_stride));
                    let from = &from[2 * two..];
                    let below = four(simd, pair(simd, from, from_stride), pair(simd, &from[two..], from_stride));
                    for c in 0..4 {
                        let left: [f32; BLOCK] = cast(simd.avx._mm256_permute2f128_ps::<0x20>(above[c], below[c]));
                        let right: [f32; BLOCK] = cast(simd.avx._mm256_permute2f128_ps::<0x31>(above[c], below[c]));
                        to[(j + c) * to_stride + i..][..BLOCK].copy_from_slice(&left);
                        to[(j + c + 4) * to_stride + i..][..BLOCK].copy_from_slice(&right);
                    }
                }
            }
        }
    }
    let Some(simd) = V3::try_new() else { return (0, 0) };
    let whole = (n - n % BLOCK, m - m % BLOCK);
    Simd::vectorize(simd, Blocks(simd, work, whole.0, whole.1));
    whole
}

/// Other processors have no such instructions here.
#[cfg(not(target_arch = "x86_64"))]
fn blocks(_: &mut Transpose<'_, f32>, _: usize, _: usize) -> (usize, usize) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole blocks and what is beside them, and nothing outside.
    #[test]
    fn rows_become_columns() {
        for (n, m) in [(0, 0), (1, 9), (8, 8), (16, 40), (23, 37), (7, 65), (64, 3)] {
            let (from_stride, to_stride) = (m + 3, n + 2);
            let from: Vec<f64> = (0..n * from_stride + 8).map(|i| i as f64).collect();
            let mut double = vec![-1.0; m * to_stride + 8];
            f64s(Transpose { from: &from, from_stride, to: &mut double, to_stride }, n, m);
            let from: Vec<f32> = from.iter().map(|&x| x as f32).collect();
            let mut single = vec![-1.0; double.len()];
            f32s(Transpose { from: &from, from_stride, to: &mut single, to_stride }, n, m);
            for (at, (&a, &b)) in double.iter().zip(&single).enumerate() {
                let (j, i) = (at / to_stride, at % to_stride);
                let expected = if i < n && j < m { (i * from_stride + j) as f64 } else { -1.0 };
                assert_eq!((a, f64::from(b)), (expected, expected), "{n} x {m}, row {j}, column {i}");
            }
        }
    }
}
