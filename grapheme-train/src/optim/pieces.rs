//! Passes over all weights, cut into pieces that the threads of a pool share.
//!
//! What is done to a weight looks at no other, so the bits are the same however it is cut and for any number of threads. Off the
//! threads of a pool nothing is shared: a person who asked for one thread gets one.

use grapheme_core::{Scalar, wide};
use rayon::prelude::*;

/// Weights a piece: some tens of microseconds of work, against a few for handing it on.
pub(super) const PIECE: usize = 1 << 14;

/// Whether a pass over so many weights is worth sharing.
pub(super) fn shared(weights: usize) -> bool {
    weights >= 2 * PIECE && rayon::current_thread_index().is_some() && rayon::current_num_threads() > 1
}

/// `f(a_i)` for every weight.
pub(crate) fn each<S: Scalar>(a: &mut [S], f: impl Fn(&mut S) + Sync) {
    let pass = |a: &mut [S]| wide!(a.iter_mut().for_each(&f));
    if shared(a.len()) { a.par_chunks_mut(PIECE).for_each(pass) } else { pass(a) }
}

/// `f(a_i, b_i)` for every weight.
pub(crate) fn each_pair<S: Scalar>(a: &mut [S], b: &[S], f: impl Fn(&mut S, S) + Sync) {
    let pass = |a: &mut [S], b: &[S]| wide!(a.iter_mut().zip(b).for_each(|(a, &b)| f(a, b)));
    if shared(a.len()) {
        a.par_chunks_mut(PIECE).zip(b.par_chunks(PIECE)).for_each(|(a, b)| pass(a, b));
    } else {
        pass(a, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::ThreadPoolBuilder;

    #[test]
    fn every_weight_is_met_once_on_any_number_of_threads() {
        for n in [0, 1, PIECE, 2 * PIECE, 5 * PIECE + 17] {
            let start: Vec<f32> = (0..n).map(|i| (i as f32).sin()).collect();
            let run = || {
                let mut a = start.clone();
                each(&mut a, |a| *a *= 1.7);
                each_pair(&mut a, &start, |a, b| *a += b / 3.0);
                a
            };
            let expected: Vec<f32> = start.iter().map(|x| x * 1.7 + x / 3.0).collect();
            assert_eq!(run(), expected);
            for threads in [1, 2, 3] {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(pool.install(run), expected);
            }
        }
    }
}
