//! Optimiser, checkpoints, whole training steps, and use.

use super::{Entry, Kernel, Work};
use crate::inputs::{example, examples, words};
use crate::step::{Step, preset, small};
use grapheme_core::product::metered;
use grapheme_core::{GraphTransformNet, Stream, param};
use grapheme_train::checkpoint::Checkpoint;
use grapheme_train::ensemble::Ensemble;
use grapheme_train::lanes::Lanes;
use grapheme_train::optim::{AdamW, AdamWSettings, Average, Optimiser, clip};
use grapheme_train::settings::Preset;
use std::hint::black_box;

type Net = GraphTransformNet<f32>;

pub(super) fn kernels() -> Vec<Entry> {
    vec![
        Entry::new("optimiser/adamw", || {
            let (mut net, count) = net();
            let mut adamw = AdamW::new(AdamWSettings::default(), &net).expect("default settings are sound");
            let gradient = net.clone();
            // Weights and two moments are read and written, the gradient is read.
            Kernel::new(("parameters", count), floats(7 * count), move || adamw.step(&mut net, &gradient, 1e-6))
        }),
        Entry::new("optimiser/average", || {
            let (net, count) = net();
            let mut average = Average::new(0.998, &net).expect("a decay in range");
            Kernel::new(("parameters", count), floats(3 * count), move || average.update(&net))
        }),
        Entry::new("optimiser/clip", || {
            let (mut net, count) = net();
            Kernel::new(("parameters", count), floats(count), move || clip(&mut net, f64::INFINITY))
        }),
        Entry::new("checkpoint/write", || {
            let ((net, count), folder) = (net(), tempfile::tempdir().expect("a folder for a file"));
            let file = folder.path().join("model.safetensors");
            Kernel::new(("bytes", 4 * count), floats(2 * count), move || {
                let _kept = &folder;
                let mut checkpoint = Checkpoint::new(&file);
                checkpoint.insert("", &net).expect("finite weights");
                checkpoint.save().expect("a folder that can be written to");
            })
        }),
        Entry::new("checkpoint/read", || {
            let ((mut net, count), folder) = (net(), tempfile::tempdir().expect("a folder for a file"));
            let file = folder.path().join("model.safetensors");
            let mut checkpoint = Checkpoint::new(&file);
            checkpoint.insert("", &net).expect("finite weights");
            checkpoint.save().expect("a folder that can be written to");
            Kernel::new(("bytes", 4 * count), floats(2 * count), move || {
                let _kept = &folder;
                Checkpoint::open(&file).and_then(|read| read.read_into("", &mut net)).expect("the file just written");
            })
        }),
        Entry::new("step/words", || {
            let examples = examples(16, 6..=12, 3);
            step(Step::new(preset(Preset::Words, None, &examples), examples))
        }),
        Entry::new("step/dilated", || {
            let examples = examples(16, 6..=12, 3);
            step(Step::new(preset(Preset::Dilated, None, &examples), examples))
        }),
        Entry::new("step/tiny", || {
            let examples = examples(16, 6..=12, 3);
            step(Step::new(preset(Preset::Tiny, None, &examples), examples))
        }),
        Entry::new("step/small with Sinkhorn", || {
            let examples = examples(32, 8..=12, 3);
            step(Step::new(small(&examples), examples))
        }),
        Entry::new("step/long", || {
            let examples = vec![example(10_000, &mut Stream::new(2))];
            step(Step::new(preset(Preset::Tiny, Some(64), &examples), examples))
        }),
        Entry::new("inference/words", || inference(Preset::Words, 256)),
        Entry::new("inference/tiny", || inference(Preset::Tiny, 256)),
        Entry::new("inference/one word", || inference(Preset::Words, 1)),
    ]
}

fn net() -> (Net, usize) {
    let examples = examples(16, 6..=12, 3);
    let net = Step::new(preset(Preset::Words, None, &examples), examples).model.net;
    let count = param::count(&net);
    (net, count)
}

fn floats(count: usize) -> Work {
    Work { bytes: 4.0 * count as f64, operations: 0.0 }
}

/// Bytes: the optimiser's; of the network, what products do.
fn step(mut step: Step) -> Kernel {
    let (_, products) = metered(|| step.take());
    let work = Work { operations: products.operations, ..floats(8 * param::count(&step.model.net)) };
    Kernel::new(("graphemes", step.graphemes()), work, move || step.take())
}

/// On one thread; the model has learnt its task, so that what it reads is as clear as in use.
fn inference(size: Preset, count: usize) -> Kernel {
    let examples = examples(64, 2..=9, 3);
    let mut step = Step { rate: 3e-3, ..Step::new(preset(size, None, &examples), examples) };
    for _ in 0..60 {
        step.take();
    }
    let mut texts = words("ascii", 6 * count);
    texts.truncate(count);
    let (ensemble, lanes) = (Ensemble::from(step.model), Lanes::new(1).expect("one thread"));
    let read = |texts: &[String]| ensemble.members()[0].see(texts).expect("words are a batch");
    let (_, products) = metered(|| read(&texts));
    let work = Work { operations: products.operations, ..Work::default() };
    Kernel::new(("words", texts.len()), work, move || ensemble.read(black_box(&texts), 1, &lanes))
}
