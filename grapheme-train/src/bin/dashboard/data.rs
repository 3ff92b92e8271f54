//! What the page shows of one run.

use super::{curves, rays};
use anyhow::Result;
use grapheme_core::{BoundaryFigures, param};
use grapheme_optics::Layout;
use grapheme_optics::diagnosis::diagnose;
use grapheme_train::ensemble::Ensemble;
use grapheme_train::event::{DevFigures, Event};
use grapheme_train::run::{RunFolder, read_metrics};
use grapheme_train::transducer::{Transducer, read_config};
use serde::Serialize;

/// One run, as the page's script reads it.
#[derive(Serialize)]
pub struct View {
    name: String,
    summary: String,
    words: Vec<String>,
    loss: String,
    dev: Option<String>,
    gates: Option<String>,
    layers: Vec<String>,
    boundaries: usize,
    /// Last step of each column of the map.
    steps: Vec<u64>,
    /// Logarithm to base 10 of the energy a row, by column and boundary; none for no energy.
    map: Vec<Vec<Option<f64>>>,
    ledger: Vec<Entry>,
    examples: Vec<rays::Example>,
    rays_note: String,
    /// Name, numbers, norm, root mean square.
    norms: Vec<(String, usize, f64, f64)>,
}

/// The ledger of one boundary, a mean over steps.
#[derive(Serialize)]
struct Entry {
    boundary: usize,
    incoming: f64,
    outgoing: f64,
    quadrature: f64,
    absorbed: f64,
    reflected: f64,
    diffused: f64,
    guided: f64,
    arrived: f64,
    gained: f64,
    angle_mean: f64,
    angle_max: f64,
    coherence: Option<f64>,
    gate: Option<f64>,
}

/// Columns of the map at most: more than there are points on most screens.
const COLUMNS: usize = 1000;

/// Reads a run, also one that is still going on.
pub fn view(run: &RunFolder, examples: usize) -> Result<View> {
    // Of a set the first member is shown.
    let folder = Ensemble::folders(run.path())?.into_iter().next().unwrap_or_else(|| run.clone());
    let config = read_config(&folder)?;
    let layout = Layout::of(&config.model.network);
    let events = match folder.metrics().exists() {
        true => read_metrics(&folder.metrics())?,
        false => Vec::new(),
    };
    let mut losses: Vec<(u64, f64)> = Vec::new();
    let mut dev: Vec<(u64, DevFigures)> = Vec::new();
    let mut told: Vec<(u64, &[BoundaryFigures])> = Vec::new();
    for event in &events {
        match event {
            Event::Step { step, loss, .. } => losses.push((*step, *loss)),
            Event::Epoch { epoch, dev: Some(figures), .. } => dev.push((*epoch, *figures)),
            Event::Optics { step, boundaries } => told.push((*step, boundaries)),
            _ => {}
        }
    }
    let boundaries = told.last().map_or(0, |(_, figures)| figures.len());
    told.retain(|(_, figures)| figures.len() == boundaries);
    let mut words: Vec<String> = diagnose(&told, &layout.layers).iter().map(ToString::to_string).collect();
    if told.is_empty() {
        words.push(
            "No telemetry: train with --optics FILE; a file that holds {} changes nothing and only watches.".into(),
        );
    } else if words.is_empty() {
        words.push("Healthy: nothing to complain of.".into());
    }
    let model = if folder.model().exists() { Some(Transducer::load(&folder)?) } else { None };
    let angles: Vec<f64> =
        told.last().map_or(Vec::new(), |(_, figures)| figures.iter().map(|f| f.angle_mean).collect());
    let (drawn, rays_note) = match &model {
        Some(model) => rays::examples(model, &config, &angles, examples),
        None => (Vec::new(), String::new()),
    };
    let mut norms = Vec::new();
    if let Some(model) = &model {
        param::each(&model.net, |name, _, values: &[f32]| {
            let norm = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
            norms.push((name.to_owned(), values.len(), norm, norm / (values.len().max(1) as f64).sqrt()));
        });
    }
    let (steps, map) = map(&told, boundaries);
    let last = losses.last().map_or("no step yet".to_owned(), |(step, loss)| format!("{step} steps, loss {loss:.4}"));
    let best = dev.iter().map(|(_, figures)| figures.wer).fold(f64::INFINITY, f64::min);
    let best = if best.is_finite() { format!(", best dev word error rate {best:.2}%") } else { String::new() };
    Ok(View {
        name: run.path().display().to_string(),
        summary: format!("{last}{best}, seed {}", config.training.seed),
        words,
        loss: curves::draw(
            &[("loss".to_owned(), losses.iter().map(|&(step, loss)| (step as f64, loss)).collect())],
            "step",
        ),
        dev: (!dev.is_empty()).then(|| {
            let curve = |name: &str, of: fn(&DevFigures) -> f64| {
                (name.to_owned(), dev.iter().map(|(epoch, figures)| (*epoch as f64, of(figures))).collect())
            };
            curves::draw(&[curve("word error rate, %", |f| f.wer), curve("token error rate, %", |f| f.ter)], "epoch")
        }),
        gates: gates(&told),
        layers: layout.layers,
        boundaries,
        steps,
        map,
        ledger: (0..boundaries).map(|boundary| entry(&told, boundary)).collect(),
        examples: drawn,
        rays_note,
        norms,
    })
}

/// Means over as many steps a column as are needed to fit.
fn map(told: &[(u64, &[BoundaryFigures])], boundaries: usize) -> (Vec<u64>, Vec<Vec<Option<f64>>>) {
    let columns = told.chunks(told.len().div_ceil(COLUMNS).max(1));
    let column = |steps: &[(u64, &[BoundaryFigures])]| {
        let cell = |b: usize| {
            let energy: f64 = steps.iter().map(|(_, f)| f[b].energy_out + f[b].quadrature).sum();
            let rows: u64 = steps.iter().map(|(_, f)| f[b].rows).sum();
            let mean = energy / rows.max(1) as f64;
            // Three decimals of a logarithm are finer than any eye.
            (mean > 0.0 && mean.is_finite()).then(|| (1e3 * mean.log10()).round() / 1e3)
        };
        (0..boundaries).map(cell).collect()
    };
    columns.map(|steps| (steps[steps.len() - 1].0, column(steps))).unzip()
}

fn gates(told: &[(u64, &[BoundaryFigures])]) -> Option<String> {
    let (_, last) = told.last()?;
    let curve = |f: &BoundaryFigures| {
        f.gate?;
        let points = told.iter().filter_map(|(step, figures)| Some((*step as f64, figures[f.boundary].gate?)));
        Some((format!("boundary {}", f.boundary), points.collect()))
    };
    let all: Vec<_> = last.iter().filter_map(curve).collect();
    (!all.is_empty()).then(|| curves::draw(&all, "step"))
}

fn entry(told: &[(u64, &[BoundaryFigures])], boundary: usize) -> Entry {
    let late = &told[told.len() - told.len().div_ceil(4)..];
    let mean = |of: fn(&BoundaryFigures) -> f64| {
        late.iter().map(|(_, figures)| of(&figures[boundary])).sum::<f64>() / late.len().max(1) as f64
    };
    let last = told.last().map(|(_, figures)| &figures[boundary]);
    Entry {
        boundary,
        incoming: mean(|f| f.energy_in),
        outgoing: mean(|f| f.energy_out),
        quadrature: mean(|f| f.quadrature),
        absorbed: mean(|f| f.absorbed),
        reflected: mean(|f| f.reflected),
        diffused: mean(|f| f.diffused),
        guided: mean(|f| f.guided),
        arrived: mean(|f| f.arrived),
        gained: mean(|f| f.gained),
        angle_mean: mean(|f| f.angle_mean),
        angle_max: late.iter().map(|(_, figures)| figures[boundary].angle_max).fold(0.0, f64::max),
        coherence: last.and_then(|f| f.coherence),
        gate: last.and_then(|f| f.gate),
    }
}
