//! Checks every derivative of the project against finite differences, and the check itself with planted faults.

use crate::command::CommandLine;
use crate::output::print;
use crate::progress::Progress;
use crate::proof::gradient_check::{Checked, Outcome, Settings, check};
use anyhow::{Result, bail, ensure};
use clap::{ArgMatches, Parser};
use grapheme_core::{Boundary, GradientMedium, Scalar, Topology, Vacuum};
use grapheme_optics::proof::{Glass, Slope, hypergradients, learners, three_rounds, vacuum_is_plain};
use ndarray::Array2;
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Instant;

/// Checks every derivative against finite differences.
///
/// In f64: every parameter that the inputs touch and every input feature, for every combination of loss, assignment,
/// estimator and layers, on networks and inputs that are tiny but of every kind. An estimator that is the derivative of no
/// loss, as straight-through, is the derivative of a surrogate, and that is checked: compare_estimators says how far it
/// is from the gradient of an expectation. The error of a derivative is
/// |a - n| / max(|a|, |n|, 0.01 x root mean square of its block). An error of 1% is planted in every block of the gradient
/// and at every boundary between layers, and must be caught; the f32 gradient is compared with the f64 one.
///
/// Then the same behind a linear medium at every boundary, which is the derivative of a loss too, for the pathwise combinations;
/// a vacuum against plain backpropagation, to the bit; and the hypergradients of gates and of shares of light guides against
/// finite differences of two real steps. The exit code is 0 only if all of this holds.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// Print one line of JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Networks a combination
    #[arg(long, default_value_t = Settings::default().seeds, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed; the inputs turn with it: texts, texts with a window, branched graphs, trees, patterns
    #[arg(long, default_value_t = Settings::default().seed)]
    seed: u64,
    /// Threads, 0 for one a core; they change the time and nothing else
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// The largest relative error in f64 that passes
    #[arg(long, default_value_t = Settings::default().tolerance, allow_negative_numbers = true)]
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
    media: MediaFigures,
    combinations: usize,
    not_defined: usize,
    seeds: u64,
    seconds: f64,
    passed: bool,
}

/// What was found of media.
#[derive(Serialize)]
struct MediaFigures {
    checked: usize,
    max_rel_err: f64,
    faults_planted: usize,
    faults_caught: usize,
    vacuum_is_plain: bool,
    hypergradients: usize,
    hypergradient_max_rel_err: f64,
    hypergradient_tolerance: f64,
}

/// The largest relative error of a hypergradient that passes.
const SLOPE_TOLERANCE: f64 = 1e-5;

/// The seeds at most that media are checked with: their inputs take turns over three.
const MEDIA_SEEDS: u64 = 3;

/// Optics' linear medium with its transpose.
struct Transposed(Glass);

impl<S: Scalar> GradientMedium<S> for Transposed {
    type Trace = ();

    fn cross(&self, boundary: Boundary, topology: &Topology, gradient: &mut Array2<S>, (): &mut ()) {
        self.0.cross(boundary, topology, gradient, &mut ());
    }
}

impl Checked for Transposed {
    fn transpose(&self, _: Boundary, topology: &Topology, x: &mut Array2<f64>) {
        self.0.transpose(topology, x);
    }
}

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        run(self)
    }
}

fn run(cli: Cli) -> Result<()> {
    let Cli { json, seeds, seed, threads, tolerance, filter } = cli;
    let threads = usize::from(threads);
    ensure!(tolerance > 0.0 && tolerance.is_finite(), "--tolerance {tolerance}: it must be a positive number");
    let settings = Settings { seeds, seed, threads, tolerance, filter, ..Settings::default() };
    let clock = Instant::now();
    let outcome = watch(&settings, &Vacuum)?;
    let mut complaints = complaints_of(&settings, &outcome);
    let media = media(&settings, &mut complaints)?;
    let seconds = clock.elapsed().as_secs_f64();
    let mut figures = figures(&outcome, media, seeds, seconds);
    figures.passed = complaints.is_empty();
    let mut said = String::new();
    if json {
        writeln!(said, "{}", serde_json::to_string(&figures)?)?;
    } else {
        write!(said, "{outcome}")?;
        let unreached = outcome.without_gradient();
        if !unreached.is_empty() {
            writeln!(said, "\nwithout a gradient here, and so without a planted fault: {}", unreached.join(", "))?;
        }
        let Figures { checked, max_rel_err, f32_max_rel_err, faults_planted, faults_caught, .. } = figures;
        writeln!(
            said,
            "\n{checked} numbers checked in {seconds:.1} s, max relative error {max_rel_err:.2e} (f32 {f32_max_rel_err:.2e}), \
             {faults_caught} of {faults_planted} planted faults caught"
        )?;
        let MediaFigures { checked, max_rel_err, faults_planted, faults_caught, .. } = figures.media;
        writeln!(
            said,
            "behind a linear medium {checked} numbers, max relative error {max_rel_err:.2e}, {faults_caught} of \
             {faults_planted} planted faults caught; vacuum {} plain backpropagation; {} hypergradients, max relative \
             error {:.2e}",
            if figures.media.vacuum_is_plain { "is" } else { "is NOT" },
            figures.media.hypergradients,
            figures.media.hypergradient_max_rel_err
        )?;
    }
    // A reader that has left does not make what failed a success.
    let printed = print(&said);
    if !complaints.is_empty() {
        bail!("the gradient check failed:\n  {}", complaints.join("\n  "));
    }
    Ok(printed?)
}

/// What speaks against the check. Combinations that were chosen by name need not reach every block.
fn complaints_of(settings: &Settings, outcome: &Outcome) -> Vec<String> {
    let mut complaints = outcome.complaints();
    if settings.filter.is_empty() {
        let unreached = outcome.without_gradient().into_iter();
        let unreached = unreached.map(|name| format!("{name}: no case had a gradient, so no fault could be planted"));
        complaints.extend(unreached);
    }
    complaints
}

/// Runs the check, and says how far it is.
fn watch(settings: &Settings, medium: &impl Checked) -> Result<Outcome> {
    let progress = OnceLock::new();
    Ok(check(settings, medium, |_, all| progress.get_or_init(|| Progress::new(all as u64, "cases")).advance(1))?)
}

/// Checks media, and adds what speaks against them to the complaints.
fn media(settings: &Settings, complaints: &mut Vec<String>) -> Result<MediaFigures> {
    let seeds = settings.seeds.min(MEDIA_SEEDS);
    let filter = if settings.filter.is_empty() { "/pathwise/".to_owned() } else { settings.filter.clone() };
    let outcome = watch(&Settings { seeds, filter, ..settings.clone() }, &Transposed(Glass))?;
    complaints
        .extend(complaints_of(settings, &outcome).into_iter().map(|complaint| format!("behind a medium: {complaint}")));
    let config = three_rounds();
    let vacuum_is_plain = vacuum_is_plain(&config)?;
    if !vacuum_is_plain {
        complaints.push("the gradient in a vacuum is not that of plain backpropagation, to the bit".to_owned());
    }
    let (mut count, mut worst) = (0, 0.0_f64);
    for (name, settings) in learners() {
        for slope in hypergradients(&settings, &config)? {
            let Slope { name: place, analytic, numeric } = &slope;
            count += 1;
            worst = worst.max(slope.error());
            if slope.error() > SLOPE_TOLERANCE {
                complaints.push(format!("hypergradient of {place} in {name}: {analytic:e}, numerically {numeric:e}"));
            }
        }
    }
    let faults = outcome.faults();
    Ok(MediaFigures {
        checked: outcome.checked(),
        max_rel_err: outcome.max_rel_err(),
        faults_planted: faults.planted,
        faults_caught: faults.caught,
        vacuum_is_plain,
        hypergradients: count,
        hypergradient_max_rel_err: worst,
        hypergradient_tolerance: SLOPE_TOLERANCE,
    })
}

fn figures(outcome: &Outcome, media: MediaFigures, seeds: u64, seconds: f64) -> Figures {
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
        media,
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
        let threads = usize::from(threads);
        let settings = Settings { seeds, seed, threads, tolerance, filter, ..Settings::default() };
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn all_combinations_together_must_reach_every_block_and_boundary() {
        let few = Settings { seeds: 1, filter: "words/monotone/marginal/gated".to_owned(), ..Settings::default() };
        let mut outcome = watch(&few, &Vacuum).unwrap();
        outcome.boundaries[0].1 = Default::default();
        assert!(complaints_of(&few, &outcome).is_empty());
        let all = Settings { filter: String::new(), ..few };
        let complaints = complaints_of(&all, &outcome);
        assert!(
            complaints.len() == 1 && complaints[0].ends_with("no case had a gradient, so no fault could be planted")
        );
    }
}
