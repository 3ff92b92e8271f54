//! Trains a model from pairs of texts.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("train")
}
