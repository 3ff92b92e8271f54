//! The media of a training run: settings and what is learned from step to step.

use crate::gates::{GateState, GuideState, layer_products};
use crate::media::{Attenuation, Diffusion, Element, Eye, FourierWindow, Refraction, Stack, amplitude};
use crate::medium::{Crossing, Leaving, Medium, Record, Surface};
use crate::settings::{GateSettings, Layout, OpticsError, OpticsSettings};
use grapheme_core::layers::{RoundKind, sigmoid};
use grapheme_core::{BoundaryFigures, GraphTransformNet, Media, NetworkConfig, Scalar, Stream, param, param_tree};
use ndarray::{Array1, Array2};

/// Purpose of the random numbers here: the first axes of a running subspace.
const AXES: u64 = 0x0E7E;

/// Settings that were checked, and their state. Its [`Media`] are what a trainer uses.
#[derive(Clone, Debug)]
pub struct Optics<S> {
    settings: OpticsSettings,
    layout: Layout,
    pub(crate) state: OpticsState<S>,
    /// Steps taken.
    step: u64,
    medium: Medium<S>,
    /// Derivatives of the last step with respect to shares, summed over its lanes.
    tangents: Vec<(usize, GraphTransformNet<S>)>,
}

/// What is remembered between steps.
#[derive(Clone, Debug)]
pub struct OpticsState<S> {
    /// One a boundary, if any rays are bent.
    pub eyes: Vec<Eye<S>>,
    /// The learned gates.
    pub gates: GateState<S>,
    /// The learned shares, if there are any.
    pub guides: Option<GuideState<S>>,
}

param_tree!(OpticsState { eyes, gates, guides });

impl Layout {
    /// The places of a network.
    pub fn of(config: &NetworkConfig) -> Self {
        let (mut layers, mut residual, mut shape) = (vec!["embedding".to_owned()], vec![false], Vec::new());
        for (s, stage) in config.stages.iter().enumerate() {
            // The boundary below the first round, and one below each further round and the morph.
            shape.extend(std::iter::repeat_n(s, stage.rounds.len() + 1));
            for (r, round) in stage.rounds.iter().enumerate() {
                layers.push(format!("stages.{s}.rounds.{r}"));
                residual.push(!matches!(round, RoundKind::Plain { .. }));
            }
            layers.push(format!("stages.{s}.morph"));
            residual.push(false);
        }
        shape.push(config.stages.len());
        layers.push("head".to_owned());
        residual.push(false);
        Self { width: config.width, layers, residual, shape }
    }
}

impl<S: Scalar> Optics<S> {
    /// The media before the first step of a training of `net` with that configuration; `seed` is that of the run.
    ///
    /// # Errors
    /// [`OpticsError`] for a setting that means nothing.
    pub fn new(
        settings: OpticsSettings,
        config: &NetworkConfig,
        net: &GraphTransformNet<S>,
        seed: u64,
    ) -> Result<Self, OpticsError> {
        let layout = Layout::of(config);
        settings.check(&layout)?;
        let stream = Stream::new(seed).fork(AXES);
        let bends = !settings.indices.is_empty();
        let eyes = (0..if bends { layout.boundaries() } else { 0 })
            .map(|boundary| Eye::new(layout.width, settings.refraction.rank, &mut stream.fork(boundary as u64)));
        let state = OpticsState {
            eyes: eyes.collect(),
            gates: GateState::new(settings.gates.as_ref(), layout.boundaries(), net),
            guides: GuideState::new(&settings.guides, net),
        };
        let medium = Medium { surfaces: Vec::new(), residual: Vec::new() };
        let mut optics = Self { settings, layout, state, step: 0, medium, tangents: Vec::new() };
        optics.resume(0);
        Ok(optics)
    }

    /// The settings.
    pub fn settings(&self) -> &OpticsSettings {
        &self.settings
    }

    /// The places of the network.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The transparency of the gate at a boundary, if it has one.
    pub fn gate(&self, boundary: usize) -> Option<f64> {
        let GateSettings { boundaries: [from, to], .. } = self.settings.gates?;
        (from..=to).contains(&boundary).then(|| self.state.gates.transparency(boundary - from))
    }

    /// The share of a guide at step `step`, from 1.
    pub fn share(&self, guide: usize, step: u64) -> f64 {
        let settings = &self.settings.guides[guide];
        match &self.state.guides {
            Some(state) if settings.learn.is_some() => sigmoid(state.logits[guide].widen()),
            _ => settings.share.at(step),
        }
    }

    /// What stands at a boundary at step `step`, from 1.
    fn surface(&self, boundary: usize, step: u64) -> Surface<S> {
        let mut surface = Surface::default();
        let (mut whole, mut diffusion) = (1.0, Vec::new());
        let mut elements = Vec::new();
        for layer in &self.settings.layers {
            let here = layer.boundaries.is_none_or(|[from, to]| (from..=to).contains(&boundary));
            let now = layer.steps.is_none_or(|[from, to]| (from..=to).contains(&step));
            if !(here && now) {
                continue;
            }
            let dims = amplitude(layer.transparency.at(step), layer.absorption.at(step), layer.thickness.at(step));
            match layer.fourier {
                None => whole *= dims,
                Some([low, high]) if dims != 1.0 => {
                    let window = Some(FourierWindow { low, high });
                    elements.push(Element::Attenuation(Attenuation { amplitude: dims, window }));
                }
                Some(_) => {}
            }
            let rate = layer.diffusion.at(step);
            if rate > 0.0 {
                diffusion.push(Element::Diffusion(Diffusion { rate }));
            }
            surface.phase += layer.phase.at(step);
            surface.message_phase += layer.message_phase.at(step);
        }
        whole *= self.gate(boundary).map_or(1.0, f64::sqrt);
        if whole != 1.0 {
            elements.insert(0, Element::Attenuation(Attenuation { amplitude: whole, window: None }));
        }
        let index = |layer: usize| {
            let windows = self.settings.indices.iter().rev();
            let mut inside = windows.filter(|window| (window.layers[0]..=window.layers[1]).contains(&layer));
            inside.next().map_or(1.0, |window| window.index.at(step))
        };
        let (n_in, n_out) = (index(boundary + 1), index(boundary));
        if n_in != n_out
            && let Some(eye) = self.state.eyes.get(boundary)
        {
            let normals = self.settings.refraction.normals.iter();
            let prescribed = normals.rev().find(|normal| normal.boundary == boundary);
            let frame = eye.frame(prescribed.map(|normal| normal.direction.as_slice()));
            let fresnel = self.settings.refraction.fresnel;
            elements.push(Element::Refraction(Refraction { frame, n_in, n_out, fresnel }));
        }
        elements.extend(diffusion);
        if let Some(band) = &self.settings.energy_band
            && band.boundaries.is_none_or(|[from, to]| (from..=to).contains(&boundary))
        {
            elements.push(Element::Band(band.band()));
        }
        surface.stack = Stack(elements);
        for (i, guide) in self.settings.guides.iter().enumerate() {
            let share = self.share(i, step);
            if share > 0.0 && guide.from == boundary {
                let watched = guide.learn.is_some_and(|learning| step.is_multiple_of(learning.every));
                surface.leaving.push(Leaving { guide: i, share, watched });
            }
            if share > 0.0 && guide.to == boundary {
                surface.arriving.push((i, guide.phase.at(step)));
            }
        }
        surface
    }

    /// The crossings of all lanes at one boundary as one.
    fn joined(&self, records: &[Record<S>], boundary: usize) -> Joined<S> {
        let mut joined = Joined::default();
        for record in records {
            for crossing in record.crossings.iter().filter(|crossing| crossing.boundary == boundary) {
                joined.add(crossing);
            }
        }
        joined
    }
}

impl<S: Scalar> Media<S> for Optics<S> {
    type Medium = Medium<S>;
    type State = OpticsState<S>;

    fn medium(&self) -> &Medium<S> {
        &self.medium
    }

    /// The step after one whose response was kept.
    fn wants_plain(&self) -> bool {
        let due = |every: u64| self.step > 0 && self.step.is_multiple_of(every);
        let guides = self.settings.guides.iter().filter_map(|guide| guide.learn);
        self.settings.gates.is_some_and(|gates| due(gates.every)) || guides.into_iter().any(|guide| due(guide.every))
    }

    /// Moves gates and shares against the hypergradient; see [`crate::gates`].
    fn see_plain(&mut self, gradient: &GraphTransformNet<S>) {
        if let (Some(settings), Some(response)) = (self.settings.gates, &self.state.gates.response)
            && self.step.is_multiple_of(settings.every)
        {
            let products = layer_products(&self.layout, gradient, response);
            self.state.gates.descend(&settings, &products);
        }
        if let Some(guides) = &mut self.state.guides {
            guides.descend(&self.settings.guides, |every| self.step.is_multiple_of(every), gradient);
        }
        self.resume(self.step);
    }

    fn observe(&mut self, traces: Vec<Record<S>>) -> Vec<BoundaryFigures> {
        let boundaries = self.layout.boundaries();
        let mut told = Vec::with_capacity(boundaries);
        for boundary in 0..boundaries {
            let joined = self.joined(&traces, boundary);
            if let Some(eye) = self.state.eyes.get_mut(boundary)
                && let (Some(sum), Some(moments)) = (&joined.sum, &joined.moments)
            {
                eye.learn(self.settings.refraction.memory, joined.rows, sum, moments);
            }
            if let Some(penalty) = self.settings.gates.and_then(|gates| gates.penalty) {
                let band = crate::media::EnergyBand { low: penalty.low, high: penalty.high };
                let mean = joined.figures.energy_out / joined.rows.max(1) as f64;
                let known = mean > 0.0 && mean.is_finite();
                let slope = if known { penalty.weight * band.penalty_slope(mean) } else { 0.0 };
                self.state.gates.penalty[boundary] = S::lit(slope);
            }
            let mut figures = joined.figures();
            figures.boundary = boundary;
            figures.gate = self.gate(boundary);
            figures.shares = self.medium.surfaces[boundary].leaving.iter().map(|leaving| leaving.share).collect();
            // What leaves is sqrt(t) times something that does not depend on t.
            figures.jacobian = figures.gate.map(|t| (figures.energy_out + figures.quadrature).sqrt() / (2.0 * t));
            told.push(figures);
        }
        self.tangents.clear();
        for (guide, tangent) in traces.into_iter().flat_map(|record| record.tangents) {
            match self.tangents.iter_mut().find(|(known, _)| *known == guide) {
                Some((_, sum)) => {
                    param::each_pair(sum, &tangent, |_, a, b| a.iter_mut().zip(b).for_each(|(a, b)| *a += *b))
                }
                None => self.tangents.push((guide, tangent)),
            }
        }
        self.step += 1;
        self.resume(self.step);
        told
    }

    fn wants_response(&self) -> bool {
        // Asked after the step was counted.
        self.wants_plain()
    }

    fn see_response(
        &mut self,
        gradient: &GraphTransformNet<S>,
        scale: f64,
        respond: &dyn Fn(&GraphTransformNet<S>) -> GraphTransformNet<S>,
    ) {
        if self.settings.gates.is_some_and(|gates| self.step.is_multiple_of(gates.every)) {
            self.state.gates.response = Some(respond(gradient));
        }
        let Some(state) = &mut self.state.guides else { return };
        let guides = self.settings.guides.iter().enumerate();
        let learners = guides.filter(|(_, guide)| guide.learn.is_some()).map(|(i, _)| i);
        for (guide, response) in learners.zip(&mut state.responses) {
            if let Some((_, tangent)) = self.tangents.iter_mut().find(|(known, _)| *known == guide) {
                param::each_mut(tangent, |_, _, values: &mut [S]| values.iter_mut().for_each(|d| *d *= S::lit(scale)));
                *response = respond(tangent);
            }
        }
    }

    fn state(&self) -> Option<&OpticsState<S>> {
        Some(&self.state)
    }

    fn state_mut(&mut self) -> Option<&mut OpticsState<S>> {
        Some(&mut self.state)
    }

    fn resume(&mut self, step: u64) {
        self.step = step;
        let surfaces = (0..self.layout.boundaries()).map(|boundary| self.surface(boundary, step + 1)).collect();
        self.medium = Medium { surfaces, residual: self.layout.residual.clone() };
    }
}

/// One boundary over all lanes.
#[derive(Default)]
struct Joined<S> {
    rows: usize,
    figures: BoundaryFigures,
    rays: u64,
    angles: f64,
    together: f64,
    apart: f64,
    squares: [f64; 2],
    sum: Option<Array1<S>>,
    moments: Option<Array2<S>>,
}

impl<S: Scalar> Joined<S> {
    fn add(&mut self, crossing: &Crossing<S>) {
        let (ledger, figures) = (&crossing.ledger, &mut self.figures);
        figures.energy_in += ledger.incoming;
        figures.energy_out += ledger.outgoing;
        figures.quadrature += ledger.quadrature;
        figures.absorbed += ledger.absorbed;
        figures.reflected += ledger.reflected;
        figures.diffused += ledger.diffused;
        figures.guided += ledger.guided;
        figures.arrived += ledger.arrived;
        figures.gained += ledger.gained;
        figures.angle_max = figures.angle_max.max(crossing.bend.max);
        self.rows += crossing.rows;
        self.rays += crossing.bend.rays;
        self.angles += crossing.bend.sum;
        self.together += crossing.together;
        self.apart += crossing.apart;
        self.squares[0] += crossing.square_re;
        self.squares[1] += crossing.square_im;
        if !crossing.sum.is_empty() {
            match (&mut self.sum, &mut self.moments) {
                (Some(sum), Some(moments)) => {
                    *sum += &crossing.sum;
                    *moments += &crossing.moments;
                }
                _ => (self.sum, self.moments) = (Some(crossing.sum.clone()), Some(crossing.moments.clone())),
            }
        }
    }

    fn figures(self) -> BoundaryFigures {
        let mut figures = self.figures;
        figures.rows = self.rows as u64;
        figures.angle_mean = if self.rays > 0 { self.angles / self.rays as f64 } else { 0.0 };
        figures.coherence = (self.apart > 0.0).then(|| self.together / self.apart);
        let energy = figures.energy_out + figures.quadrature;
        // Exactly 0 without phases: all amplitudes are real then.
        if figures.quadrature > 0.0 {
            figures.phase_spread = (1.0 - self.squares[0].hypot(self.squares[1]) / energy).max(0.0);
        }
        figures
    }
}
