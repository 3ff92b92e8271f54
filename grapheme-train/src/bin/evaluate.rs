//! Scores a trained model on pairs of texts.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("evaluate")
}
