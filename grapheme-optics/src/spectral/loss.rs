//! What the correction is trained to minimise.

use super::FieldError;
use grapheme_core::Scalar;
use grapheme_core::layers::sigmoid;
use ndarray::{Array2, Axis, s};
use serde::{Deserialize, Serialize};

/// A loss over the outputs of the correction, with what the outputs mean.
///
/// With `r = (x - b) / epsilon`, what the recurrences left in its own unit, P places, and outputs y of each place:
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// `mean (y - r)^2`: predicts the mean of what can come. One output.
    #[default]
    Squared,
    /// Cross-entropy over bins of r, from -3 to 3: predicts the most probable bin, a mode. One output a bin.
    Quantised {
        /// How many, at least 2.
        bins: usize,
    },
    /// `-ln sum_m pi_m exp(-E_m / 2 v) + penalty / M^2 sum_(m != n) exp(-|y_m - y_n|^2 / P)`: M hypotheses of the whole frame with
    /// energies `E_m = sum_p (y_m - r)^2 / P` and probabilities `pi = softmax(mean of the logits over places)`. The
    /// penalty keeps two hypotheses from being the same mode. Predicts the most probable one. Two outputs a mode.
    Energy {
        /// How many hypotheses, at least 1.
        modes: usize,
        /// v, the variance of what is not explained; positive.
        variance: f64,
        /// At least 0.
        penalty: f64,
    },
    /// `weight mean (y - r)^2 - mean ln D(y)`, against a discriminator that is trained to tell y from r: see [`Discriminator`].
    Adversarial {
        /// Of the squared error; at least 0.
        weight: f64,
    },
}

/// What came, and what the recurrences had expected.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// x.
    pub frame: &'a Array2<f64>,
    /// b.
    pub base: &'a Array2<f64>,
    /// The unit of the error.
    pub epsilon: f64,
}

/// Bins reach so far to either side.
const REACH: f64 = 3.0;

impl Target<'_> {
    /// r, row by row, cut off at five units.
    pub fn rest<S: Scalar>(&self) -> Vec<S> {
        let rest = self.frame.iter().zip(self.base).map(|(x, b)| ((x - b) / self.epsilon).clamp(-5.0, 5.0));
        rest.map(S::lit).collect()
    }
}

impl Loss {
    /// Settings that can run.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn check(&self) -> Result<(), FieldError> {
        match *self {
            Self::Squared => Ok(()),
            Self::Quantised { bins } => FieldError::require(bins >= 2, "bins", bins as f64, "at least 2"),
            Self::Energy { modes, variance, penalty } => {
                FieldError::require(modes >= 1, "modes", modes as f64, "at least 1")?;
                FieldError::require(variance > 0.0, "variance", variance, "positive")?;
                FieldError::require(penalty >= 0.0, "penalty", penalty, "at least 0")
            }
            Self::Adversarial { weight } => FieldError::require(weight >= 0.0, "weight", weight, "at least 0"),
        }
    }

    /// Outputs of a place.
    pub fn outputs(&self) -> usize {
        match *self {
            Self::Squared | Self::Adversarial { .. } => 1,
            Self::Quantised { bins } => bins,
            Self::Energy { modes, .. } => 2 * modes,
        }
    }

    /// What is added to the forecast: `epsilon` times the mean, the most probable bin or the most probable hypothesis.
    pub fn correction<S: Scalar>(&self, y: &Array2<S>, base: &Array2<f64>, epsilon: f64) -> Array2<f64> {
        let value = |place: usize| match *self {
            Self::Squared | Self::Adversarial { .. } => y[(place, 0)].widen(),
            // Untrained logits are equal and say nothing.
            Self::Quantised { .. } if y.row(place).iter().all(|&l| l == y[(place, 0)]) => 0.0,
            Self::Quantised { bins } => centre(largest(y.row(place).iter().map(|l| l.widen())), bins),
            Self::Energy { modes, .. } => y[(place, largest(mixture(y, modes)))].widen(),
        };
        let width = base.ncols();
        Array2::from_shape_fn(base.dim(), |(i, j)| epsilon * value(i * width + j))
    }

    /// Every hypothesis with its probability; one for the losses that have but one answer.
    pub fn hypotheses<S: Scalar>(&self, y: &Array2<S>, base: &Array2<f64>, epsilon: f64) -> Vec<(f64, Array2<f64>)> {
        let Self::Energy { modes, .. } = *self else { return vec![(1.0, base + &self.correction(y, base, epsilon))] };
        let width = base.ncols();
        mixture(y, modes)
            .enumerate()
            .map(|(m, p)| {
                let frame =
                    Array2::from_shape_fn(base.dim(), |(i, j)| base[(i, j)] + epsilon * y[(i * width + j, m)].widen());
                (p, frame)
            })
            .collect()
    }

    /// The loss, and its gradient with respect to the outputs. Of the adversarial loss, the part without the discriminator.
    pub fn evaluate<S: Scalar>(&self, y: &Array2<S>, target: &Target<'_>) -> (f64, Array2<S>) {
        let rest = target.rest::<S>();
        let places = S::lit(rest.len() as f64);
        let mut dy = Array2::zeros(y.dim());
        match *self {
            Self::Squared | Self::Adversarial { .. } => {
                let weight = if let Self::Adversarial { weight } = *self { S::lit(weight) } else { S::one() };
                let mut loss = 0.0;
                for (place, &r) in rest.iter().enumerate() {
                    let gap = y[(place, 0)] - r;
                    loss += (weight * gap * gap / places).widen();
                    dy[(place, 0)] = weight * S::lit(2.0) * gap / places;
                }
                (loss, dy)
            }
            Self::Quantised { bins } => {
                let mut loss = 0.0;
                for (place, &r) in rest.iter().enumerate() {
                    let bin = bin(r.widen(), bins);
                    let row = y.row(place);
                    let top = row.iter().fold(S::neg_infinity(), |top, &l| top.max(l));
                    let sum = row.iter().fold(S::zero(), |sum, &l| sum + (l - top).exp());
                    loss += ((top + sum.ln() - row[bin]) / places).widen();
                    for (d, &l) in dy.row_mut(place).iter_mut().zip(row) {
                        *d = (l - top).exp() / (sum * places);
                    }
                    dy[(place, bin)] -= S::one() / places;
                }
                (loss, dy)
            }
            Self::Energy { modes, variance, penalty } => {
                let prior: Vec<f64> = mixture(y, modes).collect();
                let energy: Vec<f64> = (0..modes)
                    .map(|m| {
                        let sum: f64 = rest.iter().zip(y.column(m)).map(|(&r, &y)| (y - r).widen().powi(2)).sum();
                        sum / rest.len() as f64
                    })
                    .collect();
                let log: Vec<f64> = (0..modes).map(|m| prior[m].ln() - energy[m] / (2.0 * variance)).collect();
                let top = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = log.iter().map(|l| (l - top).exp()).sum();
                let mut loss = -top - sum.ln();
                for (m, (&log, &prior)) in log.iter().zip(&prior).enumerate() {
                    let posterior = (log - top).exp() / sum;
                    let pull = S::lit(posterior / (variance * rest.len() as f64));
                    let push = S::lit((prior - posterior) / rest.len() as f64);
                    for (place, &r) in rest.iter().enumerate() {
                        dy[(place, m)] += pull * (y[(place, m)] - r);
                        dy[(place, modes + m)] += push;
                    }
                    for n in 0..m {
                        let gap: f64 =
                            y.column(m).iter().zip(y.column(n)).map(|(&a, &b)| (a - b).widen().powi(2)).sum();
                        let cost = 2.0 * penalty / (modes * modes) as f64 * (-gap / rest.len() as f64).exp();
                        loss += cost;
                        let push = S::lit(2.0 * cost / rest.len() as f64);
                        for place in 0..rest.len() {
                            let apart = push * (y[(place, m)] - y[(place, n)]);
                            dy[(place, m)] -= apart;
                            dy[(place, n)] += apart;
                        }
                    }
                }
                (loss, dy)
            }
        }
    }
}

/// The probabilities of the hypotheses.
fn mixture<S: Scalar>(y: &Array2<S>, modes: usize) -> impl Iterator<Item = f64> {
    let logits = y.slice(s![.., modes..2 * modes]).mapv(|x| x.widen());
    let logits = logits.mean_axis(Axis(0)).unwrap_or_default();
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = logits.mapv(|l| (l - top).exp());
    let sum = weights.sum();
    weights.into_iter().map(move |w| w / sum)
}

fn largest(values: impl Iterator<Item = f64>) -> usize {
    values.enumerate().fold((0, f64::NEG_INFINITY), |best, (i, x)| if x > best.1 { (i, x) } else { best }).0
}

fn bin(r: f64, bins: usize) -> usize {
    let place = (r + REACH) / (2.0 * REACH) * bins as f64;
    (place.max(0.0) as usize).min(bins - 1)
}

fn centre(bin: usize, bins: usize) -> f64 {
    ((bin as f64 + 0.5) / bins as f64 * 2.0 - 1.0) * REACH
}

/// Tells what came from what was predicted by 3 x 3 patches: `D = sigmoid(tanh(z W_1 + b_1) w_2 + b_2)`, z the nine values about a place.
///
/// A small network of one hidden layer over each patch, as in patch discriminators (Isola et al., 2017). Beyond the border the nearest
/// value counts.
#[derive(Clone, Debug)]
pub struct Discriminator<S> {
    /// 9 to hidden.
    pub inner: grapheme_core::layers::Linear<S>,
    /// Hidden to 1.
    pub outer: grapheme_core::layers::Linear<S>,
}

grapheme_core::param_tree!(Discriminator { inner, outer });

impl<S: Scalar> Discriminator<S> {
    /// Fresh parameters.
    pub fn new(hidden: usize, stream: &mut grapheme_core::Stream) -> Self {
        Self {
            inner: grapheme_core::layers::Linear::new(9, hidden, stream),
            outer: grapheme_core::layers::Linear::new(hidden, 1, stream),
        }
    }

    /// `-mean ln D(map)` if `real`, else `-mean ln (1 - D(map))`; adds its gradient into `grad` and returns that of the map.
    ///
    /// # Panics
    /// A map of other than h w values.
    pub fn judge(&self, map: &[S], shape: [usize; 2], real: bool, grad: &mut Self) -> (f64, Vec<S>) {
        let [h, w] = shape;
        let from = |place: usize, shift: usize| {
            let row = (place / w + shift / 3).saturating_sub(1).min(h - 1);
            row * w + (place % w + shift % 3).saturating_sub(1).min(w - 1)
        };
        let patches = Array2::from_shape_fn((h * w, 9), |(place, shift)| map[from(place, shift)]);
        let apply = |layer: &grapheme_core::layers::Linear<S>, x: &Array2<S>| {
            layer.forward(x.view()).expect("nine values a patch")
        };
        let hidden = apply(&self.inner, &patches).mapv(|x| x.tanh());
        let score = apply(&self.outer, &hidden);
        let places = S::lit((h * w) as f64);
        let sign = if real { S::one() } else { -S::one() };
        let mut loss = 0.0;
        let dscore = score.mapv(|x| {
            loss -= grapheme_core::layers::log_sigmoid(sign * x).widen();
            -sign * sigmoid(-sign * x) / places
        });
        let mut dhidden = self.outer.backward(hidden.view(), dscore.view(), &mut grad.outer);
        dhidden.zip_mut_with(&hidden, |d, &t| *d *= S::one() - t * t);
        let dpatches = self.inner.backward(patches.view(), dhidden.view(), &mut grad.inner);
        let mut dmap = vec![S::zero(); h * w];
        for ((place, shift), &d) in dpatches.indexed_iter() {
            dmap[from(place, shift)] += d;
        }
        (loss / (h * w) as f64, dmap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::check::NumericGradient;
    use grapheme_core::{Stream, param};
    use rand::RngExt;
    use std::collections::BTreeMap;

    const LOSSES: [Loss; 4] = [
        Loss::Squared,
        Loss::Quantised { bins: 4 },
        Loss::Energy { modes: 3, variance: 0.3, penalty: 0.5 },
        Loss::Adversarial { weight: 0.4 },
    ];

    fn random(n: usize, m: usize, seed: u64) -> Array2<f64> {
        let mut stream = Stream::new(seed);
        Array2::from_shape_simple_fn((n, m), || stream.random::<f64>() * 2.0 - 1.0)
    }

    #[test]
    fn every_loss_has_the_derivative_of_its_value() {
        let (frame, base) = (random(2, 4, 1), random(2, 4, 2));
        let target = Target { frame: &frame, base: &base, epsilon: 0.7 };
        for loss in LOSSES {
            let y = random(8, loss.outputs(), 3);
            let (_, dy) = loss.evaluate(&y, &target);
            let numeric = NumericGradient::of_slice("y", y.as_slice().unwrap(), |x| {
                loss.evaluate(&Array2::from_shape_vec(y.dim(), x.to_vec()).unwrap(), &target).0
            });
            let report = numeric.compare(1e-6, |_| dy.as_slice().unwrap());
            assert!(report.passed(), "{loss:?}\n{report}");
            let wrong = dy.mapv(|d| d * 1.01);
            assert!(!numeric.compare(1e-6, |_| wrong.as_slice().unwrap()).passed(), "{loss:?}: a fault passes");
        }
    }

    #[test]
    fn the_discriminator_has_the_derivative_of_its_value() {
        let judge = Discriminator::<f64>::new(4, &mut Stream::new(5));
        let map = random(3, 4, 6);
        for real in [true, false] {
            let mut grad = param::zeros_like(&judge);
            let (_, dmap) = judge.judge(map.as_slice().unwrap(), [3, 4], real, &mut grad);
            let value = |judge: &Discriminator<f64>, map: &[f64]| {
                judge.judge(map, [3, 4], real, &mut param::zeros_like(judge)).0
            };
            let numeric = NumericGradient::of_model(&judge, |_, _| true, |judge| value(judge, map.as_slice().unwrap()))
                .and(NumericGradient::of_slice("map", map.as_slice().unwrap(), |map| value(&judge, map)));
            let mut blocks = BTreeMap::from([("map".to_owned(), dmap)]);
            param::each(&grad, |name, _, values| drop(blocks.insert(name.to_owned(), values.to_vec())));
            let report = numeric.compare(1e-6, |name| &blocks[name]);
            assert!(report.passed() && report.blocks.len() == 5, "{report}");
            for name in blocks.keys() {
                let mut wrong = blocks.clone();
                wrong.get_mut(name).unwrap().iter_mut().for_each(|d| *d *= 1.01);
                assert!(!numeric.compare(1e-6, |name| &wrong[name]).passed(), "a fault in {name} passes");
            }
        }
    }

    /// Descends on outputs that are free, against futures of which one of two is drawn each time.
    ///
    /// The rate falls as `first / (1 + step / half)`, so that the draws average out.
    fn descend(
        loss: Loss,
        up: f64,
        steps: usize,
        [first, half]: [f64; 2],
    ) -> (Array2<f64>, crate::field::hedging::Fork) {
        let spot = |row: usize| Array2::from_shape_fn((4, 3), |(i, j)| if i == row && j == 1 { 1.0 } else { 0.0 });
        let fork = crate::field::hedging::Fork { branches: vec![spot(0), spot(3)], probabilities: vec![up, 1.0 - up] };
        let base = Array2::zeros((4, 3));
        let mut stream = Stream::new(7);
        let mut y = random(12, loss.outputs(), 8) * 0.1;
        for step in 0..steps {
            let branch = usize::from(stream.random::<f64>() >= up);
            let target = Target { frame: &fork.branches[branch], base: &base, epsilon: 0.5 };
            let (_, dy) = loss.evaluate(&y, &target);
            y.scaled_add(-first / (1.0 + step as f64 / half), &dy);
        }
        (y, fork)
    }

    #[test]
    fn squared_error_hedges_and_the_others_choose() {
        let base = Array2::zeros((4, 3));
        let (y, fork) = descend(Loss::Squared, 0.7, 40_000, [6.0, 4.0]);
        let hedge = Loss::Squared.correction(&y, &base, 0.5);
        // The centre of gravity of the prediction is that of the mixture, within 2% of the distance of the branches.
        let centroid =
            |frame: &Array2<f64>| frame.indexed_iter().map(|((i, _), &x)| i as f64 * x).sum::<f64>() / frame.sum();
        let gap = (centroid(&hedge) - centroid(&fork.mean())) / 3.0;
        assert!(gap.abs() < 0.02, "{gap}");
        assert!(fork.sharpness(&hedge) < 0.65 && fork.error_follows_probability(&hedge) > 0.8);

        let quantised = Loss::Quantised { bins: 9 };
        let (y, fork) = descend(quantised, 0.7, 4_000, [24.0, 4_000.0]);
        let choice = quantised.correction(&y, &base, 0.5);
        assert_eq!(fork.nearest(&choice), 0);
        assert!(fork.sharpness(&choice) > 0.75, "{}", fork.sharpness(&choice));

        let energy = Loss::Energy { modes: 2, variance: 0.05, penalty: 0.1 };
        let (y, fork) = descend(energy, 0.7, 40_000, [0.5, 4_000.0]);
        let hypotheses = energy.hypotheses(&y, &base, 0.5);
        let mut seen = [0.0; 2];
        for (p, frame) in &hypotheses {
            seen[fork.nearest(frame)] += p;
            assert!(fork.sharpness(frame) > 0.8, "{}", fork.sharpness(frame));
        }
        assert!((seen[0] - 0.7).abs() < 0.05, "both branches, as often as they come: {seen:?}");
    }

    #[test]
    fn settings_without_meaning_are_refused() {
        for loss in [
            Loss::Quantised { bins: 1 },
            Loss::Energy { modes: 0, variance: 1.0, penalty: 0.0 },
            Loss::Energy { modes: 1, variance: 0.0, penalty: 0.0 },
            Loss::Adversarial { weight: f64::NAN },
        ] {
            assert!(loss.check().is_err(), "{loss:?}");
        }
        assert!(LOSSES.iter().all(|loss| loss.check().is_ok()));
    }
}
