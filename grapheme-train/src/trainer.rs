//! Training: from examples to the weights of a run folder.
//!
//! [`Trainer`] only computes and emits [`Event`]s; screens and logs listen. Everything that the next step depends on is in
//! the state that a checkpoint holds, so a run that was killed goes on to the same bits.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::data::Example;
use crate::estimator::{Crossing, EstimateError};
use crate::event::{DevFigures, Event, Listener, StopReason};
use crate::lanes::{Lanes, ThreadsError};
use crate::objective::{Objective, Task};
use crate::optim::{AdamW, Average, GradientNorm, Optimiser, Schedule, SettingError, clip};
use crate::run::{MetricsError, MetricsLog, RunError, RunFolder};
use crate::settings::{ModelSpec, RunConfig, TrainingSettings};
use crate::transducer::{Transducer, TransducerError, label};
use grapheme_core::graph::BatchError;
use grapheme_core::layers::DropoutKeys;
use grapheme_core::network::ConfigError;
use grapheme_core::{GraphTransformNet, Stream, Vacuum, param};
use rand::seq::SliceRandom;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Purposes of random streams, so that no two share numbers.
const ORDER: u64 = 1;
const DROPOUT: u64 = 2;

/// A checkpoint is written at the end of every epoch, and in a long epoch whenever this much time has passed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

type Net = GraphTransformNet<f32>;

/// Why training stopped before its end. The last checkpoint is intact.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A setting out of its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A loss setting out of its range.
    #[error(transparent)]
    Loss(#[from] crate::loss::SettingError),
    /// A network setting out of its range.
    #[error(transparent)]
    Network(#[from] ConfigError),
    /// No example can be learned from.
    #[error(
        "none of the {examples} training examples is reachable: a target may have at most {slots} units for each code \
         point of its input; raise --slots, or check that the columns are in the order input, target"
    )]
    Unreachable {
        /// How many there are.
        examples: usize,
        /// Candidates a node.
        slots: usize,
    },
    /// A gradient was not a finite number.
    #[error(
        "step {step}: the gradient of `{block}` is not finite; the last checkpoint is intact: lower --rate or --clip and \
         train again"
    )]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// The first block that was not finite.
        block: String,
    },
    /// The state belongs to other settings.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The metrics cannot be written.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The run folder cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No threads.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    /// A gradient could not be taken.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// A batch is too large.
    #[error("{0}; lower --batch or --lane")]
    Batch(#[from] BatchError),
    /// The dev set could not be read.
    #[error(transparent)]
    Evaluate(#[from] TransducerError),
}

/// Examples that K slots can reach, by their index among all.
#[derive(Clone, Debug)]
pub struct Reachable {
    /// Indices of the examples to train on.
    pub indices: Vec<usize>,
    /// Indices of the others.
    pub unreachable: Vec<usize>,
}

impl Reachable {
    /// Sorts examples by whether their targets have at most as many units as there are candidates.
    pub fn new(examples: &[Example], spec: &ModelSpec) -> Self {
        let slots = last_slots(spec);
        let (indices, unreachable) = (0..examples.len()).partition(|&i| needed_slots(&examples[i], spec) <= slots);
        Self { indices, unreachable }
    }
}

fn last_slots(spec: &ModelSpec) -> usize {
    spec.network.stages.last().map_or(1, |stage| stage.slots)
}

/// The fewest slots with which an example's target can be written.
pub fn needed_slots(example: &Example, spec: &ModelSpec) -> usize {
    use unicode_normalization::UnicodeNormalization;
    let units = crate::data::segment(&example.target, spec.units).len();
    let nodes = example.input.nfd().count() + 2;
    units.div_ceil(nodes)
}

/// One training run.
pub struct Trainer<'a> {
    spec: &'a ModelSpec,
    settings: &'a TrainingSettings,
    examples: &'a [Example],
    dev: &'a [Example],
    reachable: Vec<usize>,
    objective: Objective,
    schedule: Schedule,
    lanes: Lanes<Net>,
    state: State,
}

/// What the next step depends on.
struct State {
    model: Transducer,
    optimiser: AdamW<f32>,
    average: Average<Net>,
    /// Epochs that are finished.
    epoch: usize,
    /// Steps taken in the current epoch.
    position: usize,
    /// Steps taken in all.
    step: u64,
    loss_sum: f64,
    loss_count: u64,
    best: Option<(f64, f64)>,
    epochs_since_best: usize,
    /// Seconds of training before this process; kept only where the schedule follows the clock.
    elapsed: f64,
}

impl<'a> Trainer<'a> {
    /// A trainer before its first step.
    ///
    /// # Errors
    /// [`TrainError`] for settings out of range, and where no example can be learned from.
    pub fn new(
        config: &'a RunConfig,
        examples: &'a [Example],
        dev: &'a [Example],
        threads: usize,
    ) -> Result<Self, TrainError> {
        let (spec, settings) = (&config.model, &config.training);
        spec.loss.check()?;
        let reachable = Reachable::new(examples, spec).indices;
        if reachable.is_empty() {
            return Err(TrainError::Unreachable { examples: examples.len(), slots: last_slots(spec) });
        }
        let model = Transducer::new(spec.clone(), settings.seed)?;
        let optimiser = AdamW::new(settings.adamw, &model.net)?;
        let average = Average::new(settings.average, &model.net)?;
        let state = State {
            optimiser,
            average,
            epoch: 0,
            position: 0,
            step: 0,
            loss_sum: 0.0,
            loss_count: 0,
            best: None,
            epochs_since_best: 0,
            elapsed: 0.0,
            model,
        };
        let objective = state.model.objective();
        let (schedule, lanes) = (settings.schedule.check()?, Lanes::new(threads)?);
        Ok(Self { spec, settings, examples, dev, reachable, objective, schedule, lanes, state })
    }

    /// The number of scalars in the model.
    pub fn parameters(&self) -> usize {
        param::count(&self.state.model.net)
    }

    /// Steps in one epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.reachable.len().div_ceil(self.settings.batch)
    }

    /// Trains to the end and leaves the best model in `run`; with `resume`, from the last checkpoint there.
    ///
    /// # Errors
    /// [`TrainError`]; the last checkpoint is intact.
    pub fn run(
        &mut self,
        run: &RunFolder,
        resume: bool,
        listener: &mut dyn Listener,
    ) -> Result<StopReason, TrainError> {
        let mut length = 0;
        if resume && run.has_state()? {
            let checkpoint = Checkpoint::open(&run.state())?;
            self.load(&checkpoint)?;
            length = checkpoint.noted("metrics")?;
        }
        let mut log = MetricsLog::open(&run.metrics(), length)?;
        let mut emit = |event: Event, log: &mut MetricsLog| {
            log.hear(&event);
            listener.hear(&event);
        };
        emit(
            Event::Started {
                parameters: self.parameters() as u64,
                examples: self.reachable.len() as u64,
                epochs: self.settings.epochs as u64,
                steps: (self.settings.epochs * self.steps_per_epoch()) as u64,
                resumed_at: self.state.step,
            },
            &mut log,
        );
        let (started, before) = (Instant::now(), self.state.elapsed);
        let mut checkpointed = Instant::now();
        let mut reason = StopReason::Complete;
        while self.state.epoch < self.settings.epochs {
            let order = self.order();
            let mut out_of_time = false;
            while self.state.position < self.steps_per_epoch() && !out_of_time {
                self.state.elapsed = before + started.elapsed().as_secs_f64();
                let event = self.step(&order);
                emit(event.0, &mut log);
                event.1?;
                out_of_time = self.clock() >= 1.0;
                if checkpointed.elapsed() >= CHECKPOINT_INTERVAL && self.state.position < self.steps_per_epoch() {
                    self.save(run, &mut log, false)?;
                    emit(self.checkpoint_event(false), &mut log);
                    checkpointed = Instant::now();
                }
            }
            let best = self.end_epoch(&mut |event| emit(event, &mut log))?;
            self.save(run, &mut log, best)?;
            emit(self.checkpoint_event(best), &mut log);
            checkpointed = Instant::now();
            if out_of_time {
                reason = StopReason::TimeOver;
            } else if self.settings.patience > 0 && self.state.epochs_since_best >= self.settings.patience {
                reason = StopReason::EarlyStop;
            }
            if reason != StopReason::Complete {
                break;
            }
        }
        let (epochs, steps) = (self.state.epoch as u64, self.state.step);
        emit(Event::Finished { epochs, steps, reason }, &mut log);
        log.commit()?;
        Ok(reason)
    }

    /// Takes a few steps and returns the seconds that each took, for an estimate. The trainer is of no use afterwards.
    ///
    /// # Errors
    /// As [`Trainer::run`].
    pub fn rehearse(mut self, steps: usize) -> Result<f64, TrainError> {
        let order = self.order();
        // The first step allocates.
        let mut started = Instant::now();
        for step in 0..=steps {
            if step == 1 {
                started = Instant::now();
            }
            self.step(&order).1?;
            self.state.position %= self.steps_per_epoch();
        }
        Ok(started.elapsed().as_secs_f64() / steps.max(1) as f64)
    }

    /// The order of the current epoch's examples, a function of seed and epoch.
    fn order(&self) -> Vec<usize> {
        let mut order = self.reachable.clone();
        order.shuffle(&mut Stream::new(self.settings.seed).fork(ORDER).fork(self.state.epoch as u64));
        order
    }

    /// How much of the allowed time is over, 0 where no limit is set.
    fn clock(&self) -> f64 {
        self.settings.minutes.map_or(0.0, |minutes| self.state.elapsed / (60.0 * minutes))
    }

    /// One step, and the event that tells of it.
    fn step(&mut self, order: &[usize]) -> (Event, Result<(), TrainError>) {
        let epoch = self.state.epoch as u64 + 1;
        let step = self.state.step + 1;
        match self.try_step(order) {
            Ok(event) => (event, Ok(())),
            Err(error) => {
                let block = match &error {
                    TrainError::NotFinite { block, .. } => block.clone(),
                    _ => String::new(),
                };
                (Event::StepRefused { epoch, step, block }, Err(error))
            }
        }
    }

    fn try_step(&mut self, order: &[usize]) -> Result<Event, TrainError> {
        let (settings, clock) = (self.settings, self.clock());
        let first = self.state.position * settings.batch;
        let members = &order[first..(first + settings.batch).min(order.len())];
        let jobs: Vec<&[usize]> = members.chunks(settings.lane.max(1)).collect();
        let stream = Stream::new(settings.seed).fork(DROPOUT).fork(self.state.epoch as u64);
        let (spec, examples, objective) = (self.spec, self.examples, &self.objective);
        let estimator = spec.estimator.build::<f32, Vacuum>();
        let net = &self.state.model.net;
        let (parts, gradient) = self.lanes.gradient(net, &jobs, |_, members, gradient| {
            let members = members.iter();
            let (batch, labelling) = label(members.clone().map(|&i| &examples[i]), &spec.labels, spec.units)?;
            let keys = DropoutKeys::new(&stream, members.map(|&i| i as u64));
            let task = Task { batch: &batch, labelling: &labelling };
            let pass = Crossing { dropout: Some(&keys), medium: &Vacuum, record: &mut () };
            let estimate = estimator.gradient(net, objective, task, pass, gradient)?;
            Ok::<_, TrainError>((estimate, batch.nodes() - 2 * batch.graphs()))
        })?;
        let (mut loss, mut count, mut graphemes) = (0.0, 0u64, 0u64);
        for (estimate, nodes) in parts {
            graphemes += nodes as u64;
            for finite in estimate.losses.into_iter().filter(|loss| loss.is_finite()) {
                loss += finite;
                count += 1;
            }
        }
        let share = 1.0 / count.max(1) as f32;
        param::each_mut(gradient, |_, _, values| values.iter_mut().for_each(|d| *d *= share));
        let norm = match clip(gradient, settings.clip) {
            GradientNorm::Finite(norm) => norm,
            GradientNorm::NotFinite { block } => {
                return Err(TrainError::NotFinite { step: self.state.step + 1, block });
            }
        };
        let steps = settings.epochs * self.reachable.len().div_ceil(settings.batch);
        let progress = ((self.state.step + 1) as f64 / steps as f64).max(clock).min(1.0);
        let rate = self.schedule.rate(progress);
        self.state.optimiser.step(&mut self.state.model.net, gradient, rate);
        self.state.average.update(&self.state.model.net);
        self.state.step += 1;
        self.state.position += 1;
        self.state.loss_sum += loss;
        self.state.loss_count += count;
        Ok(Event::Step {
            epoch: self.state.epoch as u64 + 1,
            step: self.state.step,
            loss: loss / count.max(1) as f64,
            learning_rate: rate,
            gradient_norm: norm,
            graphemes,
        })
    }

    /// Looks at the dev set with the averaged weights. Returns whether they are the best so far.
    fn end_epoch(&mut self, emit: &mut dyn FnMut(Event)) -> Result<bool, TrainError> {
        let averaged = Transducer { spec: self.spec.clone(), net: self.state.average.weights().clone() };
        let evaluation = averaged.evaluate(self.dev, &self.lanes)?;
        let figures = evaluation.score.figures();
        let dev = DevFigures {
            examples: figures.n as u64,
            loss: evaluation.loss,
            exact: figures.exact,
            wer: figures.wer,
            ter: figures.ter,
            f1: figures.f1,
        };
        let state = &mut self.state;
        let loss = state.loss_sum / state.loss_count.max(1) as f64;
        state.epoch += 1;
        (state.position, state.loss_sum, state.loss_count) = (0, 0.0, 0);
        // Words right first; among equals the better token error rate.
        let figure = (dev.wer, dev.ter);
        let is_best = state.best.is_none_or(|best| figure < best);
        state.epochs_since_best = if is_best { 0 } else { state.epochs_since_best + 1 };
        if is_best {
            state.best = Some(figure);
        }
        emit(Event::Epoch { epoch: state.epoch as u64, step: state.step, loss, dev: Some(dev) });
        Ok(is_best)
    }

    fn checkpoint_event(&self, best: bool) -> Event {
        let epoch = self.state.epoch as u64 + u64::from(self.state.position > 0);
        Event::Checkpoint { epoch, step: self.state.step, best }
    }

    /// Metrics, model, state, in this order: a state never stands without what it refers to.
    fn save(&self, run: &RunFolder, log: &mut MetricsLog, best: bool) -> Result<(), TrainError> {
        let length = log.commit()?;
        if best {
            let mut model = Checkpoint::new(run.model());
            model.insert("", self.state.average.weights())?;
            model.save()?;
        }
        let state = &self.state;
        let mut checkpoint = Checkpoint::new(run.state());
        checkpoint.insert("model", &state.model.net)?;
        Optimiser::<f32, Net>::save(&state.optimiser, &mut checkpoint)?;
        state.average.save(&mut checkpoint)?;
        checkpoint.note("metrics", length);
        checkpoint.note("epoch", state.epoch);
        checkpoint.note("position", state.position);
        checkpoint.note("step", state.step);
        checkpoint.note("loss_sum", state.loss_sum);
        checkpoint.note("loss_count", state.loss_count);
        let (wer, ter) = state.best.unwrap_or((f64::INFINITY, f64::INFINITY));
        checkpoint.note("best_wer", wer);
        checkpoint.note("best_ter", ter);
        checkpoint.note("epochs_since_best", state.epochs_since_best);
        checkpoint.note("elapsed", if self.settings.minutes.is_some() { state.elapsed } else { 0.0 });
        Ok(checkpoint.save()?)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let state = &mut self.state;
        checkpoint.read_into("model", &mut state.model.net)?;
        Optimiser::<f32, Net>::load(&mut state.optimiser, checkpoint)?;
        state.average.load(checkpoint)?;
        state.epoch = checkpoint.noted("epoch")?;
        state.position = checkpoint.noted("position")?;
        state.step = checkpoint.noted("step")?;
        state.loss_sum = checkpoint.noted("loss_sum")?;
        state.loss_count = checkpoint.noted("loss_count")?;
        let best: (f64, f64) = (checkpoint.noted("best_wer")?, checkpoint.noted("best_ter")?);
        state.best = best.0.is_finite().then_some(best);
        state.epochs_since_best = checkpoint.noted("epochs_since_best")?;
        state.elapsed = checkpoint.noted("elapsed")?;
        Ok(())
    }
}
