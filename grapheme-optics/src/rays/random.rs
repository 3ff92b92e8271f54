//! Rays drawn at random.

use super::{At, Ray, Tracer};
use grapheme_core::{Scalar, Stream};
use ndarray::Array2;
use rand::RngExt;

/// The gradient of the features as random rays see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The mean over rays, nodes x width.
    pub mean: Array2<f64>,
    /// The variance of the mean, number by number: the sample variance over the number of rays.
    pub variance: Array2<f64>,
    /// How many rays were drawn.
    pub rays: usize,
    /// How many reached the input; Russian roulette ended the others.
    pub arrived: usize,
}

impl<S: Scalar> Tracer<'_, S> {
    /// Draws `rays` rays. At each branching one branch is taken, with a probability in proportion to the length of its
    /// vector, which is divided by that probability. A ray whose length falls below `roulette` times the one that it began
    /// with ends with probability one half, or goes on doubled (Russian roulette: Arvo and Kirk, 1990); 0 for none. Each ray
    /// is an unbiased estimate of the chain rule, so the mean is, and its variance falls as one over the number of rays.
    pub fn monte_carlo(&mut self, rays: usize, roulette: f64, stream: &Stream) -> Sampled {
        let shape = (self.trace.topology(self.morphed, 0).nodes(), self.width());
        let (mut sum, mut squares) = (Array2::<f64>::zeros(shape), Array2::<f64>::zeros(shape));
        let sources = self.sources();
        let mut arrived = 0;
        for i in 0..rays {
            let mut stream = stream.fork(i as u64);
            let Some((mut ray, mut weight)) = draw(sources.clone(), &mut stream) else { continue };
            let first = weight * length(&ray);
            let ended = loop {
                if ray.at == At::End {
                    break true;
                }
                let Some((next, factor)) = draw(self.branches(&ray), &mut stream) else { break false };
                (ray, weight) = (next, weight * factor);
                if weight * length(&ray) < roulette * first {
                    if stream.random::<f64>() < 0.5 {
                        break false;
                    }
                    weight *= 2.0;
                }
            };
            if !ended {
                continue;
            }
            arrived += 1;
            let node = ray.node();
            for (c, &v) in ray.vector.iter().enumerate() {
                let value = weight * v.widen();
                sum[[node, c]] += value;
                squares[[node, c]] += value * value;
            }
        }
        let n = rays.max(1) as f64;
        let mean = sum / n;
        // (E[x^2] - E[x]^2) / (n - 1) is the unbiased variance of the mean.
        let variance = (squares / n - &mean * &mean).mapv(|v| v.max(0.0)) / (n - 1.0).max(1.0);
        Sampled { mean, variance, rays, arrived }
    }
}

/// One of the rays, in proportion to its length, and one over the probability that it had. None where all are zero.
fn draw<S: Scalar>(rays: Vec<Ray<S>>, stream: &mut Stream) -> Option<(Ray<S>, f64)> {
    let total: f64 = rays.iter().map(length).sum();
    let mut place = stream.random::<f64>() * total;
    let mut last = None;
    for ray in rays {
        let own = length(&ray);
        if own > 0.0 {
            place -= own;
            last = Some((ray, total / own));
            if place < 0.0 {
                break;
            }
        }
    }
    last
}

fn length<S: Scalar>(ray: &Ray<S>) -> f64 {
    ray.energies.last().map_or(0.0, |energy| energy.sqrt())
}
