//! Sparse links to places anywhere in the history that look alike.

use super::super::FieldError;
use grapheme_core::Stream;
use ndarray::{Array1, Array2, ArrayView1};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// What a person chooses about [`Wormholes`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WormholeSettings {
    /// Links of each place.
    pub links: usize,
    /// Hyperplanes of a hash; there are 2^bits buckets.
    pub bits: usize,
    /// How many places a bucket holds; the oldest goes first.
    pub depth: usize,
}

impl Default for WormholeSettings {
    fn default() -> Self {
        Self { links: 4, bits: 8, depth: 8 }
    }
}

impl WormholeSettings {
    /// Settings that can run.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn check(&self) -> Result<(), FieldError> {
        FieldError::require(self.links >= 1, "links", self.links as f64, "at least 1")?;
        FieldError::require((1..=20).contains(&self.bits), "bits", self.bits as f64, "from 1 to 20")?;
        FieldError::require(self.depth >= self.links, "depth", self.depth as f64, "at least the number of links")
    }
}

/// A place in the past, and how far its surroundings are from those that were asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Step of the frame.
    pub step: usize,
    /// Pixel, row by row.
    pub place: usize,
    /// Squared distance of the descriptors.
    pub distance: f64,
}

/// Places of the past by the look of their surroundings in one band.
///
/// The descriptor of a place is its 3 x 3 surroundings in that band and how they have just changed, 18 numbers. Its bucket is
/// the signs of `bits` seeded random projections of the descriptor less the running mean (Charikar, 2002): places that look
/// alike fall together. A bucket holds the last `depth` places that fell into it. So entering a frame and searching for all its
/// places cost O(P (bits + depth)), whatever the length of the history, and memory is `2^bits depth` descriptors.
///
/// Causality is by order of calls: what was not entered is not found.
#[derive(Clone, Debug)]
pub struct Wormholes {
    settings: WormholeSettings,
    /// bits x 18.
    planes: Array2<f64>,
    /// Running sum of descriptors and their number: hashing is about their mean at the time.
    centre: Array1<f64>,
    /// Places of each bucket, a ring; and how many were ever put there.
    places: Vec<Option<(usize, usize)>>,
    descriptors: Array2<f64>,
    filled: Vec<usize>,
}

/// Numbers of a descriptor.
const LOOK: usize = 18;

impl Wormholes {
    /// Without a place.
    ///
    /// # Errors
    /// Settings that cannot run.
    pub fn new(settings: WormholeSettings, seed: &Stream) -> Result<Self, FieldError> {
        settings.check()?;
        let mut stream = seed.clone();
        let buckets = 1 << settings.bits;
        Ok(Self {
            planes: Array2::from_shape_simple_fn((settings.bits, LOOK), || stream.random::<f64>() - 0.5),
            centre: Array1::zeros(LOOK),
            places: vec![None; buckets * settings.depth],
            descriptors: Array2::zeros((buckets * settings.depth, LOOK)),
            filled: vec![0; buckets],
            settings,
        })
    }

    /// Fixes the point about which is hashed: the mean look of a first frame.
    pub fn centre_on(&mut self, looks: &Array2<f64>) {
        if let Some(mean) = looks.mean_axis(ndarray::Axis(0)) {
            self.centre = mean;
        }
    }

    /// Enters every place of a frame: its looks, P x 18.
    pub fn enter(&mut self, step: usize, looks: &Array2<f64>) {
        for (place, look) in looks.rows().into_iter().enumerate() {
            let bucket = self.bucket(look);
            let slot = bucket * self.settings.depth + self.filled[bucket] % self.settings.depth;
            self.filled[bucket] += 1;
            self.places[slot] = Some((step, place));
            self.descriptors.row_mut(slot).assign(&look);
        }
    }

    /// The places of the same bucket that look most alike, the nearest first, at most `links`; ties go to the later place.
    pub fn search(&self, look: ArrayView1<'_, f64>, found: &mut Vec<Found>) {
        found.clear();
        let bucket = self.bucket(look);
        for slot in bucket * self.settings.depth..(bucket + 1) * self.settings.depth {
            let Some((step, place)) = self.places[slot] else { continue };
            found.push(Found { step, place, distance: distance(look, self.descriptors.row(slot)) });
        }
        nearest(found, self.settings.links);
    }

    /// The same among all places that are still held: the reference, O(buckets x depth).
    pub fn search_exactly(&self, look: ArrayView1<'_, f64>, found: &mut Vec<Found>) {
        found.clear();
        for (slot, entry) in self.places.iter().enumerate() {
            let Some((step, place)) = *entry else { continue };
            found.push(Found { step, place, distance: distance(look, self.descriptors.row(slot)) });
        }
        nearest(found, self.settings.links);
    }

    /// Forgets all places.
    pub fn clear(&mut self) {
        self.places.fill(None);
        self.filled.fill(0);
        self.centre.fill(0.0);
    }

    /// The settings.
    pub fn settings(&self) -> &WormholeSettings {
        &self.settings
    }

    fn bucket(&self, look: ArrayView1<'_, f64>) -> usize {
        self.planes.rows().into_iter().fold(0, |bucket, plane| {
            let side: f64 = plane.iter().zip(look).zip(&self.centre).map(|((p, x), c)| p * (x - c)).sum();
            2 * bucket + usize::from(side > 0.0)
        })
    }
}

/// The looks of all places: surroundings in `now`, then their change since `before`, P x 18. Beyond the border the nearest
/// pixel counts.
pub fn looks(now: ArrayView1<'_, f64>, before: ArrayView1<'_, f64>, [h, w]: [usize; 2]) -> Array2<f64> {
    let mut looks = Array2::zeros((h * w, LOOK));
    for i in 0..h {
        for j in 0..w {
            let mut look = looks.row_mut(i * w + j);
            for s in 0..9 {
                let row = (i + s / 3).saturating_sub(1).min(h - 1);
                let column = (j + s % 3).saturating_sub(1).min(w - 1);
                let value = now[row * w + column];
                look[s] = value;
                look[9 + s] = value - before[row * w + column];
            }
        }
    }
    looks
}

fn distance(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

fn nearest(found: &mut Vec<Found>, count: usize) {
    found.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(b.step.cmp(&a.step)).then(a.place.cmp(&b.place)));
    found.truncate(count);
}
