//! Text to graph, and the features of its nodes.

use super::{Entry, Kernel, Work};
use crate::inputs::{self, SCRIPTS, words};
use grapheme_core::layers::HashedEmbedding;
use grapheme_core::{GraphBatch, GraphemeGraph, Stream, param};
use std::hint::black_box;

/// About this many graphemes.
const GRAPHEMES: usize = 20_000;

pub(super) fn kernels() -> Vec<Entry> {
    let mut entries = Vec::new();
    for script in SCRIPTS {
        entries.push(Entry::new(format!("text/{script}/one text"), move || {
            batch(vec![words(script, GRAPHEMES).join(" ")])
        }));
        entries.push(Entry::new(format!("text/{script}/words"), move || batch(words(script, GRAPHEMES))));
    }
    entries.push(Entry::new("text/ascii/petgraph", || {
        let text = words("ascii", GRAPHEMES).join(" ");
        let work = Work { bytes: text.len() as f64, operations: 0.0 };
        Kernel::new(("graphemes", text.len()), work, move || GraphemeGraph::from_text(black_box(&text)))
    }));
    entries.push(Entry::new("embedding/forward", || {
        let (table, batch) = (embedding(), inputs::lane());
        let work = features(&batch, 1.0);
        Kernel::new(("nodes", batch.nodes()), work, move || table.forward(black_box(&batch)))
    }));
    entries.push(Entry::new("embedding/backward", || {
        let (table, batch) = (embedding(), inputs::lane());
        let (mut gradient, dx) = (param::zeros_like(&table), inputs::matrix(batch.nodes(), WIDTH, 1).into());
        let work = features(&batch, 2.0);
        Kernel::new(("nodes", batch.nodes()), work, move || {
            table.backward(black_box(&batch), &dx, &mut gradient);
        })
    }));
    entries
}

const WIDTH: usize = 128;
const HASHES: usize = 2;

fn embedding() -> HashedEmbedding<f32> {
    HashedEmbedding::new(1024, HASHES, WIDTH, &mut Stream::new(1))
}

/// A row of the result and the rows that it is the sum of; rows that are added to are read and written.
fn features(batch: &GraphBatch, passes: f64) -> Work {
    let rows = batch.nodes() as f64;
    Work { bytes: 4.0 * rows * WIDTH as f64 * (1.0 + passes * (HASHES + 1) as f64), operations: 0.0 }
}

/// The text is read, the arrays of the batch are written.
fn batch(texts: Vec<String>) -> Kernel {
    let batch = GraphBatch::from_texts(&texts).expect("texts this short are a batch");
    let graphemes = (0..batch.graphs()).map(|graph| batch.graphemes(graph).len()).sum();
    let read: usize = texts.iter().map(String::len).sum();
    let work = Work { bytes: read as f64 + batch.bytes_per_node() * batch.nodes() as f64, operations: 0.0 };
    Kernel::new(("graphemes", graphemes), work, move || GraphBatch::from_texts(black_box(&texts)))
}
