//! Attention over links that were chosen before: at a place over time, over neighbours, and through wormholes.
//!
//! The three differ only in which rows a query may look at, so they share one differentiable operation,
//! [`LinkedAttention`]; `links.rs` and [`wormhole`] make the [`Links`].

mod links;
pub mod wormhole;

pub use links::{Links, neighbourhood_links, time_links};
pub use wormhole::{WormholeSettings, Wormholes};

use grapheme_core::layers::Linear;
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
        let apply = |layer: &Linear<S>, x| layer.forward(x).expect("the network's own shapes");
        let (q, k, v) = (apply(&self.query, queries), apply(&self.key, keys), apply(&self.value, values));
        let (n, slots, d) = (q.nrows(), links.slots(), q.ncols());
        let scale = S::one() / S::lit(d as f64).sqrt();
        let theta = self.threshold[0];
        let mut weights = Array2::zeros((n, slots));
        let mut y = Array2::zeros((n, v.ncols()));
        let mut passed = [0, 0];
        let mut scores = vec![S::zero(); slots];
        let mut order: Vec<usize> = Vec::with_capacity(slots);
        let (qs, ks, vs) = (flat(&q), flat(&k), flat(&v));
        let m = v.ncols();
        for i in 0..n {
            let targets = links.of(i);
            let query = &qs[i * d..(i + 1) * d];
            let mut largest = theta;
            order.clear();
            for (slot, &target) in targets.iter().enumerate() {
                let Some(target) = Links::row(target) else { continue };
                let key = &ks[target * d..(target + 1) * d];
                let product = query.iter().zip(key).fold(S::zero(), |sum, (&a, &b)| sum + a * b);
                scores[slot] = product * scale + self.bias[slot];
                order.push(slot);
                passed[1] += 1;
                passed[0] += usize::from(scores[slot] > theta);
                if scores[slot] > largest {
                    largest = scores[slot];
                }
            }
            if let Some(best) = best.filter(|&best| best < order.len()) {
                // Ties go to the earlier slot, so that the choice has one answer.
                order.sort_by(|&a, &b| scores[b].widen().total_cmp(&scores[a].widen()).then(a.cmp(&b)));
                order.truncate(best);
            }
            let mut row = weights.row_mut(i);
            let mut sum = (theta - largest).quick_exp();
            for &slot in &order {
                row[slot] = (scores[slot] - largest).quick_exp();
                sum += row[slot];
            }
            let out = y.row_mut(i).into_slice().expect("a new matrix is row-major");
            for &slot in &order {
                row[slot] /= sum;
                let target = Links::row(targets[slot]).expect("only links have an order");
                for (o, &value) in out.iter_mut().zip(&vs[target * m..(target + 1) * m]) {
                    *o += row[slot] * value;
                }
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
            for i in 0..n {
                let (targets, weights) = (links.of(i), weights.row(i));
                let up = dy.row(i);
                let (mut mean, mut total) = (S::zero(), S::zero());
                for (slot, &target) in targets.iter().enumerate() {
                    let a = weights[slot];
                    let Some(target) = Links::row(target).filter(|_| a > S::zero()) else { continue };
                    let value = &vs[target * m..(target + 1) * m];
                    let gain = value.iter().zip(up).fold(S::zero(), |sum, (&x, &g)| sum + x * g);
                    gains[slot] = gain;
                    mean += a * gain;
                    total += a;
                    for (o, &g) in dvs[target * m..(target + 1) * m].iter_mut().zip(up) {
                        *o += a * g;
                    }
                }
                grad.threshold[0] -= (S::one() - total) * mean;
                for (slot, &target) in targets.iter().enumerate() {
                    let a = weights[slot];
                    let Some(target) = Links::row(target).filter(|_| a > S::zero()) else { continue };
                    let ds = a * (gains[slot] - mean);
                    grad.bias[slot] += ds;
                    let ds = ds * scale;
                    for c in 0..d {
                        dqs[i * d + c] += ds * ks[target * d + c];
                        dks[target * d + c] += ds * qs[i * d + c];
                    }
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

fn flat<S: Scalar>(x: &Array2<S>) -> &[S] {
    x.as_slice().expect("a product is row-major")
}

fn flat_mut<S: Scalar>(x: &mut Array2<S>) -> &mut [S] {
    x.as_slice_mut().expect("a new matrix is row-major")
}

#[cfg(test)]
mod tests;
