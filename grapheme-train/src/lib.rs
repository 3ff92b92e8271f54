//! x

pub mod checkpoint;
pub mod data;
pub mod event;
pub mod file;
pub mod lanes;
pub mod loss;
pub mod metrics;
pub mod optim;
pub mod run;
pub mod screen;
