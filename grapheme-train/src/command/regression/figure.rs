//! A figure, what it was at the last baseline, and whether it got worse.

use super::checkpoint::Hashes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A baseline, as the committed file holds it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Values by name.
    pub figures: Values,
    /// Hashes of the checkpoint.
    pub checkpoints: Hashes,
}

/// Values by name.
pub type Values = BTreeMap<String, f64>;

/// Something measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub better: Better,
    /// The change, relative to the baseline, up to which the figure counts as equal.
    pub slack: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Lower,
    Higher,
}

/// A figure beside its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub name: &'static str,
    pub value: f64,
    pub baseline: Option<f64>,
    pub slack: f64,
    pub verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Equal,
    Better,
    Worse,
    /// The baseline does not hold it.
    New,
}

impl Figure {
    /// Same build, same processor, same value: one that no rounding reaches.
    pub fn exact(name: &'static str, value: f64, better: Better) -> Self {
        Self { name, value, better, slack: 0.0 }
    }

    /// One that is better the lower it is, up to rounding that differs from processor to processor.
    pub fn lower(name: &'static str, value: f64, slack: f64) -> Self {
        Self { name, value, better: Better::Lower, slack }
    }

    /// Holds the figure against the baseline. What is not a number is worse than anything.
    pub fn compare(self, baseline: &Values) -> Comparison {
        let Self { name, value, better, slack } = self;
        let baseline = baseline.get(name).copied();
        let verdict = match baseline {
            None => Verdict::New,
            Some(_) if value.is_nan() => Verdict::Worse,
            Some(before) if (value - before).abs() <= slack * before.abs() => Verdict::Equal,
            Some(before) if (value < before) == (better == Better::Lower) => Verdict::Better,
            Some(_) => Verdict::Worse,
        };
        Comparison { name, value, baseline, slack, verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_equal_better_new_and_not_a_number_are_told_apart() {
        let baseline = Values::from([("loss".to_owned(), 2.0), ("faults".to_owned(), 0.0), ("right".to_owned(), 9.0)]);
        let verdict = |figure: Figure| figure.compare(&baseline).verdict;
        let loss = |value| verdict(Figure::lower("loss", value, 0.01));
        assert_eq!([1.9, 1.99, 2.0, 2.01, 2.1].map(loss), {
            use Verdict::{Better, Equal, Worse};
            [Better, Equal, Equal, Equal, Worse]
        });
        assert_eq!(loss(f64::NAN), Verdict::Worse);
        assert_eq!(loss(f64::INFINITY), Verdict::Worse);
        let faults = |value| verdict(Figure::exact("faults", value, Better::Lower));
        assert_eq!([faults(0.0), faults(1.0)], [Verdict::Equal, Verdict::Worse]);
        let right = |value| verdict(Figure::exact("right", value, Better::Higher));
        assert_eq!([right(8.0), right(9.0), right(10.0)], [Verdict::Worse, Verdict::Equal, Verdict::Better]);
        assert_eq!(verdict(Figure::lower("other", 1.0, 0.0)), Verdict::New);
    }
}
