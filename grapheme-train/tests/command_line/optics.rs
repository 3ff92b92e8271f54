//! Training through media, and what looks at it.

use crate::sandbox::{Sandbox, lines, two_epochs};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Media of every kind that a run of the sandbox can have.
const GLASS: &str = r#"{
    "layers": [
        {"transparency": {"from": 0.5, "to": 1, "steps": [1, 10]}, "diffusion": 0.1},
        {"fourier": [0.5, 1], "transparency": 0.5}
    ],
    "indices": [{"layers": [1, 1], "index": 1.2}],
    "gates": {"boundaries": [0, 1], "rate": 0.1, "every": 3}
}"#;

/// Guides that learn, with a phase.
const GUIDES: &str = r#"{
    "layers": [{"transparency": 0.9, "phase": 0.1}],
    "guides": [
        {"from": 1, "to": 0, "share": 0.3, "phase": 1, "learn": {"rate": 5, "every": 2}},
        {"from": 1, "to": 0, "share": 0.2}
    ]
}"#;

fn with_optics(sandbox: &Sandbox, json: &str, args: &[&str]) {
    sandbox.write("optics.json", json);
    sandbox.train(&[&["--optics", "optics.json"], args].concat()).succeeds();
}

#[test]
fn an_empty_file_only_watches() {
    let sandbox = Sandbox::new();
    sandbox.train(&["--out", "plain"]).succeeds();
    sandbox.train(&["--optics", "{}", "--out", "watched"]).succeeds();
    let model = |run: &str| fs::read(sandbox.path(run).join("model.safetensors")).unwrap();
    assert!(model("plain") == model("watched"), "weights differ");
    let metrics = fs::read_to_string(sandbox.path("watched/metrics.jsonl")).unwrap();
    let plain = fs::read_to_string(sandbox.path("plain/metrics.jsonl")).unwrap();
    let (told, rest): (Vec<&str>, Vec<&str>) = metrics.lines().partition(|line| line.contains("\"event\":\"optics\""));
    assert_eq!(told.len(), 20, "one line a step");
    assert_eq!(rest, plain.lines().collect::<Vec<_>>());
}

#[test]
fn media_give_the_same_bits_for_any_threads_and_through_a_kill() {
    same_bits(GLASS, &["\"gate\":", "\"diffused\":", "\"angle_mean\":"]);
    let metrics = same_bits(GUIDES, &["\"shares\":[0.3", "\"arrived\":", "\"quadrature\":"]);
    let last = metrics.lines().rev().find(|line| line.contains("\"event\":\"optics\"")).unwrap();
    assert!(last.contains("\"shares\":[0.") && !last.contains("\"shares\":[0.3,"), "a share that learns moves: {last}");
}

/// Two threads, and a kill, change nothing. Gives the metrics, in which these words stand.
fn same_bits(json: &str, words: &[&str]) -> String {
    let sandbox = Sandbox::new();
    with_optics(&sandbox, json, &["--out", "one", "--threads", "1"]);
    with_optics(&sandbox, json, &["--out", "two", "--threads", "2"]);
    sandbox.same_results("one", "two");
    let args = two_epochs(&["--optics", "optics.json", "--out", "killed", "--checkpoint-seconds", "0"]);
    sandbox.kill_when("train", &args, |sandbox| lines(&sandbox.path("killed/metrics.jsonl")) > 12);
    // The file may be gone: a run knows its media itself.
    fs::remove_file(sandbox.path("optics.json")).unwrap();
    sandbox.resume("killed").succeeds();
    sandbox.same_results("one", "killed");
    let metrics = fs::read_to_string(sandbox.path("one/metrics.jsonl")).unwrap();
    words.iter().for_each(|word| assert!(metrics.contains(word), "{word}"));
    metrics
}

#[test]
fn a_comparison_of_media_is_shown_again_and_drawn() {
    let sandbox = Sandbox::new();
    let args =
        ["--data=data", "--width=8", "--steps=12", "--batch=4", "--seeds=2", "--examples=40", "--only=adamw", "--json"];
    let said = sandbox.run("compare_optics", &args).succeeds();
    sandbox.write("all.json", &said.stdout);
    let shown = sandbox.run("compare_optics", &["--show", "all.json", "--picture", "all.svg"]).succeeds();
    let again = sandbox.run("compare_optics", &["--show", "all.json", "--json"]).succeeds();
    assert_eq!(again.stdout, said.stdout);
    // Later files count: what they hold stands once, in their version.
    let other = said.stdout.replacen("\"rate\":", "\"rate\":7", 1);
    sandbox.write("other.json", &other);
    let both = sandbox.run("compare_optics", &["--show", "all.json", "other.json", "--json"]).succeeds();
    assert_eq!(both.stdout, other);
    let svg = fs::read_to_string(sandbox.path("all.svg")).unwrap();
    let curves = svg.matches("<polyline").count();
    for way in ["adamw, clipped", "adamw, energy band", "adamw, glass"] {
        assert!(shown.stdout.contains(way) && svg.contains(way), "{way}");
    }
    // A curve of losses and one of energies for each way.
    assert!(svg.starts_with("<svg") && curves >= 6, "{curves} curves");

    sandbox.write("cut.json", &said.stdout[..said.stdout.len() / 2]);
    sandbox.run("compare_optics", &["--show", "cut.json"]).fails_with(&["cut.json", "line 1"]);
}

/// A rate at which the weights can write no target any more has no loss that could be the least.
#[test]
fn a_training_that_broke_is_not_the_best_of_a_comparison() {
    let sandbox = Sandbox::new();
    let args =
        ["--data=data", "--width=8", "--steps=12", "--batch=4", "--seeds=1", "--examples=40", "--only=sgd", "--json"];
    let said = sandbox.run("compare_optics", &args).succeeds();
    assert!(said.stderr.contains("rate 3: its loss is not finite"), "{}", said.stderr);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&said.stdout).unwrap();
    assert!(rows.iter().all(|row| row["loss"][0].as_f64().unwrap() > 0.0), "{}", said.stdout);
    assert!(rows[0]["rate"].as_f64().unwrap() < 3.0, "{}", rows[0]["rate"]);
}

#[test]
fn the_doctor_reads_to_the_last_whole_line() {
    let sandbox = Sandbox::trained().copy();
    with_optics(&sandbox, "{}", &["--out", "watched"]);
    let metrics = sandbox.path("watched/metrics.jsonl");
    let whole = fs::read(&metrics).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|&byte| byte == b'\n').unwrap();
    fs::write(&metrics, &whole[..last - 40]).unwrap();
    let said = sandbox.run("doctor", &["watched"]).succeeds();
    assert!(said.stdout.contains("stages.0.rounds.0") && said.stdout.contains("healthy"), "{}", said.stdout);
    let said = sandbox.run("doctor", &["watched", "--json"]).succeeds();
    assert!(said.stdout.starts_with("{\"healthy\":true") && said.stdout.lines().count() == 1, "{}", said.stdout);
    // The page does the same: cut in the middle, it shows the steps that stand there whole.
    fs::write(&metrics, &whole[..whole.len() / 2]).unwrap();
    let whole_lines = fs::read_to_string(&metrics).unwrap();
    let whole_lines = &whole_lines[..whole_lines.rfind('\n').unwrap()];
    let steps = whole_lines.lines().filter(|line| line.contains("\"event\":\"step\"")).count();
    assert!((5..20).contains(&steps), "{steps}");
    sandbox.run("dashboard", &["watched"]).succeeds();
    let page = fs::read_to_string(sandbox.path("watched/report.html")).unwrap();
    assert!(page.contains(&format!("[\"steps\",\"{steps}\"]")) && page.contains("\"watched\":true"));
    // And nothing at all, before the first line is whole.
    fs::write(&metrics, &whole[..20]).unwrap();
    sandbox.run("dashboard", &["watched"]).succeeds();
    // A gate that is all but closed at a boundary is found.
    with_optics(&sandbox, r#"{"layers": [{"boundaries": [1, 1], "transparency": 1e-4}]}"#, &["--out", "dim"]);
    let said = sandbox.run("doctor", &["dim"]).fails_with(&["1 complaint"]);
    assert!(said.stdout.contains("closed: the medium above stages.0.rounds.0"), "{}", said.stdout);
}

#[test]
fn the_page_holds_both_runs_and_the_server_nothing_else() {
    let sandbox = Sandbox::trained().copy();
    with_optics(&sandbox, GLASS, &["--out", "glass"]);
    let said = sandbox.run("dashboard", &["glass", "--beside", "run", "--json"]).succeeds();
    assert!(said.stdout.contains("report.html"));
    let page = fs::read_to_string(sandbox.path("glass/report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.len() < 8_000_000);
    for words in
        ["\"name\":\"glass\"", "\"name\":\"run\"", "\"watched\":false", "boundary 0", "stages.0.rounds.2", "<svg"]
    {
        assert!(page.contains(words), "{words} is not in the page");
    }
    // Nothing is asked of a network.
    let links = ["src=\"http", "href=\"http", "url(http", "import "];
    assert!(links.iter().all(|link| !page.contains(link)));

    let (mut child, address) = sandbox.serve("glass");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let ask_as = |host: &str, path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let ask = |path: &str| ask_as(&address, path);
    let (found, data) = (ask("/"), ask("/data.json"));
    let others = [
        "/config.json",
        "/../config.json",
        "/%2e%2e/config.json",
        "/data.json/../config.json",
        "/glass/config.json",
        "//etc/passwd",
        "/report.html/..",
        "config.json",
    ]
    .map(ask);
    let strangers = ["example.org", "127.0.0.1.example.org:80", ""].map(|host| ask_as(host, "/"));
    let local = ["localhost:80", "[::1]:80", "127.0.0.1"].map(|host| ask_as(host, "/data.json"));
    // The page follows the run: a step more is in the next answer.
    let metrics = sandbox.path("glass/metrics.jsonl");
    let step =
        r#"{"event":"step","epoch":3,"step":21,"loss":0.125,"learning_rate":0.1,"gradient_norm":1.0,"graphemes":9}"#;
    fs::write(&metrics, [fs::read_to_string(&metrics).unwrap().as_str(), step, "\n"].concat()).unwrap();
    let later = ask("/data.json");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        found.starts_with("HTTP/1.1 200") && found.contains("\"name\":\"glass\"") && found.contains("data-live=\"5\"")
    );
    assert!(data.starts_with("HTTP/1.1 200") && data.contains("\r\n\r\n{\"kind\":\"text\",\"runs\":[{"));
    assert!(data.contains("\"name\":\"glass\""));
    assert!(data.contains("[\"steps\",\"20\"]") && later.contains("[\"steps\",\"21\"]"), "it does not follow");
    assert!(strangers.iter().all(|answer| answer.starts_with("HTTP/1.1 403") && !answer.contains("glass")));
    assert!(local.iter().all(|answer| answer.starts_with("HTTP/1.1 200")));
    assert!(others.iter().all(|answer| answer.starts_with("HTTP/1.1 404")));
}
