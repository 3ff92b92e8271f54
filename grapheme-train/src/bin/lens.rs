//! Traces rays through lenses with closed forms, checks the adjoint, and designs a lens by gradient descent.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("lens")
}
