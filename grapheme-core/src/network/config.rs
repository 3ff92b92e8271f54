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

/// Sizes beyond this are taken for a mistake: no parameter block may pass 2^31 numbers.
const LARGEST: usize = 1 << 20;

impl NetworkConfig {
    /// A network of a few thousand parameters that still has every kind of part: for tests and proofs.
    pub fn tiny(outcomes: usize) -> Self {
        let rounds = vec![RoundKind::Gated { distance: 1 }, RoundKind::Recurrent];
        Self {
            width: 6,
            buckets: 32,
            hashes: 2,
            outcomes,
            stages: vec![StageConfig { rounds, slots: 2 }],
            gate_rank: 3,
            temperature: 1.0,
            dropout: 0.0,
            embedding_dropout: 0.0,
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
                if let RoundKind::Gated { distance } = round {
                    size(&format!("stages.{i}.rounds.{j}.distance"), *distance, 1 << 30)?;
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
        number("embedding_dropout", rate, (0.0..1.0).contains(&rate), "at least 0 and below 1")
    }
}
