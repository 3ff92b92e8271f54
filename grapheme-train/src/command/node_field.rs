//! The instrument of `train --watch`: the errors of nodes as a field on their graphs.

use crate::event::{NodeCollapse, NodeFigures};
use crate::watch::NodeInstrument;
use grapheme_core::Topology;
use grapheme_optics::field::charge::ChargeSettings;
use grapheme_optics::field::nodes::{NodeCharge, gradient_energies};
use ndarray::Array1;

/// Stored errors of nodes, and what breaks down.
struct NodeField(NodeCharge);

/// For so many nodes.
pub fn instrument(nodes: usize) -> Box<dyn NodeInstrument> {
    Box::new(NodeField(NodeCharge::new(nodes, ChargeSettings::default())))
}

/// Four digits are what a picture can show.
fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

impl NodeInstrument for NodeField {
    fn observe(&mut self, topology: &Topology, errors: &[f64]) -> Vec<NodeFigures> {
        let energies = gradient_energies(topology, errors);
        let mut figures: Vec<NodeFigures> = (0..topology.graphs())
            .map(|graph| NodeFigures {
                errors: errors[topology.range(graph)].iter().copied().map(rounded).collect(),
                gradient_energy: rounded(energies[graph]),
                breakdowns: Vec::new(),
            })
            .collect();
        for event in self.0.observe(topology, errors) {
            let collapse = NodeCollapse { nodes: event.nodes, released: rounded(event.released) };
            figures[event.graph].breakdowns.push(collapse);
        }
        figures
    }

    fn memory(&mut self) -> &mut Array1<f64> {
        self.0.stored_mut()
    }
}
