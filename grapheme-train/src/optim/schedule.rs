//! The learning rate over a run.

use super::{SettingError, require};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// What a person chooses about the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleSettings {
    /// The highest rate, reached at the end of the warm-up.
    pub peak: f64,
    /// The part of the run that the warm-up takes, in [0, 1).
    pub warmup: f64,
    /// The rate at the end as a part of the peak, in [0, 1].
    pub floor: f64,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self { peak: 3e-3, warmup: 0.1, floor: 0.01 }
    }
}

impl ScheduleSettings {
    /// Settings that can run.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn check(self) -> Result<Schedule, SettingError> {
        let Self { peak, warmup, floor } = self;
        require(peak > 0.0 && peak.is_finite(), "peak learning rate (--rate)", peak, "a positive number")?;
        require((0.0..1.0).contains(&warmup), "warmup", warmup, "at least 0 and below 1")?;
        require((0.0..=1.0).contains(&floor), "floor", floor, "between 0 and 1")?;
        Ok(Schedule(self))
    }
}

/// Linear warm-up, then half a cosine down to the floor (Loshchilov & Hutter 2017, "SGDR", without restarts).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule(ScheduleSettings);

impl Schedule {
    /// The rate at `progress`, the part of the run that is done; values outside [0, 1] count as the nearer end.
    ///
    /// With peak `r`, warm-up `u` and floor `f`: `r p / u` for `p < u`, after it
    /// `r (f + (1 - f) (1 + cos(pi (p - u) / (1 - u))) / 2)`. At progress 0 the rate is 0, so step `i` of `n` asks for
    /// `(i + 1) / n`, counting from 0; then the last step is taken at the floor.
    pub fn rate(&self, progress: f64) -> f64 {
        let ScheduleSettings { peak, warmup, floor } = self.0;
        let progress = progress.clamp(0.0, 1.0);
        if progress < warmup {
            return peak * progress / warmup;
        }
        let fall = (1.0 + (PI * (progress - warmup) / (1.0 - warmup)).cos()) / 2.0;
        peak * (floor + (1.0 - floor) * fall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_passes_through_the_points_that_define_it() {
        let schedule = ScheduleSettings { peak: 2.0, warmup: 0.1, floor: 0.01 }.check().unwrap();
        // Halfway down the cosine lies the mean of peak and floor.
        for (progress, expected) in
            [(-1.0, 0.0), (0.0, 0.0), (0.05, 1.0), (0.1, 2.0), (0.55, 1.01), (1.0, 0.02), (7.0, 0.02)]
        {
            let rate = schedule.rate(progress);
            assert!((rate - expected).abs() < 1e-15, "rate({progress}) = {rate}, expected {expected}");
        }
        let rates: Vec<f64> = (0..=1000).map(|i| schedule.rate(f64::from(i) / 1000.0)).collect();
        assert!(rates[..=100].windows(2).all(|pair| pair[0] < pair[1]), "the warm-up rises");
        assert!(rates[100..].windows(2).all(|pair| pair[0] > pair[1]), "the rest falls");
    }

    #[test]
    fn no_warm_up_starts_at_the_peak_and_a_floor_of_one_stays_there() {
        let schedule = ScheduleSettings { peak: 2.0, warmup: 0.0, floor: 1.0 }.check().unwrap();
        assert!([0.0, 0.3, 1.0].iter().all(|&progress| schedule.rate(progress) == 2.0));
    }

    #[test]
    fn settings_outside_their_range_are_named() {
        let good = ScheduleSettings::default();
        for (settings, name) in [
            (ScheduleSettings { peak: 0.0, ..good }, "peak learning rate (--rate)"),
            (ScheduleSettings { peak: f64::NAN, ..good }, "peak learning rate (--rate)"),
            (ScheduleSettings { peak: f64::INFINITY, ..good }, "peak learning rate (--rate)"),
            (ScheduleSettings { warmup: 1.0, ..good }, "warmup"),
            (ScheduleSettings { floor: -0.1, ..good }, "floor"),
        ] {
            assert_eq!(settings.check().unwrap_err().name, name);
        }
    }
}
