//! Commands in documents are understood by the programs, and print what the documents say that they print.

use crate::shell::{Block, blocks, commands, inline, joined};
use crate::{documents, read, root};
use clap::error::ErrorKind;
use grapheme_train::command::{ALL, whole};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `words` are for `grapheme`: of `cargo run --bin NAME -- ARGS`, of a binary by its path, or of `grapheme` itself. Nothing for
/// other programs.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Variables for one command.
    while words.first().is_some_and(|word| word.split_once('=').is_some_and(|(name, _)| name.to_uppercase() == name)) {
        words.remove(0);
    }
    let (program, rest) = match words[..] {
        ["cargo", "run", ..] => {
            let bin = words.iter().position(|word| *word == "--bin")?;
            let rest = words.iter().position(|word| *word == "--").map_or(&[][..], |end| &words[end + 1..]);
            (*words.get(bin + 1)?, rest)
        }
        [program, ..] => (program.rsplit('/').next()?, &words[1..]),
        [] => return None,
    };
    let mut known = vec!["grapheme"];
    if program != "grapheme" {
        known.extend(ALL.iter().find(|entry| entry.binary == program)?.words);
    }
    Some(known.iter().chain(rest).map(|&word| word.to_owned()).collect())
}

/// What the parser has against a command, or nothing.
fn complaint(arguments: &[String], may_be_a_part: bool) -> Option<String> {
    use clap::Command as Parser;
    // Those of the program alone, which this crate does not know.
    let parser = whole("grapheme", "1").subcommands(
        ["completions", "manual"].map(|name| Parser::new(name).arg(clap::Arg::new("argument").required(true))),
    );
    let error = parser.try_get_matches_from(arguments).err()?;
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let said = error.to_string();
    // A name in capitals stands for any value.
    let stands_for_any = |value: &str| value.chars().all(|c| c.is_ascii_uppercase());
    let value = said.split_once("invalid value '").and_then(|(_, rest)| rest.split('\'').next());
    let is_a_part = error.kind() == ErrorKind::MissingRequiredArgument
        || said.contains("none was supplied")
        || value.is_some_and(stands_for_any);
    let is_fine = is_help || is_a_part && may_be_a_part;
    (!is_fine).then_some(said)
}

#[test]
fn every_command_in_every_document_is_understood() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        for Block { language, lines, at } in blocks(&text) {
            let lines = match &language[..] {
                "sh" => joined(&lines),
                _ => lines.iter().filter_map(|line| Some(line.strip_prefix("$ ")?.to_owned())).collect(),
            };
            for arguments in lines.iter().flat_map(|line| commands(line)).filter_map(|words| arguments(&words)) {
                seen += 1;
                let complaint = complaint(&arguments, false);
                assert!(complaint.is_none(), "{document}:{at}: {}: {}", arguments.join(" "), complaint.unwrap());
            }
        }
        // In a sentence a command may be named by the option that it is about.
        for span in inline(&text).iter().filter(|span| span.contains(" -")) {
            for arguments in commands(span).iter().filter_map(|words| arguments(words)) {
                seen += 1;
                let complaint = complaint(&arguments, true);
                assert!(complaint.is_none(), "{document}: {span}: {}", complaint.unwrap());
            }
        }
    }
    assert!(seen > 60, "{seen}");
    let wrong = ["grapheme", "train", "--epoch", "3"].map(str::to_owned);
    assert!(complaint(&wrong, true).is_some_and(|complaint| complaint.contains("--epochs")));
}

/// Tests, examples and benchmarks that documents tell to run are there.
#[test]
fn what_cargo_is_told_to_run_exists() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        let lines =
            blocks(&text).into_iter().filter(|block| block.language == "sh").flat_map(|block| joined(&block.lines));
        for words in lines.chain(inline(&text)).flat_map(|line| commands(&line)) {
            let Some(start) = words.iter().position(|word| word == "cargo") else { continue };
            let after = |flag: &str| Some(&words[words[start..].iter().position(|word| word == flag)? + start + 1]);
            let Some(package) = after("-p") else { continue };
            for (flag, folder) in [("--test", "tests"), ("--example", "examples"), ("--bench", "benches")] {
                let Some(name) = after(flag) else { continue };
                let at = root().join(package).join(folder);
                let is_there = at.join(format!("{name}.rs")).is_file() || at.join(name).join("main.rs").is_file();
                assert!(is_there, "{document}: {} is not there", words.join(" "));
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "{seen}");
}

/// The folder in which documents say what they say: the project's data, and nothing else.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let generated = folder.path().join("data/generated");
    fs::create_dir_all(&generated).unwrap();
    for entry in fs::read_dir(root().join("data/generated")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, generated.join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// Runs a line of a document and gives what it prints. Binaries are those of this build, examples are cargo's.
fn run(line: &str, folder: &Path) -> String {
    let binaries = Path::new(env!("CARGO_BIN_EXE_train")).parent().unwrap();
    let cargo = format!("cargo run --quiet --manifest-path {}/Cargo.toml -p", root().display());
    let line = line.replace("cargo run -p", &cargo).replace(" -- ", " ");
    let line = line.replace("cargo run --bin ", &format!("{}/", binaries.display()));
    println!("{line}");
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &line]).current_dir(folder).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{line}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A line that changes a person's machine, opens a window, or runs all tests.
fn is_for_people(line: &str) -> bool {
    ["cargo test", "cargo install", "cargo doc", "grapheme ", "mkdir "].iter().any(|start| line.starts_with(start))
}

/// Runs the commands of a document in order, and compares what those that are shown with their output (`$ ...` in a block of
/// `console`) print with what stands there. Returns how many were compared.
fn check(document: &str, folder: &Path, wanted: impl Fn(&str) -> bool) -> usize {
    let mut compared = 0;
    for Block { language, lines, at } in blocks(&read(document)) {
        if language == "sh" {
            let lines = joined(&lines).into_iter().filter(|line| !is_for_people(line) && wanted(line));
            lines.for_each(|line| drop(run(&line, folder)));
        }
        if language == "console" {
            let Some((line, expected)) = lines[0].strip_prefix("$ ").zip(Some(lines[1..].join("\n"))) else {
                panic!("{document}:{at}: a console begins with a command");
            };
            if wanted(line) {
                let printed = run(line, folder);
                // Three dots stand for all that follows.
                match expected.strip_suffix("\n...") {
                    Some(start) => assert!(printed.starts_with(start), "{document}:{at}: {printed}"),
                    None => assert_eq!(printed.trim_end(), expected, "{document}:{at}"),
                }
                compared += 1;
            }
        }
    }
    compared
}

/// With `README=all` every command of the README, in order, and all that documents say of the model that it trains: six minutes, with
/// `$GRAPHEME_DATA`, on the kind of processor that the figures are from. Otherwise those that need neither training nor data.
#[test]
fn commands_print_what_the_documents_say() {
    let folder = folder();
    if std::env::var("README").is_ok_and(|value| value == "all") {
        assert!(std::env::var_os("GRAPHEME_DATA").is_some(), "README=all needs GRAPHEME_DATA");
        let compared = check("README.md", folder.path(), |_| true);
        let of_its_model = |line: &str| line.contains("--run runs/hun");
        let more: usize = documents()
            .iter()
            .filter(|document| document.starts_with("docs/"))
            .map(|document| check(document, folder.path(), |line| of_its_model(line) || is_cheap(line)))
            .sum();
        assert!(compared >= 3 && more >= 2, "{compared} and {more} blocks of output");
    } else {
        let compared: usize = documents().iter().map(|document| check(document, folder.path(), is_cheap)).sum();
        assert!(compared >= 2, "{compared} blocks of output");
    }
}

/// A second or two at most, from nothing.
fn is_cheap(line: &str) -> bool {
    ["graph_distance -- --text", "graph_distance -- --generate", "test_gradient_descent -- --seeds 1 "]
        .iter()
        .any(|command| line.contains(&format!("cargo run --bin {command}")))
}
