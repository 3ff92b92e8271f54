//! Lens design by gradient descent.

use super::{Lens, ShootError, Vector, shoot};

/// A parallel beam along the first axis, and the point where it should meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// Rays of the beam.
    pub rays: usize,
    /// The outermost rays pass the middle at this distance, below 1.
    pub height: f64,
    /// Where they should leave the rim.
    pub focus: Vector,
    /// Path step.
    pub step: f64,
}

impl Default for Task {
    /// Luneburg's task.
    fn default() -> Self {
        Self { rays: 15, height: 0.9, focus: [1.0, 0.0], step: 0.01 }
    }
}

/// Where the rays of the beam enter the rim, from the left.
pub fn beam(task: &Task) -> impl Iterator<Item = Vector> + '_ {
    (0..task.rays).map(|i| {
        let height = task.height * (2.0 * (i as f64 + 0.5) / task.rays as f64 - 1.0);
        [-(1.0 - height * height).sqrt(), height]
    })
}

/// The mean squared distance from the focus of where rays leave, and its gradient with respect to the coefficients.
///
/// The lens meets the air with index 1 only if its coefficients sum to 1; then the beam enters unbent, as is assumed here.
///
/// # Errors
/// [`ShootError`].
pub fn miss(lens: &Lens, task: &Task) -> Result<(f64, Vec<f64>), ShootError> {
    let (mut sum, mut grad) = (0.0, vec![0.0; lens.coefficients.len()]);
    let share = 1.0 / task.rays.max(1) as f64;
    for start in beam(task) {
        let path = shoot(lens, start, [1.0, 0.0], task.step)?;
        let (end, _) = path.end();
        let off = [end[0] - task.focus[0], end[1] - task.focus[1]];
        sum += share * (off[0] * off[0] + off[1] * off[1]);
        let adjoint = path.pull_back(lens, [2.0 * share * off[0], 2.0 * share * off[1]], [0.0, 0.0]);
        grad.iter_mut().zip(&adjoint.dfield).for_each(|(sum, d)| *sum += d);
        // The momentum at the start has the length n, which moves with the coefficients: d|p| = d(n^2) / (2 n).
        let square = lens.coefficients.iter().sum::<f64>();
        grad.iter_mut().for_each(|sum| *sum += 0.5 * adjoint.dp[0] / square.sqrt());
    }
    Ok((sum, grad))
}

/// One state of a design.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The lens.
    pub lens: Lens,
    /// [`miss`] of it.
    pub miss: f64,
}

/// Gradient descent on all coefficients with their sum kept at 1, so that the rim is no surface, from `lens` on. The step
/// starts at `rate`, grows by a tenth where it helps and is halved where it does not. Returns every draft that was better
/// than the one before, the first included.
///
/// # Errors
/// [`ShootError`] if the first lens catches a ray; later ones that do are passed over.
pub fn design(lens: Lens, task: &Task, steps: usize, rate: f64) -> Result<Vec<Draft>, ShootError> {
    let (mut best, mut grad) = miss(&lens, task)?;
    let mut drafts = vec![Draft { lens, miss: best }];
    let mut rate = rate;
    for _ in 0..steps {
        let mean = grad.iter().sum::<f64>() / grad.len().max(1) as f64;
        let now = &drafts[drafts.len() - 1].lens;
        let moved = now.coefficients.iter().zip(&grad).map(|(c, d)| c - rate * (d - mean)).collect();
        let next = Lens { coefficients: moved };
        match miss(&next, task) {
            Ok((found, slope)) if found < best => {
                (best, grad) = (found, slope);
                drafts.push(Draft { lens: next, miss: found });
                rate *= 1.1;
            }
            _ => rate *= 0.5,
        }
    }
    Ok(drafts)
}
