//! Curves as SVG.

use plotters::prelude::*;

/// A name and its points.
pub type Curve = (String, Vec<(f64, f64)>);

/// Colours that stay apart in print and for most eyes (Okabe and Ito, 2008), without black and yellow.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// Points of a curve at most: about two a pixel.
const POINTS: usize = 1500;

/// Draws the curves over one axis. Values that are no numbers are left out; nothing to draw is an empty string, and so is
/// what the plotting library refuses.
pub fn draw(curves: &[Curve], axis: &str) -> String {
    let curves: Vec<Curve> = curves.iter().map(|(name, points)| (name.clone(), thinned(points))).collect();
    let all = || curves.iter().flat_map(|(_, points)| points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = all().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let margin = 0.03 * (high - low).max(1e-9 * high.abs()).max(1e-12);
        low - margin..high + margin
    };
    if all().next().is_none() {
        return String::new();
    }
    let mut text = String::new();
    let drawn = (|| -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(&mut text, (720, 260)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(56)
            .build_cartesian_2d(range(|p| p.0), range(|p| p.1))?;
        chart.configure_mesh().x_desc(axis).light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.1)).draw()?;
        for (i, (name, points)) in curves.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let series = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
            if curves.len() > 1 {
                series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
            }
        }
        if curves.len() > 1 {
            chart.configure_series_labels().border_style(BLACK.mix(0.2)).draw()?;
        }
        area.present()?;
        Ok(())
    })();
    if drawn.is_ok() { text } else { String::new() }
}

/// Means of as many neighbours as are needed to fit.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points.iter().copied().filter(|p| p.1.is_finite()).collect();
    let mean = |part: &[(f64, f64)]| {
        let n = part.len() as f64;
        (part[part.len() - 1].0, part.iter().map(|p| p.1).sum::<f64>() / n)
    };
    finite.chunks(finite.len().div_ceil(POINTS).max(1)).map(mean).collect()
}
