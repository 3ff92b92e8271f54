//! Traces rays through lenses with closed forms, checks the adjoint, and designs a lens by gradient descent.

use crate::command::CommandLine;
use crate::file;
use crate::output::print;
use anyhow::{Result, anyhow, ensure};
use clap::{ArgMatches, Parser};
use grapheme_core::check::NumericGradient;
use grapheme_optics::lens::design::{Task, beam, design, miss};
use grapheme_optics::lens::{Field, FishEye, Lens, ShootError, Vector, shoot};
use plotters::prelude::*;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Traces rays through Luneburg's lens and Maxwell's fish-eye, and designs a lens that focuses a parallel beam.
///
/// The design starts from a weak lens, n^2 = 1.2 - 0.1 r^2 - 0.1 r^4, and descends along the adjoint gradient. Writes lens.svg: the
/// beam through the first and the last draft. Exit code 0 only if both closed forms are met to 1e-4, the adjoint agrees with
/// finite differences to 1e-6, and the design misses its focus by less than a hundredth of what it began with.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// Steps of the design
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    steps: u32,
    /// Rays of the beam
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rays: u16,
    /// Step along a ray
    #[arg(long, default_value_t = 0.01, allow_negative_numbers = true)]
    path_step: f64,
    /// Folder for the picture
    #[arg(long, default_value = "runs/lens")]
    out: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  lens
  lens --steps 2000 --rays 31 --out runs/lens
  lens --json";

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        run(&self)
    }
}

fn run(cli: &Cli) -> Result<()> {
    ensure!((1e-5..=0.2).contains(&cli.path_step), "--path-step {}: must be from 0.00001 to 0.2", cli.path_step);
    let task = Task { rays: usize::from(cli.rays), step: cli.path_step, ..Task::default() };
    let luneburg = furthest(&Lens::luneburg(), beam(&task).map(|start| (start, [1.0, 0.0])), task.step)?;
    let angles = (0..task.rays).map(|i| 2.4 * ((i as f64 + 0.5) / task.rays as f64 - 0.5));
    let fish_eye = furthest(&FishEye, angles.map(|a| ([-1.0, 0.0], [a.cos(), a.sin()])), task.step)?;

    let start = Lens { coefficients: vec![1.2, -0.1, -0.1] };
    let (_, gradient) = miss(&start, &task)?;
    let numeric = NumericGradient::of_slice("coefficients", &start.coefficients, |c| {
        miss(&Lens { coefficients: c.to_vec() }, &task).map_or(f64::NAN, |(miss, _)| miss)
    });
    let gap = numeric.compare(1e-6, |_| &gradient).worst();

    let drafts = design(start, &task, cli.steps as usize, 0.5)?;
    let (first, last) = (&drafts[0], &drafts[drafts.len() - 1]);
    let picture = cli.out.join("lens.svg");
    let drawn = draw(&first.lens, &last.lens, &task).map_err(|error| anyhow!("{}: {error}", picture.display()))?;
    std::fs::create_dir_all(&cli.out).map_err(file::FileError::of("create", &cli.out))?;
    file::replace(&picture, drawn.as_bytes())?;

    let passed = luneburg < 1e-4 && fish_eye < 1e-4 && gap <= 1e-6 && last.miss < 1e-2 * first.miss;
    let mut said = String::new();
    if cli.json {
        let line = json!({
            "passed": passed,
            "luneburg_miss": luneburg,
            "fish_eye_miss": fish_eye,
            "adjoint_gap": gap,
            "first_miss": first.miss.sqrt(),
            "last_miss": last.miss.sqrt(),
            "drafts": drafts.len(),
            "coefficients": last.lens.coefficients,
            "picture": picture,
        });
        writeln!(said, "{line}")?;
    } else {
        writeln!(said, "Luneburg's lens     beam leaves within {luneburg:.1e} of the focus")?;
        writeln!(said, "Maxwell's fish-eye  rays leave within {fish_eye:.1e} of the antipode")?;
        writeln!(said, "adjoint             within {gap:.1e} of finite differences, relative")?;
        writeln!(
            said,
            "design              {:.3} off the focus at first, {:.1e} after {} better drafts",
            first.miss.sqrt(),
            last.miss.sqrt(),
            drafts.len() - 1
        )?;
        let terms = last.lens.coefficients.iter().enumerate().map(|(k, c)| match k {
            0 => format!("{c:.5}"),
            _ => format!("{c:+.5} r^{}", 2 * k),
        });
        writeln!(said, "                    n^2 = {}", terms.collect::<Vec<_>>().join(" "))?;
        writeln!(said, "picture             {}\n{}", picture.display(), if passed { "passed" } else { "FAILED" })?;
    }
    let printed = print(&said);
    ensure!(passed, "a closed form is missed, the adjoint disagrees, or the design does not focus");
    Ok(printed?)
}

/// The largest distance from (1, 0) at which rays leave.
fn furthest(field: &impl Field, rays: impl Iterator<Item = (Vector, Vector)>, step: f64) -> Result<f64, ShootError> {
    let mut most = 0.0_f64;
    for (start, towards) in rays {
        let ([x, y], _) = shoot(field, start, towards, step)?.end();
        most = most.max((x - 1.0).hypot(y));
    }
    Ok(most)
}

/// Both lenses side by side, with the beam.
fn draw(first: &Lens, last: &Lens, task: &Task) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (900, 460)).into_drawing_area();
        area.fill(&WHITE)?;
        let halves = area.split_evenly((1, 2));
        for (half, (lens, title)) in halves.iter().zip([(first, "first draft"), (last, "last draft")]) {
            let mut chart = ChartBuilder::on(half)
                .caption(title, ("sans-serif", 18))
                .margin(12)
                .build_cartesian_2d(-1.6..1.6, -1.5..1.5)?;
            let circle = (0..=120).map(|i| f64::from(i) * std::f64::consts::TAU / 120.0).map(|a| (a.cos(), a.sin()));
            chart.draw_series(LineSeries::new(circle, BLACK.mix(0.5)))?;
            for start in beam(task) {
                let path = shoot(lens, start, [1.0, 0.0], task.step)?;
                let (end, p) = path.end();
                let inside = path.states.iter().map(|(x, _)| (x[0], x[1]));
                let before = std::iter::once((-1.5, start[1]));
                let behind = std::iter::once((end[0] + 0.5 * p[0], end[1] + 0.5 * p[1]));
                chart.draw_series(LineSeries::new(before.chain(inside).chain(behind), RGBColor(0, 114, 178)))?;
            }
            chart.draw_series([Circle::new((task.focus[0], task.focus[1]), 4, RGBColor(213, 94, 0).filled())])?;
        }
        area.present()?;
    }
    Ok(text)
}
