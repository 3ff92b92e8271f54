//! x

pub mod loss;
