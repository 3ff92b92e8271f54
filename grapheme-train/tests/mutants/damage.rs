//! Damage to files, drawn from seeds: bits flipped, pieces cut, doubled, swapped, zeroed; huge numbers, NaN, other types, deep nesting
//! and doubled keys where numbers, values and fields stand.

use grapheme_core::Stream;
use rand::{Rng, RngExt};
use std::ops::Range;

/// How many mutants of each kind of file a test draws: those that `MUTANTS` asks for, or `few`.
pub fn count(few: u64) -> u64 {
    std::env::var("MUTANTS").map_or(few, |number| number.parse().expect("MUTANTS is a number"))
}

/// The mutant of this seed of the file `whole`, of which `text` may be damaged as text. Some have several faults.
pub fn mutant(whole: &[u8], text: &Range<usize>, seed: u64) -> Vec<u8> {
    let mut stream = Stream::new(seed).fork(whole.len() as u64);
    let mut bytes = whole.to_vec();
    for _ in 0..[1, 1, 1, 2, 5][stream.random_range(0..5)] {
        if bytes.is_empty() {
            break;
        }
        let text = text.start.min(bytes.len())..text.end.min(bytes.len());
        if stream.random_range(0..3) > 0 && !text.is_empty() {
            let mut middle = bytes[text.clone()].to_vec();
            damage_text(&mut middle, &mut stream);
            let grown = middle.len() as u64;
            bytes.splice(text.clone(), middle);
            // A header says how long it is: with the new length the reader comes to what it holds, else it stops before.
            if text.start == 8 && stream.next_u64().is_multiple_of(2) {
                bytes[..8].copy_from_slice(&grown.to_le_bytes());
            }
        } else {
            damage_bytes(&mut bytes, &mut stream);
        }
    }
    bytes
}

/// Numbers, texts and values that no file of ours holds.
const STRANGE: [&str; 22] = [
    "1e999",
    "-1e999",
    "1e308",
    "1e-320",
    "-0",
    "-1",
    "0",
    "18446744073709551616",
    "9223372036854775807",
    "4294967296",
    "1000000000",
    "NaN",
    "Infinity",
    "null",
    "true",
    "\"\"",
    "\"\\ud800\"",
    "[]",
    "{}",
    "[[]]",
    "\u{feff}",
    "\u{0}",
];

/// The places in `bytes` where one of `these` stands.
fn places(bytes: &[u8], these: &[u8]) -> Vec<usize> {
    (0..bytes.len()).filter(|&i| these.contains(&bytes[i])).collect()
}

/// A place of one of `these`, or any place.
fn place(bytes: &[u8], these: &[u8], stream: &mut Stream) -> usize {
    let found = places(bytes, these);
    match found.is_empty() {
        true => stream.random_range(0..bytes.len().max(1)).min(bytes.len()),
        false => found[stream.random_range(0..found.len())],
    }
}

/// A piece of up to `longest` bytes.
fn piece(length: usize, longest: usize, stream: &mut Stream) -> Range<usize> {
    let start = stream.random_range(0..=length);
    start..(start + stream.random_range(0..=longest)).min(length)
}

/// The number, text or value that begins at or after `from`.
fn value(bytes: &[u8], from: usize) -> Range<usize> {
    let rest = &bytes[from..];
    let start = from + rest.iter().position(|b| !b": ,\t\n".contains(b)).unwrap_or(rest.len());
    let end = bytes[start..].iter().position(|b| b",]}\t\n".contains(b)).map_or(bytes.len(), |n| start + n);
    start..end
}

fn damage_text(bytes: &mut Vec<u8>, stream: &mut Stream) {
    match stream.random_range(0..6) {
        // Another value in place of one.
        0 | 1 => {
            let at = place(bytes, b":[,\t", stream);
            let range = value(bytes, (at + 1).min(bytes.len()));
            bytes.splice(range, STRANGE[stream.random_range(0..STRANGE.len())].bytes());
        }
        // One more digit, or thirty.
        2 => {
            let at = place(bytes, b"0123456789", stream);
            let digits = [1, 1, 30][stream.random_range(0..3)];
            bytes.splice(at..at, vec![b'9'; digits]);
        }
        // Deep nesting, closed or not.
        3 => {
            let at = place(bytes, b":[,", stream);
            let range = value(bytes, (at + 1).min(bytes.len()));
            let depth = [10, 200, 100_000][stream.random_range(0..3)];
            let (open, close) = [("[", "]"), ("{\"a\":", "}")][stream.random_range(0..2)];
            let closed = stream.random_range(0..2) == 0;
            let nested = format!("{}0{}", open.repeat(depth), if closed { close.repeat(depth) } else { String::new() });
            bytes.splice(range, nested.into_bytes());
        }
        // A field, item or line twice.
        4 => {
            let from = place(bytes, b"{[,\n", stream);
            let to = (from + 1..bytes.len()).find(|&i| b",}]\n".contains(&bytes[i])).unwrap_or(bytes.len());
            let double: Vec<u8> = bytes[from..to].to_vec();
            let joined = [&b","[..], double.strip_prefix(b"{").unwrap_or(&double)].concat();
            bytes.splice(to..to, joined);
        }
        // A field, item or line less.
        _ => {
            let from = place(bytes, b",\n{[", stream);
            let to = (from + 1..bytes.len()).find(|&i| b",}]\n".contains(&bytes[i])).unwrap_or(bytes.len());
            bytes.drain(from.min(to)..to);
        }
    }
}

fn damage_bytes(bytes: &mut Vec<u8>, stream: &mut Stream) {
    let n = bytes.len();
    match stream.random_range(0..6) {
        0 | 1 => (0..stream.random_range(1..=8)).for_each(|_| {
            let i = stream.random_range(0..n);
            bytes[i] ^= 1 << stream.random_range(0..8);
        }),
        2 => bytes.truncate(stream.random_range(0..n)),
        3 => {
            let range = piece(n, n.min(4096), stream);
            let double = bytes[range.clone()].to_vec();
            bytes.splice(range.start..range.start, double);
        }
        4 => {
            let (a, b) = (piece(n, 64, stream), piece(n, 64, stream));
            for (i, j) in a.zip(b) {
                bytes.swap(i, j);
            }
        }
        _ => {
            let range = piece(n, n.min(512), stream);
            let byte = [0, 0xff, b'\n', b'"'][stream.random_range(0..4)];
            bytes[range].fill(byte);
        }
    }
}
