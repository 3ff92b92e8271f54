//! A medium of your own: gradients of single nodes are kept below a length, smoothly, and what is taken away is counted.
//!
//! A row of length `l` leaves with length `limit tanh(l / limit)`. Unlike clipping by the norm of the whole gradient it
//! acts where a gradient is large, and leaves the other nodes alone.

use grapheme_core::network::{ForwardOptions, Upstream};
use grapheme_core::{Boundary, GradientMedium, GraphBatch, GraphTransformNet, NetworkConfig, Topology, Vacuum, param};
use ndarray::Array2;

struct SoftLimit {
    limit: f64,
}

/// Energy before and behind each boundary.
type Energies = Vec<(usize, f64, f64)>;

impl GradientMedium<f64> for SoftLimit {
    type Trace = Energies;

    fn cross(&self, boundary: Boundary, _: &Topology, gradient: &mut Array2<f64>, trace: &mut Energies) {
        let before = energy(gradient);
        for mut row in gradient.rows_mut() {
            let length = row.dot(&row).sqrt();
            if length > 0.0 {
                row *= self.limit * (length / self.limit).tanh() / length;
            }
        }
        trace.push((boundary.index, before, energy(gradient)));
    }
}

fn energy(gradient: &Array2<f64>) -> f64 {
    gradient.iter().map(|g| g * g).sum()
}

/// The gradient of a loss that asks each candidate for label 0, through `medium`.
fn gradient<M: GradientMedium<f64>>(
    net: &GraphTransformNet<f64>,
    medium: &M,
    trace: &mut M::Trace,
) -> Result<GraphTransformNet<f64>, Box<dyn std::error::Error>> {
    let batch = GraphBatch::from_texts(&["light", "शब्द"])?;
    let (morphed, forward) = net.forward(&batch, ForwardOptions::marginalised())?;
    let mut upstream = Upstream::zeros(&morphed);
    upstream.log_label.column_mut(0).fill(1.0);
    let mut grad = param::zeros_like(net);
    net.backward(forward, &morphed, upstream, medium, trace, &mut grad);
    Ok(grad)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let net = GraphTransformNet::<f64>::new(&NetworkConfig::tiny(4), 1)?;
    let mut energies = Vec::new();
    gradient(&net, &SoftLimit { limit: 0.5 }, &mut energies)?;
    let names = net.layer_names();
    for &(boundary, before, behind) in &energies {
        println!("{:>24} -> {:<24} {before:9.3} {behind:9.3}", names[boundary + 1], names[boundary]);
        assert!(behind <= before);
    }

    // A limit that nothing reaches is no medium at all.
    let (mut wide, plain) =
        (gradient(&net, &SoftLimit { limit: 1e9 }, &mut Vec::new())?, gradient(&net, &Vacuum, &mut ())?);
    param::each_pair(&mut wide, &plain, |_, here, there| here.iter_mut().zip(there).for_each(|(a, b)| *a -= b));
    assert!(param::norm(&wide) <= 1e-12 * param::norm(&plain));
    Ok(())
}
