//! Expressions in prefix notation: numbers, symbols and lists in parentheses.

use super::rational::Rational;
use std::fmt;
use thiserror::Error;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// `5`, `-5` or `7/3`.
    Number(Rational),
    /// Anything else without white space and parentheses.
    Symbol(String),
    /// `(head argument ...)`.
    List(Vec<Expr>),
}

/// Why a text is no expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    #[error("the text ends before its expression does")]
    Unfinished,
    #[error("byte {at}: something follows the expression")]
    Trailing { at: usize },
    #[error("byte {at}: more than {} lists within each other", Expr::MAX_DEPTH)]
    TooDeep { at: usize },
    #[error("byte {at}: a number that is not a fraction of 128-bit integers")]
    Number { at: usize },
}

impl Expr {
    /// What keeps reading and evaluating, both recursive, far from the end of the stack.
    pub const MAX_DEPTH: usize = 64;

    pub fn symbol(name: &str) -> Self {
        Self::Symbol(name.to_owned())
    }

    pub fn whole(value: i64) -> Self {
        Self::Number(value.into())
    }

    /// `(head argument ...)`.
    pub fn call(head: &str, arguments: impl IntoIterator<Item = Self>) -> Self {
        Self::List(std::iter::once(Self::symbol(head)).chain(arguments).collect())
    }

    /// The head's name and the arguments, where this is a list that begins with a symbol.
    pub fn as_call(&self) -> Option<(&str, &[Self])> {
        match self {
            Self::List(items) => match items.as_slice() {
                [Self::Symbol(head), arguments @ ..] => Some((head, arguments)),
                _ => None,
            },
            _ => None,
        }
    }

    pub fn as_symbol(&self) -> Option<&str> {
        match self {
            Self::Symbol(name) => Some(name),
            _ => None,
        }
    }

    pub fn as_number(&self) -> Option<Rational> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether the symbol occurs anywhere.
    pub fn mentions(&self, name: &str) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Symbol(symbol) => symbol == name,
            Self::List(items) => items.iter().any(|item| item.mentions(name)),
        }
    }

    /// Reads the whole of a text as one expression. `O(bytes)`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut open: Vec<Vec<Self>> = Vec::new();
        let mut done = None;
        for (at, token) in tokens(text) {
            if done.is_some() {
                return Err(ParseError::Trailing { at });
            }
            let expr = match token {
                "(" if open.len() == Self::MAX_DEPTH => return Err(ParseError::TooDeep { at }),
                "(" => {
                    open.push(Vec::new());
                    continue;
                }
                ")" => Self::List(open.pop().ok_or(ParseError::Trailing { at })?),
                _ if token.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()) => {
                    Self::Number(Rational::parse(token).ok_or(ParseError::Number { at })?)
                }
                _ => Self::symbol(token),
            };
            match open.last_mut() {
                Some(list) => list.push(expr),
                None => done = Some(expr),
            }
        }
        done.ok_or(ParseError::Unfinished)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => value.fmt(f),
            Self::Symbol(name) => f.write_str(name),
            Self::List(items) => {
                f.write_str("(")?;
                for (i, item) in items.iter().enumerate() {
                    let gap = if i == 0 { "" } else { " " };
                    write!(f, "{gap}{item}")?;
                }
                f.write_str(")")
            }
        }
    }
}

/// Parentheses and the runs between them and white space, each with its byte position.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        let end = match rest.chars().next()? {
            '(' | ')' => 1,
            _ => rest.find(|c: char| c.is_whitespace() || c == '(' || c == ')').unwrap_or(rest.len()),
        };
        let token = (at, &rest[..end]);
        at += end;
        Some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_that_are_no_expression_are_refused_where_they_go_wrong() {
        let deep = "(".repeat(65);
        let cases = [
            ("", ParseError::Unfinished),
            ("  ", ParseError::Unfinished),
            ("(+ 1", ParseError::Unfinished),
            (")", ParseError::Trailing { at: 0 }),
            ("(+ 1) 2", ParseError::Trailing { at: 6 }),
            ("(+ 1))", ParseError::Trailing { at: 5 }),
            ("(+ 1x 2)", ParseError::Number { at: 3 }),
            ("(+ --1)", ParseError::Number { at: 3 }),
            ("1/0", ParseError::Number { at: 0 }),
            (deep.as_str(), ParseError::TooDeep { at: 64 }),
        ];
        for (text, expected) in cases {
            assert_eq!(Expr::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn white_space_does_not_matter_and_minus_is_a_symbol() {
        let found = Expr::parse("\t( - 12(f)-3/6\u{3000}абв ) ").unwrap();
        let f = Expr::List(vec![Expr::symbol("f")]);
        let half = Expr::Number(Rational::new(-1, 2).unwrap());
        assert_eq!(found, Expr::call("-", [Expr::whole(12), f, half, Expr::symbol("абв")]));
        assert_eq!(found.to_string(), "(- 12 (f) -1/2 абв)");
    }

    fn any_expr() -> impl Strategy<Value = Expr> {
        let number =
            (any::<i64>(), 1i64..1000).prop_map(|(n, d)| Expr::Number(Rational::new(n.into(), d.into()).unwrap()));
        let leaf = prop_oneof![number, "[a-zа-я+*^=-]|[a-z]{2,5}|नि|👨‍👩‍👧".prop_map(Expr::Symbol)];
        leaf.prop_recursive(6, 60, 5, |inner| proptest::collection::vec(inner, 0..5).prop_map(Expr::List))
    }

    proptest! {
        #[test]
        fn reading_undoes_printing(expr in any_expr()) {
            prop_assert_eq!(Expr::parse(&expr.to_string()), Ok(expr));
        }

        #[test]
        fn no_text_breaks_the_reader(text in "[()0-9/ a\u{3000}-]{0,40}") {
            if let Ok(expr) = Expr::parse(&text) {
                prop_assert_eq!(Expr::parse(&expr.to_string()), Ok(expr));
            }
        }
    }
}
