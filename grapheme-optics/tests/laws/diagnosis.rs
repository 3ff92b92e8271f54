//! Each complaint is found where it was planted, and a healthy run gets none: first in figures that were made up, then in
//! the telemetry of networks that were spoilt.

use grapheme_core::layers::RoundKind;
use grapheme_core::network::{ForwardOptions, StageConfig, Upstream};
use grapheme_core::{
    BoundaryFigures, GradientMedium, GraphBatch, GraphTransformNet, Media, NetworkConfig, Stream, param,
};
use grapheme_optics::diagnosis::{Complaint, Verdict, diagnose};
use grapheme_optics::{Layout, Optics, OpticsSettings};

const BOUNDARIES: usize = 6;
const STEPS: u64 = 40;

/// A run whose energies wander by a factor of three from boundary to boundary; `plant` spoils it.
fn run(plant: impl Fn(u64, &mut [BoundaryFigures])) -> Vec<Verdict> {
    let steps: Vec<(u64, Vec<BoundaryFigures>)> = (1..=STEPS)
        .map(|step| {
            let figures = |b: usize| {
                let energy = 40.0 * [1.0, 2.0, 1.5, 3.0, 1.0, 2.5][b] * (1.0 + 0.3 * (step as f64).sin());
                let (energy_in, energy_out, coherence) = (energy, energy, Some(0.9));
                BoundaryFigures { boundary: b, rows: 40, energy_in, energy_out, coherence, ..Default::default() }
            };
            let mut figures: Vec<_> = (0..BOUNDARIES).map(figures).collect();
            plant(step, &mut figures);
            (step, figures)
        })
        .collect();
    let steps: Vec<_> = steps.iter().map(|(step, figures)| (*step, figures.as_slice())).collect();
    let layers: Vec<String> = (0..=BOUNDARIES).map(|l| format!("layer-{l}")).collect();
    diagnose(&steps, &layers)
}

fn scale(figures: &mut [BoundaryFigures], from_input: usize, factor: impl Fn(usize) -> f64) {
    for (b, f) in figures.iter_mut().enumerate().take(from_input) {
        f.energy_in *= factor(b);
        f.energy_out *= factor(b);
    }
}

#[track_caller]
fn only(found: &[Verdict], complaint: Complaint, boundary: usize, layer: &str, since: u64) {
    let [verdict] = found else { panic!("one complaint expected: {found:?}") };
    assert_eq!((verdict.complaint, verdict.boundary, verdict.layer.as_str()), (complaint, boundary, layer));
    assert!(verdict.since.abs_diff(since) <= 2, "since {} and not {since}", verdict.since);
    let words = verdict.to_string();
    assert!(words.contains(layer) && words.contains(&format!("boundary {boundary}")), "{words}");
}

#[test]
fn a_healthy_run_gets_no_complaint() {
    assert_eq!(run(|_, _| {}), []);
    // Neither does one bad step, nor a bad beginning.
    assert_eq!(
        run(|step, f| if step == 30 {
            scale(f, 3, |_| 1e-9)
        }),
        []
    );
    assert_eq!(
        run(|step, f| if step < 10 {
            scale(f, 3, |_| 1e-9)
        }),
        []
    );
    assert_eq!(diagnose(&[], &[]), []);
}

#[test]
fn a_layer_that_fades_or_amplifies_is_named_with_its_step() {
    only(
        &run(|step, f| {
            if step >= 12 {
                scale(f, 3, |_| 1e-4)
            }
        }),
        Complaint::Fades,
        2,
        "layer-3",
        12,
    );
    only(&run(|_, f| scale(f, 2, |_| 1e4)), Complaint::Amplifies, 1, "layer-2", 1);
}

#[test]
fn what_the_loss_tells_the_gates_of_the_last_morph_is_no_amplification() {
    assert_eq!(run(|_, f| scale(f, 5, |_| 1e4)), []);
    only(&run(|_, f| scale(f, 5, |_| 1e-4)), Complaint::Fades, 4, "layer-5", 1);
}

#[test]
fn vanishing_and_exploding_without_any_steep_layer() {
    only(&run(|_, f| scale(f, 4, |b| 33_f64.powi(b as i32 - 4))), Complaint::Vanishing, 0, "layer-0", 1);
    only(
        &run(|step, f| {
            if step >= 8 {
                scale(f, 4, |b| 33_f64.powi(4 - b as i32))
            }
        }),
        Complaint::Exploding,
        0,
        "layer-0",
        8,
    );
}

#[test]
fn a_dead_layer_is_told_once() {
    only(&run(|_, f| scale(f, 3, |_| 0.0)), Complaint::Dead, 2, "layer-2", 1);
}

#[test]
fn a_closed_gate_is_told_from_a_fading_layer() {
    let closed = |gate: Option<f64>| {
        move |step: u64, f: &mut [BoundaryFigures]| {
            if step >= 5 {
                f[3].energy_out *= 1e-3;
                f[3].absorbed = f[3].energy_in - f[3].energy_out;
                f[3].gate = gate;
                scale(f, 3, |_| 1e-3);
            }
        }
    };
    let found = run(closed(Some(1e-3)));
    only(&found, Complaint::Closed, 3, "layer-3", 5);
    assert!(found[0].advice.contains("gates.rate"));
    let found = run(closed(None));
    assert!(found[0].advice.contains("transparency"));
}

#[test]
fn routes_in_conflict_reflections_and_bends() {
    only(&run(|_, f| f[1].coherence = Some(0.02)), Complaint::Conflict, 1, "layer-1", 1);
    let reflects = |step: u64, f: &mut [BoundaryFigures]| {
        if step >= 20 {
            f[4].reflected = 0.7 * f[4].energy_in;
            f[4].energy_out *= 0.3;
        }
    };
    only(&run(reflects), Complaint::Reflects, 4, "layer-4", 20);
    only(&run(|_, f| f[2].angle_mean = 1.0), Complaint::Bends, 2, "layer-2", 1);
}

#[test]
fn what_is_no_number_is_told() {
    only(
        &run(|step, f| {
            if step >= 39 {
                f[0].energy_in = f64::INFINITY
            }
        }),
        Complaint::NotFinite,
        0,
        "layer-0",
        39,
    );
}

const STEADY: RoundKind = RoundKind::Gated { distance: 1 };
const PLAIN: RoundKind = RoundKind::Plain { distance: 1 };

/// What is said of a network under media, by the telemetry of 24 backward passes over other texts each; `spoil` changes its
/// weights before a step.
fn seen(rounds: &[RoundKind], media: &str, spoil: impl Fn(u64, &mut GraphTransformNet<f64>)) -> Vec<Verdict> {
    let stages = vec![StageConfig { rounds: rounds.to_vec(), slots: 2 }];
    let config = NetworkConfig { width: 16, stages, ..NetworkConfig::tiny(4) };
    let healthy = GraphTransformNet::<f64>::new(&config, 3).unwrap();
    let settings: OpticsSettings = serde_json::from_str(media).unwrap();
    let mut optics = Optics::new(settings, &config, &healthy, 3).unwrap();
    let mut step = |step: u64| {
        let mut net = healthy.clone();
        spoil(step, &mut net);
        let texts: Vec<String> =
            (0..4).map(|i| ["az", "bók", "ceruza", "dió"][i].repeat(1 + (step as usize + i) % 3)).collect();
        let batch = GraphBatch::from_texts(&texts).unwrap();
        let (morphed, trace) = net.forward(&batch, ForwardOptions::marginalised()).unwrap();
        let mut upstream = Upstream::zeros(&morphed);
        for (i, (d, l)) in upstream.log_label.iter_mut().zip(morphed.log_label.iter()).enumerate() {
            *d = if l.is_finite() { Stream::new(step).at(i as u64) as f64 / u64::MAX as f64 - 0.5 } else { 0.0 };
        }
        let (mut record, mut grad) = (<_ as Default>::default(), param::zeros_like(&net));
        optics.medium().carry(&net, trace, &morphed, upstream, &mut record, &mut grad);
        (step, optics.observe(vec![record]))
    };
    let told: Vec<(u64, Vec<BoundaryFigures>)> = (1..=24).map(&mut step).collect();
    let told: Vec<_> = told.iter().map(|(step, figures)| (*step, figures.as_slice())).collect();
    diagnose(&told, &Layout::of(&config).layers)
}

/// Multiplies the weights whose name ends so.
fn times(net: &mut GraphTransformNet<f64>, name: &str, factor: f64) {
    let mut hit = false;
    param::each_mut(net, |found, _, values: &mut [f64]| {
        if found.contains(name) {
            hit = true;
            values.iter_mut().for_each(|x| *x *= factor);
        }
    });
    assert!(hit, "no parameter has {name} in its name");
}

#[test]
fn a_healthy_network_gets_no_complaint() {
    assert_eq!(seen(&[STEADY; 6], "{}", |_, _| {}), []);
    // Nor does one under mild glass.
    let glass =
        r#"{"layers": [{"transparency": 0.8, "diffusion": 0.1}], "indices": [{"layers": [2, 3], "index": 1.2}]}"#;
    assert_eq!(seen(&[STEADY; 6], glass, |_, _| {}), []);
}

#[test]
fn a_network_that_was_cut_in_two_is_dead_below_the_cut() {
    let found = seen(&[PLAIN; 4], "{}", |step, net| {
        if step >= 1 {
            times(net, "rounds.2.project.weight", 0.0);
        }
    });
    only(&found, Complaint::Dead, 2, "stages.0.rounds.1", 1);
}

#[test]
fn a_network_whose_layers_hardly_listen_vanishes() {
    // What a layer writes is nearly its bias, so little of the gradient finds a way through; a single layer is not steep.
    let deaf = |step: u64, net: &mut GraphTransformNet<f64>| {
        if step >= 7 {
            param::each_mut(net, |name, _, values: &mut [f64]| {
                if name.ends_with("project.bias") {
                    values.iter_mut().enumerate().for_each(|(i, x)| *x = if i % 2 == 0 { 1.0 } else { -1.0 });
                }
            });
        }
    };
    let found = seen(&[PLAIN; 14], "{}", deaf);
    only(&found, Complaint::Vanishing, 0, "embedding", 7);
    assert!(found[0].advice.contains("energy_band") && found[0].figure > 1e6, "{:?}", found[0]);
    // And the cures that are named are some. Residual connections sum up such biases, which the morph then complains of.
    assert!(seen(&[STEADY; 14], "{}", deaf).iter().all(|verdict| verdict.complaint == Complaint::Fades));
    assert_eq!(seen(&[PLAIN; 14], r#"{"energy_band": {"low": 1e-3, "high": 4e-3}}"#, deaf), []);
}

#[test]
fn a_network_whose_gates_are_too_sharp_explodes() {
    // A steep sigmoid turns small differences into large ones, layer after layer.
    let sharp = |step: u64, net: &mut GraphTransformNet<f64>| {
        if step >= 5 {
            param::each_mut(net, |name, shape, values: &mut [f64]| {
                if name.ends_with("gather.weight") {
                    let columns = shape[1];
                    let gates = values.iter_mut().enumerate().filter(|(i, _)| i % columns >= columns / 2);
                    gates.for_each(|(_, x)| *x *= 40.0);
                }
            });
        }
    };
    let found = seen(&[PLAIN; 24], "{}", sharp);
    only(&found, Complaint::Exploding, 0, "embedding", 5);
    assert!(found[0].advice.contains("energy_band") && found[0].figure > 1e6, "{:?}", found[0]);
    assert_eq!(seen(&[PLAIN; 24], r#"{"energy_band": {"low": 1e-3, "high": 4e-3}}"#, sharp), []);
}

#[test]
fn a_gate_that_is_all_but_closed_is_told_from_glass() {
    let gates = r#"{"gates": {"boundaries": [2, 2], "rate": 0.1, "initial": 0.001}}"#;
    let found = seen(&[STEADY; 6], gates, |_, _| {});
    only(&found, Complaint::Closed, 2, "stages.0.rounds.1", 1);
    assert!(found[0].advice.contains("gates.rate") && (found[0].figure - 1e-3).abs() < 1e-9, "{:?}", found[0]);
    let glass = r#"{"layers": [{"boundaries": [2, 2], "steps": [9, 99], "absorption": 7}]}"#;
    let found = seen(&[STEADY; 6], glass, |_, _| {});
    only(&found, Complaint::Closed, 2, "stages.0.rounds.1", 9);
    assert!(found[0].advice.contains("absorption") && (found[0].figure - (-7_f64).exp()).abs() < 1e-9);
}

#[test]
fn a_guide_against_its_own_route_is_a_conflict() {
    // Rounds that say little pass a gradient on nearly as it came. Half of it goes by a guide, turned around.
    let quiet = |_, net: &mut GraphTransformNet<f64>| times(net, "project.weight", 0.02);
    let guide = |phase: f64| format!(r#"{{"guides": [{{"from": 5, "to": 3, "share": 0.5, "phase": {phase}}}]}}"#);
    let found = seen(&[STEADY; 6], &guide(std::f64::consts::PI), quiet);
    let conflict = found.iter().find(|verdict| verdict.complaint == Complaint::Conflict).expect("a conflict");
    assert_eq!((conflict.boundary, conflict.layer.as_str(), conflict.since), (3, "stages.0.rounds.2", 1));
    assert!(conflict.advice.contains("phase") && conflict.advice.contains("guide"), "{conflict}");
    // In step with it they add up.
    assert_eq!(seen(&[STEADY; 6], &guide(0.0), quiet), []);
}
