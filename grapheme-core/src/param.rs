//! The one walk over a model's parameters.
//!
//! The gradient of a model is a model of the same type. The optimiser, checkpoints, the gradient checker, telemetry and
//! the sum over lanes all use [`ParamTree`], so a dotted name (`stages.0.rounds.1.project.weight`) means the same thing
//! everywhere: it is the field path in the code, the key in the checkpoint and the name in an error message.

use crate::kept::KeptText;
use crate::scalar::Scalar;
use ndarray::{Array, Dimension};
use std::fmt::{Display, Write};

/// The dotted name under construction during a walk.
#[derive(Debug)]
pub struct Path(KeptText);

impl Default for Path {
    /// The root, with room for the names of most trees.
    fn default() -> Self {
        Self(KeptText::with_capacity(64))
    }
}

impl Path {
    /// Runs `walk` with `name` appended to the path, then removes it again.
    pub fn with<R>(&mut self, name: impl Display, walk: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        write!(self.0, "{name}").expect("a string takes what is written to it");
        let result = walk(self);
        self.0.truncate(length);
        result
    }

    /// The dotted name so far.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What [`ParamTree::visit`] calls for each block: its dotted name, its shape and its values in row-major order. Values may be
/// kept for as long as the tree is borrowed (`'t`), so that blocks can be gathered and worked on together.
pub type Visitor<'f, 't, S> = dyn FnMut(&str, &[usize], &'t [S]) + 'f;
/// What [`ParamTree::visit_mut`] calls for each block.
pub type VisitorMut<'f, 't, S> = dyn FnMut(&str, &[usize], &'t mut [S]) + 'f;
/// What [`ParamTree::visit_pair`] calls for each block: its name, its values here, and the values in the other tree.
pub type PairVisitor<'f, 't, S> = dyn FnMut(&str, &'t mut [S], &'t [S]) + 'f;

/// A tree of named parameter blocks, walked in the order of declaration.
///
/// Implemented by arrays (the leaves), by `Vec`, and for structs by [`param_tree!`](crate::param_tree).
pub trait ParamTree<S: Scalar> {
    /// Reads every block.
    fn visit<'t>(&'t self, path: &mut Path, f: &mut Visitor<'_, 't, S>);

    /// Reads and writes every block.
    fn visit_mut<'t>(&'t mut self, path: &mut Path, f: &mut VisitorMut<'_, 't, S>);

    /// Walks two trees of the same shape together, writing the first.
    ///
    /// Trees of different shapes stop at the shorter one; trees made by [`zeros_like`] never differ.
    fn visit_pair<'t>(&'t mut self, other: &'t Self, path: &mut Path, f: &mut PairVisitor<'_, 't, S>);
}

impl<S: Scalar, D: Dimension> ParamTree<S> for Array<S, D> {
    fn visit<'t>(&'t self, path: &mut Path, f: &mut Visitor<'_, 't, S>) {
        f(path.as_str(), self.shape(), row_major(self));
    }

    fn visit_mut<'t>(&'t mut self, path: &mut Path, f: &mut VisitorMut<'_, 't, S>) {
        let shape = self.raw_dim();
        f(path.as_str(), shape.slice(), row_major_mut(self));
    }

    fn visit_pair<'t>(&'t mut self, other: &'t Self, path: &mut Path, f: &mut PairVisitor<'_, 't, S>) {
        f(path.as_str(), row_major_mut(self), row_major(other));
    }
}

/// Parameters are created in row-major order and only ever written in place, so these views always exist.
fn row_major<S, D: Dimension>(array: &Array<S, D>) -> &[S] {
    array.as_slice().expect("a parameter is stored in row-major order")
}

fn row_major_mut<S, D: Dimension>(array: &mut Array<S, D>) -> &mut [S] {
    array.as_slice_mut().expect("a parameter is stored in row-major order")
}

impl<S: Scalar, T: ParamTree<S>> ParamTree<S> for Vec<T> {
    fn visit<'t>(&'t self, path: &mut Path, f: &mut Visitor<'_, 't, S>) {
        for (i, item) in self.iter().enumerate() {
            path.with(i, |path| item.visit(path, f));
        }
    }

    fn visit_mut<'t>(&'t mut self, path: &mut Path, f: &mut VisitorMut<'_, 't, S>) {
        for (i, item) in self.iter_mut().enumerate() {
            path.with(i, |path| item.visit_mut(path, f));
        }
    }

    fn visit_pair<'t>(&'t mut self, other: &'t Self, path: &mut Path, f: &mut PairVisitor<'_, 't, S>) {
        for (i, (item, other)) in self.iter_mut().zip(other).enumerate() {
            path.with(i, |path| item.visit_pair(other, path, f));
        }
    }
}

impl<S: Scalar, T: ParamTree<S>> ParamTree<S> for Option<T> {
    fn visit<'t>(&'t self, path: &mut Path, f: &mut Visitor<'_, 't, S>) {
        self.iter().for_each(|item| item.visit(path, f));
    }

    fn visit_mut<'t>(&'t mut self, path: &mut Path, f: &mut VisitorMut<'_, 't, S>) {
        self.iter_mut().for_each(|item| item.visit_mut(path, f));
    }

    fn visit_pair<'t>(&'t mut self, other: &'t Self, path: &mut Path, f: &mut PairVisitor<'_, 't, S>) {
        self.iter_mut().zip(other).for_each(|(item, other)| item.visit_pair(other, path, f));
    }
}

/// Writes [`ParamTree`] for a struct that is generic over its scalar: `param_tree!(Linear { weight, bias });`.
/// Fields that are not named (sizes, settings) are not parameters.
#[macro_export]
macro_rules! param_tree {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl<S: $crate::Scalar> $crate::ParamTree<S> for $type<S> {
            fn visit<'t>(&'t self, path: &mut $crate::param::Path, f: &mut $crate::param::Visitor<'_, 't, S>) {
                $(path.with(stringify!($field), |path| self.$field.visit(path, f));)+
            }
            fn visit_mut<'t>(
                &'t mut self,
                path: &mut $crate::param::Path,
                f: &mut $crate::param::VisitorMut<'_, 't, S>,
            ) {
                $(path.with(stringify!($field), |path| self.$field.visit_mut(path, f));)+
            }
            fn visit_pair<'t>(
                &'t mut self,
                other: &'t Self,
                path: &mut $crate::param::Path,
                f: &mut $crate::param::PairVisitor<'_, 't, S>,
            ) {
                $(path.with(stringify!($field), |path| self.$field.visit_pair(&other.$field, path, f));)+
            }
        }
    };
}

/// Reads every block of a whole tree: `f(name, shape, values)`.
pub fn each<'t, S: Scalar>(tree: &'t impl ParamTree<S>, mut f: impl FnMut(&str, &[usize], &'t [S])) {
    tree.visit(&mut Path::default(), &mut f);
}

/// Reads and writes every block of a whole tree: `f(name, shape, values)`.
pub fn each_mut<'t, S: Scalar>(tree: &'t mut impl ParamTree<S>, mut f: impl FnMut(&str, &[usize], &'t mut [S])) {
    tree.visit_mut(&mut Path::default(), &mut f);
}

/// Walks two whole trees of one type together: `f(name, values here, values there)`.
pub fn each_pair<'t, S: Scalar, T: ParamTree<S>>(
    tree: &'t mut T,
    other: &'t T,
    mut f: impl FnMut(&str, &'t mut [S], &'t [S]),
) {
    tree.visit_pair(other, &mut Path::default(), &mut f);
}

/// A tree of the same shape with every value zero: the start of a gradient.
pub fn zeros_like<S: Scalar, T: ParamTree<S> + Clone>(tree: &T) -> T {
    let mut zeros = tree.clone();
    each_mut(&mut zeros, |_, _, values| values.fill(S::zero()));
    zeros
}

/// `tree += other`, block by block in walk order.
pub fn add_assign<S: Scalar, T: ParamTree<S>>(tree: &mut T, other: &T) {
    each_pair(tree, other, |_, here, there| {
        for (a, &b) in here.iter_mut().zip(there) {
            *a += b;
        }
    });
}

/// The number of scalars in the tree.
pub fn count<S: Scalar>(tree: &impl ParamTree<S>) -> usize {
    let mut n = 0;
    each(tree, |_, _, values| n += values.len());
    n
}

/// The Euclidean norm over all blocks, summed in `f64`.
pub fn norm<S: Scalar>(tree: &impl ParamTree<S>) -> f64 {
    let mut sum = 0.0;
    each(tree, |_, _, values| sum += values.iter().map(|&x| x.widen() * x.widen()).sum::<f64>());
    sum.sqrt()
}
