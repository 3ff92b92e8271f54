//! Faults planted in real trainings, which doctor must find: a run is left alone for an epoch of 10 steps, its weights are
//! spoilt in its checkpoint, and it goes on for three more.

use crate::sandbox::Sandbox;
use grapheme_core::GraphBatch;
use grapheme_core::layers::RoundKind;
use grapheme_train::data::BadLines;
use grapheme_train::ensemble::Ensemble;
use grapheme_train::job::{self, Existing};
use grapheme_train::prepare::{Source, Wishes, prepare_members};
use grapheme_train::settings::{OnNan, Preset};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A round with a residual connection.
const STEADY: RoundKind = RoundKind::Gated { distance: 1 };
/// One without.
const PLAIN: RoundKind = RoundKind::Plain { distance: 1 };

/// The first step after the first epoch.
const SPOILT: u64 = 11;

/// Changes the weights of a block, whose name and last dimension are given.
type Spoil<'a> = &'a dyn Fn(&str, usize, &mut [f32]);

/// An epoch of a small network, without anything random but its weights and the order of examples.
fn one_epoch() -> Wishes {
    Wishes {
        preset: Preset::Tiny,
        width: Some(16),
        dropout: Some(0.0),
        isolation: Some(0.0),
        epochs: Some(1),
        ..Wishes::default()
    }
}

/// What doctor says of a training of these rounds under media that was spoilt after an epoch.
fn diagnosed(rounds: &[RoundKind], media: &Value, spoil: Spoil<'_>) -> Vec<Value> {
    let sandbox = Sandbox::new();
    // A low rate leaves the fault where it was planted.
    let wishes = Wishes { rate: 1e-4, ..one_epoch() };
    let source = Source::Folder(sandbox.path("data"));
    let mut members = prepare_members(&source, BadLines::Stop, wishes, 1, 1).unwrap();
    members[0].config.model.network.stages[0].rounds = rounds.to_vec();
    members[0].config.optics = Some(media.clone());
    job::begin(&sandbox.path("run"), members, Existing::Refuse).unwrap();
    sandbox.resume("run").succeeds();
    change_weights(&sandbox.path("run/state.safetensors"), spoil);
    let config = fs::read(sandbox.path("run/config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["training"]["epochs"] = 4.into();
    sandbox.write("run/config.json", config.to_string());
    sandbox.resume("run").succeeds();
    let said = sandbox.run("doctor", &["run", "--json"]);
    let line: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(line["last_step"], 40);
    let verdicts = line["verdicts"].as_array().unwrap().clone();
    match verdicts.len() {
        0 => drop(said.succeeds()),
        _ => drop(said.fails_with(&["complaint"])),
    }
    verdicts
}

/// The letter `e` gets features so large that no layer can add them up: steps with it are not finite, others are.
#[test]
fn a_step_that_is_not_finite_is_named_by_its_layer_and_left_out_on_request() {
    let code = GraphBatch::from_texts(&["e"]).unwrap().codes()[1];
    let prepare = |on_nan| {
        let sandbox = Sandbox::new();
        let wishes = Wishes { batch: Some(4), on_nan, ..one_epoch() };
        let members = prepare_members(&Source::Folder(sandbox.path("data")), BadLines::Stop, wishes, 1, 1).unwrap();
        job::begin(&sandbox.path("run"), members, Existing::Refuse).unwrap();
        sandbox.resume("run").succeeds();
        let rows: Vec<usize> =
            Ensemble::load(&sandbox.path("run")).unwrap().members()[0].net.embedding.rows(code).collect();
        change_weights(&sandbox.path("run/state.safetensors"), &|name, columns, weights| {
            if name == "model.embedding.table" {
                rows.iter().for_each(|row| weights[row * columns..(row + 1) * columns].fill(3e38));
            }
        });
        let config = fs::read_to_string(sandbox.path("run/config.json")).unwrap();
        sandbox.write("run/config.json", config.replace("\"epochs\": 1,", "\"epochs\": 2,"));
        sandbox
    };
    let stopped = prepare(OnNan::Stop);
    let state = fs::read(stopped.path("run/state.safetensors")).unwrap();
    stopped.resume("run").fails_with(&["step 8", "the output of layer `embedding` is not finite", "--on-nan skip"]);
    assert_eq!(fs::read(stopped.path("run/state.safetensors")).unwrap(), state, "the last checkpoint is kept");
    let skipped = prepare(OnNan::Skip);
    skipped.resume("run").succeeds().tells(&["not taken: the output of layer `embedding` is not finite"]);
    let metrics = fs::read_to_string(skipped.path("run/metrics.jsonl")).unwrap();
    let count = |event: &str| metrics.matches(&format!("\"event\":\"{event}\"")).count();
    let (taken, refused) = (count("step"), count("step_refused"));
    assert!(taken > 85 && refused > 5 && taken + refused == 160, "{taken} steps taken, {refused} left out");
    assert_eq!(count("finished"), 1);
}

/// Weights of the model within a safetensors file: a length, a header of names and places, and the numbers.
fn change_weights(file: &Path, spoil: Spoil<'_>) {
    let mut bytes = fs::read(file).unwrap();
    let begin = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&bytes[8..begin]).unwrap();
    for (name, block) in header.iter().filter(|(name, _)| name.starts_with("model.")) {
        let [from, to] = [0, 1].map(|end| begin + block["data_offsets"][end].as_u64().unwrap() as usize);
        let columns = block["shape"].as_array().unwrap().last().map_or(1, |n| n.as_u64().unwrap() as usize);
        let numbers = bytes[from..to].chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
        let mut numbers: Vec<f32> = numbers.collect();
        spoil(name, columns, &mut numbers);
        bytes[from..to].copy_from_slice(&numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    }
    fs::write(file, bytes).unwrap();
}

/// One complaint, of this layer, since the fault was planted or a few steps later, with this word in its advice.
#[track_caller]
fn only(found: &[Value], complaint: &str, layer: &str, since: u64, advice: &str) {
    let [verdict] = found else { panic!("one complaint was expected: {found:?}") };
    assert_eq!((&verdict["complaint"], &verdict["layer"]), (&json!(complaint), &json!(layer)), "{verdict}");
    assert_eq!(verdict["since"], since, "{verdict}");
    assert!(verdict["advice"].as_str().unwrap().contains(advice), "{verdict}");
}

/// What is done to a healthy run.
fn nothing(_: &str, _: usize, _: &mut [f32]) {}

#[test]
fn a_healthy_training_gets_no_complaint() {
    assert_eq!(diagnosed(&[STEADY; 6], &json!({}), &nothing), [] as [Value; 0]);
    let glass =
        json!({"layers": [{"transparency": 0.8, "diffusion": 0.1}], "indices": [{"layers": [2, 3], "index": 1.2}]});
    assert_eq!(diagnosed(&[STEADY; 6], &glass, &nothing), [] as [Value; 0]);
}

/// Energies that the cure holds.
fn band() -> Value {
    json!({"energy_band": {"low": 1e-3, "high": 4e-3}})
}

#[test]
fn layers_that_stop_listening_vanish_and_a_band_is_the_cure() {
    // What a layer writes is then nearly its bias, so little of the gradient finds a way through it.
    let deaf = |name: &str, _: usize, values: &mut [f32]| {
        if name.ends_with("project.bias") {
            values.iter_mut().enumerate().for_each(|(i, x)| *x = if i % 2 == 0 { 0.8 } else { -0.8 });
        }
    };
    only(&diagnosed(&[PLAIN; 14], &json!({}), &deaf), "vanishing", "embedding", SPOILT, "energy_band");
    assert_eq!(diagnosed(&[PLAIN; 14], &band(), &deaf), [] as [Value; 0]);
}

#[test]
fn layers_whose_gates_turn_sharp_explode_and_a_band_is_the_cure() {
    // A steep sigmoid turns small differences into large ones, layer after layer.
    let sharp = |name: &str, columns: usize, values: &mut [f32]| {
        if name.ends_with("gather.weight") {
            let gates = values.iter_mut().enumerate().filter(|(i, _)| i % columns >= columns / 2);
            gates.for_each(|(_, x)| *x *= 40.0);
        }
    };
    only(&diagnosed(&[PLAIN; 24], &json!({}), &sharp), "exploding", "embedding", SPOILT, "energy_band");
    assert_eq!(diagnosed(&[PLAIN; 24], &band(), &sharp), [] as [Value; 0]);
}

#[test]
fn a_layer_that_lets_little_through_is_named() {
    // The third of four rounds without residual connections is all but cut.
    let cut = |name: &str, _: usize, values: &mut [f32]| {
        if name.ends_with("rounds.2.gather.weight") {
            values.iter_mut().for_each(|x| *x *= 0.01);
        }
    };
    only(&diagnosed(&[PLAIN; 4], &json!({}), &cut), "fades", "stages.0.rounds.2", SPOILT, "residual");
}

#[test]
fn a_closed_gate_is_named() {
    let gates = json!({"gates": {"boundaries": [2, 2], "rate": 0.01, "every": 2, "initial": 0.001}});
    only(&diagnosed(&[STEADY; 6], &gates, &nothing), "closed", "stages.0.rounds.1", 1, "gates.rate");
    let glass = json!({"layers": [{"boundaries": [2, 2], "steps": [SPOILT, 99], "absorption": 7}]});
    only(&diagnosed(&[STEADY; 6], &glass, &nothing), "closed", "stages.0.rounds.1", SPOILT, "absorption");
}

#[test]
fn two_routes_against_each_other_are_a_conflict_and_a_phase_is_the_cure() {
    // From the second epoch on, half of the gradient goes by a guide, turned around.
    let share = json!({"from": 0, "to": 0.5, "steps": [SPOILT - 1, SPOILT]});
    let guide = |phase: f64| json!({"guides": [{"from": 5, "to": 3, "share": share, "phase": phase}]});
    let found = diagnosed(&[STEADY; 6], &guide(std::f64::consts::PI), &nothing);
    let conflict: Vec<Value> = found.into_iter().filter(|verdict| verdict["complaint"] == "conflict").collect();
    only(&conflict, "conflict", "stages.0.rounds.2", SPOILT, "phase");
    assert_eq!(diagnosed(&[STEADY; 6], &guide(0.0), &nothing), [] as [Value; 0]);
}
