//! The medium of one training step, over all boundaries.

use crate::media::rows::{dot, energy, slices, slices_mut};
use crate::media::{Bend, Element, FrozenStack, Ledger, Notes, Scratch, Stack};
use grapheme_core::morph::GatesGradient;
use grapheme_core::network::{MorphedGraph, Trace, Upstream};
use grapheme_core::{Boundary, GradientMedium, GraphTransformNet, Kept, Matrix, Scalar, Topology, param};
use ndarray::{Array1, Array2};

/// What stands at each boundary in one step. Read-only during a pass: what it sees goes to a [`Record`].
#[derive(Clone, Debug, PartialEq)]
pub struct Medium<S> {
    /// One a boundary.
    pub surfaces: Vec<Surface<S>>,
    /// For each layer whether it adds to its input.
    pub residual: Vec<bool>,
}

/// What stands at one boundary.
#[derive(Clone, Debug, PartialEq)]
pub struct Surface<S> {
    /// What every gradient crosses.
    pub stack: Stack<S>,
    /// Guides that begin here, behind the stack, in the order in which they take their share.
    pub leaving: Vec<Leaving>,
    /// Guides that end here, before the stack: number and turn of the amplitude.
    pub arriving: Vec<(usize, f64)>,
    /// The turn of the amplitude behind the stack.
    pub phase: f64,
    /// The turn of what came through the messages of the layer above, before the stack.
    pub message_phase: f64,
}

impl<S> Default for Surface<S> {
    /// Vacuum.
    fn default() -> Self {
        Self { stack: Stack(Vec::new()), leaving: Vec::new(), arriving: Vec::new(), phase: 0.0, message_phase: 0.0 }
    }
}

/// Where a guide begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leaving {
    /// Its number.
    pub guide: usize,
    /// The share of the energy that it takes of what is left by those before it.
    pub share: f64,
    /// Whether the derivative of the gradient with respect to the logit of the share is wanted: one more pass below.
    pub watched: bool,
}

/// What a pass under a [`Medium`] leaves behind.
#[derive(Clone, Debug)]
pub struct Record<S: Scalar> {
    /// One a boundary, in the order of crossing: from the last to the first.
    pub crossings: Vec<Crossing<S>>,
    /// For each watched guide the derivative of the gradient of every parameter with respect to the logit of its share.
    pub tangents: Vec<(usize, GraphTransformNet<S>)>,
    /// The stack of each boundary as it was to the real and to the imaginary part, where a tracer asks for it.
    pub(crate) frozen: Option<Vec<Frozen<S>>>,
    /// Derivatives that began at the boundary that was just crossed; none where nobody asks for them.
    sprouts: Option<Vec<Beam<S>>>,
    /// Light on its way through guides.
    lights: Vec<Light<S>>,
    /// What left the boundary above, if the layer below it adds to its input: the route past that layer.
    above: Array2<S>,
    scratch: Scratch<S>,
}

impl<S: Scalar> Default for Record<S> {
    fn default() -> Self {
        Self {
            crossings: Vec::new(),
            tangents: Vec::new(),
            frozen: None,
            sprouts: None,
            lights: Vec::new(),
            above: Array2::zeros((0, 0)),
            scratch: Scratch::default(),
        }
    }
}

/// What a boundary was to both parts of a gradient.
#[derive(Clone, Debug)]
pub(crate) struct Frozen<S> {
    pub(crate) boundary: usize,
    pub(crate) re: FrozenStack<S>,
    /// None where no amplitude was turned yet.
    pub(crate) im: Option<FrozenStack<S>>,
}

/// A derivative of the gradient on its way down. The media below are linear, so it goes as a gradient goes.
#[derive(Clone, Debug)]
struct Beam<S: Scalar> {
    guide: usize,
    re: Array2<S>,
    im: Option<Array2<S>>,
    /// The same of the weights of edges, which no medium stands before.
    weights: [Kept<S>; 2],
    record: Record<S>,
}

impl<S: Scalar> Beam<S> {
    /// The derivative with respect to `v` at a guide's beginning, for share `s = sigmoid(v)` of a gradient `g`: the guide
    /// carries `sqrt(s) g`, whose derivative is `(1 - s) sqrt(s) / 2 g`, and the rest is `sqrt(1 - s) g`, whose derivative is
    /// `-s sqrt(1 - s) / 2 g`.
    fn sprout(guide: usize, s: f64, re: &Array2<S>, im: Option<&Array2<S>>) -> Self {
        let times = |factor: f64| {
            let factor = S::lit(factor);
            (re.mapv(|x| x * factor), im.map(|im| im.mapv(|x| x * factor)))
        };
        let (light, main) = (times(0.5 * (1.0 - s) * s.sqrt()), times(-0.5 * s * (1.0 - s).sqrt()));
        let mut record = Record::default();
        record.lights.push(Light { guide, re: light.0, im: light.1 });
        Self { guide, re: main.0, im: main.1, weights: Default::default(), record }
    }
}

#[derive(Clone, Debug)]
struct Light<S> {
    guide: usize,
    re: Array2<S>,
    im: Option<Array2<S>>,
}

/// What happened at one boundary in one pass.
#[derive(Clone, Debug)]
pub struct Crossing<S> {
    /// Which.
    pub boundary: usize,
    /// How many rows crossed.
    pub rows: usize,
    /// Where energy went.
    pub ledger: Ledger,
    /// How far rays were turned.
    pub bend: Bend,
    /// Energy of the sum of the routes that met here.
    pub together: f64,
    /// Sum of their energies; 0 where there was one route.
    pub apart: f64,
    /// Real part of the sum of the squares of all complex amplitudes.
    pub square_re: f64,
    /// Imaginary part of the same.
    pub square_im: f64,
    /// The sum of the rows, where rays are bent.
    pub sum: Array1<S>,
    /// Moments along the axes, where rays are bent.
    pub moments: Array2<S>,
}

impl<S: Scalar> Medium<S> {
    /// Whether amplitudes are complex, so that a pass carries two gradients.
    pub fn is_complex(&self) -> bool {
        self.surfaces.iter().any(|surface| {
            let phases = surface.arriving.iter().map(|&(_, phase)| phase);
            surface.phase != 0.0 || surface.message_phase != 0.0 || phases.into_iter().any(|phase| phase != 0.0)
        })
    }

    /// Whether the derivative with respect to a share is wanted.
    fn is_watched(&self) -> bool {
        self.surfaces.iter().flat_map(|surface| &surface.leaving).any(|leaving| leaving.watched)
    }

    /// Carries a complex gradient across boundary `index`, in place. `im` is created where a phase needs it.
    pub fn cross_complex(
        &self,
        index: usize,
        topology: &Topology,
        re: &mut Array2<S>,
        im: &mut Option<Array2<S>>,
        record: &mut Record<S>,
    ) {
        let Some(surface) = self.surfaces.get(index) else { return };
        let mut crossing = Crossing::new(index, re.nrows());
        if self.residual.get(index + 1) == Some(&true) && record.above.dim() == re.dim() {
            crossing.meets(re, im.as_ref(), &record.above);
        }
        for &(guide, phase) in &surface.arriving {
            if let Some(i) = record.lights.iter().position(|light| light.guide == guide) {
                crossing.arrive(record.lights.swap_remove(i), phase, re, im);
            }
        }
        if let Some(frozen) = &mut record.frozen {
            let freeze = |g: &Array2<S>| surface.stack.freeze(topology, g);
            frozen.push(Frozen { boundary: index, re: freeze(re), im: im.as_ref().map(freeze) });
        }
        let refracts = surface.stack.0.iter().find_map(|element| match element {
            Element::Refraction(refraction) => Some(refraction.frame.axes.dim()),
            _ => None,
        });
        if let Some((axes, width)) = refracts {
            (crossing.sum, crossing.moments) = (Array1::zeros(width), Array2::zeros((axes, width)));
            let sum = crossing.sum.as_slice_mut().expect("a new array is stored in order");
            slices(re).for_each(|row| sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x));
        }
        let mut ledger = Ledger::default();
        let watch = refracts.is_some().then_some(&mut crossing.moments);
        let mut notes = Notes { ledger: &mut ledger, bend: &mut crossing.bend, watch, scratch: &mut record.scratch };
        surface.stack.cross(topology, re, &mut notes);
        crossing.ledger += ledger;
        if let Some(im) = im {
            // The other quadrature is a ray of its own.
            let mut ledger = Ledger::default();
            let mut bend = Bend::default();
            let mut notes = Notes { ledger: &mut ledger, bend: &mut bend, watch: None, scratch: &mut record.scratch };
            surface.stack.cross(topology, im, &mut notes);
            (ledger.quadrature, ledger.outgoing) = (ledger.outgoing, 0.0);
            crossing.ledger += ledger;
        }
        if surface.phase != 0.0 {
            turn(re, im, surface.phase);
            crossing.measure(re, im.as_ref());
        }
        for &Leaving { guide, share, watched } in &surface.leaving {
            // What began here before this guide is split by it like the gradient itself.
            for sprout in record.sprouts.iter_mut().flatten() {
                split(guide, share, &mut sprout.re, &mut sprout.im, &mut sprout.record.lights);
            }
            if let Some(sprouts) = &mut record.sprouts
                && watched
            {
                sprouts.push(Beam::sprout(guide, share, re, im.as_ref()));
            }
            crossing.leave(guide, share, re, im, &mut record.lights);
        }
        if let Some(im) = im {
            let (mut real, mut cross) = (0.0, 0.0);
            for (re, im) in slices(re).zip(slices(im)) {
                real += (dot(re, re) - dot(im, im)).widen();
                cross += 2.0 * dot(re, im).widen();
            }
            (crossing.square_re, crossing.square_im) = (real, cross);
        } else {
            crossing.square_re = crossing.ledger.outgoing;
        }
        if self.residual.get(index) == Some(&true) {
            record.above.clone_from(re);
        }
        record.crossings.push(crossing);
    }
}

impl<S: Scalar> Crossing<S> {
    fn new(boundary: usize, rows: usize) -> Self {
        Self {
            boundary,
            rows,
            ledger: Ledger::default(),
            bend: Bend::default(),
            together: 0.0,
            apart: 0.0,
            square_re: 0.0,
            square_im: 0.0,
            sum: Array1::zeros(0),
            moments: Array2::zeros((0, 0)),
        }
    }

    /// `sum` is that of the route past the layer, `direct`, and the one through it. Of imaginary parts only the sum is known,
    /// which counts as one route.
    fn meets(&mut self, sum: &Array2<S>, im: Option<&Array2<S>>, direct: &Array2<S>) {
        let (mut whole, mut past, mut overlap) = (0.0, 0.0, 0.0);
        for (sum, direct) in slices(sum).zip(slices(direct)) {
            whole += dot(sum, sum).widen();
            past += dot(direct, direct).widen();
            overlap += dot(sum, direct).widen();
        }
        let imaginary = im.map_or(0.0, energy);
        self.together = whole + imaginary;
        self.apart = past + (whole + past - 2.0 * overlap).max(0.0) + imaginary;
    }

    /// The energies behind, measured anew.
    fn measure(&mut self, re: &Array2<S>, im: Option<&Array2<S>>) {
        self.ledger.outgoing = energy(re);
        self.ledger.quadrature = im.map_or(0.0, energy);
    }

    /// Adds the light of a guide. Energies here are those before the stack, which the stack will count as incoming, so
    /// they are booked as arrived and taken off what came.
    fn arrive(&mut self, mut light: Light<S>, phase: f64, re: &mut Array2<S>, im: &mut Option<Array2<S>>) {
        if light.re.dim() != re.dim() {
            return;
        }
        if phase != 0.0 {
            turn(&mut light.re, &mut light.im, phase);
        }
        let own = energy(&light.re) + light.im.as_ref().map_or(0.0, energy);
        let before = energy(re) + im.as_ref().map_or(0.0, energy);
        let mut overlap: f64 = slices(re).zip(slices(&light.re)).map(|(a, b)| dot(a, b).widen()).sum();
        *re += &light.re;
        if let Some(light) = light.im {
            match im {
                None => *im = Some(light),
                Some(im) => {
                    overlap += slices(im).zip(slices(&light)).map(|(a, b)| dot(a, b).widen()).sum::<f64>();
                    *im += &light;
                }
            }
        }
        let arrived = own + 2.0 * overlap;
        // Where a layer's two routes met already, the guide is one more.
        if self.apart == 0.0 {
            self.apart = before;
        }
        self.together = before + arrived;
        self.apart += own;
        self.ledger.arrived += arrived;
        self.ledger.incoming -= arrived;
    }

    /// Splits off a share of the energy for a guide.
    fn leave(
        &mut self,
        guide: usize,
        share: f64,
        re: &mut Array2<S>,
        im: &mut Option<Array2<S>>,
        lights: &mut Vec<Light<S>>,
    ) {
        let before = energy(re) + im.as_ref().map_or(0.0, energy);
        split(guide, share, re, im, lights);
        self.ledger.guided += share * before;
        self.measure(re, im.as_ref());
    }
}

/// Takes a share of the energy off a gradient, as light of a guide.
fn split<S: Scalar>(
    guide: usize,
    share: f64,
    re: &mut Array2<S>,
    im: &mut Option<Array2<S>>,
    lights: &mut Vec<Light<S>>,
) {
    let (taken, kept) = (S::lit(share.sqrt()), S::lit((1.0 - share).sqrt()));
    lights.push(Light { guide, re: re.mapv(|x| x * taken), im: im.as_ref().map(|im| im.mapv(|x| x * taken)) });
    slices_mut(re).for_each(|row| row.iter_mut().for_each(|x| *x *= kept));
    if let Some(im) = im {
        slices_mut(im).for_each(|row| row.iter_mut().for_each(|x| *x *= kept));
    }
}

/// Multiplies `re + i im` by `exp(i phase)`.
fn turn<S: Scalar>(re: &mut Array2<S>, im: &mut Option<Array2<S>>, phase: f64) {
    let (cos, sin) = (S::lit(phase.cos()), S::lit(phase.sin()));
    let im = im.get_or_insert_with(|| Array2::zeros(re.dim()));
    for (re, im) in slices_mut(re).zip(slices_mut(im)) {
        for (re, im) in re.iter_mut().zip(im) {
            (*re, *im) = (cos * *re - sin * *im, sin * *re + cos * *im);
        }
    }
}

impl<S: Scalar> GradientMedium<S> for Medium<S> {
    type Trace = Record<S>;

    fn cross(&self, boundary: Boundary, topology: &Topology, gradient: &mut Array2<S>, record: &mut Record<S>) {
        self.cross_complex(boundary.index, topology, gradient, &mut None, record);
    }

    /// With phases, two gradients are carried from layer to layer, real and imaginary part; parameters take the real part.
    /// What the loss tells the merge gates directly is real. Where the share of a guide is watched, the derivative with
    /// respect to it is carried beside the gradient from the guide's beginning on.
    fn carry(
        &self,
        net: &GraphTransformNet<S>,
        trace: Trace<'_, S>,
        morphed: &MorphedGraph<S>,
        upstream: Upstream<S>,
        record: &mut Record<S>,
        grad: &mut GraphTransformNet<S>,
    ) -> Matrix<S> {
        if !self.is_complex() && !self.is_watched() {
            return net.backward(trace, morphed, upstream, self, record, grad);
        }
        self.descend(net, &trace, morphed, upstream, record, grad).into()
    }
}

impl<S: Scalar> Medium<S> {
    /// The backward pass one layer at a time: the same as [`carry`](GradientMedium::carry), and the trace stays whole.
    pub(crate) fn descend(
        &self,
        net: &GraphTransformNet<S>,
        trace: &Trace<'_, S>,
        morphed: &MorphedGraph<S>,
        upstream: Upstream<S>,
        record: &mut Record<S>,
        grad: &mut GraphTransformNet<S>,
    ) -> Array2<S> {
        let layers = self.surfaces.len() + 1;
        let mut pass = Descent { medium: self, net, trace, morphed, unread: None };
        let (mut re, mut im) = (Array2::from(upstream.log_label), None::<Array2<S>>);
        // The weights of edges are another way down; what the loss tells them directly is real as well.
        let mut weights = [upstream.edge_weights.unwrap_or_default(), Kept::new()];
        record.sprouts = self.is_watched().then(Vec::new);
        let mut beams: Vec<(Beam<S>, GraphTransformNet<S>)> = Vec::new();
        for layer in (0..layers).rev() {
            let gates = (layer + 2 == layers).then_some(&upstream.gates);
            re = pass.layer(layer, re, &mut im, gates, &mut weights, grad);
            for (beam, grad) in &mut beams {
                let above = std::mem::replace(&mut beam.re, Array2::zeros((0, 0)));
                beam.re = pass.layer(layer, above, &mut beam.im, None, &mut beam.weights, grad);
            }
            if let Some(below) = layer.checked_sub(1) {
                let topology = trace.topology(morphed, below);
                for (Beam { re, im, record, .. }, _) in &mut beams {
                    self.cross_complex(below, topology, re, im, record);
                }
                self.cross_complex(below, topology, &mut re, &mut im, record);
                let new = record.sprouts.iter_mut().flat_map(|new| new.drain(..));
                beams.extend(new.map(|beam| (beam, param::zeros_like(net))));
            }
        }
        record.tangents = beams.into_iter().map(|(beam, grad)| (beam.guide, grad)).collect();
        re
    }
}

/// A backward pass one layer at a time.
struct Descent<'a, 'b, S: Scalar> {
    medium: &'a Medium<S>,
    net: &'a GraphTransformNet<S>,
    trace: &'a Trace<'b, S>,
    morphed: &'a MorphedGraph<S>,
    /// Where imaginary parts leave their gradient: nobody reads it.
    unread: Option<GraphTransformNet<S>>,
}

impl<S: Scalar> Descent<'_, '_, S> {
    /// Through one layer, with the turn of what comes through its messages.
    fn layer(
        &mut self,
        layer: usize,
        re: Array2<S>,
        im: &mut Option<Array2<S>>,
        gates: Option<&GatesGradient<S>>,
        [re_weights, im_weights]: &mut [Kept<S>; 2],
        grad: &mut GraphTransformNet<S>,
    ) -> Array2<S> {
        let Self { medium, net, trace, morphed, unread } = self;
        let message_phase = layer.checked_sub(1).map_or(0.0, |below| medium.surfaces[below].message_phase);
        let splits = message_phase != 0.0 && medium.residual.get(layer) == Some(&true);
        let direct = splits.then(|| (re.clone(), im.clone()));
        let mut re = net.pull_back((trace, morphed), layer, re.into(), gates, re_weights, grad).into();
        *im = im.take().map(|im| {
            let unread = unread.get_or_insert_with(|| param::zeros_like(net));
            net.pull_back((trace, morphed), layer, im.into(), None, im_weights, unread).into()
        });
        if let Some((direct_re, direct_im)) = direct {
            re -= &direct_re;
            if let (Some(im), Some(direct)) = (&mut *im, &direct_im) {
                *im -= direct;
            }
            turn(&mut re, im, message_phase);
            re += &direct_re;
            if let (Some(im), Some(direct)) = (im, &direct_im) {
                *im += direct;
            }
        }
        re
    }
}
