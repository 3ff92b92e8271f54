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
/// Of several minimal alignments the one that, from the end, prefers a unit in the place of another to a missing one, and
/// that to one too many. `O(n m)` time and memory, after the common beginning and end.
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
    // distance[i][j] is that of the first i of a and the first j of b.
    let width = b.len() + 1;
    let mut distance = vec![0usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let left_out = (i > 0).then(|| distance[(i - 1) * width + j] + 1);
            let inserted = (j > 0).then(|| distance[i * width + j - 1] + 1);
            let both = (i > 0 && j > 0).then(|| distance[(i - 1) * width + j - 1] + usize::from(a[i - 1] != b[j - 1]));
            distance[i * width + j] = [left_out, inserted, both].into_iter().flatten().min().unwrap_or(0);
        }
    }
    let (mut i, mut j, mut edits) = (a.len(), b.len(), Vec::new());
    while i > 0 || j > 0 {
        let here = distance[i * width + j];
        let differ = i > 0 && j > 0 && a[i - 1] != b[j - 1];
        if i > 0 && j > 0 && here == distance[(i - 1) * width + j - 1] + usize::from(differ) {
            (i, j) = (i - 1, j - 1);
            if differ {
                edits.push(Edit { found: Some(start + i), expected: Some(start + j) });
            }
        } else if j > 0 && here == distance[i * width + j - 1] + 1 {
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
    fn equal_and_empty_texts_need_no_edit_or_one_a_unit() {
        assert_eq!(align(b"abc", b"abc"), []);
        assert_eq!(align(b"", b""), []);
        assert_eq!(align(b"", b"a"), [Edit { found: None, expected: Some(0) }]);
        assert_eq!(align(b"ab", b""), [0, 1].map(|i| Edit { found: Some(i), expected: None }));
    }
}
