//! What a run is told of each boundary, against closed forms: gradients made by hand cross a boundary, and every figure is
//! worked out from them on paper.

use grapheme_core::layers::RoundKind;
use grapheme_core::network::StageConfig;
use grapheme_core::{BoundaryFigures, GraphBatch, GraphTransformNet, Media, NetworkConfig};
use grapheme_optics::medium::Record;
use grapheme_optics::{Optics, OpticsSettings};
use ndarray::{Array2, array};
use std::f64::consts::PI;

/// Features a node of the networks here.
const WIDTH: usize = 6;

/// Media from the words of a settings file, over four boundaries: embedding, two rounds, morph, head.
fn optics(json: &str) -> Optics<f64> {
    let rounds = vec![RoundKind::Gated { distance: 1 }; 2];
    let config = NetworkConfig { stages: vec![StageConfig { rounds, slots: 2 }], ..NetworkConfig::tiny(4) };
    assert_eq!(config.width, WIDTH);
    let net = GraphTransformNet::new(&config, 1).unwrap();
    Optics::new(serde_json::from_str::<OpticsSettings>(json).unwrap(), &config, &net, 1).unwrap()
}

/// The figures of a boundary after the gradients were carried across it, each a lane of its own: their real parts and their
/// imaginary parts, over a path of as many nodes as they have rows.
fn told(optics: &mut Optics<f64>, boundary: usize, lanes: &[(Array2<f64>, Option<Array2<f64>>)]) -> BoundaryFigures {
    let records = lanes.iter().map(|(re, im)| {
        let batch = GraphBatch::from_texts(&["x".repeat(re.nrows() - 2)]).unwrap();
        let (mut record, mut re, mut im) = (Record::default(), re.clone(), im.clone());
        optics.medium().cross_complex(boundary, batch.topology(), &mut re, &mut im, &mut record);
        record
    });
    let records = records.collect();
    optics.observe(records).swap_remove(boundary)
}

/// Rows `length * (cos angle, sin angle, 0, ...)`, and as many rows of zeros as a path needs.
fn rays(lengths_and_angles: &[(f64, f64)]) -> Array2<f64> {
    let mut rows = Array2::zeros((lengths_and_angles.len().max(2), WIDTH));
    for (mut row, &(length, angle)) in rows.rows_mut().into_iter().zip(lengths_and_angles) {
        (row[0], row[1]) = (length * angle.cos(), length * angle.sin());
    }
    rows
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "found {found}, expected {expected}");
}

#[test]
fn nothing_is_told_of_clear_glass_but_its_energy() {
    let lanes = [(rays(&[(3.0, 0.1), (4.0, 2.0)]), None), (rays(&[(1.0, 1.0), (1.0, 0.0), (1.0, 0.0)]), None)];
    let figures = told(&mut optics("{}"), 1, &lanes);
    near(figures.energy_in, 28.0);
    near(figures.energy_out, 28.0);
    let (energy_in, energy_out) = (figures.energy_in, figures.energy_out);
    let expected = BoundaryFigures { boundary: 1, rows: 5, energy_in, energy_out, ..Default::default() };
    assert_eq!(figures, expected);
}

#[test]
fn attenuation_is_what_beer_and_lambert_say() {
    let mut glass =
        optics(r#"{"layers": [{"transparency": 0.5, "absorption": 0.3, "thickness": 2, "boundaries": [2, 2]}]}"#);
    let figures = told(&mut glass, 2, &[(rays(&[(3.0, 0.0), (4.0, 1.0)]), None)]);
    let passes = 0.5 * (-0.6_f64).exp();
    near(figures.energy_in, 25.0);
    near(figures.energy_out, 25.0 * passes);
    near(figures.absorbed, 25.0 * (1.0 - passes));
}

#[test]
fn refraction_turns_by_snells_law_and_reflects_beyond_the_critical_angle() {
    // All six dimensions are in the frame, so the angle to the prescribed normal is the angle of incidence.
    let json = |below: f64| {
        format!(
            r#"{{"indices": [{{"layers": [0, 1], "index": {below}}}, {{"layers": [2, 4], "index": 1.5}}],
            "refraction": {{"rank": 6, "normals": [{{"boundary": 1, "direction": [2, 0, 0, 0, 0, 0]}}]}}}}"#
        )
    };
    let incident = [0.2, 0.9, PI - 0.4];
    let lanes: Vec<_> = incident.iter().map(|&angle| (rays(&[(2.0, angle)]), None)).collect();
    let figures = told(&mut optics(&json(2.0)), 1, &lanes);
    let turn = |angle: f64| {
        // The normal's sign is taken so that the angle is at most 90 degrees.
        let angle = angle.min(PI - angle);
        angle - (1.5 / 2.0 * angle.sin()).asin()
    };
    near(figures.angle_mean, incident.iter().map(|&angle| turn(angle)).sum::<f64>() / 3.0);
    near(figures.angle_max, turn(0.9));
    near(figures.energy_out, 12.0);
    assert_eq!(figures.reflected, 0.0);
    // From 1.5 to 1 the critical angle is asin(2/3) = 0.73: the second ray comes back.
    let figures = told(&mut optics(&json(1.0)), 1, &lanes);
    near(figures.reflected, 4.0);
    near(figures.energy_out, 8.0);
    let turn = |angle: f64| (1.5 * angle.sin()).asin() - angle;
    near(figures.angle_mean, (turn(0.2) + turn(0.4)) / 2.0);
    near(figures.angle_max, turn(0.4));
}

#[test]
fn diffusion_takes_the_energy_of_differences() {
    // A path of three nodes with (1, 0, 0) in one feature: (I - L/4) makes (3/4, 1/4, 0) of it.
    let mut start = Array2::zeros((3, WIDTH));
    start[[0, 4]] = 1.0;
    let figures = told(&mut optics(r#"{"layers": [{"diffusion": 0.25}]}"#), 0, &[(start, None)]);
    near(figures.energy_in, 1.0);
    near(figures.energy_out, 10.0 / 16.0);
    near(figures.diffused, 6.0 / 16.0);
}

#[test]
fn a_phase_turns_energy_into_the_other_quadrature_and_spreads_nothing() {
    let mut glass = optics(r#"{"layers": [{"phase": 0.3}]}"#);
    let figures = told(&mut glass, 3, &[(rays(&[(2.0, 0.5), (1.0, 3.0)]), None)]);
    near(figures.energy_in, 5.0);
    near(figures.energy_out, 5.0 * 0.3_f64.cos().powi(2));
    near(figures.quadrature, 5.0 * 0.3_f64.sin().powi(2));
    near(figures.phase_spread, 0.0);
}

#[test]
fn the_spread_of_phases_is_one_less_the_length_of_their_mean() {
    // One amplitude of energy p with phase a, one of energy q with phase b: the squares stand at 2a and 2b.
    for (p, a, q, b) in [(4.0_f64, 0.0, 4.0_f64, PI / 2.0), (9.0, 0.3, 1.0, 1.4), (1.0, 0.2, 1.0, 0.2 + PI)] {
        let (mut re, mut im) = (Array2::zeros((2, WIDTH)), Array2::zeros((2, WIDTH)));
        (re[[0, 0]], im[[0, 0]]) = (p.sqrt() * f64::cos(a), p.sqrt() * f64::sin(a));
        (re[[1, 3]], im[[1, 3]]) = (q.sqrt() * f64::cos(b), q.sqrt() * f64::sin(b));
        let figures = told(&mut optics("{}"), 1, &[(re, Some(im))]);
        let mean = (p * p + q * q + 2.0 * p * q * (2.0 * (a - b)).cos()).sqrt() / (p + q);
        near(figures.phase_spread, 1.0 - mean);
        near(figures.energy_in, p + q);
    }
}

#[test]
fn a_guide_that_meets_its_route_is_told_with_their_coherence() {
    for phase in [0.0, 1.0, PI] {
        let json = format!(r#"{{"guides": [{{"from": 2, "to": 0, "share": 0.25, "phase": {phase}}}]}}"#);
        let mut glass = optics(&json);
        let batch = GraphBatch::from_texts(&[""]).unwrap();
        let (mut record, mut im) = (Record::default(), None);
        // 16 units of energy arrive at boundary 2, of which the guide takes 4. Layers then make an amplitude of 2 of the rest, and
        // the last of them adds 1 to that through its messages.
        let mut re = rays(&[(4.0, 0.7)]);
        glass.medium().cross_complex(2, batch.topology(), &mut re, &mut im, &mut record);
        near(re[[0, 0]], 0.75_f64.sqrt() * 4.0 * 0.7_f64.cos());
        glass.medium().cross_complex(1, batch.topology(), &mut rays(&[(2.0, 0.7)]), &mut im, &mut record);
        let mut re = rays(&[(3.0, 0.7)]);
        glass.medium().cross_complex(0, batch.topology(), &mut re, &mut im, &mut record);
        let figures = glass.observe(vec![record]);
        near(figures[2].energy_in, 16.0);
        near(figures[2].guided, 4.0);
        near(figures[2].energy_out, 12.0);
        assert_eq!(figures[2].coherence, None);
        // Amplitudes 2, 1 and 2 exp(i phase) meet.
        let sum = 9.0 + 4.0 + 12.0 * phase.cos();
        near(figures[0].energy_in, 9.0);
        near(figures[0].arrived, sum - 9.0);
        near(figures[0].energy_out + figures[0].quadrature, sum);
        near(figures[0].coherence.unwrap(), sum / 9.0);
    }
}

#[test]
fn a_gate_is_told_with_the_derivative_of_what_leaves_it() {
    let mut gated = |initial: f64| {
        let json = format!(r#"{{"gates": {{"boundaries": [1, 2], "rate": 0.1, "initial": {initial}}}}}"#);
        told(&mut optics(&json), 1, &[(rays(&[(3.0, 0.2), (4.0, 0.9)]), None)])
    };
    let figures = gated(0.64);
    near(figures.gate.unwrap(), 0.64);
    near(figures.energy_out, 0.64 * 25.0);
    near(figures.absorbed, 0.36 * 25.0);
    // What leaves is sqrt(t) g: its derivative by t is g / (2 sqrt(t)), of length 5 / (2 * 0.8).
    near(figures.jacobian.unwrap(), 5.0 / 1.6);
    // The same by finite differences: all that leaves is parallel to g, so lengths can be subtracted.
    let step = 1e-5;
    let length = |t: f64, gated: &mut dyn FnMut(f64) -> BoundaryFigures| gated(t).energy_out.sqrt();
    let difference = (length(0.64 + step, &mut gated) - length(0.64 - step, &mut gated)) / (2.0 * step);
    assert!((difference - 5.0 / 1.6).abs() < 1e-8, "{difference}");
    assert_eq!(told(&mut optics("{}"), 1, &[(array![[1.0; WIDTH], [0.0; WIDTH]], None)]).jacobian, None);
}

#[test]
fn a_band_tells_what_it_added() {
    // 25 units in two rows are 12.5 a row: a band around 50 a row lifts them, one around 2 takes some away.
    for (low, high) in [(40.0, 60.0), (1.0, 4.0)] {
        let mut banded = optics(&format!(r#"{{"energy_band": {{"low": {low}, "high": {high}}}}}"#));
        let figures = told(&mut banded, 1, &[(rays(&[(3.0, 0.0), (4.0, 1.0)]), None)]);
        near(figures.energy_in, 25.0);
        near(figures.gained, figures.energy_out - 25.0);
        let mean = figures.energy_out / 2.0;
        assert!(low <= mean && mean <= high, "{mean}");
    }
}
