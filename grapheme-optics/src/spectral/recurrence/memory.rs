//! Linear dynamics of principal components, and a kernel over remembered states for what is not linear.

use super::super::History;
use super::super::solve::{Factor, add_rows, along_rows};
use grapheme_core::product::product;
use grapheme_core::{Stream, vector, wide};
use ndarray::{Array1, Array2, ArrayView1, ArrayViewMut1, Axis, s};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// `x[t + 1] = x[t] + U^T (A s + V^T k(s))` with the state `s = (1, U (x[t] - mean), ..., U (x[t - m + 1] - mean))`.
///
/// U are principal components of the training frames. A is the least squares of the change over the state, which is dynamic
/// mode decomposition with m delays. What it leaves is fitted by a Gaussian kernel, `k_j(s) = exp(-|s - c_j|^2 / 2 sigma^2)`,
/// over states `c_j` that are remembered from training: attention over a memory, with weights that solve a ridge
/// regression. Far from all remembered states the kernel is zero and the linear part goes on alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    delays: usize,
    /// r x P.
    components: Array2<f64>,
    /// The mean frame along them.
    centre: Array1<f64>,
    /// (1 + r m) x r.
    linear: Array2<f64>,
    /// Remembered states, n x (1 + r m), and what each adds, n x r.
    states: Array2<f64>,
    values: Array2<f64>,
    /// Squared lengths of the states.
    norms: Array1<f64>,
    /// `1 / (2 sigma^2)`.
    sharpness: f64,
}

/// A [`Memory`] in use on one history.
#[derive(Clone, Debug)]
pub struct MemoryRule<'a> {
    memory: &'a Memory,
    remembers: bool,
}

impl Memory {
    /// Fits components that were found to sequences that are given as coefficients, each frames x r.
    pub(super) fn fit(
        mean: &Array1<f64>,
        components: &Array2<f64>,
        sequences: &[Array2<f64>],
        delays: usize,
        slots: usize,
        seed: &Stream,
    ) -> Option<Self> {
        let r = components.nrows();
        let samples: usize = sequences.iter().map(|c| c.nrows().saturating_sub(delays)).sum();
        if samples == 0 || r == 0 {
            return None;
        }
        let n = 1 + r * delays;
        let (mut states, mut changes) = (Array2::ones((samples, n)), Array2::zeros((samples, r)));
        let mut row = 0;
        for c in sequences {
            for t in delays..c.nrows() {
                for d in 0..delays {
                    states.slice_mut(s![row, 1 + d * r..1 + (d + 1) * r]).assign(&c.row(t - 1 - d));
                }
                changes.row_mut(row).assign(&(&c.row(t) - &c.row(t - 1)));
                row += 1;
            }
        }
        let solve = |design: &Array2<f64>, target: &Array2<f64>, ridge: f64| {
            Factor::new(&product(design.t(), design.view()), ridge).solve_columns(&product(design.t(), target.view()))
        };
        let linear = solve(&states, &changes, 1e-13);
        let rest = &changes - &*product(states.view(), linear.view());
        // Where there are more states than slots a seeded choice is remembered.
        let mut order: Vec<usize> = (0..samples).collect();
        if samples > slots {
            let mut random = seed.clone();
            for i in 0..slots {
                order.swap(i, random.random_range(i..samples));
            }
            order.truncate(slots);
            order.sort_unstable();
        }
        let kept = states.select(Axis(0), &order);
        let spread = states.var_axis(Axis(0), 0.0).sum();
        let sharpness = 1.0 / (2.0 * 0.25 * spread.max(f64::MIN_POSITIVE));
        let kernel = kernel_matrix(&states, &kept, sharpness);
        let values =
            if samples > slots { solve(&kernel, &rest, 1e-8) } else { Factor::new(&kernel, 1e-9).solve_columns(&rest) };
        Some(Self {
            delays,
            centre: components.dot(mean),
            components: components.clone(),
            linear,
            norms: kept.rows().into_iter().map(|row| row.dot(&row)).collect(),
            states: kept,
            values,
            sharpness,
        })
    }

    /// The rule for a history with enough frames; with `remembers`, the kernel acts too.
    pub(super) fn rule(&self, history: &History, remembers: bool) -> Option<MemoryRule<'_>> {
        (history.len() >= self.delays && history.pixels() == self.components.ncols())
            .then_some(MemoryRule { memory: self, remembers })
    }

    /// Whether all parts fit each other and frames of so many pixels.
    pub(super) fn is_whole(&self, pixels: usize) -> bool {
        let (r, slots) = (self.components.nrows(), self.states.nrows());
        // A product that does not fit a machine word is no size of anything.
        let Some(n) = r.checked_mul(self.delays).and_then(|n| n.checked_add(1)) else { return false };
        self.delays >= 1
            && (self.centre.len(), self.components.ncols()) == (r, pixels)
            && self.linear.dim() == (n, r)
            && (self.states.dim(), self.values.dim(), self.norms.len()) == ((slots, n), (slots, r), slots)
    }

    /// Frames a state is made of.
    pub(super) fn delays(&self) -> usize {
        self.delays
    }

    fn state(&self, history: &History) -> Array1<f64> {
        let r = self.components.nrows();
        let mut state = Array1::ones(1 + r * self.delays);
        for d in 0..self.delays {
            let coefficients = along_rows(self.components.view(), history.frame(d)) - &self.centre;
            state.slice_mut(s![1 + d * r..1 + (d + 1) * r]).assign(&coefficients);
        }
        state
    }

    fn attention(&self, state: ArrayView1<'_, f64>) -> Array1<f64> {
        let own = state.dot(&state);
        let mut weights = along_rows(self.states.view(), state);
        let each = weights.iter_mut().zip(&self.norms);
        wide!(for (k, &norm) in each {
            *k = vector::exp(-(own + norm - 2.0 * *k).max(0.0) * self.sharpness);
        });
        weights
    }
}

impl MemoryRule<'_> {
    /// As [`super::Rule::next`].
    pub fn next(&self, history: &History, mut out: ArrayViewMut1<'_, f64>) {
        let memory = self.memory;
        let state = memory.state(history);
        let mut change = Array1::zeros(memory.components.nrows());
        add_rows(state.iter().copied().zip(memory.linear.rows()), &mut change.view_mut());
        if self.remembers {
            let attention = memory.attention(state.view());
            add_rows(attention.iter().copied().zip(memory.values.rows()), &mut change.view_mut());
        }
        out.assign(&history.frame(0));
        add_rows(change.iter().copied().zip(memory.components.rows()), &mut out);
    }
}

fn kernel_matrix(states: &Array2<f64>, kept: &Array2<f64>, sharpness: f64) -> Array2<f64> {
    let norms = |x: &Array2<f64>| x.rows().into_iter().map(|row| row.dot(&row)).collect::<Vec<_>>();
    let (a, b) = (norms(states), norms(kept));
    let mut kernel = Array2::from(product(states.view(), kept.t()));
    for ((i, j), k) in kernel.indexed_iter_mut() {
        *k = (-(a[i] + b[j] - 2.0 * *k).max(0.0) * sharpness).exp();
    }
    kernel
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A rotation whose speed depends on the place: not linear.
    fn coefficients(frames: usize) -> Array2<f64> {
        let mut angle = 0.0_f64;
        let mut c = Array2::zeros((frames, 2));
        for t in 0..frames {
            c[(t, 0)] = angle.cos();
            c[(t, 1)] = angle.sin();
            angle += 0.2 + 0.1 * (2.0 * angle).sin();
        }
        c
    }

    #[test]
    fn the_kernel_learns_what_the_linear_part_leaves() {
        let c = coefficients(301);
        let (train, test) = (c.slice(s![..200, ..]).to_owned(), c.slice(s![200.., ..]));
        let identity = Array2::eye(2);
        let memory = Memory::fit(&Array1::zeros(2), &identity, &[train], 1, 500, &Stream::new(1)).unwrap();
        let error = |remembers: bool| {
            let mut sum = 0.0;
            for t in 0..100 {
                let mut history = History::new([1, 2], 4).unwrap();
                history.push_values(test.row(t));
                let mut next = Array1::zeros(2);
                memory.rule(&history, remembers).unwrap().next(&history, next.view_mut());
                sum += (&next - &test.row(t + 1)).mapv(|x| x * x).sum();
            }
            sum / 100.0
        };
        let (linear, kernel) = (error(false), error(true));
        assert!(linear > 1e-4 && kernel < 1e-4 * linear, "{linear:e} {kernel:e}");
        assert!(Memory::fit(&Array1::zeros(2), &identity, &[Array2::zeros((1, 2))], 1, 9, &Stream::new(1)).is_none());
    }
}
