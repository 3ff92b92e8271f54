//! Watched nodes: they change nothing, survive a kill, and what breaks down is what the errors say.

use crate::sandbox::{Sandbox, lines, two_epochs};
use grapheme_train::event::Event;
use grapheme_train::run::read_metrics;
use std::fs;

#[test]
fn watching_nodes_changes_nothing_and_goes_on_after_a_kill() {
    let sandbox = Sandbox::new();
    sandbox.train(&["--out", "plain"]).succeeds();
    sandbox.train(&["--out", "one", "--watch", "4"]).succeeds();
    let read = |name: &str| fs::read(sandbox.path(name)).unwrap();
    assert!(read("plain/model.safetensors") == read("one/model.safetensors"));

    let args = two_epochs(&["--out", "killed", "--watch", "4", "--checkpoint-seconds", "0"]);
    sandbox.kill_when("train", &args, |sandbox| lines(&sandbox.path("killed/metrics.jsonl")) > 9);
    sandbox.resume("killed").succeeds();
    sandbox.same_results("one", "killed");

    let told = read_metrics(&sandbox.path("one/metrics.jsonl")).unwrap();
    let looks = told.iter().filter_map(|event| match event {
        Event::Nodes { step, examples } => Some((*step, examples)),
        _ => None,
    });
    let looks: Vec<_> = looks.collect();
    assert!((8..=16).contains(&looks.len()), "{} looks in two epochs", looks.len());
    let dev = fs::read_to_string(sandbox.path("data/dev.jsonl")).unwrap();
    let mut stored: Vec<Vec<f64>> = looks[0].1.iter().map(|example| vec![0.0; example.errors.len()]).collect();
    for (step, examples) in looks {
        assert_eq!(examples.len(), 4);
        for ((figures, line), stored) in examples.iter().zip(dev.lines()).zip(&mut stored) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            // A node for each code point, and two ends.
            let input = line["input"].as_str().unwrap();
            assert_eq!(figures.errors.len(), input.chars().count() + 2, "{input}");
            assert!(figures.errors.iter().all(|error| (0.0..=1.0).contains(error)), "{figures:?}");
            let energy: f64 = figures.errors.windows(2).map(|pair| (pair[0] - pair[1]).powi(2)).sum();
            assert!((energy - figures.gradient_energy).abs() < 1e-2, "{figures:?}");
            // The charge once more, from what was written down.
            let mut broken = Vec::new();
            for (node, (stored, error)) in stored.iter_mut().zip(&figures.errors).enumerate() {
                if *stored > 0.5 && *error < 0.02 * *stored {
                    broken.push(node);
                    *stored = 0.0;
                } else {
                    *stored = 0.9 * *stored + error;
                }
            }
            let mut told: Vec<usize> = figures.breakdowns.iter().flat_map(|event| event.nodes.clone()).collect();
            told.sort_unstable();
            assert_eq!(told, broken, "step {step}");
        }
    }
}
