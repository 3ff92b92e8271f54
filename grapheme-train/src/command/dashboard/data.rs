//! What the page shows of a run.

use super::curves::{self, BLUE, Curve, Extent, ORANGE, Plot, SKY};
use super::{energy, examples, nodes};
use crate::ensemble::Ensemble;
use crate::event::{DevFigures, Event, NodeFigures, refusal};
use crate::run::{RunFolder, read_metrics};
use crate::transducer::{Transducer, read_config};
use anyhow::Result;
use grapheme_core::{BoundaryFigures, param};
use grapheme_optics::diagnosis::diagnose;
use grapheme_optics::{Layout, OpticsSettings};
use serde::{Deserialize, Serialize};

/// One run, as the page's script reads it.
#[derive(Debug, Serialize)]
pub struct View {
    name: String,
    /// Names and values, for a line under the title.
    facts: Vec<(&'static str, String)>,
    /// What doctor says.
    complaints: Vec<String>,
    /// Whether there is telemetry to judge by.
    watched: bool,
    loss: Option<Plot>,
    dev: Option<Plot>,
    gates: Option<Plot>,
    layers: Vec<String>,
    energy: Option<energy::Map>,
    ledger: Vec<energy::Entry>,
    /// Boundaries where light guides begin and end.
    guides: Vec<(usize, usize)>,
    examples: Vec<examples::Example>,
    /// Of the examples that the run watches.
    nodes: Vec<nodes::NodeMap>,
    /// Name, numbers, norm, root mean square.
    norms: Vec<(String, usize, f64, f64)>,
}

/// A run as read, before anything is drawn: curves of several runs share their axes.
struct Reading {
    view: View,
    loss: Vec<Curve>,
    dev: Vec<Curve>,
    gates: Vec<Curve>,
}

/// Reads runs, also such that are still going on.
///
/// # Errors
/// What cannot be read, by file.
pub fn views(runs: &[RunFolder], wanted: &examples::Wanted) -> Result<Vec<View>> {
    let mut readings: Vec<Reading> = runs.iter().map(|run| read(run, wanted)).collect::<Result<_>>()?;
    let span = |of: fn(&Reading) -> &Vec<Curve>| curves::extent(readings.iter().flat_map(of));
    let [loss, dev, gates] = [span(|r| &r.loss), span(|r| &r.dev), span(|r| &r.gates)];
    let draw = |curves: &[Curve], axis, extent: Option<Extent>| match curves {
        [] => None,
        _ => curves::draw(curves, axis, extent?),
    };
    for Reading { view, loss: losses, dev: devs, gates: opened } in &mut readings {
        view.loss = draw(losses, "step", loss);
        view.dev = draw(devs, "epoch", dev);
        view.gates = draw(opened, "step", gates);
    }
    Ok(readings.into_iter().map(|reading| reading.view).collect())
}

fn read(run: &RunFolder, wanted: &examples::Wanted) -> Result<Reading> {
    // Of a set the first member is shown.
    let folder = Ensemble::folders(run.path())?.into_iter().next().unwrap_or_else(|| run.clone());
    let config = read_config(&folder)?;
    let layout = Layout::of(&config.model.network);
    let settings = config.optics.as_ref().and_then(|value| OpticsSettings::deserialize(value).ok()).unwrap_or_default();
    let events = match folder.metrics().exists() {
        true => read_metrics(&folder.metrics())?,
        false => Vec::new(),
    };
    let mut losses: Vec<(f64, f64)> = Vec::new();
    let mut dev: Vec<(f64, DevFigures)> = Vec::new();
    let mut told: Vec<(u64, &[BoundaryFigures])> = Vec::new();
    let mut watched: Vec<(u64, &[NodeFigures])> = Vec::new();
    for event in &events {
        match event {
            Event::Step { step, loss, .. } => losses.push((*step as f64, *loss)),
            Event::Epoch { epoch, dev: Some(figures), .. } => dev.push((*epoch as f64, *figures)),
            Event::Optics { step, boundaries } => told.push((*step, boundaries)),
            Event::Nodes { step, examples } => watched.push((*step, examples)),
            _ => {}
        }
    }
    let boundaries = told.last().map_or(0, |(_, figures)| figures.len());
    told.retain(|(_, figures)| figures.len() == boundaries);
    let mut complaints: Vec<String> = diagnose(&told, &layout.layers).iter().map(ToString::to_string).collect();
    complaints.extend(refusal(&events));
    let model = if folder.model().exists() { Some(Transducer::load(&folder)?) } else { None };
    let angles: Vec<f64> =
        told.last().map_or(Vec::new(), |(_, figures)| figures.iter().map(|f| f.angle_mean).collect());
    let examples = match &model {
        Some(model) => examples::traced(model, &config, &settings, &folder.state(), &angles, wanted)?,
        None => Vec::new(),
    };
    let best = dev.iter().map(|(_, figures)| figures.wer).fold(f64::INFINITY, f64::min);
    let rate = |curve: fn(&DevFigures) -> f64| dev.iter().map(move |(epoch, figures)| (*epoch, curve(figures)));
    let mut facts = Vec::new();
    if let Some((step, loss)) = losses.last() {
        facts.extend([("steps", step.to_string()), ("loss", format!("{loss:.4}"))]);
    }
    if best.is_finite() {
        facts.push(("best dev word error rate", format!("{best:.2}%")));
    }
    let norms = model.as_ref().map_or(Vec::new(), norms);
    if !norms.is_empty() {
        facts.push(("numbers", norms.iter().map(|norm| norm.1).sum::<usize>().to_string()));
    }
    facts.push(("seed", config.training.seed.to_string()));
    let view = View {
        name: run.path().display().to_string(),
        facts,
        complaints,
        watched: !told.is_empty(),
        loss: None,
        dev: None,
        gates: None,
        energy: energy::map(&told),
        ledger: (0..boundaries).map(|boundary| energy::entry(&told, boundary)).collect(),
        guides: settings.guides.iter().map(|guide| (guide.from, guide.to)).collect(),
        layers: layout.layers,
        examples,
        nodes: nodes::maps(&config, &watched),
        norms,
    };
    let dev = match dev.is_empty() {
        true => Vec::new(),
        false => vec![
            Curve::new("word error rate, %", BLUE, rate(|f| f.wer)),
            Curve::new("token error rate, %", ORANGE, rate(|f| f.ter)),
        ],
    };
    Ok(Reading { view, loss: loss(&losses), dev, gates: gates(&told) })
}

/// The loss of each step and, of more than a few, its mean over the steps before.
fn loss(losses: &[(f64, f64)]) -> Vec<Curve> {
    if losses.is_empty() {
        return Vec::new();
    }
    let window = losses.len() / 40;
    if window < 2 {
        return vec![Curve::new("loss", BLUE, losses.iter().copied())];
    }
    let mean = losses.windows(window).map(|steps| {
        let (last, _) = steps[steps.len() - 1];
        (last, steps.iter().map(|(_, loss)| loss).sum::<f64>() / window as f64)
    });
    let name = format!("mean of {window} steps");
    vec![Curve::new("loss", SKY, losses.iter().copied()).faint(), Curve::new(&name, BLUE, mean)]
}

/// Learned transparencies, and the shares of guides that move.
fn gates(told: &[(u64, &[BoundaryFigures])]) -> Vec<Curve> {
    let Some((_, last)) = told.last() else { return Vec::new() };
    let mut series: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for (b, figures) in last.iter().enumerate() {
        let over = |of: &dyn Fn(&BoundaryFigures) -> Option<f64>| {
            told.iter().filter_map(|(step, figures)| Some((*step as f64, of(&figures[b])?))).collect::<Vec<_>>()
        };
        if figures.gate.is_some() {
            series.push((format!("boundary {b}"), over(&|figures| figures.gate)));
        }
        for i in 0..figures.shares.len() {
            let share = over(&|figures| figures.shares.get(i).copied());
            if share.iter().any(|point| point.1 != share[0].1) {
                series.push((format!("guide {} of boundary {b}", i + 1), share));
            }
        }
    }
    let count = series.len();
    let curve = |(i, (name, points)): (usize, (String, Vec<_>))| Curve::new(&name, curves::ramp(i, count), points);
    series.into_iter().enumerate().map(curve).collect()
}

fn norms(model: &Transducer) -> Vec<(String, usize, f64, f64)> {
    let mut norms = Vec::new();
    param::each(&model.net, |name, _, values: &[f32]| {
        let norm = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        norms.push((name.to_owned(), values.len(), norm, norm / (values.len().max(1) as f64).sqrt()));
    });
    norms
}
