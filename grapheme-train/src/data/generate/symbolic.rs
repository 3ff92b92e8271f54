//! Levels 5 to 7: derivatives, integrals and linear equations.

use super::expr::Expr;
use super::polynomial::Polynomial;
use super::{Draft, pick};
use grapheme_core::Stream;
use rand::RngExt;

const VARIABLES: [&str; 4] = ["x", "y", "z", "t"];

/// No coefficient, numerator or denominator of an answer is larger.
const BOUND: u128 = 9999;

/// Level 5: `(diff expression variable)`, the answer multiplied out.
pub fn derivative(stream: &mut Stream) -> Option<Draft> {
    let x = *pick(stream, &VARIABLES);
    let depth = stream.random_range(1..=3);
    let expr = polynomial(stream, depth, x);
    let answer = Polynomial::of(&expr, x)?.derivative()?;
    let fits = expr.mentions(x) && answer.degree() <= 5 && answer.height() <= BOUND;
    let target = answer.expr(x)?;
    fits.then(|| Draft::new(Expr::call("diff", [expr, Expr::symbol(x)]), target))
}

/// Level 6: `(int expression variable from to)`.
pub fn integral(stream: &mut Stream) -> Option<Draft> {
    let x = *pick(stream, &VARIABLES);
    let depth = stream.random_range(1..=2);
    let expr = polynomial(stream, depth, x);
    let from: i64 = stream.random_range(-3..=3);
    let to = from + stream.random_range(1..=4);
    let integrand = Polynomial::of(&expr, x)?;
    let answer = integrand.integral(from.into(), to.into())?;
    let small = answer.numerator().unsigned_abs().max(answer.denominator().unsigned_abs()) <= BOUND;
    let fits = expr.mentions(x) && integrand.degree() <= 5 && small;
    let call = Expr::call("int", [expr, Expr::symbol(x), Expr::whole(from), Expr::whole(to)]);
    fits.then(|| Draft::new(call, Expr::Number(answer)))
}

/// Level 7: `(solve (= left right) variable)`, linear, with one solution.
pub fn equation(stream: &mut Stream) -> Option<Draft> {
    let x = *pick(stream, &VARIABLES);
    let left = line(stream, x);
    // Half of the equations have the variable on one side only.
    let right = if stream.random() { line(stream, x) } else { Expr::whole(stream.random_range(-20..=99)) };
    let (left, right) = if stream.random_ratio(1, 4) { (right, left) } else { (left, right) };
    let answer = Polynomial::of(&Expr::call("-", [left.clone(), right.clone()]), x)?.root()?;
    if answer.whole().is_none() && stream.random_ratio(3, 4) {
        // Most random equations have a fraction for an answer; people's have not.
        return None;
    }
    let call = Expr::call("solve", [Expr::call("=", [left, right]), Expr::symbol(x)]);
    Some(Draft::new(call, Expr::Number(answer)))
}

/// A tree of `+ - * ^` of at most this depth.
fn polynomial(stream: &mut Stream, depth: u32, x: &str) -> Expr {
    let Some(below) = depth.checked_sub(1) else {
        return if stream.random_ratio(2, 3) { Expr::symbol(x) } else { Expr::whole(stream.random_range(1..=9)) };
    };
    match stream.random_range(0..10) {
        0..3 => {
            let n = stream.random_range(2..=3);
            let terms: Vec<Expr> = (0..n).map(|_| polynomial(stream, below, x)).collect();
            Expr::call("+", terms)
        }
        operator @ 3..8 => {
            let name = if operator < 5 { "-" } else { "*" };
            let left = polynomial(stream, below, x);
            Expr::call(name, [left, polynomial(stream, below, x)])
        }
        _ => {
            let base = polynomial(stream, below.min(1), x);
            Expr::call("^", [base, Expr::whole(stream.random_range(2..=4))])
        }
    }
}

/// One side of a linear equation in which the variable occurs once.
fn line(stream: &mut Stream, x: &str) -> Expr {
    let a = Expr::whole(stream.random_range(2..=12));
    let b = Expr::whole(stream.random_range(1..=30));
    let x = Expr::symbol(x);
    match stream.random_range(0..6) {
        0 => Expr::call("*", [a, x]),
        1 => Expr::call("+", [x, b]),
        2 => Expr::call("+", [Expr::call("*", [a, x]), b]),
        3 => Expr::call("-", [Expr::call("*", [a, x]), b]),
        4 => Expr::call("-", [b, Expr::call("*", [a, x])]),
        _ => Expr::call("*", [a, Expr::call("+", [x, b])]),
    }
}
