//! Damaged files, thousands of them: each is refused with a message that names the place, or read; none makes a reader panic,
//! hang, or take memory beyond twice the file and 64 MiB.
//!
//! The damage is drawn from seeds: bits flipped, pieces cut, doubled, swapped, zeroed; huge numbers, NaN, other types, deep
//! nesting and doubled keys where numbers, values and fields stand. `MUTANTS=10000 cargo test -p grapheme-train --test mutants`
//! draws that many of each kind of file.

#[path = "command_line/sandbox.rs"]
#[allow(dead_code)]
mod sandbox;

use grapheme_core::graph::GraphemeGraph;
use grapheme_core::{GraphTransformNet, Stream};
use grapheme_optics::{Layout, OpticsSettings};
use grapheme_train::data::Loader;
use grapheme_train::distance::{Direction, read};
use grapheme_train::ensemble::Ensemble;
use grapheme_train::event::{Event, Listener};
use grapheme_train::job;
use grapheme_train::lanes::Lanes;
use grapheme_train::run::read_metrics;
use peak_alloc::PeakAlloc;
use rand::{Rng, RngExt};
use sandbox::Sandbox;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What a reader may take besides twice the file, in bytes.
const SPARE: usize = 64 << 20;

/// Listens to a training and keeps nothing.
struct Deaf;

impl Listener for Deaf {
    fn hear(&mut self, _: &Event) {}
}

/// What a reader made of a file: nothing to say, or its message.
type Verdict = Result<(), String>;

/// Reads a file of these bytes.
type Reader<'a> = Box<dyn Fn(&[u8]) -> Verdict + 'a>;

/// One kind of file.
struct Kind<'a> {
    name: &'a str,
    whole: Vec<u8>,
    /// Damages only a JSON header of this many bytes at this offset as text; the rest by its bits alone.
    text: std::ops::Range<usize>,
    reader: Reader<'a>,
    /// A message holds one of these.
    places: &'a [&'a str],
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
fn piece(length: usize, longest: usize, stream: &mut Stream) -> std::ops::Range<usize> {
    let start = stream.random_range(0..=length);
    start..(start + stream.random_range(0..=longest)).min(length)
}

/// The number, text or value that begins at or after `from`.
fn value(bytes: &[u8], from: usize) -> std::ops::Range<usize> {
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

/// The mutant of this seed. Some have several faults.
fn mutant(kind: &Kind<'_>, seed: u64) -> Vec<u8> {
    let mut stream = Stream::new(seed).fork(kind.whole.len() as u64);
    let mut bytes = kind.whole.clone();
    for _ in 0..[1, 1, 1, 2, 5][stream.random_range(0..5)] {
        if bytes.is_empty() {
            break;
        }
        let text = kind.text.start.min(bytes.len())..kind.text.end.min(bytes.len());
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

/// Fails unless the file is read or refused as it should; tells which it was.
fn judge(kind: &Kind<'_>, what: &str, bytes: &[u8]) -> bool {
    let mut slow = Duration::MAX;
    // A busy machine may hold one reading up; a reader that hangs is slow each time.
    for _ in 0..3 {
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();
        let clock = Instant::now();
        let verdict = catch_unwind(AssertUnwindSafe(|| (kind.reader)(bytes)));
        slow = slow.min(clock.elapsed());
        let taken = ALLOCATED.peak_usage().saturating_sub(before);
        let verdict = verdict.unwrap_or_else(|_| panic!("{what}: the reader panics"));
        assert!(taken <= 2 * bytes.len() + SPARE, "{what}: {taken} bytes are taken for a file of {}", bytes.len());
        if let Err(message) = &verdict {
            let named = kind.places.iter().any(|place| message.contains(place));
            assert!(named && message.len() < 2000, "{what}: the message names no place: {message}");
        }
        if slow < Duration::from_secs(1) {
            return verdict.is_err();
        }
    }
    panic!("{what}: the reader takes {slow:?}");
}

#[test]
fn every_mutant_is_refused_or_read() {
    let each: u64 = std::env::var("MUTANTS").map_or(150, |number| number.parse().expect("MUTANTS is a number"));
    let sandbox = Sandbox::trained().copy();
    // A run finds its examples from the folder that it began in.
    std::env::set_current_dir(sandbox.path("")).unwrap();
    let files = sandbox.files("run");
    let lanes = Lanes::<GraphTransformNet<f32>>::new(1).unwrap();
    let run = sandbox.path("run");
    let write = |name: &str, bytes: &[u8]| std::fs::write(sandbox.path(name), bytes).unwrap();
    let told = |error: &dyn std::fmt::Display| Err(format!("{error:#}"));
    let all = |bytes: &[u8]| 0..bytes.len();

    let load = || match Ensemble::load(&run) {
        Ok(model) => model.read(&["abc"], 3, &lanes).map(|_| ()).or_else(|error| told(&error)),
        Err(error) => told(&error),
    };
    let reopen = || job::reopen(&run).map(|_| ()).or_else(|error| told(&error));
    let resume = || {
        let jobs = job::reopen(&run).map_err(|error| format!("{error:#}"))?;
        let mut trainer = job::trainer(&jobs[0].prepared, 1).map_err(|error| format!("{error:#}"))?;
        trainer.run(&jobs[0].run, true, &mut Deaf).map(|_| ()).or_else(|error| told(&error))
    };
    let optics = br#"{"layers": [{"transparency": {"from": 0.5, "to": 1, "steps": [1, 10]}, "diffusion": 0.1}, {"fourier": [0.5, 1],
        "transparency": 0.5, "boundaries": [0, 1]}], "indices": [{"layers": [1, 1], "index": 1.2}], "guides": [{"from": 1, "to": 0,
        "share": 0.3, "phase": 1}]}"#;
    let layout = Layout {
        width: 8,
        layers: (0..5).map(|i| format!("layer {i}")).collect(),
        residual: vec![false; 5],
        shape: vec![0; 4],
    };
    let graph = GraphemeGraph::from_text("né, a graph of some graphemes").unwrap().to_json().into_bytes();
    let pairs = "{\"a\": {\"labels\": [\"C\", 6], \"edges\": [[0, 1]]}, \"b\": {\"labels\": [\"C\"], \"edges\": []}, \"ged\": 2}\n";
    let header = |bytes: &[u8]| 8..8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tsv: String = (0..40).map(|i| format!("wörd{i}\tw ɜː d {i}\n")).collect();

    let kinds = [
        Kind {
            name: "run/model.safetensors",
            whole: files["model.safetensors"].clone(),
            text: header(&files["model.safetensors"]),
            reader: Box::new(|bytes| {
                write("run/model.safetensors", bytes);
                load()
            }),
            places: &["model.safetensors"],
        },
        Kind {
            name: "run/state.safetensors",
            whole: files["state.safetensors"].clone(),
            text: header(&files["state.safetensors"]),
            reader: Box::new(|bytes| {
                // One that is read after all trains, and changes the others.
                files.iter().for_each(|(name, whole)| write(&format!("run/{name}"), whole));
                write("run/state.safetensors", bytes);
                resume()
            }),
            places: &["state.safetensors", "metrics.jsonl"],
        },
        Kind {
            name: "run/config.json",
            whole: files["config.json"].clone(),
            text: all(&files["config.json"]),
            reader: Box::new(|bytes| {
                write("run/config.json", bytes);
                reopen().and(load())
            }),
            places: &["config.json", "model.safetensors", "data/"],
        },
        Kind {
            name: "run/metrics.jsonl",
            whole: files["metrics.jsonl"].clone(),
            text: all(&files["metrics.jsonl"]),
            reader: Box::new(|bytes| {
                write("run/metrics.jsonl", bytes);
                read_metrics(&sandbox.path("run/metrics.jsonl")).map(|_| ()).or_else(|error| told(&error))
            }),
            places: &["metrics.jsonl, line "],
        },
        Kind {
            name: "words.tsv",
            text: all(tsv.as_bytes()),
            whole: tsv.into_bytes(),
            reader: Box::new(|bytes| {
                write("words.tsv", bytes);
                Loader::default().file(sandbox.path("words.tsv")).map(|_| ()).or_else(|error| told(&error))
            }),
            places: &["words.tsv"],
        },
        Kind {
            name: "examples.jsonl",
            whole: sandbox.files("data")["dev.jsonl"].clone(),
            text: all(&sandbox.files("data")["dev.jsonl"]),
            reader: Box::new(|bytes| {
                write("examples.jsonl", bytes);
                Loader::default().file(sandbox.path("examples.jsonl")).map(|_| ()).or_else(|error| told(&error))
            }),
            places: &["examples.jsonl"],
        },
        Kind {
            name: "graph.json",
            text: all(&graph),
            whole: graph,
            reader: Box::new(|bytes| {
                let text = String::from_utf8_lossy(bytes);
                let exchange = GraphemeGraph::from_json(&text).map(|_| ()).or_else(|error| told(&error));
                read::graph(&text, Direction::Directed).map(|_| ()).or_else(|error| told(&error)).and(exchange)
            }),
            places: &["line ", "nodes[", "edges[", "version", "labels[", "edge "],
        },
        Kind {
            name: "pairs.jsonl",
            whole: pairs.repeat(5).into_bytes(),
            text: 0..5 * pairs.len(),
            reader: Box::new(|bytes| {
                let text = String::from_utf8_lossy(bytes);
                read::pairs(&text, Direction::Undirected).map(|_| ()).or_else(|error| told(&error))
            }),
            places: &["line "],
        },
        Kind {
            name: "optics.json",
            whole: optics.to_vec(),
            text: all(optics),
            reader: Box::new(|bytes| {
                let settings: OpticsSettings = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
                settings.check(&layout).or_else(|error| told(&error))
            }),
            places: &["line ", "optics setting `"],
        },
    ];
    for kind in &kinds {
        assert!(!judge(kind, kind.name, &kind.whole), "{}: the whole file is refused", kind.name);
        let refused =
            (0..each).filter(|&seed| judge(kind, &format!("{}, mutant {seed}", kind.name), &mutant(kind, seed)));
        let refused = refused.count() as u64;
        println!("{}: {refused} of {each} mutants refused", kind.name);
        // Damage that nobody notices is none: most of it must be seen.
        assert!(refused > each / 4, "{}: only {refused} of {each} mutants are refused", kind.name);
        files.iter().for_each(|(name, whole)| write(&format!("run/{name}"), whole));
    }
}
