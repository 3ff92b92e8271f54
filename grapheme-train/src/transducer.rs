//! A model that can be used: text in, text out.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::data::{Example, LabelInventory, TargetUnits};
use crate::estimator::{EstimateError, EstimatorName};
use crate::labelling::Labelling;
use crate::lanes::{Lanes, ThreadsError};
use crate::metrics::Score;
use crate::objective::{Objective, Task};
use crate::reader::{Reader, Reading};
use crate::run::{RunError, RunFolder};
use crate::settings::{CONFIG_VERSION, ModelSpec, RunConfig};
use grapheme_core::graph::BatchError;
use grapheme_core::network::{ConfigError, ForwardError, ForwardOptions};
use grapheme_core::{GraphBatch, GraphTransformNet};
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
    /// A text has more nodes than fit.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The network refused a batch.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
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

/// Texts that are read together: large enough for the matrix products, small enough for the caches.
const TEXTS_A_LANE: usize = 16;
/// Bytes of text that are read together, unless one text alone has more.
const BYTES_A_LANE: usize = 1 << 16;

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
        let file = run.config().display().to_string();
        let mut model = Self::new(config.model, 0).map_err(|source| TransducerError::Config { file, source })?;
        Checkpoint::open(&run.model())?.read_into("", &mut model.net)?;
        Ok(model)
    }

    /// Labels and units, for reading.
    pub fn reader(&self) -> Reader<'_> {
        Reader { labels: &self.spec.labels, units: self.spec.units }
    }

    /// The loss of the model, over its labels.
    pub fn objective(&self) -> Objective {
        Objective::new(self.spec.loss, self.spec.window, &self.spec.labels)
    }

    /// Reads every text, in order; the same for any number of threads.
    ///
    /// # Errors
    /// [`TransducerError`] if a text is too long for one batch.
    pub fn read<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        lanes: &Lanes<GraphTransformNet<f32>>,
    ) -> Result<Vec<Reading>, TransducerError> {
        let chunks = lanes_of(texts, |text| text.as_ref().len());
        let readings = lanes.map(&chunks, |_, texts| {
            let batch = GraphBatch::from_texts(texts)?;
            let options = ForwardOptions { closing: self.spec.estimator.closing(), dropout: None, plans: None };
            let (morphed, _) = self.net.forward(&batch, options)?;
            let reader = self.reader();
            Ok::<_, TransducerError>((0..batch.graphs()).map(|graph| reader.read(&batch, &morphed, graph)).collect())
        })?;
        let readings: Vec<Vec<Reading>> = readings;
        Ok(readings.into_iter().flatten().collect())
    }

    /// Reads every example and compares with its target.
    ///
    /// # Errors
    /// As [`Transducer::read`].
    pub fn evaluate(
        &self,
        examples: &[Example],
        lanes: &Lanes<GraphTransformNet<f32>>,
    ) -> Result<Evaluation, TransducerError> {
        let objective = self.objective();
        let chunks = lanes_of(examples, |example| example.input.len());
        let parts = lanes.map(&chunks, |_, examples| {
            let (batch, labelling) = label(examples.iter(), &self.spec.labels, self.spec.units)?;
            let options = ForwardOptions { closing: self.spec.estimator.closing(), dropout: None, plans: None };
            let (morphed, _) = self.net.forward(&batch, options)?;
            let losses = objective.assess(Task { batch: &batch, labelling: &labelling }, &morphed)?.losses;
            let reader = self.reader();
            let texts = (0..batch.graphs()).map(|graph| reader.read(&batch, &morphed, graph).text);
            Ok::<_, TransducerError>((texts.collect::<Vec<String>>(), losses))
        })?;
        let mut score = Score::new(self.spec.units);
        let (mut predictions, mut losses) = (Vec::with_capacity(examples.len()), Vec::with_capacity(examples.len()));
        for (texts, of_texts) in parts {
            predictions.extend(texts);
            losses.extend(of_texts);
        }
        predictions.iter().zip(examples).for_each(|(text, example)| score.add(text, &example.target));
        let (mut loss, mut reached) = (0.0, 0usize);
        for finite in losses.iter().filter(|loss| loss.is_finite()) {
            loss += finite;
            reached += 1;
        }
        Ok(Evaluation { score, loss: loss / reached.max(1) as f64, reached, losses, predictions })
    }
}

impl Transducer {
    /// The probability of each of `texts` for the input of the example in its place, summed over all ways to write it;
    /// none for a loss that is not minus its logarithm.
    ///
    /// # Errors
    /// As [`Transducer::read`].
    pub fn probabilities(
        &self,
        examples: &[Example],
        texts: &[String],
        lanes: &Lanes<GraphTransformNet<f32>>,
    ) -> Result<Option<Vec<f64>>, TransducerError> {
        if self.spec.estimator != EstimatorName::Marginal {
            return Ok(None);
        }
        let retargeted = |(example, text): (&Example, &String)| Example { target: text.clone(), ..example.clone() };
        let examples: Vec<Example> = examples.iter().zip(texts).map(retargeted).collect();
        let losses = self.evaluate(&examples, lanes)?.losses;
        Ok(Some(losses.into_iter().map(|loss| (-loss).exp()).collect()))
    }
}

/// Cuts texts into lanes, by their number and length alone.
fn lanes_of<T>(texts: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut lanes, mut start, mut held) = (Vec::new(), 0, 0);
    for (i, text) in texts.iter().enumerate() {
        let bytes = bytes(text);
        if i > start && (i - start == TEXTS_A_LANE || held + bytes > BYTES_A_LANE) {
            lanes.push(&texts[start..i]);
            (start, held) = (i, 0);
        }
        held += bytes;
    }
    lanes.extend((start < texts.len()).then(|| &texts[start..]));
    lanes
}

/// How a model does on examples.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Error rates.
    pub score: Score,
    /// The mean loss of the examples that have a finite one.
    pub loss: f64,
    /// How many those are: the rest has targets that the model cannot write.
    pub reached: usize,
    /// The loss of each example, infinite where the model cannot write its target.
    pub losses: Vec<f64>,
    /// The output for each example.
    pub predictions: Vec<String>,
}

/// The graphs of examples, and their targets as numbers.
///
/// # Errors
/// [`BatchError`] if they are too long for one batch.
pub fn label<'a>(
    examples: impl Iterator<Item = &'a Example> + Clone,
    labels: &LabelInventory,
    units: TargetUnits,
) -> Result<(GraphBatch, Labelling), BatchError> {
    let inputs: Vec<&str> = examples.clone().map(|example| example.input.as_str()).collect();
    let batch = GraphBatch::from_texts(&inputs)?;
    let labelling = Labelling::new(&batch, examples.map(|example| example.target.as_str()), units, labels);
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
        return Err(contradiction("the estimator `marginal` with a loss that has no exact marginal".to_owned()));
    }
    let network = &config.model.network;
    network.check().map_err(|source| TransducerError::Config { file: file.clone(), source })?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_bounded_in_number_and_length_and_lose_nothing() {
        let lengths = [vec![1; 40], vec![BYTES_A_LANE * 3, 1, BYTES_A_LANE, 1, 1]].concat();
        let lanes = lanes_of(&lengths, |&length| length);
        assert_eq!(lanes.concat(), lengths);
        assert_eq!(lanes.iter().map(|lane| lane.len()).collect::<Vec<_>>(), [16, 16, 8, 1, 1, 1, 2]);
        assert!(lanes_of(&lengths[..0], |&length| length).is_empty());
    }
}
