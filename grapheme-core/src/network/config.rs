//! Settings of a network, as plain data.

use crate::layers::RoundKind;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a network is made of. [`check`](Self::check) says whether it can be built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Features a node (d).
    pub width: usize,
    /// Rows of the hashed embedding (B).
    pub buckets: usize,
    /// Rows that each code point is the sum of (H).
    pub hashes: usize,
    /// Outcomes of the label head: the symbols of the inventory, and `Copy`.
    pub outcomes: usize,
    /// Whether the network learns what loss to expect of a graph, for an estimator that samples.
    #[serde(default)]
    pub baseline: bool,
    /// Message passing and morphs. At least one stage.
    pub stages: Vec<StageConfig>,
    /// Dimensions in which a candidate is compared with its target (r).
    pub gate_rank: usize,
    /// Temperature of the gates (T).
    pub temperature: f64,
    /// Dropout of messages.
    pub dropout: f64,
    /// Dropout of the embedding.
    pub embedding_dropout: f64,
    /// Probability that an example passes without messages in training: see [`Dropout`](crate::layers::Dropout).
    #[serde(default)]
    pub isolation: f64,
}

/// One stage: rounds of message passing, then a morph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// The rounds, in order.
    pub rounds: Vec<RoundKind>,
    /// Candidates that each node splits into (K).
    pub slots: usize,
}

/// A setting out of its range.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("network setting `{setting}`: {found} is out of range, it must be {expected}")]
pub struct ConfigError {
    /// Path of the setting.
    pub setting: String,
    /// The value found.
    pub found: f64,
    /// What would do.
    pub expected: &'static str,
}

/// Sizes beyond this are taken for a mistake.
const LARGEST: usize = 1 << 20;

/// The most parameters of a network, 2^28: a gigabyte in `f32`, and training holds about eight copies.
const MOST_PARAMETERS: f64 = (1u64 << 28) as f64;

impl NetworkConfig {
    /// A network of a few thousand parameters that still has every kind of part: for tests and proofs.
    pub fn tiny(outcomes: usize) -> Self {
        let rounds = vec![RoundKind::Gated { distance: 1 }, RoundKind::Recurrent];
        Self {
            width: 6,
            buckets: 32,
            hashes: 2,
            outcomes,
            baseline: false,
            stages: vec![StageConfig { rounds, slots: 2 }],
            gate_rank: 3,
            temperature: 1.0,
            dropout: 0.0,
            embedding_dropout: 0.0,
            isolation: 0.0,
        }
    }

    /// Whether every setting is in its range.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let size = |setting: &str, n: usize, most: usize| {
            let expected = "at least 1 and not absurdly large";
            let found = n as f64;
            if (1..=most).contains(&n) { Ok(()) } else { Err(ConfigError { setting: setting.into(), found, expected }) }
        };
        size("width", self.width, 1 << 14)?;
        size("buckets", self.buckets, LARGEST)?;
        size("hashes", self.hashes, 64)?;
        size("outcomes", self.outcomes, LARGEST)?;
        size("gate_rank", self.gate_rank, 1 << 14)?;
        size("stages", self.stages.len(), 64)?;
        for (i, stage) in self.stages.iter().enumerate() {
            size(&format!("stages.{i}.slots"), stage.slots, 256)?;
            for (j, round) in stage.rounds.iter().enumerate() {
                match round {
                    RoundKind::Gated { distance } | RoundKind::Plain { distance } => {
                        size(&format!("stages.{i}.rounds.{j}.distance"), *distance, 1 << 30)?;
                    }
                    RoundKind::Edges { window } => size(&format!("stages.{i}.rounds.{j}.window"), *window, 1 << 10)?,
                    RoundKind::Recurrent => {}
                }
            }
        }
        let number = |setting: &str, found: f64, ok: bool, expected| {
            if ok { Ok(()) } else { Err(ConfigError { setting: setting.into(), found, expected }) }
        };
        let t = self.temperature;
        number("temperature", t, t.is_finite() && t > 0.0, "a positive number")?;
        number("dropout", self.dropout, (0.0..1.0).contains(&self.dropout), "at least 0 and below 1")?;
        let rate = self.embedding_dropout;
        number("embedding_dropout", rate, (0.0..1.0).contains(&rate), "at least 0 and below 1")?;
        let rate = self.isolation;
        number("isolation", rate, (0.0..1.0).contains(&rate), "at least 0 and below 1")?;
        let weights = self.weights();
        number(
            "number of parameters",
            weights,
            weights <= MOST_PARAMETERS,
            "at most 2^28: lower width, buckets or slots",
        )
    }

    /// The number of parameters, biases and norms left out: known before anything is allocated.
    fn weights(&self) -> f64 {
        let d = self.width as f64;
        let round = |kind: &RoundKind| match kind {
            RoundKind::Gated { .. } | RoundKind::Plain { .. } => 7.0 * d * d,
            RoundKind::Recurrent => 18.0 * d * d,
            RoundKind::Edges { .. } => 2.0 * d * (self.gate_rank + 1) as f64,
        };
        let stage = |stage: &StageConfig| {
            let rounds: f64 = stage.rounds.iter().map(round).sum();
            rounds + stage.slots as f64 * d * d + 2.0 * d * self.gate_rank as f64
        };
        (self.buckets + self.outcomes + usize::from(self.baseline)) as f64 * d
            + self.stages.iter().map(stage).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GraphTransformNet, param};

    #[test]
    fn parameters_are_counted_before_they_are_allocated() {
        let mut config = NetworkConfig::tiny(50);
        config.width = 64;
        config
            .stages
            .push(StageConfig { rounds: vec![RoundKind::Edges { window: 3 }, RoundKind::Recurrent], slots: 3 });
        let found = param::count(&GraphTransformNet::<f32>::new(&config, 1).unwrap()) as f64;
        let share = config.weights() / found;
        assert!((0.95..1.0).contains(&share), "{} of {found}", config.weights());
    }

    #[test]
    fn sizes_that_no_machine_holds_are_refused_unallocated() {
        let tiny = NetworkConfig::tiny(5);
        let wide = NetworkConfig { width: 1 << 14, ..tiny.clone() };
        let deep = NetworkConfig { stages: vec![tiny.stages[0].clone(); 65], ..tiny.clone() };
        let full = NetworkConfig { width: 1 << 12, buckets: 1 << 20, ..tiny.clone() };
        let absurd = NetworkConfig { width: 1_000_000_000_000, ..tiny };
        for (config, setting) in
            [(wide, "number of parameters"), (deep, "stages"), (full, "number of parameters"), (absurd, "width")]
        {
            assert_eq!(GraphTransformNet::<f32>::new(&config, 1).unwrap_err().setting, setting);
        }
    }
}
