//! The predictor as a whole: recurrences for what is regular, attention for what they leave.

use super::attention::wormhole::{Found, Hashed, looks};
use super::attention::{Links, Weighed, WormholeSettings, Wormholes, neighbourhood_links};
use super::loss::{Loss, Target};
use super::network::{Corrected, Correction, CorrectionCache, CorrectionSettings, Kept, Moment};
use super::{Bands, FieldError, Forecast, ForecastSettings, Partition};
use grapheme_core::{Scalar, Stream};
use ndarray::{Array2, Array3, Axis};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::VecDeque;

/// What a person chooses about a [`Predictor`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictorSettings {
    /// The recurrences.
    pub forecast: ForecastSettings,
    /// Into how many bands frames are split.
    pub partition: Partition,
    /// The trained part.
    pub correction: CorrectionSettings,
    /// The search for wormholes.
    pub wormholes: WormholeSettings,
    /// In which band places are compared; what they became is read in the others.
    pub search_band: usize,
    /// What training minimises.
    pub loss: Loss,
}

impl PredictorSettings {
    /// Settings that can run.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn check(&self) -> Result<(), FieldError> {
        self.forecast.check()?;
        self.correction.check()?;
        self.wormholes.check()?;
        self.loss.check()?;
        let bands = self.partition.bands();
        FieldError::require(
            self.search_band < bands,
            "search_band",
            self.search_band as f64,
            "below the number of bands",
        )
    }
}

/// One frame as attention sees it.
#[derive(Clone, Debug)]
struct Record<S> {
    /// P x f: K bands, K bands of the change that led here, and the change that the recurrences expect, the last two in units of
    /// the usual change.
    features: Array2<S>,
    /// P x g, once it is known: K bands of the change that followed, and the error that the recurrences made, each in its unit.
    followed: Option<Array2<S>>,
    /// The same as the correction reads it, from the first prediction on that found its parameters as they were at the last.
    kept: Option<Kept<S>>,
}

/// A link through the history that the last prediction read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WormholeLink {
    /// Row and column that read.
    pub from: [usize; 2],
    /// Row and column that was read.
    pub to: [usize; 2],
    /// How many frames ago that was.
    pub age: usize,
    /// The weight of the link.
    pub weight: f64,
}

/// `x[t + 1] = clamp(b + alpha epsilon y)`: the forecast b of the recurrences, corrected by attention.
///
/// `epsilon` is the root of the decayed mean squared error of the recurrences, so the correction y works in units of what there is
/// to correct: where they are exact nothing is added. `alpha`, in 0 to 1, is the least-squares factor of past
/// corrections on past errors, shrunk towards 0 by how uncertain it is: see [`Predictor::trust`]. A sequence begins with that of the
/// training. While it is 0 the attention is only asked at
/// every eighth frame whether it would have helped.
///
/// Everything is causal by construction: a prediction is made from what [`Predictor::observe`] was given.
#[derive(Clone, Debug)]
pub struct Predictor<S> {
    settings: PredictorSettings,
    forecast: Forecast,
    bands: Bands,
    correction: Correction<S>,
    /// Whether its parameters may have changed since the last prediction: in training nothing that is made of them is worth keeping.
    changed: bool,
    /// How many of the frames that attention looks back on there are, and the links over time and over neighbours into these.
    held: usize,
    here: [Links; 2],
    wormholes: Wormholes,
    /// The newest first.
    records: VecDeque<Record<S>>,
    /// How the places of the newest frame look in the band of the search. Those before are in the buckets.
    looks: Option<Hashed>,
    /// Bands of the newest frame.
    split: Array3<f64>,
    /// Decayed sums: squared error of the recurrences, squared change, their weights.
    error: [f64; 2],
    change: [f64; 2],
    /// Decayed sums of correction times error, of squared correction, and of the square of the former.
    agreement: [f64; 3],
    /// What the newest frame added to them, and what they are before the first.
    newest: [f64; 3],
    prior: [f64; 3],
    /// The last prediction.
    last: Option<Last<S>>,
}

#[derive(Clone, Debug)]
struct Last<S> {
    base: Array2<f64>,
    epsilon: f64,
    /// What attention made of it, if it was asked.
    read: Option<Read<S>>,
}

#[derive(Clone, Debug)]
struct Read<S> {
    corrected: Corrected<S>,
    /// `epsilon y`.
    correction: Array2<f64>,
    /// What learning needs, unless frames were read as they were kept.
    origin: Option<(Moment<S>, CorrectionCache<S>)>,
    /// Step and place behind each wormhole.
    far: Vec<Option<Found>>,
}

const DECAY: f64 = 0.9;
/// The memory of how corrections agreed with errors.
const MEMORY: f64 = 0.95;
/// A factor that is not this many times its standard error counts as 0.
const SIGNIFICANT: f64 = 2.0;
/// A correction that is not trusted is tried again after so many frames.
const TRIAL: usize = 8;
/// Features are cut off at so many times their unit: after a long calm a jump would be thousands.
const LIMIT: f64 = 5.0;

impl<S: Scalar> Predictor<S> {
    /// For frames of one shape, untrained.
    ///
    /// # Errors
    /// A setting outside its range; frames of fewer than 2 x 2 cells, which have no neighbourhood.
    pub fn new(shape: [usize; 2], settings: PredictorSettings, seed: u64) -> Result<Self, FieldError> {
        settings.check()?;
        if shape.iter().any(|&side| side < 2) {
            return Err(FieldError::Small { found: shape, least: 2 });
        }
        let seed = Stream::new(seed);
        let bands = Bands::new(shape, settings.partition)?;
        let mut correction = settings.correction;
        correction.links = settings.wormholes.links;
        let k = bands.len();
        let sizes = [2 * k + 1, k + 1, settings.loss.outputs()];
        Ok(Self {
            forecast: Forecast::new(shape, settings.forecast.clone())?,
            correction: Correction::new(&correction, sizes, &mut seed.fork(1))?,
            changed: false,
            held: 0,
            here: links_here(&correction, shape, 0),
            wormholes: Wormholes::new(settings.wormholes, &seed.fork(2))?,
            records: VecDeque::new(),
            looks: None,
            split: Array3::zeros((k, shape[0], shape[1])),
            error: [0.0; 2],
            change: [0.0; 2],
            agreement: [0.0; 3],
            newest: [0.0; 3],
            prior: [0.0; 3],
            last: None,
            bands,
            settings,
        })
    }

    /// Fits the recurrences to sequences, in closed form; see [`Forecast::fit`].
    ///
    /// # Errors
    /// As there.
    pub fn fit(&mut self, sequences: &[Vec<Array2<f64>>], seed: u64) -> Result<(), FieldError> {
        self.forecast.fit(sequences, &Stream::new(seed).fork(3))?;
        self.clear();
        Ok(())
    }

    /// Takes the next frame in.
    ///
    /// # Errors
    /// A frame of another shape or with a number that is not finite; nothing has changed then.
    pub fn observe(&mut self, frame: &Array2<f64>) -> Result<(), FieldError> {
        self.forecast.observe(frame)?;
        let split = self.bands.split(frame);
        let pixels = frame.len() as f64;
        self.newest = [0.0; 3];
        let moved = &split - &self.split;
        if let Some(newest) = self.records.front_mut() {
            let squared = moved.sum_axis(Axis(0)).mapv(|x| x * x).sum() / pixels;
            self.change = [DECAY * self.change[0] + squared, DECAY * self.change[1] + 1.0];
            let unit = unit(self.change);
            let mut followed = columns::<S>(&[(&moved, 1.0 / unit)], 1);
            if let Some(last) = &self.last {
                let error = frame - &last.base;
                let scale = 1.0 / last.epsilon;
                followed.column_mut(moved.dim().0).iter_mut().zip(&error).for_each(|(f, &e)| *f = cut(e * scale));
                if let Some(read) = &last.read {
                    // In units of the error of the time, so that one jump does not decide.
                    let weight = 1.0 / (last.epsilon * last.epsilon * pixels);
                    let along = (&read.correction * &error).sum() * weight;
                    let own = read.correction.iter().map(|c| c * c).sum::<f64>() * weight;
                    let [sum, squared, variance] = self.agreement;
                    let newest = [along, own, along * along];
                    self.agreement = [
                        MEMORY * sum + newest[0],
                        MEMORY * squared + newest[1],
                        MEMORY * MEMORY * variance + newest[2],
                    ];
                    self.newest = newest;
                }
            }
            newest.followed = Some(followed);
            if let Some(looks) = &self.looks {
                self.wormholes.enter(self.forecast.history().steps() - 2, looks);
            }
        }
        if let Some(last) = self.last.take() {
            let squared = (frame - &last.base).mapv(|x| x * x).sum() / pixels;
            self.error = [DECAY * self.error[0] + squared, DECAY * self.error[1] + 1.0];
        }
        let unit = unit(self.change);
        let expected = (self.forecast.predict() - frame).insert_axis(Axis(0));
        let fresh = self.records.is_empty();
        let before = if fresh { &split } else { &self.split };
        let led = if fresh { Array3::zeros(split.dim()) } else { moved };
        let band = self.settings.search_band;
        let (h, w) = frame.dim();
        let looks = looks(map(&split, band), map(before, band), [h, w]);
        if fresh {
            self.wormholes.centre_on(&looks);
        }
        self.looks = Some(self.wormholes.hash(looks));
        let features = columns(&[(&split, 1.0), (&led, 1.0 / unit), (&expected, 1.0 / unit)], 0);
        self.records.push_front(Record { features, followed: None, kept: None });
        self.records.truncate(self.settings.forecast.history + 1);
        let held = (self.records.len() - 1).min(self.settings.correction.frames);
        if held != self.held {
            self.held = held;
            self.here = links_here(&self.settings.correction, [h, w], held);
        }
        self.split = split;
        Ok(())
    }

    /// The expected next frame. A mid grey before the first frame.
    pub fn predict(&mut self) -> Array2<f64> {
        let base = self.forecast.predict();
        if self.records.is_empty() {
            return base;
        }
        let (epsilon, trust) = (unit(self.error), self.trust());
        let is_asked = trust > 0.0 || self.forecast.history().steps().is_multiple_of(TRIAL);
        if is_asked && !std::mem::take(&mut self.changed) {
            self.keep();
        }
        let read = is_asked.then(|| self.read(&base, epsilon));
        let frame = match &read {
            Some(read) if trust > 0.0 => (&base + &(&read.correction * trust)).mapv(|x| x.clamp(0.0, 1.0)),
            _ => base.clone(),
        };
        self.last = Some(Last { base, epsilon, read });
        frame
    }

    /// Projects what the correction reads of the past, where that was not done yet.
    fn keep(&mut self) {
        let (near, band) = (self.settings.correction.frames, self.settings.search_band);
        for (age, record) in self.records.iter_mut().enumerate().skip(1) {
            match &mut record.kept {
                Some(kept) if age > near => kept.recede(),
                Some(_) => {}
                None => {
                    // Found in one band, read in the others.
                    let mut far = record.followed().clone();
                    far.column_mut(band).fill(S::zero());
                    let kept = self.correction.keep(&record.features, record.followed(), &far, age <= near);
                    record.kept = Some(kept);
                }
            }
        }
    }

    /// What attention makes of the frames seen, beside what the recurrences expect.
    fn read(&self, base: &Array2<f64>, epsilon: f64) -> Read<S> {
        let far = self.search();
        let kept: Option<Vec<&Kept<S>>> = self.records.iter().skip(1).map(|record| record.kept.as_ref()).collect();
        let (corrected, origin) = match kept {
            Some(frames) => {
                let (slots, steps) = (self.settings.wormholes.links, self.forecast.history().steps());
                let behind = |place: usize, slot: usize| {
                    let found = far[place * slots + slot]?;
                    Some([steps - 2 - found.step, found.place])
                };
                let now = self.records[0].features.view();
                (self.correction.attend(now, &frames, &self.here[1], behind, self.top()), None)
            }
            None => {
                let moment = self.moment(&far);
                let (corrected, cache) = self.correction.forward(&moment, self.top());
                (corrected, Some((moment, cache)))
            }
        };
        let correction = self.settings.loss.correction(&corrected.outputs, base, epsilon);
        Read { corrected, correction, origin, far }
    }

    /// How many of the best links over time are summed, if not all.
    fn top(&self) -> Option<usize> {
        (self.settings.correction.top > 0).then_some(self.settings.correction.top)
    }

    /// The same for the last prediction, whether it was asked then or not.
    fn read_last(&self) -> Option<(&Last<S>, Cow<'_, Read<S>>)> {
        let last = self.last.as_ref()?;
        let read = match &last.read {
            Some(read) => Cow::Borrowed(read),
            None => Cow::Owned(self.read(&last.base, last.epsilon)),
        };
        Some((last, read))
    }

    /// The loss of the last prediction against what came, and its gradient, which is added into `grad`.
    ///
    /// To be called between [`Predictor::predict`] and [`Predictor::observe`]; without a prediction there is nothing to learn.
    pub fn learn(&mut self, frame: &Array2<f64>, grad: &mut Correction<S>) -> Option<f64> {
        self.learn_with(frame, grad, |_, _, _| 0.0)
    }

    /// The same with a further term of the loss: `more(y, target, dy)` returns its value for the outputs y and adds its gradient to `dy`.
    pub fn learn_with(
        &mut self,
        frame: &Array2<f64>,
        grad: &mut Correction<S>,
        more: impl FnOnce(&Array2<S>, &Target<'_>, &mut Array2<S>) -> f64,
    ) -> Option<f64> {
        let mut last = self.last.take()?;
        let mut read = last.read.take().unwrap_or_else(|| self.read(&last.base, last.epsilon));
        let (moment, cache) = read.origin.take().unwrap_or_else(|| {
            let moment = self.moment(&read.far);
            let cache;
            (read.corrected, cache) = self.correction.forward(&moment, self.top());
            (moment, cache)
        });
        let target = Target { frame, base: &last.base, epsilon: last.epsilon };
        let (mut loss, mut dy) = self.settings.loss.evaluate(&read.corrected.outputs, &target);
        loss += more(&read.corrected.outputs, &target, &mut dy);
        self.correction.backward(&moment, &read.corrected, cache, dy.view(), grad);
        // Kept, so that trust hears of every frame that is learned from.
        last.read = Some(read);
        self.last = Some(last);
        Some(loss)
    }

    /// The expected next `steps` frames: the recurrences go on alone, and the correction of the first step is kept.
    pub fn rollout(&mut self, steps: usize) -> Vec<Array2<f64>> {
        let mut frames = self.forecast.rollout(steps);
        if let Some(first) = frames.first_mut() {
            *first = self.predict();
        }
        frames
    }

    /// How far the correction is trusted, 0 to 1: the least-squares factor `f` of past corrections y on past errors e, which is
    /// `sum <y, e> / sum <y, y>` over fading memory, times `max(0, 1 - 4 / t^2)`.
    ///
    /// t is the sum above the line in units of its standard error, the root of `sum <y, e>^2`. So it is the positive part of a shrinkage estimate
    /// (James and Stein, 1961), and what was gained at a single frame is no reason to trust.
    pub fn trust(&self) -> f64 {
        let [along, own, variance] = self.agreement;
        if along <= 0.0 || own <= 0.0 || variance <= 0.0 {
            return 0.0;
        }
        let shrunk = 1.0 - SIGNIFICANT * SIGNIFICANT * variance / (along * along);
        (along / own).min(1.0) * shrunk.max(0.0)
    }

    /// The wormholes that the last prediction read, the heaviest first, and the share of all pairs that passed the gate.
    pub fn wormholes(&self) -> (Vec<WormholeLink>, f64) {
        let Some((_, read)) = self.read_last() else { return (Vec::new(), 0.0) };
        let width = self.split.dim().2;
        let place = |p: usize| [p / width, p % width];
        let [_, _, Weighed { weights, passed: [passed, all] }] = &read.corrected.reads;
        let slots = weights.ncols().max(1);
        let now = self.forecast.history().steps() - 1;
        let mut links: Vec<WormholeLink> = read
            .far
            .iter()
            .enumerate()
            .filter_map(|(i, found)| {
                let found = (*found)?;
                let weight = weights[(i / slots, i % slots)].widen();
                Some(WormholeLink { from: place(i / slots), to: place(found.place), age: now - found.step, weight })
            })
            .collect();
        links.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        (links, *passed as f64 / (*all).max(1) as f64)
    }

    /// What the last prediction saw, a row a place: the hidden layer of the correction.
    pub fn latents(&self) -> Option<Array2<S>> {
        self.read_last().map(|(_, read)| read.corrected.hidden.clone())
    }

    /// Forgets the frames seen; what was learned stays.
    pub fn clear(&mut self) {
        self.forecast.clear();
        self.wormholes.clear();
        self.records.clear();
        self.looks = None;
        self.split.fill(0.0);
        (self.error, self.change, self.last) = ([0.0; 2], [0.0; 2], None);
        (self.agreement, self.newest) = (self.prior, [0.0; 3]);
    }

    /// The recurrences, to take over what others like them have learned; see [`Forecast::take_over`].
    pub fn forecast_mut(&mut self) -> &mut Forecast {
        &mut self.forecast
    }

    /// Decayed sums of correction times error, of squared correction, and of the square of the former, of which [`Predictor::trust`] is
    /// made: the one thing that depends on corrections made before, so that who repeats a sequence without them can set it.
    pub fn agreement(&self) -> [f64; 3] {
        self.agreement
    }

    /// Sets what [`Predictor::agreement`] told.
    pub fn set_agreement(&mut self, agreement: [f64; 3]) {
        self.agreement = agreement;
    }

    /// What the newest frame added to [`Predictor::agreement`].
    pub fn newest_agreement(&self) -> [f64; 3] {
        self.newest
    }

    /// What [`Predictor::agreement`] is before the first frame: nothing, until [`Predictor::learn_prior`].
    pub fn prior(&self) -> [f64; 3] {
        self.prior
    }

    /// Sets it as it was told, and forgets the frames seen.
    pub fn set_prior(&mut self, prior: [f64; 3]) {
        self.prior = prior;
        self.clear();
    }

    /// A new sequence begins with the trust that was earned on others: `sums` over so many frames of what
    /// [`Predictor::newest_agreement`] told counts as the evidence of the frames that memory holds, with the standard error of all.
    /// It fades as all else, so that after these frames the sequence itself decides. Forgets the frames seen.
    pub fn learn_prior(&mut self, sums: [f64; 3], frames: u32) {
        let scale = (1.0 / (1.0 - MEMORY) / f64::from(frames.max(1))).min(1.0);
        self.set_prior([sums[0] * scale, sums[1] * scale, sums[2] * scale * scale]);
    }

    /// The trained part.
    pub fn correction(&self) -> &Correction<S> {
        &self.correction
    }

    /// The trained part, for an optimiser.
    pub fn correction_mut(&mut self) -> &mut Correction<S> {
        self.changed = true;
        self.records.iter_mut().for_each(|record| record.kept = None);
        &mut self.correction
    }

    /// The recurrences.
    pub fn forecast(&self) -> &Forecast {
        &self.forecast
    }

    /// The split into bands.
    pub fn bands(&self) -> &Bands {
        &self.bands
    }

    /// The settings.
    pub fn settings(&self) -> &PredictorSettings {
        &self.settings
    }

    /// What stands behind each wormhole, as far as it can be read.
    fn search(&self) -> Vec<Option<Found>> {
        let slots = self.settings.wormholes.links;
        let mut behind = vec![None; self.split.len_of(Axis(1)) * self.split.len_of(Axis(2)) * slots];
        let Some(looks) = &self.looks else { return behind };
        let step = self.forecast.history().steps() - 1;
        self.wormholes.search(looks, |place, found| {
            // What has left the history cannot be read any more.
            let held = found.iter().map(|link| Some(*link).filter(|link| step - link.step < self.records.len()));
            behind[place * slots..(place + 1) * slots].iter_mut().zip(held).for_each(|(behind, link)| *behind = link);
        });
        behind
    }

    /// What the correction sees now, given what stands behind each wormhole.
    fn moment(&self, behind: &[Option<Found>]) -> Moment<S> {
        let now = self.records[0].features.clone();
        let pixels = now.nrows();
        let k = self.bands.len();
        let (f, g) = (2 * k + 1, k + 1);
        let (mut past, mut followed) =
            (Vec::with_capacity(self.held * pixels * f), Vec::with_capacity(self.held * pixels * g));
        for record in self.records.iter().skip(1).take(self.held) {
            past.extend_from_slice(rows(&record.features));
            followed.extend_from_slice(rows(record.followed()));
        }
        let slots = self.settings.wormholes.links;
        let (mut far, mut far_followed) = (vec![S::zero(); pixels * slots * f], vec![S::zero(); pixels * slots * g]);
        let step = self.forecast.history().steps() - 1;
        for (row, link) in behind.iter().enumerate().filter_map(|(row, link)| Some((row, (*link)?))) {
            let record = &self.records[step - link.step];
            let from = |width: usize| link.place * width..(link.place + 1) * width;
            far[row * f..(row + 1) * f].copy_from_slice(&rows(&record.features)[from(f)]);
            far_followed[row * g..(row + 1) * g].copy_from_slice(&rows(record.followed())[from(g)]);
            // Found in one band, read in the others.
            far_followed[row * g + self.settings.search_band] = S::zero();
        }
        let matrix = |width: usize, values: Vec<S>| {
            Array2::from_shape_vec((values.len() / width, width), values).expect("whole rows were written")
        };
        let (past, followed, far, far_followed) =
            (matrix(f, past), matrix(g, followed), matrix(f, far), matrix(g, far_followed));
        let away = Links::new(pixels, slots, |place, slot| {
            let row = place * slots + slot;
            behind[row].is_some().then_some(row)
        });
        let [time, near] = self.here.clone();
        Moment { now, past, followed, far, far_followed, links: [time, near, away] }
    }
}

impl<S> Record<S> {
    fn followed(&self) -> &Array2<S> {
        self.followed.as_ref().expect("known of all frames but the newest")
    }
}

/// One of several maps, row by row.
fn map(maps: &Array3<f64>, index: usize) -> &[f64] {
    let (_, h, w) = maps.dim();
    &maps.as_slice().expect("made in row-major order")[index * h * w..][..h * w]
}

fn rows<S: Scalar>(x: &Array2<S>) -> &[S] {
    x.as_slice().expect("a new matrix is row-major")
}

/// Links over time and over neighbours into the last `held` frames.
fn links_here(settings: &CorrectionSettings, [h, w]: [usize; 2], held: usize) -> [Links; 2] {
    let pixels = h * w;
    let near = neighbourhood_links([h, w], settings.near);
    [
        Links::new(pixels, settings.frames, |place, slot| (slot < held).then_some(slot * pixels + place)),
        Links::new(pixels, near.slots(), |place, slot| {
            Links::row(near.of(place)[slot]).filter(|row| row / pixels < held)
        }),
    ]
}

/// The root of a decayed mean of squares, with a floor where nothing happens.
fn unit([sum, weight]: [f64; 2]) -> f64 {
    if weight > 0.0 { (sum / weight).sqrt().max(1e-6) } else { 1.0 }
}

fn cut<S: Scalar>(x: f64) -> S {
    S::lit(x.clamp(-LIMIT, LIMIT))
}

/// Scaled maps as columns, a row a place, with `more` columns of zeros behind them.
fn columns<S: Scalar>(parts: &[(&Array3<f64>, f64)], more: usize) -> Array2<S> {
    let width: usize = parts.iter().map(|(maps, _)| maps.dim().0).sum();
    let pixels = parts.first().map_or(0, |(maps, _)| maps.dim().1 * maps.dim().2);
    let mut columns = Array2::zeros((pixels, width + more));
    let mut at = 0;
    for (maps, scale) in parts {
        for map in maps.outer_iter() {
            columns.column_mut(at).iter_mut().zip(map).for_each(|(c, &x)| *c = cut(x * scale));
            at += 1;
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::super::recurrence::Recurrence;
    use super::super::{Pattern, Variation};
    use super::*;
    use grapheme_core::param;
    use proptest::prelude::*;

    fn settings() -> PredictorSettings {
        let mut settings = PredictorSettings::default();
        settings.forecast.history = 12;
        settings.correction.frames = 3;
        settings
    }

    /// A predictor whose correction does something.
    fn trained() -> Predictor<f64> {
        let mut predictor = Predictor::<f64>::new([6, 7], settings(), 1).unwrap();
        let mut stream = Stream::new(5);
        use rand::RngExt;
        predictor.correction_mut().head.weight.mapv_inplace(|_| stream.random::<f64>() - 0.5);
        predictor
    }

    fn noise(seed: u64, frames: usize) -> Vec<Array2<f64>> {
        use rand::RngExt;
        let mut stream = Stream::new(seed);
        (0..frames).map(|_| Array2::from_shape_simple_fn((6, 7), || stream.random::<f64>())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

        #[test]
        fn the_future_changes_no_bit_of_the_past(seed in 0_u64..1000, cut in 1_usize..22) {
            let (one, mut other) = (noise(seed, 24), noise(seed, 24));
            other.splice(cut.., noise(seed + 1, 24 - cut));
            // Fitted, and with a history that is long enough for the rules that read it.
            let mut fitted = trained();
            fitted.settings.forecast.history = 20;
            fitted.settings.forecast.learned.passes = 1;
            fitted.forecast = Forecast::new([6, 7], fitted.settings.forecast.clone()).unwrap();
            fitted.fit(&[noise(1001, 40), noise(1002, 40)], 1).unwrap();
            let reader = fitted.settings.forecast.recurrences.iter().position(|rule| *rule == Recurrence::Reader);
            let run = |frames: &[Array2<f64>]| {
                let mut predictor = fitted.clone();
                let predictions = frames.iter().map(|frame| {
                    predictor.observe(frame).unwrap();
                    predictor.predict()
                }).collect::<Vec<_>>();
                assert!(predictor.forecast.expected(reader.unwrap()).is_some());
                predictions
            };
            let (one, other) = (run(&one), run(&other));
            for t in 0..cut {
                prop_assert!(one[t].iter().zip(&other[t]).all(|(a, b)| a.to_bits() == b.to_bits()), "frame {t}");
            }
            prop_assert!(one[cut..] != other[cut..]);
        }
    }

    #[test]
    fn descent_lowers_the_loss_and_the_gradient_reaches_every_block() {
        let mut predictor = trained();
        let frames = noise(3, 14);
        let mut grad = param::zeros_like(predictor.correction());
        for frame in &frames[..13] {
            predictor.predict();
            predictor.observe(frame).unwrap();
        }
        predictor.predict();
        let before = predictor.learn(&frames[13], &mut grad).unwrap();
        param::each(&grad, |name, _, values| assert!(values.iter().any(|&g| g != 0.0), "{name} has no gradient"));
        let rate = 1e-4;
        let energy = param::norm(&grad).powi(2);
        param::each_pair(predictor.correction_mut(), &grad, |_, w, g| {
            w.iter_mut().zip(g).for_each(|(w, g)| *w -= rate * g);
        });
        predictor.predict();
        let after = predictor.learn(&frames[13], &mut grad).unwrap();
        // The first-order law of gradient-driven work.
        let work = crate::field::gradient::Work::of_step(before, after, rate, energy);
        assert!((work.ratio() - 1.0).abs() < 0.01, "{work:?}");
    }

    #[test]
    fn what_is_kept_of_the_past_changes_no_bit() {
        let (mut kept, mut anew) = (trained(), trained());
        for frame in noise(3, 30) {
            let [mut first, mut second] = [&kept, &anew].map(|predictor| param::zeros_like(predictor.correction()));
            kept.set_agreement([20.0, 20.0, 1.0]);
            anew.set_agreement([20.0, 20.0, 1.0]);
            anew.correction_mut();
            assert_eq!(kept.predict(), anew.predict());
            assert!(kept.records.iter().skip(1).all(|record| record.kept.is_some()));
            assert!(anew.records.iter().all(|record| record.kept.is_none()));
            assert_eq!(kept.wormholes(), anew.wormholes());
            assert_eq!(kept.learn(&frame, &mut first), anew.learn(&frame, &mut second));
            param::each_pair(&mut first, &second, |name, first, second| assert_eq!(first, second, "{name}"));
            kept.observe(&frame).unwrap();
            anew.observe(&frame).unwrap();
        }
        // And what was made of other parameters is not read again.
        let before = kept.predict();
        kept.correction_mut().head.weight.mapv_inplace(|w| -w);
        assert_ne!(kept.predict(), before);
    }

    #[test]
    fn trust_that_was_earned_is_there_in_a_new_sequence_and_fades_where_it_is_wrong() {
        let mut predictor = trained();
        // Steady gains of half the squared correction, over as many frames as memory holds and over ten times as many.
        for (frames, expected) in [(20, 0.5 * (1.0 - 4.0 / 20.0)), (200, 0.5 * (1.0 - 4.0 / 200.0))] {
            let each = [0.1, 0.2, 0.01].map(|sum| sum * f64::from(frames));
            predictor.learn_prior(each, frames);
            assert!((predictor.trust() - expected).abs() < 1e-12, "{}", predictor.trust());
        }
        let first = predictor.trust();
        for frame in noise(7, 60) {
            predictor.predict();
            predictor.observe(&frame).unwrap();
            // What the frame adds is told.
            let [along, own, squared] = predictor.newest_agreement();
            assert!((along * along - squared).abs() <= 1e-12 * squared && own >= 0.0);
        }
        assert!(predictor.trust() < 0.1 * first, "random corrections of noise: {}", predictor.trust());
        predictor.clear();
        assert_eq!(predictor.trust(), first);
    }

    #[test]
    fn what_cannot_be_predicted_is_refused_with_its_place() {
        let mut predictor = Predictor::<f32>::new([6, 7], settings(), 1).unwrap();
        predictor.observe(&noise(1, 1)[0]).unwrap();
        let mut bad = noise(1, 1).remove(0);
        bad[(2, 3)] = f64::NAN;
        let refused = predictor.observe(&bad).unwrap_err();
        assert!(matches!(refused, FieldError::NotFinite { step: 1, row: 2, column: 3, .. }), "{refused}");
        assert!(matches!(Predictor::<f32>::new([1, 1], settings(), 1), Err(FieldError::Small { .. })));
        let mut wrong = settings();
        wrong.search_band = 3;
        assert!(matches!(
            Predictor::<f32>::new([6, 7], wrong, 1),
            Err(FieldError::Setting { name: "search_band", .. })
        ));
    }

    #[test]
    fn a_history_longer_than_the_sequence_is_the_sequence() {
        let run = |history: usize| {
            let mut longer = settings();
            longer.forecast.history = history;
            let mut predictor = Predictor::<f64>::new([6, 7], longer, 1).unwrap();
            let predictions = noise(2, 11).into_iter().map(|frame| {
                let expected = predictor.predict();
                predictor.observe(&frame).unwrap();
                expected
            });
            predictions.collect::<Vec<_>>()
        };
        assert_eq!(run(12), run(500));
        assert_ne!(run(4), run(500));
    }

    #[test]
    fn a_linear_pattern_is_nearly_exact_and_stays_so_in_a_rollout() {
        let frames = Pattern::Interference.frames(0, 60, 12, &Variation::default()).unwrap();
        let mut predictor = Predictor::<f32>::new([12, 12], PredictorSettings::default(), 1).unwrap();
        for frame in &frames[..40] {
            predictor.predict();
            predictor.observe(frame).unwrap();
        }
        for (expected, found) in frames[40..].iter().zip(predictor.rollout(20)) {
            assert!(super::super::mean_squared_error(expected, &found) < 1e-7);
        }
    }
}
