//! `train_spectral` as a program: its line of JSON, its files, the same bits again, and what it refuses.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_train_spectral")).args(arguments).output().unwrap()
}

fn small(out: &Path) -> Output {
    let mut arguments = vec!["--size", "12", "--frames", "60", "--test", "30", "--rollout", "10", "--json", "--out"];
    arguments.push(out.to_str().unwrap());
    run(&arguments)
}

#[test]
fn it_trains_scores_and_draws_and_does_the_same_again() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        let output = small(folder.path());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.lines().count() == 1, "{text}");
        let said: Value = serde_json::from_str(&text).unwrap();
        let mean = |part: &str, name: &str| {
            let found = said[part].as_array().unwrap().iter().find(|figure| figure["name"] == name);
            found.and_then(|figure| figure["mean"].as_f64()).unwrap_or_else(|| panic!("{name} in {text}"))
        };
        for part in ["one_step", "rollout"] {
            assert!(mean(part, "predictor") < 0.01 * mean(part, "copy"), "{part}: {text}");
        }
        let metrics = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
        let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Half of the frames, without the first four, twice; and each frame that is scored.
        assert_eq!(lines.iter().filter(|line| line["kind"] == "train").count(), 2 * (30 - 4));
        assert_eq!(lines.iter().filter(|line| line["kind"] == "test").count(), 30);
    }
    for name in ["metrics.jsonl", "events.json", "moments.png", "animation.png"] {
        let [one, other] = folders.each_ref().map(|folder| fs::read(folder.path().join(name)).unwrap());
        assert!(one == other, "{name}");
    }
    let animation = fs::read(folders[0].path().join("animation.png")).unwrap();
    assert!(animation.starts_with(b"\x89PNG") && animation.windows(4).any(|part| part == b"acTL"));
}

#[test]
fn what_cannot_be_predicted_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new");
    for wrong in
        [&["--rate", "nan"][..], &["--pattern", "obstacle", "--size", "4"], &["--size", "512", "--frames", "100000"]]
    {
        let output = run(&[&["--out", out.to_str().unwrap()], wrong].concat());
        assert!(!output.status.success() && output.stdout.is_empty() && !out.exists(), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
    }
    assert!(String::from_utf8_lossy(&run(&["--pattern", "cat"]).stderr).contains("double_slit"));
}
