//! Windows of graph frequencies.

use super::Scratch;
use super::laplacian;
use super::rows::{add_scaled, slices, slices_mut};
use grapheme_core::{Scalar, Topology};
use ndarray::Array2;

/// Passes the graph frequencies (eigenvalues of the Laplacian) between `low` and `high`, as shares of twice the largest
/// degree: 0 is constant over a graph, 1 changes sign from node to node.
///
/// `f(L) g` is the Chebyshev expansion of the window to order 24 with Jackson's damping (Hammond, Vandergheynst and
/// Gribonval, 2011): edges are about 1/24 wide, `f` stays within [0, 1] and needs products with `L` alone, `O(24 (n + edges) d)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FourierWindow {
    /// The lowest frequency, in [0, 1].
    pub low: f64,
    /// The highest frequency, above `low` and at most 1.
    pub high: f64,
}

/// The order of the expansion.
const ORDER: usize = 24;

impl FourierWindow {
    /// The coefficients of the expansion.
    fn coefficients(self) -> [f64; ORDER + 1] {
        use std::f64::consts::PI;
        // A share of 0 is the left end -1 of the Chebyshev interval. The ends of the spectrum belong to the window whole.
        let angle = |share: f64| (2.0 * share - 1.0).clamp(-1.0, 1.0).acos();
        let (from, to) = (angle(self.high), angle(self.low));
        let n = (ORDER + 2) as f64;
        std::array::from_fn(|j| {
            let k = j as f64;
            let sharp = if j == 0 { (to - from) / PI } else { 2.0 / (k * PI) * ((k * to).sin() - (k * from).sin()) };
            let jackson = ((n - k) * (PI * k / n).cos() + (PI * k / n).sin() * (PI / n).cos() / (PI / n).sin()) / n;
            sharp * jackson
        })
    }

    /// The gain of a frequency, given as a share.
    pub fn gain(self, share: f64) -> f64 {
        let angle = (2.0 * share - 1.0).clamp(-1.0, 1.0).acos();
        self.coefficients().iter().enumerate().map(|(j, c)| c * (j as f64 * angle).cos()).sum()
    }

    /// `f(L) g`, in scratch.
    pub fn filter<'a, S: Scalar>(
        self,
        topology: &Topology,
        g: &Array2<S>,
        scratch: &'a mut Scratch<S>,
    ) -> &'a Array2<S> {
        let bound = 2.0 * laplacian::max_degree(topology);
        // Without edges every frequency is 0.
        let scale = S::lit(if bound > 0.0 { 2.0 / bound } else { 0.0 });
        let coefficients = self.coefficients();
        scratch.matrix(3, g.dim());
        let [before, now, flow, sum] = scratch.all_mut();
        before.assign(g);
        // T_1 g = (2 L / bound - 1) g.
        laplacian::apply(topology, g, now);
        now.zip_mut_with(g, |y, &x| *y = scale * *y - x);
        sum.assign(g);
        sum.mapv_inplace(|x| x * S::lit(coefficients[0]));
        slices_mut(sum).zip(slices(now)).for_each(|(sum, now)| add_scaled(sum, S::lit(coefficients[1]), now));
        let two = S::lit(2.0);
        for &c in &coefficients[2..] {
            laplacian::apply(topology, now, flow);
            // T_(j+1) = 2 (2 L / bound - 1) T_j - T_(j-1), written over T_(j-1).
            ndarray::Zip::from(&mut *before).and(&*now).and(&*flow).for_each(|old, &x, &lx| {
                *old = two * (scale * lx - x) - *old;
            });
            std::mem::swap(before, now);
            slices_mut(sum).zip(slices(now)).for_each(|(sum, now)| add_scaled(sum, S::lit(c), now));
        }
        sum
    }
}
