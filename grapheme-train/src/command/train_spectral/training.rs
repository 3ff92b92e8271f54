//! Training of the attention, frame by frame as they come.

use crate::checkpoint::Checkpoint;
use crate::optim::{AdamW, AdamWSettings, GradientNorm, Optimiser, clip};
use anyhow::{Result, bail, ensure};
use grapheme_core::{Stream, param};
use grapheme_optics::spectral::Predictor;
use grapheme_optics::spectral::loss::{Discriminator, Loss};
use grapheme_optics::spectral::network::Correction;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

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

/// A learning rate that falls linearly to a tenth.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At first.
    pub highest: f64,
    /// Steps in all.
    pub steps: usize,
}

impl Rate {
    /// That of a step, from 0.
    pub fn at(self, step: usize) -> f64 {
        self.highest * (1.0 - 0.9 * step as f64 / self.steps.max(1) as f64)
    }
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
/// again to all. Without a pass the recurrences are fitted alone. `step` is called after each of [`all_steps`].
///
/// # Errors
/// As [`train`].
pub fn learn_all(
    predictor: &mut Predictor<f32>,
    frames: &[Array2<f64>],
    settings: TrainingSettings,
    mut step: impl FnMut(),
) -> Result<()> {
    if settings.passes > 0 {
        let (first, second) = halves(frames);
        predictor.fit(&[first.to_vec()], settings.seed)?;
        train(predictor, &[second], settings, |_| step())?;
    }
    Ok(predictor.fit(&[frames.to_vec()], settings.seed)?)
}

/// Steps that [`learn_all`] takes with so many frames.
pub fn all_steps(frames: usize, settings: TrainingSettings) -> usize {
    settings.steps(frames - frames / 2)
}

/// The same with many sequences: fitted to the first half of them, trained on some of the others. `step` is called after each of
/// [`family_steps`].
///
/// # Errors
/// As [`train`].
pub fn learn_family(
    predictor: &mut Predictor<f32>,
    sequences: &[Vec<Array2<f64>>],
    settings: TrainingSettings,
    mut step: impl FnMut(),
) -> Result<()> {
    if settings.passes > 0 {
        let (first, second) = split(sequences);
        predictor.fit(first, settings.seed)?;
        let some: Vec<&[Array2<f64>]> = second.iter().map(Vec::as_slice).collect();
        train(predictor, &some, settings, |_| step())?;
    }
    Ok(predictor.fit(sequences, settings.seed)?)
}

/// Steps that [`learn_family`] takes.
pub fn family_steps(sequences: &[Vec<Array2<f64>>], settings: TrainingSettings) -> usize {
    split(sequences).1.iter().map(|frames| settings.steps(frames.len())).sum()
}

type Sequence = Vec<Array2<f64>>;

/// What the recurrences of a family are fitted to while the attention is trained, and what it is trained on.
fn split(sequences: &[Sequence]) -> (&[Sequence], &[Sequence]) {
    let (first, second) = sequences.split_at(sequences.len() / 2);
    (first, &second[..second.len().min(SEQUENCES)])
}

/// What the recurrences are fitted to while the attention is trained, and what it is trained on.
pub fn halves(frames: &[Array2<f64>]) -> (&[Array2<f64>], &[Array2<f64>]) {
    frames.split_at(frames.len() / 2)
}

/// Trains the correction of a predictor whose recurrences are fitted; each sequence begins with an empty history.
///
/// # Errors
/// As [`Trainer::step`].
pub fn train(
    predictor: &mut Predictor<f32>,
    sequences: &[&[Array2<f64>]],
    settings: TrainingSettings,
    mut hear: impl FnMut(Step),
) -> Result<()> {
    let mut trainer = Trainer::new(predictor, sequences, settings)?;
    while let Some(step) = trainer.step()? {
        hear(step);
    }
    Ok(())
}

/// A training of the correction, step by step, that can be kept at any of them.
pub struct Trainer<'a> {
    predictor: &'a mut Predictor<f32>,
    sequences: &'a [&'a [Array2<f64>]],
    settings: TrainingSettings,
    optimiser: AdamW<f32>,
    opponent: Option<Opponent>,
    gradient: Correction<f32>,
    /// Steps in all.
    steps: usize,
    at: Place,
}

/// How far a training is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    pass: u32,
    sequence: usize,
    /// The frame that comes next.
    frame: usize,
    /// Steps taken.
    step: usize,
    /// The sum of the losses of the pass, and their number.
    sum: f64,
    count: u32,
    /// What [`Predictor::newest_agreement`] told in the pass, summed.
    evidence: [f64; 3],
    /// [`Predictor::agreement`].
    agreement: [f64; 3],
}

impl<'a> Trainer<'a> {
    /// Before the first step.
    ///
    /// # Errors
    /// Settings that the optimiser refuses.
    pub fn new(
        predictor: &'a mut Predictor<f32>,
        sequences: &'a [&'a [Array2<f64>]],
        settings: TrainingSettings,
    ) -> Result<Self> {
        let optimiser = AdamW::new(AdamWSettings::default(), predictor.correction())?;
        let opponent = match predictor.settings().loss {
            Loss::Adversarial { .. } => Some(Opponent::new(settings.seed)?),
            _ => None,
        };
        let gradient = param::zeros_like(predictor.correction());
        let steps = sequences.iter().map(|frames| settings.steps(frames.len())).sum();
        Ok(Self { predictor, sequences, settings, optimiser, opponent, gradient, steps, at: Place::default() })
    }

    /// Steps taken.
    pub fn taken(&self) -> usize {
        self.at.step
    }

    /// Goes on to the next frame that is learned from, learns from it, and says how; nothing at the end.
    ///
    /// # Errors
    /// A frame that the predictor refuses; a gradient that is not finite, naming the frame and the block.
    pub fn step(&mut self) -> Result<Option<Step>> {
        while self.at.pass < self.settings.passes && !self.sequences.is_empty() {
            let sequences = self.sequences;
            let Some(frame) = sequences[self.at.sequence].get(self.at.frame) else {
                (self.at.sequence, self.at.frame) = (self.at.sequence + 1, 0);
                if self.at.sequence == sequences.len() {
                    let Place { pass, evidence, count, step, .. } = self.at;
                    self.at = Place { pass: pass + 1, step, ..Place::default() };
                    if self.at.pass == self.settings.passes {
                        self.predictor.learn_prior(evidence, count);
                    }
                }
                continue;
            };
            if self.at.frame == 0 {
                self.predictor.clear();
            }
            self.predictor.predict();
            let step = if self.at.frame >= QUIET { Some(self.learn(frame)?) } else { None };
            self.predictor.observe(frame)?;
            self.at.frame += 1;
            if step.is_some() {
                let newest = self.predictor.newest_agreement();
                self.at.evidence.iter_mut().zip(newest).for_each(|(sum, more)| *sum += more);
                return Ok(step);
            }
        }
        Ok(None)
    }

    fn learn(&mut self, frame: &Array2<f64>) -> Result<Step> {
        let Place { pass, frame: t, step, .. } = self.at;
        param::each_mut(&mut self.gradient, |_, _, values| values.fill(0.0));
        let shape = [frame.nrows(), frame.ncols()];
        let rate = Rate { highest: self.settings.rate, steps: self.steps }.at(step);
        let learned = match &mut self.opponent {
            Some(opponent) => self.predictor.learn_with(frame, &mut self.gradient, |y, target, dy| {
                opponent.meet(y, &target.rest(), dy, shape, rate)
            }),
            None => self.predictor.learn(frame, &mut self.gradient),
        };
        let Some(loss) = learned else { bail!("frame {t} was not predicted") };
        let norm = match clip(&mut self.gradient, CLIP) {
            GradientNorm::Finite(norm) => norm,
            GradientNorm::NotFinite { block } => {
                bail!("frame {t} of pass {pass}: the gradient of {block} is not finite; lower --rate")
            }
        };
        self.optimiser.step(self.predictor.correction_mut(), &self.gradient, rate);
        self.at.step += 1;
        self.at.sum += loss;
        self.at.count += 1;
        Ok(Step { pass, frame: t, loss, mean_loss: self.at.sum / f64::from(self.at.count), norm })
    }

    /// Puts into a checkpoint what [`Trainer::load`] needs. The recurrences are not kept, which are fitted again in closed form, nor
    /// is the history, which is seen again.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub fn save(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        checkpoint.insert("correction", self.predictor.correction())?;
        self.optimiser.save_as("adam", checkpoint)?;
        if let Some(opponent) = &self.opponent {
            checkpoint.insert("opponent", &opponent.model)?;
            opponent.optimiser.save_as("opponent_adam", checkpoint)?;
        }
        checkpoint.insert_value("place", &Place { agreement: self.predictor.agreement(), ..self.at })?;
        Ok(())
    }

    /// Goes to where [`Trainer::save`] was called: the steps after it are the same to the bit.
    ///
    /// # Errors
    /// What is missing or does not fit, or a place that these sequences do not have.
    pub fn load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let at: Place = checkpoint.read_value("place")?;
        let frames = self.sequences.get(at.sequence).map_or(0, |frames| frames.len());
        ensure!(
            at.pass < self.settings.passes && (1..=frames).contains(&at.frame),
            "pass {}, sequence {}, frame {}: the run has no such place; train again with --overwrite",
            at.pass,
            at.sequence,
            at.frame
        );
        checkpoint.read_into("correction", self.predictor.correction_mut())?;
        self.optimiser.load_as("adam", checkpoint)?;
        if let Some(opponent) = &mut self.opponent {
            checkpoint.read_into("opponent", &mut opponent.model)?;
            opponent.optimiser.load_as("opponent_adam", checkpoint)?;
        }
        self.predictor.clear();
        for frame in &self.sequences[at.sequence][..at.frame] {
            self.predictor.predict();
            self.predictor.observe(frame)?;
        }
        self.predictor.set_agreement(at.agreement);
        self.at = at;
        Ok(())
    }
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
        let mut firsts = Vec::new();
        for loss in losses {
            let run = || {
                let settings = PredictorSettings { loss, ..PredictorSettings::default() };
                let mut predictor = Predictor::<f32>::new([8, 8], settings, 1).unwrap();
                let (mut means, mut first) = (Vec::new(), None);
                let settings = TrainingSettings { passes: 4, rate: 3e-3, seed: 1 };
                train(&mut predictor, &[&frames], settings, |step| {
                    first.get_or_insert(step.loss);
                    if step.frame == 59 {
                        means.push(step.mean_loss);
                    }
                })
                .unwrap();
                (means, first.unwrap())
            };
            let (means, first) = run();
            firsts.push(first);
            assert_eq!(means.len(), 4);
            assert!(means[3] < means[0], "{loss:?}: {means:?}");
            assert_eq!((means, first), run(), "{loss:?}");
        }
        // Before anything is learned the predictions are the same, and the opponent cannot tell: it says 1/2, which costs ln 2.
        let opposed = firsts[3] - 10.0 * firsts[0];
        assert!((opposed - 2.0_f64.ln()).abs() < 0.15, "{opposed}");
    }

    #[test]
    fn a_training_that_was_kept_goes_on_to_the_same_bits() {
        let frames = Pattern::Bifurcation.frames(0, 50, 8, &Variation::default()).unwrap();
        let sequences = [&frames[..20], &frames[20..]];
        let settings = TrainingSettings { passes: 2, rate: 3e-3, seed: 1 };
        for loss in [Loss::Squared, Loss::Adversarial { weight: 1.0 }] {
            let fresh = || {
                let settings = PredictorSettings { loss, ..PredictorSettings::default() };
                Predictor::<f32>::new([8, 8], settings, 1).unwrap()
            };
            let mut whole = fresh();
            let mut losses = Vec::new();
            train(&mut whole, &sequences, settings, |step| losses.push(step.loss)).unwrap();
            assert_eq!(losses.len(), 2 * (16 + 26));
            // In the middle of a sequence, at its end, at that of a pass, and at the very end.
            for stop in [7, 16, 42, 50, losses.len()] {
                let (mut first, mut second) = (fresh(), fresh());
                let mut trainer = Trainer::new(&mut first, &sequences, settings).unwrap();
                for _ in 0..stop {
                    trainer.step().unwrap();
                }
                let mut kept = Checkpoint::new("state");
                trainer.save(&mut kept).unwrap();
                let mut trainer = Trainer::new(&mut second, &sequences, settings).unwrap();
                trainer.load(&kept).unwrap();
                let rest: Vec<f64> = std::iter::from_fn(|| trainer.step().unwrap().map(|step| step.loss)).collect();
                assert_eq!(rest, losses[stop..], "{loss:?} after {stop} steps");
                assert_eq!((first.predict(), second.predict()).1, whole.predict());
                assert_eq!((second.prior(), second.prior()[1] > 0.0), (whole.prior(), true));
                let refused = Trainer::new(&mut second, &sequences[..1], settings).unwrap().load(&kept);
                assert_eq!(refused.is_err(), !(1..=16).contains(&stop) && !(43..59).contains(&stop), "{stop}");
            }
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
