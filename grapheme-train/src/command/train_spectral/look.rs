//! What a trained predictor does on frames that it never saw, and what becomes of its errors.

use super::picture::Moment;
use anyhow::Result;
use grapheme_optics::field::charge::{Breakdown, Charge, ChargeSettings, waiting_times};
use grapheme_optics::field::fronts::{isoline, length};
use grapheme_optics::spectral::Predictor;
use grapheme_optics::spectral::protocol::{Errors, WARM};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// One line of metrics.jsonl.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// One frame of training.
    Train { pass: u32, frame: usize, loss: f64, gradient_norm: f64 },
    /// One frame of the test.
    Test { frame: usize, error: f64, front: f64, stored: f64, breakdowns: usize, trust: f64, passed_gate: f64 },
}

/// What the test showed.
pub struct Look {
    /// Squared errors by method.
    pub errors: Errors,
    /// To be drawn, a frame each.
    pub moments: Vec<Moment>,
    /// What broke down.
    pub events: Vec<Breakdown>,
    /// Of one prediction and of taking one frame in.
    pub milliseconds: f64,
    /// For the log.
    pub lines: Vec<Line>,
}

impl Look {
    /// The median of the frames between a breakdown and the next; nothing of less than two.
    pub fn waiting(&self) -> Option<usize> {
        let mut times = waiting_times(&self.events);
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    /// The same as people read it, behind how many breakdowns there were.
    pub fn rhythm(&self) -> String {
        match self.waiting() {
            None => String::new(),
            Some(0) => ", most of them beside others in the same frame".into(),
            Some(1) => ", most of them a frame after another".into(),
            Some(frames) => format!(", {frames} frames apart in the median"),
        }
    }
}

/// Predicts every frame of the test, which begins with those that only warm the history, and watches the errors.
///
/// # Errors
/// Frames that the predictor refuses.
pub fn look(predictor: &mut Predictor<f32>, test: &[Array2<f64>]) -> Result<Look> {
    let (mut errors, mut seen) = (Errors::default(), Vec::new());
    errors.one_step(predictor, test, |_, prediction, predictor| {
        let (links, share) = predictor.wormholes();
        seen.push((prediction.clone(), links, share, predictor.trust()));
    })?;
    // Again without spectators, as these take longer than the prediction.
    let clock = Instant::now();
    predictor.clear();
    for frame in test {
        predictor.predict();
        predictor.observe(frame)?;
    }
    let milliseconds = clock.elapsed().as_secs_f64() * 1e3 / test.len() as f64;

    // The first frames cannot be predicted, so their errors say nothing of the predictor.
    let maps: Vec<Array2<f64>> =
        seen.iter().zip(test).skip(WARM).map(|((prediction, ..), frame)| (frame - prediction).mapv(f64::abs)).collect();
    let peak = maps.iter().flatten().fold(f64::MIN_POSITIVE, |peak, &e| peak.max(e));
    // In units of the largest error, so that what counts as charged does not depend on how good the predictor is.
    let mut charge = Charge::new([test[0].nrows(), test[0].ncols()], ChargeSettings::default());
    let (mut moments, mut events, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for ((t, error), (prediction, links, share, trust)) in maps.iter().enumerate().zip(seen.into_iter().skip(WARM)) {
        let broken = charge.observe(&error.mapv(|e| e / peak));
        let top = error.iter().fold(0.0_f64, |top, &e| top.max(e));
        let front = isoline(error, 0.5 * top);
        lines.push(Line::Test {
            frame: WARM + t,
            error: error.mapv(|e| e * e).sum() / error.len() as f64,
            front: length(&front),
            stored: charge.stored().sum(),
            breakdowns: broken.len(),
            trust,
            passed_gate: share,
        });
        moments.push(Moment {
            frame: test[WARM + t].clone(),
            prediction,
            error: error.mapv(|e| e / peak),
            front,
            stored: charge.stored().clone(),
            broken: broken.clone(),
            links,
        });
        events.extend(broken.into_iter().map(|event| Breakdown { step: WARM + t, ..event }));
    }
    Ok(Look { errors, moments, events, milliseconds, lines })
}
