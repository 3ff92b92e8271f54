//! How many edits lead from one labelled graph to another.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("graph_distance")
}
