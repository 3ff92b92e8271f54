//! Damaged files, thousands of them: each is refused with a message that names the place, or read; none makes a reader panic,
//! hang, or take memory beyond twice the file and 64 MiB.
//!
//! `MUTANTS=10000 cargo test -p grapheme-train mutants` draws that many of each kind of file; those that only a command
//! reads are damaged beside it, in the library.

mod damage;
#[path = "../command_line/sandbox.rs"]
#[allow(dead_code)]
mod sandbox;

use damage::mutant;
use grapheme_core::GraphTransformNet;
use grapheme_core::graph::GraphemeGraph;
use grapheme_optics::{Layout, OpticsSettings};
use grapheme_train::data::Loader;
use grapheme_train::distance::{Direction, read};
use grapheme_train::ensemble::Ensemble;
use grapheme_train::event::{Event, Listener};
use grapheme_train::job;
use grapheme_train::lanes::Lanes;
use grapheme_train::run::read_metrics;
use peak_alloc::PeakAlloc;
use sandbox::{Said, Sandbox};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Memory is measured of the whole process: one test at a time.
static MEASURED: Mutex<()> = Mutex::new(());

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
    let _alone = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    let each = damage::count(150);
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
        judge_all(kind, each);
        files.iter().for_each(|(name, whole)| write(&format!("run/{name}"), whole));
    }
}

/// The files that `train_spectral` writes and reads, each read by a process of its own that may take no more memory than this.
#[cfg(target_os = "linux")]
#[test]
fn every_mutant_of_a_predictor_of_fields_is_refused_or_read() {
    let _alone = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    let sandbox = Sandbox::new();
    let small = "--size 8 --frames 40 --test 1 --rollout 0 --passes 1 --checkpoint-seconds 0 --json --out run";
    sandbox.run("train_spectral", &small.split(' ').collect::<Vec<_>>()).succeeds();
    let files = sandbox.files("run");
    let read = |args: &'static [&'static str]| -> Reader<'_> {
        let (sandbox, files) = (&sandbox, &files);
        Box::new(move |bytes| {
            let kilobytes = (2 * bytes.len() + SPARE) / 1024;
            let command = sandbox.command("train_spectral", args);
            let mut limited = std::process::Command::new("sh");
            limited.args(["-c", &format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"")]);
            limited.arg(command.get_program()).args(command.get_args()).current_dir(sandbox.path(""));
            let said = Said::of("train_spectral", limited.output().unwrap());
            // One that is read may have written others.
            files.iter().for_each(|(name, whole)| sandbox.write(&format!("run/{name}"), whole));
            if said.code == Some(0) { Ok(()) } else { Err(said.stderr) }
        })
    };
    let trains = |bytes: &[u8]| {
        std::fs::remove_file(sandbox.path("run/model.safetensors")).unwrap();
        sandbox.write("run/state.safetensors", bytes);
        read(&["--resume", "--out", "run", "--json"])(bytes)
    };
    let uses = |bytes: &[u8]| {
        sandbox.write("run/model.safetensors", bytes);
        read(&["--run", "run", "--rollout", "0", "--json"])(bytes)
    };
    for (name, few, reader) in
        [("model.safetensors", 40, Box::new(uses) as Reader<'_>), ("state.safetensors", 15, Box::new(trains))]
    {
        let whole = files[name].clone();
        let header = 8..8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        judge_all(&Kind { name, whole, text: header, reader, places: &[name, "metrics.jsonl"] }, damage::count(few));
    }
}

/// Judges the whole file, which must be read, and so many mutants of it.
fn judge_all(kind: &Kind<'_>, each: u64) {
    let Kind { name, whole, text, .. } = kind;
    assert!(!judge(kind, name, whole), "{name}: the whole file is refused");
    let refused = (0..each).filter(|&seed| judge(kind, &format!("{name}, mutant {seed}"), &mutant(whole, text, seed)));
    let refused = refused.count() as u64;
    println!("{name}: {refused} of {each} mutants refused");
    // Damage that nobody notices is none: most of it must be seen.
    assert!(refused > each / 4, "{name}: only {refused} of {each} mutants are refused");
}
