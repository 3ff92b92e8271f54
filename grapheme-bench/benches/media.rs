//! What media cost: gigabytes of gradient a second through each element, and a training step under media against one without.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use grapheme_core::layers::DropoutKeys;
use grapheme_core::{GradientMedium, GraphTransformNet, Media, Stream, Topology, Vacuum, param};
use grapheme_optics::media::{Attenuation, Bend, Diffusion, Element, Eye, Ledger, Notes, Refraction, Scratch, Stack};
use grapheme_optics::settings::{IndexWindow, OpticLayer, Value};
use grapheme_optics::{Optics, OpticsSettings};
use grapheme_train::data::{Example, LabelInventory, TargetUnits};
use grapheme_train::estimator::{Crossing, EstimatorName};
use grapheme_train::objective::{Objective, Task};
use grapheme_train::settings::{ModelSpec, Preset};
use grapheme_train::transducer::{Transducer, label};
use ndarray::Array2;
use rand::RngExt;
use std::hint::black_box;

const WIDTH: usize = 128;

fn elements(c: &mut Criterion) {
    // A lane of sixteen words.
    let topology = Topology::chains([10; 16]).expect("160 nodes fit");
    let mut stream = Stream::new(1);
    let gradient = Array2::from_shape_simple_fn((topology.nodes(), WIDTH), || stream.random::<f32>() - 0.5);
    let mut eye = Eye::<f32>::new(WIDTH, 4, &mut stream);
    eye.mean = eye.axes.row(0).to_owned() + eye.axes.row(1);
    let attenuation = Element::Attenuation(Attenuation { amplitude: 0.99, window: None });
    let refraction = Element::Refraction(Refraction { frame: eye.frame(None), n_in: 1.0, n_out: 1.2, fresnel: None });
    let diffusion = Element::Diffusion(Diffusion { rate: 0.1 });
    let all = vec![attenuation.clone(), refraction.clone(), diffusion.clone()];
    let mut group = c.benchmark_group("media");
    group.throughput(Throughput::Bytes((4 * gradient.len()) as u64));
    for (name, stack) in [
        ("attenuation", vec![attenuation]),
        ("refraction", vec![refraction]),
        ("diffusion", vec![diffusion]),
        ("all three", all),
    ] {
        let stack = Stack(stack);
        let (mut g, mut scratch, mut watch) = (gradient.clone(), Scratch::default(), Array2::zeros((4, WIDTH)));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                // Energy would fade to numbers that are slow to multiply.
                g.assign(&gradient);
                let (mut ledger, mut bend) = (Ledger::default(), Bend::default());
                let mut notes =
                    Notes { ledger: &mut ledger, bend: &mut bend, watch: Some(&mut watch), scratch: &mut scratch };
                stack.cross(&topology, &mut g, &mut notes);
                black_box(ledger)
            });
        });
    }
}

/// Forward, loss and backward of a lane, as a training step does them.
struct Lane {
    model: Transducer,
    objective: Objective,
    gradient: GraphTransformNet<f32>,
    examples: Vec<Example>,
}

impl Lane {
    fn new() -> Self {
        let mut stream = Stream::new(3);
        let example = |length: usize| {
            let input: String = (0..length).map(|_| char::from(stream.random_range(b'a'..=b'z'))).collect();
            let target = input.chars().enumerate().filter(|(i, _)| i % 3 != 2).map(|(_, c)| c).collect();
            Example { id: String::new(), level: None, input, target }
        };
        let examples: Vec<Example> = (0..16).map(|i| 6 + i % 7).map(example).collect();
        let units = TargetUnits::Graphemes;
        let labels = LabelInventory::of(examples.iter().map(|example| example.target.as_str()), units);
        let network = Preset::Words.network(labels.outcomes(), 2);
        let (estimator, loss) = (EstimatorName::Marginal, grapheme_train::loss::StructuralLoss::words());
        let model = Transducer::new(ModelSpec { units, labels, network, estimator, loss, window: None }, 1)
            .expect("a preset is sound");
        let (objective, gradient) = (model.objective(), param::zeros_like(&model.net));
        Self { model, objective, gradient, examples }
    }

    fn pass<M: GradientMedium<f32>>(&mut self, medium: &M) -> M::Trace {
        let spec = &self.model.spec;
        let (batch, labelling) = label(self.examples.iter(), &spec.labels, spec.units).expect("examples fit");
        let keys = DropoutKeys::new(&Stream::new(1), 0..self.examples.len() as u64);
        param::each_mut(&mut self.gradient, |_, _, values| values.fill(0.0));
        let mut record = M::Trace::default();
        let pass = Crossing { dropout: Some(&keys), medium, record: &mut record };
        let task = Task { batch: &batch, labelling: &labelling };
        spec.estimator
            .build::<f32, M>()
            .gradient(&self.model.net, &self.objective, task, pass, &mut self.gradient)
            .expect("examples fit the network");
        record
    }
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("step under media");
    let mut lane = Lane::new();
    group.bench_function("vacuum", |b| b.iter(|| lane.pass(&Vacuum)));
    let value = Value::Constant;
    let clear = OpticsSettings::default();
    let full = OpticsSettings {
        layers: vec![OpticLayer { transparency: value(0.99), diffusion: value(0.1), ..OpticLayer::default() }],
        indices: vec![
            IndexWindow { layers: [1, 1], index: value(1.1) },
            IndexWindow { layers: [3, 3], index: value(1.1) },
        ],
        ..clear.clone()
    };
    let phase = OpticsSettings {
        layers: full.layers.iter().map(|layer| OpticLayer { phase: value(0.1), ..layer.clone() }).collect(),
        ..full.clone()
    };
    for (name, settings) in [("telemetry", clear), ("full medium", full), ("with phase", phase)] {
        let network = &lane.model.spec.network;
        let mut optics = Optics::new(settings, network, &lane.model.net, 1).expect("these settings are sound");
        group.bench_function(name, |b| {
            b.iter(|| {
                let record = lane.pass(optics.medium());
                black_box(optics.observe(vec![record]))
            });
        });
    }
}

criterion_group!(benches, elements, steps);
criterion_main!(benches);
