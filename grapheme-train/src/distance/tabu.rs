//! Robust tabu search over swaps, for graphs small enough to look at every swap.

use super::placement::{NONE, Placement};
use grapheme_core::Stream;
use grapheme_core::random::mix;
use rand::Rng;

/// Makes the best swap or move that is not tabu, `steps` times, and leaves the best placement that it met in `best`.
///
/// After Taillard (Robust taboo search for the quadratic assignment problem, Parallel Computing 17, 1991): a node that left
/// a place may not return to it for a random number of steps, about the number of nodes, unless that beats the best.
/// Ends early at `enough`. `O(m^2)` for a step.
pub(super) fn search(
    placement: &mut Placement<'_>,
    best: &mut Best,
    enough: i64,
    steps: usize,
    stream: &mut Stream,
    tabu: &mut Vec<u32>,
) {
    let (n, m) = (placement.image.len(), placement.origin.len());
    tabu.clear();
    tabu.resize(n * m, 0);
    best.offer(placement);
    let mut free: Vec<usize> = (0..m).filter(|&p| placement.origin[p] == NONE).collect();
    for step in 1..=steps as u32 {
        if best.value >= enough {
            return;
        }
        let lack = best.value - placement.value();
        let random = stream.next_u64();
        let (mut top, mut chosen, mut ties) = (i32::MIN, None, 0_u64);
        let mut offer = |gain: i32, what: (usize, usize, bool)| {
            if gain > top {
                (top, chosen, ties) = (gain, Some(what), 1);
            } else if gain == top {
                // Each of the ties is kept with the same probability, near enough.
                ties += 1;
                if mix(random ^ ties).is_multiple_of(ties) {
                    chosen = Some(what);
                }
            }
        };
        for i in 0..n {
            let p = placement.image[i] as usize;
            let gains = placement.gains(i);
            let barred = &tabu[i * m..(i + 1) * m];
            for k in i + 1..n {
                let q = placement.image[k] as usize;
                let gain = gains[q] + placement.gain(k, p) - placement.here(i) - placement.here(k)
                    + placement.between(i, k, p, q);
                let is_tabu = barred[q] > step && tabu[k * m + p] > step;
                if !is_tabu || i64::from(gain) > lack {
                    offer(gain, (i, k, true));
                }
            }
            for (slot, &p) in free.iter().enumerate() {
                let gain = gains[p] - placement.here(i);
                if barred[p] <= step || i64::from(gain) > lack {
                    offer(gain, (i, slot, false));
                }
            }
        }
        let tenure = |salt: u64| {
            let spread = (m as u64).max(4);
            step + 2 + (mix(random.wrapping_add(salt)) % spread) as u32
        };
        match chosen {
            Some((i, k, true)) => {
                tabu[i * m + placement.image[i] as usize] = tenure(1);
                tabu[k * m + placement.image[k] as usize] = tenure(2);
                placement.swap(i, k);
            }
            Some((i, slot, false)) => {
                let p = placement.image[i] as usize;
                tabu[i * m + p] = tenure(1);
                placement.shift(i, free[slot]);
                free[slot] = p;
            }
            // Everything is tabu: waiting lifts it.
            None => {}
        }
        best.offer(placement);
    }
}

/// The best placement so far.
#[derive(Clone, Debug)]
pub(super) struct Best {
    pub(super) value: i64,
    pub(super) image: Vec<u32>,
}

impl Best {
    pub(super) fn none() -> Self {
        Self { value: i64::MIN, image: Vec::new() }
    }

    /// Keeps a complete placement if it is better.
    pub(super) fn offer(&mut self, placement: &Placement<'_>) -> bool {
        let better = placement.value() > self.value;
        if better {
            self.value = placement.value();
            self.image.clear();
            self.image.extend_from_slice(&placement.image);
        }
        better
    }
}
