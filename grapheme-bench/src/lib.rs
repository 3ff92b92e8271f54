//! Benchmarks: how long things take. Nothing depends on this crate, and a newcomer can ignore it.
//!
//! The measurements are in `benches/`, one file a question, each saying at its head what is measured and in which unit:
//! `text_to_graph` (graphemes a second from text to batch, bytes a node) and `align` (assignments and losses).
//!
//! ```text
//! cargo bench -p grapheme-bench --bench text_to_graph
//! ```
//!
//! Whether results are still as good is another question: see the binary `regression` of `grapheme-train`.
