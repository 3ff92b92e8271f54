//! Graphs from the language of Graphviz.

use super::graph::{Direction, GraphError, LabelledGraph};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a text in DOT is no graph.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DotError {
    /// The text does not go on as it must.
    #[error("line {line}: {expected} expected, {found} found")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What could stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// Groups of nodes are not read.
    #[error("line {line}: a subgraph, and those are not read: write its nodes and edges without it")]
    Subgraph {
        /// The line, from 1.
        line: usize,
    },
    /// A label that is given to many nodes, or that holds a name many times, makes a large graph of a small file.
    #[error("line {line}: labels of more than 64 MB: shorten the label, or the name that stands for \\N in it")]
    Labels {
        /// The line, from 1.
        line: usize,
    },
    /// The nodes and edges are no graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Reads `graph { a -- b }` or `digraph { a -> b [label="x"] }`.
///
/// A node's label is its attribute `label`, else its name. Other attributes are passed over, parallel edges are one, as in
/// a `strict` graph, and labels of edges are not looked at. `O(bytes log nodes)`.
///
/// # Errors
/// [`DotError`], with the line: also for subgraphs, loops, and labels of more than 64 MB in all.
///
/// ```
/// use grapheme_train::distance::dot;
///
/// let graph = dot::graph("graph { o [label=O]; o -- {h} }");
/// assert_eq!(graph.unwrap_err().to_string(), "line 1: a subgraph, and those are not read: write its nodes and edges without it");
/// let graph = dot::graph("graph { o [label=O]; h -- o -- i; }").unwrap();
/// assert_eq!((graph.labels(), graph.edges()), (&["O".into(), "h".into(), "i".into()][..], &[(0, 1), (0, 2)][..]));
/// ```
pub fn graph(text: &str) -> Result<LabelledGraph, DotError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let mut header = parser.word("graph or digraph")?;
    if header.eq_ignore_ascii_case("strict") {
        header = parser.word("graph or digraph")?;
    }
    let direction = match header.to_ascii_lowercase().as_str() {
        "graph" => Direction::Undirected,
        "digraph" => Direction::Directed,
        _ => {
            parser.at -= 1;
            return Err(parser.unexpected("graph or digraph"));
        }
    };
    if matches!(parser.peek(), Some(Token::Name(..))) {
        parser.at += 1;
    }
    parser.sign('{')?;
    let mut nodes = Nodes::default();
    let mut edges = Vec::new();
    loop {
        match parser.peek() {
            Some(Token::Sign('}')) => break,
            Some(Token::Sign(';')) => parser.at += 1,
            _ => parser.statement(direction, &mut nodes, &mut edges)?,
        }
    }
    parser.at += 1;
    if parser.peek().is_some() {
        return Err(parser.unexpected("the end, one graph a file,"));
    }
    if direction == Direction::Undirected {
        edges.iter_mut().for_each(|edge| *edge = (edge.0.min(edge.1), edge.0.max(edge.1)));
    }
    edges.sort_unstable();
    edges.dedup();
    Ok(LabelledGraph::new(nodes.labels, &edges, direction)?)
}

/// Bytes that labels may have.
const MOST_OF_LABELS: usize = 1 << 26;

#[derive(Default)]
struct Nodes {
    numbers: BTreeMap<String, usize>,
    labels: Vec<String>,
    default_label: Option<String>,
    /// Of all labels that were made.
    bytes: usize,
}

impl Nodes {
    /// The number of a node, which is new if it was not named before. Nothing where its label would be one too many.
    fn number(&mut self, name: String) -> Option<usize> {
        let next = self.labels.len();
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            let pattern = self.default_label.take();
            let label = self.label(pattern.as_deref().unwrap_or("\\N"), &name)?;
            self.default_label = pattern;
            self.labels.push(label);
        }
        Some(number)
    }

    /// A label in which `\N` stands for a name.
    fn label(&mut self, pattern: &str, name: &str) -> Option<String> {
        self.bytes += pattern.len() + pattern.matches("\\N").count() * name.len();
        (self.bytes <= MOST_OF_LABELS).then(|| pattern.replace("\\N", name))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A name, number or text, and whether it stood in quotes.
    Name(String, bool),
    /// `--` or `->`.
    Edge(Direction),
    Sign(char),
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(line, _)| *line)
    }

    fn unexpected(&self, expected: &'static str) -> DotError {
        let found = match self.peek() {
            None => "the end".to_owned(),
            // All of a long one would bury what is wrong with it.
            Some(Token::Name(name, _)) => format!("{:?}", name.chars().take(60).collect::<String>()),
            Some(Token::Edge(Direction::Directed)) => "\"->\"".to_owned(),
            Some(Token::Edge(Direction::Undirected)) => "\"--\"".to_owned(),
            Some(Token::Sign(sign)) => format!("{:?}", sign.to_string()),
        };
        DotError::Syntax { line: self.line(), expected, found }
    }

    fn word(&mut self, expected: &'static str) -> Result<String, DotError> {
        match self.peek() {
            Some(Token::Name(name, _)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(expected)),
        }
    }

    fn is_sign(&mut self, sign: char) -> bool {
        let is = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(is);
        is
    }

    fn sign(&mut self, sign: char) -> Result<(), DotError> {
        let expected = match sign {
            '{' => "\"{\"",
            ']' => "\"]\"",
            _ => "another sign",
        };
        if self.is_sign(sign) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn statement(
        &mut self,
        direction: Direction,
        nodes: &mut Nodes,
        edges: &mut Vec<(usize, usize)>,
    ) -> Result<(), DotError> {
        if let Some(Token::Name(word, false)) = self.peek() {
            let word = word.to_ascii_lowercase();
            if ["graph", "edge", "node"].contains(&word.as_str()) {
                self.at += 1;
                let label = self.attributes()?;
                if word == "node" && label.is_some() {
                    nodes.default_label = label;
                }
                return Ok(());
            }
        }
        let name = self.node()?;
        if self.is_sign('=') {
            return self.word("a value").map(drop);
        }
        let mut last = nodes.number(name.clone()).ok_or(DotError::Labels { line: self.line() })?;
        let mut is_edge = false;
        while let Some(Token::Edge(drawn)) = self.peek() {
            if *drawn != direction {
                return Err(self.unexpected(match direction {
                    Direction::Directed => "\"->\", as this is a digraph,",
                    Direction::Undirected => "\"--\", as this is a graph,",
                }));
            }
            self.at += 1;
            let next = nodes.number(self.node()?).ok_or(DotError::Labels { line: self.line() })?;
            edges.push((last, next));
            (last, is_edge) = (next, true);
        }
        let label = self.attributes()?;
        if let Some(label) = label.filter(|_| !is_edge) {
            nodes.labels[last] = nodes.label(&label, &name).ok_or(DotError::Labels { line: self.line() })?;
        }
        Ok(())
    }

    /// A node's name, without its port.
    fn node(&mut self) -> Result<String, DotError> {
        let is_subgraph = match self.peek() {
            Some(Token::Name(word, false)) => word.eq_ignore_ascii_case("subgraph"),
            token => token == Some(&Token::Sign('{')),
        };
        if is_subgraph {
            return Err(DotError::Subgraph { line: self.line() });
        }
        let name = self.word("a node")?;
        while self.is_sign(':') {
            self.word("a port")?;
        }
        Ok(name)
    }

    /// `[a=b, ...]`, any number of times; gives the last label.
    fn attributes(&mut self) -> Result<Option<String>, DotError> {
        let mut label = None;
        while self.is_sign('[') {
            while !self.is_sign(']') {
                let name = self.word("an attribute or \"]\"")?;
                let value = if self.is_sign('=') { self.word("a value")? } else { "true".to_owned() };
                if name == "label" {
                    label = Some(value);
                }
                if !self.is_sign(',') {
                    self.is_sign(';');
                }
            }
        }
        Ok(label)
    }
}

/// Names, edges and signs with their lines, comments left out.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, DotError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    let unclosed = |line, expected| DotError::Syntax { line, expected, found: "the end".to_owned() };
    let mut at_start = true;
    while let Some(first) = rest.chars().next() {
        let starts_line = std::mem::replace(&mut at_start, first == '\n');
        let taken = match first {
            '\n' => 1,
            // A line that begins like this is left to a preprocessor.
            '#' if starts_line => rest.find('\n').unwrap_or(rest.len()),
            c if c.is_whitespace() => c.len_utf8(),
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").ok_or_else(|| unclosed(line, "\"*/\""))? + 2,
            _ if rest.starts_with("->") => {
                tokens.push((line, Token::Edge(Direction::Directed)));
                2
            }
            _ if rest.starts_with("--") => {
                tokens.push((line, Token::Edge(Direction::Undirected)));
                2
            }
            '"' => {
                let (name, taken) = quoted(rest).ok_or_else(|| unclosed(line, "a closing quote"))?;
                tokens.push((line, Token::Name(name, true)));
                taken
            }
            '<' => {
                let taken = balanced(rest).ok_or_else(|| unclosed(line, "\">\""))?;
                tokens.push((line, Token::Name(rest[1..taken - 1].to_owned(), true)));
                taken
            }
            c if is_part(c) || c == '-' => {
                let end = rest[c.len_utf8()..].find(|c| !is_part(c)).map_or(rest.len(), |end| end + c.len_utf8());
                tokens.push((line, Token::Name(rest[..end].to_owned(), false)));
                end
            }
            c if "{}[];,=:".contains(c) => {
                tokens.push((line, Token::Sign(c)));
                1
            }
            c => {
                let found = format!("{:?}", c.to_string());
                return Err(DotError::Syntax { line, expected: "a name, a text in quotes or an edge", found });
            }
        };
        line += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    Ok(tokens)
}

/// What names and numbers are made of.
fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.' || (!c.is_ascii() && !c.is_whitespace())
}

/// A text in quotes and how long it is with them. A backslash stays before all but quotes and backslashes: Graphviz reads
/// more into it later. Entities of XML are read.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => {
                let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")];
                let name = plain.iter().fold(name, |name, (entity, plain)| name.replace(entity, plain));
                return Some((name, at + 1));
            }
            '\\' => match characters.next()?.1 {
                c @ ('"' | '\\') => name.push(c),
                // A text goes on in the next line.
                '\n' => {}
                c => name.extend(['\\', c]),
            },
            c => name.push(c),
        }
    }
    None
}

/// How long a text in pointed brackets is with them.
fn balanced(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::GraphemeGraph;

    #[test]
    fn what_grapheme_graphs_write_is_read_back() {
        for text in ["", "gyöngy", "a\"b\\c&d<e>", "한국어"] {
            let graphemes = GraphemeGraph::from_text(text).unwrap();
            assert_eq!(graph(&graphemes.to_dot()).unwrap(), LabelledGraph::from_graphemes(&graphemes), "{text:?}");
        }
    }

    #[test]
    fn names_attributes_comments_and_chains() {
        let text = "/* two\nlines */ strict graph \"g\" {\n# skipped\nrankdir=LR; node [shape=box, label=x]\n\
                    a -- b:n -- -1.5 [color=red] // to the end\n  c [label=<i>] ; \"d e\" [label=\"\\N!\"] b -- a }";
        let read = graph(text).unwrap();
        assert_eq!(read.labels(), ["x", "x", "x", "i", "d e!"]);
        assert_eq!(read.edges(), [(0, 1), (1, 2)]);
        assert_eq!(read.direction(), Direction::Undirected);
    }

    #[test]
    fn labels_that_grow_beyond_their_file_are_refused() {
        let (name, names) = ("a".repeat(20_000), (0..1000).map(|i| format!("n{i} ")).collect::<String>());
        let often = "\\N".repeat(20_000);
        for text in [
            format!("graph {{\n node [label=\"{often}\"]\n {name} }}"),
            format!("graph {{\n\n {name} [label=\"{often}\"] }}"),
            format!("graph {{\n node [label={}]\n {names} }}", "x".repeat(100_000)),
        ] {
            let error = graph(&text).unwrap_err().to_string();
            assert!(error.starts_with("line 3: labels of more than 64 MB: shorten the label"), "{error}");
        }
        let error = graph(&format!("graph {{ a -- b }} {name}")).unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
        // Twice the label of a node counts twice, as both were made.
        let read = graph("graph { node [label=\"\\N\\N\"] a b [label=c] }").unwrap();
        assert_eq!(read.labels(), ["aa", "c"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let cases = [
            ("", "line 1: graph or digraph expected, the end found"),
            ("tree {}", "line 1: graph or digraph expected, \"tree\" found"),
            ("graph {\n a -- b", "line 2: a node expected, the end found"),
            ("graph {\n a -> b }", "line 2: \"--\", as this is a graph, expected, \"->\" found"),
            ("digraph {\n a -> }", "line 2: a node expected, \"}\" found"),
            ("digraph {\n a [label=\"x]\n}", "line 2: a closing quote expected, the end found"),
            ("digraph { a }\n}", "line 2: the end, one graph a file, expected, \"}\" found"),
            ("graph {\n\n subgraph s { a } }", "line 3: a subgraph, and those are not read: write its nodes"),
            ("graph { a -- a }", "edges[0]: a loop at node 0"),
            ("graph { a ! }", "line 1: a name, a text in quotes or an edge expected, \"!\" found"),
            ("graph { a [", "line 1: an attribute or \"]\" expected, the end found"),
        ];
        for (text, message) in cases {
            let error = graph(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
    }
}
