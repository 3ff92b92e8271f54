//! What `bench_report` found, as a table for people and as JSON for a later comparison.

use crate::clock::Timing;
use crate::growth::Curve;
use crate::machine::Machine;
use crate::peers::Paired;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// One kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What is counted.
    pub unit: String,
    /// How many of them in a second.
    pub rate: f64,
    /// Seconds of a run.
    pub seconds: Timing,
    /// Seconds that its work takes at best; 0 where none is known.
    pub floor: f64,
}

/// The matrix products of a training step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Products {
    /// The step.
    pub name: String,
    /// The share of its time within products.
    pub share: f64,
    /// Additions and multiplications a second there, as a share of the machine's.
    pub of_peak: f64,
    /// How many products there are.
    pub count: u64,
}

/// Everything of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What the machine can do.
    pub machine: Machine,
    /// The kernels.
    pub kernels: Vec<Row>,
    /// The products in steps.
    pub products: Vec<Products>,
    /// Training on two threads against one: how many times as fast.
    pub two_threads: Option<Timing>,
    /// Growth with the length of a text.
    pub growth: Vec<Curve>,
    /// Ratios to peers; empty where they were skipped.
    pub peers: Vec<Paired>,
}

impl Report {
    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let Machine { processor, bandwidth, products } = &self.machine;
        let mut text = format!(
            "{processor}, one core: {:.1} GB/s of memory, {:.1} Gflop/s of matrix products\n",
            bandwidth / 1e9,
            products / 1e9
        );
        text += "\n| kernel | rate | a run | noise | floor / time |\n|---|---|---|---|---|\n";
        for Row { name, unit, rate, seconds, floor } in &self.kernels {
            let share = if *floor > 0.0 { format!("{:.0}%", 100.0 * floor / seconds.median) } else { String::new() };
            let (rate, time) = (si(*rate), time(seconds.median));
            let _ = writeln!(text, "| {name} | {rate}{unit}/s | {time} | {:.0}% | {share} |", 100.0 * seconds.noise());
        }
        if !self.products.is_empty() {
            text += "\n| step | share within matrix products | their rate against the machine's | products |\n|---|---|---|---|\n";
            for Products { name, share, of_peak, count } in &self.products {
                let _ = writeln!(text, "| {name} | {:.0}% | {:.0}% | {count} |", 100.0 * share, 100.0 * of_peak);
            }
        }
        if let Some(Timing { median, low, high }) = self.two_threads {
            let _ = writeln!(text, "\nTraining on two threads: {median:.2} times one ({low:.2} to {high:.2})");
        }
        if !self.growth.is_empty() {
            text += "\n| growth | graphemes | time | memory a grapheme | exponent of time | of memory |\n|---|---|---|---|---|---|\n";
        }
        for Curve { name, points, time: exponent, memory } in &self.growth {
            for (i, point) in points.iter().enumerate() {
                let last = i + 1 == points.len();
                let fitted = if last { format!("{exponent:.2}") } else { String::new() };
                let of_memory = memory.filter(|_| last).map_or(String::new(), |p| format!("{p:.2}"));
                let (took, bytes) = (time(point.seconds), si(point.bytes / point.length as f64));
                let _ = writeln!(text, "| {name} | {} | {took} | {bytes}B | {fitted} | {of_memory} |", point.length);
            }
        }
        text += "\n";
        if self.peers.is_empty() {
            text += "Peers: skipped\n";
        } else {
            text += "| against a peer | here | there | times as fast | quartiles |\n|---|---|---|---|---|\n";
            for Paired { name, here, there, ratio } in &self.peers {
                let Timing { median, low, high } = ratio;
                let (here, there) = (time(*here), time(*there));
                let _ = writeln!(text, "| {name} | {here} | {there} | {median:.1} | {low:.1} to {high:.1} |");
            }
        }
        text
    }

    /// What is slower than in `before`, by more than the noise of both.
    pub fn slower_than(&self, before: &Self) -> Vec<String> {
        let pairs =
            self.kernels.iter().filter_map(|now| Some((now, before.kernels.iter().find(|b| b.name == now.name)?)));
        let slower = pairs.filter_map(|(now, before)| {
            // Quartiles alone would call one row in ten slower by chance.
            let noise = 2.0 * (now.seconds.noise() + before.seconds.noise()) + 0.03;
            let factor = now.seconds.median / before.seconds.median;
            (factor > 1.0 + noise).then(|| {
                let (before, after) = (time(before.seconds.median), time(now.seconds.median));
                let (percent, noise) = (100.0 * (factor - 1.0), 100.0 * noise);
                format!("{}: {before} to {after}, {percent:.0}% slower where noise is {noise:.0}%", now.name)
            })
        });
        slower.collect()
    }
}

/// Three digits and a prefix.
fn si(x: f64) -> String {
    let (scaled, prefix) = match x {
        _ if x >= 1e9 => (x / 1e9, "G"),
        _ if x >= 1e6 => (x / 1e6, "M"),
        _ if x >= 1e3 => (x / 1e3, "k"),
        _ => (x, ""),
    };
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$} {prefix}")
}

fn time(seconds: f64) -> String {
    let (scaled, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (1e3 * s, "ms"),
        s if s >= 1e-6 => (1e6 * s, "us"),
        s => (1e9 * s, "ns"),
    };
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(seconds: f64, noise: f64) -> Report {
        let seconds = Timing { median: seconds, low: seconds, high: seconds * (1.0 + noise) };
        let row = Row { name: "a".to_owned(), unit: "nodes".to_owned(), rate: 1e6, seconds, floor: 1e-3 };
        let machine = Machine { processor: "x".to_owned(), bandwidth: 1e10, products: 1e11 };
        let (growth, products, peers) = (Vec::new(), Vec::new(), Vec::new());
        Report { machine, kernels: vec![row], products, two_threads: None, growth, peers }
    }

    #[test]
    fn slower_is_told_only_beyond_the_noise() {
        let before = report(1.0, 0.02);
        assert!(report(1.04, 0.02).slower_than(&before).is_empty());
        assert!(report(0.5, 0.0).slower_than(&before).is_empty());
        assert!(report(1.5, 0.3).slower_than(&before).is_empty());
        let told = report(1.5, 0.02).slower_than(&before);
        assert!(told.len() == 1 && told[0].starts_with("a: 1.00 s to 1.50 s, 50% slower"), "{told:?}");
    }

    #[test]
    fn the_table_holds_what_was_found_and_json_gives_it_back() {
        let report = report(2e-3, 0.02);
        let table = report.markdown();
        assert!(table.contains("| a | 1.00 Mnodes/s | 2.00 ms | 2% | 50% |"), "{table}");
        assert!(table.contains("Peers: skipped"));
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
