//! Matrix products, and each layer forward and backward, on a lane of training.

use super::{Entry, Kernel, Work};
use crate::inputs::{lane, matrix};
use grapheme_core::layers::{Dropout, DropoutKeys, GatedRound, Layer, LayerNorm, Linear, Pass, RecurrentRound, gelu};
use grapheme_core::product::write_product;
use grapheme_core::{Kept, Matrix, ParamTree, Stream, Topology, param};
use ndarray::Array2;
use std::hint::black_box;

const WIDTH: usize = 128;
const DRY: Dropout = Dropout { site: 1, rate: 0.0, isolation: 0.0 };

pub(super) fn kernels() -> Vec<Entry> {
    let mut entries = Vec::new();
    // Rows, inner size and columns as they occur: a level of a recurrent round, a lane of words, a weight gradient.
    for (n, k, m) in [(16, 128, 512), (160, 128, 512), (160, 384, 256), (128, 160, 512), (320, 128, 128)] {
        entries.push(Entry::new(format!("product/{n}x{k}x{m}"), move || {
            let (a, b) = (matrix::<f32>(n, k, 1), matrix::<f32>(k, m, 2));
            let mut c = Array2::zeros((n, m));
            let work = Work { bytes: 4.0 * (n * k + k * m + n * m) as f64, operations: 2.0 * (n * k * m) as f64 };
            Kernel::new(("operations", 2 * n * k * m), work, move || {
                write_product(c.view_mut(), black_box(a.view()), b.view());
            })
        }));
    }
    let d = WIDTH as f64;
    entries.extend(layer("gated", || GatedRound::new(WIDTH, 1, DRY, &mut Stream::new(1)), 2.0 * 7.0 * d * d));
    entries.extend(layer("recurrent", || RecurrentRound::new(WIDTH, DRY, &mut Stream::new(1)), 2.0 * 18.0 * d * d));
    entries.push(Entry::new("linear/forward", move || {
        let (linear, x) = (Linear::<f32>::new(WIDTH, 4 * WIDTH, &mut Stream::new(1)), rows(1));
        let work = layer_work(&linear, 5 * WIDTH, 8.0 * d * d);
        Kernel::new(("nodes", x.nrows()), work, move || linear.forward(black_box(x.view())))
    }));
    entries.push(Entry::new("linear/backward", move || {
        let (linear, x) = (Linear::<f32>::new(WIDTH, 4 * WIDTH, &mut Stream::new(1)), rows(1));
        let (dy, mut gradient) = (matrix(x.nrows(), 4 * WIDTH, 2), param::zeros_like(&linear));
        let work = layer_work(&linear, 10 * WIDTH, 16.0 * d * d);
        Kernel::new(("nodes", x.nrows()), work, move || linear.backward(black_box(x.view()), dy.view(), &mut gradient))
    }));
    entries.push(Entry::new("norm/forward", || {
        let (norm, x) = (LayerNorm::<f32>::new(WIDTH), rows(1));
        let work = layer_work(&norm, 3 * WIDTH, 0.0);
        Kernel::new(("nodes", x.nrows()), work, move || {
            norm.output(&norm.forward(black_box(&x)).expect("as wide as the layer"))
        })
    }));
    entries.push(Entry::new("norm/backward", || {
        let (norm, x) = (LayerNorm::<f32>::new(WIDTH), rows(1));
        let (cache, dy) = (norm.forward(&x).expect("as wide as the layer"), rows(2));
        let (work, mut gradient) = (layer_work(&norm, 3 * WIDTH, 0.0), param::zeros_like(&norm));
        let prepare = move || dy.clone();
        Kernel::prepared(("nodes", x.nrows()), work, prepare, move |dy| norm.backward(&cache, dy, None, &mut gradient))
    }));
    entries.push(Entry::new("dropout", || {
        let (topology, mut x) = (topology(), rows(1));
        let keys = DropoutKeys::new(&Stream::new(1), 0..topology.graphs() as u64);
        let work = Work { bytes: 8.0 * x.len() as f64, operations: 0.0 };
        // So small a rate that the values last.
        let dropout = Dropout { rate: 2e-5, ..DRY };
        Kernel::new(("nodes", x.nrows()), work, move || {
            dropout.apply(&mut x, Pass { dropout: Some(&keys), ..Pass::over(&topology) });
        })
    }));
    entries.push(Entry::new("gelu", || {
        let (x, mut y) = (rows(1), rows(2));
        let work = Work { bytes: 8.0 * x.len() as f64, operations: 0.0 };
        Kernel::new(("nodes", x.nrows()), work, move || y.zip_mut_with(black_box(&x), |y, &x| *y = gelu(x).0))
    }));
    entries
}

fn topology() -> Topology {
    lane().topology().clone()
}

fn rows(seed: u64) -> Matrix<f32> {
    matrix(topology().nodes(), WIDTH, seed).into()
}

/// `floats` numbers read and written a node, the parameters, and so many operations a node.
fn layer_work(layer: &impl ParamTree<f32>, floats: usize, operations: f64) -> Work {
    let nodes = topology().nodes() as f64;
    Work { bytes: 4.0 * (nodes * floats as f64 + param::count(layer) as f64), operations: nodes * operations }
}

/// Forward and backward of a round; backward takes twice the operations and also writes a gradient.
fn layer<L>(name: &str, make: impl Fn() -> L + Copy + 'static, operations: f64) -> [Entry; 2]
where
    L: Layer<f32> + ParamTree<f32> + Clone + 'static,
{
    let forward = move || {
        let (round, topology, x) = (make(), topology(), rows(1));
        let work = layer_work(&round, 2 * WIDTH, operations);
        let amount = ("nodes", x.nrows());
        Kernel::prepared(
            amount,
            work,
            move || x.clone(),
            move |x| round.forward(x, Pass::over(&topology)).expect("as wide as the layer"),
        )
    };
    let backward = move || {
        let (round, topology, x, dy) = (make(), topology(), rows(1), rows(2));
        let (work, mut gradient) = (layer_work(&round, 3 * WIDTH, 2.0 * operations), param::zeros_like(&round));
        let amount = ("nodes", x.nrows());
        let (again, shape) = (round.clone(), topology.clone());
        let prepare = move || {
            let pass = Pass::over(&shape);
            (again.forward(x.clone(), pass).expect("as wide as the layer").1, dy.clone())
        };
        Kernel::prepared(amount, work, prepare, move |(cache, dy)| {
            round.backward(cache, dy, Pass::over(&topology), &mut Kept::new(), &mut gradient)
        })
    };
    [Entry::new(format!("{name}/forward"), forward), Entry::new(format!("{name}/backward"), backward)]
}
