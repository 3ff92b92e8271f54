//! Whether an answer is right, decided from the two texts alone and by another way than the one that made it.

use super::evaluate::{EvalError, Scope, degree, evaluate};
use super::expr::{Expr, ParseError};
use super::rational::Rational;
use super::{Level, Notation, Pair, Task};
use thiserror::Error;
use unicode_segmentation::UnicodeSegmentation;

/// Why an answer was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The judge cannot tell, for its numbers do not fit; take another example.
    #[error("a number does not fit 128 bits")]
    Overflow,
    /// The answer, or the question, is wrong.
    #[error("{0}")]
    Wrong(String),
}

/// Accepts a right answer.
pub fn check(task: Task, input: &str, target: &str) -> Result<(), Refusal> {
    match task {
        Task::Pair(pair, notation) => check_pair(pair, notation, input, target),
        Task::Level(level) => {
            let (question, answer) = (Expr::parse(input)?, Expr::parse(target)?);
            match level {
                Level::Operation | Level::Nested | Level::Bindings | Level::Functions => {
                    let found = evaluate(&question, &Scope::default())?.value;
                    demand(answer.as_number() == Some(found), || format!("the value is {found}"))
                }
                Level::Derivative => check_derivative(&question, &answer),
                Level::Integral => check_integral(&question, &answer),
                Level::Equation => check_equation(&question, &answer),
            }
        }
    }
}

/// By dual numbers at more points than the degree of either side, which proves two polynomials equal.
fn check_derivative(question: &Expr, answer: &Expr) -> Result<(), Refusal> {
    let Some(("diff", [expr, Expr::Symbol(x)])) = question.as_call() else { return Err(not_asked("(diff e x)")) };
    let (Some(before), Some(after)) = (degree(expr, x), degree(answer, x)) else {
        return Err(not_asked("a polynomial"));
    };
    for i in 0..=i64::from(before.max(after)) {
        let point = fraction(2 * i - 5, 3)?;
        let scope = Scope::variable(x, point);
        let (slope, value) = (evaluate(expr, &scope)?.slope, evaluate(answer, &scope)?.value);
        demand(slope == value, || format!("at {x} = {point} the slope is {slope}, the answer's value is {value}"))?;
    }
    Ok(())
}

/// By the closed Newton-Cotes rule of seven points, exact up to degree 7 (Abramowitz and Stegun, 25.4.18).
fn check_integral(question: &Expr, answer: &Expr) -> Result<(), Refusal> {
    const WEIGHTS: [i64; 7] = [41, 216, 27, 272, 27, 216, 41];
    let Some(("int", [expr, Expr::Symbol(x), Expr::Number(from), Expr::Number(to)])) = question.as_call() else {
        return Err(not_asked("(int e x from to)"));
    };
    demand(degree(expr, x).is_some_and(|degree| degree <= 7), || "no polynomial of degree 7 or less".into())?;
    let width = to.sub(*from).ok_or(Refusal::Overflow)?;
    let mut sum = Rational::ZERO;
    for (i, weight) in (0..).zip(WEIGHTS) {
        let point = fraction(i, 6)?.mul(width).and_then(|step| from.add(step)).ok_or(Refusal::Overflow)?;
        let value = evaluate(expr, &Scope::variable(x, point))?.value;
        let share = fraction(weight, 840)?.mul(width).and_then(|weight| weight.mul(value));
        sum = share.and_then(|share| sum.add(share)).ok_or(Refusal::Overflow)?;
    }
    demand(answer.as_number() == Some(sum), || format!("the integral is {sum}"))
}

/// By substitution; and the two sides have different slopes, so there is no other solution.
fn check_equation(question: &Expr, answer: &Expr) -> Result<(), Refusal> {
    let Some(("solve", [equation, Expr::Symbol(x)])) = question.as_call() else {
        return Err(not_asked("(solve (= l r) x)"));
    };
    let Some(("=", [left, right])) = equation.as_call() else { return Err(not_asked("(= l r)")) };
    let Some(solution) = answer.as_number() else { return Err(Refusal::Wrong("the answer is no number".into())) };
    let linear = [left, right].iter().all(|side| degree(side, x).is_some_and(|degree| degree <= 1));
    demand(linear, || "the equation is not linear".into())?;
    let scope = Scope::variable(x, solution);
    let (left, right) = (evaluate(left, &scope)?, evaluate(right, &scope)?);
    demand(left.value == right.value, || format!("the sides are {} and {}", left.value, right.value))?;
    demand(left.slope != right.slope, || "every number is a solution".into())
}

/// By the grapheme boundaries of the Unicode standard, which the strings were not made from.
fn check_pair(pair: Pair, notation: Notation, input: &str, target: &str) -> Result<(), Refusal> {
    let text = match notation {
        Notation::Plain => Some(input),
        Notation::Prefix => input.strip_prefix(&format!("({} ", pair.name())).and_then(|rest| rest.strip_suffix(')')),
    };
    let Some(text) = text else { return Err(not_asked("(task text)")) };
    let count = |text: &str| text.graphemes(true).count();
    let right = match pair {
        Pair::DropLast => text.strip_prefix(target).is_some_and(|last| count(last) == 1),
        Pair::DropFirst => text.strip_suffix(target).is_some_and(|first| count(first) == 1),
        Pair::Double => target.strip_prefix(text) == Some(text),
        Pair::Reverse => text.graphemes(true).rev().eq(target.graphemes(true)),
    };
    // Where parts fuse into another grapheme, the task would mean something else at the seam.
    let whole = match pair {
        Pair::DropLast | Pair::DropFirst => count(target) + 1 == count(text),
        Pair::Double => count(target) == 2 * count(text),
        Pair::Reverse => true,
    };
    demand(right && whole, || format!("{target:?} is not what {} makes of {text:?}", pair.name()))
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::Wrong(otherwise())) }
}

fn not_asked(form: &str) -> Refusal {
    Refusal::Wrong(format!("the question is not {form}"))
}

fn fraction(numerator: i64, denominator: i64) -> Result<Rational, Refusal> {
    Rational::new(numerator.into(), denominator.into()).ok_or(Refusal::Overflow)
}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl From<EvalError> for Refusal {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Overflow => Self::Overflow,
            other => Self::Wrong(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_pass_and_wrong_ones_do_not() {
        let plain = |pair| Task::Pair(pair, Notation::Plain);
        let prefix = |pair| Task::Pair(pair, Notation::Prefix);
        let cases = [
            (Task::Level(Level::Operation), "(+ 2 3)", "5", "6"),
            (Task::Level(Level::Nested), "(- (* 2 3) 10)", "-4", "4"),
            (Task::Level(Level::Bindings), "(let ((x 3) (y 4)) (+ x y))", "7", "x"),
            (Task::Level(Level::Functions), "(let ((f (lambda (x) (* x x)))) (f 5))", "25", "10"),
            (Task::Level(Level::Derivative), "(diff (* x x) x)", "(* 2 x)", "2"),
            // Right at 0, 1 and 2, and still wrong.
            (Task::Level(Level::Derivative), "(diff (* 1 x) x)", "1", "(+ 1 (* x (- x 1) (- x 2)))"),
            (Task::Level(Level::Integral), "(int (* 3 (^ x 2)) x 0 2)", "8", "4"),
            (Task::Level(Level::Integral), "(int (^ x 2) x 1 2)", "7/3", "2"),
            (Task::Level(Level::Integral), "(int (^ x 7) x 0 1)", "1/8", "1/7"),
            (Task::Level(Level::Equation), "(solve (= (+ (* 3 x) 2) 11) x)", "3", "2"),
            (Task::Level(Level::Equation), "(solve (= (* 2 t) 3) t)", "3/2", "t"),
            (plain(Pair::DropLast), "abc", "ab", "abc"),
            (plain(Pair::DropLast), "a👨‍👩‍👧", "a", "a👨‍👩"),
            (plain(Pair::DropFirst), "निन", "न", "िन"),
            (plain(Pair::Double), "ab", "abab", "aabb"),
            (prefix(Pair::Reverse), "(reverse अनि)", "निअ", "िनअ"),
            (prefix(Pair::DropLast), "(drop-last a)", "", "a"),
        ];
        for (task, input, right, wrong) in cases {
            assert_eq!(check(task, input, right), Ok(()), "{input} {right}");
            let refusal = check(task, input, wrong);
            assert!(matches!(refusal, Err(Refusal::Wrong(_))), "{input} {wrong}: {refusal:?}");
        }
    }

    #[test]
    fn questions_that_cannot_be_judged_are_refused() {
        let cases = [
            (Level::Integral, "(int (^ x 8) x 0 1)", "1/9"),
            (Level::Integral, "(int (abs x) x -1 1)", "1"),
            (Level::Equation, "(solve (= x x) x)", "1"),
            (Level::Equation, "(solve (= (* x x) 4) x)", "2"),
            (Level::Derivative, "(+ 1 1)", "2"),
            (Level::Operation, "(+ 2 3", "5"),
        ];
        for (level, input, target) in cases {
            let refusal = check(Task::Level(level), input, target);
            assert!(matches!(refusal, Err(Refusal::Wrong(_))), "{input}: {refusal:?}");
        }
        assert_eq!(check(Task::Level(Level::Operation), "(* (^ 10 30) (^ 10 30))", "1"), Err(Refusal::Overflow));
        let fused = check(Task::Pair(Pair::Double, Notation::Plain), "\u{300}", "\u{300}\u{300}");
        assert!(matches!(fused, Err(Refusal::Wrong(_))));
    }
}
