//! Sparse links to places anywhere in the history that look alike.

use super::super::FieldError;
use grapheme_core::Stream;
use grapheme_core::product::product;
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
    /// Neighbouring buckets that are searched too: those behind the nearest hyperplanes.
    pub probes: usize,
}

impl Default for WormholeSettings {
    fn default() -> Self {
        Self { links: 4, bits: 8, depth: 8, probes: 3 }
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
        FieldError::require(self.probes <= self.bits, "probes", self.probes as f64, "at most the number of bits")?;
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
    pub distance: f32,
}

/// The places of one frame as they look and where they are kept: see [`Wormholes::hash`].
#[derive(Clone, Debug)]
pub struct Hashed {
    looks: Vec<Look>,
    /// For each place its bucket, then those that are searched too.
    buckets: Vec<u32>,
}

/// Places of the past by the look of their surroundings in one band.
///
/// The descriptor of a place is its 3 x 3 surroundings in that band and how they have just changed, 18 numbers. Its bucket is
/// the signs of `bits` seeded random projections of the descriptor less the mean look of the first frame (Charikar, 2002): places
/// that look alike fall together. What lies near a hyperplane may fall to its other side, so a search also looks behind the
/// `probes` nearest ones (Lv et al., Multi-probe LSH, 2007). A bucket holds the last `depth` places that fell into it. So entering a
/// frame and searching for all its places cost O(P (bits + depth probes)), whatever the length of the history, and memory is
/// `2^bits depth` descriptors.
///
/// Causality is by order of calls: what was not entered is not found.
#[derive(Clone, Debug)]
pub struct Wormholes {
    settings: WormholeSettings,
    /// 18 x bits.
    planes: Array2<f64>,
    /// Hashing is about this look.
    centre: Array1<f64>,
    /// Places of each bucket, a ring; and how many were ever put there.
    places: Vec<Option<(usize, usize)>>,
    descriptors: Vec<Look>,
    filled: Vec<usize>,
}

/// Numbers of a descriptor.
const LOOK: usize = 18;
type Look = [f32; LOOK];

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
            planes: Array2::from_shape_simple_fn((LOOK, settings.bits), || stream.random::<f64>() - 0.5),
            centre: Array1::zeros(LOOK),
            places: vec![None; buckets * settings.depth],
            descriptors: vec![[0.0; LOOK]; buckets * settings.depth],
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

    /// Where the places of a frame belong, from their looks, P x 18.
    pub fn hash(&self, looks: &Array2<f64>) -> Hashed {
        let sides = product((looks - &self.centre).view(), self.planes.view());
        let WormholeSettings { bits, probes, .. } = self.settings;
        let mut buckets = Vec::with_capacity(sides.nrows() * (1 + probes));
        let mut distances = vec![0.0; bits];
        for sides in sides.rows() {
            let own = sides.iter().enumerate().fold(0, |bucket, (bit, &side)| bucket | u32::from(side > 0.0) << bit);
            buckets.push(own);
            distances.iter_mut().zip(sides).for_each(|(distance, side)| *distance = side.abs());
            for _ in 0..probes {
                // The nearest of those that are left; ties go to the earlier.
                let nearest = (1..bits).fold(0, |best, bit| if distances[bit] < distances[best] { bit } else { best });
                distances[nearest] = f64::INFINITY;
                buckets.push(own ^ 1 << nearest);
            }
        }
        let looks = looks.rows().into_iter().map(|row| std::array::from_fn(|i| row[i] as f32)).collect();
        Hashed { looks, buckets }
    }

    /// Enters every place of a frame.
    pub fn enter(&mut self, step: usize, frame: &Hashed) {
        let (depth, stride) = (self.settings.depth, 1 + self.settings.probes);
        for (place, look) in frame.looks.iter().enumerate() {
            let bucket = frame.buckets[place * stride] as usize;
            let slot = bucket * depth + self.filled[bucket] % depth;
            self.filled[bucket] += 1;
            self.places[slot] = Some((step, place));
            self.descriptors[slot] = *look;
        }
    }

    /// The places in the buckets of `place` that look most like it, the nearest first, at most `links`; ties go to the later place.
    pub fn search(&self, frame: &Hashed, place: usize, found: &mut Vec<Found>) {
        found.clear();
        let (depth, stride) = (self.settings.depth, 1 + self.settings.probes);
        for &bucket in &frame.buckets[place * stride..(place + 1) * stride] {
            let slots = bucket as usize * depth..(bucket as usize + 1) * depth;
            self.search_slots(slots, &frame.looks[place], found);
        }
    }

    /// The same among all places that are still held: the reference, O(buckets x depth).
    pub fn search_exactly(&self, frame: &Hashed, place: usize, found: &mut Vec<Found>) {
        found.clear();
        self.search_slots(0..self.places.len(), &frame.looks[place], found);
    }

    fn search_slots(&self, slots: std::ops::Range<usize>, look: &Look, found: &mut Vec<Found>) {
        for slot in slots {
            let Some((step, place)) = self.places[slot] else { continue };
            let distance = distance(look, &self.descriptors[slot]);
            if found.len() == self.settings.links && found.last().is_some_and(|last| distance > last.distance) {
                continue;
            }
            let new = Found { step, place, distance };
            let at = found.iter().rposition(|old| !new.is_before(old)).map_or(0, |last| last + 1);
            if at < self.settings.links {
                found.truncate(self.settings.links - 1);
                found.insert(at, new);
            }
        }
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
}

impl Found {
    fn is_before(&self, other: &Self) -> bool {
        let order = self.distance.total_cmp(&other.distance);
        order.then(other.step.cmp(&self.step)).then(self.place.cmp(&other.place)).is_lt()
    }
}

/// The looks of all places: surroundings in `now`, then their change since `before`, P x 18. Beyond the border the nearest
/// pixel counts.
pub fn looks(now: ArrayView1<'_, f64>, before: ArrayView1<'_, f64>, [h, w]: [usize; 2]) -> Array2<f64> {
    let mut looks = Array2::zeros((h * w, LOOK));
    for (place, mut look) in looks.rows_mut().into_iter().enumerate() {
        let (i, j) = (place / w, place % w);
        let rows = [i.saturating_sub(1), i, (i + 1).min(h - 1)];
        let columns = [j.saturating_sub(1), j, (j + 1).min(w - 1)];
        for (s, (row, column)) in rows.iter().flat_map(|&row| columns.map(|column| (row, column))).enumerate() {
            let value = now[row * w + column];
            look[s] = value;
            look[9 + s] = value - before[row * w + column];
        }
    }
    looks
}

fn distance(a: &Look, b: &Look) -> f32 {
    // Four sums at once, which the compiler keeps in one register.
    let mut sums = [0.0; 4];
    for (a, b) in a[..16].chunks_exact(4).zip(b[..16].chunks_exact(4)) {
        for l in 0..4 {
            sums[l] += (a[l] - b[l]) * (a[l] - b[l]);
        }
    }
    let rest = (a[16] - b[16]) * (a[16] - b[16]) + (a[17] - b[17]) * (a[17] - b[17]);
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}
