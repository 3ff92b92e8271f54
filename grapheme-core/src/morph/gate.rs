//! Whether a candidate merges away or stays.

use crate::graph::{EdgeKind, Topology};
use crate::layers::{Linear, ShapeError, log_sigmoids};
use crate::param_tree;
use crate::random::Stream;
use crate::scalar::Scalar;
use ndarray::{Array1, Array2, ArrayView2};

/// `g_c = sigmoid((s_c - theta_k) / T)`: the probability that candidate c of slot k merges into its target.
///
/// The similarity is a scaled bilinear form, `s_c = <q(c), p(target of c)> / sqrt(r)`, with affine projections `q` and `p`
/// to r dimensions; a candidate without a target is compared with `p(0)`. The constants in `q` and `p` let `s_c` also be
/// a plain linear score of the candidate, so nothing is lost against a gate without a target.
///
/// `theta_k` is the learned merge threshold of slot k. It starts so that slot 0 tends to stay and the others to merge:
/// `-theta_0 / T = -1.5`, `-theta_k / T = 3`.
#[derive(Clone, Debug)]
pub struct Gate<S> {
    /// q: d to r.
    pub query: Linear<S>,
    /// p: d to r.
    pub key: Linear<S>,
    /// theta: K.
    pub thresholds: Array1<S>,
    temperature: f64,
}

param_tree!(Gate { query, key, thresholds });

/// The gates of n candidates, in log form so that both outcomes keep their digits.
#[derive(Clone, Debug, PartialEq)]
pub struct Gates<S> {
    /// `ln(1 - g)`: n.
    pub log_stay: Vec<S>,
    /// `ln g`: n.
    pub log_merge: Vec<S>,
}

/// The gradient of [`Gates`].
#[derive(Clone, Debug, PartialEq)]
pub struct GatesGradient<S> {
    /// Gradient of `ln(1 - g)`: n.
    pub log_stay: Vec<S>,
    /// Gradient of `ln g`: n.
    pub log_merge: Vec<S>,
}

impl<S: Scalar> GatesGradient<S> {
    /// No gradient for n candidates.
    pub fn zeros(n: usize) -> Self {
        Self { log_stay: vec![S::zero(); n], log_merge: vec![S::zero(); n] }
    }
}

/// What [`Gate::backward`] needs.
#[derive(Clone, Debug)]
pub struct GateCache<S> {
    query: Array2<S>,
    key: Array2<S>,
}

impl<S: Scalar> Gate<S> {
    /// A gate over K = `slots` slots with projections to `rank` dimensions and temperature T.
    pub fn new(width: usize, rank: usize, slots: usize, temperature: f64, stream: &mut Stream) -> Self {
        let thresholds = Array1::from_shape_fn(slots, |k| S::lit(temperature * if k == 0 { 1.5 } else { -3.0 }));
        Self { query: Linear::new(width, rank, stream), key: Linear::new(width, rank, stream), thresholds, temperature }
    }

    /// The gates of `candidates` (n x d, slots of a node side by side), each against its target.
    ///
    /// # Errors
    /// [`ShapeError`] if the candidates have other than d columns.
    pub fn forward(
        &self,
        candidates: ArrayView2<'_, S>,
        targets: &[u32],
    ) -> Result<(Gates<S>, GateCache<S>), ShapeError> {
        let (query, key) = (self.query.forward(candidates)?, self.key.forward(candidates)?);
        let (scale, temperature) = (self.similarity_scale(), S::lit(self.temperature));
        let slots = self.thresholds.len();
        let (log_stay, log_merge) = (0..query.nrows())
            .map(|c| {
                let q = query.row(c);
                let similarity = match targets[c] {
                    NO_TARGET => q.dot(&self.key.bias),
                    target => q.dot(&key.row(target as usize)),
                } * scale;
                let logit = (similarity - self.thresholds[c % slots]) / temperature;
                log_sigmoids(logit)
            })
            .unzip();
        Ok((Gates { log_stay, log_merge }, GateCache { query, key }))
    }

    /// The gradient of the candidates; adds the parameters' gradient into `grad`.
    pub fn backward(
        &self,
        candidates: ArrayView2<'_, S>,
        targets: &[u32],
        gates: &Gates<S>,
        cache: GateCache<S>,
        dgates: &GatesGradient<S>,
        grad: &mut Self,
    ) -> Array2<S> {
        let GateCache { query, key } = cache;
        let (scale, temperature) = (self.similarity_scale(), S::lit(self.temperature));
        let slots = self.thresholds.len();
        let (mut dquery, mut dkey) = (Array2::zeros(query.dim()), Array2::zeros(key.dim()));
        for (c, &target) in targets.iter().enumerate() {
            // d ln g = (1 - g) dlogit and d ln(1 - g) = -g dlogit.
            let dlogit = dgates.log_merge[c] * gates.log_stay[c].exp() - dgates.log_stay[c] * gates.log_merge[c].exp();
            let dsimilarity = dlogit / temperature;
            grad.thresholds[c % slots] -= dsimilarity;
            let step = dsimilarity * scale;
            match target {
                NO_TARGET => {
                    dquery.row_mut(c).scaled_add(step, &self.key.bias);
                    grad.key.bias.scaled_add(step, &query.row(c));
                }
                target => {
                    dquery.row_mut(c).scaled_add(step, &key.row(target as usize));
                    dkey.row_mut(target as usize).scaled_add(step, &query.row(c));
                }
            }
        }
        let mut dcandidates = self.query.backward(candidates, dquery.view(), &mut grad.query);
        dcandidates += &self.key.backward(candidates, dkey.view(), &mut grad.key);
        dcandidates
    }

    fn similarity_scale(&self) -> S {
        S::lit(1.0 / (self.key.bias.len().max(1) as f64).sqrt())
    }
}

/// Marks a candidate with nothing before it.
pub const NO_TARGET: u32 = u32::MAX;

/// What each candidate would merge into: the slot before it in its node, or the last slot of the node before.
///
/// In a chain that is the node before in the text; elsewhere the last of the nodes with a sequential or structural edge to
/// it, since what belongs together by meaning need not be one. A target has a smaller index than its candidate.
pub fn merge_targets(topology: &Topology, slots: usize) -> Vec<u32> {
    let mut targets = Vec::with_capacity(topology.nodes() * slots);
    for graph in 0..topology.graphs() {
        let range = topology.range(graph);
        for node in range.clone() {
            let before = if topology.is_chain() && node > range.start {
                Some(node - 1)
            } else {
                let mut along = topology.incoming().of(node).iter().rev();
                let edge = along.find(|edge| matches!(edge.kind, EdgeKind::Sequential | EdgeKind::Structural));
                edge.map(|edge| edge.source as usize)
            };
            targets.push(before.map_or(NO_TARGET, |before| (before * slots + slots - 1) as u32));
            targets.extend((1..slots).map(|k| (node * slots + k - 1) as u32));
        }
    }
    targets
}
