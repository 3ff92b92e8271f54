//! One least squares over neighbours in space and time.

use super::super::{History, solve::Factor};
use ndarray::{Array1, Array2, ArrayViewMut1};
use serde::{Deserialize, Serialize};

/// `x[t + 1] = c + sum w[d, i, j] x[t - d]` shifted by `(i, j)`, over the 3 x 3 neighbourhood in the last frames.
///
/// Beyond the border the nearest pixel counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbourhood {
    /// For each frame, the newest first, nine weights by rows; then the constant.
    weights: Array1<f64>,
    frames: usize,
}

/// The normal equations of [`Neighbourhood`].
#[derive(Clone, Debug)]
pub(super) struct NeighbourhoodStatistics {
    frames: usize,
    moments: Array2<f64>,
    right: Array1<f64>,
}

impl Neighbourhood {
    /// How many frames it reads.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Whether there are nine weights a frame, and the constant.
    pub(super) fn is_whole(&self) -> bool {
        self.frames.checked_mul(9).and_then(|n| n.checked_add(1)) == Some(self.weights.len())
    }

    /// As [`super::Rule::next`].
    pub fn next(&self, history: &History, mut out: ArrayViewMut1<'_, f64>) {
        let [_, w] = history.shape();
        let mut next = vec![self.weights[9 * self.frames]; out.len()];
        for_each_shift(history, 0, self.frames, |shift, i, row| {
            let weight = self.weights[shift];
            let out = &mut next[i * w..(i + 1) * w];
            let add = |out: &mut [f64], row: &[f64]| out.iter_mut().zip(row).for_each(|(o, &x)| *o += weight * x);
            match shift % 3 {
                0 => {
                    out[0] += weight * row[0];
                    add(&mut out[1..], row);
                }
                1 => add(out, row),
                _ => {
                    out[w - 1] += weight * row[w - 1];
                    add(out, &row[1..]);
                }
            }
        });
        out.iter_mut().zip(next).for_each(|(o, x)| *o = x);
    }
}

impl NeighbourhoodStatistics {
    pub(super) fn new(frames: usize) -> Self {
        let n = 9 * frames + 1;
        Self { frames, moments: Array2::zeros((n, n)), right: Array1::zeros(n) }
    }

    /// Adds the newest frame as a target, if there are enough before it.
    pub(super) fn add_newest(&mut self, history: &History) {
        if history.len() > self.frames {
            let design = design(history, 1, self.frames);
            grapheme_core::product::add_product(self.moments.view_mut(), design.view(), design.t());
            self.right += &design.dot(&history.frame(0));
        }
    }

    pub(super) fn solve(&self) -> Neighbourhood {
        Neighbourhood { weights: Factor::new(&self.moments, 1e-12).solve(&self.right), frames: self.frames }
    }
}

/// The neighbours of each pixel in the frames from age `first` on, a row each, and a row of ones.
fn design(history: &History, first: usize, frames: usize) -> Array2<f64> {
    let [h, w] = history.shape();
    let mut design = Array2::ones((9 * frames + 1, h * w));
    for_each_shift(history, first, frames, |shift, i, row| {
        let mut target = design.slice_mut(ndarray::s![shift, i * w..(i + 1) * w]);
        for j in 0..w {
            target[j] = row[(j + shift % 3).saturating_sub(1).min(w - 1)];
        }
    });
    design
}

/// Calls `f(shift, i, row)` for each of the nine shifts in each frame and each row i, with the row of the frame that the shift
/// leads to.
fn for_each_shift(history: &History, first: usize, frames: usize, mut f: impl FnMut(usize, usize, &[f64])) {
    let [h, w] = history.shape();
    for d in 0..frames {
        let frame = history.values(first + d);
        for shift in 0..9 {
            for i in 0..h {
                let from = (i + shift / 3).saturating_sub(1).min(h - 1) * w;
                f(9 * d + shift, i, &frame[from..from + w]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_moves_one_cell_a_frame_is_one_weight() {
        let mut history = History::new([6, 7], 30).unwrap();
        let mut statistics = NeighbourhoodStatistics::new(1);
        for t in 0..30 {
            // Every row moves one cell to the right, with an irregular course.
            let at = |(i, j): (usize, usize)| {
                let place = j as f64 - f64::from(t) + 3.3 * i as f64;
                (1.7 * place).sin() + (0.31 * place * (i + 1) as f64).cos()
            };
            history.push(&Array2::from_shape_fn((6, 7), at)).unwrap();
            if t >= 3 {
                statistics.add_newest(&history);
            }
        }
        let rule = statistics.solve();
        let strongest = (0..9).max_by(|&a, &b| rule.weights[a].abs().total_cmp(&rule.weights[b].abs()));
        assert_eq!(strongest, Some(3), "the left neighbour: {:?}", rule.weights);
    }
}
