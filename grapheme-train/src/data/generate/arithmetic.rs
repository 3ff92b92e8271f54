//! Levels 1 to 4: expressions that are built together with their values.

use super::expr::Expr;
use super::{Draft, pick};
use grapheme_core::Stream;
use rand::RngExt;

/// No value on the way to an answer is larger.
const BOUND: i64 = 9999;

/// An expression and its value in each call of the function that it is the body of; one value outside functions.
#[derive(Clone)]
struct Known {
    expr: Expr,
    values: Vec<i64>,
}

/// A built-in operation, as the answers' half knows it.
#[derive(Clone, Copy)]
struct Operator {
    name: &'static str,
    arity: usize,
    apply: fn(&[i64]) -> i64,
}

const ARITHMETIC: [Operator; 3] = [
    Operator { name: "+", arity: 2, apply: |x| x[0] + x[1] },
    Operator { name: "-", arity: 2, apply: |x| x[0] - x[1] },
    Operator { name: "*", arity: 2, apply: |x| x[0] * x[1] },
];

const FUNCTIONS: [Operator; 4] = [
    Operator { name: "max", arity: 2, apply: |x| if x[0] > x[1] { x[0] } else { x[1] } },
    Operator { name: "min", arity: 2, apply: |x| if x[0] > x[1] { x[1] } else { x[0] } },
    Operator { name: "abs", arity: 1, apply: |x| x[0].abs() },
    // Trial division, unlike the judge's way.
    Operator {
        name: "gcd",
        arity: 2,
        apply: |x| {
            let largest = x[0].abs().max(x[1].abs());
            (1..=largest).rev().find(|d| x[0] % d == 0 && x[1] % d == 0).unwrap_or(0)
        },
    },
];

const NAMES: [&str; 8] = ["x", "y", "z", "a", "b", "c", "n", "k"];

/// Level 1: one operation on two numbers up to 999.
pub fn operation(stream: &mut Stream) -> Option<Draft> {
    let operator = pick(stream, &ARITHMETIC);
    let (a, b) = (number(stream, 3, 1), number(stream, 3, 1));
    let expr = Expr::call(operator.name, [a.expr, b.expr]);
    Some(Draft::new(expr, (operator.apply)(&[a.values[0], b.values[0]])))
}

/// Level 2: two or three operations within each other.
pub fn nested(stream: &mut Stream) -> Option<Draft> {
    let depth = stream.random_range(2..=3);
    grow(stream, depth, &ARITHMETIC, &mut |stream| number(stream, 2, 1)).map(Known::draft)
}

/// Level 3: one to three names bound to numbers or small expressions, and an expression of them.
pub fn bindings(stream: &mut Stream) -> Option<Draft> {
    let names = distinct_names(stream);
    let mut variables = Vec::new();
    let mut list = Vec::new();
    for name in names {
        let depth = u32::from(stream.random_ratio(1, 5));
        let bound = grow(stream, depth, &ARITHMETIC, &mut |stream| number(stream, 2, 1))?;
        list.push(Expr::List(vec![Expr::symbol(name), bound.expr]));
        variables.push(Known { expr: Expr::symbol(name), values: bound.values });
    }
    let depth = stream.random_range(1..=2);
    let body = grow(stream, depth, &ARITHMETIC, &mut |stream| leaf(stream, &variables))?;
    let used = variables.iter().all(|variable| uses(&body.expr, &variable.expr));
    let expr = Expr::call("let", [Expr::List(list), body.expr]);
    used.then(|| Draft::new(expr, body.values[0]))
}

/// Level 4: built-in functions, or one function of the example's own, called once or twice.
pub fn functions(stream: &mut Stream) -> Option<Draft> {
    let all = [&ARITHMETIC[..], &FUNCTIONS[..]].concat();
    if stream.random_ratio(1, 3) {
        // The root is a function, so that no example of level 2 comes out.
        let root = *pick(stream, &FUNCTIONS);
        let arguments = (0..root.arity).map(|_| {
            let depth = stream.random_range(0..=1);
            grow(stream, depth, &all, &mut |stream| number(stream, 2, 1))
        });
        return apply(root, arguments.collect::<Option<_>>()?).map(Known::draft);
    }
    let names = distinct_names(stream);
    let calls = stream.random_range(1..=2);
    let parameters: Vec<Known> = names
        .iter()
        .take(2)
        .map(|name| {
            let values = (0..calls).map(|_| number(stream, 1, 1).values[0]).collect();
            Known { expr: Expr::symbol(name), values }
        })
        .collect();
    let depth = stream.random_range(1..=2);
    let body = grow(stream, depth, &all, &mut |stream| leaf(stream, &parameters))?;
    if !parameters.iter().all(|parameter| uses(&body.expr, &parameter.expr)) {
        return None;
    }
    let f = *pick(stream, &["f", "g", "h"]);
    let mut results = (0..calls).map(|call| {
        let arguments = parameters.iter().map(|parameter| Expr::whole(parameter.values[call]));
        Known { expr: Expr::call(f, arguments), values: vec![body.values[call]] }
    });
    let result = match (results.next()?, results.next()) {
        (only, None) => only,
        (first, Some(second)) => apply(*pick(stream, &ARITHMETIC), vec![first, second])?,
    };
    let parameters = Expr::List(parameters.iter().map(|parameter| parameter.expr.clone()).collect());
    let lambda = Expr::call("lambda", [parameters, body.expr]);
    let binding = Expr::List(vec![Expr::List(vec![Expr::symbol(f), lambda])]);
    let expr = Expr::call("let", [binding, result.expr]);
    Some(Draft::new(expr, result.values[0]))
}

impl Known {
    fn draft(self) -> Draft {
        Draft::new(self.expr, self.values[0])
    }
}

/// A number of at most so many digits, short ones as likely as long ones, the same in every call.
fn number(stream: &mut Stream, digits: u32, calls: usize) -> Known {
    let digits = stream.random_range(1..=digits);
    let value = stream.random_range(0..10i64.pow(digits));
    Known { expr: Expr::whole(value), values: vec![value; calls] }
}

/// Three times out of four one of the names, otherwise a small number.
fn leaf(stream: &mut Stream, names: &[Known]) -> Known {
    let calls = names[0].values.len();
    if stream.random_ratio(3, 4) { pick(stream, names).clone() } else { number(stream, 1, calls) }
}

/// A tree of exactly this depth; none if a value exceeds the bound.
fn grow(
    stream: &mut Stream,
    depth: u32,
    operators: &[Operator],
    leaf: &mut dyn FnMut(&mut Stream) -> Known,
) -> Option<Known> {
    let Some(below) = depth.checked_sub(1) else { return Some(leaf(stream)) };
    let operator = *pick(stream, operators);
    let deepest = stream.random_range(0..operator.arity);
    let arguments = (0..operator.arity).map(|i| {
        let depth = if i == deepest { below } else { stream.random_range(0..=below) };
        grow(stream, depth, operators, leaf)
    });
    apply(operator, arguments.collect::<Option<_>>()?)
}

fn apply(operator: Operator, arguments: Vec<Known>) -> Option<Known> {
    let calls = arguments[0].values.len();
    let in_call = |call: usize| {
        let values: Vec<i64> = arguments.iter().map(|argument| argument.values[call]).collect();
        Some((operator.apply)(&values)).filter(|value| value.abs() <= BOUND)
    };
    let values = (0..calls).map(in_call).collect::<Option<_>>()?;
    Some(Known { expr: Expr::call(operator.name, arguments.into_iter().map(|argument| argument.expr)), values })
}

/// One to three of the names, in a random order.
fn distinct_names(stream: &mut Stream) -> Vec<&'static str> {
    let mut names = Vec::new();
    for _ in 0..stream.random_range(1..=3) {
        let name = *pick(stream, &NAMES);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn uses(body: &Expr, name: &Expr) -> bool {
    name.as_symbol().is_some_and(|name| body.mentions(name))
}
