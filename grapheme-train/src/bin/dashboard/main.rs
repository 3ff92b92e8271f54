//! Writes a run as one page, or shows it while it goes on.

mod curves;
mod data;
mod rays;
mod serve;

use anyhow::Result;
use clap::Parser;
use grapheme_train::file;
use grapheme_train::output::{conclude, print};
use grapheme_train::run::RunFolder;
use serde_json::json;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes report.html into a run folder: one page that opens from disk and needs no network.
///
/// It shows loss and errors, the gradient's energy by layer and step, where energy goes, gates, the rays of a few dev
/// examples over their graphs, merge histories, parameter norms and what doctor says. Energies and gates need a run that was
/// trained with --optics; the file {} only watches.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// Run folder
    run: PathBuf,
    /// Another run, to be shown beside it
    #[arg(long)]
    beside: Vec<PathBuf>,
    /// Where to write [default: report.html in the run folder]
    #[arg(long, conflicts_with = "serve")]
    out: Option<PathBuf>,
    /// Serve the page instead, made anew at each request, and nothing else
    #[arg(long)]
    serve: bool,
    /// Port of --serve
    #[arg(long, default_value_t = 8017)]
    port: u16,
    /// Address of --serve; by default this machine alone can see it
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Dev examples whose rays are drawn
    #[arg(long, default_value_t = 6)]
    examples: usize,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  dashboard runs/hun
  dashboard runs/hun --beside runs/hun-glass --out both.html
  dashboard runs/hun --serve";

/// The page, with a place for the data.
const PAGE: &str = include_str!("page.html");

fn main() -> ExitCode {
    conclude(run(&Cli::parse()))
}

fn run(cli: &Cli) -> Result<()> {
    let runs: Vec<RunFolder> =
        std::iter::once(&cli.run).chain(&cli.beside).map(RunFolder::open).collect::<Result<_, _>>()?;
    if cli.serve {
        return serve::serve((cli.address, cli.port), || page(&runs, cli.examples, Refresh::EveryFiveSeconds));
    }
    let page = page(&runs, cli.examples, Refresh::Never)?;
    let out = cli.out.clone().unwrap_or_else(|| runs[0].report());
    file::replace(&out, page.as_bytes())?;
    let line = match cli.json {
        true => json!({ "page": out, "bytes": page.len() }).to_string(),
        false => format!("{}, {:.2} MB", out.display(), page.len() as f64 * 1e-6),
    };
    Ok(print(&(line + "\n"))?)
}

#[derive(Clone, Copy, PartialEq)]
enum Refresh {
    Never,
    EveryFiveSeconds,
}

fn page(runs: &[RunFolder], examples: usize, refresh: Refresh) -> Result<String> {
    let views: Vec<data::View> = runs.iter().map(|run| data::view(run, examples)).collect::<Result<_>>()?;
    // Within a script element only a closing tag, or what opens a comment, could end the data early.
    let data = serde_json::to_string(&views)?.replace("</", "<\\/").replace("<!--", "<\\u0021--");
    let refresh = match refresh {
        Refresh::Never => "",
        Refresh::EveryFiveSeconds => "<meta http-equiv=\"refresh\" content=\"5\">",
    };
    Ok(PAGE.replacen("<!--REFRESH-->", refresh, 1).replacen("<!--DATA-->", &data, 1))
}
