//! Passes over all weights, cut into pieces that the threads of a pool share.
//!
//! What is done to a weight looks at no other, so the bits are the same however it is cut and for any number of threads; where
//! pieces are summed up, they are the same pieces in the same order. Off the threads of a pool nothing is shared: a person who
//! asked for one thread gets one.

use grapheme_core::{ParamTree, Scalar, param, wide};
use rayon::prelude::*;

/// The most weights of a piece: some tens of microseconds of work, against a few for handing it on.
pub(super) const PIECE: usize = 1 << 14;

/// Whether the threads of a pool share what is done here.
fn shared(pieces: usize) -> bool {
    pieces > 1 && rayon::current_thread_index().is_some() && rayon::current_num_threads() > 1
}

/// `f` on every piece. All blocks are handed out together, so that threads meet once a pass and not once a block.
pub(super) fn spread<P: Send>(pieces: Vec<P>, f: impl Fn(P) + Send + Sync) {
    if shared(pieces.len()) { pieces.into_par_iter().for_each(f) } else { pieces.into_iter().for_each(f) }
}

/// `f(w_i)` for every weight.
pub(crate) fn each<S: Scalar>(tree: &mut impl ParamTree<S>, f: impl Fn(&mut S) + Send + Sync) {
    let mut pieces = Vec::new();
    param::each_mut(tree, |_, _, values| pieces.extend(values.chunks_mut(PIECE)));
    spread(pieces, |piece| wide!(piece.iter_mut().for_each(&f)));
}

/// `f(a_i, b_i)` for every weight of two trees of one shape.
pub(crate) fn each_pair<S: Scalar, T: ParamTree<S>>(a: &mut T, b: &T, f: impl Fn(&mut S, S) + Send + Sync) {
    let mut pieces = Vec::new();
    param::each_pair(a, b, |_, a, b| pieces.extend(a.chunks_mut(PIECE).zip(b.chunks(PIECE))));
    spread(pieces, |(a, b)| wide!(a.iter_mut().zip(b).for_each(|(a, &b)| f(a, b))));
}

/// `f` of every piece, in the order of the pieces.
pub(super) fn of_each<S: Scalar, R: Send>(tree: &impl ParamTree<S>, f: impl Fn(&[S]) -> R + Send + Sync) -> Vec<R> {
    let mut pieces: Vec<&[S]> = Vec::new();
    param::each(tree, |_, _, values| pieces.extend(values.chunks(PIECE)));
    if shared(pieces.len()) { pieces.into_par_iter().map(f).collect() } else { pieces.into_iter().map(f).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array1;
    use rayon::ThreadPoolBuilder;

    #[test]
    fn every_weight_is_met_once_on_any_number_of_threads() {
        let lengths = [0, 1, PIECE, 2 * PIECE, 5 * PIECE + 17];
        let start: Vec<Array1<f32>> = lengths.map(|n| Array1::from_shape_fn(n, |i| (i as f32).sin())).to_vec();
        let run = || {
            let mut a = start.clone();
            each(&mut a, |a| *a *= 1.7);
            each_pair(&mut a, &start, |a, b| *a += b / 3.0);
            (of_each(&a, |piece| (piece.len(), piece[0])), a)
        };
        let expected: Vec<Array1<f32>> = start.iter().map(|x| x.mapv(|x| x * 1.7 + x / 3.0)).collect();
        let (alone, found) = run();
        assert_eq!(found, expected);
        assert_eq!(alone.iter().map(|piece| piece.0).sum::<usize>(), lengths.iter().sum::<usize>());
        assert_eq!(alone.iter().map(|piece| piece.0).max(), Some(PIECE));
        for threads in [1, 2, 3] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(run), (alone.clone(), expected.clone()));
        }
    }
}
