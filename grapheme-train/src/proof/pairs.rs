//! The smallest task that needs a merge: three texts that lose their last grapheme.

use crate::data::{LabelInventory, TargetUnits};
use crate::estimator::{EstimateError, EstimatorName, Unsuited};
use crate::labelling::Labelling;
use crate::loss::{Assignment, LossError, StructuralLoss};
use crate::objective::{LossName, Objective, Task};
use crate::optim::SettingError;
use grapheme_core::graph::BatchError;
use grapheme_core::morph::HistoryError;
use grapheme_core::network::{ConfigError, ForwardError};
use grapheme_core::{GraphBatch, GraphTransformNet, NetworkConfig};
use thiserror::Error;

/// Input and target.
pub const PAIRS: [(&str, &str); 3] = [("abc", "ab"), ("xyz", "xy"), ("123", "12")];

/// The entropy of the transport under the `graph` loss. Training takes 0.5, which finds labels sooner; there 3 of 2,000
/// first epochs of plain descent step over a bend of the masses, here none of 10,000.
const EPSILON: f64 = 0.7;

/// [`PAIRS`] as one batch, and a loss. Labels are the graphemes of the targets, and `Copy`.
#[derive(Debug)]
pub struct Pairs {
    batch: GraphBatch,
    labelling: Labelling,
    /// The loss.
    pub objective: Objective,
    /// The network: [`NetworkConfig::tiny`], whose one gated and one recurrent round come before one morph of two slots,
    /// at width 32 and with enough buckets for the eleven code points.
    pub network: NetworkConfig,
}

/// Why an experiment could not be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// A setting is out of its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// An estimator is not defined for a loss.
    #[error(transparent)]
    Unsuited(#[from] Unsuited),
    /// A setting of the network is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The texts fit into no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// No gradient.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// Histories that do not follow each other.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl From<ForwardError> for ProofError {
    fn from(error: ForwardError) -> Self {
        Self::Estimate(error.into())
    }
}

impl From<LossError> for ProofError {
    fn from(error: LossError) -> Self {
        Self::Estimate(error.into())
    }
}

impl Pairs {
    /// The pairs under a loss of default settings.
    ///
    /// # Errors
    /// Never for [`PAIRS`], which fit into a batch.
    pub fn new(loss: LossName) -> Result<Self, ProofError> {
        Self::with(loss.settings())
    }

    /// The pairs under a loss as an estimator needs it.
    ///
    /// # Errors
    /// [`ProofError::Unsuited`].
    pub fn under(estimator: EstimatorName, loss: LossName) -> Result<Self, ProofError> {
        Self::with(estimator.loss(loss)?)
    }

    fn with(mut loss: StructuralLoss) -> Result<Self, ProofError> {
        let batch = GraphBatch::from_texts(&PAIRS.map(|(input, _)| input))?;
        let targets = PAIRS.map(|(_, target)| target);
        let labels = LabelInventory::of(targets, TargetUnits::Graphemes);
        let labelling = Labelling::new(&batch, targets, TargetUnits::Graphemes, &labels);
        if let Assignment::Sinkhorn(sinkhorn) = &mut loss.aligner {
            sinkhorn.tolerance = 1e-12;
            sinkhorn.epsilon = EPSILON;
        }
        let objective = Objective::new(loss, None, &labels);
        let network = NetworkConfig { width: 32, buckets: 64, gate_rank: 8, ..NetworkConfig::tiny(labels.outcomes()) };
        Ok(Self { batch, labelling, objective, network })
    }

    /// A fresh network, a function of the seed alone.
    ///
    /// # Errors
    /// [`ProofError::Config`] if [`network`](Self::network) was changed to something that cannot be built.
    pub fn fresh(&self, seed: u64) -> Result<GraphTransformNet<f64>, ProofError> {
        Ok(GraphTransformNet::new(&self.network, seed)?)
    }

    /// The batch and its targets.
    pub fn task(&self) -> Task<'_> {
        Task { batch: &self.batch, labelling: &self.labelling }
    }
}
