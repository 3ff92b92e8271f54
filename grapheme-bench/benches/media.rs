//! What media cost: gigabytes of gradient a second through each element, and a training step under media against one without.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use grapheme_bench::inputs::examples;
use grapheme_bench::step::{Step, preset};
use grapheme_core::{Media, Stream, Topology, Vacuum};
use grapheme_optics::media::{Attenuation, Bend, Diffusion, Element, Eye, Ledger, Notes, Refraction, Scratch, Stack};
use grapheme_optics::settings::{IndexWindow, OpticLayer, Value};
use grapheme_optics::{Optics, OpticsSettings};
use grapheme_train::settings::Preset;
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

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("step under media");
    let examples = examples(16, 6..=12, 3);
    let mut lane = Step::new(preset(Preset::Words, None, &examples), examples);
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
                let (_, record) = lane.pass(optics.medium());
                black_box(optics.observe(vec![record]))
            });
        });
    }
}

criterion_group!(benches, elements, steps);
criterion_main!(benches);
