//! How many edits lead from one labelled graph to another.

use crate::command::CommandLine;
use crate::distance::sample::{self, Planted, Sample};
use crate::distance::{Approximate, Direction, EditPath, Exact, LabelledGraph, Method, dot, measure, picture, read};
use crate::file;
use crate::lanes::Lanes;
use crate::output::print;
use crate::progress::Progress;
use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, Parser, ValueEnum};
use grapheme_core::{GraphemeGraph, Stream};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Computes how many edits lead from one labelled graph to another: relabelling, inserting or deleting a node, inserting or
/// deleting an edge, each of cost 1.
///
/// A and B are files: .json ({"labels": [...], "edges": [[0, 1], ...]}, or a grapheme graph), .dot or .gv, and .txt, whose text
/// becomes a directed graph of graphemes.
#[derive(Parser)]
#[command(version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// The first graph
    #[arg(required_unless_present_any = ["pairs", "generate"], requires = "b", conflicts_with_all = ["pairs", "generate"])]
    a: Option<PathBuf>,
    /// The second graph
    b: Option<PathBuf>,
    /// A and B are texts, not files
    #[arg(long, requires = "a")]
    text: bool,
    /// Compare the graphs of each line of a .jsonl file: {"a": graph, "b": graph, "ged": distance if known}
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    pairs: Option<PathBuf>,
    /// How distances are computed
    #[arg(long, value_enum, default_value_t = MethodName::Sinkhorn)]
    method: MethodName,
    /// How long sinkhorn searches: numbers of starts and rounds are multiplied by it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    effort: u32,
    /// Of random numbers
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Edges of JSON graphs lead from the first node to the second
    #[arg(long)]
    directed: bool,
    /// Where a pair has no distance, compute it with the exact method
    #[arg(long, requires = "pairs", conflicts_with = "a")]
    truth: bool,
    /// Threads for pairs; 0 for one a core. Times of a pair are those of one thread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(..=1024))]
    threads: u16,
    /// Print one line of JSON
    #[arg(long, conflicts_with = "generate")]
    json: bool,
    /// Write both graphs and their matching as SVG
    #[arg(long, value_name = "FILE", requires = "a")]
    picture: Option<PathBuf>,
    /// Print random pairs for --pairs instead
    #[arg(long, value_enum, value_name = "KIND")]
    generate: Option<Kind>,
    /// How many pairs to generate
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Of planted pairs: nodes
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..=8000))]
    nodes: u16,
    /// Of planted pairs: edits between the two graphs
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16))]
    edits: u16,
    /// Of planted pairs: the average number of edges at a node
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(..=100))]
    degree: u16,
    /// Of planted pairs: different labels
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    labels: u16,
}

const EXAMPLES: &str = "\
Examples:
  graph_distance a.json b.json --picture matching.svg
  graph_distance old.dot new.dot --method exact
  graph_distance --text kitten sitting
  graph_distance --pairs aids_dev.jsonl --json
  graph_distance --generate sparse --seed 1 > sparse.jsonl
  graph_distance --pairs sparse.jsonl --truth --method bipartite --json
  graph_distance --generate planted --nodes 400 --edits 40 --count 5 > planted.jsonl";

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// Entropic transport, rounded and improved by local search: an upper bound, near the truth, for any size
    Sinkhorn,
    /// One linear assignment (Riesen and Bunke): a coarse upper bound
    Bipartite,
    /// Branch and bound: the distance itself, for up to about 12 nodes
    Exact,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Unlabelled sparse graphs of 5 to 10 nodes, undirected
    Sparse,
    /// Directed graphs of texts of 3 to 10 graphemes
    Text,
    /// A random graph, and the same after some edits with its nodes permuted
    Planted,
}

impl MethodName {
    fn name(self) -> &'static str {
        match self {
            Self::Sinkhorn => "sinkhorn",
            Self::Bipartite => "bipartite",
            Self::Exact => "exact",
        }
    }
}

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        match (&self.generate, &self.pairs, &self.a, &self.b) {
            (Some(kind), ..) => generate(&self, *kind),
            (_, Some(pairs), ..) => compare_all(&self, pairs),
            (_, _, Some(a), Some(b)) => compare(&self, a, b),
            // The command line has been refused before.
            _ => Err(anyhow!("two graphs are needed: see --help")),
        }
    }
}

impl Cli {
    fn method(&self) -> Method {
        match self.method {
            MethodName::Sinkhorn => Method::Sinkhorn(Approximate { seed: self.seed, effort: self.effort as usize }),
            MethodName::Bipartite => Method::Bipartite,
            MethodName::Exact => Method::Exact(Exact::default()),
        }
    }

    fn direction(&self) -> Direction {
        if self.directed { Direction::Directed } else { Direction::Undirected }
    }

    fn graph(&self, path: &Path) -> Result<LabelledGraph> {
        if self.text {
            let text = path.to_str().context("a text must be UTF-8")?;
            return Ok(LabelledGraph::from_graphemes(&GraphemeGraph::from_text(text)?));
        }
        if path.is_dir() {
            bail!("{}: a folder is in the place of a file; name one graph in it", path.display());
        }
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let text = || -> Result<String> {
            String::from_utf8(file::read(path)?).map_err(|_| anyhow!("{}: not UTF-8", path.display()))
        };
        let graph = match extension {
            "json" => {
                // Its cause is in its own words.
                read::graph(&text()?, self.direction()).map_err(|error| anyhow!("{error}"))
            }
            "dot" | "gv" => dot::graph(&text()?).map_err(anyhow::Error::from),
            "txt" => {
                let text = text()?;
                let graphemes = GraphemeGraph::from_text(text.trim_end_matches(['\n', '\r']));
                graphemes.map(|graphemes| LabelledGraph::from_graphemes(&graphemes)).map_err(anyhow::Error::from)
            }
            _ => Err(anyhow!("not a .json, .dot, .gv or .txt: rename it, or compare texts with --text")),
        };
        graph.with_context(|| path.display().to_string())
    }
}

fn compare(cli: &Cli, first: &Path, second: &Path) -> Result<()> {
    let read = [first, second].map(Path::to_owned);
    cli.picture.iter().try_for_each(|path| file::place(path, read.iter().filter(|_| !cli.text)))?;
    let (a, b) = (cli.graph(first)?, cli.graph(second)?);
    let found = cli.method().compare(&a, &b)?;
    let path = EditPath::new(&a, &b, &found.matching);
    if let Some(target) = &cli.picture {
        file::write(target, picture::draw(&a, &b, &found.matching, found.distance)?.as_bytes())?;
    }
    if cli.json {
        let line = json!({
            "distance": found.distance,
            "method": cli.method.name(),
            "exact": cli.method == MethodName::Exact,
            "matching": found.matching,
            "edits": path.edits(),
            "picture": cli.picture,
        });
        return Ok(print(&format!("{line}\n"))?);
    }
    let mut out = String::new();
    let bound = if cli.method == MethodName::Exact { "" } else { " at most" };
    writeln!(out, "distance{bound} {}", found.distance)?;
    writeln!(out, "matching")?;
    for (i, (label, partner)) in a.labels().iter().zip(found.matching.partners()).enumerate() {
        match partner {
            Some(j) => writeln!(out, "  {i} {label:?} -> {j} {:?}", b.labels()[*j])?,
            None => writeln!(out, "  {i} {label:?} -> nothing")?,
        }
    }
    writeln!(out, "edits (nodes by their number in the first graph, new ones from {})", a.nodes())?;
    path.edits().iter().try_for_each(|edit| writeln!(out, "  {edit}"))?;
    Ok(print(&out)?)
}

fn compare_all(cli: &Cli, path: &Path) -> Result<()> {
    let text = String::from_utf8(file::read(path)?).map_err(|_| anyhow!("{}: not UTF-8", path.display()))?;
    let samples = read::pairs(&text, cli.direction()).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    if samples.is_empty() {
        bail!("{}: no pairs; give a file with one a line", path.display());
    }
    let (method, judge) = (cli.method(), cli.truth.then(|| Method::Exact(Exact::default())));
    let progress = Progress::new(samples.len() as u64, "pairs");
    let one = |i: usize, sample: &Sample| {
        let outcome = measure::run(&method, sample, judge.as_ref());
        progress.advance(1);
        outcome.with_context(|| format!("{}, pair {}", path.display(), i + 1))
    };
    let outcomes = Lanes::<()>::new(usize::from(cli.threads))?.map(&samples, one)?;
    drop(progress);
    let figures = measure::figures(&outcomes);
    if cli.json {
        print(&format!("{}\n", serde_json::to_string(&figures)?))?;
    } else {
        let mut out = String::new();
        let number = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{value:.4}"));
        writeln!(out, "pairs            {}, {} with a known distance", figures.n, figures.known)?;
        writeln!(out, "mean distance    {}", number(figures.mean_distance))?;
        writeln!(out, "mean error       {}", number(figures.mae))?;
        writeln!(out, "exact            {}", number(figures.exact_share))?;
        writeln!(out, "Spearman's rho   {}", number(figures.spearman))?;
        writeln!(out, "Kendall's tau    {}", number(figures.kendall))?;
        writeln!(out, "below the truth  {}", figures.below)?;
        if figures.bounded > 0 {
            writeln!(
                out,
                "of their bounds  {} at worst, {} within 1.02",
                number(figures.worst_ratio),
                number(figures.within_share)
            )?;
        }
        writeln!(
            out,
            "time for a pair  {:.3} ms, median {:.3}, worst {:.3}",
            figures.ms_per_pair, figures.ms_median, figures.ms_worst
        )?;
        print(&out)?;
    }
    if figures.below > 0 {
        bail!("{} distances are above what was found: those in {} are wrong", figures.below, path.display());
    }
    Ok(())
}

fn generate(cli: &Cli, kind: Kind) -> Result<()> {
    let root = Stream::new(cli.seed);
    let direction = cli.direction();
    let planted = Planted {
        nodes: usize::from(cli.nodes),
        degree: usize::from(cli.degree),
        labels: usize::from(cli.labels),
        edits: usize::from(cli.edits),
        direction,
    };
    for index in 0..u64::from(cli.count) {
        let mut stream = root.fork(index);
        let made = match kind {
            Kind::Sparse => sample::sparse(&mut stream),
            Kind::Text => sample::text(&mut stream),
            Kind::Planted => sample::planted(planted, &mut stream),
        };
        print(&format!("{}\n", read::to_line(&made)))?;
    }
    Ok(())
}
