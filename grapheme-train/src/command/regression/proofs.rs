//! The gradient check and the descent on the pairs, on fewer seeds than their own binaries take.

use super::figure::{Better, Figure};
use crate::estimator::EstimatorName;
use crate::lanes::Lanes;
use crate::objective::LossName;
use crate::proof::descent::{DescentSettings, History, descend};
use crate::proof::gradient_check::{Settings, check};
use crate::proof::pairs::Pairs;
use anyhow::Result;
use grapheme_core::Vacuum;

/// The error of finite differences is rounding: it has no digits to compare, only a magnitude.
const GRADIENT_SLACK: f64 = 9.0;

/// Ratios of losses after 100 steps agree to this share on processors that round differently.
const RATIO_SLACK: f64 = 1e-6;

/// Every derivative of every combination, one seed.
pub fn gradients(threads: usize) -> Result<Vec<Figure>> {
    let outcome = check(&Settings { seeds: 1, threads, ..Settings::default() }, &Vacuum, |_, _| ())?;
    let faults = outcome.faults();
    Ok(vec![
        Figure::lower("gradient.max_rel_err", outcome.max_rel_err(), GRADIENT_SLACK),
        Figure::exact("gradient.checked", outcome.checked() as f64, Better::Higher),
        Figure::exact("gradient.faults_planted", faults.planted as f64, Better::Higher),
        Figure::exact("gradient.faults_missed", (faults.planted - faults.caught) as f64, Better::Lower),
    ])
}

/// Plain descent from ten starts under both losses, and the control that must fail.
pub fn descent(threads: usize) -> Result<Vec<Figure>> {
    let (lanes, settings) = (Lanes::new(threads)?, DescentSettings { seeds: 10, ..DescentSettings::default() });
    let run = |loss, estimator, history| descend(&Pairs::new(loss)?, estimator, history, &settings, &lanes, || ());
    let words = run(LossName::Words, EstimatorName::Marginal, History::Kept)?;
    let graph = run(LossName::Graph, EstimatorName::Pathwise, History::Kept)?;
    let control = run(LossName::Graph, EstimatorName::Pathwise, History::Forgotten)?;
    let increases = words.increases.len() + graph.increases.len();
    let misled = control.without_gradient + control.wrong_gradient;
    Ok(vec![
        Figure::exact("descent.increases", increases as f64, Better::Lower),
        Figure::lower("descent.words.worst_final_ratio", words.worst_final_ratio, RATIO_SLACK),
        Figure::lower("descent.graph.worst_final_ratio", graph.worst_final_ratio, RATIO_SLACK),
        Figure::exact("descent.control.contributors_misled", misled as f64, Better::Higher),
    ])
}
