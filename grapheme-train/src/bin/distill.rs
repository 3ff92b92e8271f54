//! Writes training examples for a student: those of its teacher, and new words that the teacher has read.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("distill")
}
