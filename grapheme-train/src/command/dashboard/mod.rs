//! Writes a run as one page, or shows it while it goes on.

mod curves;
mod data;
mod energy;
mod examples;
mod nodes;
mod serve;
mod spectral;

use crate::command::CommandLine;
use crate::command::train_spectral::kept::Wishes;
use crate::ensemble::Ensemble;
use crate::file;
use crate::output::print;
use crate::run::RunFolder;
use anyhow::{Result, ensure};
use clap::{ArgMatches, Parser};
use serde_json::json;
use serve::Asked;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

/// Writes report.html into a run folder: one page that opens from disk and needs no network.
///
/// Of a predictor of wave fields (`train_spectral`) it is a player: frames, predictions and errors with bands to switch, isolines,
/// wormholes, spectra, and the breakdowns over time. Of a model of texts, all that follows.
///
/// It shows loss and errors, the gradient's energy by layer and step, where energy goes, gates, the rays of a few dev
/// examples over their graphs, merge histories, parameter norms and what doctor says. Energies and gates need a run that was
/// trained with --optics; the file {} only watches. Errors of nodes need one that was trained with --watch.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// Run folder
    run: PathBuf,
    /// Another run, to be shown beside it
    #[arg(long)]
    beside: Vec<PathBuf>,
    /// Where to write [default: report.html in the run folder]
    #[arg(long, conflicts_with = "serve")]
    out: Option<PathBuf>,
    /// Serve the page instead, which then follows the run, and no other file
    #[arg(long)]
    serve: bool,
    /// Port of --serve
    #[arg(long, default_value_t = 8017)]
    port: u16,
    /// Address of --serve; by default this machine alone can see it
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Dev examples whose rays are drawn, the first that are short
    #[arg(long, default_value_t = 6)]
    examples: usize,
    /// The input of a dev example to be drawn besides; may be given several times
    #[arg(long, value_name = "INPUT")]
    example: Vec<String>,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  dashboard runs/hun
  dashboard runs/hun --beside runs/hun-glass --out both.html
  dashboard runs/hun --example gyümölcs
  dashboard runs/hun --serve
  dashboard runs/double_slit";

/// The page, with places for its parts.
const PAGE: &str = include_str!("page/page.html");

/// How it looks.
const STYLE: &str = include_str!("page/style.css");

/// What it does, in the order in which it is read.
const SCRIPTS: [&str; 10] = [
    include_str!("page/elements.js"),
    include_str!("page/plot.js"),
    include_str!("page/energy.js"),
    include_str!("page/flow.js"),
    include_str!("page/rays.js"),
    include_str!("page/merges.js"),
    include_str!("page/norms.js"),
    include_str!("page/nodes.js"),
    include_str!("page/spectral.js"),
    include_str!("page/main.js"),
];

/// Seconds between two looks of a page that is served.
const SECONDS: u32 = 5;

impl CommandLine for Cli {
    fn run(self, _: &ArgMatches) -> Result<()> {
        run(&self)
    }
}

fn run(cli: &Cli) -> Result<()> {
    let runs: Vec<RunFolder> =
        std::iter::once(&cli.run).chain(&cli.beside).map(RunFolder::open).collect::<Result<_, _>>()?;
    let read: Vec<PathBuf> =
        runs.iter().flat_map(|run| [run.config(), run.metrics(), run.model(), run.state()]).collect();
    cli.out.iter().try_for_each(|path| file::place(path, &read))?;
    let wanted = examples::Wanted { first: cli.examples, inputs: cli.example.clone() };
    let fields: Vec<(&RunFolder, Wishes)> = runs.iter().filter_map(|run| Some((run, spectral::wishes(run)?))).collect();
    ensure!(
        fields.is_empty() || fields.len() == runs.len(),
        "--beside: a predictor of wave fields can only stand beside another, and a model of texts likewise"
    );
    let data = || -> Result<String> {
        Ok(match fields.is_empty() {
            true => json!({ "kind": "text", "runs": data::views(&runs, &wanted)? }).to_string(),
            false => json!({ "kind": "spectral", "runs": spectral::views(&fields)? }).to_string(),
        })
    };
    if cli.serve {
        // What was made of the same files is given again.
        let mut made = None;
        return serve::serve((cli.address, cli.port), |asked| {
            let state = state(&runs);
            let data = match made.take() {
                Some((before, data)) if before == state => data,
                _ => data()?,
            };
            made = Some((state, data.clone()));
            Ok(match asked {
                Asked::Page => page(&data, SECONDS),
                Asked::Data => data,
            })
        });
    }
    let page = page(&data()?, 0);
    let out = cli.out.clone().unwrap_or_else(|| runs[0].report());
    file::replace(&out, page.as_bytes())?;
    let line = match cli.json {
        true => json!({ "page": out, "bytes": page.len() }).to_string(),
        false => format!("{}, {:.2} MB", out.display(), page.len() as f64 * 1e-6),
    };
    Ok(print(&(line + "\n"))?)
}

/// Sizes and times of the files that a page is made of.
fn state(runs: &[RunFolder]) -> Vec<Option<(u64, SystemTime)>> {
    let members = runs.iter().flat_map(|run| Ensemble::folders(run.path()).unwrap_or_else(|_| vec![run.clone()]));
    let files = members.flat_map(|run| [run.metrics(), run.model(), run.config()]);
    let seen = |file: PathBuf| {
        let metadata = file.metadata().ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    files.map(seen).collect()
}

/// The page around its data; it looks for newer ones every so many seconds, and never for 0.
fn page(data: &str, seconds: u32) -> String {
    // Within a script element only a closing tag, or what opens a comment, could end the data early.
    let data = data.replace("</", "<\\/").replace("<!--", "<\\u0021--");
    let (before, rest) = PAGE.split_once("/*STYLE*/").expect("the page has a place for its style");
    let (middle, rest) = rest.split_once("<!--DATA-->").expect("and for its data");
    let (last, after) = rest.split_once("/*SCRIPT*/").expect("and for its script");
    let script = SCRIPTS.concat();
    format!("{before}{STYLE}{}{data}{last}{script}{after}", middle.replace("SECONDS", &seconds.to_string()))
}
