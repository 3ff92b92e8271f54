//! Attention over links that were chosen before: at a place over time, over neighbours, and through wormholes.
//!
//! The three differ only in which rows a query may look at, so they share one differentiable operation,
//! [`LinkedAttention`]; `links.rs` and [`wormhole`] make the [`Links`].

mod links;
pub mod wormhole;

pub use links::{Links, neighbourhood_links, time_links};
pub use wormhole::{WormholeSettings, Wormholes};

use grapheme_core::layers::Linear;
use grapheme_core::product::product;
use grapheme_core::{Scalar, Stream, param_tree};
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

/// What the backward pass of [`LinkedAttention`] needs.
#[derive(Clone, Debug)]
pub struct AttentionCache<S> {
    q: Array2<S>,
    k: Array2<S>,
    v: Array2<S>,
    /// n x slots, zero where there is no link.
    weights: Array2<S>,
    /// Links whose score is above the threshold, and all links.
    passed: [usize; 2],
}

impl<S: Scalar> AttentionCache<S> {
    /// The weights `a_ij`, n x slots.
    pub fn weights(&self) -> ArrayView2<'_, S> {
        self.weights.view()
    }

    /// How many links passed the gate, and how many there were.
    pub fn passed(&self) -> [usize; 2] {
        self.passed
    }
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
    ) -> (Array2<S>, AttentionCache<S>) {
        let (q, k, v) = (affine(&self.query, queries), affine(&self.key, keys), affine(&self.value, values));
        let (n, slots, d) = (q.nrows(), links.slots(), q.ncols());
        let scale = S::one() / S::lit(d as f64).sqrt();
        let theta = self.threshold[0];
        let mut weights = Array2::zeros((n, slots));
        let mut y = Array2::zeros((n, v.ncols()));
        let mut passed = [0, 0];
        let mut order: Vec<usize> = Vec::with_capacity(slots);
        let (qs, ks, vs) = (flat(&q), flat(&k), flat(&v));
        let bias = self.bias.as_slice().expect("a new vector lies in one piece");
        let m = v.ncols();
        for ((i, row), out) in flat_mut(&mut weights).chunks_exact_mut(slots.max(1)).enumerate().zip(y.rows_mut()) {
            let targets = links.of(i);
            let query = &qs[i * d..(i + 1) * d];
            let out = out.into_slice().expect("a new matrix is row-major");
            // First the scores; where there is no link, what the exponential makes zero of.
            let mut largest = theta;
            order.clear();
            for (slot, &target) in targets.iter().enumerate() {
                row[slot] = S::neg_infinity();
                let Some(target) = Links::row(target) else { continue };
                row[slot] = dot(query, &ks[target * d..(target + 1) * d]) * scale + bias[slot];
                if best.is_some() {
                    order.push(slot);
                }
                passed[1] += 1;
                passed[0] += usize::from(row[slot] > theta);
                if row[slot] > largest {
                    largest = row[slot];
                }
            }
            if let Some(best) = best.filter(|&best| best < order.len()) {
                // Ties go to the earlier slot, so that the choice has one answer.
                order.sort_by(|&a, &b| row[b].widen().total_cmp(&row[a].widen()).then(a.cmp(&b)));
                order[best..].iter().for_each(|&slot| row[slot] = S::neg_infinity());
            }
            let none = S::neg_infinity();
            for w in row.iter_mut() {
                let e = (*w - largest).quick_exp();
                *w = if *w > none { e } else { S::zero() };
            }
            let sum = row.iter().fold((theta - largest).quick_exp(), |sum, &w| sum + w);
            row.iter_mut().for_each(|w| *w /= sum);
            for (&weight, &target) in row.iter().zip(targets).filter(|(weight, _)| **weight > S::zero()) {
                let Some(target) = Links::row(target) else { continue };
                add_scaled(out, weight, &vs[target * m..(target + 1) * m]);
            }
        }
        (y, AttentionCache { q, k, v, weights, passed })
    }

    /// Adds the parameters' gradient into `grad`, and returns the gradients of queries, keys and values.
    pub fn backward(
        &self,
        inputs: [ArrayView2<'_, S>; 3],
        links: &Links,
        cache: AttentionCache<S>,
        dy: ArrayView2<'_, S>,
        grad: &mut Self,
    ) -> [Array2<S>; 3] {
        let AttentionCache { q, k, v, weights, .. } = cache;
        let (n, d, m) = (q.nrows(), q.ncols(), v.ncols());
        let scale = S::one() / S::lit(d as f64).sqrt();
        let (mut dq, mut dk, mut dv) = (Array2::zeros(q.dim()), Array2::zeros(k.dim()), Array2::zeros(v.dim()));
        let mut gains = vec![S::zero(); links.slots()];
        {
            let (qs, ks, vs) = (flat(&q), flat(&k), flat(&v));
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
            self.query.backward(queries, dq.view(), &mut grad.query),
            self.key.backward(keys, dk.view(), &mut grad.key),
            self.value.backward(values, dv.view(), &mut grad.value),
        ]
    }
}

/// In fours, which is the usual width and becomes one instruction.
#[inline(always)]
fn dot<S: Scalar>(a: &[S], b: &[S]) -> S {
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
    let ((y, rest_y), (x, rest_x)) = (y.as_chunks_mut::<4>(), x.as_chunks::<4>());
    for (y, x) in y.iter_mut().zip(x) {
        (0..4).for_each(|l| y[l] += a * x[l]);
    }
    rest_y.iter_mut().zip(rest_x).for_each(|(y, &x)| *y += a * x);
}

/// As the forward pass of the layer. Its rows are so short here that to copy the offset into each would take longer than the product.
fn affine<S: Scalar>(layer: &Linear<S>, x: ArrayView2<'_, S>) -> Array2<S> {
    let mut y = product(x, layer.weight.view());
    let offset = layer.bias.as_slice().expect("a new vector lies in one piece");
    for row in flat_mut(&mut y).chunks_exact_mut(offset.len()) {
        row.iter_mut().zip(offset).for_each(|(y, &b)| *y += b);
    }
    y
}

fn flat<S: Scalar>(x: &Array2<S>) -> &[S] {
    x.as_slice().expect("a product is row-major")
}

fn flat_mut<S: Scalar>(x: &mut Array2<S>) -> &mut [S] {
    x.as_slice_mut().expect("a new matrix is row-major")
}

#[cfg(test)]
mod tests;
