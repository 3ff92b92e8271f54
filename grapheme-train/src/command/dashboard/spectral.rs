//! What the page shows of a predictor of wave fields: its training, and a player of what it did on frames that it never saw.

use super::curves::{self, BLUE, Curve, Plot, SKY};
use crate::command::train_spectral::kept::{Config, Wishes, load};
use crate::command::train_spectral::look::{Line, Look, look};
use crate::file;
use crate::run::RunFolder;
use anyhow::{Result, ensure};
use grapheme_optics::field::fronts::isoline;
use grapheme_optics::field::gradient::equilibrium;
use grapheme_optics::spectral::protocol::{Figure, WARM};
use grapheme_optics::spectral::{Bands, Partition};
use ndarray::{Array2, ArrayView2, Axis, s};
use serde::Serialize;

/// One run, as the page's script reads it.
#[derive(Debug, Serialize)]
pub struct View {
    name: String,
    /// Names and values, for a line under the title.
    facts: Vec<(&'static str, String)>,
    loss: Option<Plot>,
    /// Once there is a trained predictor.
    player: Option<Player>,
    /// Squared errors of all methods, one step ahead.
    figures: Vec<Figure>,
}

/// Maps of some frames, and what belongs to them.
#[derive(Debug, Serialize)]
struct Player {
    /// Rows and columns of the field, and of the maps, which are coarser where the field is large.
    shape: [usize; 2],
    cells: [usize; 2],
    /// Names of the bands.
    bands: Vec<String>,
    /// The largest error, and of each band its lowest and highest value in a frame.
    peak: f64,
    ranges: Vec<[f64; 2]>,
    moments: Vec<Shown>,
    /// Frame, error, stored error and trust of every frame that was scored.
    course: Vec<(usize, f64, f64, f64)>,
    /// Frame, row, column, cells, released.
    events: Vec<(usize, f64, f64, usize, f64)>,
}

/// One frame; maps are bytes in base64, a map behind the other.
#[derive(Debug, Serialize)]
struct Shown {
    frame: usize,
    /// Of each band, from its lowest to its highest value.
    field: String,
    /// Of each band, the root of its part of `peak` with its sign about 128.
    error: String,
    /// From 0 to 1.
    stored: String,
    /// Segments of the isoline of half the largest error, four numbers each.
    front: Vec<[f32; 4]>,
    /// From row and column to row and column, age and weight, the heaviest first.
    links: Vec<(f32, [usize; 5])>,
    /// Energy at each number of cycles over the frame, of frame, prediction and error, as logarithms to base 10.
    spectra: [Vec<f32>; 3],
}

/// Cells of a side of a map and frames at most, which keep the page below 8 MB.
const SIDE: usize = 64;
const FRAMES: usize = 128;
/// Frames whose errors are told, at most.
const COURSE: usize = 2000;
/// Events that are told at most, the first ones.
const EVENTS: usize = 5000;
/// Parts of a training over which its loss must stay within so much of itself to be told as settled.
const PATIENCE: usize = 8;
const TOLERANCE: f64 = 0.05;
/// Links of a frame.
const LINKS: usize = 12;
/// Names of three bands; more are numbered.
const NAMES: [&str; 3] = ["slow", "middle", "fast"];

/// What the folder was asked to do, if it is one of these.
pub fn wishes(run: &RunFolder) -> Option<Wishes> {
    run.read_config::<Config>().ok().map(|config| config.spectral)
}

/// Reads runs, also such that are still going on.
///
/// # Errors
/// What cannot be read, by file.
pub fn views(runs: &[(&RunFolder, Wishes)]) -> Result<Vec<View>> {
    runs.iter().map(|(run, wishes)| view(run, wishes)).collect()
}

fn view(run: &RunFolder, wishes: &Wishes) -> Result<View> {
    let losses = losses(run)?;
    let curve = match losses.len() / 40 {
        0 | 1 => vec![Curve::new("loss", BLUE, losses.iter().copied())],
        window => {
            let mean = losses
                .windows(window)
                .map(|steps| (steps[window - 1].0, steps.iter().map(|(_, loss)| loss).sum::<f64>() / window as f64));
            vec![
                Curve::new("loss", SKY, losses.iter().copied()).faint(),
                Curve::new(&format!("mean of {window} frames"), BLUE, mean),
            ]
        }
    };
    let settled = settled(&losses);
    let loss = curves::extent(&curve).and_then(|extent| curves::draw(&curve, "frames learned from", extent));
    let mut facts = vec![
        ("pattern", wishes.pattern.name().to_owned()),
        ("cells", format!("{0} x {0}", wishes.size)),
        ("frames to learn from", wishes.frames.to_string()),
        ("passes", wishes.passes.to_string()),
        ("seed", wishes.seed.to_string()),
    ];
    if let Some(settled) = settled {
        facts.push(("loss", settled));
    }
    let (mut player, mut figures) = (None, Vec::new());
    if run.model().exists() {
        let (mut predictor, _) = load(&run.model())?;
        let test = wishes.test()?;
        ensure!(
            predictor.bands().shape() == [wishes.size; 2],
            "{}: the predictor is not for frames of {1} x {1} cells as config.json says; train again",
            run.model().display(),
            wishes.size
        );
        let look = look(&mut predictor, &test)?;
        figures = look.errors.figures(&predictor);
        figures[2..].sort_by(|a, b| a.mean.total_cmp(&b.mean));
        facts.push(("mean squared error", format!("{:.2e}", figures[0].mean)));
        facts.push(("without attention", format!("{:.2e}", figures[1].mean)));
        facts.push(("breakdowns", look.events.len().to_string() + &look.rhythm()));
        player = Some(play(&look, wishes)?);
    } else {
        facts.push(("state", "training".to_owned()));
    }
    Ok(View { name: run.path().display().to_string(), facts, loss, player, figures })
}

/// Where the loss settled, by its means over fortieths of the training; nothing of a training too short to tell.
fn settled(losses: &[(f64, f64)]) -> Option<String> {
    let part = losses.len().div_ceil(40).max(4);
    let mean = |steps: &[(f64, f64)]| steps.iter().map(|(_, loss)| loss).sum::<f64>() / steps.len() as f64;
    let means: Vec<f64> = losses.chunks(part).map(mean).collect();
    let at = equilibrium(&means, PATIENCE, TOLERANCE).map(|i| format!("settled after {} frames", i * part));
    (means.len() > PATIENCE).then(|| at.unwrap_or_else(|| "not settled yet".to_owned()))
}

/// The losses of training by step; of a log that is being written, all whole lines.
fn losses(run: &RunFolder) -> Result<Vec<(f64, f64)>> {
    let path = run.metrics();
    let bytes = if path.exists() { file::read(&path)? } else { Vec::new() };
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut losses = Vec::new();
    for (i, line) in bytes[..whole].split_inclusive(|&byte| byte == b'\n').enumerate() {
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| anyhow::anyhow!("{}, line {}: {error}; the file was changed", path.display(), i + 1))?;
        if let Line::Train { loss, .. } = line {
            losses.push((losses.len() as f64 + 1.0, loss));
        }
    }
    Ok(losses)
}

fn play(look: &Look, wishes: &Wishes) -> Result<Player> {
    let shape = [wishes.size; 2];
    let block = wishes.size.div_ceil(SIDE);
    let every = look.moments.len().div_ceil(FRAMES).max(1);
    let bands = Bands::new(shape, wishes.predictor.partition)?;
    let spectra = Bands::new(shape, Partition::Of(1))?;
    let errors: Vec<Array2<f64>> = look.moments.iter().map(|moment| &moment.frame - &moment.prediction).collect();
    let peak = errors.iter().flatten().fold(f64::MIN_POSITIVE, |peak, &e| peak.max(e.abs()));
    let chosen: Vec<usize> = (0..look.moments.len()).step_by(every).collect();
    let split: Vec<[Vec<Array2<f64>>; 2]> = chosen
        .iter()
        .map(|&t| {
            [&look.moments[t].frame, &errors[t]]
                .map(|map| bands.split(map).axis_iter(Axis(0)).map(|band| coarse(band, block)).collect())
        })
        .collect();
    let ranges: Vec<[f64; 2]> = (0..bands.len())
        .map(|k| {
            let values = split.iter().flat_map(|[field, _]| field[k].iter());
            values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &x| [low.min(x), high.max(x)])
        })
        .collect();
    let moments = chosen.iter().zip(&split).map(|(&t, [field, error])| {
        let moment = &look.moments[t];
        let place = |k: usize, x: f64| {
            let [low, high] = ranges[k];
            byte((x - low) / (high - low).max(f64::MIN_POSITIVE))
        };
        let root = |x: f64| (128.0 + 127.0 * x.signum() * (x.abs() / peak).sqrt().min(1.0)).round() as u8;
        let energies = [&moment.frame, &moment.prediction, &errors[t]].map(|map| {
            let energies = spectra.radial_energies(map).into_iter();
            energies.map(|e| ((e.max(1e-30).log10() * 100.0).round() / 100.0) as f32).collect()
        });
        Shown {
            frame: WARM + t,
            field: base64(field.iter().enumerate().flat_map(|(k, map)| map.iter().map(move |&x| place(k, x)))),
            error: base64(error.iter().flatten().map(|&x| root(x))),
            stored: base64(coarse(moment.stored.view(), block).iter().map(|&x| byte(x))),
            front: front(&coarse(errors[t].mapv(f64::abs).view(), block), block),
            links: moment
                .links
                .iter()
                .take(LINKS)
                .filter(|link| link.weight > 0.0)
                .map(|link| {
                    (
                        ((link.weight * 1e3).round() / 1e3) as f32,
                        [link.from[0], link.from[1], link.to[0], link.to[1], link.age],
                    )
                })
                .collect(),
            spectra: energies,
        }
    });
    // Of a long test the course is told for the frames that are shown.
    let is_told = |frame: usize| look.moments.len() <= COURSE || (frame - WARM).is_multiple_of(every);
    let course = look.lines.iter().filter_map(|line| match *line {
        Line::Test { frame, error, stored, trust, .. } if is_told(frame) => Some((frame, error, stored, trust)),
        _ => None,
    });
    let name = |k: usize| match NAMES.get(k) {
        Some(name) if bands.len() == NAMES.len() => (*name).to_owned(),
        _ => format!("band {}", k + 1),
    };
    Ok(Player {
        shape,
        cells: [wishes.size.div_ceil(block); 2],
        bands: (0..bands.len()).map(name).collect(),
        peak,
        moments: moments.collect(),
        ranges,
        course: course.collect(),
        events: look.events.iter().take(EVENTS).map(|e| (e.step, e.place[0], e.place[1], e.size, e.released)).collect(),
    })
}

/// The isoline of half the largest error of a map, in cells of the field, whose blocks the map has; a tenth of a cell is what can be
/// seen of it.
fn front(error: &Array2<f64>, block: usize) -> Vec<[f32; 4]> {
    let top = error.iter().fold(0.0_f64, |top, &e| top.max(e));
    let place = |x: f64| (((x + 0.5) * block as f64 - 0.5) * 10.0).round() as f32 / 10.0;
    isoline(error, 0.5 * top).into_iter().map(|[[a, b], [c, d]]| [a, b, c, d].map(place)).collect()
}

/// Means of blocks; those at the border may be smaller.
fn coarse(map: ArrayView2<'_, f64>, block: usize) -> Array2<f64> {
    let (h, w) = map.dim();
    Array2::from_shape_fn((h.div_ceil(block), w.div_ceil(block)), |(i, j)| {
        let part = map.slice(s![i * block..h.min((i + 1) * block), j * block..w.min((j + 1) * block)]);
        part.sum() / part.len() as f64
    })
}

/// 0 to 1 as a byte.
fn byte(x: f64) -> u8 {
    (x.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Bytes in the letters of RFC 4648.
fn base64(bytes: impl Iterator<Item = u8>) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = bytes.collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_settles_where_it_stops_falling() {
        let losses = |falls: usize| -> Vec<(f64, f64)> {
            (0..400).map(|i| (i as f64, 1.0 + (falls.saturating_sub(i)) as f64 + 0.3 * (i % 2) as f64)).collect()
        };
        assert_eq!(settled(&losses(200)).unwrap(), "settled after 200 frames");
        assert_eq!(settled(&losses(400)).unwrap(), "not settled yet");
        assert_eq!(settled(&losses(0)[..30]), None);
    }

    #[test]
    fn bytes_become_the_letters_of_the_standard_and_blocks_their_means() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("\u{7f}?>", "fz8+")]
        {
            assert_eq!(base64(bytes.bytes()), text);
        }
        let map = Array2::from_shape_fn((3, 5), |(i, j)| (5 * i + j) as f64);
        assert_eq!(coarse(map.view(), 2), ndarray::array![[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]);
        assert_eq!(coarse(map.view(), 1), map);
        assert_eq!([byte(-1.0), byte(0.5), byte(2.0)], [0, 128, 255]);
        // Half way between the top and its neighbours, at blocks of two cells: the middle of a block is half a cell behind its first.
        let mut error = Array2::zeros((3, 3));
        error[(1, 1)] = 1.0;
        let line = front(&error, 2);
        assert!(!line.is_empty() && line.iter().flatten().all(|x| [1.5, 2.5, 3.5].contains(x)), "{line:?}");
    }
}
