//! Writes training examples for a student: those of its teacher, and new words that the teacher has read.

use crate::command::CommandLine;
use crate::data::{BadLines, Loader, two_columns};
use crate::distillation::Distillation;
use crate::ensemble::Ensemble;
use crate::file;
use crate::lanes::Lanes;
use crate::output::tell;
use crate::progress::Progress;
use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Parser};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Writes a training file for a student: the examples, and new words as the teacher reads them.
///
/// The new words are spelt like the known ones (a model of which letters follow which); none is an input of the examples.
/// A student that is trained on the file learns what the teacher, usually a set, has generalised, not only what it was
/// taught (sequence-level knowledge distillation: Kim and Rush, EMNLP 2016).
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// Folder of the teacher's run
    #[arg(long)]
    teacher: PathBuf,
    /// Training examples, of two columns
    #[arg(long)]
    train: PathBuf,
    /// The file to write
    #[arg(long)]
    out: PathBuf,
    /// New words for each known one
    #[arg(long, default_value_t = 2.0, allow_negative_numbers = true)]
    share: f64,
    /// Leave out words that the teacher is less sure of, from 0 to 1
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    confidence: f64,
    /// Clusters before a cluster that its probability depends on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    order: u16,
    /// Seed of the new words
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads; 0 for one a core. Does not change the result
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
}

const EXAMPLES: &str = "\
Examples:
  train --train hun_train.tsv --dev hun_dev.tsv --members 3 --out runs/hun-3
  distill --teacher runs/hun-3 --train hun_train.tsv --out runs/hun-student.tsv
  train --train runs/hun-student.tsv --dev hun_dev.tsv --out runs/hun-student";

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        distill(&self)
    }
}

fn distill(cli: &Cli) -> Result<()> {
    ensure!((0.0..=1000.0).contains(&cli.share), "--share {}: it must be from 0 to 1000", cli.share);
    ensure!((0.0..=1.0).contains(&cli.confidence), "--confidence {}: it must be from 0 to 1", cli.confidence);
    file::place(&cli.out, [&cli.train])?;
    let model = Ensemble::load(&cli.teacher)?;
    let loader = Loader { bad_lines: BadLines::Stop, ..Loader::default() };
    let split = loader.file(&cli.train)?;
    let examples = split.examples();
    let distillation =
        Distillation { share: cli.share, confidence: cli.confidence, order: usize::from(cli.order), seed: cli.seed };
    let lanes = Lanes::new(usize::from(cli.threads))?;
    let progress = OnceLock::new();
    let lessons = distillation.lessons(&model, examples, &lanes, |words| {
        progress.get_or_init(|| Progress::new(words as u64, "words")).advance(1);
    })?;
    drop(progress);
    let mut rows = String::new();
    for example in examples {
        let row = two_columns(&example.input, &example.target);
        rows +=
            &row.with_context(|| format!("{}: texts with tabs or line ends fit no two columns", cli.train.display()))?;
    }
    let known = examples.len();
    let new: Vec<String> = lessons.iter().filter_map(|(word, text)| two_columns(word, text)).collect();
    rows.extend(new.iter().map(String::as_str));
    file::write(&cli.out, rows.as_bytes())?;
    let wanted = distillation.wanted(known);
    let few = match new.len() < wanted {
        true => format!(
            " of {wanted}: the spelling has no more that are new, or the teacher was less sure of them than asked"
        ),
        false => String::new(),
    };
    tell(&format!("{}: {known} examples and {} new words{few}", cli.out.display(), new.len()));
    Ok(())
}
