//! The kernel of matrix products: tiles of the result that stay in registers while rows of the right factor stream by.
//!
//! A tile is six rows by four registers (two where a processor has but sixteen). Its sums run over 128 products at a time, in order and
//! fused where the processor can, and are then added to the result: so the bits depend on no width of registers, on no cache and on no
//! neighbour. For that long the right factor is laid out anew, a column of tiles after the other, which fits the cache next to the
//! registers (Goto and van de Geijn, Anatomy of high-performance matrix multiplication, 2008); the left factor is read where it is.

use super::transpose::{self, Transpose};
use crate::kept::{Aligned, Matrix};
use crate::scalar::Scalar;
use ndarray::ArrayView2;
use pulp::{Arch, Simd, WithSimd};

/// Rows of a tile.
const ROWS: usize = 6;
/// Products that are summed before they are added to the result.
pub const DEPTH: usize = 128;
/// A processor that has so many registers has room for tiles of twice the width.
const MANY_REGISTERS: usize = 32;
/// Below so many rows a right factor is read but once or twice, so it is not laid out.
const FEW_ROWS: usize = 24;
/// The most registers side by side in a tile.
const MOST_REGISTERS: usize = 4;
/// The most numbers in a register.
const LANES: usize = 16;

/// What the kernel asks of a type of numbers: registers of them.
pub trait Registers: Sized {
    /// A register, on a kind of processor.
    type Of<V: Simd>: Copy;

    /// How many numbers fit a register.
    fn lanes<V: Simd>() -> usize;

    /// The same in every place.
    fn splat<V: Simd>(simd: V, x: Self) -> Self::Of<V>;

    /// As many whole registers as there are.
    fn registers<V: Simd>(x: &[Self]) -> &[Self::Of<V>];

    /// The same, to be written.
    fn registers_mut<V: Simd>(x: &mut [Self]) -> &mut [Self::Of<V>];

    /// `a b + c`, fused where the processor can.
    fn multiply_add<V: Simd>(simd: V, a: Self::Of<V>, b: Self::Of<V>, c: Self::Of<V>) -> Self::Of<V>;

    /// `a + b`.
    fn plus<V: Simd>(simd: V, a: Self::Of<V>, b: Self::Of<V>) -> Self::Of<V>;

    /// Writes `n` rows of `m` numbers as columns.
    fn transpose(work: Transpose<'_, Self>, n: usize, m: usize);

    /// Carries out a product. A function of each type, so that the many forms of the kernel are compiled once.
    fn multiply(work: Multiply<'_, Self>);
}

macro_rules! registers {
    ($type:ty, $of:ident, $lanes:ident, $splat:ident, $cut:ident, $cut_mut:ident, $multiply_add:ident, $add:ident) => {
        impl Registers for $type {
            type Of<V: Simd> = V::$of;

            #[inline(always)]
            fn lanes<V: Simd>() -> usize {
                V::$lanes
            }

            #[inline(always)]
            fn splat<V: Simd>(simd: V, x: Self) -> V::$of {
                simd.$splat(x)
            }

            #[inline(always)]
            fn registers<V: Simd>(x: &[Self]) -> &[V::$of] {
                V::$cut(x).0
            }

            #[inline(always)]
            fn registers_mut<V: Simd>(x: &mut [Self]) -> &mut [V::$of] {
                V::$cut_mut(x).0
            }

            #[inline(always)]
            fn multiply_add<V: Simd>(simd: V, a: V::$of, b: V::$of, c: V::$of) -> V::$of {
                simd.$multiply_add(a, b, c)
            }

            #[inline(always)]
            fn plus<V: Simd>(simd: V, a: V::$of, b: V::$of) -> V::$of {
                simd.$add(a, b)
            }

            fn transpose(work: Transpose<'_, Self>, n: usize, m: usize) {
                transpose::$of(work, n, m);
            }

            fn multiply(work: Multiply<'_, Self>) {
                Arch::new().dispatch(work);
            }
        }
    };
}

registers!(f32, f32s, F32_LANES, splat_f32s, as_simd_f32s, as_mut_simd_f32s, mul_add_e_f32s, add_f32s);
registers!(f64, f64s, F64_LANES, splat_f64s, as_simd_f64s, as_mut_simd_f64s, mul_add_e_f64s, add_f64s);

/// A right factor as the kernel reads it, for products that share it: each then costs what its operations do, however few its rows are.
#[derive(Debug)]
pub struct Factor<S: Scalar> {
    panels: Aligned<S>,
    rows: usize,
    columns: usize,
}

impl<S: Scalar> Factor<S> {
    /// Lays out `b`.
    pub fn new(b: ArrayView2<'_, S>) -> Self {
        struct Pack<'a, S: Scalar>(Source<'a, S>, usize, usize);
        impl<S: Scalar> WithSimd for Pack<'_, S> {
            type Output = Aligned<S>;

            #[inline(always)]
            fn with_simd<V: Simd>(self, _: V) -> Aligned<S> {
                let Self(b, k, m) = self;
                let padded = m.next_multiple_of(S::lanes::<V>());
                let mut panels = Aligned::unset(k * padded);
                for depth in (0..k).step_by(DEPTH) {
                    let length = DEPTH.min(k - depth);
                    pack::<S, V>(&b, (depth, length), m, &mut panels[depth * padded..][..length * padded]);
                }
                panels
            }
        }
        let ((rows, columns), mut copy) = (b.dim(), None);
        let panels = Arch::new().dispatch(Pack(Source::of(b, &mut copy), rows, columns));
        Self { panels, rows, columns }
    }
}

/// The right factor of a product.
#[derive(Clone, Copy, Debug)]
pub enum Right<'a, S: Scalar> {
    /// As it is.
    Array(ArrayView2<'a, S>),
    /// Laid out before.
    Factor(&'a Factor<S>),
}

impl<S: Scalar> Right<'_, S> {
    /// Rows and columns.
    pub fn dim(&self) -> (usize, usize) {
        match self {
            Self::Array(array) => array.dim(),
            Self::Factor(factor) => (factor.rows, factor.columns),
        }
    }
}

impl<'a, S: Scalar> From<ArrayView2<'a, S>> for Right<'a, S> {
    fn from(array: ArrayView2<'a, S>) -> Self {
        Self::Array(array)
    }
}

impl<'a, S: Scalar> From<&'a Factor<S>> for Right<'a, S> {
    fn from(factor: &'a Factor<S>) -> Self {
        Self::Factor(factor)
    }
}

/// The left factor of a product.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left<'a, S: Scalar> {
    /// As it is: each row is one of the result.
    Array(ArrayView2<'a, S>),
    /// The first row of each pair: what is made of it goes to the second row of the result.
    Rows(&'a Matrix<S>, &'a [[u32; 2]]),
    /// The transpose of a matrix: of each pair, its first row is multiplied with the second of the right factor, and all are summed, in the
    /// order of that.
    Terms(&'a Matrix<S>, &'a [[u32; 2]]),
}

/// `c = a b`, or `c += a b` if it `adds`, and `bias` for each row, if there is one; `c` is in row-major order, and all shapes fit.
pub(super) fn multiply<S: Scalar>(c: &mut [S], adds: bool, bias: Option<&[S]>, a: Left<'_, S>, b: Right<'_, S>) {
    let ([k, m], mut a_copy, mut b_copy) = (<[usize; 2]>::from(b.dim()), None, None);
    let b = match b {
        Right::Array(b) => Layout::Source(Source::of(b, &mut b_copy)),
        Right::Factor(factor) => Layout::Panels(&factor.panels),
    };
    let (n, a, order) = match a {
        Left::Array(a) => (a.nrows(), Source::of(a, &mut a_copy), Order::All),
        Left::Rows(a, pairs) => (pairs.len(), Source::Rows(a.values(), a.ncols()), Order::Rows(pairs)),
        Left::Terms(a, pairs) => (a.ncols(), Source::Columns(a.values(), a.ncols()), Order::Terms(pairs)),
    };
    S::multiply(Multiply { c, adds, bias, shape: [n, k, m], a, order, b });
}

/// What is read of a left factor: see [`Left`].
#[derive(Clone, Copy)]
enum Order<'a> {
    All,
    Rows(&'a [[u32; 2]]),
    Terms(&'a [[u32; 2]]),
}

/// A factor in memory.
#[derive(Clone, Copy)]
enum Source<'a, S> {
    /// Row after row, of so many columns.
    Rows(&'a [S], usize),
    /// Column after column, of so many rows.
    Columns(&'a [S], usize),
}

impl<'a, S: Scalar> Source<'a, S> {
    /// The factor itself, if its rows or its columns stand one after the other, else a copy.
    fn of(x: ArrayView2<'a, S>, copy: &'a mut Option<Matrix<S>>) -> Self {
        let (n, m) = x.dim();
        if let Some(rows) = x.to_slice() {
            return Self::Rows(rows, m);
        }
        if let Some(columns) = x.reversed_axes().to_slice() {
            return Self::Columns(columns, n);
        }
        let copy = copy.insert(Matrix::unset((n, m)));
        copy.assign(&x);
        Self::Rows(copy.values(), m)
    }
}

/// A right factor as it is, or laid out.
enum Layout<'a, S> {
    Source(Source<'a, S>),
    Panels(&'a [S]),
}

/// How many numbers stand side by side in a tile.
#[inline(always)]
fn tile_width<S: Scalar, V: Simd>() -> usize {
    S::lanes::<V>() * if V::REGISTER_COUNT < MANY_REGISTERS { 2 } else { MOST_REGISTERS }
}

/// Rows `depth..depth + length` of a factor of `m` columns, a tile's width of columns after the other, the last register filled up with
/// zeros.
#[inline(always)]
fn pack<S: Scalar, V: Simd>(b: &Source<'_, S>, (depth, length): (usize, usize), m: usize, panels: &mut [S]) {
    let width = tile_width::<S, V>();
    for (j, panel) in (0..m).step_by(width).zip(panels.chunks_mut(length * width)) {
        let (columns, stride) = (width.min(m - j), panel.len() / length);
        match *b {
            Source::Rows(b, _) => {
                let rows = b[depth * m + j..].chunks(m).take(length);
                if columns < stride {
                    for (to, from) in panel.chunks_exact_mut(stride).zip(rows) {
                        to[..columns].copy_from_slice(&from[..columns]);
                        to[columns..].fill(S::zero());
                    }
                } else {
                    // By registers, as a call for so few numbers would take longer than to copy them.
                    match stride / S::lanes::<V>() {
                        1 => copy_rows::<S, V, 1>(rows, panel),
                        2 => copy_rows::<S, V, 2>(rows, panel),
                        3 => copy_rows::<S, V, 3>(rows, panel),
                        _ => copy_rows::<S, V, MOST_REGISTERS>(rows, panel),
                    }
                }
            }
            Source::Columns(b, k) => {
                if columns < stride {
                    panel.fill(S::zero());
                }
                let from = &b[j * k + depth..];
                S::transpose(Transpose { from, from_stride: k, to: panel, to_stride: stride }, columns, length);
            }
        }
    }
}

/// The first C registers of each row, one row after the other.
#[inline(always)]
fn copy_rows<'a, S: Scalar, V: Simd, const C: usize>(rows: impl Iterator<Item = &'a [S]>, panel: &mut [S]) {
    for (to, from) in S::registers_mut::<V>(panel).as_chunks_mut::<C>().0.iter_mut().zip(rows) {
        *to = *S::registers::<V>(from).first_chunk().expect("as wide as a panel");
    }
}

/// A product to be carried out.
pub struct Multiply<'a, S> {
    c: &'a mut [S],
    adds: bool,
    bias: Option<&'a [S]>,
    shape: [usize; 3],
    a: Source<'a, S>,
    order: Order<'a>,
    b: Layout<'a, S>,
}

impl<S: Scalar> WithSimd for Multiply<'_, S> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let Self { c, mut adds, mut bias, shape: [n, k, m], a, order, b } = self;
        if n * m == 0 {
            return;
        }
        if k == 0 {
            for row in c.chunks_exact_mut(m) {
                if !adds {
                    row.fill(S::zero());
                }
                row.iter_mut().zip(bias.unwrap_or_default()).for_each(|(c, &bias)| *c += bias);
            }
        }
        let (lanes, tile) = (S::lanes::<V>(), tile_width::<S, V>());
        let padded = m.next_multiple_of(lanes);
        let is_read_once = n < FEW_ROWS && m == padded && matches!(a, Source::Rows(..));
        let mut block = Aligned::unset(match b {
            Layout::Source(Source::Rows(..)) if is_read_once => 0,
            Layout::Source(_) => DEPTH.min(k) * padded,
            Layout::Panels(_) => 0,
        });
        // Blocks of nearly the same height.
        let blocks = n.div_ceil(ROWS);
        let (least, higher) = (n / blocks, n % blocks);
        for depth in (0..k).step_by(DEPTH) {
            let length = DEPTH.min(k - depth);
            let terms = match order {
                Order::Terms(pairs) => {
                    let before = |end: usize| pairs.partition_point(|&[_, to]| (to as usize) < end);
                    Some(&pairs[before(depth)..before(depth + length)])
                }
                Order::All | Order::Rows(_) => None,
            };
            let (rows, is_packed) = match &b {
                Layout::Source(Source::Rows(b, _)) if is_read_once => (&b[depth * m..][..length * m], false),
                Layout::Source(b) => {
                    pack::<S, V>(b, (depth, length), m, &mut block[..length * padded]);
                    (&block[..length * padded], true)
                }
                Layout::Panels(panels) => (&panels[depth * padded..][..length * padded], true),
            };
            for j in (0..m).step_by(tile) {
                let (width, registers) = (tile.min(m - j), tile.min(padded - j) / lanes);
                let (b, b_stride) = if is_packed {
                    (&rows[length * j..][..length * registers * lanes], registers * lanes)
                } else {
                    (&rows[j..], m)
                };
                let mut i = 0;
                for block in 0..blocks {
                    let height = least + usize::from(block < higher);
                    let bias = bias.map(|bias| &bias[j..][..width]);
                    // Written out: arrays by closures are calls, which cost as much as a small tile.
                    let row = |r: usize| {
                        let row = i + r.min(height - 1);
                        match order {
                            Order::Rows(pairs) => [pairs[row][0] as usize, pairs[row][1] as usize],
                            Order::All | Order::Terms(_) => [row; 2],
                        }
                    };
                    let rows = [row(0), row(1), row(2), row(3), row(4), row(5)];
                    let columns = (j, width);
                    let work = Tile { c, c_stride: m, columns, adds, bias, a, rows, depth, length, terms, b, b_stride };
                    if registers == 1 {
                        work.of_height::<V, 1>(simd, height);
                    } else if V::REGISTER_COUNT < MANY_REGISTERS || registers == 2 {
                        work.of_height::<V, 2>(simd, height);
                    } else if registers == 3 {
                        work.of_height::<V, 3>(simd, height);
                    } else {
                        work.of_height::<V, 4>(simd, height);
                    }
                    i += height;
                }
            }
            (adds, bias) = (true, None);
        }
    }
}

/// One tile of the result, and what is summed into it.
struct Tile<'a, S> {
    c: &'a mut [S],
    c_stride: usize,
    /// The first column, and how many there are.
    columns: (usize, usize),
    adds: bool,
    bias: Option<&'a [S]>,
    a: Source<'a, S>,
    /// The rows of the left factor, each with that of the result.
    rows: [[usize; 2]; ROWS],
    /// Where the sums begin.
    depth: usize,
    length: usize,
    /// See [`Left::Terms`].
    terms: Option<&'a [[u32; 2]]>,
    b: &'a [S],
    b_stride: usize,
}

impl<S: Scalar> Tile<'_, S> {
    #[inline(always)]
    fn of_height<V: Simd, const C: usize>(self, simd: V, height: usize) {
        match height {
            1 => simd.vectorize(Exact::<S, 1, C>(self)),
            2 => simd.vectorize(Exact::<S, 2, C>(self)),
            3 => simd.vectorize(Exact::<S, 3, C>(self)),
            4 => simd.vectorize(Exact::<S, 4, C>(self)),
            5 => simd.vectorize(Exact::<S, 5, C>(self)),
            _ => simd.vectorize(Exact::<S, ROWS, C>(self)),
        }
    }
}

/// A tile of R rows and C registers.
struct Exact<'a, S, const R: usize, const C: usize>(Tile<'a, S>);

/// Repeats a block for each row of a tile, and the registers of that row. An array of all of them, or a loop over rows, is taken apart too
/// late for the tile to be in registers.
macro_rules! each_row {
    ($height:ident, $rows:ident, |$r:ident, $row:ident| $block:block) => {
        each_row!($height, $rows, $r, $row, $block, 0 1 2 3 4 5)
    };
    ($height:ident, $rows:ident, $r:ident, $row:ident, $block:block, $($index:tt)*) => {
        $(if $index < $height {
            let ($r, $row) = ($index, &mut $rows.$index);
            $block
        })*
    };
}

/// The registers of the rows of a tile.
type Rows<Row> = (Row, Row, Row, Row, Row, Row);

impl<S: Scalar, const R: usize, const C: usize> WithSimd for Exact<'_, S, R, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let Tile { c, c_stride, columns, adds, bias, a, rows, depth, length, terms, b, b_stride } = self.0;
        let lanes = S::lanes::<V>();
        let mut sums = match a {
            Source::Rows(a, a_stride) => {
                let row = |r: usize| &a[rows[r][0] * a_stride + depth..][..length];
                let rows = [row(0), row(1), row(2), row(3), row(4), row(5)];
                let pick = |&k: &usize, r: usize| rows[r][k];
                if b_stride == C * lanes {
                    sums::<S, V, R, C, _>(simd, 0..length, pick, S::registers::<V>(b).as_chunks::<C>().0.iter())
                } else {
                    let b = b.chunks(b_stride).map(
                        #[inline(always)]
                        |row| S::registers::<V>(row).first_chunk::<C>().expect("as wide as a tile"),
                    );
                    sums::<S, V, R, C, _>(simd, 0..length, pick, b)
                }
            }
            Source::Columns(a, a_stride) => {
                let (first, b) = (rows[0][0], S::registers::<V>(b).as_chunks::<C>().0);
                let pick = |column: &&[S; R], r: usize| column[r];
                match terms {
                    None => {
                        let columns = a[depth * a_stride + first..].chunks(a_stride).map(
                            #[inline(always)]
                            |column| column.first_chunk::<R>().expect("as high as a tile"),
                        );
                        sums::<S, V, R, C, _>(simd, columns, pick, b.iter())
                    }
                    Some(terms) => {
                        let columns = terms.iter().map(
                            #[inline(always)]
                            |&[from, _]| {
                                a[from as usize * a_stride + first..].first_chunk().expect("as high as a tile")
                            },
                        );
                        let b = terms.iter().map(
                            #[inline(always)]
                            |&[_, to]| &b[to as usize - depth],
                        );
                        sums::<S, V, R, C, _>(simd, columns, pick, b)
                    }
                }
            }
        };
        each_row!(R, sums, |r, row| {
            let (j, width) = columns;
            let c = &mut c[rows[r][1] * c_stride + j..][..width];
            if width == C * lanes {
                let c = &mut S::registers_mut::<V>(c)[..C];
                if let Some(bias) = bias {
                    let bias = &S::registers::<V>(bias)[..C];
                    for q in 0..C {
                        row[q] = S::plus(simd, row[q], bias[q]);
                    }
                }
                for q in 0..C {
                    c[q] = if adds { S::plus(simd, c[q], row[q]) } else { row[q] };
                }
            } else {
                let mut numbers = [S::zero(); MOST_REGISTERS * LANES];
                S::registers_mut::<V>(&mut numbers)[..C].copy_from_slice(row);
                numbers.iter_mut().zip(bias.unwrap_or_default()).for_each(|(sum, &bias)| *sum += bias);
                for (c, &sum) in c.iter_mut().zip(&numbers) {
                    *c = if adds { *c + sum } else { sum };
                }
            }
        });
    }
}

/// The sums of a tile: over columns of the left factor, of which `pick` takes the number of a row, and rows of the right one.
#[inline(always)]
fn sums<'b, S: Scalar, V: Simd, const R: usize, const C: usize, T>(
    simd: V,
    a: impl Iterator<Item = T>,
    pick: impl Fn(&T, usize) -> S,
    b: impl Iterator<Item = &'b [S::Of<V>; C]>,
) -> Rows<[S::Of<V>; C]>
where
    S::Of<V>: 'b,
{
    let zeros = [S::splat(simd, S::zero()); C];
    let mut sums = (zeros, zeros, zeros, zeros, zeros, zeros);
    for (a, b) in a.zip(b) {
        each_row!(R, sums, |r, row| {
            let a = S::splat(simd, pick(&a, r));
            for c in 0..C {
                row[c] = S::multiply_add(simd, a, b[c], row[c]);
            }
        });
    }
    sums
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::layers::uniform;
    use crate::random::Stream;

    /// Where products are fused, registers of any width give the same bits; where they are not, the same but for rounding.
    #[test]
    fn bits_are_those_of_any_registers() {
        let mut stream = Stream::new(3);
        for (n, k, m) in [(1, 3, 1), (5, 140, 37), (25, 129, 70), (40, 300, 64)] {
            let (a, b) = (uniform::<f32>((n, k), 1.0, &mut stream), uniform::<f32>((k, m), 1.0, &mut stream));
            let on = |run: &dyn Fn(Multiply<'_, f32>)| {
                let mut c = vec![f32::NAN; n * m];
                let (a, b) = (a.as_slice().unwrap(), b.as_slice().unwrap());
                let b = Layout::Source(Source::Rows(b, m));
                run(Multiply {
                    c: &mut c,
                    adds: false,
                    bias: None,
                    shape: [n, k, m],
                    a: Source::Rows(a, k),
                    order: Order::All,
                    b,
                });
                c
            };
            let best = on(&|work| Arch::new().dispatch(work));
            let plain = on(&|work| Simd::vectorize(pulp::Scalar, work));
            assert!(best.iter().zip(&plain).all(|(x, y)| (x - y).abs() < 2e-5));
            if let Some(narrow) = pulp::x86::V3::try_new() {
                assert_eq!(best, on(&|work| Simd::vectorize(narrow, work)), "{n} x {k} x {m}");
            }
        }
    }
}
