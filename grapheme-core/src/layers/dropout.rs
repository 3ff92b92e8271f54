//! Dropout from counter-based random numbers.

use super::Pass;
use crate::random::Stream;
use crate::scalar::Scalar;
use ndarray::Array2;

/// The random streams of one pass: one a graph, keyed by the training example that it holds.
///
/// A mask is a function of (seed, epoch, example, site, position), so it does not depend on which other examples share
/// the batch or the lane, and the backward pass draws it again instead of storing it.
#[derive(Clone, Debug)]
pub struct DropoutKeys(Vec<Stream>);

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

/// Sets each value to zero with probability `rate` and scales the others by `1 / (1 - rate)` (Srivastava et al., 2014).
///
/// The mask is diagonal, so [`apply`](Self::apply) is the forward and the backward pass alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The site in the network: two layers never share a mask.
    pub site: u64,
    /// Probability of dropping, in [0, 1); rounded to a multiple of 2^-16.
    pub rate: f64,
}

impl Dropout {
    /// Masks the rows of `x` in place, or leaves it alone outside training.
    pub fn apply<S: Scalar>(&self, x: &mut Array2<S>, pass: Pass<'_>) {
        let (Some(DropoutKeys(streams)), true) = (pass.dropout, self.rate > 0.0) else { return };
        // Four values share one 64-bit number: sixteen bits each.
        let threshold = (self.rate * 65_536.0).round().min(65_535.0);
        let scale = S::lit(65_536.0 / (65_536.0 - threshold));
        let threshold = threshold as u64;
        let width = x.ncols();
        let values = x.as_slice_mut().expect("activations are stored in row-major order");
        for (graph, stream) in streams.iter().enumerate().take(pass.topology.graphs()) {
            let stream = stream.fork(self.site);
            let rows = pass.topology.range(graph);
            for (i, group) in values[rows.start * width..rows.end * width].chunks_mut(4).enumerate() {
                let mut bits = stream.at(i as u64);
                for value in group {
                    *value = if bits & 0xFFFF < threshold { S::zero() } else { *value * scale };
                    bits >>= 16;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Topology;

    fn masked(lengths: &[usize], examples: &[u64], rate: f64) -> Array2<f64> {
        let topology = Topology::chains(lengths.iter().copied()).unwrap();
        let keys = DropoutKeys::new(&Stream::new(5).fork(1), examples.iter().copied());
        let mut x = Array2::ones((topology.nodes(), 10));
        Dropout { site: 3, rate }.apply(&mut x, Pass { topology: &topology, dropout: Some(&keys) });
        x
    }

    #[test]
    fn the_mask_of_an_example_does_not_depend_on_its_neighbours() {
        let together = masked(&[3, 7, 2], &[10, 11, 12], 0.3);
        let alone = masked(&[7], &[11], 0.3);
        assert_eq!(together.slice(ndarray::s![3..10, ..]), alone);
    }

    #[test]
    fn keeps_the_mean() {
        let x = masked(&[10_000], &[0], 0.2);
        // 100,000 values of variance 0.25: four standard errors are 6.3e-3.
        assert!((x.mean().unwrap() - 1.0).abs() < 6.4e-3);
        assert!(x.iter().all(|&v| v == 0.0 || (v - 1.25).abs() < 1e-4));
    }
}
