//! The gradient check, on fewer seeds than its own binary takes.

use crate::figure::{Better, Figure};
use anyhow::Result;
use grapheme_core::Vacuum;
use grapheme_train::proof::gradient_check::{Settings, check};

/// The error of finite differences is rounding: it has no digits to compare, only a magnitude.
const GRADIENT_SLACK: f64 = 9.0;

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
