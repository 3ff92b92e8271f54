//! Writes training examples for a student: those of its teacher, and new words that the teacher has read.

use anyhow::{Result, ensure};
use clap::Parser;
use grapheme_core::Stream;
use grapheme_train::data::{BadLines, Loader, SpellingModel};
use grapheme_train::ensemble::Ensemble;
use grapheme_train::file;
use grapheme_train::lanes::Lanes;
use grapheme_train::output::{conclude, tell};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes a training file for a student: the examples, and new words as the teacher reads them.
///
/// The new words are spelt like the known ones (a model of which letters follow which); none is an input of the examples.
/// A student that is trained on the file learns what the teacher, usually a set, has generalised, not only what it was
/// taught (sequence-level knowledge distillation: Kim and Rush, EMNLP 2016).
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Cli {
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

/// Samples for each word that is asked for, after which a spelling is taken to be exhausted.
const PATIENCE: usize = 100;

fn main() -> ExitCode {
    conclude(distill(&Cli::parse()))
}

fn distill(cli: &Cli) -> Result<()> {
    ensure!((0.0..=1000.0).contains(&cli.share), "--share {}: it must be from 0 to 1000", cli.share);
    ensure!((0.0..=1.0).contains(&cli.confidence), "--confidence {}: it must be from 0 to 1", cli.confidence);
    let model = Ensemble::load(&cli.teacher)?;
    let loader = Loader { bad_lines: BadLines::Stop, ..Loader::default() };
    let split = loader.file(&cli.train)?;
    let examples = split.examples();
    let spelling = SpellingModel::of(examples.iter().map(|example| example.input.as_str()), usize::from(cli.order));
    let mut taken: BTreeSet<String> = examples.iter().map(|example| example.input.clone()).collect();
    let wanted = (examples.len() as f64 * cli.share).round() as usize;
    let (mut words, mut stream) = (Vec::with_capacity(wanted), Stream::new(cli.seed));
    for _ in 0..wanted.saturating_mul(PATIENCE) {
        if words.len() == wanted {
            break;
        }
        let word = spelling.sample(&mut stream);
        words.extend(word.filter(|word| model.text_fault(word).is_none() && taken.insert(word.clone())));
    }
    let answers = model.read(&words, 1, &Lanes::new(usize::from(cli.threads))?)?;
    let mut rows = String::new();
    let mut row = |input: &str, target: &str| {
        // A tab or a line end would be another row; such texts can be no example of two columns.
        let whole = !input.contains(['\t', '\n', '\r']) && !target.contains(['\t', '\n', '\r']);
        if whole {
            rows.push_str(&format!("{input}\t{target}\n"));
        }
        whole
    };
    let kept = examples.iter().filter(|example| row(&example.input, &example.target)).count();
    ensure!(kept == examples.len(), "{}: texts with tabs or line ends fit no two columns", cli.train.display());
    let sure = words.iter().zip(&answers).filter(|(_, answer)| answer.proposals[0].confidence >= cli.confidence);
    let new = sure.filter(|(word, answer)| !answer.text().is_empty() && row(word, answer.text())).count();
    file::write(&cli.out, rows.as_bytes())?;
    tell(&format!("{}: {kept} examples and {new} new words", cli.out.display()));
    Ok(())
}
