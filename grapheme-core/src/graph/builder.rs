//! From text to the node arrays of a batch, in one pass.

use super::{BEGIN_CODE, BatchError, END_CODE, Edge, GraphBatch, NodeKind, Topology};
use crate::kept::{Keep, Kept, KeptText};
use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
use unicode_segmentation::UnicodeSegmentation;

/// Node arrays under construction. Each graph is `begin`, then texts or clusters, then `end`.
///
/// The slow road is `unicode-segmentation` for boundaries and `unicode-normalization` for decomposition, cluster by
/// cluster. Two quicker roads leave it where the answer is known beforehand: runs of ASCII, and code points of
/// [`Quick`]. Tests compare them with the slow road on every code point.
#[derive(Debug, Default)]
pub(super) struct Builder {
    codes: Kept<u32>,
    clusters: Kept<u32>,
    kinds: Kept<NodeKind>,
    starts: Kept<u32>,
    text: KeptText,
    lengths: Kept<usize>,
    /// The cluster being put into canonical order: combining class and code point. Kept to reuse its memory.
    cluster: Kept<(u8, char)>,
}

impl Keep for (u8, char) {}

impl Builder {
    /// Room for `graphs` graphs with `bytes` bytes of text.
    ///
    /// Byte offsets are kept in 32 bits, so this is the place where a longer text is refused; no later step can
    /// overflow, since clusters are never more than bytes.
    pub(super) fn new(graphs: usize, bytes: usize) -> Result<Self, BatchError> {
        if u32::try_from(bytes).is_err() {
            return Err(BatchError::TextTooLong { bytes });
        }
        let nodes = bytes + 2 * graphs;
        Ok(Self {
            codes: Kept::with_capacity(nodes),
            clusters: Kept::with_capacity(nodes),
            kinds: Kept::with_capacity(nodes),
            starts: Kept::with_capacity(bytes + 1),
            text: KeptText::with_capacity(bytes),
            lengths: Kept::with_capacity(graphs),
            cluster: Kept::new(),
        })
    }

    /// Room for a graph of each text.
    pub(super) fn of<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> Result<Self, BatchError> {
        let (graphs, bytes) = texts.fold((0, 0), |(graphs, bytes), text| (graphs + 1, bytes + text.as_ref().len()));
        Self::new(graphs, bytes)
    }

    /// The number of nodes so far, which is the index of the next one.
    pub(super) fn nodes(&self) -> usize {
        self.codes.len()
    }

    /// Opens a graph.
    pub(super) fn begin(&mut self) {
        let nodes = self.nodes();
        self.lengths.push(nodes);
        // Bounding nodes carry the number of the next cluster. That keeps the numbers increasing, and the two of a
        // graph enclose its clusters, so neither text offsets nor cluster offsets of graphs need memory.
        self.push(BEGIN_CODE, NodeKind::Begin, self.starts.len());
    }

    /// Closes the graph that `begin` opened.
    pub(super) fn end(&mut self) {
        self.push(END_CODE, NodeKind::End, self.starts.len());
        if let Some(length) = self.lengths.last_mut() {
            *length = self.codes.len() - *length;
        }
    }

    /// Appends the clusters of a text. Linear, but for sorting marks within a cluster.
    pub(super) fn text(&mut self, text: &str) {
        let base = self.text.len();
        self.text.push_str(text);
        let mut at = 0;
        while at < text.len() {
            let ascii = ascii_run(&text.as_bytes()[at..]);
            self.push_ascii(&text.as_bytes()[at..at + ascii], base + at);
            at += ascii;
            let quick = self.quick_run(&text[at..], base + at);
            at += quick;
            if ascii + quick == 0 {
                at += self.slow_run(&text[at..], base + at);
            }
        }
    }

    /// Appends one cluster: a label, whatever it holds.
    pub(super) fn label(&mut self, label: &str) {
        let start = self.text.len();
        self.text.push_str(label);
        self.push_cluster(label, start);
    }

    /// Appends one cluster without nodes: a part of the text that something else of the graph stands for.
    pub(super) fn silent(&mut self, label: &str) {
        self.open(self.text.len());
        self.text.push_str(label);
    }

    /// The finished batch.
    pub(super) fn finish(mut self, chain: bool, edges: Vec<Edge>) -> Result<GraphBatch, BatchError> {
        self.starts.push(self.text.len() as u32);
        self.codes.fit();
        self.clusters.fit();
        self.kinds.fit();
        self.starts.fit();
        let topology = Topology::new(self.lengths.iter().copied(), chain, edges)?;
        let Self { codes, clusters, kinds, starts, text, .. } = self;
        Ok(GraphBatch { codes, clusters, kinds, starts, text, topology })
    }

    #[inline]
    fn push(&mut self, code: u32, kind: NodeKind, cluster: usize) {
        self.codes.push(code);
        self.kinds.push(kind);
        self.clusters.push(cluster as u32);
    }

    /// Opens a cluster at a byte of the text and returns its number.
    #[inline]
    fn open(&mut self, start: usize) -> usize {
        self.starts.push(start as u32);
        self.starts.len() - 1
    }

    /// Every byte is a cluster.
    fn push_ascii(&mut self, bytes: &[u8], start: usize) {
        let (first, start) = (self.starts.len() as u32, start as u32);
        let length = bytes.len() as u32;
        self.codes.extend(bytes.iter().map(|&byte| u32::from(byte)));
        self.kinds.extend(bytes.iter().map(|&byte| ASCII_KINDS[usize::from(byte)]));
        self.clusters.extend(first..first + length);
        self.starts.extend(start..start + length);
    }

    /// Appends code points that are clusters by themselves, while [`Quick`] knows it, and returns their length.
    fn quick_run(&mut self, text: &str, start: usize) -> usize {
        let mut at = 0;
        let mut chars = text.chars();
        let mut current = chars.next().map(|c| (c, Quick::of(c)));
        while let Some((c, Some(quick))) = current {
            let next = chars.next().map(|c| (c, Quick::of(c)));
            match next {
                // What follows may attach to this one.
                Some((_, None)) => break,
                // Back to the road for ASCII.
                Some((follower, _)) if c.is_ascii() && follower.is_ascii() => break,
                _ => {}
            }
            self.push_quick(c, quick, start + at);
            at += c.len_utf8();
            current = next;
        }
        at
    }

    #[inline]
    fn push_quick(&mut self, c: char, quick: Quick, start: usize) {
        let cluster = self.open(start);
        match quick {
            Quick::Plain(kind) => self.push(u32::from(c), kind, cluster),
            Quick::Syllable => {
                // The Unicode Standard, section 3.12: syllables are numbered by leading consonant, vowel, tail.
                let syllable = u32::from(c) - 0xAC00;
                self.push(0x1100 + syllable / (21 * 28), NodeKind::Letter, cluster);
                self.push(0x1161 + syllable / 28 % 21, NodeKind::Letter, cluster);
                if !syllable.is_multiple_of(28) {
                    self.push(0x11A7 + syllable % 28, NodeKind::Letter, cluster);
                }
            }
            // A decomposition from the table is in canonical order already.
            Quick::Lookup => decompose_canonical(c, |part| self.push(u32::from(part), NodeKind::of(part), cluster)),
        }
    }

    /// Appends clusters found by the full algorithm until a quick road opens, and returns their length.
    fn slow_run(&mut self, text: &str, start: usize) -> usize {
        let mut at = 0;
        for cluster in text.graphemes(true) {
            self.push_cluster(cluster, start + at);
            at += cluster.len();
            // No rule looks back over a boundary, so segmentation can start afresh at any of them.
            let mut next = text[at..].chars().map(Quick::of);
            if let (Some(Some(_)), Some(Some(_)) | None) = (next.next(), next.next()) {
                break;
            }
        }
        at
    }

    /// Appends one cluster in canonical decomposition (UAX #15): decompose, then sort marks by combining class.
    fn push_cluster(&mut self, text: &str, start: usize) {
        let number = self.open(start);
        let mut cluster = std::mem::take(&mut self.cluster);
        cluster.clear();
        for c in text.chars() {
            decompose_canonical(c, |part| cluster.push((canonical_combining_class(part), part)));
        }
        for marks in cluster.chunk_by_mut(|a, b| a.0 != 0 && b.0 != 0) {
            marks.sort_by_key(|&(class, _)| class);
        }
        for &(_, part) in cluster.iter() {
            self.push(u32::from(part), NodeKind::of(part), number);
        }
        self.cluster = cluster;
    }
}

/// Code points of which two in a row are always two clusters, so that one followed by another is a cluster by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quick {
    /// Its own decomposition, of a known kind.
    Plain(NodeKind),
    /// A precomposed Hangul syllable, decomposed by arithmetic.
    Syllable,
    /// Decomposition and kind are looked up.
    Lookup,
}

impl Quick {
    /// Blocks in frequent use. Leaving a code point out costs time; putting a wrong one in fails a test.
    #[inline]
    fn of(c: char) -> Option<Self> {
        use NodeKind::{Letter, Other};
        Some(match c {
            '\r' => return None,
            '\0'..='\x7F' => Self::Plain(ASCII_KINDS[c as usize]),
            // Cyrillic, Greek, Armenian, Hebrew, Arabic, Devanagari, Thai and Georgian letters without parts.
            '\u{430}'..='\u{438}' | '\u{43A}'..='\u{44F}' | '\u{410}'..='\u{418}' | '\u{41A}'..='\u{42F}' => {
                Self::Plain(Letter)
            }
            '\u{391}'..='\u{3A1}' | '\u{3A3}'..='\u{3A9}' | '\u{3B1}'..='\u{3C9}' => Self::Plain(Letter),
            '\u{531}'..='\u{556}' | '\u{561}'..='\u{586}' | '\u{5D0}'..='\u{5EA}' => Self::Plain(Letter),
            '\u{627}'..='\u{64A}' | '\u{671}'..='\u{6BF}' => Self::Plain(Letter),
            '\u{915}'..='\u{928}' | '\u{92A}'..='\u{930}' | '\u{935}'..='\u{939}' => Self::Plain(Letter),
            '\u{E01}'..='\u{E30}' | '\u{10D0}'..='\u{10FA}' => Self::Plain(Letter),
            // Han.
            '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{20000}'..='\u{2A6DF}' => Self::Plain(Letter),
            '\u{AC00}'..='\u{D7A3}' => Self::Syllable,
            // Latin, Greek, Cyrillic, kana and operators, some of which have parts. U+00AD is a format control.
            '\u{A0}'..='\u{AC}' | '\u{AE}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' | '\u{1F00}'..='\u{1FFF}' => {
                Self::Lookup
            }
            '\u{386}'..='\u{481}' | '\u{48A}'..='\u{52F}' | '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FF}' => {
                Self::Lookup
            }
            '\u{2190}'..='\u{22FF}' => Self::Lookup,
            // Punctuation and emoji; the gap is skin tones, which attach.
            '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205E}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3020}' => {
                Self::Plain(Other)
            }
            '\u{1F300}'..='\u{1F3FA}' | '\u{1F400}'..='\u{1F64F}' | '\u{1F680}'..='\u{1F6FF}' => Self::Plain(Other),
            '\u{1F900}'..='\u{1F9FF}' => Self::Plain(Other),
            _ => return None,
        })
    }
}

/// How many bytes from the first on are clusters by themselves: ASCII, no carriage return (a line feed may attach to
/// it), and not the last before a byte that is not ASCII (a mark may attach to it).
fn ascii_run(bytes: &[u8]) -> usize {
    let stops = |byte: &u8| *byte == b'\r' || !byte.is_ascii();
    // Whole blocks first: the test of a block has no early exit, so it is done on many bytes at once.
    let blocks = bytes.chunks_exact(32).take_while(|block| !block.iter().fold(false, |any, byte| any | stops(byte)));
    let clear = 32 * blocks.count();
    let end = bytes[clear..].iter().position(stops).map_or(bytes.len(), |stop| clear + stop);
    match bytes.get(end) {
        Some(byte) if !byte.is_ascii() => end.saturating_sub(1),
        _ => end,
    }
}

/// [`NodeKind::of`] each ASCII code point.
static ASCII_KINDS: [NodeKind; 128] = {
    let mut kinds = [NodeKind::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        kinds[byte as usize] = match byte {
            b'A'..=b'Z' | b'a'..=b'z' => NodeKind::Letter,
            b'0'..=b'9' => NodeKind::Number,
            b'\t'..=b'\r' | b' ' => NodeKind::Space,
            _ => NodeKind::Other,
        };
        byte += 1;
    }
    kinds
};

#[cfg(test)]
mod tests {
    use super::*;

    /// One code point for each way of attaching: controls, marks, joiners, jamo, conjoining consonants, emoji, flags.
    const COMPANY: [char; 22] = [
        'a',
        '1',
        ' ',
        '\n',
        '\r',
        '\u{301}',
        '\u{323}',
        '\u{93E}',
        '\u{94D}',
        '\u{915}',
        '\u{200D}',
        '\u{200B}',
        '\u{1100}',
        '\u{1161}',
        '\u{11A8}',
        '\u{AC00}',
        '\u{AC01}',
        '\u{600}',
        '\u{1F1E6}',
        '\u{1F3FB}',
        '\u{1F600}',
        '\u{FE0F}',
    ];

    /// The slow road alone.
    fn slow(text: &str) -> GraphBatch {
        let mut builder = Builder::new(1, text.len()).unwrap();
        builder.begin();
        text.graphemes(true).for_each(|cluster| builder.label(cluster));
        builder.end();
        builder.finish(true, Vec::new()).unwrap()
    }

    #[test]
    fn quick_roads_agree_with_the_slow_one_on_every_code_point_in_any_company() {
        for c in '\0'..=char::MAX {
            if c > '\u{3FF}' && Quick::of(c).is_none() {
                continue;
            }
            let text: String = COMPANY.iter().flat_map(|&other| [c, other]).chain([c, c]).collect();
            assert_eq!(GraphBatch::from_texts(&[&text]).unwrap(), slow(&text), "{c:?}");
        }
    }

    #[test]
    fn ascii_kinds_are_the_kinds_of_ascii() {
        for byte in 0..128u8 {
            assert_eq!(ASCII_KINDS[usize::from(byte)], NodeKind::of(char::from(byte)), "{byte}");
        }
    }

    #[test]
    fn an_ascii_run_ends_before_what_may_attach() {
        let long = [b'x'; 70];
        let with = |at: usize, byte: u8| {
            let mut bytes = long;
            bytes[at] = byte;
            ascii_run(&bytes)
        };
        assert_eq!(ascii_run(&long), 70);
        assert_eq!(ascii_run(b""), 0);
        for at in [0usize, 1, 31, 32, 33, 64, 69] {
            assert_eq!(with(at, b'\r'), at);
            assert_eq!(with(at, 0xCC), at.saturating_sub(1));
            assert_eq!(with(at, b'\n'), 70);
        }
    }
}
