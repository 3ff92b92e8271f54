//! Generated examples on disk, whole or not at all.

use super::Generated;
use crate::data::Example;
use crate::file::{FileError, replace};
use serde::Serialize;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What happens to a file that is already there with other content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// It stays, and nothing is written at all.
    Refuse,
    /// It is replaced.
    Replace,
}

/// One file after writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// The number of its lines.
    pub examples: usize,
    /// Its size.
    pub bytes: usize,
    /// False if the same content was there before.
    pub changed: bool,
}

/// Why files were not written. Those that were there are intact.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A file holds something else.
    #[error("{}: exists with other content; name another folder or replace it with --force", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Generated {
    /// Writes `train.jsonl`, `dev.jsonl` and `test.jsonl`, each replaced whole.
    /// An empty split is not written.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&self, folder: &Path, overwrite: Overwrite) -> Result<Vec<Written>, WriteError> {
        let splits = [("train", &self.train), ("dev", &self.dev), ("test", &self.test)];
        let mut files = Vec::new();
        for (name, examples) in splits.into_iter().filter(|(_, examples)| !examples.is_empty()) {
            let (path, text) = (folder.join(name).with_extension("jsonl"), jsonl(examples));
            let changed = match fs::read(&path) {
                Ok(old) => old != text,
                Err(error) if error.kind() == ErrorKind::NotFound => true,
                Err(error) => return Err(FileError::of("read", path)(error).into()),
            };
            if changed && overwrite == Overwrite::Refuse && path.exists() {
                return Err(WriteError::Differs { path });
            }
            files.push((Written { path, examples: examples.len(), bytes: text.len(), changed }, text));
        }
        fs::create_dir_all(folder).map_err(FileError::of("create", folder))?;
        for (written, text) in files.iter().filter(|(written, _)| written.changed) {
            replace(&written.path, text)?;
        }
        Ok(files.into_iter().map(|(written, _)| written).collect())
    }
}

fn jsonl(examples: &[Example]) -> Vec<u8> {
    let mut text = Vec::new();
    for example in examples {
        let line = serde_json::to_vec(example).expect("strings and a number are always valid JSON");
        text.extend(line);
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(target: &str) -> Generated {
        let example = Example { id: Some("1".into()), level: None, input: "\"नि\t".into(), target: target.into() };
        Generated { train: vec![example.clone()], dev: vec![example; 2], test: Vec::new() }
    }

    #[test]
    fn the_same_is_left_alone_and_the_other_is_kept_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new/deep");
        let changed = |made: &Generated, overwrite| {
            made.write(&folder, overwrite).map(|files| files.iter().map(|file| file.changed).collect::<Vec<_>>())
        };
        let (a, b) = (generated("a"), generated("b"));
        assert_eq!(changed(&a, Overwrite::Refuse).unwrap(), [true, true]);
        assert_eq!(changed(&a, Overwrite::Refuse).unwrap(), [false, false]);
        fs::remove_file(folder.join("train.jsonl")).unwrap();
        assert!(
            matches!(changed(&b, Overwrite::Refuse), Err(WriteError::Differs { path }) if path.ends_with("dev.jsonl"))
        );
        assert!(!folder.join("train.jsonl").exists(), "a refused run wrote a file");
        assert_eq!(changed(&b, Overwrite::Replace).unwrap(), [true, true]);
        let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "leftovers: {names:?}");
        let line = "{\"id\":\"1\",\"input\":\"\\\"नि\\t\",\"target\":\"b\"}\n";
        assert_eq!(fs::read_to_string(folder.join("train.jsonl")).unwrap(), line);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file");
        fs::write(&blocked, "").unwrap();
        let error = generated("a").write(&blocked.join("in"), Overwrite::Refuse).unwrap_err().to_string();
        assert!(error.contains("file/in") && error.contains("choose another path"), "{error}");
    }
}
