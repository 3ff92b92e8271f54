//! Two graphs side by side, with their matching, as SVG.

use super::graph::{Direction, LabelledGraph};
use super::path::Matching;
use crate::output::xml;
use std::fmt::Write as _;
use thiserror::Error;

/// The most nodes that are drawn, of both graphs together.
pub const MAX_DRAWN: usize = 600;

/// How wide and high the place of one graph is, in pixels.
const SIDE: f64 = 520.0;
/// The rim within it, between the two, and above.
const RIM: f64 = 40.0;
const GAP: f64 = 60.0;
const HEAD: f64 = 90.0;
/// Rounds of the layout.
const ROUNDS: usize = 300;

const KEPT: &str = "#555555";
const DELETED: &str = "#c62828";
const INSERTED: &str = "#2e7d32";
const RELABELLED: &str = "#ef6c00";
const PARTNERS: &str = "#90a4ae";

/// Too much for a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{nodes} nodes in all, and a picture of more than {MAX_DRAWN} shows nothing: leave it out")]
pub struct PictureError {
    /// The nodes of both graphs.
    pub nodes: usize,
}

/// Draws `a` at the left and `b` at the right. What is matched stands at the same place of both sides and is joined by a
/// dotted line; what is deleted is red, what is inserted green, what is relabelled orange. `O((nodes)^2)`.
///
/// # Errors
/// [`PictureError`] if there are too many nodes.
///
/// # Panics
/// If the matching is none of `a` with `b`.
pub fn draw(
    a: &LabelledGraph,
    b: &LabelledGraph,
    matching: &Matching,
    distance: usize,
) -> Result<String, PictureError> {
    let nodes = a.nodes() + b.nodes();
    if nodes > MAX_DRAWN {
        return Err(PictureError { nodes });
    }
    // Matched nodes share a place: a layout of the union of both graphs.
    let mut origin = vec![None; b.nodes()];
    matching.partners().iter().enumerate().filter_map(|(i, j)| Some((i, (*j)?))).for_each(|(i, j)| origin[j] = Some(i));
    let mut next = a.nodes();
    let place_of_b: Vec<usize> = origin
        .iter()
        .map(|origin| {
            origin.unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    let mut union: Vec<(usize, usize)> = a.edges().to_vec();
    union.extend(b.edges().iter().map(|&(p, q)| a.ordered((place_of_b[p], place_of_b[q]))));
    union.sort_unstable();
    union.dedup();
    let places = layout(next, &union);

    let (width, height) = (2.0 * SIDE + GAP, SIDE + HEAD);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    legend(&mut svg, a, b, distance);
    let left = |i: usize| (places[i].0, places[i].1);
    let right = |j: usize| (places[place_of_b[j]].0 + SIDE + GAP, places[place_of_b[j]].1);
    for (j, origin) in origin.iter().enumerate() {
        if let Some(i) = origin {
            let ((x, y), (u, v)) = (left(*i), right(j));
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{u:.1}\" y2=\"{v:.1}\" stroke=\"{PARTNERS}\" stroke-dasharray=\"2 5\" opacity=\"0.6\"/>"
            );
        }
    }
    for &(i, k) in a.edges() {
        let kept = matching.partners()[i].zip(matching.partners()[k]).is_some_and(|(p, q)| b.has_edge(p, q));
        edge(&mut svg, left(i), left(k), a.direction(), if kept { KEPT } else { DELETED });
    }
    for &(p, q) in b.edges() {
        let kept = origin[p].zip(origin[q]).is_some_and(|(i, k)| a.has_edge(i, k));
        edge(&mut svg, right(p), right(q), b.direction(), if kept { KEPT } else { INSERTED });
    }
    for (i, (label, partner)) in a.labels().iter().zip(matching.partners()).enumerate() {
        let (colour, becomes) = match partner {
            None => (DELETED, "is deleted".to_owned()),
            Some(j) if b.labels()[*j] != *label => (RELABELLED, format!("becomes {j} {:?}", b.labels()[*j])),
            Some(j) => (KEPT, format!("is {j}")),
        };
        node(&mut svg, left(i), label, colour, &format!("{i} {label:?} {becomes}"));
    }
    for (j, (label, origin)) in b.labels().iter().zip(&origin).enumerate() {
        let (colour, was) = match origin {
            None => (INSERTED, "is inserted".to_owned()),
            Some(i) if a.labels()[*i] != *label => (RELABELLED, format!("was {i} {:?}", a.labels()[*i])),
            Some(i) => (KEPT, format!("was {i}")),
        };
        node(&mut svg, right(j), label, colour, &format!("{j} {label:?} {was}"));
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn legend(svg: &mut String, a: &LabelledGraph, b: &LabelledGraph, distance: usize) {
    let edits = if distance == 1 { "edit" } else { "edits" };
    let _ = writeln!(svg, "<text x=\"{RIM}\" y=\"32\" font-size=\"20\">A to B in {distance} {edits}</text>");
    let words = [(KEPT, "kept"), (RELABELLED, "relabelled"), (DELETED, "deleted"), (INSERTED, "inserted")];
    for (at, (colour, word)) in words.iter().enumerate() {
        let x = SIDE + GAP + RIM + 115.0 * at as f64;
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"26\" r=\"7\" fill=\"white\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{}\" y=\"31\" font-size=\"14\">{word}</text>",
            x + 13.0
        );
    }
    for (name, graph, x) in [("A", a, RIM), ("B", b, SIDE + GAP + RIM)] {
        let (nodes, edges) = (graph.nodes(), graph.edges().len());
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"62\" font-size=\"15\" fill=\"#333333\">{name}: {nodes} nodes, {edges} edges</text>"
        );
    }
}

fn edge(svg: &mut String, from: (f64, f64), to: (f64, f64), direction: Direction, colour: &str) {
    let ((x, y), (u, v)) = (from, to);
    let _ = writeln!(
        svg,
        "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{u:.1}\" y2=\"{v:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
    );
    let length = (u - x).hypot(v - y);
    if direction == Direction::Directed && length > 1.0 {
        // The head of an arrow, where the edge meets the rim of its node.
        let (dx, dy) = ((u - x) / length, (v - y) / length);
        let (tip_x, tip_y) = (u - 14.0 * dx, v - 14.0 * dy);
        let (back_x, back_y) = (tip_x - 9.0 * dx, tip_y - 9.0 * dy);
        let _ = writeln!(
            svg,
            "<polygon points=\"{tip_x:.1},{tip_y:.1} {:.1},{:.1} {:.1},{:.1}\" fill=\"{colour}\"/>",
            back_x - 4.5 * dy,
            back_y + 4.5 * dx,
            back_x + 4.5 * dy,
            back_y - 4.5 * dx
        );
    }
}

fn node(svg: &mut String, (x, y): (f64, f64), label: &str, colour: &str, title: &str) {
    let short: String =
        if label.chars().count() > 4 { label.chars().take(3).chain(['…']).collect() } else { label.into() };
    let _ = writeln!(
        svg,
        "<g><title>{}</title><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"13\" fill=\"white\" stroke=\"{colour}\" \
         stroke-width=\"3\"/><text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"12\" text-anchor=\"middle\">{}</text></g>",
        xml(title),
        y + 4.0,
        xml(&short)
    );
}

/// Places within one side: edges pull, nodes push (Fruchterman and Reingold, Graph drawing by force-directed placement,
/// Software: Practice and Experience 21, 1991). Starts from a spiral, so it is the same every time.
fn layout(nodes: usize, edges: &[(usize, usize)]) -> Vec<(f64, f64)> {
    let ideal = 1.0 / (nodes.max(1) as f64).sqrt();
    let mut at: Vec<(f64, f64)> = (0..nodes)
        .map(|i| {
            let (radius, angle) = (0.5 * ((i as f64 + 0.5) / nodes as f64).sqrt(), 2.399_963 * i as f64);
            (radius * angle.cos(), radius * angle.sin())
        })
        .collect();
    for round in 0..ROUNDS {
        let longest = 0.1 * (1.0 - round as f64 / ROUNDS as f64);
        // What stands apart is kept together by a little gravity.
        let mut force: Vec<(f64, f64)> = at.iter().map(|(x, y)| (-0.3 * ideal * x, -0.3 * ideal * y)).collect();
        for i in 0..nodes {
            for k in 0..i {
                let (dx, dy) = (at[i].0 - at[k].0, at[i].1 - at[k].1);
                let push = ideal * ideal / (dx * dx + dy * dy).max(1e-6);
                force[i].0 += push * dx;
                force[i].1 += push * dy;
                force[k].0 -= push * dx;
                force[k].1 -= push * dy;
            }
        }
        for &(i, k) in edges {
            let (dx, dy) = (at[i].0 - at[k].0, at[i].1 - at[k].1);
            let pull = dx.hypot(dy) / ideal;
            force[i].0 -= pull * dx;
            force[i].1 -= pull * dy;
            force[k].0 += pull * dx;
            force[k].1 += pull * dy;
        }
        for (at, (x, y)) in at.iter_mut().zip(force) {
            let length = x.hypot(y).max(1e-9);
            let step = length.min(longest) / length;
            *at = (at.0 + step * x, at.1 + step * y);
        }
    }
    let low = at.iter().fold((f64::INFINITY, f64::INFINITY), |low, p| (low.0.min(p.0), low.1.min(p.1)));
    let high = at.iter().fold((f64::NEG_INFINITY, f64::NEG_INFINITY), |high, p| (high.0.max(p.0), high.1.max(p.1)));
    let room = SIDE - 2.0 * RIM;
    let fit =
        |x: f64, low: f64, high: f64| if high - low < 1e-9 { 0.5 * room } else { room * (x - low) / (high - low) };
    at.into_iter().map(|(x, y)| (RIM + fit(x, low.0, high.0), HEAD + RIM + fit(y, low.1, high.1))).collect()
}
