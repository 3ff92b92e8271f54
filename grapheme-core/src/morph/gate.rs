//! Whether a candidate merges away or stays.

use crate::graph::{EdgeKind, Topology};
use crate::kept::{Kept, Matrix};
use crate::layers::{Linear, ShapeError, log_sigmoids, row_slices, row_slices_mut};
use crate::param_tree;
use crate::product::{add_product, affine, product};
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::vector::{add, add_scaled, dot};
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

/// What [`Gate::backward`] needs: `[q(c); p(c)]` of each candidate, n x 2r.
#[derive(Clone, Debug)]
pub struct GateCache<S: Scalar>(Matrix<S>);

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
        ShapeError::check("gate", candidates, [candidates.nrows(), self.query.weight.nrows()])?;
        let (weight, bias) = self.projections();
        let projected = affine(candidates.view(), weight.view(), &bias);
        let (scale, temperature) = (self.similarity_scale(), S::lit(self.temperature));
        let (rank, nothing) = (self.query.bias.len(), self.nothing());
        let mut gates = Gates { log_stay: Kept::with_capacity(targets.len()), log_merge: Kept::unset(targets.len()) };
        crate::wide! {
            let mut thresholds = self.thresholds.iter().cycle();
            for (c, &target) in targets.iter().enumerate() {
                let q = &projected.values()[2 * c * rank..][..rank];
                let similarity = match target {
                    NO_TARGET => dot(q, nothing),
                    target => dot(q, &projected.values()[(2 * target as usize + 1) * rank..][..rank]),
                } * scale;
                let threshold = thresholds.next().copied().unwrap_or_else(S::zero);
                gates.log_stay.push((similarity - threshold) / temperature);
            }
            // The logits become the gates in a loop of their own, over neighbours.
            for (stay, merge) in gates.log_stay.iter_mut().zip(gates.log_merge.iter_mut()) {
                (*stay, *merge) = log_sigmoids(*stay);
            }
        }
        Ok((gates, GateCache(projected)))
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
        let GateCache(projected) = cache;
        let (scale, temperature) = (self.similarity_scale(), S::lit(self.temperature));
        let (rank, slots, nothing) = (self.query.bias.len(), self.thresholds.len(), self.nothing());
        let mut dprojected = Matrix::zeros(projected.dim());
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
                let step = dsimilarity * scale;
                // A target comes before its candidate.
                let (earlier, later) = dprojected.values_mut().split_at_mut(2 * c * rank);
                let (q, dq) = (&projected.values()[2 * c * rank..][..rank], &mut later[..rank]);
                let (other, dother) = match target {
                    NO_TARGET => (nothing, &mut *dnothing),
                    target => {
                        let key = (2 * target as usize + 1) * rank;
                        (&projected.values()[key..][..rank], &mut earlier[key..][..rank])
                    }
                };
                for (dq, &other) in dq.iter_mut().zip(other) {
                    *dq = step * other;
                }
                add_scaled(dother, step, q);
            }
        }
        add_product(dcandidates.view_mut(), dprojected.view(), self.projections().0.t());
        let dweight = product(candidates.t(), dprojected.view());
        for (part, grad) in [&mut grad.query, &mut grad.key].into_iter().enumerate() {
            let columns = part * rank..(part + 1) * rank;
            for (to, from) in row_slices_mut(&mut grad.weight).zip(row_slices(&dweight)) {
                add(to, &from[columns.clone()]);
            }
            let dbias = grad.bias.as_slice_mut().expect("a parameter is stored in row-major order");
            for from in row_slices(&dprojected) {
                add(dbias, &from[columns.clone()]);
            }
        }
    }

    /// Both projections as one, `[q; p]`, d x 2r and 2r: a product makes better use of registers than two of half the width.
    fn projections(&self) -> (Matrix<S>, Kept<S>) {
        let (query, key) = (&self.query, &self.key);
        let mut weight = Matrix::unset((query.weight.nrows(), 2 * query.weight.ncols()));
        let parts = row_slices(&query.weight).zip(row_slices(&key.weight));
        for (to, (query, key)) in row_slices_mut(&mut weight).zip(parts) {
            let (to_query, to_key) = to.split_at_mut(query.len());
            to_query.copy_from_slice(query);
            to_key.copy_from_slice(key);
        }
        (weight, query.bias.iter().chain(&key.bias).copied().collect())
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
