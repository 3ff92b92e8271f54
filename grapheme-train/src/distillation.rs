//! What a student learns from: known examples, and new words as its teacher reads them.

use crate::data::{Example, SpellingModel};
use crate::ensemble::Ensemble;
use crate::lanes::Lanes;
use crate::transducer::TransducerError;
use grapheme_core::{GraphTransformNet, Stream};
use std::collections::BTreeSet;

/// Sequence-level knowledge distillation (Kim and Rush, EMNLP 2016): the teacher, usually a set, reads words that are
/// spelt like the known ones, and its answers are taught as if they were right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// New words for each known one.
    pub share: f64,
    /// Words that the teacher is less sure of are left out, from 0 to 1.
    pub confidence: f64,
    /// Clusters before a cluster that its probability depends on.
    pub order: usize,
    /// Seed of the new words.
    pub seed: u64,
}

impl Default for Distillation {
    fn default() -> Self {
        Self { share: 2.0, confidence: 0.0, order: 3, seed: 1 }
    }
}

/// Samples for each word that is asked for, after which a spelling is taken to be exhausted.
const PATIENCE: usize = 100;

impl Distillation {
    /// How many new words are asked for beside so many known ones.
    pub fn wanted(&self, known: usize) -> usize {
        (known as f64 * self.share).round() as usize
    }

    /// New words and how the teacher reads them: fewer than asked for where the spelling has no more. None is an input of
    /// `known`, none comes twice, and none reads as nothing. The same for any number of threads. `hear(words)` is called with
    /// the number of all of them after each that was read, from any thread.
    ///
    /// # Errors
    /// As [`Ensemble::read`].
    pub fn lessons(
        &self,
        teacher: &Ensemble,
        known: &[Example],
        lanes: &Lanes<GraphTransformNet<f32>>,
        hear: impl Fn(usize) + Sync,
    ) -> Result<Vec<(String, String)>, TransducerError> {
        let spelling = SpellingModel::of(known.iter().map(|example| example.input.as_str()), self.order);
        let mut taken: BTreeSet<String> = known.iter().map(|example| example.input.clone()).collect();
        let wanted = self.wanted(known.len());
        let (mut words, mut stream) = (Vec::with_capacity(wanted), Stream::new(self.seed));
        for _ in 0..wanted.saturating_mul(PATIENCE) {
            if words.len() == wanted {
                break;
            }
            let word = spelling.sample(&mut stream);
            words.extend(word.filter(|word| teacher.text_fault(word).is_none() && taken.insert(word.clone())));
        }
        let answers = teacher.read_counting(&words, 1, lanes, || hear(words.len()))?;
        let read = words.into_iter().zip(answers);
        let sure = read.filter(|(_, answer)| answer.proposals[0].confidence >= self.confidence);
        Ok(sure.map(|(word, answer)| (word, answer.text().to_owned())).filter(|(_, text)| !text.is_empty()).collect())
    }
}
