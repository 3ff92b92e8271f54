//! Compares what the project achieves with what it achieved: fixed seeds, generated data, a committed baseline.

mod checkpoint;
mod figure;
mod proofs;
mod training;

use crate::command::CommandLine;
use crate::file;
use crate::output::{print, tell};
use crate::progress::Progress;
use anyhow::{Context, Result, bail, ensure};
use checkpoint::{Hashes, Sameness};
use clap::{ArgMatches, Parser};
use figure::{Baseline, Comparison, Figure, Values, Verdict};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Compares what the project achieves with a committed baseline.
///
/// Gradient error, descent, losses and the bits of a checkpoint after fixed steps, and dev error after a fixed training, on generated
/// data and with fixed seeds. A figure that is worse than its baseline by more than its slack fails, exit code 1; one that is better asks
/// for a new baseline, which --update writes. The bits must be those of the baseline, where it knows the kind of processor. Run it in
/// the project's folder.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// The baseline
    #[arg(long, default_value = "data/regression.json")]
    baseline: PathBuf,
    /// Generated examples
    #[arg(long, default_value = "data/generated")]
    data: PathBuf,
    /// Write the figures as the new baseline, whether better or worse
    #[arg(long)]
    update: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    /// Threads; 0 for one a core. The figures do not depend on them
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
}

const EXAMPLES: &str = "\
Examples:
  regression             compare
  regression --update    take a new baseline, after a change that is meant";

/// About how long the parts take: gradients, descent, losses, bits.
const PARTS: [u64; 4] = [12, 1, 3, 4];

/// The line of `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    passed: bool,
    worse: usize,
    better: usize,
    figures: &'a [Comparison],
    checkpoint: &'a Sameness,
    seconds: f64,
}

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        regression(&self)
    }
}

fn regression(cli: &Cli) -> Result<()> {
    let clock = Instant::now();
    let baseline = match cli.update {
        false => read(&cli.baseline)?,
        // What other processors gave may still be true.
        true => Baseline { figures: Values::new(), ..read(&cli.baseline).unwrap_or_default() },
    };
    let threads = usize::from(cli.threads);
    // By the time that each takes.
    let progress = Progress::new(PARTS.iter().sum(), "parts");
    let [of_gradients, of_descent, of_losses, of_bits] = PARTS;
    progress.name("gradients");
    let mut figures = proofs::gradients(threads)?;
    progress.advance(of_gradients);
    progress.name("descent");
    figures.extend(proofs::descent(threads)?);
    progress.advance(of_descent);
    progress.name("trainings");
    figures.extend(training::figures(&cli.data, threads)?);
    progress.advance(of_losses);
    let bits = training::bits(&cli.data)?;
    progress.advance(of_bits);
    drop(progress);
    let seconds = clock.elapsed().as_secs_f64();
    if cli.update {
        let Some(hash) = bits.hash() else {
            bail!("the bits of a checkpoint depend on the threads: {:?}", bits.hashes)
        };
        write(&cli.baseline, &figures, checkpoint::updated(&baseline.checkpoints, &bits.arithmetic, hash))?;
    }
    let sameness = bits.compare(&baseline.checkpoints);
    let comparisons: Vec<Comparison> = figures.iter().map(|figure| figure.compare(&baseline.figures)).collect();
    let count = |verdict| comparisons.iter().filter(|comparison| comparison.verdict == verdict).count();
    let (worse, better, new) = (count(Verdict::Worse), count(Verdict::Better), count(Verdict::New));
    let passed = cli.update || worse + new == 0 && sameness.verdict != Verdict::Worse;
    let printed = print(&if cli.json {
        let summary = Summary { passed, worse, better, figures: &comparisons, checkpoint: &sameness, seconds };
        serde_json::to_string(&summary)? + "\n"
    } else {
        table(&comparisons, &sameness)
    });
    let (path, all) = (cli.baseline.display(), figures.len());
    if cli.update {
        tell(&format!("{path} now holds these {all} figures; say in the commit why they changed"));
        return Ok(printed?);
    }
    if better > 0 {
        tell(&format!(
            "BETTER: {better} of {all} figures beat {path}. Keep that: run `regression --update` and commit the file"
        ));
    }
    // Before a complaint about the output: whoever stopped reading must still learn of it.
    ensure!(worse == 0, "REGRESSION: {worse} of {all} figures are worse than {path} allows");
    match sameness.complaint(&path.to_string()) {
        Some(complaint) if sameness.verdict == Verdict::New => tell(&complaint),
        Some(complaint) => bail!("{complaint}"),
        None => {}
    }
    ensure!(new == 0, "{path} does not know {new} of {all} figures: run `regression --update` and commit the file");
    Ok(printed?)
}

fn table(comparisons: &[Comparison], sameness: &Sameness) -> String {
    let mut table = format!("{:32} {:>14} {:>14} {:>8}  verdict\n", "figure", "baseline", "now", "slack");
    for Comparison { name, value, baseline, slack, verdict } in comparisons {
        let baseline = baseline.map_or_else(|| "none".to_owned(), number);
        let _ = writeln!(table, "{name:32} {baseline:>14} {:>14} {slack:>8}  {}", number(*value), word(*verdict));
    }
    let Sameness { bits, baseline, verdict } = sameness;
    let [baseline, now] = [baseline.as_ref(), bits.hash()].map(|hash| hash.map_or("none", |hash| &hash[..]));
    let _ = writeln!(table, "{:30} {baseline} {now}  {}", "checkpoint after 200 steps", word(*verdict));
    table
}

fn word(verdict: Verdict) -> String {
    match verdict {
        Verdict::Worse => "WORSE".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Ten digits at most, and no row of zeros before the first of them.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.4e}") } else { format!("{:.6}", value) }
}

fn read(path: &Path) -> Result<Baseline> {
    let cure =
        || format!("{}: no usable baseline; run in the project's folder, or take one with --update", path.display());
    serde_json::from_slice(&file::read(path).with_context(cure)?).with_context(cure)
}

fn write(path: &Path, figures: &[Figure], checkpoints: Hashes) -> Result<()> {
    let figures = figures.iter().map(|figure| (figure.name.to_owned(), figure.value)).collect();
    let baseline = Baseline { figures, checkpoints };
    let mut json = serde_json::to_string_pretty(&baseline)?;
    json.push('\n');
    Ok(file::replace(path, json.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_baseline_returns_from_its_file_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        let figures = [Figure::lower("a", 1.0 / 3.0, 0.0), Figure::lower("b", 6.2e-8, 0.0)];
        let checkpoints = Hashes::from([("here".into(), "0123".into())]);
        write(&path, &figures, checkpoints.clone()).unwrap();
        let baseline = read(&path).unwrap();
        assert_eq!(baseline.checkpoints, checkpoints);
        assert!(figures.iter().all(|figure| figure.compare(&baseline.figures).verdict == Verdict::Equal));
        std::fs::write(&path, "{\"a\": ").unwrap();
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("--update"));
    }
}
