//! Stored error, and events at which it collapses.

use ndarray::Array2;

/// A local collapse of stored error.
#[derive(Clone, Debug, PartialEq)]
pub struct Breakdown {
    /// Frame at which it collapsed.
    pub step: usize,
    /// Mean row and column of the cells that took part.
    pub place: [f64; 2],
    /// How many cells.
    pub size: usize,
    /// Stored error that was released.
    pub released: f64,
}

/// What counts as a breakdown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChargeSettings {
    /// How much of the charge remains after a frame, in [0, 1).
    pub retention: f64,
    /// Dielectric strength: only cells that were charged above this can break down.
    pub threshold: f64,
    /// A cell collapses when its input of one frame falls below this part of what it had been on average.
    pub collapse: f64,
}

impl Default for ChargeSettings {
    fn default() -> Self {
        Self { retention: 0.9, threshold: 0.5, collapse: 0.2 }
    }
}

impl ChargeSettings {
    /// Whether what is stored at a place breaks down at an error.
    pub fn breaks(&self, stored: f64, error: f64) -> bool {
        stored > self.threshold && error < self.collapse * stored * (1.0 - self.retention)
    }
}

/// `q[t] = retention q[t-1] + e[t]`: a leaky integral of the error at each place.
///
/// In the balance of a constant error e the charge is `e / (1 - retention)`. A cell above the threshold whose error falls at once
/// below `collapse` times that balance breaks down: it is discharged to zero. Cells that break down in one frame and
/// touch, diagonals included, are one event.
#[derive(Clone, Debug)]
pub struct Charge {
    settings: ChargeSettings,
    stored: Array2<f64>,
    step: usize,
}

impl Charge {
    /// Without charge.
    pub fn new(shape: [usize; 2], settings: ChargeSettings) -> Self {
        Self { settings, stored: Array2::zeros(shape), step: 0 }
    }

    /// The charge of each place.
    pub fn stored(&self) -> &Array2<f64> {
        &self.stored
    }

    /// Takes in the next error map, with no negative entry, and returns what broke down, in reading order.
    ///
    /// # Panics
    /// A map of another shape.
    pub fn observe(&mut self, error: &Array2<f64>) -> Vec<Breakdown> {
        let settings = self.settings;
        let step = self.step;
        self.step += 1;
        let mut breaks = Array2::from_elem(self.stored.dim(), false);
        ndarray::Zip::from(&mut breaks).and(&self.stored).and(error).for_each(|breaks, &stored, &error| {
            *breaks = settings.breaks(stored, error);
        });
        let events = components(&breaks).into_iter().map(|cells| {
            let n = cells.len() as f64;
            let mean = |f: fn(&(usize, usize)) -> usize| cells.iter().map(|cell| f(cell) as f64).sum::<f64>() / n;
            let released = cells.iter().map(|&cell| self.stored[cell]).sum();
            Breakdown { step, place: [mean(|c| c.0), mean(|c| c.1)], size: cells.len(), released }
        });
        let events = events.collect();
        ndarray::Zip::from(&mut self.stored).and(error).and(&breaks).for_each(|stored, &error, &breaks| {
            *stored = if breaks { 0.0 } else { settings.retention * *stored + error };
        });
        events
    }
}

/// A connected ridge of charge.
#[derive(Clone, Debug, PartialEq)]
pub struct Leader {
    /// Its cells, in reading order.
    pub cells: Vec<(usize, usize)>,
    /// The charge on them.
    pub charge: f64,
}

/// The leaders of a map: connected sets of cells above `level`, the most charged first.
pub fn leaders(charge: &Array2<f64>, level: f64) -> Vec<Leader> {
    let mut leaders: Vec<Leader> = components(&charge.mapv(|q| q > level))
        .into_iter()
        .map(|cells| Leader { charge: cells.iter().map(|&cell| charge[cell]).sum(), cells })
        .collect();
    leaders.sort_by(|a, b| b.charge.total_cmp(&a.charge));
    leaders
}

/// Frames between consecutive events.
pub fn waiting_times(events: &[Breakdown]) -> Vec<usize> {
    events.windows(2).map(|pair| pair[1].step - pair[0].step).collect()
}

/// Sets of marked cells that touch, diagonals included, in reading order of their first cells.
fn components(marked: &Array2<bool>) -> Vec<Vec<(usize, usize)>> {
    let (h, w) = marked.dim();
    let mut open = marked.clone();
    let mut found = Vec::new();
    for start in ndarray::indices((h, w)) {
        if !open[start] {
            continue;
        }
        open[start] = false;
        let mut cells = vec![start];
        let mut next = 0;
        while next < cells.len() {
            let (i, j) = cells[next];
            next += 1;
            for a in i.saturating_sub(1)..(i + 2).min(h) {
                for b in j.saturating_sub(1)..(j + 2).min(w) {
                    if std::mem::take(&mut open[(a, b)]) {
                        cells.push((a, b));
                    }
                }
            }
        }
        cells.sort_unstable();
        found.push(cells);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::Stream;
    use rand::RngExt;

    #[test]
    fn planted_events_are_found_and_no_others() {
        // A noisy error everywhere; at planted times and places it stays high for a while and then collapses.
        let planted = [(30, 4, 5, 2), (30, 12, 13, 3), (47, 8, 2, 1), (60, 4, 5, 2)];
        let mut stream = Stream::new(1);
        let mut charge = Charge::new([16, 16], ChargeSettings::default());
        let mut events = Vec::new();
        for step in 0..80 {
            let mut error = Array2::from_shape_simple_fn((16, 16), || 0.02 * stream.random::<f64>());
            for (end, row, column, half) in planted {
                if (end - 12..end).contains(&step) {
                    for cell in ndarray::indices((16, 16))
                        .into_iter()
                        .filter(|&(i, j)| i.abs_diff(row) < half && j.abs_diff(column) < half)
                    {
                        error[cell] = 0.2 + 0.05 * stream.random::<f64>();
                    }
                }
            }
            events.extend(charge.observe(&error));
        }
        let found: Vec<_> = events.iter().map(|e| (e.step, e.place[0], e.place[1], e.size)).collect();
        let expected = planted.map(|(end, row, column, half)| {
            let side = 2 * half - 1;
            (end, row as f64, column as f64, side * side)
        });
        assert_eq!(found, expected, "precision and recall of 1");
        assert_eq!(waiting_times(&events), [0, 17, 13]);
    }

    #[test]
    fn a_constant_error_charges_to_its_balance_and_never_breaks_down() {
        let mut charge = Charge::new([1, 1], ChargeSettings::default());
        for _ in 0..300 {
            assert!(charge.observe(&Array2::from_elem((1, 1), 0.1)).is_empty());
        }
        assert!((charge.stored()[(0, 0)] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn leaders_fade_when_one_wins() {
        let mut map = Array2::zeros((6, 9));
        (0..5).for_each(|i| map[(i, i)] = 1.0);
        (0..3).for_each(|i| map[(i, 8)] = 0.8);
        let before = leaders(&map, 0.5);
        assert_eq!(before.iter().map(|leader| leader.cells.len()).collect::<Vec<_>>(), [5, 3]);
        // The branch that reached through takes the charge of the other.
        (0..3).for_each(|i| map[(i, 8)] = 0.1);
        assert_eq!(leaders(&map, 0.5), before[..1]);
    }
}
