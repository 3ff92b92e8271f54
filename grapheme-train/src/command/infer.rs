//! Uses a trained model.

use crate::command::CommandLine;
use crate::data::{GraphForm, Lines};
use crate::ensemble::{Answer, Ensemble};
use crate::explain::{Explanation, svg};
use crate::file::{self, FileError};
use crate::lanes::Lanes;
use crate::memory;
use crate::output::{cell, print, tell};
use crate::progress::StreamProgress;
use crate::reader::Reading;
use anyhow::{Result, bail, ensure};
use clap::{ArgMatches, Parser};
use grapheme_core::GraphTransformNet;
use std::fmt::Write as _;
use std::io::{self, BufReader, IsTerminal};
use std::path::{Path, PathBuf};

/// Rewrites texts with a trained model: arguments, or lines of standard input.
///
/// Prints input, tab, result; a tab or line end within either as \t, \n, \r. Standard input is answered while it is read,
/// in order, and may be of any length. A line that cannot be done, because it is not UTF-8 or too long for the memory, is
/// named on standard error; its row is a lone tab, so that row n answers line n, and the exit code at the end is not 0.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// Folder of the run
    #[arg(long)]
    run: PathBuf,
    /// Texts; without any, the lines of standard input
    texts: Vec<String>,
    /// Rows a text: the likeliest results, the best first
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    nbest: u16,
    /// Two more columns: how sure the model is of the result, from 0 to 1, and its log probability
    #[arg(long)]
    scores: bool,
    /// Show what became of each node: merged, split, relabelled, and how sure the model is
    #[arg(long)]
    explain: bool,
    /// One more column: the text in the runs of graphemes that became one node, as the first member of the run merges them
    #[arg(long)]
    patterns: bool,
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
  infer --run runs/hun --patterns gyöngy
  infer --run runs/hun --nbest 5 --scores alma
  infer --run runs/hun < words.txt > lexicon.tsv";

/// Lines for each thread that are read before any is answered: they bound memory, and give every thread work.
const LINES_A_THREAD: usize = 512;
/// Bytes after which lines are answered even if they are few.
const BYTES_A_CHUNK: usize = 1 << 20;
/// Bytes that a line may have.
const BYTES_A_LINE: usize = 1 << 24;

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        memory::keep();
        infer(&self)
    }
}

fn infer(cli: &Cli) -> Result<()> {
    cli.explain_svg.iter().try_for_each(|path| file::place(path, None))?;
    let model = Ensemble::load(&cli.run)?;
    let form = model.members()[0].spec.graph;
    ensure!(
        !cli.patterns || form == GraphForm::Path,
        "--patterns: the run reads texts as trees, which have no runs; leave it out"
    );
    let session = Session {
        model,
        lanes: Lanes::new(usize::from(cli.threads))?,
        explain: cli.explain,
        nbest: usize::from(cli.nbest),
        scores: cli.scores,
        patterns: cli.patterns,
    };
    if cli.texts.is_empty() {
        return session.stream();
    }
    for (i, text) in cli.texts.iter().enumerate() {
        if let Some(fault) = session.model.text_fault(text) {
            bail!("text {}: {fault}", i + 1);
        }
    }
    session.answer(&cli.texts.iter().map(Some).collect::<Vec<_>>())?;
    match &cli.explain_svg {
        Some(path) => session.draw(&cli.texts, path),
        None => Ok(()),
    }
}

struct Session {
    model: Ensemble,
    nbest: usize,
    scores: bool,
    patterns: bool,
    lanes: Lanes<GraphTransformNet<f32>>,
    explain: bool,
}

impl Session {
    /// Answers lines as they come: in chunks where there are many, at once where whoever writes them waits for us.
    fn stream(&self) -> Result<()> {
        // Who forgot the text would wait for an answer, as this does for the text.
        if io::stdin().is_terminal() {
            tell("a text a line; Ctrl-D ends");
        }
        let mut progress = StreamProgress::of_standard_input();
        let input = BufReader::with_capacity(1 << 16, progress.count(io::stdin()));
        let mut lines = Lines::new(input, BYTES_A_LINE);
        let most = LINES_A_THREAD * self.lanes.threads();
        let (mut chunk, mut bytes, mut failed) = (Vec::with_capacity(most), 0, 0usize);
        loop {
            let end = match lines.next_line() {
                Ok(Some((number, line))) => {
                    let line = line.and_then(|text| self.model.text_fault(text).map_or(Ok(text), Err));
                    if let Err(fault) = &line {
                        progress.tell(&format!("standard input, line {number}: {fault}"));
                        failed += 1;
                    }
                    bytes += line.as_ref().map_or(0, |text| text.len());
                    chunk.push(line.ok().map(str::to_owned));
                    None
                }
                Ok(None) => Some(Ok(())),
                Err(error) => Some(Err(FileError::of("read", "standard input")(error))),
            };
            let full = chunk.len() == most || bytes > BYTES_A_CHUNK;
            let waited_for = lines.reader().buffer().is_empty();
            if full || waited_for || end.is_some() {
                self.answer(&chunk)?;
                progress.answered(chunk.len(), full);
                chunk.clear();
                bytes = 0;
            }
            // An error ends it only now: what was read before is answered.
            if let Some(end) = end {
                end?;
                break;
            }
        }
        drop(progress);
        ensure!(failed == 0, "{failed} of {} lines could not be done; their rows are a lone tab", lines.number());
        Ok(())
    }

    /// One row a line; a lone tab for a line that cannot be done.
    fn answer<T: AsRef<str> + Sync>(&self, lines: &[Option<T>]) -> Result<()> {
        let texts: Vec<&str> = lines.iter().flatten().map(AsRef::as_ref).collect();
        let answers: Vec<(Answer, Option<Reading>)> = if self.explain {
            let explained = self.model.explain(&texts, self.nbest, &self.lanes)?;
            explained.into_iter().map(|(answer, reading)| (answer, Some(reading))).collect()
        } else {
            self.model.read(&texts, self.nbest, &self.lanes)?.into_iter().map(|answer| (answer, None)).collect()
        };
        let mut answers = texts.iter().zip(answers);
        let mut out = String::new();
        for line in lines {
            let Some((text, (answer, reading))) = line.as_ref().and_then(|_| answers.next()) else {
                out.push_str("\t\n");
                continue;
            };
            self.rows(&mut out, text, &answer)?;
            if let Some(reading) = &reading {
                out.push_str(&Explanation::of(text, reading)?.columns());
            }
        }
        Ok(print(&out)?)
    }

    /// A row for each proposal, the best first.
    fn rows(&self, out: &mut String, text: &str, answer: &Answer) -> Result<()> {
        let patterns = self.patterns.then(|| self.model.members()[0].patterns(text)).transpose()?;
        for proposal in &answer.proposals {
            write!(out, "{}\t{}", cell(text), cell(&proposal.text))?;
            if self.scores {
                write!(out, "\t{:.4}\t{:.4}", proposal.confidence, proposal.log_probability)?;
            }
            if let Some(graph) = &patterns {
                let runs: Vec<&str> = graph.nodes().map(|(_, node)| node.label()).collect();
                write!(out, "\t{}", cell(&runs.join(" ")))?;
            }
            out.push('\n');
        }
        Ok(())
    }

    fn draw(&self, texts: &[String], path: &Path) -> Result<()> {
        let answers = self.model.explain(texts, 1, &self.lanes)?;
        let pairs = texts.iter().zip(&answers);
        let explanations = pairs.map(|(text, (_, reading))| Explanation::of(text, reading));
        Ok(file::write(path, svg(&explanations.collect::<Result<Vec<_>, _>>()?).as_bytes())?)
    }
}
