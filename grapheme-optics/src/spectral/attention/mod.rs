//! Attention over links that were chosen before: at a place over time, over neighbours, and through wormholes.
//!
//! The three differ only in which rows a query may look at, so they share one differentiable operation,
//! [`LinkedAttention`]; `links.rs` and [`wormhole`] make the [`Links`].

mod links;
pub mod wormhole;

pub use links::{Links, neighbourhood_links, time_links};
pub use wormhole::{WormholeSettings, Wormholes};

use grapheme_core::layers::Linear;
use grapheme_core::{Scalar, Stream, param_tree, wide};
use ndarray::{Array1, Array2, ArrayView2};

/// `y_i = sum_j a_ij v_j` over the linked rows j of query i, `a_ij = exp(s_ij) / (exp(theta) + sum_j exp(s_ij))`,
/// `s_ij = <q_i, k_j> / sqrt(d) + b_slot(ij)`.
///
/// `q = x W_q`, `k = z W_k`, `v = u W_v` (with their offsets), for queries x, keys z and values u. Each slot of a link has a learned
/// bias b: an age's decay, a neighbour's direction, a wormhole's rank. The learned threshold theta is a link to
/// nothing: where no link is better, little is read. `1 - a_i0 = sum_j a_ij` is the gate, and a link passes where `s_ij > theta`.
///
/// With top-k, only the k best links of a query are summed; which they are is held fixed in the backward pass.
///
/// Backward, with `g_ij = <dy_i, v_j>`: `ds_ij = a_ij (g_ij - sum_l a_il g_il)`, `dtheta -= sum_i a_i0 sum_l a_il g_il`,
/// `dv_j += a_ij dy_i`, `dq_i += ds_ij k_j / sqrt(d)`, `dk_j += ds_ij q_i / sqrt(d)`, `db += ds`.
#[derive(Clone, Debug)]
pub struct LinkedAttention<S> {
    /// Of queries.
    pub query: Linear<S>,
    /// Of keys.
    pub key: Linear<S>,
    /// Of values.
    pub value: Linear<S>,
    /// One a slot.
    pub bias: Array1<S>,
    /// One number.
    pub threshold: Array1<S>,
}

param_tree!(LinkedAttention { query, key, value, bias, threshold });

/// Keys and values of some rows, projected: all that [`LinkedAttention::attend_to`] needs to know of them.
#[derive(Clone, Debug)]
pub struct Projected<S> {
    /// Row by row, with their widths.
    keys: Vec<S>,
    values: Vec<S>,
    widths: [usize; 2],
}

impl<S: Scalar> Projected<S> {
    /// Key and value of one row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> [&[S]; 2] {
        let [d, m] = self.widths;
        [&self.keys[row * d..][..d], &self.values[row * m..][..m]]
    }
}

/// How the links of each query were weighed.
#[derive(Clone, Debug)]
pub struct Weighed<S> {
    /// The weights `a_ij`, n x slots, zero where there is no link.
    pub weights: Array2<S>,
    /// Links whose score is above the threshold, and all links: the gate lets the former pass.
    pub passed: [usize; 2],
}

/// What the backward pass of [`LinkedAttention`] needs beside the weights.
#[derive(Clone, Debug)]
pub struct AttentionCache<S> {
    q: Vec<S>,
    rows: Projected<S>,
}

/// The sizes of a [`LinkedAttention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionSize {
    /// Features of a query and of a key.
    pub features: usize,
    /// Features of a value.
    pub values: usize,
    /// Width of queries and keys.
    pub width: usize,
    /// Width of the output.
    pub outputs: usize,
    /// Slots of a query.
    pub slots: usize,
}

impl<S: Scalar> LinkedAttention<S> {
    /// Fresh parameters: no bias, and a threshold that leaves the gate open.
    pub fn new(size: AttentionSize, stream: &mut Stream) -> Self {
        Self {
            query: Linear::new(size.features, size.width, stream),
            key: Linear::new(size.features, size.width, stream),
            value: Linear::new(size.values, size.outputs, stream),
            bias: Array1::zeros(size.slots),
            threshold: Array1::from_elem(1, S::lit(-1.0)),
        }
    }

    /// Keys (rows x d) and values (rows x m) of rows whose features (rows x f) and values (rows x g) are given. A row comes to the same
    /// bits whatever the others are.
    pub fn project(&self, keys: ArrayView2<'_, S>, values: ArrayView2<'_, S>) -> Projected<S> {
        let widths = [self.key.bias.len(), self.value.bias.len()];
        Projected { keys: affine(&self.key, keys), values: affine(&self.value, values), widths }
    }

    /// Output n x m for queries (n x f), keys (rows x f), values (rows x g) and the links from the one to the other.
    ///
    /// # Panics
    /// Shapes that do not fit; the network that calls it makes them.
    pub fn forward(
        &self,
        queries: ArrayView2<'_, S>,
        keys: ArrayView2<'_, S>,
        values: ArrayView2<'_, S>,
        links: &Links,
        best: Option<usize>,
    ) -> (Array2<S>, Weighed<S>, AttentionCache<S>) {
        let (q, rows) = (affine(&self.query, queries), self.project(keys, values));
        let at = |query: usize, slot: usize| Links::row(links.of(query)[slot]).map(|row| rows.row(row));
        let (y, weighed) = self.attend(&q, links.slots(), at, best);
        (y, weighed, AttentionCache { q, rows })
    }

    /// The same where keys and values were projected before and lie anywhere: `at(query, slot)` tells them.
    pub fn attend_to<'a>(
        &self,
        queries: ArrayView2<'_, S>,
        slots: usize,
        at: impl Fn(usize, usize) -> Option<[&'a [S]; 2]>,
        best: Option<usize>,
    ) -> (Array2<S>, Weighed<S>) {
        self.attend(&affine(&self.query, queries), slots, at, best)
    }

    fn attend<'a>(
        &self,
        q: &[S],
        slots: usize,
        at: impl Fn(usize, usize) -> Option<[&'a [S]; 2]>,
        best: Option<usize>,
    ) -> (Array2<S>, Weighed<S>) {
        let (d, m) = (self.query.bias.len(), self.value.bias.len());
        let n = q.len() / d;
        let scale = S::one() / S::lit(d as f64).sqrt();
        let (theta, none) = (self.threshold[0], S::neg_infinity());
        let mut weights = Array2::zeros((n, slots));
        let mut y = Array2::zeros((n, m));
        let mut passed = [0, 0];
        let bias = self.bias.as_slice().expect("a new vector lies in one piece");
        // A tile is LANES queries side by side, a row a slot, so that exponentials are taken of whole rows.
        let mut tile = vec![[none; LANES]; slots];
        let mut linked: Vec<&[S]> = vec![&[]; slots * LANES];
        let mut order = Vec::with_capacity(slots);
        let queries = q.chunks(d * LANES);
        // Without a slot nothing is read.
        let outputs =
            flat_mut(&mut y).chunks_mut(m * LANES).zip(flat_mut(&mut weights).chunks_mut((slots * LANES).max(1)));
        for (block, (queries, (outputs, weights))) in queries.zip(outputs).enumerate() {
            let first = block * LANES;
            wide!({
                // First the scores; where there is no link, what the exponential makes zero of.
                tile.fill([none; LANES]);
                for (lane, query) in queries.chunks_exact(d).enumerate() {
                    for (slot, scores) in tile.iter_mut().enumerate() {
                        let Some([key, value]) = at(first + lane, slot) else { continue };
                        scores[lane] = dot(query, key) * scale + bias[slot];
                        linked[lane * slots + slot] = value;
                    }
                }
                let (mut largest, mut counts) = ([theta; LANES], [[0_u32; LANES]; 2]);
                for scores in &tile {
                    for (lane, &score) in scores.iter().enumerate() {
                        counts[0][lane] += u32::from(score > theta);
                        counts[1][lane] += u32::from(score > none);
                        largest[lane] = if score > largest[lane] { score } else { largest[lane] };
                    }
                }
                (0..2).for_each(|kind| passed[kind] += counts[kind].iter().sum::<u32>() as usize);
                if let Some(best) = best {
                    (0..LANES).for_each(|lane| keep_best(&mut tile, lane, best, &mut order));
                }
                let mut sums = largest.map(|largest| (theta - largest).quick_exp());
                for row in &mut tile {
                    for (lane, w) in row.iter_mut().enumerate() {
                        let e = (*w - largest[lane]).quick_exp();
                        *w = if *w > none { e } else { S::zero() };
                        sums[lane] += *w;
                    }
                }
                for row in &mut tile {
                    (0..LANES).for_each(|lane| row[lane] /= sums[lane]);
                }
                let outputs =
                    outputs.chunks_exact_mut(m).zip(weights.chunks_exact_mut(slots)).zip(linked.chunks_exact(slots));
                for (lane, ((out, weights), linked)) in outputs.enumerate() {
                    for ((row, weight), value) in tile.iter().zip(weights).zip(linked) {
                        *weight = row[lane];
                        if *weight > S::zero() {
                            add_scaled(out, *weight, value);
                        }
                    }
                }
            });
        }
        (y, Weighed { weights, passed })
    }

    /// Adds the parameters' gradient into `grad`, and returns the gradients of queries, keys and values.
    pub fn backward(
        &self,
        inputs: [ArrayView2<'_, S>; 3],
        links: &Links,
        weights: &Array2<S>,
        AttentionCache { q, rows: Projected { keys: k, values: v, widths: [d, m] } }: AttentionCache<S>,
        dy: ArrayView2<'_, S>,
        grad: &mut Self,
    ) -> [Array2<S>; 3] {
        let (n, rows) = (q.len() / d, k.len() / d);
        let scale = S::one() / S::lit(d as f64).sqrt();
        let (mut dq, mut dk, mut dv) = (Array2::zeros((n, d)), Array2::zeros((rows, d)), Array2::zeros((rows, m)));
        let mut gains = vec![S::zero(); links.slots()];
        {
            let (qs, ks, vs) = (&q[..], &k[..], &v[..]);
            let (dqs, dks, dvs) = (flat_mut(&mut dq), flat_mut(&mut dk), flat_mut(&mut dv));
            let up = dy.as_standard_layout();
            let up = up.as_slice().expect("in standard layout");
            for i in 0..n {
                let (targets, weights) = (links.of(i), weights.row(i));
                let up = &up[i * m..(i + 1) * m];
                let (mut mean, mut total) = (S::zero(), S::zero());
                for (slot, &target) in targets.iter().enumerate() {
                    let a = weights[slot];
                    let Some(target) = Links::row(target).filter(|_| a > S::zero()) else { continue };
                    let row = target * m..(target + 1) * m;
                    gains[slot] = dot(&vs[row.clone()], up);
                    mean += a * gains[slot];
                    total += a;
                    add_scaled(&mut dvs[row], a, up);
                }
                grad.threshold[0] -= (S::one() - total) * mean;
                let own = i * d..(i + 1) * d;
                for (slot, &target) in targets.iter().enumerate() {
                    let a = weights[slot];
                    let Some(target) = Links::row(target).filter(|_| a > S::zero()) else { continue };
                    let ds = a * (gains[slot] - mean);
                    grad.bias[slot] += ds;
                    let row = target * d..(target + 1) * d;
                    add_scaled(&mut dqs[own.clone()], ds * scale, &ks[row.clone()]);
                    add_scaled(&mut dks[row], ds * scale, &qs[own.clone()]);
                }
            }
        }
        let [queries, keys, values] = inputs;
        [
            self.query.backward(queries, dq.view(), &mut grad.query).into(),
            self.key.backward(keys, dk.view(), &mut grad.key).into(),
            self.value.backward(values, dv.view(), &mut grad.value).into(),
        ]
    }
}

/// Queries whose links are weighed side by side.
const LANES: usize = 16;

/// Leaves one query of a tile its best scores. Ties go to the earlier slot, so that the choice has one answer.
fn keep_best<S: Scalar>(tile: &mut [[S; LANES]], lane: usize, best: usize, order: &mut Vec<(S, usize)>) {
    order.clear();
    order.extend(tile.iter().map(|scores| scores[lane]).zip(0..));
    order.sort_by(|a, b| b.0.widen().total_cmp(&a.0.widen()).then(a.1.cmp(&b.1)));
    order.iter().skip(best).for_each(|&(_, slot)| tile[slot][lane] = S::neg_infinity());
}

/// In fours, as four is the usual width and becomes one instruction.
#[inline(always)]
fn dot<S: Scalar>(a: &[S], b: &[S]) -> S {
    if let (Ok(a), Ok(b)) = (<&[S; 4]>::try_from(a), <&[S; 4]>::try_from(b)) {
        return (a[0] * b[0] + a[1] * b[1]) + (a[2] * b[2] + a[3] * b[3]);
    }
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [S::zero(); 4];
    for (a, b) in a.iter().zip(b) {
        (0..4).for_each(|l| sums[l] += a[l] * b[l]);
    }
    let rest = rest_a.iter().zip(rest_b).fold(S::zero(), |sum, (&a, &b)| sum + a * b);
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// `y += a x`.
#[inline(always)]
fn add_scaled<S: Scalar>(y: &mut [S], a: S, x: &[S]) {
    if let (Ok(y), Ok(x)) = (<&mut [S; 4]>::try_from(&mut *y), <&[S; 4]>::try_from(x)) {
        *y = std::array::from_fn(|l| y[l] + a * x[l]);
        return;
    }
    let ((y, rest_y), (x, rest_x)) = (y.as_chunks_mut::<4>(), x.as_chunks::<4>());
    for (y, x) in y.iter_mut().zip(x) {
        *y = std::array::from_fn(|l| y[l] + a * x[l]);
    }
    rest_y.iter_mut().zip(rest_x).for_each(|(y, &x)| *y += a * x);
}

/// As the forward pass of the layer, whose rows are so short here that a general product is mostly overhead. Each row is summed in the
/// order of its features, so that it does not depend on how many rows there are.
fn affine<S: Scalar>(layer: &Linear<S>, x: ArrayView2<'_, S>) -> Vec<S> {
    let (features, width) = layer.weight.dim();
    let mut y = vec![S::zero(); x.nrows() * width];
    let offset = layer.bias.as_slice().expect("a new vector lies in one piece");
    let weight = layer.weight.as_slice().expect("a new matrix is row-major");
    let x = x.as_slice().expect("features of places are row-major");
    let rows = x.chunks_exact(features).zip(y.chunks_exact_mut(width));
    match <&[S; 4]>::try_from(offset) {
        // The usual width, which stays in one register.
        Ok(offset) => wide!(for (x, y) in rows {
            let mut sums = *offset;
            for (&x, weight) in x.iter().zip(weight.as_chunks::<4>().0) {
                sums = std::array::from_fn(|l| sums[l] + x * weight[l]);
            }
            y.copy_from_slice(&sums);
        }),
        Err(_) => {
            for (x, y) in rows {
                y.copy_from_slice(offset);
                x.iter().zip(weight.chunks_exact(width)).for_each(|(&x, weight)| add_scaled(y, x, weight));
            }
        }
    }
    y
}

fn flat_mut<S: Scalar>(x: &mut Array2<S>) -> &mut [S] {
    x.as_slice_mut().expect("a new matrix is row-major")
}

#[cfg(test)]
mod tests;
