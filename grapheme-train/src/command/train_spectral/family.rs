//! Protocol 2: for each pattern a family of sequences of which no two are alike. What moves must be read off the frames seen.

use super::method::{Method, peer};
use super::training::{TrainingSettings, learn_family};
use crate::output::{print, tell};
use anyhow::{Context, Result, ensure};
use grapheme_core::Stream;
use grapheme_optics::spectral::protocol::WARM;
use grapheme_optics::spectral::recurrence::{Kernel, Learned, LearnedSettings, Recurrence};
use grapheme_optics::spectral::{History, Pattern, Predictor, PredictorSettings, Variation, mean_squared_error};
use ndarray::{Array1, Array2};
use serde::Serialize;
use std::fmt::Write as _;

/// Frames of a sequence; all but the first 16 are scored.
const LENGTH: usize = 64;
/// Lengths of the rollouts from frame 16.
const ROLLOUTS: [usize; 3] = [5, 10, 40];
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

/// Mean squared errors one step ahead and over rollouts of 5, 10 and 40 frames.
type Scores = [f64; 4];

/// What one family showed.
#[derive(Debug, Serialize)]
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

/// Runs the protocol on n x n cells.
///
/// # Errors
/// Fewer than nine patterns on which the predictor is better than every simple method or as good as exact, or less than twice as
/// good in the mean of the logarithms; after everything was printed.
pub fn run(n: usize, seed: u64, counts: Counts, training: TrainingSettings, is_json: bool) -> Result<()> {
    let names: Vec<String> = simple().iter().map(Recurrence::name).chain(["convolutional network".into()]).collect();
    let mut rows = Vec::new();
    for pattern in Pattern::ALL {
        let row = row(pattern, n, seed, counts, training)?;
        let [one, .., far] = row.predictor;
        tell(&format!(
            "{}: {one:.2e} against {:.2e}, 40 steps {far:.2e} against {:.2e}",
            pattern.name(),
            row.best[0],
            row.best[3]
        ));
        rows.push(row);
    }
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
        let line = serde_json::json!({
            "protocol": 2, "size": n, "seed": seed, "sequences": counts, "passes": training.passes, "methods": names,
            "patterns": rows, "better": better, "factor": factor, "factor_without_the_largest": factor_without
        });
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

fn row(pattern: Pattern, n: usize, seed: u64, counts: Counts, training: TrainingSettings) -> Result<Row> {
    let family = |count: usize, part: u64| -> Result<Vec<Vec<Array2<f64>>>> {
        let mut stream = Stream::new(seed).fork(pattern as u64).fork(part);
        let sequences = (0..count).map(|_| pattern.frames(0, LENGTH, n, &Variation::draw(&mut stream)));
        Ok(sequences.collect::<Result<_, _>>()?)
    };
    let (learn, test) = (family(counts.learn, 1)?, family(counts.test, 2)?);

    let mut alone = score_simple(&learn, &test, seed)?;
    alone.push(score_peer(&mut peer(&learn, TrainingSettings { seed, ..training })?, &test)?);
    let mut predictor = Predictor::<f32>::new([n, n], PredictorSettings::default(), seed)?;
    learn_family(&mut predictor, &learn, training)?;
    let (mut own, mut rules) = (Tally::default(), Tally::default());
    for frames in &test {
        predictor.clear();
        for (t, frame) in frames.iter().enumerate() {
            if t == WARM {
                for (step, expected) in predictor.forecast().rollout(ROLLOUTS[2]).iter().enumerate() {
                    rules.rollout(step, mean_squared_error(expected, &frames[WARM + step]));
                }
                for (step, expected) in predictor.rollout(ROLLOUTS[2]).iter().enumerate() {
                    own.rollout(step, mean_squared_error(expected, &frames[WARM + step]));
                }
            }
            let expected = predictor.predict();
            if t >= WARM {
                own.one_step(mean_squared_error(&expected, frame));
                rules.one_step(mean_squared_error(&predictor.forecast().predict(), frame));
            }
            predictor.observe(frame)?;
        }
    }
    let simple: Vec<Scores> = alone.iter().map(Tally::scores).collect();
    let best = std::array::from_fn(|i| simple.iter().map(|scores| scores[i]).fold(f64::INFINITY, f64::min));
    Ok(Row { pattern, simple, best, predictor: own.scores(), rules: rules.scores() })
}

/// Each simple method as it is: fitted anew to all frames of the sequence so far, jumps included, with nothing around it.
fn score_simple(learn: &[Vec<Array2<f64>>], test: &[Vec<Array2<f64>>], seed: u64) -> Result<Vec<Tally>> {
    let settings =
        LearnedSettings { lags: vec![8, 16], components: 24, delays: vec![4], passes: 0, ..LearnedSettings::default() };
    let learned = Learned::fit(learn, &settings, &Stream::new(seed))?;
    let methods = simple();
    let mut tallies = vec![Tally::default(); methods.len()];
    for frames in test {
        let mut history = History::new([frames[0].nrows(), frames[0].ncols()], LENGTH + ROLLOUTS[2])?;
        for (t, frame) in frames.iter().enumerate() {
            for (method, tally) in methods.iter().zip(&mut tallies).filter(|_| t >= WARM) {
                let rule = method.fit(&learned, &history);
                let rule = rule.with_context(|| format!("{} has no answer at frame {t}", method.name()))?;
                let next = |history: &History| {
                    let mut next = Array1::zeros(history.pixels());
                    rule.next(history, next.view_mut());
                    next.mapv(|x: f64| if x.is_finite() { x.clamp(0.0, 1.0) } else { 0.5 })
                        .into_shape_with_order(frame.dim())
                };
                let expected = next(&history)?;
                tally.one_step(mean_squared_error(&expected, frame));
                if t == WARM {
                    let (mut longer, mut expected) = (history.clone(), expected);
                    for step in 0..ROLLOUTS[2] {
                        tally.rollout(step, mean_squared_error(&expected, &frames[WARM + step]));
                        longer.push(&expected)?;
                        expected = next(&longer)?;
                    }
                }
            }
            history.push(frame)?;
        }
    }
    Ok(tallies)
}

/// The convolutional network, which stands among the simple methods.
fn score_peer(network: &mut dyn Method, test: &[Vec<Array2<f64>>]) -> Result<Tally> {
    let mut tally = Tally::default();
    for frames in test {
        network.clear();
        for (t, frame) in frames.iter().enumerate() {
            if t == WARM {
                for (step, expected) in network.rollout(ROLLOUTS[2])?.iter().enumerate() {
                    tally.rollout(step, mean_squared_error(expected, &frames[WARM + step]));
                }
            }
            if t >= WARM {
                tally.one_step(mean_squared_error(&network.predict()?, frame));
            }
            network.observe(frame)?;
        }
    }
    Ok(tally)
}

/// Sums of squared errors and their number, one step ahead and by length of the rollout.
#[derive(Clone, Default)]
struct Tally {
    sums: Scores,
    counts: [u32; 4],
}

impl Tally {
    fn one_step(&mut self, error: f64) {
        self.sums[0] += error;
        self.counts[0] += 1;
    }

    /// The error of frame `step` of a rollout, from 0, which counts in every rollout that is longer.
    fn rollout(&mut self, step: usize, error: f64) {
        for (i, _) in ROLLOUTS.iter().enumerate().filter(|(_, length)| step < **length) {
            self.sums[1 + i] += error;
            self.counts[1 + i] += 1;
        }
    }

    fn scores(&self) -> Scores {
        std::array::from_fn(|i| self.sums[i] / f64::from(self.counts[i].max(1)))
    }
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

    #[test]
    fn a_family_is_scored_by_what_its_methods_are_called() {
        let training = TrainingSettings { passes: 1, rate: 1e-3, seed: 1 };
        let row = row(Pattern::Blob, 8, 1, Counts { learn: 6, test: 2 }, training).unwrap();
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
