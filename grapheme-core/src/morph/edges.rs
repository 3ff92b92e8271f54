//! Edges that come, go and are weighted.

use super::{MergeHistory, Plan};
use crate::graph::{Edge, EdgeKind, Topology, TopologyError};
use crate::kept::{Keep, Kept, Matrix};
use crate::layers::{DropoutKeys, LayerNorm, Linear, NormCache, Pass, ShapeError, sigmoid, tanh};
use crate::param_tree;
use crate::random::Stream;
use crate::scalar::Scalar;
use ndarray::{Array1, Array2};
use thiserror::Error;

/// Insertion, deletion and reweighting of edges, each by a learned gate.
///
/// A *candidate* is an explicit edge i -> j, or a pair i < j of one graph that no edge joins yet and that is at most `window`
/// places apart in the topological order. With `h = LayerNorm(x)` and affine projections `q`, `p` to r dimensions it has
///
/// - the logit `z = (<q(h_i), p(h_j)> / sqrt(r) - theta_k) / T`, k being the kind of the edge, or *new*; its gate is
///   `g = sigmoid(z)`, and the edge is there where `g > 1/2`;
/// - the factor `f = 2 sigmoid(a(h_i) + b(h_j))` with affine `a`, `b`, 1 in a fresh network;
/// - the weight `w' = w f (2 g - 1)`, with w the weight that it had, 1 for a new one.
///
/// So a weight reaches zero where its edge goes, and grows from zero where one comes: what reads the edges by their weights is
/// continuous in the parameters, also across a change of plan, and its derivative is that of one plan held fixed. A new
/// edge is `Semantic`. An edge that a given plan keeps against its gate weighs nothing. Every edge goes from a smaller to a
/// larger index, so the graph stays acyclic.
///
/// What became of the candidates is a [`MergeHistory`] with one contributor a row: `w' = M w`, and `dM_ij = dw'_i w_j` flows on into
/// gates and factors, `df = dM (2 g - 1)`, `dz = dM f (1 - (2 g - 1)^2) / 2`, and from there into features. A candidate that is not
/// there is listed as dropped.
///
/// Time and memory are `O((edges + nodes x window) r + nodes x d x r)`. Thresholds start so that a new edge is as likely as
/// not, and a known one nearly certain: `theta_new = 0`, `-theta_k / T = 3`.
#[derive(Clone, Debug)]
pub struct EdgeMorph<S> {
    /// Normalises the nodes.
    pub norm: LayerNorm<S>,
    /// q: d to r.
    pub query: Linear<S>,
    /// p: d to r.
    pub key: Linear<S>,
    /// a and b: d to 2.
    pub factor: Linear<S>,
    /// theta: of a new edge, then of each kind.
    pub thresholds: Array1<S>,
    window: usize,
    temperature: f64,
}

param_tree!(EdgeMorph { norm, query, key, factor, thresholds });

/// Who is joined to whom at one place of a network, and how strongly.
#[derive(Clone, Debug, PartialEq)]
pub struct Wiring<S: Scalar> {
    /// The shape; weights there are rounded.
    pub topology: Topology,
    /// The weights of its explicit edges, by place, where a layer has learned them.
    pub weights: Option<Kept<S>>,
}

impl<S: Scalar> Wiring<S> {
    /// For a layer that reads rows which are joined like this.
    pub fn pass<'a>(&'a self, dropout: Option<&'a DropoutKeys>) -> Pass<'a, S> {
        Pass { topology: &self.topology, weights: self.weights.as_ref().map(|weights| weights.as_slice()), dropout }
    }
}

/// An edge that may be there afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeCandidate {
    /// The node that it leaves.
    pub source: u32,
    /// The node that it enters.
    pub target: u32,
    /// Its place among the explicit edges of before; none if it would be new.
    pub place: Option<u32>,
    /// What it says.
    pub kind: EdgeKind,
}

impl Keep for EdgeCandidate {}

impl EdgeCandidate {
    fn threshold(&self) -> usize {
        self.place.map_or(0, |_| 1 + self.kind as usize)
    }
}

/// Why edges were not rewritten.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// Rows of the wrong shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A weight that is no number.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A plan for other candidates.
    #[error("expected a plan of {expected} choices, found {found}")]
    Plan {
        /// The number of candidates.
        expected: usize,
        /// The choices found.
        found: usize,
    },
}

/// What [`EdgeMorph::backward`] needs, and what later layers read.
#[derive(Clone, Debug)]
pub struct EdgeCache<S: Scalar> {
    /// The shape that the rewriting leaves.
    pub wiring: Wiring<S>,
    /// Which candidates are there.
    pub plan: Plan,
    /// From the weights of the candidates to those of the edges.
    pub history: MergeHistory<S>,
    /// In the order of the edges: by target, then source, then kind.
    pub candidates: Kept<EdgeCandidate>,
    /// The number of edges of before, if their weights were learned.
    learned: Option<usize>,
    norm: NormCache<S>,
    query: Matrix<S>,
    key: Matrix<S>,
    /// The weight of each candidate before.
    before: Kept<S>,
    /// `2 g - 1` and f of each edge that is there.
    gates: Kept<S>,
    factors: Kept<S>,
}

/// The candidates of a topology, `O(edges + nodes x window)`.
pub fn edge_candidates(topology: &Topology, window: usize) -> Kept<EdgeCandidate> {
    let mut candidates = Kept::new();
    for graph in 0..topology.graphs() {
        let nodes = topology.range(graph);
        for target in nodes.clone() {
            let mut known = topology.entering(target).peekable();
            let mut push = |place: Option<usize>, source: usize, kind| {
                let (source, target, place) = (source as u32, target as u32, place.map(|place| place as u32));
                candidates.push(EdgeCandidate { source, target, place, kind });
            };
            for source in target.saturating_sub(window).max(nodes.start)..target {
                while let Some((place, edge)) = known.next_if(|(_, edge)| (edge.source as usize) < source) {
                    push(Some(place), edge.source as usize, edge.kind);
                }
                let is_joined = known.peek().is_some_and(|(_, edge)| edge.source as usize == source);
                if !(is_joined || topology.is_chain() && source + 1 == target) {
                    push(None, source, EdgeKind::Semantic);
                }
            }
            known.for_each(|(place, edge)| push(Some(place), edge.source as usize, edge.kind));
        }
    }
    candidates
}

impl<S: Scalar> EdgeMorph<S> {
    /// Fresh parameters; see the type.
    pub fn new(width: usize, rank: usize, window: usize, temperature: f64, stream: &mut Stream) -> Self {
        let (query, key) = (Linear::new(width, rank, stream), Linear::new(width, rank, stream));
        let factor = Linear { weight: Array2::zeros((width, 2)), bias: Array1::zeros(2) };
        let of_kind = |k| S::lit(temperature * if k == 0 { 0.0 } else { -3.0 });
        let thresholds = Array1::from_shape_fn(1 + EdgeKind::ALL.len(), of_kind);
        Self { norm: LayerNorm::new(width), query, key, factor, thresholds, window, temperature }
    }

    /// The edges between the nodes `x` (n x d) by `plan`, one choice a candidate, or by the most probable choices.
    ///
    /// # Errors
    /// [`EdgeError`].
    pub fn forward(&self, x: &Array2<S>, pass: Pass<'_, S>, plan: Option<&Plan>) -> Result<EdgeCache<S>, EdgeError> {
        ShapeError::check("edge morph", x, [pass.topology.nodes(), self.norm.gain.len()])?;
        let norm = self.norm.forward(x)?;
        let h = self.norm.output(&norm);
        let (query, key) = (self.query.forward(h.view())?, self.key.forward(h.view())?);
        let factor = self.factor.forward(h.view())?;
        let candidates = edge_candidates(pass.topology, self.window);
        let logits: Kept<S> = candidates.iter().map(|candidate| self.logit(&query, &key, candidate)).collect();
        let plan = match plan {
            Some(plan) => plan.clone(),
            None => Plan { stays: logits.iter().map(|&z| z > S::zero()).collect() },
        };
        let (expected, found) = (candidates.len(), plan.stays.len());
        if expected != found {
            return Err(EdgeError::Plan { expected, found });
        }
        let known = pass.topology.incoming().as_slice();
        let weight = |place: u32| pass.weight(place as usize, &known[place as usize]);
        let before: Kept<S> = candidates.iter().map(|candidate| candidate.place.map_or_else(S::one, weight)).collect();
        let there: Kept<u32> = (0..expected as u32).filter(|&c| plan.stays[c as usize]).collect();
        let gate = |&c: &u32| tanh(logits[c as usize] / S::lit(2.0)).max(S::zero());
        let factor = |&c: &u32| {
            let EdgeCandidate { source, target, .. } = candidates[c as usize];
            S::lit(2.0) * sigmoid(factor[[source as usize, 0]] + factor[[target as usize, 1]])
        };
        let (gates, factors): (Kept<S>, Kept<S>) =
            (there.iter().map(gate).collect(), there.iter().map(factor).collect());
        let entries = gates.iter().zip(&factors).map(|(&gate, &factor)| gate * factor).collect();
        let starts = (0..=there.len() as u32).collect();
        let history = MergeHistory::from_compressed_rows(expected, starts, there, entries);
        let weights = history.forward_values(&before);
        let edges = (0..history.outputs()).zip(weights.iter()).map(|(edge, weight)| {
            let EdgeCandidate { source, target, kind, .. } = candidates[history.contributor_indices()[edge] as usize];
            Edge { source, target, kind, weight: weight.widen() as f32 }
        });
        let topology = pass.topology.rewired(edges.collect())?;
        let wiring = Wiring { topology, weights: Some(weights) };
        let learned = pass.weights.map(<[S]>::len);
        Ok(EdgeCache { wiring, plan, history, candidates, learned, norm, query, key, before, gates, factors })
    }

    /// `dx` for the gradient `dy` of the nodes and `dweights` of the weights of the edges, which becomes that of the edges
    /// of before, if those were learned; adds the parameters' gradient into `grad`.
    pub fn backward(&self, cache: EdgeCache<S>, dy: Matrix<S>, dweights: &mut Kept<S>, grad: &mut Self) -> Matrix<S> {
        let EdgeCache { history, candidates, learned, norm, query, key, before, gates, factors, .. } = cache;
        let h = self.norm.output(&norm);
        let mut dfactor = Matrix::zeros((h.nrows(), 2));
        let (mut dquery, mut dkey) = (Matrix::zeros(query.dim()), Matrix::zeros(key.dim()));
        let scale = S::lit(1.0 / (self.key.bias.len().max(1) as f64).sqrt());
        let there = history.contributor_indices().iter().zip(gates.iter().zip(&factors));
        for ((&c, (&gate, &factor)), &dweight) in there.zip(dweights.iter()) {
            let (candidate, dentry) = (&candidates[c as usize], dweight * before[c as usize]);
            let (source, target) = (candidate.source as usize, candidate.target as usize);
            // f = 2 sigmoid, so df = f (1 - f / 2).
            let da = dentry * gate * factor * (S::one() - factor / S::lit(2.0));
            dfactor[[source, 0]] += da;
            dfactor[[target, 1]] += da;
            let slope = if gate > S::zero() { (S::one() - gate * gate) / S::lit(2.0) } else { S::zero() };
            let dz = dentry * factor * slope;
            let dsimilarity = dz / S::lit(self.temperature);
            grad.thresholds[candidate.threshold()] -= dsimilarity;
            dquery.row_mut(source).scaled_add(dsimilarity * scale, &key.row(target));
            dkey.row_mut(target).scaled_add(dsimilarity * scale, &query.row(source));
        }
        let mut dh = self.query.backward(h.view(), dquery.view(), &mut grad.query);
        self.key.add_backward(h.view(), dkey.view(), &mut dh, &mut grad.key);
        self.factor.add_backward(h.view(), dfactor.view(), &mut dh, &mut grad.factor);
        let dx = self.norm.backward(&norm, dh, Some(&dy), &mut grad.norm);
        let dbefore = if learned.is_some() { history.backward_values(dweights) } else { Kept::new() };
        *dweights = Kept::zeros(learned.unwrap_or(0));
        for (candidate, &d) in candidates.iter().zip(&dbefore) {
            if let Some(place) = candidate.place {
                dweights[place as usize] = d;
            }
        }
        dx
    }

    fn logit(&self, query: &Matrix<S>, key: &Matrix<S>, candidate: &EdgeCandidate) -> S {
        let scale = S::lit(1.0 / (self.key.bias.len().max(1) as f64).sqrt());
        let similarity = query.row(candidate.source as usize).dot(&key.row(candidate.target as usize)) * scale;
        (similarity - self.thresholds[candidate.threshold()]) / S::lit(self.temperature)
    }
}
