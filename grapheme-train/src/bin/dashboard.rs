//! Writes a run as one page, or shows it while it goes on.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("dashboard")
}
