//! The answers' half of levels 5 to 7: polynomials in one variable by their coefficients.

use super::expr::Expr;
use super::rational::Rational;

/// Whole coefficients, the constant first; the last one is not 0, and the zero polynomial has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polynomial(Vec<i128>);

impl Polynomial {
    /// Multiplies an expression of `+ - * ^`, whole numbers and the variable out. None if it is something else or a
    /// coefficient overflows.
    pub fn of(expr: &Expr, variable: &str) -> Option<Self> {
        if let Some(value) = expr.as_number() {
            return Some(Self::trimmed(vec![value.whole()?]));
        }
        if expr.as_symbol() == Some(variable) {
            return Some(Self(vec![0, 1]));
        }
        let (head, arguments) = expr.as_call()?;
        if let ("^", [base, exponent]) = (head, arguments) {
            let base = Self::of(base, variable)?;
            let exponent = exponent.as_number()?.whole()?;
            return (0..exponent).try_fold(Self(vec![1]), |power, _| power.times(&base));
        }
        let mut parts = arguments.iter().map(|argument| Self::of(argument, variable));
        let first = parts.next()??;
        parts.try_fold(first, |left, right| match head {
            "+" => left.plus(&right?, 1),
            "-" => left.plus(&right?, -1),
            "*" => left.times(&right?),
            _ => None,
        })
    }

    /// The largest power, 0 for constants.
    pub fn degree(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// The coefficient of a power.
    pub fn coefficient(&self, power: usize) -> i128 {
        self.0.get(power).copied().unwrap_or(0)
    }

    /// The largest absolute value of a coefficient.
    pub fn height(&self) -> u128 {
        self.0.iter().map(|coefficient| coefficient.unsigned_abs()).max().unwrap_or(0)
    }

    /// `sum k c_k x^(k-1)`.
    pub fn derivative(&self) -> Option<Self> {
        let terms = self.0.iter().enumerate().skip(1);
        terms.map(|(power, &coefficient)| coefficient.checked_mul(power as i128)).collect::<Option<_>>().map(Self)
    }

    /// `sum c_k (b^(k+1) - a^(k+1)) / (k+1)`.
    pub fn integral(&self, a: Rational, b: Rational) -> Option<Rational> {
        let mut sum = Rational::ZERO;
        for (power, &coefficient) in (1u32..).zip(&self.0) {
            let rise = b.pow(power)?.sub(a.pow(power)?)?;
            sum = sum.add(rise.mul(Rational::new(coefficient, power.into())?)?)?;
        }
        Some(sum)
    }

    /// Where a line `c_0 + c_1 x` crosses zero; none if this is no line.
    pub fn root(&self) -> Option<Rational> {
        match self.0.as_slice() {
            [constant, slope] => Rational::new(constant.checked_neg()?, *slope),
            _ => None,
        }
    }

    /// The canonical expression: terms by falling powers, `0` for none, `(+ (* 3 (^ x 2)) (* -1 x) 5)` for three.
    pub fn expr(&self, variable: &str) -> Option<Expr> {
        let term = |(power, &coefficient): (usize, &i128)| {
            let number = Expr::Number(Rational::new(coefficient, 1)?);
            let x = Expr::symbol(variable);
            let x = match power {
                0 => return Some(number),
                1 => x,
                _ => Expr::call("^", [x, Expr::whole(power.try_into().ok()?)]),
            };
            Some(if coefficient == 1 { x } else { Expr::call("*", [number, x]) })
        };
        let present = self.0.iter().enumerate().rev().filter(|(_, coefficient)| **coefficient != 0);
        let mut terms = present.map(term).collect::<Option<Vec<_>>>()?;
        Some(match terms.len() {
            0 => Expr::whole(0),
            1 => terms.remove(0),
            _ => Expr::call("+", terms),
        })
    }

    fn plus(&self, other: &Self, sign: i128) -> Option<Self> {
        let powers = 0..self.0.len().max(other.0.len());
        let sum = powers.map(|k| other.coefficient(k).checked_mul(sign)?.checked_add(self.coefficient(k)));
        sum.collect::<Option<_>>().map(Self::trimmed)
    }

    fn times(&self, other: &Self) -> Option<Self> {
        let mut product = vec![0i128; self.0.len() + other.0.len()];
        for (i, a) in self.0.iter().enumerate() {
            for (j, b) in other.0.iter().enumerate() {
                product[i + j] = product[i + j].checked_add(a.checked_mul(*b)?)?;
            }
        }
        Some(Self::trimmed(product))
    }

    fn trimmed(mut coefficients: Vec<i128>) -> Self {
        coefficients.truncate(coefficients.iter().rposition(|&c| c != 0).map_or(0, |last| last + 1));
        Self(coefficients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polynomial(text: &str) -> Option<Polynomial> {
        Polynomial::of(&Expr::parse(text).unwrap(), "x")
    }

    #[test]
    fn canonical_forms_and_derivatives_by_hand() {
        let cases = [
            ("(* x x)", "(^ x 2)", "(* 2 x)"),
            ("(^ (+ x 1) 3)", "(+ (^ x 3) (* 3 (^ x 2)) (* 3 x) 1)", "(+ (* 3 (^ x 2)) (* 6 x) 3)"),
            ("(- 5 x)", "(+ (* -1 x) 5)", "-1"),
            ("(- (* x 2) (+ x x))", "0", "0"),
            ("(+ x -1)", "(+ x -1)", "1"),
            ("7", "7", "0"),
            ("(^ x 0)", "1", "0"),
        ];
        for (text, canonical, derivative) in cases {
            let found = polynomial(text).unwrap();
            assert_eq!(found.expr("x").unwrap().to_string(), canonical, "{text}");
            assert_eq!(found.derivative().unwrap().expr("x").unwrap().to_string(), derivative, "{text}");
            assert_eq!(polynomial(canonical), Some(found), "the canonical form is another polynomial: {text}");
        }
    }

    #[test]
    fn integrals_and_roots_by_hand() {
        let integral =
            |text, a: i64, b: i64| polynomial(text).unwrap().integral(a.into(), b.into()).unwrap().to_string();
        assert_eq!(integral("(* 3 (^ x 2))", 0, 2), "8");
        assert_eq!(integral("(^ x 2)", 1, 2), "7/3");
        assert_eq!(integral("(^ x 3)", -1, 1), "0");
        assert_eq!(integral("0", -1, 1), "0");
        let root = |text| polynomial(text).unwrap().root().map(|root| root.to_string());
        assert_eq!(root("(- (+ (* 3 x) 2) 11)").as_deref(), Some("3"));
        assert_eq!(root("(+ (* -2 x) 3)").as_deref(), Some("3/2"));
        assert_eq!((root("5"), root("0"), root("(* x x)")), (None, None, None));
    }

    #[test]
    fn what_is_no_polynomial_or_overflows_is_none() {
        for text in ["y", "(+)", "()", "(max x 1)", "1/2", "(^ x x)", "(^ 9999999 99)", "(* (^ 10 38) (^ 10 38))"] {
            assert_eq!(polynomial(text), None, "{text}");
        }
    }
}
