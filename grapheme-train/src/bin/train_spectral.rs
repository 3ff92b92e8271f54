//! Trains the predictor of wave fields on one of them, scores it on frames that it never saw, and draws what it does.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("train_spectral")
}
