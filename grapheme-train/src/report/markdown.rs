//! A report as Markdown.

use super::{ErrorReport, Wrong};
use crate::metrics::Figures;
use std::fmt::Write as _;
use unicode_normalization::char::is_combining_mark;
use unicode_width::UnicodeWidthStr;

/// Confusions that are written out.
const CONFUSIONS: usize = 40;

impl ErrorReport {
    /// The whole report under `title`, in tables whose columns are aligned in the source too.
    pub fn markdown(&self, title: &str) -> String {
        let mut out = format!("# {}\n\n", escaped(title));
        let Figures { n, exact, wer, ter, f1 } = self.figures;
        let _ = writeln!(
            out,
            "{n} examples, {exact:.2}% exactly right: word error rate {wer:.2}, token error rate {ter:.2}, F1 of tokens \
             {f1:.2}."
        );
        self.diacritics(&mut out);
        if !self.by_level.is_empty() {
            let rows = self.by_level.iter().map(|(level, figures)| rates(level.to_string(), figures));
            section(&mut out, "By level", &["level", "examples", "exact %", "TER", "F1"], "lrrrr", rows);
        }
        let rows = self.by_length.iter().map(|(lengths, figures)| {
            let (first, last) = (lengths.start(), lengths.end());
            let name = match *last {
                usize::MAX => format!("{first} or more"),
                _ if first == last => first.to_string(),
                _ => format!("{first} to {last}"),
            };
            rates(name, figures)
        });
        section(
            &mut out,
            "By graphemes of the input",
            &["graphemes", "examples", "exact %", "TER", "F1"],
            "lrrrr",
            rows,
        );
        let rows = self.confusions.iter().take(CONFUSIONS).map(|confusion| {
            let unit = |unit: &Option<String>| unit.as_deref().map_or_else(|| "nothing".to_owned(), visible);
            let examples: Vec<String> = confusion.examples.iter().map(|text| visible(text)).collect();
            vec![confusion.count.to_string(), unit(&confusion.target), unit(&confusion.predicted), examples.join(", ")]
        });
        section(&mut out, "Confusions", &["count", "should be", "was", "in"], "rlll", rows);
        let hidden = self.confusions.len().saturating_sub(CONFUSIONS);
        if hidden > 0 {
            let _ = writeln!(out, "\nAnd {hidden} rarer ones.");
        }
        wrong_texts(&mut out, "Most edits", &self.worst);
        wrong_texts(&mut out, "Wrong and most sure", &self.most_confident);
        out
    }

    fn diacritics(&self, out: &mut String) {
        let found = self.diacritics;
        if found.in_diacritics > 0 {
            let share = |part: usize| 100.0 * part as f64 / found.wrong as f64;
            let _ = writeln!(
                out,
                "\nOf {} wrong texts, {} ({:.1}%) are right once combining marks, modifier letters and length marks are \
                 left out on both sides, {} ({:.1}%) of them wrong in a single such mark.",
                found.wrong,
                found.in_diacritics,
                share(found.in_diacritics),
                found.in_one,
                share(found.in_one)
            );
        }
    }
}

fn wrong_texts(out: &mut String, title: &str, texts: &[Wrong]) {
    let rows = texts.iter().map(|wrong| {
        let probability = wrong.probability.map_or_else(String::new, |p| format!("{:.1}", 100.0 * p));
        let [input, target, predicted] = [&wrong.input, &wrong.target, &wrong.predicted].map(|text| visible(text));
        vec![wrong.edits.to_string(), probability, input, target, predicted]
    });
    section(out, title, &["edits", "sure %", "input", "should be", "was"], "rrlll", rows);
}

fn rates(name: String, figures: &Figures) -> Vec<String> {
    let Figures { n, exact, ter, f1, .. } = figures;
    vec![name, n.to_string(), format!("{exact:.2}"), format!("{ter:.2}"), format!("{f1:.2}")]
}

/// A heading and a table; nothing where there are no rows. `sides` has `l` or `r` for each column.
fn section(out: &mut String, title: &str, head: &[&str], sides: &str, rows: impl Iterator<Item = Vec<String>>) {
    let head = head.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    if rows.len() == 1 {
        return;
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0).max(2)).collect();
    let _ = writeln!(out, "\n## {title}\n");
    for (i, row) in rows.iter().enumerate() {
        for ((cell, &width), side) in row.iter().zip(&widths).zip(sides.chars()) {
            let padding = " ".repeat(width - cell.width());
            let _ = match side {
                'r' => write!(out, "| {padding}{cell} "),
                _ => write!(out, "| {cell}{padding} "),
            };
        }
        out.push_str("|\n");
        if i == 0 {
            for (&width, side) in widths.iter().zip(sides.chars()) {
                let line = "-".repeat(width - 1);
                let _ = match side {
                    'r' => write!(out, "| {line}: "),
                    _ => write!(out, "| :{line} "),
                };
            }
            out.push_str("|\n");
        }
    }
}

/// A text that can be seen in a cell: nothing, spaces at the ends, controls and lone marks included.
fn visible(text: &str) -> String {
    let inner = text.trim_matches(' ');
    if inner.is_empty() {
        return if text.is_empty() { "(empty)".to_owned() } else { "␣".repeat(text.len()) };
    }
    let (before, after) =
        (text.len() - text.trim_start_matches(' ').len(), text.len() - text.trim_end_matches(' ').len());
    let mut shown = "␣".repeat(before);
    if inner.starts_with(is_combining_mark) && before == 0 {
        shown.push('◌');
    }
    for c in inner.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown.push_str(&"␣".repeat(after));
    escaped(&shown)
}

/// What Markdown would take for its own gets a backslash.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&' | '~' | '$' | '#') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_show_what_is_hard_to_see_and_break_no_table() {
        let cases = [
            ("", "(empty)"),
            (" ", "␣"),
            (" @@", "␣@@"),
            ("a b  ", "a b␣␣"),
            ("\u{301}", "◌\u{301}"),
            ("a|b", "a\\|b"),
            ("x\ty\n", "x\\\\ty\\\\n"),
            ("<b>*", "\\<b\\>\\*"),
        ];
        for (text, cell) in cases {
            assert_eq!(visible(text), cell, "{text:?}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_on_a_screen() {
        let mut out = String::new();
        let rows = [["1", "漢字"], ["22", "e\u{301}"]].map(|row| row.map(str::to_owned).to_vec());
        section(&mut out, "T", &["n", "text"], "rl", rows.into_iter());
        assert_eq!(out, "\n## T\n\n|  n | text |\n| -: | :--- |\n|  1 | 漢字 |\n| 22 | e\u{301}    |\n");
        let mut none = String::new();
        section(&mut none, "T", &["n"], "r", std::iter::empty());
        assert_eq!(none, "");
    }
}
