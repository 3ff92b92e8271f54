//! Rays: the paths along which a gradient travels from the loss to the nodes of the input.
//!
//! A ray is a path over (layer, node) that carries a d-vector. At a layer it branches into one ray for each node whose row
//! its row flows into; the vector goes through that block of the layer's transposed Jacobian. Blocks are never stored: a
//! layer's backward pass on one row gives all blocks of that row at once ([`GraphTransformNet::pull_back`]). The sum over all
//! rays is the chain rule, so rays can be counted out ([`Tracer::exhaustive`]), drawn at random ([`Tracer::monte_carlo`]) or
//! cut off ([`Tracer::strongest`]).
//!
//! Through a recurrent round a ray goes from node to node, one step of the recurrence at a time, as the gradient of a state.
//! Attenuation, windows and diffusion are linear and are crossed by each ray. Refraction and bands are not linear in the
//! gradient; rays cross them as the gradient did, at recorded angles and factors ([`crate::media::frozen`]). A ray keeps the
//! phase that its amplitude was turned by, and where light guides begin it branches.

mod random;

pub use random::Sampled;

use crate::media::FrozenStack;
use crate::media::rows::dot;
use crate::medium::{Frozen, Leaving, Medium, Record};
use grapheme_core::layers::{Round, Way};
use grapheme_core::morph::GatesGradient;
use grapheme_core::network::{MorphedGraph, Trace, Upstream};
use grapheme_core::{GraphTransformNet, Kept, Scalar, param};
use ndarray::Array2;
use thiserror::Error;

/// Follows rays through one pass of one network.
pub struct Tracer<'a, S: Scalar> {
    net: &'a GraphTransformNet<S>,
    trace: &'a Trace<'a, S>,
    morphed: &'a MorphedGraph<S>,
    upstream: &'a Upstream<S>,
    medium: &'a Medium<S>,
    /// What each boundary was to the real and the imaginary part of the gradient.
    frozen: Vec<(FrozenStack<S>, Option<FrozenStack<S>>)>,
    /// Where layers leave the gradient of their parameters, which no ray asks for.
    unread: GraphTransformNet<S>,
    layers: usize,
}

/// One path, from the loss down.
#[derive(Clone, Debug, PartialEq)]
pub struct Ray<S> {
    /// Layers and the nodes of their outputs, from the loss to the embedding; a ray that starts at a merge gate has the
    /// candidate of the last morph first, and one that runs through a recurrence has a place of that layer for each step.
    pub path: Vec<(usize, usize)>,
    /// What it carries: at its end what it gives to the features, the real part of its amplitude.
    pub vector: Vec<S>,
    /// By how much its amplitude was turned, in radians.
    pub phase: f64,
    /// Its energy at each place of the path.
    pub energies: Vec<f64>,
    at: At,
}

/// Where a ray goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// It enters a layer.
    Layer(usize),
    /// It stands at a state of a recurrent layer.
    State(usize, Way),
    /// It comes out of a guide before the stack of a boundary.
    Boundary(usize),
    /// At the features.
    End,
}

impl At {
    /// How far it is from the end: layers and boundaries in the order of crossing.
    fn height(self) -> usize {
        match self {
            Self::Layer(layer) | Self::State(layer, _) => 2 * layer + 2,
            Self::Boundary(boundary) => 2 * boundary + 3,
            Self::End => 0,
        }
    }
}

/// Why rays were not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// There are too many.
    #[error("more than {limit} rays: trace a shorter text or fewer layers, or draw rays at random")]
    TooMany {
        /// The most that were allowed.
        limit: usize,
    },
    /// A medium of another network.
    #[error("a medium for {found} boundaries does not fit a network with {expected}")]
    OtherNetwork {
        /// Boundaries of the network.
        expected: usize,
        /// Those of the medium.
        found: usize,
    },
    /// A network that rewrites edges.
    #[error(
        "the network rewrites edges, whose weights are a way for gradients beside its nodes: rays follow nodes alone"
    )]
    Edges,
}

impl<'a, S: Scalar> Tracer<'a, S> {
    /// A tracer for the gradient of a loss whose derivatives are `upstream`. Takes one backward pass, to see what media do.
    ///
    /// # Errors
    /// [`TraceError::OtherNetwork`], [`TraceError::Edges`].
    pub fn new(
        net: &'a GraphTransformNet<S>,
        trace: &'a Trace<'a, S>,
        morphed: &'a MorphedGraph<S>,
        upstream: &'a Upstream<S>,
        medium: &'a Medium<S>,
    ) -> Result<Self, TraceError> {
        if net.stages.iter().flat_map(|stage| &stage.rounds).any(Round::rewrites) {
            return Err(TraceError::Edges);
        }
        let layers = net.layer_names().len();
        let (expected, found) = (layers - 1, medium.surfaces.len());
        if expected != found {
            return Err(TraceError::OtherNetwork { expected, found });
        }
        let mut unread = param::zeros_like(net);
        let mut record = Record::default();
        record.frozen = Some(Vec::new());
        medium.descend(net, trace, morphed, upstream.clone(), &mut record, &mut unread);
        let mut frozen = record.frozen.unwrap_or_default();
        frozen.sort_by_key(|frozen| frozen.boundary);
        let frozen = frozen.into_iter().map(|Frozen { re, im, .. }| (re, im)).collect();
        Ok(Self { net, trace, morphed, upstream, medium, frozen, unread, layers })
    }

    /// Every ray, at most `limit` of them. The number grows with the product of the layers' reach.
    ///
    /// # Errors
    /// [`TraceError::TooMany`].
    pub fn exhaustive(&mut self, limit: usize) -> Result<Vec<Ray<S>>, TraceError> {
        let (mut open, mut done) = (self.sources(), Vec::new());
        while let Some(ray) = open.pop() {
            match ray.at {
                At::End => done.push(ray),
                _ => open.extend(self.branches(&ray)),
            }
            if open.len() + done.len() > limit {
                return Err(TraceError::TooMany { limit });
            }
        }
        Ok(done)
    }

    /// Rays by beam search: behind every layer, and at every step of a recurrence, the `k` of most energy go on. Best first.
    pub fn strongest(&mut self, k: usize) -> Vec<Ray<S>> {
        let (mut beam, mut waiting) = (Vec::new(), self.sources());
        for height in (1..=2 * self.layers).rev() {
            // Sources are no choice of the beam's until they are reached.
            let (now, later) = waiting.into_iter().partition(|ray| ray.at.height() == height);
            waiting = later;
            beam.extend::<Vec<Ray<S>>>(now);
            while beam.iter().any(|ray| ray.at.height() == height) {
                let (here, mut next): (Vec<_>, Vec<_>) = beam.into_iter().partition(|ray| ray.at.height() == height);
                next.extend(here.iter().flat_map(|ray| self.branches(ray)));
                let energy = |ray: &Ray<S>| ray.energies.last().copied().unwrap_or(0.0);
                next.sort_by(|a, b| energy(b).total_cmp(&energy(a)).then_with(|| a.path.cmp(&b.path)));
                next.truncate(k);
                beam = next;
            }
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

    /// What becomes of a ray at its next layer and the boundary below it, at its next step, or behind a guide.
    fn branches(&mut self, ray: &Ray<S>) -> Vec<Ray<S>> {
        let &(_, node) = ray.path.last().expect("a ray has a first place");
        match ray.at {
            At::End => Vec::new(),
            At::Boundary(boundary) => {
                let rows = self.trace.topology(self.morphed, boundary).nodes();
                self.land(ray, one_row(rows, node, &ray.vector), boundary, 0.0)
            }
            At::State(layer, way) => {
                let Some(recurrence) = self.net.recurrence(self.trace, layer) else { return Vec::new() };
                let step = recurrence.step(way, node, &ray.vector);
                let rows = self.trace.topology(self.morphed, layer).nodes();
                let before = step.before.into_iter().filter(|(_, state)| state.iter().any(|&x| x != S::zero()));
                let mut rays: Vec<Ray<S>> =
                    before.map(|(node, state)| ray.to(Some((layer, node)), state, At::State(layer, way))).collect();
                rays.extend(self.land(ray, one_row(rows, node, &step.dx), layer - 1, 0.0));
                rays
            }
            At::Layer(layer) => {
                let message_phase = layer.checked_sub(1).map_or(0.0, |below| self.medium.surfaces[below].message_phase);
                let residual = self.medium.residual.get(layer) == Some(&true);
                if let Some(recurrence) = self.net.recurrence(self.trace, layer) {
                    let states = recurrence.enter(node, &ray.vector);
                    let rows = self.trace.topology(self.morphed, layer).nodes();
                    let mut rays = self.land(ray, one_row(rows, node, &ray.vector), layer - 1, 0.0);
                    rays.extend(states.into_iter().map(|(way, state)| Ray {
                        phase: ray.phase + message_phase,
                        ..ray.to(None, state, At::State(layer, way))
                    }));
                    return rays;
                }
                let (dy, mut dx) = self.through(ray, layer, node);
                let Some(below) = layer.checked_sub(1) else { return self.end(ray, &dx) };
                if !(residual && message_phase != 0.0) {
                    return self.land(ray, dx, below, 0.0);
                }
                dx -= &dy;
                let mut rays = self.land(ray, dy, below, 0.0);
                rays.extend(self.land(ray, dx, below, message_phase));
                rays
            }
        }
    }

    /// A ray as the gradient of a layer's output, and that of its input.
    fn through(&mut self, ray: &Ray<S>, layer: usize, node: usize) -> (Array2<S>, Array2<S>) {
        let is_gate = ray.path.len() == 1 && layer + 1 < self.layers;
        let rows = if layer + 1 == self.layers {
            self.upstream.log_label.nrows()
        } else {
            self.trace.topology(self.morphed, layer).nodes()
        };
        let mut told = None;
        let dy = if is_gate {
            let mut gates = GatesGradient::zeros(self.upstream.gates.log_stay.len());
            (gates.log_stay[node], gates.log_merge[node]) = (ray.vector[0], ray.vector[1]);
            told = Some(gates);
            Array2::zeros((rows, self.net.embedding.table.ncols()))
        } else {
            one_row(rows, node, &ray.vector)
        };
        let dx = self.net.pull_back(
            (self.trace, self.morphed),
            layer,
            dy.clone().into(),
            told.as_ref(),
            &mut Kept::new(),
            &mut self.unread,
        );
        (dy, dx.into())
    }

    /// The rays that leave a boundary, for what reaches it turned by `turn` more than `ray` was.
    fn land(&self, ray: &Ray<S>, dx: Array2<S>, below: usize, turn: f64) -> Vec<Ray<S>> {
        let (surface, topology) = (&self.medium.surfaces[below], self.trace.topology(self.morphed, below));
        let (re, im) = &self.frozen[below];
        let phase = ray.phase + turn;
        // Both parts of an amplitude are bent as rays of their own, so one that is neither goes on as two.
        let parts: Vec<(Array2<S>, f64)> = match im {
            Some(im) if !surface.stack.is_linear() => {
                let part = |stack: &FrozenStack<S>, factor: f64, phase: f64| {
                    let mut part = dx.mapv(|x| x * S::lit(factor));
                    stack.cross(topology, &mut part);
                    (part, phase)
                };
                // A quarter turn has a cosine of 6e-17.
                let (cos, sin) = (phase.cos(), phase.sin());
                let real = (cos.abs() > 1e-15).then(|| part(re, cos, 0.0));
                let imaginary = (sin.abs() > 1e-15).then(|| part(im, sin, std::f64::consts::FRAC_PI_2));
                real.into_iter().chain(imaginary).collect()
            }
            _ => {
                let mut dx = dx;
                re.cross(topology, &mut dx);
                vec![(dx, phase)]
            }
        };
        let mut rays = Vec::new();
        for (mut main, phase) in parts {
            let phase = phase + surface.phase;
            for &Leaving { guide, share, .. } in &surface.leaving {
                let ends = self.medium.surfaces.iter().enumerate().find_map(|(boundary, surface)| {
                    let (_, phase) = surface.arriving.iter().find(|(arriving, _)| *arriving == guide)?;
                    Some((boundary, *phase))
                });
                if let Some((boundary, turn)) = ends {
                    let light = main.mapv(|x| x * S::lit(share.sqrt()));
                    rays.extend(ray.split(&light, below, phase + turn, At::Boundary(boundary)));
                }
                main.mapv_inplace(|x| x * S::lit((1.0 - share).sqrt()));
            }
            rays.extend(ray.split(&main, below, phase, At::Layer(below)));
        }
        rays
    }

    /// The rays at the features: parameters take the real part. They are named as layer 0 once more.
    fn end(&self, ray: &Ray<S>, dx: &Array2<S>) -> Vec<Ray<S>> {
        let real = dx.mapv(|x| x * S::lit(ray.phase.cos()));
        let mut rays = ray.split(&real, 0, ray.phase, At::End);
        rays.iter_mut().for_each(|ended| {
            let whole = dx.row(ended.node());
            *ended.energies.last_mut().expect("a ray has a last place") = whole.iter().map(|&x| (x * x).widen()).sum();
        });
        rays
    }

    fn width(&self) -> usize {
        self.net.embedding.table.ncols()
    }
}

/// A gradient that is zero but for one row.
fn one_row<S: Scalar>(rows: usize, row: usize, values: &[S]) -> Array2<S> {
    let mut matrix = Array2::zeros((rows, values.len()));
    matrix.row_mut(row).iter_mut().zip(values).for_each(|(to, &x)| *to = x);
    matrix
}

impl<S: Scalar> Ray<S> {
    fn start(place: (usize, usize), vector: Vec<S>) -> Self {
        let energies = vec![dot(&vector, &vector).widen()];
        Self { path: vec![place], vector, phase: 0.0, energies, at: At::Layer(place.0) }
    }

    /// Goes on with another vector, at another place or, where none is given, at the same.
    fn to(&self, place: Option<(usize, usize)>, vector: Vec<S>, at: At) -> Self {
        let (mut path, mut energies) = (self.path.clone(), self.energies.clone());
        let energy = dot(&vector, &vector).widen();
        match place {
            Some(place) => {
                path.push(place);
                energies.push(energy);
            }
            None => *energies.last_mut().expect("a ray has a first place") = energy,
        }
        Self { path, vector, phase: self.phase, energies, at }
    }

    /// One ray a row that is not zero, at the outputs of `layer`.
    fn split(&self, rows: &Array2<S>, layer: usize, phase: f64, at: At) -> Vec<Self> {
        let rows = rows.rows().into_iter().enumerate().filter(|(_, row)| row.iter().any(|&x| x != S::zero()));
        rows.map(|(node, row)| Self { phase, ..self.to(Some((layer, node)), row.to_vec(), at) }).collect()
    }

    /// The node of the input where the ray ends.
    pub fn node(&self) -> usize {
        self.path.last().map_or(0, |&(_, node)| node)
    }
}
