//! Generated data: a mathematics curriculum in prefix notation, and the pairs' family on strings of several scripts.
//!
//! A [`Plan`] says what to make; [`Plan::generate`] makes it, each example from its own random stream, and has each
//! answer accepted by a judge that shows the question and the answer, as texts, to another algorithm than the one that
//! made them: an evaluator instead of construction, dual numbers instead of coefficients, quadrature instead of the
//! antiderivative, substitution instead of solving, grapheme boundaries instead of lists.

mod arithmetic;
mod evaluate;
mod expr;
mod judge;
mod pairs;
mod polynomial;
mod rational;
mod symbolic;
mod write;

pub use write::{Overwrite, WriteError, Written};

use super::Example;
use grapheme_core::Stream;
use judge::Refusal;
use rand::RngExt;
use std::collections::BTreeSet;
use std::fmt::{self, Display};
use thiserror::Error;
use unicode_segmentation::UnicodeSegmentation;

/// A level of the mathematics curriculum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `(+ 2 3)` to `5`.
    Operation = 1,
    /// `(* 2 (- 3 5))` to `-4`.
    Nested,
    /// `(let ((x 3) (y 4)) (+ x y))` to `7`.
    Bindings,
    /// `(let ((f (lambda (x) (* x x)))) (f 5))` to `25`, `(max 3 (abs -5))` to `5`.
    Functions,
    /// `(diff (* x x) x)` to `(* 2 x)`.
    Derivative,
    /// `(int (* 3 (^ x 2)) x 0 2)` to `8`.
    Integral,
    /// `(solve (= (+ (* 3 x) 2) 11) x)` to `3`.
    Equation,
}

impl Level {
    /// All levels, the first one first.
    pub const ALL: [Self; 7] = [
        Self::Operation,
        Self::Nested,
        Self::Bindings,
        Self::Functions,
        Self::Derivative,
        Self::Integral,
        Self::Equation,
    ];

    /// The number that people call it by, from 1.
    pub fn number(self) -> u32 {
        self as u32
    }
}

/// A task of the pairs' family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pair {
    /// `abc` to `ab`.
    DropLast,
    /// `abc` to `bc`.
    DropFirst,
    /// `abc` to `abcabc`.
    Double,
    /// `abc` to `cba`.
    Reverse,
}

impl Pair {
    /// All tasks.
    pub const ALL: [Self; 4] = [Self::DropLast, Self::DropFirst, Self::Double, Self::Reverse];

    /// The name on the command line, in names of examples and in front of the text.
    pub fn name(self) -> &'static str {
        match self {
            Self::DropLast => "drop-last",
            Self::DropFirst => "drop-first",
            Self::Double => "double",
            Self::Reverse => "reverse",
        }
    }
}

/// Whether the input says what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// `abc`: for a file of one task.
    Plain,
    /// `(reverse abc)`: for files that hold several tasks.
    Prefix,
}

/// What an example asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Mathematics.
    Level(Level),
    /// Strings.
    Pair(Pair, Notation),
}

impl Task {
    /// The level as examples carry it; the pairs' family is level 0.
    pub fn level(self) -> u32 {
        match self {
            Self::Level(level) => level.number(),
            Self::Pair(..) => 0,
        }
    }

    /// The key of its random stream.
    fn key(self) -> u64 {
        match self {
            Self::Level(level) => level.number().into(),
            Self::Pair(pair, _) => 100 + pair as u64,
        }
    }

    /// One example; none if it did not turn out well.
    fn draw(self, stream: &mut Stream) -> Option<Draft> {
        match self {
            Self::Level(Level::Operation) => arithmetic::operation(stream),
            Self::Level(Level::Nested) => arithmetic::nested(stream),
            Self::Level(Level::Bindings) => arithmetic::bindings(stream),
            Self::Level(Level::Functions) => arithmetic::functions(stream),
            Self::Level(Level::Derivative) => symbolic::derivative(stream),
            Self::Level(Level::Integral) => symbolic::integral(stream),
            Self::Level(Level::Equation) => symbolic::equation(stream),
            Self::Pair(pair, notation) => {
                let (text, target) = pairs::draw(stream, pair);
                Some(match notation {
                    Notation::Plain => Draft::new(text, target),
                    Notation::Prefix => Draft::new(format!("({} {text})", pair.name()), target),
                })
            }
        }
    }
}

impl Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => write!(f, "level-{}", level.number()),
            Self::Pair(pair, _) => f.write_str(pair.name()),
        }
    }
}

/// What to generate: plain settings. The default is what the folder `data/generated` of the project holds.
///
/// ```
/// use grapheme_train::data::generate::{Level, Plan, Task};
///
/// let plan = Plan { tasks: vec![Task::Level(Level::Equation)], train: 3, dev: 1, test: 1, ..Plan::default() };
/// let made = plan.generate()?;
/// assert!(made.train[0].input.starts_with("(solve (= "));
/// # Ok::<(), grapheme_train::data::generate::GenerateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Same seed, same bytes.
    pub seed: u64,
    /// What the examples ask for; files are balanced over these.
    pub tasks: Vec<Task>,
    /// Training examples of each task.
    pub train: usize,
    /// Development examples of each task.
    pub dev: usize,
    /// Test examples of each task.
    pub test: usize,
}

impl Default for Plan {
    fn default() -> Self {
        let levels = Level::ALL.map(Task::Level);
        let pairs = Pair::ALL.map(|pair| Task::Pair(pair, Notation::Prefix));
        Self { seed: 1, tasks: [&levels[..], &pairs[..]].concat(), train: 600, dev: 60, test: 60 }
    }
}

/// Examples of three splits that share no input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// What a model learns from.
    pub train: Vec<Example>,
    /// What decides when to stop.
    pub dev: Vec<Example>,
    /// What is looked at once, at the end.
    pub test: Vec<Example>,
}

/// Why a plan could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The task has too few different inputs, or the plan is unlucky.
    #[error("{task}: found only {found} different inputs for {split}; ask for fewer examples")]
    Exhausted {
        /// The task.
        task: String,
        /// `train`, `dev` or `test`.
        split: &'static str,
        /// The number found.
        found: usize,
    },
    /// The judge does not accept an answer: a fault of the generator.
    #[error(
        "{task}: {input:?} to {target:?} is wrong, {reason}; nothing was written, please report this with the seed"
    )]
    Refuted {
        /// The task.
        task: String,
        /// The question.
        input: String,
        /// The answer that was made.
        target: String,
        /// What the judge says.
        reason: String,
    },
}

impl Plan {
    /// How often an example is drawn anew before its task counts as exhausted.
    const ATTEMPTS: usize = 1000;

    /// Makes the examples; all inputs differ. More training examples leave dev and test as they are, for the smaller
    /// splits are drawn first and every example has a stream of its own.
    ///
    /// # Errors
    /// [`GenerateError`]. Linear in the number of examples as long as inputs are not nearly exhausted.
    pub fn generate(&self) -> Result<Generated, GenerateError> {
        let mut inputs = BTreeSet::new();
        let mut split = |name, key, size| self.split(name, key, size, &mut inputs);
        let test = split("test", 2, self.test)?;
        let dev = split("dev", 1, self.dev)?;
        Ok(Generated { train: split("train", 0, self.train)?, dev, test })
    }

    fn split(
        &self,
        name: &'static str,
        key: u64,
        size: usize,
        inputs: &mut BTreeSet<String>,
    ) -> Result<Vec<Example>, GenerateError> {
        let root = Stream::new(self.seed);
        let mut examples = Vec::with_capacity(size * self.tasks.len());
        // Tasks alternate, so the start of a file is as balanced as the whole.
        for index in 0..size {
            for &task in &self.tasks {
                let mut stream = root.fork(task.key()).fork(key).fork(index as u64);
                let draft = (0..Self::ATTEMPTS).find_map(|_| accepted(task, &mut stream, inputs).transpose());
                let exhausted = || GenerateError::Exhausted { task: task.to_string(), split: name, found: index };
                let Draft { input, target } = draft.ok_or_else(exhausted)??;
                inputs.insert(input.clone());
                examples.push(Example {
                    id: Some(format!("{task}-{name}-{index}").into()),
                    level: Some(task.level()),
                    input,
                    target,
                });
            }
        }
        Ok(examples)
    }
}

/// One example that is new, within reach and judged right; none to try again.
fn accepted(task: Task, stream: &mut Stream, inputs: &BTreeSet<String>) -> Result<Option<Draft>, GenerateError> {
    let Some(draft) = task.draw(stream).filter(|draft| !inputs.contains(&draft.input) && draft.is_within_reach())
    else {
        return Ok(None);
    };
    match judge::check(task, &draft.input, &draft.target) {
        Ok(()) => Ok(Some(draft)),
        Err(Refusal::Overflow) => Ok(None),
        Err(Refusal::Wrong(reason)) => {
            let Draft { input, target } = draft;
            Err(GenerateError::Refuted { task: task.to_string(), input, target, reason })
        }
    }
}

/// A question and an answer, not yet judged.
struct Draft {
    input: String,
    target: String,
}

impl Draft {
    fn new(input: impl Display, target: impl Display) -> Self {
        Self { input: input.to_string(), target: target.to_string() }
    }

    /// A node splits into two candidates by default, so a longer target could not be written.
    fn is_within_reach(&self) -> bool {
        self.target.graphemes(true).count() <= 2 * self.input.chars().count()
    }
}

/// One of the choices, each as likely as the others.
fn pick<'a, T>(stream: &mut Stream, choices: &'a [T]) -> &'a T {
    &choices[stream.random_range(0..choices.len())]
}

#[cfg(test)]
mod tests;
