//! Graphs and pairs of graphs from JSON, and pairs to JSON.

use super::graph::{Direction, GraphError, LabelledGraph};
use super::sample::Sample;
use grapheme_core::GraphemeGraph;
use grapheme_core::graph::JsonError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// Why a JSON text is no graph.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Not JSON, or not with these fields.
    #[error("not a graph like {{\"labels\": [\"C\", \"O\"], \"edges\": [[0, 1]]}}: {0}")]
    Syntax(#[from] serde_json::Error),
    /// The labels and edges are no graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Not a grapheme graph, though it has nodes like one.
    #[error(transparent)]
    Graphemes(#[from] JsonError),
}

/// A line of a file of pairs that is none.
#[derive(Debug, Error)]
#[error("line {line}: {cause}")]
pub struct PairsError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong.
    pub cause: PairLineError,
}

/// What is wrong with a pair.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PairLineError {
    /// Not JSON, or not with these fields.
    #[error("not a pair like {{\"a\": {{\"labels\": [\"C\"], \"edges\": []}}, \"b\": ..., \"ged\": 1}}: {0}")]
    Syntax(#[from] serde_json::Error),
    /// One of its graphs is none.
    #[error("{side}: {cause}")]
    Graph {
        /// `a` or `b`.
        side: &'static str,
        /// What is wrong with it.
        cause: GraphError,
    },
    /// One graph says that it is directed, the other does not.
    #[error("one graph is directed and the other is not: give both the same kind of edges")]
    MixedDirections,
}

/// A label: benchmarks also write numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum PlainLabel {
    Text(String),
    Number(i64),
}

#[derive(Deserialize)]
struct PlainGraph {
    labels: Vec<PlainLabel>,
    edges: Vec<(usize, usize)>,
    directed: Option<bool>,
}

impl PlainGraph {
    fn build(self, otherwise: Direction) -> Result<LabelledGraph, GraphError> {
        let text = |label| match label {
            PlainLabel::Text(text) => text,
            PlainLabel::Number(number) => number.to_string(),
        };
        let direction = match self.directed {
            Some(true) => Direction::Directed,
            Some(false) => Direction::Undirected,
            None => otherwise,
        };
        LabelledGraph::new(self.labels.into_iter().map(text).collect(), &self.edges, direction)
    }
}

#[derive(Deserialize)]
struct PlainPair {
    a: PlainGraph,
    b: PlainGraph,
    ged: Option<usize>,
    at_most: Option<usize>,
}

/// Reads `{"labels": [...], "edges": [[0, 1], ...]}`, or a grapheme graph as [`GraphemeGraph::to_json`] writes it, which is
/// directed. A field `directed` overrides `otherwise`.
///
/// # Errors
/// [`ReadError`].
pub fn graph(json: &str, otherwise: Direction) -> Result<LabelledGraph, ReadError> {
    let value: Value = serde_json::from_str(json)?;
    if value.get("nodes").is_some() {
        return Ok(LabelledGraph::from_graphemes(&GraphemeGraph::from_json(json)?));
    }
    // From the text again, whose errors know their line.
    Ok(serde_json::from_str::<PlainGraph>(json)?.build(otherwise)?)
}

/// Reads pairs, one a line: `{"a": graph, "b": graph, "ged": distance, "at_most": bound}`, the last two optional. Empty lines
/// are passed over.
///
/// # Errors
/// [`PairsError`] for the first line that is no pair.
pub fn pairs(text: &str, otherwise: Direction) -> Result<Vec<Sample>, PairsError> {
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines.map(|(text, line)| pair(text, otherwise).map_err(|cause| PairsError { line, cause })).collect()
}

fn pair(text: &str, otherwise: Direction) -> Result<Sample, PairLineError> {
    let PlainPair { a, b, ged, at_most } = serde_json::from_str(text)?;
    let build = |graph: PlainGraph, side| graph.build(otherwise).map_err(|cause| PairLineError::Graph { side, cause });
    let (a, b) = (build(a, "a")?, build(b, "b")?);
    if a.direction() != b.direction() {
        return Err(PairLineError::MixedDirections);
    }
    Ok(Sample { a, b, ged, at_most })
}

/// A pair as a line that [`pairs`] reads, without the line's end.
pub fn to_line(sample: &Sample) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        a: &'a LabelledGraph,
        b: &'a LabelledGraph,
        #[serde(skip_serializing_if = "Option::is_none")]
        ged: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        at_most: Option<usize>,
    }
    let Sample { a, b, ged, at_most } = sample;
    serde_json::to_string(&Line { a, b, ged: *ged, at_most: *at_most })
        .expect("texts and numbers can be written as JSON")
}
