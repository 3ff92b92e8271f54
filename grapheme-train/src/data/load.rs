//! Files and folders of examples.

use super::lines::{BYTE_ORDER_MARK, Lines};
use super::{BadLine, DataError, Dataset, Example, LineFault, Skipped, Split, TargetUnits, jsonl, tsv};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

/// What happens at a bad line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadLines {
    /// Loading ends with an error that names the line.
    #[default]
    Stop,
    /// The line is left out, counted and listed in [`Split::skipped`].
    Skip,
}

/// How a file's lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `input<TAB>target`.
    Tsv,
    /// One JSON object a line with `input` and `target`, and perhaps `id` and `level`.
    Jsonl,
}

impl Format {
    /// By the extension `.tsv` or `.jsonl`; for any other, JSONL where the first character is `{`.
    fn of(path: &Path, reader: &mut impl BufRead) -> std::io::Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if extension.eq_ignore_ascii_case("tsv") {
            return Ok(Self::Tsv);
        }
        if extension.eq_ignore_ascii_case("jsonl") {
            return Ok(Self::Jsonl);
        }
        let start = reader.fill_buf()?;
        let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(start).trim_ascii_start();
        Ok(if start.starts_with(b"{") { Self::Jsonl } else { Self::Tsv })
    }

    fn parse(self, line: &str) -> Result<Example, LineFault> {
        match self {
            Self::Tsv => tsv::parse(line),
            Self::Jsonl => jsonl::parse(line),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tsv => "TSV",
            Self::Jsonl => "JSONL",
        })
    }
}

/// How to load: plain settings.
///
/// ```
/// use grapheme_train::data::{BadLines, Loader};
///
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("words.tsv");
/// std::fs::write(&file, "abc\tab\nno tab here\nxyz\txy\n")?;
/// let loader = Loader { bad_lines: BadLines::Skip, ..Loader::default() };
/// let split = loader.file(&file)?;
/// assert_eq!(split.examples()[1].target, "xy");
/// assert_eq!(split.skipped().first()[0].line, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loader {
    /// What happens at a bad line.
    pub bad_lines: BadLines,
    /// The longest line in bytes; a million unless told.
    pub max_line: usize,
}

impl Default for Loader {
    fn default() -> Self {
        Self { bad_lines: BadLines::Stop, max_line: 1_000_000 }
    }
}

impl Loader {
    /// Loads one file; UTF-8 with LF or CRLF, with or without a byte order mark. A blank last line is no line.
    ///
    /// # Errors
    /// Any [`DataError`] besides those of folders; a bad line only under [`BadLines::Stop`].
    pub fn file(&self, path: impl AsRef<Path>) -> Result<Split, DataError> {
        let path = path.as_ref();
        let failed = |error| DataError::io(path, error);
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        let format = Format::of(path, &mut reader).map_err(failed)?;
        let mut split = Split {
            path: path.to_path_buf(),
            format,
            examples: Vec::new(),
            lines: Vec::new(),
            skipped: Skipped::default(),
        };
        let mut lines = Lines::new(reader, self.max_line);
        // A blank line is bad only once another line follows it.
        let mut blank = None;
        while let Some((number, text)) = lines.next_line().map_err(failed)? {
            if let Some(blank) = blank.take() {
                self.refuse(&mut split, blank, LineFault::Blank)?;
            }
            match text.and_then(|text| if text.is_empty() { Ok(None) } else { format.parse(text).map(Some) }) {
                Ok(Some(example)) => {
                    split.examples.push(example);
                    split.lines.push(number);
                }
                Ok(None) => blank = Some(number),
                Err(fault) => self.refuse(&mut split, number, fault)?,
            }
        }
        split.examples.shrink_to_fit();
        split.lines.shrink_to_fit();
        some_left(split)
    }

    /// Loads the folder's `train.*` and `dev.*`, and `test.*` where there is one; each `.tsv` or `.jsonl`.
    ///
    /// # Errors
    /// Any [`DataError`].
    pub fn folder(&self, folder: impl AsRef<Path>) -> Result<Dataset, DataError> {
        let folder = folder.as_ref();
        // Opened first, so that a missing or locked folder is not mistaken for an empty one.
        std::fs::read_dir(folder).map_err(|error| match error.kind() {
            ErrorKind::NotADirectory => DataError::IsFile { path: folder.to_path_buf() },
            _ => DataError::io(folder, error),
        })?;
        let find = |name: &'static str| {
            let [tsv, jsonl] = ["tsv", "jsonl"].map(|extension| folder.join(name).with_extension(extension));
            match (tsv.exists(), jsonl.exists()) {
                (true, true) => Err(DataError::TwoFiles { folder: folder.to_path_buf(), name }),
                (true, false) => self.file(tsv).map(Some),
                (false, true) => self.file(jsonl).map(Some),
                (false, false) => Ok(None),
            }
        };
        let need = |name| find(name)?.ok_or_else(|| DataError::NoSplit { folder: folder.to_path_buf(), name });
        Ok(Dataset { train: need("train")?, dev: need("dev")?, test: find("test")? })
    }

    /// Checks that every target can be cut into `units` once these are known: an empty token is a bad line.
    ///
    /// # Errors
    /// [`DataError::Line`] under [`BadLines::Stop`], [`DataError::NoExamples`] where none is left.
    pub fn check_units(&self, split: Split, units: TargetUnits) -> Result<Split, DataError> {
        self.check(split, |example| {
            let empty = units.empty_token(&example.target).map(|token| LineFault::EmptyToken { token });
            empty.or_else(|| (!units.can_write(&example.target)).then_some(LineFault::NotComposed))
        })
    }

    /// Checks what only a later stage can know of an example: one with a fault is a bad line.
    ///
    /// # Errors
    /// As [`Loader::check_units`].
    pub fn check(&self, mut split: Split, fault: impl Fn(&Example) -> Option<LineFault>) -> Result<Split, DataError> {
        // In place, as there may be millions.
        let mut kept = 0;
        for i in 0..split.examples.len() {
            match fault(&split.examples[i]) {
                Some(fault) => {
                    let line = split.lines[i];
                    self.refuse(&mut split, line, fault)?;
                }
                None => {
                    split.examples.swap(kept, i);
                    split.lines.swap(kept, i);
                    kept += 1;
                }
            }
        }
        split.examples.truncate(kept);
        split.lines.truncate(kept);
        some_left(split)
    }

    fn refuse(&self, split: &mut Split, line: usize, fault: LineFault) -> Result<(), DataError> {
        let bad = BadLine { path: split.path.clone(), line, fault };
        match self.bad_lines {
            BadLines::Stop => Err(DataError::Line(bad)),
            BadLines::Skip => {
                split.skipped.push(bad);
                Ok(())
            }
        }
    }
}

fn some_left(split: Split) -> Result<Split, DataError> {
    match (split.examples.is_empty(), split.skipped.count()) {
        (false, _) => Ok(split),
        (true, 0) => Err(DataError::Empty { path: split.path }),
        (true, _) => Err(DataError::NoExamples { path: split.path, skipped: split.skipped }),
    }
}

#[cfg(test)]
mod tests;
