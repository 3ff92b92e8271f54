//! Two columns: `input<TAB>target`.

use super::{Example, LineFault};

/// Reads one line. The line number serves as the name.
pub(super) fn parse(number: usize, line: &str) -> Result<Example, LineFault> {
    let (input, target) = line.split_once('\t').ok_or(LineFault::MissingColumn)?;
    match target.matches('\t').count() {
        0 => Ok(Example { id: number.to_string(), level: None, input: input.into(), target: target.into() }),
        more => Err(LineFault::ExtraColumns { columns: 2 + more }),
    }
}
