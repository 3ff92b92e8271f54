//! Examples, with the rays of their gradient and what was merged.

use super::energy::rounded;
use crate::checkpoint::Checkpoint;
use crate::data::{BadLines, Example as Pair, Loader};
use crate::explain::shown;
use crate::objective::Task;
use crate::reader::{Outcome, Reading};
use crate::settings::RunConfig;
use crate::transducer::{Transducer, label};
use anyhow::{Result, ensure};
use grapheme_core::morph::Plan;
use grapheme_core::network::{ForwardOptions, MorphedGraph};
use grapheme_core::{GraphBatch, Media};
use grapheme_optics::medium::Surface;
use grapheme_optics::rays::Tracer;
use grapheme_optics::{Layout, Medium, Optics, OpticsSettings};
use serde::Serialize;
use std::path::Path;

/// Rays that are drawn of one example.
const RAYS: usize = 150;

/// Texts longer than this are drawn only if they are asked for: their nodes are hard to tell apart.
const LONGEST: usize = 16;

/// Hypotheses of the beam that finds what the model writes.
const BEAM: usize = 8;

/// Which dev examples are drawn.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// So many of the first that are short.
    pub first: usize,
    /// And those with these inputs.
    pub inputs: Vec<String>,
}

/// One example, as the page's script reads it.
#[derive(Debug, Serialize)]
pub struct Example {
    input: String,
    target: String,
    /// What the model writes.
    written: String,
    /// From the loss to the features.
    levels: Vec<Level>,
    rays: Vec<Way>,
    merges: Merges,
}

/// A row of nodes: what a layer gave in the forward pass.
#[derive(Debug, Serialize)]
struct Level {
    name: String,
    /// The boundary above it, if there is one.
    boundary: Option<usize>,
    /// The mean angle by which rays were turned there, in radians.
    angle: f64,
    nodes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Way {
    /// Level and node, from the loss down; a recurrent layer has a place for each of its steps.
    places: Vec<(usize, usize)>,
    energies: Vec<f64>,
    /// By how much its amplitude was turned, in radians.
    phase: f64,
    /// The ray along the sum of all drawn rays at its end, as a share of that: below zero it works against the others.
    share: f64,
}

/// What each output node was made of.
#[derive(Debug, Default, Serialize)]
struct Merges {
    inputs: Vec<String>,
    outputs: Vec<Output>,
    dropped: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Output {
    /// The label that it writes.
    writes: String,
    /// Nodes of the input and their weights.
    parts: Vec<(u32, f32)>,
}

/// The wanted dev examples of a run, whose media are those of the checkpoint `state` if that is there. A dev file that is gone
/// leaves none.
///
/// # Errors
/// An input that was asked for and is not among the dev examples.
pub fn traced(
    model: &Transducer,
    config: &RunConfig,
    settings: &OpticsSettings,
    state: &Path,
    angles: &[f64],
    wanted: &Wanted,
) -> Result<Vec<Example>> {
    let loader = Loader { bad_lines: BadLines::Skip, ..Loader::default() };
    let dev = loader.file(&config.data.dev);
    let dev = dev.as_ref().map_or(&[][..], |set| set.examples());
    for input in &wanted.inputs {
        let file = config.data.dev.display();
        ensure!(
            dev.iter().any(|pair| pair.input == *input),
            "--example {input:?} is no input of {file}: give one that stands in it"
        );
    }
    let media = media(model, config, settings, state);
    let layout = Layout::of(&model.spec.network);
    let clear = Medium { surfaces: vec![Surface::default(); layout.boundaries()], residual: layout.residual.clone() };
    let medium = media.as_ref().map_or(&clear, |media| media.medium());
    let short = dev.iter().filter(|pair| pair.input.chars().count() <= LONGEST);
    let chosen = dev.iter().filter(|pair| wanted.inputs.contains(&pair.input));
    let pairs = chosen.chain(short.filter(|pair| !wanted.inputs.contains(&pair.input)).take(wanted.first));
    Ok(pairs.filter_map(|pair| example(model, medium, angles, pair)).collect())
}

/// The media of the run as its last checkpoint left them, or else as they were before the first step.
fn media(model: &Transducer, config: &RunConfig, settings: &OpticsSettings, state: &Path) -> Option<Optics<f32>> {
    let fresh = || Optics::new(settings.clone(), &model.spec.network, &model.net, config.training.seed).ok();
    let mut learned = fresh()?;
    let mut read = || -> Option<u64> {
        let checkpoint = Checkpoint::open(state).ok()?;
        checkpoint.read_into("optics", learned.state_mut()?).ok()?;
        checkpoint.noted("step").ok()
    };
    match read() {
        Some(step) => {
            learned.resume(step);
            Some(learned)
        }
        None => fresh(),
    }
}

/// None if a model cannot score the example.
fn example(model: &Transducer, medium: &Medium<f32>, angles: &[f64], pair: &Pair) -> Option<Example> {
    let spec = &model.spec;
    let (batch, labelling) = label(std::iter::once(pair), spec).ok()?;
    let options = ForwardOptions { closing: spec.estimator.closing(), ..ForwardOptions::realised() };
    let (morphed, trace) = model.net.forward(&batch, options).ok()?;
    let upstream = model.objective().assess(Task { batch: &batch, labelling: &labelling }, &morphed).ok()?.upstream;
    let mut tracer = Tracer::new(&model.net, &trace, &morphed, &upstream, medium).ok()?;
    let rays = tracer.strongest(RAYS);
    let reading = read(model, &pair.input)?;

    let names = model.net.layer_names();
    let layers = names.len();
    // Level l shows what layer `layers - 1 - l` gave, and the last one what the embedding was given. What the loss tells labels
    // and gates is shown at the candidates of the last morph, whether they stayed or not.
    let level = |l: usize| {
        let boundary = (1..layers).contains(&l).then(|| layers - 1 - l);
        let nodes = match l {
            0 => reading.steps.iter().map(|step| written(&step.outcome)).collect(),
            1 => morphed.candidate_origin.iter().map(|&node| node_name(&batch, node as usize)).collect(),
            _ => {
                let layer = (layers - 1).saturating_sub(l);
                let nodes = trace.topology(&morphed, layer).nodes();
                (0..nodes).map(|n| if nodes == batch.nodes() { node_name(&batch, n) } else { n.to_string() }).collect()
            }
        };
        let angle = boundary.and_then(|b| angles.get(b)).copied().unwrap_or(0.0);
        Level { name: name(&names, l), boundary, angle, nodes }
    };
    let mut sums = vec![vec![0.0_f64; model.net.embedding.table.ncols()]; batch.nodes()];
    for ray in &rays {
        sums[ray.node()].iter_mut().zip(&ray.vector).for_each(|(sum, &v)| *sum += f64::from(v));
    }
    let path = |ray: &grapheme_optics::rays::Ray<f32>| {
        let sum = &sums[ray.node()];
        let whole: f64 = sum.iter().map(|x| x * x).sum();
        let along: f64 = sum.iter().zip(&ray.vector).map(|(s, &v)| s * f64::from(v)).sum();
        // A ray of a gate begins at its candidate; one of a label at the output node, which is a candidate that stayed.
        let told_by_gate = ray.path[0].0 + 1 < layers;
        let place = |(i, &(layer, node)): (usize, &(usize, usize))| match layers - 1 - layer {
            l @ (0 | 1) if i + 1 < ray.path.len() && !(told_by_gate && i == 0) => {
                (l, morphed.kept.get(node).map_or(node, |&candidate| candidate as usize))
            }
            l => (if i + 1 == ray.path.len() { layers } else { l }, node),
        };
        Way {
            places: ray.path.iter().enumerate().map(place).collect(),
            energies: ray.energies.iter().map(|&energy| rounded(energy)).collect(),
            phase: rounded(ray.phase),
            share: if whole > 0.0 { rounded(along / whole) } else { 0.0 },
        }
    };
    Some(Example {
        input: pair.input.clone(),
        target: pair.target.clone(),
        written: reading.text.clone(),
        levels: (0..=layers).map(level).collect(),
        rays: rays.iter().map(path).collect(),
        merges: merges(model, &batch, &morphed, trace.plans(), &reading).unwrap_or_default(),
    })
}

fn name(layers: &[String], level: usize) -> String {
    match level {
        0 => "loss".to_owned(),
        1 => "candidates".to_owned(),
        l if l == layers.len() => "graphemes".to_owned(),
        l => layers[layers.len() - 1 - l].clone(),
    }
}

/// What the model writes, and by which candidates.
fn read(model: &Transducer, input: &str) -> Option<Reading> {
    let sight = model.see(&[input]).ok()?;
    let decoder = sight.decoder();
    let likeliest = decoder.likeliest(0, BEAM).into_iter().next()?;
    Some(sight.explain(&decoder, 0, &likeliest.labels))
}

fn written(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Merges => String::new(),
        Outcome::Writes { label, .. } => shown(label),
    }
}

/// What each output node is made of when every candidate does what it does in the reading.
fn merges(
    model: &Transducer,
    batch: &GraphBatch,
    morphed: &MorphedGraph<f32>,
    mut plans: Vec<Plan>,
    reading: &Reading,
) -> Option<Merges> {
    let labels: Vec<String> = reading.steps.iter().map(|step| written(&step.outcome)).collect();
    let stays = reading.steps.iter().map(|step| step.outcome != Outcome::Merges);
    plans.truncate(model.net.stages.len() - 1);
    plans.push(Plan { stays: stays.collect() });
    let options = ForwardOptions { plans: Some(&plans), ..ForwardOptions::realised() };
    let (realised, trace) = model.net.forward(batch, options).ok()?;
    let history = trace.history().ok()?;
    debug_assert_eq!(realised.candidate_origin, morphed.candidate_origin);
    let output = |node: usize| Output {
        writes: realised
            .kept
            .get(node)
            .and_then(|&candidate| labels.get(candidate as usize))
            .cloned()
            .unwrap_or_default(),
        parts: history.contributors(node).collect(),
    };
    Some(Merges {
        inputs: (0..batch.nodes()).map(|node| node_name(batch, node)).collect(),
        outputs: (0..history.outputs()).map(output).collect(),
        dropped: history.dropped().to_vec(),
    })
}

fn node_name(batch: &GraphBatch, node: usize) -> String {
    match char::from_u32(batch.codes()[node]) {
        Some(c) => shown(c.encode_utf8(&mut [0; 4])),
        None if batch.topology().range(0).start == node => "begin".to_owned(),
        None => "end".to_owned(),
    }
}
