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

/// `n` rows of `m` numbers; whole blocks of eight by four go through registers where there are such.
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
    use std::arch::x86_64::{__m128, __m256};

    const ROWS: usize = 8;
    const COLUMNS: usize = 4;

    /// Columns of eight rows, from the same place on. Halves of registers come from memory as they are: to exchange them later would take
    /// longer.
    #[inline(always)]
    fn columns(V3 { avx, .. }: V3, rows: [&[f32; COLUMNS]; ROWS]) -> [__m256; COLUMNS] {
        // By a macro, not by the function of that name: that goes through memory.
        macro_rules! halves {
            ($row:literal) => {{
                let halves: [__m128; 2] = [cast!(*rows[$row]), cast!(*rows[$row + 4])];
                avx._mm256_insertf128_ps::<1>(avx._mm256_castps128_ps256(halves[0]), halves[1])
            }};
        }
        let (a, b, c, d) = (halves!(0), halves!(1), halves!(2), halves!(3));
        let (ab, cd) = (avx._mm256_unpacklo_ps(a, b), avx._mm256_unpacklo_ps(c, d));
        let (ab_high, cd_high) = (avx._mm256_unpackhi_ps(a, b), avx._mm256_unpackhi_ps(c, d));
        [
            avx._mm256_shuffle_ps::<0x44>(ab, cd),
            avx._mm256_shuffle_ps::<0xEE>(ab, cd),
            avx._mm256_shuffle_ps::<0x44>(ab_high, cd_high),
            avx._mm256_shuffle_ps::<0xEE>(ab_high, cd_high),
        ]
    }

    struct Blocks<'w, 'a>(V3, &'w mut Transpose<'a, f32>, usize, usize);
    impl WithSimd for Blocks<'_, '_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<V: Simd>(self, _: V) {
            let Self(simd, Transpose { from, from_stride, to, to_stride }, n, m) = self;
            let (to, from_stride, to_stride) = (&mut **to, *from_stride, *to_stride);
            for i in (0..n).step_by(ROWS) {
                macro_rules! row {
                    ($row:literal) => {
                        from[(i + $row) * from_stride..][..m].as_chunks::<COLUMNS>().0
                    };
                }
                let rows = [row!(0), row!(1), row!(2), row!(3), row!(4), row!(5), row!(6), row!(7)];
                let mut at = i;
                for j in 0..m / COLUMNS {
                    let [a, b, c, d, e, f, g, h] = rows;
                    for column in columns(simd, [&a[j], &b[j], &c[j], &d[j], &e[j], &f[j], &g[j], &h[j]]) {
                        *to[at..].first_chunk_mut::<ROWS>().expect("a whole block") = cast!(column);
                        at += to_stride;
                    }
                }
            }
        }
    }
    let Some(simd) = V3::try_new() else { return (0, 0) };
    let whole = (n - n % ROWS, m - m % COLUMNS);
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
