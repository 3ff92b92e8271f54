//! Whether two predictors that were trained apart see alike: the hidden layers of their attention on the same frames.

use super::training::{TrainingSettings, all_steps, learn_all};
use crate::output::print;
use crate::progress::Progress;
use anyhow::{Context, Result, ensure};
use grapheme_core::Stream;
use grapheme_optics::field::likeness::{centred_kernel_alignment, mutual_neighbours};
use grapheme_optics::spectral::protocol::WARM;
use grapheme_optics::spectral::{Pattern, Predictor, PredictorSettings, Variation};
use ndarray::{Array2, Axis};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::Serialize;
use std::fmt::Write as _;

/// Frames that are learned from and that are looked at, those before included, as in protocol 1.
const LEARN: usize = 500;
const FIRST: i64 = 10_000;
const TEST: usize = 66;
/// Places that are compared, drawn from all frames that are looked at.
const SAMPLES: usize = 600;
/// Nearest neighbours.
const NEAREST: usize = 10;

/// How alike two sets of latents are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Likeness {
    alignment: f64,
    neighbours: f64,
}

/// Means over pairs of predictors that look at the frames of one pattern.
#[derive(Debug, Serialize)]
struct Row {
    pattern: Pattern,
    /// Of two seeds, trained on the pattern.
    seeds: Likeness,
    /// Of one trained on the pattern and one trained on another.
    patterns: Likeness,
    /// Of two seeds without training.
    untrained: Likeness,
    /// Of two seeds, trained on the pattern, one of which looks at the places in another order: chance.
    chance: Likeness,
}

/// Trains a predictor for every pattern and seed on n x n cells, and compares what they see.
///
/// # Errors
/// Fewer than two seeds; frames that a predictor refuses.
pub fn run(n: usize, seeds: &[u64], training: TrainingSettings, is_json: bool) -> Result<()> {
    ensure!(seeds.len() >= 2, "--seeds: two predictors at least are needed to be compared");
    ensure!(training.passes > 0, "--passes 0: what is not trained has no latents of its own");
    let rows = rows(&Pattern::ALL, n, seeds, training)?;
    if is_json {
        let line = serde_json::json!({
            "protocol": "latents", "size": n, "seeds": seeds, "passes": training.passes, "samples": SAMPLES, "patterns": rows
        });
        print(&format!("{line}\n"))?;
    } else {
        print(&table(&rows)?)?;
    }
    Ok(())
}

fn rows(patterns: &[Pattern], n: usize, seeds: &[u64], training: TrainingSettings) -> Result<Vec<Row>> {
    let standard = Variation::default();
    let mut trained: Vec<Vec<Predictor<f32>>> = Vec::new();
    let steps = patterns.len() * seeds.len() * all_steps(LEARN, training);
    let progress = Progress::new(steps as u64, "steps");
    for pattern in patterns {
        let learn = pattern.frames(0, LEARN, n, &standard)?;
        let one = |&seed: &u64| {
            progress.name(format!("{}, seed {seed}", pattern.name()));
            let mut predictor = Predictor::<f32>::new([n, n], PredictorSettings::default(), seed)?;
            learn_all(&mut predictor, &learn, TrainingSettings { seed, ..training }, || progress.advance(1))?;
            Ok(predictor)
        };
        trained.push(seeds.iter().map(one).collect::<Result<_>>()?);
    }
    drop(progress);
    let progress = Progress::new(patterns.len() as u64, "patterns");
    let mut rows = Vec::new();
    for (own, &pattern) in patterns.iter().enumerate() {
        progress.name(format!("what they see of {}", pattern.name()));
        let test = pattern.frames(FIRST, TEST, n, &standard)?;
        // The same places for all.
        let mut stream = Stream::new(pattern as u64);
        let places: Vec<(usize, usize)> =
            (0..SAMPLES).map(|_| (stream.random_range(WARM..TEST), stream.random_range(0..n * n))).collect();
        let mut order: Vec<usize> = (0..SAMPLES).collect();
        order.shuffle(&mut stream);

        let of_seeds = trained[own].iter_mut().map(|predictor| latents(predictor, &test, &places));
        let of_seeds = of_seeds.collect::<Result<Vec<_>>>()?;
        let mut of_others = Vec::new();
        for (_, others) in trained.iter_mut().enumerate().filter(|(other, _)| *other != own) {
            of_others.push(latents(&mut others[0], &test, &places)?);
        }
        let fresh = trained[own].iter().zip(seeds).map(|(like, &seed)| {
            let mut predictor = Predictor::<f32>::new([n, n], PredictorSettings::default(), seed)?;
            predictor.forecast_mut().take_over(like.forecast().experience())?;
            latents(&mut predictor, &test, &places)
        });
        let fresh = fresh.collect::<Result<Vec<_>>>()?;
        let shuffled: Vec<Array2<f64>> = of_seeds.iter().map(|latents| latents.select(Axis(0), &order)).collect();
        rows.push(Row {
            pattern,
            seeds: mean(pairs(&of_seeds, &of_seeds)),
            patterns: mean(of_others.iter().map(|other| (&of_seeds[0], other)).collect()),
            untrained: mean(pairs(&fresh, &fresh)),
            chance: mean(pairs(&of_seeds, &shuffled)),
        });
        progress.advance(1);
    }
    Ok(rows)
}

/// What a predictor sees at some (frame, place) of a sequence, a row each: its hidden layer.
fn latents(predictor: &mut Predictor<f32>, test: &[Array2<f64>], places: &[(usize, usize)]) -> Result<Array2<f64>> {
    predictor.clear();
    let mut rows: Vec<Vec<f64>> = vec![Vec::new(); places.len()];
    for (t, frame) in test.iter().enumerate() {
        predictor.predict();
        if let Some(hidden) = predictor.latents() {
            for (row, &(when, place)) in rows.iter_mut().zip(places) {
                if when == t {
                    *row = hidden.row(place).iter().map(|&x| f64::from(x)).collect();
                }
            }
        }
        predictor.observe(frame)?;
    }
    let width = rows.first().map_or(0, Vec::len);
    Array2::from_shape_vec((rows.len(), width), rows.concat()).context("a place without latents")
}

/// Every pair of different seeds, each once.
fn pairs<'a>(one: &'a [Array2<f64>], other: &'a [Array2<f64>]) -> Vec<(&'a Array2<f64>, &'a Array2<f64>)> {
    (0..one.len()).flat_map(|i| (i + 1..other.len()).map(move |j| (&one[i], &other[j]))).collect()
}

fn mean(pairs: Vec<(&Array2<f64>, &Array2<f64>)>) -> Likeness {
    let count = pairs.len().max(1) as f64;
    pairs.into_iter().fold(Likeness::default(), |mut sum, (x, y)| {
        sum.alignment += centred_kernel_alignment(x, y) / count;
        sum.neighbours += mutual_neighbours(x, y, NEAREST) / count;
        sum
    })
}

fn table(rows: &[Row]) -> Result<String, std::fmt::Error> {
    let mut said = String::new();
    writeln!(said, "{:<15} {:^27}   {:^27}", "", "kernel alignment", "mutual nearest neighbours")?;
    let heads = "  seeds  other  fresh chance";
    writeln!(said, "{:<15} {heads}  {heads}", "")?;
    for Row { pattern, seeds, patterns, untrained, chance } in rows {
        let all = [seeds, patterns, untrained, chance];
        write!(said, "{:<15} ", pattern.name())?;
        all.iter().try_for_each(|likeness| write!(said, " {:>6.3}", likeness.alignment))?;
        write!(said, "  ")?;
        all.iter().try_for_each(|likeness| write!(said, " {:>6.3}", likeness.neighbours))?;
        writeln!(said)?;
    }
    writeln!(
        said,
        "\nseeds: trained apart on the pattern; other: one of them on another pattern; fresh: untrained; chance: shuffled"
    )?;
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_learned_the_same_sees_more_alike_than_chance_and_the_same_predictor_wholly() {
        let training = TrainingSettings { passes: 1, rate: 3e-3, seed: 1 };
        let patterns = [Pattern::Blob, Pattern::Chirp];
        let rows = rows(&patterns, 8, &[1, 1], training).unwrap();
        for row in &rows {
            // One seed twice.
            assert!((row.seeds.alignment - 1.0).abs() < 1e-9 && row.seeds.neighbours == 1.0, "{row:?}");
            assert!(row.chance.alignment < 0.2 && row.chance.neighbours < 0.1, "{row:?}");
            assert!(row.patterns.alignment < 1.0 && row.patterns.neighbours < 1.0, "{row:?}");
        }
        assert_eq!(table(&rows).unwrap().lines().count(), 2 + 2 + 2);
        assert!(run(8, &[1], training, true).is_err());
    }
}
