//! Protocol 1: all eleven patterns with one model and one set of settings, and the simple methods beside it.

use super::rows::{self, rows};
use super::training::{TrainingSettings, all_steps, learn_all};
use crate::output::print;
use crate::progress::Progress;
use anyhow::{Result, ensure};
use grapheme_core::Stream;
use grapheme_optics::spectral::protocol::{Errors, WARM};
use grapheme_optics::spectral::recurrence::{LearnedSettings, Recurrence};
use grapheme_optics::spectral::{
    Forecast, ForecastSettings, Pattern, Predictor, PredictorSettings, Variation, mean_squared_error,
};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;

/// Frames 0 to 499 are learned from; of frames 10,000 to 10,100 all but the first 16 are scored.
const LEARN: usize = 500;
const FIRST: i64 = 10_000;
const TEST: usize = 101;
/// Mean squared errors below this are as good as none.
const FLOOR: f64 = 1e-8;
/// Where single frames cannot be foreseen, and of who misses them by a little less little follows.
const LUCK: [Pattern; 4] = [Pattern::Switching, Pattern::PhaseJump, Pattern::NoisyMotion, Pattern::Bifurcation];
const SLACK: f64 = 1.05;
/// What the flips of the colliding waves may cost: they are regular, so no more than this.
const FLIPS: f64 = 1e-2;

/// The simple methods, fitted to the same frames.
const SIMPLE: [Recurrence; 7] = [
    Recurrence::Extrapolation { degree: 0 },
    Recurrence::Extrapolation { degree: 1 },
    Recurrence::Lags { lags: 8 },
    Recurrence::Lags { lags: 16 },
    Recurrence::Neighbourhood,
    Recurrence::Components { delays: 4 },
    Recurrence::Mean,
];

/// What one pattern showed.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    pattern: Pattern,
    /// By simple method.
    simple: Vec<f64>,
    /// The least of them.
    best: f64,
    /// What the predictor may have.
    bound: f64,
    /// The predictor's error by seed, with its attention and without.
    predictor: Vec<f64>,
    rules: Vec<f64>,
    /// Whether it stays within the bound with every seed.
    holds: bool,
}

impl rows::Row for Row {
    fn pattern(&self) -> Pattern {
        self.pattern
    }
}

/// Runs the protocol on n x n cells; `keep` as in [`rows()`].
///
/// # Errors
/// A pattern on which a seed is outside its bound, after everything was printed.
pub fn run(n: usize, seeds: &[u64], training: TrainingSettings, keep: Option<&Path>, is_json: bool) -> Result<()> {
    let mut line = serde_json::json!({
        "protocol": 1, "size": n, "seeds": seeds, "passes": training.passes, "rate": training.rate
    });
    let steps = all_steps(LEARN, training) * seeds.len();
    let rows = rows(keep, &line, steps as u64, |pattern, progress| row(pattern, n, seeds, training, progress))?;
    let names: Vec<String> = SIMPLE.iter().map(Recurrence::name).collect();
    if is_json {
        line["methods"] = names.into();
        line["patterns"] = serde_json::to_value(&rows)?;
        print(&format!("{line}\n"))?;
    } else {
        print(&table(&rows, &names)?)?;
    }
    let missed: Vec<&str> = rows.iter().filter(|row| !row.holds).map(|row| row.pattern.name()).collect();
    ensure!(missed.is_empty(), "worse than a simple method on {}", missed.join(", "));
    Ok(())
}

fn row(pattern: Pattern, n: usize, seeds: &[u64], training: TrainingSettings, progress: &Progress) -> Result<Row> {
    let standard = Variation::default();
    let learn = pattern.frames(0, LEARN, n, &standard)?;
    let test = pattern.frames(FIRST, TEST, n, &standard)?;
    let simple = simple(&learn, &test)?;
    let best = simple.iter().copied().fold(f64::INFINITY, f64::min);
    let slack = if LUCK.contains(&pattern) { SLACK } else { 1.0 };
    let most = if pattern == Pattern::WaveCollision { FLIPS } else { f64::INFINITY };
    let bound = (best * slack).max(FLOOR).min(most);
    let (mut predictor, mut rules) = (Vec::new(), Vec::new());
    for &seed in seeds {
        let mut own = Predictor::<f32>::new([n, n], PredictorSettings::default(), seed)?;
        learn_all(&mut own, &learn, TrainingSettings { seed, ..training }, || progress.advance(1))?;
        let mut errors = Errors::default();
        errors.one_step(&mut own, &test, |_, _, _| {})?;
        let figures = errors.figures(&own);
        predictor.push(figures[0].mean);
        rules.push(figures[1].mean);
        progress.tell(&format!("{}, seed {seed}: {:.2e} against {best:.2e}", pattern.name(), figures[0].mean));
    }
    let holds = predictor.iter().all(|&error| error <= bound);
    Ok(Row { pattern, simple, best, bound, predictor, rules, holds })
}

/// The mean squared error of each simple method.
fn simple(learn: &[Array2<f64>], test: &[Array2<f64>]) -> Result<Vec<f64>> {
    let learned =
        LearnedSettings { lags: vec![8, 16], components: 24, delays: vec![4], passes: 0, ..LearnedSettings::default() };
    let settings = ForecastSettings { recurrences: SIMPLE.to_vec(), learned, ..ForecastSettings::default() };
    let shape = [test[0].nrows(), test[0].ncols()];
    let mut forecast = Forecast::new(shape, settings)?;
    forecast.fit_rules(&[learn.to_vec()], &Stream::new(1))?;
    let mut sums = vec![0.0; SIMPLE.len()];
    for (t, frame) in test.iter().enumerate() {
        if t >= WARM {
            for (k, sum) in sums.iter_mut().enumerate() {
                let expected = forecast.expected(k).map(|x| x.to_owned().into_shape_with_order(frame.dim()));
                let expected = expected.transpose()?;
                ensure!(expected.is_some(), "{} has no answer at frame {t}", SIMPLE[k].name());
                *sum += expected.map_or(0.0, |expected| mean_squared_error(&expected, frame));
            }
        }
        forecast.observe(frame)?;
    }
    Ok(sums.into_iter().map(|sum| sum / (test.len() - WARM) as f64).collect())
}

fn table(rows: &[Row], names: &[String]) -> Result<String, std::fmt::Error> {
    let mut said = String::new();
    write!(said, "{:<15}", "")?;
    for name in names {
        write!(said, " {name:>14}")?;
    }
    writeln!(said, " {:>10} {:>10} {:>10}", "bound", "predictor", "rules")?;
    for Row { pattern, simple, bound, predictor, rules, holds, .. } in rows {
        write!(said, "{:<15}", pattern.name())?;
        for error in simple {
            write!(said, " {error:>14.2e}")?;
        }
        // The worst seed, which is what is judged.
        let worst = |errors: &[f64]| errors.iter().copied().fold(0.0, f64::max);
        let verdict = if *holds { "" } else { "  too much" };
        writeln!(said, " {bound:>10.2e} {:>10.2e} {:>10.2e}{verdict}", worst(predictor), worst(rules))?;
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simple_methods_are_what_they_are_called() {
        let standard = Variation::default();
        let learn = Pattern::Blob.frames(0, 120, 12, &standard).unwrap();
        let test = Pattern::Blob.frames(10_000, 40, 12, &standard).unwrap();
        let errors = simple(&learn, &test).unwrap();
        let mean = |expected: &dyn Fn(usize) -> Array2<f64>| {
            (WARM..40).map(|t| mean_squared_error(&expected(t), &test[t])).sum::<f64>() / 24.0
        };
        let linear = |t: usize| (2.0 * &test[t - 1] - &test[t - 2]).mapv(|x| x.clamp(0.0, 1.0));
        assert!((errors[0] / mean(&|t| test[t - 1].clone()) - 1.0).abs() < 1e-9);
        assert!((errors[1] / mean(&linear) - 1.0).abs() < 1e-9);
        // What is fitted is better than what is not. A blob that circles is linear in its components, but has more of them than 24: how
        // much better that is than one least squares for all pixels hangs on what is cut off.
        assert!(errors[3] < 0.1 * errors[1] && errors[5] < 0.5 * errors[3] && errors[6] > errors[0], "{errors:?}");
        // Two waves are linear in five, and so exact; a delay too many or a component too few would show.
        let frames = |first, count| Pattern::Interference.frames(first, count, 12, &standard).unwrap();
        let errors = simple(&frames(0, 120), &frames(10_000, 40)).unwrap();
        assert!(errors[5] < 1e-16 && errors[1] > 1e-8, "{errors:?}");
    }
}
