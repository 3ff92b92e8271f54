//! Plain gradient descent on three pairs, from many starts, with a control.

use crate::command::CommandLine;
use crate::estimator::EstimatorName;
use crate::lanes::Lanes;
use crate::objective::LossName;
use crate::output::print;
use crate::progress::Progress;
use crate::proof::descent::{DescentReport, DescentSettings, History, descend};
use crate::proof::pairs::Pairs;
use anyhow::{Result, ensure};
use clap::{ArgMatches, Parser};
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::time::Instant;

/// Checks that plain gradient descent lowers the loss at every single step.
///
/// Learns 'abc' to 'ab', 'xyz' to 'xy' and '123' to '12' from many random starts, under the `words` loss (all merges summed
/// over) and under the `graph` loss (the most probable merges carried out). Where a merge is taken or taken back the
/// `graph` loss may jump: these epochs are counted and named, and the loss of the merges of the step must fall even there.
/// Every node that contributed to a merge must receive its gradient. At last the same is run with the merge history
/// switched off: that must fail. Exit code 0 only if all of this holds.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// Random starts
    #[arg(long, default_value_t = DescentSettings::default().seeds)]
    seeds: u64,
    /// Epochs in each of which the loss must fall
    #[arg(long, default_value_t = DescentSettings::default().epochs)]
    epochs: usize,
    /// Epochs after which the loss must be under half of the start
    #[arg(long, default_value_t = DescentSettings::default().long_epochs)]
    long_epochs: usize,
    /// Learning rate
    #[arg(long, default_value_t = DescentSettings::default().rate, allow_negative_numbers = true)]
    rate: f64,
    /// Threads; 0 for one a core. The figures do not depend on it
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  test_gradient_descent                        100 starts, 20 and 100 epochs
  test_gradient_descent --seeds 5 --json       quick, for a program to read
  test_gradient_descent --rate 0.1             steps that are too long: see it fail";

/// What an earlier attempt elsewhere reached on the same pairs at the same rate.
const EARLIER: Earlier = Earlier { first: 4.157602, last: 4.158614, decreases: 0, epochs: 20 };

#[derive(Serialize)]
struct Earlier {
    first: f64,
    last: f64,
    decreases: usize,
    epochs: usize,
}

#[derive(Serialize)]
struct Summary<'a> {
    passed: bool,
    seeds: u64,
    epochs: usize,
    long_epochs: usize,
    rate: f64,
    increases: usize,
    plan_flips: usize,
    worst_final_ratio: f64,
    losses: &'a [Named],
    control: &'a [Named],
    control_failed: bool,
    earlier_attempt: Earlier,
}

#[derive(Serialize)]
struct Named {
    loss: LossName,
    #[serde(flatten)]
    report: DescentReport,
    failures: Vec<String>,
}

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        run(&self)
    }
}

fn run(cli: &Cli) -> Result<()> {
    let Cli { seeds, epochs, long_epochs, rate, .. } = *cli;
    let settings = DescentSettings { seeds, epochs, long_epochs, rate };
    let (lanes, clock) = (Lanes::new(usize::from(cli.threads))?, Instant::now());
    // Two losses, each with history and without.
    let progress = Progress::new(seeds.saturating_mul(4), "starts");
    let run = |history| -> Result<Vec<Named>> {
        [(LossName::Words, EstimatorName::Marginal), (LossName::Graph, EstimatorName::Pathwise)]
            .into_iter()
            .map(|(loss, estimator)| {
                let report =
                    descend(&Pairs::new(loss)?, estimator, history, &settings, &lanes, || progress.advance(1))?;
                let failures = report.failures();
                Ok(Named { loss, report, failures })
            })
            .collect()
    };
    let (losses, control) = (run(History::Kept)?, run(History::Forgotten)?);
    drop(progress);
    let control_failed = control.iter().all(|named| !named.failures.is_empty());
    let passed = control_failed && losses.iter().all(|named| named.failures.is_empty());
    let mut said = String::new();
    if cli.json {
        let summary = Summary {
            passed,
            seeds,
            epochs,
            long_epochs,
            rate,
            increases: losses.iter().map(|named| named.report.increases.len()).sum(),
            plan_flips: losses.iter().map(|named| named.report.plan_flips.len()).sum(),
            worst_final_ratio: worst(&losses),
            losses: &losses,
            control: &control,
            control_failed,
            earlier_attempt: EARLIER,
        };
        writeln!(said, "{}", serde_json::to_string(&summary)?)?;
    } else {
        write_table(&mut said, &settings, &losses, &control)?;
        let verdict = if passed { "passed" } else { "FAILED" };
        writeln!(said, "\n{verdict} in {:.1} s", clock.elapsed().as_secs_f64())?;
    }
    // A reader that has left does not make what failed a success.
    let printed = print(&said);
    ensure!(passed, "the descent test failed");
    Ok(printed?)
}

/// The largest ratio of all; one that is not a number is the worst.
fn worst(losses: &[Named]) -> f64 {
    let ratios = losses.iter().map(|named| named.report.worst_final_ratio);
    ratios.fold(0.0, |worst, ratio| if ratio.is_nan() || ratio > worst { ratio } else { worst })
}

fn write_table(said: &mut String, settings: &DescentSettings, losses: &[Named], control: &[Named]) -> fmt::Result {
    let DescentSettings { seeds, epochs, long_epochs, rate } = *settings;
    writeln!(said, "gradient descent at {rate} on the mean of three pairs, {seeds} starts")?;
    writeln!(said, "(increases within {epochs} epochs, everything else within {long_epochs})\n")?;
    writeln!(
        said,
        "{:<6} {:<9} {:<10} {:>9} {:>6} {:>6} {:>7} {:>7} {:>13} {:>8} {:>6} {:>8}",
        "loss",
        "estimator",
        "history",
        "increases",
        "flips",
        "jumps",
        "worst",
        "median",
        "contributors",
        "without",
        "wrong",
        "error"
    )?;
    for Named { loss, report, .. } in losses.iter().chain(control) {
        writeln!(
            said,
            "{:<6} {:<9} {:<10} {:>9} {:>6} {:>6} {:>7.4} {:>7.4} {:>13} {:>8} {:>6} {:>8.0e}",
            format!("{loss:?}").to_lowercase(),
            format!("{:?}", report.estimator).to_lowercase(),
            format!("{:?}", report.history).to_lowercase(),
            report.increases.len(),
            report.plan_flips.len(),
            report.jumps.len(),
            report.worst_final_ratio,
            report.median_final_ratio,
            report.contributors,
            report.without_gradient,
            report.wrong_gradient,
            report.worst_gradient_error,
        )?;
    }
    for Named { loss, report, failures } in losses.iter().chain(control).filter(|named| !named.failures.is_empty()) {
        let control = if report.history == History::Forgotten { " without history, as it must" } else { "" };
        writeln!(said, "\n{loss:?} fails{control}: {}", failures.join("; "))?;
    }
    for Named { loss, report, .. } in losses.iter().filter(|named| !named.report.plan_flips.is_empty()) {
        let (all, shown) = (report.plan_flips.len(), report.plan_flips.iter().take(12));
        let named: Vec<String> = shown.map(|(seed, epoch)| format!("{seed}:{epoch}")).collect();
        writeln!(said, "\n{loss:?}: {all} plan flips (seed:epoch; all with --json): {} ...", named.join(" "))?;
    }
    let Earlier { first, last, decreases, epochs } = EARLIER;
    writeln!(said, "\nAn earlier attempt elsewhere: {first} to {last}, {decreases} decreases in {epochs} epochs.")
}
