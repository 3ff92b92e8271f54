//! Says what is wrong with the gradients of a run.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("doctor")
}
