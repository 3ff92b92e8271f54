//! How long something takes, and how sure that is.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Seconds that one run takes, over several rounds of runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The median over rounds.
    pub median: f64,
    /// The lower quartile.
    pub low: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Timing {
    /// The quartiles of some measurements of one thing.
    ///
    /// # Panics
    /// Without measurements.
    pub fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| seconds[(share * (seconds.len() - 1) as f64).round() as usize];
        Self { median: at(0.5), low: at(0.25), high: at(0.75) }
    }

    /// How far the quartiles lie apart, as a share of the median: what a comparison has to exceed.
    pub fn noise(&self) -> f64 {
        (self.high - self.low) / self.median
    }
}

/// Measures `time`, which says how long so many runs took, for about `budget`: rounds of equal length, at least five.
pub fn measure(budget: Duration, mut time: impl FnMut(u64) -> Duration) -> Timing {
    const ROUNDS: u32 = 15;
    let mut runs = 1;
    // The first run also allocates and fills caches; double until a round is long enough for the clock.
    let started = Instant::now();
    let mut took = time(runs);
    while took < budget / ROUNDS / 2 && started.elapsed() < budget / 4 {
        runs *= 2;
        took = time(runs);
    }
    let started = Instant::now();
    let mut seconds = Vec::new();
    while seconds.len() < 5 || (seconds.len() < ROUNDS as usize && started.elapsed() < budget) {
        seconds.push(time(runs).as_secs_f64() / runs as f64);
    }
    Timing::of(seconds)
}

/// How long so many runs take together.
pub fn repeat<T>(runs: u64, mut run: impl FnMut() -> T) -> Duration {
    let started = Instant::now();
    for _ in 0..runs {
        std::hint::black_box(run());
    }
    started.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_known_length_is_measured() {
        let timing = measure(Duration::from_millis(60), |runs| Duration::from_micros(3 * runs));
        assert_eq!((timing.median, timing.noise()), (3e-6, 0.0));
        let timing = Timing::of(vec![5.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!((timing.low, timing.median, timing.high), (2.0, 3.0, 4.0));
    }
}
