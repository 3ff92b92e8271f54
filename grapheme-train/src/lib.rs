//! x

pub mod checkpoint;
pub mod file;
pub mod lanes;
pub mod optim;
