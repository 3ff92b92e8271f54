//! Vectors to work in, whose memory a thread keeps.
//!
//! To transport the nodes of a word takes some microseconds and some fifty vectors: to ask the allocator for them took a fifth of its time.

use std::ops::{Deref, DerefMut};

/// Vectors have room for a power of two; those with room for this one and more go back to the allocator, whose time does not
/// count beside theirs.
pub(crate) const CLASSES: usize = 18;
/// A thread keeps no more of each size than this.
const MOST: usize = 32;

/// The vectors that a thread has kept, by the power of two that they have room for: what is asked for is found at once, and a
/// problem of sizes seen before finds all of its own.
pub(crate) type Shelf<T> = [Vec<Vec<T>>; CLASSES];

/// What vectors are kept of.
pub(crate) trait Keep: Copy + Default {
    /// What `work` makes of the vectors that this thread has kept; nothing while the thread ends.
    fn shelf<R>(work: impl FnOnce(&mut Shelf<Self>) -> R) -> Option<R>;
}

macro_rules! keep {
    ($type:ty) => {
        impl $crate::loss::align::kept::Keep for $type {
            #[inline]
            fn shelf<R>(work: impl FnOnce(&mut $crate::loss::align::kept::Shelf<Self>) -> R) -> Option<R> {
                use $crate::loss::align::kept::{CLASSES, Shelf};
                thread_local! {
                    static SHELF: std::cell::RefCell<Shelf<$type>> =
                        const { std::cell::RefCell::new([const { Vec::new() }; CLASSES]) };
                }
                SHELF.try_with(|shelf| work(&mut shelf.borrow_mut())).ok()
            }
        }
    };
}

pub(super) use keep;

keep!(f32);
keep!(f64);

/// A vector that gives its memory to the next one of this thread when it is dropped.
pub(crate) struct Kept<T: Keep>(Vec<T>);

impl<T: Keep> Kept<T> {
    /// As it was left, with room for so many.
    #[inline]
    fn taken(length: usize) -> Self {
        let class = length.next_power_of_two().trailing_zeros() as usize;
        if class >= CLASSES {
            return Self(Vec::with_capacity(length));
        }
        let taken = T::shelf(|shelf| shelf[class].pop()).flatten();
        Self(taken.unwrap_or_else(|| Vec::with_capacity(1 << class)))
    }

    /// Empty, with room for so many.
    pub(super) fn with_capacity(length: usize) -> Self {
        let mut kept = Self::taken(length);
        kept.clear();
        kept
    }

    /// So many numbers that are still to be set: until then they are any.
    pub(super) fn unset(length: usize) -> Self {
        let mut kept = Self::taken(length);
        kept.resize(length, T::default());
        kept
    }

    pub(super) fn filled(length: usize, value: T) -> Self {
        let mut kept = Self::with_capacity(length);
        kept.resize(length, value);
        kept
    }

    pub(super) fn zeros(length: usize) -> Self {
        Self::filled(length, T::default())
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
        let vector = std::mem::take(&mut self.0);
        let Some(class) = vector.capacity().checked_ilog2() else { return };
        // One with room for more than whoever asks here would stay for ever.
        if vector.capacity() > 1 << (CLASSES - 1) {
            return;
        }
        T::shelf(|shelf| {
            if let Some(kept) = shelf.get_mut(class as usize).filter(|kept| kept.len() < MOST) {
                kept.push(vector);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_comes_clean() {
        let first = Kept::<f64>::filled(100, 3.0);
        let at = first.as_ptr();
        drop(first);
        let second = Kept::<f64>::zeros(90);
        assert_eq!(second.as_ptr(), at);
        assert!(second.len() == 90 && second.iter().all(|&x| x == 0.0));
        drop(second);
        assert_eq!((Kept::<f64>::unset(120).len(), Kept::<f64>::with_capacity(100).len()), (120, 0));
        // What is large is given back, and no more are kept than a few.
        drop(Kept::<f32>::zeros(1 << CLASSES));
        drop(Kept::<f32>::from(Vec::with_capacity((1 << (CLASSES - 1)) + 1)));
        drop((0..2 * MOST).map(|_| Kept::<f32>::zeros(3)).collect::<Vec<_>>());
        let counts = f32::shelf(|shelf| shelf.each_ref().map(Vec::len)).unwrap();
        assert!(counts[2] == MOST && counts.iter().sum::<usize>() == MOST);
        // One that has grown serves whoever its room is enough for.
        drop(Kept::<f32>::from(Vec::with_capacity(100)));
        assert!((64..=100).contains(&Kept::<f32>::with_capacity(50).capacity()));
    }
}
