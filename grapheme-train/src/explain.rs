//! What became of each node of a text: as columns for a terminal, and as a picture.

use crate::output::xml;
use crate::reader::{Outcome, Reading, Step};
use grapheme_core::graph::BatchError;
use grapheme_core::morph::{NO_TARGET, merge_targets};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use unicode_width::UnicodeWidthStr;

/// A text, its reading, and what the model made of each node on the way.
pub struct Explanation<'a> {
    text: &'a str,
    written: &'a str,
    nodes: Vec<Node<'a>>,
}

/// One code point of the text, or one of its ends, or several that an earlier morph made one; and its candidates.
struct Node<'a> {
    name: String,
    /// The graphemes that it is part of; none for the ends.
    grapheme: Option<&'a str>,
    /// Whether it begins its grapheme.
    begins: bool,
    /// Its place in the graph.
    place: usize,
    /// The place of what its first candidate joins, if that merges.
    joins: Option<usize>,
    steps: &'a [Step],
}

impl Node<'_> {
    fn labels(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(label)
    }

    /// What became of it, in a word.
    fn fate(&self) -> &'static str {
        match self.labels().count() {
            0 => "merged",
            1 if self.steps.iter().any(|step| matches!(step.outcome, Outcome::Writes { keeps: true, .. })) => "kept",
            1 => "changed",
            _ => "split",
        }
    }
}

/// The label that a candidate writes; none if it merges.
fn label(step: &Step) -> Option<&str> {
    match &step.outcome {
        Outcome::Writes { label, .. } => Some(label),
        Outcome::Merges => None,
    }
}

impl<'a> Explanation<'a> {
    /// Of `text`, which was read as `reading`.
    ///
    /// # Errors
    /// [`BatchError`] if the text is too long for a batch, which then could not be read either.
    pub fn of(text: &'a str, reading: &'a Reading) -> Result<Self, BatchError> {
        let batch = reading.graph.batch(&[text])?;
        let targets = merge_targets(batch.topology(), 1);
        let name = |node: usize| match (char::from_u32(batch.codes()[node]), batch.span(node)) {
            (Some(c), Some(own)) if batch.position(node) > 0 => format!("{} U+{:04X}", shown(&text[own]), c as u32),
            (Some(c), _) => shown(c.encode_utf8(&mut [0; 4])),
            _ if node == 0 => "begin".to_owned(),
            _ => "end".to_owned(),
        };
        let nodes = reading.steps.chunk_by(|a, b| a.node == b.node).map(|steps| {
            let node = steps[0].node as usize;
            let mut made_of: Vec<usize> = steps[0].merged.iter().map(|&node| node as usize).chain([node]).collect();
            made_of.sort_unstable();
            let names: Vec<String> = made_of.iter().map(|&node| name(node)).collect();
            // Of a path, what merged stands side by side, so its graphemes are one piece of the text.
            let spans: Vec<Range<usize>> = made_of.iter().filter_map(|&node| batch.span(node)).collect();
            let ends = spans.iter().map(|span| span.start).min().zip(spans.iter().map(|span| span.end).max());
            let grapheme = ends.map(|(start, end)| &text[start..end]);
            let first = made_of.iter().find(|&&node| batch.cluster(node).is_some());
            let begins = first.is_none_or(|&first| batch.position(first) == 0);
            let joins = (targets[node] != NO_TARGET).then_some(targets[node] as usize);
            Node { name: names.join(" + "), grapheme, begins, place: node, joins, steps }
        });
        Ok(Self { text, written: &reading.text, nodes: nodes.collect() })
    }

    /// One line a node: what it is, what became of it, what it wrote, and the outcome of each of its candidates with the
    /// probability that the model gives it. Columns are aligned by the width that a terminal gives to marks and to wide
    /// characters.
    pub fn columns(&self) -> String {
        let slots = self.nodes.iter().map(|node| node.steps.len()).max().unwrap_or(0);
        let mut rows = vec![vec!["node".to_owned(), "became".to_owned(), "writes".to_owned()]];
        for slot in 1..=slots {
            rows[0].extend([format!("candidate {slot}"), "sure".to_owned()]);
        }
        for node in &self.nodes {
            let labels: Vec<String> = node.labels().map(shown).collect();
            let mut row = vec![node.name.clone(), node.fate().to_owned(), labels.join(" ")];
            for step in node.steps {
                row.push(match &step.outcome {
                    Outcome::Merges => "merges".to_owned(),
                    Outcome::Writes { label, keeps: true } => format!("keeps {}", shown(label)),
                    Outcome::Writes { label, keeps: false } => format!("writes {}", shown(label)),
                });
                row.push(percent(step.probability));
            }
            rows.push(row);
        }
        let widths: Vec<usize> = (0..rows[0].len())
            .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for row in &rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.width());
                let is_number = column > 2 && column % 2 == 0;
                line += &if is_number { format!("  {padding}{cell}") } else { format!("  {cell}{padding}") };
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Pixels of the picture.
mod size {
    /// Around a panel.
    pub const MARGIN: f64 = 24.0;
    /// The least width of a candidate's column.
    pub const COLUMN: f64 = 46.0;
    /// Of a wide one among narrow characters, so that most texts leave some room.
    pub const CHARACTER: f64 = 12.0;
    /// Between the columns of two nodes.
    pub const GAP: f64 = 10.0;
    /// Middles of the rows of a panel: heading, graphemes, nodes, candidates, their probabilities, output.
    pub const ROWS: [f64; 6] = [16.0, 60.0, 112.0, 176.0, 204.0, 268.0];
    /// Of a panel.
    pub const PANEL: f64 = 300.0;
}

/// Light colours, and dark ones where the viewer prefers these; both with a contrast of 4.5 or more between text and what
/// it stands on. Plain rules without variables, which viewers other than browsers do not know.
const STYLE: &str = "\
text{font:16px system-ui,\"Noto Sans\",\"DejaVu Sans\",sans-serif;fill:#1c1e21;text-anchor:middle;unicode-bidi:isolate}
.head{text-anchor:start;font-weight:600}.small{font-size:11px;fill:#5a6068}
.ground{fill:#fdfdfb}.node{fill:#e7e9ec}.writes{fill:#8fd0b0;stroke:#5a6068}.keeps{fill:#a9c3ee;stroke:#5a6068}
.stays,.gone,.link{fill:none;stroke:#9aa0a8}.gone{stroke-dasharray:3 3}
.merge{fill:none;stroke:#b3541e;stroke-width:2.5}.tip{fill:#b3541e}
@media(prefers-color-scheme:dark){text{fill:#eceef0}.small{fill:#a8aeb6}
.ground{fill:#16181b}.node{fill:#2c3036}.writes{fill:#2a6a4e;stroke:#a8aeb6}.keeps{fill:#325084;stroke:#a8aeb6}
.stays,.gone,.link{stroke:#6c727a}.merge{stroke:#f0a06a}.tip{fill:#f0a06a}}";

/// One self-contained SVG, a panel for each explanation: graphemes above, the code points they are made of, the
/// candidates that each splits into, and the output below. A candidate that merges is dashed, with an arrow to what it
/// joins; one that stays is filled and carries its label. Arrows and fillings are as opaque as their choice is probable.
///
/// ```
/// use grapheme_train::data::GraphForm;
/// use grapheme_train::explain::{Explanation, svg};
/// use grapheme_train::reader::{Outcome, Reading, Step};
///
/// let step = |node, outcome| Step { node, merged: Vec::new(), slot: 0, outcome, probability: 0.75 };
/// let writes = Outcome::Writes { label: "b".to_owned(), keeps: false };
/// let steps = vec![step(0, Outcome::Merges), step(1, writes), step(2, Outcome::Merges)];
/// let reading = Reading { text: "b".to_owned(), steps, graph: GraphForm::Path };
/// let picture = svg(&[Explanation::of("a", &reading)?]);
/// assert!(picture.starts_with("<svg ") && picture.contains(r#"class="writes" fill-opacity="0.75""#));
/// # Ok::<(), grapheme_core::graph::BatchError>(())
/// ```
pub fn svg(explanations: &[Explanation<'_>]) -> String {
    let (mut panels, mut width) = (String::new(), 320.0_f64);
    for (i, explanation) in explanations.iter().enumerate() {
        let _ = write!(panels, "<g transform=\"translate(0 {:.0})\">", size::MARGIN + i as f64 * size::PANEL);
        width = width.max(explanation.panel(&mut panels));
        panels.push_str("</g>\n");
    }
    let height = size::MARGIN + explanations.len() as f64 * size::PANEL;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\">\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"100%\" \
         height=\"100%\"/>\n{panels}</svg>\n"
    )
}

impl Explanation<'_> {
    /// Draws one panel from the top left on, and returns its width.
    fn panel(&self, out: &mut String) -> f64 {
        let [head, graphemes, nodes, candidates, sure, output] = size::ROWS;
        text(out, "head", size::MARGIN, head, &format!("{} → {}", shown(self.text), shown(self.written)));
        let mut x = size::MARGIN;
        // Where the last candidate of each node stands.
        let mut lasts: BTreeMap<usize, f64> = BTreeMap::new();
        let mut grapheme: Option<(&str, f64, f64)> = None;
        let draw_grapheme = |out: &mut String, grapheme: Option<(&str, f64, f64)>| {
            if let Some((own, left, right)) = grapheme {
                rectangle(out, "class=\"node\"", left, graphemes, right - left);
                text(out, "grapheme", (left + right) / 2.0, graphemes, &shown(own));
            }
        };
        for node in &self.nodes {
            let widest = node.labels().map(|label| shown(label).width()).max().unwrap_or(0);
            let column = size::COLUMN.max(size::CHARACTER * widest as f64 + 14.0);
            let names = size::CHARACTER * node.name.width() as f64 + 14.0;
            let (left, right) = (x, x + (column * node.steps.len() as f64).max(names));
            let middle = (left + right) / 2.0;
            if node.begins {
                draw_grapheme(out, grapheme.take());
            }
            if let Some(own) = node.grapheme {
                let first = grapheme.map_or(left, |(_, left, _)| left);
                grapheme = Some((own, first, right));
                line(out, middle, graphemes + 15.0, middle, nodes - 15.0);
            }
            rectangle(out, "class=\"stays\"", middle - names / 2.0, nodes, names);
            text(out, "name", middle, nodes, &node.name);
            let mut before = node.joins.and_then(|place| lasts.get(&place).copied());
            let step_column = (right - left) / node.steps.len() as f64;
            for (slot, step) in node.steps.iter().enumerate() {
                let at = left + step_column * (slot as f64 + 0.5);
                line(out, middle, nodes + 15.0, at, candidates - 15.0);
                let (box_left, box_width) = (at - step_column / 2.0 + 4.0, step_column - 8.0);
                let opacity = step.probability.clamp(0.0, 1.0);
                match &step.outcome {
                    Outcome::Merges => {
                        rectangle(out, "class=\"gone\"", box_left, candidates, box_width);
                        // What it joins stands left of it; at the very start there is nothing.
                        let target = before.unwrap_or(size::MARGIN / 2.0);
                        let (y, dip) = (sure + 10.0, sure + 34.0);
                        let _ = write!(
                            out,
                            "<g class=\"merges\" opacity=\"{opacity:.2}\"><path class=\"merge\" d=\"M{at:.1} {y:.1}C{at:.1} \
                             {dip:.1} {target:.1} {dip:.1} {target:.1} {top:.1}\"/><path class=\"tip\" d=\"M{target:.1} \
                             {y:.1}l4 8h-8z\"/></g>",
                            top = y + 6.0
                        );
                    }
                    Outcome::Writes { label, keeps } => {
                        let class = if *keeps { "keeps" } else { "writes" };
                        let style = format!("class=\"{class}\" fill-opacity=\"{opacity:.2}\"");
                        rectangle(out, &style, box_left, candidates, box_width);
                        text(out, "label", at, candidates, &shown(label));
                        line(out, at, sure + 10.0, at, output - 15.0);
                        text(out, "output", at, output, &shown(label));
                    }
                }
                text(out, "small", at, sure, &percent(step.probability));
                before = Some(at);
            }
            lasts.extend(before.map(|at| (node.place, at)));
            x = right + size::GAP;
        }
        draw_grapheme(out, grapheme);
        let heading = size::CHARACTER * (self.text.width() + self.written.width() + 3) as f64;
        x.max(heading + size::MARGIN) + size::MARGIN - size::GAP
    }
}

fn percent(probability: f64) -> String {
    format!("{:.0}%", 100.0 * probability)
}

/// A text that can be seen: spaces at its ends as `␣`, controls escaped, a lone mark on a dotted circle.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let ends = (text.len() - text.trim_start_matches(' ').len(), text.trim_end_matches(' ').len());
    for (i, c) in text.char_indices() {
        if i == 0 && unicode_normalization::char::is_combining_mark(c) {
            out.push('◌');
        }
        match c {
            ' ' if i < ends.0 || i >= ends.1 => out.push('␣'),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn text(out: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let _ = write!(out, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>", y + 5.0, xml(text));
}

fn rectangle(out: &mut String, style: &str, left: f64, middle: f64, width: f64) {
    let top = middle - 15.0;
    let _ = write!(out, "<rect {style} x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"30\" rx=\"6\"/>");
}

fn line(out: &mut String, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = write!(out, "<path class=\"link\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::GraphForm;
    use grapheme_core::GraphBatch;

    /// A reading in which every node has two candidates: `None` merges, a label stays.
    fn reading(choices: &[[Option<&str>; 2]], text: &str) -> Reading {
        let steps = choices.iter().enumerate().flat_map(|(node, pair)| {
            pair.iter().enumerate().map(move |(slot, label)| Step {
                node: node as u32,
                merged: Vec::new(),
                slot: slot as u32,
                outcome: label
                    .map_or(Outcome::Merges, |label| Outcome::Writes { label: label.to_owned(), keeps: label == "k" }),
                probability: 1.0 - 0.25 * slot as f64,
            })
        });
        Reading { text: text.to_owned(), steps: steps.collect(), graph: GraphForm::Path }
    }

    const NONE: [Option<&str>; 2] = [None, None];

    #[test]
    fn columns_line_up_on_a_screen() {
        let choices = [NONE, [Some("k"), Some(" @@")], [Some("x"), None], NONE, NONE];
        let reading = reading(&choices, "k @@x");
        let found = Explanation::of("ké", &reading).unwrap().columns();
        let expected = "\
\x20 node      became   writes  candidate 1  sure  candidate 2  sure
  begin     merged           merges       100%  merges        75%
  k         split    k ␣@@   keeps k      100%  writes ␣@@    75%
  e         changed  x       writes x     100%  merges        75%
  é U+0301  merged           merges       100%  merges        75%
  end       merged           merges       100%  merges        75%
";
        assert_eq!(found, expected);
        let wide = self::reading(&[NONE, [Some("漢"), None], NONE], "漢");
        let found = Explanation::of("字", &wide).unwrap().columns();
        let ends: Vec<usize> = found.lines().map(|line| line.width()).collect();
        assert!(ends.iter().all(|&end| end == ends[0]), "{found}");
    }

    #[test]
    fn nodes_know_their_graphemes() {
        let text = "ae\u{301}👨‍👩‍👧";
        let nodes = GraphBatch::from_texts(&[text]).unwrap().nodes();
        let reading = reading(&vec![NONE; nodes], "");
        let explanation = Explanation::of(text, &reading).unwrap();
        let mut graphemes: Vec<_> = explanation.nodes.iter().map(|node| node.grapheme).collect();
        graphemes.dedup();
        assert_eq!(graphemes, [None, Some("a"), Some("e\u{301}"), Some("👨‍👩‍👧"), None]);
        assert_eq!(explanation.nodes.iter().filter(|node| node.begins).count(), 5);
    }

    #[test]
    fn a_node_that_an_earlier_morph_merged_is_named_by_all_that_it_was_made_of() {
        let mut reading = reading(&[[Some("ɟ"), None], [Some("ø"), None]], "ɟ ø");
        // Of the nodes of `gyö`: begin, g and y; the letter and its accent. The end merged into the accent.
        (reading.steps[0].node, reading.steps[0].merged) = (1, vec![0, 2]);
        (reading.steps[1].node, reading.steps[1].merged) = (1, vec![0, 2]);
        (reading.steps[2].node, reading.steps[2].merged) = (4, vec![3, 5]);
        (reading.steps[3].node, reading.steps[3].merged) = (4, vec![3, 5]);
        let explanation = Explanation::of("gyö", &reading).unwrap();
        let names: Vec<&str> = explanation.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["begin + g + y", "o + ö U+0308 + end"]);
        let graphemes: Vec<_> = explanation.nodes.iter().map(|node| (node.grapheme, node.begins)).collect();
        assert_eq!(graphemes, [(Some("gy"), true), (Some("ö"), true)]);
        elements(&svg(&[explanation]));
    }

    /// The elements of a document, after a check that each is closed where it should be.
    fn elements(document: &str) -> Vec<&str> {
        let (mut open, mut found) = (Vec::new(), Vec::new());
        for part in document.split('<').skip(1) {
            let (tag, rest) = part.split_once('>').expect("a tag ends");
            assert!(!rest.contains('>') || rest.contains('{'), "a stray > in {rest:?}");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None => {
                    found.push(tag);
                    if !tag.ends_with('/') {
                        open.push(tag.split(' ').next().unwrap());
                    }
                }
            }
        }
        assert_eq!(open, [""; 0]);
        found
    }

    #[test]
    fn the_picture_has_every_grapheme_candidate_and_merge() {
        let choices = [NONE, [Some("k"), Some("<&>")], [Some("x"), None], NONE, NONE];
        let reading = reading(&choices, "k<&>x");
        let (one, other) = (Explanation::of("ké", &reading).unwrap(), Explanation::of("ké", &reading).unwrap());
        let picture = svg(&[one, other]);
        let elements = elements(&picture);
        let count = |part: &str| elements.iter().filter(|element| element.contains(part)).count();
        // In each of two panels: two graphemes, five nodes, ten candidates, of which three write.
        assert_eq!(count("rect class=\"node\""), 2 * 2);
        assert_eq!(count("rect class=\"stays\""), 2 * 5);
        assert_eq!(count("rect class=\"gone\""), 2 * 7);
        assert_eq!(count("g class=\"merges\" opacity=\"0.75\""), 2 * 4);
        assert_eq!(count("rect class=\"keeps\" fill-opacity=\"1.00\""), 2);
        assert_eq!(count("rect class=\"writes\" fill-opacity=\"0.75\""), 2);
        assert_eq!(count("rect class=\"writes\" fill-opacity=\"1.00\""), 2);
        assert_eq!(count("text class=\"output\""), 2 * 3);
        assert!(picture.contains(">&lt;&amp;&gt;</text>") && !picture.contains("NaN"));
        assert_eq!(picture.matches("http").count(), 1, "nothing is fetched");
    }

    #[test]
    fn what_cannot_be_seen_is_shown() {
        let cases =
            [(" ", "␣"), (" @@", "␣@@"), ("a b ", "a b␣"), ("\u{301}", "◌\u{301}"), ("\u{7}", "\\u{7}"), ("", "")];
        for (text, seen) in cases {
            assert_eq!(shown(text), seen);
        }
        let nothing = Reading { text: String::new(), steps: Vec::new(), graph: GraphForm::Path };
        let explanation = Explanation::of("", &nothing).unwrap();
        assert_eq!(explanation.columns().lines().count(), 1);
        elements(&svg(&[explanation]));
    }
}
