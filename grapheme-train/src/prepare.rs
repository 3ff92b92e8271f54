//! From files and wishes to a run that can start: units, labels, slots, and what to warn of.

use crate::data::{
    BadLines, DataError, Dataset, Example, GraphForm, LabelInventory, Loader, Split, TargetUnits, propose,
};
use crate::estimator::EstimatorName;
use crate::file;
use crate::objective::LossName;
use crate::optim::ScheduleSettings;
use crate::settings::{CONFIG_VERSION, DataConfig, ModelSpec, OnNan, Preset, Recipe, RunConfig, TrainingSettings};
use crate::trainer::{Reachable, needed_slots};
use clap::builder::TypedValueParser;
use grapheme_core::layers::RoundKind;
use grapheme_core::network::StageConfig;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a person asked of a training; everything else follows from the data. These are options of every command that trains
/// on files of a person's own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, clap::Args)]
pub struct Wishes {
    /// Network and its regularisation
    #[arg(long, value_enum, default_value_t = Preset::Words)]
    pub preset: Preset,
    /// How inputs become graphs
    #[arg(long, value_enum, default_value_t = GraphForm::Path)]
    pub graph: GraphForm,
    /// What is minimised
    #[arg(long, value_enum, default_value_t = LossName::Words)]
    pub loss: LossName,
    /// How a gradient is taken through the last morph [default: marginal for words, pathwise for graph]
    #[arg(long, value_enum)]
    pub estimator: Option<EstimatorName>,
    /// What a label stands for
    #[arg(long, alias = "units", value_enum, default_value_t = Units::Auto)]
    pub target_units: Units,
    /// Candidates that each node splits into [default: the fewest from 2 that reach nearly every target]
    #[arg(long, value_parser = at_least_one(256))]
    pub slots: Option<usize>,
    /// Half width of the band of the assignment, for very long texts [default: every pair]
    #[arg(long, allow_negative_numbers = true)]
    pub window: Option<usize>,
    /// Morphs in a row, among which the rounds of the preset are shared out; the nodes of each are made of those of the one
    /// before. For research: so far more than one costs accuracy
    #[arg(long, default_value_t = 1, value_parser = at_least_one(8))]
    pub morphs: usize,
    /// After the first round, let edges between nodes so many places apart come, go and be weighted [default: no such round;
    /// 3 if no number is given]
    #[arg(long, value_name = "WINDOW", num_args = 0..=1, default_missing_value = "3")]
    #[arg(value_parser = window_of_edges())]
    pub edges: Option<usize>,
    /// Features a node [default: by the number of examples]
    #[arg(long)]
    pub width: Option<usize>,
    /// Dropout of messages, in [0, 1) [default: by the number of examples]
    #[arg(long, allow_negative_numbers = true)]
    pub dropout: Option<f64>,
    /// Probability that an example passes without messages in training, in [0, 1): for few examples [default: by their
    /// number]
    #[arg(long, allow_negative_numbers = true)]
    pub isolation: Option<f64>,
    /// Passes over the training examples [default: by their number; 10 if there are many]
    #[arg(long, value_parser = at_least_one(u32::MAX))]
    pub epochs: Option<usize>,
    /// Stop after so many minutes; the learning rate then falls with the clock
    #[arg(long, allow_negative_numbers = true)]
    pub minutes: Option<f64>,
    /// Examples a step [default: by their number; 32 if there are many]
    #[arg(long, value_parser = at_least_one(u32::MAX))]
    pub batch: Option<usize>,
    /// Examples a lane, the unit of work of a thread; part of the result, as the order of sums depends on it [default: by
    /// their number; 16 if there are many]
    #[arg(long, value_parser = at_least_one(u32::MAX))]
    pub lane: Option<usize>,
    /// Highest learning rate
    #[arg(long, default_value_t = ScheduleSettings::default().peak, allow_negative_numbers = true)]
    pub rate: f64,
    /// Largest norm of a gradient
    #[arg(long, default_value_t = TrainingSettings::default().clip, allow_negative_numbers = true)]
    pub clip: f64,
    /// Decay of the weight average, in [0, 1); 0 for the last weights
    #[arg(long, default_value_t = TrainingSettings::default().average, allow_negative_numbers = true)]
    pub average: f64,
    /// Epochs without a better dev figure before training stops; 0 for never
    #[arg(long, default_value_t = TrainingSettings::default().patience)]
    pub patience: usize,
    /// What to do about a step whose gradient is not finite: end the run, or leave the step out (at most 50 in a row)
    #[arg(long, value_enum, default_value_t = TrainingSettings::default().on_nan)]
    pub on_nan: OnNan,
}

/// What a person may say of the units of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// Proposed from the training targets, and said.
    Auto,
    /// What stands between spaces.
    Tokens,
    /// Grapheme clusters, spaces included; the boundary mark " @@" is one label.
    Graphemes,
    /// Code points of tokens.
    Parts,
}

impl From<TargetUnits> for Units {
    fn from(units: TargetUnits) -> Self {
        match units {
            TargetUnits::Tokens => Self::Tokens,
            TargetUnits::Graphemes => Self::Graphemes,
            TargetUnits::Parts => Self::Parts,
        }
    }
}

fn window_of_edges() -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u32).range(2..=64).map(|n| n as usize)
}

fn at_least_one(most: u32) -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u32).range(1..=i64::from(most)).map(|n| n as usize)
}

impl Default for Wishes {
    /// Nothing but what follows from the data: the default network and the `words` loss.
    fn default() -> Self {
        let TrainingSettings { schedule, clip, average, patience, on_nan, .. } = TrainingSettings::default();
        Self {
            preset: Preset::Words,
            graph: GraphForm::Path,
            loss: LossName::Words,
            estimator: None,
            target_units: Units::Auto,
            slots: None,
            window: None,
            morphs: 1,
            edges: None,
            width: None,
            dropout: None,
            isolation: None,
            epochs: None,
            minutes: None,
            batch: None,
            lane: None,
            rate: schedule.peak,
            clip,
            average,
            patience,
            on_nan,
        }
    }
}

impl Wishes {
    /// What differs from the default, as names and values.
    pub fn named(&self) -> Vec<(String, String)> {
        let fields = |wishes: &Self| match serde_json::to_value(wishes) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let usual = fields(&Self::default());
        let differ = fields(self).into_iter().filter(|(name, value)| usual.get(name) != Some(value));
        let plain = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        differ.map(|(name, value)| (name.replace('_', "-"), plain(value))).collect()
    }

    /// The settings of a training on so many examples.
    fn training(&self, recipe: Recipe, seed: u64) -> TrainingSettings {
        let usual = TrainingSettings::default();
        TrainingSettings {
            seed,
            epochs: self.epochs.unwrap_or(recipe.epochs),
            minutes: self.minutes,
            batch: self.batch.unwrap_or(recipe.batch),
            lane: self.lane.unwrap_or(recipe.lane),
            schedule: ScheduleSettings { peak: self.rate, ..usual.schedule },
            clip: self.clip,
            average: self.average,
            patience: self.patience,
            on_nan: self.on_nan,
            ..usual
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
    /// Training examples, which members of a set have in common.
    pub train: Arc<Split>,
    /// Held-out examples.
    pub dev: Arc<Split>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What a person should worry about.
    pub warnings: Vec<String>,
}

impl Prepared {
    /// Holds the examples of `other` in place of its own where they are the same: a set would hold as many copies as members.
    pub fn share(&mut self, other: &Self) {
        for (own, others) in [(&mut self.train, &other.train), (&mut self.dev, &other.dev)] {
            if own == others {
                *own = Arc::clone(others);
            }
        }
    }
}

/// How many of the training examples the proposed number of slots must reach.
const REACH: f64 = 0.995;
/// More slots than this are never proposed: a target that much longer than its input is no rewriting of it.
const MOST_SLOTS: usize = 8;

/// Loads the examples and settles every setting: as wished, or by the recipe for so many examples.
///
/// # Errors
/// [`DataError`] naming file, line and cure.
pub fn prepare(source: &Source, bad_lines: BadLines, wishes: Wishes, seed: u64) -> Result<Prepared, DataError> {
    let loader = Loader { bad_lines, ..Loader::default() };
    let (train, dev) = match source {
        Source::Folder(folder) => {
            let Dataset { train, dev, .. } = loader.folder(folder)?;
            (train, dev)
        }
        Source::Files { train, dev } => (loader.file(train)?, loader.file(dev)?),
    };
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    let units = match wishes.target_units {
        Units::Tokens => TargetUnits::Tokens,
        Units::Graphemes => TargetUnits::Graphemes,
        Units::Parts => TargetUnits::Parts,
        Units::Auto => {
            let (units, because) = propose(train.targets());
            notes.push(because);
            units
        }
    };
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
    let training = wishes.training(recipe, seed);
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
    share_out(&mut network.stages, wishes.morphs);
    if wishes.morphs > 1 {
        warnings.push(
            "gates before the last morph learn by a plan that is held fixed, and so far that costs accuracy".to_owned(),
        );
    }
    if let (Some(window), Some(stage)) = (wishes.edges, network.stages.first_mut()) {
        stage.rounds.insert(stage.rounds.len().min(1), RoundKind::Edges { window });
    }
    let loss = estimator.loss(wishes.loss)?;
    let mut model = ModelSpec { graph: wishes.graph, units, labels, network, estimator, loss, window: wishes.window };
    if wishes.slots.is_none() {
        let slots = propose_slots(train.examples(), &model);
        model.network.stages.last_mut().into_iter().for_each(|stage| stage.slots = slots);
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
    Ok(Prepared { config, train: train.into(), dev: dev.into(), notes, warnings })
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
    seed: u64,
    members: usize,
) -> Result<Vec<Prepared>, DataError> {
    let first = prepare(source, bad_lines, wishes, seed)?;
    let units = first.config.model.units;
    let decomposes =
        units == TargetUnits::Tokens && first.train.targets().all(|target| TargetUnits::Parts.can_write(target));
    let mut all = vec![first];
    for i in 1..members {
        let wishes = match i % 3 {
            1 => Wishes { preset: Preset::Dilated, target_units: units.into(), ..wishes },
            2 if decomposes => Wishes { target_units: Units::Parts, ..wishes },
            _ => Wishes { target_units: units.into(), ..wishes },
        };
        let mut member = prepare(source, bad_lines, wishes, seed.wrapping_add(i as u64))?;
        // What is wrong with the examples was said for the first.
        member.warnings.clear();
        member.share(&all[0]);
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
    Ok(Prepared { config, train: train.into(), dev: dev.into(), notes: Vec::new(), warnings: Vec::new() })
}

/// Examples that fit into memory; the others are bad lines.
fn sized(loader: &Loader, model: &ModelSpec, train: Split, dev: Split) -> Result<(Split, Split), DataError> {
    // A network that cannot be built is refused by the trainer; no example is to blame for it.
    let sound = model.network.check().is_ok();
    let fault = |example: &Example| if sound { model.example_fault(example) } else { None };
    Ok((loader.check(train, fault)?, loader.check(dev, fault)?))
}

/// Makes several stages of the last: its rounds go to as many morphs, the later ones getting what does not divide. The earlier
/// morphs have one candidate a node, which merges or stays; the last one splits. With more morphs than rounds the first of them
/// have no round, which [`NetworkConfig`](grapheme_core::NetworkConfig) allows.
fn share_out(stages: &mut Vec<StageConfig>, morphs: usize) {
    let Some(StageConfig { rounds, slots }) = stages.pop() else { return };
    let bound = |i: usize| i * rounds.len() / morphs;
    stages.extend((0..morphs).map(|i| {
        let slots = if i + 1 == morphs { slots } else { 1 };
        StageConfig { rounds: rounds[bound(i)..bound(i + 1)].to_vec(), slots }
    }));
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

/// A hash of all texts.
fn fingerprint(splits: &[&Split]) -> String {
    // The empty text at the end of a file tells where the next begins.
    file::fingerprint(splits.iter().flat_map(|&split| {
        let texts = split.examples().iter().flat_map(|pair| [pair.input.as_bytes(), pair.target.as_bytes()]);
        texts.chain([&b""[..]])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        wishes: Wishes,
    }

    #[test]
    fn wishes_are_named_as_on_the_command_line_and_none_by_default() {
        let wishes = |args: &[&str]| Cli::parse_from([&["train"], args].concat()).wishes;
        assert_eq!(wishes(&[]), Wishes::default());
        assert!(Wishes::default().named().is_empty());
        let args =
            ["--average=0.5", "--dropout=0.0", "--epochs=20", "--preset=dilated", "--slots=3", "--target-units=parts"];
        let named: Vec<String> =
            wishes(&args).named().into_iter().map(|(name, value)| format!("--{name}={value}")).collect();
        assert_eq!(named, args);
        // What the flags say is what is trained with.
        let usual = Wishes::default().training(Preset::Words.recipe(5_000), 1);
        assert_eq!(usual, TrainingSettings::default());
        assert!(
            Cli::try_parse_from(["train", "--epochs=0"]).is_err()
                && Cli::try_parse_from(["train", "--slots=257"]).is_err()
        );
    }

    #[test]
    fn rounds_are_shared_out_in_order_and_only_the_last_morph_splits() {
        let gated = |distance| RoundKind::Gated { distance };
        for (morphs, expected) in [
            (1, vec![vec![1, 2, 3]]),
            (2, vec![vec![1], vec![2, 3]]),
            (3, vec![vec![1], vec![2], vec![3]]),
            (4, vec![vec![], vec![1], vec![2], vec![3]]),
        ] {
            let mut stages = vec![StageConfig { rounds: [1, 2, 3].map(gated).to_vec(), slots: 5 }];
            share_out(&mut stages, morphs);
            let rounds = |distances: &Vec<usize>| distances.iter().map(|&distance| gated(distance)).collect::<Vec<_>>();
            let found: Vec<_> = stages.iter().map(|stage| stage.rounds.clone()).collect();
            assert_eq!(found, expected.iter().map(rounds).collect::<Vec<_>>());
            let slots: Vec<usize> = stages.iter().map(|stage| stage.slots).collect();
            assert_eq!(slots.split_last(), Some((&5, &vec![1; morphs - 1][..])));
        }
    }
}
