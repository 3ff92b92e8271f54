//! `test_gradient_check` as a program: its line of JSON and its exit code.

use serde_json::Value;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_test_gradient_check")).args(arguments).output().unwrap()
}

#[test]
fn the_line_of_json_says_what_was_checked() {
    let output = run(&["--json", "--seeds", "1", "--filter", "pathwise/gated"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.lines().count() == 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key} in {text}"));
    assert_eq!(line["passed"], true);
    assert_eq!((number("combinations"), number("not_defined"), number("seeds")), (6.0, 0.0, 1.0));
    // Exact, since networks and inputs follow from the seed: a parameter that is no longer walked would show.
    assert_eq!(number("checked"), 1542.0);
    assert!(number("max_rel_err") <= 1e-6 && number("f32_max_rel_err") <= number("f32_tolerance"));
    assert!(number("faults_planted") > 100.0 && number("faults_planted") == number("faults_caught"));
    assert!(number("seconds") > 0.0);
    let media = &line["media"];
    let number = |key: &str| media[key].as_f64().unwrap_or_else(|| panic!("{key} in {text}"));
    assert_eq!((number("checked"), media["vacuum_is_plain"].as_bool()), (1542.0, Some(true)));
    assert!(number("max_rel_err") <= 1e-6 && number("hypergradient_max_rel_err") <= 1e-5);
    assert!(number("faults_planted") > 100.0 && number("faults_planted") == number("faults_caught"));
    assert!(number("hypergradients") >= 11.0);
}

#[test]
fn tables_name_blocks_and_what_is_not_defined() {
    // A layer that rewrites edges, for whose weights the loss does not ask, is in one of these.
    let output = run(&["--seeds", "1", "--filter", "monotone/marginal/"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("without a gradient here, and so without a planted fault: stages.0.rounds.2.norm.gain, "));
    for part in ["words/monotone/marginal/gated", "not defined", "stages.0.morph.gate.thresholds", "features", "caught"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn the_exit_code_is_not_0_where_something_does_not_hold() {
    // No finite difference is as exact as this.
    let output = run(&["--json", "--seeds", "1", "--filter", "words/monotone/marginal/gated", "--tolerance", "1e-15"]);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &line["passed"]), (Some(1), &Value::Bool(false)));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("the gradient check failed") && told.contains("in words/monotone/marginal/gated/1: analytic")
    );
    for wrong in [&["--filter", "nothing"][..], &["--seeds", "0"], &["--tolerance", "-1"], &["--tolerance", "nan"]] {
        let output = run(wrong);
        assert!(!output.status.success() && output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}
