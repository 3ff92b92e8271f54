//! The form for people: edits keep the graph free of cycles, JSON and DOT say what it is, and its batch has its edges.

use grapheme_core::Stream;
use grapheme_core::graph::{
    Edge, EdgeIndex, EdgeKind, GraphBatch, GraphError, GraphemeGraph, JsonError, NodeIndex, NodeKind,
};
use petgraph::algo::has_path_connecting;
use rand::RngExt;

use EdgeKind::{Semantic, Sequential, Skip, Structural};

fn ids(graph: &GraphemeGraph) -> Vec<NodeIndex> {
    graph.nodes().map(|(id, _)| id).collect()
}

/// A graph with nodes `labels` and edges between their places.
fn graph(labels: &[&str], edges: &[(usize, usize, EdgeKind, f32)]) -> GraphemeGraph {
    let mut graph = GraphemeGraph::new();
    let ids: Vec<_> = labels.iter().map(|label| graph.add_node(label).unwrap()).collect();
    for &(source, target, kind, weight) in edges {
        graph.connect(ids[source], ids[target], kind, weight).unwrap();
    }
    graph
}

/// Everything that the type promises, checked from outside.
fn check(graph: &GraphemeGraph) {
    assert!(graph.is_acyclic());
    let order = ids(graph);
    assert_eq!(order.len(), graph.node_count());
    let place = |id: NodeIndex| order.iter().position(|&other| other == id).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for (_, source, target, edge) in graph.edges() {
        assert!(place(source) < place(target), "{source:?} -> {target:?} against the order");
        assert!(seen.insert((source, target, edge.kind)) && edge.weight.is_finite());
    }
}

#[test]
fn random_edits_keep_every_promise_and_refuse_exactly_the_cycles() {
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..60 {
        let mut random = Stream::new(seed);
        let mut graph = GraphemeGraph::from_text("abcdef").unwrap();
        for _ in 0..60 {
            let nodes = ids(&graph);
            let pick = |random: &mut Stream| nodes[random.random_range(0..nodes.len())];
            let (a, b) = (pick(&mut random), pick(&mut random));
            match random.random_range(0..10) {
                0 => drop(graph.add_node("x").unwrap()),
                1 if nodes.len() > 2 => drop(graph.remove_node(a).unwrap()),
                2 => drop(graph.relabel(a, "é").unwrap()),
                3 if graph.edge_count() > 0 => {
                    let (edge, ..) = graph.edges().nth(random.random_range(0..graph.edge_count())).unwrap();
                    graph.remove_edge(edge).unwrap();
                }
                _ => {
                    // Brute force judges: an edge closes a cycle where a path leads back.
                    let cycle = has_path_connecting(graph.as_petgraph(), b, a, None);
                    let kind = EdgeKind::ALL[random.random_range(0..4)];
                    let result = graph.connect(a, b, kind, random.random());
                    assert_eq!(result.is_err(), cycle, "{result:?}");
                    *(if cycle { &mut refused } else { &mut accepted }) += 1;
                }
            }
            check(&graph);
        }
        let json = graph.to_json();
        let read = GraphemeGraph::from_json(&json).unwrap();
        check(&read);
        assert_eq!(read.to_json(), json);
        assert_eq!(GraphBatch::from_graphs(&[read]), GraphBatch::from_graphs(&[graph]));
    }
    assert!(refused > 100 && accepted > 100, "{refused} refused, {accepted} accepted");
}

#[test]
fn edges_against_the_order_of_a_long_text_are_judged_too() {
    // Long enough for a recursive search to run out of stack.
    let n = 300_000;
    let mut graph = GraphemeGraph::from_text(&"a".repeat(n)).unwrap();
    let nodes = ids(&graph);
    let refused = graph.connect(nodes[n - 1], nodes[0], Skip, 1.0);
    assert!(matches!(refused, Err(GraphError::Cycle { source_node, target_node: 0, .. }) if source_node == n - 1));
    // Cut in two, the second half may lead to the first.
    let (cut, ..) = graph.edges().nth(n / 2 - 1).unwrap();
    graph.remove_edge(cut).unwrap();
    graph.connect(nodes[n - 1], nodes[0], Sequential, 1.0).unwrap();
    assert!(graph.is_acyclic() && graph.is_plain_path());
    assert_eq!(ids(&graph)[0], nodes[n / 2]);
}

#[test]
fn refused_edits_name_what_is_wrong_and_change_nothing() {
    let mut graph = GraphemeGraph::from_text("ab").unwrap();
    let (a, b) = (ids(&graph)[0], ids(&graph)[1]);
    let (before, gone) = (graph.to_json(), NodeIndex::new(7));
    assert_eq!(graph.add_node(""), Err(GraphError::EmptyLabel));
    assert_eq!(graph.relabel(a, ""), Err(GraphError::EmptyLabel));
    assert_eq!(graph.relabel(gone, "x"), Err(GraphError::NoNode(7)));
    assert_eq!(graph.remove_node(gone), Err(GraphError::NoNode(7)));
    assert_eq!(graph.connect(a, gone, Skip, 1.0), Err(GraphError::NoNode(7)));
    assert_eq!(graph.connect(gone, a, Skip, 1.0), Err(GraphError::NoNode(7)));
    assert_eq!(graph.connect(a, b, Skip, f32::INFINITY), Err(GraphError::Weight(f32::INFINITY)));
    assert_eq!(graph.remove_edge(EdgeIndex::new(3)), Err(GraphError::NoEdge(3)));
    let infinite = graph.set_activation(a, vec![0.0, f32::NEG_INFINITY]);
    assert_eq!(infinite, Err(GraphError::Activation { index: 1, value: f32::NEG_INFINITY }));
    for (source, target) in [(a, a), (b, a)] {
        let message = graph.connect(source, target, Skip, 1.0).unwrap_err().to_string();
        assert!(message.contains(&format!("node {} (", source.index())), "{message}");
        assert!(message.contains(&format!("node {} (", target.index())), "{message}");
    }
    assert_eq!(graph.to_json(), before);

    // What is gone stays gone, and its neighbours are not touched when it is named again.
    graph.remove_node(a).unwrap();
    assert_eq!(graph.remove_node(a), Err(GraphError::NoNode(0)));
    assert_eq!(graph.to_text().unwrap(), "b");
}

#[test]
fn connecting_again_sets_the_weight() {
    let mut graph = graph(&["a", "b"], &[(0, 1, Skip, 1.0), (0, 1, Semantic, 2.0), (0, 1, Skip, 3.0)]);
    let weights: Vec<_> = graph.edges().map(|(_, _, _, edge)| (edge.kind, edge.weight)).collect();
    assert_eq!(weights, [(Skip, 3.0), (Semantic, 2.0)]);
    let (id, node) = graph.nodes().next().unwrap();
    assert_eq!((node.label(), node.kind(), node.activation()), ("a", NodeKind::Letter, &[][..]));
    graph.set_activation(id, vec![0.25]).unwrap();
    assert_eq!(graph.relabel(id, "7").unwrap(), "a");
    let node = graph.node(id).unwrap();
    assert_eq!((node.label(), node.kind(), node.activation()), ("7", NodeKind::Number, &[0.25][..]));
}

#[test]
fn only_a_sequential_path_has_a_text() {
    let cases: [(GraphemeGraph, Option<&str>); 7] = [
        (graph(&[], &[]), Some("")),
        (graph(&["a"], &[]), Some("a")),
        // Nodes in any order, a label of two graphemes, other edges beside the path.
        (
            graph(&["t", "ca", "s"], &[(1, 0, Sequential, 1.0), (0, 2, Sequential, 0.5), (1, 2, Skip, 1.0)]),
            Some("cats"),
        ),
        (graph(&["a", "b"], &[]), None),
        (graph(&["a", "b"], &[(0, 1, Structural, 1.0)]), None),
        (graph(&["a", "b", "c"], &[(0, 1, Sequential, 1.0), (0, 2, Sequential, 1.0)]), None),
        (graph(&["a", "b", "c"], &[(0, 1, Sequential, 1.0), (1, 2, Sequential, 1.0), (0, 2, Sequential, 1.0)]), None),
    ];
    for (graph, text) in cases {
        assert_eq!(graph.to_text().ok().as_deref(), text, "{}", graph.to_dot());
        let plain = text.is_some() && graph.edges().all(|(.., edge)| edge.kind != Sequential || edge.weight == 1.0);
        assert_eq!(graph.is_plain_path(), plain);
    }
}

#[test]
fn dot_shows_kinds_weights_and_invisible_characters() {
    let graph = graph(&["\"", "\\n", "\u{A0}\t", "&é"], &[(0, 1, Sequential, 1.0), (1, 3, Semantic, 0.5)]);
    let expected = r#"digraph grapheme {
  rankdir=LR;
  n0 [label="\""];
  n1 [label="\\n"];
  n2 [label="\\u{a0}\\u{9}"];
  n3 [label="&amp;é"];
  n0 -> n1 [style=solid];
  n1 -> n3 [style=dashed, label="0.5"];
}
"#;
    assert_eq!(graph.to_dot(), expected);
}

#[test]
fn json_is_pinned() {
    let mut graph = graph(&["b", "a"], &[(1, 0, Sequential, 1.0), (1, 0, Skip, -0.1)]);
    graph.set_activation(NodeIndex::new(0), vec![1e-30, 3.0]).unwrap();
    let expected = concat!(
        r#"{"version":1,"nodes":[{"label":"a"},{"label":"b","activation":[1e-30,3.0]}],"#,
        r#""edges":[{"source":0,"target":1,"kind":"Sequential","weight":1.0},"#,
        r#"{"source":0,"target":1,"kind":"Skip","weight":-0.1}]}"#
    );
    assert_eq!(graph.to_json(), expected);
    assert_eq!(GraphemeGraph::from_json(expected).unwrap().to_json(), expected);
}

#[test]
fn bad_json_is_refused_by_place_and_with_a_cure() {
    let file = |nodes: &str, edges: &str| format!(r#"{{"version":1,"nodes":[{nodes}],"edges":[{edges}]}}"#);
    let two = r#"{"label":"a"},{"label":"b"}"#;
    let edge = |source: usize, target: usize, rest: &str| {
        format!(r#"{{"source":{source},"target":{target},"kind":"Skip"{rest}}}"#)
    };
    let cases = [
        (String::new(), "not a grapheme graph in JSON"),
        ("[1, 2]".to_owned(), "not a grapheme graph in JSON"),
        (r#"{"nodes":[],"edges":[]}"#.to_owned(), "missing field `version`"),
        (r#"{"version":2,"vertices":[]}"#.to_owned(), "version 2 of the JSON form, but this program reads version 1"),
        (r#"{"version":1,"nodes":[]}"#.to_owned(), "missing field `edges`"),
        (file(r#"{"label":"a","activations":[]}"#, ""), "unknown field `activations`"),
        (file(r#"{"label":"a"},{"label":""}"#, ""), "nodes[1]: a label may not be empty"),
        (file(r#"{"label":"a","activation":[1,1e39]}"#, ""), "number out of range"),
        (file(two, &edge(0, 2, "")), "edges[0]: there is no nodes[2], they end before 2"),
        (file(two, &edge(0, 1, r#","weight":1e39"#)), "number out of range"),
        (
            file(two, &[edge(0, 1, ""), edge(0, 1, "")].join(",")),
            "edges[1]: a second Skip edge from nodes[0] to nodes[1]",
        ),
        (file(two, &edge(1, 1, "")), "edges[0]: edge from node 1 (\"b\") to node 1 (\"b\") would close a cycle"),
        (file(two, &edge(0, 1, r#","weight":null"#)), "invalid type: null"),
    ];
    for (json, message) in cases {
        let error = GraphemeGraph::from_json(&json).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} lacks {message:?}");
    }
    // Any edge of the cycle may be named, but none beside it: here 0 -> 1 leads in and 3 -> 4 leads out.
    let nodes = [r#"{"label":"x"}"#; 5].join(",");
    let edges = [edge(0, 1, ""), edge(1, 2, ""), edge(2, 3, ""), edge(3, 4, ""), edge(3, 1, "")].join(",");
    let error = GraphemeGraph::from_json(&file(&nodes, &edges)).unwrap_err();
    assert!(matches!(error, JsonError::Edge { index: 1 | 2 | 4, cause: GraphError::Cycle { .. } }), "{error}");
    // The same without the last edge, but against the order of nodes, is a graph.
    let edges = [edge(4, 3, ""), edge(3, 0, ""), edge(0, 1, "")].join(",");
    check(&GraphemeGraph::from_json(&file(&nodes, &edges)).unwrap());
}

#[test]
fn a_path_with_other_edges_is_a_chain_with_those_edges() {
    // Nodes: Begin, e, acute, x, y, z, End.
    let labels = ["é", "x", "y", "z"];
    let path = [(0, 1, Sequential, 1.0), (1, 2, Sequential, 1.0), (2, 3, Sequential, 1.0)];
    let batch = GraphBatch::from_graphs(&[graph(&labels, &[&path[..], &[(0, 2, Semantic, 0.5)]].concat())]).unwrap();
    assert!(batch.topology().is_chain());
    assert_eq!(batch.text(0), "éxyz");
    let expected = [Edge { source: 2, target: 4, kind: Semantic, weight: 0.5 }];
    assert_eq!(batch.topology().incoming().as_slice(), expected);
}

#[test]
fn other_graphs_have_all_their_edges_explicit() {
    // Begin 0, e 1, acute 2, x 3, y 4, End 5; then an empty graph; then a path.
    let branch = [(0, 1, Sequential, 1.0), (0, 2, Sequential, 0.5), (1, 2, Structural, 2.0)];
    let graphs = [graph(&["é", "x", "y"], &branch), GraphemeGraph::new(), GraphemeGraph::from_text("ab").unwrap()];
    let batch = GraphBatch::from_graphs(&graphs).unwrap();
    assert!(!batch.topology().is_chain());
    assert_eq!([0, 1, 2].map(|graph| batch.text(graph)), ["éxy", "", "ab"]);
    let edge = |source, target, kind, weight| Edge { source, target, kind, weight };
    let plain = |source, target| edge(source, target, Sequential, 1.0);
    let expected = [
        plain(0, 1),
        plain(1, 2),
        plain(2, 3),
        edge(2, 4, Sequential, 0.5),
        plain(3, 5),
        edge(3, 4, Structural, 2.0),
        plain(4, 5),
        plain(6, 7),
        plain(8, 9),
        plain(9, 10),
        plain(10, 11),
    ];
    let mut edges = batch.topology().outgoing().as_slice().to_vec();
    edges.sort_by_key(|edge| (edge.source, edge.kind, edge.target));
    let mut expected = expected.to_vec();
    expected.sort_by_key(|edge| (edge.source, edge.kind, edge.target));
    assert_eq!(edges, expected);
    // A weight on the path is not implied by a chain either.
    let weighted = graph(&["a", "b"], &[(0, 1, Sequential, 0.5)]);
    assert!(!GraphBatch::from_graphs(&[weighted]).unwrap().topology().is_chain());
}
