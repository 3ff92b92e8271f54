//! One JSON object a line: `{"input", "target"}`, with `id` and `level` where they are known, and anything else ignored.

use super::{Example, LineFault};
use crate::locate::reason_of;
use serde_json::{Map, Value};

/// Reads one line.
pub(super) fn parse(line: &str) -> Result<Example, LineFault> {
    let object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(other) => return Err(LineFault::NotAnObject { found: type_name(&other) }),
        Err(error) => return Err(malformed(&error)),
    };
    let id = match object.get("id") {
        None => None,
        Some(Value::String(id)) => Some(id.as_str().into()),
        Some(Value::Number(id)) => Some(id.to_string().into()),
        Some(other) => return Err(wrong_type("id", "a string or a number", other)),
    };
    let level = match object.get("level") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64().and_then(|level| u32::try_from(level).ok()) {
            Some(level) => Some(level),
            None => return Err(wrong_type("level", "a whole number from 0", value)),
        },
    };
    Ok(Example { id, level, input: text(&object, "input")?, target: text(&object, "target")? })
}

fn text(object: &Map<String, Value>, key: &'static str) -> Result<String, LineFault> {
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong_type(key, "a string", other)),
        None => Err(LineFault::MissingKey { key }),
    }
}

fn wrong_type(key: &'static str, expected: &'static str, found: &Value) -> LineFault {
    LineFault::WrongType { key, expected, found: type_name(found) }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(number) if number.is_i64() && !number.is_u64() => "a negative number",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The parser counts lines within its own text, of which there is one; only its column means something to people.
fn malformed(error: &serde_json::Error) -> LineFault {
    LineFault::Json { column: error.column(), message: reason_of(error) }
}
