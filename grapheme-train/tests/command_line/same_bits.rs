//! One result: for any number of threads, and however often a run is killed and resumed.

use crate::sandbox::{FIELDS, SMALL, Sandbox, lines, two_epochs};
use grapheme_core::Stream;
use std::fs;
use std::time::Instant;

/// Lines of the metrics of a whole run: start, 20 steps, 2 epochs, end.
const LINES: usize = 24;

#[test]
fn the_number_of_threads_does_not_show() {
    let sandbox = Sandbox::trained().copy();
    for threads in ["1", "2", "8"] {
        sandbox.train(&["--out", threads, "--threads", threads]).succeeds();
        sandbox.same_results("run", threads);
    }
    assert_eq!(lines(&sandbox.path("run/metrics.jsonl")), LINES);
    // The comparison can fail: another seed gives other bits.
    sandbox.train(&["--seed", "8", "--out", "other"]).succeeds();
    assert_ne!(sandbox.files("run")["model.safetensors"], sandbox.files("other")["model.safetensors"]);
}

/// With a checkpoint after every step a run resumes within an epoch, without one from the last epoch, or from nothing.
#[test]
fn a_run_killed_at_any_instant_resumes_to_the_same_bits() {
    let sandbox = Sandbox::trained().copy();
    let random = Stream::new(5);
    for trial in 0..8 {
        let run = format!("run-{trial}");
        let metrics = sandbox.path(&run).join("metrics.jsonl");
        let often: &[&str] = if trial % 2 == 0 { &["--checkpoint-seconds", "0"] } else { &[] };
        let first = 1 + random.at(2 * trial) as usize % (LINES - 1);
        sandbox.kill_when("train", &two_epochs(&[&["--out", &run], often].concat()), |_| lines(&metrics) >= first);
        if trial % 4 < 2 {
            // Killed again while it is resumed; it may be cut back to fewer lines first.
            let second = 1 + random.at(2 * trial + 1) as usize % LINES;
            let resume = [&["--resume", "--out", &run], often].concat();
            sandbox.kill_when("train", &resume, |_| lines(&metrics) >= second);
        }
        sandbox.resume(&run).succeeds();
        sandbox.same_results("run", &run);
    }
}

/// At instants that have nothing to do with what the run does, under both losses, through media, and of a predictor of fields: each run is
/// killed three times on its way. `KILLS=1000 cargo test -p grapheme-train --test command_line -- killed_at_random` kills that often.
#[test]
fn a_run_killed_at_random_instants_resumes_to_the_same_bits() {
    let kills: u64 = std::env::var("KILLS").map_or(20, |number| number.parse().expect("KILLS is a number"));
    let sandbox = Sandbox::new();
    let gates = r#"{"gates": {"boundaries": [0, 1], "rate": 0.1, "every": 3}}"#;
    let often = ["--checkpoint-seconds", "0"];
    let forms = [
        ("words", "train", two_epochs(&[])),
        ("graph", "train", two_epochs(&[&["--loss", "graph"], &often[..]].concat())),
        ("media", "train", two_epochs(&[&["--optics", gates], &often[..]].concat())),
        ("fields", "train_spectral", [&FIELDS[..], &often].concat()),
    ];
    let seconds = forms.each_ref().map(|(whole, command, args)| {
        let clock = Instant::now();
        sandbox.run(command, &[&args[..], &["--out", whole]].concat()).succeeds();
        clock.elapsed().as_secs_f64()
    });
    let random = Stream::new(6);
    for trial in 0..kills.div_ceil(3) {
        let form = trial as usize % forms.len();
        let (whole, command, args) = &forms[form];
        for kill in 0..3 {
            let instant = random.at(3 * trial + kill) as f64 / u64::MAX as f64 * seconds[form];
            // A kill may come before there is a folder.
            let args = match sandbox.path("killed/config.json").exists() {
                true => vec!["--resume", "--out", "killed"],
                false => [&args[..], &["--out", "killed", "--overwrite"]].concat(),
            };
            let clock = Instant::now();
            sandbox.kill_when(command, &args, |_| clock.elapsed().as_secs_f64() >= instant);
        }
        if sandbox.path("killed/config.json").exists() {
            sandbox.run(command, &["--resume", "--out", "killed"]).succeeds();
            match *command {
                "train" => sandbox.same_results(whole, "killed"),
                _ => sandbox.same_fields(whole, "killed"),
            }
            fs::remove_dir_all(sandbox.path("killed")).unwrap();
        }
    }
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_again() {
    let sandbox = Sandbox::trained().copy();
    let metrics = sandbox.files("run")["metrics.jsonl"].clone();
    fs::create_dir(sandbox.path("cut")).unwrap();
    fs::copy(sandbox.path("run/config.json"), sandbox.path("cut/config.json")).unwrap();
    // Killed before the first line, and in the midst of one.
    for length in [None, Some(metrics.len() / 3)] {
        if let Some(length) = length {
            fs::remove_file(sandbox.path("cut/state.safetensors")).unwrap();
            fs::remove_file(sandbox.path("cut/model.safetensors")).unwrap();
            sandbox.write("cut/metrics.jsonl", &metrics[..length]);
        }
        sandbox.resume("cut").succeeds();
        sandbox.same_results("run", "cut");
    }
}

/// A folder in the place of the temporary file ends training after the model is written and before the state is.
#[test]
fn a_run_that_ends_between_model_and_state_resumes_to_the_same_bits() {
    let sandbox = Sandbox::trained().copy();
    let (state, model) = (sandbox.path("half/state.safetensors"), sandbox.path("half/model.safetensors"));
    sandbox.kill_in_first_epoch("half");
    let before = fs::read(&state).unwrap();
    let _ = fs::remove_file(sandbox.path("half/.state.safetensors.tmp"));
    fs::create_dir(sandbox.path("half/.state.safetensors.tmp")).unwrap();
    sandbox.resume("half").fails_with(&["half/state.safetensors", "choose another path"]);
    assert!(model.exists(), "this is no test of a model that is newer than the state");
    assert_eq!(fs::read(&state).unwrap(), before);
    fs::remove_dir(sandbox.path("half/.state.safetensors.tmp")).unwrap();
    sandbox.resume("half").succeeds();
    sandbox.same_results("run", "half");
}

/// With each reason to stop: resuming changes nothing, and where only the last line is missing, adds that line.
#[test]
fn a_run_that_is_done_stays_as_it_is() {
    let sandbox = Sandbox::trained().copy();
    for (run, more, reason) in [
        ("complete", "--epochs=2", "complete"),
        // Steps that small change no word, so no epoch is better than the first.
        ("early", "--rate=1e-9 --patience=2 --epochs=9", "early_stop"),
        ("late", "--minutes=0.00001 --epochs=9", "time_over"),
    ] {
        let more: Vec<&str> = more.split(' ').collect();
        sandbox.run("train", &[&SMALL[..], &["--out", run], &more].concat()).succeeds();
        let done = sandbox.files(run);
        let metrics = String::from_utf8(done["metrics.jsonl"].clone()).unwrap();
        let last = metrics.lines().last().unwrap();
        assert!(last.contains(&format!("\"reason\":\"{reason}\"")), "{last}");
        let written = || fs::metadata(sandbox.path(run).join("metrics.jsonl")).unwrap().modified().unwrap();
        let before = written();
        sandbox.resume(run).succeeds().tells(&[run, "this run is done, nothing was changed"]);
        assert_eq!((sandbox.files(run), written()), (done.clone(), before));

        sandbox.write(&format!("{run}/metrics.jsonl"), &metrics[..metrics.len() - last.len() - 1]);
        sandbox.resume(run).succeeds();
        assert_eq!(sandbox.files(run), done, "{run}: only the end was missing");
    }
}

#[test]
fn settings_given_to_a_resumed_run_are_said_to_be_ignored() {
    let sandbox = Sandbox::trained().copy();
    let args = ["--resume", "--out", "run", "--threads", "1", "--epochs", "9", "--skip-bad"];
    let said = sandbox.run("train", &args).succeeds();
    said.tells(&["warning: --epochs --skip-bad ignored: the run goes on as run/config.json says"]);
    sandbox.same_results("run", "run");
}
