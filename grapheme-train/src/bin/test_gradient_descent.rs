//! Plain gradient descent on three pairs, from many starts, with a control.

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("test_gradient_descent")
}
