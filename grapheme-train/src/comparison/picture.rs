//! Both halves of the comparison as one picture.

use super::curves::Curve;
use super::judge::Judged;
use crate::estimator::EstimatorName;
use crate::objective::LossName;
use plotters::coord::Shift;
use plotters::prelude::*;

/// Colours that stay apart in print and for most eyes (Okabe and Ito, 2008), one an estimator.
fn colour(estimator: EstimatorName) -> RGBColor {
    match estimator {
        EstimatorName::Marginal => RGBColor(0, 114, 178),
        EstimatorName::Pathwise => RGBColor(204, 121, 167),
        EstimatorName::StraightThrough => RGBColor(213, 94, 0),
        EstimatorName::StraightThroughLogit => RGBColor(0, 158, 115),
        EstimatorName::Reinforce => RGBColor(86, 86, 86),
    }
}

const HEAD: i32 = 76;

/// Draws, as SVG: above, how well the gradient of the gates of each estimator points along that of `E[L]` and how noisy it is;
/// below, the error rates of training, one panel a data set, the median over seeds with its range.
///
/// # Errors
/// What the plotting library says; nothing is known that would make it fail for finite numbers.
pub fn draw(judged: &[Judged], curves: &[Curve]) -> Result<String, String> {
    let mut svg = String::new();
    let outcome = {
        let root = SVGBackend::with_string(&mut svg, (1100, 840)).into_drawing_area();
        paint(&root, judged, curves).map_err(|error| error.to_string())
    };
    outcome.map(|()| svg)
}

type Failure<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;

fn paint<B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    judged: &[Judged],
    curves: &[Curve],
) -> Result<(), Failure<B>> {
    root.fill(&WHITE)?;
    let title = "Gradients through merges that are all or nothing";
    root.draw(&Text::new(title, (20, 14), ("sans-serif", 24)))?;
    for (i, estimator) in EstimatorName::ALL.into_iter().enumerate() {
        let x = 20 + 205 * i as i32;
        root.draw(&Rectangle::new([(x, 50), (x + 22, 62)], colour(estimator).filled()))?;
        root.draw(&Text::new(estimator.to_string(), (x + 30, 48), ("sans-serif", 16)))?;
    }
    let (_, below) = root.split_vertically(HEAD);
    let (upper, lower) = below.split_vertically(360);
    let cells = upper.split_evenly((1, 2));
    bars(&cells[0], "direction: cosine with the exact gradient of E[L]", judged, |one| one.expectation_whole().cosine)?;
    bars(&cells[1], "noise: standard deviation / length of that gradient", judged, |one| {
        one.expectation_whole().variance.sqrt()
    })?;
    let mut names: Vec<&str> = curves.iter().map(|curve| curve.data.as_str()).collect();
    names.dedup();
    for (name, area) in names.iter().zip(lower.split_evenly((1, names.len().max(1)))) {
        let own: Vec<&Curve> = curves.iter().filter(|curve| curve.data == *name).collect();
        panel(&area, name, &own)?;
    }
    root.present()
}

/// A group of bars for each loss, set and state of training; a bar for each estimator.
fn bars<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    judged: &[Judged],
    figure: impl Fn(&Judged) -> f64,
) -> Result<(), Failure<B>> {
    let key = |one: &Judged| (one.loss, one.subject.clone(), one.trained);
    let mut groups: Vec<(LossName, String, usize)> = judged.iter().map(key).collect();
    groups.dedup();
    let most = judged.iter().map(&figure).filter(|x| x.is_finite()).fold(1.0, f64::max);
    let least = judged.iter().map(&figure).filter(|x| x.is_finite()).fold(0.0, f64::min);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(58)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..groups.len() as f64, least * 1.05..most * 1.05)?;
    chart.configure_mesh().disable_x_mesh().disable_x_axis().light_line_style(WHITE).y_labels(6).draw()?;
    let width = 0.8 / EstimatorName::ALL.len() as f64;
    for (g, group) in groups.iter().enumerate() {
        for (e, estimator) in EstimatorName::ALL.into_iter().enumerate() {
            let found = judged.iter().find(|one| key(one) == *group && one.estimator == estimator.to_string());
            if let Some(value) = found.map(&figure).filter(|value| value.is_finite()) {
                let left = g as f64 + 0.1 + e as f64 * width;
                let corners = [(left, 0.0), (left + 0.9 * width, value)];
                chart.draw_series([Rectangle::new(corners, colour(estimator).filled())])?;
            }
        }
        let (loss, subject, trained) = group;
        let (x, y) = chart.backend_coord(&(g as f64 + 0.1, least * 1.05));
        let (left, top) = area.get_base_pixel();
        let state = if *trained == 0 { "fresh".to_owned() } else { format!("after {trained} steps") };
        for (line, text) in [format!("{loss} loss"), subject.clone(), state].into_iter().enumerate() {
            area.draw(&Text::new(text, (x - left, y - top + 6 + 16 * line as i32), ("sans-serif", 13)))?;
        }
    }
    Ok(())
}

/// Error rates over epochs.
fn panel<B: DrawingBackend>(area: &DrawingArea<B, Shift>, name: &str, curves: &[&Curve]) -> Result<(), Failure<B>> {
    let epochs = curves.iter().map(|curve| curve.wer.len()).max().unwrap_or(1).max(2);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("training on {name}"), ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(48)
        .build_cartesian_2d(1..epochs, 0.0..102.0)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("epoch").y_desc("word error rate, %").light_line_style(WHITE).draw()?;
    for estimator in EstimatorName::ALL {
        let own: Vec<&Curve> = curves.iter().copied().filter(|curve| curve.estimator == estimator).collect();
        let at = |epoch: usize| {
            let mut rates: Vec<f64> = own.iter().filter_map(|curve| curve.wer.get(epoch).copied()).collect();
            rates.sort_by(f64::total_cmp);
            (!rates.is_empty()).then(|| (rates[0], rates[rates.len() / 2], rates[rates.len() - 1]))
        };
        let rates: Vec<(usize, (f64, f64, f64))> = (0..epochs).filter_map(|e| Some((e + 1, at(e)?))).collect();
        let outline = rates.iter().map(|&(e, (low, ..))| (e, low));
        let outline = outline.chain(rates.iter().rev().map(|&(e, (.., high))| (e, high)));
        chart.draw_series([Polygon::new(outline.collect::<Vec<_>>(), colour(estimator).mix(0.12).filled())])?;
        let median = rates.iter().map(|&(e, (_, median, _))| (e, median));
        chart.draw_series(LineSeries::new(median, colour(estimator).stroke_width(3)))?;
    }
    Ok(())
}
