//! How a node becomes candidates.

use super::{Gate, GateCache, Gates, GatesGradient, MergeHistory, merge_targets};
use crate::graph::Topology;
use crate::kept::{Kept, Matrix};
use crate::layers::{LayerNorm, Linear, NormCache, ShapeError, gelu, row_slices, row_slices_mut};
use crate::param_tree;
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::vector::add_scaled;
use ndarray::{Array2, s};

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
    affine: Matrix<S>,
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
        let affine = split.forward(&self.norm.output(&norm));
        let mut candidates = Matrix::unset(affine.dim());
        let mut read = Kept::with_capacity(self.read.len());
        for (k, linear) in self.read.iter().enumerate() {
            // An earlier morph may have left no node at all, and then slots have no first row.
            let slot = s![k.min(affine.nrows())..;self.read.len(), ..];
            let input = linear.forward(affine.slice(slot))?;
            crate::wide! {
                let rows = row_slices_mut(&mut candidates).zip(row_slices(&affine)).skip(k).step_by(self.read.len());
                for ((c, a), v) in rows.zip(row_slices(&input)) {
                    for ((c, &a), &v) in c.iter_mut().zip(a).zip(v) {
                        *c = a + gelu(v).0;
                    }
                }
            }
            read.push(input);
        }
        let targets = merge_targets(topology, self.read.len());
        let (gates, gate) = self.gate.forward(&candidates, &targets)?;
        Ok(MorphCache { norm, split, affine, read, candidates, targets, gates, gate })
    }

    /// `dx` for the gradients of candidates and gates; adds the parameters' gradient into `grad`.
    pub fn backward(
        &self,
        cache: MorphCache<S>,
        mut dcandidates: Matrix<S>,
        dgates: &GatesGradient<S>,
        grad: &mut Self,
    ) -> Matrix<S> {
        let MorphCache { norm, split, affine, mut read, candidates, targets, gates, gate } = cache;
        self.gate.backward((&candidates, &targets), &gates, gate, dgates, &mut dcandidates, &mut grad.gate);
        // From candidates to the affine rows, slot by slot and in place.
        let mut daffine = dcandidates;
        for (k, input) in read.iter_mut().enumerate() {
            let slot = s![k.min(affine.nrows())..;self.read.len(), ..];
            crate::wide! {
                for (v, d) in row_slices_mut(input).zip(row_slices(&daffine).skip(k).step_by(self.read.len())) {
                    for (v, &d) in v.iter_mut().zip(d) {
                        *v = d * gelu(*v).1;
                    }
                }
            }
            let through = self.read[k].backward(affine.slice(slot), input.view(), &mut grad.read[k]);
            crate::wide! {
                let rows = row_slices_mut(&mut daffine).skip(k).step_by(self.read.len());
                for (d, through) in rows.zip(row_slices(&through)) {
                    add_scaled(d, S::one(), through);
                }
            }
        }
        split.add_bias_gradient(&daffine, &mut grad.slots);
        self.norm.backward(&norm, split.backward(&daffine), None, &mut grad.norm)
    }
}
