//! Standard output and error of a command.
//!
//! `println!` panics where nobody reads any more (`train | head -1`); these do not.

use crate::file::FileError;
use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use thiserror::Error;

/// Writes to standard output.
///
/// # Errors
/// [`FileError`], also where the reader has left: see [`conclude`].
pub fn print(text: &str) -> Result<(), FileError> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(FileError::of("write", "standard output"))
}

/// Writes a line to standard error. A command does its work whether or not that is heard.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A job that ended because a signal asked it to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("stopped by {}: {kept}", if *.signal == 2 { "Ctrl-C".to_owned() } else { format!("signal {signal}") })]
pub struct Interrupted {
    /// The number of the signal.
    pub signal: u8,
    /// What is kept of it, and how to go on.
    pub kept: String,
}

/// How a command ends: an error is told in one line, with its cause. Whoever stopped reading the output has heard enough,
/// which is no error; a job that was asked to end has 128 more than the signal as its exit code, as is the custom.
pub fn conclude(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        tell(&interrupted.to_string());
        return ExitCode::from(128 + interrupted.signal);
    }
    if error.downcast_ref::<FileError>().is_some_and(|refused| refused.error.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    // Not by returning the error from `main`, which buries it under a backtrace wherever RUST_BACKTRACE is set.
    tell(&format!("error: {error:#}"));
    ExitCode::FAILURE
}

/// A text that stays in its row and column of a table: tabs and line ends within it as `\t`, `\n` and `\r`.
pub fn cell(text: &str) -> Cow<'_, str> {
    if text.contains(['\t', '\n', '\r']) {
        Cow::Owned(text.replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A text as content of an XML element; what XML has no place for, control characters among it, as U+FFFD.
///
/// ```
/// use grapheme_train::output::xml;
/// assert_eq!(xml("a<b&c>\u{1}\u{ffff}"), "a&lt;b&amp;c&gt;\u{fffd}\u{fffd}");
/// ```
pub fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A word as it must be typed for a POSIX shell to pass it on unchanged.
///
/// ```
/// use grapheme_train::output::shell_word;
/// assert_eq!(shell_word("runs/hun-2"), "runs/hun-2");
/// assert_eq!(shell_word("it's $5"), r"'it'\''s $5'");
/// ```
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
