//! The laws of media over a whole network.

use grapheme_core::layers::RoundKind;
use grapheme_core::network::{Closing, StageConfig};
use grapheme_core::{GraphTransformNet, Media, NetworkConfig, Scalar, Vacuum, param};
use grapheme_optics::gates::layer_products;
use grapheme_optics::media::Ledger;
use grapheme_optics::medium::Record;
use grapheme_optics::proof::{Slope, Subject, everything, hypergradients, learners, three_rounds, with_normals};
use grapheme_optics::settings::{GateSettings, GuideSettings, IndexWindow, OpticLayer, Value};
use grapheme_optics::{Medium, Optics, OpticsSettings};

const GATED: RoundKind = RoundKind::Gated { distance: 1 };

fn config(stages: &[&[RoundKind]]) -> NetworkConfig {
    let stages = stages.iter().map(|rounds| StageConfig { rounds: rounds.to_vec(), slots: 2 }).collect();
    NetworkConfig { stages, ..NetworkConfig::tiny(4) }
}

fn numbers<S: Scalar>(tree: &GraphTransformNet<S>) -> Vec<f64> {
    let mut all = Vec::new();
    param::each(tree, |_, _, values: &[S]| all.extend(values.iter().map(|x| x.widen())));
    all
}

fn value(x: f64) -> Value {
    Value::Constant(x)
}

#[test]
fn optics_without_settings_are_ordinary_backpropagation_to_the_bit() {
    fn same<S: Scalar>(settings: &OpticsSettings) {
        for config in [three_rounds(), config(&[&[GATED], &[RoundKind::Recurrent]])] {
            for closing in [Closing::Marginalised, Closing::Realised] {
                let subject = Subject::<S>::new(&config, &["abc", "", "é한"], closing).unwrap();
                let (plain, features, ()) = subject.gradient(&Vacuum).unwrap();
                let optics = Optics::new(settings.clone(), &config, &subject.net, 1).unwrap();
                let (grad, seen, record) = subject.gradient(optics.medium()).unwrap();
                let bits = |grad| numbers(grad).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&plain), bits(&grad));
                assert_eq!(features, seen);
                assert_eq!(record.crossings.len(), optics.layout().boundaries());
            }
        }
    }
    // A vacuum that was spelled out is one too.
    let spelled = OpticsSettings {
        layers: vec![OpticLayer::default()],
        indices: vec![IndexWindow { layers: [0, 3], index: value(1.0) }],
        guides: vec![GuideSettings { from: 2, to: 1, share: value(0.0), phase: value(1.0), learn: None }],
        ..OpticsSettings::default()
    };
    for settings in [OpticsSettings::default(), spelled] {
        let two = OpticsSettings { guides: Vec::new(), ..settings };
        same::<f32>(&two);
        same::<f64>(&two);
    }
}

#[test]
fn the_ledger_of_every_boundary_balances() {
    let turned = OpticsSettings {
        layers: vec![
            OpticLayer { phase: value(0.7), transparency: value(0.9), ..OpticLayer::default() },
            OpticLayer { message_phase: value(0.4), diffusion: value(0.1), ..OpticLayer::default() },
        ],
        guides: vec![
            GuideSettings { from: 3, to: 1, share: value(0.3), phase: value(0.5), learn: None },
            GuideSettings { from: 3, to: 0, share: value(0.2), phase: value(0.0), learn: None },
            GuideSettings { from: 1, to: 0, share: value(1.0), phase: value(2.0), learn: None },
        ],
        ..OpticsSettings::default()
    };
    let config = three_rounds();
    for settings in [everything(), turned.clone(), OpticsSettings { layers: Vec::new(), ..turned }] {
        let subject = Subject::<f64>::new(&config, &["abc", "xy"], Closing::Marginalised).unwrap();
        // Below a guide that takes all.
        let takes_all = |guide: &&GuideSettings| guide.share == value(1.0) && guide.to + 1 == guide.from;
        let emptied: Vec<usize> = settings.guides.iter().filter(takes_all).map(|guide| guide.to).collect();
        let optics = with_normals(settings, &config, &subject.net).unwrap();
        let (_, _, record) = subject.gradient(optics.medium()).unwrap();
        assert_eq!(record.crossings.len(), 5);
        for crossing in &record.crossings {
            assert!(crossing.ledger.imbalance() < 1e-12, "{crossing:?}");
            let Ledger { incoming, arrived, .. } = crossing.ledger;
            if emptied.contains(&crossing.boundary) {
                // What comes is nothing, but for the rounding of what arrives.
                assert!(incoming.abs() < 1e-12 * arrived, "{crossing:?}");
            } else {
                assert!(incoming > 0.0, "{crossing:?}");
            }
        }
    }
}

#[test]
fn a_guide_that_bypasses_everything_carries_its_share_and_a_closed_one_nothing() {
    let config = three_rounds();
    let subject = Subject::<f64>::new(&config, &["abc"], Closing::Marginalised).unwrap();
    let at = |share: f64, phase: f64| {
        let guides = vec![GuideSettings { from: 3, to: 2, share: value(share), phase: value(phase), learn: None }];
        let optics =
            Optics::new(OpticsSettings { guides, ..OpticsSettings::default() }, &config, &subject.net, 1).unwrap();
        subject.gradient(optics.medium()).unwrap()
    };
    let (plain, ..) = subject.gradient(&Vacuum).unwrap();
    assert_eq!(numbers(&at(0.0, 1.0).0), numbers(&plain));
    // Layer 3 gets the square root of what is left, and what arrives below it is the sum of two routes.
    for share in [0.25, 1.0] {
        let (grad, _, record) = at(share, 0.0);
        let products = layer_products(&grapheme_optics::Layout::of(&config), &grad, &plain);
        let own = layer_products(&grapheme_optics::Layout::of(&config), &plain, &plain);
        assert!((products[3] - (1.0 - share).sqrt() * own[3]).abs() < 1e-12 * own[3]);
        let below = record.crossings.iter().find(|crossing| crossing.boundary == 2).unwrap();
        assert!(below.ledger.arrived != 0.0 && below.apart > 0.0);
    }
}

/// `|a1 + a2|^2` for two routes whose phase difference sweeps: their energies and overlap are measured at phase 0 and at pi.
#[test]
fn two_routes_interfere() {
    let config = three_rounds();
    let subject = Subject::<f64>::new(&config, &["abc"], Closing::Marginalised).unwrap();
    // Layer 2 has no residual connection, so these two routes are all that meet below it.
    let energy = |phase: f64| {
        let guides = vec![GuideSettings { from: 2, to: 1, share: value(0.5), phase: value(phase), learn: None }];
        let optics =
            Optics::new(OpticsSettings { guides, ..OpticsSettings::default() }, &config, &subject.net, 1).unwrap();
        let (_, _, record) = subject.gradient(optics.medium()).unwrap();
        let crossing = record.crossings.into_iter().find(|crossing| crossing.boundary == 1).unwrap();
        (crossing.ledger.outgoing + crossing.ledger.quadrature, crossing.together / crossing.apart)
    };
    let pi = std::f64::consts::PI;
    let (bright, dark) = (energy(0.0).0, energy(pi).0);
    let (mean, overlap) = (0.5 * (bright + dark), 0.25 * (bright - dark));
    assert!(overlap.abs() > 0.01 * mean, "these routes hardly meet");
    for i in 0..24 {
        let phase = 2.0 * pi * f64::from(i) / 24.0;
        // |a1 + e^(i phase) a2|^2 = |a1|^2 + |a2|^2 + 2 cos(phase) <a1, a2>.
        let expected = mean + 2.0 * overlap * phase.cos();
        let (found, coherence) = energy(phase);
        assert!((found - expected).abs() < 1e-12 * mean, "{phase}: {found} {expected}");
        assert!((coherence - expected / mean).abs() < 1e-12);
    }
}

#[test]
fn amplitudes_stay_complex_down_to_the_parameters() {
    let config = three_rounds();
    let subject = Subject::<f64>::new(&config, &["abc", "xyz"], Closing::Marginalised).unwrap();
    let (plain, features, ()) = subject.gradient(&Vacuum).unwrap();
    let layers = |phases: [f64; 5]| {
        let layer = |(i, &phase): (usize, &f64)| OpticLayer {
            boundaries: Some([i, i]),
            phase: value(phase),
            ..OpticLayer::default()
        };
        let layers = phases.iter().enumerate().map(layer).collect();
        let optics =
            Optics::new(OpticsSettings { layers, ..OpticsSettings::default() }, &config, &subject.net, 1).unwrap();
        subject.gradient(optics.medium()).unwrap()
    };
    // A turn and its return are no turn. Were the real part taken in between, cos^2 would be left.
    let (_, back, record) = layers([-1.2, 0.0, 0.0, 1.2, 0.0]);
    assert!((&back - &features).iter().all(|d| d.abs() < 1e-14));
    assert!(record.crossings.iter().any(|crossing| crossing.ledger.quadrature > 0.0));
    // One turn leaves every parameter below its real part, and those above alone.
    let layout = grapheme_optics::Layout::of(&config);
    let (grad, ..) = layers([0.0, 0.0, 0.6, 0.0, 0.0]);
    let (products, own) = (layer_products(&layout, &grad, &plain), layer_products(&layout, &plain, &plain));
    for layer in 0..layout.layers.len() {
        let factor = if layer <= 2 { 0.6_f64.cos() } else { 1.0 };
        assert!((products[layer] - factor * own[layer]).abs() <= 1e-12 * own[layer], "layer {layer}");
    }
    // Half a turn of the messages alone: what goes past the layer minus what goes through it.
    let optics = |message_phase: f64| {
        let layer =
            OpticLayer { boundaries: Some([0, 0]), message_phase: value(message_phase), ..OpticLayer::default() };
        Optics::new(OpticsSettings { layers: vec![layer], ..OpticsSettings::default() }, &config, &subject.net, 1)
            .unwrap()
    };
    let quarter = subject.gradient(optics(std::f64::consts::FRAC_PI_2).medium()).unwrap().1;
    let half = subject.gradient(optics(std::f64::consts::PI).medium()).unwrap().1;
    // past = (g + g_half) / 2 is what a quarter turn leaves.
    let past = 0.5 * (&features + &half);
    assert!((&quarter - &past).iter().all(|d| d.abs() < 1e-14));
    assert!(past.iter().any(|d| d.abs() > 1e-6));
}

#[test]
fn hypergradients_match_finite_differences_of_two_real_steps() {
    for (name, settings) in learners() {
        let slopes = hypergradients(&settings, &three_rounds()).unwrap();
        assert!(slopes.len() >= 3, "{name}");
        for slope in slopes {
            assert!(slope.error() < 1e-5, "{name}: {slope:?}");
            let wrong = Slope { analytic: 1.01 * slope.analytic, ..slope };
            assert!(wrong.error() > 1e-5, "{name}: a slope that is 1% off must fail");
        }
    }
}

#[test]
fn under_the_protocol_gates_move_against_their_slopes_and_state_resumes() {
    let config = three_rounds();
    let mut settings = everything();
    settings.gates = Some(GateSettings { boundaries: [1, 2], initial: 0.5, rate: 0.1, every: 2, penalty: None });
    let subject = Subject::<f64>::new(&config, &["abc", "xyz"], Closing::Marginalised).unwrap();
    let mut media = Optics::new(settings.clone(), &config, &subject.net, 1).unwrap();
    let step = |media: &mut Optics<f64>| {
        if media.wants_plain() {
            media.see_plain(&subject.gradient(&Vacuum).unwrap().0);
        }
        let (gradient, _, record) = subject.gradient(media.medium()).unwrap();
        let told = media.observe(vec![record]);
        if media.wants_response() {
            media.see_response(&gradient, 1.0, &Clone::clone);
        }
        told
    };
    let looks: Vec<Vec<Option<f64>>> = (0..6).map(|_| step(&mut media).iter().map(|f| f.gate).collect()).collect();
    assert_eq!(looks[0], [None, Some(0.5), Some(0.5), None, None]);
    assert_eq!(looks[0], looks[1]);
    assert_ne!(looks[1], looks[2], "the third step is the first whose step before left a response");
    assert_eq!(looks[2], looks[3]);
    assert_ne!(looks[3], looks[4]);
    // The gradient agrees with itself: opening the gates is what helps.
    assert!(looks[4][1] > looks[2][1] && looks[2][1] > looks[0][1], "{looks:?}");
    // What a checkpoint holds is enough to go on.
    let mut resumed = Optics::new(settings, &config, &subject.net, 1).unwrap();
    let state = media.state().unwrap().clone();
    *resumed.state_mut().unwrap() = state;
    resumed.resume(6);
    for _ in 0..3 {
        assert_eq!(step(&mut media), step(&mut resumed));
    }
}

#[test]
fn lanes_are_joined_in_order_and_figures_balance() {
    let config = three_rounds();
    let subject = Subject::<f32>::new(&config, &["abc", "xyz"], Closing::Marginalised).unwrap();
    let mut media = with_normals(everything(), &config, &subject.net).unwrap();
    let records: Vec<Record<f32>> =
        (0..3).map(|_| subject.gradient::<Medium<f32>>(media.medium()).unwrap().2).collect();
    for figures in media.observe(records) {
        let spent = figures.energy_out + figures.absorbed + figures.reflected + figures.diffused;
        assert!((figures.energy_in - spent).abs() < 1e-5 * figures.energy_in, "{figures:?}");
        let nodes = if figures.boundary == 4 { 20 } else { 10 };
        assert_eq!(figures.rows, 3 * nodes);
        // The embedding (1) and the second gated round (3) border on layers of index 1.4.
        assert_eq!(figures.reflected > 0.0, [0, 2].contains(&figures.boundary), "{figures:?}");
    }
}
