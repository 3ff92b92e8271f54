//! Lines of a file, numbered, bounded in length and checked to be UTF-8.

use super::LineFault;
use std::io::{self, BufRead};

/// The mark that some editors put at the start of a UTF-8 file.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Reads line after line without ever holding more than `limit` bytes of one.
pub struct Lines<R> {
    reader: R,
    limit: usize,
    number: usize,
    kept: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `limit` bytes, a carriage return included.
    pub fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit, number: 0, kept: Vec::new() }
    }

    /// Where the lines come from.
    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// The number of lines read.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The next line's 1-based number and its text, without the line end and the byte order mark; none at the end.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn next_line(&mut self) -> io::Result<Option<(usize, Result<&str, LineFault>)>> {
        let Some(length) = self.fill()? else { return Ok(None) };
        self.number += 1;
        if length > self.limit {
            return Ok(Some((self.number, Err(LineFault::TooLong { length, limit: self.limit }))));
        }
        let line = self.kept.as_slice();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if self.number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        let text = std::str::from_utf8(line).map_err(|error| {
            let at = error.valid_up_to();
            LineFault::InvalidUtf8 { position: at + 1, byte: line[at] }
        });
        Ok(Some((self.number, text)))
    }

    /// Keeps the start of the next line and returns its whole length, or none at the end of the file.
    fn fill(&mut self) -> io::Result<Option<usize>> {
        self.kept.clear();
        let mut length = None;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                return Ok(length);
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            let room = self.limit - self.kept.len();
            self.kept.extend_from_slice(&part[..part.len().min(room)]);
            let whole = length.unwrap_or(0) + part.len();
            length = Some(whole);
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    #[test]
    fn a_line_far_over_the_limit_is_measured_but_never_held() {
        let long = io::repeat(b'a').take(64 << 20).chain(&b"\nb\tc\n"[..]);
        let mut lines = Lines::new(BufReader::new(long), 1000);
        let too_long = Err(LineFault::TooLong { length: 64 << 20, limit: 1000 });
        assert_eq!(lines.next_line().unwrap(), Some((1, too_long)));
        assert!(lines.kept.capacity() < 10_000, "{} bytes held", lines.kept.capacity());
        assert_eq!(lines.next_line().unwrap(), Some((2, Ok("b\tc"))));
        assert_eq!(lines.next_line().unwrap(), None);
    }

    #[test]
    fn line_ends_marks_and_chunk_borders_do_not_show() {
        let bytes = b"\xEF\xBB\xBFab\r\n\n\xEF\xBB\xBFc\r\nd\re\r";
        for capacity in 1..=bytes.len() {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, &bytes[..]), 100);
            for expected in [(1, "ab"), (2, ""), (3, "\u{FEFF}c"), (4, "d\re")] {
                let (number, text) = lines.next_line().unwrap().expect("a line");
                assert_eq!((number, text.unwrap()), expected, "capacity {capacity}");
            }
            assert_eq!(lines.next_line().unwrap(), None);
        }
    }

    #[test]
    fn the_limit_itself_fits() {
        let mut lines = Lines::new(&b"abcd\nabcde\n"[..], 4);
        assert_eq!(lines.next_line().unwrap(), Some((1, Ok("abcd"))));
        assert_eq!(lines.next_line().unwrap(), Some((2, Err(LineFault::TooLong { length: 5, limit: 4 }))));
    }
}
