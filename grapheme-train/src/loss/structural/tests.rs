//! The loss against enumeration, against what it must be by design, and against finite differences.

use super::*;
use crate::loss::align::{Differentiation, Status, Value};
use grapheme_core::Stream;
use rand::RngExt;

fn path(nodes: usize) -> Target<f64> {
    Target { nodes, edges: Vec::new(), chain: true }
}

/// Random gates and labels, kinds, and edges of three kinds that close triangles.
fn random_predicted(seed: u64, band: &Band) -> Predicted<f64> {
    let mut stream = Stream::new(seed);
    let mut draw = || 0.1 + 0.8 * stream.random::<f64>();
    let gates: Vec<f64> = (0..band.rows()).map(|_| draw()).collect();
    let mut edges = Vec::new();
    for source in 0..band.rows() {
        for target in (source + 1..band.rows()).take(3) {
            edges.push(WeightedEdge { source, target, kind: EdgeKind::ALL[(source + target) % 3], weight: draw() });
        }
    }
    Predicted {
        log_stay: gates.iter().map(|g| (1.0 - g).ln()).collect(),
        log_merge: gates.iter().map(|g| g.ln()).collect(),
        log_label: Banded::from_fn(band, |_, _| draw().ln()),
        kind: Some(Banded::from_fn(band, |_, _| draw())),
        edges,
        chain: true,
    }
}

fn random_target(seed: u64, nodes: usize) -> Target<f64> {
    let edges = random_predicted(seed, &Band::dense(nodes, 0)).edges;
    Target { nodes, edges, chain: true }
}

/// A prediction that is certain of being `target`, label `j` at node `j`.
fn certain(target: &Target<f64>, labels: &[usize]) -> Predicted<f64> {
    let m = target.nodes;
    let same = |i: usize, j: usize| labels[i] == labels[j];
    let log = |same: bool| if same { 0.0 } else { f64::NEG_INFINITY };
    Predicted {
        log_stay: Kept::filled(m, 0.0),
        log_merge: Kept::filled(m, f64::NEG_INFINITY),
        log_label: Banded::from_fn(&Band::dense(m, m), |i, j| log(same(i, j))),
        kind: Some(Banded::filled(&Band::dense(m, m), 1.0)),
        edges: target.edges.clone(),
        chain: target.chain,
    }
}

/// The probability of the target by every choice of who merges away.
fn enumerate(predicted: &Predicted<f64>) -> f64 {
    let (n, m) = (predicted.log_stay.len(), predicted.log_label.band().columns());
    let mut total = 0.0;
    for choice in 0..1u32 << n {
        if choice.count_ones() as usize != m {
            continue;
        }
        let (mut log, mut j) = (0.0, 0);
        for i in 0..n {
            if choice >> i & 1 == 1 {
                log += predicted.log_stay[i] + predicted.log_label.get(i, j).unwrap_or(f64::NEG_INFINITY);
                j += 1;
            } else {
                log += predicted.log_merge[i];
            }
        }
        total += log.exp();
    }
    total
}

#[test]
fn the_words_loss_is_the_sum_over_all_choices() {
    for (n, m) in [(0, 0), (1, 0), (1, 1), (4, 2), (6, 6), (8, 3), (10, 5)] {
        for band in [Band::dense(n, m), Band::window(n, m, 1)] {
            let predicted = random_predicted(n as u64, &band);
            let value = StructuralLoss::words().evaluate(&predicted, &path(m)).unwrap().value;
            assert!((value + enumerate(&predicted).ln()).abs() < 1e-10, "{n} x {m}: {value}");
        }
    }
}

#[test]
fn more_targets_than_candidates_need_insertions() {
    let predicted = random_predicted(1, &Band::dense(2, 3));
    let mut loss = StructuralLoss::words();
    let refused = loss.evaluate(&predicted, &path(3)).unwrap();
    assert_eq!((refused.alignment.status, refused.value), (Status::Infeasible, f64::INFINITY));
    assert!(refused.gradient.log_stay.iter().chain(refused.gradient.log_label.values()).all(|&d| d == 0.0));
    loss.insertion = Some(5.0);
    let answer = loss.evaluate(&predicted, &path(3)).unwrap();
    assert!(answer.alignment.status == Status::Converged && answer.value.is_finite());
}

#[test]
fn certainty_of_the_target_costs_nothing_in_words() {
    let target = path(5);
    let predicted = certain(&target, &[0, 1, 1, 2, 0]);
    assert_eq!(StructuralLoss::words().evaluate(&predicted, &target).unwrap().value, 0.0);
}

fn cold_graph(epsilon: f64, value: Value) -> StructuralLoss {
    let method = Sinkhorn { epsilon, value, max_iterations: 5000, ..Sinkhorn::default() };
    StructuralLoss { aligner: Assignment::Sinkhorn(method), ..StructuralLoss::graph() }
}

#[test]
fn a_graph_against_itself_costs_nothing_as_epsilon_vanishes() {
    let target = random_target(3, 6);
    let predicted = certain(&target, &[0, 1, 2, 3, 4, 5]);
    for value in [Value::TransportCost, Value::Regularised] {
        let values = [0.3, 0.1, 0.03, 0.01, 1e-3]
            .map(|epsilon| cold_graph(epsilon, value).evaluate(&predicted, &target).unwrap().value);
        assert!(values.windows(2).all(|pair| pair[1] < pair[0] + 1e-12 && pair[1] > -1e-12), "{values:?}");
        assert!(values[4] < 0.02, "{values:?}");
    }
}

#[test]
fn different_graphs_cost_something_each_by_its_own_part() {
    let target = random_target(4, 6);
    let labels = [0, 1, 2, 3, 4, 5];
    let evaluate =
        |predicted: &Predicted<f64>| cold_graph(1e-3, Value::TransportCost).evaluate(predicted, &target).unwrap().parts;
    let same = evaluate(&certain(&target, &labels));
    let mut relabelled = certain(&target, &labels);
    relabelled.log_label.row_mut(2).fill(f64::NEG_INFINITY);
    assert!(evaluate(&relabelled).node > same.node + 0.5);
    let mut cut = certain(&target, &labels);
    cut.edges.truncate(3);
    assert!(evaluate(&cut).edge > same.edge + 0.1);
    assert!(evaluate(&cut).clique > same.clique + 1e-3);
    let mut fading = certain(&target, &labels);
    fading.log_stay[0] = -2.0;
    assert!(evaluate(&fading).node > same.node + 0.1);
}

fn losses() -> Vec<StructuralLoss> {
    let sharp = Sinkhorn { tolerance: 1e-13, max_iterations: 20_000, ..Sinkhorn::default() };
    let node = NodeWeights { kind: 0.1, activation: 0.7, degree: 0.2, order: 0.3 };
    let graph = StructuralLoss { node, ..StructuralLoss::graph() };
    let mut losses = vec![StructuralLoss::words()];
    for value in [Value::TransportCost, Value::Regularised] {
        for differentiation in [Differentiation::Implicit, Differentiation::Unrolled] {
            let aligner = Assignment::Sinkhorn(Sinkhorn { value, differentiation, ..sharp });
            losses.push(StructuralLoss { aligner, ..graph });
        }
    }
    let monotone = Assignment::Monotone(Monotone { tau: 0.5 });
    losses.push(StructuralLoss { aligner: monotone, ..graph });
    losses.push(StructuralLoss { aligner: monotone, gate: Gate::Cost, insertion: None, ..graph });
    losses.push(StructuralLoss { aligner: Assignment::Sinkhorn(sharp), gate: Gate::Cost, ..graph });
    losses
}

#[test]
fn gradients_are_what_finite_differences_say() {
    type Part = fn(&mut Predicted<f64>) -> Vec<&mut f64>;
    let parts: [(&str, Part); 5] = [
        ("log_stay", |p| p.log_stay.iter_mut().collect()),
        ("log_merge", |p| p.log_merge.iter_mut().collect()),
        ("log_label", |p| p.log_label.values_mut().iter_mut().collect()),
        ("kind", |p| p.kind.iter_mut().flat_map(|kind| kind.values_mut()).collect()),
        ("weight", |p| p.edges.iter_mut().map(|edge| &mut edge.weight).collect()),
    ];
    for loss in losses() {
        for band in [Band::dense(6, 4), Band::window(7, 5, 1)] {
            let target = random_target(8, band.columns());
            let predicted = random_predicted(7, &band);
            let gradient = loss.evaluate(&predicted, &target).unwrap().gradient;
            let kind = gradient.kind.unwrap();
            let analytic =
                [&gradient.log_stay, &gradient.log_merge, gradient.log_label.values(), kind.values(), &gradient.weight];
            for ((name, part), analytic) in parts.iter().zip(analytic) {
                assert_eq!(part(&mut predicted.clone()).len(), analytic.len());
                for (k, &analytic) in analytic.iter().enumerate() {
                    let moved = |step: f64| {
                        let mut predicted = predicted.clone();
                        *part(&mut predicted)[k] += step;
                        loss.evaluate(&predicted, &target).unwrap().value
                    };
                    let step = 1e-4;
                    let numeric =
                        (8.0 * (moved(step) - moved(-step)) - (moved(2.0 * step) - moved(-2.0 * step))) / (12.0 * step);
                    let scale = analytic.abs().max(numeric.abs()).max(0.01);
                    assert!(
                        (analytic - numeric).abs() <= 1e-6 * scale,
                        "{loss:?}: {name}[{k}] is {analytic}, finite differences say {numeric}"
                    );
                }
            }
        }
    }
}

#[test]
fn single_precision_stays_finite_at_the_edge_of_what_gates_and_labels_can_say() {
    let infinite = f32::NEG_INFINITY;
    for loss in losses().into_iter().chain([StructuralLoss::graph()]) {
        for (n, m) in [(0, 0), (1, 0), (0, 1), (1, 1), (5, 3), (3, 5)] {
            for (stay, merge, label) in
                [(0.0, infinite, 0.0), (infinite, 0.0, -1e4), (-80.0, -1e-35, infinite), (-0.7, -0.7, -100.0)]
            {
                let band = Band::dense(n, m);
                let kind = EdgeKind::Structural;
                let edges = (2..n).map(|target| WeightedEdge { source: 0, target, kind, weight: 1.0 }).collect();
                let predicted = Predicted {
                    log_stay: Kept::filled(n, stay),
                    log_merge: Kept::filled(n, merge),
                    log_label: Banded::from_fn(&band, |i, j| if i == j { 0.0 } else { label }),
                    kind: Some(Banded::filled(&band, 0.5f32)),
                    edges,
                    chain: true,
                };
                let target = Target { nodes: m, edges: Vec::new(), chain: true };
                let answer = loss.evaluate(&predicted, &target).unwrap();
                assert!(answer.value.is_finite() || !answer.alignment.status.is_usable(), "{loss:?} {predicted:?}");
                let g = &answer.gradient;
                let all = [&g.log_stay, &g.log_merge, g.log_label.values(), &g.weight];
                assert!(all.into_iter().flatten().all(|d| d.is_finite()), "{loss:?} {predicted:?}: {answer:?}");
            }
        }
    }
}

#[test]
fn a_decided_plan_has_no_larger_gradient_than_its_costs() {
    // As many sure nodes as targets, and one label for each: the dummies are cut off, and what ties columns together is
    // far below rounding. Training met this, and a gradient of 1e40.
    for (epsilon, deletion, insertion) in [(0.05, 1.0, 4.0), (0.05, 0.5, 2.0), (0.2, 2.0, 4.0), (0.01, 1.0, 4.0)] {
        let aligner = Assignment::Sinkhorn(Sinkhorn { epsilon, ..Sinkhorn::default() });
        let (gate, insertion) = (Gate::Mass { deletion }, Some(insertion));
        let loss = StructuralLoss { gate, insertion, aligner, ..StructuralLoss::graph() };
        for seed in 0..100 {
            let mut stream = Stream::new(seed).fork(9);
            let n = 2 + seed as usize % 9;
            let band = Band::dense(n, n);
            let mut label = |i, j| {
                let (low, high) = if i == j { (-0.1, 0.0) } else { (-14.0, -6.0) };
                low + (high - low) * stream.random::<f32>()
            };
            let predicted = Predicted {
                log_stay: (0..n).map(|i| if i % 3 == 0 { -1e-30 } else { 0.0 }).collect(),
                log_merge: Kept::filled(n, -70.0),
                log_label: Banded::from_fn(&band, &mut label),
                kind: Some(Banded::filled(&band, 1.0f32)),
                edges: Vec::new(),
                chain: true,
            };
            let answer = loss.evaluate(&predicted, &Target { nodes: n, edges: Vec::new(), chain: true }).unwrap();
            let gradient = &answer.gradient;
            for d in gradient.log_stay.iter().chain(gradient.log_label.values()) {
                assert!(d.abs() <= 20.0, "epsilon {epsilon}, seed {seed}: {gradient:?}");
            }
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let loss = StructuralLoss::graph();
    let predicted = random_predicted(1, &Band::dense(3, 2));
    let mut short = predicted.clone();
    short.log_merge.pop();
    let refused = loss.evaluate(&short, &path(2)).unwrap_err();
    assert_eq!(refused, LossError::Length { what: "log_merge", expected: 3, found: 2 });
    let refused = loss.evaluate(&predicted, &path(3)).unwrap_err();
    assert_eq!(refused, LossError::Length { what: "the target graph", expected: 2, found: 3 });
    let mut other = predicted.clone();
    other.kind = Some(Banded::filled(&Band::window(3, 2, 0), 0.5));
    assert_eq!(loss.evaluate(&other, &path(2)).unwrap_err(), LossError::Band);
    for (target, weight) in [(3, 1.0), (1, -0.1), (1, f64::NAN)] {
        let mut bad = predicted.clone();
        bad.edges[0].target = target;
        bad.edges[0].weight = weight;
        assert!(matches!(loss.evaluate(&bad, &path(2)), Err(LossError::Edge { graph: "predicted", .. })));
    }
}

#[test]
fn settings_are_checked_and_survive_their_file() {
    for loss in losses() {
        loss.check().unwrap();
        let written = serde_json::to_string(&loss).unwrap();
        assert_eq!(serde_json::from_str::<StructuralLoss>(&written).unwrap(), loss);
    }
    let bad = StructuralLoss { gamma: -1.0, ..StructuralLoss::graph() };
    assert_eq!(bad.check().unwrap_err().setting, "gamma");
    let cold = Assignment::Sinkhorn(Sinkhorn { epsilon: 0.0, ..Sinkhorn::default() });
    let bad = StructuralLoss { aligner: cold, ..StructuralLoss::graph() };
    assert_eq!(bad.check().unwrap_err().setting, "aligner.sinkhorn.epsilon");
}
