//! One pair of texts, one file of them, and the files of one training.

use super::{BadLine, Format};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// One pair of texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// What the file calls it, if it does. Need not be unique; [`Split::line`] tells where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Box<str>>,
    /// The curriculum's level; 0 for its pairs' family, none outside the curriculum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u32>,
    /// The text to read. May be empty.
    pub input: String,
    /// The text to write. May be empty: everything merges away.
    pub target: String,
}

/// The examples of one file, at least one, each with the line that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) examples: Vec<Example>,
    /// 1-based, parallel to `examples`.
    pub(super) lines: Vec<usize>,
    pub(super) skipped: Skipped,
}

impl Split {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the file was read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The well-formed examples, in the order of the file.
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// The 1-based line that example `index` came from.
    pub fn line(&self, index: usize) -> usize {
        self.lines[index]
    }

    /// The lines that were left out.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// The targets alone, as [`propose`](super::propose) and [`LabelInventory::of`](super::LabelInventory::of) take them.
    pub fn targets(&self) -> impl Iterator<Item = &str> + Clone {
        self.examples.iter().map(|example| example.target.as_str())
    }
}

/// The files of one training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// What the model learns from.
    pub train: Split,
    /// What decides when to stop.
    pub dev: Split,
    /// What is looked at once, at the end.
    pub test: Option<Split>,
}

/// The bad lines of one file: how many, and the first ten in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    pub(super) count: usize,
    pub(super) first: Vec<BadLine>,
}

impl Skipped {
    /// How many bad lines are kept in full.
    const SHOWN: usize = 10;

    /// The number of bad lines.
    pub fn count(&self) -> usize {
        self.count
    }

    /// At most the first ten of them.
    pub fn first(&self) -> &[BadLine] {
        &self.first
    }

    pub(super) fn push(&mut self, bad: BadLine) {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push(bad);
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} bad line{plural} skipped", self.count)?;
        for bad in &self.first {
            write!(f, "\n  {bad}")?;
        }
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
