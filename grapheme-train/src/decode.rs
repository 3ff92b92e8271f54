//! From what candidates can write to the texts that are likeliest written.
//!
//! Many choices of merging and staying write one text. Its probability is the sum over them, the same marginal that
//! training maximises, and exact for any one text; which texts to look at is found by a beam over the candidates in order.

use crate::labelling::{Labelling, NO_LABEL};
use crate::writing::{Writing, log_add};
use grapheme_core::Scalar;
use grapheme_core::network::{Closing, MorphedGraph};
use std::collections::BTreeMap;

/// A text that a graph may be read as.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Its labels, numbered as in the [`Labelling`] of the batch.
    pub labels: Vec<u32>,
    /// The log of its probability, summed over all ways to write it.
    pub log_probability: f64,
}

/// What one candidate does on the likeliest way to write a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The label that it writes; none if it merges.
    pub label: Option<u32>,
    /// The probability of that choice.
    pub probability: f64,
}

/// Reads the graphs of a morphed batch. Under the realised closing a plan has been carried out, so what stays writes and
/// what merged merges; under the marginal one every candidate may do either.
///
/// Sizes: n candidates, m labels, O outcomes, B hypotheses of a beam.
pub struct Decoder<'a, S: Scalar> {
    morphed: &'a MorphedGraph<S>,
    writing: Writing<'a, S>,
    candidates: Vec<Candidate>,
}

/// Hypotheses this many nats behind the best are not followed: they would need a probability 160,000 times as high.
const HOPELESS: f64 = 12.0;

/// One candidate: its log probabilities of merging and of staying, and the row that it writes from.
#[derive(Clone, Copy)]
struct Candidate {
    merge: f64,
    stay: f64,
    row: usize,
}

impl<'a, S: Scalar> Decoder<'a, S> {
    /// For the graphs of `morphed`, which `labelling` is about.
    pub fn new(morphed: &'a MorphedGraph<S>, labelling: &'a Labelling) -> Self {
        let candidates = (0..morphed.topology.graphs()).flat_map(|graph| candidates(morphed, graph)).collect();
        Self { morphed, writing: Writing::new(morphed, labelling), candidates }
    }

    /// At most `beam` texts of a graph, the likeliest first, each with its exact probability. `O(n (O + B^2))`, and `O(n m)`
    /// a text.
    ///
    /// The beam holds prefixes, summing over the ways to write them: where more than `beam` are about equally likely, a
    /// text can be missed whose probability comes together late.
    pub fn likeliest(&self, graph: usize, beam: usize) -> Vec<Hypothesis> {
        let beam = beam.max(1);
        // Each but the first, which is empty, is a shorter one and a label.
        let mut prefixes = vec![(0, NO_LABEL)];
        let mut longer: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        let mut held: Vec<(usize, f64)> = vec![(0, 0.0)];
        let mut next: Vec<(usize, f64)> = Vec::new();
        let mut labels: Vec<(u32, f64)> = Vec::new();
        let mut extensions: Vec<(usize, u32, f64)> = Vec::new();
        for candidate in self.candidates(graph) {
            extensions.clear();
            next.clear();
            let mut best = f64::NEG_INFINITY;
            for &(prefix, log) in &held {
                if log + candidate.merge > f64::NEG_INFINITY {
                    next.push((prefix, log + candidate.merge));
                    best = best.max(log + candidate.merge);
                }
            }
            if candidate.stay > f64::NEG_INFINITY {
                // The likeliest prefix is the first. What is hopeless after it is so after every other.
                let likeliest = held.first().map_or(f64::NEG_INFINITY, |&(_, log)| log) + candidate.stay;
                self.likeliest_labels(candidate.row, beam, likeliest, best, &mut labels);
                for &(prefix, log) in &held {
                    for &(label, log_label) in &labels {
                        let log = log + candidate.stay + log_label;
                        if log <= best - HOPELESS {
                            break;
                        }
                        best = best.max(log);
                        extensions.push((prefix, label, log));
                    }
                }
            }
            extensions.retain(|&(_, _, log)| log > best - HOPELESS);
            if extensions.len() > beam {
                extensions.select_nth_unstable_by(beam, |a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
                extensions.truncate(beam);
            }
            for &(shorter, label, log) in &extensions {
                let place = *longer.entry((shorter, label)).or_insert_with(|| {
                    prefixes.push((shorter, label));
                    prefixes.len() - 1
                });
                match next.iter_mut().find(|(prefix, _)| *prefix == place) {
                    Some((_, sum)) => *sum = log_add(*sum, log),
                    None => next.push((place, log)),
                }
            }
            next.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            next.truncate(beam);
            std::mem::swap(&mut held, &mut next);
        }
        let best = held.first().map_or(0.0, |&(_, log)| log);
        held.retain(|&(_, log)| log > best - HOPELESS);
        let mut hypotheses: Vec<Hypothesis> = held
            .into_iter()
            .map(|(mut prefix, _)| {
                let mut labels = Vec::new();
                while prefix != 0 {
                    let (shorter, label) = prefixes[prefix];
                    labels.push(label);
                    prefix = shorter;
                }
                labels.reverse();
                Hypothesis { log_probability: self.log_probability(graph, &labels), labels }
            })
            .collect();
        if hypotheses.is_empty() {
            // Weights so large that nothing finite comes of them leave no way to write anything.
            hypotheses.push(Hypothesis { labels: Vec::new(), log_probability: f64::NEG_INFINITY });
        }
        hypotheses
            .sort_by(|a, b| b.log_probability.total_cmp(&a.log_probability).then_with(|| a.labels.cmp(&b.labels)));
        hypotheses
    }

    /// The `most` labels that a row is likeliest to write, the likeliest first, as far as they are not hopeless behind each
    /// other or behind `best`, when they are written after a prefix of log probability `before`. `O(O)`.
    fn likeliest_labels(&self, row: usize, most: usize, before: f64, best: f64, labels: &mut Vec<(u32, f64)>) {
        let best = self.writing.labels(row).fold(best, |best, (_, log)| best.max(before + log.widen()));
        let hopeful = |log: f64| before + log > best - HOPELESS;
        labels.clear();
        labels
            .extend(self.writing.labels(row).map(|(label, log)| (label, log.widen())).filter(|&(_, log)| hopeful(log)));
        let order = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if labels.len() > most {
            labels.select_nth_unstable_by(most, order);
            labels.truncate(most);
        }
        labels.sort_unstable_by(order);
    }

    /// The log probability of a text, summed over all ways to write it; minus infinity if there is none. `O(n m)`.
    pub fn log_probability(&self, graph: usize, labels: &[u32]) -> f64 {
        let (m, n) = (labels.len(), self.candidates(graph).len());
        let mut sums = vec![f64::NEG_INFINITY; m + 1];
        sums[0] = 0.0;
        for (c, &candidate) in self.candidates(graph).iter().enumerate() {
            // What was written must leave few enough labels for the candidates to come.
            let needed = m.saturating_sub(n - c - 1);
            for j in (needed..=m.min(c + 1)).rev() {
                let merged = sums[j] + candidate.merge;
                sums[j] = if j > 0 && sums[j - 1] > f64::NEG_INFINITY {
                    log_add(merged, sums[j - 1] + candidate.stay + self.label(candidate, labels[j - 1]))
                } else {
                    merged
                };
            }
        }
        // What a network with features that are not finite says is no probability.
        if sums[m].is_nan() { f64::NEG_INFINITY } else { sums[m] }
    }

    /// What each candidate does on the likeliest way to write a text; none if there is no way. `O(n m)` (Viterbi, 1967).
    pub fn path(&self, graph: usize, labels: &[u32]) -> Option<Vec<Choice>> {
        let (m, n) = (labels.len(), self.candidates(graph).len());
        let mut best = vec![f64::NEG_INFINITY; m + 1];
        best[0] = 0.0;
        let mut writes = vec![false; n * (m + 1)];
        for (c, &candidate) in self.candidates(graph).iter().enumerate() {
            for j in (0..=m).rev() {
                let merged = best[j] + candidate.merge;
                let mut written = f64::NEG_INFINITY;
                if j > 0 && best[j - 1] > f64::NEG_INFINITY {
                    written = best[j - 1] + candidate.stay + self.label(candidate, labels[j - 1]);
                }
                writes[c * (m + 1) + j] = written > merged;
                best[j] = merged.max(written);
            }
        }
        if best[m] == f64::NEG_INFINITY {
            return None;
        }
        let (mut j, mut choices) = (m, Vec::with_capacity(n));
        for (c, &candidate) in self.candidates(graph).iter().enumerate().rev() {
            let (label, log) = if writes[c * (m + 1) + j] {
                j -= 1;
                (Some(labels[j]), candidate.stay + self.label(candidate, labels[j]))
            } else {
                (None, candidate.merge)
            };
            choices.push(Choice { label, probability: log.exp() });
        }
        choices.reverse();
        Some(choices)
    }

    /// The log probability that a candidate writes a label if it stays. One that cannot stay has no row.
    fn label(&self, candidate: Candidate, label: u32) -> f64 {
        match candidate.stay > f64::NEG_INFINITY {
            true => self.writing.log_label(candidate.row, label).widen(),
            false => f64::NEG_INFINITY,
        }
    }

    fn candidates(&self, graph: usize) -> &[Candidate] {
        let offsets = &self.morphed.candidate_offsets;
        &self.candidates[offsets[graph] as usize..offsets[graph + 1] as usize]
    }
}

/// The candidates of a graph, in order.
fn candidates<S: Scalar>(morphed: &MorphedGraph<S>, graph: usize) -> impl Iterator<Item = Candidate> + '_ {
    let realised = morphed.closing == Closing::Realised;
    let mut rows = morphed.topology.range(graph).peekable();
    (morphed.candidate_offsets[graph]..morphed.candidate_offsets[graph + 1]).map(move |c| {
        let (stay, merge) = (morphed.gates.log_stay[c as usize].widen(), morphed.gates.log_merge[c as usize].widen());
        match rows.next_if(|&row| morphed.kept[row] == c) {
            Some(row) if realised => Candidate { merge: f64::NEG_INFINITY, stay, row },
            Some(row) => Candidate { merge, stay, row },
            None => Candidate { merge, stay: f64::NEG_INFINITY, row: 0 },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{LabelInventory, TargetUnits};
    use grapheme_core::morph::Plan;
    use grapheme_core::network::ForwardOptions;
    use grapheme_core::{GraphBatch, GraphTransformNet, NetworkConfig, Stream, param};
    use rand::RngExt;

    const TEXTS: [&str; 3] = ["a", "xb", ""];

    fn seen(options: ForwardOptions<'_>) -> (MorphedGraph<f64>, Labelling, usize) {
        let labels = LabelInventory::of(["a b"], TargetUnits::Tokens);
        let mut net = GraphTransformNet::new(&NetworkConfig::tiny(labels.outcomes()), 5).unwrap();
        let mut random = Stream::new(6);
        param::each_mut(&mut net, |name, _, values: &mut [f64]| {
            if name.ends_with("thresholds") {
                values.iter_mut().for_each(|value| *value = 2.0 * random.random::<f64>() - 1.0);
            }
        });
        let batch = GraphBatch::from_texts(&TEXTS).unwrap();
        let labelling = Labelling::new(&batch, [], TargetUnits::Tokens, &labels);
        (net.forward(&batch, options).unwrap().0, labelling, labels.outcomes())
    }

    /// Training may come to it: then no row stands behind any candidate.
    #[test]
    fn where_everything_merges_only_the_empty_text_can_be_written() {
        let candidates = *seen(ForwardOptions::realised()).0.candidate_offsets.last().unwrap();
        let plan = [Plan { stays: vec![false; candidates as usize].into() }];
        let (morphed, labelling, _) = seen(ForwardOptions { plans: Some(&plan), ..ForwardOptions::realised() });
        let decoder = Decoder::new(&morphed, &labelling);
        for graph in 0..TEXTS.len() {
            assert_eq!(decoder.log_probability(graph, &[0]), f64::NEG_INFINITY);
            assert!(decoder.log_probability(graph, &[]).is_finite());
            assert!(decoder.path(graph, &[0]).is_none());
            assert_eq!(decoder.likeliest(graph, 2).len(), 1);
        }
    }

    /// All choices of all candidates, one after another: for each text the sum and the best of its ways.
    fn enumerate(decoder: &Decoder<'_, f64>, graph: usize, outcomes: usize) -> BTreeMap<Vec<u32>, (f64, f64)> {
        let mut ways = vec![(Vec::new(), 1.0)];
        for candidate in decoder.candidates(graph) {
            let mut longer = Vec::new();
            for (labels, p) in ways {
                // Two numbers beyond the outcomes for what can only be copied.
                for label in (0..outcomes as u32 - 1).chain(outcomes as u32..outcomes as u32 + 2) {
                    if candidate.stay > f64::NEG_INFINITY {
                        let log = decoder.writing.log_label(candidate.row, label);
                        let labels: Vec<u32> = labels.iter().copied().chain([label]).collect();
                        longer.push((labels, p * (candidate.stay + log).exp()));
                    }
                }
                longer.push((labels, p * candidate.merge.exp()));
            }
            ways = longer.into_iter().filter(|(_, p)| *p > 0.0).collect();
        }
        let mut texts = BTreeMap::new();
        for (labels, p) in ways {
            let (sum, best): &mut (f64, f64) = texts.entry(labels).or_insert((0.0, 0.0));
            *sum += p;
            *best = best.max(p);
        }
        texts
    }

    #[test]
    fn probabilities_and_paths_are_those_of_all_choices_written_out() {
        for options in [ForwardOptions::marginalised(), ForwardOptions::realised()] {
            let (morphed, labelling, outcomes) = seen(options);
            let decoder = Decoder::new(&morphed, &labelling);
            for graph in 0..TEXTS.len() {
                let texts = enumerate(&decoder, graph, outcomes);
                let total: f64 = texts.values().map(|(sum, _)| sum).sum();
                if options.closing == Closing::Marginalised {
                    assert!((total - 1.0).abs() < 1e-12, "the texts of graph {graph} have probability {total}");
                }
                for (labels, (sum, best)) in &texts {
                    let found = decoder.log_probability(graph, labels).exp();
                    assert!((found - sum).abs() < 1e-12, "{labels:?}: {found} where the sum is {sum}");
                    let path = decoder.path(graph, labels).unwrap();
                    let product: f64 = path.iter().map(|choice| choice.probability).product();
                    assert!((product - best).abs() < 1e-12, "{labels:?}: {product} where the best way has {best}");
                    let written: Vec<u32> = path.iter().filter_map(|choice| choice.label).collect();
                    assert_eq!(&written, labels);
                }
                // A beam that holds everything finds the likeliest texts, in order.
                let mut expected: Vec<(&Vec<u32>, f64)> =
                    texts.iter().map(|(labels, (sum, _))| (labels, *sum)).collect();
                expected.sort_by(|a, b| b.1.total_cmp(&a.1));
                for (found, (labels, sum)) in decoder.likeliest(graph, 100_000).iter().zip(expected).take(20) {
                    assert_eq!(&found.labels, labels);
                    assert!((found.log_probability.exp() - sum).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_written_has_no_probability_and_no_path() {
        let (morphed, labelling, outcomes) = seen(ForwardOptions::marginalised());
        let decoder = Decoder::new(&morphed, &labelling);
        let candidates = decoder.candidates(0).len();
        for labels in [vec![NO_LABEL], vec![outcomes as u32 + 7], vec![0; candidates + 1]] {
            assert_eq!(decoder.log_probability(0, &labels), f64::NEG_INFINITY);
            assert!(decoder.path(0, &labels).is_none());
        }
    }

    /// Weights from a stranger may be so large that features overflow.
    #[test]
    fn numbers_that_are_none_write_the_empty_text_with_no_confidence() {
        for options in [ForwardOptions::marginalised(), ForwardOptions::realised()] {
            let (mut morphed, labelling, _) = seen(options);
            morphed.log_label.fill(f64::NAN);
            morphed.gates.log_merge.fill(f64::NAN);
            morphed.gates.log_stay.fill(f64::NAN);
            let decoder = Decoder::new(&morphed, &labelling);
            for graph in 0..TEXTS.len() {
                let likeliest = decoder.likeliest(graph, 3);
                assert_eq!(likeliest.len(), 1);
                assert_eq!(
                    (likeliest[0].labels.as_slice(), likeliest[0].log_probability),
                    (&[][..], f64::NEG_INFINITY)
                );
                assert_eq!(decoder.log_probability(graph, &[0]), f64::NEG_INFINITY);
                decoder.path(graph, &[0]);
            }
        }
    }

    #[test]
    fn a_narrow_beam_finds_texts_with_their_exact_probability() {
        let (morphed, labelling, _) = seen(ForwardOptions::marginalised());
        let decoder = Decoder::new(&morphed, &labelling);
        for graph in 0..TEXTS.len() {
            let all = decoder.likeliest(graph, 100_000);
            for beam in [1, 2, 8] {
                let found = decoder.likeliest(graph, beam);
                assert!(!found.is_empty() && found.len() <= beam);
                for hypothesis in found {
                    assert!(all.contains(&hypothesis), "{hypothesis:?}");
                }
            }
        }
    }
}
