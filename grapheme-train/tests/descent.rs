//! `test_gradient_descent` and `train_with_threshold_tracking` as programs: JSON, exit codes, files.

use serde_json::Value;
use std::process::{Command, Output};

fn descend(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_test_gradient_descent")).args(arguments).output().unwrap()
}

fn line(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn descent_falls_and_its_control_fails() {
    let output = descend(&["--json", "--seeds", "3"]);
    let said = line(&output);
    assert!(output.status.success() && said["passed"] == true, "{said}");
    assert_eq!((&said["seeds"], &said["increases"]), (&Value::from(3), &Value::from(0)));
    assert!(said["plan_flips"].as_u64().is_some() && said["worst_final_ratio"].as_f64().unwrap() < 0.5);
    assert_eq!(said["control_failed"], true);
    for control in said["control"].as_array().unwrap() {
        assert!(!control["failures"].as_array().unwrap().is_empty(), "{control}");
    }
}

#[test]
fn steps_that_are_too_long_fail_the_test() {
    let output = descend(&["--json", "--seeds", "2", "--rate", "3"]);
    let said = line(&output);
    assert_eq!((output.status.code(), &said["passed"]), (Some(1), &Value::Bool(false)));
    assert!(said["increases"].as_u64().unwrap() > 0);
    for wrong in [&["--seeds", "0"][..], &["--rate", "nan"], &["--epochs", "30", "--long-epochs", "20"]] {
        let output = descend(wrong);
        assert!(!output.status.success() && output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn thresholds_are_tracked_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let track = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train_with_threshold_tracking"));
        command.args(arguments).arg("--out").arg(folder.path()).output().unwrap()
    };
    for loss in ["words", "graph"] {
        let output = track(&["--json", "--loss", loss, "--epochs", "20"]);
        let said = line(&output);
        assert!(output.status.success() && said["passed"] == true, "{said}");
        let rows = std::fs::read_to_string(folder.path().join("thresholds.jsonl")).unwrap();
        assert_eq!(rows.lines().count(), 21);
        let first: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        assert_eq!(first["thresholds"], serde_json::json!([1.5, -3.0]));
        let svg = std::fs::read_to_string(folder.path().join("thresholds.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("theta of slot 1"));
    }
    let output = track(&["--loss", "graph", "--estimator", "marginal"]);
    assert!(!output.status.success() && output.stdout.is_empty());
}
