//! Ctrl-C and its like: what is kept, what is said, and that the job goes on to the same bits.

#![cfg(unix)]

use crate::sandbox::{SMALL, Said, Sandbox, lines, two_epochs};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Starts a command, waits until `ready`, sends a signal, and waits for the end.
fn interrupt(sandbox: &Sandbox, name: &str, args: &[&str], signal: &str, ready: impl Fn() -> bool) -> Said {
    let mut command = sandbox.command(name, args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while !ready() && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "{args:?}: what was waited for never came");
        std::thread::sleep(Duration::from_micros(200));
    }
    // It may have come to its end, which is seen by its exit code.
    if child.try_wait().unwrap().is_none() {
        send(signal, &child);
    }
    Said::of(name, child.wait_with_output().unwrap())
}

/// In the first epoch, and in the second from there.
#[test]
fn a_training_that_is_interrupted_is_kept_and_resumes_to_the_same_bits() {
    let sandbox = Sandbox::trained().copy();
    let metrics = sandbox.path("cut/metrics.jsonl");
    // A busy machine may send too late.
    for _ in 0..20 {
        let _ = fs::remove_dir_all(sandbox.path("cut"));
        let first = interrupt(&sandbox, "train", &two_epochs(&["--out", "cut"]), "-INT", || lines(&metrics) >= 3);
        if first.code == Some(0) {
            continue;
        }
        let go_on = ["stopped by Ctrl-C: ", " steps are kept; go on with ", " --resume --out cut"];
        first.ends_with(130).tells(&go_on);
        assert!(sandbox.path("cut/state.safetensors").exists());
        let resume = ["--resume", "--out", "cut"];
        let second = interrupt(&sandbox, "train", &resume, "-TERM", || lines(&metrics) >= 15);
        if second.code == Some(0) {
            continue;
        }
        second.ends_with(143).tells(&["stopped by signal 15: ", " --resume --out cut"]);
        sandbox.resume("cut").succeeds();
        return sandbox.same_results("run", "cut");
    }
    panic!("never interrupted in time");
}

/// A step of seconds: the first signal waits for it, the second does not.
#[test]
fn a_second_signal_ends_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write("long.tsv", format!("{0}\t{0}\n", "x".repeat(3000)));
    let args = ["--train=long.tsv", "--dev=long.tsv", "--width=128", "--threads=1", "--epochs=9", "--out=run"];
    let mut command = sandbox.command("train", &args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while lines(&sandbox.path("run/metrics.jsonl")) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "{args:?} ended before its first step");
        std::thread::sleep(Duration::from_millis(1));
    }
    send("-INT", &child);
    std::thread::sleep(Duration::from_millis(50));
    send("-INT", &child);
    let said = Said::of("train", child.wait_with_output().unwrap()).ends_with(130);
    assert!(!said.stderr.contains("are kept") && !sandbox.path("run/state.safetensors").exists(), "{}", said.stderr);
}

#[test]
fn a_predictor_of_fields_that_is_interrupted_resumes_to_the_same_bits() {
    let sandbox = Sandbox::new();
    let small = ["--size", "12", "--frames", "60", "--test", "20", "--rollout", "0", "--json", "--out"];
    let ran = |out| sandbox.run("train_spectral", &[&small[..], &[out]].concat());
    ran("whole").succeeds();
    let metrics = sandbox.path("cut/metrics.jsonl");
    let args = [&small[..], &["cut", "--checkpoint-seconds", "1000"]].concat();
    let said = interrupt(&sandbox, "train_spectral", &args, "-INT", || lines(&metrics) >= 1);
    let said = said.ends_with(130).tells(&["stopped by Ctrl-C: ", " steps are kept", " --resume --out cut"]);
    assert_eq!(said.stdout, "");
    assert!(!sandbox.path("cut/model.safetensors").exists() && sandbox.path("cut/state.safetensors").exists());
    sandbox.run("train_spectral", &["--resume", "--json", "--out", "cut"]).succeeds();
    for name in ["model.safetensors", "metrics.jsonl", "events.json", "animation.png"] {
        let [whole, cut] = ["whole", "cut"].map(|run| fs::read(sandbox.path(run).join(name)).unwrap());
        assert!(whole == cut, "{name}");
    }
}

#[test]
fn languages_in_one_go_are_gone_on_with_by_the_same_command() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("lists")).unwrap();
    for (split, rows) in [("train", 320), ("dev", 20)] {
        let rows: String = (0..rows).map(|i| format!("a{i}b\ta{i}\n")).collect();
        ["aaa", "bbb"].iter().for_each(|name| sandbox.write(&format!("lists/{name}_{split}.tsv"), &rows));
    }
    let args = |out| [&["--data=lists", "--epochs=2", "--json", "--out", out][..], &SMALL[1..]].concat();
    sandbox.run("benchmark_words", &args("whole")).succeeds();
    let run = |out: &str, language: &str| {
        let settings = fs::read_dir(sandbox.path(out)).unwrap().map(|entry| entry.unwrap().path());
        settings.map(|path| path.join(format!("{language}-1"))).find(|path| path.is_dir())
    };
    let begun =
        || sandbox.path("cut").is_dir() && run("cut", "bbb").is_some_and(|at| lines(&at.join("metrics.jsonl")) > 2);
    let said = interrupt(&sandbox, "benchmark_words", &args("cut"), "-INT", begun);
    said.ends_with(130).tells(&["aaa, seed 1: WER", "1 of 2 done", "stopped by Ctrl-C", "the same command goes on"]);
    sandbox.run("benchmark_words", &args("cut")).succeeds();
    for language in ["aaa", "bbb"] {
        for name in ["model.safetensors", "metrics.jsonl", "calibration.json"] {
            let [whole, cut] = ["whole", "cut"].map(|out| fs::read(run(out, language).unwrap().join(name)).unwrap());
            assert!(whole == cut, "{language}: {name}");
        }
    }
}
