//! The iteration without exponentials: products with a fixed kernel.
//!
//! While the potentials of the columns stay near some `g0`, everything that an iteration needs is a multiple of
//!
//! `W_ij = exp((g0_j - C_ij) / epsilon - h_i)`, `h_i` such that the largest entry of a row is 1.
//!
//! With `e_j = exp((g_j - g0_j) / epsilon)`, the sum that a row takes the logarithm of is `exp(h_i) sum_j W_ij b_j e_j`, and that
//! of a column `exp(-g0_j / epsilon) sum_i W_ij a_i / r_i`, `r_i` being the row's. Where the potentials have gone further
//! than [`Entry::FARTHEST`], `g0` follows them and `W` is made anew, so nothing overflows and nothing that matters underflows at any
//! epsilon (stabilised scaling: Schmitzer, Stabilized sparse scaling algorithms for entropy regularized transport
//! problems, SIAM J. Sci. Comput. 2019).

use super::Potentials;
use super::bordered::{Bordered, Delivery};
use grapheme_core::Scalar;
use grapheme_core::kept::{Aligned, Keep, Kept};
use grapheme_core::product::product;
use grapheme_core::vector::{self, exp, ln};
use grapheme_core::wide;
use ndarray::{ArrayView2, s};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// While more than this share of the mass is misplaced, the rounding of a kernel in `f32` does not show.
const COARSE_ABOVE: f64 = 1e-5;
/// A kernel of no more entries is at hand at once in `f64` too, and one in `f32` before it would only be made for nothing.
pub(super) const FEW: usize = 1024;
/// Rows whose share of the columns is added up before it goes into sums in `f64`; of a kernel, rows that are made together, and of a
/// plan those that are delivered together.
const TOGETHER: usize = 32;
/// The same for the entries of a row, in registers.
const STRETCH: usize = 1024;
/// Rows over the same columns that are multiplied at once.
const AT_ONCE: usize = 4;

/// The products of an [`Entry`], by the numbers in its largest register and by what its registers are called.
macro_rules! products {
    ($width:literal, $splat:ident, $registers:ident, $registers_mut:ident, $add:ident, $multiply:ident) => {
        const WIDTH: usize = $width;

        #[inline(always)]
        fn dots<V: Simd, const R: usize>(simd: V, rows: [&[Self]; R], x: &[Self]) -> [Self; R] {
            let (rows, x) = (rows.map(|w| w.as_chunks::<$width>().0), x.as_chunks::<$width>().0);
            let count = rows.iter().map(|row| row.len()).fold(x.len(), usize::min);
            let mut all = [[0.0; $width]; R];
            // One register of the width after the other, each with a sum a row.
            for k in 0..V::$registers(&all[0]).0.len() {
                let mut sums = [simd.$splat(0.0); R];
                for i in 0..count {
                    let x = V::$registers(&x[i]).0[k];
                    for (sum, row) in sums.iter_mut().zip(&rows) {
                        *sum = simd.$add(*sum, simd.$multiply(V::$registers(&row[i]).0[k], x));
                    }
                }
                all.iter_mut().zip(sums).for_each(|(all, sum)| V::$registers_mut(all).0[k] = sum);
            }
            // A closure for each row would be a function of its own, and in the smallest registers.
            let mut found = [0.0; R];
            for (found, all) in found.iter_mut().zip(&all) {
                let mut eight = [0.0; 8];
                for sums in all.as_chunks::<8>().0 {
                    for (to, sum) in eight.iter_mut().zip(sums) {
                        *to += sum;
                    }
                }
                *found = vector::halved(eight);
            }
            found
        }

        #[inline(always)]
        fn scatter<V: Simd, const R: usize>(simd: V, s: [Self; R], rows: [&[Self]; R], y: &mut [Self]) {
            let s = s.map(|s| simd.$splat(s));
            let (rows, y) = (rows.map(|w| w.as_chunks::<$width>().0), y.as_chunks_mut::<$width>().0);
            let count = rows.iter().map(|row| row.len()).fold(y.len(), usize::min);
            for i in 0..count {
                for (k, y) in V::$registers_mut(&mut y[i]).0.iter_mut().enumerate() {
                    for (s, row) in s.iter().zip(&rows) {
                        *y = simd.$add(*y, simd.$multiply(*s, V::$registers(&row[i]).0[k]));
                    }
                }
            }
        }
    };
}

/// What entries of a kernel are rounded to. Products and short sums are in it too, long sums in `f64`.
pub(super) trait Entry: Keep + Scalar {
    /// How far the potentials of the columns may go from those that the kernel was made for, in units of epsilon: multiplied by
    /// the exponential of twice that, what underflowed is still nothing beside the 1 of its row.
    const FARTHEST: f64;
    /// The range in which the sum of a column is trusted: below it terms that matter may have underflowed, above it a column without
    /// mass, which the largest entry of a row does not look at, is about to overflow.
    const TRUSTED: std::ops::Range<f64>;
    /// Numbers in the largest register there is: rows are padded to a multiple of it, so that loops over them have no remainder.
    const WIDTH: usize;

    /// `e^x`, and 0 where that is so small that even times the exponential of [`FARTHEST`](Self::FARTHEST) it were no normal number.
    fn entry(self) -> Self;

    /// `sum_j w_j x_j` for each row w over whole registers, in [`WIDTH`](Self::WIDTH) running sums whatever registers there are. Left to
    /// itself, the compiler takes two numbers at once. Rows at once share the reading of x, and their last sums do not wait for each
    /// other; the bits are those of one at a time.
    fn dots<V: Simd, const R: usize>(simd: V, rows: [&[Self]; R], x: &[Self]) -> [Self; R];

    /// `y_j += s w_j` for each row in turn, in the same way.
    fn scatter<V: Simd, const R: usize>(simd: V, s: [Self; R], rows: [&[Self]; R], y: &mut [Self]);
}

impl Entry for f64 {
    const FARTHEST: f64 = 30.0;
    const TRUSTED: std::ops::Range<f64> = 1e-250..1e250;

    #[inline(always)]
    fn entry(self) -> Self {
        exp(self)
    }

    products!(8, splat_f64s, as_simd_f64s, as_mut_simd_f64s, add_f64s, mul_f64s);
}

impl Entry for f32 {
    const FARTHEST: f64 = 15.0;
    const TRUSTED: std::ops::Range<f64> = 1e-10..1e25;

    #[inline(always)]
    fn entry(self) -> Self {
        let e = self.quick_exp();
        if self > -60.0 { e } else { 0.0 }
    }

    products!(16, splat_f32s, as_simd_f32s, as_mut_simd_f32s, add_f32s, mul_f32s);
}

/// `W`, and where it was made.
struct Kernel<E: Keep> {
    /// NaN while it is not made.
    epsilon: f64,
    /// The length of a vector over columns, the dummy being the last of them: the padding of a row may reach over its end.
    reach: usize,
    /// `g0`.
    columns: Kept<f64>,
    /// `h`, padded with zeros; minus infinity for a row in which nothing fits.
    high: Kept<f64>,
    /// `W` but for the dummy column: the entries of row after row, each padded with zeros.
    entries: Aligned<E>,
    /// The dummy column of `W`.
    dummy: Kept<f64>,
    /// Room for the exponents of a row, for a vector over columns as entries are, and for what a few rows add to one.
    exponents: Kept<f64>,
    x: Aligned<E>,
    near: Aligned<E>,
}

impl<E: Entry> Kernel<E> {
    /// Room for the kernel of a problem, not made.
    fn new(bordered: &Bordered) -> Self {
        let (rows, columns) = (bordered.rows(), bordered.columns());
        let padded = |i| bordered.range(i).len().next_multiple_of(E::WIDTH);
        let reach = (0..rows)
            .map(|i| bordered.range(i).start + padded(i))
            .fold(columns, usize::max)
            .next_multiple_of(f64::WIDTH);
        Self {
            epsilon: f64::NAN,
            reach,
            columns: Kept::zeros(columns),
            high: Kept::zeros(rows.next_multiple_of(f64::WIDTH)),
            entries: Aligned::unset((0..rows).map(padded).sum()),
            dummy: Kept::zeros(rows),
            exponents: Kept::zeros(reach),
            x: Aligned::unset(reach),
            near: Aligned::unset(reach + E::WIDTH),
        }
    }

    /// Makes it for potentials near `at`.
    fn make(&mut self, bordered: &Bordered, epsilon: f64, at: &[f64]) {
        let Self { columns, high, entries, dummy, exponents, .. } = self;
        self.epsilon = epsilon;
        columns.copy_from_slice(at);
        let (inverse, last) = (1.0 / epsilon, at.len() - 1);
        // A column without mass has no say in what is large; only the dummy can be one.
        let counts = bordered.column_mass[last] > 0.0;
        wide!({
            let mut rest = &mut entries[..];
            for block in bordered.blocks(TOGETHER) {
                let length = block.clone().map(|i| bordered.range(i).len().next_multiple_of(E::WIDTH)).sum();
                let of_block;
                (of_block, rest) = rest.split_at_mut(length);
                let mut of_rows = &mut *of_block;
                for i in block {
                    let (range, cost) = (bordered.range(i), &bordered.cost[bordered.slots(i)]);
                    let row;
                    (row, of_rows) = of_rows.split_at_mut(range.len().next_multiple_of(E::WIDTH));
                    let (high, dummy) = (&mut high[i], &mut dummy[i]);
                    let exponents = &mut exponents[..row.len()];
                    for ((x, g), c) in exponents.iter_mut().zip(&columns[range.clone()]).zip(cost) {
                        *x = (g - c) * inverse;
                    }
                    exponents[range.len()..].fill(f64::NEG_INFINITY);
                    *dummy = (columns[last] - cost[range.len()]) * inverse;
                    *high = vector::max(exponents);
                    if counts && *dummy > *high {
                        *high = *dummy;
                    }
                    let subtracted = if *high > f64::NEG_INFINITY { *high } else { 0.0 };
                    *dummy -= subtracted;
                    for (w, &x) in row.iter_mut().zip(&*exponents) {
                        *w = E::lit(x - subtracted);
                    }
                }
                // All of some rows at once, in the registers of their own type.
                for w in of_block {
                    *w = w.entry();
                }
            }
            for x in dummy.iter_mut() {
                *x = exp(*x);
            }
        });
    }

    /// `exp((g_j - g0_j) / epsilon)` for all columns, padded with zeros, if none is farther away than
    /// [`FARTHEST`](Entry::FARTHEST).
    fn scales(&self, epsilon: f64, columns: &[f64], scales: &mut Vec<f64>) -> bool {
        if epsilon != self.epsilon {
            return false;
        }
        let inverse = 1.0 / epsilon;
        scales.clear();
        scales.extend(columns.iter().zip(&self.columns).map(|(g, start)| (g - start) * inverse));
        scales.resize(self.reach, 0.0);
        let mut near = true;
        wide!({
            for x in scales.iter_mut() {
                near &= x.abs() <= E::FARTHEST;
                *x = exp(*x);
            }
        });
        scales[columns.len()..].fill(0.0);
        near
    }

    /// [`Bordered::plan`] by a multiplication for each entry in place of an exponential, where the kernel reaches; else false, and nothing.
    fn deliver<S: Scalar>(
        &self,
        epsilon: f64,
        potentials: &Potentials,
        scales: &mut Vec<f64>,
        delivery: &mut Delivery<'_, S>,
    ) -> bool {
        if !self.scales(epsilon, &potentials.columns, scales) {
            return false;
        }
        let bordered = delivery.bordered;
        scales.iter_mut().zip(&bordered.column_mass).for_each(|(s, mass)| *s *= mass);
        let (inverse, last) = (1.0 / epsilon, bordered.columns() - 1);
        let mut plan = Kept::unset(TOGETHER * bordered.columns());
        wide!({
            let mut rest = &self.entries[..];
            for block in bordered.blocks(TOGETHER) {
                let start = bordered.slots(block.start).start;
                let plan = &mut plan[..bordered.slots(block.end - 1).end - start];
                for i in block.clone() {
                    let (range, slots) = (bordered.range(i), bordered.slots(i));
                    let row;
                    (row, rest) = rest.split_at(range.len().next_multiple_of(E::WIDTH));
                    let scale = bordered.row_mass[i] * exp(potentials.rows[i] * inverse + self.high[i]);
                    let to = &mut plan[slots.start - start..slots.end - start];
                    for ((p, w), x) in to.iter_mut().zip(row).zip(&scales[range.clone()]) {
                        *p = scale * (w.widen() * x);
                    }
                    to[range.len()] = scale * (self.dummy[i] * scales[last]);
                }
                delivery.take(block, plan);
            }
        });
        true
    }

    /// For every row `s_i = share(i, sum_j W_ij x_j)`, and `sums_j = sum_i s_i W_ij`: both products in one sweep over `W`.
    /// Vectors over columns are of the length `reach`.
    fn multiply(&mut self, bordered: &Bordered, x: &[f64], sums: &mut [f64], share: impl FnMut(usize, f64) -> f64) {
        Arch::new().dispatch(Multiply { kernel: self, bordered, x, sums, share });
    }
}

/// The arguments of [`Kernel::multiply`].
struct Multiply<'a, E: Keep, F> {
    kernel: &'a mut Kernel<E>,
    bordered: &'a Bordered,
    x: &'a [f64],
    sums: &'a mut [f64],
    share: F,
}

impl<E: Entry, F: FnMut(usize, f64) -> f64> WithSimd for Multiply<'_, E, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<V: Simd>(self, simd: V) {
        let Self { kernel: Kernel { entries, dummy, x, near, .. }, bordered, x: exact, sums, mut share } = self;
        let last = bordered.columns() - 1;
        sums.fill(0.0);
        x.iter_mut().zip(exact).for_each(|(to, &x)| *to = E::lit(x));
        let (mut rest, mut of_dummy) = (&entries[..], 0.0);
        for block in bordered.blocks(TOGETHER) {
            let start = bordered.range(block.start).start;
            // Rows end in their order, and so do their paddings but for a register.
            let near = &mut near[..bordered.range(block.end - 1).end - start + E::WIDTH];
            near.fill(E::zero());
            let mut first = block.start;
            while first < block.end {
                // Rows of a band that have the same columns go together.
                let range = bordered.range(first);
                let together = (1..AT_ONCE).all(|k| first + k < block.end && bordered.range(first + k) == range);
                let length = range.len().next_multiple_of(E::WIDTH);
                let near = &mut near[range.start - start..];
                let mut group =
                    Group { simd, first, range, length, exact_last: exact[last], dummy, of_dummy: &mut of_dummy };
                if together {
                    rest = group.add::<E, _, AT_ONCE>(rest, x, near, &mut share);
                    first += AT_ONCE;
                } else {
                    rest = group.add::<E, _, 1>(rest, x, near, &mut share);
                    first += 1;
                }
            }
            for (sum, near) in sums[start..].iter_mut().zip(near) {
                *sum += near.widen();
            }
        }
        sums[last] = of_dummy;
    }
}

/// Rows that go through [`Kernel::multiply`] together: from `first` on, all over the same columns.
struct Group<'a, V> {
    simd: V,
    first: usize,
    range: Range<usize>,
    /// With its padding.
    length: usize,
    exact_last: f64,
    dummy: &'a [f64],
    of_dummy: &'a mut f64,
}

impl<V: Simd> Group<'_, V> {
    /// Takes R rows off `rest` and adds their shares to `near`; returns what is left of `rest`.
    #[inline(always)]
    fn add<'e, E: Entry, F: FnMut(usize, f64) -> f64, const R: usize>(
        &mut self,
        mut rest: &'e [E],
        x: &[E],
        near: &mut [E],
        share: &mut F,
    ) -> &'e [E] {
        let rows = [(); R].map(|()| {
            let row;
            (row, rest) = rest.split_at(self.length);
            row
        });
        let mut sums: [f64; R] = std::array::from_fn(|r| self.dummy[self.first + r] * self.exact_last);
        for from in (0..self.length).step_by(STRETCH) {
            let to = self.length.min(from + STRETCH);
            let parts = E::dots(self.simd, rows.map(|row| &row[from..to]), &x[self.range.start + from..][..to - from]);
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part.widen());
        }
        for (sum, i) in sums.iter_mut().zip(self.first..) {
            *sum = share(i, *sum);
            *self.of_dummy += *sum * self.dummy[i];
        }
        E::scatter(self.simd, sums.map(E::lit), rows, near);
        rest
    }
}

/// Runs iterations forwards: with a kernel in `f32`, which takes half the memory, until its rounding would show or where the
/// problem itself is in `f32`; then in `f64`.
pub(super) struct Sweeper<'a> {
    bordered: &'a Bordered,
    coarse: Option<Kernel<f32>>,
    fine: Option<Kernel<f64>>,
    is_coarse: bool,
    room: Room,
}

/// Vectors to work in.
struct Room {
    /// Over columns, as long as the kernel reaches.
    scales: Kept<f64>,
    sums: Kept<f64>,
    /// Over rows, padded with what does no harm.
    row_sums: Kept<f64>,
    before: Kept<f64>,
}

impl<'a> Sweeper<'a> {
    pub(super) fn new(bordered: &'a Bordered) -> Self {
        let rows = bordered.rows().next_multiple_of(f64::WIDTH);
        let columns = bordered.columns() + f32::WIDTH;
        let [scales, sums] = [Kept::with_capacity(columns), Kept::with_capacity(columns)];
        let room = Room { scales, sums, row_sums: Kept::filled(rows, 1.0), before: Kept::zeros(rows) };
        let is_coarse = !bordered.is_double && bordered.cost.len() > FEW;
        Self { bordered, coarse: None, fine: None, is_coarse, room }
    }

    /// One iteration, `f_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon)` and then
    /// `g_j = -epsilon log sum_i a_i exp((f_i - C_ij) / epsilon)`. Returns the share of mass that the potentials
    /// misplaced before. [`Bordered::sweep`] does the same without a kernel, and is what this is tested against.
    pub(super) fn sweep(&mut self, epsilon: f64, potentials: &mut Potentials) -> f64 {
        let Self { bordered, coarse, fine, is_coarse, room } = self;
        if !*is_coarse {
            let kernel = fine.get_or_insert_with(|| Kernel::new(bordered));
            return sweep(bordered, kernel, room, epsilon, potentials).0;
        }
        let kernel = coarse.get_or_insert_with(|| Kernel::new(bordered));
        let (misplaced, trusted) = sweep(bordered, kernel, room, epsilon, potentials);
        *is_coarse = trusted && misplaced > COARSE_ABOVE;
        misplaced
    }

    /// Delivers the plan of potentials after a sweep.
    pub(super) fn deliver<S: Scalar>(&mut self, epsilon: f64, potentials: &Potentials, delivery: &mut Delivery<'_, S>) {
        let Self { bordered, coarse, fine, is_coarse, room } = self;
        let done = match (coarse, fine) {
            (Some(kernel), _) if *is_coarse => kernel.deliver(epsilon, potentials, &mut room.scales, delivery),
            (_, Some(kernel)) => kernel.deliver(epsilon, potentials, &mut room.scales, delivery),
            _ => false,
        };
        if !done {
            let mut row = Kept::unset(bordered.columns());
            wide!({
                for i in 0..bordered.rows() {
                    let row = &mut row[..bordered.slots(i).len()];
                    bordered.plan_row(i, epsilon, potentials, row);
                    delivery.take(i..i + 1, row);
                }
            });
        }
    }
}

/// One iteration with a kernel, which is made anew where it does not reach. Returns the share of mass that was misplaced before,
/// and whether every column's sum could be trusted; the others are summed in the log domain.
fn sweep<E: Entry>(
    bordered: &Bordered,
    kernel: &mut Kernel<E>,
    room: &mut Room,
    epsilon: f64,
    potentials: &mut Potentials,
) -> (f64, bool) {
    let Room { scales, sums, row_sums, before } = room;
    if !kernel.scales(epsilon, &potentials.columns, scales) {
        kernel.make(bordered, epsilon, &potentials.columns);
        kernel.scales(epsilon, &potentials.columns, scales);
    }
    sums.resize(kernel.reach, 0.0);
    scales.iter_mut().zip(&bordered.column_mass).for_each(|(s, mass)| *s *= mass);
    let inverse = 1.0 / epsilon;
    before[..potentials.rows.len()].copy_from_slice(&potentials.rows);
    let mut all_trusted = true;
    kernel.multiply(bordered, scales, sums, |i, sum| {
        row_sums[i] = sum;
        let mass = bordered.row_mass[i];
        if mass > 0.0 { mass / sum } else { 0.0 }
    });
    let misplaced = wide!({
        // The logarithms of all rows at once, and then those of all columns.
        for ((row_sum, before), high) in row_sums.iter_mut().zip(before.iter_mut()).zip(&kernel.high) {
            // Only a row without mass has no sum; any potential will do.
            let log_sum = if *row_sum > 0.0 { high + ln(*row_sum) } else { 0.0 };
            *before = (E::lit(*before * inverse + log_sum).entry().widen() - 1.0).abs();
            *row_sum = log_sum;
        }
        for (f, log_sum) in potentials.rows.iter_mut().zip(&*row_sums) {
            *f = -epsilon * log_sum;
        }
        let mut trusted = true;
        for &sum in &sums[..bordered.columns()] {
            trusted &= (sum >= E::TRUSTED.start) & (sum < E::TRUSTED.end);
        }
        all_trusted = trusted;
        for (scale, &sum) in scales.iter_mut().zip(&*sums) {
            *scale = ln(sum);
        }
        for ((g, start), log) in potentials.columns.iter_mut().zip(&kernel.columns).zip(&*scales) {
            *g = start - epsilon * log;
        }
        vector::dot(&bordered.row_mass, &before[..bordered.rows()])
    });
    if !all_trusted {
        for (j, g) in potentials.columns.iter_mut().enumerate().filter(|(j, _)| !E::TRUSTED.contains(&sums[*j])) {
            *g = bordered.column_potential(j, epsilon, &potentials.rows);
        }
    }
    (if bordered.total > 0.0 { misplaced / bordered.total } else { 0.0 }, all_trusted)
}

/// Runs iterations backwards.
///
/// What costs take of an iteration is `W_ij (A_i v_j + B_i s_j)`, a matrix of rank two times the kernel. The four vectors are
/// kept, and [`settle`](Self::settle) adds up all iterations of one kernel at once, as a matrix product.
pub(super) struct Puller<'a> {
    bordered: &'a Bordered,
    kernel: Kernel<f64>,
    /// Scales of the columns before the iteration, which are those of the columns after the next one to be gone through.
    before: Kept<f64>,
    is_chained: bool,
    here: Kept<f64>,
    /// `exp(f_i / epsilon + h_i)`.
    x: Kept<f64>,
    /// Room for `sum_i W_ij x_i df_i`.
    sums: Kept<f64>,
    /// `A` and `B` of every iteration since the last settlement: one number a row.
    of_rows: Kept<f64>,
    /// `v` and `s`: one number a column.
    of_columns: Kept<f64>,
}

/// The gradient of the potentials after an iteration, and what they leave to everything else.
pub(super) struct Pulled<'a> {
    pub(super) df: &'a mut [f64],
    pub(super) dg: &'a mut [f64],
    pub(super) gradient: &'a mut super::BorderedGradient,
}

/// Rows whose costs are settled together: few enough that those of a band have about the same columns.
const SETTLED: usize = 64;

impl<'a> Puller<'a> {
    /// Room for going back through so many iterations. `None` where something has no mass: its derivative is held by no constraint, and needs the log domain.
    pub(super) fn new(bordered: &'a Bordered, iterations: usize) -> Option<Self> {
        let mut masses = bordered.row_mass.iter().chain(&bordered.column_mass);
        masses.all(|&mass| mass > 0.0).then(|| {
            let kernel = Kernel::new(bordered);
            let sums = Kept::zeros(kernel.reach);
            let [before, here] = [kernel.reach; 2].map(Kept::with_capacity);
            let x = Kept::with_capacity(kernel.high.len());
            let [of_rows, of_columns] =
                [bordered.rows(), bordered.columns()].map(|length| Kept::with_capacity(2 * length * iterations));
            Self { bordered, kernel, before, is_chained: false, here, x, sums, of_rows, of_columns }
        })
    }

    /// What the plan `P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)` of the last iteration leaves to everything: with
    /// `Q_ij = P_ij dP_ij`, `df_i += sum_j Q_ij / epsilon`, costs take `-Q_ij / epsilon` and masses `sum_j Q_ij / a_i`.
    pub(super) fn pull_plan(&self, epsilon: f64, plan: &[f64], mut dplan: Kept<f64>, to: Pulled<'_>) {
        let (bordered, inverse, Pulled { df, dg, gradient }) = (self.bordered, 1.0 / epsilon, to);
        let mut sums = Kept::zeros(bordered.columns());
        wide!({
            for (i, df) in df.iter_mut().enumerate() {
                let slots = bordered.slots(i);
                let q = &mut dplan[slots.clone()];
                for ((q, p), dcost) in q.iter_mut().zip(&plan[slots.clone()]).zip(&mut gradient.cost[slots]) {
                    *q *= p;
                    *dcost -= *q * inverse;
                }
                let sum = vector::sum(q);
                *df += sum * inverse;
                gradient.rows[i] += sum / bordered.row_mass[i];
                bordered.scatter(i, q, 1.0, &mut sums);
            }
            let columns = dg.iter_mut().zip(&mut gradient.columns).zip(sums.iter().zip(&bordered.column_mass));
            for ((dg, dmass), (sum, mass)) in columns {
                *dg += sum * inverse;
                *dmass += sum / mass;
            }
        });
    }

    /// Goes back through the iteration that led from the columns `before` to `rows` and `columns`. False, with nothing done, where
    /// it went too far for one kernel. Iterations are gone through from the last one on without a gap. Costs wait for [`settle`](Self::settle).
    ///
    /// With `x_i = exp(f_i / epsilon + h_i)`, `u_j` and `e_j` the scales of the columns here and before, and `b_j`, `a_i` masses:
    /// `df_i -= a_i x_i D_i`, `D_i = sum_j W_ij u_j dg_j`, and then `dg_j = -b_j e_j E_j`, `E_j = sum_i W_ij x_i df_i`. Costs take
    /// `W_ij x_i (a_i u_j dg_j + b_j e_j df_i)`, masses `-epsilon x_i D_i` and `-epsilon e_j E_j`.
    pub(super) fn pull(
        &mut self,
        epsilon: f64,
        before: &[f64],
        (rows, columns): (&[f64], &[f64]),
        to: Pulled<'_>,
    ) -> bool {
        if !self.reaches(epsilon, before, columns) {
            self.settle(&mut to.gradient.cost);
            self.kernel.make(self.bordered, epsilon, columns);
            if !self.reaches(epsilon, before, columns) {
                return false;
            }
        }
        let Pulled { df, dg, gradient } = to;
        let Self { bordered, kernel, before: e, here: v, x, sums, of_rows, of_columns, .. } = self;
        let inverse = 1.0 / epsilon;
        x.clear();
        x.extend(rows.iter().zip(&kernel.high).map(|(f, high)| f * inverse + high));
        x.resize(kernel.high.len(), 0.0);
        wide!({
            x.iter_mut().for_each(|x| *x = exp(*x));
            v.iter_mut().zip(&*dg).for_each(|(v, dg)| *v *= dg);
            of_columns.extend_from_slice(&v[..dg.len()]);
            // From here on `dg` is that of `log e`, up to the sum.
            dg.iter_mut().zip(&*e).zip(&bordered.column_mass).for_each(|((dg, e), mass)| *dg = e * mass);
            of_columns.extend_from_slice(dg);
            of_rows.extend(x.iter().zip(&bordered.row_mass).map(|(x, mass)| mass * x));
            kernel.multiply(bordered, v, sums, |i, sum| {
                let sum = x[i] * sum;
                gradient.rows[i] -= epsilon * sum;
                let of_row = x[i] * (df[i] - bordered.row_mass[i] * sum);
                of_rows.push(of_row);
                df[i] = 0.0;
                of_row
            });
            for ((dg, dmass), (sum, e)) in dg.iter_mut().zip(&mut gradient.columns).zip(sums.iter().zip(&*e)) {
                *dg *= -sum;
                *dmass -= epsilon * e * sum;
            }
        });
        true
    }

    /// Whether the kernel holds for both potentials of the columns; makes their scales.
    fn reaches(&mut self, epsilon: f64, before: &[f64], here: &[f64]) -> bool {
        let Self { kernel, before: e, here: v, is_chained, .. } = self;
        if *is_chained && epsilon == kernel.epsilon {
            std::mem::swap(e, v);
            *is_chained = kernel.scales(epsilon, before, e);
        } else {
            *is_chained = kernel.scales(epsilon, before, e) && kernel.scales(epsilon, here, v);
        }
        *is_chained
    }

    /// Adds to the gradient of the costs what the iterations since the last settlement left to them.
    pub(super) fn settle(&mut self, dcost: &mut [f64]) {
        let Self { bordered, kernel, of_rows, of_columns, .. } = self;
        let (rows, columns) = (bordered.rows(), bordered.columns());
        let rank = of_rows.len() / rows;
        if rank == 0 {
            return;
        }
        let left = ArrayView2::from_shape((rank, rows), of_rows).expect("a number for each row");
        let right = ArrayView2::from_shape((rank, columns), of_columns).expect("a number for each column");
        let of_dummy = left.t().dot(&right.column(columns - 1));
        let mut entries = &kernel.entries[..];
        for block in bordered.blocks(SETTLED) {
            let reach = bordered.range(block.start).start..bordered.range(block.end - 1).end;
            let sums = product(left.slice(s![.., block.clone()]).t(), right.slice(s![.., reach.clone()]));
            for (i, sums) in block.zip(sums.rows()) {
                let (range, row) = (bordered.range(i), sums.to_slice().expect("a row of a fresh product"));
                let of_row;
                (of_row, entries) = entries.split_at(range.len().next_multiple_of(f64::WIDTH));
                let dcost = &mut dcost[bordered.slots(i)];
                let terms = of_row.iter().zip(&row[range.start - reach.start..]);
                wide!(dcost[..range.len()].iter_mut().zip(terms).for_each(|(dcost, (w, sum))| *dcost += w * sum));
                dcost[range.len()] += kernel.dummy[i] * of_dummy[i];
            }
        }
        of_rows.clear();
        of_columns.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{narrow, random_problem};
    use super::*;
    use crate::loss::band::Band;

    /// Far and near potentials, columns without mass, entries that cost infinity, and bands.
    #[test]
    fn a_sweep_is_that_of_the_log_domain() {
        for epsilon in [1.0, 0.1, 0.01, 0.001] {
            for (seed, band) in
                (0..).zip([Band::dense(1, 1), Band::dense(5, 3), Band::dense(3, 9), Band::window(30, 25, 3)])
            {
                for massless in [false, true] {
                    let mut problem = random_problem(seed, &band);
                    if massless {
                        problem.mass.fill(0.0);
                    } else {
                        problem.deletion[0] = f64::INFINITY;
                    }
                    let bordered = Bordered::new(&problem);
                    let (mut one, mut other) = (bordered.zero_potentials(), bordered.zero_potentials());
                    let mut sweeper = Sweeper::new(&bordered);
                    let (mut sums, mut terms) = (vec![0.0; bordered.columns()], Vec::new());
                    for t in 0..60 {
                        // Annealed at first, and pushed once, as a Newton step does.
                        let epsilon = epsilon * f64::max(1.0, 8.0 * 0.5f64.powi(t));
                        if t == 20 {
                            one.columns[0] += 50.0 * epsilon;
                            other.columns[0] += 50.0 * epsilon;
                        }
                        let misplaced = sweeper.sweep(epsilon, &mut one);
                        let expected = bordered.sweep(epsilon, &mut other, &mut sums, &mut terms);
                        let what = format!("epsilon {epsilon}, problem {seed}, massless {massless}, iteration {t}");
                        assert!(
                            (misplaced - expected).abs() <= 1e-10 * expected.max(1.0),
                            "{what}: {misplaced} {expected}"
                        );
                        for (a, b) in one.rows.iter().zip(&other.rows).chain(one.columns.iter().zip(&other.columns)) {
                            assert!((a - b).abs() <= 1e-10 * b.abs().max(1.0), "{what}: {a} and {b}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_have_the_same_bits_on_registers_of_any_width() {
        fn check<E: Entry>() {
            let bordered = Bordered::new(&random_problem(1, &Band::window(90, 70, 20)));
            let mut kernel = Kernel::<E>::new(&bordered);
            kernel.make(&bordered, 0.1, &vec![0.0; bordered.columns()]);
            let x: Vec<f64> = (0..kernel.reach).map(|j| 1.5 + (j as f64).sin()).collect();
            let mut found = [vec![0.0; kernel.reach], vec![0.0; kernel.reach]];
            let [wide, narrow] = &mut found;
            kernel.multiply(&bordered, &x, wide, |i, sum| 1.0 / (sum + i as f64));
            let share = |i, sum| 1.0 / (sum + i as f64);
            let arguments = Multiply { kernel: &mut kernel, bordered: &bordered, x: &x, sums: narrow, share };
            arguments.with_simd(pulp::Scalar::new());
            assert_eq!(found[0], found[1], "{}", E::NAME);
            // And they are the products.
            let mut expected = vec![0.0; bordered.columns()];
            for i in 0..bordered.rows() {
                let w = |j: usize, slot: usize| (-bordered.cost[slot] / 0.1 - kernel.high[i]).exp() * x[j];
                let row: Vec<_> = bordered.columns_of(i).zip(bordered.slots(i)).collect();
                let s = share(i, row.iter().map(|&(j, slot)| w(j, slot)).sum());
                row.iter().for_each(|&(j, slot)| expected[j] += s * w(j, slot) / x[j]);
            }
            let precision = if size_of::<E>() == size_of::<f64>() { 1e-13 } else { 1e-6 };
            for (found, expected) in found[0].iter().zip(&expected) {
                assert!((found / expected - 1.0).abs() < precision, "{found} {expected}");
            }
        }
        check::<f32>();
        check::<f64>();
    }

    /// A problem in `f32` is swept with a rounded kernel at first, whose potentials are right to its rounding, and then exactly.
    #[test]
    fn a_coarse_kernel_is_left_before_its_rounding_shows() {
        for (seed, epsilon) in (0..).zip([1.0, 0.1, 0.01]) {
            let problem = narrow(&random_problem(seed, &Band::dense(40, 30)));
            let bordered = Bordered::new(&problem);
            let (mut one, mut other) = (bordered.zero_potentials(), bordered.zero_potentials());
            let mut sweeper = Sweeper::new(&bordered);
            let (mut sums, mut terms) = (vec![0.0; bordered.columns()], Vec::new());
            assert!(sweeper.is_coarse);
            let mut misplaced = 1.0;
            for t in 0..4000 {
                misplaced = sweeper.sweep(epsilon, &mut one);
                bordered.sweep(epsilon, &mut other, &mut sums, &mut terms);
                for (a, b) in one.rows.iter().zip(&other.rows).chain(one.columns.iter().zip(&other.columns)) {
                    assert!((a - b).abs() <= 1e-4 * epsilon, "epsilon {epsilon}, iteration {t}: {a} and {b}");
                }
                if misplaced < 1e-12 {
                    break;
                }
            }
            assert!(!sweeper.is_coarse && misplaced < 1e-12, "epsilon {epsilon}: {misplaced:e} is still misplaced");
        }
    }
}
