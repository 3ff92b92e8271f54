//! All commands as one: `grapheme train`, `grapheme infer`, ..., and what a shell and `man` want to know of them.

use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use clap_complete::Shell;
use grapheme_train::command::{run_subcommand, whole};
use grapheme_train::file::FileError;
use grapheme_train::output::{conclude, print};
use std::path::PathBuf;
use std::process::ExitCode;

/// Completions of words for a shell, on standard output
#[derive(Args)]
#[command(after_help = "Examples:\n  grapheme completions bash > ~/.local/share/bash-completion/completions/grapheme")]
struct Completions {
    /// The shell
    shell: Shell,
}

/// Pages of the manual, one for each command
#[derive(Args)]
#[command(after_help = "Examples:\n  grapheme manual ~/.cargo/share/man/man1 && man grapheme-train")]
struct Manual {
    /// Folder for the pages, which is made if it is missing; pages of the same names are replaced
    folder: PathBuf,
}

fn main() -> ExitCode {
    let matches = grapheme().get_matches();
    run_subcommand(&matches).unwrap_or_else(|| conclude(describe(&matches)))
}

fn grapheme() -> Command {
    whole("grapheme", env!("GRAPHEME_VERSION"))
        .subcommand(Completions::augment_args(Command::new("completions")))
        .subcommand(Manual::augment_args(Command::new("manual")))
}

/// What is asked about the commands themselves.
fn describe(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("completions", matches)) => {
            let mut script = Vec::new();
            let Completions { shell } = Completions::from_arg_matches(matches)?;
            clap_complete::generate(shell, &mut grapheme(), "grapheme", &mut script);
            print(&String::from_utf8(script).context("completions are text")?)?;
        }
        Some(("manual", matches)) => {
            let Manual { folder } = Manual::from_arg_matches(matches)?;
            std::fs::create_dir_all(&folder).map_err(FileError::of("create", &folder))?;
            clap_mangen::generate_to(grapheme(), &folder).map_err(FileError::of("write", &folder))?;
        }
        _ => unreachable!("a subcommand is required, and these are all"),
    }
    Ok(())
}
