//! Random pairs of graphs to measure on.

use super::graph::{Direction, LabelledGraph};
use grapheme_core::{GraphemeGraph, Stream};
use rand::RngExt;
use std::collections::BTreeSet;

/// Two graphs to compare, and what is known of their distance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The first graph.
    pub a: LabelledGraph,
    /// The second graph.
    pub b: LabelledGraph,
    /// The distance, where it is known.
    pub ged: Option<usize>,
    /// An upper bound of the distance, where one is known: the number of edits that made `b` of `a`.
    pub at_most: Option<usize>,
}

/// How planted pairs are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Nodes of the first graph, 2 or more.
    pub nodes: usize,
    /// Its edges for every two nodes: 3 is an average degree of 3.
    pub degree: usize,
    /// Different labels, 1 or more.
    pub labels: usize,
    /// Edits that lead to the second graph, before its nodes are permuted.
    pub edits: usize,
    /// Whether edges lead or join.
    pub direction: Direction,
}

/// Letters of several scripts; a pair takes all of its text from one of them.
const SCRIPTS: [&[&str]; 5] = [
    &["a", "b", "c", "d", "e"],
    &["α", "β", "γ", "δ"],
    &["가", "나", "각", "하"],
    &["नि", "क्ष", "म", "ते"],
    &["é", "ő", "s", "z", "y", "g"],
];

/// Two unrelated connected graphs without labels, of 5 to 10 nodes and up to half as many edges more than a tree has.
pub fn sparse(stream: &mut Stream) -> Sample {
    let mut graph = || {
        let nodes = stream.random_range(5..=10);
        let extra = stream.random_range(0..=nodes / 2);
        let labels = vec![String::new(); nodes];
        let edges = connected(nodes, nodes - 1 + extra, Direction::Undirected, stream);
        LabelledGraph::undirected(labels, &edges).expect("edges are drawn from pairs of nodes")
    };
    Sample { a: graph(), b: graph(), ged: None, at_most: None }
}

/// The directed graphs of two texts of 3 to 10 letters, with skip edges from some nodes to the next but one. Every second
/// pair is of one text with up to three letters changed, dropped or doubled.
pub fn text(stream: &mut Stream) -> Sample {
    let letters = SCRIPTS[stream.random_range(0..SCRIPTS.len())];
    let word = |stream: &mut Stream| {
        let length = stream.random_range(3..=10);
        (0..length).map(|_| letters[stream.random_range(0..letters.len())]).collect::<Vec<_>>()
    };
    let first = word(stream);
    let second = if stream.random_bool(0.5) {
        word(stream)
    } else {
        let mut changed = first.clone();
        for _ in 0..stream.random_range(1..=3) {
            let at = stream.random_range(0..changed.len());
            match stream.random_range(0..3) {
                0 => changed[at] = letters[stream.random_range(0..letters.len())],
                1 if changed.len() > 3 => drop(changed.remove(at)),
                _ if changed.len() < 10 => changed.insert(at, changed[at]),
                _ => {}
            }
        }
        changed
    };
    let mut graph = |word: &[&str]| {
        let plain = GraphemeGraph::from_text(&word.concat()).expect("letters are graphemes");
        let plain = LabelledGraph::from_graphemes(&plain);
        let mut edges = plain.edges().to_vec();
        for i in 2..plain.nodes() {
            if stream.random_bool(0.25) {
                edges.push((i - 2, i));
            }
        }
        LabelledGraph::directed(plain.labels().to_vec(), &edges).expect("skip edges are new")
    };
    Sample { a: graph(&first), b: graph(&second), ged: None, at_most: None }
}

/// A random graph, and the same after some edits and with its nodes permuted.
pub fn planted(how: Planted, stream: &mut Stream) -> Sample {
    let Planted { nodes, degree, labels, edits, direction } = how;
    let name = |stream: &mut Stream| format!("{}", stream.random_range(0..labels));
    let names: Vec<String> = (0..nodes).map(|_| name(stream)).collect();
    let drawn = connected(nodes, (nodes * degree / 2).max(nodes - 1), direction, stream);
    let a = LabelledGraph::new(names.clone(), &drawn, direction).expect("edges are drawn from pairs of nodes");

    let (mut names, mut edges): (Vec<String>, BTreeSet<(usize, usize)>) = (names, a.edges().iter().copied().collect());
    let mut made = 0;
    while made < edits {
        let (i, k) = (stream.random_range(0..names.len()), stream.random_range(0..names.len()));
        match stream.random_range(0..8) {
            // A new node, which later edges may find.
            0 => names.push(name(stream)),
            1..=2 if labels > 1 => {
                let other = name(stream);
                if names[i] == other {
                    continue;
                }
                names[i] = other;
            }
            3..=5 if i != k => {
                if !edges.insert(a.ordered((i, k))) {
                    continue;
                }
            }
            6..=7 if !edges.is_empty() => {
                let at = stream.random_range(0..edges.len());
                let edge = *edges.iter().nth(at).expect("it is below the length");
                edges.remove(&edge);
            }
            _ => continue,
        }
        made += 1;
    }
    let edges: Vec<_> = edges.into_iter().collect();
    let places = permutation(names.len(), stream);
    let b = LabelledGraph::new(names, &edges, direction).expect("edits keep the graph simple").renumbered(&places);
    // Half of the time the second graph is the larger one, so either side may lose nodes.
    let (a, b) = if stream.random_bool(0.5) { (a, b) } else { (b, a) };
    Sample { a, b, ged: None, at_most: Some(edits) }
}

/// The edges of a connected graph: those of a random tree, and others until there are `count`, or all there can be.
fn connected(nodes: usize, count: usize, direction: Direction, stream: &mut Stream) -> Vec<(usize, usize)> {
    let most = nodes * nodes.saturating_sub(1) / 2;
    let mut edges: BTreeSet<(usize, usize)> = (1..nodes).map(|i| (stream.random_range(0..i), i)).collect();
    while edges.len() < count.min(most) {
        let (i, k) = (stream.random_range(0..nodes), stream.random_range(0..nodes));
        if i != k {
            edges.insert((i.min(k), i.max(k)));
        }
    }
    let turn = |(from, to): (usize, usize), stream: &mut Stream| {
        // A directed graph has edges both ways round, so it is a DAG only by chance.
        if direction == Direction::Directed && stream.random_bool(0.5) { (to, from) } else { (from, to) }
    };
    edges.into_iter().map(|edge| turn(edge, stream)).collect()
}

/// Fisher and Yates.
pub(super) fn permutation(n: usize, stream: &mut Stream) -> Vec<usize> {
    let mut places: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        places.swap(i, stream.random_range(0..=i));
    }
    places
}
