//! x

pub mod data;
pub mod metrics;
