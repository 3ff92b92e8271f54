//! The blocks of a tree in one contiguous vector.

use grapheme_core::param::{self, PairVisitor, Path, Visitor, VisitorMut};
use grapheme_core::{ParamTree, Scalar};
use std::ops::Range;

/// One block of a [`Flat`] tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The dotted name.
    pub name: String,
    /// The shape.
    pub shape: Vec<usize>,
    /// Where its values stand in [`Flat::values`].
    pub range: Range<usize>,
}

/// A tree with the names and shapes of another, its values in one vector in walk order.
///
/// A walk can join two trees; a step of Adam joins four (weights, gradient, two moments). So the moments are flat, and
/// being trees themselves they are saved under the model's own names.
#[derive(Clone, Debug, PartialEq)]
pub struct Flat<S> {
    blocks: Vec<Block>,
    values: Vec<S>,
}

impl<S: Scalar> Flat<S> {
    /// Zeros of the shape of `tree`.
    pub fn zeros_like(tree: &impl ParamTree<S>) -> Self {
        let (mut blocks, mut end) = (Vec::new(), 0);
        param::each(tree, |name, shape, values| {
            let range = end..end + values.len();
            end = range.end;
            blocks.push(Block { name: name.to_owned(), shape: shape.to_vec(), range });
        });
        Self { blocks, values: vec![S::zero(); end] }
    }

    /// The blocks in walk order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// All values in walk order.
    pub fn values(&self) -> &[S] {
        &self.values
    }

    /// The blocks, and all values in walk order to be written.
    pub fn parts_mut(&mut self) -> (&[Block], &mut [S]) {
        (&self.blocks, &mut self.values)
    }
}

impl<S: Scalar> ParamTree<S> for Flat<S> {
    fn visit<'t>(&'t self, path: &mut Path, f: &mut Visitor<'_, 't, S>) {
        for block in &self.blocks {
            path.with(&block.name, |path| f(path.as_str(), &block.shape, &self.values[block.range.clone()]));
        }
    }

    fn visit_mut<'t>(&'t mut self, path: &mut Path, f: &mut VisitorMut<'_, 't, S>) {
        let Self { blocks, values } = self;
        let mut rest = &mut values[..];
        for block in blocks {
            let values = rest.split_off_mut(..block.range.len()).expect("blocks lie one after another");
            path.with(&block.name, |path| f(path.as_str(), &block.shape, values));
        }
    }

    fn visit_pair<'t>(&'t mut self, other: &'t Self, path: &mut Path, f: &mut PairVisitor<'_, 't, S>) {
        let mut others = other.blocks.iter();
        self.visit_mut(path, &mut |name, _, values| {
            let there = others.next().map_or(&[][..], |block| &other.values[block.range.clone()]);
            f(name, values, there);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, Dimension};

    #[test]
    fn a_flat_tree_walks_like_the_tree_it_was_made_of() {
        let tree: Vec<ArrayD<f64>> = [&[2, 3][..], &[], &[0, 4], &[2]]
            .iter()
            .map(|shape| ArrayD::from_shape_fn(*shape, |i| i.slice().iter().sum::<usize>() as f64 + 0.5))
            .collect();
        let mut flat = Flat::zeros_like(&tree);
        let mut blocks = flat.blocks.iter();
        param::each(&tree, |name, shape, values| {
            let block = blocks.next().unwrap();
            assert_eq!((name, shape), (&block.name[..], &block.shape[..]));
            flat.values[block.range.clone()].copy_from_slice(values);
        });
        assert_eq!((flat.values.len(), param::norm(&flat)), (param::count(&tree), param::norm(&tree)));

        let half = flat.clone();
        param::each_mut(&mut flat, |_, _, values| values.iter_mut().for_each(|x| *x *= 2.0));
        param::each_pair(&mut flat, &half, |_, here, there| {
            assert!(here.iter().zip(there).all(|(here, there)| *here == 2.0 * there));
        });
    }
}
