//! The `words` loss without the matrices of costs, plan and their gradients: the same bits as
//! [`StructuralLoss::evaluate`], in a quarter of the memory.
//!
//! `n` predicted nodes, `m` targets.

use super::align::lattice::{Flow, Lattice};
use super::align::{Assignment, Monotone, is_cost};
use super::band::Band;
use super::node::Activation;
use super::structural::{Gate, StructuralLoss};
use grapheme_core::Kept;
use grapheme_core::Scalar;
use std::cell::Cell;

/// What the assignment of [`StructuralLoss::stream`] reads besides labels: one entry for each predicted node.
#[derive(Clone, Copy, Debug)]
pub struct Gates<'a, S> {
    /// `log (1 - g_i)`, the log probability that node `i` stays; `n`.
    pub log_stay: &'a [S],
    /// `log g_i`, the log probability that it merges away; `n`.
    pub log_merge: &'a [S],
}

/// The answer of [`StructuralLoss::stream`].
#[derive(Clone, Debug, PartialEq)]
pub struct Streamed<S: Scalar> {
    /// The loss; infinite where no alignment is possible or an input is not a number, and then all gradients are zero.
    pub value: S,
    /// The gradient with respect to `log (1 - g_i)`; `n`.
    pub log_stay: Kept<S>,
    /// The gradient with respect to `log g_i`; `n`.
    pub log_merge: Kept<S>,
}

impl StructuralLoss {
    /// The method of a loss that looks at labels and gates alone and keeps order, so that [`stream`](Self::stream) can
    /// evaluate it; `None` for all others.
    pub fn streams(&self) -> Option<Monotone> {
        let Assignment::Monotone(method) = self.aligner else { return None };
        let others = [self.beta, self.gamma, self.node.kind, self.node.degree, self.node.order];
        let plain = others.iter().all(|&weight| weight == 0.0)
            && self.node.activation > 0.0
            && self.activation == Activation::NegativeLogLikelihood
            && self.gate == Gate::Cost
            && self.insertion.is_none();
        plain.then_some(method)
    }

    /// What [`evaluate`](Self::evaluate) answers to the same gates and labels, where [`streams`](Self::streams) says how.
    ///
    /// `log_label(i, j)` is the log probability that node `i`, if it stays, carries the label of target `j`; it is asked
    /// once for each pair of the band and never stored. `give(i, j, d)` takes the gradient with respect to it, row
    /// after row from the last to the first. `O(entries of the band)` time and memory, 8 bytes an entry.
    ///
    /// # Panics
    /// If the gates have not one entry for each row of the band.
    pub fn stream<S: Scalar>(
        &self,
        method: Monotone,
        band: &Band,
        gates: Gates<'_, S>,
        log_label: impl Fn(usize, usize) -> S,
        mut give: impl FnMut(usize, usize, S),
    ) -> Streamed<S> {
        let n = band.rows();
        assert_eq!((gates.log_stay.len(), gates.log_merge.len()), (n, n), "a gate for each row of the band");
        let mut answer = Streamed { value: S::infinity(), log_stay: Kept::zeros(n), log_merge: Kept::zeros(n) };
        let scale = -1.0 / method.tau;
        let sound = Cell::new(true);
        let weight = |cost: f64| {
            // Costs pass through `S`, as they do where a matrix holds them.
            let cost = S::lit(cost);
            sound.set(sound.get() & is_cost(cost, Monotone::largest()));
            cost.widen() * scale
        };
        let activation = self.node.activation;
        let lattice = Lattice {
            band,
            matched: |i: usize, row: &mut [f64]| {
                let stay = -gates.log_stay[i].widen();
                for (to, j) in row.iter_mut().zip(band.range(i)) {
                    *to = weight(stay + activation * -log_label(i, j).widen());
                }
            },
            deleted: |i: usize| weight(-gates.log_merge[i].widen()),
            inserted: |_| f64::NEG_INFINITY,
            may_insert: false,
        };
        let forward = lattice.forward();
        if forward.total == f64::NEG_INFINITY || !sound.get() {
            return answer;
        }
        let alpha = S::lit(self.alpha);
        answer.value = alpha * S::lit(forward.total / scale);
        lattice.backward(&forward, |flow| {
            let Flow::Row { row: i, matched, deleted } = flow else { return };
            let mut stayed = 0.0;
            for (j, &p) in band.range(i).zip(matched) {
                let d = S::lit(p) * alpha;
                stayed += d.widen();
                give(i, j, S::lit(-activation * d.widen()));
            }
            answer.log_stay[i] = S::lit(-stayed);
            answer.log_merge[i] = -(S::lit(deleted) * alpha);
        });
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{Banded, Predicted, Target};
    use grapheme_core::Stream;
    use rand::RngExt;

    fn agree<S: Scalar>(seed: u64) {
        let mut stream = Stream::new(seed);
        let (n, m) = (stream.random_range(0..200), stream.random_range(0..150));
        let band = if n > m { Band::window(n, m, stream.random_range(2..40)) } else { Band::dense(n, m) };
        let mut draw =
            |count: usize| -> Kept<S> { (0..count).map(|_| S::lit(-stream.random_range(0.01..9.0))).collect() };
        let (log_stay, log_merge, labels) = (draw(n), draw(n), draw(n * m));
        let impossible = |i: usize, j: usize| (i * 31 + j * 17).is_multiple_of(11) && seed.is_multiple_of(3);
        let log_label = |i: usize, j: usize| if impossible(i, j) { S::neg_infinity() } else { labels[i * m + j] };
        let mut loss = StructuralLoss { alpha: 0.7, ..StructuralLoss::words() };
        loss.node.activation = 1.3;

        let predicted = Predicted {
            log_stay: log_stay.clone(),
            log_merge: log_merge.clone(),
            log_label: Banded::from_fn(&band, log_label),
            kind: None,
            edges: Vec::new(),
            chain: false,
        };
        let reference = loss.evaluate(&predicted, &Target { nodes: m, edges: Vec::new(), chain: false }).unwrap();
        let mut dlog = Banded::filled(&band, S::zero());
        let gates = Gates { log_stay: &log_stay, log_merge: &log_merge };
        let answer = loss.stream(loss.streams().unwrap(), &band, gates, log_label, |i, j, d| {
            let place = j - band.range(i).start;
            dlog.row_mut(i)[place] = d;
        });
        let bits = |value: S| value.widen().to_bits();
        assert_eq!(bits(answer.value), bits(reference.value), "seed {seed}, {n} x {m}");
        for (what, a, b) in [
            ("log_stay", &answer.log_stay[..], &reference.gradient.log_stay[..]),
            ("log_merge", &answer.log_merge, &reference.gradient.log_merge),
            ("log_label", dlog.values(), reference.gradient.log_label.values()),
        ] {
            assert_eq!(a.len(), b.len());
            for (k, (&a, &b)) in a.iter().zip(b).enumerate() {
                assert!(a == b, "seed {seed}, {n} x {m}, {what} {k}: {a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn streaming_gives_the_bits_of_the_matrix() {
        for seed in 0..60 {
            agree::<f64>(seed);
            agree::<f32>(seed);
        }
    }

    #[test]
    fn what_is_not_a_number_has_no_gradient() {
        let loss = StructuralLoss::words();
        let band = Band::dense(3, 2);
        for bad in [f64::NAN, f64::INFINITY] {
            let gates = Gates { log_stay: &[-0.5; 3], log_merge: &[-1.0; 3] };
            let label = |i, j| if (i, j) == (1, 1) { bad } else { -1.0 };
            let answer = loss.stream(Monotone::default(), &band, gates, label, |_, _, _| panic!("no gradient"));
            assert_eq!(answer.value, f64::INFINITY);
            assert_eq!(answer.log_stay[..], [0.0; 3]);
        }
    }

    #[test]
    fn other_losses_do_not_stream() {
        assert!(StructuralLoss::words().streams().is_some());
        assert!(StructuralLoss::graph().streams().is_none());
        assert!(StructuralLoss { insertion: Some(1.0), ..StructuralLoss::words() }.streams().is_none());
        assert!(StructuralLoss { beta: 0.1, ..StructuralLoss::words() }.streams().is_none());
    }
}
