//! The bipartite approximation: one linear assignment of nodes with what is around them.

use super::linear::assign;
use super::pair::Pair;
use super::path::Matching;

/// More than any assignment costs that avoids it, and small enough that sums keep their units.
const FORBIDDEN: f64 = 1e9;

/// The matching of Riesen and Bunke (Approximate graph edit distance computation by means of bipartite graph matching,
/// Image and Vision Computing 27, 2009).
///
/// A linear assignment of the `n + m` rows (nodes of the one graph, and a deletion for each of the other) to `m + n`
/// columns. To match `i` with `j` costs 1 where labels differ, and the cheapest assignment of their edges:
/// the difference of their degrees. To delete or insert a node costs 1 and its degree. It sees no further than that, so
/// the edit path which it induces is a coarse upper bound. `O((n + m)^3)` time, `O((n + m)^2)` memory.
pub fn bipartite(pair: &Pair) -> Matching {
    let (n, m) = (pair.small.nodes(), pair.large.nodes());
    let size = n + m;
    let degrees = |side: &super::pair::Side| (0..side.nodes()).map(|i| side.degrees(i)).collect::<Vec<_>>();
    let (small, large) = (degrees(&pair.small), degrees(&pair.large));
    let alone = |[leaving, entering]: [usize; 2]| (1 + leaving + entering) as f64;
    let mut cost = vec![0.0; size * size];
    for (i, row) in cost.chunks_exact_mut(size.max(1)).enumerate() {
        for (j, cost) in row.iter_mut().enumerate() {
            *cost = match (i < n, j < m) {
                (true, true) => {
                    let unlike = usize::from(pair.small.labels[i] != pair.large.labels[j]);
                    let edges = small[i][0].abs_diff(large[j][0]) + small[i][1].abs_diff(large[j][1]);
                    (unlike + edges) as f64
                }
                (true, false) if j - m == i => alone(small[i]),
                (false, true) if i - n == j => alone(large[j]),
                (false, false) => 0.0,
                _ => FORBIDDEN,
            };
        }
    }
    let (columns, _) = assign(&cost, size, size);
    pair.matching(columns[..n].iter().enumerate().filter(|(_, j)| **j < m).map(|(i, &j)| (i, j)))
}
