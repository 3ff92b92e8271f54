//! Exact fractions of 128-bit integers. Every operation that could overflow says so by returning none.

use std::cmp::Ordering;
use std::fmt;

/// A fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rational {
    numerator: i128,
    denominator: i128,
}

impl Rational {
    pub const ZERO: Self = Self { numerator: 0, denominator: 1 };
    pub const ONE: Self = Self { numerator: 1, denominator: 1 };

    /// None if the denominator is 0 or a sign change overflows.
    pub fn new(numerator: i128, denominator: i128) -> Option<Self> {
        let (numerator, denominator) = match denominator.cmp(&0) {
            Ordering::Less => (numerator.checked_neg()?, denominator.checked_neg()?),
            Ordering::Equal => return None,
            Ordering::Greater => (numerator, denominator),
        };
        // At most the denominator, so it fits.
        let divisor = gcd(numerator.unsigned_abs(), denominator.unsigned_abs()) as i128;
        Some(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    pub fn numerator(self) -> i128 {
        self.numerator
    }

    pub fn denominator(self) -> i128 {
        self.denominator
    }

    /// The whole number that this is, if it is one.
    pub fn whole(self) -> Option<i128> {
        (self.denominator == 1).then_some(self.numerator)
    }

    pub fn neg(self) -> Option<Self> {
        Some(Self { numerator: self.numerator.checked_neg()?, ..self })
    }

    pub fn add(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Self::new(left.checked_add(right)?, self.denominator.checked_mul(other.denominator)?)
    }

    pub fn sub(self, other: Self) -> Option<Self> {
        self.add(other.neg()?)
    }

    pub fn mul(self, other: Self) -> Option<Self> {
        let numerator = self.numerator.checked_mul(other.numerator)?;
        Self::new(numerator, self.denominator.checked_mul(other.denominator)?)
    }

    pub fn pow(self, exponent: u32) -> Option<Self> {
        let numerator = self.numerator.checked_pow(exponent)?;
        Self::new(numerator, self.denominator.checked_pow(exponent)?)
    }

    /// Compares by the sign of the difference.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        Some(self.sub(other)?.numerator.cmp(&0))
    }

    /// Reads what [`Display`](fmt::Display) writes, and fractions that are not in lowest terms.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            Some((numerator, denominator)) => Self::new(whole(numerator)?, natural(denominator)?),
            None => Self::new(whole(text)?, 1),
        }
    }
}

impl From<i64> for Rational {
    fn from(whole: i64) -> Self {
        Self { numerator: whole.into(), denominator: 1 }
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            denominator => write!(f, "{}/{denominator}", self.numerator),
        }
    }
}

/// The greatest common divisor (Euclid); `gcd(0, n) = n`.
pub fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn whole(text: &str) -> Option<i128> {
    match text.strip_prefix('-') {
        Some(digits) => natural(digits)?.checked_neg(),
        None => natural(text),
    }
}

/// Digits only: the standard library would also take a plus sign.
fn natural(text: &str) -> Option<i128> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn r(text: &str) -> Rational {
        Rational::parse(text).unwrap_or_else(|| panic!("{text} is no number"))
    }

    #[test]
    fn arithmetic_by_hand() {
        assert_eq!(r("1/2").add(r("1/3")), Some(r("5/6")));
        assert_eq!(r("1/2").sub(r("1/2")), Some(Rational::ZERO));
        assert_eq!(r("-2/3").mul(r("9/4")), Some(r("-3/2")));
        assert_eq!(Rational::new(7, -14), Some(r("-1/2")));
        assert_eq!(Rational::new(1, 0), None);
        assert_eq!(r("-2/3").pow(3), Some(r("-8/27")));
        assert_eq!(r("1/3").compare(r("2/7")), Some(Ordering::Greater));
        assert_eq!((r("6/3").whole(), r("6/4").whole()), (Some(2), None));
        assert_eq!(r("-6/4").to_string(), "-3/2");
    }

    #[test]
    fn overflow_and_nonsense_are_none() {
        let (most, least) = (Rational::new(i128::MAX, 1).unwrap(), Rational::new(i128::MIN, 1).unwrap());
        assert_eq!(most.add(Rational::ONE), None);
        assert_eq!(most.mul(r("2")), None);
        assert_eq!(most.pow(2), None);
        assert_eq!(least.neg(), None);
        assert_eq!(Rational::new(1, i128::MIN), None);
        assert_eq!(Rational::new(i128::MIN, -1), None);
        assert_eq!(Rational::new(1, i128::MAX).and_then(|tiny| tiny.mul(tiny)), None);
        for text in ["", "-", "+1", "1/0", "1/-2", "1/2/3", "0x1", "1.5", "٣", &"9".repeat(60)] {
            assert_eq!(Rational::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_field_laws_hold(a in -99i128..99, b in 1i128..99, c in -99i128..99, d in 1i128..99) {
            let (x, y) = (Rational::new(a, b).unwrap(), Rational::new(c, d).unwrap());
            prop_assert_eq!(x.add(y).unwrap().sub(y), Some(x));
            prop_assert_eq!(x.mul(x.add(y).unwrap()), x.mul(x).unwrap().add(x.mul(y).unwrap()));
            if c != 0 {
                let inverse = Rational::new(d, c).unwrap();
                prop_assert_eq!(x.mul(y).unwrap().mul(inverse), Some(x));
            }
            prop_assert_eq!(Rational::parse(&x.to_string()), Some(x));
            prop_assert_eq!(x.compare(y), Some((a * d).cmp(&(c * b))));
        }
    }
}
