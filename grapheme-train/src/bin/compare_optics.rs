//! The classic pipeline against gradient media, on the same data, seeds and budget.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("compare_optics")
}
