//! The gradient of a word behind glass, as a whole and ray by ray: all of its rays add up to it, rays that are drawn at random do so in
//! the mean, and the ledger of each boundary says what the glass kept.

use grapheme_core::network::{ForwardOptions, Upstream};
use grapheme_core::{GradientMedium, GraphBatch, GraphTransformNet, Media, NetworkConfig, Stream, param};
use grapheme_optics::medium::Record;
use grapheme_optics::rays::Tracer;
use grapheme_optics::settings::{OpticLayer, Value};
use grapheme_optics::{Optics, OpticsSettings};
use ndarray::Array2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = NetworkConfig::tiny(4);
    let net = GraphTransformNet::<f64>::new(&config, 1)?;
    let glass =
        OpticLayer { transparency: Value::Constant(0.8), diffusion: Value::Constant(0.2), ..OpticLayer::default() };
    let optics = Optics::new(OpticsSettings { layers: vec![glass], ..OpticsSettings::default() }, &config, &net, 1)?;

    // The loss asks each candidate for label 0.
    let batch = GraphBatch::from_texts(&["ab"])?;
    let (morphed, trace) = net.forward(&batch, ForwardOptions::marginalised())?;
    let mut upstream = Upstream::zeros(&morphed);
    upstream.log_label.column_mut(0).fill(1.0);
    let (_, for_backward) = net.forward(&batch, ForwardOptions::marginalised())?;
    let (mut record, mut grad) = (Record::default(), param::zeros_like(&net));
    let chain = optics.medium().carry(&net, for_backward, &morphed, upstream.clone(), &mut record, &mut grad);

    println!("{:>24}    {:24} {:>9} {:>9}", "from", "to", "energy", "kept");
    let names = net.layer_names();
    for crossing in &record.crossings {
        let (ledger, at) = (&crossing.ledger, crossing.boundary);
        let kept = ledger.absorbed + ledger.diffused;
        println!("{:>24} -> {:24} {:9.4} {kept:9.4}", names[at + 1], names[at], ledger.incoming);
        assert!(ledger.imbalance() < 1e-12 && kept > 0.0);
    }

    let mut tracer = Tracer::new(&net, &trace, &morphed, &upstream, optics.medium())?;
    let rays = tracer.exhaustive(1_000_000)?;
    let mut sum = Array2::<f64>::zeros(chain.dim());
    for ray in &rays {
        sum.row_mut(ray.node()).iter_mut().zip(&ray.vector).for_each(|(sum, x)| *sum += x);
    }
    let drawn = tracer.monte_carlo(20_000, 0.1, &Stream::new(1));
    let norm = |x: &Array2<f64>| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (all, some) = (norm(&(&sum - &*chain)) / norm(&chain), norm(&(&drawn.mean - &*chain)) / norm(&chain));
    println!("{} rays miss the gradient by less than 1e-10 of it, {} drawn ones by {some:.3}", rays.len(), drawn.rays);
    assert!(all < 1e-10 && some < 0.1, "{all:e} {some}");

    println!("The strongest, from the loss to a node of the text:");
    for ray in tracer.strongest(3) {
        let nodes: Vec<String> = ray.path.iter().map(|(_, node)| node.to_string()).collect();
        println!("{:9.4} {}", ray.energies.last().copied().unwrap_or_default(), nodes.join(" > "));
    }
    Ok(())
}
