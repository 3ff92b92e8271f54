//! Graphs of graphemes: the form that people build and the form that is computed on.

mod kind;
mod topology;

pub use kind::{EdgeKind, NodeKind};
pub use topology::{Edge, Edges, Topology, TopologyError};
