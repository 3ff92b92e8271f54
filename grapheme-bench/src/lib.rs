//! Benchmarks: how long things take. Nothing depends on this crate, and a newcomer can ignore it.
//!
//! [`kernels`] is the list of what is measured, each kernel with the work that it does. Two programs go through it:
//!
//! ```text
//! cargo bench -p grapheme-bench --bench kernels           # criterion: one kernel before and after a change
//! cargo run --release --bin bench_report                  # all of them against what this machine can do
//! ```
//!
//! [`machine`] measures what this machine can do, [`inputs`] and [`step`] make what kernels work on, [`growth`] follows time
//! and memory over the length of a text, [`peers`] compares with other programs that do the same, and [`table`] is what
//! `bench_report` prints. The benchmark `media` is about what gradient media cost.
//!
//! Whether results are still as good is another question: see the binary `regression` of `grapheme-train`.

pub mod clock;
pub mod growth;
pub mod inputs;
pub mod kernels;
pub mod machine;
pub mod peers;
pub mod step;
pub mod table;
