//! The energy of gradients over a run: a map of it, and its ledger.

use grapheme_core::BoundaryFigures;
use serde::Serialize;

/// Figures by step and boundary.
#[derive(Debug, Serialize)]
pub struct Map {
    /// First and last step of each column.
    steps: Vec<(u64, u64)>,
    figures: Vec<Figure>,
}

/// One figure by column and boundary; none where there is none.
#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    /// Whether cells are logarithms to base 10.
    log: bool,
    cells: Vec<Vec<Option<f64>>>,
}

/// The ledger of one boundary, a mean over steps.
#[derive(Debug, Serialize)]
pub struct Entry {
    boundary: usize,
    rows: f64,
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
    phase_spread: f64,
    coherence: Option<f64>,
    gate: Option<f64>,
    jacobian: Option<f64>,
}

/// Columns of the map at most: more than there are points on most screens.
const COLUMNS: usize = 1000;

type Steps<'a> = [(u64, &'a [BoundaryFigures])];

/// All figures that say anything, as means over as many steps a column as are needed to fit; none without a step.
pub fn map(told: &Steps<'_>) -> Option<Map> {
    let boundaries = told.last()?.1.len();
    let columns: Vec<&Steps<'_>> = told.chunks(told.len().div_ceil(COLUMNS)).collect();
    let cells = |of: &dyn Fn(&[&BoundaryFigures]) -> Option<f64>| {
        let column = |steps: &&Steps<'_>| {
            let cell = |b: usize| {
                let figures: Vec<&BoundaryFigures> = steps.iter().map(|(_, figures)| &figures[b]).collect();
                of(&figures).filter(|value| value.is_finite()).map(rounded)
            };
            (0..boundaries).map(cell).collect::<Vec<_>>()
        };
        columns.iter().map(column).collect::<Vec<_>>()
    };
    let sum = |steps: &[&BoundaryFigures], of: fn(&BoundaryFigures) -> f64| steps.iter().map(|f| of(f)).sum::<f64>();
    let share = |of: fn(&BoundaryFigures) -> f64| {
        cells(&|steps| {
            let came = sum(steps, |f| f.energy_in);
            (came > 0.0).then(|| 100.0 * sum(steps, of) / came)
        })
    };
    let mean = |of: fn(&BoundaryFigures) -> Option<f64>| {
        cells(&|steps| {
            let known: Vec<f64> = steps.iter().filter_map(|f| of(f)).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        })
    };
    let energy = cells(&|steps| {
        let mean = sum(steps, |f| f.energy_out + f.quadrature) / sum(steps, |f| f.rows as f64).max(1.0);
        (mean > 0.0).then(|| mean.log10())
    });
    let mut figures = vec![Figure { name: "energy a row", unit: "", log: true, cells: energy }];
    // Figures that are the same everywhere tell nothing.
    let mut tell = |name, unit, dull: f64, cells: Vec<Vec<Option<f64>>>| {
        if cells.iter().flatten().flatten().any(|&value| (value - dull).abs() > 1e-9) {
            figures.push(Figure { name, unit, log: false, cells });
        }
    };
    tell("passes", "%", 100.0, share(|f| f.energy_out + f.quadrature));
    tell("absorbed", "%", 0.0, share(|f| f.absorbed));
    tell("reflected", "%", 0.0, share(|f| f.reflected));
    tell("diffused", "%", 0.0, share(|f| f.diffused));
    tell("refraction, mean angle", "°", 0.0, mean(|f| Some(f.angle_mean.to_degrees())));
    tell("refraction, largest angle", "°", 0.0, mean(|f| Some(f.angle_max.to_degrees())));
    tell("phase spread", "", 0.0, mean(|f| Some(f.phase_spread)));
    tell("coherence", "", f64::INFINITY, mean(|f| f.coherence));
    tell("gate", "", f64::INFINITY, mean(|f| f.gate));
    tell("derivative by the gate", "", f64::INFINITY, mean(|f| f.jacobian));
    let steps = columns.iter().map(|steps| (steps[0].0, steps[steps.len() - 1].0)).collect();
    Some(Map { steps, figures })
}

/// Four digits: finer than any eye.
pub fn rounded(x: f64) -> f64 {
    if x == 0.0 { x } else { format!("{x:.3e}").parse().unwrap_or(x) }
}

/// The ledger of a boundary over the last quarter of the steps.
pub fn entry(told: &Steps<'_>, boundary: usize) -> Entry {
    let late = &told[told.len() - told.len().div_ceil(4)..];
    let mean = |of: fn(&BoundaryFigures) -> f64| {
        late.iter().map(|(_, figures)| of(&figures[boundary])).sum::<f64>() / late.len().max(1) as f64
    };
    let last = told.last().map(|(_, figures)| &figures[boundary]);
    Entry {
        boundary,
        rows: mean(|f| f.rows as f64),
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
        phase_spread: mean(|f| f.phase_spread),
        coherence: last.and_then(|f| f.coherence),
        gate: last.and_then(|f| f.gate),
        jacobian: last.and_then(|f| f.jacobian),
    }
}
