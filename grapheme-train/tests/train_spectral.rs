//! `train_spectral` as a program: its line of JSON, its files, the same bits again, and what it refuses.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_train_spectral")).args(arguments).output().unwrap()
}

const SMALL: [&str; 9] = ["--size", "12", "--frames", "60", "--test", "30", "--rollout", "10", "--json"];
/// What a run leaves.
const FILES: [&str; 6] =
    ["config.json", "metrics.jsonl", "model.safetensors", "events.json", "moments.png", "animation.png"];

fn small(out: &Path) -> Output {
    run(&[&SMALL[..], &["--out", out.to_str().unwrap()]].concat())
}

fn same_files(one: &Path, other: &Path) {
    for name in FILES {
        let [one, other] = [one, other].map(|folder| fs::read(folder.join(name)).unwrap());
        assert!(one == other, "{name}");
    }
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
    same_files(folders[0].path(), folders[1].path());
    let animation = fs::read(folders[0].path().join("animation.png")).unwrap();
    assert!(animation.starts_with(b"\x89PNG") && animation.windows(4).any(|part| part == b"acTL"));
}

#[test]
fn a_training_that_is_killed_goes_on_to_the_same_bits_and_what_it_learned_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let whole = small(&path("whole"));
    assert!(whole.status.success());
    let lines = || fs::read_to_string(path("killed/metrics.jsonl")).map_or(0, |text| text.lines().count());
    let killed = path("killed");
    let out = ["--out", killed.to_str().unwrap(), "--checkpoint-seconds", "0"];
    // In the first pass, in the second, and while the test is scored.
    for (i, stop) in [5, 40, 60].into_iter().enumerate() {
        let how = if i == 0 { &SMALL[..] } else { &["--resume", "--json"] };
        let mut command = Command::new(env!("CARGO_BIN_EXE_train_spectral"));
        let mut child = command.args([how, &out].concat()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while lines() < stop && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let resumed = run(&[&["--resume", "--json"][..], &out].concat());
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    same_files(&path("whole"), &path("killed"));

    // Used later, without training: the same answers, on the screen and in another folder.
    let one_step = |output: &Output| {
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        said["one_step"].to_string() + &said["rollout"].to_string()
    };
    let used = path("used");
    let again = run(&["--run", killed.to_str().unwrap(), "--json", "--out", used.to_str().unwrap()]);
    assert_eq!(one_step(&again), one_step(&whole));
    assert_eq!(fs::read(path("whole/moments.png")).unwrap(), fs::read(path("used/moments.png")).unwrap());
    let other = run(&["--run", killed.to_str().unwrap(), "--json", "--pattern", "chirp"]);
    assert!(other.status.success() && one_step(&other) != one_step(&whole));

    let refused = |arguments: &[&str], reason: &str| {
        let output = run(arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains(reason), "{arguments:?}: {message}");
    };
    refused(&["--out", killed.to_str().unwrap()], "--resume");
    // A byte of the header, one of the notes, and an end that is missing.
    let model = fs::read(path("killed/model.safetensors")).unwrap();
    let place = model.windows(8).position(|part| part == b"spectral").unwrap();
    let mut renamed = model.clone();
    renamed[place] = b'X';
    for (damaged, reason) in
        [(&model[..model.len() / 2], "cut short"), (&renamed[..], "note `spectral`"), (b"", "0 bytes")]
    {
        fs::write(path("killed/model.safetensors"), damaged).unwrap();
        refused(&["--run", killed.to_str().unwrap()], &format!("model.safetensors: {reason}").replace("cut short", ""));
        refused(&["--run", killed.to_str().unwrap()], reason);
    }
    refused(&["--run", path("nowhere").to_str().unwrap()], "holds no run");
    let config = fs::read_to_string(path("killed/config.json")).unwrap();
    fs::write(path("killed/config.json"), config.replace("blob", "cat")).unwrap();
    refused(&["--out", killed.to_str().unwrap(), "--resume"], "there is no pattern `cat`");
}
