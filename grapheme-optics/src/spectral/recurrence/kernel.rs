//! Attention over the history with the weights of a ridge regression.

use super::super::History;
use super::super::solve::{Factor, add_rows};
use grapheme_core::{vector, wide};
use ndarray::{Array1, Array2, ArrayViewMut1};
use serde::{Deserialize, Serialize};

/// What is compared, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// How many frames a state is made of.
    pub delays: usize,
    /// Ridge, relative to the mean of the diagonal.
    pub ridge: f64,
    /// Width of the Gaussian, as a part of the mean distance between states; none for the linear kernel.
    pub width: Option<f64>,
}

/// `x[t + 1] = x[t] + sum_s a_s (x[s + 1] - x[s])`, with attention `a = (K + ridge I)^-1 k`.
///
/// `z[s] = (x[s], ..., x[s - m + 1])` is the state, `K_sr = k(z[s], z[r])`, `k_s = k(z[t], z[s])`. For the linear kernel
/// `k(u, v) = <u, v> + c` this is dynamic mode decomposition with delays on the full rank of the history (Schmid, 2010) as a
/// kernel ridge regression (Saunders et al., 1998): keys are states, values the changes that followed them. Only inner products
/// of frames are needed, so a fit costs O(T^2 m + T^3 / 6), without a factor of the number of pixels. States and changes across a
/// break of the history are left out: a jump is no dynamics.
#[derive(Clone, Debug)]
pub struct KernelRule {
    kernel: Kernel,
    factor: Factor,
    /// Ages in the history of the fit of the frames that followed a key; the newest first.
    followed: Vec<usize>,
    /// Frames of that history.
    frames: usize,
    constant: f64,
    scale: f64,
}

impl KernelRule {
    /// The rule for a history that ends in a whole state, if it holds at least three states with what followed.
    pub fn new(kernel: Kernel, history: &History) -> Option<Self> {
        let targets = history.len().checked_sub(kernel.delays)?;
        let followed: Vec<usize> = (0..targets).filter(|&age| history.is_whole(age, kernel.delays + 1)).collect();
        if followed.len() < 3 || !history.is_whole(0, kernel.delays) {
            return None;
        }
        let keys = followed.len();
        let mut products = Array2::zeros((keys, keys));
        for i in 0..keys {
            for j in 0..=i {
                let (a, b) = (1 + followed[i], 1 + followed[j]);
                let product: f64 = (0..kernel.delays).map(|d| history.product(a + d, b + d)).sum();
                products[(i, j)] = product;
                products[(j, i)] = product;
            }
        }
        let constant = products.diag().mean()?;
        let mut scale = 0.0;
        if let Some(width) = kernel.width {
            let mean = products.mean()?;
            // The mean squared distance of two states.
            scale = width * width * 2.0 * (constant - mean).max(f64::MIN_POSITIVE);
            let diagonal = products.diag().to_vec();
            for (mut row, &own) in products.rows_mut().into_iter().zip(&diagonal) {
                let row = row.as_slice_mut().expect("a new matrix is row-major");
                wide!(for (product, &other) in row.iter_mut().zip(&diagonal) {
                    *product = vector::exp(-(own + other - 2.0 * *product).max(0.0) / scale);
                });
            }
        } else {
            products += constant;
        }
        let factor = Factor::new(&products, kernel.ridge);
        Some(Self { kernel, factor, followed, frames: history.len(), constant, scale })
    }

    /// The weight of each remembered state, the newest first, for the state that `history` ends in.
    pub fn attention(&self, history: &History) -> Array1<f64> {
        let shift = history.len() - self.frames;
        let delays = self.kernel.delays;
        let product = |a: usize, b: usize| (0..delays).map(|d| history.product(a + d, b + d)).sum::<f64>();
        let own = product(0, 0);
        self.factor.solve(&Array1::from_shape_fn(self.followed.len(), |i| {
            let key = 1 + self.followed[i] + shift;
            if self.kernel.width.is_some() {
                (-(own + product(key, key) - 2.0 * product(0, key)).max(0.0) / self.scale).exp()
            } else {
                product(0, key) + self.constant
            }
        }))
    }

    /// As [`super::Rule::next`].
    pub fn next(&self, history: &History, mut out: ArrayViewMut1<'_, f64>) {
        let shift = history.len() - self.frames;
        let attention = self.attention(history);
        out.assign(&history.frame(0));
        // The changes telescope: each frame is needed once.
        let frame = |age: usize| history.frame(age + shift);
        let mut rows = Vec::with_capacity(attention.len() + 1);
        let (mut weight, mut last) = (0.0, usize::MAX);
        for (&age, &next) in self.followed.iter().zip(&attention) {
            if last.wrapping_add(1) == age {
                rows.push((next - weight, frame(age)));
            } else {
                if last != usize::MAX {
                    rows.push((-weight, frame(last + 1)));
                }
                rows.push((next, frame(age)));
            }
            (weight, last) = (next, age);
        }
        rows.push((-weight, frame(last + 1)));
        add_rows(rows, &mut out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(frames: usize) -> History {
        let mut history = History::new([2, 3], 40).unwrap();
        for t in 0..frames {
            let t = t as f64;
            let at = |(i, j): (usize, usize)| (0.4 * t + i as f64).sin() + 0.5 * (0.9 * t + 2.0 * j as f64).cos();
            history.push(&Array2::from_shape_fn((2, 3), at)).unwrap();
        }
        history
    }

    #[test]
    fn a_linear_field_is_continued_and_rolled_out() {
        let mut short = history(16);
        let rule = KernelRule::new(Kernel { delays: 2, ridge: 1e-13, width: None }, &short).unwrap();
        for t in 16..24 {
            let mut next = Array1::zeros(6);
            rule.next(&short, next.view_mut());
            let truth = history(t + 1);
            assert!((&next - &truth.frame(0)).iter().all(|gap| gap.abs() < 1e-4), "frame {t}");
            short.push_values(next.view());
        }
    }

    #[test]
    fn the_weights_are_those_of_the_regression_written_out() {
        let history = history(7);
        let kernel = Kernel { delays: 1, ridge: 1e-3, width: None };
        let rule = KernelRule::new(kernel, &history).unwrap();
        let mut next = Array1::zeros(6);
        rule.next(&history, next.view_mut());
        let change = |age: usize| &history.frame(age) - &history.frame(age + 1);
        let attention = rule.attention(&history);
        let mut expected = history.frame(0).to_owned();
        for (i, &weight) in attention.iter().enumerate() {
            expected.scaled_add(weight, &change(i));
        }
        assert!((&next - &expected).iter().all(|gap| gap.abs() < 1e-12));
        assert!(KernelRule::new(Kernel { delays: 5, ..kernel }, &history).is_none());
    }
}
