//! All recurrences at once, blended by their recent errors.

use super::recurrence::{Kernel, Learned, LearnedSettings, Recurrence, Rule};
use super::solve::add_rows;
use super::{Blend, BlendSettings, FieldError, History};
use grapheme_core::Stream;
use ndarray::{Array1, Array2, ArrayView1};
use serde::{Deserialize, Serialize};

/// What a person chooses about a [`Forecast`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForecastSettings {
    /// Frames that are remembered.
    pub history: usize,
    /// The recurrences.
    pub recurrences: Vec<Recurrence>,
    /// What they take from training.
    pub learned: LearnedSettings,
    /// How they are blended.
    pub blend: BlendSettings,
}

impl Default for ForecastSettings {
    fn default() -> Self {
        let context = |delays, ridge, width| Recurrence::Context(Kernel { delays, ridge, width });
        let recurrences = vec![
            Recurrence::Extrapolation { degree: 0 },
            Recurrence::Extrapolation { degree: 1 },
            Recurrence::Extrapolation { degree: 2 },
            Recurrence::Mean,
            Recurrence::Lags { lags: 16 },
            Recurrence::Lags { lags: 32 },
            Recurrence::ContextLags { lags: 4, prior: 0.1 },
            Recurrence::ContextLags { lags: 8, prior: 0.1 },
            Recurrence::Gain,
            Recurrence::Neighbourhood,
            context(1, 1e-12, None),
            context(4, 1e-12, None),
            context(4, 1e-4, None),
            context(2, 1e-10, Some(1.0)),
            Recurrence::Components { delays: 4 },
            Recurrence::Memory { delays: 1 },
            Recurrence::Memory { delays: 4 },
            Recurrence::Reader,
        ];
        Self { history: 64, recurrences, learned: LearnedSettings::default(), blend: BlendSettings::default() }
    }
}

impl ForecastSettings {
    /// Settings that can run.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn check(&self) -> Result<(), FieldError> {
        FieldError::require(self.history >= 2, "history", self.history as f64, "at least 2")?;
        let count = self.recurrences.len();
        FieldError::require(count >= 1, "recurrences", count as f64, "at least one")?;
        self.blend.check()
    }
}

/// No rule may expect a squared change of more than so many times the usual one.
const LEASH: f64 = 100.0;
/// On how many frames the trust in the rules is learned, at most.
const FRAMES_FOR_TRUST: usize = 4000;

/// What training leaves of a [`Forecast`], to be kept in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experience {
    learned: Learned,
    blend: Blend,
}

/// The predictor of frames without a trained network: what is linear, periodic or seen before.
#[derive(Clone, Debug)]
pub struct Forecast {
    settings: ForecastSettings,
    learned: Learned,
    history: History,
    blend: Blend,
    /// What each recurrence expects next, K x P, and which have an answer.
    expected: Array2<f64>,
    known: Vec<bool>,
    /// The weights of their blend, and what it expects.
    weights: Array1<f64>,
    blended: Array2<f64>,
}

impl Forecast {
    /// For frames of one shape, before any training.
    ///
    /// # Errors
    /// A setting outside its range, frames without a cell.
    pub fn new(shape: [usize; 2], settings: ForecastSettings) -> Result<Self, FieldError> {
        settings.check()?;
        let count = settings.recurrences.len();
        let history = History::new(shape, settings.history)?;
        Ok(Self {
            blend: Blend::new(count, settings.blend),
            expected: Array2::zeros((count, history.pixels())),
            known: vec![false; count],
            weights: Array1::zeros(count),
            blended: Array2::from_elem(shape, 0.5),
            learned: Learned::default(),
            history,
            settings,
        })
    }

    /// Fits everything that is learned, in closed form, and clears the history.
    ///
    /// # Errors
    /// See [`Learned::fit`]; frames of another shape than the predictor was made for.
    pub fn fit(&mut self, sequences: &[Vec<Array2<f64>>], seed: &Stream) -> Result<(), FieldError> {
        self.blend = Blend::new(self.known.len(), self.settings.blend);
        // Rules that remember what they were trained on are judged by what they were not.
        for (known, unseen) in trials(sequences) {
            self.fit_rules(&known, seed)?;
            let mut frames = 0;
            for sequence in unseen.iter().take_while(|sequence| {
                frames += sequence.len();
                frames <= FRAMES_FOR_TRUST || frames == sequence.len()
            }) {
                self.clear();
                // One rollout from each sequence, a quarter into it, and more from one that is long.
                let lead = (sequence.len() / 4).clamp(2, 16);
                for (t, frame) in sequence.iter().enumerate() {
                    if t >= lead && (t - lead) % 50 == 0 {
                        self.train_rollout(&sequence[t..sequence.len().min(t + 40)]);
                    }
                    self.observe(frame)?;
                }
                self.blend.train();
            }
        }
        self.fit_rules(sequences, seed)
    }

    /// The same for the rules alone: how far each can be trusted is left as it was.
    ///
    /// # Errors
    /// As [`Forecast::fit`].
    pub fn fit_rules(&mut self, sequences: &[Vec<Array2<f64>>], seed: &Stream) -> Result<(), FieldError> {
        let expected = self.history.shape();
        for (step, frame) in sequences.iter().flat_map(|sequence| sequence.iter().enumerate()) {
            let found = [frame.nrows(), frame.ncols()];
            if found != expected {
                return Err(FieldError::Shape { step, expected, found });
            }
        }
        self.learned = Learned::fit(sequences, &self.settings.learned, seed)?;
        self.clear();
        Ok(())
    }

    /// Takes the next frame in.
    ///
    /// # Errors
    /// A frame of another shape or with a number that is not finite; nothing has changed then.
    pub fn observe(&mut self, frame: &Array2<f64>) -> Result<(), FieldError> {
        self.history.push(frame)?;
        if self.known.contains(&true) {
            self.expected -= &self.history.frame(0);
            let change = self.history.product(0, 0) - 2.0 * self.history.product(0, 1) + self.history.product(1, 1);
            let change = change.max(0.0) / self.history.pixels() as f64;
            if self.blend.observe(&self.expected, &self.known, change, self.history.roughness()) {
                self.history.mark_break();
            }
        }
        let longest = LEASH * self.usual_change();
        self.expected.fill(0.0);
        for (k, recurrence) in self.settings.recurrences.iter().enumerate() {
            let rule = recurrence.fit(&self.learned, &self.history);
            self.known[k] = rule.is_some();
            if let Some(rule) = rule {
                let (mut row, now) = (self.expected.row_mut(k), self.history.frame(0));
                rule.next(&self.history, row.view_mut());
                // A rule that has just been fitted to a jump can leap anywhere.
                let leap = row.iter().zip(now).map(|(x, now)| (x - now) * (x - now)).sum::<f64>();
                // What it expects must be numbers, and near enough that the distance is one.
                self.known[k] = leap.is_finite();
                if !self.known[k] {
                    row.fill(0.0);
                    continue;
                }
                let part = if leap > longest { (longest / leap).sqrt() } else { 1.0 };
                row.zip_mut_with(&now, |x, &now| *x = (now + part * (*x - now)).clamp(0.0, 1.0));
            }
        }
        self.weights = self.blend.weights(&self.known);
        if self.known.contains(&true) {
            self.blended = self.joined(&self.weights, &self.expected);
        } else {
            self.blended.fill(0.5);
        }
        Ok(())
    }

    /// The mean squared length of the last sixteen changes; without any, of the first frame, which bounds nothing.
    fn usual_change(&self) -> f64 {
        let changes = (self.history.len() - 1).min(16);
        let squared = |age: usize| {
            self.history.product(age, age) - 2.0 * self.history.product(age, age + 1)
                + self.history.product(age + 1, age + 1)
        };
        let sum: f64 = (0..changes).map(squared).sum();
        if changes == 0 { self.history.pixels() as f64 } else { sum.max(0.0) / changes as f64 }
    }

    /// The expected next frame, clamped to 0 ... 1; a mid grey before the first.
    pub fn predict(&self) -> Array2<f64> {
        self.blended.clone()
    }

    /// The weights of that blend.
    pub fn weights(&self) -> &Array1<f64> {
        &self.weights
    }

    /// What one recurrence expects next.
    pub fn expected(&self, recurrence: usize) -> Option<ArrayView1<'_, f64>> {
        self.known[recurrence].then(|| self.expected.row(recurrence))
    }

    /// The expected next `steps` frames: each recurrence goes on alone with its own predictions, its fit held.
    ///
    /// They are joined with weights that depend on how far ahead a frame is: see [`Blend::far_weights`]. The trial is a rollout of
    /// the last frames from those before them.
    pub fn rollout(&self, steps: usize) -> Vec<Array2<f64>> {
        if !self.known.contains(&true) {
            return vec![self.predict(); steps];
        }
        let held_back = (self.history.len() / 2).min(8);
        let mut trial = vec![(Array2::zeros(self.expected.dim()), vec![false; self.known.len()]); held_back];
        let earlier = self.history.without(held_back);
        self.each_rollout_of(&earlier, held_back, |k, step, values| {
            let (errors, known) = &mut trial[step];
            errors.row_mut(k).assign(&(&values - &self.history.frame(held_back - 1 - step)));
            known[k] = true;
        });
        let mut known = self.known.clone();
        known.fill(false);
        let mut frames = vec![Array2::zeros(self.expected.dim()); steps];
        self.each_rollout(steps, |k, step, values| {
            known[k] = true;
            frames[step].row_mut(k).assign(&values);
        });
        let joined = frames.iter().enumerate().map(|(step, expected)| {
            if step == 0 {
                return self.predict();
            }
            self.joined(&self.blend.far_weights(step, &known, &trial), expected)
        });
        joined.collect()
    }

    /// Learns from what came how far each recurrence can be trusted to go on alone.
    fn train_rollout(&mut self, truth: &[Array2<f64>]) {
        let none = (Array2::zeros(self.expected.dim()), vec![false; self.known.len()]);
        let mut errors = vec![none; truth.len()];
        self.each_rollout(truth.len(), |k, step, values| {
            let (errors, known) = &mut errors[step];
            errors.row_mut(k).iter_mut().zip(values.iter().zip(&truth[step])).for_each(|(e, (a, b))| *e = a - b);
            known[k] = true;
        });
        for (step, (errors, known)) in errors.iter().enumerate().filter(|(_, (_, known))| known.contains(&true)) {
            self.blend.train_far(step, errors, known);
        }
    }

    /// Calls `f(recurrence, step, frame)` for the rollout of every recurrence that has an answer.
    pub fn each_rollout(&self, steps: usize, f: impl FnMut(usize, usize, ArrayView1<'_, f64>)) {
        self.each_rollout_of(&self.history, steps, f);
    }

    fn each_rollout_of(&self, start: &History, steps: usize, mut f: impl FnMut(usize, usize, ArrayView1<'_, f64>)) {
        if start.is_empty() {
            return;
        }
        let longer = start.with_room(steps);
        for (k, recurrence) in self.settings.recurrences.iter().enumerate() {
            let Some(rule) = recurrence.fit(&self.learned, start) else { continue };
            let mut history = longer.clone();
            let mut next = Array1::zeros(history.pixels());
            for step in 0..steps {
                rule.next(&history, next.view_mut());
                // A frame that has left the range has left what the rule was fitted to.
                next.mapv_inplace(|x: f64| if x.is_finite() { x.clamp(0.0, 1.0) } else { 0.5 });
                f(k, step, next.view());
                if !matches!(rule, Rule::Frame(_)) {
                    history.push_values(next.view());
                }
            }
        }
    }

    /// Forgets the frames seen; what was learned stays.
    pub fn clear(&mut self) {
        self.history.clear();
        self.blend.clear();
        self.known.fill(false);
        self.blended.fill(0.5);
    }

    /// What was learned, without the frames seen.
    pub fn experience(&self) -> Experience {
        let mut blend = self.blend.clone();
        blend.clear();
        Experience { learned: self.learned.clone(), blend }
    }

    /// Takes over what a forecast of the same settings and frames has learned, and forgets the frames seen: from here on it predicts
    /// to the same bits.
    ///
    /// # Errors
    /// [`FieldError::Experience`] where it is of other settings or frames, or was damaged; nothing has changed then.
    pub fn take_over(&mut self, Experience { learned, blend }: Experience) -> Result<(), FieldError> {
        if !learned.fits(self.history.pixels()) {
            return Err(FieldError::Experience { part: "learned" });
        }
        if !blend.fits(self.known.len()) {
            return Err(FieldError::Experience { part: "blend" });
        }
        (self.learned, self.blend) = (learned, blend);
        self.clear();
        Ok(())
    }

    /// The frames seen.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The settings.
    pub fn settings(&self) -> &ForecastSettings {
        &self.settings
    }

    fn joined(&self, weights: &Array1<f64>, expected: &Array2<f64>) -> Array2<f64> {
        let mut values = Array1::zeros(self.history.pixels());
        add_rows(weights.iter().copied().zip(expected.rows()), &mut values.view_mut());
        let [h, w] = self.history.shape();
        let mut values = values.into_iter();
        Array2::from_shape_simple_fn((h, w), || values.next().unwrap_or(0.0).clamp(0.0, 1.0))
    }
}

type Sequences = Vec<Vec<Array2<f64>>>;

/// What to fit and what to judge that fit by. Of many sequences, one half judges the other. Of one, the frames after those
/// that were fitted, in stages: what recalls is judged when it has something to recall.
fn trials(sequences: &[Vec<Array2<f64>>]) -> Vec<(Sequences, Sequences)> {
    let all: Vec<(Sequences, Sequences)> = match sequences {
        [one] => {
            let cut = |quarters: usize| one.len() * quarters / 4;
            [2, 3].map(|j| (vec![one[..cut(j)].to_vec()], vec![one[cut(j)..cut(j + 1)].to_vec()])).to_vec()
        }
        many => {
            let (known, unseen) = many.split_at(many.len() / 2);
            vec![(known.to_vec(), unseen.to_vec())]
        }
    };
    let is_enough = |part: &[Vec<Array2<f64>>]| !part.is_empty() && part.iter().all(|sequence| sequence.len() >= 2);
    all.into_iter().filter(|(known, unseen)| is_enough(known) && is_enough(unseen)).collect()
}

/// The mean of the squared differences of two frames.
pub fn mean_squared_error(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    (a - b).iter().map(|x| x * x).sum::<f64>() / a.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::{Pattern, Variation};
    use super::*;

    #[test]
    fn what_was_kept_predicts_the_same_bits_and_is_refused_where_it_does_not_fit() {
        let frames = |t: i64| Pattern::Bifurcation.frames(t, 70, 8, &Variation::default()).unwrap();
        let mut forecast = Forecast::new([8, 8], ForecastSettings::default()).unwrap();
        forecast.fit(&[frames(0)], &Stream::new(1)).unwrap();
        let text = serde_json::to_string(&forecast.experience()).unwrap();
        let kept = |text: &str| serde_json::from_str::<Experience>(text).unwrap();
        let mut other = Forecast::new([8, 8], ForecastSettings::default()).unwrap();
        other.take_over(kept(&text)).unwrap();
        for frame in frames(10_000) {
            assert_eq!(forecast.predict(), other.predict());
            forecast.observe(&frame).unwrap();
            other.observe(&frame).unwrap();
        }
        assert_eq!(forecast.rollout(20), other.rollout(20));

        let fewer = ForecastSettings { recurrences: vec![Recurrence::Mean], ..ForecastSettings::default() };
        for (shape, settings, part) in [([8, 9], ForecastSettings::default(), "learned"), ([8, 8], fewer, "blend")] {
            let refused = Forecast::new(shape, settings).unwrap().take_over(kept(&text)).unwrap_err();
            assert_eq!(refused, FieldError::Experience { part });
        }
        // A huge number makes its rule useless, and no other.
        let mut huge: serde_json::Value = serde_json::from_str(&text).unwrap();
        huge["learned"]["memories"][1]["components"]["data"][0] = 1e304.into();
        other.take_over(serde_json::from_value(huge).unwrap()).unwrap();
        for frame in frames(10_000) {
            other.observe(&frame).unwrap();
            assert!(mean_squared_error(&other.predict(), &frame).is_finite());
        }
        assert!(other.rollout(20).iter().flatten().all(|x| (0.0..=1.0).contains(x)));
        // What is of one piece as JSON can still be damaged.
        let damaged = kept(&text.replacen("\"delays\":4", "\"delays\":3", 1));
        assert!(other.take_over(damaged).is_err());
    }
}
