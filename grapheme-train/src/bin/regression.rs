//! Compares what the project achieves with what it achieved: fixed seeds, generated data, a committed baseline.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("regression")
}
