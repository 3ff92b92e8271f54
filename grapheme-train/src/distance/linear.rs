//! The cheapest assignment of rows to columns.

/// The column of each row in a cheapest assignment of all rows to different columns, and what it costs.
///
/// `cost` holds `rows x columns` finite numbers, row after row, and `rows <= columns`. Shortest augmenting paths with
/// dual potentials (Jonker and Volgenant, A shortest augmenting path algorithm for dense and sparse linear assignment
/// problems, Computing 38, 1987, without its initial phases): `O(rows^2 columns)` time.
///
/// # Panics
/// If there are more rows than columns, or `cost` has another length.
pub fn assign(cost: &[f64], rows: usize, columns: usize) -> (Vec<usize>, f64) {
    assert!(rows <= columns && cost.len() == rows * columns, "{rows} x {columns} asks for a cost for each entry");
    const NONE: usize = usize::MAX;
    // Column `columns` is where each new row begins.
    let mut row_of = vec![NONE; columns + 1];
    let (mut u, mut v) = (vec![0.0; rows], vec![0.0; columns + 1]);
    let mut nearest = vec![0.0; columns];
    let mut before = vec![NONE; columns];
    // The columns that are not reached yet, to scan them without gaps.
    let mut open = Vec::with_capacity(columns);
    let mut reached = Vec::with_capacity(columns + 1);
    for row in 0..rows {
        row_of[columns] = row;
        nearest.fill(f64::INFINITY);
        open.clear();
        open.extend(0..columns);
        reached.clear();
        let mut at = columns;
        while row_of[at] != NONE {
            reached.push(at);
            let i = row_of[at];
            let (line, ui) = (&cost[i * columns..(i + 1) * columns], u[i]);
            let (mut least, mut slot) = (f64::INFINITY, 0);
            for (s, &j) in open.iter().enumerate() {
                let reduced = line[j] - ui - v[j];
                if reduced < nearest[j] {
                    nearest[j] = reduced;
                    before[j] = at;
                }
                if nearest[j] < least {
                    (least, slot) = (nearest[j], s);
                }
            }
            for &j in &reached {
                u[row_of[j]] += least;
                v[j] -= least;
            }
            at = open.swap_remove(slot);
            for &j in &open {
                nearest[j] -= least;
            }
        }
        while at != columns {
            row_of[at] = row_of[before[at]];
            at = before[at];
        }
    }
    let mut column_of = vec![0; rows];
    for (j, &i) in row_of[..columns].iter().enumerate().filter(|(_, i)| **i != NONE) {
        column_of[i] = j;
    }
    let total = column_of.iter().enumerate().map(|(i, &j)| cost[i * columns + j]).sum();
    (column_of, total)
}
