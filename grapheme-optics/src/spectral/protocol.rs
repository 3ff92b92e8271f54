//! How predictors are compared: one step ahead, and in rollouts.

use super::{FieldError, Predictor, mean_squared_error};
use grapheme_core::Scalar;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Squared errors of one method over many frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Who.
    pub name: String,
    /// Mean over frames.
    pub mean: f64,
    /// Median over frames.
    pub median: f64,
    /// How many frames.
    pub frames: usize,
}

/// Squared errors as they come, by method.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    /// Of the predictor.
    predictor: Vec<f64>,
    /// Of the forecast without correction.
    forecast: Vec<f64>,
    /// Of each recurrence alone.
    alone: Vec<Vec<f64>>,
}

/// Frames that only warm the history.
pub const WARM: usize = 16;

impl Errors {
    /// Runs a predictor over one sequence without learning and adds its errors one step ahead, and those of each of its
    /// recurrences, from frame 16 on. `see` is called with the number of each frame, its prediction and the predictor.
    ///
    /// # Errors
    /// Frames that the predictor refuses; a sequence of 16 frames or fewer.
    pub fn one_step<S: Scalar>(
        &mut self,
        predictor: &mut Predictor<S>,
        frames: &[Array2<f64>],
        mut see: impl FnMut(usize, &Array2<f64>, &Predictor<S>),
    ) -> Result<(), FieldError> {
        if frames.len() <= WARM {
            return Err(FieldError::Short { found: frames.len(), least: WARM + 1 });
        }
        predictor.clear();
        self.alone.resize(predictor.settings().forecast.recurrences.len(), Vec::new());
        for (t, frame) in frames.iter().enumerate() {
            let prediction = predictor.predict();
            see(t, &prediction, predictor);
            if t >= WARM {
                self.predictor.push(mean_squared_error(&prediction, frame));
                self.forecast.push(mean_squared_error(&predictor.forecast().predict(), frame));
                for (k, errors) in self.alone.iter_mut().enumerate() {
                    if let Some(expected) = predictor.forecast().expected(k) {
                        errors.push(mean_of_squares(expected.iter().zip(frame)));
                    }
                }
            }
            predictor.observe(frame)?;
        }
        Ok(())
    }

    /// Adds the errors of rollouts of `steps` frames from frame 16, over all of their frames.
    ///
    /// # Errors
    /// As [`Errors::one_step`], with `16 + steps` frames needed.
    pub fn rollout<S: Scalar>(
        &mut self,
        predictor: &mut Predictor<S>,
        frames: &[Array2<f64>],
        steps: usize,
    ) -> Result<(), FieldError> {
        if frames.len() < WARM + steps {
            return Err(FieldError::Short { found: frames.len(), least: WARM + steps });
        }
        predictor.clear();
        self.alone.resize(predictor.settings().forecast.recurrences.len(), Vec::new());
        for frame in &frames[..WARM] {
            predictor.predict();
            predictor.observe(frame)?;
        }
        let truth = &frames[WARM..WARM + steps];
        let errors = |rollout: Vec<Array2<f64>>| -> Vec<f64> {
            rollout.iter().zip(truth).map(|(a, b)| mean_squared_error(a, b)).collect()
        };
        self.forecast.extend(errors(predictor.forecast().rollout(steps)));
        let alone = &mut self.alone;
        predictor.forecast().each_rollout(steps, |k, step, values| {
            alone[k].push(mean_of_squares(values.iter().zip(&truth[step])));
        });
        self.predictor.extend(errors(predictor.rollout(steps)));
        Ok(())
    }

    /// The figures: predictor, forecast without correction, then each recurrence that answered at every frame.
    pub fn figures<S: Scalar>(&self, predictor: &Predictor<S>) -> Vec<Figure> {
        let mut figures = vec![figure("predictor", &self.predictor), figure("without attention", &self.forecast)];
        let recurrences = &predictor.settings().forecast.recurrences;
        for (recurrence, errors) in recurrences.iter().zip(&self.alone) {
            if errors.len() == self.predictor.len() {
                figures.push(figure(&recurrence.name(), errors));
            }
        }
        figures
    }
}

fn figure(name: &str, errors: &[f64]) -> Figure {
    let mut sorted = errors.to_vec();
    sorted.sort_by(f64::total_cmp);
    Figure {
        name: name.to_owned(),
        mean: errors.iter().sum::<f64>() / errors.len().max(1) as f64,
        median: sorted.get(errors.len() / 2).copied().unwrap_or(0.0),
        frames: errors.len(),
    }
}

fn mean_of_squares<'a>(pairs: impl Iterator<Item = (&'a f64, &'a f64)>) -> f64 {
    let (sum, count) = pairs.fold((0.0, 0), |(sum, count), (a, b)| (sum + (a - b) * (a - b), count + 1));
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::{Pattern, PredictorSettings, Variation};
    use super::*;

    #[test]
    fn the_simple_methods_score_what_they_score_elsewhere() {
        // Protocol 1 on 16 x 16 cells; the errors of copying and of linear extrapolation need no training.
        let test = Pattern::Blob.frames(10_000, 101, 16, &Variation::default()).unwrap();
        let mut predictor = Predictor::<f32>::new([16, 16], PredictorSettings::default(), 1).unwrap();
        predictor.fit(&[Pattern::Blob.frames(0, 120, 16, &Variation::default()).unwrap()], 1).unwrap();
        let mut errors = Errors::default();
        errors.one_step(&mut predictor, &test, |_, _, _| {}).unwrap();
        let figures = errors.figures(&predictor);
        let of = |name: &str| figures.iter().find(|figure| figure.name == name).unwrap().mean;
        let copied: f64 = (16..101).map(|t| mean_squared_error(&test[t], &test[t - 1])).sum::<f64>() / 85.0;
        assert!((of("copy") / copied - 1.0).abs() < 1e-12);
        // The predictor is better than every method that it is made of, by orders of magnitude than the simple ones.
        assert!(of("predictor") < 1e-8 && of("copy") > 1e-3 && of("linear") > 1e-4, "{figures:#?}");
        let short = errors.one_step(&mut predictor, &test[..16], |_, _, _| {}).unwrap_err();
        assert!(matches!(short, FieldError::Short { found: 16, least: 17 }));
    }
}
