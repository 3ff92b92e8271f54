//! Generates text pairs: a mathematics curriculum and simple string tasks, every answer checked before it is written.

use crate::command::{CommandLine, spoken};
use crate::data::generate::{Level, Notation, Overwrite, Pair, Plan, Task, Written};
use crate::output::{print, shell_word};
use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Parser, Subcommand, ValueEnum};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Generates training data with known answers.
///
/// Writes train.jsonl, dev.jsonl and test.jsonl, one {"id", "level", "input", "target"} a line. The files share no input,
/// and every answer was checked by another algorithm than the one that made it. Same options, same bytes. Without a
/// subcommand: the levels and the string tasks together, by default exactly the project's data/generated.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    mixed: Mixed,
}

const EXAMPLES: &str = "\
Examples:
  generate                                              reproduce data/generated
  generate curriculum --levels 5-7 --out data/calculus  derivatives, integrals, equations
  generate curriculum --levels 1 --train 20000 --out data/sums
  generate pairs --task drop-last --out data/drop-last  'abc' to 'ab'
  generate --seed 2 --out data/again                    everything, other examples";

#[derive(Subcommand)]
enum Command {
    /// Mathematics in prefix notation: (+ 2 3) to 5
    #[command(after_help = "Example:\n  generate curriculum --levels 1-3,7 --train 2000 --out data/numbers")]
    Curriculum {
        /// Levels such as 1-7 or 1,3,5-7: 1 operations, 2 nested, 3 bindings, 4 functions, 5 derivatives, 6 integrals,
        /// 7 linear equations
        #[arg(long, default_value = "1-7", value_parser = levels)]
        levels: Levels,
        #[command(flatten)]
        output: Output,
        #[arg(long, help = OUT_HELP)]
        out: PathBuf,
    },
    /// One string task without a prefix: abc to ab
    #[command(after_help = "Example:\n  generate pairs --task reverse --train 5000 --out data/reverse")]
    Pairs {
        /// What happens to the string
        #[arg(long)]
        task: TaskName,
        #[command(flatten)]
        output: Output,
        #[arg(long, help = OUT_HELP)]
        out: PathBuf,
    },
}

const OUT_HELP: &str = "The folder to write";

#[derive(Args)]
struct Mixed {
    #[command(flatten)]
    output: Output,
    /// The folder to write
    #[arg(long, default_value = "data/generated")]
    out: PathBuf,
}

#[derive(Args)]
struct Output {
    /// Same seed, same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Training examples of each level and task
    #[arg(long, default_value_t = 600)]
    train: usize,
    /// Development examples of each level and task
    #[arg(long, default_value_t = 60)]
    dev: usize,
    /// Test examples of each level and task
    #[arg(long, default_value_t = 60)]
    test: usize,
    /// Replace files that hold something else
    #[arg(long)]
    force: bool,
    /// Print one line of JSON about the files
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum TaskName {
    /// abc to ab
    DropLast,
    /// abc to bc
    DropFirst,
    /// abc to abcabc
    Double,
    /// abc to cba
    Reverse,
}

impl From<TaskName> for Pair {
    fn from(name: TaskName) -> Self {
        match name {
            TaskName::DropLast => Self::DropLast,
            TaskName::DropFirst => Self::DropFirst,
            TaskName::Double => Self::Double,
            TaskName::Reverse => Self::Reverse,
        }
    }
}

/// Levels in increasing order, each once.
#[derive(Clone)]
struct Levels(Vec<Level>);

/// Reads `1-3,7`.
fn levels(text: &str) -> Result<Levels, String> {
    let number = |part: &str| match part.trim().parse::<usize>() {
        Ok(number) if (1..=Level::ALL.len()).contains(&number) => Ok(number),
        _ => Err(format!("{part:?} is not a level; levels are 1 to {}, write 1-7 or 1,3,5-7", Level::ALL.len())),
    };
    let mut wanted = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{part:?} runs backwards; write the smaller level first"));
        }
        wanted.extend(&Level::ALL[first - 1..last]);
    }
    wanted.sort_unstable();
    wanted.dedup();
    Ok(Levels(wanted))
}

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        generate(self)
    }
}

fn generate(cli: Cli) -> Result<()> {
    let (tasks, output, out) = match cli.command {
        None => (Plan::default().tasks, cli.mixed.output, cli.mixed.out),
        Some(Command::Curriculum { levels, output, out }) => {
            (levels.0.into_iter().map(Task::Level).collect(), output, out)
        }
        Some(Command::Pairs { task, output, out }) => (vec![Task::Pair(task.into(), Notation::Plain)], output, out),
    };
    let plan = Plan { seed: output.seed, tasks, train: output.train, dev: output.dev, test: output.test };
    let overwrite = if output.force { Overwrite::Replace } else { Overwrite::Refuse };
    let made = plan.generate().with_context(|| format!("seed {}", plan.seed))?;
    let files = made.write(&out, overwrite)?;
    let mut said = String::new();
    if output.json {
        writeln!(said, "{}", serde_json::to_string(&files)?)?;
    } else {
        for Written { path, examples, bytes, changed } in &files {
            let done = if *changed { "wrote    " } else { "unchanged" };
            writeln!(said, "{done} {}  {examples} examples, {bytes} bytes", path.display())?;
        }
        if !made.train.is_empty() && !made.dev.is_empty() {
            writeln!(said, "next: {} --data {}", spoken("train"), shell_word(&out.to_string_lossy()))?;
        }
    }
    Ok(print(&said)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_its_defaults_are_the_plans() {
        Cli::command().debug_assert();
        let Mixed { output, out } = Cli::parse_from(["generate"]).mixed;
        let default = Plan::default();
        assert_eq!(
            (output.seed, output.train, output.dev, output.test),
            (default.seed, default.train, default.dev, default.test)
        );
        assert_eq!(out.to_str(), Some("data/generated"));
    }

    #[test]
    fn levels_are_read_as_people_write_them() {
        let numbers = |text| levels(text).map(|levels| levels.0.iter().map(|level| level.number()).collect::<Vec<_>>());
        assert_eq!(numbers("1-7"), Ok(vec![1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(numbers("5-7, 1,6"), Ok(vec![1, 5, 6, 7]));
        for wrong in ["", "0", "8", "1-", "3-1", "x", "1-9", "-1"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }
}
