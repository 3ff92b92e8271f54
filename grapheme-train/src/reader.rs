//! From a morphed graph back to text.

use crate::data::{LabelInventory, TargetUnits, join};
use grapheme_core::network::{Closing, MorphedGraph};
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
    /// The reading of one graph under its most probable plan: a candidate merges where g > 1/2, and what stays takes its
    /// likeliest label. Under the realised closing the plan has been carried out before the labels were read; under the
    /// marginal one nothing needs to be, since no label depends on it. `O(candidates x outcomes)`.
    pub fn read<S: Scalar>(&self, batch: &GraphBatch, morphed: &MorphedGraph<S>, graph: usize) -> Reading {
        let candidates = morphed.candidate_offsets[graph] as usize..morphed.candidate_offsets[graph + 1] as usize;
        let mut rows = morphed.topology.range(graph).peekable();
        let (mut steps, mut before) = (Vec::with_capacity(candidates.len()), None);
        let mut slot = 0;
        for c in candidates {
            let node = morphed.candidate_origin[c];
            slot = if before == Some(node) { slot + 1 } else { 0 };
            before = Some(node);
            let (stay, merge) = (morphed.gates.log_stay[c], morphed.gates.log_merge[c]);
            let (outcome, log) = match rows.next_if(|&row| morphed.kept[row] as usize == c) {
                Some(row) if morphed.closing == Closing::Realised || merge <= stay => {
                    let (outcome, log) = self.likeliest(batch, morphed, row);
                    (outcome, log + stay.widen())
                }
                _ => (Outcome::Merges, merge.widen()),
            };
            steps.push(Step { node, slot, outcome, probability: log.exp() });
        }
        let labels: Vec<&str> = steps
            .iter()
            .filter_map(|step| match &step.outcome {
                Outcome::Writes { label, .. } => Some(label.as_str()),
                Outcome::Merges => None,
            })
            .collect();
        Reading { text: join(&labels, self.units), steps }
    }

    /// The likeliest label of an output node and its log probability; a symbol and a copy of the same label add.
    fn likeliest<S: Scalar>(&self, batch: &GraphBatch, morphed: &MorphedGraph<S>, row: usize) -> (Outcome, f64) {
        let log = morphed.log_label.row(row);
        let own = batch.grapheme(morphed.origin[row] as usize);
        // A space parts tokens, so it cannot be one.
        let own = own.filter(|label| self.units != TargetUnits::Tokens || !label.contains(' '));
        let own_symbol = own.and_then(|label| self.labels.index(label));
        let copy = if own.is_some() { log[self.labels.copy()].widen() } else { f64::NEG_INFINITY };
        let mut best = (None, if own_symbol.is_none() { copy } else { f64::NEG_INFINITY });
        for (symbol, log) in log.iter().take(self.labels.copy()).enumerate() {
            let mut log = log.widen();
            if own_symbol == Some(symbol) {
                log = (log.exp() + copy.exp()).ln();
            }
            if log > best.1 {
                best = (Some(symbol), log);
            }
        }
        let label = match best.0 {
            Some(symbol) => self.labels.symbols()[symbol].clone(),
            None => own.unwrap_or_default().to_owned(),
        };
        let keeps = own == Some(label.as_str());
        (Outcome::Writes { label, keeps }, best.1)
    }
}
