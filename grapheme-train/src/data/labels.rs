//! The units that a target text is cut into.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_segmentation::UnicodeSegmentation;

/// What one output label writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetUnits {
    /// One token; tokens are parted by single spaces.
    Tokens,
    /// One extended grapheme cluster (UAX #29), spaces included; the boundary mark ` @@` of a morpheme is one unit too.
    Graphemes,
    /// One code point of a token's canonical decomposition; the first of a token brings the space before it along. So
    /// `t͡ʃʰ` and `tʰ` share parts, as a Hangul syllable and its neighbours do on the input side. For targets in normal
    /// form C, which the text that is written is composed to.
    Parts,
}

impl TargetUnits {
    /// The units that errors are counted in: tokens, where labels are parts of tokens.
    pub fn counted(self) -> Self {
        match self {
            Self::Parts => Self::Tokens,
            whole => whole,
        }
    }

    /// What a node writes that copies its grapheme; nothing if that cannot be a unit: a space parts tokens.
    pub fn copied(self, grapheme: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Graphemes => Some(Cow::Borrowed(grapheme)),
            _ if grapheme.contains(' ') => None,
            Self::Tokens => Some(Cow::Borrowed(grapheme)),
            Self::Parts => Some(Cow::Owned(format!(" {grapheme}"))),
        }
    }

    /// Whether [`join`] gives `target` back after [`segment`].
    pub fn can_write(self, target: &str) -> bool {
        self != Self::Parts || is_nfc(target)
    }

    /// The 1-based position of the first empty token, which no label can stand for.
    pub(super) fn empty_token(self, target: &str) -> Option<usize> {
        segment(target, self.counted()).iter().position(|unit| unit.is_empty()).map(|index| index + 1)
    }
}

impl fmt::Display for TargetUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokens => "tokens",
            Self::Graphemes => "graphemes",
            Self::Parts => "parts",
        })
    }
}

/// The mark of a morpheme that does not start its word, as in the SIGMORPHON 2022 segmentation task: one decision, so
/// one unit among graphemes, or a node would need three candidates to write it.
const BOUNDARY: &str = " @@";

/// Cuts a target into units; [`join`] gives it back byte for byte (of parts: if it is in normal form C). The empty text
/// has no unit.
///
/// With [`TargetUnits::Tokens`] a double, leading or trailing space yields an empty token, which
/// [`Loader::check_units`](super::Loader::check_units) refuses.
pub fn segment(target: &str, units: TargetUnits) -> Vec<Cow<'_, str>> {
    let mut all = Vec::new();
    each_unit(target, units, |unit| all.push(unit));
    all
}

/// The same one after the other, without a list of them.
pub(crate) fn each_unit<'t>(target: &'t str, units: TargetUnits, mut take: impl FnMut(Cow<'t, str>)) {
    match units {
        _ if target.is_empty() => {}
        TargetUnits::Tokens => target.split(' ').for_each(|token| take(Cow::Borrowed(token))),
        TargetUnits::Graphemes => graphemes(target).for_each(|unit| take(Cow::Borrowed(unit))),
        TargetUnits::Parts => target.split(' ').flat_map(parts).for_each(take),
    }
}

fn parts(token: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut codes = token.nfd();
    let first = codes.next().map_or_else(|| " ".to_owned(), |first| format!(" {first}"));
    std::iter::once(first).chain(codes.map(String::from)).map(Cow::Owned)
}

/// Grapheme clusters, the three of a [`BOUNDARY`] as one. A boundary within a cluster is none: a mark on its last `@`
/// makes that another cluster.
fn graphemes(target: &str) -> impl Iterator<Item = &str> {
    let mut clusters = target.grapheme_indices(true);
    std::iter::from_fn(move || {
        let (start, cluster) = clusters.next()?;
        if cluster == " " {
            let mut ahead = clusters.clone();
            if ["@", "@"].into_iter().all(|mark| ahead.next().is_some_and(|(_, next)| next == mark)) {
                clusters = ahead;
                return Some(&target[start..start + BOUNDARY.len()]);
            }
        }
        Some(cluster)
    })
}

/// The text that units write.
pub fn join(written: &[impl AsRef<str>], units: TargetUnits) -> String {
    let separator = if units == TargetUnits::Tokens { " " } else { "" };
    let mut text = String::new();
    for (i, unit) in written.iter().enumerate() {
        text.push_str(if i > 0 { separator } else { "" });
        text.push_str(unit.as_ref());
    }
    match units {
        TargetUnits::Parts => text.strip_prefix(' ').unwrap_or(&text).nfc().collect(),
        _ => text,
    }
}

/// The most distinct tokens that are still proposed as labels.
const MAX_TOKENS: usize = 512;

/// How often each token must occur on average before tokens are proposed.
const MIN_REPEATS: usize = 4;

/// Proposes units for training targets, with a sentence that says what was proposed and why.
///
/// Tokens if more than half of the targets contain a space and the distinct tokens are a small closed set (at most 512,
/// each occurring four times on average); graphemes otherwise. A proposal is made once, at training, and stored.
/// `O(text log tokens)`.
pub fn propose<'a>(targets: impl IntoIterator<Item = &'a str>) -> (TargetUnits, String) {
    let (mut n, mut spaced, mut occurrences) = (0usize, 0usize, 0usize);
    let mut distinct = BTreeSet::new();
    for target in targets {
        n += 1;
        spaced += usize::from(target.contains(' '));
        for token in target.split(' ').filter(|token| !token.is_empty()) {
            occurrences += 1;
            distinct.insert(token);
        }
    }
    let distinct = distinct.len();
    let (units, because) = if 2 * spaced <= n {
        (TargetUnits::Graphemes, format!("only {spaced} of {n} targets contain a space"))
    } else if distinct > MAX_TOKENS {
        (TargetUnits::Graphemes, format!("{distinct} distinct tokens are too many for labels (at most {MAX_TOKENS})"))
    } else if occurrences < MIN_REPEATS * distinct {
        let seen = format!("{distinct} distinct tokens in {occurrences} occurrences repeat too rarely");
        (TargetUnits::Graphemes, seen)
    } else {
        let seen = format!("{spaced} of {n} targets contain a space");
        (TargetUnits::Tokens, format!("{seen} and {occurrences} tokens are only {distinct} distinct ones"))
    };
    (units, format!("Target units: {units}, because {because}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_cut_as_the_standard_says() {
        let family = "👨‍👩‍👧";
        let text = format!("a@@ नि{family} ");
        assert_eq!(segment(&text, TargetUnits::Graphemes), ["a", "@", "@", " ", "नि", family, " "]);
        let boundaries = [
            ("ad @@resa", vec!["a", "d", " @@", "r", "e", "s", "a"]),
            (" @@ @@@", vec![" @@", " @@", "@"]),
            ("  @@", vec![" ", " @@"]),
            (" @ @", vec![" ", "@", " ", "@"]),
            (" @@\u{301}", vec![" ", "@", "@\u{301}"]),
            (" \u{301}@@", vec![" \u{301}", "@", "@"]),
        ];
        for (text, units) in boundaries {
            assert_eq!(segment(text, TargetUnits::Graphemes), units, "{text:?}");
        }
        assert_eq!(segment("k a̠ː  n", TargetUnits::Tokens), ["k", "a̠ː", "", "n"]);
        assert_eq!(segment("t\u{361}ʃ ã", TargetUnits::Parts), [" t", "\u{361}", "ʃ", " a", "\u{303}"]);
        assert!(!TargetUnits::Parts.can_write("a\u{303}"));
        for units in [TargetUnits::Tokens, TargetUnits::Graphemes, TargetUnits::Parts] {
            assert!(segment("", units).is_empty());
        }
    }

    #[test]
    fn empty_tokens_are_found_by_position() {
        let cases = [("", None), ("a b", None), (" a", Some(1)), ("a  b", Some(2)), ("a b ", Some(3)), (" ", Some(1))];
        for (target, expected) in cases {
            assert_eq!(TargetUnits::Tokens.empty_token(target), expected, "{target:?}");
            assert_eq!(TargetUnits::Graphemes.empty_token(target), None, "{target:?}");
        }
    }

    #[test]
    fn proposals_follow_spaces_size_and_repetition() {
        let many: Vec<String> = (0..600).map(|i| format!("t{i} t{i} t{i} t{i}")).collect();
        let cases: [(Vec<&str>, TargetUnits, &str); 5] = [
            (vec!["k a", "a k", "k k a a"], TargetUnits::Tokens, "8 tokens are only 2 distinct"),
            (vec!["ab", "cd", "e f"], TargetUnits::Graphemes, "only 1 of 3"),
            (vec!["a b", "c d"], TargetUnits::Graphemes, "4 distinct tokens in 4 occurrences"),
            (many.iter().map(String::as_str).collect(), TargetUnits::Graphemes, "600 distinct tokens"),
            (vec![], TargetUnits::Graphemes, "only 0 of 0"),
        ];
        for (targets, units, because) in cases {
            let (found, sentence) = propose(targets);
            assert_eq!(found, units, "{sentence}");
            assert!(sentence.contains(because), "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn join_undoes_segment(target in "(\\PC| |@| @@|[\u{300}-\u{36F}]|\u{200D}|[\u{1F1E6}-\u{1F1FF}]){0,30}") {
            for units in [TargetUnits::Tokens, TargetUnits::Graphemes] {
                prop_assert_eq!(&join(&segment(&target, units), units), &target);
            }
            let composed: String = target.nfc().collect();
            prop_assert!(TargetUnits::Parts.can_write(&composed));
            prop_assert_eq!(&join(&segment(&composed, TargetUnits::Parts), TargetUnits::Parts), &composed);
        }
    }
}
