//! What the loss of one example costs: assignments and their gradients at the sizes of training, and a long input.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use grapheme_core::{Scalar, Stream};
use grapheme_train::loss::align::{Aligner, Problem, Upstream, Value};
use grapheme_train::loss::{Assignment, Band, Banded, Monotone, Predicted, Sinkhorn, StructuralLoss, Target};
use std::hint::black_box;
use std::sync::Arc;

/// A number in (0, 1) that depends on `index` only.
fn uniform(index: u64) -> f64 {
    (Stream::new(1).at(index) >> 11) as f64 / (1u64 << 53) as f64
}

/// Candidates that mostly stay or merge, and labels that mostly fit, as in the middle of training.
fn problem<S: Scalar>(band: &Arc<Band>, cost: f64, insertion: f64) -> Problem<S> {
    let entry = |i: usize, j: usize| S::lit(cost * uniform((i * band.columns() + j) as u64));
    let deletion = (0..band.rows()).map(|i| S::lit(0.1 + uniform(7_000_000 + i as u64))).collect();
    let mass = vec![S::lit(0.8); band.rows()];
    Problem::new(Banded::from_fn(band, entry), deletion, vec![S::lit(insertion); band.columns()], mass)
        .expect("the lengths are those of the band")
}

fn monotone(c: &mut Criterion) {
    let words = problem::<f32>(&Band::dense(24, 12), 10.0, f64::INFINITY);
    c.bench_function("monotone/24x12/value+plan/f32", |b| b.iter(|| Monotone::default().align(black_box(&words))));
    let words = problem::<f64>(&Band::dense(24, 12), 10.0, f64::INFINITY);
    c.bench_function("monotone/24x12/value+plan/f64", |b| b.iter(|| Monotone::default().align(black_box(&words))));
    let edits = problem::<f32>(&Band::dense(24, 12), 10.0, 1.0);
    c.bench_function("monotone/24x12/insertions/f32", |b| b.iter(|| Monotone::default().align(black_box(&edits))));
    let alignment = Monotone::default().align(&edits);
    let upstream = Upstream { value: 1.0, plan: Some(edits.cost()) };
    c.bench_function("monotone/24x12/plan gradient/f32", |b| {
        b.iter(|| Monotone::default().vjp(black_box(&edits), &alignment, upstream))
    });
    let mut group = c.benchmark_group("long");
    group.sample_size(10);
    for nodes in [1_000, 100_000] {
        let long = problem::<f32>(&Band::window(nodes, nodes / 2, 32), 10.0, f64::INFINITY);
        group.bench_function(format!("monotone/{nodes}/window 32 each side/f32"), |b| {
            b.iter(|| Monotone::default().align(black_box(&long)))
        });
    }
    group.finish();
}

fn sinkhorn(c: &mut Criterion) {
    let problem = problem::<f32>(&Band::dense(16, 12), 1.0, 0.5);
    for (name, value) in [("transport cost", Value::TransportCost), ("regularised", Value::Regularised)] {
        for epsilon in [0.1, 0.01] {
            let method = Assignment::Sinkhorn(Sinkhorn { epsilon, value, ..Sinkhorn::default() });
            let run = || {
                let alignment = method.align(black_box(&problem));
                method.vjp(&problem, &alignment, Upstream { value: 1.0, plan: Some(problem.cost()) })
            };
            let iterations = method.align(&problem).iterations;
            c.bench_function(&format!("sinkhorn/16x12/{name}/epsilon {epsilon}/{iterations} iterations/f32"), |b| {
                b.iter(run)
            });
        }
    }
}

fn losses(c: &mut Criterion) {
    for (name, loss, n) in [("words", StructuralLoss::words(), 24), ("graph", StructuralLoss::graph(), 16)] {
        let band = Band::dense(n, 12);
        let predicted = Predicted {
            log_stay: vec![-0.2f32; n],
            log_merge: vec![-1.7; n],
            log_label: Banded::from_fn(&band, |i, j| -10.0 * uniform((i * 12 + j) as u64) as f32),
            kind: Some(Banded::filled(&band, 0.5)),
            edges: Vec::new(),
            chain: true,
        };
        let target = Target { nodes: 12, edges: Vec::new(), chain: true };
        c.bench_function(&format!("loss/{name}/{n}x12/value+gradient/f32"), |b| {
            b.iter_batched(|| (), |()| loss.evaluate(black_box(&predicted), &target), BatchSize::SmallInput)
        });
    }
}

criterion_group!(benches, monotone, sinkhorn, losses);
criterion_main!(benches);
