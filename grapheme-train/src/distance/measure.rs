//! A method against known distances.

use super::sample::Sample;
use super::{Distance, DistanceError, Method};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

/// What one pair came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The answer.
    pub found: Distance,
    /// The distance, where it is known.
    pub truth: Option<usize>,
    /// An upper bound of the distance, where one is known.
    pub at_most: Option<usize>,
    /// How long it took on one thread, in milliseconds.
    pub milliseconds: f64,
}

/// Compares the graphs of one pair. `truth` computes the distance of a pair that comes without.
///
/// # Errors
/// [`DistanceError`].
pub fn run(method: &Method, sample: &Sample, truth: Option<&Method>) -> Result<Outcome, DistanceError> {
    let start = Instant::now();
    let found = method.compare(&sample.a, &sample.b)?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let truth = match (sample.ged, truth) {
        (None, Some(judge)) => Some(judge.compare(&sample.a, &sample.b)?.distance),
        (ged, _) => ged,
    };
    Ok(Outcome { found, truth, at_most: sample.at_most, milliseconds })
}

/// What all pairs came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The number of pairs.
    pub n: usize,
    /// Those whose distance is known; the figures up to `below` are over them, and null where there are none.
    pub known: usize,
    /// The mean of the absolute error.
    pub mae: Option<f64>,
    /// The share of pairs without error.
    pub exact_share: Option<f64>,
    /// The rank correlation of Spearman, ties sharing the mean of their ranks; null where either side is constant.
    pub spearman: Option<f64>,
    /// The rank correlation of Kendall, tau-b; null where either side is constant.
    pub kendall: Option<f64>,
    /// How many answers are below the distance: nothing but 0 is right.
    pub below: usize,
    /// Pairs that come with an upper bound.
    pub bounded: usize,
    /// The largest answer in units of its bound; null where no bound is positive.
    pub worst_ratio: Option<f64>,
    /// The share of bounded pairs whose answer is at most 1.02 times the bound.
    pub within_share: Option<f64>,
    /// The mean answer; null without pairs.
    pub mean_distance: Option<f64>,
    /// The mean time for a pair on one thread, in milliseconds.
    pub ms_per_pair: f64,
    /// The median time.
    pub ms_median: f64,
    /// The longest time.
    pub ms_worst: f64,
}

/// Sums up. `O(n log n)`, and the square of the number of different pairs of distances.
pub fn figures(outcomes: &[Outcome]) -> Figures {
    let known: Vec<(usize, usize)> =
        outcomes.iter().filter_map(|outcome| Some((outcome.found.distance, outcome.truth?))).collect();
    let bounded: Vec<(usize, usize)> =
        outcomes.iter().filter_map(|outcome| Some((outcome.found.distance, outcome.at_most?))).collect();
    let share = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
    let error: usize = known.iter().map(|(found, truth)| found.abs_diff(*truth)).sum();
    let ratios = bounded.iter().filter(|(_, bound)| *bound > 0).map(|(found, bound)| *found as f64 / *bound as f64);
    let within = bounded.iter().filter(|(found, bound)| *found as f64 <= 1.02 * *bound as f64).count();
    let mut times: Vec<f64> = outcomes.iter().map(|outcome| outcome.milliseconds).collect();
    times.sort_by(f64::total_cmp);
    Figures {
        n: outcomes.len(),
        known: known.len(),
        mae: share(error, known.len()),
        exact_share: share(known.iter().filter(|(found, truth)| found == truth).count(), known.len()),
        spearman: spearman(&known),
        kendall: kendall(&known),
        below: known.iter().filter(|(found, truth)| found < truth).count(),
        bounded: bounded.len(),
        worst_ratio: ratios.reduce(f64::max),
        within_share: share(within, bounded.len()),
        mean_distance: share(outcomes.iter().map(|outcome| outcome.found.distance).sum(), outcomes.len()),
        ms_per_pair: times.iter().sum::<f64>() / times.len().max(1) as f64,
        ms_median: times.get(times.len() / 2).copied().unwrap_or(0.0),
        ms_worst: times.last().copied().unwrap_or(0.0),
    }
}

/// The correlation of ranks.
fn spearman(pairs: &[(usize, usize)]) -> Option<f64> {
    let ranks = |values: Vec<usize>| {
        let mut counts = BTreeMap::<usize, usize>::new();
        values.iter().for_each(|&value| *counts.entry(value).or_default() += 1);
        let mut before = 0;
        let mut rank = BTreeMap::new();
        for (value, count) in counts {
            rank.insert(value, before as f64 + 0.5 * (count as f64 + 1.0));
            before += count;
        }
        values.iter().map(|value| rank[value]).collect::<Vec<f64>>()
    };
    let (x, y) = (ranks(pairs.iter().map(|pair| pair.0).collect()), ranks(pairs.iter().map(|pair| pair.1).collect()));
    // The mean of ranks, ties or not.
    let mean = 0.5 * (pairs.len() as f64 + 1.0);
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let scale = (sum(&x, &x) * sum(&y, &y)).sqrt();
    (scale > 0.0).then(|| sum(&x, &y) / scale)
}

/// Tau-b: concordant minus discordant pairs, over the root of the pairs that are not tied in the one and in the other.
fn kendall(pairs: &[(usize, usize)]) -> Option<f64> {
    let mut cells = BTreeMap::<(usize, usize), u64>::new();
    pairs.iter().for_each(|&pair| *cells.entry(pair).or_default() += 1);
    let cells: Vec<_> = cells.into_iter().collect();
    let (mut balance, mut untied_x, mut untied_y) = (0_i64, 0_u64, 0_u64);
    for (at, ((x, y), count)) in cells.iter().enumerate() {
        for ((u, v), other) in &cells[at + 1..] {
            let both = count * other;
            let order = x.cmp(u) as i64 * y.cmp(v) as i64;
            balance += order * both as i64;
            untied_x += both * u64::from(x != u);
            untied_y += both * u64::from(y != v);
        }
    }
    let scale = (untied_x as f64 * untied_y as f64).sqrt();
    (scale > 0.0).then(|| balance as f64 / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_of_a_table_with_ties_are_those_of_their_definitions() {
        let pairs = [(1, 2), (2, 1), (2, 3), (3, 3), (5, 4), (5, 4), (6, 2)];
        // Kendall by its definition, over all pairs of pairs.
        let (mut balance, mut x, mut y) = (0.0, 0.0_f64, 0.0_f64);
        for i in 0..pairs.len() {
            for k in 0..i {
                let sign = |a: usize, b: usize| (a as f64 - b as f64).partial_cmp(&0.0).unwrap() as i32 as f64;
                let (u, v) = (sign(pairs[i].0, pairs[k].0), sign(pairs[i].1, pairs[k].1));
                balance += u * v;
                x += u * u;
                y += v * v;
            }
        }
        assert!((kendall(&pairs).unwrap() - balance / (x * y).sqrt()).abs() < 1e-12);
        // Ranks: 1, 2.5, 2.5, 4, 5.5, 5.5, 7 and 2.5, 1, 4.5, 4.5, 6.5, 6.5, 2.5.
        assert!((spearman(&pairs).unwrap() - 11.25 / (27.0_f64 * 26.5).sqrt()).abs() < 1e-12);
        let falling: Vec<_> = (0..9).map(|i| (i, 9 - i)).collect();
        assert_eq!((spearman(&falling), kendall(&falling)), (Some(-1.0), Some(-1.0)));
        assert_eq!((spearman(&[(1, 2), (1, 3)]), kendall(&[(1, 2), (1, 3)]), kendall(&[])), (None, None, None));
    }
}
