//! What is measured, and the work that it does.

mod align;
mod layers;
mod morph;
mod spectral;
mod text;
mod training;

pub(crate) use align::EPSILON;

use crate::clock::repeat;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What a kernel cannot do without: bytes that come from memory or go there, and additions and multiplications. Bytes that
/// are read twice count once, and so does every parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Bytes read and written.
    pub bytes: f64,
    /// Additions and multiplications of matrix products, or as many as the kernel's sums take.
    pub operations: f64,
}

/// Something that can be timed.
pub struct Kernel {
    /// What is counted: `graphemes`, `nodes`, `bytes`.
    pub unit: &'static str,
    /// How many of them one run goes through.
    pub amount: f64,
    /// The work of one run.
    pub work: Work,
    /// How long so many runs take, what they need beforehand not counted.
    pub time: Box<dyn FnMut(u64) -> Duration>,
}

/// A kernel that is yet to be made: some inputs are large.
pub struct Entry {
    /// Parts from coarse to fine, with slashes between: `sinkhorn/128/forward`.
    pub name: String,
    /// Makes the inputs.
    pub make: Box<dyn Fn() -> Kernel>,
}

impl Entry {
    fn new(name: impl Into<String>, make: impl Fn() -> Kernel + 'static) -> Self {
        Self { name: name.into(), make: Box::new(make) }
    }
}

impl Kernel {
    /// A kernel that reads the same inputs in every run.
    fn new<T>((unit, amount): (&'static str, usize), work: Work, mut run: impl FnMut() -> T + 'static) -> Self {
        Self { unit, amount: amount as f64, work, time: Box::new(move |runs| repeat(runs, &mut run)) }
    }

    /// A kernel that consumes what `prepare` makes; only `run` is timed, and not the drop of what it returns.
    fn prepared<I, T>(
        (unit, amount): (&'static str, usize),
        work: Work,
        mut prepare: impl FnMut() -> I + 'static,
        mut run: impl FnMut(I) -> T + 'static,
    ) -> Self {
        let time = move |runs| {
            let mut total = Duration::ZERO;
            for _ in 0..runs {
                let input = black_box(prepare());
                let started = Instant::now();
                let output = black_box(run(input));
                total += started.elapsed();
                drop(output);
            }
            total
        };
        Self { unit, amount: amount as f64, work, time: Box::new(time) }
    }
}

/// Every kernel, from text to a training step and use.
pub fn all() -> Vec<Entry> {
    [text::kernels(), layers::kernels(), morph::kernels(), align::kernels(), training::kernels(), spectral::kernels()]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<String> = all().into_iter().map(|entry| entry.name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
