//! The gradient field of a map, and what a gradient does to a loss.

use ndarray::Array2;

/// The derivatives of a map along columns and along rows, `(d/dx, d/dy)`, in units a cell: central differences inside, one-sided
/// at the border, zero along an axis of one cell.
pub fn gradient_field(map: &Array2<f64>) -> [Array2<f64>; 2] {
    let (h, w) = map.dim();
    let along = |n: usize, i: usize| {
        let (low, high) = (i.saturating_sub(1), (i + 1).min(n - 1));
        (low, high, (high - low).max(1) as f64)
    };
    let dx = Array2::from_shape_fn((h, w), |(i, j)| {
        let (low, high, step) = along(w, j);
        (map[(i, high)] - map[(i, low)]) / step
    });
    let dy = Array2::from_shape_fn((h, w), |(i, j)| {
        let (low, high, step) = along(h, i);
        (map[(high, j)] - map[(low, j)]) / step
    });
    [dx, dy]
}

/// `sum (dx^2 + dy^2)`: the energy of the gradient field.
pub fn gradient_energy(map: &Array2<f64>) -> f64 {
    gradient_field(map).iter().map(|d| d.mapv(|x| x * x).sum()).sum()
}

/// What one step of descent did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// How much the loss fell.
    pub done: f64,
    /// What the first-order law says: the step times the squared norm of the gradient.
    pub expected: f64,
}

impl Work {
    /// Of a step `x - rate g` that took the loss from `before` to `after`, with `energy = |g|^2`.
    pub fn of_step(before: f64, after: f64, rate: f64, energy: f64) -> Self {
        Self { done: before - after, expected: rate * energy }
    }

    /// Done to expected; 1 in the limit of small steps, 1 where neither is anything.
    pub fn ratio(&self) -> f64 {
        if self.expected == 0.0 && self.done == 0.0 { 1.0 } else { self.done / self.expected }
    }
}

/// The first step from which on, for `patience` steps, the loss changed by less than `tolerance` of itself in all.
pub fn equilibrium(losses: &[f64], patience: usize, tolerance: f64) -> Option<usize> {
    losses.windows(patience + 1).position(|window| {
        let (low, high) = window.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), &x| (l.min(x), h.max(x)));
        high - low <= tolerance * high
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_of_a_plane_is_its_slope() {
        let map = Array2::from_shape_fn((5, 7), |(i, j)| 2.0 * j as f64 - 3.0 * i as f64);
        let [dx, dy] = gradient_field(&map);
        assert!(dx.iter().all(|&d| d == 2.0) && dy.iter().all(|&d| d == -3.0));
        assert_eq!(gradient_energy(&map), 35.0 * 13.0);
        assert_eq!(gradient_energy(&Array2::ones((1, 1))), 0.0);
    }

    #[test]
    fn small_steps_obey_the_first_order_law_and_large_ones_do_not() {
        // f = sum x^4 / 4, gradient x^3.
        let x: Vec<f64> = (1..9).map(|i| 0.3 * f64::from(i)).collect();
        let loss = |x: &[f64]| x.iter().map(|x| x.powi(4) / 4.0).sum::<f64>();
        let ratio = |rate: f64| {
            let moved: Vec<f64> = x.iter().map(|x| x - rate * x.powi(3)).collect();
            Work::of_step(loss(&x), loss(&moved), rate, x.iter().map(|x| x.powi(6)).sum()).ratio()
        };
        assert!((ratio(1e-4) - 1.0).abs() < 0.01 && (ratio(0.05) - 1.0).abs() > 0.1);
    }

    #[test]
    fn equilibrium_is_where_the_loss_stands_still() {
        let losses: Vec<f64> = (0..50).map(|t| 1.0 + (-0.5 * f64::from(t)).exp()).collect();
        let at = equilibrium(&losses, 5, 1e-3).unwrap();
        // 1.001 x: e^(-t/2) (1 - e^(-5/2)) falls below a thousandth between t = 13 and 14.
        assert_eq!(at, 14);
        assert_eq!(equilibrium(&losses[..10], 5, 1e-3), None);
    }
}
