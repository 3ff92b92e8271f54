//! The same instruments on the nodes of graphs: stored error and its breakdowns, and how rough a field of errors is.

use super::charge::ChargeSettings;
use crate::media::laplacian;
use grapheme_core::Topology;
use ndarray::{Array1, Array2};

/// A collapse of stored error on nodes of one graph that are joined.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeBreakdown {
    /// The graph.
    pub graph: usize,
    /// Its nodes that took part, from 0 in the graph, in order.
    pub nodes: Vec<usize>,
    /// Stored error that was released.
    pub released: f64,
}

/// A leaky integral of the error of each node, with breakdowns as [`super::charge::Charge`] has them on a grid: nodes that break down at
/// once and are joined by an edge, sequential or explicit, are one event.
#[derive(Clone, Debug)]
pub struct NodeCharge {
    settings: ChargeSettings,
    stored: Array1<f64>,
}

impl NodeCharge {
    /// Without charge, for so many nodes.
    pub fn new(nodes: usize, settings: ChargeSettings) -> Self {
        Self { settings, stored: Array1::zeros(nodes) }
    }

    /// The charge of each node.
    pub fn stored(&self) -> &Array1<f64> {
        &self.stored
    }

    /// The charge of each node, to go on from a state that was kept.
    pub fn stored_mut(&mut self) -> &mut Array1<f64> {
        &mut self.stored
    }

    /// Takes in the next errors, none of them negative, and returns what broke down, in the order of first nodes. Linear in nodes and
    /// edges.
    ///
    /// # Panics
    /// Another number of nodes.
    pub fn observe(&mut self, topology: &Topology, errors: &[f64]) -> Vec<NodeBreakdown> {
        assert_eq!((errors.len(), topology.nodes()), (self.stored.len(), self.stored.len()), "an error a node");
        let settings = self.settings;
        let mut open: Vec<bool> =
            self.stored.iter().zip(errors).map(|(&stored, &error)| settings.breaks(stored, error)).collect();
        let breaks = open.clone();
        let mut found = Vec::new();
        for start in 0..open.len() {
            if !std::mem::take(&mut open[start]) {
                continue;
            }
            let range = topology.range(topology.graph_of(start as u32));
            let mut nodes = vec![start];
            let mut next = 0;
            while next < nodes.len() {
                let node = nodes[next];
                next += 1;
                let chain = topology.is_chain().then(|| [node.checked_sub(1), Some(node + 1)]);
                let sides = chain.into_iter().flatten().flatten().filter(|other| range.contains(other));
                let sources = topology.incoming().of(node).iter().map(|edge| edge.source as usize);
                let targets = topology.outgoing().of(node).iter().map(|edge| edge.target as usize);
                for other in sides.chain(sources).chain(targets) {
                    if std::mem::take(&mut open[other]) {
                        nodes.push(other);
                    }
                }
            }
            nodes.sort_unstable();
            let released = nodes.iter().map(|&node| self.stored[node]).sum();
            nodes.iter_mut().for_each(|node| *node -= range.start);
            found.push(NodeBreakdown { graph: topology.graph_of(start as u32), nodes, released });
        }
        for ((stored, &error), breaks) in self.stored.iter_mut().zip(errors).zip(breaks) {
            *stored = if breaks { 0.0 } else { settings.retention * *stored + error };
        }
        found
    }
}

/// The energy of the gradient of a field on each graph, `<e, L e>` with the graph's Laplacian, which is the sum over edges of
/// `|w| (e_i - e_j)^2`: 0 where all nodes are equally wrong.
///
/// # Panics
/// Another number of nodes.
pub fn gradient_energies(topology: &Topology, errors: &[f64]) -> Vec<f64> {
    let field = Array2::from_shape_fn((topology.nodes(), 1), |(node, _)| errors[node]);
    let mut bent = Array2::zeros(field.dim());
    laplacian::apply(topology, &field, &mut bent);
    (0..topology.graphs())
        .map(|graph| topology.range(graph).map(|node| field[(node, 0)] * bent[(node, 0)]).sum())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::Stream;
    use grapheme_core::graph::{Edge, EdgeKind};
    use rand::RngExt;

    /// A chain of five, and a star of four whose centre is its last node, without sequential edges.
    fn topologies() -> [Topology; 2] {
        let kind = EdgeKind::Structural;
        let star = (0..3).map(|source| Edge { source, target: 3, kind, weight: 2.0 }).collect();
        [Topology::chains([5, 3]).unwrap(), Topology::new([4], false, star).unwrap()]
    }

    #[test]
    fn planted_events_are_found_and_no_others() {
        let mut stream = Stream::new(1);
        // Graph, nodes, and when they become right. Two groups that do not touch break down at one time.
        let chain = [(0, vec![0, 1], 30), (0, vec![3], 30), (1, vec![0, 1, 2], 30), (0, vec![3, 4], 52)];
        let star = [(0, vec![0, 2, 3], 20), (0, vec![0], 41), (0, vec![1], 41)];
        for (topology, planted) in topologies().iter().zip([&chain[..], &star[..]]) {
            let mut charge = NodeCharge::new(topology.nodes(), ChargeSettings::default());
            let mut found = Vec::new();
            for step in 0..70 {
                let mut errors: Vec<f64> = (0..topology.nodes()).map(|_| 0.02 * stream.random::<f64>()).collect();
                for (graph, nodes, end) in planted {
                    if (end - 15..*end).contains(&step) {
                        let first = topology.range(*graph).start;
                        nodes.iter().for_each(|node| errors[first + node] = 0.8 + 0.2 * stream.random::<f64>());
                    }
                }
                let events = charge.observe(topology, &errors);
                found.extend(events.into_iter().map(|event| (event.graph, event.nodes, step)));
            }
            assert_eq!(found, planted, "precision and recall of 1");
        }
    }

    #[test]
    fn what_is_kept_goes_on_and_a_constant_error_never_breaks_down() {
        let topology = Topology::chains([3]).unwrap();
        let mut charge = NodeCharge::new(3, ChargeSettings::default());
        for _ in 0..300 {
            assert!(charge.observe(&topology, &[0.3, 0.9, 0.0]).is_empty());
        }
        assert!((charge.stored()[1] - 9.0).abs() < 1e-9);
        let mut other = NodeCharge::new(3, ChargeSettings::default());
        other.stored_mut().assign(charge.stored());
        assert_eq!(other.observe(&topology, &[0.0; 3]), charge.observe(&topology, &[0.0; 3]));
    }

    #[test]
    fn the_gradient_of_a_field_is_over_edges() {
        let [chains, star] = topologies();
        let energies = gradient_energies(&chains, &[1.0, 1.0, 0.0, 0.5, 0.5, 0.7, 0.7, 0.7]);
        assert!((energies[0] - 1.25).abs() < 1e-15 && energies[1].abs() < 1e-15, "{energies:?}");
        // Three edges of weight 2.
        assert!((gradient_energies(&star, &[0.0, 1.0, 3.0, 1.0])[0] - 2.0 * (1.0 + 0.0 + 4.0)).abs() < 1e-14);
    }
}
