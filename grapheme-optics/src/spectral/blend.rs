//! Which rule to trust: weights from the errors that each has just made.

use super::{FieldError, solve::Factor};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

/// What a person chooses about a [`Blend`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlendSettings {
    /// How much of the past remains after a frame, in [0, 1).
    pub memory: f64,
    /// How many frames the experience of training is worth; at least 0.
    pub prior: f64,
    /// How sharply small errors are preferred; positive. At 1 and without `ridge` it is the inverse of the squared error.
    pub sharpness: f64,
    /// Part of each rule's own squared error that is added to the diagonal of the products; positive.
    pub ridge: f64,
}

impl Default for BlendSettings {
    fn default() -> Self {
        Self { memory: 0.95, prior: 20.0, sharpness: 2.0, ridge: 0.2 }
    }
}

impl BlendSettings {
    /// Settings that can run.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn check(&self) -> Result<(), FieldError> {
        FieldError::require((0.0..1.0).contains(&self.memory), "memory", self.memory, "at least 0 and below 1")?;
        FieldError::require(self.prior >= 0.0, "prior", self.prior, "at least 0")?;
        FieldError::require(self.sharpness > 0.0, "sharpness", self.sharpness, "positive")?;
        FieldError::require(self.ridge > 0.0, "ridge", self.ridge, "positive")
    }
}

/// Products of errors, summed over frames.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Products {
    sums: Array2<f64>,
    /// Number of frames that each pair was seen together.
    seen: Array2<f64>,
}

impl Products {
    fn is_empty(&self) -> bool {
        self.seen.iter().all(|&seen| seen == 0.0)
    }

    /// Adds a mean as if it had been seen in so many frames, or in as many as it was where these are fewer.
    fn add_share(&mut self, other: &Self, frames: f64) {
        for ((at, sum), seen) in self.sums.indexed_iter_mut().zip(&mut self.seen) {
            let (more, count) = (other.sums[at], other.seen[at]);
            if count > 0.0 {
                let part = frames.min(count);
                *sum += part * more / count;
                *seen += part;
            }
        }
    }

    fn new(rules: usize) -> Self {
        Self { sums: Array2::zeros((rules, rules)), seen: Array2::zeros((rules, rules)) }
    }

    fn add(&mut self, products: &Array2<f64>, known: &[bool], memory: f64) {
        for ((k, l), &product) in products.indexed_iter() {
            self.sums[(k, l)] *= memory;
            self.seen[(k, l)] *= memory;
            if known[k] && known[l] {
                self.sums[(k, l)] += product;
                self.seen[(k, l)] += 1.0;
            }
        }
    }
}

/// A combination of K rules, `w >= 0`, `sum w = 1`.
///
/// Let `e_k` be the error of rule k at a frame. The mean over frames of `<e_k, e_l> / u` is the matrix C, with the unit
/// `u = max(min_k |e_k|^2, usual roughness)`: where some rule can do it the squared error counts as it is, and one jump that nobody
/// foresaw does not drown what was learned before. The roughness of a frame is what the best polynomial through the frames
/// before it leaves; the usual one is a decayed geometric mean. It depends on the field alone, so training and the sequence
/// at hand are measured in one unit.
///
/// The weights are those of least variance (Bates and Granger, 1969), `w ~ (D (C + ridge diag C) D)^-1 1` with
/// `D_kk = (C_kk / min C)^((sharpness - 1) / 2)`, which pushes the worse rules down further; rules whose weight would be negative are
/// left out one after the other.
///
/// A frame that is far rougher than usual is a surprise. Rules that read several frames are then wrong until the
/// surprise has left them, so the first four frames after one have a C each, and all others one more; a sequence begins like after a
/// surprise. To each is added what training saw in the same situation, as if it had been `prior` frames, and to the first four
/// one frame's worth of what is known of calm. Predictions of several steps have a C of their own, of plain squared errors, by octaves of the number
/// of steps, from training and from a test on the frames that were last seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    settings: BlendSettings,
    /// Of this sequence by situation, what is past fading.
    recent: Vec<Products>,
    /// The same without fading, which becomes experience.
    whole: Vec<Products>,
    trained: Vec<Products>,
    /// From training, for rollouts.
    far: Vec<Products>,
    /// Frames since the last surprise.
    calm: usize,
    /// Decayed mean of the logarithm of the roughness, and its weight.
    usual: [f64; 2],
    /// Sum of roughness, and frames: of this sequence, and of training.
    rough: [[f64; 2]; 2],
    /// Decayed mean of the squared change of the field, and its weight.
    change: [f64; 2],
}

/// Situations: 1 to 4 frames after a surprise, and calm.
const SITUATIONS: usize = 5;
/// A roughness so many times the usual one is a surprise.
const SURPRISE: f64 = 30.0;
/// Squared errors below this part of the field's squared change are as good as none.
const FLOOR: f64 = 1e-6;
/// This part of the mean roughness, jumps included, is added to that of each frame: where a field hardly moves but for its jumps,
/// what happens between them is not all that counts.
const SHARE: f64 = 0.5;
/// No rule counts as worse than so many units.
const WORST: f64 = 1e6;
/// Octaves of the length of a rollout: 1, 2 to 3, 4 to 7, ..., 32 and more.
const OCTAVES: usize = 6;

impl Blend {
    /// Of K rules that have not been seen yet.
    pub fn new(rules: usize, settings: BlendSettings) -> Self {
        let none = vec![Products::new(rules); SITUATIONS];
        Self {
            settings,
            recent: none.clone(),
            whole: none.clone(),
            trained: none,
            far: vec![Products::new(rules); OCTAVES],
            calm: 0,
            usual: [0.0; 2],
            rough: [[0.0; 2]; 2],
            change: [0.0; 2],
        }
    }

    /// Whether what a file held is of so many rules and of all situations.
    pub(super) fn fits(&self, rules: usize) -> bool {
        let is_whole =
            |products: &Products| (products.sums.dim(), products.seen.dim()) == ((rules, rules), (rules, rules));
        [(&self.recent, SITUATIONS), (&self.whole, SITUATIONS), (&self.trained, SITUATIONS), (&self.far, OCTAVES)]
            .into_iter()
            .all(|(products, count)| products.len() == count && products.iter().all(is_whole))
    }

    /// Forgets the sequence; what was taken over from training stays.
    pub fn clear(&mut self) {
        let rules = self.recent[0].sums.nrows();
        self.recent.fill(Products::new(rules));
        self.whole.fill(Products::new(rules));
        (self.calm, self.usual, self.rough[0], self.change) = (0, [0.0; 2], [0.0; 2], [0.0; 2]);
    }

    /// Takes note of the errors of all rules at one frame, K x P; `known` says which rules had an answer, `change` is the mean squared
    /// change of the field and `rough` its roughness. Returns whether the frame was a surprise.
    pub fn observe(&mut self, errors: &Array2<f64>, known: &[bool], change: f64, rough: f64) -> bool {
        let decayed = |[sum, weight]: [f64; 2], new: f64| [0.9 * sum + new, 0.9 * weight + 1.0];
        self.change = decayed(self.change, change);
        self.rough[0][0] += rough;
        self.rough[0][1] += 1.0;
        let log = (rough + SHARE * self.mean_roughness() + self.floor()).ln();
        let usual = if self.usual[1] > 0.0 { self.usual[0] / self.usual[1] } else { log };
        let products = relative(errors, known, usual.exp(), self.floor());
        let situation = self.situation();
        self.recent[situation].add(&products, known, self.settings.memory);
        self.whole[situation].add(&products, known, 1.0);

        let bound = usual + SURPRISE.ln();
        let is_surprise = self.usual[1] > 2.0 && log > bound;
        self.calm = if is_surprise { 0 } else { self.calm + 1 };
        // A surprise that stays becomes usual.
        self.usual = decayed(self.usual, log.min(bound));
        is_surprise
    }

    /// What this sequence showed becomes part of what training showed.
    pub fn train(&mut self) {
        for (trained, whole) in self.trained.iter_mut().zip(&self.whole) {
            trained.sums += &whole.sums;
            trained.seen += &whole.seen;
        }
        let [now, before] = self.rough;
        self.rough[1] = [now[0] + before[0], now[1] + before[1]];
    }

    /// Training on a rollout: the errors of all rules `step` frames ahead, from 0.
    pub fn train_far(&mut self, step: usize, errors: &Array2<f64>, known: &[bool]) {
        let products = self.plain(errors);
        self.far[octave(step)].add(&products, known, 1.0);
    }

    /// The weights for a prediction `step` frames ahead, from 0. `trial` holds the errors of all rules over the frames that were last
    /// seen, which they were not shown, from the first on. Where training has shown rollouts, a trial speaks for its own octave alone: that a rule
    /// is good for eight frames is no reason to trust it for forty.
    pub fn far_weights(&self, step: usize, known: &[bool], trial: &[(Array2<f64>, Vec<bool>)]) -> Array1<f64> {
        let (mut recent, trained) = (Products::new(known.len()), &self.far[octave(step)]);
        for (ahead, (errors, known)) in trial.iter().enumerate() {
            if trained.is_empty() || octave(ahead) == octave(step) {
                recent.add(&self.plain(errors), known, 1.0);
            }
        }
        self.solve(&recent, trained, known)
    }

    /// The weight of each rule among those with an answer; equal weights before anything was seen.
    pub fn weights(&self, known: &[bool]) -> Array1<f64> {
        let (situation, calm) = (self.situation(), SITUATIONS - 1);
        let mut recent = self.recent[situation].clone();
        if situation != calm {
            for products in [&self.recent[calm], &self.trained[calm]] {
                recent.add_share(products, 0.5);
            }
        } else if recent.is_empty() && self.trained[calm].is_empty() {
            (0..calm).for_each(|other| recent.add_share(&self.recent[other], 1.0));
        }
        self.solve(&recent, &self.trained[situation], known)
    }

    fn solve(&self, recent: &Products, trained: &Products, known: &[bool]) -> Array1<f64> {
        let rules = known.len();
        let mut weights = Array1::zeros(rules);
        let seen = |k: usize, l: usize| {
            let scale = self.settings.prior / trained.seen[(k, l)].max(self.settings.prior).max(1e-9);
            (recent.seen[(k, l)] + scale * trained.seen[(k, l)], recent.sums[(k, l)] + scale * trained.sums[(k, l)])
        };
        let judged: Vec<usize> = (0..rules).filter(|&k| known[k] && seen(k, k).0 > 0.5).collect();
        if judged.is_empty() {
            let count = known.iter().filter(|&&k| k).count().max(1);
            return Array1::from_shape_fn(rules, |k| if known[k] { 1.0 / count as f64 } else { 0.0 });
        }
        let mean = |k: usize, l: usize| {
            let (seen, sum) = seen(k, l);
            if seen > 0.0 { sum / seen } else { 0.0 }
        };
        let least = judged.iter().map(|&k| mean(k, k)).fold(f64::INFINITY, f64::min);
        let penalty = |k: usize| (mean(k, k) / least).powf(0.5 * (self.settings.sharpness - 1.0));
        let mut left = judged;
        loop {
            // Scaled to a unit diagonal, so that rules whose errors differ by many orders of magnitude stand in one matrix.
            let scale: Vec<f64> = left.iter().map(|&k| mean(k, k).sqrt()).collect();
            let n = left.len();
            let matrix = Array2::from_shape_fn((n, n), |(i, j)| {
                let own = if i == j { self.settings.ridge } else { 0.0 };
                mean(left[i], left[j]) / (scale[i] * scale[j]) + own
            });
            let right = Array1::from_shape_fn(n, |i| 1.0 / (scale[i] * penalty(left[i])));
            let answer = Factor::new(&matrix, 0.0).solve(&right);
            weights.fill(0.0);
            for (i, &k) in left.iter().enumerate() {
                weights[k] = answer[i] / (scale[i] * penalty(k));
            }
            // The one that is best alone has a positive weight among those that are left, or is the last.
            if n == 1 || left.iter().all(|&k| weights[k] >= 0.0) {
                let sum = weights.sum();
                return weights / sum;
            }
            left.retain(|&k| weights[k] >= 0.0);
        }
    }

    /// The products of errors as they are. What a rollout loses is lost where all rules lose, so no frame is divided by its best rule.
    fn plain(&self, errors: &Array2<f64>) -> Array2<f64> {
        let mut products = Array2::from(grapheme_core::product::product(errors.view(), errors.t()));
        products /= errors.ncols() as f64;
        products.diag_mut().mapv_inplace(|own| own + self.floor());
        products
    }

    /// Training counts like fifty frames.
    fn mean_roughness(&self) -> f64 {
        let [now, before] = self.rough;
        let scale = 50.0 / before[1].max(50.0);
        (now[0] + scale * before[0]) / (now[1] + scale * before[1]).max(1.0)
    }

    /// What is as good as no error.
    fn floor(&self) -> f64 {
        FLOOR * self.change[0] / self.change[1].max(1.0) + f64::MIN_POSITIVE
    }

    fn situation(&self) -> usize {
        self.calm.min(SITUATIONS - 1)
    }
}

/// The products of the errors of one frame in its unit: the best squared error, or the usual roughness where that is more.
fn relative(errors: &Array2<f64>, known: &[bool], usual: f64, floor: f64) -> Array2<f64> {
    let mut products = Array2::from(grapheme_core::product::product(errors.view(), errors.t()));
    products /= errors.ncols() as f64;
    let own = products.diag().to_owned();
    let best = (0..known.len()).filter(|&k| known[k]).map(|k| own[k]).fold(f64::INFINITY, f64::min);
    let unit = best.max(usual) + floor;
    let limit: Vec<f64> = own.iter().map(|own| (WORST * unit / (own + floor)).sqrt().min(1.0)).collect();
    for ((k, l), product) in products.indexed_iter_mut() {
        let added = if k == l { floor } else { 0.0 };
        *product = (*product + added) * limit[k] * limit[l] / unit;
    }
    products
}

fn octave(step: usize) -> usize {
    ((step + 1).ilog2() as usize).min(OCTAVES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn see(blend: &mut Blend, errors: &Array2<f64>, known: &[bool], rough: f64) -> bool {
        blend.observe(errors, known, 0.1, rough)
    }

    #[test]
    fn a_rule_that_is_right_gets_all_the_weight_and_an_unknown_one_none() {
        let mut blend = Blend::new(3, BlendSettings::default());
        assert_eq!(blend.weights(&[true, false, true]), array![0.5, 0.0, 0.5]);
        let errors = array![[1e-7, -1e-7], [0.3, 0.1], [0.0, 0.0]];
        for _ in 0..4 {
            see(&mut blend, &errors, &[true, true, false], 0.01);
        }
        let weights = blend.weights(&[true, true, true]);
        assert!((weights[0] - 1.0).abs() < 1e-5 && weights[2] == 0.0, "{weights}");
        // Where the good rule has no answer the other stands in.
        assert_eq!(blend.weights(&[false, true, true]), array![0.0, 1.0, 0.0]);
    }

    #[test]
    fn errors_that_cancel_are_averaged_and_equal_ones_share() {
        let mut blend = Blend::new(2, BlendSettings { ridge: 1e-9, ..BlendSettings::default() });
        see(&mut blend, &array![[0.1, -0.1], [-0.1, 0.1]], &[true, true], 0.1);
        let weights = blend.weights(&[true, true]);
        assert!((weights[0] - 0.5).abs() < 1e-6 && (weights.sum() - 1.0).abs() < 1e-12, "{weights}");
    }

    #[test]
    fn one_jump_does_not_undo_what_was_learned() {
        let mut blend = Blend::new(2, BlendSettings::default());
        for _ in 0..20 {
            see(&mut blend, &array![[1e-3], [1e-1]], &[true, true], 1e-3);
        }
        // Nobody foresaw this one, and the worse rule happened to be a little nearer.
        assert!(see(&mut blend, &array![[0.9], [0.8]], &[true, true], 0.7));
        assert!(blend.weights(&[true, true])[0] > 0.95);
        // What the frame after a jump is like is learned from jumps.
        assert!(!see(&mut blend, &array![[0.5], [0.01]], &[true, true], 1e-3));
        (0..6).for_each(|_| assert!(!see(&mut blend, &array![[1e-3], [1e-1]], &[true, true], 1e-3)));
        assert!(blend.weights(&[true, true])[0] > 0.95);
        blend.train();
        blend.clear();
        (0..6).for_each(|_| assert!(!see(&mut blend, &array![[1e-3], [1e-1]], &[true, true], 1e-3)));
        assert!(see(&mut blend, &array![[0.9], [0.8]], &[true, true], 0.7));
        assert!(blend.weights(&[true, true])[1] > 0.95);
    }
}
