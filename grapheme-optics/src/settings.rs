//! Settings of gradient optics, as plain data: what `optics.json` holds.
//!
//! Everything is optional, and without anything it is a vacuum. [`OpticsSettings::check`] stands between a file and
//! anything that runs.

use crate::media::{EnergyBand, Polarisation, refraction::MOST_AXES};
use serde::de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use thiserror::Error;

/// All media of a training run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpticsSettings {
    /// Layers of glass, in the order in which a gradient meets those of one boundary.
    pub layers: Vec<OpticLayer>,
    /// Refractive indices of the network's layers; 1 where none is given. Rays bend where two neighbours differ.
    pub indices: Vec<IndexWindow>,
    /// How rays are bent.
    pub refraction: RefractionSettings,
    /// The band of the mean energy a row.
    pub energy_band: Option<BandSettings>,
    /// Learned transparency.
    pub gates: Option<GateSettings>,
    /// Routes past the layers.
    pub guides: Vec<GuideSettings>,
}

/// One layer of glass: where and when it stands, and what it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpticLayer {
    /// First and last boundary; none for all.
    pub boundaries: Option<[usize; 2]>,
    /// First and last step, from 1; none for all.
    pub steps: Option<[u64; 2]>,
    /// Lowest and highest graph frequency that is dimmed, as shares in [0, 1]; none for all.
    pub fourier: Option<[f64; 2]>,
    /// The share of the energy that passes, in [0, 1].
    pub transparency: Value,
    /// Absorption for each unit of thickness, at least 0.
    pub absorption: Value,
    /// At least 0.
    pub thickness: Value,
    /// D, in [0, 1/2].
    pub diffusion: Value,
    /// The turn of the complex amplitude, in radians.
    pub phase: Value,
    /// The same for what comes through the messages of a round alone, and not past it by the residual connection.
    pub message_phase: Value,
}

impl Default for OpticLayer {
    /// Perfectly clear.
    fn default() -> Self {
        let zero = Value::Constant(0.0);
        Self {
            boundaries: None,
            steps: None,
            fourier: None,
            transparency: Value::Constant(1.0),
            absorption: zero,
            thickness: Value::Constant(1.0),
            diffusion: zero,
            phase: zero,
            message_phase: zero,
        }
    }
}

/// A refractive index of some of the network's layers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexWindow {
    /// First and last layer, counted from the embedding (0).
    pub layers: [usize; 2],
    /// At least 1.
    pub index: Value,
}

/// How rays are bent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefractionSettings {
    /// Dimensions of the running principal subspace.
    pub rank: usize,
    /// The share of the running mean and subspace that stays at each step, in [0, 1).
    pub memory: f64,
    /// Reflects in part by Fresnel's equations.
    pub fresnel: Option<Polarisation>,
    /// Directions that take the place of the running mean at some boundaries.
    pub normals: Vec<Normal>,
}

impl Default for RefractionSettings {
    fn default() -> Self {
        Self { rank: 4, memory: 0.9, fresnel: None, normals: Vec::new() }
    }
}

/// A prescribed normal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normal {
    /// The boundary.
    pub boundary: usize,
    /// As many numbers as the network is wide; any length but zero.
    pub direction: Vec<f64>,
}

/// A band, and where it holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandSettings {
    /// First and last boundary; none for all.
    #[serde(default)]
    pub boundaries: Option<[usize; 2]>,
    /// The least mean energy a row.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

impl BandSettings {
    /// The band alone.
    pub fn band(&self) -> EnergyBand {
        EnergyBand { low: self.low, high: self.high }
    }
}

/// Transparency that is learned by hypergradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSettings {
    /// First and last boundary that has a gate. The last boundary of a network can have none: the loss reads the merge gates
    /// beside it.
    pub boundaries: [usize; 2],
    /// Transparency to begin with, between 0 and 1.
    #[serde(default = "GateSettings::initial")]
    pub initial: f64,
    /// Learning rate of the gates' logits.
    pub rate: f64,
    /// Steps between two looks; each look takes one more pass.
    #[serde(default = "GateSettings::every")]
    pub every: u64,
    /// Weight of the penalty outside the energy band of `low` and `high`, if that is given.
    #[serde(default)]
    pub penalty: Option<Penalty>,
}

impl GateSettings {
    fn initial() -> f64 {
        0.9
    }

    fn every() -> u64 {
        4
    }
}

/// A cost of energies outside a band, as the squared logarithm of the factor by which they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// Its weight beside the loss.
    pub weight: f64,
    /// The least mean energy a row that costs nothing.
    pub low: f64,
    /// The largest.
    pub high: f64,
}

/// A light guide: a backward-only route from a boundary to an earlier one. What it carries, the main route lacks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuideSettings {
    /// The boundary where it begins: the one nearer to the loss.
    pub from: usize,
    /// The boundary where it ends, with the same nodes: no morph lies between.
    pub to: usize,
    /// The share of the energy that it carries, in [0, 1]; at 0 it is closed.
    pub share: Value,
    /// The turn of the amplitude on the way, in radians.
    #[serde(default = "Value::zero")]
    pub phase: Value,
    /// Learns the share by hypergradient; `share` is then where it begins.
    #[serde(default)]
    pub learn: Option<Learning>,
}

/// How a share is learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learning {
    /// Learning rate of the share's logit.
    pub rate: f64,
    /// Steps between two looks; each look takes one more pass, and one more below the guide's beginning.
    #[serde(default = "GateSettings::every")]
    pub every: u64,
}

/// A number, or one that moves evenly from one to another over some steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Always the same.
    Constant(f64),
    /// `from` until the first of `steps`, `to` from the last on.
    Ramp(Ramp),
}

/// The path of a scheduled number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The number before.
    pub from: f64,
    /// The number behind.
    pub to: f64,
    /// First and last step of the way.
    pub steps: [u64; 2],
}

impl Value {
    fn zero() -> Self {
        Self::Constant(0.0)
    }

    /// The number at a step.
    pub fn at(&self, step: u64) -> f64 {
        match *self {
            Self::Constant(value) => value,
            Self::Ramp(Ramp { from, to, steps: [first, last] }) => {
                let way = (step.saturating_sub(first)) as f64 / last.saturating_sub(first).max(1) as f64;
                from + (to - from) * way.min(1.0)
            }
        }
    }

    /// Whether it is that number at every step.
    pub fn is_always(&self, value: f64) -> bool {
        self.ends().iter().all(|&end| end == value)
    }

    /// The ends of what it can be.
    fn ends(&self) -> [f64; 2] {
        match *self {
            Self::Constant(value) => [value, value],
            Self::Ramp(Ramp { from, to, .. }) => [from, to],
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    /// By hand, so that a mistake in a ramp is named: an untagged enum only says that nothing matched.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or {\"from\": ..., \"to\": ..., \"steps\": [first, last]}")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Constant(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Constant(value as f64))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Constant(value as f64))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
                Ramp::deserialize(MapAccessDeserializer::new(map)).map(Value::Ramp).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What the media are put between.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Features a node.
    pub width: usize,
    /// Names of the layers, from the embedding to the head.
    pub layers: Vec<String>,
    /// For each layer whether it adds to its input (a round with a residual connection).
    pub residual: Vec<bool>,
    /// For each boundary a number that changes wherever a morph changes the nodes.
    pub shape: Vec<usize>,
}

impl Layout {
    /// How many boundaries there are: one less than layers.
    pub fn boundaries(&self) -> usize {
        self.shape.len()
    }
}

/// A setting that means nothing.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("optics setting `{setting}`: found {found}, it must be {expected}")]
pub struct OpticsError {
    /// Its path.
    pub setting: String,
    /// What was found.
    pub found: String,
    /// What would do.
    pub expected: String,
}

fn refuse<T>(setting: String, found: impl ToString, expected: impl ToString) -> Result<T, OpticsError> {
    Err(OpticsError { setting, found: found.to_string(), expected: expected.to_string() })
}

impl OpticsSettings {
    /// Whether amplitudes are turned anywhere, so that a pass carries two gradients.
    pub fn has_phases(&self) -> bool {
        let turns = |layer: &OpticLayer| !(layer.phase.is_always(0.0) && layer.message_phase.is_always(0.0));
        self.layers.iter().any(turns) || self.guides.iter().any(|guide| !guide.phase.is_always(0.0))
    }

    /// Whether the share of a guide is learned, so that derivatives are carried beside the gradient.
    pub fn learns_shares(&self) -> bool {
        self.guides.iter().any(|guide| guide.learn.is_some())
    }

    /// Whether every setting means something for such a network.
    ///
    /// # Errors
    /// [`OpticsError`]: the first that does not.
    pub fn check(&self, layout: &Layout) -> Result<(), OpticsError> {
        let last = layout.boundaries().saturating_sub(1);
        let boundaries = |path: &str, window: Option<[usize; 2]>| match window {
            Some([from, to]) if from > to || to > last => refuse(
                format!("{path}.boundaries"),
                format!("[{from}, {to}]"),
                format!("two boundaries from 0 to {last}, the smaller first"),
            ),
            _ => Ok(()),
        };
        for (i, layer) in self.layers.iter().enumerate() {
            let path = format!("layers[{i}]");
            boundaries(&path, layer.boundaries)?;
            layer.check(&path)?;
        }
        let top = layout.layers.len().saturating_sub(1);
        for (i, IndexWindow { layers: [from, to], index }) in self.indices.iter().enumerate() {
            let path = format!("indices[{i}]");
            if from > to || *to > top {
                let expected = format!("two layers from 0 to {top}, the smaller first");
                return refuse(format!("{path}.layers"), format!("[{from}, {to}]"), expected);
            }
            value(&path, "index", index, 1.0, 1e6, "a number of at least 1")?;
        }
        self.refraction.check(layout)?;
        if let Some(band) = &self.energy_band {
            boundaries("energy_band", band.boundaries)?;
            ordered("energy_band", band.low, band.high)?;
            if self.has_phases() {
                let expected = "left out where there are phases: it would scale the parts of an amplitude apart";
                return refuse("energy_band".into(), "both", expected);
            }
        }
        if let Some(gates) = &self.gates {
            gates.check(last)?;
            if self.energy_band.is_some() {
                let expected =
                    "left out where there is an energy_band, which undoes what gates do: use gates.penalty instead";
                return refuse("gates".into(), "both", expected);
            }
            if !self.guides.is_empty() {
                let expected = "left out where there are guides, which lead light past the gates";
                return refuse("gates".into(), "both", expected);
            }
        }
        for (i, guide) in self.guides.iter().enumerate() {
            let path = format!("guides[{i}]");
            if guide.from > last || guide.to >= guide.from {
                let expected = format!("a boundary of at most {last} and an earlier one");
                return refuse(path, format!("from {} to {}", guide.from, guide.to), expected);
            }
            if layout.shape[guide.from] != layout.shape[guide.to] {
                let expected = "two boundaries with the same nodes: a morph lies between these";
                return refuse(path, format!("from {} to {}", guide.from, guide.to), expected);
            }
            value(&path, "share", &guide.share, 0.0, 1.0, "a number from 0 to 1")?;
            value(&path, "phase", &guide.phase, f64::MIN, f64::MAX, "a finite number")?;
            if let Some(learning) = guide.learn {
                self.check_learning(&path, guide, learning)?;
            }
        }
        Ok(())
    }

    fn check_learning(&self, path: &str, guide: &GuideSettings, learning: Learning) -> Result<(), OpticsError> {
        let Learning { rate, every } = learning;
        match guide.share {
            Value::Constant(share) if share > 0.0 && share < 1.0 => (),
            Value::Constant(share) => {
                return refuse(format!("{path}.share"), share, "above 0 and below 1 where it is learned");
            }
            Value::Ramp(_) => return refuse(format!("{path}.share"), "a ramp", "one number where it is learned"),
        }
        if !(rate >= 0.0 && rate.is_finite()) {
            return refuse(format!("{path}.learn.rate"), rate, "a number of at least 0");
        }
        if every == 0 {
            return refuse(format!("{path}.learn.every"), 0, "at least 1");
        }
        if !self.indices.is_empty() || self.energy_band.is_some() {
            let expected =
                "left out where there are indices or an energy_band: a share is learned through linear media";
            return refuse(format!("{path}.learn"), "both", expected);
        }
        Ok(())
    }
}

impl OpticLayer {
    fn check(&self, path: &str) -> Result<(), OpticsError> {
        if let Some([from, to]) = self.steps
            && (from > to || from == 0)
        {
            return refuse(
                format!("{path}.steps"),
                format!("[{from}, {to}]"),
                "two steps from 1 on, the smaller first",
            );
        }
        value(path, "transparency", &self.transparency, 0.0, 1.0, "a number from 0 to 1")?;
        value(path, "absorption", &self.absorption, 0.0, f64::MAX, "a number of at least 0")?;
        value(path, "thickness", &self.thickness, 0.0, f64::MAX, "a number of at least 0")?;
        value(path, "diffusion", &self.diffusion, 0.0, 0.5, "a number from 0 to 1/2")?;
        value(path, "phase", &self.phase, f64::MIN, f64::MAX, "a finite number")?;
        value(path, "message_phase", &self.message_phase, f64::MIN, f64::MAX, "a finite number")?;
        if let Some([low, high]) = self.fourier {
            if !(0.0 <= low && low < high && high <= 1.0) {
                return refuse(
                    format!("{path}.fourier"),
                    format!("[{low}, {high}]"),
                    "two shares from 0 to 1, the smaller first",
                );
            }
            let only = [&self.diffusion, &self.phase, &self.message_phase].iter().all(|value| value.is_always(0.0));
            if !only {
                let expected = "beside transparency and absorption alone: put the rest into a layer of its own";
                return refuse(format!("{path}.fourier"), "it beside diffusion or phase", expected);
            }
        }
        Ok(())
    }
}

impl RefractionSettings {
    fn check(&self, layout: &Layout) -> Result<(), OpticsError> {
        if !(1..=MOST_AXES).contains(&self.rank) {
            return refuse("refraction.rank".into(), self.rank, format!("from 1 to {MOST_AXES}"));
        }
        if !(0.0..1.0).contains(&self.memory) {
            return refuse("refraction.memory".into(), self.memory, "at least 0 and below 1");
        }
        for (i, normal) in self.normals.iter().enumerate() {
            let path = format!("refraction.normals[{i}]");
            if normal.boundary >= layout.boundaries() {
                return refuse(path + ".boundary", normal.boundary, format!("below {}", layout.boundaries()));
            }
            if normal.direction.len() != layout.width {
                let found = format!("{} numbers", normal.direction.len());
                return refuse(path + ".direction", found, format!("{}, the width of the network", layout.width));
            }
            let length: f64 = normal.direction.iter().map(|x| x * x).sum();
            if !(length.is_finite() && length > 0.0) {
                return refuse(path + ".direction", "no direction", "finite and not all zero");
            }
        }
        Ok(())
    }
}

impl GateSettings {
    fn check(&self, last: usize) -> Result<(), OpticsError> {
        let [from, to] = self.boundaries;
        if from > to || to >= last {
            let expected = format!(
                "two boundaries from 0 to {}, the smaller first: the loss reads the merge gates beside the last",
                last.saturating_sub(1)
            );
            return refuse("gates.boundaries".into(), format!("[{from}, {to}]"), expected);
        }
        if !(self.initial > 0.0 && self.initial < 1.0) {
            return refuse("gates.initial".into(), self.initial, "above 0 and below 1");
        }
        if !(self.rate >= 0.0 && self.rate.is_finite()) {
            return refuse("gates.rate".into(), self.rate, "a number of at least 0");
        }
        if self.every == 0 {
            return refuse("gates.every".into(), 0, "at least 1");
        }
        if let Some(penalty) = &self.penalty {
            ordered("gates.penalty", penalty.low, penalty.high)?;
            if !(penalty.weight >= 0.0 && penalty.weight.is_finite()) {
                return refuse("gates.penalty.weight".into(), penalty.weight, "a number of at least 0");
            }
        }
        Ok(())
    }
}

fn ordered(path: &str, low: f64, high: f64) -> Result<(), OpticsError> {
    if low > 0.0 && low < high && high.is_finite() {
        return Ok(());
    }
    refuse(path.into(), format!("low {low}, high {high}"), "two positive energies, low below high")
}

fn value(path: &str, name: &str, value: &Value, low: f64, high: f64, expected: &str) -> Result<(), OpticsError> {
    let setting = format!("{path}.{name}");
    for end in value.ends() {
        if !(low..=high).contains(&end) {
            return refuse(setting, end, expected);
        }
    }
    match value {
        Value::Ramp(Ramp { steps: [first, last], .. }) if first >= last => {
            refuse(setting + ".steps", format!("[{first}, {last}]"), "two steps, the smaller first")
        }
        _ => Ok(()),
    }
}
