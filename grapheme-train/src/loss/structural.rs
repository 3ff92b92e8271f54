//! The structural loss: node, edge and clique costs under one assignment.
//!
//! `n` predicted nodes, `m` targets.

use super::align::{
    Aligner, Alignment, Assignment, Monotone, Problem, ProblemGradient, SettingError, Sinkhorn, TOGETHER, Together,
    Upstream,
};
use super::band::{Band, Banded};
use super::clique::clique_cost;
use super::edge::{WeightedEdge, edge_cost};
use super::node::{Activation, Matches, NodeWeights, degrees};
use grapheme_core::Kept;
use grapheme_core::Scalar;
use grapheme_core::graph::EdgeKind;
use serde::{Deserialize, Serialize};
use std::array::from_fn;
use thiserror::Error;

/// What the probability of staying, `1 - g_i`, does in the assignment. In edge and clique costs it is always the mass
/// of the node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// A match pays `-log (1 - g_i)`, a deletion `-log g_i`; every predicted node has mass 1.
    Cost,
    /// The mass of a predicted node is `1 - g_i`. For an assignment that looks at masses.
    Mass {
        /// What it costs to leave a unit of predicted mass unmatched.
        deletion: f64,
    },
}

/// `L = alpha node + beta edge + gamma clique`.
///
/// `node` is the value of the assignment of predicted nodes to targets, `edge` the [`edge_cost`] under its plan, and
/// `clique` the [`clique_cost`]. The gradient follows the plan as well: it goes through the assignment.
///
/// ```
/// use grapheme_train::loss::{Band, Banded, Predicted, StructuralLoss, Target};
///
/// // Two candidates, one target: the first merges away with probability 1/4, the second with 1/2.
/// let (half, quarter) = (0.5f64.ln(), 0.25f64.ln());
/// let predicted = Predicted {
///     log_stay: vec![0.75f64.ln(), half].into(),
///     log_merge: vec![quarter, half].into(),
///     log_label: Banded::filled(&Band::dense(2, 1), 0.0),
///     kind: None,
///     edges: Vec::new(),
///     chain: false,
/// };
/// let target = Target { nodes: 1, edges: Vec::new(), chain: false };
/// let answer = StructuralLoss::words().evaluate(&predicted, &target)?;
/// // Exactly one stays: 3/4 * 1/2 + 1/4 * 1/2.
/// assert!((answer.value + 0.5f64.ln()).abs() < 1e-12);
/// # Ok::<(), grapheme_train::loss::LossError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StructuralLoss {
    /// The weight of the node cost.
    pub alpha: f64,
    /// The weight of the edge cost.
    pub beta: f64,
    /// The weight of the clique cost.
    pub gamma: f64,
    /// What the cost of a match is made of.
    pub node: NodeWeights,
    /// Its learned part.
    pub activation: Activation,
    /// What the gates do.
    pub gate: Gate,
    /// The cost of leaving a target unmatched; `None` if that is impossible.
    pub insertion: Option<f64>,
    /// Who is matched with whom.
    pub aligner: Assignment,
}

impl StructuralLoss {
    /// The exact marginal negative log-likelihood of the target: minus the log of the sum over all ways to merge away
    /// or stay of `prod g` over those that merge and `prod (1 - g) p(y)` over those that stay, in order.
    ///
    /// Exact in `O(n m)` because the label distribution of a candidate that stays doesn't depend on which others merge.
    /// Fewer candidates than targets is [`Infeasible`](super::align::Status::Infeasible), unless
    /// [`insertion`](Self::insertion) is set.
    pub fn words() -> Self {
        Self {
            alpha: 1.0,
            beta: 0.0,
            gamma: 0.0,
            node: NodeWeights { kind: 0.0, activation: 1.0, degree: 0.0, order: 0.0 },
            activation: Activation::NegativeLogLikelihood,
            gate: Gate::Cost,
            insertion: None,
            aligner: Assignment::Monotone(Monotone::default()),
        }
    }

    /// The weighted structural loss against a target graph, by entropic transport.
    ///
    /// A fresh network knows no label, so a match costs a few units; leaving a target unmatched must cost more, or the
    /// cheapest first step is to give up all mass. With insertion and deletion at a half each that is what training did.
    pub fn graph() -> Self {
        Self {
            alpha: 1.0,
            beta: 0.5,
            gamma: 2.0,
            node: NodeWeights { kind: 0.1, activation: 0.7, degree: 0.2, order: 0.0 },
            activation: Activation::NegativeLogLikelihood,
            gate: Gate::Mass { deletion: 2.0 },
            insertion: Some(4.0),
            aligner: Assignment::Sinkhorn(Sinkhorn { epsilon: 0.5, ..Sinkhorn::default() }),
        }
    }

    /// Refuses settings with which the loss means nothing.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn check(&self) -> Result<(), SettingError> {
        let deletion = match self.gate {
            Gate::Cost => 0.0,
            Gate::Mass { deletion } => deletion,
        };
        let weights = [
            ("alpha", self.alpha),
            ("beta", self.beta),
            ("gamma", self.gamma),
            ("node.kind", self.node.kind),
            ("node.activation", self.node.activation),
            ("node.degree", self.node.degree),
            ("node.order", self.node.order),
            ("gate.mass.deletion", deletion),
            ("insertion", self.insertion.unwrap_or(0.0)),
        ];
        weights.into_iter().try_for_each(|(setting, value)| SettingError::unless_weight(setting, value))?;
        self.aligner.check()
    }
}

/// What the network says about one graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicted<S: Scalar> {
    /// `log (1 - g_i)`, the log probability that node `i` stays; `n`.
    pub log_stay: Kept<S>,
    /// `log g_i`, the log probability that it merges away; `n`.
    pub log_merge: Kept<S>,
    /// `log p_i(y_j)`, the log probability that node `i`, if it stays, carries the label of target `j`; `n x m`. Its
    /// band is that of the assignment.
    pub log_label: Banded<S>,
    /// The probability that node `i` has the kind of target `j`, on the same band; without it no kind is compared.
    pub kind: Option<Banded<S>>,
    /// Edges between predicted nodes.
    pub edges: Vec<WeightedEdge<S>>,
    /// Whether consecutive nodes are joined by sequential edges of weight 1 besides.
    pub chain: bool,
}

/// The graph that was asked for; the labels and kinds of its nodes are in [`Predicted`].
#[derive(Clone, Debug, PartialEq)]
pub struct Target<S> {
    /// The number of nodes, `m`.
    pub nodes: usize,
    /// Edges between them.
    pub edges: Vec<WeightedEdge<S>>,
    /// Whether consecutive nodes are joined by sequential edges of weight 1 besides.
    pub chain: bool,
}

/// The three costs, before they are weighted. One whose weight is 0 is not computed and is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts<S> {
    /// The value of the assignment.
    pub node: S,
    /// The edge cost.
    pub edge: S,
    /// The clique cost.
    pub clique: S,
}

/// The gradient of the loss with respect to [`Predicted`].
#[derive(Clone, Debug, PartialEq)]
pub struct PredictedGradient<S: Scalar> {
    /// With respect to [`Predicted::log_stay`].
    pub log_stay: Kept<S>,
    /// With respect to [`Predicted::log_merge`].
    pub log_merge: Kept<S>,
    /// With respect to [`Predicted::log_label`].
    pub log_label: Banded<S>,
    /// With respect to [`Predicted::kind`].
    pub kind: Option<Banded<S>>,
    /// With respect to the weights of [`Predicted::edges`].
    pub weight: Kept<S>,
}

/// The loss of one example.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation<S: Scalar> {
    /// The loss; infinite where the status of the alignment is not usable, and then the gradient is zero.
    pub value: S,
    /// What it is the weighted sum of.
    pub parts: Parts<S>,
    /// Who was matched with whom, and how sure that is.
    pub alignment: Alignment<S>,
    /// The gradient with respect to what the network said.
    pub gradient: PredictedGradient<S>,
}

/// Inputs that do not fit together.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum LossError {
    /// A part has the wrong number of entries.
    #[error("{what} has {found} entries, expected {expected}")]
    Length {
        /// The part.
        what: &'static str,
        /// What the labels ask for.
        expected: usize,
        /// What was found.
        found: usize,
    },
    /// The probabilities of kinds lie on another band than the labels.
    #[error("the probabilities of kinds lie on another band than those of labels: build both on one `Band`")]
    Band,
    /// An edge names a node that is not there, or its weight is negative or not a finite number.
    #[error(
        "{graph} edge {source_node} -> {target_node} of weight {weight}: expected nodes below {nodes}, a finite weight of 0 or more"
    )]
    Edge {
        /// `"predicted"` or `"target"`.
        graph: &'static str,
        /// Where the edge leaves.
        source_node: usize,
        /// Where the edge enters.
        target_node: usize,
        /// Its weight.
        weight: f64,
        /// The number of nodes of the graph.
        nodes: usize,
    },
}

impl StructuralLoss {
    /// The loss of one example and its gradient. The time of the assignment and of the costs of weight above 0; without
    /// edge cost a monotone assignment needs no second pass.
    ///
    /// # Errors
    /// [`LossError`] if the parts do not fit together. That nothing fits, or that an iteration did not converge, is in
    /// the status of the alignment instead.
    pub fn evaluate<S: Scalar>(
        &self,
        predicted: &Predicted<S>,
        target: &Target<S>,
    ) -> Result<Evaluation<S>, LossError> {
        let [first, ..] = self.evaluate_together(from_fn(|k| (k == 0).then_some((predicted, target))))?;
        Ok(first.expect("an answer to each example"))
    }

    /// The same of several examples at once, to the same bits: an assignment may take less time for them together.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), for the first that does not fit.
    pub fn evaluate_together<S: Scalar>(
        &self,
        examples: Together<(&Predicted<S>, &Target<S>)>,
    ) -> Result<Together<Evaluation<S>>, LossError> {
        let mut posed = [const { None }; TOGETHER];
        for (posed, example) in posed.iter_mut().zip(examples) {
            *posed = example.map(|(predicted, target)| Posed::new(self, predicted, target)).transpose()?;
        }
        let alignments = self.aligner.align_together(posed.each_ref().map(|posed| posed.as_ref().map(|p| &p.problem)));
        let judged: Together<Judged<S>> = from_fn(|k| Some(posed[k].as_ref()?.judge(alignments[k].as_ref()?)));
        let gradients = self.aligner.vjp_together(from_fn(|k| {
            let upstream = Upstream { value: S::lit(self.alpha), plan: judged[k].as_ref()?.dplan.as_ref() };
            Some((&posed[k].as_ref()?.problem, alignments[k].as_ref()?, upstream))
        }));
        let mut parts = alignments.into_iter().zip(judged).zip(gradients);
        Ok(posed.map(|posed| {
            let ((alignment, judged), gradient) = parts.next()?;
            Some(posed?.finish(alignment?, judged?, &gradient?))
        }))
    }
}

/// An example as a problem of assignment.
struct Posed<'a, S: Scalar> {
    loss: &'a StructuralLoss,
    predicted: &'a Predicted<S>,
    target: &'a Target<S>,
    structure: Structure<S>,
    problem: Problem<S>,
}

/// What the costs besides that of the nodes say of an assignment.
struct Judged<S: Scalar> {
    parts: Parts<S>,
    gradient: StructureGradient,
    /// The gradient with respect to the plan.
    dplan: Option<Banded<S>>,
}

impl<'a, S: Scalar> Posed<'a, S> {
    fn new(loss: &'a StructuralLoss, predicted: &'a Predicted<S>, target: &'a Target<S>) -> Result<Self, LossError> {
        check_shapes(predicted, target)?;
        let band = predicted.log_label.band();
        let structure = Structure::new(loss, predicted, target);
        let (deletion, mass): (Kept<S>, Kept<S>) = match loss.gate {
            Gate::Cost => {
                (predicted.log_merge.iter().map(|&log_merge| -log_merge).collect(), Kept::filled(band.rows(), S::one()))
            }
            Gate::Mass { deletion } => (Kept::filled(band.rows(), S::lit(deletion)), structure.mass.clone()),
        };
        let cost = matches(loss, predicted, &structure).forward();
        let insertion = Kept::filled(band.columns(), S::lit(loss.insertion.unwrap_or(f64::INFINITY)));
        let problem = Problem::new(cost, deletion, insertion, mass).map_err(|e| LossError::Length {
            what: e.what,
            expected: e.expected,
            found: e.found,
        })?;
        Ok(Self { loss, predicted, target, structure, problem })
    }

    fn judge(&self, alignment: &Alignment<S>) -> Judged<S> {
        let Self { loss, predicted, target, structure, .. } = self;
        let mut parts = Parts { node: alignment.value, ..Parts::default() };
        let mut gradient = structure.zero_gradient(predicted.edges.len());
        let mut dplan = None;
        if alignment.status.is_usable() && loss.beta > 0.0 {
            let cost = edge_cost(&alignment.plan, &structure.mass, &structure.edges, &structure.target_edges);
            parts.edge = cost.value;
            gradient.add(loss.beta, &cost.mass, &cost.weight);
            let mut plan = cost.plan;
            plan.values_mut().iter_mut().for_each(|d| *d *= S::lit(loss.beta));
            dplan = Some(plan);
        }
        if alignment.status.is_usable() && loss.gamma > 0.0 {
            let cost = clique_cost(&structure.mass, &structure.edges, target.nodes, &structure.target_edges);
            parts.clique = cost.value;
            gradient.add(loss.gamma, &cost.mass, &cost.weight);
        }
        Judged { parts, gradient, dplan }
    }

    fn finish(self, alignment: Alignment<S>, judged: Judged<S>, dproblem: &ProblemGradient<S>) -> Evaluation<S> {
        let Self { loss, predicted, structure, .. } = &self;
        let Judged { parts, mut gradient, .. } = judged;
        let dmatches = matches(loss, predicted, structure).backward(&dproblem.cost);
        structure.degrees_vjp(&dmatches.degree, &mut gradient);
        let mut log_merge = Kept::zeros(structure.mass.len());
        if loss.gate == Gate::Cost {
            log_merge.iter_mut().zip(&dproblem.deletion).for_each(|(to, &d): (&mut S, _)| *to = -d);
        } else {
            gradient.mass.iter_mut().zip(&dproblem.mass).for_each(|(to, d)| *to += d.widen());
        }
        let of_mass = dmatches.log_stay.iter().zip(&gradient.mass).zip(&structure.mass);
        let log_stay = of_mass.map(|((stay, dmass), mass)| S::lit(stay + dmass * mass.widen())).collect();
        let weight = gradient.weight[..predicted.edges.len()].iter().map(|&d| S::lit(d)).collect();
        let value = if alignment.status.is_usable() {
            S::lit(loss.alpha) * parts.node + S::lit(loss.beta) * parts.edge + S::lit(loss.gamma) * parts.clique
        } else {
            S::infinity()
        };
        let (log_label, kind) = (dmatches.log_label, dmatches.kind);
        let gradient = PredictedGradient { log_stay, log_merge, log_label, kind, weight };
        Evaluation { value, parts, alignment, gradient }
    }
}

fn matches<'a, S: Scalar>(
    loss: &'a StructuralLoss,
    predicted: &'a Predicted<S>,
    structure: &'a Structure<S>,
) -> Matches<'a, S> {
    Matches {
        weights: &loss.node,
        activation: loss.activation,
        log_label: &predicted.log_label,
        kind: predicted.kind.as_ref(),
        log_stay: (loss.gate == Gate::Cost).then_some(&predicted.log_stay),
        degree: &structure.degree,
        target_degree: &structure.target_degree,
    }
}

/// Masses, edges and degrees of both graphs; only masses where no cost looks at edges.
struct Structure<S: Scalar> {
    mass: Kept<S>,
    edges: Vec<WeightedEdge<S>>,
    target_edges: Vec<WeightedEdge<S>>,
    degree: Kept<f64>,
    target_degree: Kept<f64>,
}

/// The gradient with respect to the masses and to the weights of all predicted edges, implied ones at the end.
struct StructureGradient {
    mass: Kept<f64>,
    weight: Kept<f64>,
}

impl<S: Scalar> Structure<S> {
    fn new(loss: &StructuralLoss, predicted: &Predicted<S>, target: &Target<S>) -> Self {
        let n = predicted.log_stay.len();
        let mass: Kept<S> = predicted.log_stay.iter().map(|log_stay| log_stay.exp()).collect();
        let (mut edges, mut target_edges) = (Vec::new(), Vec::new());
        if loss.beta > 0.0 || loss.gamma > 0.0 || loss.node.degree > 0.0 {
            edges = with_chain(&predicted.edges, predicted.chain, n);
            target_edges = with_chain(&target.edges, target.chain, target.nodes);
        }
        let (mut degree, mut target_degree) = (Kept::default(), Kept::default());
        if loss.node.degree > 0.0 {
            degree = degrees(n, &edges, |edge| edge.effective_weight(&mass));
            target_degree = degrees(target.nodes, &target_edges, |edge| edge.weight.widen());
        }
        Self { mass, edges, target_edges, degree, target_degree }
    }

    /// `explicit` edges have a gradient even where no cost looks at them.
    fn zero_gradient(&self, explicit: usize) -> StructureGradient {
        StructureGradient { mass: Kept::zeros(self.mass.len()), weight: Kept::zeros(self.edges.len().max(explicit)) }
    }

    fn degrees_vjp(&self, ddegree: &[f64], gradient: &mut StructureGradient) {
        if self.degree.is_empty() {
            return;
        }
        for (edge, dweight) in self.edges.iter().zip(&mut gradient.weight) {
            let d = ddegree[edge.source] + ddegree[edge.target];
            let (source, target) = (self.mass[edge.source].widen(), self.mass[edge.target].widen());
            *dweight += d * source * target;
            gradient.mass[edge.source] += d * edge.weight.widen() * target;
            gradient.mass[edge.target] += d * edge.weight.widen() * source;
        }
    }
}

impl StructureGradient {
    fn add<S: Scalar>(&mut self, scale: f64, mass: &[S], weight: &[S]) {
        self.mass.iter_mut().zip(mass).for_each(|(to, d)| *to += scale * d.widen());
        self.weight.iter_mut().zip(weight).for_each(|(to, d)| *to += scale * d.widen());
    }
}

fn with_chain<S: Scalar>(edges: &[WeightedEdge<S>], chain: bool, nodes: usize) -> Vec<WeightedEdge<S>> {
    let mut all = edges.to_vec();
    if chain {
        let link = |target| WeightedEdge { source: target - 1, target, kind: EdgeKind::Sequential, weight: S::one() };
        all.extend((1..nodes).map(link));
    }
    all
}

fn check_shapes<S: Scalar>(predicted: &Predicted<S>, target: &Target<S>) -> Result<(), LossError> {
    let band: &Band = predicted.log_label.band();
    let (n, m) = (band.rows(), band.columns());
    for (what, expected, found) in [
        ("log_stay", n, predicted.log_stay.len()),
        ("log_merge", n, predicted.log_merge.len()),
        ("the target graph", m, target.nodes),
    ] {
        if expected != found {
            return Err(LossError::Length { what, expected, found });
        }
    }
    if predicted.kind.as_ref().is_some_and(|kind| kind.band() != band) {
        return Err(LossError::Band);
    }
    for (graph, edges, nodes) in [("predicted", &predicted.edges, n), ("target", &target.edges, m)] {
        for &WeightedEdge { source, target, weight, .. } in edges {
            let sound = source < nodes && target < nodes && weight >= S::zero() && weight.is_finite();
            if !sound {
                let (source_node, target_node, weight) = (source, target, weight.widen());
                return Err(LossError::Edge { graph, source_node, target_node, weight, nodes });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
