//! The record of what became of every node.

use crate::kept::{Kept, Matrix};
use crate::layers::{row_slices, row_slices_mut};
use crate::scalar::Scalar;
use crate::vector::{add_scaled, dot};
use ndarray::Array2;
use thiserror::Error;

/// The affine map that a morph realised: `H_out = M H_in + B`.
///
/// `M` is sparse (m outputs x n inputs, stored by rows); row i lists the *contributors* of output i with their weights.
/// `B` adds a row of a table to each output (the slot vectors of a split), or nothing.
///
/// Backward is the transpose: `dH_in = M^T dH_out`, and on stored entries `dM_ij = <dH_out_i, H_in_j>`, which flows on into
/// gates and thresholds. An input in no row is listed in [`dropped`](Self::dropped), so no gradient vanishes silently.
/// Histories of adjacent morphs compose by [`then`](Self::then).
///
/// Storage is `O(n + m + entries)` besides the table of `B`; forward and backward take `O(entries x d)`.
///
/// ```
/// use grapheme_core::Matrix;
/// use grapheme_core::morph::MergeHistory;
/// use ndarray::array;
///
/// // Three nodes become two: the third merges into the second.
/// let history = MergeHistory::<f64>::new(3, vec![vec![(0, 1.0)], vec![(1, 0.6), (2, 0.4)]]).unwrap();
/// let out = history.forward(&array![[1.0], [2.0], [7.0]].into());
/// assert_eq!(out, Matrix::from(array![[1.0], [4.0]]));
/// let back = history.backward(&array![[1.0], [10.0]].into());
/// assert_eq!(back, Matrix::from(array![[1.0], [6.0], [4.0]]));
/// assert_eq!(history.contributors(1).collect::<Vec<_>>(), [(1, 0.6), (2, 0.4)]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MergeHistory<S: Scalar> {
    inputs: usize,
    starts: Kept<u32>,
    contributors: Kept<u32>,
    weights: Kept<S>,
    bias: Option<Bias<S>>,
    dropped: Kept<u32>,
}

/// Row i of `B` is row `index[i]` of the table.
#[derive(Clone, Debug, PartialEq)]
struct Bias<S: Scalar> {
    index: Kept<u32>,
    table: Matrix<S>,
}

/// Why a history was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// A contributor is not a node of the input.
    #[error("output {output} lists contributor {contributor}, but the input has {inputs} nodes")]
    UnknownContributor {
        /// The row.
        output: usize,
        /// The contributor found there.
        contributor: u32,
        /// The number of nodes of the input.
        inputs: usize,
    },
    /// Two histories do not follow each other.
    #[error("a history of {outputs} outputs cannot be followed by one of {inputs} inputs")]
    NotAdjacent {
        /// Outputs of the earlier history.
        outputs: usize,
        /// Inputs of the later one.
        inputs: usize,
    },
}

impl<S: Scalar> MergeHistory<S> {
    /// A history from its rows: the contributors of each output, and their weights.
    ///
    /// # Errors
    /// [`HistoryError::UnknownContributor`].
    pub fn new(
        inputs: usize,
        rows: impl IntoIterator<Item = impl IntoIterator<Item = (u32, S)>>,
    ) -> Result<Self, HistoryError> {
        let (mut starts, mut contributors, mut weights) = (Kept::from(vec![0]), Kept::new(), Kept::new());
        for (output, row) in rows.into_iter().enumerate() {
            for (contributor, weight) in row {
                if contributor as usize >= inputs {
                    return Err(HistoryError::UnknownContributor { output, contributor, inputs });
                }
                contributors.push(contributor);
                weights.push(weight);
            }
            starts.push(contributors.len() as u32);
        }
        Ok(Self::from_parts(inputs, starts, contributors, weights, None))
    }

    /// The history of a split: input v becomes the outputs `v K + k`, each with the k-th row of `slots` (K x d) added.
    pub fn split(inputs: usize, slots: &Array2<S>) -> Self {
        let k = slots.nrows() as u32;
        let outputs = inputs as u32 * k;
        let contributors = (0..outputs).map(|output| output / k).collect();
        let index = (0..outputs).map(|output| output % k).collect();
        let weights = Kept::filled(outputs as usize, S::one());
        let bias = Bias { index, table: Matrix::of(slots.view()) };
        Self::from_parts(inputs, (0..=outputs).collect(), contributors, weights, Some(bias))
    }

    /// `starts` has one number more than there are rows and indexes `contributors` and `weights`.
    pub(super) fn from_compressed_rows(
        inputs: usize,
        starts: Kept<u32>,
        contributors: Kept<u32>,
        weights: Kept<S>,
    ) -> Self {
        Self::from_parts(inputs, starts, contributors, weights, None)
    }

    fn from_parts(
        inputs: usize,
        starts: Kept<u32>,
        contributors: Kept<u32>,
        weights: Kept<S>,
        bias: Option<Bias<S>>,
    ) -> Self {
        let mut seen = Kept::<bool>::zeros(inputs);
        for &contributor in &contributors {
            seen[contributor as usize] = true;
        }
        let dropped = (0..inputs as u32).filter(|&input| !seen[input as usize]).collect();
        Self { inputs, starts, contributors, weights, bias, dropped }
    }

    /// The number of nodes before the morph.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of nodes after the morph.
    pub fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// The number of stored weights.
    pub fn entries(&self) -> usize {
        self.weights.len()
    }

    /// Which inputs made output `node`, and with what weight.
    ///
    /// # Panics
    /// If there is no such output.
    pub fn contributors(&self, node: usize) -> impl Iterator<Item = (u32, S)> + '_ {
        let row = self.row(node);
        self.contributors[row.clone()].iter().copied().zip(self.weights[row].iter().copied())
    }

    /// Inputs that made nothing, in increasing order. Their gradient is zero, and this is the only way it can be.
    pub fn dropped(&self) -> &[u32] {
        &self.dropped
    }

    /// Where the entries of one row lie among all stored entries.
    pub(super) fn row(&self, node: usize) -> std::ops::Range<usize> {
        self.starts[node] as usize..self.starts[node + 1] as usize
    }

    pub(super) fn weights(&self) -> &[S] {
        &self.weights
    }

    pub(super) fn contributor_indices(&self) -> &[u32] {
        &self.contributors
    }

    /// `M h + B` for `h` of n x d.
    ///
    /// # Panics
    /// If `h` has other than n rows.
    pub fn forward(&self, h: &Matrix<S>) -> Matrix<S> {
        assert_eq!(h.nrows(), self.inputs, "a history maps as many rows as it has inputs");
        let d = h.ncols();
        let mut out = Matrix::unset((self.outputs(), d));
        crate::wide! {
            for (i, row) in row_slices_mut(&mut out).enumerate() {
                match &self.bias {
                    Some(Bias { index, table }) => row.copy_from_slice(&table.values()[index[i] as usize * d..][..d]),
                    None => row.fill(S::zero()),
                }
                for e in self.row(i) {
                    add_scaled(row, self.weights[e], &h.values()[self.contributors[e] as usize * d..][..d]);
                }
            }
        }
        out
    }

    /// `M^T dout` for `dout` of m x d: the gradient of the input.
    ///
    /// # Panics
    /// If `dout` has other than m rows.
    pub fn backward(&self, dout: &Matrix<S>) -> Matrix<S> {
        assert_eq!(dout.nrows(), self.outputs(), "a history returns as many rows as it has outputs");
        let d = dout.ncols();
        let mut dh = Matrix::zeros((self.inputs, d));
        let values = dh.values_mut();
        crate::wide! {
            for (i, row) in row_slices(dout).enumerate() {
                for e in self.row(i) {
                    add_scaled(&mut values[self.contributors[e] as usize * d..][..d], self.weights[e], row);
                }
            }
        }
        dh
    }

    /// `M v` for one number an input, without `B`.
    ///
    /// # Panics
    /// If there are other than n.
    pub fn forward_values(&self, values: &[S]) -> Kept<S> {
        assert_eq!(values.len(), self.inputs, "a history maps as many numbers as it has inputs");
        let of_row = |i| self.contributors(i).fold(S::zero(), |sum, (j, weight)| sum + weight * values[j as usize]);
        (0..self.outputs()).map(of_row).collect()
    }

    /// `M^T d` for one number an output: the gradient of `v`.
    ///
    /// # Panics
    /// If there are other than m.
    pub fn backward_values(&self, dvalues: &[S]) -> Kept<S> {
        assert_eq!(dvalues.len(), self.outputs(), "a history returns as many numbers as it has outputs");
        let mut d = Kept::zeros(self.inputs);
        for (i, &dvalue) in dvalues.iter().enumerate() {
            self.contributors(i).for_each(|(j, weight)| d[j as usize] += weight * dvalue);
        }
        d
    }

    /// `dM_ij = <dout_i, h_j>` for each stored entry, in row order: the gradient of the weights.
    pub fn weight_gradient(&self, dout: &Matrix<S>, h: &Matrix<S>) -> Kept<S> {
        let (mut dweights, d) = (Kept::with_capacity(self.entries()), h.ncols());
        crate::wide! {
            for (i, row) in row_slices(dout).enumerate() {
                for &j in &self.contributors[self.row(i)] {
                    dweights.push(dot(row, &h.values()[j as usize * d..][..d]));
                }
            }
        }
        dweights
    }

    /// Adds the gradient of the table of `B` (the slot vectors) into `dtable`.
    pub fn add_bias_gradient(&self, dout: &Matrix<S>, dtable: &mut Array2<S>) {
        if let Some(Bias { index, .. }) = &self.bias {
            let (d, sums) = (dout.ncols(), dtable.as_slice_mut().expect("a parameter is stored in row-major order"));
            crate::wide! {
                for (row, &k) in row_slices(dout).zip(index) {
                    add_scaled(&mut sums[k as usize * d..][..d], S::one(), row);
                }
            }
        }
    }

    /// The history of this morph and then `later`: `(M2 M1, M2 B1 + B2)`.
    ///
    /// # Errors
    /// [`HistoryError::NotAdjacent`]. `O(entries of the product)`; contributors of a row come out in increasing order.
    pub fn then(&self, later: &Self) -> Result<Self, HistoryError> {
        if later.inputs != self.outputs() {
            return Err(HistoryError::NotAdjacent { outputs: self.outputs(), inputs: later.inputs });
        }
        let mut both = self.compose(later);
        let width = self.bias.as_ref().or(later.bias.as_ref()).map(|bias| bias.table.ncols());
        both.bias = width.map(|width| {
            // `later.forward` of the rows of B1 is M2 B1 + B2.
            let mut rows = Matrix::zeros((self.outputs(), width));
            if let Some(Bias { index, table }) = &self.bias {
                for (row, &k) in row_slices_mut(&mut rows).zip(index) {
                    row.copy_from_slice(&table.values()[k as usize * width..][..width]);
                }
            }
            Bias { index: (0..later.outputs() as u32).collect(), table: later.forward(&rows) }
        });
        Ok(both)
    }

    /// The same contributors and weights with no vectors.
    pub(crate) fn without_vectors(&self) -> Self {
        Self { bias: None, ..self.clone() }
    }

    /// `M2 M1`: [`then`](Self::then) without vectors, for whoever asks for contributors alone. The two are adjacent.
    pub(crate) fn compose(&self, later: &Self) -> Self {
        let mut starts = Kept::with_capacity(later.outputs() + 1);
        starts.push(0u32);
        let (mut contributors, mut weights) = (Kept::new(), Kept::new());
        // A dense accumulator with a list of the touched columns: the row-wise product of Gustavson (1978).
        let (mut sum, mut touched) = (Kept::<S>::zeros(self.inputs), Kept::<u32>::new());
        let mut present = Kept::<bool>::zeros(self.inputs);
        for output in 0..later.outputs() {
            for (middle, outer) in later.contributors(output) {
                for (input, inner) in self.contributors(middle as usize) {
                    if !std::mem::replace(&mut present[input as usize], true) {
                        touched.push(input);
                    }
                    sum[input as usize] += outer * inner;
                }
            }
            touched.sort_unstable();
            for input in touched.drain(..) {
                contributors.push(input);
                weights.push(std::mem::take(&mut sum[input as usize]));
                present[input as usize] = false;
            }
            starts.push(contributors.len() as u32);
        }
        Self::from_parts(self.inputs, starts, contributors, weights, None)
    }

    /// The mistake that this type exists to prevent, kept as a control: the same sizes, but each output is taken for the
    /// input of the same index. A backward pass through it loses what merged.
    #[must_use]
    pub fn mistaken_for_identity(&self) -> Self {
        let rows = (0..self.outputs()).map(|i| (i < self.inputs).then_some((i as u32, S::one())));
        let (mut starts, mut contributors, mut weights) = (Kept::from(vec![0]), Kept::new(), Kept::new());
        for row in rows {
            if let Some((contributor, weight)) = row {
                contributors.push(contributor);
                weights.push(weight);
            }
            starts.push(contributors.len() as u32);
        }
        Self::from_parts(self.inputs, starts, contributors, weights, self.bias.clone())
    }
}
