//! What came of each way of training: as figures, as JSON, as a table.

use crate::file;
use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt::Write as _;
use std::path::PathBuf;

/// One run.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) seed: u64,
    pub(super) rate: f64,
    /// Mean loss of an example over the last tenth of the steps.
    #[serde(deserialize_with = "number")]
    pub(super) loss: f64,
    /// Dev word error rate in percent.
    pub(super) wer: f64,
    /// Largest over smallest energy a row behind the boundaries, at the first step.
    #[serde(deserialize_with = "number")]
    pub(super) first_spread: f64,
    /// The median of the same over all steps.
    #[serde(deserialize_with = "number")]
    pub(super) spread: f64,
    /// Energy a row behind each boundary, medians over the steps.
    #[serde(deserialize_with = "numbers")]
    pub(super) energies: Vec<f64>,
    /// Loss of every step.
    #[serde(deserialize_with = "numbers")]
    pub(super) curve: Vec<f64>,
}

/// All runs of one way at its best rate. Means and deviations are over the runs that stayed finite.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) rate: f64,
    #[serde(deserialize_with = "pair")]
    pub(super) loss: [f64; 2],
    #[serde(deserialize_with = "pair")]
    pub(super) wer: [f64; 2],
    #[serde(deserialize_with = "number")]
    pub(super) spread: f64,
    /// Runs that did not stay finite.
    pub(super) broken: usize,
    /// Dev WER of the first seed at each rate that was tried, in their order.
    pub(super) tried: Vec<(f64, f64)>,
    pub(super) runs: Vec<Outcome>,
}

/// JSON knows no NaN and writes null.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    let found = Vec::<Option<f64>>::deserialize(from)?;
    Ok(found.into_iter().map(|x| x.unwrap_or(f64::NAN)).collect())
}

fn pair<'de, D: Deserializer<'de>>(from: D) -> Result<[f64; 2], D::Error> {
    Ok(<[Option<f64>; 2]>::deserialize(from)?.map(|x| x.unwrap_or(f64::NAN)))
}

/// The rows of some files; a way in a later file takes the place of the same in an earlier one.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for path in paths {
        let found: Vec<Row> = serde_json::from_slice(&file::read(path)?)
            .map_err(|error| anyhow!("{}: {error}", path.display()))
            .context("this is not what compare_optics prints with --json")?;
        for row in found {
            match rows.iter_mut().find(|known| known.name == row.name) {
                Some(known) => *known = row,
                None => rows.push(row),
            }
        }
    }
    Ok(rows)
}

/// Figures of all ways; then, seed 1, how their losses fell and what energy a row they had from the loss (right) to the input.
pub(super) fn table(said: &mut String, rows: &[Row]) -> std::fmt::Result {
    writeln!(
        said,
        "{:<20} {:>8} {:>17} {:>17} {:>14} {:>7}",
        "way", "rate", "loss", "dev WER", "energy spread", "broken"
    )?;
    for row in rows {
        let Row { name, rate, loss, wer, spread, broken, .. } = row;
        writeln!(
            said,
            "{name:<20} {rate:>8} {:>9.4} +- {:<5.3} {:>8.2} +- {:<5.2} {spread:>14.2e} {broken:>7}",
            loss[0], loss[1], wer[0], wer[1]
        )?;
    }
    writeln!(said, "\nmean loss over each eighth of the steps, seed 1")?;
    for Row { name, runs, .. } in rows {
        write!(said, "{name:<20}")?;
        let curve = &runs[0].curve;
        for part in curve.chunks(curve.len().div_ceil(8)) {
            write!(said, " {:>9.3}", part.iter().sum::<f64>() / part.len() as f64)?;
        }
        writeln!(said)?;
    }
    let boundaries = rows.first().map_or(0, |row| row.runs[0].energies.len());
    let shown: Vec<usize> =
        (0..boundaries).filter(|b| b % boundaries.div_ceil(8) == 0 || b + 1 == boundaries).collect();
    write!(said, "\nenergy a row behind a boundary, median over the steps, seed 1\n{:<20}", "boundary")?;
    shown.iter().try_for_each(|b| write!(said, " {b:>9}"))?;
    writeln!(said)?;
    for Row { name, runs, .. } in rows {
        write!(said, "{name:<20}")?;
        shown.iter().try_for_each(|&b| write!(said, " {:>9.1e}", runs[0].energies[b]))?;
        writeln!(said)?;
    }
    Ok(())
}
