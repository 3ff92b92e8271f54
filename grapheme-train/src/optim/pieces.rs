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
fn shared() -> bool {
    rayon::current_thread_index().is_some() && rayon::current_num_threads() > 1
}

/// `f` on every piece that `hand_out` gives away. All blocks are handed out together, so that threads meet once a pass and not once a
/// block; a thread that shares them with no other makes no list of them.
pub(super) fn spread<P: Send>(hand_out: impl FnOnce(&mut dyn FnMut(P)), f: impl Fn(P) + Send + Sync) {
    if shared() {
        let mut pieces = Vec::new();
        hand_out(&mut |piece| pieces.push(piece));
        pieces.into_par_iter().for_each(f);
    } else {
        hand_out(&mut |piece| f(piece));
    }
}

/// `f(w_i)` for every weight.
pub(crate) fn each<S: Scalar>(tree: &mut impl ParamTree<S>, f: impl Fn(&mut S) + Send + Sync) {
    spread(
        |take| param::each_mut(tree, |_, _, values| values.chunks_mut(PIECE).for_each(&mut *take)),
        |piece: &mut [S]| wide!(piece.iter_mut().for_each(&f)),
    );
}

/// `f(a_i, b_i)` for every weight of two trees of one shape.
pub(crate) fn each_pair<S: Scalar, T: ParamTree<S>>(a: &mut T, b: &T, f: impl Fn(&mut S, S) + Send + Sync) {
    spread(
        |take| param::each_pair(a, b, |_, a, b| a.chunks_mut(PIECE).zip(b.chunks(PIECE)).for_each(&mut *take)),
        |(a, b): (&mut [S], &[S])| wide!(a.iter_mut().zip(b).for_each(|(a, &b)| f(a, b))),
    );
}

/// The sum of what `f` makes of every piece, added in the order of the pieces.
pub(super) fn sum_of<S: Scalar>(tree: &impl ParamTree<S>, f: impl Fn(&[S]) -> f64 + Send + Sync) -> f64 {
    if shared() {
        let mut pieces: Vec<&[S]> = Vec::new();
        param::each(tree, |_, _, values| pieces.extend(values.chunks(PIECE)));
        let sums: Vec<f64> = pieces.into_par_iter().map(f).collect();
        return sums.into_iter().fold(0.0, |sum, piece| sum + piece);
    }
    let mut sum = 0.0;
    param::each(tree, |_, _, values| values.chunks(PIECE).for_each(|piece| sum += f(piece)));
    sum
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
            // Of so many sizes that another order of the sum would show.
            (sum_of(&a, |piece| f64::from(piece[0]) / 3.0 + 1e12 * (piece.len() as f64).sin()).to_bits(), a)
        };
        let expected: Vec<Array1<f32>> = start.iter().map(|x| x.mapv(|x| x * 1.7 + x / 3.0)).collect();
        let (sum, found) = run();
        assert_eq!(found, expected);
        assert_eq!(sum_of(&start, |piece| piece.len() as f64), lengths.iter().sum::<usize>() as f64);
        assert_eq!(sum_of(&start, |piece| f64::from(u8::from(piece.len() > PIECE))), 0.0);
        for threads in [1, 2, 3] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(run), (sum, expected.clone()));
        }
    }
}
