//! From a batch of graphs to a batch of morphed graphs.

use super::{GraphTransformNet, Stage};
use crate::graph::{GraphBatch, Topology, TopologyError};
use crate::layers::{DropoutKeys, Layer, Pass, RoundCache, ShapeError};
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
    /// The potentials between consecutive labels, if the network has any: outcomes x outcomes.
    pub transitions: Option<Array2<S>>,
}

/// What a backward pass needs to know about the forward pass, the merge histories included.
pub struct Trace<'a, S> {
    pub(super) batch: &'a GraphBatch,
    pub(super) dropout: Option<&'a DropoutKeys>,
    pub(super) stages: Vec<StageTrace<S>>,
    pub(super) head: HeadCache<S>,
}

pub(super) struct StageTrace<S> {
    /// The shape before the morph; `None` for the shape of the batch.
    pub(super) topology: Option<Topology>,
    pub(super) rounds: Vec<RoundCache<S>>,
    pub(super) morph: MorphCache<S>,
    pub(super) realised: Option<(Plan, Realised<S>)>,
}

impl<S: Scalar> Trace<'_, S> {
    /// The plans of the realised morphs, in order: what a later pass needs to make the same choices.
    pub fn plans(&self) -> Vec<Plan> {
        self.stages.iter().filter_map(|stage| stage.realised.as_ref().map(|(plan, _)| plan.clone())).collect()
    }

    /// The histories of all splits and merges, in order.
    pub fn histories(&self) -> impl Iterator<Item = &MergeHistory<S>> {
        self.stages.iter().flat_map(|stage| {
            std::iter::once(&stage.morph.split).chain(stage.realised.as_ref().map(|(_, realised)| &realised.history))
        })
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
        for stage in &mut self.stages {
            stage.morph.split = stage.morph.split.mistaken_for_identity();
            if let Some((_, realised)) = &mut stage.realised {
                realised.history = realised.history.mistaken_for_identity();
            }
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
        mut x: Array2<S>,
        batch: &'a GraphBatch,
        options: ForwardOptions<'a>,
    ) -> Result<(MorphedGraph<S>, Trace<'a, S>), ForwardError> {
        let dropout = options.dropout;
        ShapeError::check("features", &x, [batch.nodes(), self.embedding.table.ncols()])?;
        self.embedding_dropout.apply(&mut x, Pass { topology: batch.topology(), dropout });
        let mut stages = Vec::with_capacity(self.stages.len());
        // The shape and the origins of the nodes that a stage reads; no shape stands for that of the batch.
        let mut shape: Option<Topology> = None;
        let mut origin: Vec<u32> = (0..batch.nodes() as u32).collect();
        let mut plans = options.plans.map(<[Plan]>::iter);
        loop {
            let stage = &self.stages[stages.len()];
            let is_last = stages.len() + 1 == self.stages.len();
            let topology = shape.take();
            let current = topology.as_ref().unwrap_or(batch.topology());
            let (rounds, morph) = stage.forward(x, Pass { topology: current, dropout })?;
            let slots = stage.morph.read.len();
            let candidate_origin: Vec<u32> = origin.iter().flat_map(|&o| std::iter::repeat_n(o, slots)).collect();
            let candidate_offsets: Vec<u32> = current.offsets().iter().map(|&o| o * slots as u32).collect();
            let (realised, kept, morphed_shape);
            if is_last && options.closing == Closing::Marginalised {
                (realised, kept) = (None, (0..morph.targets.len() as u32).collect());
                morphed_shape = Topology::chains(candidate_offsets.windows(2).map(|o| (o[1] - o[0]) as usize))?;
                x = morph.candidates.clone();
                origin.clone_from(&candidate_origin);
            } else {
                let plan = match &mut plans {
                    None => Plan::most_probable(&morph.gates),
                    Some(given) => given.next().cloned().unwrap_or_default(),
                };
                let (expected, found) = (morph.targets.len(), plan.stays.len());
                if found != expected {
                    return Err(ForwardError::Plan { morph: stages.len(), expected, found });
                }
                let outcome = realise(&plan, &morph.gates, &morph.targets, current, slots)?;
                x = outcome.history.forward(morph.candidates.view());
                origin = outcome.kept.iter().map(|&c| candidate_origin[c as usize]).collect();
                (kept, morphed_shape) = (outcome.kept.clone(), outcome.topology.clone());
                realised = Some((plan, outcome));
            }
            if is_last {
                let gates = morph.gates.clone();
                stages.push(StageTrace { topology, rounds, morph, realised });
                let can_copy = |row: usize| batch.cluster(origin[row] as usize).is_some();
                let (log_label, head) = self.head.forward(x, can_copy)?;
                let (closing, topology) = (options.closing, morphed_shape);
                let morphed = MorphedGraph {
                    closing,
                    topology,
                    origin,
                    kept,
                    candidate_origin,
                    candidate_offsets,
                    gates,
                    log_label,
                    transitions: self.head.transitions.clone(),
                };
                return Ok((morphed, Trace { batch, dropout, stages, head }));
            }
            stages.push(StageTrace { topology, rounds, morph, realised });
            shape = Some(morphed_shape);
        }
    }
}

impl<S: Scalar> Stage<S> {
    fn forward(&self, mut x: Array2<S>, pass: Pass<'_>) -> Result<(Vec<RoundCache<S>>, MorphCache<S>), ShapeError> {
        let mut caches = Vec::with_capacity(self.rounds.len());
        for round in &self.rounds {
            let (y, cache) = round.forward(x, pass)?;
            x = y;
            caches.push(cache);
        }
        Ok((caches, self.morph.forward(x, pass.topology)?))
    }
}
