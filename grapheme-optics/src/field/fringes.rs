//! Interference: fringes, nodal lines, coherence.

use ndarray::Array2;

/// The mean square of a field over time, frame by frame.
#[derive(Clone, Debug)]
pub struct Intensity {
    sum: Array2<f64>,
    frames: usize,
}

impl Intensity {
    /// Of no frames yet.
    pub fn new(shape: [usize; 2]) -> Self {
        Self { sum: Array2::zeros(shape), frames: 0 }
    }

    /// Takes in a frame of the same shape.
    pub fn observe(&mut self, field: &Array2<f64>) {
        self.sum.zip_mut_with(field, |sum, &u| *sum += u * u);
        self.frames += 1;
    }

    /// The mean square at each place.
    pub fn mean(&self) -> Array2<f64> {
        self.sum.mapv(|sum| sum / self.frames.max(1) as f64)
    }
}

/// Where a profile has local maxima, between cells by the parabola through three of them, with the heights of the cells. Of
/// a plateau its first cell counts; ends do not.
pub fn peaks(profile: &[f64]) -> Vec<(f64, f64)> {
    let mut peaks = Vec::new();
    for (i, window) in profile.windows(3).enumerate() {
        let [a, b, c] = [window[0], window[1], window[2]];
        if b > a && b >= c {
            peaks.push((i as f64 + 1.0 + 0.5 * (a - c) / (a - 2.0 * b + c), b));
        }
    }
    peaks
}

/// The order of interference at a point: `(r_2 - r_1) / lambda`, distances to two openings. Whole numbers are bright, halves dark.
pub fn order([row, column]: [f64; 2], openings: [[f64; 2]; 2], wavelength: f64) -> f64 {
    let distance = |[i, j]: [f64; 2]| (row - i).hypot(column - j);
    (distance(openings[1]) - distance(openings[0])) / wavelength
}

/// `<e, f>^2 / (|e|^2 |f|^2)` of two maps less their means: 1 where one is a multiple of the other, 0 where they have
/// nothing in common or one of them does not vary.
pub fn coherence(e: &Array2<f64>, f: &Array2<f64>) -> f64 {
    correlation(e, f).powi(2)
}

/// Pearson's correlation of two maps, in -1 to 1; 0 where one does not vary.
pub fn correlation(e: &Array2<f64>, f: &Array2<f64>) -> f64 {
    let (me, mf) = (e.mean().unwrap_or(0.0), f.mean().unwrap_or(0.0));
    let (mut ee, mut ff, mut ef) = (0.0, 0.0, 0.0);
    for (&a, &b) in e.iter().zip(f) {
        ee += (a - me) * (a - me);
        ff += (b - mf) * (b - mf);
        ef += (a - me) * (b - mf);
    }
    let norm = (ee * ff).sqrt();
    if norm > 0.0 { ef / norm } else { 0.0 }
}

/// Cells whose intensity is below `part` of the mean of their surroundings, a square of `2 reach + 1` cells: dark lines.
pub fn nodal_cells(intensity: &Array2<f64>, reach: usize, part: f64) -> Array2<bool> {
    let (h, w) = intensity.dim();
    // Sums over rectangles from the corner, so that a square costs four look-ups.
    let mut sums = Array2::<f64>::zeros((h + 1, w + 1));
    for i in 0..h {
        for j in 0..w {
            sums[(i + 1, j + 1)] = intensity[(i, j)] + sums[(i, j + 1)] + sums[(i + 1, j)] - sums[(i, j)];
        }
    }
    Array2::from_shape_fn((h, w), |(i, j)| {
        let (a, b) = (i.saturating_sub(reach), (i + reach + 1).min(h));
        let (c, d) = (j.saturating_sub(reach), (j + reach + 1).min(w));
        let sum = sums[(b, d)] - sums[(a, d)] - sums[(b, c)] + sums[(a, c)];
        intensity[(i, j)] < part * sum / ((b - a) * (d - c)) as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectral::wave::DoubleSlit;

    #[test]
    fn a_parabola_peaks_between_its_cells() {
        let profile: Vec<f64> = (0..9).map(|i| 5.0 - (f64::from(i) - 4.3).powi(2)).collect();
        assert!((peaks(&profile)[0].0 - 4.3).abs() < 1e-12);
        assert_eq!(peaks(&[0.0, 1.0, 1.0, 0.0]).len(), 1);
    }

    #[test]
    fn fringes_of_the_solver_lie_where_the_paths_differ_by_whole_waves() {
        // 16 cells a wave, openings 4 waves apart, a screen 14 waves behind them.
        let scene =
            DoubleSlit { shape: [385, 360], wavelength: 16.0, distance: 64, opening: 5, barrier: 56, margin: 40 };
        let screen = scene.barrier + 224;
        let mut field = scene.field().unwrap();
        let mut intensity = Intensity::new(scene.shape);
        (0..1300).for_each(|_| field.step());
        // Two whole periods.
        for _ in 0..2 * 32 {
            field.step();
            intensity.observe(field.field());
        }
        let both = intensity.mean();
        let profile = both.column(screen).to_vec();
        let openings = scene.openings().map(|row| [row, scene.barrier as f64]);
        let inside = |&(row, _): &(f64, f64)| (48.0..337.0).contains(&row);
        let order_at = |row: f64| order([row, screen as f64], openings, scene.wavelength);
        let bright: Vec<f64> = peaks(&profile).into_iter().filter(inside).map(|(row, _)| order_at(row)).collect();
        let turned: Vec<f64> = profile.iter().map(|x| -x).collect();
        let dark: Vec<f64> = peaks(&turned).into_iter().filter(inside).map(|(row, _)| order_at(row)).collect();
        assert!(bright.len() == 5 && dark.len() == 4, "{bright:?} {dark:?}");
        for order in &bright {
            assert!((order - order.round()).abs() < 0.02 * order.abs().max(1.0), "{bright:?}");
        }
        for order in &dark {
            assert!((order.abs().fract() - 0.5).abs() < 0.02 * order.abs().max(1.0), "{dark:?}");
        }
        // The rule of small angles, spacing lambda L / d = 56 cells, is 4% short already at the 15 degrees of the first fringe.
        let rows: Vec<f64> = peaks(&profile).into_iter().filter(inside).map(|(row, _)| row).collect();
        let spacing = (rows[3] - rows[1]) / 2.0;
        assert!((spacing / 56.0 - 1.0).abs() < 0.06, "{spacing}");
        // Dark lines run between: where the paths differ by half a wave.
        let nodal = nodal_cells(&both, 24, 0.2);
        let share = |low: f64, high: f64| {
            let cells = (48..337).filter(|&row| (low..high).contains(&order_at(row as f64).rem_euclid(1.0)));
            let cells: Vec<usize> = cells.collect();
            cells.iter().filter(|&&row| nodal[(row, screen)]).count() as f64 / cells.len() as f64
        };
        assert!(share(0.46, 0.54) > 0.8 && share(0.0, 0.2) == 0.0, "{} {}", share(0.46, 0.54), share(0.0, 0.2));
    }

    #[test]
    fn coherence_is_blind_to_scale_and_sign() {
        let f = Array2::from_shape_fn((6, 6), |(i, j)| (i as f64).sin() + (2.0 * j as f64).cos());
        assert!((coherence(&(-3.0 * &f + 1.0), &f) - 1.0).abs() < 1e-12);
        assert_eq!(coherence(&Array2::ones((6, 6)), &f), 0.0);
    }
}
