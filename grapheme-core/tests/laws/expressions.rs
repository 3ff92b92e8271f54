//! Expressions as trees: the graph that comes out, and what the layers make of it, against slow references.

use grapheme_core::graph::EdgeKind::{Semantic, Sequential, Structural};
use grapheme_core::graph::{Edge, EdgeKind, ExpressionError, NodeKind, measure_expression};
use grapheme_core::layers::{Dropout, GatedRound, Layer, Lstm, Pass, RecurrentRound};
use grapheme_core::{GraphBatch, GraphemeGraph, Stream};
use ndarray::{Array1, Array2, concatenate, s};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeMap;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() }
}

/// An expression before it is written down.
#[derive(Clone, Debug)]
enum Expression {
    Atom(String),
    List(Vec<Expression>),
}

fn expression() -> impl Strategy<Value = Expression> {
    const ATOMS: &[&str] =
        &["+", "-", "x", "y", "12", "7", "é", "한글", "e\u{301}x", "👩\u{200D}👧", "x2", "(\u{301}", "let"];
    let atom = prop::sample::select(ATOMS).prop_map(|atom| Expression::Atom(atom.to_owned()));
    atom.prop_recursive(5, 40, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Expression::List))
}

impl Expression {
    /// The text, with spaces where `spaces` says so: at least one between two atoms.
    fn write(&self, spaces: &mut impl Iterator<Item = &'static str>, out: &mut String) {
        match self {
            Self::Atom(text) => out.push_str(text),
            Self::List(members) => {
                out.push('(');
                for (i, member) in members.iter().enumerate() {
                    let space = spaces.next().unwrap_or(" ");
                    let touches = i > 0 && matches!((&members[i - 1], member), (Self::Atom(_), Self::Atom(_)));
                    out.push_str(if touches && space.is_empty() { "\n" } else { space });
                    member.write(spaces, out);
                }
                out.push(')');
            }
        }
    }

    /// The slow way to the graph: nodes into `codes`, edges into `edges`, and the first and last node of this expression.
    fn graph(&self, graph: &mut Reference) -> (usize, usize) {
        match self {
            Self::Atom(text) => {
                let first = graph.codes.len();
                graph.codes.extend(text.graphemes(true).flat_map(|grapheme| grapheme.nfd().map(u32::from)));
                let last = graph.codes.len() - 1;
                (first..last).for_each(|node| graph.edges.push((node, node + 1, Sequential)));
                if text.chars().next().unwrap().is_alphabetic() {
                    match graph.names.get(text) {
                        Some(&known) => graph.edges.push((known, first, Semantic)),
                        None => drop(graph.names.insert(text.clone(), last)),
                    }
                }
                (first, last)
            }
            Self::List(members) => {
                let list = graph.codes.len();
                graph.codes.push(u32::from('('));
                let mut before = None;
                for member in members {
                    let (first, last) = member.graph(graph);
                    graph.edges.push((list, first, Structural));
                    graph.edges.extend(before.map(|before| (before, first, Sequential)));
                    before = Some(last);
                }
                (list, list)
            }
        }
    }
}

#[derive(Default)]
struct Reference {
    codes: Vec<u32>,
    edges: Vec<(usize, usize, EdgeKind)>,
    names: BTreeMap<String, usize>,
}

/// All edges of a batch, sorted.
fn edges(batch: &GraphBatch) -> Vec<(usize, usize, EdgeKind)> {
    let edges = batch.topology().incoming().as_slice().iter();
    let mut edges: Vec<_> = edges.map(|e| (e.source as usize, e.target as usize, e.kind)).collect();
    edges.sort_unstable();
    edges
}

/// What holds for the tree of one text, whatever it is.
fn check_laws(text: &str) -> GraphBatch {
    let batch = GraphBatch::from_expressions(&[text]).unwrap();
    assert_eq!(batch.text(0), text);
    assert!(batch.graphemes(0).eq(text.graphemes(true)));
    assert!(!batch.topology().is_chain());
    let end = batch.nodes() - 1;
    assert_eq!((batch.kinds()[0], batch.kinds()[end]), (NodeKind::Begin, NodeKind::End));
    for node in 0..=end {
        let (incoming, outgoing) = (batch.topology().incoming().of(node), batch.topology().outgoing().of(node));
        // Every node lies on a way from Begin to End, and what enters it has weights that sum to 1.
        assert_eq!((incoming.is_empty(), outgoing.is_empty()), (node == 0, node == end), "node {node} of {text:?}");
        let total: f32 = incoming.iter().map(|edge| edge.weight).sum();
        assert!(node == 0 || (total - 1.0).abs() < 1e-6, "{total} enters node {node} of {text:?}");
        assert_eq!(batch.span(node).map(|span| &text[span]), batch.grapheme(node));
    }
    match measure_expression(text) {
        Ok(nodes) => assert_eq!(nodes, batch.nodes()),
        Err(_) => {
            let path = GraphBatch::from_texts(&[text]).unwrap();
            assert_eq!(batch.codes(), path.codes());
            assert_eq!(edges(&batch), (0..end).map(|node| (node, node + 1, Sequential)).collect::<Vec<_>>());
        }
    }
    batch
}

#[test]
fn what_is_no_expression_is_named_and_becomes_a_path() {
    for (text, why) in [
        ("", ExpressionError::Empty),
        (" \r\n\u{3000}", ExpressionError::Empty),
        ("(+ 1 (* 2 3)", ExpressionError::Unclosed { column: 1 }),
        ("e\u{301} (", ExpressionError::Second { column: 3 }),
        ("(e\u{301}) )", ExpressionError::Unopened { column: 5 }),
        ("two words", ExpressionError::Second { column: 5 }),
        ("()()", ExpressionError::Second { column: 3 }),
        ("((1)", ExpressionError::Unclosed { column: 1 }),
        (")(", ExpressionError::Unopened { column: 1 }),
    ] {
        assert_eq!(measure_expression(text), Err(why), "{text:?}");
        check_laws(text);
    }
    for text in ["x", " x ", "gyöngy", "()", "(\u{301}", "(()(()))", "(a\tb\u{A0}c)"] {
        assert!(measure_expression(text).is_ok(), "{text:?}");
        check_laws(text);
    }
}

#[test]
fn a_variable_makes_a_diamond() {
    //  0 Begin, 1 (, 2 let, 5 (, 6 (, 7 x, 8 3, 9 (, 10 +, 11 x, 12 x, 13 End
    let batch = check_laws("(let ((x 3)) (+ x x))");
    let into = |node: usize| {
        let edges = batch.topology().incoming().of(node).iter();
        edges.map(|edge| (edge.source as usize, edge.kind)).collect::<Vec<_>>()
    };
    assert_eq!(into(11), [(7, Semantic), (9, Structural), (10, Sequential)]);
    assert_eq!(into(12), [(7, Semantic), (9, Structural), (11, Sequential)]);
    assert_eq!(into(9), [(1, Structural), (5, Sequential)]);
    assert_eq!(into(13), [(8, Sequential), (12, Sequential)]);
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn trees_are_those_of_a_recursive_reader(
        expression in expression(),
        spaces in prop::collection::vec(prop::sample::select(&["", " ", "  ", "\t", "\r\n"][..]), 0..40),
    ) {
        let mut text = String::new();
        expression.write(&mut spaces.into_iter(), &mut text);
        let batch = check_laws(&text);
        let mut reference = Reference::default();
        reference.codes.push(batch.codes()[0]);
        let (root, _) = expression.graph(&mut reference);
        let end = reference.codes.len();
        reference.codes.push(batch.codes()[batch.nodes() - 1]);
        reference.edges.push((0, root, Sequential));
        let leaves = (0..end).filter(|&node| reference.edges.iter().all(|&(source, ..)| source != node));
        let leaves: Vec<_> = leaves.map(|node| (node, end, Sequential)).collect();
        reference.edges.extend(leaves);
        reference.edges.sort_unstable();
        prop_assert_eq!(batch.codes(), &reference.codes);
        prop_assert_eq!(edges(&batch), reference.edges);
    }

    #[test]
    fn any_text_has_a_graph(text in "[()xé한 \u{301}\n]{0,24}") {
        check_laws(&text);
    }

    #[test]
    fn a_tree_does_not_depend_on_its_company(texts in prop::collection::vec("[()x2 ]{0,12}", 1..6)) {
        let batch = GraphBatch::from_expressions(&texts).unwrap();
        for (graph, text) in texts.iter().enumerate() {
            let alone = GraphBatch::from_expressions(&[text]).unwrap();
            let nodes = batch.topology().range(graph);
            prop_assert_eq!(&batch.codes()[nodes.clone()], alone.codes());
            let shift = nodes.start as u32;
            for (here, node) in nodes.zip(0..) {
                let moved = |e: &Edge| Edge { source: e.source + shift, target: e.target + shift, ..*e };
                let expected: Vec<Edge> = alone.topology().incoming().of(node).iter().map(moved).collect();
                prop_assert_eq!(batch.topology().incoming().of(here), expected);
            }
        }
    }
}

/// Trees, a diamond of a variable, paths among them, and a diamond with weights of its own.
fn graphs() -> Vec<GraphBatch> {
    let mut diamond = GraphemeGraph::new();
    let nodes = ["a", "é", "b", "c"].map(|label| diamond.add_node(label).unwrap());
    for (source, target, weight) in [(0, 1, 1.0), (0, 2, 0.5), (1, 3, -0.7), (2, 3, 2.0)] {
        diamond.connect(nodes[source], nodes[target], Sequential, weight).unwrap();
    }
    diamond.connect(nodes[0], nodes[3], Semantic, 0.3).unwrap();
    vec![
        GraphBatch::from_expressions(&["(+ 21 (* 3 45))", "(let ((x 3)) (- x x))", "no tree", ""]).unwrap(),
        GraphBatch::from_graphs(&[diamond]).unwrap(),
        GraphBatch::from_texts(&["path", ""]).unwrap(),
    ]
}

const WIDTH: usize = 5;

fn features(nodes: usize) -> Array2<f64> {
    Array2::from_shape_fn((nodes, WIDTH), |(i, j)| ((3 * i + 7 * j) as f64).sin())
}

fn no_dropout() -> Dropout {
    Dropout { site: 0, rate: 0.0, isolation: 0.0 }
}

fn run<L: Layer<f64>>(layer: &L, batch: &GraphBatch) -> Array2<f64> {
    layer.forward(features(batch.nodes()).into(), Pass::over(batch.topology())).unwrap().0.into()
}

/// Every edge of a batch, those implied by a chain included.
fn all_edges(batch: &GraphBatch) -> Vec<(usize, usize, f64)> {
    let topology = batch.topology();
    let chains = if topology.is_chain() { topology.graphs() } else { 0 };
    let implied = (0..chains).flat_map(|graph| topology.range(graph).skip(1).map(|node| (node - 1, node, 1.0)));
    let explicit = topology.outgoing().as_slice().iter();
    implied.chain(explicit.map(|e| (e.source as usize, e.target as usize, f64::from(e.weight)))).collect()
}

/// Hidden and cell state of one node, by recursion over everything before it.
fn state(lstm: &Lstm<f64>, h: &Array2<f64>, before: &[Vec<(usize, f64)>], node: usize) -> (Array1<f64>, Array1<f64>) {
    let (mut p, mut q) = (Array1::zeros(WIDTH), Array1::zeros(WIDTH));
    for &(earlier, weight) in &before[node] {
        let (hidden, cell) = state(lstm, h, before, earlier);
        p.scaled_add(weight, &hidden);
        q.scaled_add(weight, &cell);
    }
    let gates = h.row(node).dot(&lstm.input.weight) + &lstm.input.bias + p.dot(&lstm.state);
    let part = |k: usize| gates.slice(s![k * WIDTH..(k + 1) * WIDTH]).to_owned();
    let sigmoid = |x: Array1<f64>| x.mapv(|x| 1.0 / (1.0 + (-x).exp()));
    let cell = sigmoid(part(1)) * q + sigmoid(part(0)) * part(2).mapv(f64::tanh);
    (sigmoid(part(3)) * cell.mapv(f64::tanh), cell)
}

#[test]
fn a_recurrent_round_sums_over_trees_and_diamonds_in_topological_order() {
    let round = RecurrentRound::<f64>::new(WIDTH, no_dropout(), &mut Stream::new(3));
    for batch in graphs() {
        let n = batch.nodes();
        let (mut down, mut up) = (vec![Vec::new(); n], vec![Vec::new(); n]);
        for (source, target, weight) in all_edges(&batch) {
            down[target].push((source, weight));
            up[source].push((target, weight));
        }
        let x = features(n);
        let h = round.norm.output(&round.norm.forward(&x).unwrap());
        let y = run(&round, &batch);
        for node in 0..n {
            let (f, b) = (state(&round.down, &h, &down, node).0, state(&round.up, &h, &up, node).0);
            let both = concatenate![ndarray::Axis(0), f, b];
            let expected = &x.row(node) + &(both.dot(&round.project.weight) + &round.project.bias);
            let gap = (&y.row(node) - &expected).mapv(f64::abs).sum();
            assert!(gap < 1e-12, "node {node} of {:?}: {gap:e}", batch.text(0));
        }
    }
}

#[test]
fn a_gated_round_reads_all_explicit_neighbours() {
    let round = GatedRound::<f64>::new(WIDTH, 1, no_dropout(), &mut Stream::new(3));
    for batch in graphs() {
        let n = batch.nodes();
        let x = features(n);
        let h = round.norm.output(&round.norm.forward(&x).unwrap());
        let mut z = Array2::<f64>::zeros((n, 3 * WIDTH));
        z.slice_mut(s![.., WIDTH..2 * WIDTH]).assign(&h);
        for (source, target, weight) in all_edges(&batch) {
            z.slice_mut(s![target, ..WIDTH]).scaled_add(weight, &h.row(source));
            z.slice_mut(s![source, 2 * WIDTH..]).scaled_add(weight, &h.row(target));
        }
        let glu = z.dot(&round.gather.weight) + &round.gather.bias;
        let (u, v) = (glu.slice(s![.., ..WIDTH]), glu.slice(s![.., WIDTH..]));
        let message = (&u * &v.mapv(|v| 1.0 / (1.0 + (-v).exp()))).dot(&round.project.weight) + &round.project.bias;
        let gap = (run(&round, &batch) - (x + message)).mapv(f64::abs).sum();
        assert!(gap < 1e-12, "{:?}: {gap:e}", batch.text(0));
    }
}

#[test]
fn the_order_of_operands_and_the_shape_are_seen_by_the_root() {
    let round = RecurrentRound::<f64>::new(WIDTH, no_dropout(), &mut Stream::new(3));
    let root = |text: &str| {
        let batch = GraphBatch::from_expressions(&[text]).unwrap();
        // Features by code point, so that nothing but edges tells where a node stands.
        let x = Array2::from_shape_fn((batch.nodes(), WIDTH), |(i, j)| {
            f64::from(batch.codes()[i] % 97 + 7 * j as u32).sin()
        });
        let pass = Pass::over(batch.topology());
        round.forward(x.into(), pass).unwrap().0.row(1).to_owned()
    };
    let apart = |a: &str, b: &str| (root(a) - root(b)).mapv(f64::abs).sum();
    assert!(apart("(- 1 2)", "(- 2 1)") > 1e-3);
    assert!(apart("(- 1 (- 2 3))", "(- (- 1 2) 3)") > 1e-3);
    assert!(apart("(- 12)", "(- 1 2)") > 1e-3);
    assert_eq!(apart("(- 1 2)", "( -  1\n2 )"), 0.0);
}

#[test]
fn depth_does_not_blow_up_what_is_summed() {
    // Two ways lead into each level and names add more: without weights, a cell would grow as 3^depth.
    let text = "(f x ".repeat(300) + "y" + &")".repeat(300);
    let batch = GraphBatch::from_expressions(&[text]).unwrap();
    let mut round = RecurrentRound::<f32>::new(WIDTH, no_dropout(), &mut Stream::new(3));
    for lstm in [&mut round.down, &mut round.up] {
        // Nothing is forgotten.
        lstm.input.bias.slice_mut(s![WIDTH..2 * WIDTH]).fill(30.0);
    }
    let x = features(batch.nodes()).mapv(|x| x as f32);
    let y = round.forward(x.into(), Pass::over(batch.topology())).unwrap().0;
    assert!(y.iter().all(|y| y.is_finite() && y.abs() < 20.0));
}
