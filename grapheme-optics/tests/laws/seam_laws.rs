//! What every medium may rely on, and what the vacuum promises.

use grapheme_core::layers::RoundKind;
use grapheme_core::network::{Closing, ForwardOptions, StageConfig, Upstream};
use grapheme_core::{GraphBatch, GraphTransformNet, NetworkConfig, Scalar, Stream, Topology, param};
use grapheme_optics::{Boundary, GradientMedium, Vacuum};
use ndarray::Array2;

const TEXTS: [&str; 3] = ["abc", "", "한e\u{301}👩‍👧 1"];

/// Two stages, so that a gradient also crosses a realised morph between its boundaries.
fn net<S: Scalar>() -> GraphTransformNet<S> {
    let stages = vec![
        StageConfig { rounds: vec![RoundKind::Gated { distance: 1 }, RoundKind::Gated { distance: 2 }], slots: 2 },
        StageConfig { rounds: vec![RoundKind::Recurrent], slots: 2 },
    ];
    GraphTransformNet::new(&NetworkConfig { stages, ..NetworkConfig::tiny(4) }, 3).unwrap()
}

/// Where a backward pass begins: with or without a gradient of the gates.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    Labels,
    LabelsAndGates,
}

/// Every number of a gradient, by the name of its block; the features at last. `f64` holds every `f32`.
type Numbers = Vec<(String, Vec<f64>)>;

/// The gradient behind `medium`, and what that recorded.
fn gradient<S: Scalar, M: GradientMedium<S>>(medium: &M, closing: Closing, source: Source) -> (Numbers, M::Trace) {
    let net = net::<S>();
    let batch = GraphBatch::from_texts(&TEXTS).unwrap();
    let (morphed, trace) = net.forward(&batch, ForwardOptions { closing, ..ForwardOptions::realised() }).unwrap();
    let mut upstream = Upstream::zeros(&morphed);
    let random = Stream::new(5);
    let number = |i: usize| S::lit(random.at(i as u64) as f64 / u64::MAX as f64 - 0.5);
    upstream.log_label.iter_mut().enumerate().for_each(|(i, d)| *d = number(i));
    if source == Source::LabelsAndGates {
        upstream.gates.log_merge.iter_mut().enumerate().for_each(|(i, d)| *d = number(1000 + i));
    }
    let (mut record, mut grad) = (M::Trace::default(), param::zeros_like(&net));
    let features = net.backward(trace, &morphed, upstream, medium, &mut record, &mut grad);
    let mut numbers = Numbers::new();
    param::each(&grad, |name, _, values: &[S]| {
        numbers.push((name.to_owned(), values.iter().map(|d| d.widen()).collect()));
    });
    numbers.push(("features".to_owned(), features.iter().map(|d| d.widen()).collect()));
    assert!(numbers.iter().all(|(_, values)| values.iter().all(|d| d.is_finite())));
    (numbers, record)
}

fn bits(numbers: &Numbers) -> Vec<(&str, Vec<u64>)> {
    numbers.iter().map(|(name, values)| (name.as_str(), values.iter().map(|d| d.to_bits()).collect())).collect()
}

/// Changes nothing, as anyone would write it, and notes where it was called and on how many rows.
struct Glass;

impl<S: Scalar> GradientMedium<S> for Glass {
    type Trace = Vec<(Boundary, usize)>;

    fn cross(&self, boundary: Boundary, _: &Topology, gradient: &mut Array2<S>, trace: &mut Self::Trace) {
        *gradient = gradient.mapv(|d| d * S::one());
        trace.push((boundary, gradient.nrows()));
    }
}

#[test]
fn vacuum_is_a_medium_that_changes_nothing_to_the_bit_and_takes_no_room() {
    for closing in [Closing::Marginalised, Closing::Realised] {
        let (vacuum, ()) = gradient::<f32, _>(&Vacuum, closing, Source::LabelsAndGates);
        let (glass, _) = gradient::<f32, _>(&Glass, closing, Source::LabelsAndGates);
        assert_eq!(bits(&vacuum), bits(&glass), "{closing:?}");
        let (vacuum, ()) = gradient::<f64, _>(&Vacuum, closing, Source::LabelsAndGates);
        let (glass, _) = gradient::<f64, _>(&Glass, closing, Source::LabelsAndGates);
        assert_eq!(bits(&vacuum), bits(&glass), "{closing:?}");
    }
    assert_eq!((size_of::<Vacuum>(), size_of::<<Vacuum as GradientMedium<f32>>::Trace>()), (0, 0));
}

#[test]
fn boundaries_are_crossed_once_each_from_the_last_to_the_first() {
    let layers = net::<f64>().layer_names();
    let nodes = GraphBatch::from_texts(&TEXTS).unwrap().nodes();
    for closing in [Closing::Marginalised, Closing::Realised] {
        let (_, crossed) = gradient::<f64, _>(&Glass, closing, Source::LabelsAndGates);
        let order: Vec<usize> = crossed.iter().map(|(boundary, _)| boundary.index).collect();
        assert_eq!(order, (0..layers.len() - 1).rev().collect::<Vec<_>>(), "{closing:?}: {layers:?}");
        // Below the first morph there is a row for each node of the batch.
        let first_morph = layers.iter().position(|name| name == "stages.0.morph").unwrap();
        let below = crossed.iter().filter(|(boundary, _)| boundary.index < first_morph);
        assert!(below.clone().count() > 0 && below.clone().all(|&(_, rows)| rows == nodes), "{crossed:?}");
    }
}

/// Halves what crosses one boundary: exact in binary, so that the effect can be told to the bit.
struct Half(usize);

impl<S: Scalar> GradientMedium<S> for Half {
    type Trace = ();

    fn cross(&self, boundary: Boundary, _: &Topology, gradient: &mut Array2<S>, (): &mut ()) {
        if boundary.index == self.0 {
            gradient.mapv_inplace(|d| d * S::lit(0.5));
        }
    }
}

#[test]
fn a_medium_acts_on_the_layers_below_it_and_on_no_other() {
    let layers = net::<f64>().layer_names();
    // The loss reads the gates beside the last boundary, so their gradient would not be halved there.
    let (plain, ()) = gradient::<f64, _>(&Vacuum, Closing::Realised, Source::Labels);
    for boundary in 0..layers.len() - 1 {
        let (dimmed, ()) = gradient::<f64, _>(&Half(boundary), Closing::Realised, Source::Labels);
        for ((name, plain), (_, dimmed)) in plain.iter().zip(&dimmed) {
            let layer = layers.iter().position(|layer| name.starts_with(layer.as_str())).unwrap_or(0);
            let factor = if layer <= boundary { 0.5 } else { 1.0 };
            let expected: Vec<f64> = plain.iter().map(|d| factor * d).collect();
            assert_eq!(dimmed, &expected, "{name} with boundary {boundary} halved");
        }
    }
    let reached = |name: &str| plain.iter().any(|(block, values)| block == name && values.iter().any(|&d| d != 0.0));
    assert!(["features", "embedding.table", "stages.0.morph.gate.thresholds"].into_iter().all(reached));
}
