//! A model that can be used: text in, text out.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::data::Example;
use crate::estimator::EstimateError;
use crate::file::FileError;
use crate::labelling::Labelling;
use crate::lanes::ThreadsError;
use crate::objective::Objective;
use crate::reader::Sight;
use crate::run::{RunError, RunFolder};
use crate::settings::{CONFIG_VERSION, ModelSpec, RunConfig};
use grapheme_core::graph::BatchError;
use grapheme_core::graph::GraphError;
use grapheme_core::morph::{HistoryError, Plan, runs};
use grapheme_core::network::{Choice, ConfigError, ForwardError, ForwardOptions, Trace};
use grapheme_core::{GraphBatch, GraphTransformNet, GraphemeGraph};
use thiserror::Error;

/// A network with the labels that its outcomes stand for.
#[derive(Clone, Debug)]
pub struct Transducer {
    /// What the model is.
    pub spec: ModelSpec,
    /// Its weights.
    pub net: GraphTransformNet<f32>,
}

/// Why a model cannot be loaded or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransducerError {
    /// The folder holds no readable run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The weights cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The configuration describes no network.
    #[error("{file}: {source}; restore the file, or train the run again with --overwrite")]
    Config {
        /// The file.
        file: String,
        /// The setting.
        source: ConfigError,
    },
    /// The configuration contradicts itself.
    #[error("{file}: {reason}; restore the file, or train the run again with --overwrite")]
    Contradiction {
        /// The file.
        file: String,
        /// What does not fit.
        reason: String,
    },
    /// What is known of the model's sureness cannot be understood.
    #[error("{file}: {reason}; delete the file to use the model uncalibrated, or train --resume to write it again")]
    Calibration {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A file that the operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A text has more nodes than fit.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A text has more graphemes than fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Histories that do not follow each other.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The network refused a batch.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// A run, or a member of an ensemble, that cannot be used.
    #[error("{run}: {reason}")]
    Member {
        /// Its folder, or the file that is missing there.
        run: String,
        /// What is wrong, and the cure.
        reason: String,
    },
    /// No threads.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

impl From<ForwardError> for TransducerError {
    fn from(error: ForwardError) -> Self {
        Self::Estimate(error.into())
    }
}

impl From<crate::loss::LossError> for TransducerError {
    fn from(error: crate::loss::LossError) -> Self {
        Self::Estimate(error.into())
    }
}

/// Texts among which the likeliest is looked for.
const BEAM: usize = 8;

impl Transducer {
    /// A model with fresh weights.
    ///
    /// # Errors
    /// [`ConfigError`] of the network.
    pub fn new(spec: ModelSpec, seed: u64) -> Result<Self, ConfigError> {
        let net = GraphTransformNet::new(&spec.network, seed)?;
        Ok(Self { spec, net })
    }

    /// The model of a run.
    ///
    /// # Errors
    /// [`TransducerError`] if the folder holds no run, or its files are damaged or do not fit together.
    pub fn load(run: &RunFolder) -> Result<Self, TransducerError> {
        let config = read_config(run)?;
        if !run.model().exists() {
            let reason =
                "missing: not trained yet, or deleted; go on with train --out RUN --resume, or train again".to_owned();
            return Err(TransducerError::Member { run: run.model().display().to_string(), reason });
        }
        let file = run.config().display().to_string();
        let mut model = Self::new(config.model, 0).map_err(|source| TransducerError::Config { file, source })?;
        Checkpoint::open(&run.model())?.read_into("", &mut model.net)?;
        Ok(model)
    }

    /// The loss of the model, over its labels.
    pub fn objective(&self) -> Objective {
        Objective::new(self.spec.loss, self.spec.window, &self.spec.labels)
    }

    /// Everything that its loss and its readers need of a batch.
    ///
    /// # Errors
    /// [`TransducerError`] if network and batch do not fit together.
    pub fn see<T: AsRef<str>>(&self, texts: &[T]) -> Result<Sight<'_>, TransducerError> {
        let batch = self.spec.graph.batch(texts)?;
        let labelling = Labelling::new(&batch, [], self.spec.units, &self.spec.labels);
        let morphed = self.spec.estimator.morph(&self.net, &batch)?;
        Ok(Sight { spec: &self.spec, batch, labelling, morphed })
    }

    /// A text as a graph in which the graphemes that are written together are one node, which remembers them: the runs of all
    /// merge histories, composed, where every candidate does what the likeliest way to write the likeliest text says.
    ///
    /// # Errors
    /// As [`Self::see`].
    pub fn patterns(&self, text: &str) -> Result<GraphemeGraph, TransducerError> {
        let sight = self.see(&[text])?;
        let decoder = sight.decoder();
        let labels = decoder.likeliest(0, BEAM).into_iter().next().map_or_else(Vec::new, |best| best.labels);
        let opened = self.net.open(&sight.batch, ForwardOptions::realised())?;
        let plan = match decoder.path(0, &labels) {
            Some(choices) => Plan { stays: choices.iter().map(|choice| choice.label.is_some()).collect() },
            None => Plan::most_probable(opened.gates()),
        };
        let (_, closed) = self.net.close(&opened, opened.gates(), Choice::Taken(&plan))?;
        let history = Trace::new(opened, closed).history()?;
        Ok(GraphemeGraph::from_text(text)?.compressed(&runs(&sight.batch, &history, 0))?)
    }
}

/// The graphs of examples, and their targets as numbers, as a model sees them.
///
/// # Errors
/// [`BatchError`] if they are too long for one batch.
pub fn label<'a>(
    examples: impl Iterator<Item = &'a Example> + Clone,
    spec: &ModelSpec,
) -> Result<(GraphBatch, Labelling), BatchError> {
    let batch = spec.graph.batch(examples.clone().map(|example| example.input.as_str()))?;
    let targets = examples.map(|example| example.target.as_str());
    let labelling = Labelling::new(&batch, targets, spec.units, &spec.labels);
    Ok((batch, labelling))
}

/// `config.json`, checked beyond what its types say.
///
/// # Errors
/// [`TransducerError`] naming the file.
pub fn read_config(run: &RunFolder) -> Result<RunConfig, TransducerError> {
    let config: RunConfig = run.read_config()?;
    let file = run.config().display().to_string();
    let contradiction = |reason: String| TransducerError::Contradiction { file: file.clone(), reason };
    if config.version != CONFIG_VERSION {
        let reason = format!("version {} where this program reads version {CONFIG_VERSION}", config.version);
        return Err(contradiction(reason));
    }
    let (outcomes, labels) = (config.model.network.outcomes, config.model.labels.outcomes());
    if outcomes != labels {
        return Err(contradiction(format!("a network of {outcomes} outcomes for {labels} labels")));
    }
    config.model.loss.check().map_err(|error| contradiction(error.to_string()))?;
    config.training.check().map_err(|error| contradiction(error.to_string()))?;
    if !config.model.is_consistent() {
        let estimator = config.model.estimator;
        return Err(contradiction(format!("the estimator `{estimator}` with a loss that it is not defined for")));
    }
    let network = &config.model.network;
    network.check().map_err(|source| TransducerError::Config { file: file.clone(), source })?;
    Ok(config)
}
