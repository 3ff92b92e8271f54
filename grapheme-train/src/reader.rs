//! From a morphed graph back to text.

use crate::data::{LabelInventory, TargetUnits, join};
use crate::decode::Decoder;
use crate::labelling::Labelling;
use grapheme_core::network::MorphedGraph;
use grapheme_core::{GraphBatch, Scalar};

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The node of the batch that it descends from.
    pub node: u32,
    /// Its slot in the last morph.
    pub slot: u32,
    /// What it does.
    pub outcome: Outcome,
    /// The probability of that, as the network sees it.
    pub probability: f64,
}

/// What a candidate does in a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It merges into the candidate before it.
    Merges,
    /// It stays and writes a label.
    Writes {
        /// The label.
        label: String,
        /// Whether that is the label of its own node.
        keeps: bool,
    },
}

/// A graph read back as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The output.
    pub text: String,
    /// One entry a candidate, in order.
    pub steps: Vec<Step>,
}

/// Reads morphed graphs with the labels and units of a model.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The symbols behind the outcomes.
    pub labels: &'a LabelInventory,
    /// What they are units of.
    pub units: TargetUnits,
}

impl Reader<'_> {
    /// The text that labels write.
    pub fn text(&self, labelling: &Labelling, labels: &[u32]) -> String {
        let units: Vec<&str> = labels.iter().map(|&label| labelling.unit(label, self.labels)).collect();
        join(&units, self.units)
    }

    /// The likeliest way to write given labels.
    pub fn explain<S: Scalar>(
        &self,
        seen: &Seen<'_, S>,
        decoder: &Decoder<'_, S>,
        graph: usize,
        labels: &[u32],
    ) -> Reading {
        let Seen { batch, labelling, morphed } = seen;
        let choices = decoder.path(graph, labels).unwrap_or_default();
        let first = morphed.candidate_offsets[graph] as usize;
        let (mut steps, mut slot): (Vec<Step>, _) = (Vec::with_capacity(choices.len()), 0);
        for (i, choice) in choices.into_iter().enumerate() {
            let node = morphed.candidate_origin[first + i];
            slot = if steps.last().is_some_and(|step| step.node == node) { slot + 1 } else { 0 };
            let outcome = choice.label.map_or(Outcome::Merges, |label| {
                let label = labelling.unit(label, self.labels);
                let keeps = batch
                    .grapheme(node as usize)
                    .and_then(|own| self.units.copied(own))
                    .is_some_and(|own| own == label);
                Outcome::Writes { label: label.to_owned(), keeps }
            });
            steps.push(Step { node, slot, outcome, probability: choice.probability });
        }
        Reading { text: self.text(labelling, labels), steps }
    }
}

/// A batch, and what a network made of it.
#[derive(Clone, Copy)]
pub struct Seen<'a, S> {
    /// The graphs.
    pub batch: &'a GraphBatch,
    /// What their nodes would copy.
    pub labelling: &'a Labelling,
    /// After the network.
    pub morphed: &'a MorphedGraph<S>,
}
