//! One model or several that are used as one.
//!
//! Each member proposes texts; each scores all proposals by its own exact log marginal, in its own labels, whatever they
//! are; the sums rank them. So members may differ in network and in the units of their targets.

use crate::calibration::Calibration;
use crate::data::{Example, LineFault, TargetUnits};
use crate::decode::{Decoder, Hypothesis};
use crate::lanes::Lanes;
use crate::metrics::{Score, calibration_error};
use crate::reader::{Reading, Sight};
use crate::run::{CALIBRATION, RunError, RunFolder};
use crate::transducer::{Transducer, TransducerError};
use grapheme_core::GraphTransformNet;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Models that answer together. At least one.
#[derive(Clone, Debug)]
pub struct Ensemble {
    members: Vec<Transducer>,
    calibration: Calibration,
}

/// A text proposed for an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The text.
    pub text: String,
    /// The mean over the members of its exact log probability; minus infinity if one of them cannot write it.
    pub log_probability: f64,
    /// How sure the ensemble is of it: its share of the probabilities of all proposals, tempered by the [`Calibration`].
    pub confidence: f64,
}

/// The answer to one input.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Proposals, the best first. At least one.
    pub proposals: Vec<Proposal>,
}

impl Answer {
    /// The best proposal's text.
    pub fn text(&self) -> &str {
        &self.proposals[0].text
    }
}

/// How a model does on examples.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Error rates.
    pub score: Score,
    /// The mean loss of the examples that have a finite one: minus the log probability of the target.
    pub loss: f64,
    /// How many those are: the rest has targets that the model cannot write.
    pub reached: usize,
    /// Expected calibration error of the answers, in percent.
    pub ece: f64,
    /// The answer to each example, with its best proposal alone.
    pub answers: Vec<Answer>,
}

/// Texts that are read together: large enough for the matrix products, small enough for the caches.
const TEXTS_A_LANE: usize = 16;
/// Bytes of text that are read together, unless one text alone has more.
const BYTES_A_LANE: usize = 1 << 16;
/// Texts that a member proposes where only the best is asked for.
const BEAM: usize = 8;

impl From<Transducer> for Ensemble {
    fn from(member: Transducer) -> Self {
        Self { members: vec![member], calibration: Calibration::default() }
    }
}

impl Ensemble {
    /// The folders of a run's members: `member-1`, `member-2`, ... inside it, or the run itself.
    ///
    /// # Errors
    /// [`RunError`] if there is neither.
    pub fn folders(run: &Path) -> Result<Vec<RunFolder>, RunError> {
        let mut members = Vec::new();
        while let Ok(member) = RunFolder::open(member_folder(run, members.len())) {
            members.push(member);
        }
        if members.is_empty() { Ok(vec![RunFolder::open(run)?]) } else { Ok(members) }
    }

    /// The model of a run, whether one or an ensemble, with its calibration if it has one.
    ///
    /// # Errors
    /// [`TransducerError`] if a member is missing, damaged, not trained yet, or judged in other units than the first, and
    /// if the calibration is damaged.
    pub fn load(run: &Path) -> Result<Self, TransducerError> {
        let folders = Self::folders(run)?;
        let members = folders.iter().map(Transducer::load).collect::<Result<Vec<_>, _>>()?;
        let units = members[0].spec.units.counted();
        if let Some(i) = members.iter().position(|member| member.spec.units.counted() != units) {
            let reason = format!(
                "its targets are {}, those of member 1 {units}; train the members together",
                members[i].spec.units
            );
            return Err(TransducerError::Member { run: folders[i].path().display().to_string(), reason });
        }
        let calibration = Calibration::read(&calibration_file(run))?.unwrap_or_default();
        Ok(Self { members, calibration })
    }

    /// Learns from examples that it was not trained on how sure it may be: see [`Calibration::fit`].
    ///
    /// # Errors
    /// As [`Ensemble::read`].
    pub fn calibrate(
        &mut self,
        examples: &[Example],
        lanes: &Lanes<GraphTransformNet<f32>>,
    ) -> Result<Calibration, TransducerError> {
        let judged = self.each(
            examples,
            |example| &example.input,
            lanes,
            |panel, graph, example| {
                let proposals = panel.proposals(graph, BEAM);
                let logs: Vec<f64> = proposals.iter().map(|(proposal, _)| proposal.log_probability).collect();
                (logs, proposals[0].0.text == example.target)
            },
        )?;
        self.calibration = Calibration::fit(&judged);
        Ok(self.calibration)
    }

    /// The members, in order.
    pub fn members(&self) -> &[Transducer] {
        &self.members
    }

    /// The units that errors are counted in.
    pub fn units(&self) -> TargetUnits {
        self.members[0].spec.units.counted()
    }

    /// What is wrong with a text that is too long for a member to read.
    pub fn text_fault(&self, text: &str) -> Option<LineFault> {
        self.members.iter().find_map(|member| member.spec.text_fault(text))
    }

    /// What is wrong with an example that is too long for a member to be scored on.
    pub fn example_fault(&self, example: &Example) -> Option<LineFault> {
        self.members.iter().find_map(|member| member.spec.example_fault(example))
    }

    /// The answer to every text, in order, with at most `best` proposals; the same for any number of threads.
    ///
    /// # Errors
    /// [`TransducerError`] if a text is too long for one batch.
    pub fn read<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        best: usize,
        lanes: &Lanes<GraphTransformNet<f32>>,
    ) -> Result<Vec<Answer>, TransducerError> {
        self.read_counting(texts, best, lanes, || ())
    }

    /// [`read`](Self::read), which calls `done` after every text, from any thread.
    ///
    /// # Errors
    /// As [`Ensemble::read`].
    pub fn read_counting<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        best: usize,
        lanes: &Lanes<GraphTransformNet<f32>>,
        done: impl Fn() + Sync,
    ) -> Result<Vec<Answer>, TransducerError> {
        self.each(texts, AsRef::as_ref, lanes, |panel, graph, _| {
            let (answer, _) = panel.answer(graph, best);
            done();
            answer
        })
    }

    /// [`read`](Self::read), with what became of each candidate where the best was written, in the member that is surest of it.
    ///
    /// # Errors
    /// As [`Ensemble::read`].
    pub fn explain<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        best: usize,
        lanes: &Lanes<GraphTransformNet<f32>>,
    ) -> Result<Vec<(Answer, Reading)>, TransducerError> {
        self.each(texts, AsRef::as_ref, lanes, |panel, graph, _| {
            let (answer, scored) = panel.answer(graph, best);
            (answer, panel.explain(graph, &scored))
        })
    }

    /// Reads every example and compares with its target.
    ///
    /// # Errors
    /// As [`Ensemble::read`].
    pub fn evaluate(
        &self,
        examples: &[Example],
        lanes: &Lanes<GraphTransformNet<f32>>,
    ) -> Result<Evaluation, TransducerError> {
        self.evaluate_counting(examples, lanes, || ())
    }

    /// [`evaluate`](Self::evaluate), which calls `done` after every example, from any thread.
    ///
    /// # Errors
    /// As [`Ensemble::read`].
    pub fn evaluate_counting(
        &self,
        examples: &[Example],
        lanes: &Lanes<GraphTransformNet<f32>>,
        done: impl Fn() + Sync,
    ) -> Result<Evaluation, TransducerError> {
        let judged = self.each(
            examples,
            |example| &example.input,
            lanes,
            |panel, graph, example| {
                let judged = (panel.answer(graph, 1).0, panel.log_probability(graph, &example.target));
                done();
                judged
            },
        )?;
        let mut score = Score::new(self.units());
        let (mut answers, mut loss, mut reached) = (Vec::with_capacity(examples.len()), 0.0, 0usize);
        for ((answer, log_probability), example) in judged.into_iter().zip(examples) {
            score.add(answer.text(), &example.target);
            answers.push(answer);
            if log_probability.is_finite() {
                loss -= log_probability;
                reached += 1;
            }
        }
        let right = answers.iter().zip(examples).map(|(answer, example)| answer.text() == example.target);
        let sure = answers.iter().map(|answer| answer.proposals[0].confidence);
        let ece = calibration_error(sure.zip(right));
        Ok(Evaluation { score, loss: loss / reached.max(1) as f64, reached, ece, answers })
    }

    /// `judge(all members, place, item)` for the text of every item, lane by lane, in order.
    fn each<T: Sync, R: Send>(
        &self,
        items: &[T],
        text: impl Fn(&T) -> &str + Sync,
        lanes: &Lanes<GraphTransformNet<f32>>,
        judge: impl Fn(&Panel<'_>, usize, &T) -> R + Sync,
    ) -> Result<Vec<R>, TransducerError> {
        let chunks = lanes_of(items, |item| text(item).len());
        let parts = lanes.map(&chunks, |_, items| {
            let texts: Vec<&str> = items.iter().map(&text).collect();
            let sights = self.members.iter().map(|member| member.see(&texts)).collect::<Result<Vec<_>, _>>()?;
            let decoders = sights.iter().map(Sight::decoder).collect();
            let panel = Panel { sights: &sights, decoders, calibration: self.calibration };
            Ok::<_, TransducerError>(items.iter().enumerate().map(|(i, item)| judge(&panel, i, item)).collect())
        })?;
        let parts: Vec<Vec<R>> = parts;
        Ok(parts.into_iter().flatten().collect())
    }
}

/// `calibration.json` of a run, of one model or of several.
pub fn calibration_file(run: &Path) -> PathBuf {
    run.join(CALIBRATION)
}

/// The folder of the i-th member, from 0.
pub fn member_folder(run: &Path, i: usize) -> PathBuf {
    run.join(format!("member-{}", i + 1))
}

/// One lane of texts as all members see it.
struct Panel<'a> {
    sights: &'a [Sight<'a>],
    decoders: Vec<Decoder<'a, f32>>,
    calibration: Calibration,
}

impl Panel<'_> {
    /// What the members propose with `beam` hypotheses each, the best first, each with its labels in every member. At least one.
    fn proposals(&self, graph: usize, beam: usize) -> Vec<(Proposal, Vec<Hypothesis>)> {
        let Self { sights, decoders, calibration } = self;
        // For each proposed text and member, the labels by which it is written and their log probability.
        let mut proposed: BTreeMap<String, Vec<Option<Hypothesis>>> = BTreeMap::new();
        for (i, (sight, decoder)) in sights.iter().zip(decoders).enumerate() {
            for hypothesis in decoder.likeliest(graph, beam) {
                let text = sight.text(&hypothesis.labels);
                let known = proposed.entry(text).or_insert_with(|| vec![None; decoders.len()]);
                // Hypotheses of one text, which can be written in several ways, come with the likeliest first.
                known[i].get_or_insert(hypothesis);
            }
        }
        let share = 1.0 / decoders.len() as f64;
        let mut proposals: Vec<(Proposal, Vec<Hypothesis>)> = proposed
            .into_iter()
            .map(|(text, known)| {
                let score = |i: usize| {
                    let labels = sights[i].labels(&text);
                    Hypothesis { log_probability: decoders[i].log_probability(graph, &labels), labels }
                };
                let scored = known.into_iter().enumerate().map(|(i, known)| known.unwrap_or_else(|| score(i)));
                let scored: Vec<Hypothesis> = scored.collect();
                let log_probability = share * scored.iter().map(|member| member.log_probability).sum::<f64>();
                (Proposal { text, log_probability, confidence: 0.0 }, scored)
            })
            .collect();
        // Where every text is impossible for some member, the one most members can write comes first.
        let writers = |scored: &[Hypothesis]| scored.iter().filter(|member| member.log_probability.is_finite()).count();
        proposals.sort_by(|(a, x), (b, y)| {
            let order = b.log_probability.total_cmp(&a.log_probability);
            order.then(writers(y).cmp(&writers(x))).then_with(|| a.text.cmp(&b.text))
        });
        let logs: Vec<f64> = proposals.iter().map(|(proposal, _)| proposal.log_probability).collect();
        for ((proposal, _), confidence) in proposals.iter_mut().zip(calibration.confidences(&logs)) {
            proposal.confidence = confidence;
        }
        proposals
    }

    /// The best proposals, and the labels of the first in every member.
    fn answer(&self, graph: usize, best: usize) -> (Answer, Vec<Hypothesis>) {
        let proposals = self.proposals(graph, BEAM.max(2 * best)).into_iter().take(best.max(1));
        let (proposals, mut scored): (Vec<Proposal>, Vec<Vec<Hypothesis>>) = proposals.unzip();
        (Answer { proposals }, scored.swap_remove(0))
    }

    /// What each candidate does on the likeliest way to write a text, in the member that is surest of it.
    fn explain(&self, graph: usize, scored: &[Hypothesis]) -> Reading {
        let members = scored.iter().enumerate();
        let surest = members.max_by(|(a, x), (b, y)| x.log_probability.total_cmp(&y.log_probability).then(b.cmp(a)));
        let (surest, hypothesis) = surest.expect("an ensemble has a member");
        self.sights[surest].explain(&self.decoders[surest], graph, &hypothesis.labels)
    }

    /// The mean log probability of a text.
    fn log_probability(&self, graph: usize, text: &str) -> f64 {
        let scores = self.sights.iter().zip(&self.decoders);
        let sum: f64 = scores.map(|(sight, decoder)| decoder.log_probability(graph, &sight.labels(text))).sum();
        sum / self.sights.len() as f64
    }
}

/// Cuts texts into lanes, by their number and length alone.
fn lanes_of<T>(texts: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut lanes, mut start, mut held) = (Vec::new(), 0, 0);
    for (i, text) in texts.iter().enumerate() {
        let bytes = bytes(text);
        if i > start && (i - start == TEXTS_A_LANE || held + bytes > BYTES_A_LANE) {
            lanes.push(&texts[start..i]);
            (start, held) = (i, 0);
        }
        held += bytes;
    }
    lanes.extend((start < texts.len()).then(|| &texts[start..]));
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_bounded_in_number_and_length_and_lose_nothing() {
        let lengths = [vec![1; 40], vec![BYTES_A_LANE * 3, 1, BYTES_A_LANE, 1, 1]].concat();
        let lanes = lanes_of(&lengths, |&length| length);
        assert_eq!(lanes.concat(), lengths);
        assert_eq!(lanes.iter().map(|lane| lane.len()).collect::<Vec<_>>(), [16, 16, 8, 1, 1, 1, 2]);
        assert!(lanes_of(&lengths[..0], |&length| length).is_empty());
    }
}
