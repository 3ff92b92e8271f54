//! Rays: the paths along which a gradient travels from the loss to the nodes of the input.
//!
//! A ray is a path over (layer, node) that carries a d-vector. At a layer it branches into one ray for each node whose row
//! its row flows into; the vector goes through that block of the layer's transposed Jacobian. Blocks are never stored: a
//! layer's backward pass on one row gives all blocks of that row at once ([`GraphTransformNet::pull_back`]). The sum over all
//! rays is the chain rule, so rays can be counted out ([`Tracer::exhaustive`]), drawn at random ([`Tracer::monte_carlo`]) or
//! cut off ([`Tracer::strongest`]).
//!
//! Through a recurrent round a ray goes from node to node in one step, which sums over the steps of the recurrence.
//! Attenuation, windows and diffusion are linear and are crossed by each ray; refraction and bands are not linear in the
//! gradient, so a tracer refuses media that have them.

mod random;

pub use random::Sampled;

use crate::media::rows::dot;
use crate::media::{Element, Notes};
use crate::medium::Medium;
use grapheme_core::morph::GatesGradient;
use grapheme_core::network::{MorphedGraph, Trace, Upstream};
use grapheme_core::{GraphTransformNet, Scalar, param};
use ndarray::Array2;
use thiserror::Error;

/// Follows rays through one pass of one network.
pub struct Tracer<'a, S: Scalar> {
    net: &'a GraphTransformNet<S>,
    trace: &'a Trace<'a, S>,
    morphed: &'a MorphedGraph<S>,
    upstream: &'a Upstream<S>,
    medium: &'a Medium<S>,
    /// Where layers leave the gradient of their parameters, which no ray asks for.
    unread: GraphTransformNet<S>,
    layers: usize,
}

/// One path, from the loss down.
#[derive(Clone, Debug, PartialEq)]
pub struct Ray<S> {
    /// Layers and the nodes of their outputs, from the loss to the embedding; a ray that starts at a merge gate has the
    /// candidate of the last morph first.
    pub path: Vec<(usize, usize)>,
    /// What it carries at its end.
    pub vector: Vec<S>,
    /// Its energy at each place of the path.
    pub energies: Vec<f64>,
    /// The layer that it enters next; none at its end.
    next: Option<usize>,
}

/// Why rays were not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TraceError {
    /// There are too many.
    #[error("more than {limit} rays: trace a shorter text or fewer layers, or draw rays at random")]
    TooMany {
        /// The most that were allowed.
        limit: usize,
    },
    /// A medium that is not linear.
    #[error(
        "boundary {boundary} bends rays, holds energies or turns phases: rays are traced through linear media alone"
    )]
    NotLinear {
        /// Where.
        boundary: usize,
    },
}

impl<'a, S: Scalar> Tracer<'a, S> {
    /// A tracer for the gradient of a loss whose derivatives are `upstream`.
    ///
    /// # Errors
    /// [`TraceError::NotLinear`].
    pub fn new(
        net: &'a GraphTransformNet<S>,
        trace: &'a Trace<'a, S>,
        morphed: &'a MorphedGraph<S>,
        upstream: &'a Upstream<S>,
        medium: &'a Medium<S>,
    ) -> Result<Self, TraceError> {
        for (boundary, surface) in medium.surfaces.iter().enumerate() {
            let linear = |e: &Element<S>| matches!(e, Element::Attenuation(_) | Element::Diffusion(_));
            let straight = surface.leaving.is_empty() && surface.phase == 0.0 && surface.message_phase == 0.0;
            if !(straight && surface.stack.0.iter().all(linear)) {
                return Err(TraceError::NotLinear { boundary });
            }
        }
        let layers = net.layer_names().len();
        Ok(Self { net, trace, morphed, upstream, medium, unread: param::zeros_like(net), layers })
    }

    /// Every ray, at most `limit` of them. The number grows with the product of the layers' reach.
    ///
    /// # Errors
    /// [`TraceError::TooMany`].
    pub fn exhaustive(&mut self, limit: usize) -> Result<Vec<Ray<S>>, TraceError> {
        let (mut open, mut done) = (self.sources(), Vec::new());
        while let Some(ray) = open.pop() {
            match ray.next {
                None => done.push(ray),
                Some(layer) => open.extend(self.branches(&ray, layer)),
            }
            if open.len() + done.len() > limit {
                return Err(TraceError::TooMany { limit });
            }
        }
        Ok(done)
    }

    /// Rays by beam search: at every layer the `k` of most energy go on. Best first.
    pub fn strongest(&mut self, k: usize) -> Vec<Ray<S>> {
        let (mut beam, mut waiting) = (Vec::new(), self.sources());
        for layer in (0..self.layers).rev() {
            let (now, later) = waiting.into_iter().partition(|ray| ray.next == Some(layer));
            waiting = later;
            beam.extend::<Vec<Ray<S>>>(now);
            let mut next: Vec<Ray<S>> = beam.iter().flat_map(|ray| self.branches(ray, layer)).collect();
            let energy = |ray: &Ray<S>| ray.energies.last().copied().unwrap_or(0.0);
            next.sort_by(|a, b| energy(b).total_cmp(&energy(a)).then_with(|| a.path.cmp(&b.path)));
            next.truncate(k);
            beam = next;
        }
        beam
    }

    /// What the loss emits: a ray for each output node with a gradient of its labels, and one for each candidate with a
    /// gradient of its gate.
    fn sources(&mut self) -> Vec<Ray<S>> {
        let head = self.layers - 1;
        let rows = self.upstream.log_label.rows().into_iter().enumerate();
        let labels = rows.map(|(node, row)| Ray::start((head, node), row.to_vec()));
        let mut sources: Vec<Ray<S>> = labels.filter(|ray| ray.energies[0] > 0.0).collect();
        let gates = &self.upstream.gates;
        for candidate in 0..gates.log_stay.len() {
            let (stay, merge) = (gates.log_stay[candidate], gates.log_merge[candidate]);
            if stay != S::zero() || merge != S::zero() {
                // Two numbers, not a row of features: what the gate is told.
                sources.push(Ray::start((head - 1, candidate), vec![stay, merge]));
            }
        }
        sources
    }

    /// What becomes of a ray at a layer and the boundary below it.
    fn branches(&mut self, ray: &Ray<S>, layer: usize) -> Vec<Ray<S>> {
        let &(_, node) = ray.path.last().expect("a ray has a first place");
        let is_gate = ray.path.len() == 1 && layer + 1 < self.layers;
        let rows = if layer + 1 == self.layers {
            self.upstream.log_label.nrows()
        } else {
            self.trace.topology(self.morphed, layer).nodes()
        };
        let mut told = None;
        let mut dy = Array2::zeros((rows, if is_gate { self.width() } else { ray.vector.len() }));
        if is_gate {
            let mut gates = GatesGradient::zeros(self.upstream.gates.log_stay.len());
            (gates.log_stay[node], gates.log_merge[node]) = (ray.vector[0], ray.vector[1]);
            told = Some(gates);
        } else {
            dy.row_mut(node).iter_mut().zip(&ray.vector).for_each(|(d, &v)| *d = v);
        }
        let mut dx = self.net.pull_back(self.trace, self.morphed, layer, dy, told.as_ref(), &mut self.unread);
        if let Some(below) = layer.checked_sub(1) {
            let topology = self.trace.topology(self.morphed, below);
            let (mut ledger, mut bend, mut scratch) = Default::default();
            let mut notes = Notes { ledger: &mut ledger, bend: &mut bend, watch: None, scratch: &mut scratch };
            self.medium.surfaces[below].stack.cross(topology, &mut dx, &mut notes);
        }
        // A ray that has left the embedding is at the features of a node, which are named as layer 0 once more.
        let place = layer.saturating_sub(1);
        let rows = dx.rows().into_iter().enumerate();
        rows.filter(|(_, row)| row.iter().any(|&x| x != S::zero()))
            .map(|(node, row)| ray.to((place, node), row.to_vec(), layer.checked_sub(1)))
            .collect()
    }

    fn width(&self) -> usize {
        self.net.embedding.table.ncols()
    }
}

impl<S: Scalar> Ray<S> {
    fn start(place: (usize, usize), vector: Vec<S>) -> Self {
        let energies = vec![dot(&vector, &vector).widen()];
        Self { path: vec![place], vector, energies, next: Some(place.0) }
    }

    fn to(&self, place: (usize, usize), vector: Vec<S>, next: Option<usize>) -> Self {
        let (mut path, mut energies) = (self.path.clone(), self.energies.clone());
        path.push(place);
        energies.push(dot(&vector, &vector).widen());
        Self { path, vector, energies, next }
    }

    /// The node of the input where the ray ends.
    pub fn node(&self) -> usize {
        self.path.last().map_or(0, |&(_, node)| node)
    }
}
