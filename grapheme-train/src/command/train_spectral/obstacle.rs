//! The wave equation with an obstacle: scenes that begin at places of their own, and waves that a square with sharp edges scatters.

use super::method::{Method, Simple, peer, peer_steps};
use super::scene::Scene;
use super::score::{ROLLOUTS, score};
use super::training::{TrainingSettings, family_steps, learn_family};
use crate::output::print;
use crate::progress::Progress;
use anyhow::{Result, ensure};
use grapheme_core::{Stream, param};
use grapheme_optics::spectral::recurrence::{Learned, LearnedSettings, Recurrence};
use grapheme_optics::spectral::{Bands, Partition, Predictor, PredictorSettings};
use ndarray::Array2;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Instant;

/// The last of the bands, each an octave of cycles over the frame: 0 to 1, 2 to 3, 4 to 7, 8 to 15, and faster.
const LAST_BAND: usize = 4;

/// What one method showed on scenes that it never saw.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// Mean squared error one step ahead, and over each rollout.
    one_step: f64,
    rollouts: [f64; 3],
    /// The share of each band in the error one step ahead; they add up to it.
    bands: [f64; LAST_BAND + 1],
    /// Adjusted numbers, where there are such, and seconds of training.
    parameters: Option<usize>,
    seconds: Option<f64>,
}

/// Learns from some scenes of n x n cells, and is scored on others.
///
/// # Errors
/// A grid that is too small; after everything was printed, a method that is as good as the predictor one step ahead or over the longest
/// rollout.
pub fn run(n: usize, [learn, test]: [usize; 2], training: TrainingSettings, is_json: bool) -> Result<()> {
    let [learn, test] = Scene::Obstacle.scenes(n, [learn, test], training.seed)?;
    let rows = rows(&learn, &test, training)?;
    if is_json {
        let sequences = [learn.len(), test.len()];
        let line = serde_json::json!({
            "protocol": "obstacle", "size": n, "seed": training.seed, "sequences": sequences, "passes": training.passes, "methods": rows
        });
        print(&format!("{line}\n"))?;
    } else {
        print(&table(&rows)?)?;
    }
    let own = &rows[0];
    let as_good = |row: &&Row| row.one_step <= own.one_step || row.rollouts[2] <= own.rollouts[2];
    let better: Vec<&str> = rows[2..].iter().filter(as_good).map(|row| &row.name[..]).collect();
    ensure!(better.is_empty(), "the predictor is not better than {}", better.join(", "));
    Ok(())
}

/// Parameters and seconds of training, where there are such.
type Cost = Option<(usize, f64)>;

/// The predictor, its rules alone, and the others.
fn rows(learn: &[Vec<Array2<f64>>], test: &[Vec<Array2<f64>>], training: TrainingSettings) -> Result<Vec<Row>> {
    let shape = [learn[0][0].nrows(), learn[0][0].ncols()];
    let settings =
        LearnedSettings { lags: vec![16], components: 24, delays: vec![4], passes: 0, ..LearnedSettings::default() };
    let learned = Learned::fit(learn, &settings, &Stream::new(training.seed))?;

    let progress = Progress::new((family_steps(learn, training) + peer_steps(learn, training)) as u64, "steps");
    progress.name("the predictor learns");
    let clock = Instant::now();
    let mut own = Predictor::<f32>::new(shape, PredictorSettings::default(), training.seed)?;
    learn_family(&mut own, learn, training, || progress.advance(1))?;
    let cost = Some((param::count(own.correction()), clock.elapsed().as_secs_f64()));
    let rules = own.forecast().clone();
    let mut methods: Vec<(String, Cost, Box<dyn Method + '_>)> =
        vec![("predictor".into(), cost, Box::new(own)), ("its rules alone".into(), None, Box::new(rules))];

    progress.name("the convolutional network learns");
    let clock = Instant::now();
    let network = peer(learn, training, || progress.advance(1))?;
    let cost = Some((param::count(network.network()), clock.elapsed().as_secs_f64()));
    methods.push(("convolutional network".into(), cost, Box::new(network)));
    drop(progress);

    let longest = test.iter().map(Vec::len).max().unwrap_or(0) + ROLLOUTS[2];
    for rule in [
        Recurrence::Extrapolation { degree: 0 },
        Recurrence::Extrapolation { degree: 1 },
        Recurrence::Lags { lags: 16 },
        Recurrence::Neighbourhood,
        Recurrence::Components { delays: 4 },
    ] {
        methods.push((rule.name(), None, Box::new(Simple::new(rule, &learned, shape, longest)?)));
    }
    let progress = Progress::new(methods.len() as u64, "methods scored");
    let score = |(name, cost, mut method): (String, Cost, Box<dyn Method + '_>)| -> Result<Row> {
        progress.name(name.clone());
        let (parameters, seconds) = cost.unzip();
        let row = Row { parameters, seconds, ..score_of(name, method.as_mut(), test)? };
        progress.advance(1);
        Ok(row)
    };
    methods.into_iter().map(score).collect()
}

fn score_of(name: String, method: &mut dyn Method, test: &[Vec<Array2<f64>>]) -> Result<Row> {
    let shape = [test[0][0].nrows(), test[0][0].ncols()];
    let spectra = Bands::new(shape, Partition::Of(1))?;
    let (mut bands, mut cells) = ([0.0; LAST_BAND + 1], 0);
    let [one_step, rollouts @ ..] = score(method, test, |error| {
        cells += error.len();
        for (radius, energy) in spectra.radial_energies(error).into_iter().enumerate() {
            bands[(radius.max(1).ilog2() as usize).min(LAST_BAND)] += energy;
        }
    })?;
    let bands = bands.map(|sum| sum / cells.max(1) as f64);
    Ok(Row { name, one_step, rollouts, bands, parameters: None, seconds: None })
}

fn table(rows: &[Row]) -> Result<String, std::fmt::Error> {
    let mut said = String::new();
    writeln!(said, "{:<24} one step    5 steps   10 steps   40 steps   parameters   training", "mean squared error")?;
    for Row { name, one_step, rollouts: [five, ten, forty], parameters, seconds, .. } in rows {
        write!(said, "{name:<24} {one_step:>8.2e} {five:>10.2e} {ten:>10.2e} {forty:>10.2e}")?;
        match (parameters, seconds) {
            (Some(parameters), Some(seconds)) => writeln!(said, "   {parameters:>10} {seconds:>8.1} s")?,
            _ => writeln!(said)?,
        }
    }
    writeln!(said, "\n{:<24} 0 to 1 cycles     2 to 3     4 to 7    8 to 15     faster", "one step, by band")?;
    for Row { name, bands, .. } in rows {
        write!(said, "{name:<24}   ")?;
        bands.iter().try_for_each(|band| write!(said, " {band:>10.2e}"))?;
        writeln!(said)?;
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_optics::spectral::mean_squared_error;
    use grapheme_optics::spectral::protocol::WARM;

    #[test]
    fn bands_add_up_to_the_error_and_every_method_has_a_row() {
        let [learn, test] = Scene::Obstacle.scenes(12, [4, 2], 1).unwrap();
        let rows = rows(&learn, &test, TrainingSettings { passes: 1, rate: 3e-3, seed: 1 }).unwrap();
        assert_eq!(rows.len(), 8);
        let copy = rows.iter().find(|row| row.name == "copy").unwrap();
        let (mut sum, mut held) = (0.0, 0.0);
        for frames in &test {
            sum += (WARM..64).map(|t| mean_squared_error(&frames[t - 1], &frames[t])).sum::<f64>() / 96.0;
            held += (0..40).map(|t| mean_squared_error(&frames[WARM - 1], &frames[WARM + t])).sum::<f64>() / 80.0;
        }
        assert!((copy.bands.iter().sum::<f64>() / copy.one_step - 1.0).abs() < 1e-9, "{copy:?}");
        assert!((copy.one_step / sum - 1.0).abs() < 1e-9 && (copy.rollouts[2] / held - 1.0).abs() < 1e-9, "{copy:?}");
        assert!(rows[0].one_step < 0.1 * copy.one_step && rows[0].parameters.is_some(), "{:?}", rows[0]);
        assert_eq!(table(&rows).unwrap().lines().count(), 1 + 8 + 2 + 8);
    }
}
