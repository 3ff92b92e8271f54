//! A run as a whole: one model, or the members of an ensemble one after another, in a folder.

use crate::ensemble::{Ensemble, calibration_file, member_folder};
use crate::event::Listener;
use crate::lanes::Lanes;
use crate::prepare::{Prepared, reload};
use crate::run::{RunError, RunFolder};
use crate::trainer::{TrainError, Trainer};
use crate::transducer::{TransducerError, read_config};
use grapheme_core::GraphTransformNet;
use std::path::Path;

/// A model that is to be trained, and its folder.
#[derive(Clone, Debug)]
pub struct Job {
    /// Settings and examples.
    pub prepared: Prepared,
    /// Where its files stand.
    pub run: RunFolder,
}

/// What becomes of a run that stands in the folder already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is left alone, and the new one is refused.
    Refuse,
    /// It is deleted.
    Replace,
}

/// Makes the folders of a new run, with their settings: `out` itself for one model, `out/member-1`, ... for several. A set
/// is whole from its first moment, trained or not.
///
/// # Errors
/// [`RunError`] if a run is in the way, or the operating system refuses.
pub fn begin(out: &Path, members: Vec<Prepared>, existing: Existing) -> Result<Vec<Job>, RunError> {
    let make = |folder: &Path| match existing {
        Existing::Refuse => RunFolder::create(folder),
        Existing::Replace => RunFolder::overwrite(folder),
    };
    // Of an ensemble the folder itself is refused, or cleared, like that of a run; so are members from before.
    let whole = make(out)?;
    for i in (0..).take_while(|&i| member_folder(out, i).exists()) {
        make(&member_folder(out, i))?;
    }
    let alone = members.len() == 1;
    let mut jobs = Vec::with_capacity(members.len());
    for (i, prepared) in members.into_iter().enumerate() {
        let run = if alone { whole.clone() } else { make(&member_folder(out, i))? };
        run.write_config(&prepared.config)?;
        jobs.push(Job { prepared, run });
    }
    Ok(jobs)
}

/// The jobs of a run that was begun.
///
/// # Errors
/// If there is no run, or its settings or examples are not those that it began with.
pub fn reopen(out: &Path) -> anyhow::Result<Vec<Job>> {
    let mut jobs: Vec<Job> = Vec::new();
    for run in Ensemble::folders(out)? {
        let mut prepared = reload(read_config(&run)?, run.path()).map_err(|error| {
            let config = run.config();
            let place =
                format!("{}: the examples of the run are looked for from the folder it began in", config.display());
            anyhow::Error::from(error).context(place)
        })?;
        if let Some(first) = jobs.first() {
            prepared.share(&first.prepared);
        }
        jobs.push(Job { prepared, run });
    }
    Ok(jobs)
}

/// The trainer of prepared examples.
///
/// # Errors
/// [`TrainError`] for settings out of range, and where no example can be learned from.
pub fn trainer(prepared: &Prepared, threads: usize) -> Result<Trainer<'_>, TrainError> {
    Trainer::new(&prepared.config, prepared.train.examples(), prepared.dev.examples(), threads)
}

/// The trained model of `out`, calibrated on the examples of its dev set; `calibration.json` says so to whoever loads it.
///
/// # Errors
/// [`TransducerError`] if it cannot be loaded, or the file not be written.
pub fn calibrate(out: &Path, jobs: &[Job], lanes: &Lanes<GraphTransformNet<f32>>) -> Result<Ensemble, TransducerError> {
    let mut model = Ensemble::load(out)?;
    let calibration = model.calibrate(jobs[0].prepared.dev.examples(), lanes)?;
    calibration.write(&calibration_file(out))?;
    Ok(model)
}

/// Trains every job to its end, from its last checkpoint if it has one; `before` is told which comes next, and may set its
/// trainer.
///
/// # Errors
/// [`TrainError`]; the last checkpoint is intact.
pub fn train(
    jobs: &[Job],
    threads: usize,
    listener: &mut dyn Listener,
    mut before: impl FnMut(usize, &mut Trainer<'_>),
) -> Result<(), TrainError> {
    for (i, job) in jobs.iter().enumerate() {
        let mut trainer = trainer(&job.prepared, threads)?;
        before(i, &mut trainer);
        trainer.run(&job.run, true, listener)?;
    }
    Ok(())
}
