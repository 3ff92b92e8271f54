//! A whole training step of one lane: text to graph, network forward, loss, network backward, optimiser.

use grapheme_core::layers::{DropoutKeys, RoundKind};
use grapheme_core::network::StageConfig;
use grapheme_core::{GradientMedium, GraphTransformNet, NetworkConfig, Stream, Vacuum, param};
use grapheme_train::data::{Example, GraphForm, LabelInventory, TargetUnits, propose};
use grapheme_train::estimator::{Crossing, Estimate, EstimatorName};
use grapheme_train::loss::align::{Assignment, Differentiation, Sinkhorn, Value};
use grapheme_train::loss::{Gate, NodeWeights, StructuralLoss};
use grapheme_train::objective::{Objective, Task};
use grapheme_train::optim::{AdamW, AdamWSettings, Optimiser};
use grapheme_train::settings::{ModelSpec, Preset};
use grapheme_train::transducer::{Transducer, label};

/// A model, its optimiser, and the examples of every step.
#[derive(Clone)]
pub struct Step {
    /// The model.
    pub model: Transducer,
    /// The examples of a step.
    pub examples: Vec<Example>,
    /// The learning rate.
    pub rate: f64,
    /// Whether the dropout of the model's settings is drawn.
    pub dropout: bool,
    pub(crate) objective: Objective,
    pub(crate) optimiser: AdamW<f32>,
    pub(crate) gradient: GraphTransformNet<f32>,
}

/// A preset under the `words` loss; `window` is half the width of the band of the assignment.
pub fn preset(preset: Preset, window: Option<usize>, examples: &[Example]) -> ModelSpec {
    let (units, labels) = labels(examples);
    let network = preset.network(labels.outcomes(), 2);
    ModelSpec {
        graph: GraphForm::Path,
        units,
        labels,
        network,
        estimator: EstimatorName::Marginal,
        loss: StructuralLoss::words(),
        window,
    }
}

/// The small model that is compared with peers: three gated rounds of width 48, about 90,000 parameters, a realised morph, and
/// twenty iterations of Sinkhorn in place of the exact marginal, differentiated one by one.
pub fn small(examples: &[Example]) -> ModelSpec {
    let (units, labels) = labels(examples);
    let rounds = [1, 2, 4].map(|distance| RoundKind::Gated { distance }).to_vec();
    let network = NetworkConfig {
        width: 48,
        buckets: 640,
        stages: vec![StageConfig { rounds, slots: 2 }],
        ..Preset::Tiny.network(labels.outcomes(), 2)
    };
    let loss = StructuralLoss {
        beta: 0.0,
        gamma: 0.0,
        node: NodeWeights { kind: 0.0, activation: 1.0, degree: 0.0, order: 0.0 },
        gate: Gate::Mass { deletion: 2.0 },
        insertion: Some(4.0),
        aligner: Assignment::Sinkhorn(sinkhorn(0.5)),
        ..StructuralLoss::graph()
    };
    ModelSpec { graph: GraphForm::Path, units, labels, network, estimator: EstimatorName::Pathwise, loss, window: None }
}

/// Twenty iterations whatever comes, differentiated one by one: what peers do.
pub fn sinkhorn(epsilon: f64) -> Sinkhorn {
    Sinkhorn {
        epsilon,
        anneal_from: 0.0,
        max_iterations: 20,
        tolerance: 0.0,
        value: Value::TransportCost,
        differentiation: Differentiation::Unrolled,
        ..Sinkhorn::default()
    }
}

fn labels(examples: &[Example]) -> (TargetUnits, LabelInventory) {
    let (units, _) = propose(examples.iter().map(|example| example.target.as_str()));
    (units, LabelInventory::of(examples.iter().map(|example| example.target.as_str()), units))
}

impl Step {
    /// Before its first step, with fresh weights, dropout on and a rate that leaves the model where it is.
    ///
    /// # Panics
    /// If `spec` is not sound.
    pub fn new(spec: ModelSpec, examples: Vec<Example>) -> Self {
        let model = Transducer::new(spec, 1).expect("the network is sound");
        let optimiser = AdamW::new(AdamWSettings::default(), &model.net).expect("default settings are sound");
        let (objective, gradient) = (model.objective(), param::zeros_like(&model.net));
        Self { model, examples, rate: 1e-6, dropout: true, objective, optimiser, gradient }
    }

    /// The graphemes that a step reads.
    pub fn graphemes(&self) -> usize {
        self.examples.iter().map(|example| example.input.len()).sum()
    }

    /// One step without clipping. Returns the sum of the losses.
    pub fn take(&mut self) -> f64 {
        self.take_under(&Vacuum).0.losses.iter().sum()
    }

    /// The same, its gradient crossing `medium`; and what that recorded.
    pub fn take_under<M: GradientMedium<f32>>(&mut self, medium: &M) -> (Estimate<f32>, M::Trace) {
        let found = self.pass(medium);
        self.optimiser.step(&mut self.model.net, &self.gradient, self.rate);
        found
    }

    /// Forward, loss and backward, the gradient crossing `medium`, and what that recorded.
    ///
    /// # Panics
    /// If the examples do not fit the network.
    pub fn pass<M: GradientMedium<f32>>(&mut self, medium: &M) -> (Estimate<f32>, M::Trace) {
        let spec = &self.model.spec;
        let (batch, labelling) = label(self.examples.iter(), spec).expect("examples fit");
        let keys = DropoutKeys::new(&Stream::new(1), 0..self.examples.len() as u64);
        param::each_mut(&mut self.gradient, |_, _, values| values.fill(0.0));
        let mut record = M::Trace::default();
        let pass = Crossing { dropout: self.dropout.then_some(&keys), medium, record: &mut record };
        let task = Task { batch: &batch, labelling: &labelling };
        let estimator = spec.estimator.build::<f32, M>();
        let estimate = estimator
            .gradient(&self.model.net, &self.objective, task, pass, &mut self.gradient)
            .expect("examples fit the network");
        (estimate, record)
    }

    /// The gradient of the last pass.
    pub fn gradient(&self) -> &GraphTransformNet<f32> {
        &self.gradient
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs;

    #[test]
    fn steps_learn_and_the_small_model_is_as_small_as_it_says() {
        let examples = inputs::examples(32, 8..=12, 3);
        for spec in [small(&examples), preset(Preset::Tiny, None, &examples)] {
            let mut step = Step { rate: 3e-3, ..Step::new(spec, examples.clone()) };
            let first = step.take();
            let last = (0..40).map(|_| step.take()).last().unwrap();
            assert!(last < 0.8 * first, "{first} to {last}");
        }
        let parameters = param::count(&Step::new(small(&examples), examples.clone()).model.net);
        assert!((85_000..95_000).contains(&parameters), "{parameters}");
    }
}
