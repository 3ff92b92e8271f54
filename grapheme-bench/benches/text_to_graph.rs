//! Graphemes a second from text to batch, on one core, by script.
//!
//! `long` is one text of about a million graphemes, `words` the same words as a text each. `graph` is the form for
//! people, for comparison. The line before each group says what a batch holds in memory.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use grapheme_core::Stream;
use grapheme_core::graph::{GraphBatch, GraphemeGraph};
use std::hint::black_box;

const GRAPHEMES: usize = 1_000_000;

/// Words in several scripts with marks composed and not, Hangul, Devanagari, Thai, Han, right to left, and emoji.
const MIXED: [&str; 32] = [
    "graph",
    "merge",
    "node",
    "begin",
    "the",
    "of",
    "Größe",
    "été",
    "naïve",
    "cœur",
    "e\u{301}te\u{301}",
    "мир",
    "слово",
    "ёлка",
    "λόγος",
    "φῶς",
    "한국어",
    "글자",
    "नमस्ते",
    "हिन्दी",
    "ภาษา",
    "น้ำ",
    "文字",
    "図形",
    "ひらがな",
    "ガラス",
    "שלום",
    "سلام",
    "Việt",
    "ngữ",
    "🙂",
    "👩\u{200D}👧",
];

/// Faces, skin tones, families, flags and a keycap.
const EMOJI: [&str; 12] = [
    "🙂",
    "🚀",
    "🐸",
    "🍋",
    "👍🏽",
    "🧑🏿",
    "👩\u{200D}👧",
    "👨\u{200D}👩\u{200D}👦",
    "🏳\u{FE0F}\u{200D}🌈",
    "🇭🇺",
    "🇰🇷",
    "7\u{FE0F}\u{20E3}",
];

/// Joins `word(random number)` and spaces until the text has enough graphemes.
fn words(word: impl Fn(u64) -> String) -> Vec<String> {
    let stream = Stream::new(2);
    let mut words = Vec::new();
    let mut graphemes = 0;
    for index in 0.. {
        let word = word(stream.at(index));
        graphemes += GraphBatch::from_texts(&[&word]).map_or(1, |batch| batch.graphemes(0).len()) + 1;
        words.push(word);
        if graphemes >= GRAPHEMES {
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

fn text_to_graph(criterion: &mut Criterion) {
    let inputs = [
        ("ascii", words(ascii)),
        ("mixed", words(|random| pick(&MIXED, random))),
        ("hangul", words(hangul)),
        ("emoji", words(|random| pick(&EMOJI, random))),
    ];
    for (name, words) in inputs {
        let long = [words.join(" ")];
        let batch = GraphBatch::from_texts(&long).expect("a text this short is a batch");
        let separate = GraphBatch::from_texts(&words).expect("texts this short are a batch");
        println!(
            "{name}: {} graphemes in {} nodes of {:.1} bytes; as words {:.1} bytes a node",
            batch.graphemes(0).len(),
            batch.nodes(),
            batch.bytes_per_node(),
            separate.bytes_per_node()
        );
        let mut group = criterion.benchmark_group(name);
        group.sample_size(20);
        group.throughput(Throughput::Elements(batch.graphemes(0).len() as u64));
        group.bench_function("long", |bencher| bencher.iter(|| GraphBatch::from_texts(black_box(&long))));
        group.bench_function("graph", |bencher| bencher.iter(|| GraphemeGraph::from_text(black_box(&long[0]))));
        group
            .throughput(Throughput::Elements((0..separate.graphs()).map(|g| separate.graphemes(g).len() as u64).sum()));
        group.bench_function("words", |bencher| bencher.iter(|| GraphBatch::from_texts(black_box(&words))));
        group.finish();
    }
}

criterion_group!(benches, text_to_graph);
criterion_main!(benches);
