//! Rays add up to the chain rule.

use grapheme_core::layers::RoundKind;
use grapheme_core::network::{Closing, ForwardOptions, StageConfig, Upstream};
use grapheme_core::{GradientMedium, GraphBatch, GraphTransformNet, Media, NetworkConfig, Stream, param};
use grapheme_optics::rays::{TraceError, Tracer};
use grapheme_optics::settings::{GuideSettings, OpticLayer, Value};
use grapheme_optics::{Medium, Optics, OpticsSettings};
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
        Optics::new(settings, &self.config, &self.net, 1).unwrap().medium().clone()
    }

    /// Calls `f` with a tracer, and with the gradient of the features that the backward pass gives under the medium.
    fn with(&self, medium: &Medium<f64>, f: impl FnOnce(Tracer<'_, f64>, Array2<f64>)) {
        let options = ForwardOptions { closing: self.closing, ..ForwardOptions::realised() };
        let (morphed, trace) = self.net.forward(&self.batch, options).unwrap();
        let mut upstream = Upstream::zeros(&morphed);
        let random = Stream::new(2);
        let number = |i: usize| random.at(i as u64) as f64 / u64::MAX as f64 - 0.4;
        for (i, (d, l)) in upstream.log_label.iter_mut().zip(&morphed.log_label).enumerate() {
            *d = if l.is_finite() { number(i) } else { 0.0 };
        }
        upstream.gates.log_merge.iter_mut().enumerate().for_each(|(i, d)| *d = number(1000 + i));
        let (_, again) = self.net.forward(&self.batch, options).unwrap();
        let mut grad = param::zeros_like(&self.net);
        let mut record = Default::default();
        let chain = medium.carry(&self.net, again, &morphed, upstream.clone(), &mut record, &mut grad);
        f(Tracer::new(&self.net, &trace, &morphed, &upstream, medium).unwrap(), chain);
    }
}

fn glass() -> OpticsSettings {
    let value = Value::Constant;
    let layer = OpticLayer { transparency: value(0.7), diffusion: value(0.3), ..OpticLayer::default() };
    OpticsSettings { layers: vec![layer], ..OpticsSettings::default() }
}

#[test]
fn all_rays_add_up_to_the_chain_rule() {
    for (name, rounds, closing) in forms() {
        let subject = Subject::new(&rounds, closing);
        for settings in [OpticsSettings::default(), glass()] {
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
        subject.with(&subject.medium(glass()), |mut tracer, chain| {
            for roulette in [0.0, 0.3] {
                let few = tracer.monte_carlo(400, roulette, &Stream::new(1));
                let many = tracer.monte_carlo(6_400, roulette, &Stream::new(2));
                assert!(roulette == 0.0 || many.arrived < many.rays);
                // In a few fixed random projections, so that one number in fifty need not lie outside by chance.
                for projection in 0..6 {
                    let random = Stream::new(77).fork(projection);
                    let weight = Array2::from_shape_fn(chain.dim(), |(i, j)| {
                        random.at((i * 64 + j) as u64) as f64 / u64::MAX as f64 - 0.5
                    });
                    let error = (&weight * &(&many.mean - &chain)).sum();
                    // Nodes are exclusive within a ray, so summing standard errors over the numbers bounds that of the sum.
                    let bound: f64 = (&weight * &many.variance.mapv(f64::sqrt)).iter().map(|x| x.abs()).sum();
                    assert!(error.abs() <= 4.0 * bound, "{name}: off by {error:e}, standard error {bound:e}");
                }
                let ratio = few.variance.sum() / many.variance.sum();
                assert!((8.0..32.0).contains(&ratio), "{name}: 16 times the rays, a variance {ratio:.1} times less");
            }
        });
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
    let guides = vec![GuideSettings { from: 2, to: 0, share: Value::Constant(0.5), phase: Value::Constant(0.0) }];
    let medium = subject.medium(OpticsSettings { guides, ..OpticsSettings::default() });
    let (morphed, trace) = subject.net.forward(&subject.batch, ForwardOptions::marginalised()).unwrap();
    let upstream = Upstream::zeros(&morphed);
    let refused = Tracer::new(&subject.net, &trace, &morphed, &upstream, &medium).err();
    assert_eq!(refused, Some(TraceError::NotLinear { boundary: 2 }));
}
