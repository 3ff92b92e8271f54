//! What a check showed, over all cases.

use super::{Combination, Finding, Settings};
use grapheme_core::check::{BlockReport, Verdict};
use std::fmt;

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The largest relative error in `f64` that passes.
    pub tolerance: f64,
    /// The largest relative error of the `f32` gradient that passes.
    pub single_tolerance: f64,
    /// One entry a combination, in the order of [`Combination::all`].
    pub combinations: Vec<CombinationOutcome>,
    /// One entry a block of any network, in the order of the first that has it.
    pub blocks: Vec<BlockOutcome>,
    /// Faults planted in the backward pass, by boundary.
    pub boundaries: Vec<(String, Faults)>,
}

/// What one combination showed.
#[derive(Clone, Debug, PartialEq)]
pub struct CombinationOutcome {
    /// Which.
    pub combination: Combination,
    /// How many seeds were checked.
    pub seeds: usize,
    /// How many numbers.
    pub checked: usize,
    /// The largest relative error.
    pub worst: f64,
}

/// What one block showed in all cases.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockOutcome {
    /// The worst of all cases; the count is that of all cases.
    pub report: BlockReport,
    /// The combination and the seed of the worst.
    pub case: String,
    /// The largest relative error of the `f32` gradient against the `f64` one.
    pub single: f64,
    /// Faults planted in this block.
    pub faults: Faults,
}

/// Faults planted and caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How many were planted: one a case in which there was a gradient to be wrong.
    pub planted: usize,
    /// How many of them were caught.
    pub caught: usize,
}

impl Faults {
    fn add(&mut self, caught: Option<bool>) {
        self.planted += usize::from(caught.is_some());
        self.caught += usize::from(caught == Some(true));
    }
}

impl Outcome {
    pub(super) fn new(settings: &Settings, combinations: &[Combination]) -> Self {
        let combinations = combinations
            .iter()
            .map(|&combination| CombinationOutcome { combination, seeds: 0, checked: 0, worst: 0.0 })
            .collect();
        let Settings { tolerance, single_tolerance, .. } = *settings;
        Self { tolerance, single_tolerance, combinations, blocks: Vec::new(), boundaries: Vec::new() }
    }

    pub(super) fn absorb(&mut self, finding: Finding) {
        let Finding { combination, seed, report, single, block_faults, boundary_faults } = finding;
        if let Some(known) = self.combinations.iter_mut().find(|known| known.combination == combination) {
            known.seeds += 1;
            known.checked += report.checked();
            known.worst = known.worst.max(report.worst());
        }
        for ((report, single), caught) in report.blocks.into_iter().zip(single).zip(block_faults) {
            let case = || format!("{combination}/{seed}");
            let known = match self.blocks.iter().position(|known| known.report.name == report.name) {
                Some(known) => {
                    let known = &mut self.blocks[known];
                    let checked = known.report.checked + report.checked;
                    if report.worst > known.report.worst {
                        (known.report, known.case) = (report, case());
                    }
                    known.report.checked = checked;
                    known
                }
                None => {
                    let case = case();
                    self.blocks.push(BlockOutcome { report, case, single: 0.0, faults: Faults::default() });
                    self.blocks.last_mut().expect("just pushed")
                }
            };
            known.single = known.single.max(single);
            known.faults.add(caught);
        }
        for (name, caught) in boundary_faults {
            match self.boundaries.iter_mut().find(|(known, _)| *known == name) {
                Some((_, faults)) => faults.add(caught),
                None => {
                    let mut faults = Faults::default();
                    faults.add(caught);
                    self.boundaries.push((name, faults));
                }
            }
        }
    }

    /// How many numbers were checked.
    pub fn checked(&self) -> usize {
        self.blocks.iter().map(|block| block.report.checked).sum()
    }

    /// The largest relative error in `f64`.
    pub fn max_rel_err(&self) -> f64 {
        self.blocks.iter().map(|block| block.report.worst).fold(0.0, f64::max)
    }

    /// The largest relative error of the `f32` gradient against the `f64` one.
    pub fn single_max_rel_err(&self) -> f64 {
        self.blocks.iter().map(|block| block.single).fold(0.0, f64::max)
    }

    /// Faults planted and caught, over blocks and boundaries.
    pub fn faults(&self) -> Faults {
        self.all_faults().fold(Faults::default(), |sum, (_, faults)| Faults {
            planted: sum.planted + faults.planted,
            caught: sum.caught + faults.caught,
        })
    }

    /// Blocks of parameters, and boundaries, at which no case had a gradient, so that no fault could be planted there. Where all
    /// combinations are checked there is none; a few alone may leave some out, as the `words` loss does weights of edges.
    pub fn without_gradient(&self) -> Vec<&str> {
        self.all_faults().filter(|(_, faults)| faults.planted == 0).map(|(name, _)| name).collect()
    }

    /// Everything that speaks against the backward pass or against the check itself, in sentences.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for BlockOutcome { report, case, single, .. } in &self.blocks {
            if report.worst > self.tolerance {
                let BlockReport { name, index, worst, analytic, numeric, verdict, .. } = report;
                complaints.push(format!(
                    "{name}[{index}] in {case}: analytic {analytic:e}, numeric {numeric:e}, relative error {worst:.2e}: \
                     {verdict:?}"
                ));
            }
            if *single > self.single_tolerance {
                complaints.push(format!("{}: the f32 gradient is off by {single:.2e}", report.name));
            }
        }
        for (name, Faults { planted, caught }) in self.all_faults() {
            if caught < planted {
                complaints.push(format!("{name}: only {caught} of {planted} planted faults were caught"));
            }
        }
        if self.checked() == 0 {
            complaints.push("no number was checked".to_owned());
        }
        complaints
    }

    /// Whether every derivative agrees and every planted fault was caught, at least one a block and a boundary.
    pub fn passed(&self) -> bool {
        self.complaints().is_empty() && self.without_gradient().is_empty()
    }

    fn all_faults(&self) -> impl Iterator<Item = (&str, &Faults)> {
        let blocks = self.blocks.iter().map(|block| (block.report.name.as_str(), &block.faults));
        blocks.chain(self.boundaries.iter().map(|(name, faults)| (name.as_str(), faults)))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:44} {:>5} {:>8} {:>10}  verdict", "combination", "seeds", "checked", "worst")?;
        for CombinationOutcome { combination, seeds, checked, worst } in &self.combinations {
            let name = combination.to_string();
            match combination.undefined() {
                Some(reason) => writeln!(f, "{name:44} not defined: {reason}")?,
                None => {
                    let verdict = if *worst <= self.tolerance { "agrees" } else { "disagrees" };
                    writeln!(f, "{name:44} {seeds:>5} {checked:>8} {worst:>10.2e}  {verdict}")?;
                }
            }
        }
        writeln!(
            f,
            "\n{:34} {:>8} {:>10} {:>5} {:>14} {:>14} {:>9} {:>10} {:>10}  worst in",
            "block", "checked", "worst", "at", "analytic", "numeric", "verdict", "f32", "faults"
        )?;
        for BlockOutcome { report: b, case, single, faults: Faults { planted, caught } } in &self.blocks {
            let verdict = if b.worst <= self.tolerance { Verdict::Agrees } else { b.verdict };
            let (verdict, faults) = (format!("{verdict:?}").to_lowercase(), format!("{caught}/{planted}"));
            writeln!(
                f,
                "{:34} {:>8} {:>10.2e} {:>5} {:>14.6e} {:>14.6e} {verdict:>9} {single:>10.2e} {faults:>10}  {case}",
                b.name, b.checked, b.worst, b.index, b.analytic, b.numeric
            )?;
        }
        writeln!(f, "\n{:44} {:>10}", "boundary with a fault in the backward pass", "caught")?;
        for (name, Faults { planted, caught }) in &self.boundaries {
            writeln!(f, "{name:44} {:>10}", format!("{caught}/{planted}"))?;
        }
        Ok(())
    }
}
