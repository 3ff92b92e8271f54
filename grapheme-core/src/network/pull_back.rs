//! One layer of the backward pass at a time, for whoever follows single rays or carries more than one gradient.

use super::{GraphTransformNet, MorphedGraph, Opened, Trace};
use crate::graph::Topology;
use crate::kept::{Kept, Matrix};
use crate::layers::{Pass, Recurrence, Round, RoundCache};
use crate::morph::GatesGradient;
use crate::scalar::Scalar;

impl<S: Scalar> GraphTransformNet<S> {
    /// The gradient of the input of layer `layer` (see [`layer_names`](Self::layer_names)) for the gradient `dy` of its
    /// output; adds the gradient of the layer's parameters into `grad`. `gates` is what reaches the gates of a morph from
    /// above beside `dy`: the loss's for the last morph, zeros for the others. `dweights` is the gradient of the weights of the
    /// edges that join the output's rows, where they are learned, and becomes that of the edges that join the input's: it
    /// starts as the loss's ([`Upstream::edge_weights`](super::Upstream)), or empty.
    ///
    /// From the last layer to the first, with `dy` and `dweights` each time what the call before left, this is
    /// [`backward`](Self::backward) in a vacuum, to the bit. It is linear in `(dy, gates, dweights)`, and the trace
    /// stays whole, so it can be asked again, with one row of `dy` alone for instance; each call copies the layer's cache.
    ///
    /// # Panics
    /// If there is no such layer, or `dy` has not the shape of its output.
    pub fn pull_back(
        &self,
        (trace, morphed): (&Trace<'_, S>, &MorphedGraph<S>),
        layer: usize,
        mut dy: Matrix<S>,
        gates: Option<&GatesGradient<S>>,
        dweights: &mut Kept<S>,
        grad: &mut Self,
    ) -> Matrix<S> {
        let Trace { opened: Opened { batch, dropout, stages, .. }, closed } = trace;
        let Some(mut below) = layer.checked_sub(1) else {
            self.embedding_dropout.apply(&mut dy, Pass { dropout: *dropout, ..Pass::over(batch.topology()) });
            self.embedding.backward(batch, &dy, &mut grad.embedding);
            return dy;
        };
        for (s, ((stage, trace), grad)) in self.stages.iter().zip(stages.iter()).zip(&mut grad.stages).enumerate() {
            if below < stage.rounds.len() {
                // Whoever begins in the middle brings no gradient for the weights of edges, but may find one.
                let learned = trace.pass(below + 1, batch, *dropout).weights.map_or(0, <[S]>::len);
                dweights.resize(learned, S::zero());
                let (cache, pass) = (trace.rounds[below].clone(), trace.pass(below, batch, *dropout));
                return stage.rounds[below].backward(cache, dy, pass, dweights, &mut grad.rounds[below]);
            }
            if below == stage.rounds.len() {
                let zeros = || GatesGradient::zeros(trace.morph.targets.len());
                let mut dgates = gates.cloned().unwrap_or_else(zeros);
                let is_last = s + 1 == stages.len();
                let realised = if is_last { &closed.realised } else { &trace.realised };
                if let Some((_, realised)) = realised {
                    realised.add_gate_gradient(&dy, &trace.morph.candidates, &mut dgates);
                    dy = realised.history.backward(&dy);
                }
                let learned = trace.pass(below, batch, *dropout).weights.map_or(0, <[S]>::len);
                let seen = realised.as_ref().filter(|_| learned > 0 && !dweights.is_empty());
                *dweights =
                    seen.map_or_else(|| Kept::zeros(learned), |(_, realised)| realised.edges.backward_values(dweights));
                return stage.morph.backward(trace.morph.clone(), dy, &dgates, &mut grad.morph);
            }
            below -= stage.rounds.len() + 1;
        }
        assert_eq!(below, 0, "layer {layer}: the head is the last");
        self.head.backward(closed.head.clone(), &morphed.log_label, dy, &mut grad.head)
    }
}

impl<S: Scalar> GraphTransformNet<S> {
    /// The recurrence of layer `layer` in a pass, to be gone through node by node; none if it is no recurrent round.
    pub fn recurrence<'a>(&'a self, trace: &'a Trace<'_, S>, layer: usize) -> Option<Recurrence<'a, S>> {
        let Opened { batch, dropout, stages, .. } = &trace.opened;
        let mut first = 1;
        for (stage, trace) in self.stages.iter().zip(stages.iter()) {
            let inside = layer.checked_sub(first)?;
            if let (Some(Round::Recurrent(round)), Some(RoundCache::Recurrent(cache))) =
                (stage.rounds.get(inside), trace.rounds.get(inside))
            {
                return Some(Recurrence { round, cache, pass: trace.pass(inside, batch, *dropout) });
            }
            first += stage.rounds.len() + 1;
        }
        None
    }
}

impl<S: Scalar> Trace<'_, S> {
    /// Who is joined to whom among the rows that leave layer `layer` upwards, the head excepted.
    pub fn topology<'a>(&'a self, morphed: &'a MorphedGraph<S>, layer: usize) -> &'a Topology {
        let Opened { batch, dropout, stages, .. } = &self.opened;
        let mut first = 1;
        for (i, stage) in stages.iter().enumerate() {
            let morph = first + stage.rounds.len();
            if layer < morph {
                return stage.pass((layer + 1).saturating_sub(first), batch, *dropout).topology;
            }
            if layer == morph {
                let above = stages.get(i + 1).and_then(|next| next.wiring.as_ref());
                return above.map_or(&morphed.topology, |above| &above.topology);
            }
            first = morph + 1;
        }
        &morphed.topology
    }
}
