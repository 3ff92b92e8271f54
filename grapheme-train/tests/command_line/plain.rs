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

/// On a terminal, made by `script` of util-linux.
#[cfg(target_os = "linux")]
#[test]
fn no_color_is_honoured_on_a_terminal() {
    let sandbox = Sandbox::trained();
    let on_a_terminal = |arguments: &str, no_color: bool| {
        let train = sandbox.command("train", &[""; 0]);
        let line = format!("{} {arguments}", train.get_program().to_str().unwrap());
        let mut command = std::process::Command::new("script");
        command.args(["-q", "-c", &line, "/dev/null"]).current_dir(sandbox.path("")).env("TERM", "xterm-256color");
        if no_color {
            command.env("NO_COLOR", "1")
        } else {
            command.env_remove("NO_COLOR")
        };
        command.stdin(std::process::Stdio::null()).output().map(|output| String::from_utf8(output.stdout).unwrap())
    };
    // A sequence that sets the look of what follows.
    let has_colours = |text: &str| {
        let mut rest = text.split("\u{1b}[").skip(1);
        rest.any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
    };
    let Ok(coloured) = on_a_terminal("--no-such-flag", false) else {
        return println!("skipped: there is no script");
    };
    assert!(has_colours(&coloured), "this is no test of a terminal: {coloured:?}");
    for arguments in ["--no-such-flag", "--help", "--data=data --preset=tiny --width=8 --epochs=1 --dry-run"] {
        let said = on_a_terminal(arguments, true).unwrap();
        assert!(!said.is_empty() && !has_colours(&said), "{arguments}: {said:?}");
    }
}
