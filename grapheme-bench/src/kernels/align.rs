//! Assignments and their gradients, and what they are part of.

use super::{Entry, Kernel, Work};
use crate::inputs::problem;
use crate::step::sinkhorn;
use grapheme_core::Kept;
use grapheme_core::graph::EdgeKind;
use grapheme_train::loss::align::{Aligner, Upstream};
use grapheme_train::loss::clique::clique_cost;
use grapheme_train::loss::{Band, Banded, Gates, Monotone, Predicted, Sinkhorn, StructuralLoss, Target, WeightedEdge};
use std::hint::black_box;

/// Epsilon for costs between 0 and 1, where twenty iterations are about enough.
pub(crate) const EPSILON: f64 = 0.1;

pub(super) fn kernels() -> Vec<Entry> {
    let mut entries = Vec::new();
    for n in [8, 32, 128, 512, 2048] {
        // An iteration reads every entry, multiplies and adds twice; the gradient goes back through both halves.
        let entry = ((n + 1) * (n + 1)) as f64;
        let (forward, gradient) = (work(8.0, 80.0, entry), work(16.0, 240.0, entry));
        entries.push(Entry::new(format!("sinkhorn/{n}/forward"), move || aligned(sinkhorn(EPSILON), 1.0, n, forward)));
        entries.push(Entry::new(format!("sinkhorn/{n}/gradient"), move || pulled(sinkhorn(EPSILON), 1.0, n, gradient)));
    }
    for n in [16, 128] {
        let entry = ((n + 1) * (n + 1)) as f64;
        let to_convergence = Sinkhorn { epsilon: EPSILON, ..Sinkhorn::default() };
        entries.push(Entry::new(format!("sinkhorn/{n}/converged"), move || {
            pulled(to_convergence, 1.0, n, work(16.0, 240.0, entry))
        }));
    }
    for n in [8, 32, 128, 512, 2048] {
        // Cost, plan, and a share of each point written and read.
        let entries_of = (n * n) as f64;
        let (forward, gradient) = (work(24.0, 10.0, entries_of), work(48.0, 30.0, entries_of));
        entries
            .push(Entry::new(format!("monotone/{n}/forward"), move || aligned(Monotone::default(), 10.0, n, forward)));
        entries
            .push(Entry::new(format!("monotone/{n}/gradient"), move || pulled(Monotone::default(), 10.0, n, gradient)));
    }
    entries.push(Entry::new("loss/words/24x12", || {
        let band = Band::dense(24, 12);
        let label = |i: usize, j: usize| -0.1 - ((7 * i + 3 * j) % 11) as f32;
        let (loss, gates) = (StructuralLoss::words(), ([-0.2f32; 24], [-1.7f32; 24]));
        let method = loss.streams().expect("the words loss streams");
        Kernel::new(("entries", 24 * 12), work(12.0, 10.0, 24.0 * 12.0), move || {
            let (log_stay, log_merge) = black_box(&gates);
            loss.stream(method, &band, Gates { log_stay, log_merge }, label, |_, _, d| {
                black_box(d);
            })
        })
    }));
    entries.push(Entry::new("loss/graph/16x12", || {
        let band = Band::dense(16, 12);
        let predicted = Predicted {
            log_stay: Kept::filled(16, -0.2f32),
            log_merge: Kept::filled(16, -1.7),
            log_label: Banded::from_fn(&band, |i, j| -0.1 - ((7 * i + 3 * j) % 11) as f32),
            kind: Some(Banded::filled(&band, 0.5)),
            edges: Vec::new(),
            chain: true,
        };
        let target = Target { nodes: 12, edges: Vec::new(), chain: true };
        let loss = StructuralLoss::graph();
        Kernel::new(("entries", 16 * 12), work(16.0, 240.0, 17.0 * 13.0), move || {
            loss.evaluate(black_box(&predicted), &target)
        })
    }));
    entries.push(Entry::new("clique/1000", || {
        // A chain with triangles.
        let edge = |(source, target)| WeightedEdge { source, target, kind: EdgeKind::Sequential, weight: 1.0 };
        let graph = |n: usize| -> Vec<WeightedEdge<f32>> {
            (1..n).map(|i| (i - 1, i)).chain((2..n).map(|i| (i - 2, i))).map(edge).collect()
        };
        let (mass, predicted, target) = (vec![0.8f32; 1000], graph(1000), graph(900));
        let bytes = size_of::<WeightedEdge<f32>>() as f64;
        let both = (predicted.len() + target.len()) as f64;
        Kernel::new(("edges", predicted.len() + target.len()), work(bytes, 20.0, both), move || {
            clique_cost(black_box(&mass), &predicted, 900, &target)
        })
    }));
    entries
}

fn work(bytes: f64, operations: f64, entries: f64) -> Work {
    Work { bytes: bytes * entries, operations: operations * entries }
}

fn aligned(method: impl Aligner<f32> + 'static, cost: f64, n: usize, work: Work) -> Kernel {
    let problem = problem(&Band::dense(n, n), cost, 0.5);
    Kernel::new(("entries", n * n), work, move || method.align(black_box(&problem)))
}

/// The alignment and its gradient, the plan having one of its own.
fn pulled(method: impl Aligner<f32> + 'static, cost: f64, n: usize, work: Work) -> Kernel {
    let problem = problem(&Band::dense(n, n), cost, 0.5);
    Kernel::new(("entries", n * n), work, move || {
        let alignment = method.align(black_box(&problem));
        method.vjp(&problem, &alignment, Upstream { value: 1.0, plan: Some(problem.cost()) })
    })
}
