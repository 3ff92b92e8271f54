//! Vectors and matrices whose memory a thread keeps.
//!
//! A training step makes the same arrays as the one before. What it drops goes to a shelf of its thread and is found there again, while it is
//! still in the cache: after the first step of its sizes, a step asks the allocator for nothing.

use crate::scalar::Scalar;
use ndarray::{Array1, Array2, ArrayView2, s};
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::ops::{AddAssign, Deref, DerefMut, Range};

/// Vectors have room for a power of two; those with room for this one and more go back to the allocator, whose time does not
/// count beside theirs.
pub const CLASSES: usize = 21;
/// Bytes that the cache reads at once.
const LINE: usize = 64;

/// How many items a line of the cache holds.
const fn line<T>() -> usize {
    match size_of::<T>() {
        0 => 0,
        bytes => LINE / bytes,
    }
}

/// Room of a new vector: the power of two, and beyond it a line, within which [`Aligned`] looks for its first item. One so short that it
/// would then be of another class has none.
const fn room<T>(class: usize) -> usize {
    let room = 1 << class;
    if line::<T>() < room { room + line::<T>() } else { room }
}

/// The vectors that a thread has kept, by the power of two that they have room for: what is asked for is found at once, and a
/// problem of sizes seen before finds all of its own.
pub type Shelf<T> = [Vec<Vec<T>>; CLASSES];

/// The most room that a kept vector has.
const fn largest<T>() -> usize {
    room::<T>(CLASSES - 1)
}

/// How many of each size a thread keeps: 256, and of large ones no more than four million items together.
fn most(class: usize) -> usize {
    ((1 << 22) >> class).min(256)
}

/// What vectors are kept of.
pub trait Keep: Sized + 'static {
    /// What `work` makes of the vectors that this thread has kept; nothing while the thread ends.
    ///
    /// As it is here, the shelf is looked for by its type. [`keep!`](crate::keep) gives a type one of its own.
    fn shelf<R>(work: impl FnOnce(&mut Shelf<Self>) -> R) -> Option<R> {
        thread_local! {
            static SHELVES: RefCell<HashMap<TypeId, Box<dyn Any>>> = RefCell::new(HashMap::new());
        }
        let found = SHELVES.try_with(|shelves| {
            let mut shelves = shelves.borrow_mut();
            let shelf = shelves.entry(TypeId::of::<Self>()).or_insert_with(|| Box::new(Shelf::<Self>::default()));
            shelf.downcast_mut::<Shelf<Self>>().map(work)
        });
        found.ok().flatten()
    }
}

/// Makes [`Keep`](crate::kept::Keep) of a type, with a shelf that is found at once.
#[macro_export]
macro_rules! keep {
    ($type:ty) => {
        impl $crate::kept::Keep for $type {
            #[inline]
            fn shelf<R>(work: impl FnOnce(&mut $crate::kept::Shelf<Self>) -> R) -> Option<R> {
                use $crate::kept::{CLASSES, Shelf};
                thread_local! {
                    static SHELF: std::cell::RefCell<Shelf<$type>> =
                        const { std::cell::RefCell::new([const { Vec::new() }; CLASSES]) };
                }
                SHELF.try_with(|shelf| work(&mut shelf.borrow_mut())).ok()
            }
        }
    };
}

keep!(f32);
keep!(f64);
keep!(u8);
keep!(u32);
keep!([u32; 2]);
keep!(usize);
keep!(bool);

/// A vector that gives its memory to the next one of this thread when it is dropped.
pub struct Kept<T: Keep>(Vec<T>);

impl<T: Keep> Kept<T> {
    /// As `choose` finds it on the shelf, or else new; with room for so many.
    #[inline]
    fn taken(length: usize, choose: impl FnOnce(&mut Vec<Vec<T>>) -> Option<Vec<T>>) -> Self {
        let class = length.next_power_of_two().trailing_zeros() as usize;
        if class >= CLASSES {
            return Self(Vec::with_capacity(length + line::<T>()));
        }
        let taken = T::shelf(|shelf| choose(&mut shelf[class])).flatten();
        Self(taken.unwrap_or_else(|| Vec::with_capacity(room::<T>(class))))
    }

    /// Empty, with room for so many.
    pub fn with_capacity(length: usize) -> Self {
        let mut kept = Self::taken(length, Vec::pop);
        kept.clear();
        kept
    }

    /// Empty, without memory.
    pub const fn new() -> Self {
        Self(Vec::new())
    }
}

impl<T: Keep> Kept<T> {
    /// Gives back what room it has beyond its items, or, of one that is kept, beyond the power of two that they need: that goes to whoever
    /// asks for so much.
    pub fn fit(&mut self) {
        if self.capacity() > largest::<T>() {
            self.shrink_to_fit();
        } else if self.capacity() >= 2 * self.len().next_power_of_two() {
            let mut fitting = Self::with_capacity(self.len());
            fitting.append(self);
            *self = fitting;
        }
    }
}

impl<T: Keep + Clone + Default> Kept<T> {
    /// So many numbers that are still to be set: until then they are any.
    pub fn unset(length: usize) -> Self {
        let mut kept = Self::at_least(length, 0);
        kept.truncate(length);
        kept
    }

    /// So many numbers and a few beyond, or more, from a vector that has room for the power of two of the former.
    fn at_least(length: usize, beyond: usize) -> Self {
        let all = length + beyond;
        // Rather one that is long enough: what is missing would have to be written first.
        let mut kept = Self::taken(length, |kept| {
            let place = kept.iter().rposition(|vector| vector.len() >= all).or(kept.len().checked_sub(1))?;
            Some(kept.swap_remove(place))
        });
        if kept.len() < all {
            // To its end, so that nothing is missing next time and there are no pages to ask for.
            let room = kept.capacity().min(largest::<T>()).max(all);
            kept.resize(room, T::default());
        }
        kept
    }

    /// So many times the same.
    pub fn filled(length: usize, value: T) -> Self {
        let mut kept = Self::with_capacity(length);
        kept.resize(length, value);
        kept
    }

    /// So many defaults: zeros, of numbers.
    pub fn zeros(length: usize) -> Self {
        Self::filled(length, T::default())
    }
}

impl<T: Keep> Default for Kept<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Keep + Clone> Clone for Kept<T> {
    fn clone(&self) -> Self {
        let mut kept = Self::with_capacity(self.len());
        kept.extend_from_slice(self);
        kept
    }
}

impl<T: Keep + Debug> Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Keep + PartialEq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Keep + Eq> Eq for Kept<T> {}

impl<T: Keep + Hash> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
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

impl<T: Keep> Extend<T> for Kept<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        self.0.extend(items);
    }
}

impl<'a, T: Keep + Copy> Extend<&'a T> for Kept<T> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, items: I) {
        self.0.extend(items);
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
        // What items keep themselves goes back first; numbers stay, and need not be set again.
        if std::mem::needs_drop::<T>() {
            vector.clear();
        }
        give_back(vector);
    }
}

/// Lays a vector on the shelf of this thread, if there is room.
#[inline]
fn give_back<T: Keep>(vector: Vec<T>) {
    let Some(class) = vector.capacity().checked_ilog2() else { return };
    // One with room for more than whoever asks here would stay for ever.
    if vector.capacity() > largest::<T>() {
        return;
    }
    T::shelf(|shelf| {
        if let Some(kept) = shelf.get_mut(class as usize).filter(|kept| kept.len() < most(class as usize)) {
            kept.push(vector);
        }
    });
}

/// Numbers that begin where a line of the cache does: registers are as wide as lines, and reads of two lines take twice as long.
#[derive(Debug)]
pub struct Aligned<T: Keep> {
    values: Kept<T>,
    range: Range<usize>,
}

impl<T: Keep + Clone + Default> Aligned<T> {
    /// So many numbers that are still to be set: until then they are any.
    pub fn unset(length: usize) -> Self {
        if length == 0 {
            return Self { values: Kept::new(), range: 0..0 };
        }
        // So few that vectors of their class have no line beyond them are of the first class that has.
        let values: Kept<T> = Kept::at_least(length.max(line::<T>() + 1), line::<T>());
        let start = values.as_ptr().align_offset(LINE).min(values.len() - length);
        Self { values, range: start..start + length }
    }

    /// So many times the same.
    pub fn filled(length: usize, value: T) -> Self {
        let mut aligned = Self::unset(length);
        aligned.fill(value);
        aligned
    }
}

impl<T: Keep> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.range.clone()]
    }
}

impl<T: Keep> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.range.clone()]
    }
}

/// A text that gives its memory to the next one of its thread when it is dropped.
#[derive(Default, PartialEq)]
pub struct KeptText(String);

impl KeptText {
    /// Empty, with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut bytes = Kept::<u8>::with_capacity(bytes);
        Self(String::from_utf8(std::mem::take(&mut bytes.0)).unwrap_or_default())
    }
}

impl Deref for KeptText {
    type Target = String;

    fn deref(&self) -> &String {
        &self.0
    }
}

impl DerefMut for KeptText {
    fn deref_mut(&mut self) -> &mut String {
        &mut self.0
    }
}

impl Clone for KeptText {
    fn clone(&self) -> Self {
        let mut text = Self::with_capacity(self.len());
        text.push_str(self);
        text
    }
}

impl Debug for KeptText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl Drop for KeptText {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.0).into_bytes());
    }
}

/// A matrix in row-major order that gives its memory to the next one of its thread when it is dropped; in all else an [`Array2`].
pub struct Matrix<S: Keep>(Array2<S>);

impl<S: Keep> Keep for Matrix<S> {}

impl<S: Keep + Clone + Default> Matrix<S> {
    /// Numbers that are still to be set: until then they are any.
    pub fn unset((rows, columns): (usize, usize)) -> Self {
        let Aligned { mut values, range } = Aligned::unset(rows * columns);
        let array = Array1::from_vec(std::mem::take(&mut *values)).slice_move(s![range]);
        Self(array.into_shape_with_order((rows, columns)).expect("a number for each place"))
    }

    /// All zero.
    pub fn zeros(shape: (usize, usize)) -> Self {
        let mut matrix = Self::unset(shape);
        matrix.values_mut().fill(S::default());
        matrix
    }

    /// A copy.
    pub fn of(array: ArrayView2<'_, S>) -> Self {
        let mut matrix = Self::unset(array.dim());
        matrix.assign(&array);
        matrix
    }
}

impl<S: Keep> Matrix<S> {
    /// All numbers, row after row.
    pub fn values(&self) -> &[S] {
        self.0.as_slice().expect("a matrix is in row-major order")
    }

    /// The same, to be written.
    pub fn values_mut(&mut self) -> &mut [S] {
        self.0.as_slice_mut().expect("a matrix is in row-major order")
    }
}

impl<S: Keep + Clone> From<Array2<S>> for Matrix<S> {
    fn from(array: Array2<S>) -> Self {
        if array.is_standard_layout() { Self(array) } else { Self(array.as_standard_layout().into_owned()) }
    }
}

impl<S: Keep> From<Matrix<S>> for Array2<S> {
    fn from(mut matrix: Matrix<S>) -> Self {
        std::mem::replace(&mut matrix.0, nothing())
    }
}

impl<S: Keep> Deref for Matrix<S> {
    type Target = Array2<S>;

    fn deref(&self) -> &Array2<S> {
        &self.0
    }
}

impl<S: Keep> DerefMut for Matrix<S> {
    fn deref_mut(&mut self) -> &mut Array2<S> {
        &mut self.0
    }
}

impl<S: Keep + Clone + Default> Clone for Matrix<S> {
    fn clone(&self) -> Self {
        let mut copy = Self::unset(self.dim());
        copy.values_mut().clone_from_slice(self.values());
        copy
    }
}

impl<S: Scalar> AddAssign<&Self> for Matrix<S> {
    fn add_assign(&mut self, other: &Self) {
        assert_eq!(self.dim(), other.dim(), "matrices that are added have one shape");
        let (to, from) = (self.values_mut(), other.values());
        crate::wide! {
            for (to, &from) in to.iter_mut().zip(from) {
                *to += from;
            }
        }
    }
}

impl<S: Keep + Debug> Debug for Matrix<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: Keep + PartialEq> PartialEq for Matrix<S> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<S: Keep> Drop for Matrix<S> {
    fn drop(&mut self) {
        give_back(std::mem::replace(&mut self.0, nothing()).into_raw_vec_and_offset().0);
    }
}

/// An array without numbers or memory.
fn nothing<S: Keep>() -> Array2<S> {
    Array2::from_shape_simple_fn((0, 0), || unreachable!("there is none"))
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
        drop(Kept::<f32>::from(Vec::with_capacity(largest::<f32>() + 1)));
        drop((0..300).map(|_| Kept::<f32>::zeros(3)).collect::<Vec<_>>());
        let counts = f32::shelf(|shelf| shelf.each_ref().map(Vec::len)).unwrap();
        assert!(counts[2] == 256 && counts.iter().sum::<usize>() == 256);
        // One that has grown serves whoever its room is enough for.
        drop(Kept::<f32>::from(Vec::with_capacity(100)));
        assert!((64..=100).contains(&Kept::<f32>::with_capacity(50).capacity()));
    }

    /// Items that keep memory themselves give it back first, and the vector of them is found by its type.
    #[test]
    fn vectors_of_anything_are_kept_empty() {
        struct Cache(Kept<f64>);
        impl Keep for Cache {}
        let mut caches = Kept::with_capacity(3);
        caches.push(Cache(Kept::zeros(1000)));
        let (at, inner) = (caches.as_ptr(), caches[0].0.as_ptr());
        drop(caches);
        let again = Kept::<Cache>::with_capacity(4);
        assert!(again.is_empty() && again.as_ptr() == at && Kept::<f64>::unset(900).as_ptr() == inner);
        let mut text = KeptText::with_capacity(20);
        text.push_str("né");
        assert_eq!(text.clone(), text);
        drop(text);
        assert!(KeptText::with_capacity(30).is_empty());
    }

    #[test]
    fn a_matrix_is_an_array_whose_memory_comes_back() {
        let mut first = Matrix::<f64>::zeros((3, 5));
        first.fill(2.0);
        let at = first.as_ptr();
        assert_eq!(first.clone(), first);
        drop(first);
        let second = Matrix::<f64>::zeros((4, 4));
        assert!(second.iter().all(|&x| x == 0.0) && second.values().len() == 16);
        // The clone went to the shelf as well, so one of the two comes first.
        assert!(at == second.as_ptr() || at == Matrix::<f64>::unset((2, 5)).as_ptr());
        let turned = ndarray::array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].reversed_axes();
        assert_eq!(Matrix::from(turned).values(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    /// Of every length, and again from the shelf; what is large goes back to the allocator whole.
    #[test]
    fn lines_of_the_cache_are_begun() {
        const LARGEST: usize = 1 << (CLASSES - 1);
        for length in [1, 15, 16, 17, 31, 33, 64, 1000, 1024, LARGEST, LARGEST + 1] {
            let mut at = Vec::new();
            for round in 0..3 {
                let mut numbers = Aligned::<f32>::unset(length);
                let start = numbers.as_ptr();
                assert!(numbers.len() == length && (start as usize).is_multiple_of(LINE), "{length}");
                numbers.fill(1.0);
                at.push(start);
                drop(numbers);
                let matrix = Matrix::<f32>::zeros((1, length));
                assert!(matrix.len() == length && matrix.values().iter().all(|&x| x == 0.0));
                assert!((matrix.as_ptr() as usize).is_multiple_of(LINE), "{length}");
                assert!(round == 0 || length > LARGEST || at[round] == at[0], "{length}");
            }
        }
        // The power of two, or what is asked for where that is large, and a line beyond it.
        assert_eq!(Aligned::<f32>::unset(2 * LARGEST + 1).values.capacity(), 2 * LARGEST + 1 + LINE / 4);
        assert_eq!(Kept::<f32>::unset(1024).capacity(), 1024 + LINE / 4);
        assert_eq!(Kept::<u8>::unset(64).capacity(), 64);
    }
}
