//! The page in a real browser, where one is installed.

use crate::sandbox::Sandbox;
use std::fs;
use std::io::Write;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Names under which Chromium is installed.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// What both probes below begin with.
const TOOLS: &str = include_str!("probe_tools.js");

/// What is done to the page, and what must come of it.
const PROBE: &str = include_str!("probe.js");

/// The same for the page of a predictor of wave fields.
const FIELD_PROBE: &str = include_str!("probe_field.js");

/// Media that leave a figure in every part of the page.
const GLASS: &str = r#"{
    "layers": [{"diffusion": 0.1}],
    "gates": {"boundaries": [0, 3], "rate": 0.5, "every": 2}
}"#;

/// A browser without a profile of its own, without network and without screen.
fn browse(browser: &str, sandbox: &Sandbox, args: &[&str]) -> Output {
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]);
    command.args(["--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0"]);
    command.arg(format!("--user-data-dir={}", sandbox.path("profile").display())).args(args);
    command.output().unwrap()
}

/// A probe with its tools, once the page has drawn itself.
fn probing(probe: &str) -> String {
    format!("setTimeout(() => {{\n{TOOLS}{probe}\n}}, 300);")
}

/// The first browser that is there; none is said.
fn installed() -> Option<&'static str> {
    let answers = |name: &&str| {
        let asked = Command::new(name).arg("--version").output();
        asked.is_ok_and(|output| output.status.success())
    };
    let found = BROWSERS.into_iter().find(answers);
    if found.is_none() {
        eprintln!("skipped: no Chromium is installed");
    }
    found
}

#[test]
fn a_page_that_is_served_follows_the_run() {
    let Some(browser) = installed() else { return };
    let sandbox = Sandbox::trained().copy();
    let (mut server, address) = sandbox.serve("run");
    // A step is written whenever the browser may look again; its clock jumps from one look to the next.
    let ended = AtomicBool::new(false);
    let page = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut metrics = fs::OpenOptions::new().append(true).open(sandbox.path("run/metrics.jsonl")).unwrap();
            for step in (21..).take_while(|_| !ended.load(Ordering::Relaxed)) {
                let (name, rest) = (r#"{"event":"step","epoch":3"#, r#""learning_rate":0.1,"gradient_norm":1.0"#);
                writeln!(metrics, r#"{name},"step":{step},"loss":0.5,{rest},"graphemes":9}}"#).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let looks = "--virtual-time-budget=16000";
        let output = browse(browser, &sandbox, &[looks, "--dump-dom", &format!("http://{address}/")]);
        ended.store(true, Ordering::Relaxed);
        String::from_utf8(output.stdout).unwrap()
    });
    server.kill().unwrap();
    server.wait().unwrap();
    let after = |words: &str| -> u64 {
        let rest = page.split(words).nth(1).unwrap_or_else(|| panic!("no {words} in {page}"));
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let (first, last) = (after(r#"["steps",""#), after("<dt>steps</dt><dd>"));
    assert!(first < last, "it came with {first} steps and shows {last}");
}

#[test]
fn the_page_works_in_a_browser() {
    let Some(browser) = installed() else { return };
    let sandbox = Sandbox::new();
    sandbox.write("optics.json", GLASS);
    sandbox.train(&["--optics", "optics.json", "--out", "run"]).succeeds();
    sandbox.train(&["--out", "plain"]).succeeds();
    let dev = fs::read_to_string(sandbox.path("data/dev.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(dev.lines().last().unwrap()).unwrap();
    let asked = line["input"].as_str().unwrap();
    sandbox.run("dashboard", &["run", "--example", "no such input"]).fails_with(&["no such input", "dev.jsonl"]);
    sandbox.run("dashboard", &["run", "--beside", "plain", "--example", asked]).succeeds();
    let page = fs::read_to_string(sandbox.path("run/report.html")).unwrap();
    let probed = page.replace(
        "</body>",
        &format!("<script>document.body.dataset.asked = {};{}</script></body>", line["input"], probing(PROBE)),
    );
    sandbox.write("probed.html", probed);
    works(browser, &sandbox);
    is_drawn(browser, &sandbox);
}

#[test]
fn the_page_of_a_field_works_in_a_browser() {
    let sandbox = Sandbox::new();
    let small = ["--size", "12", "--frames", "60", "--test", "30", "--rollout", "0", "--pattern", "bifurcation"];
    sandbox.run("train_spectral", &[&small[..], &["--out", "run"]].concat()).succeeds();
    sandbox.run("dashboard", &["run"]).succeeds();
    let page = fs::read_to_string(sandbox.path("run/report.html")).unwrap();
    assert!(page.len() < 1 << 20 && page.contains(r#""kind":"spectral""#), "{} bytes", page.len());
    sandbox.train(&["--out", "words"]).succeeds();
    sandbox.run("dashboard", &["run", "--beside", "words"]).fails_with(&["--beside", "wave fields"]);
    let Some(browser) = installed() else { return };
    sandbox.write("probed.html", page.replace("</body>", &format!("<script>{}</script></body>", probing(FIELD_PROBE))));
    works(browser, &sandbox);
    is_drawn(browser, &sandbox);
}

/// Does to `probed.html` what its script does, in three kinds of window.
fn works(browser: &str, sandbox: &Sandbox) {
    // A window of a browser is at least 500 points wide; a frame in it can be narrower.
    for (width, scheme) in [(1200, 1), (400, 1), (400, 0)] {
        let listen = "onmessage = event => document.body.dataset.said = event.data";
        let frame = format!("<iframe src=\"probed.html\" style=\"width:{width}px;height:6000px;border:0\"></iframe>");
        sandbox.write("frame.html", format!("<!doctype html><body><script>{listen}</script>{frame}"));
        let address = format!("file://{}", sandbox.path("frame.html").display());
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let output = browse(browser, sandbox, &["--virtual-time-budget=20000", &scheme, "--dump-dom", &address]);
        let (page, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(page.contains("data-said=\"all is as it should be\""), "{width} points: {page}\n{log}");
        assert!(!log.contains("CONSOLE"), "{log}");
    }
}

/// Takes pictures of the page of `run`, by day and by night.
fn is_drawn(browser: &str, sandbox: &Sandbox) {
    let page = format!("file://{}", sandbox.path("run/report.html").display());
    let picture = |name: &str, scheme: &str| {
        let (to, scheme) = (sandbox.path(name), format!("--blink-settings=preferredColorScheme={scheme}"));
        let screenshot = format!("--screenshot={}", to.display());
        let output = browse(browser, sandbox, &["--window-size=1200,3000", &scheme, &screenshot, &page]);
        assert!(output.status.success());
        let mut reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(to).unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (1200, 3000));
        let bright = pixels.iter().filter(|&&channel| channel > 128).count() as f64 / pixels.len() as f64;
        (bright, pixels)
    };
    let ((light, day), (dark, night)) = (picture("light.png", "1"), picture("dark.png", "0"));
    assert!(light > 0.8 && dark < 0.5, "light {light}, dark {dark}");
    // There is something on it: paper alone is one colour.
    for pixels in [day, night] {
        let colours: std::collections::HashSet<&[u8]> = pixels.chunks(4).collect();
        assert!(colours.len() > 500, "{} colours", colours.len());
    }
}
