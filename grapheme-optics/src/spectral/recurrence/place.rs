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

/// Pixels that are worked on together.
const LANES: usize = 8;
type Lane = [f64; LANES];

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
        let prior_moments = pooled.mean_moments(lags);
        let (n, pixels) = (lags + 1, history.pixels());
        let ages = 1 + lags + targets.iter().copied().max().unwrap_or(0);
        let mut weights = Array2::zeros((n, pixels));
        let frames: Vec<&[f64]> = (0..ages).map(|age| history.values(age)).collect();
        let mut values = vec![[0.0; LANES]; ages];
        let mut errors = vec![[0.0; LANES]; targets.len()];
        let (mut a, mut b) = (vec![[0.0; LANES]; n * n], vec![[0.0; LANES]; n]);
        for first in (0..pixels).step_by(LANES) {
            let part = first..pixels.min(first + LANES);
            for (value, frame) in values.iter_mut().zip(&frames) {
                value.iter_mut().zip(&frame[part.clone()]).for_each(|(v, &x)| *v = x);
            }
            // The unknown is the gap to the common rule, so the right side is that rule's error.
            for (error, &target) in errors.iter_mut().zip(&targets) {
                *error = common.errors(&values[target..]);
            }
            for i in 0..n {
                for j in 0..=i {
                    let mut sum = [prior * prior_moments[(i, j)]; LANES];
                    for &target in &targets {
                        match (i == lags, j == lags) {
                            (true, true) => sum.iter_mut().for_each(|s| *s += 1.0),
                            (true, false) => add(&mut sum, &values[target + 1 + j]),
                            _ => add_product(&mut sum, &values[target + 1 + i], &values[target + 1 + j]),
                        }
                    }
                    a[i * n + j] = sum;
                }
                a[i * n + i].iter_mut().for_each(|sum| *sum += 1e-12 * prior_moments[(i, i)]);
                b[i] = [0.0; LANES];
                for (&target, error) in targets.iter().zip(&errors) {
                    if i == lags {
                        add(&mut b[i], error);
                    } else {
                        add_product(&mut b[i], &values[target + 1 + i], error);
                    }
                }
            }
            solve_small(&mut a, &mut b, n);
            for (mut row, gap) in weights.rows_mut().into_iter().zip(&b) {
                row.slice_mut(ndarray::s![part.clone()]).iter_mut().zip(gap).for_each(|(w, &gap)| *w = gap);
            }
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

#[inline(always)]
fn add(sum: &mut Lane, x: &Lane) {
    (0..LANES).for_each(|l| sum[l] += x[l]);
}

#[inline(always)]
fn add_product(sum: &mut Lane, x: &Lane, y: &Lane) {
    (0..LANES).for_each(|l| sum[l] += x[l] * y[l]);
}

#[inline(always)]
fn subtract_product(sum: &mut Lane, x: &Lane, y: &Lane) {
    (0..LANES).for_each(|l| sum[l] -= x[l] * y[l]);
}

#[inline(always)]
fn divide(x: &mut Lane, by: &Lane) {
    (0..LANES).for_each(|l| x[l] /= by[l]);
}

/// Cholesky's method in place on the lower triangle, for some pixels at once; a pivot that rounding has eaten leaves its
/// unknown at zero.
fn solve_small(a: &mut [Lane], b: &mut [Lane], n: usize) {
    for i in 0..n {
        for j in 0..=i {
            let mut sum = a[i * n + j];
            for k in 0..j {
                subtract_product(&mut sum, &a[i * n + k], &a[j * n + k]);
            }
            if i == j {
                sum.iter_mut().for_each(|s| *s = if *s > 0.0 { s.sqrt() } else { f64::INFINITY });
            } else {
                divide(&mut sum, &a[j * n + j]);
            }
            a[i * n + j] = sum;
        }
        let mut sum = b[i];
        for k in 0..i {
            subtract_product(&mut sum, &a[i * n + k], &b[k]);
        }
        divide(&mut sum, &a[i * n + i]);
        b[i] = sum;
    }
    for i in (0..n).rev() {
        let mut sum = b[i];
        for k in i + 1..n {
            subtract_product(&mut sum, &a[k * n + i], &b[k]);
        }
        divide(&mut sum, &a[i * n + i]);
        b[i] = sum;
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
