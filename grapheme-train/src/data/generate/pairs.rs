//! The pairs' family: one grapheme dropped, everything doubled or reversed, on random strings of several scripts.

use super::{Pair, pick};
use grapheme_core::Stream;
use rand::RngExt;

/// One grapheme each, in NFC, and few enough that a model can learn to write them all.
const SCRIPTS: [&[&str]; 6] = [
    &[
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v",
        "w", "x", "y", "z",
    ],
    &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    &[
        "α", "β", "γ", "δ", "ε", "ζ", "η", "θ", "ι", "κ", "λ", "μ", "ν", "ξ", "ο", "π", "ρ", "σ", "τ", "υ", "φ", "χ",
        "ψ", "ω",
    ],
    &[
        "а", "б", "в", "г", "д", "е", "ж", "з", "и", "к", "л", "м", "н", "о", "п", "р", "с", "т", "у", "ф", "х", "ц",
        "ч", "ш", "щ", "ъ", "ы", "ь", "э", "ю", "я",
    ],
    &[
        "가", "각", "나", "난", "다", "달", "라", "람", "마", "말", "바", "밥", "사", "산", "아", "안", "자", "잠",
        "차", "카", "타", "파", "하", "한",
    ],
    // Faces, a skin tone, a variation selector, flags, and people joined by zero-width joiners.
    &["😀", "🐱", "🌍", "🎈", "👍🏽", "👋🏿", "❤️", "🇫🇷", "🇰🇷", "👨‍👩‍👧", "👩‍🚀", "🏳️‍🌈"],
];

/// Devanagari is built: a consonant, and a vowel sign or none.
const CONSONANTS: [&str; 10] = ["क", "ग", "च", "ज", "त", "द", "न", "प", "म", "स"];
const VOWEL_SIGNS: [&str; 6] = ["", "ा", "ि", "ी", "ु", "े"];

/// The most graphemes of a string.
const MAX_LENGTH: usize = 8;

/// A random string and what the task makes of it. Most strings keep to one script, one in eight mixes all.
pub fn draw(stream: &mut Stream, pair: Pair) -> (String, String) {
    let length = stream.random_range(1..=MAX_LENGTH);
    let mixed = stream.random_ratio(1, 8);
    let mut script = stream.random_range(0..=SCRIPTS.len());
    let mut graphemes = Vec::with_capacity(length);
    for _ in 0..length {
        if mixed {
            script = stream.random_range(0..=SCRIPTS.len());
        }
        graphemes.push(match SCRIPTS.get(script) {
            Some(alphabet) => (*pick(stream, alphabet)).to_owned(),
            None => [*pick(stream, &CONSONANTS), *pick(stream, &VOWEL_SIGNS)].concat(),
        });
    }
    let input = graphemes.concat();
    match pair {
        Pair::DropLast => drop(graphemes.pop()),
        Pair::DropFirst => drop(graphemes.remove(0)),
        Pair::Double => graphemes.extend_from_within(..),
        Pair::Reverse => graphemes.reverse(),
    }
    (input, graphemes.concat())
}
