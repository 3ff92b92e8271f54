//! Target texts as numbers, and who may copy what.

use crate::data::{LabelInventory, TargetUnits, segment};
use grapheme_core::GraphBatch;
use grapheme_core::graph::NodeKind;
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
}

impl Labelling {
    /// Numbers the `targets` of the graphs of `batch`, one each. Linear in the texts, times the logarithm of the inventory.
    pub fn new<'a>(
        batch: &'a GraphBatch,
        targets: impl IntoIterator<Item = &'a str>,
        units: TargetUnits,
        labels: &LabelInventory,
    ) -> Self {
        let mut strangers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut number = |unit: &'a str| match labels.index(unit) {
            Some(index) => index as u32,
            None => {
                let next = (labels.outcomes() + strangers.len()) as u32;
                *strangers.entry(unit).or_insert(next)
            }
        };
        let mut labelling = Self::default();
        for target in targets {
            let units = segment(target, units);
            labelling.target_kinds.push(units.iter().map(|unit| kind_of(unit)).collect());
            labelling.targets.push(units.into_iter().map(&mut number).collect());
        }
        for node in 0..batch.nodes() {
            let grapheme = batch.grapheme(node);
            labelling.copies.push(grapheme.map_or(NO_LABEL, &mut number));
            labelling.copy_kinds.push(grapheme.map_or(batch.kinds()[node], kind_of));
        }
        labelling
    }
}

/// The kind of a unit is that of its first code point after canonical decomposition.
pub fn kind_of(unit: &str) -> NodeKind {
    unit.nfd().next().map_or(NodeKind::Other, NodeKind::of)
}
