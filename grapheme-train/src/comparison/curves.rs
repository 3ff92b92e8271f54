//! The same model trained under each estimator.

use crate::data::{BadLines, DataError};
use crate::estimator::EstimatorName;
use crate::event::{Event, Listener};
use crate::file::{self, FileError};
use crate::job;
use crate::objective::LossName;
use crate::prepare::{Source, Wishes, prepare};
use crate::progress::Progress;
use crate::run::{RunError, RunFolder};
use crate::settings::Preset;
use crate::trainer::TrainError;
use serde::Serialize;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct CurveData {
    /// Of its files and runs.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Training examples.
    pub train: PathBuf,
    /// Held-out examples.
    pub dev: PathBuf,
    /// Passes over the training examples.
    pub epochs: usize,
    /// Training examples in the file.
    pub examples: usize,
}

/// One training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// The data, by name.
    pub data: String,
    /// What people call them.
    pub title: String,
    /// The estimator.
    pub estimator: EstimatorName,
    /// The seed.
    pub seed: u64,
    /// Word error rate on dev after each epoch, in percent.
    pub wer: Vec<f64>,
}

/// A training could not be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CurveError {
    /// The examples cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The folder of a run cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The training stopped.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Notes the dev figures of each epoch, and counts its examples.
struct Notes<'a> {
    wer: Vec<f64>,
    examples: usize,
    progress: &'a Progress,
}

impl Listener for Notes<'_> {
    fn hear(&mut self, event: &Event) {
        if let Event::Epoch { dev: Some(dev), .. } = event {
            self.wer.push(dev.wer);
            self.progress.advance(self.examples as u64);
        }
    }
}

/// Trains the tiny network under one estimator, with the `words` loss as that estimator needs it. The run is left in a folder
/// below `out`. `progress` counts the examples of each epoch.
///
/// # Errors
/// [`CurveError`].
pub fn train(
    data: &CurveData,
    estimator: EstimatorName,
    seed: u64,
    out: &Path,
    threads: usize,
    progress: &Progress,
) -> Result<Curve, CurveError> {
    let source = Source::Files { train: data.train.clone(), dev: data.dev.clone() };
    // One recipe whatever the number of examples, so that data sets differ by what they hold alone.
    let wishes = Wishes {
        preset: Preset::Tiny,
        loss: LossName::Words,
        estimator: Some(estimator),
        epochs: Some(data.epochs),
        batch: Some(16),
        lane: Some(16),
        average: 0.9,
        ..Wishes::default()
    };
    let prepared = prepare(&source, BadLines::Stop, wishes, seed)?;
    let run = RunFolder::overwrite(out.join(format!("{}-{estimator}-{seed}", data.name)))?;
    run.write_config(&prepared.config)?;
    let mut notes = Notes { wer: Vec::new(), examples: data.examples, progress };
    job::trainer(&prepared, threads)?.run(&run, false, &mut notes)?;
    Ok(Curve { data: data.name.clone(), title: data.title.clone(), estimator, seed, wer: notes.wer })
}

/// Writes pairs as two columns, `times` times over.
///
/// # Errors
/// [`FileError`].
pub fn write_pairs(path: &Path, pairs: &[(String, String)], times: usize) -> Result<(), FileError> {
    let lines: String = pairs.iter().map(|(input, target)| format!("{input}\t{target}\n")).collect();
    file::replace(path, lines.repeat(times).as_bytes())
}

/// The last error rate of each seed: the median, and the range.
pub fn ending(curves: &[&Curve]) -> (f64, f64, f64) {
    let mut last: Vec<f64> = curves.iter().filter_map(|curve| curve.wer.last().copied()).collect();
    last.sort_by(f64::total_cmp);
    let at = |i: usize| last.get(i).copied().unwrap_or(f64::NAN);
    (at(last.len() / 2), at(0), at(last.len().saturating_sub(1)))
}
