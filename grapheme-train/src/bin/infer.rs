//! Uses a trained model.

use anyhow::{Context, Result};
use clap::Parser;
use grapheme_core::{GraphBatch, GraphTransformNet};
use grapheme_train::lanes::Lanes;
use grapheme_train::reader::{Outcome, Reading};
use grapheme_train::run::RunFolder;
use grapheme_train::transducer::Transducer;
use std::fmt::Write as _;
use std::io::{self, BufRead, ErrorKind, Write};
use std::path::PathBuf;

/// Rewrites texts with a trained model: arguments, or lines of standard input. Prints input, tab, result.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Cli {
    /// Folder of the run
    #[arg(long)]
    run: PathBuf,
    /// Texts; without any, the lines of standard input
    texts: Vec<String>,
    /// Show what became of each node: merged, split, relabelled, and how sure the model is
    #[arg(long)]
    explain: bool,
    /// Threads; 0 for one a core. Does not change the result
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

const EXAMPLES: &str = "\
Examples:
  infer --run runs/hun alma
  infer --run runs/hun --explain alma
  infer --run runs/hun < words.txt > lexicon.tsv";

/// Lines that are read before any is answered; bounds memory, and gives every thread work.
const CHUNK: usize = 1024;

fn main() -> Result<()> {
    let cli = Cli::parse();
    let model = Transducer::load(&RunFolder::open(&cli.run)?)?;
    let session = Session { model, lanes: Lanes::new(cli.threads)?, explain: cli.explain };
    let outcome = if cli.texts.is_empty() { session.stream() } else { session.answer(&cli.texts) };
    match outcome {
        // Whoever reads our output has heard enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => Ok(()),
        outcome => outcome,
    }
}

struct Session {
    model: Transducer,
    lanes: Lanes<GraphTransformNet<f32>>,
    explain: bool,
}

impl Session {
    fn stream(&self) -> Result<()> {
        let mut input = io::stdin().lock();
        let (mut bytes, mut number, mut lines) = (Vec::new(), 0usize, Vec::with_capacity(CHUNK));
        loop {
            bytes.clear();
            let more = input.read_until(b'\n', &mut bytes)? > 0;
            if more {
                number += 1;
                let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                let text = std::str::from_utf8(text).with_context(|| {
                    format!("standard input, line {number}: not UTF-8; convert it, for example with iconv")
                })?;
                lines.push(text.to_owned());
            }
            if lines.len() == CHUNK || !more {
                self.answer(&lines)?;
                lines.clear();
            }
            if !more {
                return Ok(());
            }
        }
    }

    fn answer(&self, texts: &[String]) -> Result<()> {
        let mut output = io::stdout().lock();
        for (text, reading) in texts.iter().zip(self.model.read(texts, &self.lanes)?) {
            writeln!(output, "{text}\t{}", reading.text)?;
            if self.explain {
                output.write_all(explain(text, &reading)?.as_bytes())?;
            }
        }
        Ok(output.flush()?)
    }
}

/// One line a node: its grapheme, and what became of its candidates.
fn explain(text: &str, reading: &Reading) -> Result<String> {
    let batch = GraphBatch::from_texts(&[text])?;
    let first = reading.steps.first().map_or(0, |step| step.node);
    let mut out = String::new();
    for steps in reading.steps.chunk_by(|a, b| a.node == b.node) {
        let node = (steps[0].node - first) as usize;
        let name = match char::from_u32(batch.codes()[node]) {
            Some(c) if batch.position(node) > 0 => format!("{} U+{:04X}", batch.grapheme(node).unwrap_or(""), c as u32),
            Some(c) => c.to_string(),
            None if node == 0 => "begin".to_owned(),
            None => "end".to_owned(),
        };
        let written = steps.iter().filter(|step| step.outcome != Outcome::Merges).count();
        let parts: Vec<String> = steps
            .iter()
            .map(|step| {
                let sure = 100.0 * step.probability;
                match &step.outcome {
                    Outcome::Merges => format!("merges ({sure:.0}%)"),
                    Outcome::Writes { label, keeps: true } => format!("keeps {label:?} ({sure:.0}%)"),
                    Outcome::Writes { label, keeps: false } => format!("becomes {label:?} ({sure:.0}%)"),
                }
            })
            .collect();
        let verdict = match written {
            0 => "merged",
            1 => "",
            _ => "split",
        };
        let _ = writeln!(out, "  {name:<12} {verdict:<7} {}", parts.join(", "));
    }
    Ok(out)
}
