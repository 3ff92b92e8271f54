//! Two columns: `input<TAB>target`.

use super::{Example, LineFault};

/// Reads one line.
pub(super) fn parse(line: &str) -> Result<Example, LineFault> {
    let (input, target) = line.split_once('\t').ok_or(LineFault::MissingColumn)?;
    match target.matches('\t').count() {
        0 => Ok(Example { id: None, level: None, input: input.into(), target: target.into() }),
        more => Err(LineFault::ExtraColumns { columns: 2 + more }),
    }
}

/// The line of a pair; none if one of its texts holds a tab or a line end, which would make another line of it.
pub fn two_columns(input: &str, target: &str) -> Option<String> {
    let whole = !input.contains(['\t', '\n', '\r']) && !target.contains(['\t', '\n', '\r']);
    whole.then(|| format!("{input}\t{target}\n"))
}
