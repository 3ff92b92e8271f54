//! Checks every derivative of the project against finite differences, and the check itself with planted faults.

use anyhow::{Result, bail, ensure};
use clap::Parser;
use grapheme_core::Vacuum;
use grapheme_train::output::{conclude, print, tell};
use grapheme_train::proof::gradient_check::{Outcome, Settings, check};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Instant;

/// Checks every derivative against finite differences.
///
/// In f64: every parameter that the inputs touch and every input feature, for every combination of loss, assignment,
/// estimator and layers, on networks and inputs that are tiny but of every kind. An estimator that is the derivative of no
/// loss, as straight-through, is the derivative of a surrogate, and that is checked: compare_estimators says how far it
/// is from the gradient of an expectation. The error of a derivative is
/// |a - n| / max(|a|, |n|, 0.01 x root mean square of its block). An error of 1% is planted in every block of the gradient
/// and at every boundary between layers, and must be caught; the f32 gradient is compared with the f64 one. The exit code
/// is 0 only if all of this holds.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// Print one line of JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Networks a combination
    #[arg(long, default_value_t = Settings::default().seeds, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed; the inputs turn with it: texts, texts with a window, branched graphs
    #[arg(long, default_value_t = Settings::default().seed)]
    seed: u64,
    /// Threads, 0 for one a core; they change the time and nothing else
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// The largest relative error in f64 that passes
    #[arg(long, default_value_t = Settings::default().tolerance)]
    tolerance: f64,
    /// Only combinations whose name (loss/assignment/estimator/layers) contains this
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
}

const EXAMPLES: &str = "\
Examples:
  test_gradient_check                                  everything, ten seeds
  test_gradient_check --json                           one line for a program to read
  test_gradient_check --seeds 1 --filter recurrent     the recurrent layers, one seed
  test_gradient_check --filter graph/sinkhorn-unrolled/pathwise/two-stages --seed 7 --seeds 1";

/// The line of `--json`.
#[derive(Serialize)]
struct Figures {
    checked: usize,
    max_rel_err: f64,
    tolerance: f64,
    f32_max_rel_err: f64,
    f32_tolerance: f64,
    faults_planted: usize,
    faults_caught: usize,
    combinations: usize,
    not_defined: usize,
    seeds: u64,
    seconds: f64,
    passed: bool,
}

fn main() -> ExitCode {
    conclude(run(Cli::parse()))
}

fn run(cli: Cli) -> Result<()> {
    let Cli { json, seeds, seed, threads, tolerance, filter } = cli;
    ensure!(tolerance > 0.0 && tolerance.is_finite(), "--tolerance {tolerance}: it must be a positive number");
    let settings = Settings { seeds, seed, threads, tolerance, filter, ..Settings::default() };
    let clock = Instant::now();
    let outcome = watch(&settings)?;
    let seconds = clock.elapsed().as_secs_f64();
    let complaints = outcome.complaints();
    let figures = figures(&outcome, seeds, seconds);
    let mut said = String::new();
    if json {
        writeln!(said, "{}", serde_json::to_string(&figures)?)?;
    } else {
        write!(said, "{outcome}")?;
        let Figures { checked, max_rel_err, f32_max_rel_err, faults_planted, faults_caught, .. } = figures;
        writeln!(
            said,
            "\n{checked} numbers checked in {seconds:.1} s, max relative error {max_rel_err:.2e} (f32 {f32_max_rel_err:.2e}), \
             {faults_caught} of {faults_planted} planted faults caught"
        )?;
    }
    // A reader that has left does not make what failed a success.
    let printed = print(&said);
    if !complaints.is_empty() {
        bail!("the gradient check failed:\n  {}", complaints.join("\n  "));
    }
    Ok(printed?)
}

/// Runs the check behind a progress bar; where standard error is no terminal, ten lines.
fn watch(settings: &Settings) -> Result<Outcome> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} cases  {eta} left")?;
    let bar = ProgressBar::new(0).with_style(style);
    let outcome = check(settings, &Vacuum, |done, all| {
        if bar.is_hidden() {
            if done * 10 / all > (done - 1) * 10 / all {
                tell(&format!("{done}/{all} cases"));
            }
        } else {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        }
    });
    bar.finish_and_clear();
    Ok(outcome?)
}

fn figures(outcome: &Outcome, seeds: u64, seconds: f64) -> Figures {
    let faults = outcome.faults();
    let not_defined = outcome.combinations.iter().filter(|one| one.combination.undefined().is_some()).count();
    Figures {
        checked: outcome.checked(),
        max_rel_err: outcome.max_rel_err(),
        tolerance: outcome.tolerance,
        f32_max_rel_err: outcome.single_max_rel_err(),
        f32_tolerance: outcome.single_tolerance,
        faults_planted: faults.planted,
        faults_caught: faults.caught,
        combinations: outcome.combinations.len() - not_defined,
        not_defined,
        seeds,
        seconds,
        passed: outcome.passed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_its_defaults_are_those_of_the_library() {
        Cli::command().debug_assert();
        let Cli { seeds, seed, threads, tolerance, filter, .. } = Cli::parse_from(["test_gradient_check"]);
        let settings = Settings { seeds, seed, threads, tolerance, filter, ..Settings::default() };
        assert_eq!(settings, Settings::default());
    }
}
