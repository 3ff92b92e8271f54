//! The cost of matching a predicted node with a target.
//!
//! `n` predicted nodes, `m` targets; `C` is the cost, on the band of the labels.

use super::band::Banded;
use super::edge::WeightedEdge;
use grapheme_core::Kept;
use grapheme_core::Scalar;
use serde::{Deserialize, Serialize};

/// How much each mismatch counts in the cost of a match. A term of weight 0 is not computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeWeights {
    /// Of `1 - q_ij`, with `q_ij` the probability that node `i` has the kind of target `j`.
    pub kind: f64,
    /// Of the activation mismatch.
    pub activation: f64,
    /// Of `((d_i - d_j) / (1 + d_i + d_j))^2`, with `d` the sum of the effective weights of a node's edges.
    pub degree: f64,
    /// Of `(i / n - j / m)^2`.
    pub order: f64,
}

/// The learned part of the cost of a match, from the probability `p` that the node carries the target's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `1 - p`, bounded.
    Probability,
    /// `-log p`, infinite where `p = 0`.
    NegativeLogLikelihood,
}

/// What the cost of all matches is made of.
pub(super) struct Matches<'a, S: Scalar> {
    pub(super) weights: &'a NodeWeights,
    pub(super) activation: Activation,
    pub(super) log_label: &'a Banded<S>,
    pub(super) kind: Option<&'a Banded<S>>,
    /// The log probability of staying, where a match has to pay for it.
    pub(super) log_stay: Option<&'a [S]>,
    pub(super) degree: &'a [f64],
    pub(super) target_degree: &'a [f64],
}

/// The gradient of a loss with respect to what the costs are made of.
pub(super) struct MatchesGradient<S: Scalar> {
    pub(super) log_label: Banded<S>,
    pub(super) kind: Option<Banded<S>>,
    pub(super) log_stay: Kept<f64>,
    pub(super) degree: Kept<f64>,
}

impl<S: Scalar> Matches<'_, S> {
    /// The cost of every match.
    pub(super) fn forward(&self) -> Banded<S> {
        let band = self.log_label.band();
        let (n, m) = (band.rows() as f64, band.columns() as f64);
        let NodeWeights { kind, activation, degree, order } = *self.weights;
        let mut cost = Banded::filled(band, S::zero());
        for i in 0..band.rows() {
            let constant = self.log_stay.map_or(0.0, |log_stay| -log_stay[i].widen());
            let row = cost.row_mut(i);
            for ((cost, j), &log_label) in row.iter_mut().zip(band.range(i)).zip(self.log_label.row(i)) {
                let mut sum = constant;
                if activation > 0.0 {
                    sum += activation
                        * match self.activation {
                            Activation::Probability => 1.0 - log_label.widen().exp(),
                            Activation::NegativeLogLikelihood => -log_label.widen(),
                        };
                }
                if degree > 0.0 {
                    let mismatch = degree_mismatch(self.degree[i], self.target_degree[j]);
                    sum += degree * mismatch * mismatch;
                }
                if order > 0.0 {
                    let mismatch = i as f64 / n - j as f64 / m;
                    sum += order * mismatch * mismatch;
                }
                *cost = S::lit(sum);
            }
            if let Some(matrix) = self.kind.filter(|_| kind > 0.0) {
                for (cost, &q) in cost.row_mut(i).iter_mut().zip(matrix.row(i)) {
                    *cost += S::lit(kind * (1.0 - q.widen()));
                }
            }
        }
        cost
    }

    /// The gradient with respect to every part, given that with respect to the costs.
    pub(super) fn backward(&self, dcost: &Banded<S>) -> MatchesGradient<S> {
        let band = dcost.band();
        let NodeWeights { kind, activation, degree, .. } = *self.weights;
        let mut log_label = Banded::filled(band, S::zero());
        if activation > 0.0 {
            for ((to, &d), &log_label) in
                log_label.values_mut().iter_mut().zip(dcost.values()).zip(self.log_label.values())
            {
                let slope = match self.activation {
                    Activation::Probability => log_label.widen().exp(),
                    Activation::NegativeLogLikelihood => 1.0,
                };
                *to = S::lit(-activation * slope * d.widen());
            }
        }
        let kind = self.kind.map(|matrix| {
            let mut dkind = Banded::filled(matrix.band(), S::zero());
            let pairs = dkind.values_mut().iter_mut().zip(dcost.values());
            pairs.for_each(|(to, &d)| *to = S::lit(-kind * d.widen()));
            dkind
        });
        let mut log_stay = Kept::zeros(band.rows());
        let mut ddegree = Kept::zeros(band.rows());
        for i in 0..band.rows() {
            let row = dcost.row(i);
            if self.log_stay.is_some() {
                log_stay[i] = -row.iter().map(|d| d.widen()).sum::<f64>();
            }
            if degree > 0.0 {
                for (&d, j) in row.iter().zip(band.range(i)) {
                    let (here, there) = (self.degree[i], self.target_degree[j]);
                    let total = 1.0 + here + there;
                    let slope = 2.0 * degree_mismatch(here, there) * (1.0 + 2.0 * there) / (total * total);
                    ddegree[i] += degree * slope * d.widen();
                }
            }
        }
        MatchesGradient { log_label, kind, log_stay, degree: ddegree }
    }
}

/// A number in `(-1, 1)`, 0 where the degrees are equal.
fn degree_mismatch(here: f64, there: f64) -> f64 {
    (here - there) / (1.0 + here + there)
}

/// The sum of the weights of each node's edges, of either direction.
pub(super) fn degrees<S>(
    nodes: usize,
    edges: &[WeightedEdge<S>],
    weight: impl Fn(&WeightedEdge<S>) -> f64,
) -> Kept<f64> {
    let mut degrees = Kept::zeros(nodes);
    for edge in edges {
        let weight = weight(edge);
        degrees[edge.source] += weight;
        degrees[edge.target] += weight;
    }
    degrees
}
