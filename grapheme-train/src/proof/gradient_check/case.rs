//! What is checked: every combination of loss, assignment, estimator and layers, on networks and inputs small enough for
//! finite differences of every number.

use crate::data::{LabelInventory, TargetUnits};
use crate::estimator::{Estimator, EstimatorName, Reinforce};
use crate::labelling::Labelling;
use crate::loss::align::Differentiation;
use crate::loss::{Assignment, Monotone, Sinkhorn, StructuralLoss};
use crate::objective::{LossName, Objective};
use grapheme_core::graph::{BatchError, EdgeKind, GraphError};
use grapheme_core::layers::RoundKind;
use grapheme_core::network::StageConfig;
use grapheme_core::{GradientMedium, GraphBatch, GraphemeGraph, NetworkConfig, Scalar};
use std::fmt;

/// One way through the project: what a prediction costs, who is matched with whom, how choices are differentiated, and
/// which layers the network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Combination {
    /// What a prediction costs.
    pub loss: LossName,
    /// Who is matched with whom.
    pub matching: Matching,
    /// How the gradient is taken through discrete choices.
    pub estimator: EstimatorName,
    /// Which layers the network has.
    pub layers: Layers,
}

/// The assignments, each with its ways to be differentiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// The soft edit distance.
    Monotone,
    /// Entropic transport, differentiated at its fixed point.
    SinkhornImplicit,
    /// Entropic transport, differentiated step by step.
    SinkhornUnrolled,
}

/// The networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// A gated round over nodes next to each other.
    Gated,
    /// Another gated round besides, over nodes at distance 2.
    Skip,
    /// A recurrent round.
    Recurrent,
    /// Two stages: a gated round and a morph, which is realised, then a recurrent round and the closing morph.
    TwoStages,
    /// A gated round between two rounds that rewrite edges: the first weighs its messages, the second the edges of the output.
    Edges,
    /// Three morphs. Edges are rewritten before the second and read by a recurrent round after it, so their ends merge between.
    ThreeMorphs,
}

/// The inputs. They take turns from seed to seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inputs {
    /// Texts with explicit edges besides.
    Chain,
    /// The same, and assignments within a window.
    Banded,
    /// Graphs whose sequential edges branch.
    Branched,
    /// Expressions as trees.
    Trees,
    /// Graphs with runs made one node, and with runs made one node and expanded again.
    Patterns,
}

/// The thresholds of every rewriting of edges: of a new edge, then of each kind.
pub(super) const EDGE_THRESHOLDS: [f64; 5] = [0.1, -0.1, 0.0, 0.1, -0.1];

/// The merge thresholds of the slots of every morph.
pub(super) const THRESHOLDS: [f64; 2] = [0.05, -0.1];

impl Combination {
    /// All of them, those that are not defined included.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for loss in [LossName::Words, LossName::Graph] {
            for estimator in EstimatorName::ALL {
                let is_smooth = matches!(estimator, EstimatorName::Marginal | EstimatorName::Pathwise);
                // The others differ from these at the last morph alone, so not every layer comes with each of them.
                let layers: &[Layers] = match is_smooth {
                    true => &[Layers::Gated, Layers::Skip, Layers::Recurrent, Layers::TwoStages],
                    false => &[Layers::Gated, Layers::TwoStages],
                };
                let matchings: &[Matching] = match (is_smooth, loss) {
                    (true, _) => &[Matching::Monotone, Matching::SinkhornImplicit, Matching::SinkhornUnrolled],
                    (false, LossName::Words) => &[Matching::Monotone],
                    (false, LossName::Graph) => &[Matching::SinkhornImplicit],
                };
                for &layers in layers {
                    all.extend(matchings.iter().map(|&matching| Self { loss, matching, estimator, layers }));
                }
                // What an assignment is handed does not depend on how many morphs there were, so one of them will do.
                let matching = if loss == LossName::Words { Matching::Monotone } else { Matching::SinkhornImplicit };
                if is_smooth {
                    all.extend([Layers::Edges, Layers::ThreeMorphs].map(|layers| Self {
                        loss,
                        matching,
                        estimator,
                        layers,
                    }));
                } else if (loss, estimator) == (LossName::Graph, EstimatorName::Reinforce) {
                    // The one that adds up several closings, each of which has a gradient for the weights of edges.
                    all.push(Self { loss, matching, estimator, layers: Layers::Edges });
                }
            }
        }
        all
    }

    /// Why there is no such loss, if there is none.
    pub fn undefined(self) -> Option<&'static str> {
        let is_defined = self.estimator.loss(self.loss).is_ok();
        (!is_defined).then_some("no dynamic programme sums exp(-L) of the graph loss over all choices")
    }

    /// The estimator; of samples fewer than in training, as each costs an evaluation.
    pub(super) fn build<S: Scalar, M: GradientMedium<S>>(self) -> Box<dyn Estimator<S, M>> {
        match self.estimator {
            EstimatorName::Reinforce => Box::new(Reinforce { samples: 3 }),
            other => other.build(),
        }
    }

    /// Whether two combinations have one loss, and so one numeric gradient.
    pub(super) fn shares_value_with(self, other: Self) -> bool {
        let is_monotone = |combination: Self| combination.matching == Matching::Monotone;
        is_monotone(self) == is_monotone(other) && Self { matching: other.matching, ..self } == other
    }

    /// The network: as narrow as layers can be and still mix features.
    pub(super) fn network(self) -> NetworkConfig {
        let (near, edges) = (RoundKind::Gated { distance: 1 }, RoundKind::Edges { window: 2 });
        let stages: &[&[RoundKind]] = match self.layers {
            Layers::Gated => &[&[near]],
            Layers::Skip => &[&[near, RoundKind::Gated { distance: 2 }]],
            Layers::Recurrent => &[&[RoundKind::Recurrent]],
            Layers::TwoStages => &[&[near], &[RoundKind::Recurrent]],
            Layers::Edges => &[&[edges, near, edges]],
            Layers::ThreeMorphs => &[&[near], &[edges], &[RoundKind::Recurrent]],
        };
        let stage = |rounds: &&[RoundKind]| StageConfig { rounds: rounds.to_vec(), slots: THRESHOLDS.len() };
        let stages = stages.iter().map(stage).collect();
        let (width, buckets, gate_rank) = (3, 24, 2);
        NetworkConfig { width, buckets, gate_rank, stages, ..NetworkConfig::tiny(labels().outcomes()) }
    }

    /// The loss on `inputs`.
    pub(super) fn objective(self, inputs: Inputs) -> Objective {
        let window = (inputs == Inputs::Banded).then_some(1);
        let settings = self.estimator.loss(self.loss).unwrap_or_else(|_| self.loss.settings());
        let mut loss = StructuralLoss { aligner: self.assignment(), ..settings };
        if self.loss == LossName::Words && loss.insertion.is_some() {
            loss.insertion = Some(5.0);
        }
        Objective::new(loss, window, &labels())
    }

    fn assignment(self) -> Assignment {
        let differentiation = match self.matching {
            Matching::Monotone => return Assignment::Monotone(Monotone::default()),
            Matching::SinkhornImplicit => Differentiation::Implicit,
            Matching::SinkhornUnrolled => Differentiation::Unrolled,
        };
        // The fixed point must be known to many more digits than the derivatives that are taken from its neighbours. So
        // the entropy is large enough for quick convergence: a third of the largest cost, which is 1 in the graph loss and
        // a few nats in the other.
        let epsilon = if self.loss == LossName::Graph { 0.3 } else { 1.0 };
        Assignment::Sinkhorn(Sinkhorn {
            epsilon,
            anneal_from: 0.0,
            max_iterations: 20_000,
            tolerance: 1e-13,
            differentiation,
            ..Sinkhorn::default()
        })
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matching = match self.matching {
            Matching::Monotone => "monotone",
            Matching::SinkhornImplicit => "sinkhorn-implicit",
            Matching::SinkhornUnrolled => "sinkhorn-unrolled",
        };
        let Self { loss, estimator, .. } = self;
        let layers = match self.layers {
            Layers::Gated => "gated",
            Layers::Skip => "skip",
            Layers::Recurrent => "recurrent",
            Layers::TwoStages => "two-stages",
            Layers::Edges => "edges",
            Layers::ThreeMorphs => "three-morphs",
        };
        write!(f, "{loss}/{matching}/{estimator}/{layers}")
    }
}

/// A graph by its graphemes and edges, and the text that it should become.
struct Sample {
    input: &'static str,
    edges: &'static [(usize, usize, EdgeKind, f32)],
    target: &'static str,
}

/// Hangul of three parts; nothing at all, where only the bounding nodes can write; a combining mark, and an emoji of three
/// code points that can only be copied. Explicit edges join every two of four nodes, so that triangles are left whatever
/// merges, and cliques cost something.
const CHAIN: [Sample; 3] = [
    Sample { input: "한", edges: &[], target: "zbx" },
    Sample { input: "", edges: &[], target: "z" },
    Sample {
        input: "e\u{301}bx👩‍👧",
        edges: &[
            (0, 1, EdgeKind::Semantic, 0.8),
            (0, 2, EdgeKind::Semantic, 0.7),
            (0, 3, EdgeKind::Structural, 0.4),
            (1, 2, EdgeKind::Semantic, 0.6),
            (1, 3, EdgeKind::Semantic, 0.5),
            (2, 3, EdgeKind::Semantic, 0.9),
        ],
        target: "x👩‍👧e\u{301}",
    },
];

/// A diamond with shortcuts, nothing at all, and parallel edges of two kinds.
const BRANCHED: [Sample; 3] = [
    Sample {
        input: "한bx👩‍👧",
        edges: &[
            (0, 1, EdgeKind::Sequential, 1.0),
            (0, 2, EdgeKind::Sequential, 1.0),
            (1, 3, EdgeKind::Sequential, 1.0),
            (2, 3, EdgeKind::Sequential, 0.5),
            (0, 3, EdgeKind::Semantic, 0.9),
            (1, 2, EdgeKind::Semantic, 0.7),
        ],
        target: "z👩‍👧",
    },
    Sample { input: "", edges: &[], target: "z" },
    Sample {
        input: "be\u{301}",
        edges: &[(0, 1, EdgeKind::Sequential, 1.0), (0, 1, EdgeKind::Structural, 0.3)],
        target: "e\u{301}x",
    },
];

/// A tree with a tree in it, and a name that joins the two; nothing at all, which is a path; a list without members beside
/// an atom of two code points.
const TREES: [Sample; 3] = [
    Sample { input: "(b x (z x))", edges: &[], target: "xbz" },
    Sample { input: "", edges: &[], target: "z" },
    Sample { input: "(e\u{301}b ())", edges: &[], target: "e\u{301}(x" },
];

/// A node that is made of two, one of which is made of two itself, with edges into it, within it and out of it; nothing at
/// all; and two that were one in between.
const PATTERNS: [Sample; 3] = [
    Sample {
        input: "e\u{301}bxzx👩‍👧",
        edges: &[
            (0, 1, EdgeKind::Semantic, 0.8),
            (0, 4, EdgeKind::Semantic, 0.7),
            (0, 5, EdgeKind::Structural, 0.4),
            (1, 2, EdgeKind::Semantic, 0.6),
            (2, 3, EdgeKind::Structural, 0.5),
            (3, 4, EdgeKind::Semantic, 0.6),
            (3, 5, EdgeKind::Semantic, 0.5),
            (4, 5, EdgeKind::Semantic, 0.9),
        ],
        target: "x👩‍👧e\u{301}",
    },
    Sample { input: "", edges: &[], target: "z" },
    Sample { input: "한b", edges: &[(0, 1, EdgeKind::Structural, 0.3)], target: "bz" },
];

/// The symbols. The emoji is not among them: it can be written by copying alone.
fn labels() -> LabelInventory {
    LabelInventory::of(["zbxe\u{301}"], TargetUnits::Graphemes)
}

impl Inputs {
    /// The inputs of a seed.
    pub(super) fn of_seed(seed: u64) -> Self {
        [Self::Chain, Self::Banded, Self::Branched, Self::Trees, Self::Patterns][(seed % 5) as usize]
    }

    /// Their batch, and what it should become.
    pub(super) fn build(self) -> Result<(GraphBatch, Labelling), InputError> {
        let samples = match self {
            Self::Chain | Self::Banded => &CHAIN,
            Self::Branched => &BRANCHED,
            Self::Trees => &TREES,
            Self::Patterns => &PATTERNS,
        };
        let batch = if self == Self::Trees {
            GraphBatch::from_expressions(&samples.each_ref().map(|sample| sample.input))?
        } else {
            let graphs = samples.iter().map(|sample| self.graph(sample)).collect::<Result<Vec<_>, _>>()?;
            GraphBatch::from_graphs(&graphs)?
        };
        let targets = samples.iter().map(|sample| sample.target);
        let labelling = Labelling::new(&batch, targets, TargetUnits::Graphemes, &labels());
        Ok((batch, labelling))
    }

    fn graph(self, sample: &Sample) -> Result<GraphemeGraph, GraphError> {
        let mut graph = GraphemeGraph::from_text(sample.input)?;
        let nodes: Vec<_> = graph.nodes().map(|(node, _)| node).collect();
        if self == Self::Branched {
            let sequential: Vec<_> = graph.edges().map(|(edge, ..)| edge).collect();
            sequential.into_iter().try_for_each(|edge| graph.remove_edge(edge).map(drop))?;
        }
        for &(source, target, kind, weight) in sample.edges {
            graph.connect(nodes[source], nodes[target], kind, weight)?;
        }
        match (self, nodes.len()) {
            (Self::Patterns, 5..) => {
                let inner = std::slice::from_ref(&(1..3));
                graph.compressed(inner)?.compressed(inner)
            }
            (Self::Patterns, 2..) => graph.compressed(std::slice::from_ref(&(0..2)))?.expanded(),
            _ => Ok(graph),
        }
    }
}

/// The inputs could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A graph refused an edge.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A batch refused a graph.
    #[error(transparent)]
    Batch(#[from] BatchError),
}
