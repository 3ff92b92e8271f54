//! `compare_estimators` as a program: its line of JSON, its files and its exit code.

use serde_json::Value;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_compare_estimators")).args(arguments).output().unwrap()
}

#[test]
fn a_short_look_judges_trains_and_draws() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let output = run(&["--quick", "--json", "--out", out]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.lines().count() == 1, "{text}{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["passed"], true);
    let judged = said["judged"].as_array().unwrap();
    let of = |loss: &str, estimator: &str| {
        let found = judged.iter().find(|one| one["loss"] == loss && one["estimator"] == estimator);
        found.unwrap_or_else(|| panic!("{loss} {estimator} in {text}"))
    };
    let number = |one: &Value, key: &str| one[key].as_f64().unwrap_or_else(|| panic!("{key} in {one}"));
    assert!(number(of("words", "marginal"), "own_bias") < 1e-9);
    assert!(number(of("words", "straight-through"), "bias") > 0.01, "it is no derivative of the expectation");
    assert!(number(of("graph", "reinforce"), "deviation") > 0.0);
    assert!(judged.iter().all(|one| one["estimator"] == "enumerated" || one["kilobytes"].as_f64().unwrap() > 1.0));
    let trained = said["trained"].as_array().unwrap();
    assert_eq!(trained.len(), 5);
    assert_eq!(trained[0]["estimator"], "marginal");
    assert_eq!(number(&trained[0], "median"), 0.0);
    let svg = std::fs::read_to_string(folder.path().join("estimators.svg")).unwrap();
    for label in [
        "straight-through-logit",
        "word error rate",
        "three pairs, such as abc to ab",
        "merge gates alone",
        "not defined",
    ] {
        assert!(svg.contains(label), "{label}");
    }
    let blocks: Value = serde_json::from_slice(&std::fs::read(folder.path().join("judged.json")).unwrap()).unwrap();
    let names: Vec<&str> =
        blocks[0]["own"].as_array().unwrap().iter().map(|block| block["block"].as_str().unwrap()).collect();
    assert!(names.contains(&"stages.0.morph.gate.thresholds") && names.last() == Some(&"all"), "{names:?}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let missing = run(&["--out", out, "--calls", "2", "--seeds", "1", "--curriculum", "nowhere"]);
    assert!(!missing.status.success() && missing.stdout.is_empty());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("nowhere"));
    for wrong in [&["--calls", "1"][..], &["--seeds", "0"], &["--threads", "-1"]] {
        assert!(!run(wrong).status.success(), "{wrong:?}");
    }
}
