//! What a model gets wrong, and of what kind it is.
//!
//! [`ErrorReport::of`] counts, [`ErrorReport::markdown`] writes: one document of tables that any viewer shows and any
//! editor reads. Counting is apart from writing, so a program can take the numbers.

mod alignment;
mod diacritics;
mod markdown;

pub use alignment::{Edit, align};
pub use diacritics::without_diacritics;

use crate::data::{TargetUnits, segment};
use crate::metrics::{Figures, Score, edit_distance};
use diacritics::decomposed;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use unicode_segmentation::UnicodeSegmentation;

/// One example and what a model made of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged<'a> {
    /// What was read.
    pub input: &'a str,
    /// What was written.
    pub predicted: &'a str,
    /// What should have been.
    pub target: &'a str,
    /// The curriculum's level.
    pub level: Option<u32>,
    /// The probability of what was written, where the model has one.
    pub probability: Option<f64>,
}

/// All that a report says.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorReport {
    /// Error rates over all examples.
    pub figures: Figures,
    /// Which unit stood where another should, the most frequent first.
    pub confusions: Vec<Confusion>,
    /// Wrong texts, the most edits first; at most [`WORST`](Self::WORST).
    pub worst: Vec<Wrong>,
    /// Wrong texts, the most probable first; at most [`WORST`](Self::WORST), none without probabilities.
    pub most_confident: Vec<Wrong>,
    /// By the number of graphemes of the input, only where there are examples.
    pub by_length: Vec<(RangeInclusive<usize>, Figures)>,
    /// By level, where examples carry one.
    pub by_level: Vec<(u32, Figures)>,
    /// How much of the error is in marks.
    pub diacritics: DiacriticErrors,
}

/// A unit in the place of another. No unit on one side means that something was inserted or left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// What was written.
    pub predicted: Option<String>,
    /// What should have been.
    pub target: Option<String>,
    /// How often.
    pub count: usize,
    /// Inputs where it happened, the first ones; at most [`EXAMPLES`](ErrorReport::EXAMPLES), each once.
    pub examples: Vec<String>,
}

/// A text that is not right.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong {
    /// What was read.
    pub input: String,
    /// What was written.
    pub predicted: String,
    /// What should have been.
    pub target: String,
    /// The least number of edits of units between the two.
    pub edits: usize,
    /// The probability of what was written.
    pub probability: Option<f64>,
}

/// Texts that are wrong in diacritics alone: equal once [`without_diacritics`] took these off both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiacriticErrors {
    /// Texts that are wrong.
    pub wrong: usize,
    /// Of these, the ones that are right without diacritics.
    pub in_diacritics: usize,
    /// Of those, the ones where one edit of one code point, after canonical decomposition, makes them right.
    pub in_one: usize,
}

/// Where the rows of the table by length begin; a row ends where the next begins.
const LENGTHS: [usize; 12] = [0, 1, 3, 5, 7, 9, 11, 13, 16, 21, 31, 51];

impl ErrorReport {
    /// The most inputs that a confusion names.
    pub const EXAMPLES: usize = 3;
    /// The most wrong texts in a list.
    pub const WORST: usize = 20;

    /// Counts over all examples, their texts cut into `units`. `O(n m)` an example, for n predicted and m target units.
    pub fn of(judged: &[Judged<'_>], units: TargetUnits) -> Self {
        let mut all = Score::new(units);
        let mut by_length: BTreeMap<usize, Score> = BTreeMap::new();
        let mut by_level: BTreeMap<u32, Score> = BTreeMap::new();
        type Units = (Option<String>, Option<String>);
        let mut confused: BTreeMap<Units, (usize, Vec<String>)> = BTreeMap::new();
        let mut diacritics = DiacriticErrors::default();
        let mut wrong = Vec::new();
        for &Judged { input, predicted, target, level, probability } in judged {
            all.add(predicted, target);
            let length = input.graphemes(true).count();
            let row = LENGTHS.partition_point(|&first| first <= length) - 1;
            by_length.entry(row).or_insert_with(|| Score::new(units)).add(predicted, target);
            if let Some(level) = level {
                by_level.entry(level).or_insert_with(|| Score::new(units)).add(predicted, target);
            }
            if predicted == target {
                continue;
            }
            let cut = |text| segment(text, units).iter().map(|unit| unit.to_string()).collect::<Vec<_>>();
            let (found, expected) = (cut(predicted), cut(target));
            let edits = align(&found, &expected);
            for edit in &edits {
                let pair = (edit.found.map(|i| found[i].clone()), edit.expected.map(|j| expected[j].clone()));
                let (count, examples) = confused.entry(pair).or_default();
                *count += 1;
                if examples.len() < Self::EXAMPLES && examples.last().is_none_or(|last| last != input) {
                    examples.push(input.to_owned());
                }
            }
            diacritics.add(predicted, target);
            let [input, predicted, target] = [input, predicted, target].map(str::to_owned);
            wrong.push(Wrong { input, predicted, target, edits: edits.len(), probability });
        }
        let mut confusions: Vec<Confusion> = confused
            .into_iter()
            .map(|((predicted, target), (count, examples))| Confusion { predicted, target, count, examples })
            .collect();
        // Sorting keeps the order of equals: that of the texts.
        confusions.sort_by_key(|confusion| Reverse(confusion.count));
        let mut most_confident: Vec<Wrong> = wrong.iter().filter(|w| w.probability.is_some()).cloned().collect();
        most_confident.sort_by(|a, b| b.probability.unwrap_or(0.0).total_cmp(&a.probability.unwrap_or(0.0)));
        most_confident.truncate(Self::WORST);
        wrong.sort_by_key(|text| Reverse(text.edits));
        wrong.truncate(Self::WORST);
        Self {
            figures: all.figures(),
            confusions,
            worst: wrong,
            most_confident,
            by_length: by_length.into_iter().map(|(row, score)| (lengths(row), score.figures())).collect(),
            by_level: by_level.into_iter().map(|(level, score)| (level, score.figures())).collect(),
            diacritics,
        }
    }
}

impl DiacriticErrors {
    fn add(&mut self, predicted: &str, target: &str) {
        self.wrong += 1;
        if without_diacritics(predicted) == without_diacritics(target) {
            self.in_diacritics += 1;
            self.in_one += usize::from(edit_distance(&decomposed(predicted), &decomposed(target)) == 1);
        }
    }
}

/// The lengths of a row.
fn lengths(row: usize) -> RangeInclusive<usize> {
    LENGTHS[row]..=LENGTHS.get(row + 1).map_or(usize::MAX, |next| next - 1)
}

#[cfg(test)]
mod tests;
