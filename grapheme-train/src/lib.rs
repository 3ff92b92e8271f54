//! x

pub mod checkpoint;
pub mod data;
pub mod estimator;
pub mod event;
pub mod file;
pub mod labelling;
pub mod lanes;
pub mod loss;
pub mod metrics;
pub mod objective;
pub mod optim;
pub mod prepare;
pub mod proof;
pub mod reader;
pub mod run;
pub mod screen;
pub mod settings;
pub mod trainer;
pub mod transducer;
