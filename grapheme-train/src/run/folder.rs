//! The folder of a run.

use super::{MetricsError, MetricsLog};
use crate::file::{self, FileError};
use crate::locate::reason_of;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where the files of one run stand.
///
/// A checkpoint is written in this order: commit the metrics, then the model, then the state, which records the
/// committed length. So a state never stands without what it refers to, and a run that is killed between any two of
/// these writes resumes from the state before and writes the same files again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    folder: PathBuf,
}

/// Why a folder cannot be used for a run.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The metrics of the run to be replaced are in use.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A run stands there already.
    #[error(
        "{} already holds a run ({found}); add --resume to continue it, --overwrite to replace it, or choose another \
         folder with --out",
        .folder.display()
    )]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// The file by which it was recognised.
        found: &'static str,
    },
    /// No run stands there.
    #[error("{} holds no run (no config.json); check the path, or train one with --out", .folder.display())]
    Vacant {
        /// The folder.
        folder: PathBuf,
    },
    /// A run of another command stands there.
    #[error("{} holds a run of {by}, which this command cannot use; see `{by} --help`, or name a run of {wanted}", .folder.display())]
    OtherKind {
        /// The folder.
        folder: PathBuf,
        /// The command that made it.
        by: &'static str,
        /// The command whose runs are wanted.
        wanted: &'static str,
    },
    /// The configuration cannot be read.
    #[error(
        "{}, line {line}, column {column}: {reason}; correct the file, or use the version of the program that wrote it",
        .file.display()
    )]
    Config {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1; 0 before the first character of a line.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

const CONFIG: &str = "config.json";
const METRICS: &str = "metrics.jsonl";
const MODEL: &str = "model.safetensors";
const STATE: &str = "state.safetensors";
const REPORT: &str = "report.html";
/// How sure the model may be, of a run of one model or of several.
pub(crate) const CALIBRATION: &str = "calibration.json";
/// The configuration comes first: without it nothing is a run that could be opened.
const FILES: [&str; 6] = [CONFIG, STATE, MODEL, CALIBRATION, METRICS, REPORT];

impl RunFolder {
    /// A folder for a new run, created with its parents. Other files in it are left alone.
    ///
    /// # Errors
    /// [`RunError::Occupied`] if any file of a run is there; what the operating system refuses.
    pub fn create(folder: impl Into<PathBuf>) -> Result<Self, RunError> {
        let run = Self { folder: folder.into() };
        fs::create_dir_all(&run.folder).map_err(FileError::of("create", &run.folder))?;
        for found in FILES {
            if run.has(found)? {
                return Err(RunError::Occupied { folder: run.folder, found });
            }
        }
        Ok(run)
    }

    /// A folder for a new run; a run that is there is deleted, other files in it are left alone.
    ///
    /// # Errors
    /// [`MetricsError::InUse`] if another process trains there; what the operating system refuses.
    pub fn overwrite(folder: impl Into<PathBuf>) -> Result<Self, RunError> {
        let run = Self { folder: folder.into() };
        fs::create_dir_all(&run.folder).map_err(FileError::of("create", &run.folder))?;
        // Held until all is deleted.
        let _log = MetricsLog::open(&run.metrics(), 0)?;
        for name in FILES {
            let path = run.folder.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(FileError::of("delete", path)(error))?,
                _ => {}
            }
        }
        Ok(run)
    }

    /// The folder of a run that exists.
    ///
    /// # Errors
    /// [`RunError::Vacant`]; what the operating system refuses.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, RunError> {
        let run = Self { folder: folder.into() };
        if run.has(CONFIG)? { Ok(run) } else { Err(RunError::Vacant { folder: run.folder }) }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// `config.json`: what the run was asked to do.
    pub fn config(&self) -> PathBuf {
        self.folder.join(CONFIG)
    }

    /// `metrics.jsonl`: what happened, one event a line.
    pub fn metrics(&self) -> PathBuf {
        self.folder.join(METRICS)
    }

    /// `model.safetensors`: the weights to use.
    pub fn model(&self) -> PathBuf {
        self.folder.join(MODEL)
    }

    /// `state.safetensors`: everything that resuming needs.
    pub fn state(&self) -> PathBuf {
        self.folder.join(STATE)
    }

    /// `report.html`: the run for people.
    pub fn report(&self) -> PathBuf {
        self.folder.join(REPORT)
    }

    /// Whether there is a state to resume from. A run that was killed before its first checkpoint has none and starts
    /// again.
    ///
    /// # Errors
    /// A folder that cannot be looked into.
    pub fn has_state(&self) -> Result<bool, RunError> {
        self.has(STATE)
    }

    /// Writes the configuration, atomically, as JSON that a person can read. Numbers return to the same bits.
    ///
    /// # Errors
    /// What the operating system refuses, and a type that JSON cannot hold.
    pub fn write_config<C: Serialize>(&self, config: &C) -> Result<(), RunError> {
        let mut json = serde_json::to_vec_pretty(config).map_err(|error| self.config_error(&error))?;
        json.push(b'\n');
        Ok(file::replace(&self.config(), &json)?)
    }

    /// Reads the configuration. Types should have `#[serde(deny_unknown_fields)]`: a misspelt setting is then refused
    /// instead of ignored.
    ///
    /// # Errors
    /// [`RunError::Config`] with line and column; what the operating system refuses.
    pub fn read_config<C: DeserializeOwned>(&self) -> Result<C, RunError> {
        let json = file::read(&self.config())?;
        serde_json::from_slice(&json).map_err(|error| self.config_error(&error))
    }

    fn config_error(&self, error: &serde_json::Error) -> RunError {
        let (line, column, reason) = (error.line(), error.column(), reason_of(error));
        // The keys by which the two kinds of runs are known, each where the other was expected.
        for (found, expected, by, wanted) in [
            ("`spectral`", "`version`", "train_spectral", "train"),
            ("`version`", "`spectral`", "train", "train_spectral"),
        ] {
            let other = reason.strip_prefix("unknown field ").and_then(|rest| rest.strip_prefix(found));
            if other.is_some_and(|rest| rest.contains(expected)) {
                return RunError::OtherKind { folder: self.folder.clone(), by, wanted };
            }
        }
        RunError::Config { file: self.config(), line, column, reason }
    }

    fn has(&self, name: &str) -> Result<bool, RunError> {
        let path = self.folder.join(name);
        Ok(path.try_exists().map_err(FileError::of("look for", path))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::Stream;
    use serde::Deserialize;
    use tempfile::tempdir;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        seed: u64,
        rate: f64,
        units: String,
    }

    fn config() -> Config {
        Config { seed: u64::MAX, rate: 3e-3, units: "tokens".into() }
    }

    #[test]
    fn a_new_run_is_created_once_and_opened_after_its_configuration_is_written() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("runs/hun");
        let vacant = RunFolder::open(&path).unwrap_err();
        assert!(vacant.to_string().contains("runs/hun holds no run"), "{vacant}");
        let run = RunFolder::create(&path).unwrap();
        // Nothing was written yet, so nothing is lost by starting again.
        assert_eq!(RunFolder::create(&path).unwrap(), run);
        run.write_config(&config()).unwrap();
        assert_eq!(RunFolder::open(&path).unwrap().read_config::<Config>().unwrap(), config());
        assert!(!run.has_state().unwrap());
        let occupied = RunFolder::create(&path).unwrap_err().to_string();
        assert!(occupied.contains("--resume") && occupied.contains("(config.json)"), "{occupied}");
    }

    #[test]
    fn any_file_of_a_run_is_protected_until_overwriting_is_asked_for() {
        for name in FILES {
            let folder = tempdir().unwrap();
            let (mine, notes) = (folder.path().join(name), folder.path().join("notes.txt"));
            fs::write(&mine, "precious").unwrap();
            fs::write(&notes, "mine").unwrap();
            let error = RunFolder::create(folder.path()).unwrap_err();
            assert!(matches!(error, RunError::Occupied { found, .. } if found == name), "{error}");
            assert_eq!(fs::read(&mine).unwrap(), b"precious");
            let run = RunFolder::overwrite(folder.path()).unwrap();
            assert_eq!(RunFolder::create(folder.path()).unwrap(), run);
            assert_eq!(fs::read(&notes).unwrap(), b"mine");
        }
    }

    #[test]
    fn a_run_that_another_process_trains_is_not_overwritten() {
        let folder = tempdir().unwrap();
        let run = RunFolder::create(folder.path()).unwrap();
        run.write_config(&config()).unwrap();
        let log = MetricsLog::open(&run.metrics(), 0).unwrap();
        let error = RunFolder::overwrite(folder.path()).unwrap_err();
        assert!(matches!(error, RunError::Metrics(MetricsError::InUse { .. })), "{error}");
        assert_eq!(run.read_config::<Config>().unwrap(), config());
        drop(log);
        RunFolder::overwrite(folder.path()).unwrap();
    }

    #[test]
    fn a_bad_configuration_is_refused_with_file_line_and_column() {
        let folder = tempdir().unwrap();
        let run = RunFolder::create(folder.path()).unwrap();
        for (json, place, cause) in [
            ("{\n  \"seed\": 1,\n  \"raet\": 2\n}", "config.json, line 3, column 8: ", "unknown field `raet`"),
            ("{\"seed\": -1}", "config.json, line 1, column 11: ", "invalid value: integer `-1`"),
            ("{\"seed\": 1,\n", "config.json, line 2, column 0: ", "EOF while parsing"),
            ("{\n\"seed\": 1\n}", "config.json, line 3, column 1: ", "missing field `rate`"),
            ("", "config.json, line 1, column 0: ", "EOF while parsing a value; correct the file"),
        ] {
            fs::write(run.config(), json).unwrap();
            let message = run.read_config::<Config>().unwrap_err().to_string();
            assert!(message.contains(place) && message.contains(cause), "{message}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_named() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        for error in [RunFolder::create(&path).unwrap_err(), RunFolder::create(path.join("run")).unwrap_err()] {
            let message = error.to_string();
            assert!(message.contains("file") && message.contains("choose another path"), "{message}");
        }
    }

    /// A resumed run reads its settings back from here, so one lost bit would end the sameness of runs.
    #[test]
    fn numbers_return_to_the_same_bits() {
        let folder = tempdir().unwrap();
        let run = RunFolder::create(folder.path()).unwrap();
        let stream = Stream::new(1);
        let written: Vec<f64> = (0..10_000).map(|i| f64::from_bits(stream.at(i))).filter(|x| x.is_finite()).collect();
        run.write_config(&written).unwrap();
        let read: Vec<f64> = run.read_config().unwrap();
        assert!(written.iter().map(|x| x.to_bits()).eq(read.iter().map(|x| x.to_bits())));
    }
}
