//! Wrong uses: each ends with an exit code that is not 0 and a message that names file, line and cure, and leaves nothing
//! half-written. That none panics or dies of a signal is checked wherever a command is run.

use crate::sandbox::{SMALL, Said, Sandbox, two_epochs};
use std::fs;
use std::path::Path;

const GOOD: &str = "abc\tab\nxyz\txy\n";

/// Files of examples that cannot be used: name, bytes, further flags, what must be said.
#[test]
fn bad_examples_are_named_with_file_line_and_cure() {
    let long = ["abc\tab\n", &"x".repeat(1_000_000), "\ty\n"].concat();
    let vast = ["abc\tab\n", &"x".repeat(20_000), "\t", &"y".repeat(20_000), "\n"].concat();
    let many = "no tab\n".repeat(12);
    type Case<'a> = (&'a str, &'a [u8], &'a [&'a str], &'a [&'a str]);
    let cases: [Case; 17] = [
        ("empty.tsv", b"", &[], &["empty file", "give it at least one line"]),
        ("empty.jsonl", b"", &[], &["empty file", "give it at least one line"]),
        ("column.tsv", b"abc\tab\nxyz\n", &[], &[":2: one column", "put a tab between", "--skip-bad"]),
        ("columns.tsv", b"abc\tab\nx\ty\tz\n", &[], &[":2: 3 columns", "keep `input<TAB>target`"]),
        ("blank.tsv", b"abc\tab\n\nx\ty\n", &[], &[":2: blank line", "remove it"]),
        ("utf8.tsv", b"abc\tab\nx\xFFy\tz\n", &[], &[":2: byte 2 is 0xFF", "save the file as UTF-8"]),
        ("utf16.tsv", b"\xFF\xFEa\0\t\0b\0\n\0", &[], &[":1: byte 1 is 0xFF", "save the file as UTF-8"]),
        ("long.tsv", long.as_bytes(), &[], &[":2: 1000002 bytes on one line", "split the text"]),
        ("vast.tsv", vast.as_bytes(), &[], &[":2: aligning 20002 code points with 20000 units", "--window"]),
        ("json.jsonl", b"{\"input\":\"a\",\"target\":\"b\"}\n{\"inp", &[], &[":2: malformed JSON at column 5"]),
        ("key.jsonl", b"{\"input\":\"a\"}\n", &[], &[":1: key \"target\" is missing; add it"]),
        ("list.jsonl", b"[1]\n", &[], &[":1: found a list", "write {\"input\": ..."]),
        ("type.jsonl", b"{\"input\":\"a\",\"target\":7}\n", &[], &[":1: key \"target\" holds a number"]),
        ("token.tsv", b"a\tx y\nb\tx  y\n", &["--units", "tokens"], &[":2: token 2 of the target is empty"]),
        ("all.tsv", many.as_bytes(), &["--skip-bad"], &["no example left", "12 bad lines", ":10: one", "and 2 more"]),
        ("far.tsv", b"a\tbbbbbbbbbb\n", &["--slots", "2"], &["none of the 1 training", "at most 2 units", "--slots"]),
        ("far8.tsv", &[b"\t", &[b'b'; 99][..], b"\n"].concat(), &[], &["none of the 1 training", "at most 8 units"]),
    ];
    let sandbox = Sandbox::new();
    sandbox.write("good.tsv", GOOD);
    for (name, bytes, flags, words) in cases {
        sandbox.write(name, bytes);
        let command = ["--train", name, "--dev", "good.tsv", "--preset", "tiny", "--out", "out"];
        sandbox.run("train", &[&command, flags].concat()).fails_with(words).tells(&[name]);
        if !name.starts_with("far") {
            let command = ["--train", "good.tsv", "--dev", name, "--preset", "tiny", "--out", "out"];
            sandbox.run("train", &[&command, flags].concat()).fails_with(words).tells(&[name]);
        }
        assert!(!sandbox.path("out").exists(), "{name}: a run was begun");
    }
}

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

/// Paths and flags that cannot be used; none may leave a folder behind.
#[test]
fn wrong_uses_of_train_are_refused() {
    let sandbox = Sandbox::trained().copy();
    sandbox.write("file", "");
    let cases: [(&[&str], &[&str]); 27] = [
        (&["--train", "none.tsv", "--dev", "file"], &["none.tsv: no such file", "check the path"]),
        (&["--data", "none"], &["none: no such file", "check the path"]),
        (&["--data", "file"], &["file: is no folder", "--train and --dev"]),
        (&["--data", "run"], &["run: holds neither train.tsv nor train.jsonl"]),
        (&["--train", "data", "--dev", "file"], &["data: is a folder, a file was expected"]),
        (&["--train", "file"], &["--dev"]),
        (&["--data", "data", "--train", "file", "--dev", "file"], &["cannot be used with"]),
        (&["--data", "data", "--out", "file/run"], &["file", "choose another path"]),
        (&["--data", "data", "--out", "file"], &["file", "choose another path"]),
        (&["--data", "data", "--out", "run"], &["run already holds a run", "--resume", "--overwrite"]),
        (&["--data", "data", "--overwrite"], &["--out"]),
        (&["--data", "data", "--out", "x", "--resume", "--overwrite"], &["cannot be used with"]),
        (&["--resume"], &["--out"]),
        (&["--resume", "--out", "none"], &["none holds no run", "check the path"]),
        (&["--data", "data", "--epochs", "0"], &["--epochs", "1.."]),
        (&["--data", "data", "--minutes", "-1"], &["minutes = -1", "a positive number"]),
        (&["--data", "data", "--minutes", "nan"], &["minutes = NaN", "a positive number"]),
        (&["--data", "data", "--dropout", "1.5"], &["`dropout`: 1.5", "at least 0 and below 1"]),
        (&["--data", "data", "--rate", "nan"], &["peak = NaN", "a positive number"]),
        (&["--data", "data", "--clip", "0"], &["clip = 0", "a positive number"]),
        (&["--data", "data", "--slots", "0"], &["--slots", "1..=256"]),
        (&["--data", "data", "--width", "0"], &["`width`: 0 is out of range"]),
        (&["--data", "data", "--width", "1000000000000"], &["`width`: 1000000000000 is out of range"]),
        (&["--data", "data", "--width", "16384"], &["number of parameters", "lower width"]),
        (&["--data", "data", "--loss", "graph", "--estimator", "marginal"], &["--estimator pathwise", "--loss words"]),
        (&["--data", "data", "--threads", "100000"], &["--threads", "1024"]),
        (&["--data", "data", "--window", "-1"], &["-1"]),
    ];
    let before = sandbox.files("run");
    for (args, words) in cases {
        sandbox.run("train", args).fails_with(words);
        for left in ["none", "x", "runs"] {
            assert!(!sandbox.path(left).exists(), "{args:?} left {left} behind");
        }
        assert_eq!(sandbox.files("run"), before, "{args:?}");
    }
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
fn wrong_uses_of_a_trained_model_are_refused() {
    let sandbox = Sandbox::trained().copy();
    sandbox.write("file", "abc\tab\n");
    let evaluate = |more: &[&str]| sandbox.run("evaluate", &[&["--run", "run"], more].concat());
    sandbox.run("infer", &["--run", "none", "a"]).fails_with(&["none holds no run", "check the path"]);
    sandbox.run("infer", &["--run", "file", "a"]).fails_with(&["file", "a file is in the place of a folder"]);
    sandbox.run("infer", &["--run", "data", "a"]).fails_with(&["data holds no run"]);
    sandbox.run("infer", &["a"]).fails_with(&["--run"]);
    evaluate(&["--data", "none.tsv"]).fails_with(&["none.tsv: no such file", "check the path"]);
    evaluate(&["--data", "data"]).fails_with(&["data: is a folder, a file was expected"]);
    for (place, words) in [
        ("none/p.tsv", ["none/p.tsv", "check the path"]),
        ("file/p.tsv", ["file/p.tsv", "choose another path"]),
        ("data", ["data", "choose another path"]),
    ] {
        evaluate(&["--data", "file", "--predictions", place]).fails_with(&words);
    }
    // What was scored is said all the same.
    let said = evaluate(&["--data", "file", "--json", "--predictions", "none/p.tsv"]);
    assert!(said.stdout.contains("\"n\":1"), "{}", said.stdout);
    fs::remove_file(sandbox.path("run/model.safetensors")).unwrap();
    sandbox.run("infer", &["--run", "run", "a"]).fails_with(&["run/model.safetensors", "not trained yet, or deleted"]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::trained().copy();
    let lock = |mode| fs::set_permissions(sandbox.path("run"), fs::Permissions::from_mode(mode)).unwrap();
    lock(0o555);
    if fs::write(sandbox.path("run/probe"), "").is_ok() {
        println!("skipped: this user may write anywhere");
    } else {
        sandbox.train(&["--out", "run/inner"]).fails_with(&["run/inner", "change its permissions"]);
        sandbox.train(&["--out", "run", "--overwrite"]).fails_with(&["run/", "change its permissions"]);
        sandbox.run("infer", &["--run", "run", "a"]).succeeds();
    }
    lock(0o755);
}

/// A disk that is full, by a limit on the size of files: the model still fits, the state does not.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on_when_there_is_room() {
    let sandbox = Sandbox::trained().copy();
    let blocks = sandbox.files("run")["model.safetensors"].len() / 512 * 5 / 4;
    let limited = |args: &[&str]| {
        let script = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" \"$@\"");
        let mut command = std::process::Command::new("sh");
        let train = sandbox.command("train", args);
        command.args(["-c", &script]).arg(train.get_program()).args(train.get_args());
        Said::of("train on a full disk", command.current_dir(sandbox.path("")).output().unwrap())
    };
    // Before the first checkpoint, then with one.
    limited(&two_epochs(&["--out", "full"])).fails_with(&["full/state.safetensors", "what was there is intact"]);
    assert!(!sandbox.path("full/state.safetensors").exists());
    sandbox.resume("full").succeeds();
    sandbox.same_results("run", "full");
    sandbox.kill_in_first_epoch("full");
    let before = sandbox.files("full")["state.safetensors"].clone();
    limited(&["--resume", "--out", "full"]).fails_with(&["full/state.safetensors", "what was there is intact"]);
    assert_eq!(sandbox.files("full")["state.safetensors"], before);
    sandbox.resume("full").succeeds();
    sandbox.same_results("run", "full");

    // Answers that find no room.
    let mut infer = sandbox.command("infer", &["--run", "run", "a"]);
    let full = fs::File::options().write(true).open(Path::new("/dev/full")).unwrap();
    let said = Said::of("infer into a full disk", infer.stdout(full).output().unwrap());
    said.fails_with(&["standard output", "free some space"]);
}

#[test]
fn a_rate_that_destroys_the_model_is_refused_before_it_is_saved() {
    let sandbox = Sandbox::new();
    let args = [&SMALL[..], &["--epochs", "2", "--rate", "1e30", "--out", "out"]].concat();
    sandbox.run("train", &args).fails_with(&["not finite", "lower --rate"]);
    assert!(!sandbox.path("out/model.safetensors").exists());
}
