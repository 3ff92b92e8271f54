//! How the nodes of watched examples became right.

use crate::data::{BadLines, Loader};
use crate::event::NodeFigures;
use crate::explain::shown;
use crate::settings::RunConfig;
use serde::Serialize;

/// One watched example: its nodes over the looks of the run.
#[derive(Debug, Serialize)]
pub struct NodeMap {
    input: String,
    target: String,
    /// Names of the nodes.
    nodes: Vec<String>,
    /// The step of each look.
    steps: Vec<u64>,
    /// Of each look the error of each node.
    errors: Vec<Vec<f64>>,
    /// Of each look the energy of the field's gradient.
    energies: Vec<f64>,
    /// Look, nodes and what was released.
    breakdowns: Vec<(usize, Vec<usize>, f64)>,
}

/// Columns of a map at most.
const COLUMNS: usize = 400;

/// What a run has told of its nodes, by example; more looks than fit are thinned out, breakdowns are kept.
pub fn maps(config: &RunConfig, told: &[(u64, &[NodeFigures])]) -> Vec<NodeMap> {
    let Some((_, last)) = told.last() else { return Vec::new() };
    let loader = Loader { bad_lines: BadLines::Skip, ..Loader::default() };
    let dev = loader.file(&config.data.dev);
    let dev = dev.as_ref().map_or(&[][..], |set| set.examples());
    let every = told.len().div_ceil(COLUMNS);
    let map = |(i, figures): (usize, &NodeFigures)| {
        let (input, target) =
            dev.get(i).map_or((String::new(), String::new()), |e| (e.input.clone(), e.target.clone()));
        let name = |node: usize, codes: &[u32]| match codes.get(node).and_then(|&code| char::from_u32(code)) {
            Some(c) => shown(c.encode_utf8(&mut [0; 4])),
            None if node == 0 => "begin".to_owned(),
            None => "end".to_owned(),
        };
        let batch = config.model.graph.batch(&[&input]).ok();
        let codes = batch.as_ref().map_or(&[][..], |batch| batch.codes());
        let looks: Vec<(u64, &NodeFigures)> =
            told.iter().filter_map(|(step, all)| Some((*step, all.get(i)?))).collect();
        let chosen: Vec<(u64, &NodeFigures)> = looks.iter().step_by(every).copied().collect();
        let breakdowns = looks.iter().enumerate().flat_map(|(look, (_, figures))| {
            figures.breakdowns.iter().map(move |event| (look / every, event.nodes.clone(), event.released))
        });
        NodeMap {
            input,
            target,
            nodes: (0..figures.errors.len()).map(|node| name(node, codes)).collect(),
            steps: chosen.iter().map(|(step, _)| *step).collect(),
            errors: chosen.iter().map(|(_, figures)| figures.errors.clone()).collect(),
            energies: chosen.iter().map(|(_, figures)| figures.gradient_energy).collect(),
            breakdowns: breakdowns.collect(),
        }
    };
    last.iter().enumerate().map(map).collect()
}
