//! The bits of a checkpoint, which a change that only moves code does not change.

use super::figure::Verdict;
use crate::file::fingerprint;
use serde::Serialize;
use std::collections::BTreeMap;

/// By the arithmetic that a build does here, see [`arithmetic`]: the hash of a checkpoint.
pub type Hashes = BTreeMap<String, String>;

/// A checkpoint after fixed steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bits {
    /// What the bits depend on besides code, data and seed.
    pub arithmetic: String,
    /// The hash of the file, for each number of threads.
    pub hashes: BTreeMap<usize, String>,
}

/// [`Bits`] beside what the baseline has for the same arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sameness {
    #[serde(flatten)]
    pub bits: Bits,
    pub baseline: Option<String>,
    /// Equal, new, or worse: of other bits none are better.
    pub verdict: Verdict,
}

impl Bits {
    /// Of the bytes of a checkpoint by threads.
    pub fn of(checkpoints: &BTreeMap<usize, Vec<u8>>) -> Self {
        let hash = |(&threads, bytes): (&usize, &Vec<u8>)| (threads, fingerprint([&bytes[..]]));
        Self { arithmetic: arithmetic(), hashes: checkpoints.iter().map(hash).collect() }
    }

    /// The one hash, if there is one for all numbers of threads.
    pub fn hash(&self) -> Option<&String> {
        let mut hashes = self.hashes.values();
        hashes.next().filter(|first| hashes.all(|other| other == *first))
    }

    /// Holds the bits against the baseline.
    pub fn compare(self, baseline: &Hashes) -> Sameness {
        let baseline = baseline.get(&self.arithmetic).cloned();
        let verdict = match (self.hash(), &baseline) {
            (None, _) => Verdict::Worse,
            (Some(_), None) => Verdict::New,
            (Some(hash), Some(before)) if hash == before => Verdict::Equal,
            _ => Verdict::Worse,
        };
        Sameness { bits: self, baseline, verdict }
    }
}

impl Sameness {
    /// What is wrong with the bits, and what to do; nothing if they are those of the baseline.
    pub fn complaint(&self, file: &str) -> Option<String> {
        let Self { bits: Bits { arithmetic, hashes }, baseline, verdict } = self;
        match (verdict, self.bits.hash(), baseline) {
            (Verdict::Equal, ..) => None,
            (_, None, _) => Some(format!(
                "the bits of a checkpoint depend on the number of threads, which they must not: {hashes:?}"
            )),
            (_, Some(hash), None) => Some(format!(
                "{file} has no checkpoint for this arithmetic ({arithmetic}), which gives {hash}: if the figures are equal, run \
                 `regression --update` and commit the file"
            )),
            (_, Some(hash), Some(before)) => Some(format!(
                "the bits of a checkpoint after fixed steps are {hash} where {file} has {before} for this arithmetic ({arithmetic}). If \
                 arithmetic, its order, the draws of random numbers or the form of checkpoints were changed on purpose, run \
                 `regression --update`, commit the file and say in the message what changed them; if nothing of that was meant to \
                 change, find what did. With other libraries of the system (its exponentials) take a baseline of your own: --update \
                 --baseline FILE"
            )),
        }
    }
}

/// The hashes of a new baseline. If the one of this arithmetic has changed, those of others are no longer true.
pub fn updated(before: &Hashes, arithmetic: &str, hash: &str) -> Hashes {
    let mut hashes = match before.get(arithmetic) {
        Some(known) if known != hash => Hashes::new(),
        _ => before.clone(),
    };
    hashes.insert(arithmetic.to_owned(), hash.to_owned());
    hashes
}

/// What decides how numbers are rounded here: architecture, system, the widest registers for which products are compiled, and the
/// processor, by whose caches products are cut into blocks.
pub fn arithmetic() -> String {
    #[cfg(target_arch = "x86_64")]
    let registers = if is_x86_feature_detected!("avx512f") {
        ", AVX-512"
    } else if is_x86_feature_detected!("fma") {
        ", FMA"
    } else {
        ""
    };
    #[cfg(not(target_arch = "x86_64"))]
    let registers = "";
    format!("{} {}{registers}{}", std::env::consts::ARCH, std::env::consts::OS, processor())
}

/// Maker, family, model and last cache of the processor, where the system tells.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key| {
        let mut fields = told.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.trim() == key).map(|(_, value)| format!(", {key} {}", value.trim()))
    };
    ["vendor_id", "cpu family", "model", "cache size"].into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bits_are_refused_with_what_to_do_and_threads_must_agree() {
        let bits = |bytes: [u8; 2]| Bits::of(&BTreeMap::from([(1, vec![bytes[0]]), (8, vec![bytes[1]])]));
        let same = bits([1, 1]);
        let hash = same.hash().unwrap().clone();
        let known = |hash: &str| Hashes::from([(arithmetic(), hash.to_owned()), ("another".into(), "0".into())]);
        let sameness = |bits: &Bits, hash: &str| {
            let found = bits.clone().compare(&known(hash));
            (found.verdict, found.complaint("file").unwrap_or_default())
        };
        assert_eq!(sameness(&same, &hash), (Verdict::Equal, String::new()));
        let (verdict, complaint) = sameness(&bits([2, 2]), &hash);
        assert!(
            verdict == Verdict::Worse && complaint.contains(&hash) && complaint.contains("--update"),
            "{complaint}"
        );
        let (verdict, complaint) = sameness(&bits([1, 2]), &hash);
        assert!(verdict == Verdict::Worse && complaint.contains("threads"), "{complaint}");
        assert_eq!(updated(&known(&hash), &arithmetic(), &hash), known(&hash));
        assert_eq!(updated(&known(&hash), &arithmetic(), "1").into_keys().collect::<Vec<_>>(), [arithmetic()]);
        assert_eq!(updated(&known(&hash), "a third", "1").len(), 3);
        let elsewhere = same.compare(&Hashes::from([("another".into(), hash)]));
        assert_eq!(elsewhere.verdict, Verdict::New);
        assert!(elsewhere.complaint("file").unwrap().contains(&arithmetic()));
    }
}
