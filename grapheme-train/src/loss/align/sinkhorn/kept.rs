//! Vectors to work in, whose memory a thread keeps.
//!
//! A problem of a word takes some microseconds and some fifty vectors: to ask the allocator for them took a fifth of its time.

use grapheme_core::Scalar;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Vectors of more bytes than this go back to the allocator, whose time does not count beside theirs.
const LARGEST: usize = 1 << 20;
/// A thread keeps no more of them than this.
const MOST: usize = 48;

/// What vectors are kept of.
pub(super) trait Keep: Scalar {
    /// What `work` makes of the vectors that this thread has kept; nothing while the thread ends.
    fn shelf<R>(work: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> Option<R>;
}

macro_rules! keep {
    ($type:ty) => {
        impl Keep for $type {
            fn shelf<R>(work: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> Option<R> {
                thread_local! {
                    static SHELF: RefCell<Vec<Vec<$type>>> = const { RefCell::new(Vec::new()) };
                }
                SHELF.try_with(|shelf| work(&mut shelf.borrow_mut())).ok()
            }
        }
    };
}

keep!(f32);
keep!(f64);

/// A vector that gives its memory to the next one of this thread when it is dropped.
pub(super) struct Kept<T: Keep>(Vec<T>);

impl<T: Keep> Kept<T> {
    /// Empty, with room for so many: the smallest kept vector that has it, so that a problem of sizes seen before finds all of its.
    pub(super) fn with_capacity(length: usize) -> Self {
        let taken = T::shelf(|shelf| {
            let enough = shelf.iter().map(Vec::capacity).enumerate().filter(|&(_, capacity)| capacity >= length);
            enough.min_by_key(|&(_, capacity)| capacity).map(|(i, _)| shelf.swap_remove(i))
        });
        Self(taken.flatten().unwrap_or_else(|| Vec::with_capacity(length.next_power_of_two())))
    }

    pub(super) fn filled(length: usize, value: T) -> Self {
        let mut kept = Self::with_capacity(length);
        kept.resize(length, value);
        kept
    }

    pub(super) fn zeros(length: usize) -> Self {
        Self::filled(length, T::zero())
    }
}

impl<T: Keep> FromIterator<T> for Kept<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items = items.into_iter();
        let mut kept = Self::with_capacity(items.size_hint().0);
        kept.extend(items);
        kept
    }
}

impl<T: Keep> From<Vec<T>> for Kept<T> {
    fn from(vector: Vec<T>) -> Self {
        Self(vector)
    }
}

impl<T: Keep> Deref for Kept<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Keep> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<'a, T: Keep> IntoIterator for &'a Kept<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'a, T: Keep> IntoIterator for &'a mut Kept<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter_mut()
    }
}

impl<T: Keep> Drop for Kept<T> {
    fn drop(&mut self) {
        let mut vector = std::mem::take(&mut self.0);
        vector.clear();
        if (1..=LARGEST).contains(&(vector.capacity() * size_of::<T>())) {
            T::shelf(|shelf| {
                if shelf.len() < MOST {
                    shelf.push(vector);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_comes_clean() {
        let mut first = Kept::<f64>::filled(100, 3.0);
        let at = first.as_ptr();
        first.push(1.0);
        drop(first);
        let second = Kept::<f64>::zeros(90);
        assert!(second.as_ptr() == at || second.capacity() >= 90);
        assert!(second.len() == 90 && second.iter().all(|&x| x == 0.0));
        // What is large is given back, and no more are kept than a few.
        drop(Kept::<f32>::zeros(LARGEST));
        drop((0..2 * MOST).map(|_| Kept::<f32>::zeros(3)).collect::<Vec<_>>());
        let (count, capacity) = f32::shelf(|shelf| (shelf.len(), shelf.iter().map(Vec::capacity).max())).unwrap();
        assert!(count == MOST && capacity < Some(LARGEST));
    }
}
