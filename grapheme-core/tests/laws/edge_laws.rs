//! The laws of edges that come and go, and of edges whose ends merge.

use grapheme_core::graph::{Edge, EdgeKind, Topology};
use grapheme_core::layers::Pass;
use grapheme_core::morph::{DROPPED, EdgeMorph, Gates, Plan, edge_candidates, merge_targets, realise};
use grapheme_core::{Kept, Stream, param};
use ndarray::Array2;
use petgraph::algo::is_cyclic_directed;
use petgraph::graph::DiGraph;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::RngExt;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

const WIDTH: usize = 4;

/// Runs a property on 200 seeded cases.
fn holds<T: Strategy>(cases: &T, law: impl Fn(T::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32])).run(cases, law).unwrap();
}

/// Sizes of graphs, whether they are chains, and a seed.
fn graphs() -> impl Strategy<Value = (Vec<usize>, bool, u64)> {
    (prop::collection::vec(0usize..8, 1..5), any::<bool>(), any::<u64>())
}

/// Any edges at all, of any kind and in any number, as long as they go forward.
fn random_topology(lengths: &[usize], chain: bool, stream: &mut Stream) -> Topology {
    let bare = Topology::chains(lengths.iter().copied()).unwrap();
    let mut edges = Vec::new();
    for range in (0..bare.graphs()).map(|graph| bare.range(graph)) {
        for source in range.clone() {
            for target in source + 1..range.end {
                for kind in EdgeKind::ALL {
                    if stream.random::<f64>() < 0.15 {
                        let weight = stream.random::<f32>() + 0.1;
                        edges.push(Edge { source: source as u32, target: target as u32, kind, weight });
                    }
                }
            }
        }
    }
    Topology::new(lengths.iter().copied(), chain, edges).unwrap()
}

/// A morph as if trained, and features for it.
fn random_morph(nodes: usize, window: usize, stream: &mut Stream) -> (EdgeMorph<f64>, Array2<f64>) {
    let mut morph = EdgeMorph::new(WIDTH, 3, window, 0.7, stream);
    param::each_mut(&mut morph, |_, _, values: &mut [f64]| {
        values.iter_mut().for_each(|value| *value = 2.0 * stream.random::<f64>() - 1.0);
    });
    let x = Array2::from_shape_simple_fn((nodes, WIDTH), || 2.0 * stream.random::<f64>() - 1.0);
    (morph, x)
}

fn is_acyclic(topology: &Topology) -> bool {
    let edges = topology.incoming().as_slice().iter().map(|edge| (edge.source, edge.target));
    let implied =
        (0..topology.graphs()).filter(|_| topology.is_chain()).flat_map(|graph| topology.range(graph).skip(1));
    let implied = implied.map(|node| (node as u32 - 1, node as u32));
    !is_cyclic_directed(&DiGraph::<(), ()>::from_edges(edges.chain(implied)))
}

#[test]
fn rewritten_graphs_stay_acyclic_and_every_candidate_is_an_edge_or_dropped() {
    let (came, went) = (Cell::new(0), Cell::new(0));
    holds(&graphs(), |(lengths, chain, seed)| {
        let mut stream = Stream::new(seed);
        let topology = random_topology(&lengths, chain, &mut stream);
        let (morph, x) = random_morph(topology.nodes(), 3, &mut stream);
        let cache = morph.forward(&x, Pass::over(&topology), None).unwrap();
        let (after, candidates) = (&cache.wiring.topology, &cache.candidates);
        prop_assert!(is_acyclic(after));
        prop_assert!(after.offsets() == topology.offsets() && after.is_chain() == chain);
        // Linear: each node has at most so many pairs within the window.
        prop_assert!(candidates.len() <= topology.incoming().as_slice().len() + 3 * topology.nodes());
        let places: Vec<u32> = candidates.iter().filter_map(|candidate| candidate.place).collect();
        prop_assert!(places == (0..topology.incoming().as_slice().len() as u32).collect::<Vec<_>>());
        let joined: BTreeSet<(u32, u32)> =
            topology.incoming().as_slice().iter().map(|edge| (edge.source, edge.target)).collect();
        for new in candidates.iter().filter(|candidate| candidate.place.is_none()) {
            prop_assert!(new.source < new.target && new.target - new.source <= 3);
            let is_joined = joined.contains(&(new.source, new.target)) || chain && new.source + 1 == new.target;
            prop_assert!(!is_joined);
        }
        let mut seen = vec![0; candidates.len()];
        let edges = after.incoming().as_slice();
        prop_assert!(cache.history.outputs() == edges.len());
        for (edge, weight) in edges.iter().zip(cache.wiring.weights.as_ref().unwrap()) {
            prop_assert!(*weight >= 0.0 && (weight - f64::from(edge.weight)).abs() < 1e-6);
        }
        for (i, edge) in edges.iter().enumerate() {
            let from: Vec<(u32, f64)> = cache.history.contributors(i).collect();
            prop_assert!(from.len() == 1);
            let candidate = candidates[from[0].0 as usize];
            let found = (edge.source, edge.target, edge.kind);
            prop_assert!(found == (candidate.source, candidate.target, candidate.kind));
            seen[from[0].0 as usize] += 1;
            came.set(came.get() + usize::from(candidate.place.is_none()));
        }
        for &dropped in cache.history.dropped() {
            seen[dropped as usize] += 1;
            went.set(went.get() + usize::from(candidates[dropped as usize].place.is_some()));
        }
        prop_assert!(seen.iter().all(|&times| times == 1));
        Ok(())
    });
    assert!(came.get() > 100 && went.get() > 100, "{came:?} edges came and {went:?} went");
}

#[test]
fn what_reads_weights_does_not_jump_where_an_edge_comes_or_goes() {
    let mut stream = Stream::new(4);
    let topology = random_topology(&[7], false, &mut stream);
    let (mut morph, x) = random_morph(7, 3, &mut stream);
    // By candidate: the weight, zero where there is no edge.
    let weights = |morph: &EdgeMorph<f64>| {
        let cache = morph.forward(&x, Pass::over(&topology), None).unwrap();
        let mut all = vec![0.0; cache.candidates.len()];
        for (i, &weight) in cache.wiring.weights.unwrap().iter().enumerate() {
            all[cache.history.contributors(i).next().unwrap().0 as usize] = weight;
        }
        (all, cache.plan)
    };
    let (mut flips, step) = (0, 1e-4);
    let (mut before, mut plan) = weights(&morph);
    for _ in 0..20_000 {
        morph.thresholds.iter_mut().for_each(|threshold| *threshold += step);
        let (after, next) = weights(&morph);
        flips += plan.stays.iter().zip(&next.stays).filter(|(a, b)| a != b).count();
        let jump = before.iter().zip(&after).fold(0.0_f64, |worst, (a, b)| worst.max((a - b).abs()));
        // The weight of an edge is at most 2.2, and its slope in z at most half of that.
        assert!(jump < 2.2 * step / 0.7, "{jump}");
        (before, plan) = (after, next);
    }
    assert!(flips > 5, "{flips} edges went");
}

#[test]
fn candidates_come_in_the_order_of_edges_and_a_chain_has_none_next_to_each_other() {
    let edge = |source, target, kind| Edge { source, target, kind, weight: 1.0 };
    let edges = vec![edge(0, 4, EdgeKind::Skip), edge(2, 4, EdgeKind::Skip), edge(2, 4, EdgeKind::Structural)];
    let topology = Topology::new([5, 1], true, edges).unwrap();
    let found: Vec<_> = edge_candidates(&topology, 2).iter().map(|c| (c.source, c.target, c.place)).collect();
    let expected = [(0, 2, None), (1, 3, None), (0, 4, Some(0)), (2, 4, Some(1)), (2, 4, Some(2))];
    assert_eq!(found, expected);
    assert!(edge_candidates(&Topology::chains([0, 1, 2]).unwrap(), 5).is_empty());
}

#[test]
fn a_plan_for_other_candidates_is_refused() {
    let topology = Topology::chains([4]).unwrap();
    let (morph, x) = random_morph(4, 2, &mut Stream::new(1));
    let error = morph.forward(&x, Pass::over(&topology), Some(&Plan::default())).unwrap_err().to_string();
    assert_eq!(error, "expected a plan of 2 choices, found 0");
}

/// Slow and readable: the group of a candidate by following its targets, then every edge on its own.
fn groups(stays: &[bool], targets: &[u32], range: std::ops::Range<usize>) -> Vec<Option<usize>> {
    let first = range.clone().find(|&c| stays[c]);
    let group = |c: usize| {
        let mut c = c;
        while !stays[c] {
            match targets.get(c) {
                Some(&target) if (target as usize) < c => c = target as usize,
                _ => return first,
            }
        }
        Some(c)
    };
    range.map(group).collect()
}

#[test]
fn merging_along_any_graph_adds_up_what_becomes_parallel() {
    const SLOTS: usize = 2;
    let bundles = Cell::new(0);
    holds(&graphs(), |(lengths, chain, seed)| {
        let mut stream = Stream::new(seed).fork(1);
        let topology = random_topology(&lengths, chain, &mut stream);
        let n = topology.nodes() * SLOTS;
        let plan = Plan { stays: (0..n).map(|_| stream.random::<f64>() < 0.4).collect() };
        let half = Kept::filled(n, 0.5_f64.ln());
        let targets = merge_targets(&topology, SLOTS);
        let realised =
            realise(&plan, &Gates { log_stay: half.clone(), log_merge: half }, &targets, &topology, SLOTS).unwrap();
        prop_assert!(is_acyclic(&realised.topology));
        let own: Vec<f64> = topology.incoming().as_slice().iter().map(|edge| f64::from(edge.weight)).collect();
        let found = realised.edges.forward_values(&own);

        let mut group = Vec::new();
        for g in 0..topology.graphs() {
            let range = topology.range(g);
            group.extend(groups(&plan.stays, &targets, range.start * SLOTS..range.end * SLOTS));
        }
        let node = |candidate: usize| realised.kept.iter().position(|&kept| kept as usize == candidate).unwrap() as u32;
        let mut expected: BTreeMap<(u32, u32, EdgeKind), f64> = BTreeMap::new();
        let mut within = 0;
        for edge in topology.incoming().as_slice() {
            let ends = (group[edge.source as usize * SLOTS], group[edge.target as usize * SLOTS]);
            match ends {
                (Some(a), Some(b)) if a != b => {
                    let (a, b) = (node(a).min(node(b)), node(a).max(node(b)));
                    *expected.entry((b, a, edge.kind)).or_default() += f64::from(edge.weight);
                }
                _ => within += 1,
            }
        }
        prop_assert!(expected.len() == found.len());
        for (i, ((&(target, source, kind), &weight), edge)) in
            expected.iter().zip(realised.topology.incoming().as_slice()).enumerate()
        {
            prop_assert!((edge.source, edge.target, edge.kind) == (source, target, kind));
            prop_assert!((found[i] - weight).abs() < 1e-9 && (f64::from(edge.weight) - weight).abs() < 1e-5);
            bundles.set(bundles.get() + usize::from(realised.edges.contributors(i).count() > 1));
        }
        // Each edge is part of one, or within a node, or of a graph of which nothing is left.
        prop_assert!(realised.edges.dropped().len() == within);
        prop_assert!(realised.edges.entries() + within == own.len());
        for (c, owner) in realised.owner.iter().enumerate() {
            prop_assert!((*owner == DROPPED) == group[c].is_none());
        }
        Ok(())
    });
    assert!(bundles.get() > 100, "{bundles:?} sums of parallel edges");
}

#[test]
fn a_diamond_folds_as_its_merges_say() {
    // 0 -> 1 -> 3 and 0 -> 2 -> 3 with weights 2, 3, 5, 7; one candidate a node.
    let edge = |source, target, weight| Edge { source, target, kind: EdgeKind::Sequential, weight };
    let edges = vec![edge(0, 1, 2.0), edge(0, 2, 3.0), edge(1, 3, 5.0), edge(2, 3, 7.0)];
    let diamond = Topology::new([4], false, edges).unwrap();
    let targets = merge_targets(&diamond, 1);
    let folded = |stays: [bool; 4]| {
        let half = Kept::filled(4, 0.5_f64.ln());
        let gates = Gates { log_stay: half.clone(), log_merge: half };
        let realised = realise(&Plan { stays: stays.into_iter().collect() }, &gates, &targets, &diamond, 1).unwrap();
        let edges = realised.topology.incoming().as_slice().iter().map(|e| (e.source, e.target, e.weight));
        (realised.owner.to_vec(), edges.collect::<Vec<_>>())
    };
    // The end joins the later side, so the other side now leads into that.
    assert_eq!(folded([true, true, true, false]), (vec![0, 1, 2, 2], vec![(0, 1, 2.0), (0, 2, 3.0), (1, 2, 5.0)]));
    // Both sides join the beginning: two edges to the end become one.
    assert_eq!(folded([true, false, false, true]), (vec![0, 0, 0, 1], vec![(0, 1, 12.0)]));
    // The end and one side join the beginning: the edge from the other side to the end would lead back, and turns round.
    assert_eq!(folded([true, true, false, false]), (vec![0, 1, 0, 0], vec![(0, 1, 7.0)]));
}
