//! The wave equation in two dimensions, for fields that obey physics.

use super::FieldError;
use grapheme_core::Stream;
use ndarray::{Array2, Zip, s};
use rand::RngExt;

/// `u_tt = c^2 (u_xx + u_yy) - sigma u_t` by leapfrog on a grid of unit cells, second order in space and time.
///
/// ```text
/// u[t+1] = (2 u[t] - (1 - sigma/2) u[t-1] + C^2 (sum of the four neighbours - 4 u[t])) / (1 + sigma/2)
/// ```
///
/// C is the Courant number, cells a step; stable up to 1/sqrt(2). Walls hold u at zero. Within `margin` cells of the border sigma
/// grows with the cube of the depth, so that waves leave without coming back. A step is linear in the number of cells.
#[derive(Clone, Debug)]
pub struct WaveField {
    courant: f64,
    now: Array2<f64>,
    before: Array2<f64>,
    damping: Array2<f64>,
    wall: Array2<bool>,
    sources: Vec<Source>,
    steps: usize,
}

/// Cells that are driven up and down.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Row and column of each.
    pub cells: Vec<(usize, usize)>,
    /// Radians a step.
    pub rate: f64,
}

/// Damping of the outermost cell at most.
const DEEPEST: f64 = 0.9;
/// A wave that runs straight into a border has lost so many factors of e when it reaches its end.
const LOSS: f64 = 4.0;

impl WaveField {
    /// A field at rest.
    ///
    /// # Errors
    /// A grid of fewer than 3 x 3 cells, a Courant number outside (0, 0.7].
    pub fn new(shape: [usize; 2], courant: f64, margin: usize) -> Result<Self, FieldError> {
        let [h, w] = shape;
        if h < 3 || w < 3 {
            return Err(FieldError::Small { found: shape, least: 3 });
        }
        FieldError::require(courant > 0.0 && courant <= 0.7, "courant", courant, "above 0 and at most 0.7")?;
        // The mean of a cube is a quarter, and a wave loses sigma / 2 a step.
        let deepest = (LOSS * 8.0 * courant / margin.max(1) as f64).min(DEEPEST);
        let damping = Array2::from_shape_fn((h, w), |(i, j)| {
            let to_border = i.min(j).min(h - 1 - i).min(w - 1 - j);
            let depth = margin.saturating_sub(to_border) as f64 / margin.max(1) as f64;
            deepest * depth.powi(3)
        });
        Ok(Self {
            courant,
            now: Array2::zeros((h, w)),
            before: Array2::zeros((h, w)),
            damping,
            wall: Array2::from_elem((h, w), false),
            sources: Vec::new(),
            steps: 0,
        })
    }

    /// Puts a wall on every cell of which `is_wall(row, column)` says so.
    #[must_use]
    pub fn with_wall(mut self, is_wall: impl Fn(usize, usize) -> bool) -> Self {
        self.wall.indexed_iter_mut().for_each(|((i, j), wall)| *wall |= is_wall(i, j));
        self
    }

    /// Adds a source; its amplitude rises over its first period.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.sources.push(source);
        self
    }

    /// Adds a Gaussian of the given height and width, at rest.
    #[must_use]
    pub fn with_pulse(mut self, [row, column]: [f64; 2], width: f64, height: f64) -> Self {
        let pulse = Array2::from_shape_fn(self.now.dim(), |(i, j)| {
            let d = (i as f64 - row).powi(2) + (j as f64 - column).powi(2);
            height * (-d / (2.0 * width * width)).exp()
        });
        self.now += &pulse;
        self.before += &pulse;
        self
    }

    /// One step of time.
    pub fn step(&mut self) {
        let (h, w) = self.now.dim();
        let squared = self.courant * self.courant;
        let u = &self.now;
        let inner = s![1..h - 1, 1..w - 1];
        let mut next = Array2::zeros((h, w));
        // Waves that reach the outermost cells, which stay at zero, have been damped on their way.
        Zip::from(next.slice_mut(inner)).and(u.windows((3, 3))).for_each(|next, u| {
            *next = squared * (u[(0, 1)] + u[(2, 1)] + u[(1, 0)] + u[(1, 2)] - 4.0 * u[(1, 1)]);
        });
        Zip::from(&mut next).and(u).and(&self.before).and(&self.damping).and(&self.wall).for_each(
            |next, &u, &before, &sigma, &wall| {
                let moved = (*next + 2.0 * u - (1.0 - sigma / 2.0) * before) / (1.0 + sigma / 2.0);
                *next = if wall { 0.0 } else { moved };
            },
        );
        self.steps += 1;
        let time = self.steps as f64;
        for source in &self.sources {
            let rise = (source.rate * time / std::f64::consts::TAU).min(1.0);
            for &cell in &source.cells {
                next[cell] = rise * (source.rate * time).sin();
            }
        }
        self.before = std::mem::replace(&mut self.now, next);
    }

    /// The field now.
    pub fn field(&self) -> &Array2<f64> {
        &self.now
    }

    /// Kinetic and potential energy, `sum (u_t^2 + c^2 |grad u|^2) / 2`, of the half step between the last two frames.
    ///
    /// With the product of neighbouring gradients at the two times it is what leapfrog conserves exactly without damping.
    pub fn energy(&self) -> f64 {
        let moved: f64 = Zip::from(&self.now).and(&self.before).fold(0.0, |sum, a, b| sum + (a - b).powi(2));
        let (h, w) = self.now.dim();
        let mut bent = 0.0;
        for i in 0..h {
            for j in 0..w {
                let slope = |field: &Array2<f64>, to: (usize, usize)| field[to] - field[(i, j)];
                for to in [(i + 1, j), (i, j + 1)] {
                    if to.0 < h && to.1 < w {
                        bent += slope(&self.now, to) * slope(&self.before, to);
                    }
                }
            }
        }
        0.5 * (moved + self.courant * self.courant * bent)
    }

    /// The next `count` frames, `every` steps apart, as `1/2 + u / 2 scale`, clamped to 0 ... 1.
    pub fn frames(&mut self, count: usize, every: usize, scale: f64) -> Vec<Array2<f64>> {
        (0..count)
            .map(|_| {
                (0..every).for_each(|_| self.step());
                self.now.mapv(|u| (0.5 + 0.5 * u / scale).clamp(0.0, 1.0))
            })
            .collect()
    }
}

/// A barrier with two openings, lit by a plane wave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DoubleSlit {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Cells a wave.
    pub wavelength: f64,
    /// Cells between the middles of the openings.
    pub distance: usize,
    /// Cells of an opening; odd.
    pub opening: usize,
    /// Column of the barrier.
    pub barrier: usize,
    /// Cells at the border that swallow waves.
    pub margin: usize,
}

impl DoubleSlit {
    /// Rows of the middles of the openings.
    pub fn openings(&self) -> [f64; 2] {
        let middle = (self.shape[0] as f64 - 1.0) / 2.0;
        [middle - self.distance as f64 / 2.0, middle + self.distance as f64 / 2.0]
    }

    /// The field at rest, with its barrier and its source one wave before it.
    ///
    /// # Errors
    /// A wave of fewer than 8 cells, or a scene that does not fit its grid.
    pub fn field(&self) -> Result<WaveField, FieldError> {
        let [h, w] = self.shape;
        FieldError::require(self.wavelength >= 8.0, "wavelength", self.wavelength, "at least 8 cells")?;
        let source = self.barrier as f64 - self.wavelength;
        let fits = source > 1.0 && self.barrier + 2 < w && self.distance + self.opening < h;
        FieldError::require(fits, "barrier", self.barrier as f64, "a wave behind the left border and inside the grid")?;
        let openings = self.openings();
        let half = self.opening as f64 / 2.0;
        let courant = 0.5;
        // The rate at which a wave of this length swings on this grid, along an axis: the numerical dispersion relation.
        let rate = 2.0 * (courant * (std::f64::consts::PI / self.wavelength).sin()).asin();
        let cells = (0..h).map(|row| (row, source as usize)).collect();
        Ok(WaveField::new(self.shape, courant, self.margin)?
            .with_wall(|row, column| {
                column == self.barrier && openings.iter().all(|opening| (row as f64 - opening).abs() >= half)
            })
            .with_source(Source { cells, rate }))
    }
}

/// Two to four pulses at random places that run into each other; with an obstacle, also into a square with sharp edges.
///
/// # Errors
/// A grid of fewer than 8 x 8 cells.
pub fn pulses(n: usize, with_obstacle: bool, stream: &mut Stream) -> Result<WaveField, FieldError> {
    if n < 8 {
        return Err(FieldError::Small { found: [n, n], least: 8 });
    }
    let size = n as f64;
    let mut field = WaveField::new([n, n], 0.5, n / 8)?;
    for _ in 0..stream.random_range(2..5) {
        let mut place = || stream.random_range(0.2 * size..0.8 * size);
        let at = [place(), place()];
        field = field.with_pulse(at, stream.random_range(0.05 * size..0.1 * size), 1.0);
    }
    if with_obstacle {
        let (low, high) = (n * 7 / 16, n * 9 / 16);
        field = field.with_wall(|row, column| (low..high).contains(&row) && (low..high).contains(&column));
        field.silence_walls();
    }
    Ok(field)
}

impl WaveField {
    /// What a pulse put inside a wall.
    fn silence_walls(&mut self) {
        for field in [&mut self.now, &mut self.before] {
            Zip::from(field).and(&self.wall).for_each(|u, &wall| *u = if wall { 0.0 } else { *u });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_conserved_without_borders_and_leaves_through_them() {
        let run = |margin: usize, steps: usize| {
            let mut field = WaveField::new([64, 64], 0.5, margin).unwrap().with_pulse([32.0, 32.0], 3.0, 1.0);
            field.step();
            let start = field.energy();
            (0..steps).for_each(|_| field.step());
            field.energy() / start
        };
        assert!((run(0, 40) - 1.0).abs() < 1e-12, "{}", run(0, 40));
        // A pulse has left after crossing the field and what comes back from the border is a thousandth.
        assert!(run(20, 400) < 1e-3, "{}", run(20, 400));
    }

    #[test]
    fn a_front_moves_at_the_speed_of_the_grid() {
        // A line pulse splits in two halves that move by C cells a step.
        let mut field = WaveField::new([9, 200], 0.5, 0).unwrap();
        for row in 0..9 {
            field = field.with_pulse([row as f64, 100.0], 6.0, 1.0);
        }
        for _ in 0..80 {
            field.step();
            // Kept the same in every row: a problem of one dimension.
            let row = field.now.row(4).to_owned();
            field.now.rows_mut().into_iter().for_each(|mut each| each.assign(&row));
        }
        let row = field.field().row(4);
        let peak = (100..200).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        assert!((139..=141).contains(&peak), "{peak}");
    }

    #[test]
    fn a_wall_stays_at_rest_and_bad_scenes_are_refused() {
        let mut field = pulses(32, true, &mut Stream::new(1)).unwrap();
        for frame in field.frames(10, 4, 1.0) {
            assert_eq!(frame[(16, 16)], 0.5);
            assert!(frame.iter().any(|&x| x != 0.5));
        }
        assert!(WaveField::new([2, 9], 0.5, 0).is_err() && WaveField::new([9, 9], 0.9, 0).is_err());
        assert!(pulses(4, false, &mut Stream::new(1)).is_err());
    }
}
