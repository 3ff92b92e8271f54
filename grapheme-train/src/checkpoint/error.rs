//! What can be wrong with a checkpoint.

use crate::file::FileError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a checkpoint could not be written or read. Every message names the file, and the parameter where there is one.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a whole safetensors file.
    #[error(
        "{}: {bytes} bytes that are not a whole safetensors file ({reason}); it is damaged or cut short, so use another \
         checkpoint or train again",
        .file.display()
    )]
    Format {
        /// The file.
        file: PathBuf,
        /// How long it is.
        bytes: usize,
        /// What does not fit.
        reason: String,
    },
    /// The format has no room for the tensors.
    #[error("{}: the tensors do not fit into one safetensors file ({reason}); make the model smaller", .file.display())]
    Encode {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A parameter of the model is not in the file.
    #[error(
        "{}: parameter `{parameter}` of shape {expected:?} is missing; the file belongs to another model, so use the \
         configuration that it was trained with",
        .file.display()
    )]
    Missing {
        /// The file.
        file: PathBuf,
        /// The dotted name.
        parameter: String,
        /// The shape that the model has.
        expected: Vec<usize>,
    },
    /// The file holds a parameter that the model does not have.
    #[error(
        "{}: parameter `{parameter}` of shape {shape:?} has no place in the model; the file belongs to another model, so \
         use the configuration that it was trained with",
        .file.display()
    )]
    Extra {
        /// The file.
        file: PathBuf,
        /// The dotted name.
        parameter: String,
        /// The shape in the file.
        shape: Vec<usize>,
    },
    /// A parameter has another shape in the file.
    #[error(
        "{}: parameter `{parameter}` has shape {found:?}, the model expects {expected:?}; use the configuration that the \
         file was trained with",
        .file.display()
    )]
    Shape {
        /// The file.
        file: PathBuf,
        /// The dotted name.
        parameter: String,
        /// The shape that the model has.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A parameter has another number type in the file.
    #[error(
        "{}: parameter `{parameter}` is stored as {found}, the model expects {expected}; read it with the number type \
         that it was trained in",
        .file.display()
    )]
    Type {
        /// The file.
        file: PathBuf,
        /// The dotted name.
        parameter: String,
        /// The type that the model computes in.
        expected: String,
        /// The type in the file.
        found: String,
    },
    /// A value is infinite or not a number.
    #[error(
        "{}: parameter `{parameter}` holds {value} at index {index}; training diverged or the file is damaged, so go \
         back to an earlier checkpoint and lower the learning rate",
        .file.display()
    )]
    NotFinite {
        /// The file.
        file: PathBuf,
        /// The dotted name.
        parameter: String,
        /// The position in row-major order.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// Two blocks ask for one name.
    #[error("{}: two parameters are named `{parameter}`; give their trees different prefixes", .file.display())]
    Taken {
        /// The file.
        file: PathBuf,
        /// The dotted name.
        parameter: String,
    },
    /// A value does not have the structure that it should have.
    #[error(
        "{}: `{key}` cannot be used ({reason}); the file is damaged or was written by another version of the program, so \
         train again",
        .file.display()
    )]
    Value {
        /// The file.
        file: PathBuf,
        /// The name of the value.
        key: String,
        /// What does not fit.
        reason: String,
    },
    /// A note is missing or unreadable.
    #[error(
        "{}: note `{key}` should be a {expected}, found {found:?}; the file was not written by this program or by \
         another version of it, so train again",
        .file.display()
    )]
    Note {
        /// The file.
        file: PathBuf,
        /// The note's key.
        key: String,
        /// The type that it should read as.
        expected: &'static str,
        /// The beginning of the text found, if any.
        found: Option<String>,
    },
}
