//! An optimiser that traces damped rays of light over a loss.
//!
//! In a low-dimensional linear subspace of the parameters with coordinates z, the loss is a potential U(z), and
//! `n(z) = sqrt(2 (E - U(z)))` is a refractive index: light of energy E is bent towards low losses. Its rays obey
//! `dz/ds = p`, `dp/ds = grad(n^2) / 2 = -grad U` with `|p| = n`, the equations of [`crate::lens`]. Damping, `- c p`, takes the
//! energy out, so that a ray comes to rest in a minimum; what it has at the start, E - U, is what it may climb.

use grapheme_core::{ParamTree, Scalar, param};
use thiserror::Error;

/// How rays are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RaySettings {
    /// Path step.
    pub step: f64,
    /// Damping c, at least 0.
    pub damping: f64,
    /// E minus the loss at the start; positive.
    pub surplus: f64,
}

/// Why no ray was traced.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum RayError {
    /// Light does not get there.
    #[error("the loss {loss} reaches the energy {energy}: there n^2 = 2 (E - U) is not positive; raise the surplus")]
    Dark {
        /// U.
        loss: f64,
        /// E.
        energy: f64,
    },
    /// A setting out of its range.
    #[error("{name} = {value}: must be {expected}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What was found.
        value: f64,
        /// What would do.
        expected: &'static str,
    },
}

/// A ray on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct LossRay {
    /// Where it is.
    pub z: Vec<f64>,
    /// Its momentum.
    pub p: Vec<f64>,
    /// The loss there.
    pub loss: f64,
    /// `|p|^2 / 2 + U`: what is left of E.
    pub energy: f64,
}

/// Traces one ray from `start` for `evaluations` of `f`, which gives the loss and its gradient. It starts downhill with
/// `|p| = n`; each step kicks half, drifts, kicks half (leapfrog), and damps by `exp(-c h)`. Returns the places, the
/// first included.
///
/// # Errors
/// [`RayError`]: a bad setting, or a start that is dark.
pub fn trace(
    settings: RaySettings,
    start: &[f64],
    evaluations: usize,
    mut f: impl FnMut(&[f64]) -> (f64, Vec<f64>),
) -> Result<Vec<LossRay>, RayError> {
    let RaySettings { step, damping, surplus } = settings;
    let positive = |name, value: f64| match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(RayError::Setting { name, value, expected: "a positive number" }),
    };
    positive("step", step)?;
    if !(damping >= 0.0 && damping.is_finite()) {
        return Err(RayError::Setting { name: "damping", value: damping, expected: "a number of at least 0" });
    }
    let (loss, mut slope) = f(start);
    if !(surplus > 0.0 && loss.is_finite()) {
        return Err(RayError::Dark { loss, energy: loss + surplus });
    }
    let length = slope.iter().map(|d| d * d).sum::<f64>().sqrt();
    let index = (2.0 * surplus).sqrt();
    let p: Vec<f64> = slope.iter().map(|d| if length > 0.0 { -index * d / length } else { 0.0 }).collect();
    let mut path = vec![LossRay { z: start.to_vec(), p, loss, energy: loss + surplus }];
    let keep = (-damping * step).exp();
    for _ in 1..evaluations {
        let LossRay { mut z, mut p, .. } = path[path.len() - 1].clone();
        p.iter_mut().zip(&slope).for_each(|(p, d)| *p -= 0.5 * step * d);
        z.iter_mut().zip(&p).for_each(|(z, p)| *z += step * p);
        let (loss, next) = f(&z);
        slope = next;
        p.iter_mut().zip(&slope).for_each(|(p, d)| *p = keep * (*p - 0.5 * step * d));
        let energy = loss + 0.5 * p.iter().map(|p| p * p).sum::<f64>();
        path.push(LossRay { z, p, loss, energy });
    }
    Ok(path)
}

/// Gradient descent for as many evaluations: what rays are compared with. Returns the losses.
pub fn descend(rate: f64, start: &[f64], evaluations: usize, mut f: impl FnMut(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    let mut z = start.to_vec();
    let mut losses = Vec::with_capacity(evaluations);
    for _ in 0..evaluations {
        let (loss, slope) = f(&z);
        losses.push(loss);
        z.iter_mut().zip(&slope).for_each(|(z, d)| *z -= rate * d);
    }
    losses
}

/// A linear subspace of the parameters of a model, through one of its states.
#[derive(Clone, Debug)]
pub struct ZSpace<T> {
    origin: T,
    axes: Vec<T>,
}

impl<T> ZSpace<T> {
    /// The directions in which `path` moved away from its last state, made orthonormal in the order from the latest back; at
    /// most `rank` of them. Directions that add nothing are left out.
    pub fn of_path<S: Scalar>(path: &[T], rank: usize) -> Option<Self>
    where
        T: ParamTree<S> + Clone,
    {
        let (last, before) = path.split_last()?;
        let mut axes: Vec<T> = Vec::new();
        for state in before.iter().rev() {
            if axes.len() == rank {
                break;
            }
            let mut axis = state.clone();
            add::<S, T>(&mut axis, -1.0, last);
            let whole = param::norm(&axis);
            for _ in 0..2 {
                for other in &axes {
                    let along = inner::<S, T>(&mut axis, other);
                    add::<S, T>(&mut axis, -along, other);
                }
            }
            let left = param::norm(&axis);
            if left > 1e-4 * whole && left > 0.0 {
                param::each_mut(&mut axis, |_, _, values: &mut [S]| {
                    values.iter_mut().for_each(|x| *x *= S::lit(1.0 / left));
                });
                axes.push(axis);
            }
        }
        Some(Self { origin: last.clone(), axes })
    }

    /// Its dimensions.
    pub fn rank(&self) -> usize {
        self.axes.len()
    }

    /// The model at `z`: the origin plus the axes times their coordinates.
    pub fn at<S: Scalar>(&self, z: &[f64]) -> T
    where
        T: ParamTree<S> + Clone,
    {
        let mut model = self.origin.clone();
        self.axes.iter().zip(z).for_each(|(axis, &z)| add::<S, T>(&mut model, z, axis));
        model
    }

    /// The gradient with respect to z, for that of the model.
    pub fn slope<S: Scalar>(&self, gradient: &T) -> Vec<f64>
    where
        T: ParamTree<S> + Clone,
    {
        let mut copy = gradient.clone();
        self.axes.iter().map(|axis| inner::<S, T>(&mut copy, axis)).collect()
    }
}

fn add<S: Scalar, T: ParamTree<S>>(tree: &mut T, factor: f64, other: &T) {
    let factor = S::lit(factor);
    param::each_pair(tree, other, |_, a, b| a.iter_mut().zip(b).for_each(|(a, &b)| *a += factor * b));
}

/// The walk over pairs may write its first tree; this one does not.
fn inner<S: Scalar, T: ParamTree<S>>(a: &mut T, b: &T) -> f64 {
    let mut sum = 0.0;
    param::each_pair(a, b, |_, a, b| sum += a.iter().zip(b).map(|(&a, &b)| a.widen() * b.widen()).sum::<f64>());
    sum
}
