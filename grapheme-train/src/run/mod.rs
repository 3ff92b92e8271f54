//! A run is a folder: its configuration, its metrics, its model, and the state that resumes it.

mod folder;
mod metrics;

pub(crate) use folder::CALIBRATION;
pub use folder::{RunError, RunFolder};
pub use metrics::{MetricsError, MetricsLog, lock, read_metrics};
