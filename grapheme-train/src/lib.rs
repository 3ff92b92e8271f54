//! x

pub mod checkpoint;
pub mod event;
pub mod file;
pub mod lanes;
pub mod optim;
pub mod run;
pub mod screen;
