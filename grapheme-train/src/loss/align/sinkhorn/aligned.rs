//! Vectors that registers are read from.

use grapheme_core::kept::{Keep, Kept};
use std::ops::{Deref, DerefMut, Range};

/// Numbers that begin where a line of the cache does: registers are as wide as lines, and reads of two lines take twice as long.
pub(super) struct Aligned<E: Keep> {
    values: Kept<E>,
    range: Range<usize>,
}

impl<E: Keep + Default + Copy> Aligned<E> {
    const LINE: usize = 64;

    /// So many times the same.
    pub(super) fn filled(length: usize, value: E) -> Self {
        let mut aligned = Self::unset(length);
        aligned.fill(value);
        aligned
    }

    /// Of numbers that nobody has set.
    pub(super) fn unset(length: usize) -> Self {
        let values: Kept<E> = Kept::unset(length + Self::LINE / size_of::<E>());
        let start = values.as_ptr().align_offset(Self::LINE).min(values.len() - length);
        Self { values, range: start..start + length }
    }
}

impl<E: Keep> Deref for Aligned<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.values[self.range.clone()]
    }
}

impl<E: Keep> DerefMut for Aligned<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.values[self.range.clone()]
    }
}
