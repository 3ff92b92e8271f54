//! The number type that everything numeric is generic over.

use ndarray::NdFloat;
use num_traits::FromPrimitive;
use std::fmt::{Debug, Display};
use std::iter::Sum;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` trains, `f64` proves. Sealed: the derivatives are proved for these two types only.
pub trait Scalar:
    sealed::Sealed + NdFloat + FromPrimitive + Sum + Default + Debug + Display + Send + Sync + 'static
{
    /// The name of the type as people write it, `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// A constant of the source text, rounded to this type. Every literal in generic code goes through here.
    fn lit(x: f64) -> Self;

    /// The same value in `f64`, exactly.
    fn widen(self) -> f64;
}

impl Scalar for f32 {
    const NAME: &'static str = "f32";

    #[inline(always)]
    fn lit(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
}

impl Scalar for f64 {
    const NAME: &'static str = "f64";

    #[inline(always)]
    fn lit(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
}
