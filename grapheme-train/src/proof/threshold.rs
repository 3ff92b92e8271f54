//! What the learned merge thresholds do while the pairs are learned.

use super::pairs::{PAIRS, Pairs, ProofError};
use crate::estimator::{Crossing, Estimator, EstimatorName, losses};
use crate::optim::{Optimiser, Sgd};
use grapheme_core::check::{Derivative, differentiate};
use grapheme_core::layers::sigmoid;
use grapheme_core::morph::Plan;
use grapheme_core::network::ForwardOptions;
use grapheme_core::{GraphTransformNet, Vacuum, param};
use plotters::prelude::*;
use serde::Serialize;

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdSettings {
    /// How gradients are taken.
    pub estimator: EstimatorName,
    /// Steps of plain gradient descent on the mean over the pairs.
    pub epochs: usize,
    /// Learning rate.
    pub rate: f64,
    /// Of the fresh network.
    pub seed: u64,
}

/// The state before the step of one epoch; the last row is the state after the last step. One number a slot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Steps taken before.
    pub epoch: usize,
    /// The mean loss of a pair.
    pub loss: f64,
    /// `theta_k`.
    pub thresholds: Vec<f64>,
    /// `sigmoid(-theta_k / T)`: the gate of a candidate whose similarity is zero.
    pub sigmoids: Vec<f64>,
    /// Derivatives of the mean loss with respect to the thresholds, by the backward pass.
    pub analytic: Vec<f64>,
    /// The same by finite differences, the plan held fixed.
    pub numeric: Vec<f64>,
    /// Candidates that merge under the most probable plan, over all pairs.
    pub merges: usize,
}

impl Row {
    /// The largest gap between analytic and numeric derivatives, relative to the larger, but not below 1e-4.
    pub fn gap(&self) -> f64 {
        let gaps = self.analytic.iter().zip(&self.numeric).map(|(a, n)| (a - n).abs() / a.abs().max(n.abs()).max(1e-4));
        gaps.fold(0.0, |worst, gap| if gap.is_nan() { f64::INFINITY } else { gap.max(worst) })
    }
}

/// Trains and watches: one row an epoch and one at the end.
///
/// # Errors
/// [`ProofError`] if a setting is out of its range.
pub fn track(pairs: &Pairs, settings: &ThresholdSettings) -> Result<Vec<Row>, ProofError> {
    let mut net = pairs.fresh(settings.seed)?;
    let mut grad = param::zeros_like(&net);
    let estimator: Box<dyn Estimator<f64, Vacuum>> = settings.estimator.build();
    let share = 1.0 / PAIRS.len() as f64;
    let mut rows = Vec::with_capacity(settings.epochs + 1);
    for epoch in 0..=settings.epochs {
        param::each_mut(&mut grad, |_, _, values| values.fill(0.0));
        let pass = Crossing { dropout: None, medium: &Vacuum, record: &mut () };
        let estimate = estimator.gradient(&net, &pairs.objective, pairs.task(), pass, &mut grad)?;
        let mean = estimate.losses.iter().sum::<f64>() * share;
        let thresholds = thresholds(&mut net).to_vec();
        let numeric = (0..thresholds.len()).map(|k| {
            let mut probe = net.clone();
            let at = thresholds[k];
            let derivative: Derivative = differentiate(
                |delta| {
                    self::thresholds(&mut probe)[k] = at + delta;
                    let closing = settings.estimator.closing();
                    let found = losses(&probe, &pairs.objective, pairs.task(), closing, Some(&estimate.plans));
                    // The same shapes passed a moment ago; were they refused now, the gap would be told.
                    found.map_or(f64::NAN, |losses| losses.iter().sum::<f64>() * share)
                },
                mean,
                0.02,
            );
            derivative.value
        });
        let numeric = numeric.collect();
        let temperature = pairs.network.temperature;
        rows.push(Row {
            epoch,
            loss: mean,
            sigmoids: thresholds.iter().map(|theta| sigmoid(-theta / temperature)).collect(),
            thresholds,
            analytic: self::thresholds(&mut grad).iter().map(|d| d * share).collect(),
            numeric,
            merges: merges(pairs, &net, settings.estimator)?,
        });
        if epoch < settings.epochs {
            Sgd.step(&mut net, &grad, settings.rate * share);
        }
    }
    Ok(rows)
}

/// The thresholds of the only morph.
fn thresholds(net: &mut GraphTransformNet<f64>) -> &mut [f64] {
    let [stage] = net.stages.as_mut_slice() else { unreachable!("the network of the pairs has one stage") };
    stage.morph.gate.thresholds.as_slice_mut().expect("a parameter is stored in row-major order")
}

fn merges(pairs: &Pairs, net: &GraphTransformNet<f64>, estimator: EstimatorName) -> Result<usize, ProofError> {
    let options = ForwardOptions { closing: estimator.closing(), dropout: None, plans: None };
    let (morphed, _) = net.forward(pairs.task().batch, options)?;
    Ok(Plan::most_probable(&morphed.gates).merges())
}

/// Colours that stay apart in print and for most eyes (Okabe and Ito, 2008): blue, vermilion, green, purple.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

/// Draws loss, thresholds and merges over epochs, one above the other, as SVG.
///
/// # Errors
/// What the plotting library says; nothing is known that would make it fail for finite rows.
pub fn draw(rows: &[Row], title: &str) -> Result<String, String> {
    let mut svg = String::new();
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    {
        let root = SVGBackend::with_string(&mut svg, (900, 1000)).into_drawing_area();
        root.fill(&WHITE).map_err(|e| failed(&e))?;
        let root = root.titled(title, ("sans-serif", 24)).map_err(|e| failed(&e))?;
        let slots = rows.first().map_or(0, |row| row.thresholds.len());
        let theta =
            (0..slots).map(|k| (format!("theta of slot {k}"), rows.iter().map(|row| row.thresholds[k]).collect()));
        let gates = (0..slots).map(|k| (format!("gate of slot {k}"), rows.iter().map(|row| row.sigmoids[k]).collect()));
        let loss = vec![("mean loss of a pair".to_owned(), rows.iter().map(|row| row.loss).collect())];
        let merges = vec![("merges in all".to_owned(), rows.iter().map(|row| row.merges as f64).collect())];
        let panels: [(&str, Vec<Series>); 4] = [
            ("loss", loss),
            ("threshold", theta.collect()),
            ("gate at similarity 0", gates.collect()),
            ("candidates merged", merges),
        ];
        for ((name, series), area) in panels.into_iter().zip(root.split_evenly((4, 1))) {
            panel(&area, name, &series).map_err(|e| failed(&e))?;
        }
        root.present().map_err(|e| failed(&e))?;
    }
    Ok(svg)
}

/// A name and one value an epoch.
type Series = (String, Vec<f64>);

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    name: &str,
    series: &[Series],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let values = || series.iter().flat_map(|(_, values)| values.iter().copied());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let margin = (0.08 * (high - low)).max(0.05);
    let epochs = series.first().map_or(1, |(_, values)| values.len().saturating_sub(1)).max(1);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(24)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0..epochs, low - margin..high + margin)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("epoch").y_desc(name).label_style(("sans-serif", 13)).axis_desc_style(("sans-serif", 15));
    mesh.light_line_style(WHITE).y_labels(6).draw()?;
    for ((label, values), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(values.iter().copied().enumerate(), colour.stroke_width(2));
        let mark = *colour;
        chart
            .draw_series(line)?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], mark.stroke_width(3)));
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::MiddleRight).label_font(("sans-serif", 14));
    labels.background_style(WHITE.mix(0.85)).border_style(RGBColor(180, 180, 180)).draw()
}
