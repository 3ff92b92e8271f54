//! Laws of graphs, morphs and networks, from outside. One program, so that what they share is compiled once.

mod edge_laws;
mod expressions;
mod grapheme_graph;
mod history_laws;
mod network_gradient;
mod pattern_laws;
mod text_to_graph;
