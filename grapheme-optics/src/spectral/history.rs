//! The recent frames of one sequence.

use super::{FieldError, solve::along_rows};
use ndarray::{Array1, Array2, ArrayView1, Axis};

/// The last frames of a sequence as they came, and their inner products.
///
/// Ages count back from the newest frame, which has age 0. Memory is O(T P + T^2) for a capacity of T frames; a push
/// costs T inner products of P numbers, from which every recurrence that is pooled over pixels is fitted.
#[derive(Clone, Debug)]
pub struct History {
    shape: [usize; 2],
    /// Row s holds the frame whose step is s modulo the capacity.
    frames: Array2<f64>,
    /// Inner products by age, so that those who fit need no arithmetic of slots.
    products: Array2<f64>,
    /// Sums by age.
    sums: Array1<f64>,
    /// Frames seen since the last clearing.
    steps: usize,
    /// Steps of the frames that do not continue the one before, the oldest first.
    breaks: Vec<usize>,
}

impl History {
    /// A history without frames.
    ///
    /// # Errors
    /// A capacity of 0, or frames without a cell.
    pub fn new(shape: [usize; 2], capacity: usize) -> Result<Self, FieldError> {
        FieldError::require(capacity >= 1, "history", capacity as f64, "at least 1")?;
        let pixels = shape[0] * shape[1];
        if pixels == 0 {
            return Err(FieldError::Small { found: shape, least: 1 });
        }
        let frames = Array2::zeros((capacity, pixels));
        Ok(Self {
            shape,
            frames,
            products: Array2::zeros((capacity, capacity)),
            sums: Array1::zeros(capacity),
            steps: 0,
            breaks: Vec::new(),
        })
    }

    /// Adds the next frame; the oldest is forgotten where the capacity is reached.
    ///
    /// # Errors
    /// A frame of another shape, or with a number that is not finite; the history is then as it was.
    pub fn push(&mut self, frame: &Array2<f64>) -> Result<(), FieldError> {
        let found = [frame.nrows(), frame.ncols()];
        if found != self.shape {
            return Err(FieldError::Shape { step: self.steps, expected: self.shape, found });
        }
        FieldError::check_finite(frame, self.steps)?;
        let mut values = frame.iter();
        let slot = self.steps % self.capacity();
        self.frames.row_mut(slot).mapv_inplace(|_| *values.next().expect("of the same shape"));
        self.enter();
        Ok(())
    }

    /// Adds a frame that is known to be whole: a prediction, of which a rollout goes on.
    pub(super) fn push_values(&mut self, values: ArrayView1<'_, f64>) {
        let slot = self.steps % self.capacity();
        self.frames.row_mut(slot).assign(&values);
        self.enter();
    }

    /// The products of the frame that was just written.
    fn enter(&mut self) {
        let slot = self.steps % self.capacity();
        self.steps += 1;
        let (known, capacity) = (self.len(), self.capacity());
        let row = self.frames.index_axis(Axis(0), slot);
        let products = along_rows(self.frames.slice(ndarray::s![..known, ..]), row);
        let sum = row.sum();
        // All others are a frame older now.
        let all = self.products.as_slice_mut().expect("made in row-major order");
        for age in (1..known).rev() {
            let (newer, older) = all.split_at_mut(age * capacity);
            older[1..known].copy_from_slice(&newer[(age - 1) * capacity..][..known - 1]);
            self.sums[age] = self.sums[age - 1];
        }
        self.sums[0] = sum;
        for (other, &product) in products.iter().enumerate() {
            let age = (self.steps - 1 - other) % capacity;
            self.products[(0, age)] = product;
            self.products[(age, 0)] = product;
        }
    }

    /// The same frames, with room for `more` until the first of them is forgotten.
    pub(super) fn with_room(&self, more: usize) -> Self {
        self.part(0, more)
    }

    /// The frames but for the newest `count`.
    pub(super) fn without(&self, count: usize) -> Self {
        self.part(count, 0)
    }

    /// The frames of age `from` and older, with room for `more`.
    fn part(&self, from: usize, more: usize) -> Self {
        let (known, pixels) = (self.len().saturating_sub(from), self.pixels());
        let capacity = (known + more).max(1);
        let mut frames = Array2::zeros((capacity, pixels));
        let (mut products, mut sums) = (Array2::zeros((capacity, capacity)), Array1::zeros(capacity));
        for age in 0..known {
            frames.row_mut(known - 1 - age).assign(&self.frame(from + age));
            sums[age] = self.sum(from + age);
            for other in 0..known {
                products[(age, other)] = self.product(from + age, from + other);
            }
        }
        let oldest = self.steps - self.len();
        let breaks = self.breaks.iter().filter_map(|step| step.checked_sub(oldest)).filter(|&step| step < known);
        Self { shape: self.shape, frames, products, sums, steps: known, breaks: breaks.collect() }
    }

    /// The mean squared error at the newest frame of the best polynomial through the frames before it, of degree 0, 1 or 2: how much
    /// of it came as no smooth motion would have. Infinite for a first frame.
    pub fn roughness(&self) -> f64 {
        const POLYNOMIALS: [&[f64]; 3] = [&[1.0, -1.0], &[1.0, -2.0, 1.0], &[1.0, -3.0, 3.0, -1.0]];
        let error = |weights: &&[f64]| {
            let mut sum = 0.0;
            for (a, &u) in weights.iter().enumerate() {
                for (b, &v) in weights.iter().enumerate() {
                    sum += u * v * self.products[(a, b)];
                }
            }
            sum.max(0.0) / self.pixels() as f64
        };
        POLYNOMIALS.iter().filter(|weights| weights.len() <= self.len()).map(error).fold(f64::INFINITY, f64::min)
    }

    /// The newest frame does not continue the one before: whoever fits or reads a run of frames does not read across.
    pub fn mark_break(&mut self) {
        let oldest = self.steps - self.len();
        self.breaks.retain(|&step| step > oldest);
        self.breaks.push(self.steps - 1);
    }

    /// Whether the `count` frames from that of age `age` on exist and continue each other.
    pub fn is_whole(&self, age: usize, count: usize) -> bool {
        let Some(first) = self.len().checked_sub(age + count).map(|earlier| self.steps - self.len() + earlier) else {
            return false;
        };
        self.breaks.iter().all(|&step| step <= first || step >= first + count)
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.steps = 0;
        self.breaks.clear();
    }

    /// How many frames are remembered.
    pub fn len(&self) -> usize {
        self.steps.min(self.capacity())
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// How many frames there were since the last clearing, forgotten ones included.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// How many frames can be remembered.
    pub fn capacity(&self) -> usize {
        self.frames.nrows()
    }

    /// Rows and columns of a frame.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Cells of a frame.
    pub fn pixels(&self) -> usize {
        self.frames.ncols()
    }

    /// The frame of the given age, row by row.
    ///
    /// # Panics
    /// An age that is not below [`History::len`].
    pub fn frame(&self, age: usize) -> ArrayView1<'_, f64> {
        self.frames.row(self.slot(age))
    }

    /// The same as it lies in memory.
    pub(super) fn values(&self, age: usize) -> &[f64] {
        let start = self.slot(age) * self.pixels();
        &self.frames.as_slice().expect("made in row-major order")[start..start + self.pixels()]
    }

    /// The inner product of two frames whose ages are below [`History::len`].
    ///
    /// # Panics
    /// An age that is not below the capacity.
    pub fn product(&self, a: usize, b: usize) -> f64 {
        debug_assert!(a.max(b) < self.len());
        self.products[(a, b)]
    }

    /// The sum of a frame whose age is below [`History::len`].
    ///
    /// # Panics
    /// An age that is not below the capacity.
    pub fn sum(&self, age: usize) -> f64 {
        debug_assert!(age < self.len());
        self.sums[age]
    }

    fn slot(&self, age: usize) -> usize {
        assert!(age < self.len(), "age {age} in a history of {} frames", self.len());
        (self.steps - 1 - age) % self.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_history_forgets_the_oldest_and_keeps_its_products() {
        let mut history = History::new([1, 2], 3).unwrap();
        for t in 0..5 {
            history.push(&ndarray::array![[f64::from(t), 1.0]]).unwrap();
        }
        assert_eq!((history.len(), history.steps()), (3, 5));
        for (a, b) in [(0, 0), (0, 2), (1, 2)] {
            assert_eq!(history.product(a, b), (4.0 - a as f64) * (4.0 - b as f64) + 1.0);
            assert_eq!(history.sum(a), 5.0 - a as f64);
            assert_eq!(history.frame(b)[0], 4.0 - b as f64);
        }
        let bad = history.push(&ndarray::array![[0.0, f64::NAN]]).unwrap_err();
        assert!(matches!(bad, FieldError::NotFinite { step: 5, row: 0, column: 1, .. }), "{bad}");
        assert!(history.push(&ndarray::array![[0.0]]).is_err());
        assert_eq!(history.steps(), 5, "what is refused leaves no trace");
    }

    #[test]
    fn what_a_polynomial_foresees_is_not_rough() {
        let mut history = History::new([1, 2], 6).unwrap();
        assert_eq!(history.roughness(), f64::INFINITY);
        for t in 0..5 {
            history.push(&ndarray::array![[f64::from(t * t), 1.0]]).unwrap();
            // The first, 0, has nothing before it; 1 misses 0 by 1; 4 misses 2 by 2; then the parabola is known.
            let expected = [f64::INFINITY, 0.5, 2.0, 0.0, 0.0][t as usize];
            assert!(history.roughness() == expected || (history.roughness() - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn runs_do_not_go_across_a_break() {
        let mut history = History::new([1, 1], 4).unwrap();
        for t in 0..6 {
            history.push(&ndarray::array![[f64::from(t)]]).unwrap();
            if t == 4 {
                history.mark_break();
            }
        }
        // Frames 2, 3 | 4, 5 are held.
        for history in [history.clone(), history.with_room(3)] {
            let whole: Vec<bool> = [(0, 2), (0, 3), (1, 1), (1, 2), (2, 2), (2, 3)]
                .map(|(age, count)| history.is_whole(age, count))
                .to_vec();
            assert_eq!(whole, [true, false, true, false, true, false]);
        }
        assert!(history.without(1).is_whole(1, 2) && !history.without(1).is_whole(0, 2));
        (6..9).for_each(|t| history.push(&ndarray::array![[f64::from(t)]]).unwrap());
        assert!(history.is_whole(0, 4), "what broke is forgotten");
    }
}
