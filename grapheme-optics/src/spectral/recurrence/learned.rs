//! What the recurrences take from training.

use super::super::{FieldError, History, solve::principal_components};
use super::neighbourhood::NeighbourhoodStatistics;
use super::{LagRule, LagStatistics, Memory, Neighbourhood, Reader};
use grapheme_core::Stream;
use grapheme_core::product::product;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

/// What a person chooses about [`Learned`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnedSettings {
    /// Numbers of values of the recurrences over lags.
    pub lags: Vec<usize>,
    /// Frames of the recurrence over neighbours.
    pub neighbourhood: usize,
    /// The largest number of principal components.
    pub components: usize,
    /// Numbers of frames a state is made of.
    pub delays: Vec<usize>,
    /// How many states are remembered.
    pub slots: usize,
    /// How often the network that reads the history goes through the frames; 0 for none.
    pub passes: u32,
}

impl Default for LearnedSettings {
    fn default() -> Self {
        Self { lags: vec![16, 32], neighbourhood: 4, components: 32, delays: vec![1, 4], slots: 500, passes: 10 }
    }
}

/// How many frames the principal components are taken from, at most.
const FRAMES_FOR_COMPONENTS: usize = 512;
/// And the recurrence over neighbours, which has 37 unknowns and as many equations a frame as there are pixels.
const FRAMES_FOR_NEIGHBOURS: usize = 2048;

/// Everything that was fitted to training sequences, all but the reader in closed form.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learned {
    mean: Option<Array1<f64>>,
    statistics: Option<LagStatistics>,
    rules: Vec<(usize, LagRule)>,
    neighbourhood: Option<Neighbourhood>,
    memories: Vec<Memory>,
    reader: Option<Reader>,
}

impl Learned {
    /// Fits all of it to sequences of frames of one shape.
    ///
    /// One pass for the sums over lags, O(L P) a frame, and over neighbours, O((9 D)^2 P) for each of at most 2,048 frames; then the
    /// components of at most 512 frames, evenly chosen, and the least squares over states.
    ///
    /// # Errors
    /// Frames of different shapes or with numbers that are not finite; a sequence of fewer than two frames.
    pub fn fit(sequences: &[Vec<Array2<f64>>], settings: &LearnedSettings, seed: &Stream) -> Result<Self, FieldError> {
        let frames: Vec<&Array2<f64>> = sequences.iter().flatten().collect();
        let Some(first) = frames.first() else { return Err(FieldError::Short { found: 0, least: 2 }) };
        let shape = [first.nrows(), first.ncols()];
        let longest = settings.lags.iter().copied().max().unwrap_or(1);
        let mut each: Vec<LagStatistics> = settings.lags.iter().map(|&lags| LagStatistics::new(lags)).collect();
        let mut neighbourhood = NeighbourhoodStatistics::new(settings.neighbourhood);
        let mut history = History::new(shape, (longest + 1).max(settings.neighbourhood + 1))?;
        let mut mean = Array1::zeros(first.len());
        let (mut seen, every) = (0, frames.len().div_ceil(FRAMES_FOR_NEIGHBOURS));
        for sequence in sequences {
            if sequence.len() < 2 {
                return Err(FieldError::Short { found: sequence.len(), least: 2 });
            }
            history.clear();
            for frame in sequence {
                history.push(frame)?;
                mean += &history.frame(0);
                if seen % every == 0 {
                    neighbourhood.add_newest(&history);
                }
                seen += 1;
                for statistics in &mut each {
                    if history.len() > statistics.lags() {
                        statistics.add_target(&history, 0);
                    }
                }
            }
        }
        mean /= frames.len() as f64;
        let rules =
            each.iter().filter_map(|statistics| Some((statistics.lags(), statistics.solve(statistics.lags())?)));
        let rules = rules.collect();

        let step = frames.len().div_ceil(FRAMES_FOR_COMPONENTS);
        let chosen: Vec<&Array2<f64>> = frames.iter().step_by(step).copied().collect();
        let matrix =
            Array2::from_shape_fn((chosen.len(), first.len()), |(i, p)| chosen[i][(p / shape[1], p % shape[1])]);
        let (centre, components) = principal_components(matrix.view(), settings.components);
        let centred: Vec<Array2<f64>> = sequences
            .iter()
            .map(|sequence| {
                Array2::from_shape_fn((sequence.len(), first.len()), |(i, p)| {
                    sequence[i][(p / shape[1], p % shape[1])] - centre[p]
                })
            })
            .collect();
        let coefficients: Vec<Array2<f64>> =
            centred.iter().map(|frames| product(frames.view(), components.t()).into()).collect();
        let reader = Reader::fit(&centre, &components, &centred, settings.passes, &seed.fork(0));
        drop(centred);
        let memories = settings.delays.iter().filter_map(|&delays| {
            Memory::fit(&centre, &components, &coefficients, delays, settings.slots, &seed.fork(delays as u64))
        });
        Ok(Self {
            mean: Some(mean),
            memories: memories.collect(),
            // As a prior for fits of any number of lags, the sums over the most lags that every sequence has.
            statistics: each
                .into_iter()
                .filter(|statistics| statistics.solve(1).is_some())
                .max_by_key(LagStatistics::lags),
            rules,
            neighbourhood: Some(neighbourhood.solve()),
            reader,
        })
    }

    /// Whether what a file held is of one piece and of frames of so many pixels.
    pub(in super::super) fn fits(&self, pixels: usize) -> bool {
        self.mean.as_ref().is_none_or(|mean| mean.len() == pixels)
            && self.statistics.as_ref().is_none_or(LagStatistics::is_whole)
            && self.rules.iter().all(|(lags, rule)| rule.lags() == *lags)
            && self.neighbourhood.as_ref().is_none_or(Neighbourhood::is_whole)
            && self.memories.iter().all(|memory| memory.is_whole(pixels))
            && self.reader.as_ref().is_none_or(|reader| reader.is_whole(pixels))
    }

    /// The mean frame.
    pub fn mean(&self) -> Option<&Array1<f64>> {
        self.mean.as_ref()
    }

    /// The recurrence over neighbours.
    pub fn neighbourhood(&self) -> Option<&Neighbourhood> {
        self.neighbourhood.as_ref()
    }

    /// The rule over `lags` values; where the history is shorter, the one over the most values that it has.
    pub(super) fn lags(&self, lags: usize, history: &History) -> Option<LagRule> {
        let longest = lags.min(history.len());
        let fitting = self.rules.iter().filter(|(known, _)| *known <= longest);
        fitting.max_by_key(|(known, _)| *known).map(|(_, rule)| rule.clone())
    }

    pub(super) fn statistics(&self) -> Option<&LagStatistics> {
        self.statistics.as_ref()
    }

    pub(super) fn reader(&self) -> Option<&Reader> {
        self.reader.as_ref()
    }

    pub(super) fn memory(&self, delays: usize) -> Option<&Memory> {
        self.memories.iter().find(|memory| memory.delays() == delays)
    }
}
