//! Says what is wrong with the gradients of a run.

use crate::command::CommandLine;
use crate::event::{Event, refusal};
use crate::output::print;
use crate::run::{RunFolder, read_metrics};
use crate::transducer::read_config;
use anyhow::{Result, bail, ensure};
use clap::{ArgMatches, Parser};
use grapheme_core::BoundaryFigures;
use grapheme_optics::Layout;
use grapheme_optics::diagnosis::diagnose;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Says where the gradients of a run fade, grow, are dead, bend or cancel, since which step, and what to change.
///
/// The run must have been trained with --optics: the file {} is enough, it changes nothing and only watches. Works while
/// the training goes on. Exit code 0 only if there is nothing to complain of.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// Run folder
    run: PathBuf,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  doctor runs/hun
  doctor runs/hun --json";

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        run(&self)
    }
}

fn run(cli: &Cli) -> Result<()> {
    let folder = RunFolder::open(&cli.run)?;
    let layout = Layout::of(&read_config(&folder)?.model.network);
    let events = read_metrics(&folder.metrics())?;
    let told = events.iter().filter_map(|event| match event {
        Event::Optics { step, boundaries } => Some((*step, boundaries.as_slice())),
        _ => None,
    });
    let steps: Vec<(u64, &[BoundaryFigures])> = told.collect();
    let Some((last, figures)) = steps.last() else {
        bail!(
            "{} has no telemetry: train again with --optics FILE; a file that holds {{}} changes nothing and only watches",
            folder.metrics().display()
        );
    };
    let verdicts = diagnose(&steps, &layout.layers);
    let refused = refusal(&events);
    let mut said = String::new();
    if cli.json {
        let words: Vec<String> = verdicts.iter().map(ToString::to_string).chain(refused.clone()).collect();
        let line = json!({
            "healthy": verdicts.is_empty() && refused.is_none(),
            "steps": steps.len(),
            "last_step": last,
            "verdicts": verdicts,
            "words": words,
        });
        writeln!(said, "{line}")?;
    } else {
        writeln!(
            said,
            "{:>8}  {:<22} {:>11} {:>11} {:>7} {:>6} {:>9}",
            "boundary", "above layer", "energy/row", "behind", "angle", "gate", "coherence"
        )?;
        for f in figures.iter().rev() {
            let rows = f.rows.max(1) as f64;
            let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
            writeln!(
                said,
                "{:>8}  {:<22} {:>11.3e} {:>11.3e} {:>7.1} {:>6} {:>9}",
                f.boundary,
                layout.layers.get(f.boundary).map_or("", String::as_str),
                f.energy_in / rows,
                (f.energy_out + f.quadrature) / rows,
                f.angle_mean.to_degrees(),
                or_dash(f.gate),
                or_dash(f.coherence),
            )?;
        }
        writeln!(said, "step {last}, {} steps in all\n", steps.len())?;
        for verdict in &verdicts {
            writeln!(said, "{verdict}")?;
        }
        if let Some(refused) = &refused {
            writeln!(said, "{refused}")?;
        }
        if verdicts.is_empty() && refused.is_none() {
            writeln!(said, "healthy: nothing to complain of")?;
        }
    }
    let printed = print(&said);
    let complaints = verdicts.len() + usize::from(refused.is_some());
    ensure!(complaints == 0, "{complaints} complaint{}", if complaints == 1 { "" } else { "s" });
    Ok(printed?)
}
