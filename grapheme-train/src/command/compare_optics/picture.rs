//! Loss curves and energies as a picture.

use super::row::{Outcome, Row};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Colours that stay apart in print and for most eyes (Okabe and Ito, 2008), one a way.
const COLOURS: [RGBColor; 7] = [
    RGBColor(86, 86, 86),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];

/// Neighbouring steps whose mean is one point of a curve.
const SMOOTH: usize = 10;

/// Draws, as SVG: left, the loss of each way over the steps, the mean over its runs; right, the energy a row behind each
/// boundary from the loss down, the geometric mean over its runs.
pub(super) fn draw(rows: &[Row]) -> Result<String, String> {
    let mut svg = String::new();
    let outcome = {
        let root = SVGBackend::with_string(&mut svg, (1100, 460)).into_drawing_area();
        paint(&root, rows).map_err(|error| error.to_string())
    };
    outcome.map(|()| svg)
}

type Failure<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;
type Points = Vec<(f64, f64)>;

fn paint<B: DrawingBackend>(root: &DrawingArea<B, Shift>, rows: &[Row]) -> Result<(), Failure<B>> {
    root.fill(&WHITE)?;
    for (i, (row, colour)) in rows.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let (x, y) = (20 + 265 * (i as i32 % 4), 10 + 20 * (i as i32 / 4));
        root.draw(&Rectangle::new([(x, y + 2), (x + 22, y + 14)], colour.filled()))?;
        root.draw(&Text::new(format!("{}, rate {}", row.name, row.rate), (x + 30, y), ("sans-serif", 15)))?;
    }
    let (_, below) = root.split_vertically(50);
    let cells = below.split_evenly((1, 2));
    panel(&cells[0], "step", "loss of an example", &rows.iter().map(loss).collect::<Vec<_>>())?;
    // Plotted by exponent: they span dozens of orders of magnitude.
    panel(&cells[1], "boundary", "energy a row, power of 10", &rows.iter().map(energies).collect::<Vec<_>>())?;
    root.present()
}

/// The runs that stayed finite: what a run breaks with would press all others against the axis.
fn whole(row: &Row) -> Vec<&Outcome> {
    row.runs.iter().filter(|run| run.loss.is_finite()).collect()
}

fn loss(row: &Row) -> Points {
    let runs = whole(row);
    let steps = runs.iter().map(|run| run.curve.len()).max().unwrap_or(0);
    let part = |first: usize| {
        let of = |curve: &Vec<f64>| curve[first.min(curve.len())..(first + SMOOTH).min(curve.len())].to_vec();
        let all: Vec<f64> = runs.iter().flat_map(|run| of(&run.curve)).filter(|x| x.is_finite()).collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        ((first + SMOOTH / 2) as f64, mean)
    };
    (0..steps).step_by(SMOOTH).map(part).collect()
}

fn energies(row: &Row) -> Points {
    let runs = whole(row);
    let boundaries = runs.iter().map(|run| run.energies.len()).min().unwrap_or(0);
    let exponent = |boundary: usize| {
        let all: Vec<f64> = runs.iter().map(|run| run.energies[boundary].log10()).filter(|x| x.is_finite()).collect();
        (boundary as f64, all.iter().sum::<f64>() / all.len() as f64)
    };
    (0..boundaries).map(exponent).collect()
}

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    across: &str,
    up: &str,
    curves: &[Points],
) -> Result<(), Failure<B>> {
    let curves: Vec<Points> =
        curves.iter().map(|points| points.iter().copied().filter(|(_, y)| y.is_finite()).collect()).collect();
    let range = |of: fn(&(f64, f64)) -> f64| {
        let all = curves.iter().flatten().map(of);
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let margin = 0.03 * (high - low).max(1e-3);
        low - margin..high + margin
    };
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(range(|p| p.0), range(|p| p.1))?;
    chart.configure_mesh().x_desc(across).y_desc(up).light_line_style(WHITE).draw()?;
    for (points, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
    }
    Ok(())
}
