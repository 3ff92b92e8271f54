//! Graphs of graphemes, a network that rewrites them, and a backward pass that follows every merge.

pub mod graph;
pub mod param;
pub mod random;
pub mod scalar;

pub use param::ParamTree;
pub use random::Stream;
pub use scalar::Scalar;
