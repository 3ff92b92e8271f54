//! Checkpoints: parameter trees in safetensors files, under their dotted names.
//!
//! ```
//! use grapheme_train::checkpoint::Checkpoint;
//! use ndarray::{Array1, Array2};
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("state.safetensors");
//! let (model, momentum) = (Array2::<f32>::ones((2, 3)), Array1::<f32>::zeros(3));
//!
//! let mut checkpoint = Checkpoint::new(&path);
//! checkpoint.insert("model", &model)?;
//! checkpoint.insert("momentum", &momentum)?;
//! checkpoint.note("epoch", 7);
//! checkpoint.save()?;
//!
//! let checkpoint = Checkpoint::open(&path)?;
//! let mut resumed = Array2::<f32>::zeros((2, 3));
//! checkpoint.read_into("model", &mut resumed)?;
//! assert_eq!((resumed, checkpoint.noted::<u64>("epoch")?), (model, 7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod value;

#[cfg(test)]
mod tests;

pub use error::CheckpointError;

use crate::file;
use grapheme_core::param::{each, each_mut};
use grapheme_core::{ParamTree, Scalar};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// All notes stand under this one key of the file's metadata, as a sorted JSON object. The format's own map is written
/// in the order of a hash table, which would give the same state other bytes in every process.
const NOTES: &str = "grapheme";

/// A file of named tensors and notes, in memory: being put together, or read.
///
/// The same contents give the same bytes. Values are little-endian, exact in both scalar types.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    file: PathBuf,
    bytes: Vec<u8>,
    tensors: BTreeMap<String, Tensor>,
    notes: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

impl Checkpoint {
    /// An empty checkpoint that [`Checkpoint::save`] will write to `file`.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), bytes: Vec::new(), tensors: BTreeMap::new(), notes: BTreeMap::new() }
    }

    /// Reads the file at `path`. Takes memory for the file and the list of its tensors, whatever its header claims.
    ///
    /// # Errors
    /// A file that cannot be read, or is not a whole safetensors file.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let bytes = file::read(path)?;
        let refuse = |reason: String| CheckpointError::Format { file: path.into(), bytes: bytes.len(), reason };
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| refuse(error.to_string()))?;
        // The format puts the length of the header, 8 bytes, before it and the values behind it. `read_metadata` has
        // checked that the ranges cover the rest of the file and that every shape fits its range.
        let data = size_of::<u64>() + header;
        let tensors = metadata.tensors().into_iter().map(|(name, info)| {
            let range = data + info.data_offsets.0..data + info.data_offsets.1;
            (name, Tensor { dtype: info.dtype, shape: info.shape.clone(), range })
        });
        let tensors = tensors.collect();
        let notes = match metadata.metadata().as_ref().and_then(|map| map.get(NOTES)) {
            Some(json) => serde_json::from_str(json).map_err(|error| refuse(format!("notes: {error}")))?,
            None => BTreeMap::new(),
        };
        Ok(Self { file: path.into(), bytes, tensors, notes })
    }

    /// Adds every block of `tree` as `prefix.name`; with an empty prefix, under its own name.
    ///
    /// # Errors
    /// A value that is not finite: it would replace a good checkpoint by one that cannot be used. A name that is taken.
    pub fn insert<S: Scalar>(&mut self, prefix: &str, tree: &impl ParamTree<S>) -> Result<(), CheckpointError> {
        let mut outcome = Ok(());
        each(tree, |name, shape, values| {
            if outcome.is_ok() {
                outcome = self.insert_block(join(prefix, name), shape, values);
            }
        });
        outcome
    }

    /// Adds a note: a number or a short text, such as the epoch. The last note of a key counts.
    pub fn note(&mut self, key: &str, value: impl ToString) {
        self.notes.insert(key.to_owned(), value.to_string());
    }

    /// Writes the file, atomically: see [`file::replace`].
    ///
    /// # Errors
    /// What the operating system refuses; the previous file is then intact.
    pub fn save(&self) -> Result<(), CheckpointError> {
        let bytes = self
            .encode()
            .map_err(|error| CheckpointError::Encode { file: self.file.clone(), reason: error.to_string() })?;
        Ok(file::replace(&self.file, &bytes)?)
    }

    /// Fills `tree` with what stands under `prefix`. All is checked before the first value is written.
    ///
    /// # Errors
    /// A block that is missing, has another shape or type or holds a value that is not finite, and a tensor under the
    /// prefix that the tree has no place for; the tree is then as it was.
    pub fn read_into<S: Scalar>(&self, prefix: &str, tree: &mut impl ParamTree<S>) -> Result<(), CheckpointError> {
        let mut outcome = Ok(());
        let mut extra: BTreeMap<&str, &Tensor> = self.under(prefix).collect();
        each(tree, |name, shape, _| {
            let name = join(prefix, name);
            extra.remove(&name[..]);
            if outcome.is_ok() {
                outcome = self.check_block::<S>(name, shape);
            }
        });
        outcome?;
        if let Some((name, tensor)) = extra.pop_first() {
            let (file, parameter, shape) = (self.file.clone(), name.to_owned(), tensor.shape.clone());
            return Err(CheckpointError::Extra { file, parameter, shape });
        }
        each_mut(tree, |name, _, values| {
            let bytes = &self.bytes[self.tensors[&join(prefix, name)].range.clone()];
            for (value, found) in values.iter_mut().zip(decode::<S>(bytes)) {
                *value = found;
            }
        });
        Ok(())
    }

    /// The note of a key.
    ///
    /// # Errors
    /// A note that is missing or does not read as `V`.
    pub fn noted<V: FromStr>(&self, key: &str) -> Result<V, CheckpointError> {
        let found = self.notes.get(key);
        found.and_then(|text| text.parse().ok()).ok_or_else(|| CheckpointError::Note {
            file: self.file.clone(),
            key: key.to_owned(),
            expected: std::any::type_name::<V>(),
            // Of a value the whole text may be as long as the file.
            found: found.map(|text| text.chars().take(100).collect()),
        })
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(|name| &name[..])
    }

    fn encode(&self) -> Result<Vec<u8>, SafeTensorError> {
        let views = self.tensors.iter().map(|(name, tensor)| {
            let bytes = &self.bytes[tensor.range.clone()];
            Ok((name, TensorView::new(tensor.dtype, tensor.shape.clone(), bytes)?))
        });
        let views = views.collect::<Result<Vec<_>, SafeTensorError>>()?;
        serialize(views, Some(HashMap::from([(NOTES.to_owned(), serde_json::to_string(&self.notes)?)])))
    }

    /// The tensors of one tree.
    fn under(&self, prefix: &str) -> impl Iterator<Item = (&str, &Tensor)> {
        let tensors = self.tensors.iter().map(|(name, tensor)| (&name[..], tensor));
        tensors.filter(move |(name, _)| match name.strip_prefix(prefix) {
            Some(rest) => prefix.is_empty() || rest.is_empty() || rest.starts_with('.'),
            None => false,
        })
    }

    fn insert_block<S: Scalar>(&mut self, name: String, shape: &[usize], xs: &[S]) -> Result<(), CheckpointError> {
        let start = self.bytes.len();
        for (index, &x) in xs.iter().enumerate() {
            if !x.is_finite() {
                return Err(self.not_finite(name, index, x.widen()));
            }
            match dtype_of::<S>() {
                Dtype::F32 => self.bytes.extend((x.widen() as f32).to_le_bytes()),
                _ => self.bytes.extend(x.widen().to_le_bytes()),
            }
        }
        let tensor = Tensor { dtype: dtype_of::<S>(), shape: shape.to_vec(), range: start..self.bytes.len() };
        match self.tensors.insert(name.clone(), tensor) {
            None => Ok(()),
            Some(_) => Err(CheckpointError::Taken { file: self.file.clone(), parameter: name }),
        }
    }

    fn check_block<S: Scalar>(&self, name: String, shape: &[usize]) -> Result<(), CheckpointError> {
        let file = self.file.clone();
        let Some(tensor) = self.tensors.get(&name) else {
            return Err(CheckpointError::Missing { file, parameter: name, expected: shape.to_vec() });
        };
        if tensor.dtype != dtype_of::<S>() {
            let (expected, found) = (dtype_of::<S>().to_string(), tensor.dtype.to_string());
            return Err(CheckpointError::Type { file, parameter: name, expected, found });
        }
        if tensor.shape != shape {
            let (expected, found) = (shape.to_vec(), tensor.shape.clone());
            return Err(CheckpointError::Shape { file, parameter: name, expected, found });
        }
        match decode::<S>(&self.bytes[tensor.range.clone()]).enumerate().find(|(_, x)| !x.is_finite()) {
            Some((index, x)) => Err(self.not_finite(name, index, x.widen())),
            None => Ok(()),
        }
    }

    fn not_finite(&self, parameter: String, index: usize, value: f64) -> CheckpointError {
        CheckpointError::NotFinite { file: self.file.clone(), parameter, index, value }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else if name.is_empty() {
        // A tree that is a single array has no name of its own.
        prefix.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}

fn dtype_of<S: Scalar>() -> Dtype {
    if size_of::<S>() == size_of::<f32>() { Dtype::F32 } else { Dtype::F64 }
}

/// The values in `bytes`, which are known to be of type `S`.
fn decode<S: Scalar>(bytes: &[u8]) -> impl Iterator<Item = S> {
    bytes.chunks_exact(size_of::<S>()).map(|chunk| {
        let wide = match *chunk {
            [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => unreachable!("a scalar has four or eight bytes"),
        };
        S::lit(wide)
    })
}
