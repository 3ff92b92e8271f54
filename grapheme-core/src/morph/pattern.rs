//! What a history says about the runs of a text.

use super::MergeHistory;
use crate::graph::GraphBatch;
use crate::scalar::Scalar;
use std::ops::Range;

/// The runs of graphemes of one graph that a history made one node of, or several together, in order: for
/// [`GraphemeGraph::compressed`](crate::GraphemeGraph::compressed). `history` leads from the nodes of the batch to any others.
///
/// Two graphemes belong together if some output has nodes of both among its contributors. Where these are no range, because
/// the graph is no chain, they are no run and stay apart; what stayed alone is no run either. Graphemes are counted from 0 in
/// their graph. `O(entries)`.
///
/// # Panics
/// If the history has other inputs than the batch has nodes, or there is no such graph.
pub fn runs<S: Scalar>(batch: &GraphBatch, history: &MergeHistory<S>, graph: usize) -> Vec<Range<usize>> {
    assert_eq!(history.inputs(), batch.nodes(), "a history of another batch");
    let nodes = batch.topology().range(graph);
    let size = batch.graphemes(graph).len();
    // The ends carry no grapheme; the number that they are enclosed by begins at the first.
    let first = nodes.clone().find_map(|node| batch.cluster(node)).unwrap_or(0);
    // A forest of sets, each under its smallest member.
    let mut parent: Vec<usize> = (0..size).collect();
    let root = |parent: &mut Vec<usize>, mut i: usize| {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    };
    for output in 0..history.outputs() {
        let own = history.contributors(output).filter(|(node, _)| nodes.contains(&(*node as usize)));
        let mut graphemes = own.filter_map(|(node, _)| batch.cluster(node as usize)).map(|c| (c - first) as usize);
        if let Some(one) = graphemes.next() {
            for other in graphemes {
                let (a, b) = (root(&mut parent, one), root(&mut parent, other));
                parent[a.max(b)] = a.min(b);
            }
        }
    }
    let mut sets: Vec<(usize, usize, usize)> = Vec::new();
    let mut of = vec![usize::MAX; size];
    for grapheme in 0..size {
        let smallest = root(&mut parent, grapheme);
        if of[smallest] == usize::MAX {
            of[smallest] = sets.len();
            sets.push((grapheme, grapheme, 0));
        }
        let set = &mut sets[of[smallest]];
        (set.1, set.2) = (grapheme, set.2 + 1);
    }
    let is_run = |&(first, last, count): &(usize, usize, usize)| count > 1 && last + 1 - first == count;
    sets.into_iter().filter(is_run).map(|(first, last, _)| first..last + 1).collect()
}
