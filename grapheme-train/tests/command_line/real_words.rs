//! Real words, where the environment says they are: `GRAPHEME_DATA` names a folder with `g2p`.

use crate::sandbox::Sandbox;
use std::path::PathBuf;

#[test]
fn hungarian_pronunciation_is_learned_in_an_epoch_and_evaluated() {
    let Some(root) = std::env::var_os("GRAPHEME_DATA").map(PathBuf::from) else {
        println!("skipped: GRAPHEME_DATA is not set");
        return;
    };
    let file = |name: &str| root.join("g2p").join(name).into_os_string().into_string().expect("a path in UTF-8");
    let (train, dev) = (file("hun_train.tsv"), file("hun_dev.tsv"));
    let sandbox = Sandbox::new();
    let args = ["--train", &train, "--dev", &dev, "--preset", "tiny", "--epochs", "1", "--out", "run"];
    sandbox.run("train", &args).succeeds();
    let said = sandbox.run("evaluate", &["--run", "run", "--data", &dev, "--json"]).succeeds();
    let figures: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(figures["n"], 450);
    // One epoch of the smallest network gives 42; a model that learned nothing gives 100.
    let wer = figures["wer"].as_f64().unwrap();
    assert!(wer < 55.0, "word error rate {wer}");
}
