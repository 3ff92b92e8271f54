//! From the gradient of the morphed graphs to the gradient of every parameter.

use super::forward::{StageTrace, pass_after};
use super::{Closed, GraphTransformNet, MorphedGraph, Opened, Trace};
use crate::graph::Topology;
use crate::kept::{Kept, Matrix};
use crate::layers::Pass;
use crate::medium::{Boundary, GradientMedium};
use crate::morph::GatesGradient;
use crate::scalar::Scalar;

/// The gradient of a loss with respect to what it read of a [`MorphedGraph`].
#[derive(Clone, Debug)]
pub struct Upstream<S: Scalar> {
    /// Gradient of the gates, for every candidate of the last morph.
    pub gates: GatesGradient<S>,
    /// Gradient of the log probabilities of the labels: output nodes x outcomes.
    pub log_label: Matrix<S>,
    /// Gradient of the weights of the explicit edges, by place, where they are learned.
    pub edge_weights: Option<Kept<S>>,
    /// Graphs of which too little was left for what they should become, so that the loss has no gradient. What morphs before
    /// the last merged of them is pulled apart: as if the loss were `-ln (1 - g)`, summed over those candidates.
    pub unreachable: Vec<usize>,
}

/// The gradient at the last morph, where all closings of a batch meet.
#[derive(Clone, Debug)]
pub struct Seam<S: Scalar> {
    /// Gradient of the features of the candidates: candidates x d.
    pub candidates: Matrix<S>,
    /// Gradient of the gates.
    pub gates: GatesGradient<S>,
    /// Gradient of the weights of the explicit edges that the morph reads, by place; none where they are not learned.
    pub edge_weights: Kept<S>,
    /// See [`Upstream::unreachable`].
    pub unreachable: Vec<usize>,
}

impl<S: Scalar> Seam<S> {
    /// No gradient.
    pub fn zeros(opened: &Opened<'_, S>) -> Self {
        let candidates = Matrix::zeros(opened.candidates().dim());
        let gates = GatesGradient::zeros(candidates.nrows());
        let edge_weights = Kept::zeros(opened.learned_edges());
        Self { candidates, gates, edge_weights, unreachable: Vec::new() }
    }

    /// `self += other`.
    pub fn add(&mut self, other: &Self) {
        self.candidates += &other.candidates;
        let add = |to: &mut [S], from: &[S]| to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
        add(&mut self.gates.log_stay, &other.gates.log_stay);
        add(&mut self.gates.log_merge, &other.gates.log_merge);
        add(&mut self.edge_weights, &other.edge_weights);
        self.unreachable.extend_from_slice(&other.unreachable);
    }
}

impl<S: Scalar> Upstream<S> {
    /// No gradient.
    pub fn zeros(morphed: &MorphedGraph<S>) -> Self {
        let gates = GatesGradient::zeros(morphed.gates.log_stay.len());
        let edge_weights = morphed.edge_weights.as_ref().map(|weights| Kept::zeros(weights.len()));
        let log_label = Matrix::zeros(morphed.log_label.dim());
        Self { gates, log_label, edge_weights, unreachable: Vec::new() }
    }

    /// Multiplies everything that belongs to one graph, for whoever weighs graphs.
    pub fn scale_graph(&mut self, morphed: &MorphedGraph<S>, graph: usize, weight: S) {
        for row in morphed.topology.range(graph) {
            self.log_label.row_mut(row).mapv_inplace(|d| d * weight);
        }
        let candidates = &morphed.candidate_offsets[graph..graph + 2];
        for c in candidates[0] as usize..candidates[1] as usize {
            self.gates.log_stay[c] *= weight;
            self.gates.log_merge[c] *= weight;
        }
        if let Some(edge_weights) = &mut self.edge_weights {
            edge_weights[morphed.topology.places(graph)].iter_mut().for_each(|d| *d *= weight);
        }
    }
}

impl<S: Scalar> GraphTransformNet<S> {
    /// Adds the gradient of every parameter into `grad` and returns that of the features (n x d).
    ///
    /// Layers are left in reverse order; `medium` is crossed between each and the one below, and writes what it sees to
    /// `record`. Merge histories carry the gradient from output nodes to candidates and from candidates to nodes.
    pub fn backward<M: GradientMedium<S>>(
        &self,
        trace: Trace<'_, S>,
        morphed: &MorphedGraph<S>,
        upstream: Upstream<S>,
        medium: &M,
        record: &mut M::Trace,
        grad: &mut Self,
    ) -> Matrix<S> {
        let Trace { opened, closed } = trace;
        let seam = self.close_backward(&opened, (morphed, closed), upstream, medium, record, grad);
        self.open_backward(opened, seam, medium, record, grad)
    }

    /// From the gradient of a closing's outputs to that of the candidates, and of the gates that it was closed with; adds the
    /// gradient of the label head into `grad`. Crosses the highest boundary, once a closing.
    pub fn close_backward<M: GradientMedium<S>>(
        &self,
        opened: &Opened<'_, S>,
        (morphed, closed): (&MorphedGraph<S>, Closed<S>),
        upstream: Upstream<S>,
        medium: &M,
        record: &mut M::Trace,
        grad: &mut Self,
    ) -> Seam<S> {
        let Closed { realised, head } = closed;
        let mut dx = self.head.backward(head, &morphed.log_label, upstream.log_label, &mut grad.head);
        medium.cross(Boundary { index: self.layers() - 2 }, &morphed.topology, &mut dx, record);
        let mut gates = upstream.gates;
        let mut edge_weights = Kept::zeros(opened.learned_edges());
        if let Some((_, realised)) = &realised {
            realised.add_gate_gradient(&dx, opened.candidates(), &mut gates);
            dx = realised.history.backward(&dx);
            if let Some(dweights) = upstream.edge_weights {
                edge_weights = realised.edges.backward_values(&dweights);
            }
        }
        Seam { candidates: dx, gates, edge_weights, unreachable: upstream.unreachable }
    }

    /// From the gradient of candidates and gates of the last morph down to the features, which is returned (n x d); adds
    /// the gradient of every parameter but the head's into `grad`.
    pub fn open_backward<M: GradientMedium<S>>(
        &self,
        opened: Opened<'_, S>,
        seam: Seam<S>,
        medium: &M,
        record: &mut M::Trace,
        grad: &mut Self,
    ) -> Matrix<S> {
        let Opened { batch, dropout, mut stages, .. } = opened;
        let mut boundaries = (0..self.layers() - 2).rev().map(|index| Boundary { index });
        let mut cross = |topology: &Topology, gradient: &mut Matrix<S>| {
            let boundary = boundaries.next().expect("one boundary a layer below the last morph");
            medium.cross(boundary, topology, gradient, record);
        };
        let Seam { candidates: mut dx, gates, edge_weights: mut dweights, unreachable } = seam;
        let mut gates = Some(gates);
        for (stage, grad) in self.stages.iter().zip(&mut grad.stages).rev() {
            let Some(trace) = stages.pop() else { break };
            let StageTrace { wiring, mut rounds, morph, realised } = trace;
            // The loss reads the gates of the last morph alone.
            let mut dgates = gates.take().unwrap_or_else(|| GatesGradient::zeros(morph.targets.len()));
            // The last morph is not realised here, and its boundary is crossed already.
            if let Some((plan, realised)) = &realised {
                cross(&realised.topology, &mut dx);
                realised.add_gate_gradient(&dx, &morph.candidates, &mut dgates);
                dx = realised.history.backward(&dx);
                let pass = pass_after(wiring.as_ref(), &rounds, batch, dropout);
                // Where edges are not learned before a morph they are not after it.
                if pass.weights.is_some() {
                    dweights = realised.edges.backward_values(&dweights);
                }
                let slots = morph.slots();
                for nodes in unreachable.iter().map(|&graph| pass.topology.range(graph)) {
                    let candidates = nodes.start * slots..nodes.end * slots;
                    candidates.filter(|&c| !plan.stays[c]).for_each(|c| dgates.log_stay[c] -= S::one());
                }
            }
            dx = stage.morph.backward(morph, dx, &dgates, &mut grad.morph);
            for (round, grad) in stage.rounds.iter().zip(&mut grad.rounds).rev() {
                cross(pass_after(wiring.as_ref(), &rounds, batch, dropout).topology, &mut dx);
                let Some(cache) = rounds.pop() else { break };
                let pass = pass_after(wiring.as_ref(), &rounds, batch, dropout);
                dx = round.backward(cache, dx, pass, &mut dweights, grad);
            }
        }
        cross(batch.topology(), &mut dx);
        self.embedding_dropout.apply(&mut dx, Pass { dropout, ..Pass::over(batch.topology()) });
        self.embedding.backward(batch, &dx, &mut grad.embedding);
        dx
    }

    /// Embedding, rounds and morphs, and the head.
    pub(super) fn layers(&self) -> usize {
        2 + self.stages.iter().map(|stage| stage.rounds.len() + 1).sum::<usize>()
    }
}
