//! The backward pass of the whole network against finite differences, for every parameter and every input feature.

use grapheme_core::check::{NumericGradient, Report};
use grapheme_core::graph::{EdgeKind, GraphBatch, GraphemeGraph};
use grapheme_core::layers::{DropoutKeys, RoundKind};
use grapheme_core::morph::Plan;
use grapheme_core::network::{Closing, ForwardOptions, MorphedGraph, StageConfig, Upstream};
use grapheme_core::{
    Boundary, GradientMedium, GraphTransformNet, Matrix, NetworkConfig, Stream, Topology, Vacuum, param,
};
use ndarray::Array2;
use rand::RngExt;
use std::collections::BTreeMap;

const TEXTS: [&str; 4] = ["abc", "", "한é", "x👩‍👩‍👧 1"];

/// A smooth loss that reads every output with a random weight, and its gradient.
fn probe(morphed: &MorphedGraph<f64>) -> (f64, Upstream<f64>) {
    let mut random = Stream::new(99);
    let mut upstream = Upstream::zeros(morphed);
    let mut loss = 0.0;
    let Upstream { gates, log_label, edge_weights, .. } = &mut upstream;
    let gate = morphed.gates.log_stay.iter().zip(gates.log_stay.iter_mut());
    let gate = gate.chain(morphed.gates.log_merge.iter().zip(gates.log_merge.iter_mut()));
    let edges = morphed.edge_weights.iter().flatten().zip(edge_weights.iter_mut().flatten());
    let read = gate.chain(morphed.log_label.iter().zip(log_label.iter_mut())).chain(edges);
    for (&value, d) in read.filter(|(value, _)| value.is_finite()) {
        let weight = random.random::<f64>() - 0.5;
        // Not linear in the value, so that second factors of products are seen as well.
        loss += weight * value + 0.1 * value * value;
        *d = weight + 0.2 * value;
    }
    (loss, upstream)
}

struct Case {
    net: GraphTransformNet<f64>,
    batch: GraphBatch,
    closing: Closing,
    dropout: Option<DropoutKeys>,
}

impl Case {
    fn new(stages: &[(&[RoundKind], usize)], closing: Closing, dropout: f64) -> Self {
        let stages = stages.iter().map(|&(rounds, slots)| StageConfig { rounds: rounds.to_vec(), slots }).collect();
        let config =
            NetworkConfig { stages, dropout, embedding_dropout: dropout, isolation: dropout, ..NetworkConfig::tiny(4) };
        let mut net = GraphTransformNet::new(&config, 3).unwrap();
        // Thresholds near the similarities, so that some candidates merge and some stay.
        param::each_mut(&mut net, |name, _, values| {
            if name.ends_with("gate.thresholds") {
                values.copy_from_slice(&[0.05, -0.1, 0.02][..values.len()]);
            } else if name.ends_with("thresholds") {
                values.copy_from_slice(&[0.02, -0.1, -0.2, 0.0, -0.1]);
            } else if name.contains("factor") {
                // Factors of exactly 1 would hide a backward pass that forgets them.
                (0u32..).zip(values).for_each(|(i, value)| *value = f64::from(i * 7 % 5) * 0.2 - 0.4);
            }
        });
        let batch = GraphBatch::from_texts(&TEXTS).unwrap();
        let dropout = (dropout > 0.0).then(|| DropoutKeys::new(&Stream::new(8), 0..TEXTS.len() as u64));
        Self { net, batch, closing, dropout }
    }

    fn options<'a>(&'a self, plans: Option<&'a [Plan]>) -> ForwardOptions<'a> {
        ForwardOptions { closing: self.closing, dropout: self.dropout.as_ref(), plans }
    }

    /// What finite differences say, the choices of the plans held fixed.
    fn numeric(&self) -> NumericGradient {
        let plans = self.net.forward(&self.batch, self.options(None)).unwrap().1.plans();
        if self.closing == Closing::Realised {
            let merges: usize = plans.iter().map(Plan::merges).sum();
            assert!(merges > 0 && plans.iter().all(|plan| plan.merges() < plan.stays.len()), "a plan worth checking");
        }
        let touched: Vec<usize> = self.batch.codes().iter().flat_map(|&code| self.net.embedding.rows(code)).collect();
        let width = self.net.embedding.table.ncols();
        let wanted = |name: &str, i: usize| name != "embedding.table" || touched.contains(&(i / width));
        let numeric = NumericGradient::of_model(&self.net, wanted, |net| {
            probe(&net.forward(&self.batch, self.options(Some(&plans))).unwrap().0).0
        });
        let features = self.net.embedding.forward(&self.batch);
        numeric.and(NumericGradient::of_slice("features", features.as_slice().unwrap(), |x| {
            let x = Array2::from_shape_vec(features.dim(), x.to_vec()).unwrap();
            probe(&self.net.forward_features(x.into(), &self.batch, self.options(Some(&plans))).unwrap().0).0
        }))
    }

    /// The backward pass through a medium, held against `numeric`.
    fn compare(&self, numeric: &NumericGradient, medium: &impl GradientMedium<f64>) -> Report {
        let (morphed, trace) = self.net.forward(&self.batch, self.options(None)).unwrap();
        let (_, upstream) = probe(&morphed);
        let mut grad = param::zeros_like(&self.net);
        let dfeatures = self.net.backward(trace, &morphed, upstream, medium, &mut Default::default(), &mut grad);
        let mut blocks = BTreeMap::new();
        param::each(&grad, |name, _, values| drop(blocks.insert(name.to_owned(), values.to_vec())));
        blocks.insert("features".to_owned(), dfeatures.values().to_vec());
        numeric.compare(1e-6, |name| &blocks[name])
    }

    fn check(&self) -> Report {
        self.compare(&self.numeric(), &Vacuum)
    }
}

const GATED: RoundKind = RoundKind::Gated { distance: 1 };
const SKIP: RoundKind = RoundKind::Gated { distance: 2 };
const RECURRENT: RoundKind = RoundKind::Recurrent;
const PLAIN: RoundKind = RoundKind::Plain { distance: 1 };
const EDGES: RoundKind = RoundKind::Edges { window: 3 };

#[test]
fn every_derivative_of_every_form_agrees() {
    let forms: [&[(&[RoundKind], usize)]; 6] = [
        &[(&[PLAIN, PLAIN], 2)],
        &[(&[GATED, SKIP], 2)],
        &[(&[RECURRENT], 3)],
        &[(&[], 1)],
        &[(&[GATED], 1), (&[RECURRENT], 2)],
        &[(&[GATED, EDGES], 1), (&[EDGES, RECURRENT, EDGES], 2)],
    ];
    for form in forms {
        for closing in [Closing::Marginalised, Closing::Realised] {
            for dropout in [0.0, 0.3] {
                let report = Case::new(form, closing, dropout).check();
                assert!(report.passed(), "{form:?}, {closing:?}, dropout {dropout}\n{report}");
                assert!(report.blocks.iter().all(|block| block.checked > 0));
            }
        }
    }
}

#[test]
fn a_first_morph_that_leaves_nothing_leaves_nothing_to_differentiate() {
    let mut case = Case::new(&[(&[GATED], 2), (&[RECURRENT, SKIP], 3)], Closing::Marginalised, 0.0);
    case.net.stages[0].morph.gate.thresholds.fill(-1e3);
    for closing in [Closing::Marginalised, Closing::Realised] {
        case.closing = closing;
        let (morphed, trace) = case.net.forward(&case.batch, case.options(None)).unwrap();
        assert_eq!((morphed.topology.nodes(), morphed.log_label.nrows()), (0, 0));
        let mut grad = param::zeros_like(&case.net);
        let dx = case.net.backward(trace, &morphed, probe(&morphed).1, &Vacuum, &mut (), &mut grad);
        assert!(dx.iter().all(|&d| d == 0.0) && param::norm(&grad) == 0.0);
    }
}

#[test]
fn what_is_out_of_reach_pulls_apart_what_earlier_morphs_merged_of_it() {
    let mut case = Case::new(&[(&[GATED], 2), (&[RECURRENT], 2)], Closing::Marginalised, 0.0);
    case.net.stages[0].morph.gate.thresholds.fill(-0.3);
    let (morphed, trace) = case.net.forward(&case.batch, case.options(None)).unwrap();
    let plan = trace.plans().remove(0);
    let mut upstream = Upstream::zeros(&morphed);
    upstream.unreachable = vec![0, 3];
    let mut grad = param::zeros_like(&case.net);
    case.net.backward(trace, &morphed, upstream, &Vacuum, &mut (), &mut grad);
    // The same as finite differences say of the cost of the merged candidates of the two graphs.
    let slots = 2;
    let merged: Vec<usize> = [0, 3]
        .into_iter()
        .flat_map(|graph| case.batch.topology().range(graph))
        .flat_map(|node| node * slots..node * slots + slots)
        .filter(|&c| !plan.stays[c])
        .collect();
    assert!(merged.len() > 3);
    let mut first = case.net.clone();
    first.stages.truncate(1);
    let cost = |net: &GraphTransformNet<f64>| {
        let gates = net.forward(&case.batch, case.options(None)).unwrap().0.gates;
        -merged.iter().map(|&c| gates.log_stay[c]).sum::<f64>()
    };
    let numeric = NumericGradient::of_model(&first, |name, _| name.starts_with("stages.0"), cost);
    let mut blocks = BTreeMap::new();
    param::each(&grad, |name, _, values| drop(blocks.insert(name.to_owned(), values.to_vec())));
    let report = numeric.compare(1e-6, |name| &blocks[name]);
    assert!(report.passed(), "{report}");
    assert!(blocks["stages.1.morph.slots"].iter().all(|&d| d == 0.0));
}

/// Notes how many rows crossed, and how many nodes the topology has.
struct Rows;

impl GradientMedium<f64> for Rows {
    type Trace = Vec<(usize, usize)>;

    fn cross(&self, _: Boundary, topology: &Topology, gradient: &mut Array2<f64>, trace: &mut Self::Trace) {
        trace.push((gradient.nrows(), topology.nodes()));
    }
}

#[test]
fn layer_by_layer_is_the_whole_backward_pass_to_the_bit() {
    for closing in [Closing::Marginalised, Closing::Realised] {
        let case = Case::new(&[(&[GATED, EDGES, RECURRENT], 2), (&[EDGES, PLAIN], 2)], closing, 0.3);
        let (morphed, trace) = case.net.forward(&case.batch, case.options(None)).unwrap();
        let upstream = probe(&morphed).1;
        let mut grad = param::zeros_like(&case.net);
        let layers = case.net.layer_names().len();
        let mut dx = upstream.log_label.clone();
        let mut dweights = upstream.edge_weights.clone().unwrap_or_default();
        for layer in (0..layers).rev() {
            assert_eq!(trace.topology(&morphed, layer).nodes(), dx.nrows(), "layer {layer}");
            let gates = (layer + 2 == layers).then_some(&upstream.gates);
            // Asked twice: the trace stays whole.
            let (mut twice, mut unread) = (dweights.clone(), param::zeros_like(&case.net));
            let again = case.net.pull_back((&trace, &morphed), layer, dx.clone(), gates, &mut twice, &mut unread);
            dx = case.net.pull_back((&trace, &morphed), layer, dx, gates, &mut dweights, &mut grad);
            assert_eq!((again, twice), (dx.clone(), dweights.clone()));
        }
        let (mut expected, mut rows) = (param::zeros_like(&case.net), Vec::new());
        let features = case.net.backward(trace, &morphed, upstream, &Rows, &mut rows, &mut expected);
        assert_eq!(features, dx);
        param::each_pair(&mut grad, &expected, |name, found, expected| assert_eq!(found, expected, "{name}"));
        assert!(rows.iter().all(|(rows, nodes)| rows == nodes) && rows.len() == layers - 1, "{rows:?}");
    }
}

/// Multiplies the gradient by 1.01 at one boundary: a wrong backward.
struct Fault(usize);

impl GradientMedium<f64> for Fault {
    type Trace = ();

    fn cross(&self, boundary: Boundary, _: &Topology, gradient: &mut Array2<f64>, (): &mut ()) {
        if boundary.index == self.0 {
            *gradient *= 1.01;
        }
    }
}

/// A chain with a semantic edge, and a diamond that is no chain: messages and states travel over explicit edges.
fn explicit_edges(chain: bool) -> GraphBatch {
    let mut graph = GraphemeGraph::new();
    let nodes: Vec<_> = ["a", "é", "b", "c"].map(|label| graph.add_node(label).unwrap()).to_vec();
    let sequential: &[(usize, usize)] =
        if chain { &[(0, 1), (1, 2), (2, 3)] } else { &[(0, 1), (0, 2), (1, 3), (2, 3)] };
    for &(source, target) in sequential {
        graph.connect(nodes[source], nodes[target], EdgeKind::Sequential, 1.0).unwrap();
    }
    graph.connect(nodes[0], nodes[3], EdgeKind::Semantic, 0.7).unwrap();
    let batch = GraphBatch::from_graphs(&[graph, GraphemeGraph::from_text("xy").unwrap()]).unwrap();
    assert_eq!(batch.topology().is_chain(), chain);
    batch
}

#[test]
fn derivatives_agree_over_explicit_edges() {
    for chain in [true, false] {
        for rounds in [&[GATED] as &[_], &[RECURRENT], &[EDGES, GATED], &[EDGES, RECURRENT]] {
            for closing in [Closing::Marginalised, Closing::Realised] {
                let mut case = Case::new(&[(rounds, 1), (rounds, 2)], closing, 0.0);
                case.batch = explicit_edges(chain);
                let report = case.check();
                assert!(report.passed(), "chain {chain}, {rounds:?}, {closing:?}\n{report}");
            }
        }
    }
}

#[test]
fn a_recurrent_node_hears_from_its_ancestors_and_descendants_alone() {
    let case = Case::new(&[(&[RECURRENT], 2)], Closing::Marginalised, 0.0);
    let batch = explicit_edges(false);
    let options = ForwardOptions::marginalised();
    let labels = |x: Matrix<f64>| case.net.forward_features(x, &batch, options).unwrap().0.log_label;
    let x = case.net.embedding.forward(&batch);
    let mut changed = x.clone();
    // Nodes: begin, a, e, acute, b, c, end. The two sides of the diamond are `é` and `b`.
    changed.row_mut(4).fill(3.0);
    let (before, after) = (labels(x), labels(changed));
    // Two candidates a node; a gate and a label of one side cannot know of the other.
    let moved = |node: usize| (2 * node..2 * node + 2).any(|row| before.row(row) != after.row(row));
    assert_eq!((0..7).map(moved).collect::<Vec<_>>(), [true, true, false, false, true, true, true]);
}

#[test]
fn a_wrong_backward_at_any_boundary_is_caught() {
    let case = Case::new(&[(&[GATED], 2), (&[RECURRENT], 2)], Closing::Realised, 0.0);
    let boundaries = case.net.layer_names().len() - 1;
    let numeric = case.numeric();
    assert!(case.compare(&numeric, &Fault(boundaries)).passed(), "a fault beyond the last boundary is none");
    for boundary in 0..boundaries {
        assert!(!case.compare(&numeric, &Fault(boundary)).passed(), "a fault at boundary {boundary} passes");
    }
}

#[test]
fn a_backward_without_histories_is_caught() {
    let case = Case::new(&[(&[GATED], 2)], Closing::Realised, 0.0);
    let (morphed, mut trace) = case.net.forward(&case.batch, case.options(None)).unwrap();
    let (_, truthful) = case.net.forward(&case.batch, case.options(None)).unwrap();
    trace.forget_histories();
    let gradient = |trace| {
        let mut grad = param::zeros_like(&case.net);
        case.net.backward(trace, &morphed, probe(&morphed).1, &Vacuum, &mut (), &mut grad)
    };
    let (lost, kept) = (gradient(trace), gradient(truthful));
    assert!((&*lost - &*kept).iter().any(|gap| gap.abs() > 1e-3));
}
