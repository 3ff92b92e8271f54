//! The errors of single nodes over training, on a few held-out examples.

use crate::data::Example;
use crate::event::NodeFigures;
use crate::transducer::{Transducer, TransducerError};
use grapheme_core::Topology;
use ndarray::Array1;

/// What makes figures of the errors of nodes. It may remember, in numbers that are kept with the training.
pub trait NodeInstrument: Send {
    /// The figures of each graph, from the error of each node, 0 to 1.
    fn observe(&mut self, topology: &Topology, errors: &[f64]) -> Vec<NodeFigures>;

    /// What it remembers, a number a node.
    fn memory(&mut self) -> &mut Array1<f64>;
}

/// Examples that are looked at again and again, and who is told.
pub struct Watch<'a> {
    examples: &'a [Example],
    instrument: Box<dyn NodeInstrument>,
}

impl<'a> Watch<'a> {
    /// Watches examples through an instrument, which `make` is asked for by the number of nodes.
    ///
    /// # Errors
    /// An example that the model cannot read.
    pub fn new(
        model: &Transducer,
        examples: &'a [Example],
        make: impl FnOnce(usize) -> Box<dyn NodeInstrument>,
    ) -> Result<Self, TransducerError> {
        let inputs: Vec<&str> = examples.iter().map(|example| &example.input[..]).collect();
        let nodes = model.see(&inputs)?.batch.topology().nodes();
        Ok(Self { examples, instrument: make(nodes) })
    }

    /// Looks at the examples as the model now writes them. One pass forward over them, and the likeliest way of each to its target.
    ///
    /// # Errors
    /// As [`Transducer::see`].
    pub fn look(&mut self, model: &Transducer) -> Result<Vec<NodeFigures>, TransducerError> {
        let inputs: Vec<&str> = self.examples.iter().map(|example| &example.input[..]).collect();
        let sight = model.see(&inputs)?;
        let topology = sight.batch.topology();
        let mut errors = vec![1.0; topology.nodes()];
        let decoder = sight.decoder();
        for (graph, example) in self.examples.iter().enumerate() {
            let range = topology.range(graph);
            let reading = sight.explain(&decoder, graph, &sight.labels(&example.target));
            if reading.steps.is_empty() {
                continue;
            }
            // A node is right if all of its candidates are; of one that an earlier morph merged, those of what it became part of.
            let mut right = vec![1.0; range.len()];
            for step in &reading.steps {
                for &node in step.merged.iter().chain([&step.node]) {
                    right[node as usize] *= step.probability;
                }
            }
            errors[range].iter_mut().zip(right).for_each(|(error, right)| *error = (1.0 - right).clamp(0.0, 1.0));
        }
        Ok(self.instrument.observe(topology, &errors))
    }

    /// What the instrument remembers, to be kept with the training.
    pub fn memory(&mut self) -> &mut Array1<f64> {
        self.instrument.memory()
    }
}
