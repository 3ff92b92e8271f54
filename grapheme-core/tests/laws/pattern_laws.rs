//! Patterns: a run made one node and back is the graph that it was, in any script, and histories say where runs are.

// A list of one range is a list of one run.
#![allow(clippy::single_range_in_vec_init)]

use grapheme_core::graph::{EdgeKind, GraphBatch, GraphemeGraph};
use grapheme_core::layers::RoundKind;
use grapheme_core::morph::runs;
use grapheme_core::network::{ForwardOptions, StageConfig};
use grapheme_core::{GraphTransformNet, NetworkConfig, Stream, param};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::RngExt;
use std::collections::BTreeSet;
use std::ops::Range;

/// Runs a property on seeded cases.
fn holds<T: Strategy>(cases: u32, of: &T, law: impl Fn(T::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[3; 32])).run(of, law).unwrap();
}

/// Latin with loose marks, Hangul, Devanagari, Arabic, emoji with joiners, flags, line ends, Han.
fn texts() -> impl Strategy<Value = String> {
    let pieces = vec![
        "g",
        "y",
        "ö",
        "o\u{308}",
        "\u{301}",
        "한",
        "\u{1100}\u{1161}",
        "कि",
        "\u{94D}",
        "ش",
        "👩‍👩‍👧",
        "🇭🇺",
        "\u{1F1E6}",
        "\r\n",
        "\n",
        " ",
        "漢",
        "\u{200D}",
        "1",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..24).prop_map(|pieces| pieces.concat())
}

/// Ranges in order that do not overlap, of one node or more.
fn random_runs(nodes: usize, stream: &mut Stream) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < nodes {
        let length = 1 + (stream.random::<f64>() * 4.0) as usize;
        let end = (at + length).min(nodes);
        if stream.random::<f64>() < 0.6 {
            found.push(at..end);
        }
        at = end;
    }
    found
}

#[test]
fn expanding_undoes_compressing_in_any_script_at_any_depth() {
    holds(300, &(texts(), any::<u64>()), |(text, seed)| {
        let mut stream = Stream::new(seed);
        let graph = GraphemeGraph::from_text(&text).unwrap();
        let mut levels = vec![graph];
        for _ in 0..3 {
            let last = levels.last().unwrap();
            let short = last.compressed(&random_runs(last.node_count(), &mut stream)).unwrap();
            prop_assert!(short.is_acyclic() && short.to_text().unwrap() == text);
            // It remembers its graphemes wherever it goes.
            let read = GraphemeGraph::from_json(&short.to_json()).unwrap();
            prop_assert_eq!(read.to_json(), short.to_json());
            levels.push(read);
        }
        for short in &levels {
            prop_assert_eq!(short.expanded().unwrap().to_json(), levels[0].to_json());
        }
        Ok(())
    });
}

#[test]
fn edges_within_and_at_the_ends_return_to_where_they_were() {
    let mut graph = GraphemeGraph::from_text("abcdef").unwrap();
    let nodes: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    graph.connect(nodes[1], nodes[3], EdgeKind::Semantic, 0.5).unwrap();
    graph.connect(nodes[0], nodes[1], EdgeKind::Skip, 2.0).unwrap();
    graph.connect(nodes[3], nodes[5], EdgeKind::Structural, -1.0).unwrap();
    graph.set_activation(nodes[2], vec![0.25]).unwrap();
    let short = graph.compressed(&[1..4]).unwrap();
    assert_eq!((short.node_count(), short.edge_count()), (4, 5));
    assert_eq!(short.expanded().unwrap().to_json(), graph.to_json());
    // Two runs next to each other would lose where the edges between them end.
    for (runs, complaint) in [
        (vec![0..2, 2..4], "the edge from \"b\" to \"d\" has an end inside"),
        (vec![2..5], "the edge from \"b\" to \"d\" has an end inside"),
        (vec![1..3, 2..4], "2..4 of 6 nodes: runs must be given in order"),
        (vec![4..7], "4..7 of 6 nodes"),
        (vec![2..2], "2..2 of 6 nodes"),
    ] {
        let error = graph.compressed(&runs).unwrap_err().to_string();
        assert!(error.contains(complaint), "{runs:?}: {error}");
    }
}

#[test]
fn a_relabelled_pattern_forgets_and_a_forged_one_is_refused() {
    let mut graph = GraphemeGraph::from_text("gy").unwrap().compressed(&[0..2]).unwrap();
    let node = graph.nodes().next().unwrap().0;
    assert_eq!(graph.node(node).unwrap().pattern().unwrap().parts().len(), 2);
    let json = graph.to_json();
    assert_eq!(graph.relabel(node, "x").unwrap(), "gy");
    assert!(graph.node(node).unwrap().pattern().is_none());
    for (from, to, complaint) in [
        (r#"{"label":"gy""#, r#"{"label":"gz""#, r#"nodes[0]: no pattern: "gz" is not the labels of its parts"#),
        (r#""target":1"#, r#""target":0"#, "edge 0 -> 0 of a pattern of 2 must go forward"),
        (r#"[{"label":"g"},{"label":"y"}]"#, "[]", "a pattern has no parts"),
    ] {
        assert!(json.contains(from), "{json}");
        let error = GraphemeGraph::from_json(&json.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn the_runs_of_a_history_are_what_its_outputs_were_made_of_however_many_morphs_there_were() {
    let merged = std::cell::Cell::new(0);
    holds(60, &(texts(), texts(), any::<u64>(), 1usize..4), |(text, other, seed, morphs)| {
        let rounds = vec![RoundKind::Gated { distance: 1 }];
        let stages = vec![StageConfig { rounds, slots: 1 }; morphs];
        let mut net = GraphTransformNet::<f64>::new(&NetworkConfig { stages, ..NetworkConfig::tiny(4) }, seed).unwrap();
        param::each_mut(&mut net, |name, _, values| {
            if name.ends_with("gate.thresholds") {
                values.fill(0.0);
            }
        });
        let batch = GraphBatch::from_texts(&[&other, &text]).unwrap();
        let (_, trace) = net.forward(&batch, ForwardOptions::realised()).unwrap();
        let history = trace.history().unwrap();
        let found = runs(&batch, &history, 1);
        let graph = GraphemeGraph::from_text(&text).unwrap();
        let short = graph.compressed(&found).unwrap();
        prop_assert_eq!(short.expanded().unwrap().to_json(), graph.to_json());
        // Slow and readable: the graphemes of every output, which must lie in one run, and make it up.
        let first = batch.graphemes(0).len();
        let outputs = (0..history.outputs()).map(|output| {
            let clusters = history.contributors(output).filter_map(|(node, _)| batch.cluster(node as usize));
            clusters.filter(|&c| c as usize >= first).map(|c| c as usize - first).collect::<BTreeSet<usize>>()
        });
        let outputs: Vec<BTreeSet<usize>> = outputs.collect();
        for set in outputs.iter().filter(|set| set.len() > 1) {
            prop_assert!(found.iter().any(|run| set.iter().all(|grapheme| run.contains(grapheme))));
        }
        for run in &found {
            let joined = |place: usize| outputs.iter().any(|set| set.contains(&place) && set.contains(&(place + 1)));
            prop_assert!((run.start..run.end - 1).all(joined));
        }
        merged.set(merged.get() + found.len());
        Ok(())
    });
    assert!(merged.get() > 50, "{merged:?} runs");
}
