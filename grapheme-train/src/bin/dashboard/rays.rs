//! The rays of some examples, for the page.

use grapheme_core::network::ForwardOptions;
use grapheme_core::{GraphBatch, Media};
use grapheme_optics::medium::Surface;
use grapheme_optics::rays::Tracer;
use grapheme_optics::{Layout, Medium, Optics, OpticsSettings};
use grapheme_train::data::{BadLines, Example as Pair, Loader};
use grapheme_train::objective::Task;
use grapheme_train::settings::RunConfig;
use grapheme_train::transducer::{Transducer, label};
use serde::{Deserialize, Serialize};

/// Rays that are drawn of one example.
const RAYS: usize = 150;

/// Texts longer than this are not drawn: their nodes would not be told apart.
const LONGEST: usize = 16;

/// One example, as the page's script reads it.
#[derive(Serialize)]
pub struct Example {
    input: String,
    target: String,
    /// From the loss to the features.
    levels: Vec<Level>,
    rays: Vec<Path>,
    merges: Vec<String>,
}

#[derive(Serialize)]
struct Level {
    name: String,
    nodes: Vec<String>,
    /// Mean angle by which rays are turned at the boundary.
    angle: f64,
}

#[derive(Serialize)]
struct Path {
    /// Level and node.
    path: Vec<(usize, usize)>,
    energies: Vec<f64>,
    /// The ray along the sum of all drawn rays at its end, as a share of that.
    share: f64,
}

/// The first dev examples that are short enough, traced, and what is to be said of them. What cannot be read is left out.
pub fn examples(model: &Transducer, config: &RunConfig, angles: &[f64], count: usize) -> (Vec<Example>, String) {
    let loader = Loader { bad_lines: BadLines::Skip, ..Loader::default() };
    let Ok(dev) = loader.file(&config.data.dev) else {
        return (Vec::new(), String::new());
    };
    let settings = config.optics.as_ref().and_then(|value| OpticsSettings::deserialize(value).ok()).unwrap_or_default();
    let media = Optics::new(settings, &model.spec.network, &model.net, config.training.seed).ok();
    let layout = Layout::of(&model.spec.network);
    let clear = Medium { surfaces: vec![Surface::default(); layout.boundaries()], residual: layout.residual.clone() };
    let medium = media.as_ref().map_or(&clear, |media| media.medium());
    let mut note =
        "Width and depth of colour are energy, bends the mean angle of refraction; blue adds to the sum at the \
                    input, orange takes away from it."
            .to_owned();
    let mut drawn = Vec::new();
    for pair in dev.examples().iter().filter(|pair| pair.input.chars().count() <= LONGEST).take(count) {
        match example(model, medium, angles, pair) {
            Some(example) => drawn.push(example),
            None => {
                if let Some(example) = example(model, &clear, angles, pair) {
                    note = "The run's media are not linear, so these are its rays in a vacuum. ".to_owned() + &note;
                    drawn.push(example);
                }
            }
        }
    }
    (drawn, note)
}

fn example(model: &Transducer, medium: &Medium<f32>, angles: &[f64], pair: &Pair) -> Option<Example> {
    let spec = &model.spec;
    let (batch, labelling) = label(std::iter::once(pair), spec).ok()?;
    let options = ForwardOptions { closing: spec.estimator.closing(), ..ForwardOptions::realised() };
    let (morphed, trace) = model.net.forward(&batch, options).ok()?;
    let upstream = model.objective().assess(Task { batch: &batch, labelling: &labelling }, &morphed).ok()?.upstream;
    let mut tracer = Tracer::new(&model.net, &trace, &morphed, &upstream, medium).ok()?;
    let rays = tracer.strongest(RAYS);
    let names = model.net.layer_names();
    let layers = names.len();
    // Level l shows the output of layer `layers - 1 - l`; the last one the features.
    let levels = (0..=layers).map(|l| {
        let layer = (layers - 1).saturating_sub(l);
        let nodes = if l == 0 { morphed.topology.nodes() } else { trace.topology(&morphed, layer).nodes() };
        let angle = if l == 0 { 0.0 } else { angles.get(layer).copied().unwrap_or(0.0) };
        let name = if l == layers { "features".to_owned() } else { names[layer].clone() };
        Level { name, nodes: labels(&batch, nodes, &morphed.origin, &morphed.candidate_origin), angle }
    });
    let levels: Vec<Level> = levels.collect();
    let mut sums = vec![vec![0.0_f64; model.net.embedding.table.ncols()]; batch.nodes()];
    for ray in &rays {
        sums[ray.node()].iter_mut().zip(&ray.vector).for_each(|(sum, &v)| *sum += f64::from(v));
    }
    let rays = rays.iter().map(|ray| {
        let sum = &sums[ray.node()];
        let whole: f64 = sum.iter().map(|x| x * x).sum();
        let along: f64 = sum.iter().zip(&ray.vector).map(|(s, &v)| s * f64::from(v)).sum();
        let place = |(i, &(layer, node)): (usize, &(usize, usize))| {
            let level = if i + 1 == ray.path.len() { layers } else { layers - 1 - layer };
            (level, node)
        };
        let path = ray.path.iter().enumerate().map(place).collect();
        Path { path, energies: ray.energies.clone(), share: if whole > 0.0 { along / whole } else { 0.0 } }
    });
    let rays = rays.collect();
    Some(Example {
        input: pair.input.clone(),
        target: pair.target.clone(),
        levels,
        rays,
        merges: merges(model, &batch),
    })
}

/// Names for the rows of a layer: nodes of the input, candidates of the last morph or output nodes.
fn labels(batch: &GraphBatch, rows: usize, origin: &[u32], candidates: &[u32]) -> Vec<String> {
    let name = |node: usize| node_name(batch, node);
    match rows {
        n if n == batch.nodes() => (0..n).map(name).collect(),
        n if n == candidates.len() => candidates.iter().map(|&o| name(o as usize)).collect(),
        n if n == origin.len() => origin.iter().map(|&o| name(o as usize)).collect(),
        n => (0..n).map(|i| i.to_string()).collect(),
    }
}

fn node_name(batch: &GraphBatch, node: usize) -> String {
    let begins = batch.topology().range(0).start == node;
    match char::from_u32(batch.codes()[node]) {
        Some(c) => c.to_string(),
        None if begins => "begin".to_owned(),
        None => "end".to_owned(),
    }
}

/// What each output node was made of under the most probable plan.
fn merges(model: &Transducer, batch: &GraphBatch) -> Vec<String> {
    let Ok((_, trace)) = model.net.forward(batch, ForwardOptions::realised()) else { return Vec::new() };
    let Ok(history) = trace.history() else { return Vec::new() };
    let line = |node: usize| {
        // Candidates of one node of the input count together.
        let mut weights: Vec<(u32, f32)> = history.contributors(node).collect();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1));
        let parts = weights.iter().map(|&(from, w)| format!("{} {:.0}%", node_name(batch, from as usize), 100.0 * w));
        format!("node {node}: {}", parts.collect::<Vec<_>>().join(", "))
    };
    let mut lines: Vec<String> = (0..history.outputs()).map(line).collect();
    if !history.dropped().is_empty() {
        let dropped = history.dropped().iter().map(|&node| node_name(batch, node as usize));
        lines.push(format!("dropped: {}", dropped.collect::<Vec<_>>().join(", ")));
    }
    lines
}
