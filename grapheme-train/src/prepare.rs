//! From files and wishes to a run that can start: units, labels, slots, and what to warn of.

use crate::data::{
    BadLines, DataError, Dataset, Example, GraphForm, LabelInventory, Loader, Split, TargetUnits, propose,
};
use crate::estimator::EstimatorName;
use crate::objective::LossName;
use crate::settings::{CONFIG_VERSION, DataConfig, ModelSpec, Preset, RunConfig, TrainingSettings};
use crate::trainer::{Reachable, needed_slots};
use std::path::{Path, PathBuf};

/// What a person asked of the model; everything else follows from the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wishes {
    /// The network to start from.
    pub preset: Preset,
    /// How an input becomes a graph.
    pub graph: GraphForm,
    /// Units of the targets; none to propose them.
    pub units: Option<TargetUnits>,
    /// Candidates a node; none for the fewest that reach nearly every target.
    pub slots: Option<usize>,
    /// The loss.
    pub loss: LossName,
    /// The estimator; none for the one that goes with the loss.
    pub estimator: Option<EstimatorName>,
    /// Half width of the band of the assignment.
    pub window: Option<usize>,
    /// Whether there are potentials between consecutive labels.
    pub transitions: bool,
    /// Features a node, if not those of the recipe.
    pub width: Option<usize>,
    /// Dropout of messages, if not that of the recipe.
    pub dropout: Option<f64>,
    /// Probability that an example passes without messages, if not that of the recipe.
    pub isolation: Option<f64>,
    /// Passes over the training examples, if not those of the recipe.
    pub epochs: Option<usize>,
    /// Examples a step, if not those of the recipe.
    pub batch: Option<usize>,
    /// Examples a lane, if not those of the recipe.
    pub lane: Option<usize>,
}

impl Default for Wishes {
    /// Nothing but what follows from the data: the default network and the `words` loss.
    fn default() -> Self {
        Self {
            preset: Preset::Words,
            graph: GraphForm::Path,
            units: None,
            slots: None,
            loss: LossName::Words,
            estimator: None,
            window: None,
            transitions: false,
            width: None,
            dropout: None,
            isolation: None,
            epochs: None,
            batch: None,
            lane: None,
        }
    }
}

/// Where examples come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder with `train.*` and `dev.*`.
    Folder(PathBuf),
    /// Two files.
    Files {
        /// Training examples.
        train: PathBuf,
        /// Held-out examples.
        dev: PathBuf,
    },
}

/// A run before its first step.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// All settings.
    pub config: RunConfig,
    /// Training examples.
    pub train: Split,
    /// Held-out examples.
    pub dev: Split,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What a person should worry about.
    pub warnings: Vec<String>,
}

/// How many of the training examples the proposed number of slots must reach.
const REACH: f64 = 0.995;
/// More slots than this are never proposed: a target that much longer than its input is no rewriting of it.
const MOST_SLOTS: usize = 8;

/// Loads the examples and settles every setting; those of `training` that the recipe names are replaced by `wishes`, or
/// by the recipe for so many examples.
///
/// # Errors
/// [`DataError`] naming file, line and cure.
pub fn prepare(
    source: &Source,
    bad_lines: BadLines,
    wishes: Wishes,
    mut training: TrainingSettings,
) -> Result<Prepared, DataError> {
    let loader = Loader { bad_lines, ..Loader::default() };
    let (train, dev) = match source {
        Source::Folder(folder) => {
            let Dataset { train, dev, .. } = loader.folder(folder)?;
            (train, dev)
        }
        Source::Files { train, dev } => (loader.file(train)?, loader.file(dev)?),
    };
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    let units = wishes.units.unwrap_or_else(|| {
        let (units, because) = propose(train.targets());
        notes.push(because);
        units
    });
    let (train, dev) = (loader.check_units(train, units)?, loader.check_units(dev, units)?);
    let labels = LabelInventory::of(train.targets(), units);
    let estimator = wishes.estimator.unwrap_or(match wishes.loss {
        LossName::Words => EstimatorName::Marginal,
        LossName::Graph => EstimatorName::Pathwise,
    });
    let mut network = wishes.preset.network(labels.outcomes(), wishes.slots.unwrap_or(1));
    let recipe = wishes.preset.recipe(train.examples().len());
    network.width = wishes.width.unwrap_or(recipe.width);
    network.dropout = wishes.dropout.unwrap_or(recipe.dropout);
    network.isolation = wishes.isolation.unwrap_or(recipe.isolation);
    training.epochs = wishes.epochs.unwrap_or(recipe.epochs);
    training.batch = wishes.batch.unwrap_or(recipe.batch);
    training.lane = wishes.lane.unwrap_or(recipe.lane);
    if recipe != wishes.preset.recipe(usize::MAX) {
        notes.push(format!(
            "Recipe: for {} examples, width {}, dropout {}, isolation {}, {} epochs in batches of {}.",
            train.examples().len(),
            network.width,
            network.dropout,
            network.isolation,
            training.epochs,
            training.batch
        ));
    }
    network.transitions = wishes.transitions;
    let loss = estimator.loss(wishes.loss)?;
    let mut model = ModelSpec { graph: wishes.graph, units, labels, network, estimator, loss, window: wishes.window };
    if wishes.slots.is_none() {
        let slots = propose_slots(train.examples(), &model);
        model.network.stages.iter_mut().for_each(|stage| stage.slots = slots);
        notes.push(format!("Slots: {slots} candidates a node, the fewest from 2 that reach nearly every target."));
    }
    let (train, dev) = sized(&loader, &model, train, dev)?;
    for split in [&train, &dev] {
        if split.skipped().count() > 0 {
            warnings.push(split.skipped().to_string());
        }
    }
    warn_of_paths(&[&train, &dev], model.graph, &mut warnings);
    warn_of_unreachable(&train, &model, &mut warnings);
    let data = DataConfig {
        train: train.path().to_owned(),
        dev: dev.path().to_owned(),
        skip_bad: bad_lines == BadLines::Skip,
        fingerprint: fingerprint(&[&train, &dev]),
    };
    let config = RunConfig { version: CONFIG_VERSION, data, model, training, optics: None };
    Ok(Prepared { config, train, dev, notes, warnings })
}

/// The members of an ensemble on the same examples: the network as wished, the dilated one, and the one as wished with
/// tokens decomposed, in turn, each with the next seed. Where tokens are no units, or not in normal form C, the third is
/// like the first.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_members(
    source: &Source,
    bad_lines: BadLines,
    wishes: Wishes,
    training: TrainingSettings,
    members: usize,
) -> Result<Vec<Prepared>, DataError> {
    let first = prepare(source, bad_lines, wishes, training.clone())?;
    let units = first.config.model.units;
    let decomposes =
        units == TargetUnits::Tokens && first.train.targets().all(|target| TargetUnits::Parts.can_write(target));
    let mut all = vec![first];
    for i in 1..members {
        let wishes = match i % 3 {
            1 => Wishes { preset: Preset::Dilated, units: Some(units), ..wishes },
            2 if decomposes => Wishes { units: Some(TargetUnits::Parts), ..wishes },
            _ => Wishes { units: Some(units), ..wishes },
        };
        let training = TrainingSettings { seed: training.seed.wrapping_add(i as u64), ..training.clone() };
        let mut member = prepare(source, bad_lines, wishes, training)?;
        // What is wrong with the examples was said for the first.
        member.warnings.clear();
        all.push(member);
    }
    Ok(all)
}

/// Loads the examples of a run that is to go on.
///
/// # Errors
/// [`DataError`], also where the examples are not those that the run began with.
pub fn reload(config: RunConfig, folder: &Path) -> Result<Prepared, DataError> {
    let bad_lines = if config.data.skip_bad { BadLines::Skip } else { BadLines::Stop };
    let loader = Loader { bad_lines, ..Loader::default() };
    let load = |path: &Path| loader.file(path).and_then(|split| loader.check_units(split, config.model.units));
    let (train, dev) = (load(&config.data.train)?, load(&config.data.dev)?);
    let (train, dev) = sized(&loader, &config.model, train, dev)?;
    let found = fingerprint(&[&train, &dev]);
    if found != config.data.fingerprint {
        return Err(DataError::Changed { train: config.data.train, run: folder.to_owned() });
    }
    Ok(Prepared { config, train, dev, notes: Vec::new(), warnings: Vec::new() })
}

/// Examples that fit into memory; the others are bad lines.
fn sized(loader: &Loader, model: &ModelSpec, train: Split, dev: Split) -> Result<(Split, Split), DataError> {
    // A network that cannot be built is refused by the trainer; no example is to blame for it.
    let sound = model.network.check().is_ok();
    let fault = |example: &Example| if sound { model.example_fault(example) } else { None };
    Ok((loader.check(train, fault)?, loader.check(dev, fault)?))
}

fn propose_slots(examples: &[Example], spec: &ModelSpec) -> usize {
    let mut needed: Vec<usize> = examples.iter().map(|example| needed_slots(example, spec)).collect();
    needed.sort_unstable();
    let enough = ((needed.len() as f64 * REACH).ceil() as usize).clamp(1, needed.len().max(1));
    needed.get(enough - 1).copied().unwrap_or(1).clamp(2, MOST_SLOTS)
}

/// Warns of inputs that become paths in spite of the form that was asked for.
fn warn_of_paths(splits: &[&Split], form: GraphForm, warnings: &mut Vec<String>) {
    for split in splits {
        let faults = split.examples().iter().enumerate();
        let mut faults = faults.filter_map(|(i, example)| Some((i, form.fault(&example.input)?)));
        if let Some((first, fault)) = faults.next() {
            warnings.push(format!(
                "{}: {} of {} inputs are no expressions and become paths (the first is in line {}: {fault}); --graph path \
                 makes paths of all",
                split.path().display(),
                1 + faults.count(),
                split.examples().len(),
                split.line(first),
            ));
        }
    }
}

fn warn_of_unreachable(train: &Split, spec: &ModelSpec, warnings: &mut Vec<String>) {
    let unreachable = Reachable::new(train.examples(), spec).unreachable;
    if let Some(&first) = unreachable.first() {
        let slots = spec.network.stages.last().map_or(1, |stage| stage.slots);
        warnings.push(format!(
            "{}: {} of {} examples skipped, because {slots} candidates a node cannot write targets that long (the first \
             is in line {}); raise --slots to learn them",
            train.path().display(),
            unreachable.len(),
            train.examples().len(),
            train.line(first),
        ));
    }
}

/// A 64-bit FNV-1a hash of all texts, in hexadecimal: enough to notice that a file changed, not to keep out an enemy.
fn fingerprint(splits: &[&Split]) -> String {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for &byte in bytes.iter().chain(&[0xFF]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        }
    };
    for split in splits {
        for example in split.examples() {
            eat(example.input.as_bytes());
            eat(example.target.as_bytes());
        }
        eat(b"");
    }
    format!("{hash:016x}")
}
