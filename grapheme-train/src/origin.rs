//! Where numbers stopped being numbers: the first place of a step with an infinity or a NaN in it.

use grapheme_core::graph::Topology;
use grapheme_core::layers::DropoutKeys;
use grapheme_core::medium::Detour;
use grapheme_core::network::ForwardOptions;
use grapheme_core::{Boundary, GraphBatch, GraphTransformNet, Scalar, param};
use ndarray::Array2;
use std::fmt;
use std::sync::Mutex;

/// The first place of a step that is not finite, in the order in which a step computes: weights, features, gradients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A weight, which the step before has left so.
    Weights(String),
    /// What a layer puts out, from features that were finite.
    Output(String),
    /// The gradient of the weights of a layer, above which all gradients are finite.
    Gradient(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights(block) => write!(f, "the weights `{block}`"),
            Self::Output(layer) => write!(f, "the output of layer `{layer}`"),
            Self::Gradient(layer) => write!(f, "the gradient of layer `{layer}`"),
        }
    }
}

/// Notes the first boundary whose features are not finite.
#[derive(Default)]
struct Watch(Mutex<Option<usize>>);

impl<S: Scalar> Detour<S> for Watch {
    fn pass(&self, boundary: Boundary, _: &Topology, features: &mut Array2<S>) {
        if let Ok(mut first) = self.0.lock()
            && first.is_none()
            && !features.iter().all(|x| x.is_finite())
        {
            *first = Some(boundary.index);
        }
    }
}

/// The first place that is not finite on the way of these lanes (graphs, and what dropout drew for them) to `gradient`; nothing
/// if all is finite. The time of a pass forward.
pub fn find<'a>(
    net: &GraphTransformNet<f32>,
    lanes: impl IntoIterator<Item = &'a (GraphBatch, DropoutKeys)>,
    gradient: &GraphTransformNet<f32>,
) -> Option<Origin> {
    if let Some(block) = broken(net).into_iter().next() {
        return Some(Origin::Weights(block));
    }
    let names = net.layer_names();
    for (batch, dropout) in lanes {
        let watch = Watch::default();
        let options = ForwardOptions { dropout: Some(dropout), ..ForwardOptions::marginalised() };
        // Without plans from outside there is nothing that it could refuse.
        let _ = net.open_through(net.embedding.forward(batch), batch, options, Some(&watch));
        if let Some(below) = watch.0.into_inner().unwrap_or_default() {
            return Some(Origin::Output(names[below].clone()));
        }
    }
    let blocks = broken(gradient);
    // Backward begins at the last layer.
    let of = |layer: &&String| {
        blocks.iter().any(|block| block.strip_prefix(layer.as_str()).is_some_and(|rest| rest.starts_with('.')))
    };
    let layer = names.iter().rev().find(of).cloned();
    layer.or_else(|| blocks.first().cloned()).map(Origin::Gradient)
}

/// The blocks that are not finite.
fn broken(net: &GraphTransformNet<f32>) -> Vec<String> {
    let mut blocks = Vec::new();
    param::each(net, |name, _, values| {
        if !values.iter().all(|x| x.is_finite()) {
            blocks.push(name.to_owned());
        }
    });
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::{NetworkConfig, Stream};

    /// Nothing is wrong, then a fault at each place in turn, which hides what comes after it.
    #[test]
    fn each_planted_fault_is_found_where_it_was_planted() {
        let mut net = GraphTransformNet::<f32>::new(&NetworkConfig::tiny(4), 1).unwrap();
        let lane = |text: &str| (GraphBatch::from_texts(&[text]).unwrap(), DropoutKeys::new(&Stream::new(1), [0]));
        let lanes = [lane("abc"), lane("x")];
        let mut gradient = param::zeros_like(&net);
        let fill = |net: &mut GraphTransformNet<f32>, wanted: &str, value: f32| {
            let mut found = false;
            param::each_mut(net, |name, _, values| {
                if name.starts_with(wanted) {
                    values.fill(value);
                    found = true;
                }
            });
            assert!(found, "there is no {wanted}");
        };
        assert_eq!(find(&net, &lanes, &gradient), None);
        let last_round = net.layer_names()[net.layer_names().len() - 3].clone();
        for (block, layer) in
            [("embedding.", "embedding"), (last_round.as_str(), last_round.as_str()), ("head.", "head")]
        {
            fill(&mut gradient, block, f32::NAN);
            assert_eq!(find(&net, &lanes, &gradient), Some(Origin::Gradient(layer.to_owned())));
        }
        // Finite weights whose sums are not.
        fill(&mut net, &last_round, 3e38);
        assert_eq!(find(&net, &lanes, &gradient), Some(Origin::Output(last_round)));
        fill(&mut net, "embedding.table", 3e38);
        assert_eq!(find(&net, &lanes, &gradient), Some(Origin::Output("embedding".into())));
        net.embedding.table[[0, 0]] = f32::INFINITY;
        assert_eq!(find(&net, &lanes, &gradient), Some(Origin::Weights("embedding.table".into())));
    }
}
