//! What is written into a pipe or a file has no control characters, and colours can be switched off. That a pipe gets none from any
//! command that a test runs is checked by `Said`.

use crate::sandbox::{COMMANDS, Said, Sandbox};

#[test]
fn help_and_refusals_of_every_command_are_plain_in_a_pipe() {
    let sandbox = Sandbox::trained();
    for (name, _) in COMMANDS {
        // Whoever wants colours in a pipe says so; a terminal that is none has no say in it.
        for (variable, value) in [("NO_COLOR", "1"), ("TERM", "xterm-256color")] {
            let ran = |arg: &str| {
                let mut command = sandbox.command(name, &[arg]);
                Said::of(name, command.env_remove("NO_COLOR").env(variable, value).output().unwrap())
            };
            assert!(ran("--help").succeeds().stdout.contains("Examples:"), "{name}");
            assert_eq!(ran("--no-such-flag").fails_with(&["--no-such-flag", "--help"]).stdout, "");
        }
    }
}

/// What a command writes to a terminal, made by `script` of util-linux.
#[cfg(target_os = "linux")]
fn on_a_terminal(sandbox: &Sandbox, name: &str, arguments: &str, no_color: bool) -> std::io::Result<String> {
    let program = sandbox.command(name, &[""; 0]);
    let line = format!("{} {arguments}", program.get_program().to_str().unwrap());
    let mut command = std::process::Command::new("script");
    command.args(["-q", "-c", &line, "/dev/null"]).current_dir(sandbox.path("")).env("TERM", "xterm-256color");
    if no_color {
        command.env("NO_COLOR", "1")
    } else {
        command.env_remove("NO_COLOR")
    };
    command.stdin(std::process::Stdio::null()).output().map(|output| String::from_utf8(output.stdout).unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn no_color_is_honoured_on_a_terminal() {
    let sandbox = Sandbox::trained();
    // A sequence that sets the look of what follows.
    let has_colours = |text: &str| {
        let mut rest = text.split("\u{1b}[").skip(1);
        rest.any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
    };
    let Ok(coloured) = on_a_terminal(sandbox, "train", "--no-such-flag", false) else {
        return println!("skipped: there is no script");
    };
    assert!(has_colours(&coloured), "this is no test of a terminal: {coloured:?}");
    for (name, arguments) in [
        ("train", "--no-such-flag"),
        ("train", "--help"),
        ("train", "--data=data --preset=tiny --width=8 --epochs=1 --dry-run"),
        ("evaluate", "--run run --data data/dev.jsonl"),
    ] {
        let said = on_a_terminal(sandbox, name, arguments, true).unwrap();
        assert!(!said.is_empty() && !has_colours(&said), "{arguments}: {said:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn who_gives_no_text_is_told_to_type_one() {
    match on_a_terminal(Sandbox::trained(), "infer", "--run run", false) {
        Ok(said) => assert!(said.contains("a text a line; Ctrl-D ends"), "{said:?}"),
        Err(_) => println!("skipped: there is no script"),
    }
}

/// So few parts that each is drawn; a bar leaves out some of those that follow each other at once.
#[cfg(target_os = "linux")]
#[test]
fn a_job_over_many_texts_shows_how_many_are_done() {
    let sandbox = Sandbox::trained().copy();
    sandbox.write("few.tsv", "ab\tab\nba\tba\nabba\tabba\n");
    for (name, arguments, parts) in [
        ("evaluate", "--run run --data few.tsv", "3 examples"),
        ("distill", "--teacher run --train few.tsv --out new.tsv --order 1", "6 words"),
    ] {
        let Ok(said) = on_a_terminal(&sandbox, name, arguments, false) else {
            return println!("skipped: there is no script");
        };
        // From the first part to the last, with an estimate; then the bar is wiped away.
        let bar = said.split('\r').map(str::trim_end).filter(|line| line.contains(parts) && line.ends_with(" left"));
        let counts: Vec<&str> = bar.filter_map(|line| line.split(['/', ' ']).nth(1)).collect();
        assert!(
            counts.len() > 2 && counts.is_sorted() && counts.last() == parts.split(' ').next().as_ref(),
            "{said:?}"
        );
        assert!(said.contains("\r\u{1b}[2K"), "{said:?}");
    }
}
