//! Compares the ways to take a gradient through a discrete morph, with an exact judge and in training.

/// Counts what each gradient takes.
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

fn main() -> std::process::ExitCode {
    grapheme_train::command::main("compare_estimators")
}
