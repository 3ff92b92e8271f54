//! The page in a real browser, where one is installed.

use crate::sandbox::Sandbox;
use std::fs;
use std::process::{Command, Stdio};

/// Names under which Chromium is installed.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

#[test]
fn the_page_opens_in_a_browser_without_errors() {
    let answers = |name: &&&str| {
        let asked = Command::new(**name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    let Some(browser) = BROWSERS.iter().find(answers) else {
        eprintln!("skipped: no Chromium is installed");
        return;
    };
    let sandbox = Sandbox::new();
    sandbox.write("optics.json", "{}");
    sandbox.train(&["--optics", "optics.json", "--out", "run"]).succeeds();
    sandbox.run("dashboard", &["run"]).succeeds();
    let page = format!("file://{}", sandbox.path("run/report.html").display());
    let picture = sandbox.path("page.png");
    for width in ["1200,1600", "400,1600"] {
        let mut command = Command::new(browser);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"]);
        command.args(["--dump-dom", &format!("--window-size={width}"), &page]);
        let output = command.output().unwrap();
        let (page, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(page.contains("data-ready=\"yes\""), "the script did not come to its end: {log}");
        assert!(!log.contains("CONSOLE"), "{log}");
        for element in ["<canvas", "<select", "type=\"search\"", "class=\"flow\"", "Diagnosis"] {
            assert!(page.contains(element), "{element} is not there");
        }
    }
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,2400"]);
    command.args([&format!("--screenshot={}", picture.display()), &page]);
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert!(fs::metadata(picture).unwrap().len() > 10_000);
}
