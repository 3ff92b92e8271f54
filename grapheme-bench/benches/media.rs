//! What media cost: gigabytes of gradient a second through each element, and a training step under media against one without.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use grapheme_bench::inputs::examples;
use grapheme_bench::step::{Step, preset};
use grapheme_core::network::{MorphedGraph, Trace, Upstream};
use grapheme_core::{Boundary, GradientMedium, GraphTransformNet, Matrix, Media, Stream, Topology, Vacuum};
use grapheme_optics::media::{Attenuation, Bend, Diffusion, Element, Eye, Ledger, Notes, Refraction, Scratch, Stack};
use grapheme_optics::settings::{IndexWindow, OpticLayer, Value};
use grapheme_optics::{Optics, OpticsSettings};
use grapheme_train::data::{Example, Loader};
use grapheme_train::settings::Preset;
use ndarray::Array2;
use rand::RngExt;
use rand::seq::SliceRandom;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

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

/// The backward pass one layer at a time, with the hook of a medium between layers or without: what a vacuum costs by itself.
struct Walk {
    hook: bool,
}

impl GradientMedium<f32> for Walk {
    type Trace = ();

    fn cross(&self, boundary: Boundary, topology: &Topology, gradient: &mut Array2<f32>, (): &mut ()) {
        Vacuum.cross(boundary, topology, gradient, &mut ());
    }

    fn carry(
        &self,
        net: &GraphTransformNet<f32>,
        trace: Trace<'_, f32>,
        morphed: &MorphedGraph<f32>,
        upstream: Upstream<f32>,
        (): &mut (),
        grad: &mut GraphTransformNet<f32>,
    ) -> Matrix<f32> {
        let layers = net.layer_names().len();
        let mut dweights = upstream.edge_weights.unwrap_or_default();
        (0..layers).rev().fold(upstream.log_label, |dy, layer| {
            let gates = (layer + 2 == layers).then_some(&upstream.gates);
            let mut dx = net.pull_back((&trace, morphed), layer, dy, gates, &mut dweights, grad);
            if let (true, Some(index)) = (self.hook, layer.checked_sub(1)) {
                self.cross(Boundary { index }, trace.topology(morphed, index), &mut dx, &mut ());
            }
            dx
        })
    }
}

/// Whole training steps under each medium as ratios to a step in a vacuum. All take turns, so that a machine that slows down
/// slows all of them; the median over rounds is what counts.
fn ratios(_: &mut Criterion) {
    // `cargo test` only asks whether it runs.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { 300 } else { 1 };
    let examples = words();
    let spec = preset(Preset::Words, None, &examples);
    let stride = (examples.len() / 16).max(1);
    let mut step = Step::new(spec, examples.into_iter().step_by(stride).take(16).collect());
    let value = Value::Constant;
    let clear = OpticsSettings::default();
    let full = OpticsSettings {
        layers: vec![OpticLayer { transparency: value(0.99), diffusion: value(0.1), ..OpticLayer::default() }],
        // Every other layer, so that rays bend at every boundary.
        indices: [1, 3, 5].map(|layer| IndexWindow { layers: [layer, layer], index: value(1.1) }).to_vec(),
        ..clear.clone()
    };
    let phase = OpticsSettings {
        layers: full.layers.iter().map(|layer| OpticLayer { phase: value(0.1), ..layer.clone() }).collect(),
        ..full.clone()
    };
    let mut media: Vec<(&str, Optics<f32>)> = [("telemetry", clear), ("full medium", full), ("with phase", phase)]
        .into_iter()
        .map(|(name, settings)| {
            let optics = Optics::new(settings, &step.model.spec.network, &step.model.net, 1);
            (name, optics.expect("these settings are sound"))
        })
        .collect();
    // The passes of a round: vacuum, the walk without and with the hook, then the media. Who comes after whom changes from
    // round to round, because each leaves the caches as it needs them.
    let passes = 3 + media.len();
    let mut times = vec![Vec::with_capacity(rounds); passes];
    let order = Stream::new(7);
    for round in 0..rounds {
        let mut turn: Vec<usize> = (0..passes).collect();
        turn.shuffle(&mut order.fork(round as u64));
        for pass in turn {
            times[pass].push(match pass {
                0 => seconds(|| drop(step.take_under(&Vacuum))),
                1 | 2 => seconds(|| drop(step.take_under(&Walk { hook: pass == 2 }))),
                _ => {
                    let (_, optics) = &mut media[pass - 3];
                    seconds(|| {
                        let (_, record) = step.take_under(optics.medium());
                        black_box(optics.observe(vec![record]));
                    })
                }
            });
        }
    }
    let ratio =
        |pass: usize, to: usize| -> f64 { median(times[pass].iter().zip(&times[to]).map(|(a, b)| a / b).collect()) };
    println!("a step in a vacuum: {:.2} ms", 1e3 * median(times[0].clone()));
    println!("hook of a vacuum over none: {:.3}", ratio(2, 1));
    for (i, (name, _)) in media.iter().enumerate() {
        println!("{name} over vacuum: {:.3}", ratio(3 + i, 0));
    }
}

/// Hungarian words with their pronunciation, or letters at random without `$GRAPHEME_DATA`.
fn words() -> Vec<Example> {
    let folder = std::env::var_os("GRAPHEME_DATA").map(PathBuf::from);
    let file = folder.map(|folder| folder.join("g2p/hun_train.tsv")).filter(|file| file.is_file());
    let Some(file) = file else { return examples(16, 6..=12, 3) };
    Loader::default().file(&file).expect("the file holds words").examples().to_vec()
}

fn seconds(work: impl FnOnce()) -> f64 {
    let clock = Instant::now();
    work();
    clock.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

criterion_group!(benches, elements, ratios);
criterion_main!(benches);
