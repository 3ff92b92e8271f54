//! Where a setting stands in a text of JSON, and what is wrong with a text that is none, for messages.

use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The line, counted from 1, on which the value at `path` begins: `indices[0].layers` of `{"indices": [{"layers": [1, 2]}]}`.
///
/// Nothing if the text is no JSON or has no such value, for then another message is due. Of a key that comes twice the last one
/// counts, as for the reader of settings. O(length of the text) for each step of the path.
pub fn line_of(text: &str, path: &str) -> Option<usize> {
    let mut value: &RawValue = serde_json::from_str(text).ok()?;
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        value = match step.strip_suffix(']') {
            Some(index) => {
                serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?.get(index.parse::<usize>().ok()?)?
            }
            None => serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()).ok()?.get(step)?,
        };
    }
    // A raw value is a piece of the text that it was read from.
    let offset = value.get().as_ptr().addr() - text.as_ptr().addr();
    Some(1 + text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count())
}

/// What a parser of JSON has against a text, without the place: it counts lines within what it was given, which people are told otherwise.
pub fn reason_of(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    said.strip_suffix(&place).unwrap_or(&said).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_on_their_lines() {
        let text = "\n{\"layers\": [\n {\"n\\u0061me\": 1,\n\"é\": {}}, 7\n],\r\n\"index\": 2, \"index\":\n 3}";
        for (path, line) in [
            ("", Some(2)),
            ("layers", Some(2)),
            ("layers[0]", Some(3)),
            ("layers[0].name", Some(3)),
            ("layers[0].é", Some(4)),
            ("layers[1]", Some(4)),
            ("index", Some(7)),
            ("layers[2]", None),
            ("layers[x]", None),
            ("layers.name", None),
            ("index[0]", None),
            ("nothing", None),
        ] {
            assert_eq!(line_of(text, path), line, "{path}");
        }
        assert_eq!(line_of("{", ""), None);
        assert_eq!(line_of("", "layers"), None);
    }
}
