//! Generates text pairs: a mathematics curriculum and simple string tasks, every answer checked before it is written.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("generate")
}
