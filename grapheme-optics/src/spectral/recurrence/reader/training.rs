//! How a [`Reader`] learns.

use super::{COMPONENTS, FARTHEST, HORIZONS, LEAST, Network, Reader, STATES, WINDOW, inputs, take_the_rest, width};
use grapheme_core::product::product;
use grapheme_core::{Scalar, Stream, param};
use ndarray::{Array1, Array2, s};
use rand::RngExt;

/// Frames of a piece of a sequence, and how far the next piece begins behind it.
const PIECE: usize = 64 + WINDOW + FARTHEST;
const STRIDE: usize = 64;
/// Pieces that are learned from, at most, evenly chosen.
const PIECES: usize = 512;
/// Samples of one step.
const BATCH: usize = 128;
/// The learning rate at first; it falls linearly to nothing.
const RATE: f64 = 3e-3;

/// A run of frames by their inner products about the mean, a pixel, and their coefficients.
struct Piece {
    products: Array2<f64>,
    /// T x r.
    coefficients: Array2<f64>,
    /// The first frame that is a newest one.
    first: usize,
}

/// A moment to learn from: a piece and its newest frame.
type Moment = (usize, usize);

/// What came, in inner products with what it can be made of.
struct Sample<S> {
    /// Of the n frames held and the components among themselves.
    among: Array2<S>,
    /// Of the frames that came with these, K x n, for the horizons that are within the piece.
    with: Array2<S>,
    /// Of the frames that came with themselves.
    own: Vec<S>,
    held: usize,
}

impl Reader {
    /// Learns from sequences, given as frames about `mean` (T x P each), in so many passes. Nothing where none is long enough. O(T P 128) and
    /// 0.2 million products a sample and pass.
    pub(in super::super) fn fit(
        mean: &Array1<f64>,
        components: &Array2<f64>,
        sequences: &[Array2<f64>],
        passes: u32,
        seed: &Stream,
    ) -> Option<Self> {
        let pixels = mean.len() as f64;
        let components = components.slice(s![..components.nrows().min(COMPONENTS), ..]).mapv(|u| u * pixels.sqrt());
        let pieces = pieces(sequences, &components);
        let moments: Vec<Moment> = (0..pieces.len())
            .flat_map(|i| {
                let last = pieces[i].products.nrows().saturating_sub(1);
                (pieces[i].first..last.min(WINDOW + STRIDE)).map(move |t| (i, t))
            })
            .collect();
        if moments.is_empty() || passes == 0 {
            return None;
        }
        let r = components.nrows();
        let mut rows = Array2::zeros((moments.len(), width(r)));
        for (mut row, &(piece, t)) in rows.rows_mut().into_iter().zip(&moments) {
            row.assign(&Array1::from(see(&pieces[piece], t)));
        }
        let (centre, scale) = standard(&rows, r);
        rows -= &Array1::from(centre.clone());
        rows /= &Array1::from(scale.clone());
        let rows = rows.mapv(|x| x as f32);
        let units = units(&pieces, &moments);
        let mut stream = seed.clone();
        let mut network = Network::<f32>::new(width(r), r, &mut stream);
        let mut descent = Descent::new(&network);
        let mut order: Vec<usize> = (0..moments.len()).collect();
        let steps = passes as usize * moments.len().div_ceil(BATCH);
        for step in 0..steps {
            let at = step % moments.len().div_ceil(BATCH) * BATCH;
            if at == 0 {
                (1..order.len()).rev().for_each(|i| order.swap(i, stream.random_range(0..=i)));
            }
            let chosen = &order[at..order.len().min(at + BATCH)];
            let samples: Vec<Sample<f32>> =
                chosen.iter().map(|&i| sample(&pieces[moments[i].0], moments[i].1)).collect();
            let mut grad = param::zeros_like(&network);
            loss(&network, &rows.select(ndarray::Axis(0), chosen), &samples, &units, Some(&mut grad));
            descent.step(&mut network, &grad, RATE * (1.0 - step as f64 / steps as f64));
        }
        Some(Self { network, mean: mean.clone(), components, centre, scale })
    }
}

fn pieces(sequences: &[Array2<f64>], components: &Array2<f64>) -> Vec<Piece> {
    let mut starts = Vec::new();
    for (i, sequence) in sequences.iter().enumerate() {
        let count = sequence.nrows().saturating_sub(WINDOW + FARTHEST).div_ceil(STRIDE).max(1);
        starts.extend((0..count).map(|j| (i, j * STRIDE)));
    }
    let every = starts.len().div_ceil(PIECES).max(1);
    let piece = |&(i, start): &(usize, usize)| {
        let frames = sequences[i].slice(s![start..sequences[i].nrows().min(start + PIECE), ..]);
        let pixels = frames.ncols() as f64;
        Piece {
            products: Array2::from(product(frames, frames.t())) / pixels,
            coefficients: Array2::from(product(frames, components.t())) / pixels,
            first: if start == 0 { LEAST - 1 } else { WINDOW },
        }
    };
    starts.iter().step_by(every).map(piece).collect()
}

/// What the network sees at a moment.
fn see(piece: &Piece, t: usize) -> Vec<f64> {
    let window = (t + 1).min(WINDOW);
    let products = Array2::from_shape_fn((window, window), |(a, b)| piece.products[(t - a, t - b)]);
    inputs(products.view(), STATES.iter().flat_map(|&age| piece.coefficients.row(t - age)).copied())
}

/// Means and spreads of the inputs; all components have one unit.
fn standard(rows: &Array2<f64>, components: usize) -> (Vec<f64>, Vec<f64>) {
    let centre = rows.mean_axis(ndarray::Axis(0)).expect("there is a row");
    let mut scale = rows.std_axis(ndarray::Axis(0), 0.0).mapv(|s| s.max(0.05));
    let from = rows.ncols() - STATES.len() * components;
    let states = rows.slice(s![.., from..]);
    let unit = (states.mapv(|x| x * x).mean().unwrap_or(1.0)).sqrt().max(1e-6);
    scale.slice_mut(s![from..]).fill(unit);
    (centre.to_vec(), scale.to_vec())
}

/// For each horizon the mean squared change until then.
fn units(pieces: &[Piece], moments: &[Moment]) -> Vec<f64> {
    let unit = |&horizon: &usize| {
        let (mut sum, mut count) = (0.0, 0.0);
        for &(piece, t) in moments {
            let products = &pieces[piece].products;
            if t + horizon < products.nrows() {
                let then = t + horizon;
                sum += (products[(t, t)] - 2.0 * products[(t, then)] + products[(then, then)]).max(0.0);
                count += 1.0;
            }
        }
        // Where nothing moves there is nothing to learn.
        if count > 0.0 && sum > 0.0 { sum / count } else { 1.0 }
    };
    HORIZONS.iter().map(unit).collect()
}

fn sample<S: Scalar>(piece: &Piece, t: usize) -> Sample<S> {
    let (held, r) = ((t + 1).min(WINDOW), piece.coefficients.ncols());
    let slots = held + r;
    let horizons = HORIZONS.iter().take_while(|&&horizon| t + horizon < piece.products.nrows()).count();
    let with = |frame: usize, slot: usize| {
        S::lit(if slot < held { piece.products[(frame, t - slot)] } else { piece.coefficients[(frame, slot - held)] })
    };
    Sample {
        among: Array2::from_shape_fn((slots, slots), |(i, j)| match (i < held, j < held) {
            (true, _) => with(t - i, j),
            (false, true) => with(t - j, i),
            (false, false) => {
                if i == j {
                    S::one()
                } else {
                    S::zero()
                }
            }
        }),
        with: Array2::from_shape_fn((horizons, slots), |(k, slot)| with(t + HORIZONS[k], slot)),
        own: HORIZONS[..horizons].iter().map(|h| S::lit(piece.products[(t + h, t + h)])).collect(),
        held,
    }
}

/// The mean over samples of the sum over horizons of `(|x|^2 - 2 <w, b> + w^T A w) / unit`, which is the squared error a pixel in units of
/// the usual change, and its gradient `2 (A w - b) / unit`, which is added into `grad`.
fn loss<S: Scalar>(
    network: &Network<S>,
    rows: &Array2<S>,
    samples: &[Sample<S>],
    units: &[f64],
    grad: Option<&mut Network<S>>,
) -> f64 {
    let hidden = network.hidden(rows.view());
    let y = network.last.forward(hidden[3].view()).expect("the network's own shapes");
    let mut dy = Array2::zeros(y.dim());
    let slots = y.ncols() / HORIZONS.len();
    let mut sum = 0.0;
    for ((sample, y), mut dy) in samples.iter().zip(y.rows()).zip(dy.rows_mut()) {
        let Sample { among, with, own, held } = sample;
        // Slots of frames that are not held have no weight.
        let slot = |i: usize| if i < *held { i } else { i + WINDOW - held };
        let mut weights = Array2::from_shape_fn(with.dim(), |(k, i)| y[k * slots + slot(i)]);
        weights.rows_mut().into_iter().for_each(|mut row| {
            take_the_rest(&mut row.as_slice_mut().expect("a new matrix is row-major")[..*held]);
        });
        let through = product(weights.view(), among.view());
        for (k, own) in own.iter().enumerate() {
            let (w, b, aw) = (weights.row(k), with.row(k), through.row(k));
            let scale = 1.0 / (units[k] * samples.len() as f64);
            sum += (own.widen() + (w.dot(&aw) - w.dot(&b) - w.dot(&b)).widen()) * scale;
            let twice = S::lit(2.0 * scale);
            let newest = twice * (aw[0] - b[0]);
            for i in 0..w.len() {
                let d = twice * (aw[i] - b[i]);
                dy[k * slots + slot(i)] = if (1..*held).contains(&i) { d - newest } else { d };
            }
        }
    }
    if let Some(grad) = grad {
        network.backward(rows.view(), &hidden, dy.view(), grad);
    }
    sum
}

/// Adam (Kingma and Ba, 2015).
struct Descent {
    moments: Vec<[f32; 2]>,
    steps: i32,
}

impl Descent {
    const MEMORY: [f32; 2] = [0.9, 0.99];

    fn new(network: &Network<f32>) -> Self {
        Self { moments: vec![[0.0; 2]; param::count(network)], steps: 0 }
    }

    fn step(&mut self, network: &mut Network<f32>, grad: &Network<f32>, rate: f64) {
        self.steps += 1;
        let [unbias, spread] = Self::MEMORY.map(|memory| 1.0 / (1.0 - memory.powi(self.steps)));
        let rate = rate as f32 * unbias;
        let mut moments = self.moments.iter_mut();
        param::each_pair(network, grad, |_, weights, grad| {
            for ((w, &g), [m, v]) in weights.iter_mut().zip(grad).zip(&mut moments) {
                *m += (1.0 - Self::MEMORY[0]) * (g - *m);
                *v += (1.0 - Self::MEMORY[1]) * (g * g - *v);
                *w -= rate * *m / ((*v * spread).sqrt() + 1e-12);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::History;
    use super::*;
    use crate::spectral::proved;
    use grapheme_core::check::NumericGradient;
    use std::collections::BTreeMap;

    /// A field that flips in a rhythm of its own.
    fn flips(stream: &mut Stream, frames: usize) -> Array2<f64> {
        let (speed, phase) = (stream.random_range(0.3..0.7), stream.random_range(0.0..6.3));
        let shape: Vec<f64> = (0..6).map(|_| stream.random_range(-0.5..0.5)).collect();
        Array2::from_shape_fn((frames, 6), |(t, p)| shape[p] * (phase + speed * t as f64).sin().signum())
    }

    #[test]
    fn the_gradient_agrees_and_planted_faults_are_caught() {
        let mut stream = Stream::new(4);
        let frames = flips(&mut stream, 40) + flips(&mut stream, 40).mapv(|x| 0.3 * x);
        let components = Array2::from_shape_fn((2, 6), |(r, p)| if p == r { 6.0_f64.sqrt() } else { 0.0 });
        let pieces = pieces(&[frames], &components);
        // One whose window is not full, one near the end, which has few horizons.
        let moments = [16, 30, 37];
        let samples: Vec<Sample<f64>> = moments.iter().map(|&t| sample(&pieces[0], t)).collect();
        let rows = Array2::from_shape_fn((3, width(2)), |(i, j)| see(&pieces[0], moments[i])[j]);
        let units: Vec<f64> = (0..HORIZONS.len()).map(|k| 0.1 + 0.01 * k as f64).collect();
        let mut network = Network::<f64>::new(width(2), 2, &mut Stream::new(1));
        network.last.weight.mapv_inplace(|_| 0.2 * (stream.random::<f64>() - 0.5));
        let mut grad = param::zeros_like(&network);
        loss(&network, &rows, &samples, &units, Some(&mut grad));
        let numeric = NumericGradient::of_model(
            &network,
            |_, i| i % 97 == 0,
            |network| loss(network, &rows, &samples, &units, None),
        );
        let mut found = BTreeMap::new();
        param::each(&grad, |name, _, values| drop(found.insert(name.to_owned(), values.to_vec())));
        proved(&numeric, &found, "the reader");
    }

    #[test]
    fn the_loss_is_the_squared_error_of_the_frames_that_the_rule_writes() {
        let mut stream = Stream::new(7);
        let sequences: Vec<Array2<f64>> = (0..60).map(|_| flips(&mut stream, 40)).collect();
        let mean = Array1::from_elem(6, 0.5);
        let components = Array2::from_shape_fn((1, 6), |(_, p)| if p == 0 { 1.0 } else { 0.0 });
        let fit = || Reader::fit(&mean, &components, &sequences, 12, &Stream::new(1)).unwrap();
        let reader = fit();
        let test = flips(&mut stream, 40);
        let (mut history, pieces) =
            (History::new([2, 3], 80).unwrap(), pieces(std::slice::from_ref(&test), &reader.components));
        (0..=20).for_each(|t| history.push_values((&test.row(t) + &mean).view()));
        let rule = reader.rule(&history).unwrap();
        let mut next = Array1::zeros(6);
        let mut by_hand = 0.0;
        // Rolled out, what it wrote is in the history and is not read until the end.
        for t in 21..40 {
            rule.next(&history, next.view_mut());
            history.push_values(next.view());
            if HORIZONS.contains(&(t - 20)) {
                by_hand += (&next - &mean - test.row(t)).mapv(|x| x * x).sum() / 6.0;
            }
        }
        let row = see(&pieces[0], 20)
            .iter()
            .zip(&reader.centre)
            .zip(&reader.scale)
            .map(|((x, c), s)| ((x - c) / s) as f32)
            .collect();
        let rows = Array2::from_shape_vec((1, width(1)), row).unwrap();
        let found = loss(&reader.network, &rows, &[sample(&pieces[0], 20)], &[1.0; HORIZONS.len()], None);
        assert!((found / by_hand - 1.0).abs() < 1e-4, "{found} {by_hand}");
        // Beyond the farthest horizon it reads what it wrote.
        (0..60).for_each(|_| history.push_values(next.view()));
        rule.next(&history, next.view_mut());
        assert!(next.iter().all(|x| x.is_finite()));
        let bits = |reader: &Reader| reader.network.last.weight.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&reader), bits(&fit()), "the same seed gives the same bits");
    }

    #[test]
    fn the_rhythm_of_flips_is_read_off_the_history() {
        let mut stream = Stream::new(7);
        let mut many = |count: usize| (0..count).map(|_| flips(&mut stream, 48)).collect::<Vec<_>>();
        let (learn, test) = (many(200), many(20));
        let mean = Array1::zeros(6);
        let reader = Reader::fit(&mean, &Array2::zeros((0, 6)), &learn, 12, &Stream::new(1)).unwrap();
        let (mut copied, mut read) = (0.0, 0.0);
        for sequence in &test {
            let mut history = History::new([2, 3], 64).unwrap();
            for t in 0..47 {
                history.push_values(sequence.row(t));
                if t >= 24 {
                    let mut next = Array1::zeros(6);
                    reader.rule(&history).unwrap().next(&history, next.view_mut());
                    read += (&next - &sequence.row(t + 1)).mapv(|x| x * x).sum();
                    copied += (&sequence.row(t) - &sequence.row(t + 1)).mapv(|x| x * x).sum();
                }
            }
        }
        assert!(read < 0.3 * copied, "{read} {copied}");
    }
}
