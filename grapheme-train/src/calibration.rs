//! How sure a trained model may be of its answers.

use crate::file::{self, FileError};
use crate::transducer::TransducerError;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// The temperature of a model's answers (Guo et al., On calibration of modern neural networks, ICML 2017): proposal i with
/// log probability `l_i` has confidence `exp(l_i / T)` over the sum of that of all proposals.
///
/// A model that was trained until it knows its examples by heart is surer than it should be (T above 1), and so is a set,
/// whose members are right and wrong together. The order of proposals does not depend on T.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// T, from [`COLDEST`] to [`HOTTEST`].
    pub temperature: f64,
}

/// The least temperature.
pub const COLDEST: f64 = 0.125;
/// The highest temperature.
pub const HOTTEST: f64 = 8.0;

impl Default for Calibration {
    /// Confidence as the model has it, T = 1.
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl Calibration {
    /// The temperature that makes confidence in the best proposals fit how often they are right.
    ///
    /// `judged` holds, for each input, the log probabilities of its proposals, the best first, and whether that one is
    /// right. Maximises the likelihood of right and wrong, under a prior that keeps `ln T` near 0 (standard normal), so
    /// that a model which is always right, or was never tried, stays as it is or nearly so. `O(proposals)`.
    pub fn fit(judged: &[(Vec<f64>, bool)]) -> Self {
        let cost = |ln_t: f64| {
            let calibration = Self { temperature: ln_t.exp() };
            let surprise = judged.iter().map(|(logs, right)| {
                // Kept from 0 and 1, where a single answer would outweigh all others.
                let sure = calibration.confidences(logs).next().unwrap_or(0.0).clamp(1e-6, 1.0 - 1e-6);
                -if *right { sure.ln() } else { (1.0 - sure).ln() }
            });
            surprise.sum::<f64>() + 0.5 * ln_t * ln_t
        };
        Self { temperature: least(cost, COLDEST.ln(), HOTTEST.ln()).exp().clamp(COLDEST, HOTTEST) }
    }

    /// The confidence in each of some proposals, from their log probabilities, the highest first. They sum to 1, unless no
    /// proposal is possible: then all are 0.
    pub fn confidences<'a>(&self, logs: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        let best = logs.first().copied().unwrap_or(f64::NEG_INFINITY);
        let temperature = self.temperature;
        let weight = move |log: f64| if best.is_finite() { ((log - best) / temperature).exp() } else { 0.0 };
        let total: f64 = logs.iter().map(|&log| weight(log)).sum();
        logs.iter().map(move |&log| if total > 0.0 { weight(log) / total } else { 0.0 })
    }

    /// The calibration in a file; none if there is no such file.
    ///
    /// # Errors
    /// [`TransducerError::Calibration`] naming the file if it cannot be understood; what the operating system refuses.
    pub fn read(file: &Path) -> Result<Option<Self>, TransducerError> {
        let json = match file::read(file) {
            Err(error) if error.error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let bad = |reason: String| TransducerError::Calibration { file: file.display().to_string(), reason };
        let found: Self = serde_json::from_slice(&json).map_err(|error| bad(error.to_string()))?;
        let t = found.temperature;
        let fits = (COLDEST..=HOTTEST).contains(&t);
        fits.then_some(Some(found))
            .ok_or_else(|| bad(format!("a temperature of {t}, it must be from {COLDEST} to {HOTTEST}")))
    }

    /// Writes it to a file, whole or not at all.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn write(&self, file: &Path) -> Result<(), FileError> {
        file::replace(file, format!("{{\n  \"temperature\": {:?}\n}}\n", self.temperature).as_bytes())
    }
}

/// Where a function with one minimum between `low` and `high` has it, to a millionth of the distance (golden-section
/// search: Kiefer, 1953).
fn least(f: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut a, mut b) = (low, high);
    let (mut x, mut y) = (b - golden * (b - a), a + golden * (b - a));
    let (mut fx, mut fy) = (f(x), f(y));
    for _ in 0..29 {
        if fx <= fy {
            (b, y, fy) = (y, x, fx);
            x = b - golden * (b - a);
            fx = f(x);
        } else {
            (a, x, fx) = (x, y, fy);
            y = a + golden * (b - a);
            fy = f(y);
        }
    }
    (a + b) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::calibration_error;
    use grapheme_core::Stream;
    use rand::RngExt;
    use tempfile::tempdir;

    /// Inputs with three proposals each, whose true probabilities are a share of `exp(l / truth)`.
    fn judged(truth: f64, n: usize) -> Vec<(Vec<f64>, bool)> {
        let mut random = Stream::new(7);
        let mut judge = || {
            let mut logs: Vec<f64> = (0..3).map(|_| -6.0 * random.random::<f64>()).collect();
            logs.sort_by(|a, b| b.total_cmp(a));
            let sure = Calibration { temperature: truth }.confidences(&logs).next().unwrap();
            let right = random.random::<f64>() < sure;
            (logs, right)
        };
        (0..n).map(|_| judge()).collect()
    }

    #[test]
    fn the_temperature_that_made_the_answers_is_found_and_mends_the_calibration_error() {
        for truth in [0.5, 1.0, 2.5] {
            let judged = judged(truth, 20_000);
            let found = Calibration::fit(&judged);
            assert!((found.temperature / truth - 1.0).abs() < 0.05, "{} for {truth}", found.temperature);
            let error = |calibration: Calibration| {
                let sure = |logs: &Vec<f64>| calibration.confidences(logs).next().unwrap();
                calibration_error(judged.iter().map(|(logs, right)| (sure(logs), *right)))
            };
            assert!(error(found) < 1.5, "{}", error(found));
            if truth != 1.0 {
                assert!(error(Calibration::default()) > 5.0);
            }
        }
    }

    #[test]
    fn without_evidence_it_stays_and_what_is_always_right_is_no_reason_for_certainty_without_bound() {
        assert!((Calibration::fit(&[]).temperature - 1.0).abs() < 1e-4);
        let right: Vec<_> = (0..50).map(|_| (vec![-0.1, -3.0], true)).collect();
        let found = Calibration::fit(&right).temperature;
        assert!((0.2..1.0).contains(&found), "{found}");
    }

    #[test]
    fn confidences_are_shares_and_nothing_possible_has_none() {
        let hot = Calibration { temperature: 2.0 };
        let shares: Vec<f64> = hot.confidences(&[-1.0, -3.0, f64::NEG_INFINITY]).collect();
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12 && (shares[0] / shares[1] - 1f64.exp()).abs() < 1e-12);
        assert_eq!(shares[2], 0.0);
        assert!(hot.confidences(&[f64::NEG_INFINITY; 2]).eq([0.0, 0.0]));
        assert_eq!(hot.confidences(&[]).count(), 0);
    }

    #[test]
    fn a_file_returns_to_the_same_bits_and_a_damaged_one_is_named() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("calibration.json");
        assert_eq!(Calibration::read(&file).unwrap(), None);
        let written = Calibration { temperature: 1.0 / 3.0 };
        written.write(&file).unwrap();
        assert_eq!(Calibration::read(&file).unwrap(), Some(written));
        for bad in ["", "{}", "{\"temperature\": 0}", "{\"temperature\": 1e999}", "{\"temperature\": 1, \"more\": 2}"] {
            std::fs::write(&file, bad).unwrap();
            let message = Calibration::read(&file).unwrap_err().to_string();
            assert!(message.contains("calibration.json") && message.contains("delete"), "{message}");
        }
    }
}
