//! Checks every derivative of the project against finite differences, and the check itself with planted faults.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("test_gradient_check")
}
