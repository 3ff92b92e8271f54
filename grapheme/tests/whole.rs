//! The one command does what the binaries do.

use grapheme_train::command::ALL;
use std::process::{Command, Output};

fn grapheme(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grapheme")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_command_has_its_place_and_a_version() {
    let said = grapheme(&["--version"]);
    let version = text(&said.stdout);
    assert!(version.starts_with("grapheme 0."), "{version}");
    for entry in &ALL {
        let help = grapheme(&[entry.words, &["--help"]].concat());
        assert!(help.status.success(), "{}", entry.binary);
        let usage = format!("Usage: grapheme {} ", entry.words.join(" "));
        assert!(text(&help.stdout).contains(&usage), "{usage} is not in\n{}", text(&help.stdout));
    }
}

#[test]
fn what_a_command_answers_and_how_it_ends_is_passed_on() {
    assert_eq!(grapheme(&[]).status.code(), Some(2));
    assert_eq!(grapheme(&["nothing"]).status.code(), Some(2));
    assert_eq!(grapheme(&["compare", "nothing"]).status.code(), Some(2));
    assert_eq!(grapheme(&["train", "--nothing"]).status.code(), Some(2));
    let missing = grapheme(&["infer", "--run", "no such run", "word"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).starts_with("error: ") && text(&missing.stderr).contains("no such run"));
    let good = grapheme(&["descend", "--seeds", "1", "--epochs", "5", "--long-epochs", "5", "--json"]);
    assert!(text(&good.stdout).starts_with('{'), "{}", text(&good.stderr));
}

#[test]
fn shells_and_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = grapheme(&["completions", shell]);
        assert!(script.status.success());
        for entry in &ALL {
            entry.words.iter().for_each(|word| assert!(text(&script.stdout).contains(word), "{shell}: {word}"));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert!(grapheme(&["manual", pages.to_str().unwrap()]).status.success());
    for entry in &ALL {
        let name = format!("grapheme-{}.1", entry.words.join("-"));
        let page = std::fs::read_to_string(pages.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains("Examples:"), "{name}");
    }
    std::fs::write(folder.path().join("file"), "").unwrap();
    let refused = grapheme(&["manual", folder.path().join("file").to_str().unwrap()]);
    assert!(refused.status.code() == Some(1) && text(&refused.stderr).contains("file"), "{}", text(&refused.stderr));
}
