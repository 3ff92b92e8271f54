//! What kernels work on: texts, examples, graphs and assignments, the same in every run.

use grapheme_core::{GraphBatch, Kept, Scalar, Stream};
use grapheme_train::data::Example;
use grapheme_train::loss::align::Problem;
use grapheme_train::loss::{Band, Banded};
use ndarray::Array2;
use rand::RngExt;

/// Kinds of text.
pub const SCRIPTS: [&str; 4] = ["ascii", "mixed", "hangul", "emoji"];

const MIXED: [&str; 16] = [
    "straße",
    "γράμμα",
    "слово",
    "नमस्ते",
    "ภาษา",
    "مرحبا",
    "שָׁלוֹם",
    "Ångström",
    "việt",
    "cafe\u{301}",
    "日本語",
    "かな",
    "한국어",
    "x²",
    "don't",
    "42",
];

const EMOJI: [&str; 10] =
    ["😀", "❤\u{FE0F}", "🧑\u{200D}🌾", "👩\u{200D}👩\u{200D}👧", "👍🏽", "🙂", "🎉", "🇭🇺", "🇰🇷", "7\u{FE0F}\u{20E3}"];

/// Words of a script of [`SCRIPTS`], about `graphemes` graphemes with a space after each.
///
/// # Panics
/// If there is no such script.
pub fn words(script: &str, graphemes: usize) -> Vec<String> {
    let word: fn(u64) -> String = match script {
        "ascii" => ascii,
        "mixed" => |random| pick(&MIXED, random),
        "hangul" => hangul,
        "emoji" => |random| pick(&EMOJI, random),
        other => panic!("no script {other}"),
    };
    let stream = Stream::new(2);
    let mut words = Vec::new();
    let mut count = 0;
    for index in 0.. {
        let word = word(stream.at(index));
        count += GraphBatch::from_texts(&[&word]).map_or(1, |batch| batch.graphemes(0).len()) + 1;
        words.push(word);
        if count >= graphemes {
            break;
        }
    }
    words
}

/// Two to nine small letters.
fn ascii(random: u64) -> String {
    (0..2 + random % 8).map(|i| char::from(b'a' + (random >> (8 + 5 * i) & 31) as u8 % 26)).collect()
}

/// One to four syllables of any kind.
fn hangul(random: u64) -> String {
    let syllable = |i: u64| char::from_u32(0xAC00 + (random >> (8 + 13 * i) & 0x1FFF) as u32);
    (0..1 + random % 4).filter_map(syllable).collect()
}

fn pick(list: &[&str], random: u64) -> String {
    list[(random % list.len() as u64) as usize].to_owned()
}

/// Letters at random; the target leaves every third one out.
pub fn example(length: usize, stream: &mut Stream) -> Example {
    let input: String = (0..length).map(|_| char::from(stream.random_range(b'a'..=b'z'))).collect();
    let target = input.chars().enumerate().filter(|(i, _)| i % 3 != 2).map(|(_, c)| c).collect();
    Example { id: None, level: None, input, target }
}

/// Examples whose lengths go round through `lengths`.
pub fn examples(count: usize, lengths: std::ops::RangeInclusive<usize>, seed: u64) -> Vec<Example> {
    let mut stream = Stream::new(seed);
    let span = lengths.end() - lengths.start() + 1;
    (0..count).map(|i| example(lengths.start() + i % span, &mut stream)).collect()
}

/// The graphs of a lane of training: sixteen words of 6 to 12 letters, with begin and end.
pub fn lane() -> GraphBatch {
    let texts: Vec<String> = examples(16, 6..=12, 3).into_iter().map(|example| example.input).collect();
    GraphBatch::from_texts(&texts).expect("sixteen words are a batch")
}

/// Independent numbers in (-1, 1), n x d.
pub fn matrix<S: Scalar>(n: usize, d: usize, seed: u64) -> Array2<S> {
    let mut stream = Stream::new(seed);
    Array2::from_shape_simple_fn((n, d), || S::lit(2.0 * stream.random::<f64>() - 1.0))
}

/// Costs below `cost`, deletions between 0.1 and 1.1, and masses of 0.8: candidates that mostly stay or merge, and labels that
/// mostly fit, as in the middle of training.
pub fn problem<S: Scalar>(band: &Band, cost: f64, insertion: f64) -> Problem<S> {
    let uniform = |index: u64| (Stream::new(1).at(index) >> 11) as f64 / (1u64 << 53) as f64;
    let entry = |i: usize, j: usize| S::lit(cost * uniform((i * band.columns() + j) as u64));
    let deletion = (0..band.rows()).map(|i| S::lit(0.1 + uniform(7_000_000_000 + i as u64))).collect();
    let mass = Kept::filled(band.rows(), S::lit(0.8));
    Problem::new(Banded::from_fn(band, entry), deletion, Kept::filled(band.columns(), S::lit(insertion)), mass)
        .expect("the lengths are those of the band")
}
