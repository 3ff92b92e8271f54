//! Expressions as trees: `--graph tree`, and what other commands make of such a run.

use crate::sandbox::{Sandbox, two_epochs};

/// Sums of two digits, two lines that are no expressions, and levels of parentheses.
fn expressions(lines: usize) -> String {
    let line = |i: usize| match i % 40 {
        7 => "two words\tno\n".to_owned(),
        _ => format!("(+ {} (+ {} 1))\t{}\n", i % 9, i / 9 % 7, i % 9 + i / 9 % 7 + 1),
    };
    (0..lines).map(line).collect()
}

#[test]
fn a_run_on_trees_is_one_wherever_it_is_used() {
    let sandbox = Sandbox::new();
    sandbox.write("train.tsv", expressions(160));
    sandbox.write("dev.tsv", expressions(7));
    let files = ["--train", "train.tsv", "--dev", "dev.tsv", "--preset", "tiny", "--width", "8", "--epochs", "2"];
    let train = |args: &[&str]| sandbox.run("train", &[&files, args].concat()).succeeds();
    let first = "train.tsv: 4 of 160 inputs are no expressions and become paths (the first is in line 8: a second \
                 expression begins in column 5)";
    let trained = train(&["--graph", "tree", "--out", "run"]).tells(&[first]);
    assert!(!trained.stderr.contains("dev.tsv: "), "{}", trained.stderr);
    let config = String::from_utf8(sandbox.files("run")["config.json"].clone()).unwrap();
    assert!(config.contains("\"graph\": \"tree\""), "{config}");

    // A path of the same text has a node for each of its 13 code points and for its ends.
    let explained = sandbox.run("infer", &["--run", "run", "--explain", "(+ 2 (+ 3 1))", "two words", "(("]).succeeds();
    let nodes: Vec<&str> = explained
        .stdout
        .lines()
        .filter(|line| line.starts_with("  "))
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    let tree = ["node", "begin", "(", "+", "2", "(", "+", "3", "1", "end"];
    let path = ["node", "begin", "t", "w", "o", "␣", "w", "o", "r", "d", "s", "end"];
    assert_eq!(nodes[..tree.len()], tree, "{}", explained.stdout);
    assert_eq!(nodes[tree.len()..tree.len() + path.len()], path, "{}", explained.stdout);

    // White space says nothing in a tree, and much in a path.
    let read = |run: &str| {
        let args = ["--run", run, "--scores", "(+ 2 (+ 3 1))", " (+  2 (+ 3\u{A0}1) )"];
        let said = sandbox.run("infer", &args).succeeds().stdout;
        said.lines().map(|line| line.split_once('\t').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    let answers = read("run");
    assert_eq!(answers[0], answers[1]);
    train(&["--out", "paths"]);
    let answers = read("paths");
    assert_ne!(answers[0], answers[1]);

    sandbox.run("evaluate", &["--run", "run", "--data", "dev.tsv"]).succeeds();
    let config = String::from_utf8(sandbox.files("paths")["config.json"].clone()).unwrap();
    let older = config.replace("    \"graph\": \"path\",\n", "");
    assert_ne!(config, older);
    sandbox.write("paths/config.json", older);
    assert_eq!(read("paths"), answers, "a run from before there were trees");
}

#[test]
fn a_run_on_trees_goes_on_to_the_same_bits() {
    let sandbox = Sandbox::new();
    sandbox.write("train.tsv", expressions(160));
    sandbox.write("dev.tsv", expressions(7));
    let files = ["--train", "train.tsv", "--dev", "dev.tsv", "--graph", "tree", "--threads"];
    let small: Vec<&str> = two_epochs(&[]).into_iter().skip(1).collect();
    let args = |threads, out| [&small, &files[..], &[threads, "--out", out]].concat();
    sandbox.run("train", &args("1", "one")).succeeds();
    sandbox.run("train", &args("3", "three")).succeeds();
    sandbox.same_results("one", "three");
    let killed = [args("1", "killed"), vec!["--checkpoint-seconds", "0"]].concat();
    sandbox.kill_when("train", &killed, |sandbox| sandbox.path("killed/state.safetensors").exists());
    sandbox.resume("killed").succeeds();
    sandbox.same_results("one", "killed");
}
