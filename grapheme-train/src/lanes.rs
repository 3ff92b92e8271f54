//! Work over threads that gives the same bits for any number of them.
//!
//! A batch is cut into lanes by a configured size, never by the number of threads. A lane computes on its own, and what
//! lanes give is put together in the order of lanes, so only the time depends on the threads.

use crate::optim::pieces;
use grapheme_core::param::{each_mut, zeros_like};
use grapheme_core::{ParamTree, Scalar};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;
use thiserror::Error;

/// The threads could not be started.
#[derive(Debug, Error)]
#[error("cannot start {threads} threads: {reason}; ask for fewer with --threads")]
pub struct ThreadsError {
    /// The number asked for.
    pub threads: usize,
    /// What the system answered.
    pub reason: String,
}

/// Threads, and one gradient buffer a lane that is kept between steps.
#[derive(Debug)]
pub struct Lanes<T> {
    pool: Arc<ThreadPool>,
    buffers: Vec<T>,
}

/// Deals items of the given sizes out to `ceil(items / most)` lanes of at most `most` items: the largest first, each to the lane
/// with the least so far (Graham, Bounds on multiprocessing timing anomalies, 1969). Lanes name items by their index, in
/// increasing order; so lanes that are worked on side by side end at about the same time. `O(items (log items + lanes))`.
pub fn deal(sizes: &[usize], most: usize) -> Vec<Vec<usize>> {
    let most = most.max(1);
    let mut lanes = vec![(0, Vec::with_capacity(most.min(sizes.len()))); sizes.len().div_ceil(most)];
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(sizes[i]));
    for i in order {
        let open = lanes.iter_mut().filter(|(_, items)| items.len() < most);
        let (size, items) = open.min_by_key(|(size, _)| *size).expect("there is room for every item");
        *size += sizes[i];
        items.push(i);
    }
    let sorted = |(_, mut items): (usize, Vec<usize>)| {
        items.sort_unstable();
        items
    };
    lanes.into_iter().map(sorted).collect()
}

impl<T: Clone + Send + Sync> Lanes<T> {
    /// Starts the threads; 0 means one a core.
    ///
    /// # Errors
    /// [`ThreadsError`].
    pub fn new(threads: usize) -> Result<Self, ThreadsError> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| ThreadsError { threads, reason: error.to_string() })?;
        Ok(Self { pool: Arc::new(pool), buffers: Vec::new() })
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The threads: on them, passes over all weights are shared.
    pub fn pool(&self) -> Arc<ThreadPool> {
        Arc::clone(&self.pool)
    }

    /// `evaluate(i, lane i)` for every lane, results in the order of lanes.
    ///
    /// # Errors
    /// The error of the first lane that has one, the same for any number of threads.
    pub fn map<I, R, E>(
        &self,
        lanes: &[I],
        evaluate: impl Fn(usize, &I) -> Result<R, E> + Send + Sync,
    ) -> Result<Vec<R>, E>
    where
        I: Sync,
        R: Send,
        E: Send,
    {
        let work = || lanes.par_iter().enumerate().map(|(i, lane)| evaluate(i, lane)).collect::<Vec<_>>();
        self.pool.install(work).into_iter().collect()
    }

    /// The gradient summed over lanes, and what each lane returned besides.
    ///
    /// `evaluate(i, lane i, gradient)` adds into a gradient that is zero at the start; the sum is
    /// `((g_0 + g_1) + g_2) + ...`. It may be written, as clipping does; the next call starts from zero again. Without
    /// lanes it is zero. Takes one buffer of the model's size a lane, allocated at the first call.
    ///
    /// # Errors
    /// The error of the first lane that has one, the same for any number of threads.
    pub fn gradient<S, I, R, E>(
        &mut self,
        model: &T,
        lanes: &[I],
        evaluate: impl Fn(usize, &I, &mut T) -> Result<R, E> + Send + Sync,
    ) -> Result<(Vec<R>, &mut T), E>
    where
        S: Scalar,
        T: ParamTree<S>,
        I: Sync,
        R: Send,
        E: Send,
    {
        // An empty sum needs a place too.
        while self.buffers.len() < lanes.len().max(1) {
            self.buffers.push(zeros_like(model));
        }
        let buffers = &mut self.buffers;
        let work = || {
            let pairs = buffers.par_iter_mut().zip(lanes).enumerate();
            let lane = |(i, (gradient, lane)): (usize, (&mut T, &I))| {
                each_mut(gradient, |_, _, values| values.fill(S::zero()));
                evaluate(i, lane, gradient)
            };
            let results = pairs.map(lane).collect::<Vec<_>>();
            let (sum, rest) = buffers.split_first_mut().expect("there is at least one buffer");
            if lanes.is_empty() {
                each_mut(sum, |_, _, values| values.fill(S::zero()));
            }
            for gradient in rest.iter().take(lanes.len().saturating_sub(1)) {
                pieces::each_pair(sum, gradient, |a, b| *a += b);
            }
            results
        };
        let results = self.pool.install(work).into_iter().collect::<Result<Vec<R>, E>>()?;
        let sum = self.buffers.first_mut().expect("there is at least one buffer");
        Ok((results, sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, arr1};
    use std::convert::Infallible;

    /// Terms from 1e-8 to 1e8 with changing signs: in f32 nearly every order of adding gives another sum.
    fn term(lane: usize, i: usize) -> f32 {
        let x = (lane * 31 + i * 17) as f32;
        x.sin() * 10f32.powi((lane * 7 + i) as i32 % 17 - 8)
    }

    fn sum(threads: usize, lanes: &[usize]) -> Array1<f32> {
        let model = Array1::zeros(50);
        let mut pool = Lanes::new(threads).unwrap();
        assert_eq!(pool.threads(), threads);
        let add = |i: usize, &lane: &usize, gradient: &mut Array1<f32>| {
            // Later lanes are done first, so an order by arrival would show.
            std::thread::sleep(std::time::Duration::from_micros(300 * (lanes.len() - i) as u64));
            gradient.indexed_iter_mut().for_each(|(k, x)| *x += term(lane, k));
            Ok::<_, Infallible>(lane)
        };
        // The second call finds buffers full of the first, and the first sum scribbled over.
        let (order, first) = pool.gradient(&model, lanes, add).unwrap();
        assert_eq!(order, lanes);
        let copy = first.clone();
        first.fill(f32::NAN);
        let (_, second) = pool.gradient(&model, lanes, add).unwrap();
        assert_eq!(&copy, second);
        copy
    }

    #[test]
    fn one_two_and_eight_threads_give_the_bits_of_the_sum_in_order() {
        let lanes: Vec<usize> = (0..13).collect();
        let expected =
            Array1::from_shape_fn(50, |k| lanes[1..].iter().fold(term(0, k), |sum, &lane| sum + term(lane, k)));
        for threads in [1, 2, 8] {
            assert_eq!(sum(threads, &lanes), expected, "{threads} threads");
        }
        let reversed: Vec<usize> = lanes.iter().rev().copied().collect();
        assert_ne!(sum(2, &reversed), expected, "these terms are no test of order");
    }

    #[test]
    fn lanes_are_of_about_one_size_and_hold_every_item_once() {
        let sizes: Vec<usize> = (0..37).map(|i| 8 + i * i % 13).collect();
        let lanes = deal(&sizes, 8);
        assert_eq!(lanes.len(), 5);
        let mut all = lanes.concat();
        all.sort_unstable();
        assert_eq!(all, (0..37).collect::<Vec<_>>());
        assert!(lanes.iter().all(|lane| lane.len() <= 8 && lane.is_sorted()));
        let of: Vec<usize> = lanes.iter().map(|lane| lane.iter().map(|&i| sizes[i]).sum()).collect();
        assert!(of.iter().max().unwrap() - of.iter().min().unwrap() <= *sizes.iter().min().unwrap(), "{of:?}");
        // One huge item fills its lane, as far as the others have room.
        assert_eq!(deal(&[1, 1, 90, 1], 2), [vec![2, 3], vec![0, 1]]);
        assert_eq!(deal(&[5, 5, 5], 5), [vec![0, 1, 2]]);
        assert_eq!(deal(&[], 4), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn no_lanes_sum_to_zero_also_after_a_step() {
        let mut pool = Lanes::new(2).unwrap();
        let model = arr1(&[1.0, 2.0]);
        let fill = |_: usize, x: &f64, gradient: &mut Array1<f64>| {
            gradient.fill(*x);
            Ok::<_, Infallible>(())
        };
        assert_eq!(*pool.gradient(&model, &[3.0, 4.0], fill).unwrap().1, arr1(&[7.0, 7.0]));
        let (results, sum) = pool.gradient(&model, &[], fill).unwrap();
        assert_eq!((results, sum.clone()), (vec![], arr1(&[0.0, 0.0])));
        // Fewer lanes than before use fewer buffers.
        assert_eq!(*pool.gradient(&model, &[5.0], fill).unwrap().1, arr1(&[5.0, 5.0]));
    }

    #[test]
    fn the_error_of_the_first_lane_is_returned_whichever_fails_first_in_time() {
        for threads in [1, 2, 8] {
            let mut pool = Lanes::new(threads).unwrap();
            let fail = |i: usize, &lane: &u64| {
                std::thread::sleep(std::time::Duration::from_millis(10 - lane));
                if lane >= 3 { Err(format!("lane {i}")) } else { Ok(lane) }
            };
            let lanes: Vec<u64> = (0..9).collect();
            assert_eq!(pool.map(&lanes, fail), Err("lane 3".to_owned()));
            assert_eq!(pool.map(&lanes[..3], fail), Ok(vec![0, 1, 2]));
            let result = pool.gradient(&arr1(&[0.0_f32]), &lanes, |i, lane, _| fail(i, lane));
            assert_eq!(result.map(|(results, _)| results), Err("lane 3".to_owned()));
        }
    }
}
