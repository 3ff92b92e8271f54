//! Scores a trained model on pairs of texts.

use crate::command::CommandLine;
use crate::data::{BadLines, Example, Loader};
use crate::ensemble::{Answer, Ensemble};
use crate::file;
use crate::lanes::Lanes;
use crate::metrics::Figures;
use crate::output::{cell, print, tell};
use crate::progress::Progress;
use crate::report::{ErrorReport, Judged};
use anyhow::Result;
use clap::{ArgMatches, Parser};
use serde::Serialize;
use std::fmt::Write as _;
use std::iter;
use std::path::PathBuf;

/// Scores a trained model on pairs of texts: exact matches, word and token error rates, F1 of tokens, in percent.
///
/// F1 of tokens compares what stands between spaces, each text as a multiset: 2 PR / (P + R) over all texts together, as
/// the SIGMORPHON 2022 shared task scores morphemes. Examples with a level are also scored by level.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub struct Cli {
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
    /// Write an error report in Markdown: confusions, the worst texts, errors by length, level and diacritics
    #[arg(long)]
    report: Option<PathBuf>,
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
  evaluate --run runs/hun --data hun_dev.tsv --json --predictions hun_predicted.tsv
  evaluate --run runs/hun --data hun_dev.tsv --report hun_errors.md";

/// What `--json` prints.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    figures: &'a Figures,
    ece: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    levels: Vec<Level<'a>>,
}

#[derive(Serialize)]
struct Level<'a> {
    level: u32,
    #[serde(flatten)]
    figures: &'a Figures,
}

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        evaluate(&self)
    }
}

fn evaluate(cli: &Cli) -> Result<()> {
    cli.predictions.iter().try_for_each(|path| file::place(path, [&cli.data]))?;
    cli.report.iter().try_for_each(|path| file::place(path, iter::once(&cli.data).chain(&cli.predictions)))?;
    let model = Ensemble::load(&cli.run)?;
    let bad_lines = if cli.skip_bad { BadLines::Skip } else { BadLines::Stop };
    let loader = Loader { bad_lines, ..Loader::default() };
    let split = loader.check(loader.file(&cli.data)?, |example| model.example_fault(example))?;
    if split.skipped().count() > 0 {
        tell(&split.skipped().to_string());
    }
    let (examples, lanes) = (split.examples(), Lanes::new(usize::from(cli.threads))?);
    let progress = Progress::new(examples.len() as u64, "examples");
    let evaluation = model.evaluate_counting(examples, &lanes, || progress.advance(1))?;
    drop(progress);
    let judged = examples.iter().zip(&evaluation.answers).map(|(example, answer)| Judged {
        input: &example.input,
        predicted: answer.text(),
        target: &example.target,
        level: example.level,
        probability: Some(answer.proposals[0].confidence),
    });
    let report = ErrorReport::of(&judged.collect::<Vec<_>>(), model.units());
    let ece = evaluation.ece;
    let figures = &report.figures;
    let mut out = String::new();
    if cli.json {
        let levels = report.by_level.iter().map(|(level, figures)| Level { level: *level, figures }).collect();
        writeln!(out, "{}", serde_json::to_string(&Line { figures, ece, levels })?)?;
    } else {
        writeln!(out, "examples          {}", figures.n)?;
        writeln!(out, "exact             {:.2}%", figures.exact)?;
        writeln!(out, "word error rate   {:.2}%", figures.wer)?;
        writeln!(out, "token error rate  {:.2}%", figures.ter)?;
        writeln!(out, "F1 of tokens      {:.2}%", figures.f1)?;
        writeln!(out, "calibration error {ece:.2}%")?;
        let missed = figures.n - evaluation.reached;
        writeln!(out, "mean loss         {:.4} over {} examples", evaluation.loss, evaluation.reached)?;
        if missed > 0 {
            writeln!(
                out,
                "out of reach      {missed}: their targets hold labels that training never saw, or are too long"
            )?;
        }
        for (level, figures) in &report.by_level {
            writeln!(out, "level {level:<11} {:.2}% of {} exact", figures.exact, figures.n)?;
        }
    }
    print(&out)?;
    if let Some(path) = &cli.predictions {
        let rows = examples.iter().zip(&evaluation.answers);
        let row = |(example, answer): (&Example, &Answer)| {
            [&example.input, answer.text(), &example.target].map(|t| cell(t)).join("\t")
        };
        let table: String = rows.map(row).map(|row| row + "\n").collect();
        file::write(path, table.as_bytes())?;
    }
    if let Some(path) = &cli.report {
        let title = format!("Errors of {} on {}", cli.run.display(), cli.data.display());
        file::write(path, report.markdown(&title).as_bytes())?;
    }
    Ok(())
}
