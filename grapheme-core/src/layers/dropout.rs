//! Dropout from counter-based random numbers.

use super::Pass;
use crate::keep;
use crate::kept::{Kept, Matrix};
use crate::random::Stream;
use crate::scalar::Scalar;

/// The random streams of one pass: one a graph, keyed by the training example that it holds.
///
/// A mask is a function of (seed, epoch, example, site, position), so it does not depend on which other examples share
/// the batch or the lane, and the backward pass draws it again instead of storing it.
#[derive(Clone, Debug)]
pub struct DropoutKeys(Kept<Stream>);

keep!(Stream);

impl DropoutKeys {
    /// Streams for the graphs of a batch, in order; `stream` is already keyed by seed and epoch.
    pub fn new(stream: &Stream, examples: impl IntoIterator<Item = u64>) -> Self {
        Self(examples.into_iter().map(|example| stream.fork(example)).collect())
    }

    /// The stream of one graph, for random numbers beside those of dropout: fork it by something that is no site.
    ///
    /// # Panics
    /// If the batch has no such graph.
    pub fn stream(&self, graph: usize) -> &Stream {
        &self.0[graph]
    }
}

/// Sets each value to zero with probability `rate` and scales the others by `1 / (1 - rate)` (Srivastava et al., 2014);
/// with probability `isolation`, all values of an example.
///
/// Isolation is one coin an example, the same at every site. Where messages are masked, an isolated example is one whose
/// nodes do not hear of each other, so the layers above learn what can be told from a node alone, besides what its
/// surroundings add: stochastic depth (Huang et al., 2016) with all rounds dropped together. Nothing is scaled up for it,
/// since an example that is not isolated is what the network sees in use.
///
/// The mask is diagonal, so [`apply`](Self::apply) is the forward and the backward pass alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The site in the network: two layers never share a mask.
    pub site: u64,
    /// Probability of dropping, in [0, 1); rounded to a multiple of 2^-16.
    pub rate: f64,
    /// Probability that all values of an example are dropped.
    pub isolation: f64,
}

/// Random numbers that are drawn side by side.
const NUMBERS: usize = 8;

/// The fork of an example's stream that the coin of isolation is drawn from: the number of no site.
const COIN: u64 = u64::MAX;

impl Dropout {
    /// Whether anything may be dropped: not outside training.
    pub fn drops<S>(&self, pass: Pass<'_, S>) -> bool {
        pass.dropout.is_some() && (self.rate > 0.0 || self.isolation > 0.0)
    }

    /// A masked copy of `x`, or none where nothing is dropped.
    pub fn masked<S: Scalar>(&self, x: &Matrix<S>, pass: Pass<'_, S>) -> Option<Matrix<S>> {
        self.drops(pass).then(|| {
            let mut copy = x.clone();
            self.apply(&mut copy, pass);
            copy
        })
    }

    /// Masks the rows of `x` in place, or leaves it alone outside training.
    pub fn apply<S: Scalar>(&self, x: &mut Matrix<S>, pass: Pass<'_, S>) {
        let (Some(DropoutKeys(streams)), true) = (pass.dropout, self.drops(pass)) else { return };
        // Four values share one 64-bit number: sixteen bits each, low ones first.
        let threshold = (self.rate * 65_536.0).round().min(65_535.0);
        let scale = S::lit(65_536.0 / (65_536.0 - threshold));
        let threshold = threshold as u16;
        let width = x.ncols();
        let values = x.values_mut();
        for (graph, stream) in streams.iter().enumerate().take(pass.topology.graphs()) {
            let rows = pass.topology.range(graph);
            let values = &mut values[rows.start * width..rows.end * width];
            if self.isolates(stream) {
                values.fill(S::zero());
                continue;
            }
            let stream = stream.fork(self.site);
            crate::wide! {
                // Several numbers at a time, whose bits then stand side by side in registers.
                for (first, group) in (0..).step_by(NUMBERS).zip(values.chunks_mut(4 * NUMBERS)) {
                    let mut bits = [0u16; 4 * NUMBERS];
                    for i in 0..NUMBERS {
                        let number = stream.at(first + i as u64);
                        for k in 0..4 {
                            bits[4 * i + k] = (number >> (16 * k)) as u16;
                        }
                    }
                    for (value, bits) in group.iter_mut().zip(bits) {
                        *value = if bits < threshold { S::zero() } else { *value * scale };
                    }
                }
            }
        }
    }

    /// Whether an example is dropped whole, by its stream.
    fn isolates(&self, stream: &Stream) -> bool {
        self.isolation > 0.0 && ((stream.fork(COIN).at(0) >> 11) as f64) < self.isolation * (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Topology;

    fn masked(lengths: &[usize], examples: &[u64], rate: f64) -> Matrix<f64> {
        masked_at(3, lengths, examples, rate, 0.0)
    }

    fn masked_at(site: u64, lengths: &[usize], examples: &[u64], rate: f64, isolation: f64) -> Matrix<f64> {
        let topology = Topology::chains(lengths.iter().copied()).unwrap();
        let keys = DropoutKeys::new(&Stream::new(5).fork(1), examples.iter().copied());
        let mut x = Matrix::zeros((topology.nodes(), 10));
        x.fill(1.0);
        Dropout { site, rate, isolation }.apply(&mut x, Pass { dropout: Some(&keys), ..Pass::over(&topology) });
        x
    }

    #[test]
    fn the_mask_of_an_example_does_not_depend_on_its_neighbours() {
        let together = masked(&[3, 7, 2], &[10, 11, 12], 0.3);
        let alone = masked(&[7], &[11], 0.3);
        assert_eq!(together.slice(ndarray::s![3..10, ..]), *alone);
    }

    #[test]
    fn keeps_the_mean() {
        let x = masked(&[10_000], &[0], 0.2);
        // 100,000 values of variance 0.25: four standard errors are 6.3e-3.
        assert!((x.mean().unwrap() - 1.0).abs() < 6.4e-3);
        assert!(x.iter().all(|&v| v == 0.0 || (v - 1.25).abs() < 1e-4));
    }
    #[test]
    fn isolation_drops_whole_examples_the_same_ones_at_every_site() {
        let examples: Vec<u64> = (0..2000).collect();
        let lengths = vec![2; examples.len()];
        let isolated = |site| -> Vec<bool> {
            let x = masked_at(site, &lengths, &examples, 0.3, 0.4);
            let rows = x.as_slice().unwrap().chunks(20);
            rows.map(|values| values.iter().all(|&v| v == 0.0)).collect()
        };
        let first = isolated(1);
        assert_eq!(first, isolated(2));
        // Four standard errors are 0.044.
        let share = first.iter().filter(|&&all| all).count() as f64 / 2000.0;
        assert!((share - 0.4).abs() < 0.044, "{share}");
        // What is not isolated is masked as it would be without isolation.
        let (with, without) = (masked_at(1, &[5], &[7], 0.3, 0.4), masked_at(1, &[5], &[7], 0.3, 0.0));
        assert!(first[7] == with.iter().all(|&v| v == 0.0) && (first[7] || with == without));
    }
}
