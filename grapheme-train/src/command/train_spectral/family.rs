//! Protocol 2: for each pattern a family of sequences of which no two are alike. What moves must be read off the frames seen.

use super::method::{Simple, peer};
use super::rows::{self, rows};
use super::score::{ROLLOUTS, Scores, score};
use super::training::{TrainingSettings, learn_family};
use crate::output::print;
use crate::progress::Progress;
use anyhow::{Result, ensure};
use grapheme_core::Stream;
use grapheme_optics::spectral::recurrence::{Kernel, Learned, LearnedSettings, Recurrence};
use grapheme_optics::spectral::{Pattern, Predictor, PredictorSettings, Variation};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;

/// Frames of a sequence; all but the first 16 are scored.
const LENGTH: usize = 64;
/// Patterns on which no simple method may be as good, one step ahead and over the longest rollout.
const MUST: usize = 9;

/// Mean squared errors below this are as good as none, as in protocol 1.
const FLOOR: f64 = 1e-8;

/// How many sequences train and how many are scored.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counts {
    /// To learn from.
    pub learn: usize,
    /// To be scored on.
    pub test: usize,
}

/// The simple methods: without learning; pooled over all training sequences; and fitted to each sequence as its frames come.
fn simple() -> Vec<Recurrence> {
    let context = |delays, ridge| Recurrence::Context(Kernel { delays, ridge, width: None });
    vec![
        Recurrence::Extrapolation { degree: 0 },
        Recurrence::Extrapolation { degree: 1 },
        Recurrence::Mean,
        Recurrence::Lags { lags: 8 },
        Recurrence::Lags { lags: 16 },
        Recurrence::Neighbourhood,
        Recurrence::Components { delays: 4 },
        Recurrence::ContextLags { lags: 2, prior: 0.0 },
        Recurrence::ContextLags { lags: 4, prior: 0.0 },
        Recurrence::ContextLags { lags: 8, prior: 0.0 },
        context(1, 1e-12),
        context(4, 1e-12),
        context(4, 1e-4),
    ]
}

/// What one family showed.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    pattern: Pattern,
    /// By simple method.
    simple: Vec<Scores>,
    /// The least of them.
    best: Scores,
    predictor: Scores,
    /// Without attention.
    rules: Scores,
}

impl rows::Row for Row {
    fn pattern(&self) -> Pattern {
        self.pattern
    }
}

/// Runs the protocol on n x n cells; `keep` as in [`rows()`].
///
/// # Errors
/// Fewer than nine patterns on which the predictor is better than every simple method or as good as exact, or less than twice as
/// good in the mean of the logarithms; after everything was printed.
pub fn run(
    n: usize,
    seed: u64,
    counts: Counts,
    training: TrainingSettings,
    keep: Option<&Path>,
    is_json: bool,
) -> Result<()> {
    let names: Vec<String> = simple().iter().map(Recurrence::name).chain(["convolutional network".into()]).collect();
    let mut line = serde_json::json!({
        "protocol": 2, "size": n, "seed": seed, "sequences": counts, "passes": training.passes, "rate": training.rate
    });
    // The simple methods and the network; the predictor trained; the predictor scored.
    let parts = names.len() as u64 + 2;
    let rows = rows(keep, &line, parts, |pattern, progress| {
        let row = row(pattern, n, seed, counts, training, progress)?;
        let ([one, .., far], best) = (row.predictor, row.best);
        let name = pattern.name();
        progress
            .tell(&format!("{name}: {one:.2e} against {:.2e}, 40 steps {far:.2e} against {:.2e}", best[0], best[3]));
        Ok(row)
    })?;
    // One step ahead and over the longest rollout.
    let is_better = |row: &Row, i: usize| row.predictor[i] < row.best[i].max(FLOOR);
    let better = [0, 3].map(|i| rows.iter().filter(|row| is_better(row, i)).count());
    // In the mean of the logarithms, and the same without the pattern that adds most to it.
    let [factor, factor_without] = [0.0, 1.0].map(|left_out| {
        [0, 3].map(|i| {
            let logs = rows.iter().map(|row| (row.best[i].max(FLOOR) / row.predictor[i].max(FLOOR)).ln());
            let most = logs.clone().fold(f64::NEG_INFINITY, f64::max);
            ((logs.sum::<f64>() - left_out * most) / (rows.len() as f64 - left_out)).exp()
        })
    });
    if is_json {
        line["methods"] = names.into();
        line["patterns"] = serde_json::to_value(&rows)?;
        line["better"] = better.to_vec().into();
        line["factor"] = factor.to_vec().into();
        line["factor_without_the_largest"] = factor_without.to_vec().into();
        print(&format!("{line}\n"))?;
    } else {
        print(&table(&rows, &names, better, [factor, factor_without])?)?;
    }
    ensure!(
        better.iter().all(|&count| count >= MUST) && factor.iter().all(|&factor| factor >= 2.0),
        "better than every simple method on {} and {} of {} patterns, by a factor of {:.2} and {:.2}: {MUST} and 2 are asked for",
        better[0],
        better[1],
        rows.len(),
        factor[0],
        factor[1]
    );
    Ok(())
}

fn row(
    pattern: Pattern,
    n: usize,
    seed: u64,
    counts: Counts,
    training: TrainingSettings,
    progress: &Progress,
) -> Result<Row> {
    let family = |count: usize, part: u64| -> Result<Vec<Vec<Array2<f64>>>> {
        let mut stream = Stream::new(seed).fork(pattern as u64).fork(part);
        let sequences = (0..count).map(|_| pattern.frames(0, LENGTH, n, &Variation::draw(&mut stream)));
        Ok(sequences.collect::<Result<_, _>>()?)
    };
    let (learn, test) = (family(counts.learn, 1)?, family(counts.test, 2)?);

    let settings =
        LearnedSettings { lags: vec![8, 16], components: 24, delays: vec![4], passes: 0, ..LearnedSettings::default() };
    let learned = Learned::fit(&learn, &settings, &Stream::new(seed))?;
    let mut simple = Vec::new();
    for rule in self::simple() {
        let mut method = Simple::new(rule, &learned, [n, n], LENGTH + ROLLOUTS[2])?;
        simple.push(score(&mut method, &test, |_| {})?);
        progress.advance(1);
    }
    simple.push(score(&mut peer(&learn, TrainingSettings { seed, ..training }, || ())?, &test, |_| {})?);
    progress.advance(1);
    let mut own = Predictor::<f32>::new([n, n], PredictorSettings::default(), seed)?;
    learn_family(&mut own, &learn, training, || ())?;
    progress.advance(1);
    let rules = score(&mut own.forecast().clone(), &test, |_| {})?;
    let predictor = score(&mut own, &test, |_| {})?;
    progress.advance(1);
    let best = std::array::from_fn(|i| simple.iter().map(|scores| scores[i]).fold(f64::INFINITY, f64::min));
    Ok(Row { pattern, simple, best, predictor, rules })
}

fn table(
    rows: &[Row],
    names: &[String],
    better: [usize; 2],
    factors: [[f64; 2]; 2],
) -> Result<String, std::fmt::Error> {
    let mut said = String::new();
    for (i, title) in [(0, "one step ahead"), (1, "5 steps"), (2, "10 steps"), (3, "40 steps")] {
        writeln!(said, "{title:<15} {:>10} {:>10} {:>10}  best simple method", "predictor", "rules", "best")?;
        for Row { pattern, simple, best, predictor, rules } in rows {
            let who = simple.iter().position(|scores| scores[i] == best[i]).map_or("", |k| &names[k]);
            writeln!(
                said,
                "{:<15} {:>10.2e} {:>10.2e} {:>10.2e}  {who}",
                pattern.name(),
                predictor[i],
                rules[i],
                best[i]
            )?;
        }
        writeln!(said)?;
    }
    for (title, i) in [("one step ahead", 0), ("over 40 steps", 1)] {
        let ([factor, without], count) = (factors.map(|factor| factor[i]), better[i]);
        writeln!(
            said,
            "{title}: better than every simple method on {count} of {}, by a factor of {factor:.2}; {without:.2} without its best pattern",
            rows.len()
        )?;
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_optics::spectral::mean_squared_error;
    use grapheme_optics::spectral::protocol::WARM;

    #[test]
    fn a_family_is_scored_by_what_its_methods_are_called() {
        let training = TrainingSettings { passes: 1, rate: 1e-3, seed: 1 };
        let row =
            row(Pattern::Blob, 8, 1, Counts { learn: 6, test: 2 }, training, &Progress::new(17, "parts")).unwrap();
        let mut stream = Stream::new(1).fork(Pattern::Blob as u64).fork(2);
        let (mut copied, mut held) = (0.0, 0.0);
        for _ in 0..2 {
            let frames = Pattern::Blob.frames(0, LENGTH, 8, &Variation::draw(&mut stream)).unwrap();
            copied += (WARM..LENGTH).map(|t| mean_squared_error(&frames[t - 1], &frames[t])).sum::<f64>() / 96.0;
            held += (0..40).map(|t| mean_squared_error(&frames[WARM - 1], &frames[WARM + t])).sum::<f64>() / 80.0;
        }
        assert!((row.simple[0][0] / copied - 1.0).abs() < 1e-9 && (row.simple[0][3] / held - 1.0).abs() < 1e-9);
        // The thirteen and the convolutional network, which has learned something.
        assert_eq!(row.simple.len(), 14);
        assert!(row.simple[13][0] < 0.9 * copied, "{row:?}");
        // A short rollout is easier than a long one, and a rule that reads the sequence better than to copy.
        assert!(row.predictor[1] < row.predictor[3] && row.predictor[0] < 0.1 * copied, "{row:?}");
    }
}
