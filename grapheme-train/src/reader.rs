//! From a morphed graph back to text.

use crate::data::{GraphForm, join, segment};
use crate::decode::Decoder;
use crate::labelling::Labelling;
use crate::settings::ModelSpec;
use grapheme_core::GraphBatch;
use grapheme_core::network::MorphedGraph;

/// What became of one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The node of the text that it descends from, from 0 for the begin.
    pub node: u32,
    /// The other nodes of the text that an earlier morph merged into that one, in order; none where there is one morph.
    pub merged: Vec<u32>,
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
    /// How the input was made a graph.
    pub graph: GraphForm,
}

/// A batch of texts as a model sees it.
pub struct Sight<'a> {
    /// What the model is.
    pub spec: &'a ModelSpec,
    /// The graphs.
    pub batch: GraphBatch,
    /// What their nodes would copy.
    pub labelling: Labelling,
    /// After the network.
    pub morphed: MorphedGraph<f32>,
}

impl Sight<'_> {
    /// For the decoding of its graphs.
    pub fn decoder(&self) -> Decoder<'_, f32> {
        Decoder::new(&self.morphed, &self.labelling)
    }

    /// The text that labels write.
    pub fn text(&self, labels: &[u32]) -> String {
        let units: Vec<&str> = labels.iter().map(|&label| self.labelling.unit(label, &self.spec.labels)).collect();
        join(&units, self.spec.units)
    }

    /// The labels that a text is written by; [`NO_LABEL`](crate::labelling::NO_LABEL) for a unit that no node can write.
    pub fn labels(&self, text: &str) -> Vec<u32> {
        let units = segment(text, self.spec.units);
        units.iter().map(|unit| self.labelling.number(unit, &self.spec.labels)).collect()
    }

    /// What each candidate of a graph does on the likeliest way to write labels.
    pub fn explain(&self, decoder: &Decoder<'_, f32>, graph: usize, labels: &[u32]) -> Reading {
        let choices = decoder.path(graph, labels).unwrap_or_default();
        let first = self.morphed.candidate_offsets[graph] as usize;
        let begin = self.batch.topology().range(graph).start as u32;
        let slots = self.spec.network.stages.last().map_or(1, |stage| stage.slots);
        // The histories of all earlier morphs, composed, say what the node of a candidate is made of.
        let merged = |candidate: usize, own: u32| -> Vec<u32> {
            let made_of = self.morphed.made_of.iter().flat_map(|made_of| made_of.contributors(candidate / slots));
            made_of.map(|(node, _)| node - begin).filter(|&node| node != own).collect()
        };
        let mut steps: Vec<Step> = Vec::with_capacity(choices.len());
        for (i, choice) in choices.into_iter().enumerate() {
            let origin = self.morphed.candidate_origin[first + i];
            let node = origin - begin;
            let slot = steps.last().filter(|step| step.node == node).map_or(0, |step| step.slot + 1);
            let outcome = choice.label.map_or(Outcome::Merges, |label| {
                let label = self.labelling.unit(label, &self.spec.labels);
                let own = self.batch.grapheme(origin as usize).and_then(|own| self.spec.units.copied(own));
                Outcome::Writes { label: label.to_owned(), keeps: own.is_some_and(|own| own == label) }
            });
            let merged = merged(first + i, node);
            steps.push(Step { node, merged, slot, outcome, probability: choice.probability });
        }
        Reading { text: self.text(labels), steps, graph: self.spec.graph }
    }
}
