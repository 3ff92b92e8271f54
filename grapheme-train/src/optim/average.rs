//! Exponential weight averaging.

use super::{SettingError, pieces, require};
use crate::checkpoint::{Checkpoint, CheckpointError};
use grapheme_core::{ParamTree, Scalar};

/// A running average of the weights (Polyak & Juditsky 1992, in its exponential form): `a += (1 - d_t) (w - a)`.
///
/// `d_t = min(decay, (1 + t) / (10 + t))` for the update number `t` from 0: at first the average follows the weights
/// closely, so that the random start is soon forgotten. Evaluation and use take the average, training the weights.
#[derive(Clone, Debug)]
pub struct Average<T> {
    weights: T,
    decay: f64,
    updates: u64,
}

impl<T: Clone> Average<T> {
    /// The average before the first step: the model itself.
    ///
    /// # Errors
    /// A decay outside [0, 1). Decay 0 keeps the last weights.
    pub fn new(decay: f64, model: &T) -> Result<Self, SettingError> {
        require((0.0..1.0).contains(&decay), "average decay", decay, "at least 0 and below 1")?;
        Ok(Self { weights: model.clone(), decay, updates: 0 })
    }

    /// The averaged model.
    pub fn weights(&self) -> &T {
        &self.weights
    }

    /// Takes in the weights after one more step. One pass, no allocation.
    pub fn update<S: Scalar>(&mut self, model: &T)
    where
        T: ParamTree<S>,
    {
        let t = self.updates as f64;
        let share = S::lit(1.0 - self.decay.min((1.0 + t) / (10.0 + t)));
        pieces::each_pair(&mut self.weights, model, |a, w| *a += share * (w - *a));
        self.updates += 1;
    }

    /// Puts the average into a checkpoint, under `average.`.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub fn save<S: Scalar>(&self, checkpoint: &mut Checkpoint) -> Result<(), CheckpointError>
    where
        T: ParamTree<S>,
    {
        checkpoint.insert("average", &self.weights)?;
        checkpoint.note("average.updates", self.updates);
        Ok(())
    }

    /// Takes back what [`Average::save`] put.
    ///
    /// # Errors
    /// A part that is missing or of another shape; the average is then as it was.
    pub fn load<S: Scalar>(&mut self, checkpoint: &Checkpoint) -> Result<(), CheckpointError>
    where
        T: ParamTree<S>,
    {
        let updates = checkpoint.noted("average.updates")?;
        checkpoint.read_into("average", &mut self.weights)?;
        self.updates = updates;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, arr1};

    #[test]
    fn each_update_moves_by_the_ramped_share() {
        let weights = [1.0, -2.0, 5.0, 0.25];
        let mut average = Average::new(0.35, &arr1(&[3.0])).unwrap();
        let mut expected: f64 = 3.0;
        // (1 + t) / (10 + t) is 1/10, 2/11, 3/12, 4/13; a decay of 0.35 is above them all, 0.2 cuts the last two.
        for (w, decay) in weights.iter().zip([1.0 / 10.0, 2.0 / 11.0, 3.0 / 12.0, 4.0 / 13.0]) {
            average.update(&arr1(&[*w]));
            expected = decay * expected + (1.0 - decay) * w;
            assert!((average.weights()[0] - expected).abs() < 1e-14);
        }
        let mut average = Average::new(0.2, &arr1(&[3.0])).unwrap();
        let mut expected: f64 = 3.0;
        for (w, decay) in weights.iter().zip([1.0 / 10.0, 2.0 / 11.0, 0.2, 0.2]) {
            average.update(&arr1(&[*w]));
            expected = decay * expected + (1.0 - decay) * w;
            assert!((average.weights()[0] - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn the_average_is_linear_stays_within_the_weights_and_forgets_the_start() {
        let at = |i: u32, phase: f64| Array1::from_shape_fn(3, |k| (f64::from(i) * 0.7 + k as f64 + phase).sin());
        let start = arr1(&[100.0, -100.0, 0.0]);
        let run = |f: &dyn Fn(u32) -> Array1<f64>, start: &Array1<f64>| {
            let mut average = Average::new(0.9, start).unwrap();
            (0..400).for_each(|i| average.update(&f(i)));
            average.weights().clone()
        };
        let (x, y) = (run(&|i| at(i, 0.0), &start), run(&|i| at(i, 2.0), &start));
        let sum = run(&|i| at(i, 0.0) * 2.0 + at(i, 2.0), &(&start * 3.0));
        assert!((&x * 2.0 + &y - sum).iter().all(|error| error.abs() < 1e-13));
        // 0.9^400 < 1e-18: of a start at 100 nothing is left.
        assert!(x.iter().all(|x| x.abs() <= 1.0));
        let constant = run(&|_| start.clone(), &start);
        assert_eq!(constant, start);
    }

    #[test]
    fn decay_zero_keeps_the_last_weights_and_a_decay_of_one_is_refused() {
        let mut average = Average::new(0.0, &arr1(&[3.0_f32])).unwrap();
        average.update(&arr1(&[7.0]));
        assert_eq!(average.weights(), &arr1(&[7.0]));
        for decay in [1.0, -0.1, f64::NAN] {
            assert_eq!(Average::new(decay, &arr1(&[0.0])).unwrap_err().name, "average decay");
        }
    }

    #[test]
    fn a_saved_average_goes_on_to_the_same_bits() {
        let at = |i: u32| arr1(&[f64::from(i).sin(), f64::from(i).cos()]);
        let mut whole = Average::new(0.9, &at(0)).unwrap();
        (1..5).for_each(|i| whole.update(&at(i)));
        let mut checkpoint = Checkpoint::new("state.safetensors");
        whole.save(&mut checkpoint).unwrap();
        let mut resumed = Average::new(0.9, &at(0)).unwrap();
        resumed.load(&checkpoint).unwrap();
        for i in 5..9 {
            whole.update(&at(i));
            resumed.update(&at(i));
        }
        assert_eq!(whole.weights(), resumed.weights());
    }
}
