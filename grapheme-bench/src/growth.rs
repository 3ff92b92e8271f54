//! How time and memory grow with the length of a text.

use crate::inputs::{example, words};
use crate::step::{Step, preset};
use anyhow::{Context, Result, ensure};
use grapheme_core::{GraphBatch, Stream};
use grapheme_train::settings::Preset;
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::Instant;

/// Time and memory at one length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Graphemes.
    pub length: usize,
    /// Seconds of the faster of two runs.
    pub seconds: f64,
    /// The most memory that the process took, less what it took before; nothing where the system does not tell.
    pub bytes: f64,
}

/// A way to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Growing {
    /// Text to graph.
    Text,
    /// A whole training step of the preset `tiny`, the assignment in a band of 64 to either side.
    Step,
}

/// Points, and the exponents that fit them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// What grows.
    pub name: String,
    /// From short to long.
    pub points: Vec<Point>,
    /// `p` of `seconds ~ length^p`.
    pub time: f64,
    /// `p` of `bytes ~ length^p`, over the points whose memory is more than the process has anyway.
    pub memory: Option<f64>,
}

impl Curve {
    /// Measures each length in a process of its own, the program at `program` started with `--grow`, so that one length does not
    /// find the memory of another.
    ///
    /// # Errors
    /// If a process fails, as where memory is short.
    pub fn measure(program: &std::path::Path, name: &str, growing: &str, lengths: &[usize]) -> Result<Self> {
        let points = lengths.iter().map(|length| {
            let output = Command::new(program).args(["--grow", growing, "--length", &length.to_string()]).output()?;
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{name} of {length} graphemes: {}; {}", output.status, told.trim());
            serde_json::from_slice(&output.stdout).with_context(|| format!("{name} of {length} graphemes"))
        });
        let points = points.collect::<Result<Vec<Point>>>()?;
        let time = exponent(points.iter().map(|point| (point.length as f64, point.seconds)));
        // Some megabytes come and go with any process.
        let large: Vec<_> = points.iter().filter(|point| point.bytes > 8e6).collect();
        let memory = (large.len() > 1).then(|| exponent(large.iter().map(|point| (point.length as f64, point.bytes))));
        Ok(Self { name: name.to_owned(), points, time, memory })
    }
}

impl Growing {
    /// Measures one length in this process.
    ///
    /// # Panics
    /// If the text is too long for a batch.
    pub fn point(self, length: usize) -> Point {
        let run: Box<dyn FnMut()> = match self {
            Self::Text => {
                let text = [words("mixed", length).join(" ")];
                Box::new(move || {
                    std::hint::black_box(GraphBatch::from_texts(&text).expect("the text is not too long"));
                })
            }
            Self::Step => {
                let examples = vec![example(length, &mut Stream::new(2))];
                let mut step = Step::new(preset(Preset::Tiny, Some(64), &examples), examples);
                Box::new(move || {
                    std::hint::black_box(step.take());
                })
            }
        };
        let before = peak_bytes();
        let seconds = faster(length, run);
        Point { length, seconds, bytes: peak_bytes() - before }
    }
}

fn faster(length: usize, mut run: impl FnMut()) -> f64 {
    // Short runs are repeated; the first fills caches.
    let runs = (200_000 / length).clamp(1, 200);
    let rounds = (0..3).map(|_| {
        let started = Instant::now();
        (0..runs).for_each(|_| run());
        started.elapsed().as_secs_f64() / runs as f64
    });
    rounds.skip(1).fold(f64::INFINITY, f64::min)
}

/// The most memory that this process ever held.
fn peak_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    1024.0 * kilobytes.unwrap_or(0.0)
}

/// The slope of the straight line through the logarithms, by least squares.
pub fn exponent(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let logs: Vec<(f64, f64)> = points.map(|(x, y)| (x.ln(), y.ln())).collect();
    let mean = |f: fn(&(f64, f64)) -> f64| logs.iter().map(f).sum::<f64>() / logs.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    covariance / logs.iter().map(|p| (p.0 - x) * (p.0 - x)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_of_a_power_is_found() {
        let points = [1.0, 8.0, 32.0, 500.0].map(|x: f64| (x, 3.0 * x.powf(1.25)));
        assert!((exponent(points.into_iter()) - 1.25).abs() < 1e-12);
    }
}
