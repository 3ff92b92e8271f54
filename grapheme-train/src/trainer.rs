//! Training: from examples to the weights of a run folder.
//!
//! [`Trainer`] only computes and emits [`Event`]s; screens and logs listen. Everything that the next step depends on is in
//! the state that a checkpoint holds, so a run that was killed goes on to the same bits.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::data::Example;
use crate::ensemble::Ensemble;
use crate::estimator::{Crossing, EstimateError};
use crate::event::{DevFigures, Event, Listener, NodeFigures, StopReason};
use crate::footprint::MOST_GIGABYTES;
use crate::labelling::Labelling;
use crate::lanes::{Lanes, ThreadsError, deal};
use crate::memory;
use crate::objective::{Objective, Task};
use crate::optim::{AdamW, Average, GradientNorm, Optimiser, Schedule, SettingError, clip, pieces};
use crate::origin::{self, Origin};
use crate::run::{MetricsError, MetricsLog, RunError, RunFolder, read_metrics};
use crate::settings::{ModelSpec, OnNan, RunConfig, TrainingSettings};
use crate::transducer::{Transducer, TransducerError, label};
use crate::watch::{NodeInstrument, Watch};
use grapheme_core::graph::BatchError;
use grapheme_core::layers::DropoutKeys;
use grapheme_core::network::ConfigError;
use grapheme_core::{
    BoundaryFigures, GradientMedium, GraphBatch, GraphTransformNet, Kept, Media, Stream, Vacuum, param,
};
use rand::seq::SliceRandom;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Purposes of random streams, so that no two share numbers.
const ORDER: u64 = 1;
const DROPOUT: u64 = 2;

/// Steps that may be left out in a row before a run that may leave them out ends after all: nothing is learned in them.
const MOST_SKIPPED: u64 = 50;

/// A checkpoint is written at the end of every epoch, and in a long epoch whenever this much time has passed, unless told.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// So often an epoch the nodes that are watched are looked at.
const LOOKS: usize = 8;

type Net = GraphTransformNet<f32>;

/// Why training stopped before its end. The last checkpoint is intact.
#[derive(Debug, Error)]
#[non_exhaustive]
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
    /// Long examples that may meet in one lane.
    #[error(
        "the {lane} longest examples, which may meet in one lane, would take about {gigabytes:.0} GB of memory; lower \
         --lane, or split the texts"
    )]
    Lane {
        /// Examples a lane.
        lane: usize,
        /// About how much memory they would take.
        gigabytes: f64,
    },
    /// More gradients at a time than fit.
    #[error(
        "a batch of {lanes} lanes keeps as many gradients, about {gigabytes:.0} GB of memory; lower --batch, or raise --lane"
    )]
    Batch {
        /// Lanes a batch.
        lanes: usize,
        /// About how much memory their gradients would take.
        gigabytes: f64,
    },
    /// A gradient was not a finite number.
    #[error(
        "step {step}: {origin} is not finite; the last checkpoint is intact: lower --rate or --clip and train again, or \
         leave such steps out with --on-nan skip, at most {MOST_SKIPPED} in a row"
    )]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// Where it began.
        origin: Origin,
    },
    /// It was asked to stop, and the last checkpoint holds all that was done.
    #[error("stopped after step {step}, as it was asked to; the last checkpoint holds all of it")]
    Stopped {
        /// Steps taken in all.
        step: u64,
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
    Graphs(#[from] BatchError),
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
    let units = crate::data::segment(&example.target, spec.units).len();
    units.div_ceil(spec.graph.nodes(&example.input))
}

/// One training run, through a vacuum or other media.
pub struct Trainer<'a, O = Vacuum> {
    spec: &'a ModelSpec,
    settings: &'a TrainingSettings,
    examples: &'a [Example],
    dev: &'a [Example],
    reachable: Vec<usize>,
    /// Nodes of each example.
    sizes: Vec<usize>,
    objective: Objective,
    schedule: Schedule,
    lanes: Lanes<Net>,
    checkpoint_interval: Duration,
    stop: Box<dyn Fn() -> bool + Send>,
    state: State,
    watch: Option<Watch<'a>>,
    media: O,
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
    /// Steps in a row that were left out because they were not finite.
    skipped: u64,
    /// Seconds of training before this process; kept only where the schedule follows the clock.
    elapsed: f64,
}

impl<'a> Trainer<'a> {
    /// A trainer before its first step, whose gradients cross nothing.
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
        spec.network.check()?;
        settings.check()?;
        let reachable = Reachable::new(examples, spec).indices;
        if reachable.is_empty() {
            return Err(TrainError::Unreachable { examples: examples.len(), slots: last_slots(spec) });
        }
        let sizes: Vec<usize> = examples.iter().map(|example| spec.graph.nodes(&example.input)).collect();
        let mut lengths: Vec<usize> = reachable.iter().map(|&i| sizes[i]).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        let gigabytes = spec.pass_gigabytes(lengths.iter().take(settings.lane).sum());
        if settings.lane > 1 && gigabytes > MOST_GIGABYTES {
            return Err(TrainError::Lane { lane: settings.lane, gigabytes });
        }
        if gigabytes > memory::SHARED_ABOVE {
            memory::share();
        }
        let model = Transducer::new(spec.clone(), settings.seed)?;
        let parts = settings.batch.min(reachable.len()).div_ceil(settings.lane);
        let gigabytes = 4e-9 * parts as f64 * param::count(&model.net) as f64;
        if gigabytes > MOST_GIGABYTES {
            return Err(TrainError::Batch { lanes: parts, gigabytes });
        }
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
            skipped: 0,
            elapsed: 0.0,
            model,
        };
        let objective = state.model.objective();
        let (schedule, lanes) = (settings.schedule.check()?, Lanes::new(threads)?);
        let checkpoint_interval = CHECKPOINT_INTERVAL;
        let media = Vacuum;
        Ok(Self {
            spec,
            settings,
            examples,
            dev,
            reachable,
            sizes,
            objective,
            schedule,
            lanes,
            checkpoint_interval,
            stop: Box::new(|| false),
            state,
            watch: None,
            media,
        })
    }

    /// The same training, which tells of the nodes of the held-out examples that its settings say, through the instrument that
    /// `make` gives for so many nodes. It has no part in the result.
    ///
    /// # Errors
    /// An example that the model cannot read.
    pub fn watching(mut self, make: impl FnOnce(usize) -> Box<dyn NodeInstrument>) -> Result<Self, TrainError> {
        let watched = &self.dev[..self.settings.watch.min(self.dev.len())];
        self.watch = if watched.is_empty() { None } else { Some(Watch::new(&self.state.model, watched, make)?) };
        Ok(self)
    }

    /// The same training, with gradients that cross media between layers. `make` is given the fresh network.
    ///
    /// # Errors
    /// What `make` refuses.
    pub fn through<O: Media<f32>, E>(self, make: impl FnOnce(&Net) -> Result<O, E>) -> Result<Trainer<'a, O>, E> {
        let media = make(&self.state.model.net)?;
        let Self {
            spec,
            settings,
            examples,
            dev,
            reachable,
            sizes,
            objective,
            schedule,
            lanes,
            checkpoint_interval,
            stop,
            state,
            watch,
            ..
        } = self;
        Ok(Trainer {
            spec,
            settings,
            examples,
            dev,
            reachable,
            sizes,
            objective,
            schedule,
            lanes,
            checkpoint_interval,
            stop,
            state,
            watch,
            media,
        })
    }
}

impl<O: Media<f32>> Trainer<'_, O> {
    /// How long an epoch may go on before a checkpoint is written within it; zero for one after every step. It has no
    /// part in the result.
    pub fn checkpoint_every(&mut self, interval: Duration) {
        self.checkpoint_interval = interval;
    }

    /// Asks `asked` after every step whether to stop, which is [`TrainError::Stopped`] and leaves a checkpoint to go on from.
    pub fn stop_when(&mut self, asked: impl Fn() -> bool + Send + 'static) {
        self.stop = Box::new(asked);
    }

    /// The number of scalars in the model.
    pub fn parameters(&self) -> usize {
        param::count(&self.state.model.net)
    }

    /// Steps in one epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.reachable.len().div_ceil(self.settings.batch)
    }

    /// Trains to the end and leaves the best model in `run`; with `resume`, from the last checkpoint there. A run that is
    /// done is left as it is.
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
        if length > 0
            && let Some(reason) = self.over()
            && let Some(Event::Finished { .. }) = read_metrics(&run.metrics())?.last()
        {
            let message = format!("{}: this run is done, nothing was changed", run.path().display());
            listener.hear(&Event::Warning { message });
            return Ok(reason);
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
        let reason = loop {
            if let Some(reason) = self.over() {
                break reason;
            }
            let order = self.order();
            while self.state.position < self.steps_per_epoch() && self.clock() < 1.0 {
                self.state.elapsed = before + started.elapsed().as_secs_f64();
                match self.step(&order) {
                    Ok((event, boundaries)) => {
                        self.state.skipped = 0;
                        emit(event, &mut log);
                        if !boundaries.is_empty() {
                            emit(Event::Optics { step: self.state.step, boundaries }, &mut log);
                        }
                    }
                    Err(TrainError::NotFinite { step, origin }) => {
                        let epoch = self.state.epoch as u64 + 1;
                        emit(Event::StepRefused { epoch, step, origin: origin.to_string() }, &mut log);
                        if self.settings.on_nan == OnNan::Stop || self.state.skipped == MOST_SKIPPED {
                            return Err(TrainError::NotFinite { step, origin });
                        }
                        self.state.skipped += 1;
                        self.state.step += 1;
                        self.state.position += 1;
                    }
                    Err(other) => return Err(other),
                }
                if let Some(examples) = self.watched()? {
                    emit(Event::Nodes { step: self.state.step, examples }, &mut log);
                }
                let within = self.state.position < self.steps_per_epoch();
                let stops = within && (self.stop)();
                if within && (stops || checkpointed.elapsed() >= self.checkpoint_interval) {
                    self.save(run, &mut log, false)?;
                    emit(self.checkpoint_event(false), &mut log);
                    checkpointed = Instant::now();
                }
                if stops {
                    return Err(TrainError::Stopped { step: self.state.step });
                }
            }
            let best = self.end_epoch(&mut |event| emit(event, &mut log))?;
            self.state.elapsed = before + started.elapsed().as_secs_f64();
            self.save(run, &mut log, best)?;
            emit(self.checkpoint_event(best), &mut log);
            checkpointed = Instant::now();
            if self.over().is_none() && (self.stop)() {
                return Err(TrainError::Stopped { step: self.state.step });
            }
        };
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
            self.step(&order)?;
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

    /// Why training is over, between two epochs: a function of the state alone, so that a run which is killed at its end
    /// does not go beyond it when resumed.
    fn over(&self) -> Option<StopReason> {
        let (state, settings) = (&self.state, self.settings);
        if state.position > 0 {
            None
        } else if self.clock() >= 1.0 {
            Some(StopReason::TimeOver)
        } else if settings.patience > 0 && state.epochs_since_best >= settings.patience {
            Some(StopReason::EarlyStop)
        } else {
            (state.epoch >= settings.epochs).then_some(StopReason::Complete)
        }
    }

    /// One step, the event that tells of it, and what its gradients crossed. Everything in it is on the threads of the pool, so
    /// that they are woken up once.
    fn step(&mut self, order: &[usize]) -> Result<(Event, Vec<BoundaryFigures>), TrainError> {
        let pool = self.lanes.pool();
        pool.install(|| self.step_within(order))
    }

    fn step_within(&mut self, order: &[usize]) -> Result<(Event, Vec<BoundaryFigures>), TrainError> {
        let (settings, clock) = (self.settings, self.clock());
        let first = self.state.position * settings.batch;
        let members = &order[first..(first + settings.batch).min(order.len())];
        let sizes: Vec<usize> = members.iter().map(|&i| self.sizes[i]).collect();
        let jobs = deal(&sizes, settings.lane).into_iter().map(|lane| lane.into_iter().map(|k| members[k]).collect());
        let jobs: Vec<Vec<usize>> = jobs.collect();
        let stream = Stream::new(settings.seed).fork(DROPOUT).fork(self.state.epoch as u64);
        let pass = Pass { spec: self.spec, examples: self.examples, objective: &self.objective, stream: &stream };
        let net = &self.state.model.net;
        if self.media.wants_plain() {
            let (parts, gradient) =
                self.lanes.gradient(net, &jobs, |_, lane, gradient| pass.run(net, lane, &Vacuum, gradient))?;
            let count = parts.iter().flat_map(|part| &part.losses).filter(|loss| loss.is_finite()).count();
            scale(gradient, 1.0 / count.max(1) as f32);
            self.media.see_plain(gradient);
        }
        let medium = self.media.medium();
        let (parts, gradient) =
            self.lanes.gradient(net, &jobs, |_, lane, gradient| pass.run(net, lane, medium, gradient))?;
        let (mut loss, mut count, mut graphemes) = (0.0, 0u64, 0u64);
        let mut records = Vec::with_capacity(parts.len());
        for Part { losses, graphemes: nodes, record } in parts {
            records.push(record);
            graphemes += nodes as u64;
            for finite in losses.iter().copied().filter(|loss| loss.is_finite()) {
                loss += finite;
                count += 1;
            }
        }
        let share = 1.0 / count.max(1) as f32;
        scale(gradient, share);
        let boundaries = self.media.observe(records);
        let norm = match clip(gradient, settings.clip) {
            GradientNorm::Finite(norm) => norm,
            GradientNorm::NotFinite { block } => {
                let lanes = jobs.iter().map(|lane| pass.read(lane).map(|(batch, _, keys)| (batch, keys)));
                let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
                // A sum of squares may overflow where no number does.
                let origin = origin::find(net, &lanes, gradient).unwrap_or(Origin::Gradient(block));
                return Err(TrainError::NotFinite { step: self.state.step + 1, origin });
            }
        };
        let steps = settings.epochs * self.reachable.len().div_ceil(settings.batch);
        let progress = ((self.state.step + 1) as f64 / steps as f64).max(clock).min(1.0);
        let rate = self.schedule.rate(progress);
        self.state.optimiser.step(&mut self.state.model.net, gradient, rate);
        self.state.average.update(&self.state.model.net);
        if self.media.wants_response() {
            let scale = f64::from(share) * if norm > settings.clip { settings.clip / norm } else { 1.0 };
            let optimiser = &self.state.optimiser;
            self.media.see_response(gradient, scale, &|gradient| optimiser.response(gradient, rate));
        }
        self.state.step += 1;
        self.state.position += 1;
        self.state.loss_sum += loss;
        self.state.loss_count += count;
        let event = Event::Step {
            epoch: self.state.epoch as u64 + 1,
            step: self.state.step,
            loss: loss / count.max(1) as f64,
            learning_rate: rate,
            gradient_norm: norm,
            graphemes,
        };
        Ok((event, boundaries))
    }

    /// Looks at the dev set with the averaged weights. Returns whether they are the best so far.
    fn end_epoch(&mut self, emit: &mut dyn FnMut(Event)) -> Result<bool, TrainError> {
        let averaged = Transducer { spec: self.spec.clone(), net: self.state.average.weights().clone() };
        let evaluation = Ensemble::from(averaged).evaluate(self.dev, &self.lanes)?;
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

    /// The figures of the nodes that are watched, if it is time to look.
    fn watched(&mut self) -> Result<Option<Vec<NodeFigures>>, TrainError> {
        let every = self.steps_per_epoch().div_ceil(LOOKS);
        match &mut self.watch {
            Some(watch) if self.state.position.is_multiple_of(every) => Ok(Some(watch.look(&self.state.model)?)),
            _ => Ok(None),
        }
    }

    fn checkpoint_event(&self, best: bool) -> Event {
        let epoch = self.state.epoch as u64 + u64::from(self.state.position > 0);
        Event::Checkpoint { epoch, step: self.state.step, best }
    }

    /// Metrics, model, state, in this order: a state never stands without what it refers to.
    fn save(&mut self, run: &RunFolder, log: &mut MetricsLog, best: bool) -> Result<(), TrainError> {
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
        if let Some(media) = self.media.state() {
            checkpoint.insert("optics", media)?;
        }
        if let Some(watch) = &mut self.watch {
            checkpoint.insert("watch", watch.memory())?;
        }
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
        checkpoint.note("skipped", state.skipped);
        checkpoint.note("elapsed", if self.settings.minutes.is_some() { state.elapsed } else { 0.0 });
        Ok(checkpoint.save()?)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let state = &mut self.state;
        checkpoint.read_into("model", &mut state.model.net)?;
        Optimiser::<f32, Net>::load(&mut state.optimiser, checkpoint)?;
        state.average.load(checkpoint)?;
        if let Some(media) = self.media.state_mut() {
            checkpoint.read_into("optics", media)?;
        }
        if let Some(watch) = &mut self.watch {
            checkpoint.read_into("watch", watch.memory())?;
        }
        state.epoch = checkpoint.noted("epoch")?;
        state.position = checkpoint.noted("position")?;
        state.step = checkpoint.noted("step")?;
        state.loss_sum = checkpoint.noted("loss_sum")?;
        state.loss_count = checkpoint.noted("loss_count")?;
        let best: (f64, f64) = (checkpoint.noted("best_wer")?, checkpoint.noted("best_ter")?);
        state.best = best.0.is_finite().then_some(best);
        state.epochs_since_best = checkpoint.noted("epochs_since_best")?;
        state.skipped = checkpoint.noted("skipped")?;
        state.elapsed = checkpoint.noted("elapsed")?;
        self.media.resume(state.step);
        Ok(())
    }
}

/// What the lanes of a step have in common.
struct Pass<'a> {
    spec: &'a ModelSpec,
    examples: &'a [Example],
    objective: &'a Objective,
    stream: &'a Stream,
}

/// What one lane gives besides its gradient.
struct Part<R> {
    losses: Kept<f64>,
    graphemes: usize,
    record: R,
}

impl Pass<'_> {
    /// The graphs of a lane, what they should become, and what dropout draws for them.
    fn read(&self, members: &[usize]) -> Result<(GraphBatch, Labelling, DropoutKeys), TrainError> {
        let (batch, labelling) = label(members.iter().map(|&i| &self.examples[i]), self.spec)?;
        Ok((batch, labelling, DropoutKeys::new(self.stream, members.iter().map(|&i| i as u64))))
    }

    /// Adds the gradient of the sum of the losses of a lane.
    fn run<M: GradientMedium<f32>>(
        &self,
        net: &Net,
        members: &[usize],
        medium: &M,
        gradient: &mut Net,
    ) -> Result<Part<M::Trace>, TrainError> {
        let Self { spec, objective, .. } = *self;
        let (batch, labelling, keys) = self.read(members)?;
        let task = Task { batch: &batch, labelling: &labelling };
        let mut record = M::Trace::default();
        let crossing = Crossing { dropout: Some(&keys), medium, record: &mut record };
        let estimate = spec.estimator.build::<f32, M>().gradient(net, objective, task, crossing, gradient)?;
        Ok(Part { losses: estimate.losses, graphemes: batch.nodes() - 2 * batch.graphs(), record })
    }
}

fn scale(gradient: &mut Net, factor: f32) {
    pieces::each(gradient, |d| *d *= factor);
}
