//! How much memory a text takes, so that one that is too long is refused by name instead of ending the process.
//!
//! The figures were fitted to measured peaks of the presets and are right within a third.

use crate::data::{Example, LineFault};
use crate::loss::Assignment;
use crate::settings::ModelSpec;
use grapheme_core::layers::RoundKind;

/// The most that one lane may take: two of them still fit into the memory of an ordinary laptop.
pub const MOST_GIGABYTES: f64 = 5.0;

const GIGABYTE: f64 = 1e9;

impl ModelSpec {
    /// Gigabytes that a pass through the network takes for so many nodes.
    pub fn pass_gigabytes(&self, nodes: usize) -> f64 {
        let (mut floats, mut copies) = (0.0, 1.0);
        for stage in &self.network.stages {
            let recurrent = stage.rounds.iter().filter(|round| **round == RoundKind::Recurrent).count();
            let windows = stage.rounds.iter().filter_map(|round| match round {
                RoundKind::Edges { window } => Some(*window),
                RoundKind::Gated { .. } | RoundKind::Plain { .. } | RoundKind::Recurrent => None,
            });
            // Candidates of edges, logits, weights and histories; an edge itself is kept twice.
            let (rewritings, pairs) = windows.fold((0, 0), |(count, sum), window| (count + 1, sum + window));
            floats += copies * (48 * pairs + 4 * rewritings * self.network.width) as f64;
            let gated = stage.rounds.len() - recurrent - rewritings;
            floats += copies * self.network.width as f64 * (6 * gated + 18 * recurrent + 3 * stage.slots + 2) as f64;
            copies *= stage.slots as f64;
        }
        floats += 2.0 * copies * self.network.outcomes as f64;
        nodes as f64 * floats * size_of::<f32>() as f64 / GIGABYTE
    }

    /// Gigabytes that the assignment of a target of `units` to the candidates of so many nodes takes.
    fn assignment_gigabytes(&self, nodes: usize, units: usize) -> f64 {
        let candidates = self.network.stages.iter().map(|stage| stage.slots as f64).product::<f64>() * nodes as f64;
        let columns = match self.window {
            Some(half_width) => (units as f64).min(2.0 * half_width as f64 + 1.0 + units as f64 / candidates),
            None => units as f64,
        };
        let bytes = match self.loss.aligner {
            Assignment::Monotone(_) if self.loss.streams().is_some() => 8.0,
            Assignment::Monotone(_) => 24.0,
            Assignment::Sinkhorn(_) => 72.0,
        };
        candidates * columns * bytes / GIGABYTE
    }

    /// What is wrong with a text that is too long to be read.
    pub fn text_fault(&self, text: &str) -> Option<LineFault> {
        let nodes = self.graph.nodes(text);
        let gigabytes = self.pass_gigabytes(nodes);
        (gigabytes > MOST_GIGABYTES).then(|| LineFault::TextTooLarge { nodes, gigabytes: gigabytes.ceil() as u64 })
    }

    /// What is wrong with an example that is too long to be learned from, or to be scored.
    pub fn example_fault(&self, example: &Example) -> Option<LineFault> {
        let (nodes, units) =
            (self.graph.nodes(&example.input), crate::data::segment(&example.target, self.units).len());
        let gigabytes = self.pass_gigabytes(nodes) + self.assignment_gigabytes(nodes, units);
        let too_large = || LineFault::AlignmentTooLarge { nodes, units, gigabytes: gigabytes.ceil() as u64 };
        self.text_fault(&example.input).or_else(|| (gigabytes > MOST_GIGABYTES).then(too_large))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{GraphForm, LabelInventory, TargetUnits};
    use crate::estimator::EstimatorName;
    use crate::objective::LossName;
    use crate::settings::Preset;

    fn spec(preset: Preset, window: Option<usize>) -> ModelSpec {
        let labels = LabelInventory::of(["a b c"], TargetUnits::Graphemes);
        let network = preset.network(labels.outcomes(), 2);
        let (estimator, loss) = (EstimatorName::Marginal, LossName::Words.settings());
        ModelSpec { graph: GraphForm::Path, units: TargetUnits::Graphemes, labels, network, estimator, loss, window }
    }

    #[test]
    fn what_fits_is_let_through_and_what_does_not_is_named() {
        let example = |nodes: usize, units: usize| Example {
            id: None,
            level: None,
            input: "x".repeat(nodes - 2),
            target: "a".repeat(units),
        };
        let (tiny, banded, words) = (spec(Preset::Tiny, None), spec(Preset::Tiny, Some(64)), spec(Preset::Words, None));
        assert_eq!(tiny.example_fault(&example(5000, 5000)), None);
        let found = tiny.example_fault(&example(20_000, 20_000));
        assert_eq!(found, Some(LineFault::AlignmentTooLarge { nodes: 20_000, units: 20_000, gigabytes: 7 }));
        assert_eq!(banded.example_fault(&example(100_000, 100_000)), None);
        assert_eq!(tiny.text_fault(&"x".repeat(1_000_000)), None);
        let found = words.text_fault(&"é".repeat(500_000));
        assert_eq!(found, Some(LineFault::TextTooLarge { nodes: 1_000_002, gigabytes: 26 }));
    }
}
