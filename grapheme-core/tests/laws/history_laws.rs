//! The laws of merge histories: transpose, row sums, composition, what is dropped, linear size.

use grapheme_core::graph::{Edge, EdgeKind, Topology};
use grapheme_core::morph::{DROPPED, Gates, MergeHistory, Plan, Realised, merge_targets, realise};
use grapheme_core::{Kept, Matrix, Stream, graph};
use ndarray::Array2;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::RngExt;

const SLOTS: usize = 2;

/// Runs a property on 200 seeded cases.
fn holds<T: Strategy>(cases: &T, law: impl Fn(T::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32])).run(cases, law).unwrap();
}

fn random_matrix(rows: usize, columns: usize, stream: &mut Stream) -> Matrix<f64> {
    Array2::from_shape_simple_fn((rows, columns), || 2.0 * stream.random::<f64>() - 1.0).into()
}

/// A realised merge over graphs of the given sizes, with random gates and random choices.
fn random_merge(lengths: &[usize], stay: f64, seed: u64) -> (Realised<f64>, Plan) {
    let mut stream = Stream::new(seed);
    let topology = Topology::chains(lengths.iter().copied()).unwrap();
    let n = topology.nodes() * SLOTS;
    let merge: Vec<f64> = (0..n).map(|_| 0.01 + 0.98 * stream.random::<f64>()).collect();
    let gates = Gates {
        log_stay: merge.iter().map(|g| (1.0 - g).ln()).collect(),
        log_merge: merge.iter().map(|g| g.ln()).collect(),
    };
    let plan = Plan { stays: (0..n).map(|_| stream.random::<f64>() < stay).collect() };
    let targets = merge_targets(&topology, SLOTS);
    (realise(&plan, &gates, &targets, &topology, SLOTS).unwrap(), plan)
}

fn merges() -> impl Strategy<Value = (Vec<usize>, f64, u64)> {
    (prop::collection::vec(0usize..7, 1..5), prop::sample::select(vec![0.0, 0.1, 0.5, 0.9, 1.0]), any::<u64>())
}

#[test]
fn the_transpose_is_the_adjoint() {
    holds(&merges(), |(lengths, stay, seed)| {
        let (Realised { history, .. }, _) = random_merge(&lengths, stay, seed);
        let mut stream = Stream::new(seed).fork(1);
        let x = random_matrix(history.inputs(), 3, &mut stream);
        let y = random_matrix(history.outputs(), 3, &mut stream);
        let left = (&*history.forward(&x) * &*y).sum();
        let right = (&*x * &*history.backward(&y)).sum();
        prop_assert!((left - right).abs() <= 1e-12 * (1.0 + left.abs()), "<M x, y> = {left}, <x, M' y> = {right}");
        Ok(())
    });
}

#[test]
fn rows_of_a_merge_sum_to_one_and_nothing_vanishes_silently() {
    holds(&merges(), |(lengths, stay, seed)| {
        let (realised, plan) = random_merge(&lengths, stay, seed);
        let history = &realised.history;
        let mut seen = vec![0; history.inputs()];
        for output in 0..history.outputs() {
            let sum: f64 = history.contributors(output).map(|(_, weight)| weight).sum();
            prop_assert!((sum - 1.0).abs() < 1e-12, "row {output} sums to {sum}");
            let own = realised.kept[output];
            prop_assert!(history.contributors(output).any(|(c, _)| c == own) && plan.stays[own as usize]);
            history.contributors(output).for_each(|(c, _)| seen[c as usize] += 1);
        }
        history.dropped().iter().for_each(|&c| seen[c as usize] += 1);
        prop_assert!(seen.iter().all(|&times| times == 1), "each candidate is in one row or dropped: {seen:?}");
        for &c in history.dropped() {
            prop_assert!(realised.owner[c as usize] == DROPPED);
        }
        prop_assert!(history.entries() <= history.inputs());
        Ok(())
    });
}

#[test]
fn a_candidate_is_dropped_only_where_its_whole_graph_merges_away() {
    let (realised, _) = random_merge(&[3, 0, 2], 0.0, 1);
    assert_eq!(realised.history.outputs(), 0);
    assert_eq!(realised.history.dropped().len(), 10);
    let (mut realised, _) = random_merge(&[3], 1.0, 1);
    assert!(realised.history.dropped().is_empty());
    // Everything but the last candidate merges away: what has nothing before it joins that one.
    let topology = Topology::chains([3]).unwrap();
    let half = Kept::filled(6, 0.5_f64.ln());
    let gates = Gates { log_stay: half.clone(), log_merge: half };
    let plan = Plan { stays: vec![false, false, false, false, false, true].into() };
    realised = realise(&plan, &gates, &merge_targets(&topology, SLOTS), &topology, SLOTS).unwrap();
    let weights: Vec<(u32, f64)> = realised.history.contributors(0).collect();
    // Five candidates of gate 1/2 and one that stays: 3.5 in all.
    let expected = [(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5), (4, 0.5), (5, 1.0)].map(|(c, w)| (c, w / 3.5));
    for (found, expected) in weights.iter().zip(expected) {
        assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-12, "{weights:?}");
    }
}

fn assert_same(a: &MergeHistory<f64>, b: &MergeHistory<f64>) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.outputs(), b.outputs());
    for output in 0..a.outputs() {
        let (a, b): (Vec<_>, Vec<_>) = (a.contributors(output).collect(), b.contributors(output).collect());
        prop_assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(&b) {
            prop_assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-12);
        }
    }
    Ok(())
}

#[test]
fn composition_is_associative_and_acts_like_one_after_the_other() {
    holds(&(1usize..6, any::<u64>()), |(length, seed)| {
        let mut stream = Stream::new(seed).fork(2);
        let slots = random_matrix(SLOTS, 3, &mut stream);
        let split = MergeHistory::split(length, &slots);
        let (first, _) = random_merge(&[length], 0.6, seed);
        let n = first.history.outputs();
        let again = MergeHistory::split(n, &slots);
        let (last, _) = random_merge(&[n], 0.5, seed ^ 1);
        let [a, b, c, d] = [&split, &first.history, &again, &last.history];
        let left = a.then(b).unwrap().then(c).unwrap().then(d).unwrap();
        let right = a.then(&b.then(&c.then(d).unwrap()).unwrap()).unwrap();
        assert_same(&left, &right)?;
        let x = random_matrix(length, 3, &mut stream);
        let steps = [a, b, c, d].iter().fold(x.clone(), |x, history| history.forward(&x));
        for whole in [&left, &right] {
            let gap = (&*whole.forward(&x) - &*steps).iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            prop_assert!(gap < 1e-12, "affine maps compose with their vectors: {gap}");
        }
        Ok(())
    });
}

#[test]
fn histories_that_do_not_follow_each_other_are_refused() {
    let slots = Array2::<f64>::zeros((2, 1));
    let split = MergeHistory::split(3, &slots);
    assert!(split.then(&split).unwrap_err().to_string().contains("6 outputs"));
    assert!(MergeHistory::new(2, [[(2, 1.0)]]).is_err());
}

#[test]
fn merged_graphs_stay_acyclic_and_keep_their_edges() {
    holds(&merges(), |(lengths, stay, seed)| {
        let mut stream = Stream::new(seed).fork(3);
        let chain = Topology::chains(lengths.iter().copied()).unwrap();
        let mut edges = Vec::new();
        for g in 0..chain.graphs() {
            for source in chain.range(g) {
                for target in source + 1..chain.range(g).end {
                    if stream.random::<f64>() < 0.4 {
                        let (source, target) = (source as u32, target as u32);
                        edges.push(Edge { source, target, kind: EdgeKind::Structural, weight: 1.0 });
                    }
                }
            }
        }
        let total = edges.len() as f32;
        let topology = graph::Topology::new(lengths.iter().copied(), true, edges).unwrap();
        let n = topology.nodes() * SLOTS;
        let half = Kept::filled(n, 0.5_f64.ln());
        let gates = Gates { log_stay: half.clone(), log_merge: half };
        let plan = Plan { stays: (0..n).map(|_| stream.random::<f64>() < stay).collect() };
        // `Topology` itself refuses an edge that does not go forward.
        let realised = realise(&plan, &gates, &merge_targets(&topology, SLOTS), &topology, SLOTS).unwrap();
        let weight: f32 = realised.topology.incoming().as_slice().iter().map(|edge| edge.weight).sum();
        prop_assert!(weight <= total);
        if plan.merges() == 0 {
            prop_assert!(weight == total);
        }
        Ok(())
    });
}
