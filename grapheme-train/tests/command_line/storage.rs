//! Storage that fails while something is trained: a full disk, a folder that cannot be written or is taken away, two processes in one
//! folder, files from the future. No checkpoint is damaged, and the message says what to do.

#![cfg(unix)]

use crate::sandbox::{FIELDS, SMALL, Said, Sandbox, lines, two_epochs};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// A command under a limit on the size of files, in blocks of 512 bytes, which it meets as a full disk.
#[cfg(target_os = "linux")]
fn limited(sandbox: &Sandbox, blocks: usize, name: &str, args: &[&str]) -> Said {
    let command = sandbox.command(name, args);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args()).current_dir(sandbox.path(""));
    Said::of(&format!("{name} on a full disk"), shell.output().unwrap())
}

/// The model still fits, the state does not.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on_when_there_is_room() {
    let sandbox = Sandbox::trained().copy();
    let blocks = sandbox.files("run")["model.safetensors"].len() / 512 * 5 / 4;
    let limited = |args: &[&str]| limited(&sandbox, blocks, "train", args);
    let refused = ["full/state.safetensors", "what was there is intact"];
    // Before the first checkpoint, then with one.
    limited(&two_epochs(&["--out", "full"])).fails_with(&refused);
    assert!(!sandbox.path("full/state.safetensors").exists());
    sandbox.resume("full").succeeds();
    sandbox.same_results("run", "full");
    sandbox.kill_in_first_epoch("full");
    let before = sandbox.files("full")["state.safetensors"].clone();
    limited(&["--resume", "--out", "full"]).fails_with(&refused);
    assert_eq!(sandbox.files("full")["state.safetensors"], before);
    sandbox.resume("full").succeeds();
    sandbox.same_results("run", "full");

    // Answers that find no room.
    let mut infer = sandbox.command("infer", &["--run", "run", "a"]);
    let full = fs::File::options().write(true).open(Path::new("/dev/full")).unwrap();
    let said = Said::of("infer into a full disk", infer.stdout(full).output().unwrap());
    said.fails_with(&["standard output", "free some space"]);
}

/// The state still fits, the model does not.
#[cfg(target_os = "linux")]
#[test]
fn a_predictor_of_fields_and_a_benchmark_outlive_a_full_disk() {
    let sandbox = Sandbox::new();
    let fields = |out| [&FIELDS[..], &["--checkpoint-seconds", "0", "--out", out]].concat();
    sandbox.run("train_spectral", &fields("whole")).succeeds();
    let blocks = sandbox.files("whole")["state.safetensors"].len() / 512 * 2;
    let intact = "what was there is intact";
    limited(&sandbox, blocks, "train_spectral", &fields("full")).fails_with(&["full/model.safetensors", intact]);
    assert!(!sandbox.path("full/model.safetensors").exists());
    sandbox.run("train_spectral", &["--resume", "--json", "--out", "full"]).succeeds();
    sandbox.same_fields("whole", "full");

    let words = benchmark(&sandbox, "1");
    let run = sandbox.path("words").join("members-1-dropout-0.1-epochs-1-lane-4-preset-tiny-width-8").join("aaa-1");
    limited(&sandbox, 4, "benchmark_words", &words).fails_with(&["aaa-1/", intact]);
    assert!(run.join("config.json").exists() && !run.join("state.safetensors").exists());
    sandbox.run("benchmark_words", &words).succeeds().tells(&["1 of 1 done"]);
}

/// What `benchmark_words` is asked, with a language to learn.
fn benchmark<'a>(sandbox: &Sandbox, epochs: &'a str) -> Vec<&'a str> {
    fs::create_dir(sandbox.path("lists")).unwrap();
    for (split, rows) in [("train", 320), ("dev", 20)] {
        let rows: String = (0..rows).map(|i| format!("a{i}b\ta{i}\n")).collect();
        sandbox.write(&format!("lists/aaa_{split}.tsv"), &rows);
    }
    [&["--data=lists", "--out=words", "--epochs", epochs][..], &SMALL[1..]].concat()
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let sandbox = Sandbox::trained().copy();
    let words = benchmark(&sandbox, "1").into_iter().map(|arg| arg.replace("--out=words", "--out=run/inner"));
    let words: Vec<String> = words.collect();
    let lock = |mode| fs::set_permissions(sandbox.path("run"), fs::Permissions::from_mode(mode)).unwrap();
    lock(0o555);
    if fs::write(sandbox.path("run/probe"), "").is_ok() {
        println!("skipped: this user may write anywhere");
    } else {
        let cure = "change its permissions";
        sandbox.train(&["--out", "run/inner"]).fails_with(&["run/inner", cure]);
        sandbox.train(&["--out", "run", "--overwrite"]).fails_with(&["run/", cure]);
        sandbox
            .run("train_spectral", &[&FIELDS[..], &["--out", "run/inner"]].concat())
            .fails_with(&["run/inner", cure]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        sandbox.run("benchmark_words", &words).fails_with(&["run/inner", cure]);
        sandbox.run("infer", &["--run", "run", "a"]).succeeds();
    }
    lock(0o755);
}

/// Trainings that do not end by themselves, each with the log by which it is seen to have begun.
fn endless(sandbox: &Sandbox) -> [(&'static str, Vec<&str>, PathBuf); 3] {
    let often = ["--checkpoint-seconds", "0", "--out", "out"];
    let mut words = benchmark(sandbox, "100000");
    words[1] = "--out=out";
    let run = "out/members-1-dropout-0.1-epochs-100000-lane-4-preset-tiny-width-8/aaa-1";
    [
        ("train", [&SMALL[..], &["--epochs", "100000"], &often].concat(), sandbox.path("out/metrics.jsonl")),
        ("train_spectral", [&FIELDS[..], &["--passes", "10000"], &often].concat(), sandbox.path("out/metrics.jsonl")),
        ("benchmark_words", words, sandbox.path(run).join("metrics.jsonl")),
    ]
}

fn begin(sandbox: &Sandbox, name: &str, args: &[&str], log: &Path) -> Child {
    let mut child = sandbox.command(name, args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while lines(log) == 0 {
        assert!(child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(60), "{name} {args:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn a_folder_that_is_taken_away_ends_the_training_and_does_not_come_back() {
    let sandbox = Sandbox::new();
    for (name, args, log) in endless(&sandbox) {
        let child = begin(&sandbox, name, &args, &log);
        // What is being written may be in the way of taking it at once.
        while fs::rename(sandbox.path("out"), sandbox.path(&format!("away-{name}"))).is_err() {}
        let said = Said::of(name, child.wait_with_output().unwrap());
        said.fails_with(&["out", "its folder is missing or was removed: check the path"]);
        assert!(!sandbox.path("out").exists(), "{name}");
    }
}

#[test]
fn a_folder_is_trained_in_by_one_process_at_a_time() {
    let sandbox = Sandbox::new();
    for (name, args, log) in endless(&sandbox) {
        let mut child = begin(&sandbox, name, &args, &log);
        let uses = match name {
            "benchmark_words" => vec![args],
            _ => vec![vec!["--resume", "--out", "out"], [&args[..], &["--overwrite"]].concat()],
        };
        for args in uses {
            sandbox.run(name, &args).fails_with(&["out/", "another process is training in this folder; wait for it"]);
        }
        assert!(child.try_wait().unwrap().is_none(), "{name} was disturbed");
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}

/// A clock that was set back leaves files that are newer than now, one that was set forward files that seem very old.
#[test]
fn the_times_of_files_mean_nothing() {
    let sandbox = Sandbox::trained().copy();
    let century = Duration::from_secs(100 * 365 * 86_400);
    for time in [SystemTime::now() + century, SystemTime::UNIX_EPOCH] {
        let _ = fs::remove_dir_all(sandbox.path("killed"));
        sandbox.kill_in_first_epoch("killed");
        for name in sandbox.files("killed").keys() {
            let file = fs::File::options().append(true).open(sandbox.path("killed").join(name)).unwrap();
            file.set_modified(time).unwrap();
        }
        sandbox.run("dashboard", &["killed"]).succeeds();
        sandbox.resume("killed").succeeds();
        sandbox.same_results("run", "killed");
    }
}
