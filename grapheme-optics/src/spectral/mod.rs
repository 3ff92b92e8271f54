//! Prediction of the next frame of a two-dimensional field.
//!
//! Read [`pattern`] first: the sequences. [`bands`] splits a frame into radial bands of its spectrum. [`recurrence`] holds
//! the rules that continue a sequence, all but one fitted in closed form; [`forecast`] blends them by the errors they have
//! just made ([`blend`]).
//!
//! Sizes: a frame is h x w, P = h w pixels; T frames of history.

pub mod attention;
pub mod bands;
pub mod blend;
pub mod convolution;
pub mod error;
pub mod forecast;
pub mod history;
pub mod loss;
pub mod network;
pub mod pattern;
pub mod predictor;
pub mod protocol;
pub mod recurrence;
mod solve;
pub mod wave;

pub use bands::{Bands, Partition};
pub use blend::{Blend, BlendSettings};
pub use error::FieldError;
pub use forecast::{Experience, Forecast, ForecastSettings, mean_squared_error};
pub use history::History;
pub use loss::Loss;
pub use pattern::{Pattern, Variation};
pub use predictor::{Predictor, PredictorSettings};

/// Fails unless a gradient, block by block, is the numeric one to 1e-6, and a fault of 1% in any block would be seen.
#[cfg(test)]
fn proved(
    numeric: &grapheme_core::check::NumericGradient,
    found: &std::collections::BTreeMap<String, Vec<f64>>,
    of: &str,
) {
    let report = numeric.compare(1e-6, |name| &found[name]);
    assert!(report.passed() && report.blocks.iter().all(|block| block.checked > 0), "{of}\n{report}");
    for name in found.keys() {
        let mut wrong = found.clone();
        wrong.get_mut(name).unwrap().iter_mut().for_each(|d| *d *= 1.01);
        assert!(!numeric.compare(1e-6, |name| &wrong[name]).passed(), "a fault in {name} passes");
    }
}
