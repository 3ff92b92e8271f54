//! Training of the attention, frame by frame as they come.

use crate::optim::{AdamW, AdamWSettings, GradientNorm, Optimiser, clip};
use anyhow::{Result, bail};
use grapheme_core::{Stream, param};
use grapheme_optics::spectral::Predictor;
use grapheme_optics::spectral::loss::{Discriminator, Loss};
use ndarray::Array2;

/// How to train.
#[derive(Clone, Copy, Debug)]
pub struct TrainingSettings {
    /// Times that the frames are gone through.
    pub passes: u32,
    /// The learning rate at first; it falls linearly to a tenth.
    pub rate: f64,
    /// Of the discriminator's weights.
    pub seed: u64,
}

/// One step of training.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// From 0.
    pub pass: u32,
    /// The frame that was predicted, from 0.
    pub frame: usize,
    /// Its loss.
    pub loss: f64,
    /// The mean loss of the pass until now.
    pub mean_loss: f64,
    /// Norm of the gradient before it was clipped.
    pub norm: f64,
}

/// Gradients longer than this are shortened.
const CLIP: f64 = 1.0;
/// Frames that only fill the history: attention has nothing to read in the first ones.
const QUIET: usize = 4;
/// Sequences of a family that the attention is trained on.
const SEQUENCES: usize = 24;
/// Hidden units of the discriminator.
const HIDDEN: usize = 8;

impl TrainingSettings {
    /// Steps over so many frames.
    pub fn steps(&self, frames: usize) -> usize {
        self.passes as usize * frames.saturating_sub(QUIET)
    }
}

/// Fits the recurrences to the first half, trains the attention on the second, which they have not seen, and fits the recurrences
/// again to all. Without a pass the recurrences are fitted alone.
///
/// # Errors
/// As [`train`].
pub fn learn_all(
    predictor: &mut Predictor<f32>,
    frames: &[Array2<f64>],
    settings: TrainingSettings,
    hear: impl FnMut(Step),
) -> Result<()> {
    if settings.passes > 0 {
        let (first, second) = halves(frames);
        predictor.fit(&[first.to_vec()], settings.seed)?;
        train(predictor, &[second], settings, hear)?;
    }
    Ok(predictor.fit(&[frames.to_vec()], settings.seed)?)
}

/// The same with many sequences: fitted to the first half of them, trained on some of the others.
///
/// # Errors
/// As [`train`].
pub fn learn_family(
    predictor: &mut Predictor<f32>,
    sequences: &[Vec<Array2<f64>>],
    settings: TrainingSettings,
) -> Result<()> {
    if settings.passes > 0 {
        let (first, second) = sequences.split_at(sequences.len() / 2);
        predictor.fit(first, settings.seed)?;
        let some: Vec<&[Array2<f64>]> = second.iter().take(SEQUENCES).map(Vec::as_slice).collect();
        train(predictor, &some, settings, |_| {})?;
    }
    Ok(predictor.fit(sequences, settings.seed)?)
}

/// What the recurrences are fitted to while the attention is trained, and what it is trained on.
pub fn halves(frames: &[Array2<f64>]) -> (&[Array2<f64>], &[Array2<f64>]) {
    frames.split_at(frames.len() / 2)
}

/// Trains the correction of a predictor whose recurrences are fitted; each sequence begins with an empty history.
///
/// # Errors
/// A frame that the predictor refuses; a gradient that is not finite, naming the frame and the block.
pub fn train(
    predictor: &mut Predictor<f32>,
    sequences: &[&[Array2<f64>]],
    settings: TrainingSettings,
    mut hear: impl FnMut(Step),
) -> Result<()> {
    let mut optimiser = AdamW::new(AdamWSettings::default(), predictor.correction())?;
    let mut opponent = match predictor.settings().loss {
        Loss::Adversarial { .. } => Some(Opponent::new(settings.seed)?),
        _ => None,
    };
    let mut gradient = param::zeros_like(predictor.correction());
    let steps: usize = sequences.iter().map(|frames| settings.steps(frames.len())).sum();
    let mut step = 0;
    for pass in 0..settings.passes {
        let (mut sum, mut count) = (0.0, 0);
        let all = sequences.iter().flat_map(|frames| frames.iter().enumerate());
        for (t, frame) in all {
            if t == 0 {
                predictor.clear();
            }
            predictor.predict();
            if t >= QUIET {
                param::each_mut(&mut gradient, |_, _, values| values.fill(0.0));
                let shape = [frame.nrows(), frame.ncols()];
                let rate = settings.rate * (1.0 - 0.9 * step as f64 / steps.max(1) as f64);
                let learned = match &mut opponent {
                    Some(opponent) => predictor.learn_with(frame, &mut gradient, |y, target, dy| {
                        opponent.meet(y, &target.rest(), dy, shape, rate)
                    }),
                    None => predictor.learn(frame, &mut gradient),
                };
                let Some(loss) = learned else { bail!("frame {t} was not predicted") };
                let norm = match clip(&mut gradient, CLIP) {
                    GradientNorm::Finite(norm) => norm,
                    GradientNorm::NotFinite { block } => {
                        bail!("frame {t} of pass {pass}: the gradient of {block} is not finite; lower --rate")
                    }
                };
                optimiser.step(predictor.correction_mut(), &gradient, rate);
                step += 1;
                sum += loss;
                count += 1;
                hear(Step { pass, frame: t, loss, mean_loss: sum / f64::from(count), norm });
            }
            predictor.observe(frame)?;
        }
    }
    Ok(())
}

/// The discriminator, and what trains it.
struct Opponent {
    model: Discriminator<f32>,
    optimiser: AdamW<f32>,
    gradient: Discriminator<f32>,
}

impl Opponent {
    fn new(seed: u64) -> Result<Self> {
        let model = Discriminator::new(HIDDEN, &mut Stream::new(seed).fork(4));
        let optimiser = AdamW::new(AdamWSettings::default(), &model)?;
        let gradient = param::zeros_like(&model);
        Ok(Self { model, optimiser, gradient })
    }

    /// `-mean ln D(y)` with its gradient added to `dy`, by the discriminator as it is; then the discriminator takes a step to tell
    /// `rest` from y.
    fn meet(&mut self, y: &Array2<f32>, rest: &[f32], dy: &mut Array2<f32>, shape: [usize; 2], rate: f64) -> f64 {
        let map = y.column(0).to_vec();
        let (loss, dmap) = self.model.judge(&map, shape, true, &mut self.gradient);
        dy.column_mut(0).iter_mut().zip(dmap).for_each(|(d, more)| *d += more);
        param::each_mut(&mut self.gradient, |_, _, values| values.fill(0.0));
        self.model.judge(rest, shape, true, &mut self.gradient);
        self.model.judge(&map, shape, false, &mut self.gradient);
        self.optimiser.step(&mut self.model, &self.gradient, rate);
        param::each_mut(&mut self.gradient, |_, _, values| values.fill(0.0));
        loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_optics::spectral::{Pattern, PredictorSettings, Variation};

    #[test]
    fn every_loss_falls_and_the_same_seed_gives_the_same_bits() {
        let frames = Pattern::NoisyMotion.frames(0, 60, 8, &Variation::default()).unwrap();
        let losses = [
            Loss::Squared,
            Loss::Quantised { bins: 5 },
            Loss::Energy { modes: 2, variance: 0.5, penalty: 0.1 },
            // The opponent learns too, so what it adds may rise: the squared error must outweigh it.
            Loss::Adversarial { weight: 10.0 },
        ];
        for loss in losses {
            let run = || {
                let settings = PredictorSettings { loss, ..PredictorSettings::default() };
                let mut predictor = Predictor::<f32>::new([8, 8], settings, 1).unwrap();
                let mut means = Vec::new();
                let settings = TrainingSettings { passes: 4, rate: 3e-3, seed: 1 };
                train(&mut predictor, &[&frames], settings, |step| {
                    if step.frame == 59 {
                        means.push(step.mean_loss);
                    }
                })
                .unwrap();
                means
            };
            let means = run();
            assert_eq!(means.len(), 4);
            assert!(means[3] < means[0], "{loss:?}: {means:?}");
            assert_eq!(means, run(), "{loss:?}");
        }
    }

    #[test]
    fn a_discriminator_learns_to_tell_a_constant_from_what_moves() {
        let mut opponent = Opponent::new(1).unwrap();
        let (y, rest) = (Array2::zeros((16, 1)), vec![1.0; 16]);
        let first = opponent.meet(&y, &rest, &mut Array2::zeros((16, 1)), [4, 4], 0.01);
        let mut last = first;
        for _ in 0..300 {
            last = opponent.meet(&y, &rest, &mut Array2::zeros((16, 1)), [4, 4], 0.01);
        }
        assert!(last > first + 1.0, "what is found out costs more: {first} then {last}");
    }
}
