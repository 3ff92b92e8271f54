//! Scores a trained model on pairs of texts.

use anyhow::Result;
use clap::Parser;
use grapheme_train::data::{BadLines, Example, Loader};
use grapheme_train::ensemble::{Answer, Ensemble};
use grapheme_train::file;
use grapheme_train::lanes::Lanes;
use grapheme_train::output::{cell, conclude, print, tell};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Scores a trained model on pairs of texts: exact matches, word and token error rates, F1 of tokens, in percent.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Cli {
    /// Folder of the run
    #[arg(long)]
    run: PathBuf,
    /// Examples: .tsv or .jsonl
    #[arg(long)]
    data: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Write input, prediction and target as TSV; tabs and line ends within a text as \t and \n
    #[arg(long)]
    predictions: Option<PathBuf>,
    /// Threads; 0 for one a core. Does not change the result
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Leave malformed lines out instead of stopping
    #[arg(long)]
    skip_bad: bool,
}

const EXAMPLES: &str = "\
Examples:
  evaluate --run runs/hun --data hun_dev.tsv
  evaluate --run runs/hun --data hun_dev.tsv --json --predictions hun_predicted.tsv";

fn main() -> ExitCode {
    conclude(evaluate(&Cli::parse()))
}

fn evaluate(cli: &Cli) -> Result<()> {
    let model = Ensemble::load(&cli.run)?;
    let bad_lines = if cli.skip_bad { BadLines::Skip } else { BadLines::Stop };
    let loader = Loader { bad_lines, ..Loader::default() };
    let split = loader.check(loader.file(&cli.data)?, |example| model.example_fault(example))?;
    if split.skipped().count() > 0 {
        tell(&split.skipped().to_string());
    }
    let evaluation = model.evaluate(split.examples(), &Lanes::new(usize::from(cli.threads))?)?;
    let figures = evaluation.score.figures();
    let mut out = String::new();
    if cli.json {
        writeln!(out, "{}", serde_json::to_string(&figures)?)?;
    } else {
        writeln!(out, "examples          {}", figures.n)?;
        writeln!(out, "exact             {:.2}%", figures.exact)?;
        writeln!(out, "word error rate   {:.2}%", figures.wer)?;
        writeln!(out, "token error rate  {:.2}%", figures.ter)?;
        writeln!(out, "F1 of tokens      {:.2}%", figures.f1)?;
        let missed = figures.n - evaluation.reached;
        writeln!(out, "mean loss         {:.4} over {} examples", evaluation.loss, evaluation.reached)?;
        if missed > 0 {
            writeln!(
                out,
                "out of reach      {missed}: their targets hold labels that training never saw, or are too long"
            )?;
        }
    }
    print(&out)?;
    if let Some(path) = &cli.predictions {
        let rows = split.examples().iter().zip(&evaluation.answers);
        let row = |(example, answer): (&Example, &Answer)| {
            [&example.input, answer.text(), &example.target].map(|t| cell(t)).join("\t")
        };
        let table: String = rows.map(row).map(|row| row + "\n").collect();
        file::write(path, table.as_bytes())?;
    }
    Ok(())
}
