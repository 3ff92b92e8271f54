//! Follows the learned merge thresholds while three pairs are learned, and draws them.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("train_with_threshold_tracking")
}
