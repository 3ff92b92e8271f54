//! Trains and scores one model, or a set, for every language of a folder.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("benchmark_words")
}
