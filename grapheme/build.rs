//! Tells the program which commit it is made of, where that is known.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = std::env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    // The log of HEAD gets a line whenever HEAD leads elsewhere. A source that comes without its history has no commit.
    let known = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()).and_then(|log| {
        println!("cargo::rerun-if-changed={log}");
        git(&["rev-parse", "--short=10", "HEAD"])
    });
    let version = known.map_or_else(|| version.clone(), |commit| format!("{version} (commit {commit})"));
    println!("cargo::rustc-env=GRAPHEME_VERSION={version}");
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
