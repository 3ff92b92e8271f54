//! One linear recurrence that all pixels share.

use super::super::History;
use super::super::solve::{Factor, add_rows};
use ndarray::{Array1, Array2, ArrayViewMut1};
use serde::{Deserialize, Serialize};

/// `x[t + 1] = c + sum_i w_i x[t - i]` for each pixel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LagRule {
    /// The newest first.
    weights: Vec<f64>,
    constant: f64,
}

/// Relative ridge of all fits over lags: the square of what rounding leaves of a smooth sequence.
const RIDGE: f64 = 1e-13;

impl LagRule {
    /// The polynomial through the last `degree + 1` values: `w_i = (-1)^i C(degree + 1, i + 1)`.
    pub fn extrapolation(degree: usize, history: &History) -> Option<Self> {
        let n = degree + 1;
        if history.len() < n {
            return None;
        }
        let mut weights = Vec::with_capacity(n);
        let mut binomial = 1.0;
        for i in 0..n {
            binomial *= (n - i) as f64 / (i + 1) as f64;
            weights.push(if i % 2 == 0 { binomial } else { -binomial });
        }
        Some(Self { weights, constant: 0.0 })
    }

    /// Least squares over all pixels and frames of the history, to whose normal equations `prior` frames' worth of those
    /// of training are added. Nothing where the last values are not of one piece. O(T L^2 + L^3).
    pub fn from_history(lags: usize, prior: f64, trained: Option<&LagStatistics>, history: &History) -> Option<Self> {
        if !history.is_whole(0, lags.max(2)) {
            return None;
        }
        let mut statistics = LagStatistics::new(lags);
        statistics.add(history);
        if let Some(trained) = trained.filter(|trained| trained.lags() >= lags && trained.count > 0.0) {
            statistics.add_scaled(trained, prior * history.pixels() as f64 / trained.count);
        }
        statistics.solve(lags)
    }

    /// As [`super::Rule::next`].
    pub fn next(&self, history: &History, mut out: ArrayViewMut1<'_, f64>) {
        out.fill(self.constant);
        add_rows(self.weights.iter().enumerate().map(|(age, &weight)| (weight, history.frame(age))), &mut out);
    }

    /// How many values it reads.
    pub(super) fn lags(&self) -> usize {
        self.weights.len()
    }
}

/// The sums that least squares over lags needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LagStatistics {
    /// Products of (target, lag 1, ..., lag L, one), summed over pixels and frames.
    moments: Array2<f64>,
    /// How many pixels were summed.
    count: f64,
}

impl LagStatistics {
    /// Of nothing, for as many as `lags` values.
    pub fn new(lags: usize) -> Self {
        Self { moments: Array2::zeros((lags + 2, lags + 2)), count: 0.0 }
    }

    /// The largest number of lags.
    pub fn lags(&self) -> usize {
        self.moments.nrows() - 2
    }

    /// Whether the products are a square of at least a target, a lag and the constant.
    pub(super) fn is_whole(&self) -> bool {
        self.moments.is_square() && self.moments.nrows() >= 3
    }

    /// Adds every frame of a history that continues all its lags.
    pub fn add(&mut self, history: &History) {
        for target in 0..history.len().saturating_sub(self.lags()) {
            if history.is_whole(target, self.lags() + 1) {
                self.add_target(history, target);
            }
        }
    }

    /// Adds the frame of one age as a target.
    pub fn add_target(&mut self, history: &History, target: usize) {
        let lags = self.lags();
        for i in 0..=lags {
            for j in 0..=i {
                self.moments[(i, j)] += history.product(target + i, target + j);
            }
            self.moments[(lags + 1, i)] += history.sum(target + i);
        }
        self.moments[(lags + 1, lags + 1)] += history.pixels() as f64;
        self.count += history.pixels() as f64;
    }

    fn add_scaled(&mut self, other: &Self, scale: f64) {
        let (mine, its) = (self.lags(), other.lags());
        let index = |i: usize| if i > mine { its + 1 } else { i };
        for i in 0..mine + 2 {
            for j in 0..=i {
                self.moments[(i, j)] += scale * other.moments[(index(i), index(j))];
            }
        }
        self.count += scale * other.count;
    }

    /// The least squares over the first `lags` values, if there is anything to fit.
    pub fn solve(&self, lags: usize) -> Option<LagRule> {
        let last = self.lags() + 1;
        if self.count == 0.0 || lags > self.lags() {
            return None;
        }
        // Unknowns: the lags, then the constant.
        let place = |i: usize| if i == lags { last } else { i + 1 };
        let entry = |i: usize, j: usize| self.moments[(i.max(j), i.min(j))];
        let a = Array2::from_shape_fn((lags + 1, lags + 1), |(i, j)| entry(place(i), place(j)));
        let b = Array1::from_shape_fn(lags + 1, |i| entry(place(i), 0));
        let mut weights = Factor::new(&a, RIDGE).solve(&b).to_vec();
        let constant = weights.pop()?;
        Some(LagRule { weights, constant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(frames: usize) -> History {
        let mut history = History::new([1, 9], 64).unwrap();
        for t in 0..frames {
            let at = |(_, x): (usize, usize)| 0.5 + (0.3 * t as f64 + 0.7 * x as f64).sin();
            history.push(&Array2::from_shape_fn((1, 9), at)).unwrap();
        }
        history
    }

    #[test]
    fn a_sine_wave_is_continued_by_three_numbers() {
        let rule = LagRule::from_history(2, 0.0, None, &wave(12)).unwrap();
        // x[t+1] = 2 cos(w) x[t] - x[t-1] + c, and c is what the mean 0.5 needs.
        assert!((rule.weights[0] - 2.0 * 0.3_f64.cos()).abs() < 1e-6, "{rule:?}");
        assert!((rule.weights[1] + 1.0).abs() < 1e-6);
        let mut next = Array1::zeros(9);
        rule.next(&wave(12), next.view_mut());
        assert!((&next - &wave(13).frame(0)).iter().all(|gap| gap.abs() < 1e-6));
    }

    #[test]
    fn extrapolation_is_exact_for_polynomials() {
        let mut history = History::new([1, 1], 8).unwrap();
        for t in 0..5 {
            history.push(&ndarray::array![[f64::from(t * t * t)]]).unwrap();
        }
        for (degree, expected) in [(0, 64.0), (1, 101.0), (3, 125.0)] {
            let mut next = Array1::zeros(1);
            LagRule::extrapolation(degree, &history).unwrap().next(&history, next.view_mut());
            assert_eq!(next[0], expected);
        }
        assert!(LagRule::extrapolation(5, &history).is_none());
    }
}
