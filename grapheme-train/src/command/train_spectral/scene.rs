//! What can be predicted, by name.

use anyhow::Result;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use grapheme_core::Stream;
use grapheme_optics::spectral::wave::pulses;
use grapheme_optics::spectral::{Pattern, Variation};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// A source of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Scene {
    /// One of the eleven patterns.
    Pattern(Pattern),
    /// Pulses of the wave equation.
    Pulses,
    /// Pulses that run into a square.
    Obstacle,
}

const SCENES: [Scene; 13] = {
    let mut scenes = [Scene::Pulses; 13];
    let mut i = 0;
    while i < Pattern::ALL.len() {
        scenes[i] = Scene::Pattern(Pattern::ALL[i]);
        i += 1;
    }
    scenes[12] = Scene::Obstacle;
    scenes
};

/// A sequence.
type Frames = Vec<Array2<f64>>;

/// Steps of the solver between two frames.
const EVERY: usize = 2;
/// Frames until the pulses of one scene have left the field.
const SPAN: usize = 64;

impl ValueEnum for Scene {
    fn value_variants<'a>() -> &'a [Self] {
        &SCENES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl From<Scene> for &'static str {
    fn from(scene: Scene) -> Self {
        scene.name()
    }
}

impl TryFrom<String> for Scene {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        SCENES.into_iter().find(|scene| scene.name() == name).ok_or_else(|| format!("there is no pattern `{name}`"))
    }
}

impl Scene {
    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pattern(pattern) => pattern.name(),
            Self::Pulses => "pulses",
            Self::Obstacle => "obstacle",
        }
    }

    /// Frames to learn from, and others to be scored on. Of a pattern, those from number 0 and from number 10,000; of pulses, scenes
    /// that begin at other random places.
    ///
    /// # Errors
    /// A grid that is too small for the scene.
    pub fn sequences(self, n: usize, learn: usize, test: usize, seed: u64) -> Result<[Frames; 2]> {
        match self {
            Self::Pattern(pattern) => {
                let standard = Variation::default();
                Ok([pattern.frames(0, learn, n, &standard)?, pattern.frames(10_000, test, n, &standard)?])
            }
            Self::Pulses | Self::Obstacle => {
                let scenes = self.scenes(n, [learn, test].map(|frames| frames.div_ceil(SPAN)), seed)?;
                let mut both = scenes.map(|scenes| scenes.concat());
                both[0].truncate(learn);
                both[1].truncate(test);
                Ok(both)
            }
        }
    }

    /// So many scenes of pulses to learn from, and others to be scored on: 64 frames each, which begin at random places of their own.
    ///
    /// # Errors
    /// A grid that is too small.
    pub fn scenes(self, n: usize, counts: [usize; 2], seed: u64) -> Result<[Vec<Frames>; 2]> {
        let stream = Stream::new(seed);
        let make = |count: usize, part: u64| -> Result<Vec<Frames>> {
            let scenes = (0..count as u64).map(|scene| {
                let mut field = pulses(n, self == Self::Obstacle, &mut stream.fork(part).fork(scene))?;
                Ok(field.frames(SPAN, EVERY, 1.0))
            });
            scenes.collect()
        };
        Ok([make(counts[0], 1)?, make(counts[1], 2)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_has_a_name_of_its_own_and_a_test_that_is_not_its_training() {
        let names: Vec<String> =
            SCENES.iter().map(|scene| scene.to_possible_value().unwrap().get_name().to_owned()).collect();
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), 13);
        for (scene, name) in SCENES.iter().zip(&names) {
            assert_eq!(Scene::from_str(name, false).unwrap(), *scene);
            let [learn, test] = scene.sequences(12, 70, 20, 1).unwrap();
            assert_eq!((learn.len(), test.len()), (70, 20), "{name}");
            assert!(!test.contains(&learn[0]), "{name}");
        }
        assert!(Scene::Obstacle.sequences(4, 70, 20, 1).is_err());
    }
}
