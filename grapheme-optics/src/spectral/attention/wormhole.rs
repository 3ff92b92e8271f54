//! Sparse links to places anywhere in the history that look alike.

use super::super::FieldError;
use grapheme_core::product::product;
use grapheme_core::{Stream, wide};
use ndarray::{Array2, ArrayView2, Axis};
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
        FieldError::require(self.depth >= self.links, "depth", self.depth as f64, "at least the number of links")?;
        FieldError::require(self.depth <= 1 << DEPTH_BITS, "depth", self.depth as f64, "at most 8192")
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
    planes: Array2<f32>,
    /// What the planes make of the look about which is hashed.
    centre: Vec<f32>,
    /// Places of each bucket, a ring in whole lanes, and where its next goes.
    places: Vec<Option<(usize, usize)>>,
    next: Vec<usize>,
    /// The looks of [`LANES`] places side by side, so that a search compares with all of them at once; infinite where there is none.
    descriptors: Vec<[Lanes; LOOK]>,
}

/// Of a number below the depth of a bucket.
const DEPTH_BITS: u32 = 13;
/// Numbers of a descriptor: see [`looks`].
const LOOK: usize = 18;
/// A descriptor.
pub type Look = [f32; LOOK];
/// Places whose looks lie side by side.
const LANES: usize = 8;
type Lanes = [f32; LANES];

impl Wormholes {
    /// Without a place.
    ///
    /// # Errors
    /// Settings that cannot run.
    pub fn new(settings: WormholeSettings, seed: &Stream) -> Result<Self, FieldError> {
        settings.check()?;
        let mut stream = seed.clone();
        let (buckets, blocks) = (1 << settings.bits, settings.depth.div_ceil(LANES));
        Ok(Self {
            planes: Array2::from_shape_simple_fn((LOOK, settings.bits), || (stream.random::<f64>() - 0.5) as f32),
            centre: vec![0.0; settings.bits],
            places: vec![None; buckets * blocks * LANES],
            next: vec![0; buckets],
            descriptors: vec![[[f32::INFINITY; LANES]; LOOK]; buckets * blocks],
            settings,
        })
    }

    /// Fixes the point about which is hashed: the mean look of a first frame.
    pub fn centre_on(&mut self, looks: &[Look]) {
        let mean = flat(looks).mean_axis(Axis(0));
        self.centre = mean.map_or_else(|| vec![0.0; self.settings.bits], |mean| mean.dot(&self.planes).to_vec());
    }

    /// Where the places of a frame belong.
    pub fn hash(&self, looks: Vec<Look>) -> Hashed {
        let mut sides = product(flat(&looks), self.planes.view());
        let WormholeSettings { bits, probes, .. } = self.settings;
        let mut buckets = Vec::with_capacity(looks.len() * (1 + probes));
        let mut keys = vec![u64::MAX; bits.next_multiple_of(LANES)];
        let sides = sides.as_slice_mut().expect("a product is row-major");
        wide!(for sides in sides.chunks_exact_mut(bits) {
            let mut own = 0;
            for (bit, (side, centre)) in sides.iter_mut().zip(&self.centre).enumerate() {
                *side -= centre;
                own |= u32::from(*side > 0.0) << bit;
                keys[bit] = key(side.abs(), bit);
            }
            buckets.push(own);
            for _ in 0..probes {
                buckets.push(own ^ 1 << take_least(&mut keys).1);
            }
        });
        Hashed { looks, buckets }
    }

    /// Enters every place of a frame.
    pub fn enter(&mut self, step: usize, frame: &Hashed) {
        let WormholeSettings { depth, probes, .. } = self.settings;
        let room = depth.next_multiple_of(LANES);
        for (place, look) in frame.looks.iter().enumerate() {
            let bucket = frame.buckets[place * (1 + probes)] as usize;
            let at = self.next[bucket];
            self.next[bucket] = if at + 1 == depth { 0 } else { at + 1 };
            let slot = bucket * room + at;
            self.places[slot] = Some((step, place));
            let lanes = &mut self.descriptors[slot / LANES];
            lanes.iter_mut().zip(look).for_each(|(lanes, &x)| lanes[slot % LANES] = x);
        }
    }

    /// Calls `each(place, found)` for every place of a frame with those in its buckets that look most like it, the nearest first, at
    /// most `links`; ties go to the nearer bucket, then to the later place.
    pub fn search(&self, frame: &Hashed, mut each: impl FnMut(usize, &[Found])) {
        let WormholeSettings { links, depth, probes, .. } = self.settings;
        let blocks = depth.div_ceil(LANES);
        let room = blocks * LANES;
        // The keys of all that are compared, sorted as far as links go by taking the least again and again: no branch to guess.
        let mut keys = vec![u64::MAX; (1 + probes) * room];
        let mut found = Vec::with_capacity(links);
        wide!(
            for (place, (look, buckets)) in frame.looks.iter().zip(frame.buckets.chunks_exact(1 + probes)).enumerate() {
                for (keys, &bucket) in keys.chunks_exact_mut(room).zip(buckets) {
                    let others = &self.descriptors[bucket as usize * blocks..][..blocks];
                    for (keys, others) in keys.as_chunks_mut::<LANES>().0.iter_mut().zip(others) {
                        *keys = distances(look, others).map(|distance| u64::from(distance.to_bits()) << 32);
                    }
                }
                // Equal distances go by bucket, then by age. Where it is held comes last, to be read off the key again.
                for (probe, (keys, &bucket)) in keys.chunks_exact_mut(room).zip(buckets).enumerate() {
                    let next = self.next[bucket as usize];
                    for (slot, key) in keys[..depth].iter_mut().enumerate() {
                        let age = if slot < next { next - 1 - slot } else { next + depth - 1 - slot };
                        *key |= (probe << (2 * DEPTH_BITS) | age << DEPTH_BITS | slot) as u64;
                    }
                }
                found.clear();
                for _ in 0..links {
                    let (distance, of) = take_least(&mut keys);
                    // Only what was entered is at a distance: neither the rest of a ring that is not full nor of its lanes.
                    if !distance.is_finite() {
                        break;
                    }
                    let bucket = buckets[(of >> (2 * DEPTH_BITS)) as usize] as usize;
                    let slot = bucket * room + (of as usize & ((1 << DEPTH_BITS) - 1));
                    let Some((step, place)) = self.places[slot] else { break };
                    found.push(Found { step, place, distance });
                }
                each(place, &found);
            }
        );
    }

    /// Those among all places that are still held which look most like one of a frame: the reference, O(buckets x depth).
    #[cfg(test)]
    pub fn search_exactly(&self, frame: &Hashed, place: usize) -> Vec<Found> {
        let held = self.places.iter().enumerate().filter_map(|(slot, &place)| Some((slot, place?)));
        let mut found: Vec<Found> = held
            .map(|(slot, (step, other))| {
                let distance = distances(&frame.looks[place], &self.descriptors[slot / LANES])[slot % LANES];
                Found { step, place: other, distance }
            })
            .collect();
        found.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        found.truncate(self.settings.links);
        found
    }

    /// Forgets all places.
    pub fn clear(&mut self) {
        self.places.fill(None);
        self.descriptors.fill([[f32::INFINITY; LANES]; LOOK]);
        self.next.fill(0);
        self.centre.fill(0.0);
    }

    /// The settings.
    pub fn settings(&self) -> &WormholeSettings {
        &self.settings
    }
}

/// The looks of all places: surroundings in `now`, then their change since `before`. Beyond the border the nearest pixel counts.
pub fn looks(now: &[f64], before: &[f64], [h, w]: [usize; 2]) -> Vec<Look> {
    let look = |place: usize| {
        let (i, j) = (place / w, place % w);
        let rows = [i.saturating_sub(1), i, (i + 1).min(h - 1)];
        let columns = [j.saturating_sub(1), j, (j + 1).min(w - 1)];
        let mut look = [0.0; LOOK];
        for (s, pixel) in rows.iter().flat_map(|&row| columns.map(|column| row * w + column)).enumerate() {
            look[s] = now[pixel] as f32;
            look[9 + s] = (now[pixel] - before[pixel]) as f32;
        }
        look
    };
    (0..h * w).map(look).collect()
}

fn flat(looks: &[Look]) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((looks.len(), LOOK), looks.as_flattened()).expect("whole looks")
}

/// A number that orders as the distance does, and by what it is of where distances are equal.
#[inline(always)]
fn key(distance: f32, of: usize) -> u64 {
    u64::from(distance.to_bits()) << 32 | of as u64
}

/// The least distance and what it is of; it is not found again.
#[inline(always)]
fn take_least(keys: &mut [u64]) -> (f32, u32) {
    let least = keys.iter().fold(u64::MAX, |a, &b| a.min(b));
    for key in keys {
        *key = if *key == least { u64::MAX } else { *key };
    }
    (f32::from_bits((least >> 32) as u32), least as u32)
}

/// Squared distances from one look to those that lie side by side.
#[inline(always)]
fn distances(look: &Look, others: &[Lanes; LOOK]) -> Lanes {
    let mut sums = [0.0; LANES];
    for (&x, others) in look.iter().zip(others) {
        sums = std::array::from_fn(|lane| sums[lane] + (x - others[lane]) * (x - others[lane]));
    }
    sums
}
