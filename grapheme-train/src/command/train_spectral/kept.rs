//! A run of the predictor in its folder: what it was asked to do, a training that goes on where it was killed, and the trained predictor.

use super::look::Line;
use super::scene::Scene;
use super::training::{Step, Trainer, TrainingSettings, halves};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::command::interrupt::Interrupt;
use crate::command::spoken;
use crate::output::{shell_word, tell};
use crate::progress::Progress;
use crate::run::{MetricsLog, RunFolder};
use anyhow::{Context, Result, ensure};
use grapheme_optics::spectral::{Predictor, PredictorSettings};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// `config.json` of such a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// By this key the folder is known for what it is.
    pub spectral: Wishes,
}

/// What a run was asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wishes {
    /// What moves.
    pub pattern: Scene,
    /// Rows and columns.
    pub size: usize,
    /// Frames to learn from.
    pub frames: usize,
    /// Frames that are scored, without those before them.
    pub test: usize,
    /// Frames of the rollout.
    pub rollout: usize,
    /// Passes of the attention.
    pub passes: u32,
    /// Its learning rate at first.
    pub rate: f64,
    /// Of everything random.
    pub seed: u64,
    /// Of the predictor.
    pub predictor: PredictorSettings,
}

/// The form of `model.safetensors` that this program writes and reads.
const VERSION: u32 = 2;

/// What `model.safetensors` says of the predictor in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    shape: [usize; 2],
    settings: PredictorSettings,
    seed: u64,
    prior: [f64; 3],
}

/// Keeps a trained predictor: settings, what the recurrences have learned, and the weights of the attention. `metrics` is the length of
/// the log so far.
///
/// # Errors
/// A number that is not finite; what the operating system refuses.
pub fn save(path: &Path, predictor: &Predictor<f32>, seed: u64, metrics: u64) -> Result<(), CheckpointError> {
    let shape = predictor.bands().shape();
    let mut model = Checkpoint::new(path);
    model.note("spectral", VERSION);
    model.note("metrics", metrics);
    model.insert_value(
        "made",
        &Made { shape, settings: predictor.settings().clone(), seed, prior: predictor.prior() },
    )?;
    model.insert_value("experience", &predictor.forecast().experience())?;
    model.insert("correction", predictor.correction())?;
    model.save()
}

/// The predictor that [`save`] kept, to the same bits, and the length of the log then.
///
/// # Errors
/// A file that is damaged, of another version or of another kind.
pub fn load(path: &Path) -> Result<(Predictor<f32>, u64)> {
    let model = Checkpoint::open(path)?;
    let version: u32 = model.noted("spectral")?;
    let name = path.display();
    ensure!(
        version == VERSION,
        "{name}: version {version}, this program reads {VERSION}; use the program that wrote it"
    );
    let Made { shape, settings, seed, prior } = model.read_value("made")?;
    let cells = shape[0].checked_mul(shape[1]).filter(|&cells| cells <= super::MOST_CELLS);
    ensure!(cells.is_some(), "{name}: {shape:?} cells are more than can be held; the file is damaged, train again");
    super::moderate(&settings).with_context(|| format!("{name}: settings"))?;
    let mut predictor = Predictor::new(shape, settings, seed).with_context(|| format!("{name}: settings"))?;
    let experience = model.read_value("experience")?;
    predictor.forecast_mut().take_over(experience).with_context(|| format!("{name}: experience"))?;
    model.read_into("correction", predictor.correction_mut())?;
    ensure!(prior.iter().all(|sum| sum.is_finite()), "{name}: a prior of {prior:?}; the file is damaged, train again");
    predictor.set_prior(prior);
    Ok((predictor, model.noted("metrics")?))
}

/// A trained predictor, and the log that goes on behind its training.
pub struct Trained {
    /// The predictor, with an empty history.
    pub predictor: Predictor<f32>,
    /// Open behind the lines of training.
    pub log: MetricsLog,
    /// What training took, or nothing where it was over before.
    pub seconds: Option<f64>,
}

/// Trains, or goes on training, or takes what was trained.
///
/// The log is committed before a state is written, and a state before the next is; so a run that is killed at any instant goes on
/// from the state before, and ends in the same bits.
///
/// # Errors
/// What is damaged in the folder; frames that the predictor refuses; a training that diverges.
pub fn train(run: &RunFolder, wishes: &Wishes, frames: &[Array2<f64>], every: Duration) -> Result<Trained> {
    let clock = Instant::now();
    if run.model().exists() {
        let (predictor, length) = load(&run.model())?;
        let log = MetricsLog::open(&run.metrics(), length)?;
        return Ok(Trained { predictor, log, seconds: None });
    }
    let Wishes { passes, rate, seed, size, .. } = *wishes;
    let mut predictor = Predictor::<f32>::new([size, size], wishes.predictor.clone(), seed)?;
    let settings = TrainingSettings { passes, rate, seed };
    let (first, second) = halves(frames);
    let state = if run.has_state()? { Some(Checkpoint::open(&run.state())?) } else { None };
    let length = state.as_ref().map_or(Ok(0), |state| state.noted("metrics"))?;
    // From here on the folder is locked.
    let mut log = MetricsLog::open(&run.metrics(), length)?;
    let interrupt = Interrupt::listen()?;
    tell("fitting the recurrences");
    if passes > 0 {
        predictor.fit(&[first.to_vec()], seed)?;
        let sequences = [second];
        let mut trainer = Trainer::new(&mut predictor, &sequences, settings)?;
        if let Some(state) = &state {
            trainer.load(state).with_context(|| run.state().display().to_string())?;
        }
        let progress = Progress::resumed(trainer.taken() as u64, settings.steps(second.len()) as u64, "frames");
        let mut saved = Instant::now();
        while let Some(Step { pass, frame, loss, mean_loss, norm }) = trainer.step()? {
            progress.name(format!("loss {loss:.4}"));
            progress.advance(1);
            if frame + 1 == second.len() {
                progress.tell(&format!("pass {}/{passes}  loss {mean_loss:.4}", pass + 1));
            }
            log.append(&Line::Train { pass, frame: first.len() + frame, loss, gradient_norm: norm });
            let stops = interrupt.heard();
            if stops || saved.elapsed() >= every {
                let mut state = Checkpoint::new(run.state());
                state.note("metrics", log.commit()?);
                trainer.save(&mut state)?;
                state.save()?;
                saved = Instant::now();
            }
            if stops {
                let (taken, out) = (trainer.taken(), shell_word(&run.path().to_string_lossy()));
                let go_on = format!("{} --resume --out {out}", spoken("train_spectral"));
                return Err(interrupt.stopped(format!("{taken} steps are kept; go on with  {go_on}")));
            }
        }
    }
    predictor.fit(&[frames.to_vec()], seed)?;
    save(&run.model(), &predictor, seed, log.commit()?)?;
    Ok(Trained { predictor, log, seconds: Some(clock.elapsed().as_secs_f64()) })
}
