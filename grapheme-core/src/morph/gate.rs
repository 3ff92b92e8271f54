//! Whether a candidate merges away or stays.

use crate::graph::{EdgeKind, Topology};
use crate::kept::{Kept, Matrix};
use crate::layers::{Linear, ShapeError, log_sigmoids};
use crate::param_tree;
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::vector::{add_scaled, dot};
use ndarray::Array1;

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
pub struct Gates<S: Scalar> {
    /// `ln(1 - g)`: n.
    pub log_stay: Kept<S>,
    /// `ln g`: n.
    pub log_merge: Kept<S>,
}

/// The gradient of [`Gates`].
#[derive(Clone, Debug, PartialEq)]
pub struct GatesGradient<S: Scalar> {
    /// Gradient of `ln(1 - g)`: n.
    pub log_stay: Kept<S>,
    /// Gradient of `ln g`: n.
    pub log_merge: Kept<S>,
}

impl<S: Scalar> GatesGradient<S> {
    /// No gradient for n candidates.
    pub fn zeros(n: usize) -> Self {
        Self { log_stay: Kept::zeros(n), log_merge: Kept::zeros(n) }
    }
}

/// What [`Gate::backward`] needs.
#[derive(Clone, Debug)]
pub struct GateCache<S: Scalar> {
    query: Matrix<S>,
    key: Matrix<S>,
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
    pub fn forward(&self, candidates: &Matrix<S>, targets: &[u32]) -> Result<(Gates<S>, GateCache<S>), ShapeError> {
        let (query, key) = (self.query.forward(candidates.view())?, self.key.forward(candidates.view())?);
        let (scale, temperature) = (self.similarity_scale(), S::lit(self.temperature));
        let (rank, nothing) = (query.ncols(), self.nothing());
        let mut gates = Gates { log_stay: Kept::with_capacity(targets.len()), log_merge: Kept::unset(targets.len()) };
        crate::wide! {
            let mut thresholds = self.thresholds.iter().cycle();
            for (c, &target) in targets.iter().enumerate() {
                let q = &query.values()[c * rank..][..rank];
                let similarity = match target {
                    NO_TARGET => dot(q, nothing),
                    target => dot(q, &key.values()[target as usize * rank..][..rank]),
                } * scale;
                let threshold = thresholds.next().copied().unwrap_or_else(S::zero);
                gates.log_stay.push((similarity - threshold) / temperature);
            }
            // The logits become the gates in a loop of their own, over neighbours.
            for (stay, merge) in gates.log_stay.iter_mut().zip(gates.log_merge.iter_mut()) {
                (*stay, *merge) = log_sigmoids(*stay);
            }
        }
        Ok((gates, GateCache { query, key }))
    }

    /// Adds the gradient of the candidates to `dcandidates`, and that of the parameters into `grad`.
    pub fn backward(
        &self,
        (candidates, targets): (&Matrix<S>, &[u32]),
        gates: &Gates<S>,
        cache: GateCache<S>,
        dgates: &GatesGradient<S>,
        dcandidates: &mut Matrix<S>,
        grad: &mut Self,
    ) {
        let GateCache { query, key } = cache;
        let (scale, temperature) = (self.similarity_scale(), S::lit(self.temperature));
        let (rank, slots, nothing) = (query.ncols(), self.thresholds.len(), self.nothing());
        let (mut dquery, mut dkey) = (Matrix::unset(query.dim()), Matrix::zeros(key.dim()));
        let mut dsimilarities = Kept::unset(targets.len());
        let dnothing = grad.key.bias.as_slice_mut().expect("a parameter is stored in row-major order");
        crate::wide! {
            let logs = gates.log_stay.iter().zip(gates.log_merge.iter());
            let dlogs = dgates.log_stay.iter().zip(dgates.log_merge.iter());
            for (d, ((&stay, &merge), (&dstay, &dmerge))) in dsimilarities.iter_mut().zip(logs.zip(dlogs)) {
                // d ln g = (1 - g) dlogit and d ln(1 - g) = -g dlogit.
                *d = (dmerge * stay.quick_exp() - dstay * merge.quick_exp()) / temperature;
            }
            for (c, (&target, &dsimilarity)) in targets.iter().zip(dsimilarities.iter()).enumerate() {
                grad.thresholds[c % slots] -= dsimilarity;
                let (step, rows) = (dsimilarity * scale, c * rank..(c + 1) * rank);
                let (q, dq) = (&query.values()[rows.clone()], &mut dquery.values_mut()[rows]);
                let (other, dother) = match target {
                    NO_TARGET => (nothing, &mut *dnothing),
                    target => {
                        let rows = target as usize * rank..(target as usize + 1) * rank;
                        (&key.values()[rows.clone()], &mut dkey.values_mut()[rows])
                    }
                };
                for (dq, &other) in dq.iter_mut().zip(other) {
                    *dq = step * other;
                }
                add_scaled(dother, step, q);
            }
        }
        self.query.add_backward(candidates.view(), dquery.view(), dcandidates, &mut grad.query);
        self.key.add_backward(candidates.view(), dkey.view(), dcandidates, &mut grad.key);
    }

    /// `p(0)`.
    fn nothing(&self) -> &[S] {
        self.key.bias.as_slice().expect("a parameter is stored in row-major order")
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
pub fn merge_targets(topology: &Topology, slots: usize) -> Kept<u32> {
    let mut targets = Kept::with_capacity(topology.nodes() * slots);
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
