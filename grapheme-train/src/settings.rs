//! Settings of a run, as plain data: what `config.json` holds.

use crate::data::{GraphForm, LabelInventory, TargetUnits};
use crate::estimator::EstimatorName;
use crate::loss::StructuralLoss;
use crate::optim::{AdamWSettings, ScheduleSettings, SettingError};
use grapheme_core::NetworkConfig;
use grapheme_core::layers::RoundKind;
use grapheme_core::network::StageConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that a run was asked to do. Together with the data it determines every bit of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The version of this format.
    pub version: u32,
    /// Where the examples come from.
    pub data: DataConfig,
    /// What is trained.
    pub model: ModelSpec,
    /// How.
    pub training: TrainingSettings,
    /// The media that gradients cross, as the command that trains reads them; none for a vacuum. Nothing here looks into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optics: Option<serde_json::Value>,
}

/// The version of [`RunConfig`] that this program writes and reads.
pub const CONFIG_VERSION: u32 = 1;

/// The files of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Training examples.
    pub train: PathBuf,
    /// Held-out examples.
    pub dev: PathBuf,
    /// Whether malformed lines are left out instead of stopping the run.
    pub skip_bad: bool,
    /// A hash of all examples, so that a run does not resume on other data.
    pub fingerprint: String,
}

/// What a model is: enough to build it, train it and read its output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// How an input becomes a graph.
    #[serde(default)]
    pub graph: GraphForm,
    /// What a label stands for.
    pub units: TargetUnits,
    /// The labels.
    pub labels: LabelInventory,
    /// The network.
    pub network: NetworkConfig,
    /// How a gradient is taken through its morphs.
    pub estimator: EstimatorName,
    /// What a predicted graph costs.
    pub loss: StructuralLoss,
    /// Half width of the band of the assignment; none for every pair.
    pub window: Option<usize>,
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSettings {
    /// Of the fresh parameters, the order of examples and dropout.
    pub seed: u64,
    /// Passes over the training examples.
    pub epochs: usize,
    /// Wall-clock limit; the schedule then follows the clock, so such a run is not repeatable.
    pub minutes: Option<f64>,
    /// Examples a step.
    pub batch: usize,
    /// Examples a lane: a batch is cut into lanes of this size, whatever the number of threads.
    pub lane: usize,
    /// The optimiser.
    pub adamw: AdamWSettings,
    /// The learning rate.
    pub schedule: ScheduleSettings,
    /// Largest norm of a gradient.
    pub clip: f64,
    /// Decay of the weight average.
    pub average: f64,
    /// Epochs without a better dev figure before training stops; 0 for never.
    pub patience: usize,
    /// Held-out examples, the first ones, whose nodes are watched; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub watch: usize,
    /// What to do about a gradient that is not finite.
    #[serde(default)]
    pub on_nan: OnNan,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What is done about a step whose gradient is not finite. Its weights are never touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OnNan {
    /// The run ends, with the last checkpoint intact.
    #[default]
    Stop,
    /// The step is left out, and the run goes on.
    Skip,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 10,
            minutes: None,
            batch: 32,
            lane: 16,
            adamw: AdamWSettings::default(),
            schedule: ScheduleSettings::default(),
            clip: 2.0,
            average: 0.998,
            patience: 0,
            watch: 0,
            on_nan: OnNan::Stop,
        }
    }
}

impl ModelSpec {
    /// Whether the estimator can be used with the loss.
    pub fn is_consistent(&self) -> bool {
        self.estimator.suits(&self.loss)
    }
}

impl TrainingSettings {
    /// Refuses settings that nothing can be trained with; optimiser and average check their own.
    ///
    /// # Errors
    /// The first setting out of its range.
    pub fn check(&self) -> Result<(), SettingError> {
        let count = |name, n: usize| match n {
            0 => Err(SettingError { name, value: 0.0, expected: "at least 1" }),
            _ => Ok(()),
        };
        let positive = |name, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(SettingError { name, value, expected: "a positive number" }),
        };
        count("epochs", self.epochs)?;
        count("batch", self.batch)?;
        count("lane", self.lane)?;
        positive("clip", self.clip)?;
        positive("minutes", self.minutes.unwrap_or(1.0))?;
        self.schedule.check().map(|_| ())
    }
}

/// Networks that were found to work, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The default: one gated and two recurrent rounds, width 128.
    Words,
    /// Six gated rounds at distances 1, 2, 4, 1, 2, 4, width 128: as large, and without recurrence.
    Dilated,
    /// Three gated rounds, width 32: fast, and of constant depth for very long inputs.
    Tiny,
    /// Two gated and three recurrent rounds, width 192.
    Large,
}

impl Preset {
    /// The network, for a given number of outcomes and of slots.
    pub fn network(self, outcomes: usize, slots: usize) -> NetworkConfig {
        let gated = |distance| RoundKind::Gated { distance };
        let (width, buckets, rounds) = match self {
            Self::Words => (128, 1024, vec![gated(1), RoundKind::Recurrent, RoundKind::Recurrent]),
            Self::Dilated => (128, 1024, [1, 2, 4, 1, 2, 4].map(gated).to_vec()),
            Self::Tiny => (32, 512, vec![gated(1), gated(2), gated(4)]),
            Self::Large => {
                let recurrent = RoundKind::Recurrent;
                (192, 1024, vec![gated(1), gated(2), recurrent, recurrent, recurrent])
            }
        };
        NetworkConfig {
            width,
            buckets,
            hashes: 2,
            outcomes,
            baseline: false,
            stages: vec![StageConfig { rounds, slots }],
            gate_rank: 16,
            temperature: 1.0,
            dropout: if self == Self::Tiny { 0.0 } else { 0.2 },
            embedding_dropout: if self == Self::Tiny { 0.0 } else { 0.1 },
            isolation: 0.0,
        }
    }

    /// How it is trained on so many examples.
    pub fn recipe(self, examples: usize) -> Recipe {
        let (Self::Words | Self::Dilated) = self else {
            let dropout = if self == Self::Tiny { 0.0 } else { 0.2 };
            return Recipe { width: self.network(1, 1).width, dropout, ..RECIPES[RECIPES.len() - 1].1 };
        };
        let (_, recipe) = RECIPES.iter().find(|(most, _)| examples <= *most).unwrap_or(&RECIPES[RECIPES.len() - 1]);
        *recipe
    }
}

/// What depends on how many examples there are: with fewer, a smaller network that is isolated more often, and more passes
/// in smaller batches, so that the number of steps stays about the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Features a node.
    pub width: usize,
    /// Dropout of messages.
    pub dropout: f64,
    /// Probability that an example passes without messages.
    pub isolation: f64,
    /// Passes over the examples.
    pub epochs: usize,
    /// Examples a step.
    pub batch: usize,
    /// Examples a lane.
    pub lane: usize,
}

/// By the most examples that each is for; found on 6 to 15 languages of pronunciations (`docs/words.md`).
const RECIPES: [(usize, Recipe); 4] = [
    (250, Recipe { width: 64, dropout: 0.5, isolation: 0.75, epochs: 120, batch: 4, lane: 4 }),
    (750, Recipe { width: 96, dropout: 0.4, isolation: 0.5, epochs: 25, batch: 8, lane: 4 }),
    (1_800, Recipe { width: 128, dropout: 0.3, isolation: 0.3, epochs: 15, batch: 16, lane: 8 }),
    (usize::MAX, Recipe { width: 128, dropout: 0.2, isolation: 0.0, epochs: 10, batch: 32, lane: 16 }),
];
