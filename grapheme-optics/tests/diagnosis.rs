//! Each complaint is found where it was planted, and a healthy run gets none.

use grapheme_core::BoundaryFigures;
use grapheme_optics::diagnosis::{Complaint, Verdict, diagnose};

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
