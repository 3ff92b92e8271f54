//! Every kernel against what this machine can do, growth with the length of a text, and peers beside them.

use anyhow::{Context, Result};
use clap::Parser;
use grapheme_bench::clock::{Timing, measure};
use grapheme_bench::growth::{Curve, Growing};
use grapheme_bench::inputs::{example, examples};
use grapheme_bench::kernels::{self, Entry};
use grapheme_bench::machine::Machine;
use grapheme_bench::peers;
use grapheme_bench::step::{Step, preset, small};
use grapheme_bench::table::{Products, Report, Row};
use grapheme_core::Stream;
use grapheme_core::product::metered;
use grapheme_train::file;
use grapheme_train::output::{conclude, print, tell};
use grapheme_train::progress::Progress;
use grapheme_train::settings::{CONFIG_VERSION, DataConfig, Preset, RunConfig, TrainingSettings};
use grapheme_train::trainer::Trainer;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measures every kernel of the project against what this machine can do.
///
/// The floor of a kernel is the time that its bytes take at the memory bandwidth, or its operations at the rate of a large
/// matrix product, whichever is longer; both are measured first, in the same run. What fits into a cache can be faster than
/// the floor of its bytes. Let nothing else run meanwhile.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// Only what has this in its name
    #[arg(long, default_value = "")]
    filter: String,
    /// Seconds for each kernel
    #[arg(long, default_value_t = 1.0, value_parser = parse_seconds)]
    seconds: f64,
    /// Compare with PyTorch and POT as well: the Python of the environment that scripts/peers/README.md makes
    #[arg(long, value_name = "PYTHON", num_args = 0..=1, default_missing_value = ".peers/bin/python")]
    peers: Option<PathBuf>,
    /// Let PyTorch compile its step too, which takes minutes
    #[arg(long, requires = "peers")]
    compiled: bool,
    /// The longest text of the growth curves, in graphemes; 0 for no curves
    #[arg(long, default_value_t = 1_000_000)]
    longest: usize,
    /// Write the figures to a file, for --against
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Say what became slower than in such a file by more than the noise that was measured
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Measure one length and print it as JSON; each is a process of its own
    #[arg(long, hide = true, requires = "length")]
    grow: Option<Growing>,
    #[arg(long, hide = true)]
    length: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  bench_report --json before.json             everything, about three minutes
  bench_report --against before.json          after a change
  bench_report --filter sinkhorn --peers      some kernels, and beside them those of POT and PyTorch";

/// What grows with the length of a text, and the option by which a process of its own measures it.
const GROWING: [(&str, &str); 2] =
    [("growth/text to graph, mixed", "text"), ("growth/step, tiny, band of 64 to either side", "step")];
/// Kernels in whose time the threads are compared, or one growth is measured: for the estimate of what is left alone.
const LONG: u64 = 10;

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    if seconds > 0.0 && seconds <= 3600.0 { Ok(seconds) } else { Err("expected a positive number".to_owned()) }
}

fn main() -> ExitCode {
    // As `train` does.
    grapheme_train::memory::keep();
    let cli = Cli::parse();
    conclude(match (cli.grow, cli.length) {
        (Some(growing), Some(length)) => point(growing, length),
        _ => report(&cli),
    })
}

fn point(growing: Growing, length: usize) -> Result<()> {
    Ok(print(&serde_json::to_string(&growing.point(length))?)?)
}

fn report(cli: &Cli) -> Result<()> {
    let before = cli.against.as_deref().map(read).transpose()?;
    let machine = Machine::measure();
    let wanted = |name: &str| name.contains(&cli.filter);
    let budget = Duration::from_secs_f64(cli.seconds);
    let (mut kernels, mut steps) = (kernels::all(), steps());
    kernels.retain(|entry| wanted(&entry.name));
    steps.retain(|(name, _)| wanted(name));
    let growing = GROWING.into_iter().filter(|(name, _)| wanted(name) && lengths(cli).len() > 1);
    let growing: Vec<_> = growing.collect();
    let has_threads = wanted("threads");
    let long = usize::from(has_threads) + growing.len();
    let progress = Progress::new(((kernels.len() + steps.len()) as u64) + LONG * long as u64, "parts");
    let kernels = kernels.iter().map(|entry| row(entry, &machine, budget, &progress)).collect();
    let products = steps.into_iter().map(|(name, make)| share(name, make(), &machine, &progress)).collect();
    let two_threads = if has_threads { Some(two_threads(&progress)?) } else { None };
    let growth = curves(cli, &growing, &progress)?;
    drop(progress);
    let scripts = Path::new("scripts/peers");
    let peers = match &cli.peers {
        Some(python) => peers::compare(python, scripts, &cli.filter, cli.compiled, tell)?,
        None => Vec::new(),
    };
    let report = Report { machine, kernels, products, two_threads, growth, peers };
    print(&report.markdown())?;
    if let Some(path) = &cli.json {
        file::replace(path, &serde_json::to_vec_pretty(&report)?)?;
    }
    if let Some(before) = before {
        let slower = report.slower_than(&before);
        print(&match slower.len() {
            0 => "\nNothing became slower by more than the noise.\n".to_owned(),
            _ => format!("\nSlower:\n{}\n", slower.join("\n")),
        })?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Report> {
    let bytes = std::fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let why = || format!("{}: not what bench_report --json writes; write it again", path.display());
    serde_json::from_slice(&bytes).with_context(why)
}

fn row(entry: &Entry, machine: &Machine, budget: Duration, progress: &Progress) -> Row {
    progress.tell(&entry.name);
    let mut kernel = (entry.make)();
    let seconds = measure(budget, &mut kernel.time);
    progress.advance(1);
    let (rate, floor) = (kernel.amount / seconds.median, machine.floor(kernel.work));
    Row { name: entry.name.clone(), unit: kernel.unit.to_owned(), rate, seconds, floor }
}

/// Makes a step.
type Maker = fn() -> Step;

/// The steps whose products are looked at.
fn steps() -> Vec<(&'static str, Maker)> {
    fn of(size: Preset) -> Step {
        let examples = examples(16, 6..=12, 3);
        Step::new(preset(size, None, &examples), examples)
    }
    vec![
        ("step/words", || of(Preset::Words)),
        ("step/dilated", || of(Preset::Dilated)),
        ("step/tiny", || of(Preset::Tiny)),
        ("step/small with Sinkhorn", || {
            let examples = examples(32, 8..=12, 3);
            Step::new(small(&examples), examples)
        }),
        ("step/long", || {
            let examples = vec![example(10_000, &mut Stream::new(2))];
            Step::new(preset(Preset::Tiny, Some(64), &examples), examples)
        }),
    ]
}

/// The median of some steps, each looked at on its own.
fn share(name: &str, mut step: Step, machine: &Machine, progress: &Progress) -> Products {
    let mut looks: Vec<(f64, f64, u64)> = (0..40)
        .map(|_| {
            let started = Instant::now();
            let (_, products) = metered(|| step.take());
            let share = products.seconds / started.elapsed().as_secs_f64();
            (share, products.operations / products.seconds / machine.products, products.products)
        })
        .collect();
    progress.advance(1);
    let mut median = |part: fn(&(f64, f64, u64)) -> f64| {
        looks.sort_by(|a, b| part(a).total_cmp(&part(b)));
        part(&looks[looks.len() / 2])
    };
    let (share, of_peak, count) = (median(|look| look.0), median(|look| look.1), median(|look| look.2 as f64) as u64);
    Products { name: name.to_owned(), share, of_peak, count }
}

/// The default training on one thread and on two, in turn.
fn two_threads(progress: &Progress) -> Result<Timing> {
    progress.tell("two threads");
    let examples = examples(640, 6..=12, 5);
    let nowhere = || PathBuf::from("-");
    let config = RunConfig {
        version: CONFIG_VERSION,
        data: DataConfig { train: nowhere(), dev: nowhere(), skip_bad: false, fingerprint: String::new() },
        model: preset(Preset::Words, None, &examples),
        training: TrainingSettings::default(),
        optics: None,
    };
    let seconds = |threads| -> Result<f64> { Ok(Trainer::new(&config, &examples, &[], threads)?.rehearse(15)?) };
    seconds(2)?;
    let ratios = (0..7).map(|_| Ok(seconds(1)? / seconds(2)?)).collect::<Result<Vec<f64>>>()?;
    progress.advance(LONG);
    Ok(Timing::of(ratios))
}

/// The lengths at which growth is measured.
fn lengths(cli: &Cli) -> Vec<usize> {
    (3..).map(|digits| 10usize.pow(digits)).take_while(|&n| n <= cli.longest).collect()
}

fn curves(cli: &Cli, growing: &[(&str, &str)], progress: &Progress) -> Result<Vec<Curve>> {
    let program = std::env::current_exe().context("this program's own path")?;
    let curves = growing.iter().map(|(name, growing)| {
        progress.tell(name);
        let curve = Curve::measure(&program, name, growing, &lengths(cli));
        progress.advance(LONG);
        curve
    });
    curves.collect()
}
