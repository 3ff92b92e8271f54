//! Prediction of the next frame of a two-dimensional field.
//!
//! Read [`pattern`] first: the sequences. [`bands`] splits a frame into radial bands of its spectrum. [`recurrence`] holds
//! the rules that continue a sequence, each fitted in closed form; [`forecast`] blends them by the errors they have
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
