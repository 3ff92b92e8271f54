//! What can be wrong with a file of examples. Every message says where, what was found, and the cure.

use super::Skipped;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file or folder of examples could not be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The examples are not those that a run began with.
    #[error(
        "{}: the examples changed since the run in {} began; restore them, or train anew with --overwrite",
        train.display(), run.display()
    )]
    Changed {
        /// The training file.
        train: PathBuf,
        /// The run's folder.
        run: PathBuf,
    },
    /// The wished estimator is not defined for the wished loss.
    #[error(transparent)]
    Unsuited(#[from] crate::estimator::Unsuited),
    /// Nothing is at the path.
    #[error("{}: no such file or folder; check the path", path.display())]
    Missing {
        /// The path asked for.
        path: PathBuf,
    },
    /// The file may not be read.
    #[error("{}: no permission to read; make it readable (chmod u+r) or name another file", path.display())]
    Denied {
        /// The path asked for.
        path: PathBuf,
    },
    /// A folder stands where a file was expected.
    #[error("{}: is a folder, a file was expected; name the file in it, or load the folder as a whole", path.display())]
    IsFolder {
        /// The path asked for.
        path: PathBuf,
    },
    /// A file stands where a folder was expected.
    #[error("{}: is no folder, one with train.* and dev.* was expected; name single files with --train and --dev", path.display())]
    IsFile {
        /// The path asked for.
        path: PathBuf,
    },
    /// A folder holds no file for a split.
    #[error("{}: holds neither {name}.tsv nor {name}.jsonl; add one of them or name the files one by one", folder.display())]
    NoSplit {
        /// The folder.
        folder: PathBuf,
        /// `train` or `dev`.
        name: &'static str,
    },
    /// A folder holds two files for one split.
    #[error("{}: holds both {name}.tsv and {name}.jsonl; remove one of them", folder.display())]
    TwoFiles {
        /// The folder.
        folder: PathBuf,
        /// `train`, `dev` or `test`.
        name: &'static str,
    },
    /// The file has no line.
    #[error("{}: empty file; give it at least one line, `input<TAB>target` or {{\"input\": ..., \"target\": ...}}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Every line was bad.
    #[error("{}: no example left; {skipped}", path.display())]
    NoExamples {
        /// The file.
        path: PathBuf,
        /// The lines left out.
        skipped: Skipped,
    },
    /// A malformed line, where bad lines stop the run.
    #[error("{0}. Correct the line, or leave it out (train and evaluate: --skip-bad)")]
    Line(BadLine),
    /// The system failed while reading.
    #[error("{}: {cause}; check the disk and the path", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl DataError {
    /// Sorts what the system said by its cure.
    pub(super) fn io(path: &Path, cause: io::Error) -> Self {
        let path = path.to_path_buf();
        match cause.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            io::ErrorKind::IsADirectory => Self::IsFolder { path },
            _ => Self::Io { path, cause },
        }
    }
}

/// One malformed line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}:{line}: {fault}", path.display())]
pub struct BadLine {
    /// The file.
    pub path: PathBuf,
    /// The 1-based line.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineFault {
    /// Nothing on it, and it isn't the last one.
    #[error("blank line; remove it (an empty pair is written as a lone tab)")]
    Blank,
    /// No tab.
    #[error("one column where `input<TAB>target` was expected; put a tab between input and target")]
    MissingColumn,
    /// More than one tab.
    #[error("{columns} columns where two were expected; keep `input<TAB>target`")]
    ExtraColumns {
        /// The number of columns found.
        columns: usize,
    },
    /// Bytes that are no text.
    #[error("byte {position} is 0x{byte:02X}, which is not UTF-8; save the file as UTF-8")]
    InvalidUtf8 {
        /// The 1-based position of the byte in the line.
        position: usize,
        /// The first byte that does not fit.
        byte: u8,
    },
    /// More bytes than a line may have.
    #[error("{length} bytes on one line, the limit is {limit}; split the text")]
    TooLong {
        /// The bytes found.
        length: usize,
        /// The bytes allowed.
        limit: usize,
    },
    /// A target that labels for parts of tokens cannot give back.
    #[error("the target is not in Unicode's normal form C, as parts need; normalise it, or use --target-units tokens")]
    NotComposed,
    /// A text that no machine reads at once.
    #[error("{nodes} code points would take about {gigabytes} GB of memory; split the text, or use a narrower network")]
    TextTooLarge {
        /// Nodes of its graph.
        nodes: usize,
        /// About how much memory it would take.
        gigabytes: u64,
    },
    /// A pair with too many possible alignments.
    #[error(
        "aligning {nodes} code points with {units} units would take about {gigabytes} GB of memory; split the text, or \
         train with a band (--window 64)"
    )]
    AlignmentTooLarge {
        /// Nodes of the input's graph.
        nodes: usize,
        /// Units of the target.
        units: usize,
        /// About how much memory it would take.
        gigabytes: u64,
    },
    /// No JSON.
    #[error("malformed JSON at column {column}: {message}; each line must be one JSON object")]
    Json {
        /// The 1-based column where reading stopped.
        column: usize,
        /// What the parser said.
        message: String,
    },
    /// JSON, but no object.
    #[error("found {found} where a JSON object was expected; write {{\"input\": ..., \"target\": ...}}")]
    NotAnObject {
        /// The type found.
        found: &'static str,
    },
    /// An object without a key.
    #[error("key \"{key}\" is missing; add it")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A key whose value is of the wrong type.
    #[error("key \"{key}\" holds {found} where {expected} was expected; change its value")]
    WrongType {
        /// The key.
        key: &'static str,
        /// The type that it should have.
        expected: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A target whose tokens are not parted by single spaces.
    #[error(
        "token {token} of the target is empty; part tokens by single spaces, with none at the ends, or use grapheme units"
    )]
    EmptyToken {
        /// The 1-based position of the token.
        token: usize,
    },
}
