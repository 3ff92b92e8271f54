//! Attention over the history whose weights a trained network reads off the history itself.

mod training;

use super::super::{
    History,
    solve::{add_rows, along_rows},
};
use grapheme_core::layers::{Linear, gelu};
use grapheme_core::{Scalar, Stream, param_tree};
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut1, Axis, s};
use serde::{Deserialize, Serialize};

/// Frames that are attended to.
const WINDOW: usize = 24;
/// Frames without which nothing is read.
const LEAST: usize = 16;
/// Ages of the frames whose components are read.
const STATES: [usize; 8] = [0, 1, 2, 3, 5, 7, 10, 15];
/// Components that are read, and written beside the frames, at most.
const COMPONENTS: usize = 24;
/// How many frames ahead the network looks; between these its weights are interpolated.
const HORIZONS: [usize; 17] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 20, 24, 28, 32, 36, 40];
const FARTHEST: usize = HORIZONS[HORIZONS.len() - 1];
/// Width of both hidden layers.
const HIDDEN: usize = 96;
/// Variances below this, a pixel, are as good as none.
const STILL: f64 = 1e-12;

/// `x[t + h] = m + (x[t] - m) + sum_s a_s (x[t - s] - x[t]) + a_0 (x[t] - m) + sum_r c_r u_r`, with weights `(a, c)` for each h
/// that a network of two hidden layers has learned to read off the history.
///
/// m is the mean of the training frames, u are their principal components. What the network sees are the likenesses of the frames: the cosines of
/// the newest frame, and of the newest change, with those before, and how large each change was; none of them depends on
/// what the frames show. So what it learns of how a sequence goes on, such as its frequency or the rhythm of its flips, holds for fields that it never saw. And it
/// sees the components of eight of the last sixteen frames, from which it can write what the history does not span.
///
/// The loss is the squared error of frames, which by inner products alone is a quadratic in the weights: training needs no
/// pixels. Beyond 40 frames it reads again, what it wrote itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Reader {
    network: Network<f32>,
    mean: Array1<f64>,
    /// r x P, with a mean square of one.
    components: Array2<f64>,
    /// What is subtracted from the inputs and what they are divided by.
    centre: Vec<f64>,
    scale: Vec<f64>,
}

/// A [`Reader`] as a file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    mean: Array1<f64>,
    components: Array2<f64>,
    centre: Vec<f64>,
    scale: Vec<f64>,
    /// Weights and offsets.
    layers: [(Array2<f32>, Array1<f32>); 3],
}

impl From<Kept> for Reader {
    fn from(Kept { mean, components, centre, scale, layers }: Kept) -> Self {
        let [first, second, last] = layers.map(|(weight, bias)| Linear { weight, bias });
        Self { network: Network { first, second, last }, mean, components, centre, scale }
    }
}

impl From<Reader> for Kept {
    fn from(Reader { network: Network { first, second, last }, mean, components, centre, scale }: Reader) -> Self {
        let layers = [first, second, last].map(|Linear { weight, bias }| (weight, bias));
        Self { mean, components, centre, scale, layers }
    }
}

/// Inputs to `K (W + r)` weights, K horizons of W frames and r components.
#[derive(Clone, Debug)]
struct Network<S> {
    first: Linear<S>,
    second: Linear<S>,
    last: Linear<S>,
}

param_tree!(Network { first, second, last });

/// Both hidden layers, before and after their nonlinearity.
type Hidden<S> = [Array2<S>; 4];

/// A [`Reader`] that has read one history.
#[derive(Clone, Debug)]
pub struct ReaderRule<'a> {
    reader: &'a Reader,
    /// Frames of that history.
    frames: usize,
    hidden: Array1<f32>,
}

impl Reader {
    /// The rule for a history of at least sixteen frames.
    pub(super) fn rule(&self, history: &History) -> Option<ReaderRule<'_>> {
        let fits = history.len() >= LEAST && history.pixels() == self.mean.len();
        fits.then(|| ReaderRule { reader: self, frames: history.len(), hidden: self.read(history, 0) })
    }

    /// Whether all parts fit each other and frames of so many pixels.
    pub(super) fn is_whole(&self, pixels: usize) -> bool {
        let (r, Network { first, second, last }) = (self.components.nrows(), &self.network);
        let fits = |layer: &Linear<f32>, inputs: usize, outputs: usize| {
            layer.weight.dim() == (inputs, outputs) && layer.bias.len() == outputs
        };
        r <= COMPONENTS
            && (self.mean.len(), self.components.ncols()) == (pixels, pixels)
            && (self.centre.len(), self.scale.len()) == (width(r), width(r))
            && fits(first, width(r), HIDDEN)
            && fits(second, HIDDEN, HIDDEN)
            && fits(last, HIDDEN, HORIZONS.len() * (WINDOW + r))
    }

    /// The second hidden layer for the frames of age `from` and older.
    fn read(&self, history: &History, from: usize) -> Array1<f32> {
        let pixels = history.pixels() as f64;
        let window = (history.len() - from).min(WINDOW);
        let frame = |age: usize| history.frame(from + age);
        let along: Vec<f64> =
            (0..window).map(|age| along_rows(self.mean.view().insert_axis(Axis(0)), frame(age))[0]).collect();
        let own = self.mean.dot(&self.mean);
        let products = Array2::from_shape_fn((window, window), |(a, b)| {
            (history.product(from + a, from + b) - along[a] - along[b] + own) / pixels
        });
        let centre = along_rows(self.components.view(), self.mean.view());
        let coefficients = STATES.map(|age| (along_rows(self.components.view(), frame(age)) - &centre) / pixels);
        let inputs = inputs(products.view(), coefficients.iter().flatten().copied());
        let row = inputs.iter().zip(&self.centre).zip(&self.scale).map(|((x, c), s)| ((x - c) / s) as f32);
        let [.., hidden] = self.network.hidden(Array1::from_iter(row).insert_axis(Axis(0)).view());
        hidden.remove_axis(Axis(0))
    }

    /// The weights for one number of frames ahead, of the frames and of the components.
    fn weights(&self, hidden: &Array1<f32>, ahead: usize) -> Vec<f64> {
        let slots = WINDOW + self.components.nrows();
        let at = |k: usize| {
            let columns = s![.., k * slots..(k + 1) * slots];
            let mut weights = self.network.last.bias.slice(s![k * slots..(k + 1) * slots]).to_owned();
            for (&h, row) in hidden.iter().zip(self.network.last.weight.slice(columns).rows()) {
                weights.scaled_add(h, &row);
            }
            weights
        };
        let later = HORIZONS.partition_point(|&horizon| horizon < ahead).min(HORIZONS.len() - 1);
        let mut weights = at(later).mapv(f64::from);
        if later > 0 && HORIZONS[later] > ahead {
            let part = (HORIZONS[later] - ahead) as f64 / (HORIZONS[later] - HORIZONS[later - 1]) as f64;
            weights = weights * (1.0 - part) + at(later - 1).mapv(f64::from) * part;
        }
        weights.to_vec()
    }
}

impl ReaderRule<'_> {
    /// As [`super::Rule::next`].
    pub fn next(&self, history: &History, mut out: ArrayViewMut1<'_, f64>) {
        let ahead = history.len() - self.frames;
        let from = ahead % FARTHEST;
        let reader = self.reader;
        let mut weights = if ahead < FARTHEST {
            reader.weights(&self.hidden, from + 1)
        } else {
            reader.weights(&reader.read(history, from), from + 1)
        };
        let held = (history.len() - from).min(WINDOW);
        take_the_rest(&mut weights[..held]);
        out.assign(&reader.mean);
        out *= 1.0 - weights[..held].iter().sum::<f64>();
        let attended = (0..held).map(|age| (weights[age], history.frame(from + age)));
        let written = weights[WINDOW..].iter().copied().zip(reader.components.rows());
        add_rows(attended.chain(written), &mut out);
    }
}

impl<S: Scalar> Network<S> {
    fn new(inputs: usize, components: usize, stream: &mut Stream) -> Self {
        let mut last = Linear::new(HIDDEN, HORIZONS.len() * (WINDOW + components), stream);
        // A network that has learned nothing copies.
        last.weight.fill(S::zero());
        last.bias.fill(S::zero());
        Self { first: Linear::new(inputs, HIDDEN, stream), second: Linear::new(HIDDEN, HIDDEN, stream), last }
    }

    fn hidden(&self, inputs: ArrayView2<'_, S>) -> Hidden<S> {
        let before = Array2::from(self.first.forward(inputs).expect("the network's own shapes"));
        let first = before.mapv(|x| gelu(x).0);
        let again = Array2::from(self.second.forward(first.view()).expect("the network's own shapes"));
        let second = again.mapv(|x| gelu(x).0);
        [before, first, again, second]
    }

    /// Adds the gradient of the parameters into `grad`, for that of the outputs.
    fn backward(&self, inputs: ArrayView2<'_, S>, hidden: &Hidden<S>, dy: ArrayView2<'_, S>, grad: &mut Self) {
        let [before, first, again, second] = hidden;
        let mut d = self.last.backward(second.view(), dy, &mut grad.last);
        d.zip_mut_with(again, |d, &x| *d *= gelu(x).1);
        let mut d = self.second.backward(first.view(), d.view(), &mut grad.second);
        d.zip_mut_with(before, |d, &x| *d *= gelu(x).1);
        self.first.backward_parameters(inputs, d.view(), &mut grad.first);
    }
}

/// The newest frame counts one, less what the others take from it.
fn take_the_rest<S: Scalar>(weights: &mut [S]) {
    let others = weights[1..].iter().fold(S::zero(), |sum, &weight| sum + weight);
    weights[0] += S::one() - others;
}

/// Numbers of the network's input for so many components.
fn width(components: usize) -> usize {
    4 * WINDOW + STATES.len() * components
}

/// What the network sees: likenesses from the inner products of the last frames about the mean of training, a pixel, and coefficients.
fn inputs(products: ArrayView2<'_, f64>, coefficients: impl Iterator<Item = f64>) -> Vec<f64> {
    let n = products.nrows();
    let rows: Vec<f64> = products.rows().into_iter().map(|row| row.sum() / n as f64).collect();
    let all = rows.iter().sum::<f64>() / n as f64;
    let centred = |a: usize, b: usize| products[(a, b)] - rows[a] - rows[b] + all;
    let spread: Vec<f64> = (0..n).map(|a| centred(a, a).max(STILL).sqrt()).collect();
    let usual = (spread.iter().map(|s| s * s).sum::<f64>() / n as f64).sqrt();
    let change =
        |a: usize, b: usize| products[(a, b)] - products[(a + 1, b)] - products[(a, b + 1)] + products[(a + 1, b + 1)];
    let moved: Vec<f64> = (0..n - 1).map(|a| change(a, a).max(STILL).sqrt()).collect();
    let mut inputs = vec![0.0; 4 * WINDOW];
    for age in 0..n {
        inputs[age] = centred(0, age) / (spread[0] * spread[age]);
        inputs[WINDOW + age] = (products[(0, age)] / (spread[0] * spread[age])).clamp(-LIMIT, LIMIT);
    }
    for age in 0..n - 1 {
        inputs[2 * WINDOW + age] = change(0, age) / (moved[0] * moved[age]);
        inputs[3 * WINDOW + age] = (moved[age] / usual).ln();
    }
    inputs.extend(coefficients);
    inputs
}

/// Where nothing moves about its own mean, its likeness to the mean of training has no bound.
const LIMIT: f64 = 10.0;
