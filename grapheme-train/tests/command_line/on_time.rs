//! A limit in minutes.

use crate::sandbox::{SMALL, Sandbox};
use std::fs;

/// An epoch of one short step, after which the dev set takes longer than the whole run may. Were only steps counted,
/// another epoch would begin. A slow machine makes the step long too, which changes nothing.
#[test]
fn time_spent_on_the_dev_set_counts() {
    let sandbox = Sandbox::new();
    let pairs = |count: usize| (0..count).map(|i| format!("word{i:05}\tword{:04}\n", i / 10)).collect::<String>();
    sandbox.write("train.tsv", pairs(8));
    sandbox.write("dev.tsv", pairs(20_000));
    let limit = 0.1;
    let minutes = (limit / 60.0_f64).to_string();
    let files = ["--train=train.tsv", "--dev=dev.tsv", "--out=run", "--epochs=50", "--minutes", &minutes];
    sandbox.run("train", &[&SMALL[1..], &files].concat()).succeeds();
    let metrics = fs::read_to_string(sandbox.path("run/metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    let finished = serde_json::json!({"event": "finished", "epochs": 1, "steps": 1, "reason": "time_over"});
    assert_eq!(last, finished, "{metrics}");
}
