//! Eleven families of moving fields.
//!
//! A grid of n x n cells, `x` and `y` from 0 to 1 in n equal steps, `y` by rows. `G(cx, cy, s)` is a Gaussian of height one.
//! Each pattern is one formula of the frame number `t`; a [`Variation`] changes its constants, so that a family of
//! sequences can be drawn of which no two are alike.

use super::FieldError;
use grapheme_core::Stream;
use ndarray::Array2;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::f64::consts::{PI, TAU};

/// Which field moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// A Gaussian on a circle.
    Blob,
    /// Two sine waves at right angles, added.
    Interference,
    /// The blob and the interference in turns of 101 frames.
    Switching,
    /// The waves of two point sources, damped by distance.
    DoubleSlit,
    /// Two Gaussians that circle in opposite directions.
    CounterRotate,
    /// Two waves whose wave number grows.
    Chirp,
    /// Two waves whose phase jumps by pi every 40 frames.
    PhaseJump,
    /// A Gaussian whose place and speed are noise, with a paler one behind it.
    NoisyMotion,
    /// A blob that is joined every 60 frames by a second one for 30 frames, at a place that is noise.
    Bifurcation,
    /// Two plane waves that meet.
    WaveCollision,
    /// Two rings that breathe against each other.
    Concentric,
}

/// What distinguishes one sequence of a family from another. The default is the pattern as it is defined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variation {
    /// Factor of every rate of change in time.
    pub speed: f64,
    /// Added to every angle that grows with time.
    pub phase: f64,
    /// Factors of the centre's x and y.
    pub centre: [f64; 2],
    /// Factor of every wave number.
    pub wave: f64,
    /// Factor of the distance between the two sources.
    pub distance: f64,
    /// The frame that counts as number 0.
    pub start: i64,
}

impl Default for Variation {
    fn default() -> Self {
        Self { speed: 1.0, phase: 0.0, centre: [1.0; 2], wave: 1.0, distance: 1.0, start: 0 }
    }
}

impl Variation {
    /// Factors uniform in 0.6 to 1.4, the phase uniform over the circle, the start among the first 300 frames.
    pub fn draw(stream: &mut Stream) -> Self {
        let mut factor = || stream.random_range(0.6..1.4);
        let (speed, centre, wave, distance) = (factor(), [factor(), factor()], factor(), factor());
        let phase = stream.random_range(0.0..TAU);
        Self { speed, phase, centre, wave, distance, start: stream.random_range(0..300) }
    }
}

impl Pattern {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 11] = [
        Self::Blob,
        Self::Interference,
        Self::Switching,
        Self::DoubleSlit,
        Self::CounterRotate,
        Self::Chirp,
        Self::PhaseJump,
        Self::NoisyMotion,
        Self::Bifurcation,
        Self::WaveCollision,
        Self::Concentric,
    ];

    /// The name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Interference => "interference",
            Self::Switching => "switching",
            Self::DoubleSlit => "double_slit",
            Self::CounterRotate => "counter_rotate",
            Self::Chirp => "chirp",
            Self::PhaseJump => "phase_jump",
            Self::NoisyMotion => "noisy_motion",
            Self::Bifurcation => "bifurcation",
            Self::WaveCollision => "wave_collision",
            Self::Concentric => "concentric",
        }
    }

    /// Frame number `t` on n x n cells. Linear time.
    ///
    /// # Errors
    /// [`FieldError::Small`] for n below 2, where the axes have no step.
    pub fn frame(self, t: i64, n: usize, v: &Variation) -> Result<Array2<f64>, FieldError> {
        if n < 2 {
            return Err(FieldError::Small { found: [n, n], least: 2 });
        }
        Ok(self.formula(t + v.start, n, v))
    }

    /// Frames number `first` to `first + count - 1`.
    ///
    /// # Errors
    /// As [`Pattern::frame`].
    pub fn frames(self, first: i64, count: usize, n: usize, v: &Variation) -> Result<Vec<Array2<f64>>, FieldError> {
        (first..).take(count).map(|t| self.frame(t, n, v)).collect()
    }

    fn formula(self, t: i64, n: usize, v: &Variation) -> Array2<f64> {
        let time = t as f64;
        let (cx, cy) = (0.5 * v.centre[0], 0.5 * v.centre[1]);
        let turn = TAU * 0.02 * v.speed * time + v.phase;
        let grid = |f: &dyn Fn(f64, f64) -> f64| {
            let step = 1.0 / (n - 1) as f64;
            Array2::from_shape_fn((n, n), |(row, column)| f(column as f64 * step, row as f64 * step))
        };
        let blob = || {
            let at = gaussian(cx + 0.3 * turn.cos(), cy + 0.3 * turn.sin(), 0.1);
            grid(&at)
        };
        match self {
            Self::Blob => blob(),
            Self::Interference => {
                let (k, p) = (10.0 * v.wave, 0.1 * v.speed * time + v.phase);
                grid(&|x, y| (((k * x + p).sin() + (k * y + 0.7 * p).sin()) / 2.0 + 1.0) / 2.0)
            }
            Self::Switching if t.div_euclid(101) % 2 == 0 => blob(),
            Self::Switching => Self::Interference.formula(t, n, v),
            Self::DoubleSlit => {
                let (k, p, half) = (35.0 * v.wave, 0.12 * v.speed * time + v.phase, 0.09 * v.distance);
                let source = |x: f64, y: f64, sx: f64| {
                    let d = ((x - sx).powi(2) + (y - 0.4 * cy).powi(2)).sqrt() + 1e-3;
                    (k * d - p).sin() / d
                };
                norm(grid(&|x, y| source(x, y, cx - half) + source(x, y, cx + half)))
            }
            Self::CounterRotate => {
                let one = gaussian(cx + 0.25 * turn.cos(), cy + 0.25 * turn.sin(), 0.08);
                let other = gaussian(cx + 0.25 * turn.cos(), cy - 0.25 * turn.sin(), 0.08);
                norm(grid(&|x, y| one(x, y) + other(x, y)))
            }
            Self::Chirp => {
                let f = 3.0 * v.wave + 0.015 * v.speed * time;
                let p = 0.1 * v.speed * time + v.phase;
                norm(grid(&|x, y| (TAU * f * x + p).sin() + (TAU * 0.6 * f * y - p).sin()))
            }
            Self::PhaseJump => {
                let (k, jump) = (8.0 * PI * v.wave, if t.div_euclid(40) % 2 == 0 { 0.0 } else { PI });
                let q = 0.08 * v.speed * time + v.phase + jump;
                norm(grid(&|x, y| (k * x + q).sin() + (k * y - q).sin()))
            }
            Self::NoisyMotion => {
                let rate = (0.02 + 0.04 * (noise(time, 0.37) - 0.5)) * v.speed;
                let (a, b) = (TAU * rate * time + v.phase, TAU * rate * (time - 1.0) + v.phase);
                let (dx, dy) = (0.15 * (noise(time, 0.11) - 0.5), 0.15 * (noise(time, 0.53) - 0.5));
                let now = gaussian(cx + 0.28 * a.cos() + dx, cy + 0.28 * a.sin() + dy, 0.1);
                let before = gaussian(cx + 0.28 * b.cos(), cy + 0.28 * b.sin(), 0.12);
                norm(grid(&|x, y| now(x, y) + 0.4 * before(x, y)))
            }
            Self::Bifurcation if t.rem_euclid(60) < 30 => blob(),
            Self::Bifurcation => {
                let o = 0.2 * (noise(t.div_euclid(60) as f64, 0.77) - 0.5);
                let second = gaussian(cx + o, cy - o, 0.08);
                norm(blob() + 0.9 * grid(&second))
            }
            Self::WaveCollision => {
                let (k, p) = (12.0 * v.wave, TAU * 0.08 * v.speed * time + v.phase);
                norm(grid(&|x, _| (k * x - p).sin() + (k * (1.0 - x) - p).sin()))
            }
            Self::Concentric => {
                let swing = (TAU * 0.03 * v.speed * time + v.phase).sin();
                let (r1, r2) = (0.15 + 0.1 * swing, 0.35 - 0.15 * swing);
                norm(grid(&|x, y| {
                    let r = ((x - cx).powi(2) + (y - cy).powi(2)).sqrt();
                    let ring = |at: f64, width: f64| (-(r - at).powi(2) / (2.0 * width * width)).exp();
                    ring(r1, 0.04) + 0.7 * ring(r2, 0.05)
                }))
            }
        }
    }
}

fn gaussian(cx: f64, cy: f64, s: f64) -> impl Fn(f64, f64) -> f64 {
    move |x, y| (-((x - cx).powi(2) + (y - cy).powi(2)) / (2.0 * s * s)).exp()
}

/// Stretches a frame to the range from 0 to 1.
fn norm(mut frame: Array2<f64>) -> Array2<f64> {
    let low = frame.iter().copied().fold(f64::INFINITY, f64::min);
    let high = frame.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    frame.mapv_inplace(|x| (x - low) / (high - low + 1e-8));
    frame
}

/// `frac(43758.5453 sin(12.9898 (t + o)))`, the shader writers' noise: not random, but nothing here can tell.
fn noise(t: f64, o: f64) -> f64 {
    let x = 43758.5453 * (12.9898 * (t + o)).sin();
    x - x.floor()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_stays_between_zero_and_one_and_moves() {
        for pattern in Pattern::ALL {
            for v in [Variation::default(), Variation::draw(&mut Stream::new(3))] {
                let frames = pattern.frames(0, 60, 9, &v).unwrap();
                assert!(frames.iter().flatten().all(|x| (0.0..=1.0).contains(x)), "{}", pattern.name());
                assert!(frames.iter().any(|frame| *frame != frames[0]), "{}", pattern.name());
            }
        }
    }

    #[test]
    fn frames_are_the_formulas_at_places_worked_out_by_hand() {
        let at =
            |pattern: Pattern, t, place: (usize, usize)| pattern.frame(t, 5, &Variation::default()).unwrap()[place];
        // The blob's centre at t = 0 is (0.8, 0.5); row 2, column 3 is (0.75, 0.5).
        assert!((at(Pattern::Blob, 0, (2, 3)) - (-0.05_f64.powi(2) / 0.02).exp()).abs() < 1e-15);
        // After a quarter of its round, 12.5 frames, it would be at (0.5, 0.8): t = 50 is a whole round.
        assert!((at(Pattern::Blob, 50, (2, 3)) - at(Pattern::Blob, 0, (2, 3))).abs() < 1e-12);
        let expected = ((5.0_f64 + 0.3).sin() + (2.5_f64 + 0.21).sin()) / 4.0 + 0.5;
        assert!((at(Pattern::Interference, 3, (1, 2)) - expected).abs() < 1e-15);
        assert_eq!(at(Pattern::Switching, 100, (1, 1)), at(Pattern::Blob, 100, (1, 1)));
        assert_eq!(at(Pattern::Switching, 101, (1, 1)), at(Pattern::Interference, 101, (1, 1)));
        // The waves of a collision add up to 2 sin(6 - p) cos(12 x - 6): one frame or its opposite.
        assert!((at(Pattern::WaveCollision, 0, (0, 2)) + at(Pattern::WaveCollision, 6, (0, 2)) - 1.0).abs() < 1e-7);
        assert!(matches!(Pattern::Blob.frame(0, 1, &Variation::default()), Err(FieldError::Small { .. })));
    }

    #[test]
    fn a_phase_jump_turns_the_frame_over() {
        // The jump negates both sines, so that the next frame is nearly one minus this one, but for 0.08 of progress.
        let frames = Pattern::PhaseJump.frames(38, 3, 16, &Variation::default()).unwrap();
        let gap = |a: &Array2<f64>, b: &Array2<f64>| (a - b).mapv(|x| x * x).mean().unwrap();
        assert!(gap(&frames[0], &frames[1]) < 0.01);
        assert!(gap(&frames[2], &frames[1]) > 0.1 && gap(&frames[2], &(1.0 - &frames[1])) < 0.01);
    }
}
