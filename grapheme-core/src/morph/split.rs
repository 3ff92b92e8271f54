//! How a node becomes candidates.

use super::{Gate, GateCache, Gates, GatesGradient, MergeHistory, merge_targets};
use crate::graph::Topology;
use crate::kept::{Kept, Matrix};
use crate::layers::{LayerNorm, Linear, NormCache, ShapeError, add_row_sum, gelu, row_slices, row_slices_mut};
use crate::param_tree;
use crate::product::{add_product, affine};
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::vector::add;
use ndarray::{Array2, ArrayView2, s};

/// The first half of a morph: each node splits into K candidates, and each candidate gets a gate.
///
/// `c_vk = h_v + slot_k` with `h = LayerNorm(x)` is the affine part, recorded as a [`MergeHistory`]; then
/// `c + GELU(c W_k + b_k)` lets each slot read the node in its own way.
#[derive(Clone, Debug)]
pub struct Morph<S> {
    /// Normalises the nodes.
    pub norm: LayerNorm<S>,
    /// Slot vectors, K x d.
    pub slots: Array2<S>,
    /// W and b of each slot, d to d.
    pub read: Vec<Linear<S>>,
    /// Merge away or stay.
    pub gate: Gate<S>,
}

param_tree!(Morph { norm, slots, read, gate });

/// What [`Morph::backward`] needs, and what a closing reads.
#[derive(Clone, Debug)]
pub struct MorphCache<S: Scalar> {
    norm: NormCache<S>,
    /// The split, from nodes to candidates.
    pub split: MergeHistory<S>,
    /// What goes into the GELU of each slot, n x d.
    read: Kept<Matrix<S>>,
    /// Features of the candidates, nK x d.
    pub candidates: Matrix<S>,
    /// What each candidate would merge into.
    pub targets: Kept<u32>,
    /// The gates of the candidates.
    pub gates: Gates<S>,
    gate: GateCache<S>,
}

impl<S: Scalar> MorphCache<S> {
    /// Candidates a node, K.
    pub fn slots(&self) -> usize {
        self.read.len()
    }
}

impl<S: Scalar> Morph<S> {
    /// A morph with fresh parameters.
    pub fn new(width: usize, slots: usize, gate_rank: usize, temperature: f64, stream: &mut Stream) -> Self {
        Self {
            norm: LayerNorm::new(width),
            slots: crate::layers::uniform((slots, width), 0.1, stream),
            read: (0..slots).map(|_| Linear::new(width, width, stream)).collect(),
            gate: Gate::new(width, gate_rank, slots, temperature, stream),
        }
    }

    /// Candidates and gates for the nodes `x` (n x d).
    ///
    /// # Errors
    /// [`ShapeError`] if `x` has other than n rows of d columns.
    pub fn forward(&self, x: Matrix<S>, topology: &Topology) -> Result<MorphCache<S>, ShapeError> {
        ShapeError::check("morph", &x, [topology.nodes(), self.norm.gain.len()])?;
        let norm = self.norm.forward(&x)?;
        let split = MergeHistory::split(x.nrows(), &self.slots);
        let h = self.norm.output(&norm);
        let mut candidates = split.forward(&h);
        let mut read = Kept::with_capacity(self.read.len());
        for (k, linear) in self.read.iter().enumerate() {
            // (h + slot) W + b = h W + (slot W + b): nodes are read where they are, and not gathered slot by slot.
            let bias = linear.forward(self.slot(k))?;
            let input = affine(h.view(), linear.weight.view(), bias.values());
            crate::wide! {
                let rows = row_slices_mut(&mut candidates).skip(k).step_by(self.read.len());
                for (c, v) in rows.zip(row_slices(&input)) {
                    for (c, &v) in c.iter_mut().zip(v) {
                        *c += gelu(v).0;
                    }
                }
            }
            read.push(input);
        }
        let targets = merge_targets(topology, self.read.len());
        let (gates, gate) = self.gate.forward(&candidates, &targets)?;
        Ok(MorphCache { norm, split, read, candidates, targets, gates, gate })
    }

    /// `dx` for the gradients of candidates and gates; adds the parameters' gradient into `grad`.
    pub fn backward(
        &self,
        cache: MorphCache<S>,
        mut dcandidates: Matrix<S>,
        dgates: &GatesGradient<S>,
        grad: &mut Self,
    ) -> Matrix<S> {
        let MorphCache { norm, split, mut read, candidates, targets, gates, gate } = cache;
        self.gate.backward((&candidates, &targets), &gates, gate, dgates, &mut dcandidates, &mut grad.gate);
        // From candidates to the affine rows, slot by slot and in place.
        let (h, mut daffine) = (self.norm.output(&norm), dcandidates);
        for (k, input) in read.iter_mut().enumerate() {
            crate::wide! {
                for (v, d) in row_slices_mut(input).zip(row_slices(&daffine).skip(k).step_by(self.read.len())) {
                    for (v, &d) in v.iter_mut().zip(d) {
                        *v = d * gelu(*v).1;
                    }
                }
            }
            let (linear, grad) = (&self.read[k], &mut grad.read[k]);
            let mut dbias = Matrix::zeros((1, input.ncols()));
            add_row_sum(dbias.row_mut(0), input.view());
            add_product(grad.weight.view_mut(), h.t(), input.view());
            add_product(grad.weight.view_mut(), self.slot(k).t(), dbias.view());
            grad.bias += &dbias.row(0);
            let through = linear.backward_input(input.view());
            crate::wide! {
                let rows = row_slices_mut(&mut daffine).skip(k).step_by(self.read.len());
                for (d, through) in rows.zip(row_slices(&through)) {
                    add(d, through);
                }
            }
        }
        split.add_bias_gradient(&daffine, &mut grad.slots);
        self.norm.backward(&norm, split.backward(&daffine), None, &mut grad.norm)
    }

    /// 1 x d.
    fn slot(&self, k: usize) -> ArrayView2<'_, S> {
        self.slots.slice(s![k..k + 1, ..])
    }
}
