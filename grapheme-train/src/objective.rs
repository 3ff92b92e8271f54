//! From what the network says about a batch to a loss and the gradient that the network's backward pass starts from.

use crate::data::LabelInventory;
use crate::labelling::{Labelling, kind_of};
use crate::loss::align::{TOGETHER, Together};
use crate::loss::{
    Band, Banded, Gate, Gates, LossError, Monotone, Predicted, PredictedGradient, Status, StructuralLoss, Target,
    WeightedEdge,
};
use crate::writing::Writing;
use grapheme_core::graph::{Edge, NodeKind};
use grapheme_core::network::{MorphedGraph, Upstream};
use grapheme_core::{GraphBatch, Kept, Scalar};
use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};
use std::array::from_fn;
use std::fmt;

/// A structural loss over the label inventory of a model.
#[derive(Clone, Debug)]
pub struct Objective {
    /// What a predicted graph costs.
    pub loss: StructuralLoss,
    /// Half width of the band of the assignment; `None` for every pair.
    pub window: Option<usize>,
    symbol_kinds: Vec<NodeKind>,
}

/// The two losses by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LossName {
    /// The exact marginal negative log-likelihood of a target text.
    Words,
    /// The weighted structural loss against a target graph.
    Graph,
}

impl LossName {
    /// Its default settings.
    pub fn settings(self) -> StructuralLoss {
        match self {
            Self::Words => StructuralLoss::words(),
            Self::Graph => StructuralLoss::graph(),
        }
    }
}

impl fmt::Display for LossName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Words => "words",
            Self::Graph => "graph",
        })
    }
}

/// A batch and what it should become.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The graphs.
    pub batch: &'a GraphBatch,
    /// Their targets.
    pub labelling: &'a Labelling,
}

/// What an objective says about a batch.
#[derive(Clone, Debug)]
pub struct Assessment<S: Scalar> {
    /// The loss of each graph; infinite where its target cannot be reached.
    pub losses: Kept<f64>,
    /// How many alignments did not converge.
    pub unconverged: usize,
    /// The gradient of the sum of the finite losses, and the graphs of the others.
    pub upstream: Upstream<S>,
}

impl Objective {
    /// The loss for outcomes of `labels`.
    pub fn new(loss: StructuralLoss, window: Option<usize>, labels: &LabelInventory) -> Self {
        let symbol_kinds = labels.symbols().iter().map(|symbol| kind_of(symbol)).collect();
        Self { loss, window, symbol_kinds }
    }

    /// The loss of each graph of a morphed batch, and the gradient.
    ///
    /// Where gates are costs, a candidate that a realised plan merged away costs `-ln g`, as in the marginal: the loss of
    /// a plan is then an upper bound of the marginal loss.
    ///
    /// # Errors
    /// [`LossError`] if labelling and batch do not fit together.
    pub fn assess<S: Scalar>(&self, task: Task<'_>, morphed: &MorphedGraph<S>) -> Result<Assessment<S>, LossError> {
        let graphs = task.batch.graphs();
        let mut upstream = Upstream::zeros(morphed);
        let mut losses = Kept::zeros(graphs);
        let mut unconverged = 0;
        let writing = Writing::new(morphed, task.labelling);
        let example = |graph| Example { objective: self, task, morphed, writing: &writing, graph };
        if let Some(method) = self.loss.streams() {
            for (graph, loss) in losses.iter_mut().enumerate() {
                *loss = example(graph).stream(method, &mut upstream);
            }
        } else {
            // Examples of about one size at once.
            let mut order: Kept<u32> = (0..graphs as u32).collect();
            order.sort_by_key(|&graph| example(graph as usize).size());
            for some in order.chunks(TOGETHER) {
                unconverged += self.evaluate(some, example, &mut losses, &mut upstream)?;
            }
        }
        for (graph, loss) in losses.iter_mut().enumerate() {
            if *loss == f64::INFINITY {
                upstream.unreachable.push(graph);
            }
            if loss.is_finite() && self.loss.gate == Gate::Cost {
                *loss += example(graph).merged(&mut upstream);
            }
        }
        Ok(Assessment { losses, unconverged, upstream })
    }

    /// The losses of at most [`TOGETHER`] examples, and their gradients up into the network. Returns how many did not converge.
    fn evaluate<'a, S: Scalar>(
        &self,
        graphs: &[u32],
        example: impl Fn(usize) -> Example<'a, S>,
        losses: &mut [f64],
        upstream: &mut Upstream<S>,
    ) -> Result<usize, LossError> {
        let examples: Together<Example<'a, S>> = from_fn(|k| graphs.get(k).map(|&graph| example(graph as usize)));
        let asked = examples.map(|example| example.map(|example| (example.predicted(), example.target())));
        let answers = self.loss.evaluate_together(
            asked.each_ref().map(|asked| asked.as_ref().map(|(predicted, target)| (predicted, target))),
        )?;
        let mut unconverged = 0;
        for ((example, asked), answer) in examples.iter().zip(&asked).zip(answers) {
            let (Some(example), Some((predicted, _)), Some(answer)) = (example, asked, answer) else { continue };
            unconverged += usize::from(answer.alignment.status == Status::NotConverged);
            if answer.value.is_finite() {
                example.hand_up(predicted, answer.gradient, upstream);
            }
            losses[example.graph] = answer.value.widen();
        }
        Ok(unconverged)
    }
}

/// One graph of the batch.
#[derive(Clone, Copy)]
struct Example<'a, S: Scalar> {
    objective: &'a Objective,
    task: Task<'a>,
    morphed: &'a MorphedGraph<S>,
    writing: &'a Writing<'a, S>,
    graph: usize,
}

impl<S: Scalar> Example<'_, S> {
    fn band(&self) -> Band {
        let (n, m) = self.size();
        match self.objective.window {
            Some(half_width) if m > half_width.saturating_mul(2) => Band::window(n, m, half_width),
            _ => Band::dense(n, m),
        }
    }

    /// The number of its output nodes and of those of its target.
    fn size(&self) -> (usize, usize) {
        (self.morphed.topology.range(self.graph).len(), self.task.labelling.target(self.graph).len())
    }

    fn target(&self) -> Target<S> {
        Target { nodes: self.size().1, edges: Vec::new(), chain: true }
    }

    /// What a gate says of each output node.
    fn of_kept(&self, values: &[S]) -> Kept<S> {
        let rows = self.morphed.topology.range(self.graph);
        self.morphed.kept[rows].iter().map(|&c| values[c as usize]).collect()
    }

    /// The loss, and its gradient straight into what goes up into the network: what [`predicted`](Self::predicted) and
    /// [`hand_up`](Self::hand_up) do for other losses, without their matrices.
    fn stream(&self, method: Monotone, upstream: &mut Upstream<S>) -> f64 {
        let start = self.morphed.topology.range(self.graph).start;
        let target = self.task.labelling.target(self.graph);
        let gates = &self.morphed.gates;
        let (log_stay, log_merge) = (self.of_kept(&gates.log_stay), self.of_kept(&gates.log_merge));
        let answer = self.objective.loss.stream(
            method,
            &self.band(),
            Gates { log_stay: &log_stay, log_merge: &log_merge },
            |i, j| self.writing.log_label(start + i, target[j]),
            |i, j, d| {
                if d != S::zero() {
                    self.writing.add_gradient(start + i, target[j], d, upstream);
                }
            },
        );
        if answer.value.is_finite() {
            self.hand_up_gates(&answer.log_stay, &answer.log_merge, upstream);
        }
        answer.value.widen()
    }

    fn hand_up_gates(&self, log_stay: &[S], log_merge: &[S], upstream: &mut Upstream<S>) {
        let rows = self.morphed.topology.range(self.graph);
        for (i, &c) in self.morphed.kept[rows].iter().enumerate() {
            upstream.gates.log_stay[c as usize] += log_stay[i];
            upstream.gates.log_merge[c as usize] += log_merge[i];
        }
    }

    fn predicted(&self) -> Predicted<S> {
        let rows = self.morphed.topology.range(self.graph);
        let target = self.task.labelling.target(self.graph);
        let band = self.band();
        let gates = &self.morphed.gates;
        let log_label = Banded::from_fn(&band, |i, j| self.writing.log_label(rows.start + i, target[j]));
        let kind = (self.objective.loss.node.kind > 0.0).then(|| {
            let kinds = self.task.labelling.target_kinds(self.graph);
            let shares = self.kind_shares();
            Banded::from_fn(&band, |i, j| shares[[i, kinds[j] as usize]])
        });
        Predicted {
            log_stay: self.of_kept(&gates.log_stay),
            log_merge: self.of_kept(&gates.log_merge),
            log_label,
            kind,
            edges: self.edges(),
            chain: self.morphed.topology.is_chain(),
        }
    }

    /// The probability of each kind for each row: nodes of the graph x kinds.
    fn kind_shares(&self) -> Array2<S> {
        let rows = self.morphed.topology.range(self.graph);
        let mut shares = Array2::zeros((rows.len(), NodeKind::ALL.len()));
        for (i, row) in rows.enumerate() {
            for (outcome, &log) in self.morphed.log_label.row(row).iter().enumerate() {
                shares[[i, self.kind_of_outcome(row, outcome)]] += log.exp();
            }
        }
        shares
    }

    fn kind_of_outcome(&self, row: usize, outcome: usize) -> usize {
        let copied = || self.task.labelling.copy_kinds[self.morphed.origin[row] as usize];
        *self.objective.symbol_kinds.get(outcome).unwrap_or(&copied()) as usize
    }

    /// Explicit edges between the output nodes, by their place in the graph.
    fn edges(&self) -> Vec<WeightedEdge<S>> {
        let rows = self.morphed.topology.range(self.graph);
        let place = |node: u32| node as usize - rows.start;
        let topology = &self.morphed.topology;
        let learned = self.morphed.edge_weights.as_deref();
        let weighted = |(index, &Edge { source, target, kind, weight }): (usize, &Edge)| {
            let weight = learned.map_or_else(|| S::lit(f64::from(weight)), |weights| weights[index]);
            WeightedEdge { source: place(source), target: place(target), kind, weight }
        };
        rows.clone().flat_map(|row| topology.entering(row)).map(weighted).collect()
    }

    /// Adds the gradient of the structural loss to what goes up into the network.
    fn hand_up(&self, predicted: &Predicted<S>, gradient: PredictedGradient<S>, upstream: &mut Upstream<S>) {
        self.hand_up_gates(&gradient.log_stay, &gradient.log_merge, upstream);
        if let Some(dweights) = &mut upstream.edge_weights {
            let own = &mut dweights[self.morphed.topology.places(self.graph)];
            own.iter_mut().zip(&gradient.weight).for_each(|(to, &d)| *to += d);
        }
        let rows = self.morphed.topology.range(self.graph);
        let target = self.task.labelling.target(self.graph);
        let band = predicted.log_label.band();
        for i in 0..rows.len() {
            let row = rows.start + i;
            let dlog = gradient.log_label.row(i);
            for (j, &d) in band.range(i).zip(dlog) {
                if d == S::zero() {
                    continue;
                }
                self.writing.add_gradient(row, target[j], d, upstream);
            }
        }
        if let Some(dkind) = gradient.kind {
            let kinds = self.task.labelling.target_kinds(self.graph);
            for i in 0..rows.len() {
                let mut dshares = [S::zero(); NodeKind::ALL.len()];
                for (j, &d) in band.range(i).zip(dkind.row(i)) {
                    dshares[kinds[j] as usize] += d;
                }
                self.hand_up_kinds(rows.start + i, &dshares, upstream);
            }
        }
    }

    fn hand_up_kinds(&self, row: usize, dshares: &[S], upstream: &mut Upstream<S>) {
        let log: ArrayView1<'_, S> = self.morphed.log_label.row(row);
        for (outcome, &log) in log.iter().enumerate() {
            upstream.log_label[[row, outcome]] += dshares[self.kind_of_outcome(row, outcome)] * log.exp();
        }
    }

    /// The cost of the candidates that a plan merged away.
    fn merged(&self, upstream: &mut Upstream<S>) -> f64 {
        let candidates = &self.morphed.candidate_offsets[self.graph..self.graph + 2];
        let mut kept = self.morphed.kept[self.morphed.topology.range(self.graph)].iter().peekable();
        let mut cost = 0.0;
        for c in candidates[0]..candidates[1] {
            if kept.next_if(|&&stays| stays == c).is_none() {
                cost -= self.morphed.gates.log_merge[c as usize].widen();
                upstream.gates.log_merge[c as usize] -= S::one();
            }
        }
        cost
    }
}
