//! Graphs of graphemes, in two forms.
//!
//! - [`GraphemeGraph`] is the form that people build, inspect, edit and print: a petgraph graph with one node a grapheme,
//!   free of cycles by type, with DOT and JSON. Start here to look at a graph or to write one by hand.
//! - [`GraphBatch`] is the form that is computed on: many graphs as flat arrays, one node a code point of the canonical
//!   decomposition. Built straight from text it is 2 (emoji) to 30 (ASCII) times as fast as the other and takes a tenth of the memory.
//!
//! Text goes in through `from_text` or `from_texts` and comes out to the byte. [`GraphBatch::from_graphs`] leads from the
//! first form to the second; a graph made from a text and the text itself give the same batch.
//! [`GraphBatch::from_expressions`] makes trees of expressions in parentheses. Who is joined to whom in a batch is its
//! [`Topology`]: neighbours in a text take no memory, other edges are explicit.

mod batch;
mod builder;
mod exchange;
mod expression;
mod grapheme_graph;
mod kind;
mod pattern;
mod topology;

pub use batch::{BEGIN_CODE, BatchError, END_CODE, GraphBatch};
pub use exchange::{JSON_VERSION, JsonError};
pub use expression::{ExpressionError, measure_expression};
pub use grapheme_graph::{GraphError, GraphemeEdge, GraphemeGraph, GraphemeNode};
pub use kind::{EdgeKind, NodeKind};
pub use pattern::Pattern;
pub use petgraph::stable_graph::{EdgeIndex, NodeIndex};
pub use topology::{Edge, Edges, Topology, TopologyError};
