//! A linear recurrence for each pixel.

use super::super::History;
use super::LagStatistics;
use ndarray::{Array2, ArrayViewMut1};

/// `x[t + 1] = c + sum_i w_i x[t - i]` with its own `w` and `c` for each pixel.
///
/// Fitted by least squares over a window of the history, to whose normal equations some frames' worth of those that all
/// pixels have in common are added: where a pixel has not moved it does as the others do. O(P (W L^2 + L^3)).
#[derive(Clone, Debug)]
pub struct PlaceRule {
    /// (L + 1) x P, the constant last.
    weights: Array2<f64>,
}

impl PlaceRule {
    /// The rule for a history that has the lags and a frame more in one piece, and ends in the lags in one piece.
    pub fn new(lags: usize, window: usize, prior: f64, history: &History) -> Option<Self> {
        let targets = 0..history.len().checked_sub(lags)?.min(window);
        let targets: Vec<usize> = targets.filter(|&target| history.is_whole(target, lags + 1)).collect();
        if targets.is_empty() || !history.is_whole(0, lags) {
            return None;
        }
        let mut pooled = LagStatistics::new(lags);
        pooled.add(history);
        let common = pooled.solve(lags)?;
        let (n, pixels) = (lags + 1, history.pixels());
        // The unknown is the gap to the common rule, so the right side is that rule's error.
        let mut errors = Array2::zeros((targets.len(), pixels));
        for (&target, mut row) in targets.iter().zip(errors.rows_mut()) {
            row.assign(&history.frame(target));
            common.subtract_from(history, target, row);
        }
        let prior_moments = pooled.mean_moments(lags);
        let mut weights = Array2::zeros((n, pixels));
        // Row k of the packed lower triangle, then the right side, each for all pixels at once.
        let packed = n * (n + 1) / 2;
        let mut sums = Array2::<f64>::zeros((packed + n, pixels));
        for (&target, error) in targets.iter().zip(errors.rows()) {
            let mut k = 0;
            for i in 0..n {
                for j in 0..=i {
                    let mut sum = sums.row_mut(k);
                    match (i == lags, j == lags) {
                        (true, true) => sum += 1.0,
                        (true, false) => sum += &history.frame(target + 1 + j),
                        _ => {
                            let (a, b) = (history.frame(target + 1 + i), history.frame(target + 1 + j));
                            ndarray::Zip::from(&mut sum).and(a).and(b).for_each(|s, &a, &b| *s += a * b);
                        }
                    }
                    k += 1;
                }
            }
            for i in 0..n {
                let mut sum = sums.row_mut(packed + i);
                if i == lags {
                    sum += &error;
                } else {
                    let a = history.frame(target + 1 + i);
                    ndarray::Zip::from(&mut sum).and(a).and(&error).for_each(|s, &a, &e| *s += a * e);
                }
            }
        }
        let mut a = vec![0.0; n * n];
        let mut b = vec![0.0; n];
        for pixel in 0..pixels {
            let mut k = 0;
            for (i, right) in b.iter_mut().enumerate() {
                for j in 0..=i {
                    a[i * n + j] = sums[(k, pixel)] + prior * prior_moments[(i, j)];
                    k += 1;
                }
                a[i * n + i] += 1e-12 * prior_moments[(i, i)];
                *right = sums[(packed + i, pixel)];
            }
            solve_small(&mut a, &mut b, n);
            weights.column_mut(pixel).iter_mut().zip(&b).for_each(|(weight, &gap)| *weight = gap);
        }
        common.add_to(&mut weights);
        Some(Self { weights })
    }

    /// As [`super::Rule::next`].
    pub fn next(&self, history: &History, mut out: ArrayViewMut1<'_, f64>) {
        let lags = self.weights.nrows() - 1;
        out.assign(&self.weights.row(lags));
        for age in 0..lags {
            let (weights, frame) = (self.weights.row(age), history.frame(age));
            ndarray::Zip::from(&mut out).and(weights).and(frame).for_each(|o, &w, &x| *o += w * x);
        }
    }
}

/// Cholesky's method in place on the lower triangle; a pivot that rounding has eaten leaves its unknown at zero.
fn solve_small(a: &mut [f64], b: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..=i {
            let mut sum = a[i * n + j];
            for k in 0..j {
                sum -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = match i == j {
                true if sum > 0.0 => sum.sqrt(),
                true => f64::INFINITY,
                false => sum / a[j * n + j],
            };
        }
        let mut sum = b[i];
        for k in 0..i {
            sum -= a[i * n + k] * b[k];
        }
        b[i] = sum / a[i * n + i];
    }
    for i in (0..n).rev() {
        let mut sum = b[i];
        for k in i + 1..n {
            sum -= a[k * n + i] * b[k];
        }
        b[i] = sum / a[i * n + i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;

    #[test]
    fn each_pixel_has_its_own_frequency() {
        let frame = |t: f64| Array2::from_shape_fn((1, 6), |(_, x)| 0.5 + ((0.2 + 0.1 * x as f64) * t).sin());
        let mut history = History::new([1, 6], 40).unwrap();
        (0..30).for_each(|t| history.push(&frame(f64::from(t))).unwrap());
        let mut next = Array1::zeros(6);
        PlaceRule::new(2, 20, 1e-9, &history).unwrap().next(&history, next.view_mut());
        let gap = (&next - &frame(30.0).row(0)).iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        assert!(gap < 1e-5, "{gap:e}");
        // A rule that they share does not do it.
        let shared = super::super::LagRule::from_history(2, 0.0, None, &history).unwrap();
        shared.next(&history, next.view_mut());
        assert!((&next - &frame(30.0).row(0)).iter().any(|gap| gap.abs() > 1e-2));
    }
}
