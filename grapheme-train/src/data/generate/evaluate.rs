//! The judge's half of the curriculum: exact values of expressions, with the exact slope in one variable carried along.
//!
//! Nothing here is shared with the code that makes the answers, besides fractions and the notation.

use super::expr::Expr;
use super::rational::{Rational, gcd};
use std::cmp::Ordering;
use thiserror::Error;

/// A dual number `value + slope * epsilon` with `epsilon^2 = 0`: a value and its derivative (Clifford 1873).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dual {
    pub value: Rational,
    pub slope: Rational,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EvalError {
    #[error("a number does not fit 128 bits")]
    Overflow,
    #[error("`{0}` stands for nothing here")]
    Unbound(String),
    #[error("`{0}` has no value of its own")]
    Malformed(String),
}

/// Names and what they stand for, the innermost last.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a>(Vec<(&'a str, Meaning<'a>)>);

/// Functions are not numbers and cannot be passed on, so a body calls only functions that were there before its own:
/// every evaluation ends.
#[derive(Clone, Debug)]
enum Meaning<'a> {
    Number(Dual),
    Function { parameters: &'a [Expr], body: &'a Expr, scope: Scope<'a> },
}

impl Dual {
    pub fn constant(value: Rational) -> Self {
        Self { value, slope: Rational::ZERO }
    }

    fn add(self, other: Self) -> Option<Self> {
        Some(Self { value: self.value.add(other.value)?, slope: self.slope.add(other.slope)? })
    }

    fn sub(self, other: Self) -> Option<Self> {
        Some(Self { value: self.value.sub(other.value)?, slope: self.slope.sub(other.slope)? })
    }

    fn mul(self, other: Self) -> Option<Self> {
        let slope = self.slope.mul(other.value)?.add(self.value.mul(other.slope)?)?;
        Some(Self { value: self.value.mul(other.value)?, slope })
    }
}

impl<'a> Scope<'a> {
    /// The scope in which one variable has a value, and a slope of 1.
    pub fn variable(name: &'a str, value: Rational) -> Self {
        Self(vec![(name, Meaning::Number(Dual { value, slope: Rational::ONE }))])
    }

    fn find(&self, name: &str) -> Option<&Meaning<'a>> {
        self.0.iter().rev().find(|(known, _)| *known == name).map(|(_, meaning)| meaning)
    }
}

/// The value of an expression: numbers, names, `let` (bindings do not see each other), `lambda` where a binding wants
/// one, calls, `+ * max min` of one argument or more, `- gcd` of two, `abs` of one, `^` with a whole exponent.
///
/// The slope is exact for `+ - * ^`; the others, which have kinks or jumps, take constants only.
pub fn evaluate<'a>(expr: &'a Expr, scope: &Scope<'a>) -> Result<Dual, EvalError> {
    let malformed = || EvalError::Malformed(expr.to_string());
    if let Some(value) = expr.as_number() {
        return Ok(Dual::constant(value));
    }
    if let Some(name) = expr.as_symbol() {
        return match scope.find(name) {
            Some(Meaning::Number(value)) => Ok(*value),
            Some(Meaning::Function { .. }) => Err(malformed()),
            None => Err(EvalError::Unbound(name.to_owned())),
        };
    }
    let (head, arguments) = expr.as_call().ok_or_else(malformed)?;
    if head == "let" {
        let [Expr::List(bindings), body] = arguments else { return Err(malformed()) };
        let mut inner = scope.clone();
        for binding in bindings {
            inner.0.push(bind(binding, scope)?);
        }
        return evaluate(body, &inner);
    }
    let values = arguments.iter().map(|argument| evaluate(argument, scope)).collect::<Result<Vec<_>, _>>()?;
    match scope.find(head) {
        Some(Meaning::Function { parameters, body, scope }) if parameters.len() == values.len() => {
            let mut inner = scope.clone();
            for (parameter, value) in parameters.iter().zip(values) {
                inner.0.push((parameter.as_symbol().ok_or_else(malformed)?, Meaning::Number(value)));
            }
            evaluate(body, &inner)
        }
        Some(_) => Err(malformed()),
        None => built_in(head, &values).ok_or_else(malformed)?.ok_or(EvalError::Overflow),
    }
}

/// `(name expression)` or `(name (lambda (parameter ...) body))`.
fn bind<'a>(binding: &'a Expr, scope: &Scope<'a>) -> Result<(&'a str, Meaning<'a>), EvalError> {
    let Some((name, [value])) = binding.as_call() else { return Err(EvalError::Malformed(binding.to_string())) };
    let meaning = match value.as_call() {
        Some(("lambda", [Expr::List(parameters), body])) => {
            Meaning::Function { parameters, body, scope: scope.clone() }
        }
        _ => Meaning::Number(evaluate(value, scope)?),
    };
    Ok((name, meaning))
}

/// None if there is no such operation on such arguments, none within if it overflows.
fn built_in(name: &str, values: &[Dual]) -> Option<Option<Dual>> {
    let (&first, rest) = values.split_first()?;
    let flat = values.iter().all(|dual| dual.slope == Rational::ZERO);
    let fold = |step: fn(Dual, Dual) -> Option<Dual>| rest.iter().try_fold(first, |sum, &next| step(sum, next));
    let extreme = |wanted: Ordering| {
        rest.iter()
            .try_fold(first, |best, next| Some(if next.value.compare(best.value)? == wanted { *next } else { best }))
    };
    Some(match (name, rest) {
        ("+", _) => fold(Dual::add),
        ("*", _) => fold(Dual::mul),
        ("-", [second]) => first.sub(*second),
        ("^", [exponent]) if flat || exponent.slope == Rational::ZERO => {
            let exponent = u32::try_from(exponent.value.whole()?).ok()?;
            power(first, exponent)
        }
        ("max", _) if flat => extreme(Ordering::Greater),
        ("min", _) if flat => extreme(Ordering::Less),
        ("abs", []) if flat && first.value.numerator() < 0 => first.value.neg().map(Dual::constant),
        ("abs", []) if flat => Some(first),
        ("gcd", [second]) if flat => {
            let divisor = gcd(first.value.whole()?.unsigned_abs(), second.value.whole()?.unsigned_abs());
            i128::try_from(divisor).ok().and_then(|divisor| Rational::new(divisor, 1)).map(Dual::constant)
        }
        _ => return None,
    })
}

/// `(v + s eps)^n = v^n + n v^(n-1) s eps`.
fn power(base: Dual, exponent: u32) -> Option<Dual> {
    let Some(less) = exponent.checked_sub(1) else { return Some(Dual::constant(Rational::ONE)) };
    let outer = base.value.pow(less)?.mul(i64::from(exponent).into())?;
    Some(Dual { value: base.value.pow(exponent)?, slope: outer.mul(base.slope)? })
}

/// A bound on the degree of a polynomial in one variable, from its form alone; none if it may not be one.
pub fn degree(expr: &Expr, variable: &str) -> Option<u32> {
    if let Some((head, arguments)) = expr.as_call() {
        let degrees = arguments.iter().map(|argument| degree(argument, variable)).collect::<Option<Vec<_>>>()?;
        return match (head, arguments) {
            ("+" | "-", _) => degrees.into_iter().max(),
            ("*", _) => degrees.into_iter().try_fold(0u32, u32::checked_add),
            ("^", [_, exponent]) => degrees[0].checked_mul(u32::try_from(exponent.as_number()?.whole()?).ok()?),
            _ => None,
        };
    }
    match expr {
        Expr::Number(_) => Some(0),
        Expr::Symbol(name) => Some(u32::from(name == variable)),
        Expr::List(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<String, EvalError> {
        evaluate(&Expr::parse(text).unwrap(), &Scope::default()).map(|dual| dual.value.to_string())
    }

    #[test]
    fn values_by_hand() {
        let cases = [
            ("7/3", "7/3"),
            ("(+ 2 3)", "5"),
            ("(+ 1 2 3 4)", "10"),
            ("(- 2 5)", "-3"),
            ("(* 2 3 1/6)", "1"),
            ("(^ -2 3)", "-8"),
            ("(^ 0 0)", "1"),
            ("(max 3 -7 5)", "5"),
            ("(min 3 -7 5)", "-7"),
            ("(abs -7/2)", "7/2"),
            ("(gcd -12 18)", "6"),
            ("(gcd 0 0)", "0"),
            ("(let ((x 3) (y 4)) (+ x y))", "7"),
            ("(let ((x 3)) (let ((x 4) (y x)) (* x y)))", "12"),
            ("(let ((f (lambda (x) (* x x)))) (f 5))", "25"),
            ("(let ((a 2)) (let ((f (lambda (x y) (- x (* a y))))) (let ((a 100)) (f 10 3))))", "4"),
            ("(let ((f (lambda () 1))) (f))", "1"),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn expressions_without_a_value_are_refused() {
        let malformed = |text: &str| EvalError::Malformed(text.into());
        let cases = [
            ("x", EvalError::Unbound("x".into())),
            ("(let ((x 1) (y x)) y)", EvalError::Unbound("x".into())),
            ("()", malformed("()")),
            ("(+)", malformed("(+)")),
            ("(1 2)", malformed("(1 2)")),
            ("(- 1)", malformed("(- 1)")),
            ("(frob 1)", malformed("(frob 1)")),
            ("(^ 2 -1)", malformed("(^ 2 -1)")),
            ("(gcd 1/2 1)", malformed("(gcd 1/2 1)")),
            ("(let (x 1) x)", malformed("x")),
            ("(let ((f (lambda (x) x))) (f 1 2))", malformed("(f 1 2)")),
            // Would never end if functions could be passed.
            ("(let ((f (lambda (x) (x x)))) (f f))", malformed("f")),
            ("(let ((f (lambda (x) (f x)))) (f 1))", malformed("(f x)")),
            ("(^ 10 40)", EvalError::Overflow),
            ("(^ 2 4000000000)", EvalError::Overflow),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn slopes_by_hand() {
        let x = Rational::new(3, 2).unwrap();
        let cases =
            [("(* x x)", "3"), ("(^ (- 1 x) 3)", "-3/4"), ("(+ x 5 (* 2 x))", "3"), ("(^ x 0)", "0"), ("8", "0")];
        for (text, expected) in cases {
            let expr = Expr::parse(text).unwrap();
            assert_eq!(evaluate(&expr, &Scope::variable("x", x)).unwrap().slope.to_string(), expected, "{text}");
        }
        for kinked in ["(abs x)", "(max x 1)", "(gcd x 1)", "(^ 2 x)"] {
            assert!(evaluate(&Expr::parse(kinked).unwrap(), &Scope::variable("x", Rational::ONE)).is_err(), "{kinked}");
        }
    }

    #[test]
    fn degrees_by_hand() {
        let cases = [
            ("5", Some(0)),
            ("y", Some(0)),
            ("(* x x 3)", Some(2)),
            ("(- (^ (+ x 1) 3) (* x x))", Some(3)),
            ("(max x 1)", None),
            ("(^ x x)", None),
            ("()", None),
        ];
        for (text, expected) in cases {
            assert_eq!(degree(&Expr::parse(text).unwrap(), "x"), expected, "{text}");
        }
    }
}
