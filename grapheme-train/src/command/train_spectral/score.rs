//! How well a method predicts sequences that it never saw: one step ahead, and over rollouts from the end of the warm-up.

use super::method::Method;
use anyhow::Result;
use grapheme_optics::spectral::mean_squared_error;
use grapheme_optics::spectral::protocol::WARM;
use ndarray::Array2;

/// Lengths of the rollouts.
pub const ROLLOUTS: [usize; 3] = [5, 10, 40];

/// Mean squared errors one step ahead and over each rollout.
pub type Scores = [f64; 1 + ROLLOUTS.len()];

/// Scores a method; `hear` is told the map of each error one step ahead.
///
/// # Errors
/// A frame that the method refuses, or one that is scored and for which it has no answer.
pub fn score(method: &mut dyn Method, test: &[Vec<Array2<f64>>], mut hear: impl FnMut(&Array2<f64>)) -> Result<Scores> {
    let (mut sums, mut counts) = (Scores::default(), Scores::default());
    let mut add = |i: usize, error: f64| {
        sums[i] += error;
        counts[i] += 1.0;
    };
    for frames in test {
        method.clear();
        for (t, frame) in frames.iter().enumerate() {
            if t == WARM {
                let longest = ROLLOUTS[ROLLOUTS.len() - 1].min(frames.len() - WARM);
                for (step, expected) in method.rollout(longest)?.iter().enumerate() {
                    let error = mean_squared_error(expected, &frames[WARM + step]);
                    // It counts in every rollout that is longer.
                    ROLLOUTS
                        .iter()
                        .enumerate()
                        .filter(|(_, length)| step < **length)
                        .for_each(|(i, _)| add(1 + i, error));
                }
            }
            if t >= WARM {
                let error = frame - &method.predict()?;
                add(0, error.mapv(|e| e * e).mean().unwrap_or(0.0));
                hear(&error);
            } else {
                // Some learn from how wrong they were.
                method.predict().ok();
            }
            method.observe(frame)?;
        }
    }
    Ok(std::array::from_fn(|i| sums[i] / f64::max(counts[i], 1.0)))
}
