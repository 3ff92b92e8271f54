//! Diffusion over the graph.

use super::Scratch;
use super::laplacian;
use super::ledger::Ledger;
use grapheme_core::{Scalar, Topology};
use ndarray::Array2;

/// `(I - D L) g` with the combinatorial Laplacian `L`: each row moves towards its neighbours.
///
/// Columns keep their sums, and since the spectrum of `L` lies in [0, 2 x largest degree] the energy never grows for
/// `0 <= D <= 1 / largest degree`. Where a batch has nodes of a larger degree than `1 / D`, its largest is used instead.
/// The energy falls by `2 D <g, L g> - D^2 ||L g||^2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diffusion {
    /// D; at most 1/2, the bound of a chain.
    pub rate: f64,
}

impl Diffusion {
    /// Diffuses `g` in place.
    pub fn cross<S: Scalar>(
        &self,
        topology: &Topology,
        g: &mut Array2<S>,
        ledger: &mut Ledger,
        scratch: &mut Scratch<S>,
    ) {
        let degree = laplacian::max_degree(topology);
        if degree == 0.0 {
            return;
        }
        let rate = self.rate.min(1.0 / degree);
        let plain = topology.is_chain() && topology.incoming().as_slice().is_empty();
        let (rough, squares) = if plain {
            laplacian::smooth_chains(topology, g, S::lit(rate), &mut scratch.row)
        } else {
            let y = scratch.matrix(0, g.dim());
            laplacian::smooth(topology, g, S::lit(rate), y)
        };
        ledger.diffused += 2.0 * rate * rough - rate * rate * squares;
    }
}
