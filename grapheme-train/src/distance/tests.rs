//! Every method against brute force, against each other and against the paths that they induce.

use super::sample::{self, Planted, Sample};
use super::*;
use grapheme_core::Stream;
use rand::RngExt;

/// Graphs of up to `most` nodes, some empty, some without edges, of few labels so that much is alike.
fn random_graph(most: usize, direction: Direction, stream: &mut Stream) -> LabelledGraph {
    let nodes = stream.random_range(0..=most);
    let labels = (0..nodes).map(|_| ["C", "N", "O"][stream.random_range(0..3)].to_owned()).collect();
    let density = [0.0, 0.3, 0.6, 1.0][stream.random_range(0..4)];
    let mut edges = Vec::new();
    for i in 0..nodes {
        let first = if direction == Direction::Directed { 0 } else { i + 1 };
        edges.extend((first..nodes).filter(|&k| k != i && stream.random_bool(density)).map(|k| (i, k)));
    }
    LabelledGraph::new(labels, &edges, direction).unwrap()
}

fn random_pairs(count: u64, most: usize) -> impl Iterator<Item = (LabelledGraph, LabelledGraph)> {
    (0..count).map(move |seed| {
        let mut stream = Stream::new(seed).fork(most as u64);
        let direction = if seed % 2 == 0 { Direction::Undirected } else { Direction::Directed };
        (random_graph(most, direction, &mut stream), random_graph(most, direction, &mut stream))
    })
}

/// The least cost over all matchings, deletions of every node included, counted by the definition and not by a path.
fn brute_force(a: &LabelledGraph, b: &LabelledGraph) -> usize {
    fn cost(a: &LabelledGraph, b: &LabelledGraph, partners: &[Option<usize>]) -> usize {
        let kept = partners.iter().flatten().count();
        let relabelled =
            (0..a.nodes()).filter(|&i| partners[i].is_some_and(|j| a.labels()[i] != b.labels()[j])).count();
        let both = |&&(i, k): &&(usize, usize)| {
            partners[i].zip(partners[k]).is_some_and(|(p, q)| {
                b.edges().contains(&(p, q)) || (b.direction() == Direction::Undirected && b.edges().contains(&(q, p)))
            })
        };
        let shared = a.edges().iter().filter(both).count();
        a.nodes() + b.nodes() - 2 * kept + relabelled + a.edges().len() + b.edges().len() - 2 * shared
    }
    fn least(a: &LabelledGraph, b: &LabelledGraph, partners: &mut Vec<Option<usize>>) -> usize {
        if partners.len() == a.nodes() {
            return cost(a, b, partners);
        }
        let choices = (0..b.nodes()).map(Some).chain([None]);
        let mut best = usize::MAX;
        for choice in choices {
            if choice.is_none() || !partners.contains(&choice) {
                partners.push(choice);
                best = best.min(least(a, b, partners));
                partners.pop();
            }
        }
        best
    }
    least(a, b, &mut Vec::new())
}

fn exact(a: &LabelledGraph, b: &LabelledGraph) -> usize {
    checked(&Method::Exact(Exact::default()), a, b)
}

/// The distance that a method finds, after a look at its path: it has that length and leads from `a` to `b`.
fn checked(method: &Method, a: &LabelledGraph, b: &LabelledGraph) -> usize {
    let found = method.compare(a, b).unwrap();
    let path = EditPath::new(a, b, &found.matching);
    assert_eq!(path.cost(), found.distance);
    assert_eq!(path.apply(a).as_ref(), Ok(b), "{method:?}: {:?}", path.edits());
    found.distance
}

const APPROXIMATIONS: [Method; 3] = [
    Method::Bipartite,
    Method::Sinkhorn(Approximate { seed: 1, effort: 1 }),
    Method::Sinkhorn(Approximate { seed: 2, effort: 0 }),
];

#[test]
fn the_exact_distance_is_the_least_over_all_matchings_and_no_approximation_is_below() {
    for (case, (a, b)) in random_pairs(400, 5).enumerate() {
        let expected = brute_force(&a, &b);
        assert_eq!(exact(&a, &b), expected, "case {case}: {a:?} {b:?}");
        for method in &APPROXIMATIONS {
            assert!(checked(method, &a, &b) >= expected, "case {case}: {method:?}");
        }
    }
}

#[test]
fn the_exact_distance_is_a_metric() {
    let mut stream = Stream::new(5);
    for direction in [Direction::Undirected, Direction::Directed] {
        for _ in 0..60 {
            let [a, b, c] = [(); 3].map(|()| random_graph(7, direction, &mut stream));
            let permuted = a.renumbered(&sample::permutation(a.nodes(), &mut stream));
            assert_eq!(exact(&a, &permuted), 0);
            let (ab, ba, bc, ac) = (exact(&a, &b), exact(&b, &a), exact(&b, &c), exact(&a, &c));
            assert_eq!(ab, ba);
            assert!(ac <= ab + bc, "{ac} > {ab} + {bc}");
            // Graphs that differ by a label that the other has not are not at distance 0.
            let mut labels = a.labels().to_vec();
            if let Some(label) = labels.last_mut() {
                *label = "S".to_owned();
                let other = LabelledGraph::new(labels, a.edges(), direction).unwrap();
                assert_eq!(exact(&permuted, &other), 1);
            }
        }
    }
}

/// Known distances, by hand.
#[test]
fn distances_that_can_be_seen() {
    let graph = |labels: &str, edges: &[(usize, usize)]| {
        LabelledGraph::undirected(labels.chars().map(String::from), edges).unwrap()
    };
    let path = graph("CCCC", &[(0, 1), (1, 2), (2, 3)]);
    let cases = [
        (graph("", &[]), graph("", &[]), 0),
        (graph("", &[]), path.clone(), 7),
        (path.clone(), graph("CCCC", &[(0, 1), (0, 2), (0, 3)]), 2),
        (path.clone(), graph("CCCC", &[(0, 1), (1, 2), (2, 3), (3, 0)]), 1),
        (path.clone(), graph("CCNC", &[(0, 1), (1, 2), (2, 3)]), 1),
        (graph("CN", &[(0, 1)]), graph("OS", &[]), 3),
        (graph("C", &[]), graph("C", &[]), 0),
        (
            graph("CCCCCC", &[(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]),
            graph("CCCCCC", &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]),
            4,
        ),
    ];
    for (a, b, expected) in &cases {
        assert_eq!(exact(a, b), *expected, "{a:?} {b:?}");
        assert_eq!(checked(&APPROXIMATIONS[1], a, b), *expected, "{a:?} {b:?}");
    }
    // A direction turned round is an edge deleted and one inserted.
    let directed = |edges: &[(usize, usize)]| LabelledGraph::directed(["a", "b"], edges).unwrap();
    assert_eq!(exact(&directed(&[(0, 1)]), &directed(&[(1, 0)])), 2);
    assert_eq!(exact(&directed(&[(0, 1), (1, 0)]), &directed(&[(1, 0)])), 1);
    let mixed = Method::Bipartite.compare(&path, &directed(&[]));
    assert_eq!(mixed, Err(DistanceError::Pair(PairError::MixedDirections)));
}

#[test]
fn the_approximation_hits_what_branch_and_bound_proves_on_sparse_graphs_and_texts() {
    for make in [sample::sparse, sample::text] {
        let (mut hits, mut baseline) = (0, 0);
        for seed in 0..60 {
            let Sample { a, b, .. } = make(&mut Stream::new(seed));
            let truth = exact(&a, &b);
            let [bipartite, found] = [0, 1].map(|k| checked(&APPROXIMATIONS[k], &a, &b));
            assert!(found >= truth && bipartite >= truth);
            hits += u32::from(found == truth);
            baseline += u32::from(bipartite == truth);
        }
        assert!(hits >= 57, "{hits} of 60 are exact, {baseline} of the bipartite approximation");
        assert!(baseline < hits);
    }
}

#[test]
fn planted_edits_are_found_in_graphs_whose_nodes_are_permuted() {
    for (nodes, edits) in [(20, 2), (30, 3), (100, 5)] {
        for (labels, direction) in [(1, Direction::Undirected), (4, Direction::Directed)] {
            let how = Planted { nodes, degree: 3, labels, edits, direction };
            let Sample { a, b, at_most, .. } = sample::planted(how, &mut Stream::new(nodes as u64));
            let found = checked(&APPROXIMATIONS[1], &a, &b);
            assert!(found <= at_most.unwrap(), "{how:?}: {found}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_matching_and_another_order_of_graphs_is_no_worse_than_an_upper_bound() {
    for seed in 0..5 {
        let how = Planted { nodes: 40, degree: 4, labels: 2, edits: 12, direction: Direction::Undirected };
        let Sample { a, b, at_most, .. } = sample::planted(how, &mut Stream::new(seed));
        let method = APPROXIMATIONS[1];
        assert_eq!(method.compare(&a, &b), method.compare(&a, &b));
        assert_eq!(checked(&method, &b, &a), checked(&method, &a, &b), "planted {at_most:?}");
    }
}

#[test]
fn a_faulty_path_and_a_faulty_matching_are_refused() {
    let a = LabelledGraph::undirected(["C", "N"], &[(0, 1)]).unwrap();
    let b = LabelledGraph::undirected(["C"], &[]).unwrap();
    let path = EditPath::new(&a, &b, &Matching::new(vec![Some(0), None]).unwrap());
    assert_eq!(path.edits().len(), 2);
    assert_eq!(path.apply(&a), Ok(b.clone()));
    assert!(matches!(path.apply(&b), Err(EditError::Misfit { index: 0, .. })));
    let still = EditPath::new(&b, &b, &Matching::new(vec![Some(0)]).unwrap());
    assert_eq!(still.apply(&a), Err(EditError::Leftover { expected: 1, found: 2 }));
    let twice = Matching::new(vec![Some(3), None, Some(3)]);
    assert_eq!(twice, Err(MatchingError { first: 0, second: 2, partner: 3 }));
}

#[test]
fn what_the_exact_search_cannot_hold_or_finish_is_an_error() {
    let big = LabelledGraph::undirected(vec!["C"; 65], &[]).unwrap();
    let error = Method::Exact(Exact::default()).compare(&big, &big).unwrap_err();
    assert_eq!(error, DistanceError::Exact(ExactError::TooLarge { nodes: 65 }));
    let how = Planted { nodes: 30, degree: 4, labels: 1, edits: 40, direction: Direction::Undirected };
    let Sample { a, b, .. } = sample::planted(how, &mut Stream::new(1));
    let error = Method::Exact(Exact { max_states: 1000 }).compare(&a, &b).unwrap_err();
    assert!(matches!(error, DistanceError::Exact(ExactError::Undecided { states: 1000, at_most }) if at_most > 0));
    let huge = LabelledGraph::undirected(vec!["C"; MAX_NODES + 1], &[]).unwrap();
    assert!(matches!(Method::Bipartite.compare(&huge, &big), Err(DistanceError::Pair(PairError::TooLarge { .. }))));
}

#[test]
fn linear_assignment_is_the_cheapest_of_all() {
    fn least(cost: &[f64], columns: usize, row: usize, free: u32) -> f64 {
        if row * columns == cost.len() {
            return 0.0;
        }
        let open = (0..columns).filter(|j| free & 1 << j != 0);
        let costs = open.map(|j| cost[row * columns + j] + least(cost, columns, row + 1, free & !(1 << j)));
        costs.fold(f64::INFINITY, f64::min)
    }
    let mut stream = Stream::new(3);
    for (rows, columns) in [(0, 0), (0, 3), (1, 1), (1, 4), (3, 3), (4, 6), (6, 6)] {
        for ties in [false, true] {
            let mut draw = || stream.random_range(-3.0..3.0_f64);
            let cost: Vec<f64> = (0..rows * columns).map(|_| if ties { draw().round() } else { draw() }).collect();
            let (assigned, total) = assign(&cost, rows, columns);
            let mut taken = assigned.clone();
            taken.sort_unstable();
            taken.dedup();
            assert_eq!(taken.len(), rows, "{assigned:?}");
            assert!((total - least(&cost, columns, 0, u32::MAX)).abs() < 1e-12, "{rows} x {columns}");
        }
    }
}

/// The gains that local search keeps, after many swaps, shifts, lifts and placements, are those counted anew.
#[test]
fn gains_kept_step_by_step_are_those_counted_anew() {
    for (a, b) in random_pairs(60, 7) {
        let pair = Pair::new(&a, &b).unwrap();
        let (n, m) = (pair.small.nodes(), pair.large.nodes());
        if n < 2 {
            continue;
        }
        let mut stream = Stream::new(9);
        let image: Vec<u32> = sample::permutation(m, &mut stream)[..n].iter().map(|&p| p as u32).collect();
        let mut placement = placement::Placement::of(&pair, &image);
        for _ in 0..40 {
            let (i, k) = (stream.random_range(0..n), stream.random_range(0..n));
            let before = placement.value();
            let free = (0..m).find(|&p| placement.origin[p] == placement::NONE);
            match free {
                Some(p) if stream.random_bool(0.5) => {
                    let gain = placement.gain(i, p) - placement.here(i);
                    placement.shift(i, p);
                    assert_eq!(placement.value(), before + i64::from(gain));
                }
                _ if i != k => {
                    let gain = placement.swap_gain(i, k);
                    placement.swap(i, k);
                    assert_eq!(placement.value(), before + i64::from(gain));
                }
                _ => {}
            }
            assert_eq!(placement.value(), pair.value(&placement.image) as i64);
        }
        let anew = placement::Placement::of(&pair, &placement.image);
        for i in 0..n {
            assert_eq!(placement.gains(i), anew.gains(i));
            assert_eq!(placement.here(i), anew.here(i));
        }
    }
}

#[test]
fn graphs_that_are_none_are_refused_and_numbers_do_not_matter() {
    let graph = |edges: &[(usize, usize)]| LabelledGraph::undirected(["a", "b"], edges);
    assert_eq!(graph(&[(0, 1), (0, 2)]), Err(GraphError::Dangling { index: 1, node: 2, nodes: 2 }));
    assert_eq!(graph(&[(1, 1)]), Err(GraphError::Loop { index: 0, node: 1 }));
    assert_eq!(graph(&[(0, 1), (1, 0)]), Err(GraphError::Duplicate { index: 1, from: 1, to: 0 }));
    assert!(LabelledGraph::directed(["a", "b"], &[(0, 1), (1, 0)]).is_ok());
    assert_eq!(graph(&[(1, 0)]), graph(&[(0, 1)]));
}

#[test]
fn pairs_are_read_as_they_were_written_and_faults_are_named_with_their_line() {
    let mut stream = Stream::new(1);
    let how = Planted { nodes: 6, degree: 2, labels: 2, edits: 2, direction: Direction::Directed };
    let samples = [sample::sparse(&mut stream), sample::text(&mut stream), sample::planted(how, &mut stream)];
    let text: String = samples.iter().map(|sample| read::to_line(sample) + "\n").collect();
    assert_eq!(read::pairs(&text, Direction::Undirected).unwrap(), samples);
    let numbers = r#"{"a":{"labels":[1,"x"],"edges":[[0,1]]},"b":{"labels":[],"edges":[]},"ged":3}"#;
    assert_eq!(read::pairs(numbers, Direction::Undirected).unwrap()[0].a.labels(), ["1", "x"]);
    let faults = [
        ("{", "line 1: not a pair like"),
        (
            "\n\n{\"a\":{\"labels\":[],\"edges\":[[0,0]]},\"b\":{\"labels\":[],\"edges\":[]}}",
            "line 3: a: edges[0]: there is no node 0",
        ),
        (r#"{"a":{"labels":[],"edges":[]}}"#, "line 1: not a pair like"),
        (
            r#"{"a":{"labels":[],"edges":[],"directed":true},"b":{"labels":[],"edges":[]}}"#,
            "line 1: one graph is directed",
        ),
    ];
    for (text, message) in faults {
        let error = read::pairs(text, Direction::Undirected).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    let graphemes = grapheme_core::GraphemeGraph::from_text("né").unwrap();
    let read = read::graph(&graphemes.to_json(), Direction::Undirected).unwrap();
    assert_eq!(read, LabelledGraph::from_graphemes(&graphemes));
}

#[test]
fn a_picture_shows_every_node_edge_and_partner() {
    let a = LabelledGraph::directed(["<b>", "x", "long label"], &[(0, 1), (1, 2)]).unwrap();
    let b = LabelledGraph::directed(["<b>", "y"], &[(0, 1)]).unwrap();
    let found = Method::Exact(Exact::default()).compare(&a, &b).unwrap();
    let svg = picture::draw(&a, &b, &found.matching, found.distance).unwrap();
    assert_eq!(svg.matches("<g><title>").count(), 5);
    assert_eq!(svg.matches("<polygon").count(), 3);
    assert_eq!(svg.matches("stroke-dasharray").count(), 2);
    assert!(svg.contains("A to B in 3 edits") && svg.contains("&lt;b&gt;") && !svg.contains("NaN"));
    let empty = LabelledGraph::undirected(Vec::<String>::new(), &[]).unwrap();
    assert!(picture::draw(&empty, &empty, &Matching::new(vec![]).unwrap(), 0).is_ok());
    let many = LabelledGraph::undirected(vec!["C"; picture::MAX_DRAWN], &[]).unwrap();
    let apart = Matching::new(vec![None; many.nodes()]).unwrap();
    assert!(picture::draw(&many, &a, &apart, 0).is_err());
}

#[test]
fn what_is_no_graph_is_refused_with_its_line() {
    for json in
        ["{\"labels\": [],\n\"edges\": [{}]}", "{\"labels\": [],\n\"edges\": [[0]]}", "{\n\"labels\": 1}", "{\n"]
    {
        let error = read::graph(json, Direction::Directed).unwrap_err().to_string();
        assert!(error.contains("line 2 "), "{error}");
    }
}
