//! What a predictor does where the future forks.

use super::fringes::correlation;
use super::gradient::gradient_energy;
use ndarray::Array2;

/// The possible next frames, each with its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Fork {
    /// Each of one shape.
    pub branches: Vec<Array2<f64>>,
    /// Each at least 0, with a sum of 1.
    pub probabilities: Vec<f64>,
}

impl Fork {
    /// The mean of the mixture, which is what has the least expected squared error.
    pub fn mean(&self) -> Array2<f64> {
        self.mix(|branch| branch.clone())
    }

    /// The expected squared error of a prediction at each place.
    pub fn expected_error(&self, prediction: &Array2<f64>) -> Array2<f64> {
        self.mix(|branch| (branch - prediction).mapv(|x| x * x))
    }

    /// How sharp a prediction is: its gradient energy as a part of that of the branches on average.
    pub fn sharpness(&self, prediction: &Array2<f64>) -> f64 {
        let pairs = self.branches.iter().zip(&self.probabilities);
        let expected: f64 = pairs.map(|(branch, p)| p * gradient_energy(branch)).sum();
        gradient_energy(prediction) / expected.max(f64::MIN_POSITIVE)
    }

    /// The branch that a prediction is nearest to, in squared distance; the first of equals.
    pub fn nearest(&self, prediction: &Array2<f64>) -> usize {
        let distance = |i: &usize| (&self.branches[*i] - prediction).mapv(|x| x * x).sum();
        (0..self.branches.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
    }

    /// The correlation between where something is expected, the mean of the mixture, and where the error of a prediction is expected.
    ///
    /// Near 1 where the most probable place is the place of most error.
    pub fn error_follows_probability(&self, prediction: &Array2<f64>) -> f64 {
        correlation(&self.mean(), &self.expected_error(prediction))
    }

    fn mix(&self, f: impl Fn(&Array2<f64>) -> Array2<f64>) -> Array2<f64> {
        let mut pairs = self.branches.iter().zip(&self.probabilities);
        let first = pairs.next().map(|(branch, &p)| f(branch) * p).unwrap_or_default();
        pairs.fold(first, |sum, (branch, &p)| sum + f(branch) * p)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(row: usize, column: usize) -> Array2<f64> {
        Array2::from_shape_fn((20, 20), |(i, j)| {
            (-((i as f64 - row as f64).powi(2) + (j as f64 - column as f64).powi(2)) / 4.0).exp()
        })
    }

    #[test]
    fn the_mean_has_the_least_error_and_is_blurred() {
        let fork = Fork { branches: vec![spot(5, 10), spot(14, 10)], probabilities: vec![0.7, 0.3] };
        let mean = fork.mean();
        let least = fork.expected_error(&mean).sum();
        for other in [&fork.branches[0], &(&mean * 1.01), &(&mean + 0.001)] {
            assert!(fork.expected_error(other).sum() > least);
        }
        // Two far spots of heights p and q: the energy is (p^2 + q^2) / (p + q).
        assert!((fork.sharpness(&mean) - 0.58).abs() < 0.002, "{}", fork.sharpness(&mean));
        assert!((fork.sharpness(&fork.branches[1]) - 1.0).abs() < 0.02);
        // p (1 - p) of the square of each spot: the error of the hedge lies where the spots may be.
        assert!(fork.error_follows_probability(&mean) > 0.8);
    }

    #[test]
    fn a_prediction_is_nearest_to_the_branch_beside_it() {
        let fork = Fork { branches: vec![spot(5, 10), spot(14, 10)], probabilities: vec![0.75, 0.25] };
        assert_eq!([spot(5, 11), spot(6, 10), spot(13, 9)].map(|frame| fork.nearest(&frame)), [0, 0, 1]);
    }
}
