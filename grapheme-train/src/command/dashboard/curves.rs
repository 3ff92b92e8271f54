//! Curves as SVG, and their numbers for whoever points at them.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use serde::Serialize;
use std::ops::Range;

/// A name, its colour and its points.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// What it shows.
    pub name: String,
    #[serde(serialize_with = "as_hex")]
    colour: RGBColor,
    /// Behind the others.
    faint: bool,
    /// In order.
    points: Vec<(f64, f64)>,
}

/// Curves over one axis, drawn for a wide and for a narrow window.
#[derive(Debug, Serialize)]
pub struct Plot {
    axis: &'static str,
    wide: Drawing,
    narrow: Drawing,
    x: Range<f64>,
    y: Range<f64>,
    /// Whether the vertical axis is logarithmic.
    log: bool,
    curves: Vec<Curve>,
}

/// An SVG, and where in it the axes begin and end: left, top, right, bottom.
#[derive(Debug, Serialize)]
struct Drawing {
    svg: String,
    frame: [i32; 4],
}

/// What all curves of a plot span.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    x: (f64, f64),
    y: (f64, f64),
}

/// Colours that stay apart in print and for most eyes (Okabe and Ito, 2008).
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
/// The second of them.
pub const ORANGE: RGBColor = RGBColor(213, 94, 0);
/// A fainter blue.
pub const SKY: RGBColor = RGBColor(86, 180, 233);

/// Points of a curve at most: about two a pixel.
const POINTS: usize = 1400;

/// Where the largest value is so many times the smallest, the axis is logarithmic.
const DECADES: f64 = 20.0;

impl Curve {
    /// Of the points that are numbers, thinned so that peaks stay.
    pub fn new(name: &str, colour: RGBColor, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let finite: Vec<(f64, f64)> = points.into_iter().filter(|p| p.1.is_finite()).collect();
        Self { name: name.to_owned(), colour, faint: false, points: thinned(&finite) }
    }

    /// The same, behind the others.
    pub fn faint(self) -> Self {
        Self { faint: true, ..self }
    }
}

/// From violet over teal to green: the `i`-th of `n` things that stand in a row.
pub fn ramp(i: usize, n: usize) -> RGBColor {
    const STOPS: [[f64; 3]; 4] =
        [[120.0, 70.0, 160.0], [59.0, 110.0, 175.0], [33.0, 145.0, 140.0], [94.0, 180.0, 70.0]];
    let at = 3.0 * i as f64 / n.saturating_sub(1).max(1) as f64;
    let (from, part) = ((at as usize).min(2), at - at.floor().min(2.0));
    let mix = |k: usize| (STOPS[from][k] + part * (STOPS[from + 1][k] - STOPS[from][k])).round() as u8;
    RGBColor(mix(0), mix(1), mix(2))
}

/// What curves span together; none without a point.
pub fn extent<'a>(curves: impl IntoIterator<Item = &'a Curve>) -> Option<Extent> {
    let mut extent: Option<Extent> = None;
    for &(x, y) in curves.into_iter().flat_map(|curve| &curve.points) {
        let Extent { x: (left, right), y: (low, high) } = extent.unwrap_or(Extent { x: (x, x), y: (y, y) });
        extent = Some(Extent { x: (left.min(x), right.max(x)), y: (low.min(y), high.max(y)) });
    }
    extent
}

/// Draws the curves over one axis. What the plotting library refuses is none.
pub fn draw(curves: &[Curve], axis: &'static str, extent: Extent) -> Option<Plot> {
    let Extent { x: (left, right), y: (low, high) } = extent;
    let log = low > 0.0 && high > DECADES * low;
    let x = widened(left, right);
    let y = if log { low / 1.15..high * 1.15 } else { widened(low, high) };
    let drawing = |size| {
        let (x, mut svg) = (x.clone(), String::new());
        let frame = match log {
            true => chart(&mut svg, size, curves, axis, x, y.clone().log_scale(), low),
            false => chart(&mut svg, size, curves, axis, x, y.clone(), (y.end - y.start) / 10.0),
        };
        frame.ok().map(|frame| Drawing { svg, frame })
    };
    let (wide, narrow) = (drawing((720, 260))?, drawing((360, 230))?);
    Some(Plot { axis, wide, narrow, x, y, log, curves: curves.to_vec() })
}

/// A range with a margin, also where it is a point.
fn widened(low: f64, high: f64) -> Range<f64> {
    let margin = if high > low { 0.03 * (high - low) } else { (0.1 * high.abs()).max(1e-9) };
    low - margin..high + margin
}

type Refused = Box<dyn std::error::Error>;

fn chart<Y>(
    svg: &mut String,
    size: (u32, u32),
    curves: &[Curve],
    axis: &str,
    x: Range<f64>,
    y: Y,
    finest: f64,
) -> Result<[i32; 4], Refused>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let area = SVGBackend::with_string(svg, size).into_drawing_area();
    let mut builder = ChartBuilder::on(&area);
    builder.margin(8).x_label_area_size(34).y_label_area_size(52);
    let mut chart = builder.build_cartesian_2d(x, y)?;
    let labels = if size.0 > 500 { 9 } else { 5 };
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(axis).x_labels(labels).y_labels(6).light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.1));
    // Steps and epochs are counted.
    mesh.x_label_formatter(&|x| if (x - x.round()).abs() < 1e-6 { format!("{x:.0}") } else { String::new() });
    mesh.y_label_formatter(&|y| short(*y, finest)).draw()?;
    for curve in curves {
        let style = if curve.faint { curve.colour.mix(0.3).stroke_width(1) } else { curve.colour.stroke_width(2) };
        chart.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
        if curve.points.len() <= 40 {
            chart.draw_series(curve.points.iter().map(|&point| Circle::new(point, 3, curve.colour.filled())))?;
        }
    }
    let (x, y) = chart.plotting_area().get_pixel_range();
    drop(chart);
    area.present()?;
    drop(area);
    Ok([x.start, y.start, x.end, y.end])
}

/// A number for an axis on which differences of `finest` can be seen, without digits that say nothing.
fn short(y: f64, finest: f64) -> String {
    if y.abs() >= 1e5 || (y != 0.0 && y.abs() < 1e-4) {
        return format!("{y:.0e}");
    }
    let digits = (-finest.log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{y:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The smallest and the largest of as many neighbours as are needed to fit.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let ends = |part: &[(f64, f64)]| {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (*part.iter().min_by(by).unwrap_or(&part[0]), *part.iter().max_by(by).unwrap_or(&part[0]));
        if low.0 < high.0 { [low, high] } else { [high, low] }
    };
    points.chunks(points.len().div_ceil(POINTS / 2)).flat_map(ends).collect()
}

fn as_hex<S: serde::Serializer>(RGBColor(r, g, b): &RGBColor, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("#{r:02X}{g:02X}{b:02X}"))
}
