//! The network that reads a graph and rewrites it.

mod backward;
mod config;
mod forward;
mod pull_back;

pub use backward::{Seam, Upstream};
pub use config::{ConfigError, NetworkConfig, StageConfig};
pub use forward::{Choice, Closed, Closing, ForwardError, ForwardOptions, MorphedGraph, Opened, Trace};

use crate::layers::{Dropout, HashedEmbedding, Linear, Round};
use crate::morph::{LabelHead, Morph};
use crate::random::Stream;
use crate::scalar::Scalar;
use ndarray::{Array1, Array2};

/// Hashed embedding, then stages of message passing and morphing, then the label head.
///
/// `embedding |0| round |1| ... |k| morph |k+1| round ... morph |last| head`, the numbers being the boundaries that a
/// gradient medium sits at. Every morph but the last is realised; how the last one closes is said at each call.
///
/// ```
/// use grapheme_core::{GraphBatch, GraphTransformNet, NetworkConfig, Vacuum, param};
/// use grapheme_core::network::{ForwardOptions, Upstream};
///
/// let net = GraphTransformNet::<f64>::new(&NetworkConfig::tiny(4), 1)?;
/// let batch = GraphBatch::from_texts(&["abc"])?;
/// let (morphed, trace) = net.forward(&batch, ForwardOptions::marginalised())?;
/// let mut upstream = Upstream::zeros(&morphed);
/// upstream.gates.log_stay.fill(1.0);
/// let mut grad = param::zeros_like(&net);
/// net.backward(trace, &morphed, upstream, &Vacuum, &mut (), &mut grad);
/// assert!(param::norm(&grad) > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct GraphTransformNet<S> {
    /// Features of code points.
    pub embedding: HashedEmbedding<S>,
    /// Rounds and morph, stage after stage.
    pub stages: Vec<Stage<S>>,
    /// Labels of what stays.
    pub head: LabelHead<S>,
    /// What the loss of a graph is expected to be, from the mean of its candidates: d to 1. Nothing in a forward pass reads
    /// it; an estimator that samples may subtract it from the losses it finds.
    pub baseline: Option<Linear<S>>,
    embedding_dropout: Dropout,
}

/// Rounds of message passing, and the morph that follows them.
#[derive(Clone, Debug)]
pub struct Stage<S> {
    /// Messages between nodes.
    pub rounds: Vec<Round<S>>,
    /// Splitting, and the gates.
    pub morph: Morph<S>,
}

impl<S: Scalar> GraphTransformNet<S> {
    /// A network with fresh parameters, a function of `config` and `seed` alone.
    ///
    /// # Errors
    /// [`ConfigError`] if a setting is out of its range.
    pub fn new(config: &NetworkConfig, seed: u64) -> Result<Self, ConfigError> {
        config.check()?;
        let stream = Stream::new(seed);
        let d = config.width;
        let mut site = 0;
        let mut dropout = |rate, isolation| {
            site += 1;
            Dropout { site, rate, isolation }
        };
        let embedding_dropout = dropout(config.embedding_dropout, 0.0);
        let embedding = HashedEmbedding::new(config.buckets, config.hashes, d, &mut stream.fork(0));
        let stages = config.stages.iter().enumerate().map(|(i, stage)| {
            let mut stream = stream.fork(i as u64 + 1);
            let mut messages = || dropout(config.dropout, config.isolation);
            let gate = (config.gate_rank, config.temperature);
            let rounds = stage.rounds.iter().map(|&kind| Round::new(kind, d, gate, messages(), &mut stream)).collect();
            let morph = Morph::new(d, stage.slots, config.gate_rank, config.temperature, &mut stream);
            Stage { rounds, morph }
        });
        let stages = stages.collect();
        let head = LabelHead::new(d, config.outcomes, &mut stream.fork(u64::MAX));
        let baseline = config.baseline.then(|| Linear { weight: Array2::zeros((d, 1)), bias: Array1::zeros(1) });
        Ok(Self { embedding, stages, head, baseline, embedding_dropout })
    }

    /// Names of the layers, in the order of the forward pass: `embedding`, `stages.0.rounds.0`, ..., `head`. Boundary i
    /// lies between the i-th and the next.
    pub fn layer_names(&self) -> Vec<String> {
        let mut names = vec!["embedding".to_owned()];
        for (s, stage) in self.stages.iter().enumerate() {
            names.extend((0..stage.rounds.len()).map(|r| format!("stages.{s}.rounds.{r}")));
            names.push(format!("stages.{s}.morph"));
        }
        names.push("head".to_owned());
        names
    }
}

crate::param_tree!(GraphTransformNet { embedding, stages, head, baseline });
crate::param_tree!(Stage { rounds, morph });
