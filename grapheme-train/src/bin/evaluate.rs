//! Scores a trained model on pairs of texts.

use anyhow::Result;
use clap::Parser;
use grapheme_train::data::{BadLines, Loader};
use grapheme_train::file;
use grapheme_train::lanes::Lanes;
use grapheme_train::run::RunFolder;
use grapheme_train::transducer::Transducer;
use std::path::PathBuf;

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
    /// Write input, prediction and target as TSV
    #[arg(long)]
    predictions: Option<PathBuf>,
    /// Threads; 0 for one a core. Does not change the result
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Leave malformed lines out instead of stopping
    #[arg(long)]
    skip_bad: bool,
}

const EXAMPLES: &str = "\
Examples:
  evaluate --run runs/hun --data hun_dev.tsv
  evaluate --run runs/hun --data hun_dev.tsv --json --predictions hun_predicted.tsv";

fn main() -> Result<()> {
    let cli = Cli::parse();
    let model = Transducer::load(&RunFolder::open(&cli.run)?)?;
    let bad_lines = if cli.skip_bad { BadLines::Skip } else { BadLines::Stop };
    let split = Loader { bad_lines, ..Loader::default() }.file(&cli.data)?;
    if split.skipped().count() > 0 {
        eprintln!("{}", split.skipped());
    }
    let evaluation = model.evaluate(split.examples(), &Lanes::new(cli.threads)?)?;
    if let Some(path) = &cli.predictions {
        let rows = split.examples().iter().zip(&evaluation.predictions);
        let table: String =
            rows.map(|(example, text)| format!("{}\t{text}\t{}\n", example.input, example.target)).collect();
        file::replace(path, table.as_bytes())?;
    }
    let figures = evaluation.score.figures();
    if cli.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        println!("examples          {}", figures.n);
        println!("exact             {:.2}%", figures.exact);
        println!("word error rate   {:.2}%", figures.wer);
        println!("token error rate  {:.2}%", figures.ter);
        println!("F1 of tokens      {:.2}%", figures.f1);
        let written = figures.n - evaluation.reached;
        println!("mean loss         {:.4} over {} examples", evaluation.loss, evaluation.reached);
        if written > 0 {
            println!("out of reach      {written}: their targets hold labels that training never saw, or are too long");
        }
    }
    Ok(())
}
