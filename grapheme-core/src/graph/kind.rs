//! What a node is and what an edge says.

use serde::{Deserialize, Serialize};
use unicode_normalization::char::is_combining_mark;

/// The coarse class of a node, one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum NodeKind {
    /// The node before the first code point of a graph.
    Begin,
    /// The node after the last code point of a graph.
    End,
    /// A letter of any script.
    Letter,
    /// A combining mark.
    Mark,
    /// A digit or another numeric character.
    Number,
    /// White space.
    Space,
    /// Everything else: punctuation, symbols, controls.
    #[default]
    Other,
}

crate::keep!(NodeKind);

impl NodeKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Begin, Self::End, Self::Letter, Self::Mark, Self::Number, Self::Space, Self::Other];

    /// The class of a code point.
    pub fn of(c: char) -> Self {
        if c.is_ascii_alphabetic() {
            Self::Letter
        } else if c.is_ascii_digit() {
            Self::Number
        } else if c.is_whitespace() {
            Self::Space
        } else if c.is_ascii() {
            Self::Other
        } else if is_combining_mark(c) {
            Self::Mark
        } else if c.is_alphabetic() {
            Self::Letter
        } else if c.is_numeric() {
            Self::Number
        } else {
            Self::Other
        }
    }
}

/// What an edge says about its two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum EdgeKind {
    /// The target follows the source in the text.
    Sequential,
    /// The target follows the source at a distance.
    Skip,
    /// The two belong together by meaning.
    Semantic,
    /// The two belong together by form, such as operator and operand.
    Structural,
}

impl EdgeKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Sequential, Self::Skip, Self::Semantic, Self::Structural];
}
