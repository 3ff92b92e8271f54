//! Other programs that do the same, run in turn with ours: PyTorch and POT, by the scripts in `scripts/peers`.
//!
//! A script is given a folder with weights and inputs and with the losses that we found. It computes the losses itself,
//! stops if they do not agree to 1e-4, says `ready`, and then takes one round for each line that it reads, of as many seconds as
//! the line says, answering with the seconds of a run. So both sides work in the same minute on the same machine, for as long as
//! each other, and only their ratio counts.

use crate::clock::{Timing, repeat};
use crate::inputs::{examples, problem};
use crate::kernels::EPSILON;
use crate::step::{Step, preset, sinkhorn, small};
use anyhow::{Context, Result, bail, ensure};
use grapheme_core::{GraphBatch, GraphTransformNet, Vacuum};
use grapheme_train::checkpoint::Checkpoint;
use grapheme_train::data::Example;
use grapheme_train::loss::Band;
use grapheme_train::loss::align::{Aligner, Upstream};
use grapheme_train::settings::{ModelSpec, Preset};
use grapheme_train::transducer::label;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// How many times as fast as a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// What, and against whom.
    pub name: String,
    /// Median seconds of a run here.
    pub here: f64,
    /// Median seconds of a run there.
    pub there: f64,
    /// Their seconds over ours, over rounds.
    pub ratio: Timing,
}

/// Rounds of each side.
const ROUNDS: usize = 9;

/// Seconds of a round, of one run at least. Long beside the time in which a side finds its caches again after the other's round.
const ROUND: f64 = 0.2;

/// A script that is ready to take rounds.
struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &Path, script: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(python)
            .arg(script)
            .args(arguments)
            // Our side has one thread too. Somebody's choice of an old kernel would slow the peer down.
            .envs(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"].map(|name| (name, "1")))
            .env_remove("OPENBLAS_CORETYPE")
            .env_remove("OPENBLAS_L2_SIZE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}: cannot be started; see scripts/peers/README.md", python.display()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take().context("a pipe was asked for")?);
        let mut peer = Self { child, input, output: BufReader::new(output) };
        let answer = peer.line()?;
        ensure!(answer == "ready", "{}: expected to hear `ready`, found `{answer}`", script.display());
        Ok(peer)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the peer ended with {}; it says why above", self.child.wait()?);
        }
        Ok(line.trim().to_owned())
    }

    /// Seconds of a run.
    fn round(&mut self) -> Result<f64> {
        writeln!(self.input.as_mut().context("the peer listens")?, "{ROUND}")?;
        let line = self.line()?;
        line.parse().with_context(|| format!("expected seconds, found `{line}`"))
    }

    /// Both sides in turn; `run` is a run here.
    fn pair<T>(mut self, name: String, mut run: impl FnMut() -> T) -> Result<Paired> {
        repeat(1, &mut run);
        let runs = (ROUND / repeat(1, &mut run).as_secs_f64()).max(1.0) as u64;
        let mut here = || repeat(runs, &mut run).as_secs_f64() / runs as f64;
        self.round()?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push((here(), self.round()?));
        }
        // The end of its input ends the script.
        self.input = None;
        self.child.wait()?;
        let median = |side: fn(&(f64, f64)) -> f64| Timing::of(rounds.iter().map(side).collect()).median;
        let ratio = Timing::of(rounds.iter().map(|(here, there)| there / here).collect());
        Ok(Paired { name, here: median(|round| round.0), there: median(|round| round.1), ratio })
    }
}

/// Every comparison whose name contains `filter`; `compiled` also runs `torch.compile`, which takes minutes to warm up.
///
/// # Errors
/// If a peer cannot be started, or computes something else.
pub fn compare(
    python: &Path,
    scripts: &Path,
    filter: &str,
    compiled: bool,
    mut tell: impl FnMut(&str),
) -> Result<Vec<Paired>> {
    let folder = tempfile::tempdir()?;
    let mut found = Vec::new();
    let mut wants = |name: &str| {
        let wanted = name.contains(filter);
        if wanted {
            tell(name);
        }
        wanted
    };
    let pool = examples(32, 8..=12, 3);
    for mode in ["eager", "compiled"] {
        let name = format!("step/small with Sinkhorn, 32 examples, PyTorch {mode}");
        if wants(&name) && (mode == "eager" || compiled) {
            let step = Step::new(small(&pool), pool.clone());
            let start = |task: &str| Peer::start(python, &scripts.join("step.py"), &["small", mode, task]);
            found.push(steps(step, vec![pool.clone()], folder.path(), start, name)?);
        }
    }
    // Batches of one length each for the peer, which then pads nothing; ours are mixed, as in training.
    let pool = examples(7 * 32, 6..=12, 4);
    let name = "step/words, 7 x 32 examples, PyTorch eager".to_owned();
    if wants(&name) {
        let step = Step::new(preset(Preset::Words, None, &pool), pool.clone());
        let batches = pool.chunks(32).map(<[Example]>::to_vec).collect();
        let start = |task: &str| Peer::start(python, &scripts.join("step.py"), &["words", "eager", task]);
        found.push(steps(step, batches, folder.path(), start, name)?);
    }
    for n in [8usize, 32, 128, 512, 2048] {
        for mode in ["plain", "log", "gradient"] {
            let name = match mode {
                "plain" => format!("sinkhorn/{n}/forward, POT sinkhorn"),
                "log" => format!("sinkhorn/{n}/forward, POT sinkhorn_log"),
                _ => format!("sinkhorn/{n}/gradient, PyTorch autograd"),
            };
            // A graph of twenty log-sum-exps of 4 million entries takes more memory than it is worth.
            if !wants(&name) || (mode == "gradient" && n > 512) {
                continue;
            }
            found.push(transport(
                n,
                mode,
                folder.path(),
                |task| Peer::start(python, &scripts.join("sinkhorn.py"), &[mode, task]),
                name,
            )?);
        }
    }
    Ok(found)
}

/// A run is a step on each of the batches. `step` has all examples.
fn steps(
    mut step: Step,
    mut batches: Vec<Vec<Example>>,
    folder: &Path,
    start: impl FnOnce(&str) -> Result<Peer>,
    name: String,
) -> Result<Paired> {
    let mut weights = Checkpoint::new(folder.join("weights.safetensors"));
    weights.insert("", &step.model.net)?;
    weights.save()?;
    step.dropout = false;
    let losses = step.pass(&Vacuum).0.losses;
    step.dropout = true;
    let spec = &step.model.spec;
    let network = &spec.network;
    let examples = step.examples.iter().map(|example| written(&step.model.net, example, spec));
    let task = json!({
        "width": network.width, "slots": network.stages[0].slots, "temperature": network.temperature,
        "dropout": network.dropout, "embedding_dropout": network.embedding_dropout, "rate": step.rate,
        "batch": batches[0].len(), "examples": examples.collect::<Result<Vec<_>>>()?, "losses": losses[..],
    });
    let file = folder.join("task.json");
    std::fs::write(&file, serde_json::to_vec(&task)?)?;
    let peer = start(file.to_str().context("a path in UTF-8")?)?;
    peer.pair(name, || {
        for batch in &mut batches {
            std::mem::swap(&mut step.examples, batch);
            step.take();
            std::mem::swap(&mut step.examples, batch);
        }
    })
}

/// An example as numbers: the rows of the tables that its nodes are the sum of, what they would copy, and its target.
fn written(net: &GraphTransformNet<f32>, example: &Example, spec: &ModelSpec) -> Result<serde_json::Value> {
    let (batch, labelling): (GraphBatch, _) = label(std::iter::once(example), spec)?;
    let rows: Vec<Vec<usize>> = batch.codes().iter().map(|&code| net.embedding.rows(code).collect()).collect();
    let positions: Vec<usize> = (0..batch.nodes()).map(|node| batch.position(node)).collect();
    let can_copy: Vec<bool> = (0..batch.nodes()).map(|node| batch.cluster(node).is_some()).collect();
    let (copies, target) = (&labelling.copies[..], labelling.target(0));
    Ok(json!({ "rows": rows, "positions": positions, "can_copy": can_copy, "copies": copies, "target": target }))
}

fn transport(
    n: usize,
    mode: &str,
    folder: &Path,
    start: impl FnOnce(&str) -> Result<Peer>,
    name: String,
) -> Result<Paired> {
    let (problem, method) = (problem::<f32>(&Band::dense(n, n), 1.0, 0.5), sinkhorn(EPSILON));
    let cost = Array2::from_shape_fn((n + 1, n + 1), |(i, j)| match (i < n, j < n) {
        (true, true) => problem.cost().row(i)[j],
        (true, false) => problem.deletion()[i],
        (false, true) => problem.insertion()[j],
        (false, false) => 0.0,
    });
    let align = || method.align(&problem);
    let pull = || {
        let alignment = align();
        method.vjp(&problem, &alignment, Upstream { value: 1.0, plan: None })
    };
    let (alignment, gradient) = (align(), pull());
    let mut file = Checkpoint::new(folder.join("transport.safetensors"));
    file.insert("cost", &cost)?;
    let predicted: f32 = problem.mass().iter().sum();
    file.insert("rows", &problem.mass().iter().copied().chain([n as f32]).collect::<Array1<f32>>())?;
    file.insert("columns", &std::iter::repeat_n(1.0, n).chain([predicted]).collect::<Array1<f32>>())?;
    file.insert("value", &Array1::from_elem(1, alignment.value))?;
    file.insert("plan", &Array2::from_shape_fn((n, n), |(i, j)| alignment.plan.row(i)[j]))?;
    file.insert("dcost", &Array2::from_shape_fn((n, n), |(i, j)| gradient.cost.row(i)[j]))?;
    file.insert("epsilon", &Array1::from_elem(1, EPSILON as f32))?;
    file.save()?;
    let peer = start(folder.join("transport.safetensors").to_str().context("a path in UTF-8")?)?;
    if mode == "gradient" { peer.pair(name, pull) } else { peer.pair(name, align) }
}
