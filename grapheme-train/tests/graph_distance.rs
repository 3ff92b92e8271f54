//! `graph_distance` from outside: real molecules, the three formats, the picture, and bad input.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::tempdir;

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_graph_distance")).current_dir(folder).args(args).output().unwrap()
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let output = run(folder, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn real_molecules_exact_within_the_bounds_asked_for_and_never_below() {
    let Some(root) = std::env::var_os("GRAPHEME_DATA") else {
        println!("skipped: GRAPHEME_DATA is not set");
        return;
    };
    let path = Path::new(&root).join("ged/aids_dev.jsonl");
    if !path.is_file() {
        println!("skipped: no {}", path.display());
        return;
    }
    let folder = tempdir().unwrap();
    let path = fs::canonicalize(path).unwrap();
    let figures = |method: &str| {
        let figures = json(folder.path(), &["--pairs", path.to_str().unwrap(), "--method", method, "--json"]);
        assert_eq!((&figures["n"], &figures["below"]), (&1000.into(), &0.into()), "{method}");
        ["mae", "exact_share", "spearman", "kendall"].map(|name| figures[name].as_f64().unwrap())
    };
    assert_eq!(figures("exact"), [0.0, 1.0, 1.0, 1.0]);
    let [mae, share, spearman, kendall] = figures("sinkhorn");
    assert!(mae <= 0.01 && share >= 0.99 && spearman > 0.999 && kendall > 0.99, "{mae} {share} {spearman} {kendall}");
    let [mae, share, ..] = figures("bipartite");
    assert!(mae > 5.0 && share < 0.1, "the published figures are about 7.5 and 2%, here {mae} and {share}");
}

#[test]
fn three_formats_one_distance_and_a_picture() {
    let folder = tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.json", r#"{"labels":["C","C","O"],"edges":[[0,1],[1,2]]}"#);
    write("b.dot", "graph { x [label=C]; y [label=N]; x -- y }");
    let found = json(folder.path(), &["a.json", "b.dot", "--method", "exact", "--picture", "both.svg", "--json"]);
    assert_eq!(found["distance"], 3);
    assert_eq!(found["edits"].as_array().unwrap().len(), 3);
    assert!(fs::read_to_string(folder.path().join("both.svg")).unwrap().starts_with("<svg"));
    write("word.txt", "kitten\n");
    write("word.json", r#"{"labels":["s","i","t"],"edges":[[0,1],[1,2]],"directed":true}"#);
    let found = json(folder.path(), &["word.txt", "word.json", "--json"]);
    let text = json(folder.path(), &["--text", "kitten", "sit", "--json"]);
    assert_eq!(found["distance"], text["distance"]);
    let said = run(folder.path(), &["--text", "gyöngy", "gyöngy"]);
    assert!(
        String::from_utf8(said.stdout).unwrap().starts_with("distance at most 0\nmatching\n  0 \"g\" -> 0 \"g\"\n")
    );
}

#[test]
fn generated_pairs_are_the_same_for_a_seed_and_their_figures_for_any_threads() {
    let folder = tempdir().unwrap();
    for kind in ["sparse", "text", "planted"] {
        let generate = ["--generate", kind, "--count", "12", "--nodes", "12", "--edits", "3", "--seed", "5"];
        let pairs = run(folder.path(), &generate).stdout;
        assert_eq!(pairs, run(folder.path(), &generate).stdout);
        fs::write(folder.path().join("pairs.jsonl"), pairs).unwrap();
        let figures = |threads: &str| {
            let mut figures =
                json(folder.path(), &["--pairs", "pairs.jsonl", "--truth", "--json", "--threads", threads]);
            for time in ["ms_per_pair", "ms_median", "ms_worst"] {
                assert!(figures.as_object_mut().unwrap().remove(time).unwrap().is_number());
            }
            figures
        };
        let one = figures("1");
        assert_eq!((&one["n"], &one["known"], &one["below"]), (&12.into(), &12.into(), &0.into()));
        assert_eq!(one, figures("2"));
    }
}

/// Figures are told, and that some of what the file says cannot be. Other wrong uses are among those of all commands.
#[test]
fn distances_above_what_was_found_fail() {
    let folder = tempdir().unwrap();
    let wrong = r#"{"a":{"labels":["C"],"edges":[]},"b":{"labels":["C"],"edges":[]},"ged":4}"#;
    fs::write(folder.path().join("wrong.jsonl"), wrong).unwrap();
    let output = run(folder.path(), &["--pairs", "wrong.jsonl"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("1 distances are above what was found"), "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("below the truth  1"));
}
