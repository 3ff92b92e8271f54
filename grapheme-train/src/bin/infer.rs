//! Uses a trained model.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("infer")
}
