//! What is done with bytes that come from nowhere: one function for each target of the fuzzer, and for the test that replays
//! its corpus. Each returns, or panics where a law does not hold.

use grapheme_core::graph::{GraphBatch, GraphemeGraph};
use grapheme_core::morph::{Gates, Plan, merge_targets, realise};
use grapheme_core::{GraphTransformNet, Kept, Matrix, NetworkConfig, Stream};
use grapheme_optics::{Layout, OpticsSettings};
use grapheme_train::checkpoint::Checkpoint;
use grapheme_train::data::{BadLines, Loader};
use grapheme_train::distance::sample::Sample;
use grapheme_train::distance::{Direction, dot, read};
use grapheme_train::ensemble::Ensemble;
use grapheme_train::event::Event;
use grapheme_train::explain::Explanation;
use grapheme_train::job::{self, Existing};
use grapheme_train::lanes::Lanes;
use grapheme_train::loss::align::{Aligner, Problem, Upstream};
use grapheme_train::loss::{Assignment, Band, Banded, Monotone, Sinkhorn};
use grapheme_train::prepare::{Source, Wishes, prepare_members};
use grapheme_train::run::read_metrics;
use grapheme_train::settings::{Preset, RunConfig};
use grapheme_train::transducer::Transducer;
use ndarray::Array2;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A target: its name, which its folder of the corpus has too, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 13] = [
    ("text", text),
    ("expression", expression),
    ("graph_json", graph_json),
    ("pairs", pairs),
    ("dot", graphviz),
    ("optics", optics),
    ("training_examples", training_examples),
    ("config", config),
    ("metrics", metrics),
    ("checkpoint", checkpoint),
    ("morph", morph),
    ("assignment", assignment),
    ("infer", infer),
];

/// A file of this process with these bytes, for what reads files only.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let path = FOLDER.get_or_init(|| tempfile::tempdir().expect("a temporary folder can be made")).path().join(name);
    std::fs::write(&path, bytes).expect("a temporary file can be written");
    path
}

/// Text to graph and back is the same text, alone, within a batch and as JSON.
pub fn text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(graph) = GraphemeGraph::from_text(&text) else { return };
    assert_eq!(graph.to_text().expect("a path has a text"), text);
    let again = GraphemeGraph::from_json(&graph.to_json()).expect("what is written can be read");
    assert_eq!(again.to_text().expect("a path has a text"), text);
    let batch = GraphBatch::from_texts(&["x", &text, ""]).expect("short texts fit");
    assert_eq!(batch.graphemes(1).collect::<Vec<_>>().concat(), text);
    let parts: usize = (0..batch.nodes()).filter_map(|node| batch.span(node)).map(|span| span.len()).sum();
    assert!(parts >= text.len(), "{parts} bytes of {}", text.len() + 1);
}

/// A tree of the size that was foretold, or a path; the text is kept either way.
pub fn expression(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let batch = GraphBatch::from_expressions(&[&text]).expect("short texts fit");
    assert_eq!(batch.text(0), text);
    if let Ok(nodes) = grapheme_core::graph::measure_expression(&text) {
        assert_eq!(batch.nodes(), nodes);
    }
}

/// What is read can be written and read again to the same graph, and has an order.
pub fn graph_json(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(graph) = GraphemeGraph::from_json(&text) else { return };
    assert!(graph.is_acyclic());
    let json = graph.to_json();
    let again = GraphemeGraph::from_json(&json).expect("what is written can be read");
    assert_eq!(again.to_json(), json);
    if let Ok(whole) = graph.expanded() {
        assert!(whole.node_count() >= graph.node_count());
    }
    graph.to_dot();
}

/// Labelled graphs and pairs of them; what is read can be written and read again.
pub fn pairs(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for direction in [Direction::Directed, Direction::Undirected] {
        let _ = read::graph(&text, direction);
        let Ok(samples) = read::pairs(&text, direction) else { continue };
        let lines: Vec<String> = samples.iter().map(read::to_line).collect();
        let again = read::pairs(&lines.join("\n"), direction).expect("what is written can be read");
        assert_eq!(again.iter().map(read::to_line).collect::<Vec<_>>(), lines);
    }
}

/// Labelled graphs in the language of Graphviz: what is read has as many nodes as the text can name, joined once each.
pub fn graphviz(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(graph) = dot::graph(&text) else { return };
    assert!(graph.nodes() <= text.len() && graph.edges().windows(2).all(|pair| pair[0] < pair[1]));
    assert!(graph.edges().iter().all(|&(a, b)| a != b && a.max(b) < graph.nodes()));
    let direction = graph.direction();
    let line = read::to_line(&Sample { a: graph.clone(), b: graph, ged: None, at_most: None });
    read::pairs(&line, direction).expect("what is written can be read");
}

/// Settings of media.
pub fn optics(bytes: &[u8]) {
    let Ok(settings) = serde_json::from_slice::<OpticsSettings>(bytes) else { return };
    let layout = Layout {
        width: 8,
        layers: (0..5).map(|i| format!("layer {i}")).collect(),
        residual: vec![false; 5],
        shape: vec![0; 4],
    };
    if settings.check(&layout).is_ok() {
        let json = serde_json::to_string(&settings).expect("settings can be written");
        let again: OpticsSettings = serde_json::from_str(&json).expect("what is written can be read");
        again.check(&layout).expect("what is sound stays sound");
    }
}

/// Two columns and JSON lines.
pub fn training_examples(bytes: &[u8]) {
    for name in ["examples.tsv", "examples.jsonl"] {
        let path = file(name, bytes);
        for bad_lines in [BadLines::Stop, BadLines::Skip] {
            let _ = Loader { bad_lines, ..Loader::default() }.file(&path);
        }
    }
}

/// Settings of a run; what they ask for is built where it is small.
pub fn config(bytes: &[u8]) {
    let Ok(config) = serde_json::from_slice::<RunConfig>(bytes) else { return };
    let json = serde_json::to_string(&config).expect("settings can be written");
    serde_json::from_str::<RunConfig>(&json).expect("what is written can be read");
    let small = config.model.network.width <= 64 && bytes.len() < 10_000;
    if small && config.model.network.stages.len() < 4 {
        let _ = Transducer::new(config.model, 1).map(|model| model.see(&["abc"]).map(|_| ()));
    }
}

/// Lines of events.
pub fn metrics(bytes: &[u8]) {
    let _ = read_metrics(&file("metrics.jsonl", bytes));
}

/// Weights: read into a network, or refused.
pub fn checkpoint(bytes: &[u8]) {
    static NET: OnceLock<GraphTransformNet<f32>> = OnceLock::new();
    let Ok(checkpoint) = Checkpoint::open(&file("model.safetensors", bytes)) else { return };
    let net = NET.get_or_init(|| GraphTransformNet::new(&NetworkConfig::tiny(4), 1).expect("it is sound"));
    let _ = checkpoint.read_into("", &mut net.clone());
}

/// Numbers from bytes: from -10,000 to 10,000, and what is not finite only where `wild`.
struct Numbers<'a> {
    bytes: &'a [u8],
    wild: bool,
}

impl Numbers<'_> {
    fn byte(&mut self) -> u8 {
        let (&first, rest) = self.bytes.split_first().unwrap_or((&0, &[]));
        self.bytes = rest;
        first
    }

    fn number(&mut self) -> f64 {
        let (kind, a) = (self.byte(), f64::from(self.byte()));
        match kind % 16 {
            0 => 0.0,
            1 => a * 40.0,
            2 => -a * 40.0,
            3 => (a - 128.0) * 1e-300,
            4 if self.wild => f64::INFINITY,
            5 if self.wild => f64::NAN,
            6 if self.wild => f64::MAX,
            _ => (a - 128.0) / 32.0,
        }
    }
}

/// A plan is carried out: rows of the history are convex combinations, nobody is lost while somebody stays, and the backward
/// pass is the transpose.
pub fn morph(bytes: &[u8]) {
    let mut numbers = Numbers { bytes, wild: false };
    let slots = 1 + usize::from(numbers.byte() % 4);
    let lengths: Vec<usize> = (0..numbers.byte() % 4).map(|_| usize::from(numbers.byte() % 20)).collect();
    let texts: Vec<String> = lengths.iter().map(|&n| "ab".chars().cycle().take(n).collect()).collect();
    let Ok(batch) = GraphBatch::from_texts(&texts) else { return };
    let topology = batch.topology();
    let n = topology.nodes() * slots;
    let (mut log_stay, mut log_merge) = (Kept::with_capacity(n), Kept::with_capacity(n));
    for _ in 0..n {
        let logit = numbers.number();
        log_stay.push(-f64::max(logit, 0.0) - (-logit.abs()).exp().ln_1p());
        log_merge.push(f64::min(logit, 0.0) - (-logit.abs()).exp().ln_1p());
    }
    let gates = Gates { log_stay, log_merge };
    let targets = merge_targets(topology, slots);
    for plan in [Plan::most_probable(&gates), Plan::sample(&gates, &mut Stream::new(u64::from(numbers.byte())))] {
        let realised = realise(&plan, &gates, &targets, topology, slots).expect("there are no edges to overflow");
        let history = &realised.history;
        assert_eq!((history.inputs(), history.outputs()), (n, plan.stays.iter().filter(|&&stays| stays).count()));
        for node in 0..history.outputs() {
            let total: f64 = history.contributors(node).map(|(_, weight)| weight).sum();
            assert!((total - 1.0).abs() < 1e-12, "the weights of node {node} add up to {total}");
        }
        assert!(history.entries() + history.dropped().len() == n, "a candidate is lost");
        let h = Matrix::from(Array2::from_shape_fn((n, 2), |(i, j)| (i * 2 + j) as f64 / n as f64));
        let dout = Array2::from_shape_fn((history.outputs(), 2), |(i, j)| 1.0 - ((i + j) % 5) as f64);
        let dout = Matrix::from(dout);
        let (forward, backward) = (history.forward(&h), history.backward(&dout));
        let (a, b) = ((&*forward * &*dout).sum(), (&*backward * &*h).sum());
        assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs()), "{a} is not {b}: backward is not the transpose");
    }
}

/// Both assignments of any problem: what comes out is finite, or said to be useless and zero.
pub fn assignment(bytes: &[u8]) {
    let mut numbers = Numbers { bytes, wild: false };
    numbers.wild = numbers.byte().is_multiple_of(2);
    let (n, m) = (usize::from(numbers.byte() % 9), usize::from(numbers.byte() % 9));
    let band = Band::dense(n, m);
    let cost = Banded::from_fn(&band, |_, _| numbers.number());
    let deletion = (0..n).map(|_| numbers.number()).collect();
    let insertion = (0..m).map(|_| numbers.number()).collect();
    let mass = (0..n).map(|_| f64::from(numbers.byte()) / 255.0).collect();
    let problem = Problem::new(cost, deletion, insertion, mass).expect("lengths are right");
    let sinkhorn = Sinkhorn { max_iterations: 200, ..Sinkhorn::default() };
    for method in [Assignment::Monotone(Monotone::default()), Assignment::Sinkhorn(sinkhorn)] {
        let answer = method.align(&problem);
        let upstream = Upstream { value: 1.0, plan: Some(&answer.plan) };
        let gradient = method.vjp(&problem, &answer, upstream);
        let of = [&answer.deleted, &answer.inserted, &gradient.deletion, &gradient.insertion, &gradient.mass];
        let all = of.into_iter().flatten().chain(answer.plan.values()).chain(gradient.cost.values());
        match answer.status.is_usable() {
            true => {
                assert!(answer.value.is_finite(), "{:?}: the value is {}", answer.status, answer.value);
                all.for_each(|x| assert!(x.is_finite(), "{:?}: {x}", answer.status));
            }
            false => all.for_each(|&x| assert_eq!(x, 0.0, "{:?}", answer.status)),
        }
    }
}

/// A trained set answers any text: the likeliest first, with probabilities that are such, and can say why.
pub fn infer(bytes: &[u8]) {
    static MODEL: OnceLock<(Ensemble, Lanes<GraphTransformNet<f32>>)> = OnceLock::new();
    let (model, lanes) = MODEL.get_or_init(|| {
        let rows: String = (1..200).map(|n| format!("wörd{n}\tw ɜː d {n}\n")).collect();
        let words = file("words.tsv", rows.as_bytes());
        let source = Source::Files { train: words.clone(), dev: words.clone() };
        let wishes = Wishes { preset: Preset::Tiny, width: Some(16), epochs: Some(4), ..Wishes::default() };
        let members = prepare_members(&source, BadLines::Stop, wishes, 1, 2).expect("the rows are sound");
        let out = words.with_file_name("run");
        let jobs = job::begin(&out, members, Existing::Refuse).expect("the folder is new");
        job::train(&jobs, 1, &mut Vec::<Event>::new(), |_, _| {}).expect("it can be trained");
        let lanes = Lanes::new(1).expect("a thread can be started");
        (job::calibrate(&out, &jobs, &lanes).expect("it was trained"), lanes)
    });
    let text = String::from_utf8_lossy(bytes);
    if model.text_fault(&text).is_some() {
        return;
    }
    let texts = ["wörd7", &text];
    for (text, (answer, reading)) in texts.iter().zip(model.explain(&texts, 3, lanes).expect("short texts can be read"))
    {
        let proposals = answer.proposals;
        assert!((1..=3).contains(&proposals.len()) && proposals.is_sorted_by(|a, b| a.confidence >= b.confidence));
        let all: f64 = proposals.iter().map(|proposal| proposal.confidence).sum();
        assert!(proposals.iter().all(|proposal| proposal.confidence >= 0.0) && all <= 1.0 + 1e-9, "{proposals:?}");
        // Minus infinity where a member cannot write what another proposes.
        assert!(proposals.iter().all(|proposal| proposal.log_probability <= 1e-6), "{proposals:?}");
        Explanation::of(text, &reading).expect("what was read can be explained").columns();
    }
}
