//! A small convolutional network as a peer of the predictor: what a plain network makes of the same frames.

use super::FieldError;
use grapheme_core::layers::{Linear, gelu};
use grapheme_core::product::product;
use grapheme_core::{Scalar, Stream, param_tree};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The sizes of a [`Convolution`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConvolutionSettings {
    /// Frames that it reads; at least 2.
    pub frames: usize,
    /// Channels of the hidden layers.
    pub channels: usize,
}

impl Default for ConvolutionSettings {
    /// 553 parameters; the attention of the predictor has 529.
    fn default() -> Self {
        Self { frames: 3, channels: 6 }
    }
}

/// Three layers of 3 x 3, `y = C_3 g(C_2 g(C_1 x))` with `g` the GELU.
///
/// A layer is one matrix product: row p of its columns holds the nine neighbours of place p, all channels of each (im2col), so that
/// `C x = columns(x) W + b` with W of 9 c x m. Beyond the border the nearest place counts. Backward: `dW += columns^T dy`,
/// `db += sum dy`, and the rows of `dy W^T` are added to the neighbours that they were taken from. O(P c m) a layer.
///
/// The last layer starts at zero, so an untrained network expects no change.
#[derive(Clone, Debug)]
pub struct Convolution<S> {
    /// From the first to the last.
    pub layers: Vec<Linear<S>>,
}

param_tree!(Convolution { layers });

/// What the backward pass of [`Convolution`] needs: of each layer its columns, and what came out of it.
#[derive(Clone, Debug)]
pub struct ConvolutionCache<S> {
    columns: Vec<Array2<S>>,
    outputs: Vec<Array2<S>>,
}

impl<S: Scalar> Convolution<S> {
    /// Fresh parameters for the given number of channels in and out.
    pub fn new(inputs: usize, channels: usize, outputs: usize, stream: &mut Stream) -> Self {
        let mut layer = |from: usize, to: usize| Linear::new(9 * from, to, stream);
        let mut layers = vec![layer(inputs, channels), layer(channels, channels), layer(channels, outputs)];
        layers[2].weight.fill(S::zero());
        layers[2].bias.fill(S::zero());
        Self { layers }
    }

    /// Outputs P x m for inputs P x c on a grid of h x w = P places, row by row.
    ///
    /// # Panics
    /// Inputs of other sizes than the parameters and the grid.
    pub fn forward(&self, x: ArrayView2<'_, S>, shape: [usize; 2]) -> (Array2<S>, ConvolutionCache<S>) {
        let mut cache = ConvolutionCache { columns: Vec::new(), outputs: Vec::new() };
        let mut x = x.to_owned();
        for (i, layer) in self.layers.iter().enumerate() {
            let columns = columns(&x, shape);
            let y = Array2::from(layer.forward(columns.view()).expect("the network's own shapes"));
            x = if i + 1 < self.layers.len() { y.mapv(|y| gelu(y).0) } else { y.clone() };
            cache.columns.push(columns);
            cache.outputs.push(y);
        }
        (x, cache)
    }

    /// Adds the parameters' gradient into `grad` and returns that of the inputs.
    pub fn backward(
        &self,
        cache: &ConvolutionCache<S>,
        dy: ArrayView2<'_, S>,
        shape: [usize; 2],
        grad: &mut Self,
    ) -> Array2<S> {
        let mut dy = dy.to_owned();
        let last = self.layers.len() - 1;
        for (i, layer) in self.layers.iter().enumerate().rev() {
            if i < last {
                dy.zip_mut_with(&cache.outputs[i], |d, &y| *d *= gelu(y).1);
            }
            layer.backward_parameters(cache.columns[i].view(), dy.view(), &mut grad.layers[i]);
            dy = add_columns(&product(dy.view(), layer.weight.t()), shape);
        }
        dy
    }
}

/// Calls `f(place, k, neighbour)` for the nine neighbours of every place, those beyond the border replaced by the nearest place.
fn each_neighbour([h, w]: [usize; 2], mut f: impl FnMut(usize, usize, usize)) {
    for i in 0..h {
        for j in 0..w {
            for k in 0..9 {
                let row = (i + k / 3).saturating_sub(1).min(h - 1);
                let column = (j + k % 3).saturating_sub(1).min(w - 1);
                f(i * w + j, k, row * w + column);
            }
        }
    }
}

/// P x 9 c.
fn columns<S: Scalar>(x: &Array2<S>, shape: [usize; 2]) -> Array2<S> {
    let c = x.ncols();
    let mut columns = Array2::zeros((x.nrows(), 9 * c));
    let (from, to) = (x.as_standard_layout(), columns.as_slice_mut().expect("a new matrix is row-major"));
    let from = from.as_slice().expect("in standard layout");
    each_neighbour(shape, |place, k, neighbour| {
        let at = (place * 9 + k) * c;
        to[at..at + c].copy_from_slice(&from[neighbour * c..(neighbour + 1) * c]);
    });
    columns
}

/// The transpose of [`columns`].
fn add_columns<S: Scalar>(dcolumns: &Array2<S>, shape: [usize; 2]) -> Array2<S> {
    let c = dcolumns.ncols() / 9;
    let mut dx = Array2::zeros((dcolumns.nrows(), c));
    let (from, to) = (dcolumns.as_standard_layout(), dx.as_slice_mut().expect("a new matrix is row-major"));
    let from = from.as_slice().expect("in standard layout");
    each_neighbour(shape, |place, k, neighbour| {
        let at = (place * 9 + k) * c;
        to[neighbour * c..(neighbour + 1) * c].iter_mut().zip(&from[at..at + c]).for_each(|(d, &more)| *d += more);
    });
    dx
}

/// The network in use on a sequence: `x[t + 1] = clamp(x[t] + s y)`, where y sees `x[t] - 1/2` and the last changes in units of s, the
/// usual change of the frames that it learns from. Changes from before the first frame are zero.
#[derive(Clone, Debug)]
pub struct ConvolutionalPredictor<S> {
    network: Convolution<S>,
    shape: [usize; 2],
    frames: usize,
    scale: f64,
    /// The newest first.
    recent: VecDeque<Array2<f64>>,
    /// Frames seen since the last clearing.
    steps: usize,
}

impl<S: Scalar> ConvolutionalPredictor<S> {
    /// Untrained, for frames like those of the sequences.
    ///
    /// # Errors
    /// Settings outside their range; sequences without two frames.
    pub fn new(sequences: &[Vec<Array2<f64>>], settings: ConvolutionSettings, seed: u64) -> Result<Self, FieldError> {
        let ConvolutionSettings { frames, channels } = settings;
        FieldError::require(frames >= 2, "frames", frames as f64, "at least 2")?;
        FieldError::require(channels >= 1, "channels", channels as f64, "at least 1")?;
        let Some(first) = sequences.iter().find_map(|frames| frames.first()) else {
            return Err(FieldError::Short { found: 0, least: 2 });
        };
        let (mut sum, mut count) = (0.0, 0.0);
        for pair in sequences.iter().flat_map(|frames| frames.windows(2)) {
            sum += super::mean_squared_error(&pair[0], &pair[1]);
            count += 1.0;
        }
        if count == 0.0 {
            return Err(FieldError::Short { found: 1, least: 2 });
        }
        Ok(Self {
            network: Convolution::new(frames, channels, 1, &mut Stream::new(seed)),
            shape: [first.nrows(), first.ncols()],
            frames,
            scale: (sum / count).sqrt().max(1e-6),
            recent: VecDeque::new(),
            steps: 0,
        })
    }

    /// The network.
    pub fn network(&self) -> &Convolution<S> {
        &self.network
    }

    /// The network, for an optimiser.
    pub fn network_mut(&mut self) -> &mut Convolution<S> {
        &mut self.network
    }

    /// Forgets the frames seen; what was learned stays.
    pub fn clear(&mut self) {
        self.recent.clear();
        self.steps = 0;
    }

    /// Takes the next frame in.
    ///
    /// # Errors
    /// A frame of another shape or with a number that is not finite; nothing has changed then.
    pub fn observe(&mut self, frame: &Array2<f64>) -> Result<(), FieldError> {
        let (step, found) = (self.steps, [frame.nrows(), frame.ncols()]);
        if found != self.shape {
            return Err(FieldError::Shape { step, expected: self.shape, found });
        }
        FieldError::check_finite(frame, step)?;
        self.steps += 1;
        self.recent.push_front(frame.clone());
        self.recent.truncate(self.frames);
        Ok(())
    }

    /// The expected next frame. A mid grey before the first frame.
    pub fn predict(&self) -> Array2<f64> {
        let Some(now) = self.recent.front() else { return Array2::from_elem(self.shape, 0.5) };
        let (y, _) = self.network.forward(self.inputs(now).view(), self.shape);
        let mut y = y.into_iter();
        now.mapv(|x| (x + self.scale * y.next().map_or(0.0, Scalar::widen)).clamp(0.0, 1.0))
    }

    /// Half the mean squared error of the next change against what came, in units of s^2; its gradient is added into `grad`. Nothing
    /// where no frame came before.
    pub fn learn(&self, frame: &Array2<f64>, grad: &mut Convolution<S>) -> Option<f64> {
        let now = self.recent.front()?;
        let (y, cache) = self.network.forward(self.inputs(now).view(), self.shape);
        let pixels = frame.len() as f64;
        let mut loss = 0.0;
        let mut dy = y;
        for (d, (next, now)) in dy.iter_mut().zip(frame.iter().zip(now)) {
            let error = d.widen() - (next - now) / self.scale;
            loss += 0.5 * error * error / pixels;
            *d = S::lit(error / pixels);
        }
        self.network.backward(&cache, dy.view(), self.shape, grad);
        Some(loss)
    }

    /// The expected next `steps` frames, each from those before it.
    pub fn rollout(&self, steps: usize) -> Vec<Array2<f64>> {
        let mut longer = self.clone();
        let mut frames = Vec::with_capacity(steps);
        for _ in 0..steps {
            let next = longer.predict();
            longer.recent.push_front(next.clone());
            longer.recent.truncate(self.frames);
            frames.push(next);
        }
        frames
    }

    /// P x frames: the newest frame, then the changes, the newest first.
    fn inputs(&self, now: &Array2<f64>) -> Array2<S> {
        let mut inputs = Array2::zeros((now.len(), self.frames));
        inputs.column_mut(0).iter_mut().zip(now).for_each(|(input, &x)| *input = S::lit(x - 0.5));
        for (d, (newer, older)) in self.recent.iter().zip(self.recent.iter().skip(1)).enumerate() {
            let change = newer.iter().zip(older).map(|(a, b)| S::lit((a - b) / self.scale));
            inputs.column_mut(1 + d).iter_mut().zip(change).for_each(|(input, x)| *input = x);
        }
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::super::wave::pulses;
    use super::super::{Predictor, PredictorSettings, mean_squared_error};
    use super::*;
    use crate::spectral::proved;
    use grapheme_core::check::NumericGradient;
    use grapheme_core::param;
    use rand::RngExt;
    use std::collections::BTreeMap;

    #[test]
    fn every_derivative_agrees_and_planted_faults_are_caught() {
        // Not square, and one row: every kind of border.
        for shape in [[3, 4], [1, 5]] {
            let mut stream = Stream::new(3);
            let mut net = Convolution::<f64>::new(2, 3, 2, &mut stream);
            net.layers[2].weight.mapv_inplace(|_| stream.random::<f64>() - 0.5);
            let x = Array2::from_shape_simple_fn((shape[0] * shape[1], 2), || stream.random::<f64>() - 0.5);
            let weight = x.mapv(|x| (7.0 * x).sin());
            let probe = |y: &Array2<f64>| (&weight * y + 0.3 * y * y).sum();
            let loss = |net: &Convolution<f64>, x: &Array2<f64>| probe(&net.forward(x.view(), shape).0);
            let numeric = NumericGradient::of_model(&net, |_, _| true, |net| loss(net, &x)).and(
                NumericGradient::of_slice("x", x.as_slice().unwrap(), |values| {
                    loss(&net, &Array2::from_shape_vec(x.dim(), values.to_vec()).unwrap())
                }),
            );
            let (y, cache) = net.forward(x.view(), shape);
            let mut grad = param::zeros_like(&net);
            let dx = net.backward(&cache, (&weight + &(0.6 * &y)).view(), shape, &mut grad);
            let mut found = BTreeMap::from([("x".to_owned(), dx.iter().copied().collect::<Vec<f64>>())]);
            param::each(&grad, |name, _, values| drop(found.insert(name.to_owned(), values.to_vec())));
            proved(&numeric, &found, &format!("{shape:?}"));
        }
    }

    #[test]
    fn a_kernel_that_was_planted_is_the_stencil_of_the_wave_equation() {
        // x[t + 1] - x[t] = (x[t] - x[t - 1]) + C^2 (sum of the four neighbours - 4 x[t]), where nothing is damped.
        let mut field = pulses(24, false, &mut Stream::new(2)).unwrap();
        let frames = field.frames(6, 1, 8.0);
        let sequences = [frames.clone()];
        let mut own =
            ConvolutionalPredictor::<f64>::new(&sequences, ConvolutionSettings { frames: 2, channels: 1 }, 1).unwrap();
        assert_eq!(own.predict()[(0, 0)], 0.5);
        // One linear layer in the place of three.
        let mut layer = own.network.layers[0].clone();
        layer.weight.fill(0.0);
        layer.bias.fill(0.0);
        for k in 0..9 {
            let side = if k == 4 { -1.0 } else { [0.0, 0.25][k % 2] };
            layer.weight[(2 * k, 0)] = 0.25 * 4.0 * side / own.scale;
        }
        layer.weight[(2 * 4 + 1, 0)] = 1.0;
        own.network.layers = vec![layer];
        frames[..5].iter().for_each(|frame| own.observe(frame).unwrap());
        let (expected, found) = (own.predict(), &frames[5]);
        for i in 6..18 {
            for j in 6..18 {
                assert!((expected[(i, j)] - found[(i, j)]).abs() < 1e-12, "{i} {j}");
            }
        }
        let mut bad = frames[0].clone();
        bad[(1, 2)] = f64::INFINITY;
        assert!(matches!(own.observe(&bad), Err(FieldError::NotFinite { step: 5, row: 1, column: 2, .. })));
        assert!(ConvolutionalPredictor::<f64>::new(&[], ConvolutionSettings::default(), 1).is_err());
    }

    #[test]
    fn it_is_as_large_as_the_attention_and_descent_lowers_its_loss() {
        let frames = pulses(16, true, &mut Stream::new(4)).unwrap().frames(12, 2, 1.0);
        let sequences = [frames.clone()];
        let mut own = ConvolutionalPredictor::<f64>::new(&sequences, ConvolutionSettings::default(), 1).unwrap();
        let attention = Predictor::<f32>::new([16, 16], PredictorSettings::default(), 1).unwrap();
        let (mine, its) = (param::count(own.network()), param::count(attention.correction()));
        assert!(its <= mine && mine < its * 11 / 10, "{mine} parameters beside {its}");

        frames[..11].iter().for_each(|frame| own.observe(frame).unwrap());
        // Untrained, it copies; a rollout begins with the prediction of one step.
        assert!(mean_squared_error(&own.predict(), &frames[10]) < 1e-30);
        let (mut first, mut last) = (None, 0.0);
        for _ in 0..100 {
            let mut grad = param::zeros_like(own.network());
            last = own.learn(&frames[11], &mut grad).unwrap();
            first.get_or_insert(last);
            param::each_pair(own.network_mut(), &grad, |_, w, g| {
                w.iter_mut().zip(g).for_each(|(w, g)| *w -= 0.1 * g);
            });
        }
        assert!(last < 0.5 * first.unwrap(), "{first:?} then {last}");
        assert_eq!(own.rollout(3)[0], own.predict());
    }
}
