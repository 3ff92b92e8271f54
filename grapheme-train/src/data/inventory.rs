//! The symbols that a model may write.

use super::{TargetUnits, segment};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use thiserror::Error;

/// The units seen in training targets, sorted, and after them the outcome `Copy`: the label of the node it came from.
///
/// Saved as the plain list of symbols. Lookup is a binary search, but for single letters of ASCII, which are most there are.
///
/// ```
/// use grapheme_train::data::{LabelInventory, TargetUnits};
///
/// let labels = LabelInventory::of(["b a", "a c"], TargetUnits::Tokens);
/// assert_eq!(labels.symbols(), ["a", "b", "c"]);
/// assert_eq!(labels.index("b"), Some(1));
/// assert_eq!((labels.copy(), labels.outcomes()), (3, 4));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct LabelInventory {
    symbols: Vec<String>,
    /// The index of each symbol of one byte, by that byte; an empty list where there is none.
    ascii: Vec<Option<u32>>,
}

/// Texts of one byte.
const ASCII: usize = 128;

/// A saved inventory that is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "label {index}, {symbol:?}, does not sort after the label before it; the saved inventory was altered: restore it"
)]
pub struct InventoryError {
    /// The position of the symbol.
    pub index: usize,
    /// The symbol.
    pub symbol: String,
}

impl LabelInventory {
    /// The inventory of training targets, sorted by code points. Empty units are no symbols.
    pub fn of<'a>(targets: impl IntoIterator<Item = &'a str>, units: TargetUnits) -> Self {
        let mut symbols = BTreeSet::new();
        for target in targets {
            symbols.extend(segment(target, units).into_iter().filter(|unit| !unit.is_empty()));
        }
        Self::sorted(symbols.into_iter().map(Cow::into_owned).collect())
    }

    fn sorted(symbols: Vec<String>) -> Self {
        let mut ascii = Vec::new();
        for (index, symbol) in (0..).zip(&symbols) {
            if let &[byte] = symbol.as_bytes() {
                ascii.resize(ASCII, None);
                ascii[usize::from(byte)] = Some(index);
            }
        }
        Self { symbols, ascii }
    }

    /// The symbols in the order of their indices, `Copy` excluded.
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }

    /// The index of a symbol, if it was seen.
    pub fn index(&self, symbol: &str) -> Option<usize> {
        match symbol.as_bytes() {
            &[byte] => Some((*self.ascii.get(usize::from(byte))?)? as usize),
            _ => self.symbols.binary_search_by(|probe| probe.as_str().cmp(symbol)).ok(),
        }
    }

    /// The index of the outcome `Copy`, the last one.
    pub fn copy(&self) -> usize {
        self.symbols.len()
    }

    /// The number of outcomes: symbols and `Copy`.
    pub fn outcomes(&self) -> usize {
        self.symbols.len() + 1
    }
}

impl TryFrom<Vec<String>> for LabelInventory {
    type Error = InventoryError;

    fn try_from(symbols: Vec<String>) -> Result<Self, InventoryError> {
        match symbols.windows(2).position(|pair| pair[0] >= pair[1]) {
            Some(before) => Err(InventoryError { index: before + 1, symbol: symbols[before + 1].clone() }),
            None => Ok(Self::sorted(symbols)),
        }
    }
}

impl From<LabelInventory> for Vec<String> {
    fn from(inventory: LabelInventory) -> Self {
        inventory.symbols
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_the_targets_does_not_matter_and_a_save_changes_nothing() {
        let targets = ["नि abc", "", "z 👨‍👩‍👧", "é"];
        let labels = LabelInventory::of(targets, TargetUnits::Graphemes);
        assert_eq!(labels, LabelInventory::of(targets.into_iter().rev(), TargetUnits::Graphemes));
        let saved = serde_json::to_string(&labels).unwrap();
        assert_eq!(saved, r#"[" ","a","b","c","z","é","नि","👨‍👩‍👧"]"#);
        assert_eq!(serde_json::from_str::<LabelInventory>(&saved).unwrap(), labels);
        for (index, symbol) in labels.symbols().iter().enumerate() {
            assert_eq!(labels.index(symbol), Some(index));
        }
        assert_eq!([labels.index("न"), labels.index("q"), labels.index("")], [None; 3]);
        assert_eq!(LabelInventory::of(["é"], TargetUnits::Graphemes).index("a"), None);
    }

    #[test]
    fn an_inventory_without_symbols_can_still_copy() {
        let labels = LabelInventory::of(["", ""], TargetUnits::Tokens);
        assert_eq!((labels.copy(), labels.outcomes()), (0, 1));
    }

    #[test]
    fn an_altered_save_is_refused_by_name() {
        for saved in [r#"["b","a"]"#, r#"["a","a"]"#] {
            let error = serde_json::from_str::<LabelInventory>(saved).unwrap_err().to_string();
            assert!(error.contains(r#"label 1, "a""#), "{error}");
        }
    }
}
