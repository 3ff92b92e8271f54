//! How an input text becomes a graph.

use grapheme_core::GraphBatch;
use grapheme_core::graph::{BatchError, ExpressionError, measure_expression};
use serde::{Deserialize, Serialize};
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// What joins the nodes of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum GraphForm {
    /// Each code point is joined to the next: for any text
    #[default]
    Path,
    /// Lists are joined to their members, and names to where they were bound: for expressions such as (+ 2 (* 3 4)). What
    /// is no expression becomes a path
    Tree,
}

impl GraphForm {
    /// The graphs of texts: [`GraphBatch::from_texts`] or [`GraphBatch::from_expressions`].
    ///
    /// # Errors
    /// [`BatchError`] if the texts are too long for one batch.
    pub fn batch<T: AsRef<str>>(
        self,
        texts: impl IntoIterator<Item = T, IntoIter: Clone>,
    ) -> Result<GraphBatch, BatchError> {
        match self {
            Self::Path => GraphBatch::from_texts(texts),
            Self::Tree => GraphBatch::from_expressions(texts),
        }
    }

    /// The number of nodes of the graph of a text, without making it.
    pub fn nodes(self, text: &str) -> usize {
        let path = || text.nfd().count() + 2;
        match self {
            Self::Path => path(),
            Self::Tree => measure_expression(text).unwrap_or_else(|_| path()),
        }
    }

    /// Why a text becomes a path, where it should not.
    pub fn fault(self, text: &str) -> Option<ExpressionError> {
        match self {
            Self::Path => None,
            Self::Tree => measure_expression(text).err(),
        }
    }
}

impl fmt::Display for GraphForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Tree => "tree",
        })
    }
}
