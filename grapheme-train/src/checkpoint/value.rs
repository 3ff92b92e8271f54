//! Values that are no parameter trees, such as what was fitted in closed form: their structure as a note, their numbers as tensors.

use super::{Checkpoint, CheckpointError, decode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Lists of fewer numbers stay in the note.
const LONG: usize = 16;
/// The key of what stands for a list in the note.
const TENSOR: &str = "tensor";

impl Checkpoint {
    /// Adds anything that can be written as JSON: a note `name` with its structure, and every long list of numbers that are not whole as
    /// a tensor `name.path`.
    ///
    /// # Errors
    /// A number that is not finite in a long list; a name that is taken; a value that JSON cannot hold.
    pub fn insert_value(&mut self, name: &str, value: &impl Serialize) -> Result<(), CheckpointError> {
        let mut value = serde_json::to_value(value)
            .map_err(|error| CheckpointError::Encode { file: self.file.clone(), reason: error.to_string() })?;
        self.take_lists(name, &mut value)?;
        self.note(name, value);
        Ok(())
    }

    /// What [`Checkpoint::insert_value`] added, to the same bits.
    ///
    /// # Errors
    /// A note or a tensor that is missing, or does not read as `V`.
    pub fn read_value<V: DeserializeOwned>(&self, name: &str) -> Result<V, CheckpointError> {
        let mut value: Value = self.noted(name)?;
        self.put_lists(&mut value)?;
        serde_json::from_value(value).map_err(|error| CheckpointError::Value {
            file: self.file.clone(),
            key: name.to_owned(),
            reason: error.to_string(),
        })
    }

    fn take_lists(&mut self, path: &str, value: &mut Value) -> Result<(), CheckpointError> {
        match value {
            Value::Array(items) if items.len() >= LONG && items.iter().all(Value::is_f64) => {
                let numbers: Vec<f64> = items.iter().filter_map(Value::as_f64).collect();
                self.insert(path, &ndarray::Array1::from_vec(numbers))?;
                *value = json!({ TENSOR: path });
            }
            Value::Array(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.take_lists(&format!("{path}.{i}"), item)?;
                }
            }
            Value::Object(fields) => {
                for (key, item) in fields {
                    self.take_lists(&format!("{path}.{key}"), item)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn put_lists(&self, value: &mut Value) -> Result<(), CheckpointError> {
        match value {
            Value::Object(fields) => match name_of(fields) {
                Some(name) => {
                    let length = self.tensors.get(name).map_or(0, |tensor| tensor.shape.iter().product());
                    self.check_block::<f64>(name.to_owned(), &[length])?;
                    let numbers = decode::<f64>(&self.bytes[self.tensors[name].range.clone()]);
                    *value = numbers.map(Value::from).collect();
                }
                None => fields.values_mut().try_for_each(|item| self.put_lists(item))?,
            },
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.put_lists(item))?,
            _ => {}
        }
        Ok(())
    }
}

/// The tensor that an object stands for, if it does.
fn name_of(fields: &Map<String, Value>) -> Option<&str> {
    if fields.len() == 1 { fields.get(TENSOR)?.as_str() } else { None }
}
