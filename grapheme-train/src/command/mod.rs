//! The command line: one module for each binary, which is nothing but a call of its `main`.
//!
//! They live in the library so that what they share is compiled once, and not again for each of them.

pub mod benchmark_words;
pub mod compare_estimators;
pub mod compare_optics;
pub mod dashboard;
pub mod distill;
pub mod doctor;
pub mod evaluate;
pub mod generate;
pub mod graph_distance;
pub mod infer;
pub mod lens;
mod node_field;
pub mod regression;
pub mod test_gradient_check;
pub mod test_gradient_descent;
pub mod train;
pub mod train_spectral;
pub mod train_with_threshold_tracking;
