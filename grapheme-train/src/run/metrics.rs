//! The metrics of a run: one JSON object a line.

use crate::event::{Event, Listener};
use crate::file::{self, FileError};
use crate::locate::reason_of;
use serde::Serialize;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why metrics could not be written or read.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// The operating system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process has the log open.
    #[error("{}: another process is training in this folder; wait for it, or choose another with --out", .file.display())]
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// The log does not reach, line by line, to where the checkpoint says it stood.
    #[error(
        "{}: {found} bytes, but the checkpoint was written after line end {expected}; the file was changed since, so \
         restore it or start again with --overwrite",
        .file.display()
    )]
    Changed {
        /// The file.
        file: PathBuf,
        /// The length that the checkpoint recorded.
        expected: u64,
        /// The length of the file.
        found: u64,
    },
    /// A whole line that is not an event.
    #[error(
        "{}, line {line}, column {column}: {reason}; the file was changed, so delete the line or restore the file, or use the version of \
         the program that wrote it",
        .file.display()
    )]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The byte in it, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

/// The metrics file of a run in training.
///
/// Lines reach the operating system one by one, so a killed process loses none but the one it was writing. The file is
/// locked as long as the log lives: a second process that would train in the same folder is refused.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    length: u64,
    failure: Option<FileError>,
}

impl MetricsLog {
    /// Opens the log, creates it if need be, and cuts it back to `length` bytes: 0 for a new run, for a resumed one what
    /// [`MetricsLog::commit`] returned at the checkpoint.
    ///
    /// # Errors
    /// Any [`MetricsError`] but `Line`; the file is then as it was.
    pub fn open(path: &Path, length: u64) -> Result<Self, MetricsError> {
        let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = opened.map_err(FileError::of("open", path))?;
        hold(&file, path)?;
        let found = file.metadata().map_err(FileError::of("read", path))?.len();
        if length > found || !ends_a_line(&mut file, length).map_err(FileError::of("read", path))? {
            return Err(MetricsError::Changed { file: path.into(), expected: length, found });
        }
        file.set_len(length).map_err(FileError::of("write", path))?;
        Ok(Self { path: path.into(), file, length, failure: None })
    }

    /// Flushes the log to the disk and returns its length, to be recorded in a checkpoint.
    ///
    /// # Errors
    /// The first line that could not be written since the log was opened. The checkpoint must then not be written: a run
    /// resumed from it would lack that line.
    pub fn commit(&mut self) -> Result<u64, MetricsError> {
        if self.failure.is_none() {
            self.failure = self.file.sync_all().map_err(FileError::of("write", &self.path)).err();
        }
        match &self.failure {
            Some(failure) => Err(failure.clone().into()),
            None => Ok(self.length),
        }
    }
}

impl Listener for MetricsLog {
    /// Appends the events that are [reproducible](Event::is_reproducible).
    fn hear(&mut self, event: &Event) {
        if event.is_reproducible() {
            self.append(event);
        }
    }
}

impl MetricsLog {
    /// Appends a line. A failure is kept for [`MetricsLog::commit`]; after one nothing more is written, lest a line follow the half of
    /// another.
    pub fn append(&mut self, line: &impl Serialize) {
        if self.failure.is_some() {
            return;
        }
        let line = serde_json::to_vec(line).map_err(std::io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.file.write_all(&line)?;
            Ok(line.len() as u64)
        });
        match line.map_err(FileError::of("write", &self.path)) {
            Ok(length) => self.length += length,
            Err(failure) => self.failure = Some(failure),
        }
    }
}

/// Creates the file at `path` if need be and locks it for as long as what is returned lives.
///
/// # Errors
/// [`MetricsError::InUse`]; what the operating system refuses.
pub fn lock(path: &Path) -> Result<File, MetricsError> {
    let file = OpenOptions::new().append(true).create(true).open(path).map_err(FileError::of("open", path))?;
    hold(&file, path)?;
    Ok(file)
}

/// Locks an open file. Where the file system knows no locks, nobody is protected, but training need not stop for that.
fn hold(file: &File, path: &Path) -> Result<(), MetricsError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(MetricsError::InUse { file: path.into() }),
        _ => Ok(()),
    }
}

/// Reads the events of a metrics file. A last line without its end is one that is being written, or was when the process
/// was killed, and is left out.
///
/// # Errors
/// [`MetricsError::Line`] for another line that is not an event; what the operating system refuses.
pub fn read_metrics(path: &Path) -> Result<Vec<Event>, MetricsError> {
    let bytes = file::read(path)?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let lines = bytes[..whole].split_inclusive(|&byte| byte == b'\n').enumerate();
    let event = |(i, line)| {
        serde_json::from_slice(line).map_err(|error: serde_json::Error| MetricsError::Line {
            file: path.into(),
            line: i + 1,
            column: error.column(),
            reason: reason_of(&error),
        })
    };
    lines.map(event).collect()
}

/// Whether the first `length` bytes are whole lines.
fn ends_a_line(file: &mut File, length: u64) -> std::io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::samples;
    use std::fs;
    use tempfile::tempdir;

    #[test]
    fn an_interrupted_run_leaves_the_bytes_of_one_that_was_not() {
        let folder = tempdir().unwrap();
        let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
        let mut log = MetricsLog::open(&whole, 0).unwrap();
        samples().iter().for_each(|event| log.hear(event));
        let kept: Vec<Event> = samples().into_iter().filter(Event::is_reproducible).collect();
        assert_eq!(read_metrics(&whole).unwrap(), kept);
        assert_eq!(log.commit().unwrap(), fs::metadata(&whole).unwrap().len());
        let expected = fs::read(&whole).unwrap();

        // The checkpoint is written after event `saved`, the process is killed after `killed`, in the midst of a line.
        for (saved, killed) in [(0, 0), (0, 3), (2, 3), (3, 3), (4, 6), (4, 8)] {
            let _ = fs::remove_file(&broken);
            let mut log = MetricsLog::open(&broken, 0).unwrap();
            samples()[..saved].iter().for_each(|event| log.hear(event));
            let length = log.commit().unwrap();
            samples()[saved..killed].iter().for_each(|event| log.hear(event));
            log.file.write_all(b"{\"event\":\"st").unwrap();
            drop(log);
            let before: Vec<Event> = samples()[..killed].iter().filter(|e| e.is_reproducible()).cloned().collect();
            assert_eq!(read_metrics(&broken).unwrap(), before, "the half line is left out");

            let mut log = MetricsLog::open(&broken, length).unwrap();
            if saved > 0 {
                log.hear(&Event::Started { parameters: 7, examples: 5, epochs: 2, steps: 4, resumed_at: 2 });
                log.hear(&Event::Warning { message: "4 examples skipped".into() });
            }
            samples()[saved..].iter().for_each(|event| log.hear(event));
            assert_eq!(fs::read(&broken).unwrap(), expected, "saved at {saved}, killed at {killed}");
        }
    }

    #[test]
    fn a_log_that_was_changed_is_refused_and_left_alone() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, "one\ntwo\n").unwrap();
        for length in [9, 7, 1, u64::MAX] {
            let error = MetricsLog::open(&path, length).unwrap_err();
            assert!(matches!(error, MetricsError::Changed { expected, found: 8, .. } if expected == length), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        MetricsLog::open(&path, 4).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\n");
    }

    #[test]
    fn a_log_has_one_writer() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path, 0).unwrap();
        log.hear(&samples()[0]);
        let error = MetricsLog::open(&path, 0).unwrap_err();
        assert!(matches!(error, MetricsError::InUse { .. }), "{error}");
        // Reading is free.
        assert_eq!(read_metrics(&path).unwrap(), samples()[..1]);
    }

    #[test]
    fn a_line_that_is_no_event_is_named() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let good = serde_json::to_string(&samples()[0]).unwrap();
        fs::write(&path, format!("{good}\n{{\"event\":\"coffee\"}}\n{good}")).unwrap();
        let message = read_metrics(&path).unwrap_err().to_string();
        assert!(message.contains("metrics.jsonl, line 2, column 17: unknown variant `coffee`"), "{message}");
        fs::write(&path, "").unwrap();
        assert_eq!(read_metrics(&path).unwrap(), []);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_reported_at_every_commit() {
        let folder = tempdir().unwrap();
        let mut log = MetricsLog::open(&folder.path().join("metrics.jsonl"), 0).unwrap();
        log.file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        samples().iter().for_each(|event| log.hear(event));
        for _ in 0..2 {
            let message = log.commit().unwrap_err().to_string();
            assert!(message.contains("metrics.jsonl") && message.contains("free some space"), "{message}");
        }
    }
}
