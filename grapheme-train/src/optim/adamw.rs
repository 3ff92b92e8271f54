//! AdamW.

use super::pieces::{PIECE, spread};
use super::{Flat, Optimiser, SettingError, require};
use crate::checkpoint::{Checkpoint, CheckpointError};
use grapheme_core::param::{self, each_pair};
use grapheme_core::{ParamTree, Scalar, wide};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What a person chooses about [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWSettings {
    /// Memory of the first moment, in [0, 1).
    pub beta1: f64,
    /// Memory of the second moment, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second moment; positive.
    pub epsilon: f64,
    /// Decay of matrices: each step multiplies them by `1 - rate * decay`. At least 0.
    pub decay: f64,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.98, epsilon: 1e-8, decay: 0.01 }
    }
}

/// Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019, algorithm 2).
///
/// At step `t` from 1, for each weight `w` with gradient `g`:
///
/// ```text
/// m  = beta1 m + (1 - beta1) g            v  = beta2 v + (1 - beta2) g^2
/// m' = m / (1 - beta1^t)                  v' = v / (1 - beta2^t)
/// w  = w - rate * decay * w - rate * m' / (sqrt(v') + epsilon)
/// ```
///
/// Blocks of two or more axes decay, embedding tables included; vectors and scalars (biases, norms, thresholds) do not.
/// One fused pass over four contiguous slices a block. The moments are kept flat ([`Flat`]) and saved
/// under the names of the model's blocks.
///
/// A moment that has faded below the smallest normal number is set to zero. Rows of an embedding table that are seldom
/// touched would otherwise stay at subnormal values for ever, which many processors handle several times slower;
/// their effect on a weight is below any rounding.
///
/// # Panics
/// A step on a model of another shape than the one it was made for.
#[derive(Clone, Debug)]
pub struct AdamW<S> {
    settings: AdamWSettings,
    m: Flat<S>,
    v: Flat<S>,
    steps: u64,
}

impl<S: Scalar> AdamW<S> {
    /// The optimiser before its first step on `model`.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn new(settings: AdamWSettings, model: &impl ParamTree<S>) -> Result<Self, SettingError> {
        let AdamWSettings { beta1, beta2, epsilon, decay } = settings;
        require((0.0..1.0).contains(&beta1), "beta1", beta1, "at least 0 and below 1")?;
        require((0.0..1.0).contains(&beta2), "beta2", beta2, "at least 0 and below 1")?;
        require(epsilon > 0.0 && epsilon.is_finite(), "epsilon", epsilon, "a positive number")?;
        require(decay >= 0.0 && decay.is_finite(), "decay", decay, "a number of at least 0")?;
        let m = Flat::zeros_like(model);
        Ok(Self { settings, v: m.clone(), m, steps: 0 })
    }

    /// How the step that was just taken along `gradient` moved the model, were the preconditioner fixed and nothing
    /// remembered: `rate (1 - beta1) / (1 - beta1^t) g / (sqrt(v') + epsilon)`, in the direction of descent.
    pub fn response<T: ParamTree<S> + Clone>(&self, gradient: &T, rate: f64) -> T {
        let coefficients = Coefficients::<S>::at(self.settings, self.steps, rate);
        let (mut response, (blocks, v)) = (gradient.clone(), (self.v.blocks(), self.v.values()));
        let mut blocks = blocks.iter();
        param::each_mut(&mut response, |_, _, values| {
            let range = blocks.next().map_or(0..0, |block| block.range.clone());
            for (d, v) in values.iter_mut().zip(&v[range]) {
                *d *= coefficients.pace * coefficients.rest1 / (v.sqrt() * coefficients.unbias + coefficients.epsilon);
            }
        });
        response
    }

    /// Puts the moments into a checkpoint under a name, for who trains several models.
    ///
    /// # Errors
    /// A moment that is not finite; a name that is taken.
    pub fn save_as(&self, name: &str, checkpoint: &mut Checkpoint) -> Result<(), CheckpointError> {
        checkpoint.insert(&format!("{name}.m"), &self.m)?;
        checkpoint.insert(&format!("{name}.v"), &self.v)?;
        checkpoint.note(&format!("{name}.steps"), self.steps);
        Ok(())
    }

    /// Takes back what [`AdamW::save_as`] put.
    ///
    /// # Errors
    /// Moments that are missing or of another shape; the optimiser is then as it was.
    pub fn load_as(&mut self, name: &str, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        let mut loaded = self.clone();
        loaded.steps = checkpoint.noted(&format!("{name}.steps"))?;
        checkpoint.read_into(&format!("{name}.m"), &mut loaded.m)?;
        checkpoint.read_into(&format!("{name}.v"), &mut loaded.v)?;
        *self = loaded;
        Ok(())
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

impl<S: Scalar, T: ParamTree<S>> Optimiser<S, T> for AdamW<S> {
    fn step(&mut self, model: &mut T, gradient: &T, rate: f64) {
        self.steps += 1;
        let coefficients = Coefficients::at(self.settings, self.steps, rate);
        let keep = S::lit(1.0 - rate * self.settings.decay);
        let ((blocks, mut m), (_, mut v)) = (self.m.parts_mut(), self.v.parts_mut());
        let mut blocks = blocks.iter();
        spread(
            |take| {
                each_pair(model, gradient, |name, w, g| {
                    let block = blocks.next().filter(|block| block.name == name && block.range.len() == w.len());
                    let block = block.expect("the model has the shape that the optimiser was made for");
                    let keep = if block.shape.len() >= 2 { keep } else { S::one() };
                    let (m, v) = (m.split_off_mut(..w.len()), v.split_off_mut(..w.len()));
                    let moments = m.into_iter().zip(v).flat_map(|(m, v)| m.chunks_mut(PIECE).zip(v.chunks_mut(PIECE)));
                    w.chunks_mut(PIECE).zip(g.chunks(PIECE)).zip(moments).for_each(|piece| take((keep, piece)));
                })
            },
            |(keep, ((w, g), (m, v)))| coefficients.apply(keep, w, g, m, v),
        );
    }

    fn save(&self, checkpoint: &mut Checkpoint) -> Result<(), CheckpointError> {
        self.save_as("adam", checkpoint)
    }

    fn load(&mut self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        self.load_as("adam", checkpoint)
    }
}

/// What one step has in common for all weights, worked out in `f64` and rounded once.
struct Coefficients<S> {
    beta1: S,
    rest1: S,
    beta2: S,
    rest2: S,
    epsilon: S,
    /// `rate / (1 - beta1^t)`.
    pace: S,
    /// `1 / sqrt(1 - beta2^t)`.
    unbias: S,
}

impl<S: Scalar> Coefficients<S> {
    fn at(settings: AdamWSettings, step: u64, rate: f64) -> Self {
        let AdamWSettings { beta1, beta2, epsilon, .. } = settings;
        let t = step as f64;
        Self {
            beta1: S::lit(beta1),
            rest1: S::lit(1.0 - beta1),
            beta2: S::lit(beta2),
            rest2: S::lit(1.0 - beta2),
            epsilon: S::lit(epsilon),
            pace: S::lit(rate / (1.0 - beta1.powf(t))),
            unbias: S::lit(1.0 / (1.0 - beta2.powf(t)).sqrt()),
        }
    }

    fn apply(&self, keep: S, w: &mut [S], g: &[S], m: &mut [S], v: &mut [S]) {
        /// Weights that are looked at together: about a row of a table.
        const ROW: usize = 64;
        /// The most weights that one loop goes over: so many are still in the first cache.
        const RUN: usize = 16 * ROW;
        wide! {
            // Without gradient and memory a weight only decays: rows of an embedding that no text has touched.
            let none = |x: &[S]| x.iter().fold(true, |none, &x| none & (x == S::zero()));
            let is_still = |row: Range<usize>, m: &[S], v: &[S]| none(&g[row.clone()]) && none(&m[row.clone()]) && none(&v[row]);
            let row = |start: usize| start..(start + ROW).min(g.len());
            let mut start = 0;
            // As many rows as are alike in one loop.
            while start < g.len() {
                let still = is_still(row(start), m, v);
                let mut end = row(start).end;
                while end < g.len().min(start + RUN) && is_still(row(end), m, v) == still {
                    end = row(end).end;
                }
                let run = start..end;
                if still {
                    w[run].iter_mut().for_each(|w| *w *= keep);
                } else {
                    self.update(keep, &mut w[run.clone()], &g[run.clone()], &mut m[run.clone()], &mut v[run]);
                }
                start = end;
            }
        }
    }

    #[inline(always)]
    fn update(&self, keep: S, w: &mut [S], g: &[S], m: &mut [S], v: &mut [S]) {
        let Self { beta1, rest1, beta2, rest2, epsilon, pace, unbias } = *self;
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            *m = normal_or_zero(beta1 * *m + rest1 * g);
            *v = normal_or_zero(beta2 * *v + rest2 * g * g);
            *w = keep * *w - pace * *m / (v.sqrt() * unbias + epsilon);
        }
    }
}

#[inline(always)]
fn normal_or_zero<S: Scalar>(x: S) -> S {
    if x.abs() < S::min_positive_value() { S::zero() } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::Stream;
    use ndarray::{Array1, ArrayD, arr1};
    use rand::RngExt;

    /// A matrix, a vector, a scalar, an empty matrix, a matrix longer than a vector register, and one longer than a run.
    fn random<S: Scalar>(stream: &mut Stream) -> Vec<ArrayD<S>> {
        [&[2, 3][..], &[5], &[], &[0, 4], &[7, 11], &[90, 31]]
            .iter()
            .map(|shape| ArrayD::from_shape_simple_fn(*shape, || S::lit(stream.random::<f64>() * 2.0 - 1.0)))
            .collect()
    }

    /// Algorithm 2 of the paper, one weight at a time, in `f64`, as it is printed.
    struct Reference {
        settings: AdamWSettings,
        moments: Vec<Vec<(f64, f64)>>,
        t: i32,
    }

    impl Reference {
        fn step(&mut self, model: &mut [ArrayD<f64>], gradient: &[ArrayD<f64>], rate: f64) {
            let AdamWSettings { beta1, beta2, epsilon, decay } = self.settings;
            self.t += 1;
            for ((block, gradient), moments) in model.iter_mut().zip(gradient).zip(&mut self.moments) {
                let decay = if block.ndim() >= 2 { decay } else { 0.0 };
                for ((w, g), (m, v)) in block.iter_mut().zip(gradient).zip(moments) {
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    let m_hat = *m / (1.0 - beta1.powi(self.t));
                    let v_hat = *v / (1.0 - beta2.powi(self.t));
                    *w -= rate * (m_hat / (v_hat.sqrt() + epsilon) + decay * *w);
                }
            }
        }
    }

    fn largest_difference<S: Scalar>(model: &[ArrayD<S>], reference: &[ArrayD<f64>]) -> f64 {
        let pairs = model.iter().zip(reference).flat_map(|(a, b)| a.iter().zip(b));
        pairs.map(|(a, b)| (a.widen() - b).abs()).fold(0.0, f64::max)
    }

    /// At the first step nothing is remembered, so the response is the whole movement; with a memory it is the part that the
    /// last gradient had in it.
    #[test]
    fn the_response_is_what_the_gradient_moved() {
        let settings = AdamWSettings { decay: 0.0, ..AdamWSettings::default() };
        let mut stream = Stream::new(9);
        let (start, first, second) = (random::<f64>(&mut stream), random(&mut stream), random(&mut stream));
        let mut adamw = AdamW::new(settings, &start).unwrap();
        let mut model = start.clone();
        adamw.step(&mut model, &first, 0.1);
        let mut moved = adamw.response(&first, 0.1);
        moved.iter_mut().zip(&model).for_each(|(moved, model)| *moved += model);
        assert!(largest_difference(&moved, &start) < 1e-15);
        // A step without a gradient at the same second moment moves by memory alone; the rest is the response.
        let before = model.clone();
        adamw.step(&mut model, &second, 0.1);
        let response = adamw.response(&second, 0.1);
        let AdamWSettings { beta1, beta2, epsilon, .. } = settings;
        let blocks = before.iter().zip(&model).zip(first.iter().zip(&second)).zip(&response);
        for (((before, model), (first, second)), response) in blocks {
            for ((((b, m), g1), g2), r) in before.iter().zip(model).zip(first).zip(second).zip(response) {
                let v = (beta2 * (1.0 - beta2) * g1 * g1 + (1.0 - beta2) * g2 * g2) / (1.0 - beta2 * beta2);
                let memory = 0.1 * beta1 * (1.0 - beta1) * g1 / (1.0 - beta1 * beta1) / (v.sqrt() + epsilon);
                assert!((b - m - memory - r).abs() < 1e-14, "{} {r}", b - m - memory);
            }
        }
    }

    fn against_the_reference<S: Scalar>(tolerance: f64) {
        let settings = AdamWSettings { decay: 0.3, epsilon: 1e-3, ..AdamWSettings::default() };
        let mut stream = Stream::new(5);
        let mut model = random::<S>(&mut stream);
        let mut expected: Vec<ArrayD<f64>> = model.iter().map(|block| block.mapv(S::widen)).collect();
        let moments = expected.iter().map(|block| vec![(0.0, 0.0); block.len()]).collect();
        let mut reference = Reference { settings, moments, t: 0 };
        let mut adam = AdamW::new(settings, &model).unwrap();
        for step in 0..50 {
            let rate = 0.02 / f64::from(step + 1);
            let mut gradient = random::<S>(&mut stream);
            // Weights of the last that lie still at first, and some again: one row alone, in the middle of a run, many, and the end.
            for (place, g) in gradient.last_mut().unwrap().iter_mut().enumerate() {
                let is_still = matches!(place / 64, 3 | 9..=11 | 17..=36 | 43..);
                *g = if is_still && (step < 20 || step % 7 == 0) { S::zero() } else { *g };
            }
            let wide: Vec<ArrayD<f64>> = gradient.iter().map(|block| block.mapv(S::widen)).collect();
            adam.step(&mut model, &gradient, rate);
            reference.step(&mut expected, &wide, rate);
            let difference = largest_difference(&model, &expected);
            assert!(difference < tolerance, "step {step}: {} differs by {difference:e}", S::NAME);
        }
    }

    #[test]
    fn fifty_steps_agree_with_the_paper_one_weight_at_a_time() {
        against_the_reference::<f64>(1e-14);
        // Rounding of weights near 1 in f32, 6e-8 a step, over 50 steps that shrink.
        against_the_reference::<f32>(1e-6);
    }

    #[test]
    fn the_first_step_is_the_sign_of_the_gradient_and_only_matrices_decay() {
        // At t = 1 the corrected moments are g and g^2, whatever the betas.
        let (g, rate, settings) = (0.3, 0.1, AdamWSettings::default());
        let mut model = vec![ArrayD::from_elem(vec![1, 1], 2.0), ArrayD::from_elem(vec![1], 2.0)];
        let gradient = vec![ArrayD::from_elem(vec![1, 1], g), ArrayD::from_elem(vec![1], -g)];
        AdamW::new(settings, &model).unwrap().step(&mut model, &gradient, rate);
        let push: f64 = rate * g / (g + 1e-8);
        assert!((model[0][[0, 0]] - (2.0 - rate * 0.01 * 2.0 - push)).abs() < 1e-15);
        assert!((model[1][[0]] - (2.0 + push)).abs() < 1e-15);
    }

    #[test]
    fn a_badly_scaled_convex_problem_converges() {
        // L = sum a_i (w_i - c_i)^2 / 2 with curvatures over six decades, the rate falling to zero.
        let n = 7;
        let a = Array1::from_shape_fn(n, |i| 10f64.powi(i as i32 - 3));
        let c = Array1::from_shape_fn(n, |i| (i as f64).cos());
        let mut w = Array1::zeros(n);
        let mut adam = AdamW::new(AdamWSettings::default(), &w).unwrap();
        for step in 0..2000 {
            let gradient = &a * &(&w - &c);
            adam.step(&mut w, &gradient, 0.05 * (1.0 - f64::from(step) / 2000.0));
        }
        assert_eq!(adam.steps(), 2000);
        assert!((&w - &c).iter().all(|error| error.abs() < 1e-4), "{}", &w - &c);
    }

    #[test]
    fn moments_fade_to_zero_and_never_rest_at_subnormal_values() {
        let mut model = arr1(&[1.0_f32]);
        let mut adam = AdamW::new(AdamWSettings::default(), &model).unwrap();
        adam.step(&mut model, &arr1(&[1e-3]), 0.0);
        for _ in 0..5000 {
            adam.step(&mut model, &arr1(&[0.0]), 0.0);
            let (m, v) = (adam.m.values()[0], adam.v.values()[0]);
            assert!(!m.is_subnormal() && !v.is_subnormal(), "m = {m:e}, v = {v:e}");
        }
        assert_eq!((adam.m.values()[0], adam.v.values()[0]), (0.0, 0.0));
    }

    #[test]
    fn a_saved_optimiser_goes_on_to_the_same_bits() {
        let mut stream = Stream::new(8);
        let mut model = random::<f32>(&mut stream);
        let mut whole = AdamW::new(AdamWSettings::default(), &model).unwrap();
        for _ in 0..3 {
            whole.step(&mut model, &random(&mut stream), 0.01);
        }
        let mut checkpoint = Checkpoint::new("state.safetensors");
        Optimiser::<f32, Vec<ArrayD<f32>>>::save(&whole, &mut checkpoint).unwrap();
        let mut copy = model.clone();
        let mut resumed = AdamW::new(AdamWSettings::default(), &copy).unwrap();
        Optimiser::<f32, Vec<ArrayD<f32>>>::load(&mut resumed, &checkpoint).unwrap();
        for _ in 0..3 {
            let gradient = random(&mut stream);
            whole.step(&mut model, &gradient, 0.01);
            resumed.step(&mut copy, &gradient, 0.01);
        }
        assert_eq!(model, copy);
    }

    #[test]
    fn settings_outside_their_range_are_named() {
        let good = AdamWSettings::default();
        for (settings, name) in [
            (AdamWSettings { beta1: 1.0, ..good }, "beta1"),
            (AdamWSettings { beta2: f64::NAN, ..good }, "beta2"),
            (AdamWSettings { epsilon: 0.0, ..good }, "epsilon"),
            (AdamWSettings { decay: f64::INFINITY, ..good }, "decay"),
        ] {
            assert_eq!(AdamW::new(settings, &arr1(&[0.0])).unwrap_err().name, name);
        }
    }
}
