//! Damaged runs, and examples of which some are bad: each ends with an exit code that is not 0 and a message that names
//! file, line and cure, and leaves nothing half-written. Wrong uses as such are in `wrong_uses`, storage that fails in `storage`.

use crate::sandbox::{SMALL, Sandbox};
use std::fs;

const GOOD: &str = "abc\tab\nxyz\txy\n";

#[test]
fn bad_lines_are_skipped_on_request_and_counted_by_name() {
    let sandbox = Sandbox::new();
    sandbox.write("good.tsv", GOOD);
    let vast = "x".repeat(20_000);
    sandbox.write("some.tsv", format!("abc\tab\nno tab\nxyz\txy\na\tb\tc\n{vast}\t{vast}\n").as_bytes());
    let command = ["--train=some.tsv", "--dev=good.tsv", "--preset=tiny", "--epochs=1", "--out=out"];
    sandbox.run("train", &command).fails_with(&["some.tsv:2:"]);
    let said = sandbox.run("train", &[&command[..], &["--skip-bad"]].concat()).succeeds();
    said.tells(&[
        "3 bad lines skipped",
        "some.tsv:2: one column",
        "some.tsv:4: 3 columns",
        "some.tsv:5: aligning",
        "2 examples",
    ]);
    let evaluate = ["--run", "out", "--data", "some.tsv", "--json"];
    sandbox.run("evaluate", &evaluate).fails_with(&["some.tsv:2: one column"]);
    let said = sandbox.run("evaluate", &[&evaluate[..], &["--skip-bad"]].concat()).succeeds();
    assert!(said.stdout.contains("\"n\":2"), "{}", said.stdout);
    said.tells(&["3 bad lines skipped", "some.tsv:5:"]);
}

#[test]
fn a_few_targets_out_of_reach_are_counted_and_training_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.write("some.tsv", format!("{}a\t{}\n", GOOD.repeat(3), "b".repeat(30)).as_bytes());
    sandbox.write("good.tsv", GOOD);
    let command = ["--train=some.tsv", "--dev=good.tsv", "--preset=tiny", "--epochs=1", "--slots=2", "--out=out"];
    let said = sandbox.run("train", &[&command[..], &["--window", &usize::MAX.to_string()]].concat()).succeeds();
    said.tells(&["warning: some.tsv: 1 of 7 examples skipped", "in line 7", "raise --slots", "6 examples"]);
}

#[test]
fn damaged_files_of_a_run_are_named_by_all_who_read_them() {
    let sandbox = Sandbox::trained().copy();
    let model = sandbox.files("run")["model.safetensors"].clone();
    let config = String::from_utf8(sandbox.files("run")["config.json"].clone()).unwrap();
    let mut nan = model.clone();
    let length = nan.len();
    nan[length - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let altered = |from: &str, to: &str| {
        assert!(config.contains(from), "{from} is not in {config}");
        config.replacen(from, to, 1).into_bytes()
    };
    let cases: [(&str, Vec<u8>, &[&str]); 15] = [
        ("model.safetensors", nan, &["holds NaN at index", "an earlier checkpoint"]),
        ("model.safetensors", model[..length / 2].to_vec(), &["damaged or cut short", "another checkpoint"]),
        ("model.safetensors", Vec::new(), &["damaged or cut short"]),
        ("config.json", altered("\"width\": 8", "\"width\": 9"), &["model.safetensors", "shape", "the configuration"]),
        ("config.json", altered("\"width\"", "\"depth\": 1, \"width\""), &["line ", "unknown field `depth`"]),
        ("config.json", altered("\"width\": 8", "\"width\": 1000000000000"), &["`width`", "out of range", "restore"]),
        ("config.json", altered("\"buckets\": 512", "\"buckets\": 900000000000"), &["`buckets`", "out of range"]),
        ("config.json", altered("\"width\": 8", "\"width\": -8"), &["line ", "invalid value"]),
        ("config.json", altered("\"outcomes\": ", "\"outcomes\": 1"), &["outcomes for", "labels", "restore"]),
        ("config.json", altered("\"version\": 1", "\"version\": 2"), &["version 2", "restore"]),
        ("config.json", altered("\"batch\": 32", "\"batch\": 0"), &["batch = 0", "at least 1"]),
        ("config.json", altered("\"clip\": 2.0", "\"clip\": 0.0"), &["clip = 0", "a positive number"]),
        ("config.json", altered("\"tau\": 1.0", "\"tau\": 0.0"), &["tau", "restore"]),
        ("config.json", altered("\"cost\"", "{\"mass\":{\"deletion\":0.5}}"), &["marginal", "restore"]),
        ("config.json", b"{".to_vec(), &["line 1", "EOF"]),
    ];
    for (name, bytes, words) in cases {
        let spoilt = sandbox.copy();
        spoilt.write(&format!("run/{name}"), &bytes);
        let before = spoilt.files("run");
        let evaluate = ["--run", "run", "--data", "data/dev.jsonl"];
        for said in [spoilt.run("infer", &["--run", "run", "a"]), spoilt.run("evaluate", &evaluate)] {
            assert_eq!(said.stdout, "");
            said.fails_with(words).tells(&[&format!("run/{}", if words.contains(&"shape") { words[0] } else { name })]);
        }
        if name == "config.json" {
            spoilt.resume("run").fails_with(&["run/"]);
        }
        assert_eq!(spoilt.files("run"), before, "{words:?}");
    }
}

#[test]
fn a_run_that_cannot_go_on_is_refused_and_left_as_it_is() {
    let sandbox = Sandbox::trained().copy();
    let files = sandbox.files("run");
    let (state, metrics) = (&files["state.safetensors"], &files["metrics.jsonl"]);
    let mut train = sandbox.files("data")["train.jsonl"].clone();
    train.extend(b"{\"input\":\"one\",\"target\":\"more\"}\n");
    let cases: [(&str, &[u8], &[&str]); 5] = [
        ("data/train.jsonl", &train, &["data/train.jsonl", "the examples changed", "restore them", "--overwrite"]),
        ("run/state.safetensors", &state[..state.len() - 1], &["run/state.safetensors", "cut short"]),
        ("run/state.safetensors", &files["model.safetensors"], &["run/state.safetensors", "`model.", "is missing"]),
        ("run/metrics.jsonl", &metrics[..metrics.len() / 2], &["run/metrics.jsonl", "the file was changed"]),
        ("run/metrics.jsonl", b"", &["run/metrics.jsonl", "start again with --overwrite"]),
    ];
    for (name, bytes, words) in cases {
        let spoilt = sandbox.copy();
        spoilt.write(name, bytes);
        let before = spoilt.files("run");
        spoilt.resume("run").fails_with(words);
        assert_eq!(spoilt.files("run"), before, "{name}");
    }
    fs::rename(sandbox.path("data"), sandbox.path("elsewhere")).unwrap();
    sandbox.resume("run").fails_with(&["data/train.jsonl: no such file", "from the folder it began in"]);
    assert_eq!(sandbox.files("run"), files);
}

#[test]
fn a_rate_that_destroys_the_model_is_refused_before_it_is_saved() {
    let sandbox = Sandbox::new();
    let args = [&SMALL[..], &["--epochs", "2", "--rate", "1e30", "--out", "out"]].concat();
    sandbox.run("train", &args).fails_with(&["not finite", "lower --rate"]);
    assert!(!sandbox.path("out/model.safetensors").exists());
}
