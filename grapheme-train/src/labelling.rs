//! Target texts as numbers, and who may copy what.

use crate::data::{LabelInventory, TargetUnits, each_unit};
use grapheme_core::graph::NodeKind;
use grapheme_core::{GraphBatch, Kept};
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;

/// The label of a node that has none to copy.
pub const NO_LABEL: u32 = u32::MAX;

/// The targets of the graphs of a batch, as symbol numbers, and the number of what each node would copy.
///
/// Symbols of the inventory have its indices. A unit that the inventory does not know gets a number beyond its
/// outcomes, the same for equal texts, so it can be reached by copying and in no other way.
#[derive(Clone, Debug, Default)]
pub struct Labelling {
    /// The numbers and the kinds of the units of all targets, and where those of each graph end.
    numbers: Kept<u32>,
    kinds: Kept<NodeKind>,
    ends: Kept<u32>,
    /// For each node of the batch the number of its grapheme: what `Copy` would write. [`NO_LABEL`] for Begin and End.
    pub copies: Kept<u32>,
    /// For each node of the batch the kind of its grapheme.
    pub copy_kinds: Kept<NodeKind>,
    strangers: Strangers,
}

impl Labelling {
    /// Numbers the `targets` of the graphs of `batch`, one each. Linear in the texts, times the logarithm of the inventory.
    pub fn new<'a>(
        batch: &GraphBatch,
        targets: impl IntoIterator<Item = &'a str>,
        units: TargetUnits,
        labels: &LabelInventory,
    ) -> Self {
        let mut strangers = Strangers::default();
        let mut number = |unit: &str| {
            let known = labels.index(unit);
            known.unwrap_or_else(|| labels.outcomes() + strangers.number(unit)) as u32
        };
        let nodes = batch.nodes();
        let [mut numbers, mut copies] = [(); 2].map(|()| Kept::with_capacity(nodes));
        let [mut kinds, mut copy_kinds] = [(); 2].map(|()| Kept::with_capacity(nodes));
        let mut ends = Kept::with_capacity(batch.graphs());
        for target in targets {
            each_unit(target, units, |unit| {
                kinds.push(kind_of(&unit));
                numbers.push(number(&unit));
            });
            ends.push(numbers.len() as u32);
        }
        for node in 0..nodes {
            let grapheme = batch.grapheme(node);
            let copied = grapheme.and_then(|grapheme| units.copied(grapheme));
            copies.push(copied.map_or(NO_LABEL, |unit| number(&unit)));
            copy_kinds.push(grapheme.map_or(batch.kinds()[node], kind_of));
        }
        Self { numbers, kinds, ends, copies, copy_kinds, strangers }
    }

    /// How many targets there are.
    pub fn graphs(&self) -> usize {
        self.ends.len()
    }

    /// The numbers of the units of a graph's target.
    ///
    /// # Panics
    /// If there is no such graph.
    pub fn target(&self, graph: usize) -> &[u32] {
        &self.numbers[self.units(graph)]
    }

    /// The kinds of the units of a graph's target.
    ///
    /// # Panics
    /// If there is no such graph.
    pub fn target_kinds(&self, graph: usize) -> &[NodeKind] {
        &self.kinds[self.units(graph)]
    }

    fn units(&self, graph: usize) -> Range<usize> {
        let start = graph.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[graph] as usize
    }

    /// The unit that a number stands for.
    pub fn unit<'b>(&'b self, number: u32, labels: &'b LabelInventory) -> &'b str {
        let number = number as usize;
        labels.symbols().get(number).map_or_else(|| self.strangers.text(number - labels.outcomes()), String::as_str)
    }

    /// The number of a unit; [`NO_LABEL`] for one that no node can write.
    pub fn number(&self, unit: &str, labels: &LabelInventory) -> u32 {
        let stranger = || Some(labels.outcomes() + self.strangers.find(unit).ok()?);
        labels.index(unit).or_else(stranger).map_or(NO_LABEL, |number| number as u32)
    }
}

/// Strangers that memory is asked for at once.
const FORESEEN: usize = 64;

/// Units beyond an inventory, numbered as they came.
#[derive(Clone, Debug, Default)]
struct Strangers {
    /// All texts one after the other, and where each ends.
    texts: Kept<u8>,
    ends: Kept<u32>,
    /// Their numbers in the order of their texts.
    sorted: Kept<u32>,
}

impl Strangers {
    fn bytes(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[start as usize..self.ends[number] as usize]
    }

    fn text(&self, number: usize) -> &str {
        str::from_utf8(self.bytes(number)).expect("whole texts were put together")
    }

    /// Its number, or its place among the sorted ones.
    fn find(&self, unit: &str) -> Result<usize, usize> {
        let found = self.sorted.binary_search_by(|&number| self.bytes(number as usize).cmp(unit.as_bytes()));
        found.map(|place| self.sorted[place] as usize)
    }

    /// Its number, a new one if it was not seen before. The time of a search, and to make room for a new one.
    fn number(&mut self, unit: &str) -> usize {
        self.find(unit).unwrap_or_else(|place| {
            let number = self.ends.len();
            if number == 0 {
                let room = [(); 2].map(|()| Kept::with_capacity(FORESEEN));
                ([self.ends, self.sorted], self.texts) = (room, Kept::with_capacity(8 * FORESEEN));
            }
            self.texts.extend_from_slice(unit.as_bytes());
            self.ends.push(self.texts.len() as u32);
            self.sorted.insert(place, number as u32);
            number
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_have_numbers_beyond_the_outcomes_and_equal_texts_have_equal_ones() {
        let labels = LabelInventory::of(["ab"], TargetUnits::Graphemes);
        let batch = GraphBatch::from_texts(&["żaz", "źż"]).unwrap();
        let targets = ["bżxa", "x"];
        let labelling = Labelling::new(&batch, targets, TargetUnits::Graphemes, &labels);
        assert_eq!((labelling.graphs(), labelling.target(0), labelling.target(1)), (2, &[1, 3, 4, 0][..], &[4][..]));
        assert_eq!(labelling.target_kinds(1), [kind_of("x")]);
        // Begin, z and its dot, a, z, End; Begin, z and its accent, z and its dot, End.
        let copied: Vec<u32> = labelling.copies.iter().copied().filter(|&number| number != NO_LABEL).collect();
        assert_eq!(copied, [3, 3, 0, 5, 6, 6, 3, 3]);
        for unit in ["a", "b", "ż", "x", "z", "ź"] {
            assert_eq!(labelling.unit(labelling.number(unit, &labels), &labels), unit);
        }
        assert_eq!(labelling.number("y", &labels), NO_LABEL);
    }
}
