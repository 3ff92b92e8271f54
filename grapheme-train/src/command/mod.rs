//! The command line: one module for each command, and the table of all of them.
//!
//! They live in the library so that what they share is compiled once. A binary calls [`main`] with its name; the one command
//! `grapheme` has each as a subcommand ([`whole`]).

mod benchmark_words;
mod compare_estimators;
mod compare_optics;
mod dashboard;
mod distill;
mod doctor;
mod evaluate;
mod generate;
mod graph_distance;
mod infer;
mod interrupt;
mod lens;
mod node_field;
mod regression;
mod test_gradient_check;
mod test_gradient_descent;
mod train;
mod train_spectral;
mod train_with_threshold_tracking;

use crate::output::{conclude, shell_word, tell};
use anyhow::Result;
use clap::{ArgMatches, Command, Parser};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A command line that is parsed.
trait CommandLine: Parser {
    /// Does what it says; `matches` also tell which options were given and which are defaults.
    fn run(self, matches: &ArgMatches) -> Result<()>;
}

/// A command by its names.
pub struct Entry {
    /// The binary that does it.
    pub binary: &'static str,
    /// The words that do the same after `grapheme`: one, or a group and a member of it.
    pub words: &'static [&'static str],
    parser: fn() -> Command,
    run: fn(&ArgMatches) -> ExitCode,
}

const fn entry<C: CommandLine>(binary: &'static str, words: &'static [&'static str]) -> Entry {
    Entry { binary, words, parser: C::command, run: run::<C> }
}

fn run<C: CommandLine>(matches: &ArgMatches) -> ExitCode {
    match C::from_arg_matches(matches) {
        Ok(line) => conclude(line.run(matches)),
        Err(error) => error.exit(),
    }
}

/// All commands, in the order in which a newcomer meets them.
pub const ALL: [Entry; 17] = [
    entry::<train::Cli>("train", &["train"]),
    entry::<infer::Cli>("infer", &["infer"]),
    entry::<evaluate::Cli>("evaluate", &["evaluate"]),
    entry::<generate::Cli>("generate", &["generate"]),
    entry::<distill::Cli>("distill", &["distill"]),
    entry::<test_gradient_check::Cli>("test_gradient_check", &["check"]),
    entry::<test_gradient_descent::Cli>("test_gradient_descent", &["descend"]),
    entry::<train_with_threshold_tracking::Cli>("train_with_threshold_tracking", &["thresholds"]),
    entry::<graph_distance::Cli>("graph_distance", &["distance"]),
    entry::<train_spectral::Cli>("train_spectral", &["spectral"]),
    entry::<doctor::Cli>("doctor", &["doctor"]),
    entry::<dashboard::Cli>("dashboard", &["dashboard"]),
    entry::<lens::Cli>("lens", &["lens"]),
    entry::<compare_estimators::Cli>("compare_estimators", &["compare", "estimators"]),
    entry::<compare_optics::Cli>("compare_optics", &["compare", "optics"]),
    entry::<benchmark_words::Cli>("benchmark_words", &["benchmark"]),
    entry::<regression::Cli>("regression", &["regression"]),
];

/// What a binary of this name does: reads the command line and does what it says.
pub fn main(binary: &str) -> ExitCode {
    let Some(entry) = ALL.iter().find(|entry| entry.binary == binary) else {
        tell(&format!("error: no command is called {binary}"));
        return ExitCode::FAILURE;
    };
    (entry.run)(&(entry.parser)().name(entry.binary).get_matches())
}

/// All commands as subcommands of one, which has this name and version.
pub fn whole(name: &'static str, version: &'static str) -> Command {
    let mut whole = Command::new(name)
        .version(version)
        .about("Learned rewriting of graphs, with gradients that are proved, seen and shaped")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true);
    for entry in &ALL {
        let parser = |word: &'static str| (entry.parser)().name(word).version(version);
        whole = match *entry.words {
            [word] => whole.subcommand(parser(word)),
            [group, word] => match whole.find_subcommand(group).is_some() {
                true => whole.mut_subcommand(group, |group| group.subcommand(parser(word))),
                false => whole.subcommand(
                    Command::new(group)
                        .about("Compares ways of training on the same data, seeds and budget")
                        .subcommand_required(true)
                        .arg_required_else_help(true)
                        .subcommand(parser(word)),
                ),
            },
            _ => unreachable!("a command has one word or two"),
        };
    }
    whole
}

/// What to type for another command, in the way in which this one was called.
fn spoken(binary: &str) -> String {
    let own = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    spoken_after(&own, std::env::var_os("CARGO").is_some(), binary)
}

/// `own` is the path that this process was called by, through cargo or not.
fn spoken_after(own: &Path, through_cargo: bool, binary: &str) -> String {
    let words =
        || ALL.iter().find(|entry| entry.binary == binary).map_or_else(String::new, |entry| entry.words.join(" "));
    match (own.file_stem() == Some(OsStr::new("grapheme")), through_cargo) {
        (true, true) => format!("cargo run --bin grapheme -- {}", words()),
        (true, false) => format!("{} {}", shell_word(&own.to_string_lossy()), words()),
        (false, true) => format!("cargo run --bin {binary} --"),
        (false, false) => shell_word(&own.with_file_name(binary).to_string_lossy()),
    }
}

/// Does what `matches` of [`whole`] say, or nothing where they name none of [`ALL`].
pub fn run_subcommand(matches: &ArgMatches) -> Option<ExitCode> {
    ALL.iter().find_map(|entry| {
        let mut matches = matches;
        for word in entry.words {
            matches = matches.subcommand_matches(word)?;
        }
        Some((entry.run)(matches))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_line_is_sound_alone_and_as_a_subcommand() {
        ALL.iter().for_each(|entry| (entry.parser)().debug_assert());
        whole("grapheme", "1").debug_assert();
        for entry in &ALL {
            let help = (entry.parser)().render_long_help().to_string();
            assert!(help.contains("Examples:"), "{} has no examples in its help", entry.binary);
        }
    }

    #[test]
    fn another_command_is_named_as_this_one_was_called() {
        for (own, through_cargo, expected) in [
            ("target/debug/train", true, "cargo run --bin test_gradient_check --"),
            ("target/debug/grapheme", true, "cargo run --bin grapheme -- check"),
            ("grapheme", false, "grapheme check"),
            ("/opt/my tools/grapheme", false, "'/opt/my tools/grapheme' check"),
            ("target/release/train", false, "target/release/test_gradient_check"),
            ("train", false, "test_gradient_check"),
        ] {
            assert_eq!(spoken_after(Path::new(own), through_cargo, "test_gradient_check"), expected);
        }
    }

    #[test]
    fn every_subcommand_leads_to_its_own_command() {
        let whole = whole("grapheme", "1");
        for entry in &ALL {
            let parsed = entry.words.iter().fold(&whole, |command, word| command.find_subcommand(word).unwrap());
            assert_eq!(parsed.get_about(), (entry.parser)().get_about(), "{}", entry.binary);
        }
        assert_eq!(whole.get_subcommands().count(), ALL.len() - 1, "two share a group");
    }
}
