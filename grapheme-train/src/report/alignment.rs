//! Which units of two texts correspond.

/// One edit: a unit of one sequence, of the other, or both, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The unit found; none where one is missing.
    pub found: Option<usize>,
    /// The unit expected; none where one is too many.
    pub expected: Option<usize>,
}

/// The edits of a minimal alignment, in order: as many as the edit distance (Wagner and Fischer 1974).
///
/// Of several minimal alignments the one that keeps most units: in `ab c` for `a bc` one unit moved, too many here and
/// missing there, rather than two replacing each other. `O(n m)` time and memory, after the common beginning and end.
///
/// ```
/// use grapheme_train::report::{Edit, align};
///
/// // `nn` where there should be `n`, and `o` for `a`.
/// let edits = align(&["k", "a", "n", "n", "o"], &["k", "a", "n", "a"]);
/// assert_eq!(edits[0], Edit { found: Some(3), expected: None });
/// assert_eq!(edits[1], Edit { found: Some(4), expected: Some(3) });
/// ```
pub fn align<T: PartialEq>(found: &[T], expected: &[T]) -> Vec<Edit> {
    let start = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let (a, b) = (&found[start..], &expected[start..]);
    let same_end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - same_end], &b[..b.len() - same_end]);
    // cost[i][j] of the first i of a and the first j of b: edits, and among these replacements.
    let width = b.len() + 1;
    let mut cost = vec![(0usize, 0usize); (a.len() + 1) * width];
    let one_side = |(edits, replaced)| (edits + 1, replaced);
    let both_sides = |(edits, replaced), differ| (edits + usize::from(differ), replaced + usize::from(differ));
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let too_many = (i > 0).then(|| one_side(cost[(i - 1) * width + j]));
            let missing = (j > 0).then(|| one_side(cost[i * width + j - 1]));
            let both = (i > 0 && j > 0).then(|| both_sides(cost[(i - 1) * width + j - 1], a[i - 1] != b[j - 1]));
            cost[i * width + j] = [too_many, missing, both].into_iter().flatten().min().unwrap_or((0, 0));
        }
    }
    let (mut i, mut j, mut edits) = (a.len(), b.len(), Vec::new());
    while i > 0 || j > 0 {
        let here = cost[i * width + j];
        let differ = i > 0 && j > 0 && a[i - 1] != b[j - 1];
        if i > 0 && j > 0 && here == both_sides(cost[(i - 1) * width + j - 1], differ) {
            (i, j) = (i - 1, j - 1);
            if differ {
                edits.push(Edit { found: Some(start + i), expected: Some(start + j) });
            }
        } else if j > 0 && here == one_side(cost[i * width + j - 1]) {
            j -= 1;
            edits.push(Edit { found: None, expected: Some(start + j) });
        } else {
            i -= 1;
            edits.push(Edit { found: Some(start + i), expected: None });
        }
    }
    edits.reverse();
    edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::edit_distance;
    use proptest::prelude::*;

    /// Carries the edits out.
    fn carried_out(found: &[u8], expected: &[u8], edits: &[Edit]) -> Vec<u8> {
        let (mut made, mut at) = (Vec::new(), 0);
        for &edit in edits {
            // What stands before the edit is the same in both.
            let before = match edit {
                Edit { found: Some(i), .. } => i,
                Edit { expected: Some(j), .. } => at + j - made.len(),
                _ => panic!("an edit of nothing"),
            };
            made.extend(&found[at..before]);
            made.extend(edit.expected.map(|j| expected[j]));
            at = before + usize::from(edit.found.is_some());
        }
        made.extend(&found[at..]);
        made
    }

    proptest! {
        #[test]
        fn edits_are_minimal_and_make_one_text_of_the_other(a in "[abc]{0,8}", b in "[abc]{0,8}") {
            let edits = align(a.as_bytes(), b.as_bytes());
            prop_assert_eq!(edits.len(), edit_distance(a.as_bytes(), b.as_bytes()));
            prop_assert_eq!(carried_out(a.as_bytes(), b.as_bytes(), &edits), b.as_bytes());
        }
    }

    #[test]
    fn hand_made_alignments() {
        assert_eq!(align(b"abc", b"abc"), []);
        assert_eq!(align(b"", b""), []);
        assert_eq!(
            align(b"ab c", b"a bc"),
            [Edit { found: Some(1), expected: None }, Edit { found: None, expected: Some(2) }]
        );
        assert_eq!(align(b"", b"a"), [Edit { found: None, expected: Some(0) }]);
        assert_eq!(align(b"ab", b""), [0, 1].map(|i| Edit { found: Some(i), expected: None }));
    }
}
