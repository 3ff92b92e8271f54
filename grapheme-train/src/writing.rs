//! How probable it is that an output node writes a label.
//!
//! A label can be written by its own outcome, by `Copy` where the node's grapheme is that label, or by both:
//! `p(y) = sum over the outcomes o that write y of p(o)`.

use crate::labelling::{Labelling, NO_LABEL};
use grapheme_core::Scalar;
use grapheme_core::network::{MorphedGraph, Upstream};

/// What the output nodes of a batch can write. `Copy` is the last outcome.
pub struct Writing<'a, S: Scalar> {
    morphed: &'a MorphedGraph<S>,
    copies: &'a [u32],
}

impl<'a, S: Scalar> Writing<'a, S> {
    /// For the output nodes of `morphed`, whose graphs `labelling` is about.
    pub fn new(morphed: &'a MorphedGraph<S>, labelling: &'a Labelling) -> Self {
        Self { morphed, copies: &labelling.copies }
    }

    /// `ln p(label)` for an output node.
    pub fn log_label(&self, row: usize, label: u32) -> S {
        let log = |outcome| self.morphed.log_label[[row, outcome]];
        match self.outcomes(row, label) {
            (Some(symbol), Some(copy)) => log_add(log(symbol), log(copy)),
            (Some(outcome), None) | (None, Some(outcome)) => log(outcome),
            (None, None) => S::neg_infinity(),
        }
    }

    /// Adds the gradient of [`log_label`](Self::log_label) times `d`.
    pub fn add_gradient(&self, row: usize, label: u32, d: S, upstream: &mut Upstream<S>) {
        match self.outcomes(row, label) {
            (Some(symbol), Some(copy)) => {
                let total = self.log_label(row, label);
                for outcome in [symbol, copy] {
                    let log = self.morphed.log_label[[row, outcome]];
                    upstream.log_label[[row, outcome]] += d * (log - total).quick_exp();
                }
            }
            // One outcome writes it: most labels of most nodes.
            (Some(outcome), None) | (None, Some(outcome)) => upstream.log_label[[row, outcome]] += d,
            (None, None) => {}
        }
    }

    /// Every label that an output node may write, with its log probability: symbols in order, what can only be copied last.
    pub fn labels(&self, row: usize) -> impl Iterator<Item = (u32, S)> + '_ {
        let copied = self.copied(row);
        let stranger = (copied != NO_LABEL && copied as usize >= self.copy()).then_some(copied);
        let symbols = self.morphed.log_label.row(row).into_iter().take(self.copy());
        let symbols = (0..)
            .zip(symbols)
            .map(move |(label, &log)| (label, if label == copied { self.log_label(row, label) } else { log }));
        symbols.chain(stranger.map(|label| (label, self.log_label(row, label))))
    }

    /// The outcomes by which a row writes a label: its symbol, and `Copy`.
    fn outcomes(&self, row: usize, label: u32) -> (Option<usize>, Option<usize>) {
        let copy = self.copy();
        let symbol = (label as usize) < copy;
        let copies = label != NO_LABEL && self.copied(row) == label;
        (symbol.then_some(label as usize), copies.then_some(copy))
    }

    /// The label that an output node writes by copying; [`NO_LABEL`] for none.
    fn copied(&self, row: usize) -> u32 {
        self.copies[self.morphed.origin[row] as usize]
    }

    /// The outcome `Copy`.
    fn copy(&self) -> usize {
        self.morphed.log_label.ncols() - 1
    }
}

/// `ln(exp a + exp b)`.
pub fn log_add<S: Scalar>(a: S, b: S) -> S {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == S::neg_infinity() { high } else { high + (low - high).quick_exp().quick_ln_1p() }
}
