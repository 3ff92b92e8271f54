//! Whatever predicts frames, behind one interface, so that all are scored by the same lines.

use super::training::{Rate, TrainingSettings, family_steps};
use crate::optim::{AdamW, AdamWSettings, GradientNorm, Optimiser, clip};
use anyhow::{Context, Result, bail};
use grapheme_core::{Stream, param};
use grapheme_optics::spectral::convolution::{ConvolutionSettings, ConvolutionalPredictor};
use grapheme_optics::spectral::recurrence::{Learned, Recurrence};
use grapheme_optics::spectral::{Forecast, History, Predictor};
use ndarray::{Array1, Array2};
use rand::RngExt;

/// A predictor of one sequence at a time.
pub trait Method {
    /// Forgets the frames seen; what was learned stays.
    fn clear(&mut self);

    /// Takes the next frame in.
    ///
    /// # Errors
    /// A frame that is refused.
    fn observe(&mut self, frame: &Array2<f64>) -> Result<()>;

    /// The expected next frame.
    ///
    /// # Errors
    /// No answer.
    fn predict(&mut self) -> Result<Array2<f64>>;

    /// The expected next `steps` frames.
    ///
    /// # Errors
    /// No answer.
    fn rollout(&mut self, steps: usize) -> Result<Vec<Array2<f64>>>;
}

/// One rule as it is, fitted anew to all frames of the sequence so far where it is fitted to the sequence.
pub struct Simple<'a> {
    rule: Recurrence,
    learned: &'a Learned,
    history: History,
}

impl<'a> Simple<'a> {
    /// For sequences of at most `longest` frames, what is rolled out included.
    ///
    /// # Errors
    /// Frames without a cell.
    pub fn new(rule: Recurrence, learned: &'a Learned, shape: [usize; 2], longest: usize) -> Result<Self> {
        Ok(Self { rule, learned, history: History::new(shape, longest)? })
    }
}

impl Method for Simple<'_> {
    fn clear(&mut self) {
        self.history.clear();
    }

    fn observe(&mut self, frame: &Array2<f64>) -> Result<()> {
        Ok(self.history.push(frame)?)
    }

    fn predict(&mut self) -> Result<Array2<f64>> {
        Ok(self.rollout(1)?.swap_remove(0))
    }

    fn rollout(&mut self, steps: usize) -> Result<Vec<Array2<f64>>> {
        let rule = self.rule.fit(self.learned, &self.history);
        let rule = rule.with_context(|| format!("{} has no answer yet", self.rule.name()))?;
        let mut longer = self.history.clone();
        let mut frames = Vec::with_capacity(steps);
        for _ in 0..steps {
            let mut next = Array1::zeros(longer.pixels());
            rule.next(&longer, next.view_mut());
            next.mapv_inplace(|x: f64| if x.is_finite() { x.clamp(0.0, 1.0) } else { 0.5 });
            let next = next.into_shape_with_order(longer.shape())?;
            longer.push(&next)?;
            frames.push(next);
        }
        Ok(frames)
    }
}

impl Method for Forecast {
    fn clear(&mut self) {
        Forecast::clear(self);
    }

    fn observe(&mut self, frame: &Array2<f64>) -> Result<()> {
        Ok(Forecast::observe(self, frame)?)
    }

    fn predict(&mut self) -> Result<Array2<f64>> {
        Ok(Forecast::predict(self))
    }

    fn rollout(&mut self, steps: usize) -> Result<Vec<Array2<f64>>> {
        Ok(Forecast::rollout(self, steps))
    }
}

impl Method for Predictor<f32> {
    fn clear(&mut self) {
        Predictor::clear(self);
    }

    fn observe(&mut self, frame: &Array2<f64>) -> Result<()> {
        Ok(Predictor::observe(self, frame)?)
    }

    fn predict(&mut self) -> Result<Array2<f64>> {
        Ok(Predictor::predict(self))
    }

    fn rollout(&mut self, steps: usize) -> Result<Vec<Array2<f64>>> {
        Ok(Predictor::rollout(self, steps))
    }
}

impl Method for ConvolutionalPredictor<f32> {
    fn clear(&mut self) {
        ConvolutionalPredictor::clear(self);
    }

    fn observe(&mut self, frame: &Array2<f64>) -> Result<()> {
        Ok(ConvolutionalPredictor::observe(self, frame)?)
    }

    fn predict(&mut self) -> Result<Array2<f64>> {
        Ok(ConvolutionalPredictor::predict(self))
    }

    fn rollout(&mut self, steps: usize) -> Result<Vec<Array2<f64>>> {
        Ok(ConvolutionalPredictor::rollout(self, steps))
    }
}

/// Gradients longer than this are shortened, as those of the attention are.
const CLIP: f64 = 1.0;

/// Steps of the convolutional network for one of the attention: about as many as take the time.
const STEPS: usize = 10;
/// Its learning rate, which is better for it than that of the attention.
const RATE: f64 = 1e-2;

/// The peer of a predictor that learns from a family: a convolutional network with as many parameters as its attention, trained on all
/// sequences for about the time that the attention takes; where that is not trained at all, as if it were for one pass. `step` is called
/// after each of [`peer_steps`], each of which is some of its own.
///
/// # Errors
/// Sequences without frames to learn from; a gradient that is not finite.
pub fn peer(
    sequences: &[Vec<Array2<f64>>],
    training: TrainingSettings,
    mut step: impl FnMut(),
) -> Result<ConvolutionalPredictor<f32>> {
    let steps = STEPS * peer_steps(sequences, training);
    trained_convolution(sequences, steps, RATE, training.seed, |taken| {
        if taken % STEPS == 0 {
            step();
        }
    })
}

/// Steps that [`peer`] takes, in those of the attention.
pub fn peer_steps(sequences: &[Vec<Array2<f64>>], training: TrainingSettings) -> usize {
    let passes = training.passes.max(1);
    family_steps(sequences, TrainingSettings { passes, ..training })
}

/// A convolutional network that has taken so many steps of AdamW, each on one frame drawn from the sequences; `hear` is told how many were
/// taken, after each.
///
/// # Errors
/// Sequences without frames to learn from; a gradient that is not finite, naming the step and the block.
fn trained_convolution(
    sequences: &[Vec<Array2<f64>>],
    steps: usize,
    rate: f64,
    seed: u64,
    mut hear: impl FnMut(usize),
) -> Result<ConvolutionalPredictor<f32>> {
    let settings = ConvolutionSettings::default();
    let mut own = ConvolutionalPredictor::<f32>::new(sequences, settings, seed)?;
    let mut optimiser = AdamW::new(AdamWSettings::default(), own.network())?;
    let mut gradient = param::zeros_like(own.network());
    let mut stream = Stream::new(seed).fork(1);
    let long: Vec<&Vec<Array2<f64>>> = sequences.iter().filter(|frames| frames.len() > settings.frames).collect();
    for step in 0..steps {
        let Some(frames) = long.get(stream.random_range(0..long.len().max(1))) else {
            bail!("sequences of more than {} frames are needed", settings.frames)
        };
        let t = stream.random_range(settings.frames..frames.len());
        own.clear();
        frames[t - settings.frames..t].iter().try_for_each(|frame| own.observe(frame))?;
        param::each_mut(&mut gradient, |_, _, values| values.fill(0.0));
        own.learn(&frames[t], &mut gradient);
        if let GradientNorm::NotFinite { block } = clip(&mut gradient, CLIP) {
            bail!("step {step} of the convolutional network: the gradient of {block} is not finite; lower --rate")
        }
        optimiser.step(own.network_mut(), &gradient, Rate { highest: rate, steps }.at(step));
        hear(step + 1);
    }
    own.clear();
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_optics::spectral::wave::pulses;
    use grapheme_optics::spectral::{ForecastSettings, PredictorSettings, mean_squared_error};

    #[test]
    fn all_methods_answer_alike_and_a_trained_network_beats_copying() {
        let scene = |seed| pulses(16, true, &mut Stream::new(seed)).unwrap().frames(40, 2, 1.0);
        let (learn, test) = ([scene(1), scene(2), scene(3)], scene(4));
        let shape = [16, 16];
        let mut forecast = Forecast::new(shape, ForecastSettings::default()).unwrap();
        forecast.fit(&learn, &Stream::new(1)).unwrap();
        let learned = Learned::fit(&learn, &ForecastSettings::default().learned, &Stream::new(1)).unwrap();
        let copy = Simple::new(Recurrence::Extrapolation { degree: 0 }, &learned, shape, 60).unwrap();
        let network = trained_convolution(&learn, 1500, 1e-2, 1, |_| {}).unwrap();
        let predictor = Predictor::<f32>::new(shape, PredictorSettings::default(), 1).unwrap();
        let mut methods: [Box<dyn Method>; 4] =
            [Box::new(copy), Box::new(network), Box::new(forecast), Box::new(predictor)];
        let mut errors = [0.0; 4];
        for (method, error) in methods.iter_mut().zip(&mut errors) {
            for (t, frame) in test.iter().enumerate() {
                if t >= 4 {
                    let expected = method.predict().unwrap();
                    let rolled = method.rollout(3).unwrap();
                    assert_eq!((rolled.len(), &rolled[0]), (3, &expected));
                    *error += mean_squared_error(&expected, frame);
                }
                method.observe(frame).unwrap();
            }
            method.clear();
            assert!(method.observe(&Array2::zeros((3, 3))).is_err());
        }
        let copied: f64 = (4..40).map(|t| mean_squared_error(&test[t - 1], &test[t])).sum();
        assert!(
            (errors[0] / copied - 1.0).abs() < 1e-12 && errors[1] < 0.3 * copied && errors[2] < 0.3 * copied,
            "{errors:?}"
        );
        assert!(trained_convolution(&[test[..3].to_vec()], 1, 1e-2, 1, |_| {}).is_err());
    }
}
