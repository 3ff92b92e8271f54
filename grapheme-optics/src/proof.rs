//! What proves media right on a whole network: a loss whose every derivative is known, and two real steps under media.
//!
//! Used by this crate's tests and by the gradient checker's command.

use crate::gates::layer_products;
use crate::media::{Attenuation, Bend, Diffusion, Element, FourierWindow, Ledger, Notes, Scratch};
use crate::settings::{GateSettings, GuideSettings, IndexWindow, Learning, OpticLayer, RefractionSettings, Value};
use crate::{Optics, OpticsError, OpticsSettings};
use grapheme_core::check::differentiate;
use grapheme_core::graph::BatchError;
use grapheme_core::layers::RoundKind;
use grapheme_core::network::{Closing, ConfigError, ForwardError, ForwardOptions, StageConfig, Upstream};
use grapheme_core::{
    Boundary, GradientMedium, GraphBatch, GraphTransformNet, Media, NetworkConfig, Scalar, Stream, Topology, Vacuum,
    param,
};
use ndarray::Array2;
use thiserror::Error;

/// Nothing was proved, for a reason that says nothing about media.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The network could not be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The batch could not be built.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The network refused the batch.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The settings mean nothing.
    #[error(transparent)]
    Optics(#[from] OpticsError),
}

/// The gradient of every parameter, that of the features, and what the medium recorded.
pub type Passed<S, T> = (GraphTransformNet<S>, Array2<S>, T);

/// A network, a batch and a loss: a fixed weighted sum of the log probabilities of all labels.
#[derive(Clone, Debug)]
pub struct Subject<S> {
    /// The network.
    pub net: GraphTransformNet<S>,
    /// What it reads.
    pub batch: GraphBatch,
    /// How its last morph closes.
    pub closing: Closing,
}

impl<S: Scalar> Subject<S> {
    /// A fresh network with that configuration.
    ///
    /// # Errors
    /// [`ProofError`] if it cannot be built, or its batch cannot.
    pub fn new(config: &NetworkConfig, texts: &[&str], closing: Closing) -> Result<Self, ProofError> {
        Ok(Self { net: GraphTransformNet::new(config, 7)?, batch: GraphBatch::from_texts(texts)?, closing })
    }

    fn weight(&self, i: usize) -> S {
        S::lit(Stream::new(5).at(i as u64) as f64 / u64::MAX as f64 - 0.4)
    }

    fn options(&self) -> ForwardOptions<'_> {
        ForwardOptions { closing: self.closing, ..ForwardOptions::realised() }
    }

    /// The loss; labels that are impossible count nothing.
    ///
    /// # Errors
    /// [`ProofError::Forward`].
    pub fn loss(&self) -> Result<f64, ProofError> {
        let (morphed, _) = self.net.forward(&self.batch, self.options())?;
        let terms = morphed.log_label.iter().enumerate().filter(|(_, l)| l.is_finite());
        Ok(terms.map(|(i, l)| (self.weight(i) * *l).widen()).sum())
    }

    /// What a backward pass under a medium gives.
    ///
    /// # Errors
    /// [`ProofError::Forward`].
    pub fn gradient<M: GradientMedium<S>>(&self, medium: &M) -> Result<Passed<S, M::Trace>, ProofError> {
        let (morphed, trace) = self.net.forward(&self.batch, self.options())?;
        let mut upstream = Upstream::zeros(&morphed);
        for (i, (d, l)) in upstream.log_label.iter_mut().zip(morphed.log_label.iter()).enumerate() {
            *d = if l.is_finite() { self.weight(i) } else { S::zero() };
        }
        let (mut record, mut grad) = (M::Trace::default(), param::zeros_like(&self.net));
        let features = medium.carry(&self.net, trace, &morphed, upstream, &mut record, &mut grad);
        Ok((grad, features.into(), record))
    }
}

/// A linear medium at every boundary of any network: it dims everything, dims high graph frequencies more, and diffuses.
/// Each part is symmetric, so its transpose is the same parts in reverse order.
#[derive(Clone, Copy, Debug)]
pub struct Glass;

impl Glass {
    fn stack<S>() -> [Element<S>; 3] {
        let window = Some(FourierWindow { low: 0.5, high: 1.0 });
        [
            Element::Attenuation(Attenuation { amplitude: 0.8, window: None }),
            Element::Attenuation(Attenuation { amplitude: 0.5, window }),
            Element::Diffusion(Diffusion { rate: 0.2 }),
        ]
    }

    fn pass<'a, S: Scalar>(stack: impl Iterator<Item = &'a Element<S>>, topology: &Topology, x: &mut Array2<S>) {
        let (mut ledger, mut bend, mut scratch) = (Ledger::default(), Bend::default(), Scratch::default());
        let mut notes = Notes { ledger: &mut ledger, bend: &mut bend, watch: None, scratch: &mut scratch };
        stack.for_each(|element| element.cross(topology, x, &mut notes));
    }

    /// `x -> M^T x`, in place.
    pub fn transpose<S: Scalar>(self, topology: &Topology, x: &mut Array2<S>) {
        Self::pass(Self::stack().iter().rev(), topology, x);
    }
}

impl<S: Scalar> GradientMedium<S> for Glass {
    type Trace = ();

    fn cross(&self, _: Boundary, topology: &Topology, gradient: &mut Array2<S>, (): &mut ()) {
        Self::pass(Self::stack().iter(), topology, gradient);
    }
}

/// Whether optics without settings give every parameter and every feature the gradient of plain backpropagation, to the bit, in
/// both precisions.
///
/// # Errors
/// [`ProofError`] if the network cannot be built.
pub fn vacuum_is_plain(config: &NetworkConfig) -> Result<bool, ProofError> {
    fn same<S: Scalar>(config: &NetworkConfig) -> Result<bool, ProofError> {
        let subject = Subject::<S>::new(config, &["abc", "", "xyz"], Closing::Marginalised)?;
        let optics = Optics::new(OpticsSettings::default(), config, &subject.net, 1)?;
        let (plain, features, ()) = subject.gradient(&Vacuum)?;
        let (mut seen, through, _) = subject.gradient(optics.medium())?;
        let mut equal = features.iter().zip(&through).all(|(a, b)| a.widen().to_bits() == b.widen().to_bits());
        param::each_pair(&mut seen, &plain, |_, a, b| {
            equal &= a.iter().zip(b).all(|(a, b)| a.widen().to_bits() == b.widen().to_bits());
        });
        Ok(equal)
    }
    Ok(same::<f32>(config)? && same::<f64>(config)?)
}

/// A hypergradient in two ways.
#[derive(Clone, Debug, PartialEq)]
pub struct Slope {
    /// Whose: `gate 2`, `guide 0`.
    pub name: String,
    /// What media would descend along.
    pub analytic: f64,
    /// By finite differences of the loss behind two real steps of plain descent, unclipped.
    pub numeric: f64,
}

impl Slope {
    /// `|a - n| / max(|a|, |n|)`.
    pub fn error(&self) -> f64 {
        let (a, n) = (self.analytic, self.numeric);
        if a == n { 0.0 } else { (a - n).abs() / a.abs().max(n.abs()) }
    }
}

/// Width of the first difference, in logits.
const REACH: f64 = 0.05;

/// The hypergradient of every learned gate and share: one step of plain descent on a first batch under the media, and the loss
/// of a second batch behind it, differentiated with respect to each logit.
///
/// # Errors
/// [`ProofError`] for settings that mean nothing to such a network.
pub fn hypergradients(settings: &OpticsSettings, config: &NetworkConfig) -> Result<Vec<Slope>, ProofError> {
    let rate = 0.3;
    let first = Subject::<f64>::new(config, &["abc", "xyz"], Closing::Marginalised)?;
    let second = Subject::<f64>::new(config, &["bcd", "a"], Closing::Marginalised)?;
    let mut optics = with_normals(settings.clone(), config, &first.net)?;
    let respond = |gradient: &GraphTransformNet<f64>| {
        let mut response = gradient.clone();
        param::each_mut(&mut response, |_, _, values: &mut [f64]| values.iter_mut().for_each(|x| *x *= rate));
        response
    };
    let moved = |gradient: &GraphTransformNet<f64>| {
        let mut moved = second.clone();
        moved.net = first.net.clone();
        param::each_pair(&mut moved.net, &respond(gradient), |_, w, d| w.iter_mut().zip(d).for_each(|(w, d)| *w -= d));
        moved
    };
    // What a trainer does, in its order. Eyes learn from the step, but the step itself is taken under those of before.
    let mut after = optics.clone();
    let (gradient, _, record) = first.gradient(optics.medium())?;
    let (plain, ..) = moved(&gradient).gradient(&Vacuum)?;
    after.observe(vec![record]);
    after.see_response(&gradient, 1.0, &respond);
    let mut slopes = Vec::new();
    if let (Some(gates), Some(response)) = (settings.gates, &after.state.gates.response) {
        let products = layer_products(optics.layout(), &plain, response);
        let found = after.state.gates.slopes(&gates, &products);
        slopes.extend(found.into_iter().enumerate().map(|(i, slope)| (Place::Gate(i), slope)));
    }
    if let Some(state) = &after.state.guides {
        let learners = settings.guides.iter().enumerate().filter(|(_, guide)| guide.learn.is_some());
        slopes.extend(learners.enumerate().map(|(j, (guide, _))| (Place::Guide(guide), state.slope(j, &plain))));
    }
    let mut two_steps = |place: Place, delta: f64| -> Result<f64, ProofError> {
        let before = *optics.logit(place);
        *optics.logit(place) = before + delta;
        optics.resume(0);
        let (gradient, ..) = first.gradient(optics.medium())?;
        let loss = moved(&gradient).loss();
        *optics.logit(place) = before;
        loss
    };
    let mut all = Vec::with_capacity(slopes.len());
    for (place, analytic) in slopes {
        let mut refused = None;
        let mut loss = |delta: f64| {
            two_steps(place, delta).unwrap_or_else(|error| {
                refused.get_or_insert(error);
                f64::NAN
            })
        };
        let here = loss(0.0);
        let numeric = differentiate(&mut loss, here, REACH).value;
        if let Some(error) = refused {
            return Err(error);
        }
        let name = match place {
            Place::Gate(i) => format!("gate {i}"),
            Place::Guide(i) => format!("guide {i}"),
        };
        all.push(Slope { name, analytic, numeric });
    }
    Ok(all)
}

/// Whose logit.
#[derive(Clone, Copy)]
enum Place {
    Gate(usize),
    Guide(usize),
}

impl Optics<f64> {
    fn logit(&mut self, place: Place) -> &mut f64 {
        match place {
            Place::Gate(i) => &mut self.state.gates.logits[i],
            Place::Guide(i) => &mut self.state.guides.as_mut().expect("a guide that learns has a state").logits[i],
        }
    }
}

/// Media whose eyes know a mean direction, as they do after some steps: a fresh eye bends nothing.
///
/// # Errors
/// [`OpticsError`] for a setting that means nothing.
pub fn with_normals<S: Scalar>(
    settings: OpticsSettings,
    config: &NetworkConfig,
    net: &GraphTransformNet<S>,
) -> Result<Optics<S>, OpticsError> {
    let mut optics = Optics::new(settings, config, net, 3)?;
    for eye in &mut optics.state.eyes {
        eye.mean = eye.axes.row(0).to_owned() + &eye.axes.row(1).mapv(|x| x * S::lit(0.5));
    }
    optics.resume(0);
    Ok(optics)
}

/// A network of one stage with rounds of three kinds: six layers, five boundaries.
pub fn three_rounds() -> NetworkConfig {
    let near = RoundKind::Gated { distance: 1 };
    let rounds = vec![near, RoundKind::Plain { distance: 2 }, RoundKind::Recurrent];
    NetworkConfig { stages: vec![StageConfig { rounds, slots: 2 }], ..NetworkConfig::tiny(4) }
}

/// Media for [`three_rounds`] that attenuate, bend, reflect in part, diffuse and dim a window of graph frequencies.
pub fn everything() -> OpticsSettings {
    let glass = linear().layers;
    OpticsSettings {
        layers: glass,
        indices: vec![IndexWindow { layers: [1, 2], index: Value::Constant(1.4) }],
        refraction: RefractionSettings { fresnel: Some(crate::media::Polarisation::Unpolarised), ..Default::default() },
        ..OpticsSettings::default()
    }
}

/// The linear ones among them: each is its own transpose.
pub fn linear() -> OpticsSettings {
    let value = Value::Constant;
    let glass =
        OpticLayer { transparency: value(0.8), absorption: value(0.3), diffusion: value(0.2), ..OpticLayer::default() };
    let window = OpticLayer {
        boundaries: Some([1, 1]),
        fourier: Some([0.5, 1.0]),
        transparency: value(0.2),
        ..OpticLayer::default()
    };
    OpticsSettings { layers: vec![glass, window], ..OpticsSettings::default() }
}

/// Media with everything that learns: gates under everything else, and guides that branch from one boundary, run past
/// others, interfere and meet again, with and without phases.
pub fn learners() -> Vec<(&'static str, OpticsSettings)> {
    let gates = Some(GateSettings { boundaries: [0, 3], initial: 0.7, rate: 1.0, every: 1, penalty: None });
    let learn = Some(Learning { rate: 1.0, every: 1 });
    let guide = |from, to, share, phase| GuideSettings {
        from,
        to,
        share: Value::Constant(share),
        phase: Value::Constant(phase),
        learn,
    };
    let real = vec![guide(3, 1, 0.3, 0.0), guide(3, 0, 0.4, 0.0), guide(2, 0, 0.2, 0.0), guide(1, 0, 0.6, 0.0)];
    let turned = vec![guide(3, 1, 0.3, 0.8), guide(3, 0, 0.4, 2.5), guide(2, 1, 0.5, 0.0)];
    let mut phases = OpticsSettings { guides: turned, ..linear() };
    phases.layers.push(OpticLayer { message_phase: Value::Constant(0.4), ..OpticLayer::default() });
    vec![
        ("gates", OpticsSettings { gates, ..everything() }),
        ("guides", OpticsSettings { guides: real, ..linear() }),
        ("guides with phases", phases),
    ]
}
