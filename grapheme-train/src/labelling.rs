//! Target texts as numbers, and who may copy what.

use crate::data::{LabelInventory, TargetUnits, segment};
use grapheme_core::GraphBatch;
use grapheme_core::graph::NodeKind;
use std::borrow::Cow;
use std::collections::BTreeMap;
use unicode_normalization::UnicodeNormalization;

/// The label of a node that has none to copy.
pub const NO_LABEL: u32 = u32::MAX;

/// The targets of the graphs of a batch, as symbol numbers, and the number of what each node would copy.
///
/// Symbols of the inventory have its indices. A unit that the inventory does not know gets a number beyond its
/// outcomes, the same for equal texts, so it can be reached by copying and in no other way.
#[derive(Clone, Debug, Default)]
pub struct Labelling {
    /// For each graph the numbers of its target's units.
    pub targets: Vec<Vec<u32>>,
    /// For each graph the kinds of its target's units.
    pub target_kinds: Vec<Vec<NodeKind>>,
    /// For each node of the batch the number of its grapheme: what `Copy` would write. [`NO_LABEL`] for Begin and End.
    pub copies: Vec<u32>,
    /// For each node of the batch the kind of its grapheme.
    pub copy_kinds: Vec<NodeKind>,
    /// The units beyond the inventory, by their number less that of its outcomes.
    pub strangers: Vec<String>,
}

impl Labelling {
    /// Numbers the `targets` of the graphs of `batch`, one each. Linear in the texts, times the logarithm of the inventory.
    pub fn new<'a>(
        batch: &GraphBatch,
        targets: impl IntoIterator<Item = &'a str>,
        units: TargetUnits,
        labels: &LabelInventory,
    ) -> Self {
        let mut strangers: BTreeMap<String, u32> = BTreeMap::new();
        let mut number = |unit: Cow<'_, str>| match labels.index(&unit) {
            Some(index) => index as u32,
            None => {
                let next = (labels.outcomes() + strangers.len()) as u32;
                *strangers.entry(unit.into_owned()).or_insert(next)
            }
        };
        let mut labelling = Self::default();
        for target in targets {
            let cut = segment(target, units);
            labelling.target_kinds.push(cut.iter().map(|unit| kind_of(unit)).collect());
            labelling.targets.push(cut.into_iter().map(&mut number).collect());
        }
        for node in 0..batch.nodes() {
            let grapheme = batch.grapheme(node);
            let copied = grapheme.and_then(|grapheme| units.copied(grapheme));
            labelling.copies.push(copied.map_or(NO_LABEL, &mut number));
            labelling.copy_kinds.push(grapheme.map_or(batch.kinds()[node], kind_of));
        }
        labelling.strangers = vec![String::new(); strangers.len()];
        for (unit, number) in strangers {
            labelling.strangers[number as usize - labels.outcomes()] = unit;
        }
        labelling
    }

    /// The unit that a number stands for.
    pub fn unit<'b>(&'b self, number: u32, labels: &'b LabelInventory) -> &'b str {
        let number = number as usize;
        labels.symbols().get(number).unwrap_or_else(|| &self.strangers[number - labels.outcomes()])
    }
}

/// The kind of a unit is that of its first code point after canonical decomposition, of a part without the space that it
/// may bring along.
pub fn kind_of(unit: &str) -> NodeKind {
    let inner = unit.strip_prefix(' ').filter(|inner| !inner.is_empty());
    let inner = inner.unwrap_or(unit);
    // ASCII decomposes into itself, and nothing moves before it.
    let ascii = inner.bytes().next().filter(u8::is_ascii).map(char::from);
    ascii.or_else(|| inner.nfd().next()).map_or(NodeKind::Other, NodeKind::of)
}
