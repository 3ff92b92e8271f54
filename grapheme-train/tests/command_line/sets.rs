//! Several models in one run folder, and what is made with them.

use crate::sandbox::{Sandbox, lines};
use grapheme_train::data::{Loader, TargetUnits};
use grapheme_train::transducer::read_config;
use std::fs;

const MEMBERS: [&str; 3] = ["member-1", "member-2", "member-3"];

/// Words of two letters a sound, so that targets are tokens and can be decomposed.
fn tokens(sandbox: &Sandbox) {
    let row = |i: usize| {
        let letter = |k: usize| ["a", "e", "s", "t", "k"][(i / 5usize.pow(k as u32)) % 5];
        let sound = |k: usize| ["a\u{2d0}", "e\u{2d0}", "t\u{361}s", "t\u{2b0}", "k"][(i / 5usize.pow(k as u32)) % 5];
        let join = |part: &dyn Fn(usize) -> &'static str, with| (0..4).map(part).collect::<Vec<_>>().join(with);
        format!("{}\t{}\n", join(&letter, ""), join(&sound, " "))
    };
    sandbox.write("train.tsv", (0..320).map(row).collect::<String>());
    sandbox.write("dev.tsv", (320..360).map(row).collect::<String>());
}

const SET: [&str; 13] = [
    "--train",
    "train.tsv",
    "--dev",
    "dev.tsv",
    "--preset",
    "tiny",
    "--width",
    "8",
    "--rate",
    "0.03",
    "--epochs",
    "3",
    "--members=3",
];

fn set(sandbox: &Sandbox, out: &str) {
    sandbox.run("train", &[&SET[..], &["--out", out]].concat()).succeeds();
}

#[test]
fn a_set_is_trained_used_taught_from_and_resumed() {
    let sandbox = Sandbox::new();
    tokens(&sandbox);
    set(&sandbox, "run");

    // Three different kinds, the last with tokens decomposed.
    let units = MEMBERS.map(|member| {
        let run = grapheme_train::run::RunFolder::open(sandbox.path("run").join(member)).unwrap();
        read_config(&run).unwrap().model.units
    });
    assert_eq!(units, [TargetUnits::Tokens, TargetUnits::Tokens, TargetUnits::Parts]);

    // Used as one: sure of what it learned, and n-best lists fall in probability.
    let said = sandbox.run("evaluate", &["--run", "run", "--data", "dev.tsv", "--json"]).succeeds();
    let figures: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert!(figures["wer"].as_f64().unwrap() < 50.0 && figures["ece"].is_number(), "{}", said.stdout);
    let said = sandbox.infer(&["--nbest", "5", "--scores"], "sakt\nε7🙂\n\n".as_bytes()).succeeds();
    for (word, rows) in ["sakt", "ε7🙂", ""]
        .iter()
        .zip(said.stdout.lines().collect::<Vec<_>>().chunk_by(|a, b| a.split('\t').next() == b.split('\t').next()))
    {
        let mut before = f64::INFINITY;
        let mut total = 0.0;
        for row in rows {
            let columns: Vec<&str> = row.split('\t').collect();
            let (confidence, log): (f64, f64) = (columns[2].parse().unwrap(), columns[3].parse().unwrap());
            assert!(columns[0] == *word && log <= before && (0.0..=1.0).contains(&confidence), "{row}");
            (before, total) = (log, total + confidence);
        }
        assert!(rows.len() <= 5 && total < 1.001, "{word}: {rows:?}");
    }

    // A teacher: its examples first, then new words, each once.
    let distill = |out: &str| {
        sandbox
            .run("distill", &["--teacher", "run", "--train", "train.tsv", "--out", out, "--share", "0.5"])
            .succeeds();
        fs::read_to_string(sandbox.path(out)).unwrap()
    };
    let student = distill("student.tsv");
    assert!(student.starts_with(&fs::read_to_string(sandbox.path("train.tsv")).unwrap()));
    assert_eq!(student, distill("again.tsv"));
    let split = Loader::default().file(sandbox.path("student.tsv")).unwrap();
    let mut inputs: Vec<&str> = split.examples().iter().map(|example| example.input.as_str()).collect();
    assert!(inputs.len() > 330, "{} examples", inputs.len());
    inputs.sort_unstable();
    assert!(inputs.windows(2).all(|pair| pair[0] != pair[1]));

    // Killed in its second member, and resumed.
    let metrics = sandbox.path("cut/member-2/metrics.jsonl");
    sandbox.kill_when("train", &[&SET[..], &["--out", "cut"]].concat(), |_| lines(&metrics) >= 5);
    sandbox.run("evaluate", &["--run", "cut", "--data", "dev.tsv"]).fails_with(&[
        "cut/member-",
        "not trained yet",
        "--resume",
    ]);
    sandbox.resume("cut").succeeds();
    for member in MEMBERS {
        sandbox.same_results(&format!("run/{member}"), &format!("cut/{member}"));
    }
    let [whole, resumed] = ["run", "cut"].map(|run| fs::read(sandbox.path(run).join("calibration.json")).unwrap());
    assert_eq!(whole, resumed);
    sandbox.write("cut/calibration.json", "{\"temperature\": -1}");
    sandbox.run("infer", &["--run", "cut", "sakt"]).fails_with(&[
        "cut/calibration.json",
        "temperature of -1",
        "delete",
    ]);
}

#[test]
fn a_set_in_the_way_is_refused_and_replaced_only_on_request() {
    let sandbox = Sandbox::new();
    let train = |args: &[&'static str]| sandbox.train(&[&["--out", "run"], args].concat());
    train(&["--members", "2"]).succeeds();
    train(&["--members", "2"]).fails_with(&["already holds a run", "--resume", "--overwrite"]);
    train(&[]).fails_with(&["already holds a run"]);
    train(&["--overwrite"]).succeeds();
    assert!(sandbox.path("run/model.safetensors").exists() && !sandbox.path("run/member-1/config.json").exists());
    sandbox.run("infer", &["--run", "run", "abc"]).succeeds();
}
