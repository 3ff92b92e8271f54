//! Rays of light in a plane of varying refractive index: the bridge from gradient optics to optics.
//!
//! In an index field `n(x)` a ray obeys Hamilton's equations `dx/ds = p`, `dp/ds = grad(n^2) / 2` with `|p| = n(x)`, s being the
//! path parameter with `|dx| = n ds` (Born and Wolf, Principles of Optics, 3.2; Sharma, Kumar and Ghatak, 1982). [`shoot`] follows a
//! ray through a lens until it leaves the rim, [`Path::pull_back`] is the adjoint, and [`design`] bends an index profile by
//! gradient descent until rays go where they should.

pub mod design;

use thiserror::Error;

/// A point or a direction in the plane.
pub type Vector = [f64; 2];

/// A lens of radius 1 around the origin whose index depends on the distance r from the middle alone:
/// `n^2 = c_0 + c_1 r^2 + c_2 r^4 + ...` within, 1 outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Lens {
    /// The coefficients.
    pub coefficients: Vec<f64>,
}

impl Lens {
    /// `n^2 = 2 - r^2` (Luneburg, 1944): a parallel beam meets in the point of the rim opposite to where it comes from.
    pub fn luneburg() -> Self {
        Self { coefficients: vec![2.0, -1.0] }
    }

    /// `n^2`, its derivative with respect to `u = r^2`, and the second.
    fn profile(&self, u: f64) -> (f64, f64, f64) {
        let (mut value, mut slope, mut bend) = (0.0, 0.0, 0.0);
        for &c in self.coefficients.iter().rev() {
            bend = bend * u + 2.0 * slope;
            slope = slope * u + value;
            value = value * u + c;
        }
        (value, slope, bend)
    }
}

/// An index field.
pub trait Field {
    /// `n^2` at a point.
    fn square(&self, x: Vector) -> f64;
    /// `grad(n^2) / 2`.
    fn force(&self, x: Vector) -> Vector;
    /// The derivative of the force, a symmetric matrix, applied to a vector.
    fn bend(&self, x: Vector, v: Vector) -> Vector;
    /// Adds the gradient of `<force(x), v>` with respect to the parameters into `grad`.
    fn pull_back(&self, x: Vector, v: Vector, grad: &mut [f64]);
    /// How many parameters there are.
    fn parameters(&self) -> usize;
}

impl Field for Lens {
    fn square(&self, x: Vector) -> f64 {
        self.profile(dot(x, x)).0
    }

    fn force(&self, x: Vector) -> Vector {
        let slope = self.profile(dot(x, x)).1;
        [slope * x[0], slope * x[1]]
    }

    fn bend(&self, x: Vector, v: Vector) -> Vector {
        let (_, slope, bend) = self.profile(dot(x, x));
        let along = 2.0 * bend * dot(x, v);
        [slope * v[0] + along * x[0], slope * v[1] + along * x[1]]
    }

    fn pull_back(&self, x: Vector, v: Vector, grad: &mut [f64]) {
        let (u, along) = (dot(x, x), dot(x, v));
        let mut power = 1.0;
        for (k, grad) in grad.iter_mut().enumerate().skip(1) {
            *grad += k as f64 * power * along;
            power *= u;
        }
    }

    fn parameters(&self) -> usize {
        self.coefficients.len()
    }
}

/// Maxwell's fish-eye, `n = 2 / (1 + r^2)`: every ray from a point of the unit circle passes through its antipode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FishEye;

impl Field for FishEye {
    fn square(&self, x: Vector) -> f64 {
        4.0 / (1.0 + dot(x, x)).powi(2)
    }

    fn force(&self, x: Vector) -> Vector {
        let slope = -8.0 / (1.0 + dot(x, x)).powi(3);
        [slope * x[0], slope * x[1]]
    }

    fn bend(&self, x: Vector, v: Vector) -> Vector {
        let w = 1.0 + dot(x, x);
        let (slope, along) = (-8.0 / w.powi(3), 48.0 / w.powi(4) * dot(x, v));
        [slope * v[0] + along * x[0], slope * v[1] + along * x[1]]
    }

    fn pull_back(&self, _: Vector, _: Vector, _: &mut [f64]) {}

    fn parameters(&self) -> usize {
        0
    }
}

/// Why a ray was not followed to its end.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ShootError {
    /// The index is not real where the ray starts.
    #[error("n^2 = {square} at the start of the ray: it must be positive")]
    NoIndex {
        /// The value found.
        square: f64,
    },
    /// It never left the rim.
    #[error("the ray has not left the lens after a path of {length}: it may be caught in it")]
    Caught {
        /// The path parameter reached.
        length: f64,
    },
}

/// A ray within a lens, from its start on the rim, or within, to where it leaves the rim.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Positions and momenta: at the start, after each step, and at last on the rim.
    pub states: Vec<(Vector, Vector)>,
    /// The step, and the last one, which ends on the rim.
    steps: [f64; 2],
}

/// The gradient of the start of a ray and of the field's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjoint {
    /// Of the position.
    pub dx: Vector,
    /// Of the momentum.
    pub dp: Vector,
    /// Of the parameters.
    pub dfield: Vec<f64>,
}

/// Follows a ray from `x` into direction `towards` by the classical Runge-Kutta method of order 4 with step `h` until it
/// leaves the unit circle. The momentum has the length n there. The last step is shortened so that it ends on the rim
/// to rounding (by Newton's method): the rim is an event, since the derivatives of the index jump there.
///
/// # Errors
/// [`ShootError`].
pub fn shoot(field: &impl Field, x: Vector, towards: Vector, h: f64) -> Result<Path, ShootError> {
    let square = field.square(x);
    if !(square > 0.0 && square.is_finite()) {
        return Err(ShootError::NoIndex { square });
    }
    let scale = (square / dot(towards, towards)).sqrt();
    let mut state = (x, [scale * towards[0], scale * towards[1]]);
    let mut states = vec![state];
    const LONGEST: f64 = 100.0;
    for _ in 0..(LONGEST / h) as usize {
        let next = runge_kutta(field, state, h);
        // The first step starts on the rim, and rounding may put that outside.
        let leaves = dot(next.0, next.0) >= 1.0 && dot(next.0, next.1) > 0.0;
        if leaves {
            let (mut part, mut end) = (0.5 * h, state);
            for _ in 0..60 {
                end = runge_kutta(field, state, part);
                // d|x|^2 / ds = 2 <x, p>.
                let correction = (dot(end.0, end.0) - 1.0) / (2.0 * dot(end.0, end.1));
                part = (part - correction).clamp(0.0, h);
                if correction.abs() < 1e-15 {
                    break;
                }
            }
            states.push(end);
            return Ok(Path { states, steps: [h, part] });
        }
        states.push(next);
        state = next;
    }
    Err(ShootError::Caught { length: LONGEST })
}

impl Path {
    /// Where the ray leaves the rim.
    pub fn end(&self) -> (Vector, Vector) {
        self.states[self.states.len() - 1]
    }

    /// The adjoint: what the gradient `(dx, dp)` of the end is at the start, and the gradient of the field's parameters. The
    /// derivative of the discrete path, exact to rounding; that the end moves along the rim takes
    /// `dx - x (<dx, p> + <dp, force>) / <x, p>` in the place of `dx`.
    pub fn pull_back(&self, field: &impl Field, dx: Vector, dp: Vector) -> Adjoint {
        let mut dfield = vec![0.0; field.parameters()];
        let (x, p) = self.end();
        let force = field.force(x);
        let slip = (dot(dx, p) + dot(dp, force)) / dot(x, p);
        let (mut dx, mut dp) = ([dx[0] - slip * x[0], dx[1] - slip * x[1]], dp);
        let last = self.states.len() - 2;
        for (i, &state) in self.states[..=last].iter().enumerate().rev() {
            let h = self.steps[usize::from(i == last)];
            (dx, dp) = runge_kutta_adjoint(field, state, h, (dx, dp), &mut dfield);
        }
        // The momentum was given the length n at the start: only its direction was free. That is the caller's to take.
        Adjoint { dx, dp, dfield }
    }
}

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1]
}

fn along(a: Vector, h: f64, b: Vector) -> Vector {
    [a[0] + h * b[0], a[1] + h * b[1]]
}

/// The states at which one step looks, and the step.
fn stages(field: &impl Field, (x, p): (Vector, Vector), h: f64) -> [(Vector, Vector); 4] {
    let first = (x, p);
    let second = (along(x, 0.5 * h, p), along(p, 0.5 * h, field.force(x)));
    let third = (along(x, 0.5 * h, second.1), along(p, 0.5 * h, field.force(second.0)));
    let fourth = (along(x, h, third.1), along(p, h, field.force(third.0)));
    [first, second, third, fourth]
}

const WEIGHTS: [f64; 4] = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0];
/// How far from its predecessor each stage lies, in steps.
const REACH: [f64; 4] = [0.0, 0.5, 0.5, 1.0];

fn runge_kutta(field: &impl Field, (x, p): (Vector, Vector), h: f64) -> (Vector, Vector) {
    let (mut x_end, mut p_end) = (x, p);
    for ((x, p), weight) in stages(field, (x, p), h).into_iter().zip(WEIGHTS) {
        x_end = along(x_end, weight * h, p);
        p_end = along(p_end, weight * h, field.force(x));
    }
    (x_end, p_end)
}

/// The transposed derivative of [`runge_kutta`] with the step held fixed.
fn runge_kutta_adjoint(
    field: &impl Field,
    state: (Vector, Vector),
    h: f64,
    (dx_end, dp_end): (Vector, Vector),
    dfield: &mut [f64],
) -> (Vector, Vector) {
    let stages = stages(field, state, h);
    let (mut dx, mut dp) = (dx_end, dp_end);
    // What later stages ask of the one before: gradients of its velocity and of its force.
    let (mut dvelocity, mut dforce) = ([0.0; 2], [0.0; 2]);
    for i in (0..4).rev() {
        let (x, _) = stages[i];
        let velocity = along(dvelocity, WEIGHTS[i] * h, dx_end);
        let force = along(dforce, WEIGHTS[i] * h, dp_end);
        field.pull_back(x, force, dfield);
        let (dx_stage, dp_stage) = (field.bend(x, force), velocity);
        dx = along(dx, 1.0, dx_stage);
        dp = along(dp, 1.0, dp_stage);
        dvelocity = [REACH[i] * h * dx_stage[0], REACH[i] * h * dx_stage[1]];
        dforce = [REACH[i] * h * dp_stage[0], REACH[i] * h * dp_stage[1]];
    }
    (dx, dp)
}
