//! Rays add up to the chain rule.

use grapheme_core::layers::RoundKind;
use grapheme_core::network::{Closing, ForwardOptions, StageConfig, Upstream};
use grapheme_core::{GradientMedium, GraphBatch, GraphTransformNet, Media, NetworkConfig, Stream, param};
use grapheme_optics::media::Polarisation;
use grapheme_optics::proof::with_normals;
use grapheme_optics::rays::{TraceError, Tracer};
use grapheme_optics::settings::{BandSettings, GuideSettings, IndexWindow, OpticLayer, RefractionSettings, Value};
use grapheme_optics::{Medium, OpticsSettings};
use ndarray::Array2;

const GATED: RoundKind = RoundKind::Gated { distance: 1 };

fn forms() -> Vec<(&'static str, Vec<Vec<RoundKind>>, Closing)> {
    vec![
        ("messages", vec![vec![GATED, GATED]], Closing::Marginalised),
        ("recurrence and a realised merge", vec![vec![RoundKind::Recurrent]], Closing::Realised),
        ("two morphs", vec![vec![GATED], vec![RoundKind::Plain { distance: 1 }]], Closing::Realised),
    ]
}

/// What one form of network gives to each of the tests.
struct Subject {
    config: NetworkConfig,
    net: GraphTransformNet<f64>,
    batch: GraphBatch,
    closing: Closing,
}

impl Subject {
    fn new(rounds: &[Vec<RoundKind>], closing: Closing) -> Self {
        let stages = rounds.iter().map(|rounds| StageConfig { rounds: rounds.clone(), slots: 2 }).collect();
        let config = NetworkConfig { stages, ..NetworkConfig::tiny(3) };
        let net = GraphTransformNet::new(&config, 4).unwrap();
        Self { config, net, batch: GraphBatch::from_texts(&["ab"]).unwrap(), closing }
    }

    fn medium(&self, settings: OpticsSettings) -> Medium<f64> {
        with_normals(settings, &self.config, &self.net).unwrap().medium().clone()
    }

    /// Calls `f` with a tracer, and with the gradient of the features that the backward pass gives under the medium.
    fn with(&self, medium: &Medium<f64>, f: impl FnOnce(Tracer<'_, f64>, Array2<f64>)) {
        let options = ForwardOptions { closing: self.closing, ..ForwardOptions::realised() };
        let (morphed, trace) = self.net.forward(&self.batch, options).unwrap();
        let mut upstream = Upstream::zeros(&morphed);
        let random = Stream::new(2);
        let number = |i: usize| random.at(i as u64) as f64 / u64::MAX as f64 - 0.4;
        for (i, (d, l)) in upstream.log_label.iter_mut().zip(morphed.log_label.iter()).enumerate() {
            *d = if l.is_finite() { number(i) } else { 0.0 };
        }
        upstream.gates.log_merge.iter_mut().enumerate().for_each(|(i, d)| *d = number(1000 + i));
        let (_, again) = self.net.forward(&self.batch, options).unwrap();
        let mut grad = param::zeros_like(&self.net);
        let mut record = Default::default();
        let chain = medium.carry(&self.net, again, &morphed, upstream.clone(), &mut record, &mut grad);
        f(Tracer::new(&self.net, &trace, &morphed, &upstream, medium).unwrap(), chain.into());
    }
}

fn glass() -> OpticsSettings {
    let value = Value::Constant;
    let layer = OpticLayer { transparency: value(0.7), diffusion: value(0.3), ..OpticLayer::default() };
    OpticsSettings { layers: vec![layer], ..OpticsSettings::default() }
}

/// Bends, reflects in part or as a whole, and holds a band: linear only at what was recorded.
fn bent() -> OpticsSettings {
    let value = Value::Constant;
    OpticsSettings {
        indices: vec![
            IndexWindow { layers: [1, 1], index: value(1.4) },
            IndexWindow { layers: [3, 3], index: value(1.1) },
        ],
        refraction: RefractionSettings { rank: 3, fresnel: Some(Polarisation::Unpolarised), ..Default::default() },
        energy_band: Some(BandSettings { boundaries: Some([0, 1]), low: 1e-3, high: 4e-3 }),
        ..glass()
    }
}

/// Complex amplitudes, bent, over guides that branch and meet again.
fn turned() -> OpticsSettings {
    let (value, zero) = (Value::Constant, Value::Constant(0.0));
    let layers = vec![
        OpticLayer { phase: value(0.7), boundaries: Some([1, 2]), ..OpticLayer::default() },
        OpticLayer { message_phase: value(0.4), diffusion: value(0.2), ..OpticLayer::default() },
    ];
    let guide = |share, phase| GuideSettings { from: 1, to: 0, share, phase, learn: None };
    OpticsSettings {
        layers,
        guides: vec![guide(value(0.3), value(2.0)), guide(value(0.5), zero)],
        energy_band: None,
        ..bent()
    }
}

#[test]
fn all_rays_add_up_to_the_chain_rule() {
    for (name, rounds, closing) in forms() {
        let subject = Subject::new(&rounds, closing);
        for settings in [OpticsSettings::default(), glass(), bent(), turned()] {
            subject.with(&subject.medium(settings), |mut tracer, chain| {
                let rays = tracer.exhaustive(1_000_000).unwrap();
                let mut sum = Array2::<f64>::zeros(chain.dim());
                for ray in &rays {
                    assert_eq!((ray.path.len(), ray.path.last().unwrap().0), (ray.energies.len(), 0));
                    sum.row_mut(ray.node()).iter_mut().zip(&ray.vector).for_each(|(sum, v)| *sum += v);
                }
                let scale = chain.iter().fold(0.0_f64, |w, x| w.max(x.abs()));
                let gap = (&sum - &chain).iter().fold(0.0_f64, |w, d| w.max(d.abs()));
                assert!(gap <= 1e-10 * scale && rays.len() > 50, "{name}: {gap:e} of {scale:e}, {} rays", rays.len());
                // Through a recurrence they go from node to node: a layer has several places of one path.
                let steps =
                    rays.iter().filter(|ray| ray.path.windows(2).any(|two| two[0].0 == two[1].0 && two[0].0 > 0));
                let recurs = rounds.iter().flatten().any(|round| *round == RoundKind::Recurrent);
                assert_eq!(steps.count() > 0, recurs, "{name}");
                // One ray less is not the chain rule.
                let lost = rays.iter().map(|ray| *ray.energies.last().unwrap()).fold(0.0, f64::max).sqrt();
                assert!(lost > 1e-8 * scale);
            });
        }
    }
    // In a vacuum that is ordinary backpropagation.
    let subject = Subject::new(&[vec![GATED]], Closing::Marginalised);
    let vacuum = subject.medium(OpticsSettings::default());
    assert!(vacuum.surfaces.iter().all(|surface| surface.stack.0.is_empty()));
}

#[test]
fn random_rays_are_unbiased_and_their_variance_falls_as_one_over_n() {
    for (name, rounds, closing) in forms() {
        let subject = Subject::new(&rounds, closing);
        for (settings, roulette) in [(bent(), 0.0), (turned(), 0.3)] {
            subject.with(&subject.medium(settings), |mut tracer, chain| {
                let few = tracer.monte_carlo(400, roulette, &Stream::new(1));
                let many = tracer.monte_carlo(6_400, roulette, &Stream::new(2));
                assert!(roulette == 0.0 || many.arrived < many.rays);
                // Number by number. One that hardly any ray reaches has no standard error to speak of.
                let reached = many.variance.iter().fold(0.0_f64, |w, v| w.max(v.sqrt())) * 1e-3;
                for ((mean, variance), chain) in many.mean.iter().zip(&many.variance).zip(&chain) {
                    let (error, standard) = (mean - chain, variance.sqrt().max(reached));
                    assert!(error.abs() <= 4.0 * standard, "{name}: off by {error:e}, standard error {standard:e}");
                }
                let ratio = few.variance.sum() / many.variance.sum();
                assert!((8.0..32.0).contains(&ratio), "{name}: 16 times the rays, a variance {ratio:.1} times less");
            });
        }
    }
}

#[test]
fn the_strongest_rays_are_among_all_and_in_order() {
    for (name, rounds, closing) in forms() {
        let subject = Subject::new(&rounds, closing);
        subject.with(&subject.medium(OpticsSettings::default()), |mut tracer, _| {
            let all = tracer.exhaustive(1_000_000).unwrap();
            let few = tracer.strongest(12);
            assert_eq!(few.len(), 12, "{name}");
            assert!(few.iter().all(|ray| all.contains(ray)));
            let energy = |i: usize| few[i].energies.last().unwrap();
            assert!((1..12).all(|i| energy(i - 1) >= energy(i)));
            // With room for all, the beam loses none.
            assert_eq!(tracer.strongest(all.len()).len(), all.len());
        });
    }
}

#[test]
fn what_cannot_be_traced_is_told() {
    let subject = Subject::new(&[vec![GATED, GATED]], Closing::Marginalised);
    subject.with(&subject.medium(OpticsSettings::default()), |mut tracer, _| {
        assert_eq!(tracer.exhaustive(10), Err(TraceError::TooMany { limit: 10 }));
    });
    let other = Subject::new(&[vec![GATED]], Closing::Marginalised).medium(OpticsSettings::default());
    let (morphed, trace) = subject.net.forward(&subject.batch, ForwardOptions::marginalised()).unwrap();
    let upstream = Upstream::zeros(&morphed);
    let refused = Tracer::new(&subject.net, &trace, &morphed, &upstream, &other).err();
    assert_eq!(refused, Some(TraceError::OtherNetwork { expected: 4, found: 3 }));
}
