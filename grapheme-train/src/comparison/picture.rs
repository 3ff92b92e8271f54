//! Both halves of the comparison as one picture.

use super::curves::Curve;
use super::judge::{Judged, SUBJECTS};
use crate::estimator::EstimatorName;
use crate::objective::LossName;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

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

const GREY: RGBColor = RGBColor(120, 120, 120);
const SIZE: (u32, u32) = (1280, 900);
/// Where the rows of the upper half begin, and how far apart they are.
const ROWS: (i32, i32) = (176, 46);
/// Where the columns of the upper half begin, how far apart and how wide they are.
const COLUMNS: (i32, i32, i32) = (210, 215, 170);
const LOWER: i32 = 470;

/// A figure of every estimator, on an axis of its own.
struct Column {
    heading: [&'static str; 2],
    loss: LossName,
    /// What is best, in a few words.
    best: &'static str,
    axis: Axis,
    figure: fn(&Judged) -> f64,
}

enum Axis {
    /// From -1 to 1.
    Cosine,
    /// From 0 to a little more than the largest.
    Positive,
}

const DIRECTION: &str = "1 is exact, below 0 uphill";

const FIGURES: [Column; 5] = [
    Column {
        heading: ["words loss: direction", "cosine, whole gradient"],
        loss: LossName::Words,
        best: DIRECTION,
        axis: Axis::Cosine,
        figure: |one| one.expectation_whole().cosine,
    },
    Column {
        heading: ["words loss: direction", "cosine, merge gates alone"],
        loss: LossName::Words,
        best: DIRECTION,
        axis: Axis::Cosine,
        figure: Judged::gate_cosine,
    },
    Column {
        heading: ["graph loss: direction", "cosine, whole gradient"],
        loss: LossName::Graph,
        best: DIRECTION,
        axis: Axis::Cosine,
        figure: |one| one.expectation_whole().cosine,
    },
    Column {
        heading: ["words loss: noise", "st. dev. over length of exact"],
        loss: LossName::Words,
        best: "0 is best",
        axis: Axis::Positive,
        figure: |one| one.expectation_whole().variance.sqrt(),
    },
    Column {
        heading: ["words loss: cost", "milliseconds a gradient"],
        loss: LossName::Words,
        best: "less is better",
        axis: Axis::Positive,
        figure: |one| one.milliseconds,
    },
];

/// Draws, as SVG: above, how well the gradient of each estimator points along that of `E[L]`, how noisy it is and what it costs;
/// below, the error rates of training, one panel a data set, the median over seeds with its range.
///
/// # Errors
/// What the plotting library says; nothing is known that would make it fail for finite numbers.
pub fn draw(judged: &[Judged], curves: &[Curve]) -> Result<String, String> {
    let mut svg = String::new();
    let outcome = {
        let height = if curves.is_empty() { LOWER as u32 } else { SIZE.1 };
        let root = SVGBackend::with_string(&mut svg, (SIZE.0, height)).into_drawing_area();
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
    say(root, "Which gradient to trust where every choice is to merge or to stay", (20, 16), 24, BLACK, HPos::Left)?;
    let above = "The gradient of each estimator, its mean where it is sampled, against that of the expected loss E[L], summed over all choices.";
    say(root, above, (20, 52), 15, BLACK, HPos::Left)?;
    let trained = judged.iter().map(|one| one.trained).max().unwrap_or(0);
    let marks = if trained > 0 { format!(", filled: after {trained} steps of training") } else { String::new() };
    let texts: Vec<&str> = SUBJECTS.iter().map(|subject| subject.name).collect();
    let marks = format!("Open mark: fresh network{marks}. Circles: {}; squares: {}.", texts[0], texts[1]);
    say(root, &marks, (20, 74), 15, GREY, HPos::Left)?;
    for (estimator, y) in EstimatorName::ALL.into_iter().zip((ROWS.0..).step_by(ROWS.1 as usize)) {
        say(root, &estimator.to_string(), (COLUMNS.0 - 24, y - 8), 16, colour(estimator), HPos::Right)?;
    }
    for (column, left) in FIGURES.iter().zip((COLUMNS.0..).step_by(COLUMNS.1 as usize)) {
        dots(root, left, column, judged)?;
    }
    if curves.is_empty() {
        return root.present();
    }
    let seeds = curves.iter().map(|curve| curve.seed).max().unwrap_or(1);
    let of_seeds = match seeds {
        1 => "One seed.".to_owned(),
        _ => format!("Lines: median of {seeds} seeds; shades: best to worst."),
    };
    let below = format!(
        "The same small network trained under each: word error rate after each epoch, lower is better. {of_seeds}"
    );
    say(root, &below, (20, LOWER - 14), 15, BLACK, HPos::Left)?;
    let (_, lower) = root.split_vertically(LOWER + 6);
    let mut names: Vec<&str> = curves.iter().map(|curve| curve.title.as_str()).collect();
    names.dedup();
    for (name, area) in names.iter().zip(lower.split_evenly((1, names.len()))) {
        let own: Vec<&Curve> = curves.iter().filter(|curve| curve.title == *name).collect();
        panel(&area, name, &own)?;
    }
    root.present()
}

/// A line of text; `at` is its upper left corner, or its upper right one.
fn say<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    text: &str,
    at: (i32, i32),
    size: i32,
    colour: RGBColor,
    side: HPos,
) -> Result<(), Failure<B>> {
    let style = ("sans-serif", size).into_font().color(&colour).pos(Pos::new(side, VPos::Top));
    area.draw(&Text::new(text.to_owned(), at, style))
}

/// One figure: a row for each estimator, a mark for each set of texts and state of training.
fn dots<B: DrawingBackend>(
    root: &DrawingArea<B, Shift>,
    left: i32,
    column: &Column,
    judged: &[Judged],
) -> Result<(), Failure<B>> {
    let width = COLUMNS.2;
    let own: Vec<(&Judged, f64)> = judged
        .iter()
        .filter(|one| one.loss == column.loss)
        .map(|one| (one, (column.figure)(one)))
        .filter(|(_, value)| value.is_finite())
        .collect();
    let (low, high) = match column.axis {
        Axis::Cosine => (-1.0, 1.0),
        Axis::Positive => (0.0, own.iter().map(|&(_, value)| value).fold(1e-3, f64::max) * 1.05),
    };
    let x = |value: f64| left + ((value - low) / (high - low) * f64::from(width)).round() as i32;
    let (top, bottom) = (ROWS.0 - 22, ROWS.0 + ROWS.1 * (EstimatorName::ALL.len() as i32 - 1) + 22);
    for (line, text) in column.heading.into_iter().enumerate() {
        let shade = if line == 0 { BLACK } else { GREY };
        say(root, text, (left, top - 46 + 18 * line as i32), 15, shade, HPos::Left)?;
    }
    let middle = (low + high) / 2.0;
    for value in [low, middle, high] {
        root.draw(&PathElement::new([(x(value), top), (x(value), bottom)], RGBColor(215, 215, 215)))?;
        let label = match column.axis {
            Axis::Cosine => format!("{value:.0}"),
            Axis::Positive if high < 1.0 => format!("{value:.2}"),
            Axis::Positive => format!("{value:.1}"),
        };
        say(root, &label, (x(value), bottom + 4), 13, GREY, HPos::Center)?;
    }
    say(root, column.best, (left + width / 2, bottom + 22), 13, GREY, HPos::Center)?;
    for (estimator, y) in EstimatorName::ALL.into_iter().zip((ROWS.0..).step_by(ROWS.1 as usize)) {
        root.draw(&PathElement::new([(left, y), (left + width, y)], RGBColor(235, 235, 235)))?;
        let marks: Vec<_> = own.iter().filter(|(one, _)| one.estimator == estimator.to_string()).collect();
        if marks.is_empty() {
            say(root, "not defined", (left + width / 2, y - 7), 13, GREY, HPos::Center)?;
        }
        for (one, value) in marks {
            let ink = colour(estimator);
            let style = if one.trained > 0 { ink.filled() } else { ink.stroke_width(2) };
            let at = (x(*value), y);
            if one.subject == SUBJECTS[0].name {
                root.draw(&Circle::new(at, 5, style))?;
            } else {
                root.draw(&Rectangle::new([(at.0 - 5, at.1 - 5), (at.0 + 5, at.1 + 5)], style))?;
            }
        }
    }
    Ok(())
}

/// The room for names at the ends of the lines.
const NAMES: u32 = 170;

/// Error rates over epochs.
fn panel<B: DrawingBackend>(area: &DrawingArea<B, Shift>, title: &str, curves: &[&Curve]) -> Result<(), Failure<B>> {
    let epochs = curves.iter().map(|curve| curve.wer.len()).max().unwrap_or(1).max(2);
    say(area, title, (20, 6), 16, BLACK, HPos::Left)?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(34)
        .margin_left(8)
        .margin_bottom(6)
        .margin_right(NAMES)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(1..epochs, 0.0..102.0)?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("epoch").y_desc("word error rate, %").light_line_style(WHITE).y_labels(6).draw()?;
    let mut ends = Vec::new();
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
        ends.extend(
            rates.last().map(|&(epoch, (_, median, _))| (estimator, median, chart.backend_coord(&(epoch, median)))),
        );
    }
    // The names stand where the lines end, and make room for each other from the top down, then from the bottom up.
    ends.sort_by_key(|&(.., (_, y))| y);
    let mut places: Vec<i32> = ends.iter().map(|&(.., (_, y))| y).collect();
    let lowest = chart.backend_coord(&(1, 0.0)).1;
    for i in 1..places.len() {
        places[i] = places[i].max(places[i - 1] + 16);
    }
    for i in (0..places.len()).rev() {
        let below = places.get(i + 1).map_or(lowest, |below| below - 16);
        places[i] = places[i].min(below);
    }
    let (left, top) = area.get_base_pixel();
    for ((estimator, median, (x, _)), y) in ends.into_iter().zip(places) {
        let name = format!("{estimator} {median:.0}");
        say(area, &name, (x - left + 6, y - top - 7), 14, colour(estimator), HPos::Left)?;
    }
    Ok(())
}
