//! How probable it is that an output node writes a label.
//!
//! A label can be written by its own outcome, by `Copy` where the node's grapheme is that label, or by both. With
//! transitions the label before counts too:
//! `p(y | before) = (sum over the outcomes o that write y of p(o) e(before, o)) / (sum over all o of p(o) e(before, o))`,
//! `e = exp(transitions)`. As the label before a target's j-th is its (j - 1)-th whatever the alignment, the marginal over
//! all alignments stays exact in `O(n m)` states.

use crate::labelling::{Labelling, NO_LABEL};
use grapheme_core::Scalar;
use grapheme_core::network::{MorphedGraph, Upstream};
use ndarray::{Array2, ArrayView1};

/// What the output nodes of a batch can write. O is the number of outcomes, `Copy` the last of them.
pub struct Writing<'a, S> {
    morphed: &'a MorphedGraph<S>,
    copies: &'a [u32],
    factors: Option<Factors<'a, S>>,
}

/// Exponentials that all sums over outcomes share.
struct Factors<'a, S> {
    potentials: &'a Array2<S>,
    /// `p(o)`: output nodes x O.
    outcome: Array2<S>,
    /// `e(before, o)`: O x O.
    transition: Array2<S>,
}

impl<'a, S: Scalar> Writing<'a, S> {
    /// For the output nodes of `morphed`, whose graphs `labelling` is about.
    pub fn new(morphed: &'a MorphedGraph<S>, labelling: &'a Labelling) -> Self {
        let factors = morphed.transitions.as_ref().map(|potentials| Factors {
            potentials,
            outcome: morphed.log_label.mapv(S::quick_exp),
            transition: potentials.mapv(S::exp),
        });
        Self { morphed, copies: &labelling.copies, factors }
    }

    /// `ln p(label | before)` for an output node; without a label before, [`NO_LABEL`]. `O(O)` with transitions, else constant.
    pub fn log_label(&self, row: usize, label: u32, before: u32) -> S {
        let log = self.log_unnormalised(row, label, before);
        if self.factors.is_none() { log } else { log - self.normaliser(row, before).ln() }
    }

    /// Adds the gradient of [`log_label`](Self::log_label) times `d`.
    pub fn add_gradient(&self, row: usize, label: u32, before: u32, d: S, upstream: &mut Upstream<S>) {
        let (symbol, copy) = self.outcomes(row, label);
        if self.factors.is_none() && (symbol.is_none() || copy.is_none()) {
            // One outcome writes it, and nothing else counts: most labels of most nodes.
            if let Some(outcome) = symbol.or(copy) {
                upstream.log_label[[row, outcome]] += d;
            }
            return;
        }
        let total = self.log_unnormalised(row, label, before);
        let before = self.place(before);
        for outcome in [symbol, copy].into_iter().flatten() {
            let log = self.morphed.log_label[[row, outcome]] + self.potential(before, outcome);
            let share = d * (log - total).exp();
            upstream.log_label[[row, outcome]] += share;
            if let Some(transitions) = &mut upstream.transitions {
                transitions[[before, outcome]] += share;
            }
        }
        if let (Some(factors), Some(transitions)) = (&self.factors, &mut upstream.transitions) {
            let (p, e) = (factors.outcome.row(row), factors.transition.row(before));
            let scale = d / dot(p, e);
            let (dlog, dpotential) = (upstream.log_label.row_mut(row), transitions.row_mut(before));
            ndarray::Zip::from(dlog).and(dpotential).and(p).and(e).for_each(|dlog, dpotential, &p, &e| {
                let share = scale * p * e;
                *dlog -= share;
                *dpotential -= share;
            });
        }
    }

    /// `ln p(o | before)` up to a constant, for every outcome.
    pub fn scores(&self, row: usize, before: u32) -> impl Iterator<Item = S> + '_ {
        let before = self.place(before);
        let log = self.morphed.log_label.row(row);
        (0..log.len()).map(move |outcome| log[outcome] + self.potential(before, outcome))
    }

    /// `sum over o of p(o) e(before, o)`, one without transitions.
    pub fn normaliser(&self, row: usize, before: u32) -> S {
        let product =
            |factors: &Factors<'_, S>| dot(factors.outcome.row(row), factors.transition.row(self.place(before)));
        self.factors.as_ref().map_or(S::one(), product)
    }

    /// The outcomes by which a row writes a label: its symbol, and `Copy`.
    pub fn outcomes(&self, row: usize, label: u32) -> (Option<usize>, Option<usize>) {
        let copy = self.copy();
        let symbol = (label as usize) < copy;
        let copies = label != NO_LABEL && self.copied(row) == label;
        (symbol.then_some(label as usize), copies.then_some(copy))
    }

    /// The label that an output node writes by copying; [`NO_LABEL`] for none.
    pub fn copied(&self, row: usize) -> u32 {
        self.copies[self.morphed.origin[row] as usize]
    }

    /// The outcome `Copy`.
    pub fn copy(&self) -> usize {
        self.morphed.log_label.ncols() - 1
    }

    fn log_unnormalised(&self, row: usize, label: u32, before: u32) -> S {
        let (symbol, copy) = self.outcomes(row, label);
        let before = self.place(before);
        let log = |outcome| self.morphed.log_label[[row, outcome]] + self.potential(before, outcome);
        match (symbol, copy) {
            (Some(symbol), Some(copy)) => log_add(log(symbol), log(copy)),
            (Some(outcome), None) | (None, Some(outcome)) => log(outcome),
            (None, None) => S::neg_infinity(),
        }
    }

    fn potential(&self, before: usize, outcome: usize) -> S {
        self.factors.as_ref().map_or(S::zero(), |factors| factors.potentials[[before, outcome]])
    }

    /// The row of a label before: its own, or that of `Copy` where it is none or no symbol.
    fn place(&self, before: u32) -> usize {
        (before as usize).min(self.copy())
    }
}

fn dot<S: Scalar>(a: ArrayView1<'_, S>, b: ArrayView1<'_, S>) -> S {
    a.dot(&b)
}

/// `ln(exp a + exp b)`.
pub fn log_add<S: Scalar>(a: S, b: S) -> S {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == S::neg_infinity() { high } else { high + (low - high).exp().ln_1p() }
}
