//! How far predicted texts are from the texts they should be.

use crate::data::{TargetUnits, segment};
use serde::Serialize;
use std::collections::BTreeMap;

/// Counts over pairs of texts, from which [`Score::figures`] makes percentages.
///
/// Only whole numbers are kept, so scores of parts can be merged in any order.
///
/// ```
/// use grapheme_train::{data::TargetUnits, metrics::Score};
///
/// let mut score = Score::new(TargetUnits::Tokens);
/// score.add("k a t", "k a t");
/// score.add("k a", "k o t");
/// let figures = score.figures();
/// assert_eq!((figures.exact, figures.wer), (50.0, 50.0));
/// assert!((figures.ter - 100.0 * 2.0 / 6.0).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    units: TargetUnits,
    n: usize,
    exact: usize,
    edits: usize,
    reference_units: usize,
    shared_tokens: usize,
    predicted_tokens: usize,
    reference_tokens: usize,
}

/// What a score says, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The number of pairs.
    pub n: usize,
    /// Texts exactly right, byte for byte; 0 of no pairs.
    pub exact: f64,
    /// Word error rate: texts not exactly right, `100 - exact`.
    pub wer: f64,
    /// Token error rate: edits (insertions, deletions, substitutions of one unit) over reference units; can exceed 100.
    pub ter: f64,
    /// `2 P R / (P + R)` of tokens: P is the share of predicted tokens that the reference has too, R the share of
    /// reference tokens that were predicted, both over all pairs together (micro-averaged). The tokens of a text are a
    /// multiset: their order does not count, their number does. With morphemes as tokens it is the F1 by which the
    /// SIGMORPHON 2022 shared task on morpheme segmentation ranks systems.
    pub f1: f64,
}

impl Score {
    /// A score of no pairs. `units` are what the token error rate counts.
    pub fn new(units: TargetUnits) -> Self {
        Self {
            units,
            n: 0,
            exact: 0,
            edits: 0,
            reference_units: 0,
            shared_tokens: 0,
            predicted_tokens: 0,
            reference_tokens: 0,
        }
    }

    /// Adds one pair. `O(n m)` time and `O(m)` memory for `n` predicted and `m` reference units.
    ///
    /// F1 always counts tokens between spaces, whatever the units: for phones the two are the same, and a
    /// segmentation written grapheme by grapheme is still judged by its morphemes. Tokens match as a multiset, as in the
    /// SIGMORPHON 2022 segmentation task; a text without spaces is one token.
    pub fn add(&mut self, predicted: &str, reference: &str) {
        self.n += 1;
        self.exact += usize::from(predicted == reference);
        let units = segment(reference, self.units);
        self.edits += edit_distance(&segment(predicted, self.units), &units);
        self.reference_units += units.len();

        let mut unmatched = BTreeMap::new();
        for token in tokens(reference) {
            *unmatched.entry(token).or_insert(0usize) += 1;
            self.reference_tokens += 1;
        }
        for token in tokens(predicted) {
            self.predicted_tokens += 1;
            if let Some(left) = unmatched.get_mut(token).filter(|left| **left > 0) {
                *left -= 1;
                self.shared_tokens += 1;
            }
        }
    }

    /// Adds the pairs of another score of the same units.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.exact += other.exact;
        self.edits += other.edits;
        self.reference_units += other.reference_units;
        self.shared_tokens += other.shared_tokens;
        self.predicted_tokens += other.predicted_tokens;
        self.reference_tokens += other.reference_tokens;
    }

    /// The percentages. Where there is nothing to count, TER is taken over one unit and F1 is 100 if nothing was
    /// predicted, so every figure is finite.
    pub fn figures(&self) -> Figures {
        let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let exact = percent(self.exact, self.n);
        // 2 P R / (P + R) with P = shared / predicted and R = shared / reference.
        let tokens = self.predicted_tokens + self.reference_tokens;
        let f1 = if tokens == 0 { 100.0 } else { percent(2 * self.shared_tokens, tokens) };
        Figures { n: self.n, exact, wer: 100.0 - exact, ter: percent(self.edits, self.reference_units), f1 }
    }
}

/// Expected calibration error, in percent: how far the share of right answers is from the confidence in them, over ten
/// equal intervals of confidence, weighted by the number of answers in each (Guo et al., On calibration of modern neural
/// networks, ICML 2017). 0 of no answers.
///
/// ```
/// // Two answers at 0.9, one of them right; one at 0.2, wrong.
/// let error = grapheme_train::metrics::calibration_error([(0.9, true), (0.9, false), (0.2, false)]);
/// assert!((error - 100.0 * (2.0 * 0.4 + 0.2) / 3.0).abs() < 1e-12);
/// ```
pub fn calibration_error(answers: impl IntoIterator<Item = (f64, bool)>) -> f64 {
    const INTERVALS: usize = 10;
    let mut surplus = [0.0; INTERVALS];
    let mut n = 0usize;
    for (confidence, right) in answers {
        let interval = ((confidence * INTERVALS as f64) as usize).min(INTERVALS - 1);
        surplus[interval] += confidence - f64::from(u8::from(right));
        n += 1;
    }
    100.0 * surplus.iter().map(|surplus| surplus.abs()).sum::<f64>() / n.max(1) as f64
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|token| !token.is_empty())
}

/// The least number of insertions, deletions and substitutions that turn `a` into `b` (Levenshtein 1966; two rows,
/// Wagner and Fischer 1974). `O(n m)` time, `O(m)` memory.
///
/// ```
/// assert_eq!(grapheme_train::metrics::edit_distance(b"kitten", b"sitting"), 3);
/// ```
pub fn edit_distance<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut row = vec![0; b.len() + 1];
    for (i, x) in a.iter().enumerate() {
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let kept_or_replaced = above[j] + usize::from(x != y);
            row[j + 1] = kept_or_replaced.min(above[j + 1] + 1).min(row[j] + 1);
        }
        std::mem::swap(&mut above, &mut row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn figures(units: TargetUnits, pairs: &[(&str, &str)]) -> Figures {
        let mut score = Score::new(units);
        for (predicted, reference) in pairs {
            score.add(predicted, reference);
        }
        score.figures()
    }

    /// The definition itself: exponential, and obviously right.
    fn edit_distance_by_definition(a: &[u8], b: &[u8]) -> usize {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len(),
            ([x, a @ ..], [y, b @ ..]) if x == y => edit_distance_by_definition(a, b),
            ([_, shorter_a @ ..], [_, shorter_b @ ..]) => {
                1 + edit_distance_by_definition(shorter_a, b)
                    .min(edit_distance_by_definition(a, shorter_b))
                    .min(edit_distance_by_definition(shorter_a, shorter_b))
            }
        }
    }

    #[test]
    fn figures_by_hand() {
        use TargetUnits::{Graphemes, Tokens};
        // units, pairs (predicted, reference), exact, TER, F1
        type Case<'a> = (TargetUnits, &'a [(&'a str, &'a str)], f64, f64, f64);
        let cases: [Case; 9] = [
            (Tokens, &[("a b c", "a b c")], 100.0, 0.0, 100.0),
            (Tokens, &[("a b", "a b c d")], 0.0, 50.0, 100.0 * 2.0 * 2.0 / 6.0),
            (Tokens, &[("a a b", "a b b")], 0.0, 100.0 / 3.0, 100.0 * 2.0 * 2.0 / 6.0),
            (Tokens, &[("x y z w", "a"), ("b", "b")], 50.0, 200.0, 100.0 * 2.0 / 7.0),
            // One missing boundary is one edit of five units, but loses both morphemes.
            (Graphemes, &[("abcd", "ab @@cd")], 0.0, 100.0 / 5.0, 0.0),
            (Graphemes, &[("ab @@dc", "ab @@cd")], 0.0, 200.0 / 5.0, 50.0),
            (Graphemes, &[("", "")], 100.0, 0.0, 100.0),
            (Graphemes, &[("ab", "")], 0.0, 200.0, 0.0),
            (Graphemes, &[("", "ab")], 0.0, 100.0, 0.0),
        ];
        for (units, pairs, exact, ter, f1) in cases {
            let found = figures(units, pairs);
            assert_eq!((found.n, found.exact, found.wer), (pairs.len(), exact, 100.0 - exact), "{pairs:?}");
            assert!((found.ter - ter).abs() < 1e-9, "{pairs:?}: TER {} instead of {ter}", found.ter);
            assert!((found.f1 - f1).abs() < 1e-9, "{pairs:?}: F1 {} instead of {f1}", found.f1);
        }
        let none = Score::new(Tokens).figures();
        assert_eq!((none.n, none.exact, none.wer, none.ter, none.f1), (0, 0.0, 100.0, 0.0, 100.0));
    }

    #[test]
    fn merged_parts_equal_the_whole() {
        let pairs = [("a b", "a c"), ("", "x"), ("q q", "q"), ("z", "z")];
        let (mut left, mut right) = (Score::new(TargetUnits::Tokens), Score::new(TargetUnits::Tokens));
        for (i, (predicted, reference)) in pairs.iter().enumerate() {
            if i % 2 == 0 { &mut left } else { &mut right }.add(predicted, reference);
        }
        left.merge(&right);
        assert_eq!(left.figures(), figures(TargetUnits::Tokens, &pairs));
    }

    proptest! {
        #[test]
        fn two_rows_equal_the_definition(a in "[abc]{0,6}", b in "[abc]{0,6}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            prop_assert_eq!(edit_distance(a, b), edit_distance_by_definition(a, b));
        }
    }
}
