//! From a batch of graphs to a batch of morphed graphs.

use super::{GraphTransformNet, Stage};
use crate::graph::{GraphBatch, Topology, TopologyError};
use crate::kept::{Keep, Kept, Matrix};
use crate::layers::{DropoutKeys, Pass, RoundCache, ShapeError};
use crate::medium::{Boundary, Detour};
use crate::morph::{
    EdgeError, Gates, HeadCache, HistoryError, MergeHistory, MorphCache, Plan, Realised, Wiring, realise,
};
use crate::scalar::Scalar;
use std::sync::Arc;
use thiserror::Error;

/// How the last morph closes. Both ways read the same gates and the same label head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Every candidate is an output node with its gate; the loss sums over all choices. Exact in `O(n m)`, because the
    /// label distribution of a candidate that stays does not depend on which others merged.
    Marginalised,
    /// A plan is carried out; merged features flow into the nodes that stay, and labels are read from those.
    Realised,
}

/// What a forward pass may vary besides its input.
#[derive(Clone, Copy, Debug)]
pub struct ForwardOptions<'a> {
    /// How the last morph closes.
    pub closing: Closing,
    /// Random numbers of a training pass; `None` switches dropout off.
    pub dropout: Option<&'a DropoutKeys>,
    /// Plans to carry out, one for each rewriting of edges and each realised morph, in the order of the layers, instead of the
    /// most probable choices.
    pub plans: Option<&'a [Plan]>,
}

impl ForwardOptions<'_> {
    /// The last morph marginalised, nothing dropped.
    pub fn marginalised() -> Self {
        Self { closing: Closing::Marginalised, dropout: None, plans: None }
    }

    /// All morphs realised by their most probable plans, nothing dropped.
    pub fn realised() -> Self {
        Self { closing: Closing::Realised, ..Self::marginalised() }
    }
}

/// Why a forward pass was refused.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// A layer was given rows of the wrong shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A morph made a graph that is none.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The given plans are not one choice for each candidate of each morph.
    #[error("plan {place}: expected {expected} choices, found {found}")]
    Plan {
        /// Which plan, from 0.
        place: usize,
        /// Its number of candidates.
        expected: usize,
        /// The choices found.
        found: usize,
    },
}

/// A batch of graphs after the network: what a loss and a reader need.
#[derive(Clone, Debug)]
pub struct MorphedGraph<S: Scalar> {
    /// How the last morph was closed.
    pub closing: Closing,
    /// The output nodes: those that stayed, or all candidates.
    pub topology: Topology,
    /// The weights of its explicit edges, by place, where a layer has learned them.
    pub edge_weights: Option<Kept<S>>,
    /// For each output node, the node of the input batch that it descends from.
    pub origin: Kept<u32>,
    /// For each output node, its candidate in the last morph.
    pub kept: Kept<u32>,
    /// For each candidate of the last morph, the node of the input batch that it descends from.
    pub candidate_origin: Kept<u32>,
    /// Of which nodes of the input batch each node was made that the last morph reads: the histories of all morphs before it,
    /// composed. `None` where it is the only morph, which reads the nodes of the batch.
    pub made_of: Option<Arc<MergeHistory<S>>>,
    /// Where the candidates of each graph begin, and at last their number.
    pub candidate_offsets: Kept<u32>,
    /// The gates of the candidates of the last morph.
    pub gates: Gates<S>,
    /// Log probabilities of the labels of each output node: output nodes x outcomes.
    pub log_label: Matrix<S>,
}

/// What a backward pass needs to know about the forward pass, the merge histories included.
pub struct Trace<'a, S: Scalar> {
    pub(super) opened: Opened<'a, S>,
    pub(super) closed: Closed<S>,
}

/// A forward pass up to the gates of the last morph, before any of its choices: what several closings of one batch share.
pub struct Opened<'a, S: Scalar> {
    pub(super) batch: &'a GraphBatch,
    pub(super) dropout: Option<&'a DropoutKeys>,
    /// The last one is not realised here.
    pub(super) stages: Kept<StageTrace<S>>,
    /// For each node that the last morph reads, the node of the batch that it descends from.
    origin: Kept<u32>,
    /// For each of these, all nodes that it was made of; `None` where the last morph is the only one.
    made_of: Option<Arc<MergeHistory<S>>>,
    detour: Option<&'a dyn Detour<S>>,
}

/// How one closing was carried out.
pub struct Closed<S: Scalar> {
    pub(super) realised: Option<(Plan, Realised<S>)>,
    pub(super) head: HeadCache<S>,
}

/// What becomes of the candidates of the last morph.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'a> {
    /// All are kept, with their gates.
    Open,
    /// Some merge.
    Taken(&'a Plan),
}

pub(super) struct StageTrace<S: Scalar> {
    /// What the first round reads; `None` for the shape of the batch.
    pub(super) wiring: Option<Wiring<S>>,
    pub(super) rounds: Kept<RoundCache<S>>,
    pub(super) morph: MorphCache<S>,
    pub(super) realised: Option<(Plan, Realised<S>)>,
}

impl<S: Scalar> Keep for StageTrace<S> {}

impl<S: Scalar> StageTrace<S> {
    /// How the rows are joined that leave the first so many rounds.
    pub(super) fn pass<'a>(
        &'a self,
        rounds: usize,
        batch: &'a GraphBatch,
        dropout: Option<&'a DropoutKeys>,
    ) -> Pass<'a, S> {
        pass_after(self.wiring.as_ref(), &self.rounds[..rounds], batch, dropout)
    }

    /// The plans of its layers, in order.
    fn plans(&self) -> impl Iterator<Item = &Plan> {
        let edges = self.rounds.iter().filter_map(RoundCache::plan);
        edges.chain(self.realised.as_ref().map(|(plan, _)| plan))
    }
}

impl<S: Scalar> Opened<'_, S> {
    /// The gates of the last morph.
    pub fn gates(&self) -> &Gates<S> {
        &self.last().morph.gates
    }

    /// The features of its candidates: candidates x d.
    pub fn candidates(&self) -> &Matrix<S> {
        &self.last().morph.candidates
    }

    /// The candidates of one graph.
    pub fn range(&self, graph: usize) -> std::ops::Range<usize> {
        let (nodes, slots) = (self.topology().range(graph), self.slots());
        nodes.start * slots..nodes.end * slots
    }

    /// The shape that the last morph reads.
    pub fn topology(&self) -> &Topology {
        self.pass().topology
    }

    /// The plans of everything before the choices of the last morph, in order.
    pub fn plans(&self) -> Vec<Plan> {
        self.stages.iter().flat_map(StageTrace::plans).cloned().collect()
    }

    /// How many of the explicit edges that the last morph reads have learned weights: all or none.
    pub(super) fn learned_edges(&self) -> usize {
        self.pass().weights.map_or(0, <[S]>::len)
    }

    fn pass(&self) -> Pass<'_, S> {
        self.last().pass(self.last().rounds.len(), self.batch, self.dropout)
    }

    pub(super) fn last(&self) -> &StageTrace<S> {
        self.stages.last().expect("a network has at least one stage")
    }

    fn slots(&self) -> usize {
        self.last().morph.slots()
    }
}

impl<'a, S: Scalar> Trace<'a, S> {
    /// The trace of a whole pass, from its two halves.
    pub fn new(opened: Opened<'a, S>, closed: Closed<S>) -> Self {
        Self { opened, closed }
    }

    /// The plans of all rewritings of edges and all realised morphs, in order: what a later pass needs to make the same choices.
    pub fn plans(&self) -> Vec<Plan> {
        let mut plans = self.opened.plans();
        plans.extend(self.closed.realised.iter().map(|(plan, _)| plan.clone()));
        plans
    }

    /// The histories of all splits and merges, in order.
    pub fn histories(&self) -> impl Iterator<Item = &MergeHistory<S>> {
        let stages = self.opened.stages.iter().flat_map(|stage| {
            std::iter::once(&stage.morph.split).chain(stage.realised.as_ref().map(|(_, realised)| &realised.history))
        });
        stages.chain(self.closed.realised.as_ref().map(|(_, realised)| &realised.history))
    }

    /// All histories composed, from the first split to the last closing: which nodes of the batch made each output node.
    /// Layers between morphs are passed over.
    ///
    /// # Errors
    /// Never for a trace of [`GraphTransformNet::forward`], whose histories follow each other.
    pub fn history(&self) -> Result<MergeHistory<S>, HistoryError> {
        let mut histories = self.histories();
        let first = histories.next().expect("a network has at least one stage").clone();
        histories.try_fold(first, |earlier, later| earlier.then(later))
    }

    /// Switches the merge history off: every history is mistaken for the identity, as in a backward pass that assumes
    /// that nodes of the output are nodes of the input. A control for tests of the history; never for training.
    pub fn forget_histories(&mut self) {
        for stage in &mut self.opened.stages {
            stage.morph.split = stage.morph.split.mistaken_for_identity();
        }
        let earlier = self.opened.stages.iter_mut().filter_map(|stage| stage.realised.as_mut());
        for (_, realised) in earlier.chain(&mut self.closed.realised) {
            realised.history = realised.history.mistaken_for_identity();
        }
    }
}

impl<S: Scalar> GraphTransformNet<S> {
    /// The morphed graphs of a batch, and the trace that [`backward`](Self::backward) consumes.
    ///
    /// # Errors
    /// [`ForwardError`] if given plans do not fit the batch.
    pub fn forward<'a>(
        &self,
        batch: &'a GraphBatch,
        options: ForwardOptions<'a>,
    ) -> Result<(MorphedGraph<S>, Trace<'a, S>), ForwardError> {
        self.forward_features(self.embedding.forward(batch), batch, options)
    }

    /// The same from given features of the nodes (n x d), as the gradient checker varies them.
    ///
    /// # Errors
    /// [`ForwardError`] if features or plans do not fit the batch.
    pub fn forward_features<'a>(
        &self,
        x: Matrix<S>,
        batch: &'a GraphBatch,
        options: ForwardOptions<'a>,
    ) -> Result<(MorphedGraph<S>, Trace<'a, S>), ForwardError> {
        let opened = self.open_features(x, batch, options)?;
        let plan;
        let choice = match (options.closing, options.plans) {
            (Closing::Marginalised, _) => Choice::Open,
            (Closing::Realised, None) => {
                plan = Plan::most_probable(opened.gates());
                Choice::Taken(&plan)
            }
            (Closing::Realised, Some(given)) => {
                plan = given.get(opened.plans().len()).cloned().unwrap_or_default();
                Choice::Taken(&plan)
            }
        };
        let (morphed, closed) = self.close(&opened, opened.gates(), choice)?;
        Ok((morphed, Trace { opened, closed }))
    }

    /// The pass up to the gates of the last morph; how it closes is not asked yet.
    ///
    /// # Errors
    /// [`ForwardError`] if given plans do not fit the batch.
    pub fn open<'a>(&self, batch: &'a GraphBatch, options: ForwardOptions<'a>) -> Result<Opened<'a, S>, ForwardError> {
        self.open_features(self.embedding.forward(batch), batch, options)
    }

    /// The same from given features of the nodes (n x d).
    ///
    /// # Errors
    /// [`ForwardError`] if features or plans do not fit the batch.
    pub fn open_features<'a>(
        &self,
        x: Matrix<S>,
        batch: &'a GraphBatch,
        options: ForwardOptions<'a>,
    ) -> Result<Opened<'a, S>, ForwardError> {
        self.open_through(x, batch, options, None)
    }

    /// The same by a detour, which what is opened goes on to take when it is closed.
    ///
    /// # Errors
    /// [`ForwardError`] if given plans do not fit the batch.
    pub fn open_through<'a>(
        &self,
        mut x: Matrix<S>,
        batch: &'a GraphBatch,
        options: ForwardOptions<'a>,
        detour: Option<&'a dyn Detour<S>>,
    ) -> Result<Opened<'a, S>, ForwardError> {
        let dropout = options.dropout;
        let mut boundaries = (0..).map(|index| Boundary { index });
        let mut cross = |topology: &Topology, x: &mut Matrix<S>| {
            if let (Some(detour), Some(boundary)) = (detour, boundaries.next()) {
                detour.pass(boundary, topology, x);
            }
        };
        ShapeError::check("features", &x, [batch.nodes(), self.embedding.table.ncols()])?;
        let mut wiring: Option<Wiring<S>> = None;
        self.embedding_dropout.apply(&mut x, Pass { dropout, ..Pass::over(batch.topology()) });
        let mut choices = Choices { given: options.plans, taken: 0 };
        let mut stages = Kept::with_capacity(self.stages.len());
        // The origins of the nodes that a stage reads.
        let mut origin: Kept<u32> = (0..batch.nodes() as u32).collect();
        let mut made_of: Option<MergeHistory<S>> = None;
        loop {
            let stage = &self.stages[stages.len()];
            cross(wiring.as_ref().map_or(batch.topology(), |wiring| &wiring.topology), &mut x);
            let mut trace = stage.forward(x, wiring.take(), batch, dropout, &mut choices, &mut cross)?;
            if stages.len() + 1 == self.stages.len() {
                stages.push(trace);
                return Ok(Opened { batch, dropout, stages, origin, detour, made_of: made_of.map(Arc::new) });
            }
            let place = choices.taken;
            let plan = choices.next().cloned().unwrap_or_else(|| Plan::most_probable(&trace.morph.gates));
            let pass = trace.pass(trace.rounds.len(), batch, dropout);
            let outcome = carry_out(&plan, &trace.morph.gates, &trace.morph, pass.topology, place)?;
            x = outcome.history.forward(&trace.morph.candidates);
            let slots = trace.morph.slots() as u32;
            origin = outcome.kept.iter().map(|&c| origin[(c / slots) as usize]).collect();
            let weights = pass.weights.map(|weights| outcome.edges.forward_values(weights));
            wiring = Some(Wiring { topology: outcome.topology.clone(), weights });
            let split = &trace.morph.split;
            let candidates = made_of.map_or_else(|| split.without_vectors(), |earlier| earlier.compose(split));
            made_of = Some(candidates.compose(&outcome.history));
            trace.realised = Some((plan, outcome));
            stages.push(trace);
        }
    }

    /// Closes the last morph. `gates` are those of `opened`, or others in their place: an estimator may carry out a plan as
    /// if its choices were certain. Merges by the weights that these gates give.
    ///
    /// The time of the merge and of the label head; [`open`](Self::open) is not repeated, however often a batch is closed.
    ///
    /// # Errors
    /// [`ForwardError`] if the plan is not one choice a candidate.
    pub fn close(
        &self,
        opened: &Opened<'_, S>,
        gates: &Gates<S>,
        choice: Choice<'_>,
    ) -> Result<(MorphedGraph<S>, Closed<S>), ForwardError> {
        let (morph, pass, slots) = (&opened.last().morph, opened.pass(), opened.slots());
        let current = pass.topology;
        let node_origin = |candidate: u32| opened.origin[candidate as usize / slots];
        let candidate_origin: Kept<u32> = (0..morph.targets.len() as u32).map(node_origin).collect();
        let candidate_offsets: Kept<u32> = current.offsets().iter().map(|&o| o * slots as u32).collect();
        let mut edge_weights = None;
        let (realised, closing, topology, mut x, kept) = match choice {
            Choice::Open => {
                let topology = Topology::chains(candidate_offsets.windows(2).map(|o| (o[1] - o[0]) as usize))?;
                let kept = (0..morph.targets.len() as u32).collect();
                (None, Closing::Marginalised, topology, morph.candidates.clone(), kept)
            }
            Choice::Taken(plan) => {
                let outcome = carry_out(plan, gates, morph, current, opened.plans().len())?;
                edge_weights = pass.weights.map(|weights| outcome.edges.forward_values(weights));
                let x = outcome.history.forward(&morph.candidates);
                let (topology, kept) = (outcome.topology.clone(), outcome.kept.clone());
                (Some((plan.clone(), outcome)), Closing::Realised, topology, x, kept)
            }
        };
        let origin: Kept<u32> = kept.iter().map(|&c| candidate_origin[c as usize]).collect();
        if let Some(detour) = opened.detour {
            detour.pass(Boundary { index: self.layers() - 2 }, &topology, &mut x);
        }
        let can_copy = |row: usize| opened.batch.cluster(origin[row] as usize).is_some();
        let (log_label, head) = self.head.forward(x, can_copy)?;
        let morphed = MorphedGraph {
            closing,
            topology,
            edge_weights,
            origin,
            kept,
            candidate_origin,
            made_of: opened.made_of.clone(),
            candidate_offsets,
            gates: gates.clone(),
            log_label,
        };
        Ok((morphed, Closed { realised, head }))
    }
}

/// Carries out a plan over the candidates of a morph, if it is one choice a candidate.
fn carry_out<S: Scalar>(
    plan: &Plan,
    gates: &Gates<S>,
    morph: &MorphCache<S>,
    topology: &Topology,
    place: usize,
) -> Result<Realised<S>, ForwardError> {
    let (expected, found) = (morph.targets.len(), plan.stays.len());
    if found != expected {
        return Err(ForwardError::Plan { place, expected, found });
    }
    Ok(realise(plan, gates, &morph.targets, topology, morph.slots())?)
}

/// How rows are joined that were joined by `wiring`, or as in the batch, and have gone through `rounds`.
pub(super) fn pass_after<'a, S: Scalar>(
    wiring: Option<&'a Wiring<S>>,
    rounds: &'a [RoundCache<S>],
    batch: &'a GraphBatch,
    dropout: Option<&'a DropoutKeys>,
) -> Pass<'a, S> {
    match rounds.iter().rev().find_map(RoundCache::wiring).or(wiring) {
        Some(wiring) => wiring.pass(dropout),
        None => Pass { dropout, ..Pass::over(batch.topology()) },
    }
}

/// Given plans, in the order of the layers that ask for them.
struct Choices<'a> {
    given: Option<&'a [Plan]>,
    taken: usize,
}

impl<'a> Choices<'a> {
    /// The next plan. `None` where none are given; where too few are, one that fits nothing.
    fn next(&mut self) -> Option<&'a Plan> {
        static MISSING: Plan = Plan { stays: Kept::new() };
        self.taken += 1;
        self.given.map(|given| given.get(self.taken - 1).unwrap_or(&MISSING))
    }
}

impl<S: Scalar> Stage<S> {
    fn forward(
        &self,
        mut x: Matrix<S>,
        wiring: Option<Wiring<S>>,
        batch: &GraphBatch,
        dropout: Option<&DropoutKeys>,
        choices: &mut Choices<'_>,
        cross: &mut impl FnMut(&Topology, &mut Matrix<S>),
    ) -> Result<StageTrace<S>, ForwardError> {
        let mut rounds: Kept<RoundCache<S>> = Kept::with_capacity(self.rounds.len());
        for round in &self.rounds {
            let pass = pass_after(wiring.as_ref(), &rounds, batch, dropout);
            let plan = if round.rewrites() { choices.next() } else { None };
            let (y, cache) = round.forward(x, pass, plan).map_err(|error| match error {
                EdgeError::Shape(error) => error.into(),
                EdgeError::Topology(error) => error.into(),
                EdgeError::Plan { expected, found } => ForwardError::Plan { place: choices.taken - 1, expected, found },
            })?;
            x = y;
            rounds.push(cache);
            cross(pass_after(wiring.as_ref(), &rounds, batch, dropout).topology, &mut x);
        }
        let morph = self.morph.forward(x, pass_after(wiring.as_ref(), &rounds, batch, dropout).topology)?;
        Ok(StageTrace { wiring, rounds, morph, realised: None })
    }
}
