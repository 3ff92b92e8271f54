//! Rules that continue a sequence: fitted to training or to the history alone, all but one in closed form.
//!
//! A [`Recurrence`] is the problem: which rule, over how many frames. `fit` looks at a history and answers with a [`Rule`],
//! or with nothing where the history is too short. A rule is applied to that history, or to one that it has itself
//! continued: that is a rollout. All of them see frames of the past alone.

mod gain;
mod kernel;
mod lags;
mod learned;
mod memory;
mod neighbourhood;
mod reader;

pub use gain::GainRule;
pub use kernel::{Kernel, KernelRule};
pub use lags::{LagRule, LagStatistics};
pub use learned::{Learned, LearnedSettings};
pub use memory::{Memory, MemoryRule};
pub use neighbourhood::Neighbourhood;
pub use reader::{Reader, ReaderRule};

use super::History;
use ndarray::{Array1, ArrayViewMut1};
use serde::{Deserialize, Serialize};

/// A way to continue a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Recurrence {
    /// The polynomial of this degree in time through the last frames of each pixel: 0 copies, 1 is linear extrapolation.
    Extrapolation {
        /// Its degree.
        degree: usize,
    },
    /// The mean frame of training.
    Mean,
    /// One least squares over the last values of a pixel, shared by all pixels, from training.
    Lags {
        /// How many values.
        lags: usize,
    },
    /// The same from the history, with what training found as a prior worth this many frames.
    ContextLags {
        /// How many values.
        lags: usize,
        /// Weight of the prior in frames.
        prior: f64,
    },
    /// An oscillation that is seen through a gain of each frame, from the history.
    Gain,
    /// One least squares over the 3 x 3 neighbourhood in the last frames, from training.
    Neighbourhood,
    /// Attention over the history whose weights solve a ridge regression; linear, or with a Gaussian kernel.
    Context(Kernel),
    /// Principal components of training with their delays, linear, from training.
    Components {
        /// How many frames a state is made of.
        delays: usize,
    },
    /// The same with a Gaussian kernel over remembered states on top.
    Memory {
        /// How many frames a state is made of.
        delays: usize,
    },
    /// Attention over the history with weights that a network reads off it, from training.
    Reader,
}

/// A recurrence fitted to a history.
#[derive(Clone, Debug)]
pub enum Rule<'a> {
    /// Weights of the last values of each pixel.
    Lags(LagRule),
    /// A fixed frame.
    Frame(&'a Array1<f64>),
    /// One frequency and a gain.
    Gain(GainRule),
    /// Weights of neighbours.
    Neighbourhood(&'a Neighbourhood),
    /// Attention over the history.
    Kernel(KernelRule),
    /// Components of training.
    Memory(MemoryRule<'a>),
    /// Learned attention over the history.
    Reader(ReaderRule<'a>),
}

impl Recurrence {
    /// The name as tables have it.
    pub fn name(&self) -> String {
        match *self {
            Self::Extrapolation { degree: 0 } => "copy".into(),
            Self::Extrapolation { degree: 1 } => "linear".into(),
            Self::Extrapolation { degree } => format!("polynomial of degree {degree}"),
            Self::Mean => "mean frame".into(),
            Self::Lags { lags } => format!("pixel LS({lags})"),
            Self::ContextLags { lags, .. } => format!("pixel LS({lags}) of the sequence"),
            Self::Gain => "oscillation with a gain".into(),
            Self::Neighbourhood => "3x3 LS".into(),
            Self::Context(Kernel { delays, width: None, ridge }) => {
                format!("delay DMD({delays}) of the sequence, ridge {ridge:.0e}")
            }
            Self::Context(Kernel { delays, .. }) => format!("kernel DMD({delays}) of the sequence"),
            Self::Components { delays } => format!("delay DMD({delays})"),
            Self::Memory { delays } => format!("delay DMD({delays}) with memory"),
            Self::Reader => "learned attention over the history".into(),
        }
    }

    /// The rule for this history, or nothing where it is too short or training has found none.
    pub fn fit<'a>(&self, learned: &'a Learned, history: &History) -> Option<Rule<'a>> {
        match *self {
            Self::Extrapolation { degree } => LagRule::extrapolation(degree, history).map(Rule::Lags),
            Self::Mean => Some(Rule::Frame(learned.mean()?)),
            Self::Lags { lags } => learned.lags(lags, history).map(Rule::Lags),
            Self::ContextLags { lags, prior } => {
                LagRule::from_history(lags, prior, learned.statistics(), history).map(Rule::Lags)
            }
            Self::Gain => GainRule::new(history).map(Rule::Gain),
            Self::Neighbourhood => {
                learned.neighbourhood().filter(|rule| rule.frames() <= history.len()).map(Rule::Neighbourhood)
            }
            Self::Context(kernel) => KernelRule::new(kernel, history).map(Rule::Kernel),
            Self::Components { delays } => learned.memory(delays)?.rule(history, false).map(Rule::Memory),
            Self::Memory { delays } => learned.memory(delays)?.rule(history, true).map(Rule::Memory),
            Self::Reader => learned.reader()?.rule(history).map(Rule::Reader),
        }
    }
}

impl Rule<'_> {
    /// Writes the frame that follows the newest of `history`, which is the history of the fit or a continuation of it.
    pub fn next(&self, history: &History, out: ArrayViewMut1<'_, f64>) {
        match self {
            Self::Lags(rule) => rule.next(history, out),
            Self::Frame(frame) => frame.assign_to(out),
            Self::Gain(rule) => rule.next(history, out),
            Self::Neighbourhood(rule) => rule.next(history, out),
            Self::Kernel(rule) => rule.next(history, out),
            Self::Memory(rule) => rule.next(history, out),
            Self::Reader(rule) => rule.next(history, out),
        }
    }
}
