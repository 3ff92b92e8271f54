//! From a batch of graphs to a batch of morphed graphs.

use super::{GraphTransformNet, Stage};
use crate::graph::{GraphBatch, Topology, TopologyError};
use crate::layers::{DropoutKeys, Layer, Pass, RoundCache, ShapeError};
use crate::medium::{Boundary, Detour};
use crate::morph::{Gates, HeadCache, HistoryError, MergeHistory, MorphCache, Plan, Realised, realise};
use crate::scalar::Scalar;
use ndarray::Array2;
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
    /// Plans to carry out, one for each realised morph in order, instead of the most probable choices.
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
pub enum ForwardError {
    /// A layer was given rows of the wrong shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A morph made a graph that is none.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The given plans are not one choice for each candidate of each realised morph.
    #[error("realised morph {morph}: expected a plan of {expected} choices, found {found}")]
    Plan {
        /// Which realised morph, from 0.
        morph: usize,
        /// Its number of candidates.
        expected: usize,
        /// The choices found.
        found: usize,
    },
}

/// A batch of graphs after the network: what a loss and a reader need.
#[derive(Clone, Debug)]
pub struct MorphedGraph<S> {
    /// How the last morph was closed.
    pub closing: Closing,
    /// The output nodes: those that stayed, or all candidates.
    pub topology: Topology,
    /// For each output node, the node of the input batch that it descends from.
    pub origin: Vec<u32>,
    /// For each output node, its candidate in the last morph.
    pub kept: Vec<u32>,
    /// For each candidate of the last morph, the node of the input batch that it descends from.
    pub candidate_origin: Vec<u32>,
    /// Where the candidates of each graph begin, and at last their number.
    pub candidate_offsets: Vec<u32>,
    /// The gates of the candidates of the last morph.
    pub gates: Gates<S>,
    /// Log probabilities of the labels of each output node: output nodes x outcomes.
    pub log_label: Array2<S>,
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
    pub(super) stages: Vec<StageTrace<S>>,
    /// For each node that the last morph reads, the node of the batch that it descends from.
    origin: Vec<u32>,
    detour: Option<&'a dyn Detour<S>>,
}

/// How one closing was carried out.
pub struct Closed<S> {
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

pub(super) struct StageTrace<S> {
    /// The shape before the morph; `None` for the shape of the batch.
    pub(super) topology: Option<Topology>,
    pub(super) rounds: Vec<RoundCache<S>>,
    pub(super) morph: MorphCache<S>,
    pub(super) realised: Option<(Plan, Realised<S>)>,
}

impl<S: Scalar> Opened<'_, S> {
    /// The gates of the last morph.
    pub fn gates(&self) -> &Gates<S> {
        &self.last().morph.gates
    }

    /// The features of its candidates: candidates x d.
    pub fn candidates(&self) -> &Array2<S> {
        &self.last().morph.candidates
    }

    /// The candidates of one graph.
    pub fn range(&self, graph: usize) -> std::ops::Range<usize> {
        let (nodes, slots) = (self.topology().range(graph), self.slots());
        nodes.start * slots..nodes.end * slots
    }

    /// The shape that the last morph reads.
    pub fn topology(&self) -> &Topology {
        self.last().topology.as_ref().unwrap_or(self.batch.topology())
    }

    /// The plans of the morphs before the last, in order.
    pub fn plans(&self) -> Vec<Plan> {
        self.stages.iter().filter_map(|stage| stage.realised.as_ref().map(|(plan, _)| plan.clone())).collect()
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

    /// The plans of the realised morphs, in order: what a later pass needs to make the same choices.
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

    /// All histories composed: which nodes of the batch made each output node. Layers between morphs are passed over.
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
        x: Array2<S>,
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
                plan = given.get(self.stages.len() - 1).cloned().unwrap_or_default();
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
        x: Array2<S>,
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
        mut x: Array2<S>,
        batch: &'a GraphBatch,
        options: ForwardOptions<'a>,
        detour: Option<&'a dyn Detour<S>>,
    ) -> Result<Opened<'a, S>, ForwardError> {
        let dropout = options.dropout;
        let mut boundaries = (0..).map(|index| Boundary { index });
        let mut cross = |topology: &Topology, x: &mut Array2<S>| {
            if let (Some(detour), Some(boundary)) = (detour, boundaries.next()) {
                detour.pass(boundary, topology, x);
            }
        };
        ShapeError::check("features", &x, [batch.nodes(), self.embedding.table.ncols()])?;
        self.embedding_dropout.apply(&mut x, Pass { topology: batch.topology(), dropout });
        let mut stages = Vec::with_capacity(self.stages.len());
        // The shape and the origins of the nodes that a stage reads; no shape stands for that of the batch.
        let mut shape: Option<Topology> = None;
        let mut origin: Vec<u32> = (0..batch.nodes() as u32).collect();
        loop {
            let stage = &self.stages[stages.len()];
            let topology = shape.take();
            let current = topology.as_ref().unwrap_or(batch.topology());
            cross(current, &mut x);
            let (rounds, morph) = stage.forward(x, Pass { topology: current, dropout }, &mut cross)?;
            if stages.len() + 1 == self.stages.len() {
                stages.push(StageTrace { topology, rounds, morph, realised: None });
                return Ok(Opened { batch, dropout, stages, origin, detour });
            }
            let plan = match options.plans {
                None => Plan::most_probable(&morph.gates),
                Some(given) => given.get(stages.len()).cloned().unwrap_or_default(),
            };
            let outcome = carry_out(&plan, &morph.gates, &morph, current, stages.len())?;
            x = outcome.history.forward(morph.candidates.view());
            let slots = morph.slots() as u32;
            origin = outcome.kept.iter().map(|&c| origin[(c / slots) as usize]).collect();
            shape = Some(outcome.topology.clone());
            stages.push(StageTrace { topology, rounds, morph, realised: Some((plan, outcome)) });
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
        let (morph, current, slots) = (&opened.last().morph, opened.topology(), opened.slots());
        let node_origin = |candidate: u32| opened.origin[candidate as usize / slots];
        let candidate_origin: Vec<u32> = (0..morph.targets.len() as u32).map(node_origin).collect();
        let candidate_offsets: Vec<u32> = current.offsets().iter().map(|&o| o * slots as u32).collect();
        let (realised, closing, topology, mut x, kept) = match choice {
            Choice::Open => {
                let topology = Topology::chains(candidate_offsets.windows(2).map(|o| (o[1] - o[0]) as usize))?;
                let kept = (0..morph.targets.len() as u32).collect();
                (None, Closing::Marginalised, topology, morph.candidates.clone(), kept)
            }
            Choice::Taken(plan) => {
                let outcome = carry_out(plan, gates, morph, current, self.stages.len() - 1)?;
                let x = outcome.history.forward(morph.candidates.view());
                let (topology, kept) = (outcome.topology.clone(), outcome.kept.clone());
                (Some((plan.clone(), outcome)), Closing::Realised, topology, x, kept)
            }
        };
        let origin: Vec<u32> = kept.iter().map(|&c| candidate_origin[c as usize]).collect();
        if let Some(detour) = opened.detour {
            detour.pass(Boundary { index: self.layers() - 2 }, &topology, &mut x);
        }
        let can_copy = |row: usize| opened.batch.cluster(origin[row] as usize).is_some();
        let (log_label, head) = self.head.forward(x, can_copy)?;
        let morphed = MorphedGraph {
            closing,
            topology,
            origin,
            kept,
            candidate_origin,
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
        return Err(ForwardError::Plan { morph: place, expected, found });
    }
    Ok(realise(plan, gates, &morph.targets, topology, morph.slots())?)
}

impl<S: Scalar> Stage<S> {
    fn forward(
        &self,
        mut x: Array2<S>,
        pass: Pass<'_>,
        cross: &mut impl FnMut(&Topology, &mut Array2<S>),
    ) -> Result<(Vec<RoundCache<S>>, MorphCache<S>), ShapeError> {
        let mut caches = Vec::with_capacity(self.rounds.len());
        for round in &self.rounds {
            let (y, cache) = round.forward(x, pass)?;
            x = y;
            cross(pass.topology, &mut x);
            caches.push(cache);
        }
        Ok((caches, self.morph.forward(x, pass.topology)?))
    }
}
