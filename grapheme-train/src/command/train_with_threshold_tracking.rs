//! Follows the learned merge thresholds while three pairs are learned, and draws them.

use crate::command::CommandLine;
use crate::estimator::EstimatorName;
use crate::file;
use crate::objective::LossName;
use crate::output::print;
use crate::proof::pairs::Pairs;
use crate::proof::threshold::{Row, ThresholdSettings, draw, track};
use anyhow::{Result, anyhow, bail, ensure};
use clap::{ArgMatches, Parser};
use serde_json::json;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// Follows the learned merge thresholds while 'abc' to 'ab', 'xyz' to 'xy' and '123' to '12' are learned.
///
/// Plain gradient descent in f64. Prints epoch, loss, thresholds, their sigmoids, their gradients by the backward pass and by
/// finite differences, and how many candidates merge; writes the rows as thresholds.jsonl and the curves as
/// thresholds.svg. Exit code 0 only if the loss falls, every threshold moves, and the gradients agree to 1e-6.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// What is minimised
    #[arg(long, value_enum, default_value_t = LossName::Words)]
    loss: LossName,
    /// How gradients are taken [default: marginal for words, pathwise for graph]
    #[arg(long, value_enum)]
    estimator: Option<EstimatorName>,
    /// Steps
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: u32,
    /// Learning rate
    #[arg(long, default_value_t = 0.01, allow_negative_numbers = true)]
    rate: f64,
    /// Of the fresh network
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for rows and picture
    #[arg(long, default_value = "runs/thresholds")]
    out: PathBuf,
    /// Print one line of JSON instead of the table
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  train_with_threshold_tracking
  train_with_threshold_tracking --loss graph --out runs/graph-thresholds
  train_with_threshold_tracking --estimator reinforce --epochs 300
  train_with_threshold_tracking --epochs 500 --rate 0.05 --json";

/// The largest gap between analytic and numeric gradients that passes.
const TOLERANCE: f64 = 1e-6;

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        run(&self)
    }
}

fn run(cli: &Cli) -> Result<()> {
    let estimator = cli.estimator.unwrap_or(match cli.loss {
        LossName::Words => EstimatorName::Marginal,
        LossName::Graph => EstimatorName::Pathwise,
    });
    if !(cli.rate > 0.0 && cli.rate.is_finite()) {
        bail!("--rate {}: must be a positive number", cli.rate);
    }
    let pairs = Pairs::under(estimator, cli.loss)?;
    let settings = ThresholdSettings { estimator, epochs: cli.epochs as usize, rate: cli.rate, seed: cli.seed };
    let rows = track(&pairs, &settings)?;
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let title = format!("abc to ab, xyz to xy, 123 to 12: {} loss, {estimator}", name(&cli.loss));
    let lines: Result<String, serde_json::Error> =
        rows.iter().map(|row| serde_json::to_string(row).map(|line| line + "\n")).collect();
    let (table, picture) = (cli.out.join("thresholds.jsonl"), cli.out.join("thresholds.svg"));
    let drawn = draw(&rows, &title).map_err(|error| anyhow!("{}: {error}", picture.display()))?;
    std::fs::create_dir_all(&cli.out).map_err(file::FileError::of("create", &cli.out))?;
    file::replace(&table, lines?.as_bytes())?;
    file::replace(&picture, drawn.as_bytes())?;

    let (first, last) = (&rows[0], &rows[rows.len() - 1]);
    let falls = last.loss < first.loss;
    let moves = first.thresholds.iter().zip(&last.thresholds).all(|(a, b)| a != b && b.is_finite());
    let worst_gap = rows.iter().map(Row::gap).fold(0.0, f64::max);
    let passed = falls && moves && worst_gap <= TOLERANCE;
    let mut said = String::new();
    if cli.json {
        let summary = json!({
            "passed": passed,
            "epochs": cli.epochs,
            "first_loss": first.loss,
            "last_loss": last.loss,
            "first_thresholds": first.thresholds,
            "last_thresholds": last.thresholds,
            "worst_gradient_gap": worst_gap,
            "merges": last.merges,
            "picture": picture,
        });
        writeln!(said, "{summary}")?;
    } else {
        write_table(&mut said, &rows)?;
        writeln!(said, "\nrows {}, picture {}", table.display(), picture.display())?;
        writeln!(
            said,
            "loss falls: {falls}; thresholds move: {moves}; largest gap between gradients: {worst_gap:.1e}"
        )?;
        writeln!(said, "{}", if passed { "passed" } else { "FAILED" })?;
    }
    // A reader that has left does not make what failed a success.
    let printed = print(&said);
    ensure!(passed, "the thresholds do not move, or the loss does not fall, or the gradients disagree");
    Ok(printed?)
}

/// A line for each epoch of a short run, about forty lines of a long one.
fn write_table(said: &mut String, rows: &[Row]) -> fmt::Result {
    writeln!(
        said,
        "{:>6} {:>9}  {:<17} {:<15} {:<23} {:<23} merges",
        "epoch", "loss", "thresholds", "sigmoids", "gradients, analytic", "numeric"
    )?;
    let list = |values: &[f64], digits: usize| {
        values.iter().map(|value| format!("{value:+.digits$}")).collect::<Vec<_>>().join(" ")
    };
    let step = rows.len().div_ceil(40);
    for row in rows.iter().filter(|row| row.epoch % step == 0 || row.epoch + 1 == rows.len()) {
        writeln!(
            said,
            "{:>6} {:>9.5}  {:<17} {:<15} {:<23} {:<23} {}",
            row.epoch,
            row.loss,
            list(&row.thresholds, 5),
            list(&row.sigmoids, 4),
            list(&row.analytic, 8),
            list(&row.numeric, 8),
            row.merges
        )?;
    }
    Ok(())
}
