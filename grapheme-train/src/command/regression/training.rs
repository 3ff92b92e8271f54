//! Short trainings on the generated data.

use super::checkpoint::Bits;
use super::figure::{Better, Figure};
use crate::data::{BadLines, Example};
use crate::event::{DevFigures, Event};
use crate::file;
use crate::objective::LossName;
use crate::prepare::{Prepared, Source, Wishes, prepare};
use crate::run::RunFolder;
use crate::settings::Preset;
use crate::trainer::Trainer;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Training is in `f32`, and other processors and systems round products and exponentials differently. Without the fused
/// instructions of either, these losses moved by 1e-8 of themselves.
const LOSS_SLACK: f64 = 1e-5;
/// The error rates did not move then. One example more or less, of the 120 in question, is no news.
const ERROR_SLACK: f64 = 0.02;

/// Examples of the training whose loss is pinned: 20 steps an epoch.
const EXAMPLES: usize = 640;
/// Its epochs.
const EPOCHS: usize = 2;
/// Epochs, examples a step and a lane of the training whose checkpoint is pinned: 200 steps of four lanes.
const BITS: [usize; 3] = [10, 16, 4];
/// Threads that must give the same checkpoint.
const THREADS: [usize; 3] = [1, 2, 8];
/// The tasks of the training whose dev error is pinned, and its epochs: the easiest, so that so short a training shows.
const TASKS: &str = "(drop-";
const TASK_EPOCHS: usize = 6;

/// Losses after fixed steps, and the dev error after a fixed training.
pub fn figures(data: &Path, threads: usize) -> Result<Vec<Figure>> {
    let tiny = |loss, epochs| Wishes { loss, epochs: Some(epochs), ..tiny() };
    let words = run(data, tiny(LossName::Words, EPOCHS), [&first(EXAMPLES); 2], threads)?;
    let graph = run(data, tiny(LossName::Graph, EPOCHS), [&first(EXAMPLES); 2], threads)?;
    let of_tasks = |examples: &[Example]| -> Vec<Example> {
        examples.iter().filter(|example| example.input.starts_with(TASKS)).cloned().collect()
    };
    let tasks = run(data, tiny(LossName::Words, TASK_EPOCHS), [&of_tasks; 2], threads)?;
    Ok(vec![
        Figure::lower("training.words.loss", words.loss, LOSS_SLACK),
        Figure::lower("training.graph.loss", graph.loss, LOSS_SLACK),
        Figure::lower("training.words.dev_ter", tasks.dev.ter, ERROR_SLACK),
        Figure { better: Better::Higher, ..Figure::lower("training.words.dev_exact", tasks.dev.exact, ERROR_SLACK) },
    ])
}

/// The bits of a checkpoint after fixed steps, in which every operation of a training has been at work.
pub fn bits(data: &Path) -> Result<Bits> {
    let [epochs, batch, lane] = BITS;
    let wishes = Wishes { epochs: Some(epochs), batch: Some(batch), lane: Some(lane), ..tiny() };
    let mut checkpoints = BTreeMap::new();
    for threads in THREADS {
        checkpoints.insert(threads, run(data, wishes, [&first(20 * batch), &first(batch)], threads)?.state);
    }
    Ok(Bits::of(&checkpoints))
}

/// The `tiny` network. The preset has no dropout, and dropout is part of what can go wrong.
fn tiny() -> Wishes {
    Wishes { preset: Preset::Tiny, dropout: Some(0.1), ..Wishes::default() }
}

fn first(count: usize) -> impl Fn(&[Example]) -> Vec<Example> {
    move |examples| examples.iter().take(count).cloned().collect()
}

/// How a training ended.
struct End {
    /// The mean loss of the last epoch.
    loss: f64,
    dev: DevFigures,
    /// The file of its last checkpoint.
    state: Vec<u8>,
}

/// Some of the examples.
type Part<'a> = &'a dyn Fn(&[Example]) -> Vec<Example>;

/// Trains on some of the examples, held against some of the dev set.
fn run(data: &Path, wishes: Wishes, [learn, judge]: [Part<'_>; 2], threads: usize) -> Result<End> {
    let source = Source::Folder(data.to_owned());
    let prepared = prepare(&source, BadLines::Stop, wishes, 1);
    let Prepared { config, train, dev, .. } = prepared.with_context(|| {
        format!("the data of the baseline, {}, are missing: run this in the project's folder", data.display())
    })?;
    let (train, dev) = (learn(train.examples()), judge(dev.examples()));
    let scratch = Scratch::new()?;
    let mut events: Vec<Event> = Vec::new();
    let folder = RunFolder::create(&scratch.0)?;
    Trainer::new(&config, &train, &dev, threads)?.run(&folder, false, &mut events)?;
    let state = file::read(&folder.state())?;
    let end = events.into_iter().rev().find_map(|event| match event {
        Event::Epoch { loss, dev: Some(dev), .. } => Some((loss, dev)),
        _ => None,
    });
    let (loss, dev) = end.context("training ended without an epoch")?;
    Ok(End { loss, dev, state })
}

/// A folder that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("grapheme-regression-{}", std::process::id()));
        ensure!(!folder.exists(), "{} is in the way: delete it", folder.display());
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind, it harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
