//! Expressions in parentheses as trees.

use super::builder::Builder;
use super::{BatchError, Edge, EdgeKind, GraphBatch, TopologyError};
use std::collections::BTreeMap;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// Why a text is no expression. Columns count graphemes from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// There is nothing but white space.
    #[error("there is nothing to read")]
    Empty,
    /// A list has no end.
    #[error("the parenthesis in column {column} is never closed")]
    Unclosed {
        /// Where it begins.
        column: usize,
    },
    /// A list has no beginning.
    #[error("column {column} closes a parenthesis that was never opened")]
    Unopened {
        /// Where it ends.
        column: usize,
    },
    /// One expression follows another outside of any list.
    #[error("a second expression begins in column {column}")]
    Second {
        /// Where it begins.
        column: usize,
    },
}

/// A piece of an expression. Together the pieces are the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    /// `(`
    Open(&'t str),
    /// `)`
    Close(&'t str),
    /// A grapheme of white space.
    Space(&'t str),
    /// A name, a number, an operator.
    Atom(&'t str),
}

/// The pieces of a text, if it is one expression: an atom, or a list of expressions in parentheses with white space between.
///
/// A grapheme is never cut, so a parenthesis with a mark is part of an atom. `O(bytes)`, and no recursion.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, ExpressionError> {
    let mut pieces = Vec::new();
    // Where the open lists begin.
    let mut open: Vec<usize> = Vec::new();
    let mut expressions = 0;
    let mut atom: Option<usize> = None;
    for (column, (at, grapheme)) in (1..).zip(text.grapheme_indices(true)) {
        let piece = match grapheme {
            "(" => Piece::Open(grapheme),
            ")" => Piece::Close(grapheme),
            other if other.chars().all(char::is_whitespace) => Piece::Space(grapheme),
            other => Piece::Atom(other),
        };
        if let (Piece::Atom(_), Some(_)) = (piece, atom) {
            continue;
        }
        pieces.extend(atom.take().map(|start| Piece::Atom(&text[start..at])));
        if open.is_empty() && matches!(piece, Piece::Open(_) | Piece::Atom(_)) {
            expressions += 1;
            if expressions > 1 {
                return Err(ExpressionError::Second { column });
            }
        }
        match piece {
            Piece::Atom(_) => {
                atom = Some(at);
                continue;
            }
            Piece::Open(_) => open.push(column),
            Piece::Close(_) if open.pop().is_none() => return Err(ExpressionError::Unopened { column }),
            Piece::Close(_) | Piece::Space(_) => {}
        }
        pieces.push(piece);
    }
    pieces.extend(atom.map(|start| Piece::Atom(&text[start..])));
    match open.last() {
        Some(&column) => Err(ExpressionError::Unclosed { column }),
        None if expressions == 0 => Err(ExpressionError::Empty),
        None => Ok(pieces),
    }
}

/// The number of nodes of the tree of an expression, Begin and End included, without making it.
///
/// # Errors
/// Why the text is no expression.
pub fn measure_expression(text: &str) -> Result<usize, ExpressionError> {
    let nodes = pieces(text)?.into_iter().map(|piece| match piece {
        Piece::Open(text) | Piece::Atom(text) => text.nfd().count(),
        Piece::Close(_) | Piece::Space(_) => 0,
    });
    Ok(2 + nodes.sum::<usize>())
}

impl GraphBatch {
    /// A tree for each expression, such as `(+ 2 (* 3 4))`; a text that is none becomes a path, and
    /// [`measure_expression`] says why.
    ///
    /// An opening parenthesis is the node of its list, and an atom is a run of code points. What closes a list and white
    /// space have no nodes, as edges say the same; the text is kept whole. Edges, all explicit and forward in the text:
    ///
    /// - `Structural` from a list to each of its members;
    /// - `Sequential` from a member of a list to the next, so that `(- 1 2)` is not `(- 2 1)`, and within atoms from one
    ///   code point to the next;
    /// - `Semantic` from the first atom of a name to each later one of that name: a variable is joined to where it was
    ///   bound. A name begins with a letter;
    /// - `Sequential` from Begin to the root, and to End from every node that no other edge leaves.
    ///
    /// An edge leaves an atom at its last code point and enters it at the first. The edges that enter a node have equal
    /// weights that sum to 1: then what is summed over all paths, as in a recurrent round, grows with the number of
    /// nodes at most, where the number of paths doubles with each level.
    ///
    /// `O(bytes + names log names + edges log edges)`.
    ///
    /// ```
    /// use grapheme_core::graph::{EdgeKind, GraphBatch};
    ///
    /// let batch = GraphBatch::from_expressions(&["(+ 12 (f x x))"])?;
    /// assert_eq!(batch.text(0), "(+ 12 (f x x))");
    /// let shown: String = batch.codes().iter().filter_map(|&code| char::from_u32(code)).collect();
    /// assert_eq!(shown, "(+12(fxx");
    /// let edges = |node: usize| batch.topology().incoming().of(node).iter();
    /// // The second x follows the first, is a member of the list, and means what the first does.
    /// assert_eq!(edges(8).map(|edge| edge.source).collect::<Vec<_>>(), [5, 7, 7]);
    /// assert!(edges(8).all(|edge| edge.weight == 1.0 / 3.0));
    /// # Ok::<(), grapheme_core::graph::BatchError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::from_texts`].
    pub fn from_expressions<T: AsRef<str>>(
        texts: impl IntoIterator<Item = T, IntoIter: Clone>,
    ) -> Result<Self, BatchError> {
        let texts = texts.into_iter();
        let mut builder = Builder::of(texts.clone())?;
        let mut edges = Vec::new();
        for text in texts {
            let first = edges.len();
            let begin = index(&builder)?;
            builder.begin();
            match pieces(text.as_ref()) {
                Ok(pieces) => lay_out(&pieces, begin, &mut builder, &mut edges)?,
                Err(_) => {
                    builder.text(text.as_ref());
                    let end = index(&builder)?;
                    edges.extend((begin..end).map(|node| edge(node, node + 1, EdgeKind::Sequential)));
                }
            }
            builder.end();
            share(&mut edges[first..], begin, index(&builder)?);
        }
        builder.finish(false, edges)
    }
}

/// The list that is being read.
struct List {
    node: u32,
    /// The last code point of its last member so far.
    last: Option<u32>,
}

/// Appends the nodes of one expression, and its edges; its Begin node is there, its End node is the next.
fn lay_out(
    pieces: &[Piece<'_>],
    begin: u32,
    builder: &mut Builder,
    edges: &mut Vec<Edge>,
) -> Result<(), TopologyError> {
    let first_edge = edges.len();
    let mut lists: Vec<List> = Vec::new();
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    let join = |lists: &mut Vec<List>, edges: &mut Vec<Edge>, first: u32, last: u32| match lists.last_mut() {
        None => edges.push(edge(begin, first, EdgeKind::Sequential)),
        Some(list) => {
            edges.push(edge(list.node, first, EdgeKind::Structural));
            edges.extend(list.last.replace(last).map(|before| edge(before, first, EdgeKind::Sequential)));
        }
    };
    for piece in pieces {
        let node = index(builder)?;
        match *piece {
            Piece::Open(text) => {
                builder.label(text);
                join(&mut lists, edges, node, node);
                lists.push(List { node, last: None });
            }
            Piece::Close(text) => {
                builder.silent(text);
                lists.pop();
            }
            Piece::Space(text) => builder.silent(text),
            Piece::Atom(text) => {
                builder.text(text);
                let last = index(builder)? - 1;
                join(&mut lists, edges, node, last);
                edges.extend((node..last).map(|code| edge(code, code + 1, EdgeKind::Sequential)));
                if text.chars().next().is_some_and(char::is_alphabetic) {
                    let known = *names.entry(text).or_insert(last);
                    edges.extend((known < node).then(|| edge(known, node, EdgeKind::Semantic)));
                }
            }
        }
    }
    let end = index(builder)?;
    let mut is_left = vec![false; (end - begin) as usize];
    edges[first_edge..].iter().for_each(|edge| is_left[(edge.source - begin) as usize] = true);
    edges.extend(
        (begin..end)
            .filter(|&node| !is_left[(node - begin) as usize])
            .map(|leaf| edge(leaf, end, EdgeKind::Sequential)),
    );
    Ok(())
}

/// Equal weights for the edges that enter a node, for all nodes from `begin` to before `end`.
fn share(edges: &mut [Edge], begin: u32, end: u32) {
    let mut entering = vec![0u32; (end - begin) as usize];
    edges.iter().for_each(|edge| entering[(edge.target - begin) as usize] += 1);
    edges.iter_mut().for_each(|edge| edge.weight = 1.0 / entering[(edge.target - begin) as usize] as f32);
}

fn edge(source: u32, target: u32, kind: EdgeKind) -> Edge {
    Edge { source, target, kind, weight: 1.0 }
}

/// The index of the next node.
fn index(builder: &Builder) -> Result<u32, TopologyError> {
    let nodes = builder.nodes();
    u32::try_from(nodes).map_err(|_| TopologyError::TooManyNodes { nodes })
}
