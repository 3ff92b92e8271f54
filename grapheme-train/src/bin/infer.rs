//! Uses a trained model.

use anyhow::{Result, bail};
use clap::Parser;
use grapheme_core::GraphTransformNet;
use grapheme_train::data::Lines;
use grapheme_train::explain::{Explanation, svg};
use grapheme_train::file::{self, FileError};
use grapheme_train::lanes::Lanes;
use grapheme_train::output::{conclude, print};
use grapheme_train::run::RunFolder;
use grapheme_train::transducer::Transducer;
use std::fmt::Write as _;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    /// Draw what became of each text into an SVG file
    #[arg(long, value_name = "FILE", requires = "texts")]
    explain_svg: Option<PathBuf>,
    /// Threads; 0 for one a core. Does not change the result
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
}

const EXAMPLES: &str = "\
Examples:
  infer --run runs/hun alma
  infer --run runs/hun --explain alma
  infer --run runs/hun --explain-svg alma.svg alma körte
  infer --run runs/hun < words.txt > lexicon.tsv";

/// Lines that are read before any is answered; bounds memory, and gives every thread work.
const CHUNK: usize = 1024;
/// Bytes that may be read in a line, and in the lines before any is answered.
const MOST_BYTES: usize = 1 << 24;

fn main() -> ExitCode {
    conclude(infer(&Cli::parse()))
}

fn infer(cli: &Cli) -> Result<()> {
    let model = Transducer::load(&RunFolder::open(&cli.run)?)?;
    let session = Session { model, lanes: Lanes::new(usize::from(cli.threads))?, explain: cli.explain };
    if cli.texts.is_empty() {
        return session.stream();
    }
    for (i, text) in cli.texts.iter().enumerate() {
        if let Some(fault) = session.model.spec.text_fault(text) {
            bail!("text {}: {fault}", i + 1);
        }
    }
    session.answer(&cli.texts)?;
    match &cli.explain_svg {
        Some(path) => session.draw(&cli.texts, path),
        None => Ok(()),
    }
}

struct Session {
    model: Transducer,
    lanes: Lanes<GraphTransformNet<f32>>,
    explain: bool,
}

impl Session {
    /// Answers lines as they come: in chunks where there are many, at once where whoever writes them waits for us.
    fn stream(&self) -> Result<()> {
        let mut lines = Lines::new(BufReader::with_capacity(1 << 16, io::stdin()), MOST_BYTES);
        let (mut texts, mut bytes) = (Vec::with_capacity(CHUNK), 0);
        loop {
            let next = lines.next_line().map_err(FileError::of("read", "standard input"))?;
            let more = next.is_some();
            let mut bad = None;
            if let Some((number, line)) = next {
                let line = line.and_then(|text| self.model.spec.text_fault(text).map_or(Ok(text), Err));
                match line {
                    Ok(text) => {
                        bytes += text.len();
                        texts.push(text.to_owned());
                    }
                    Err(fault) => bad = Some(format!("standard input, line {number}: {fault}")),
                }
            }
            let waited_for = lines.reader().buffer().is_empty();
            if waited_for || texts.len() == CHUNK || bytes > MOST_BYTES || bad.is_some() || !more {
                self.answer(&texts)?;
                texts.clear();
                bytes = 0;
            }
            match bad {
                Some(bad) => bail!(bad),
                None if more => {}
                None => return Ok(()),
            }
        }
    }

    fn answer(&self, texts: &[String]) -> Result<()> {
        let mut out = String::new();
        for (text, reading) in texts.iter().zip(self.model.read(texts, &self.lanes)?) {
            writeln!(out, "{text}\t{}", reading.text)?;
            if self.explain {
                out.push_str(&Explanation::of(text, &reading)?.columns());
            }
        }
        Ok(print(&out)?)
    }

    fn draw(&self, texts: &[String], path: &Path) -> Result<()> {
        let readings = self.model.read(texts, &self.lanes)?;
        let pairs = texts.iter().zip(&readings);
        let explanations =
            pairs.map(|(text, reading)| Explanation::of(text, reading)).collect::<Result<Vec<_>, _>>()?;
        Ok(file::write(path, svg(&explanations).as_bytes())?)
    }
}
