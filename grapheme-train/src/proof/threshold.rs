//! What the learned merge thresholds do while the pairs are learned.

use super::pairs::{PAIRS, Pairs, ProofError};
use crate::estimator::{Crossing, Estimator, EstimatorName};
use crate::optim::{Optimiser, Sgd};
use grapheme_core::check::{Derivative, differentiate};
use grapheme_core::layers::{DropoutKeys, sigmoid};
use grapheme_core::morph::Plan;
use grapheme_core::network::ForwardOptions;
use grapheme_core::{GraphTransformNet, Stream, Vacuum, param};
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
    /// The same by finite differences of the estimator's surrogate.
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
    let stream = Stream::new(settings.seed).fork(CHOICES);
    let share = 1.0 / PAIRS.len() as f64;
    let mut rows = Vec::with_capacity(settings.epochs + 1);
    for epoch in 0..=settings.epochs {
        param::each_mut(&mut grad, |_, _, values| values.fill(0.0));
        // Sampled choices are others in every epoch.
        let keys = DropoutKeys::new(&stream.fork(epoch as u64), 0..PAIRS.len() as u64);
        let pass = Crossing { dropout: Some(&keys), medium: &Vacuum, record: &mut () };
        let estimate = estimator.gradient(&net, &pairs.objective, pairs.task(), pass, &mut grad)?;
        let mean = estimate.losses.iter().sum::<f64>() * share;
        let here = estimate.surrogate(&net, &pairs.objective, pairs.task())?.values.iter().sum::<f64>() * share;
        let thresholds = thresholds(&mut net).to_vec();
        let numeric = (0..thresholds.len()).map(|k| {
            let mut probe = net.clone();
            let at = thresholds[k];
            let derivative: Derivative = differentiate(
                |delta| {
                    self::thresholds(&mut probe)[k] = at + delta;
                    let found = estimate.surrogate(&probe, &pairs.objective, pairs.task());
                    // The same shapes passed a moment ago; were they refused now, the gap would be told.
                    found.map_or(f64::NAN, |found| found.values.iter().sum::<f64>() * share)
                },
                here,
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

/// A purpose of random streams.
const CHOICES: u64 = 3;

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

/// The width of the legend, in pixels: beside the curves, where it covers none.
const LEGEND: u32 = 170;

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    name: &str,
    series: &[Series],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let values = || series.iter().flat_map(|(_, values)| values.iter().copied());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let margin = (0.08 * (high - low)).max(0.05);
    let epochs = series.first().map_or(1, |(_, values)| values.len().saturating_sub(1)).max(1);
    let (curves, legend) = area.split_horizontally(area.dim_in_pixel().0 - LEGEND);
    let mut chart = ChartBuilder::on(&curves)
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0..epochs, low - margin..high + margin)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("epoch").y_desc(name).label_style(("sans-serif", 13)).axis_desc_style(("sans-serif", 15));
    mesh.light_line_style(WHITE).y_labels(6).draw()?;
    for (k, ((label, values), colour)) in series.iter().zip(COLOURS.iter().cycle()).enumerate() {
        chart.draw_series(LineSeries::new(values.iter().copied().enumerate(), colour.stroke_width(2)))?;
        let y = 16 + 22 * k as i32;
        legend.draw(&PathElement::new([(4, y), (22, y)], colour.stroke_width(3)))?;
        legend.draw(&Text::new(label.as_str(), (28, y - 7), ("sans-serif", 14)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The horizontal coordinates of an element: those of `x="..."`, or the first of each pair of `points="..."`.
    fn horizontal(element: &str) -> Vec<f64> {
        let attribute = |name: &str| Some(element.split_once(name)?.1.split_once('"')?.0);
        let points = attribute(" points=\"").into_iter().flat_map(|points| points.split_whitespace());
        let first = points.map(|point| point.split_once(',').expect("x,y").0);
        first.chain(attribute(" x=\"")).map(|x| x.parse().expect("a number")).collect()
    }

    #[test]
    fn the_legend_stands_beside_the_curves() {
        let row = |epoch| Row {
            epoch,
            loss: 4.0 - epoch as f64,
            thresholds: vec![1.0, -1.0, 0.5],
            sigmoids: vec![0.25, 0.5, 0.75],
            analytic: Vec::new(),
            numeric: Vec::new(),
            merges: 3,
        };
        let svg = draw(&[row(0), row(1), row(2)], "title").unwrap();
        let elements: Vec<&str> = svg.split('<').collect();
        let curve = |element: &&&str| element.starts_with("polyline") && element.contains("stroke-width=\"2\"");
        let right = elements.iter().filter(curve).flat_map(|curve| horizontal(curve)).fold(0.0, f64::max);
        assert!(right > 500.0, "no curve in {svg}");
        for label in ["mean loss of a pair", "theta of slot 0", "theta of slot 2", "gate of slot 1", "merges in all"] {
            let text = elements.iter().find(|element| element.contains(label)).expect(label);
            assert!(horizontal(text)[0] > right, "{label} begins at {:?}, curves end at {right}", horizontal(text));
        }
    }
}
