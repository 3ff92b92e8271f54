//! From the gradient of the morphed graphs to the gradient of every parameter.

use super::{Closed, GraphTransformNet, MorphedGraph, Opened, Trace};
use crate::graph::Topology;
use crate::layers::{Layer, Pass};
use crate::medium::{Boundary, GradientMedium};
use crate::morph::GatesGradient;
use crate::scalar::Scalar;
use ndarray::Array2;

/// The gradient of a loss with respect to what it read of a [`MorphedGraph`].
#[derive(Clone, Debug)]
pub struct Upstream<S> {
    /// Gradient of the gates, for every candidate of the last morph.
    pub gates: GatesGradient<S>,
    /// Gradient of the log probabilities of the labels: output nodes x outcomes.
    pub log_label: Array2<S>,
}

/// The gradient at the last morph, where all closings of a batch meet.
#[derive(Clone, Debug)]
pub struct Seam<S> {
    /// Gradient of the features of the candidates: candidates x d.
    pub candidates: Array2<S>,
    /// Gradient of the gates.
    pub gates: GatesGradient<S>,
}

impl<S: Scalar> Seam<S> {
    /// No gradient.
    pub fn zeros(opened: &Opened<'_, S>) -> Self {
        let candidates = Array2::zeros(opened.candidates().dim());
        let gates = GatesGradient::zeros(candidates.nrows());
        Self { candidates, gates }
    }

    /// `self += other`.
    pub fn add(&mut self, other: &Self) {
        self.candidates += &other.candidates;
        let add = |to: &mut [S], from: &[S]| to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
        add(&mut self.gates.log_stay, &other.gates.log_stay);
        add(&mut self.gates.log_merge, &other.gates.log_merge);
    }
}

impl<S: Scalar> Upstream<S> {
    /// No gradient.
    pub fn zeros(morphed: &MorphedGraph<S>) -> Self {
        let gates = GatesGradient::zeros(morphed.gates.log_stay.len());
        Self { gates, log_label: Array2::zeros(morphed.log_label.dim()) }
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
    ) -> Array2<S> {
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
        let mut dx = self.head.backward(head, morphed.log_label.view(), upstream.log_label, &mut grad.head);
        medium.cross(Boundary { index: self.layers() - 2 }, &morphed.topology, &mut dx, record);
        let mut gates = upstream.gates;
        if let Some((_, realised)) = &realised {
            realised.add_gate_gradient(dx.view(), opened.candidates().view(), &mut gates);
            dx = realised.history.backward(dx.view());
        }
        Seam { candidates: dx, gates }
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
    ) -> Array2<S> {
        let Opened { batch, dropout, stages, .. } = opened;
        let mut boundaries = (0..self.layers() - 2).rev().map(|index| Boundary { index });
        let mut cross = |topology: &Topology, gradient: &mut Array2<S>| {
            let boundary = boundaries.next().expect("one boundary a layer below the last morph");
            medium.cross(boundary, topology, gradient, record);
        };
        let Seam { candidates: mut dx, gates } = seam;
        let mut gates = Some(gates);
        // The shape of what a stage leaves to the next; of the last one, its boundary is crossed already.
        let mut above: Option<Topology> = None;
        for ((stage, trace), grad) in self.stages.iter().zip(stages).zip(&mut grad.stages).rev() {
            let topology = trace.topology.as_ref().unwrap_or(batch.topology());
            let pass = Pass { topology, dropout };
            if let Some(above) = &above {
                cross(above, &mut dx);
            }
            // The loss reads the gates of the last morph alone.
            let mut dgates = gates.take().unwrap_or_else(|| GatesGradient::zeros(trace.morph.targets.len()));
            if let Some((_, realised)) = &trace.realised {
                realised.add_gate_gradient(dx.view(), trace.morph.candidates.view(), &mut dgates);
                dx = realised.history.backward(dx.view());
            }
            dx = stage.morph.backward(trace.morph, dx.view(), &dgates, &mut grad.morph);
            for ((round, cache), grad) in stage.rounds.iter().zip(trace.rounds).zip(&mut grad.rounds).rev() {
                cross(topology, &mut dx);
                dx = round.backward(cache, dx, pass, grad);
            }
            above = trace.topology;
        }
        cross(batch.topology(), &mut dx);
        self.embedding_dropout.apply(&mut dx, Pass { topology: batch.topology(), dropout });
        self.embedding.backward(batch, dx.view(), &mut grad.embedding);
        dx
    }

    /// Embedding, rounds and morphs, and the head.
    pub(super) fn layers(&self) -> usize {
        2 + self.stages.iter().map(|stage| stage.rounds.len() + 1).sum::<usize>()
    }
}
