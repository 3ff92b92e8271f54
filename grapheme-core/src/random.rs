//! Counter-based random streams.
//!
//! A stream is a key and a counter; its i-th number is a hash of both. Nothing is carried from one call to the next
//! besides the counter, so a backward pass or a resumed run draws the same numbers as the first time, whatever the
//! thread count. The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).

use rand::TryRng;
use std::convert::Infallible;

/// 2^64 divided by the golden ratio, the increment of SplitMix64.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Scrambles 64 bits; a bijection in which every input bit flips every output bit with probability near one half.
#[inline]
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A reproducible stream of random numbers; works with everything in `rand` that takes an `Rng`.
///
/// ```
/// use grapheme_core::Stream;
/// use rand::Rng;
///
/// let seed = Stream::new(7);
/// let mut dropout = seed.fork(3).fork(0xD0);
/// assert_eq!(dropout.next_u64(), seed.fork(3).fork(0xD0).next_u64());
/// assert_ne!(dropout.next_u64(), seed.fork(4).fork(0xD0).next_u64());
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    key: u64,
    counter: u64,
}

impl Stream {
    /// The root stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { key: mix(seed ^ GOLDEN), counter: 0 }
    }

    /// An independent stream for one more part of the key: an epoch, an example, a purpose. The counter starts at 0.
    #[must_use]
    pub fn fork(&self, part: u64) -> Self {
        Self { key: mix(self.key.wrapping_add(GOLDEN) ^ mix(part.wrapping_mul(GOLDEN).wrapping_add(1))), counter: 0 }
    }

    /// The number at position `index`, independent of the counter.
    #[inline]
    pub fn at(&self, index: u64) -> u64 {
        mix(self.key.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN)))
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|x| (x >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let x = self.at(self.counter);
        self.counter = self.counter.wrapping_add(1);
        Ok(x)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(8) {
            let bytes = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, RngExt};

    #[test]
    fn uniform_numbers_have_the_moments_of_the_uniform_distribution() {
        let mut stream = Stream::new(1).fork(2);
        let n = 100_000;
        let (mut sum, mut square) = (0.0, 0.0);
        for _ in 0..n {
            let x: f64 = stream.random();
            sum += x;
            square += x * x;
        }
        // Standard errors are 9e-4 and 9.4e-4; four of them.
        assert!((sum / f64::from(n) - 0.5).abs() < 4e-3);
        assert!((square / f64::from(n) - 1.0 / 3.0).abs() < 4e-3);
    }

    #[test]
    fn forks_differ_by_every_part_of_their_key_and_by_order() {
        let root = Stream::new(0);
        let mut seen = std::collections::BTreeSet::new();
        for a in 0..50 {
            for b in 0..50 {
                assert!(seen.insert(root.fork(a).fork(b).next_u64()), "fork({a}).fork({b}) repeats");
            }
        }
    }
}
