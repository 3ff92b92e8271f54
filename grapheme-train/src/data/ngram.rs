//! New words that look like known ones.

use grapheme_core::Stream;
use rand::RngExt;
use std::collections::BTreeMap;
use unicode_segmentation::UnicodeSegmentation;

/// A model of how texts are spelt: grapheme clusters given the few before them, by interpolated counts (Witten and Bell,
/// The zero-frequency problem, 1991: a context that was followed by `t` different clusters in `n` occurrences leaves
/// `t / (n + t)` of its probability to the next shorter one).
#[derive(Clone, Debug)]
pub struct SpellingModel {
    clusters: Vec<String>,
    /// For each context, the newest cluster last, how often each cluster followed; 0 is the end of a text.
    follows: BTreeMap<Vec<u32>, BTreeMap<u32, u32>>,
    order: usize,
}

/// The end of a text, and what stands before its beginning.
const END: u32 = 0;
/// Texts longer than this are given up.
const LONGEST: usize = 64;

impl SpellingModel {
    /// Counts clusters after at most `order` clusters before them. Linear in the texts, times `order` and a logarithm.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>, order: usize) -> Self {
        let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
        let mut clusters = vec![String::new()];
        let mut follows: BTreeMap<Vec<u32>, BTreeMap<u32, u32>> = BTreeMap::new();
        for text in texts {
            let mut path = vec![END; order];
            for cluster in text.graphemes(true) {
                path.push(*numbers.entry(cluster).or_insert_with(|| {
                    clusters.push(cluster.to_owned());
                    clusters.len() as u32 - 1
                }));
            }
            path.push(END);
            for at in order..path.len() {
                for length in 0..=order {
                    *follows.entry(path[at - length..at].to_vec()).or_default().entry(path[at]).or_insert(0) += 1;
                }
            }
        }
        Self { clusters, follows, order }
    }

    /// A text, a function of the stream alone; none if it would be empty or does not end.
    pub fn sample(&self, stream: &mut Stream) -> Option<String> {
        let mut path = vec![END; self.order];
        let mut text = String::new();
        for length in 0..LONGEST {
            let next = self.next(&path[path.len() - self.order..], stream)?;
            if next == END {
                return (length > 0).then_some(text);
            }
            text.push_str(&self.clusters[next as usize]);
            path.push(next);
        }
        None
    }

    /// What follows a context: from its own counts, or from those of a shorter one.
    fn next(&self, context: &[u32], stream: &mut Stream) -> Option<u32> {
        for start in 0..=context.len() {
            let Some(counts) = self.follows.get(&context[start..]) else { continue };
            let (n, t) = (counts.values().sum::<u32>(), counts.len() as u32);
            let shorter = if start < context.len() { t } else { 0 };
            let mut drawn = stream.random_range(0..n + shorter);
            for (&cluster, &count) in counts {
                if drawn < count {
                    return Some(cluster);
                }
                drawn -= count;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_only_be_spelt_one_way_is_spelt_so() {
        let model = SpellingModel::of(["한é👨‍👩‍👧"], 3);
        for seed in 0..50 {
            let text = model.sample(&mut Stream::new(seed));
            // A shorter context lets any cluster follow, so clusters may repeat; none is cut.
            if let Some(text) = text {
                assert!(text.graphemes(true).all(|cluster| ["한", "é", "👨‍👩‍👧"].contains(&cluster)), "{text}");
            }
        }
        assert_eq!(SpellingModel::of([], 2).sample(&mut Stream::new(1)), None);
        assert_eq!(SpellingModel::of([""], 2).sample(&mut Stream::new(1)), None);
    }

    #[test]
    fn clusters_follow_as_often_as_the_counts_say() {
        // After "a": b thrice, c once; two kinds, so 2 of 6 go to the shorter context, where a, b, c and the end stand
        // 4, 3, 1, 4 times of 12 (and nothing shorter takes a share).
        let model = SpellingModel::of(["ab", "ab", "ab", "ac"], 1);
        let (mut after, mut draws) = ([0usize; 4], 0usize);
        let mut stream = Stream::new(3);
        while draws < 60_000 {
            let next = model.next(&[1], &mut stream).unwrap();
            after[next as usize] += 1;
            draws += 1;
        }
        let expected = [4.0 / 12.0 / 3.0, 4.0 / 12.0 / 3.0, 0.5 + 3.0 / 12.0 / 3.0, 1.0 / 6.0 + 1.0 / 12.0 / 3.0];
        for (found, expected) in after.iter().zip(expected) {
            // Four standard errors of a share are below 0.0082.
            assert!((*found as f64 / draws as f64 - expected).abs() < 0.0082, "{after:?}");
        }
    }
}
