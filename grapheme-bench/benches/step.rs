//! A whole training step: text to graph, network forward, loss, network backward, optimiser. Throughput in graphemes.
//!
//! `step/window` varies the length of one text under a banded assignment: time a grapheme should not grow.
//! `step/words` is the default model on short words.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};
use grapheme_core::layers::DropoutKeys;
use grapheme_core::{GraphTransformNet, Stream, Vacuum, param};
use grapheme_train::data::{Example, LabelInventory, TargetUnits};
use grapheme_train::estimator::{Crossing, EstimatorName};
use grapheme_train::objective::{Objective, Task};
use grapheme_train::optim::{AdamW, AdamWSettings, Optimiser};
use grapheme_train::settings::{ModelSpec, Preset};
use grapheme_train::transducer::{Transducer, label};
use rand::RngExt;
use std::hint::black_box;

/// Letters at random; the target leaves every third one out.
fn example(length: usize, stream: &mut Stream) -> Example {
    let input: String = (0..length).map(|_| char::from(stream.random_range(b'a'..=b'z'))).collect();
    let target = input.chars().enumerate().filter(|(i, _)| i % 3 != 2).map(|(_, c)| c).collect();
    Example { id: String::new(), level: None, input, target }
}

struct Step {
    model: Transducer,
    objective: Objective,
    optimiser: AdamW<f32>,
    gradient: GraphTransformNet<f32>,
    examples: Vec<Example>,
}

impl Step {
    fn new(preset: Preset, window: Option<usize>, examples: Vec<Example>) -> Self {
        let units = TargetUnits::Graphemes;
        let labels = LabelInventory::of(examples.iter().map(|example| example.target.as_str()), units);
        let network = preset.network(labels.outcomes(), 2);
        let loss = grapheme_train::loss::StructuralLoss::words();
        let spec = ModelSpec { units, labels, network, estimator: EstimatorName::Marginal, loss, window };
        let model = Transducer::new(spec, 1).expect("a preset is sound");
        let optimiser = AdamW::new(AdamWSettings::default(), &model.net).expect("default settings are sound");
        let (objective, gradient) = (model.objective(), param::zeros_like(&model.net));
        Self { model, objective, optimiser, gradient, examples }
    }

    fn take(&mut self) -> f64 {
        let spec = &self.model.spec;
        let (batch, labelling) = label(self.examples.iter(), &spec.labels, spec.units).expect("examples fit");
        let keys = DropoutKeys::new(&Stream::new(1), 0..self.examples.len() as u64);
        param::each_mut(&mut self.gradient, |_, _, values| values.fill(0.0));
        let task = Task { batch: &batch, labelling: &labelling };
        let pass = Crossing { dropout: Some(&keys), medium: &Vacuum, record: &mut () };
        let estimator = spec.estimator.build::<f32, Vacuum>();
        let estimate = estimator
            .gradient(&self.model.net, &self.objective, task, pass, &mut self.gradient)
            .expect("examples fit the network");
        self.optimiser.step(&mut self.model.net, &self.gradient, 1e-6);
        estimate.losses.iter().sum()
    }
}

fn growth(c: &mut Criterion) {
    let mut group = c.benchmark_group("step/window");
    group.sample_size(10);
    for length in [1_000, 10_000, 100_000] {
        let mut stream = Stream::new(2);
        let mut step = Step::new(Preset::Tiny, Some(64), vec![example(length, &mut stream)]);
        group.throughput(Throughput::Elements(length as u64));
        group.bench_function(BenchmarkId::from_parameter(length), |b| {
            b.iter_batched(|| (), |()| black_box(step.take()), BatchSize::PerIteration);
        });
    }
}

fn words(c: &mut Criterion) {
    let mut group = c.benchmark_group("step/words");
    for preset in [Preset::Words, Preset::Tiny] {
        let mut stream = Stream::new(3);
        let examples: Vec<Example> = (0..16).map(|i| example(6 + i % 7, &mut stream)).collect();
        let graphemes: usize = examples.iter().map(|example| example.input.len()).sum();
        let mut step = Step::new(preset, None, examples);
        group.throughput(Throughput::Elements(graphemes as u64));
        group.bench_function(format!("{preset:?}").to_lowercase(), |b| b.iter(|| black_box(step.take())));
    }
}

criterion_group!(benches, growth, words);
fn main() {
    // As `train` does.
    grapheme_train::memory::keep();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
