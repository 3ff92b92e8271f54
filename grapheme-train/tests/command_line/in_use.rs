//! A trained model in use: `infer` and `evaluate`, with whatever people feed them.

use crate::sandbox::{Said, Sandbox, two_epochs};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn every_line_is_answered_in_order() {
    let sandbox = Sandbox::trained();
    let words: Vec<String> = (0..5000).map(|i| format!("w{i}")).collect();
    let said = sandbox.infer(&["--threads", "2"], words.join("\n").as_bytes()).succeeds();
    let inputs: Vec<&str> = said.stdout.lines().map(|line| line.split_once('\t').expect("a tab").0).collect();
    assert_eq!(inputs, words);
    let alone = sandbox.infer(&["--threads", "1"], b"w4321\n").succeeds();
    assert_eq!(
        alone.stdout.trim_end_matches('\n'),
        said.stdout.lines().nth(4321).unwrap(),
        "the company of others shows"
    );
}

#[test]
fn strange_texts_are_answered() {
    let sandbox = Sandbox::trained();
    let strange = ["", "👨‍👩‍👧🇭🇺", "שלום עולם", "\u{301}\u{301}a", "각", "\u{0}", "-x", "a b  c ", "\u{FEFF}"];
    let said = sandbox.infer(&[], format!("x\n{}\r\n", strange.join("\n")).as_bytes()).succeeds();
    let inputs: Vec<&str> = said.stdout.lines().skip(1).map(|line| line.split_once('\t').unwrap().0).collect();
    assert_eq!(inputs, strange);
    for args in [&["--run", "run", "--explain", "", "👨‍👩‍👧"][..], &["--run", "run", "--explain", "--", "-x"]]
    {
        let said = sandbox.run("infer", args).succeeds();
        assert!(said.stdout.lines().any(|line| line.trim_start().starts_with("begin")), "{}", said.stdout);
    }
    assert_eq!(sandbox.infer(&[], b"").succeeds().stdout, "");
}

/// Whoever asks line by line and waits for each answer gets it.
#[test]
fn a_line_is_answered_while_the_next_is_still_to_come() {
    let sandbox = Sandbox::trained();
    let mut command = sandbox.command("infer", &["--run", "run"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (send, receive) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        BufReader::new(stdout).lines().for_each(|line| send.send(line.unwrap()).unwrap());
    });
    for word in ["one", "two"] {
        writeln!(stdin, "{word}").unwrap();
        let answer = receive.recv_timeout(Duration::from_secs(30)).expect("no answer until the input ends");
        assert!(answer.starts_with(&format!("{word}\t")), "{answer}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
}

/// Row n answers line n, whatever the lines are.
#[test]
fn lines_that_cannot_be_done_are_named_and_leave_a_row() {
    let sandbox = Sandbox::trained();
    let said = sandbox.infer(&[], b"one\ntwo\nthr\xFFee\nfour\n\xFE");
    let inputs: Vec<&str> = said.stdout.lines().map(|line| line.split_once('\t').expect("a tab").0).collect();
    assert_eq!(inputs, ["one", "two", "", "four", ""]);
    assert!(said.stdout.lines().filter(|line| *line == "\t").count() == 2, "{}", said.stdout);
    let first = ["standard input, line 3: byte 4 is 0xFF", "UTF-8", "line 5: byte 1 is 0xFE"];
    said.fails_with(&first).tells(&["2 of 5 lines could not be done"]);

    // Beyond what is read of a line, then beyond what a wide network can hold.
    let long = [vec![b'x'; 20 << 20], b"\nshort\n".to_vec()].concat();
    let said = sandbox.infer(&[], &long);
    assert!(said.stdout.starts_with("\t\nshort\t") && said.stdout.lines().count() == 2, "{}", said.stdout);
    said.fails_with(&["standard input, line 1", "20971520 bytes", "split the text", "1 of 2 lines"]);
    let wide = Sandbox::trained().copy();
    let data = ["--data=data", "--preset=tiny", "--epochs=1", "--width=64", "--batch=320", "--out=run", "--overwrite"];
    wide.run("train", &data).succeeds();
    let said = wide.infer(&[], &[b"short\n", &long[long.len() - 1_000_007..]].concat());
    assert!(said.stdout.starts_with("short\t") && said.stdout.lines().count() == 3, "{}", said.stdout);
    said.fails_with(&["standard input, line 2: 1000002 code points", "GB of memory", "split the text"]);
}

/// A text stays in its column and its row.
#[test]
fn tabs_and_line_ends_within_a_text_are_told_apart_from_those_between() {
    let sandbox = Sandbox::trained();
    let said = sandbox.infer(&[], b"a\tb\rc\n").succeeds();
    assert!(said.stdout.starts_with("a\\tb\\rc\t") && said.stdout.matches('\t').count() == 1, "{:?}", said.stdout);
    let said = sandbox.run("infer", &["--run", "run", "a\nb"]).succeeds();
    assert!(said.stdout.starts_with("a\\nb\t") && said.stdout.lines().count() == 1, "{:?}", said.stdout);
}

/// The most memory that a process had so far, in kilobytes.
#[cfg(target_os = "linux")]
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_input_takes_no_more_memory_than_a_short_one() {
    let sandbox = Sandbox::trained();
    let mut command = sandbox.command("infer", &["--run", "run", "--threads", "2"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    const WORDS: usize = 60_000;
    let writer = std::thread::spawn(move || {
        let words: String = (0..WORDS).map(|i| format!("word{i:06}\n")).collect();
        stdin.write_all(words.as_bytes()).unwrap();
    });
    let mut after = Vec::new();
    for (i, row) in BufReader::new(stdout).lines().enumerate() {
        assert!(row.unwrap().starts_with(&format!("word{i:06}\t")));
        if [WORDS / 6, WORDS - 5000].contains(&i) {
            after.push(peak(child.id()));
        }
    }
    assert!(child.wait().unwrap().success());
    writer.join().unwrap();
    // Forty-five thousand words more; to keep no more than their texts would take 2.4 MB.
    assert!(after[1] < after[0] + 1024, "{after:?} kB");
}

#[test]
fn whoever_stops_reading_has_heard_enough() {
    let sandbox = Sandbox::trained();
    let none: [&str; 0] = [];
    let evaluate = ["--run", "run", "--data", "data/dev.jsonl", "--json"];
    for (name, args) in [
        ("infer", ["--run", "run", "a", "b"].to_vec()),
        ("evaluate", evaluate.to_vec()),
        ("train", two_epochs(&["--dry-run"])),
    ] {
        let mut command = sandbox.command(name, &[&args[..], &none].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        Said::of(name, child.wait_with_output().unwrap()).succeeds();
    }
    // Endless input, of which only the first answer is read, and notes that nobody reads.
    let mut command = sandbox.command("infer", &["--run", "run"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let writer = std::thread::spawn(move || while stdin.write_all(b"word\n").is_ok() {});
    stdout.read_exact(&mut [0; 5]).unwrap();
    drop(stdout);
    Said::of("infer", child.wait_with_output().unwrap()).succeeds();
    writer.join().unwrap();
    let sandbox = sandbox.copy();
    let mut child = sandbox.command("train", &two_epochs(&["--out", "deaf"]));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    sandbox.same_results("run", "deaf");
}

#[test]
fn evaluation_as_json_is_one_line_of_figures_in_percent() {
    let sandbox = Sandbox::trained().copy();
    sandbox.write("strange.jsonl", "{\"input\":\"a\\tb\",\"target\":\"ÆØÅ\"}\n{\"input\":\"\",\"target\":\"\"}\n");
    for data in ["data/dev.jsonl", "strange.jsonl"] {
        let args = ["--run", "run", "--data", data, "--json", "--predictions", "predicted.tsv"];
        let said = sandbox.run("evaluate", &args).succeeds();
        assert_eq!((said.stdout.lines().count(), &said.stderr[..]), (1, ""));
        let figures: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&said.stdout).unwrap();
        let mut keys = vec!["ece", "exact", "f1", "n", "ter", "wer"];
        if data != "strange.jsonl" {
            keys.insert(3, "levels");
            assert_eq!((&figures["levels"][0]["level"], &figures["levels"][0]["n"]), (&0.into(), &figures["n"]));
        }
        assert_eq!(figures.keys().collect::<Vec<_>>(), keys);
        let figure = |name: &str| figures[name].as_f64().unwrap();
        assert_eq!(figure("exact") + figure("wer"), 100.0);
        assert!((0.0..=100.0).contains(&figure("ece")));
        let table = std::fs::read_to_string(sandbox.path("predicted.tsv")).unwrap();
        assert_eq!(table.lines().count() as f64, figure("n"));
        assert!(table.lines().all(|line| line.matches('\t').count() == 2), "{table}");
    }
    let said = sandbox.run("evaluate", &["--run", "run", "--data", "strange.jsonl"]).succeeds();
    assert!(said.stdout.contains("out of reach      1"), "{}", said.stdout);
}

#[test]
fn what_became_of_a_text_is_drawn_where_texts_are_named() {
    let sandbox = Sandbox::trained().copy();
    let said = sandbox.run("infer", &["--run", "run", "--explain-svg", "why.svg", "abc", "e\u{301}<"]).succeeds();
    assert_eq!(said.stdout.lines().count(), 2);
    let picture = std::fs::read_to_string(sandbox.path("why.svg")).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{picture}");
    assert_eq!(picture.matches("class=\"grapheme\"").count(), 3 + 2, "{picture}");
}

#[test]
fn what_generate_says_to_type_next_can_be_typed() {
    let sandbox = Sandbox::new();
    let args = ["pairs", "--task", "drop-last", "--train", "40", "--dev", "4", "--out", "a few"];
    let said =
        Said::of("generate", sandbox.command("generate", &args).env_remove("CARGO").output().unwrap()).succeeds();
    let next = said.stdout.lines().find_map(|line| line.strip_prefix("next: ")).unwrap();
    let line = format!("{next} --preset tiny --width 8 --dry-run");
    let output = std::process::Command::new("sh").args(["-c", &line]).current_dir(sandbox.path("")).output().unwrap();
    assert!(Said::of(&line, output).succeeds().stdout.contains("40 examples"), "{line}");
}

#[test]
fn an_error_report_is_written_beside_the_figures() {
    let sandbox = Sandbox::trained().copy();
    let args = ["--run", "run", "--data", "data/dev.jsonl", "--report", "errors.md"];
    let said = sandbox.run("evaluate", &args).succeeds();
    let report = std::fs::read_to_string(sandbox.path("errors.md")).unwrap();
    assert!(report.starts_with("# Errors of run on data/dev.jsonl\n"), "{report}");
    assert!(report.contains("\n20 examples, ") && report.contains("## By level"), "{report}");
    let exact = said.stdout.lines().find_map(|line| line.strip_prefix("exact ")).unwrap().trim();
    assert!(report.contains(&format!("{exact} exactly right")), "{exact}: {report}");
    assert!(said.stdout.contains(&format!("\nlevel 0           {exact} of 20 exact")), "{}", said.stdout);
}
