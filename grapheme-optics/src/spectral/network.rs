//! The trained part: three kinds of attention and a small decoder, which correct what the recurrences leave.

use super::FieldError;
use super::attention::{AttentionCache, AttentionSize, LinkedAttention, Links, Projected, Weighed};
use grapheme_core::layers::{Linear, gelu};
use grapheme_core::{Scalar, Stream, param_tree, wide};
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};

/// The sizes of a [`Correction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorrectionSettings {
    /// Frames that the attention over time looks back.
    pub frames: usize,
    /// Frames that the attention over neighbours looks back.
    pub near: usize,
    /// Links of each place through wormholes; 0 for none.
    pub links: usize,
    /// Width of queries and keys.
    pub width: usize,
    /// Width of what each attention reads.
    pub read: usize,
    /// Width of the decoder.
    pub hidden: usize,
    /// Only so many of the best links over time are summed; 0 for all.
    pub top: usize,
}

impl Default for CorrectionSettings {
    fn default() -> Self {
        Self { frames: 8, near: 1, links: 4, width: 4, read: 4, hidden: 12, top: 0 }
    }
}

impl CorrectionSettings {
    /// Settings that can run.
    ///
    /// # Errors
    /// The first setting outside its range.
    pub fn check(&self) -> Result<(), FieldError> {
        let at_least_one = [("frames", self.frames), ("near", self.near), ("width", self.width), ("read", self.read)];
        for (name, value) in at_least_one.into_iter().chain([("hidden", self.hidden)]) {
            FieldError::require(value >= 1, name, value as f64, "at least 1")?;
        }
        FieldError::require(self.near <= self.frames, "near", self.near as f64, "at most the frames looked back")
    }
}

/// What the correction sees of one moment: everything that happened until then, and nothing later.
///
/// P places; row `s P + p` of `past` and `followed` is place p at age `s + 1`.
#[derive(Clone, Debug)]
pub struct Moment<S> {
    /// Features of each place now, P x f.
    pub now: Array2<S>,
    /// Features of each place before, `frames P` x f.
    pub past: Array2<S>,
    /// What followed there, `frames P` x g.
    pub followed: Array2<S>,
    /// Features where wormholes lead, `links P` x f.
    pub far: Array2<S>,
    /// What followed there, `links P` x g.
    pub far_followed: Array2<S>,
    /// Links over time, over neighbours and through wormholes.
    pub links: [Links; 3],
}

/// `y = GELU([time; near; far; now] W_1 + b_1) W_2 + b_2`, where each of the three reads is a [`LinkedAttention`].
///
/// The current frame is a value as well as a query: its features go to the decoder beside what was read. W_2 and b_2 start at
/// zero, so that an untrained correction corrects nothing.
#[derive(Clone, Debug)]
pub struct Correction<S> {
    /// Over time at a place.
    pub time: LinkedAttention<S>,
    /// Over the 3 x 3 neighbourhood.
    pub near: LinkedAttention<S>,
    /// Through wormholes.
    pub far: LinkedAttention<S>,
    /// To the hidden layer.
    pub mix: Linear<S>,
    /// To the outputs.
    pub head: Linear<S>,
}

param_tree!(Correction { time, near, far, mix, head });

/// What a [`Correction`] made of a moment.
#[derive(Clone, Debug)]
pub struct Corrected<S> {
    /// Outputs, P x o.
    pub outputs: Array2<S>,
    /// How the links over time, over neighbours and through wormholes were weighed.
    pub reads: [Weighed<S>; 3],
    /// The hidden layer of the decoder, a row a place.
    pub hidden: Array2<S>,
    /// What was read and what is now, and the decoder's sums of it.
    joined: Array2<S>,
    before: Array2<S>,
}

/// A frame of the past, its keys and values projected: see [`Correction::keep`].
#[derive(Clone, Debug)]
pub struct Kept<S> {
    /// Over time and over neighbours.
    here: Option<[Projected<S>; 2]>,
    /// Through wormholes.
    far: Projected<S>,
}

impl<S> Kept<S> {
    /// The frame is so old now that wormholes alone lead to it.
    pub fn recede(&mut self) {
        self.here = None;
    }
}

/// What the backward pass of [`Correction`] needs beside it.
pub type CorrectionCache<S> = [AttentionCache<S>; 3];

impl<S: Scalar> Correction<S> {
    /// Fresh parameters for f features of a place, g of what followed, and the given number of outputs a place.
    ///
    /// # Errors
    /// Settings that cannot run.
    pub fn new(
        settings: &CorrectionSettings,
        [features, followed, outputs]: [usize; 3],
        stream: &mut Stream,
    ) -> Result<Self, FieldError> {
        settings.check()?;
        let CorrectionSettings { width, read, hidden, .. } = *settings;
        let mut attention = |slots| {
            let size = AttentionSize { features, values: followed, width, outputs: read, slots };
            LinkedAttention::new(size, stream)
        };
        let (time, near) = (attention(settings.frames), attention(9 * settings.near));
        let far = attention(settings.links);
        let mix = Linear::new(3 * read + features, hidden, stream);
        let mut head = Linear::new(hidden, outputs, stream);
        head.weight.fill(S::zero());
        head.bias.fill(S::zero());
        Ok(Self { time, near, far, mix, head })
    }

    /// Outputs and what led to them. Linear in the number of places.
    ///
    /// # Panics
    /// A moment of other sizes than the parameters.
    pub fn forward(&self, moment: &Moment<S>, top: Option<usize>) -> (Corrected<S>, CorrectionCache<S>) {
        let Moment { now, past, followed, far, far_followed, links } = moment;
        let time = self.time.forward(now.view(), past.view(), followed.view(), &links[0], top);
        let [past, followed] = self.near_by(moment);
        let near = self.near.forward(now.view(), past, followed, &links[1], None);
        let away = self.far.forward(now.view(), far.view(), far_followed.view(), &links[2], None);
        let corrected = self.decode(now.view(), [(time.0, time.1), (near.0, near.1), (away.0, away.1)]);
        (corrected, [time.2, near.2, away.2])
    }

    /// What [`Correction::attend`] reads of a frame, from its features and from what followed there: for links over time and over
    /// neighbours if it is `near` enough for them, and for wormholes from what they may read.
    pub fn keep(&self, features: &Array2<S>, followed: &Array2<S>, far_followed: &Array2<S>, near: bool) -> Kept<S> {
        let here = |attention: &LinkedAttention<S>| attention.project(features.view(), followed.view());
        Kept {
            here: near.then(|| [here(&self.time), here(&self.near)]),
            far: self.far.project(features.view(), far_followed.view()),
        }
    }

    /// As [`Correction::forward`], to the same bits, for features of each place now and frames kept before, the newest first: links
    /// over neighbours into one frame serve them all, and `far(place, slot)` is the frame and place behind a wormhole.
    pub fn attend(
        &self,
        now: ArrayView2<'_, S>,
        frames: &[&Kept<S>],
        near: &Links,
        far: impl Fn(usize, usize) -> Option<[usize; 2]>,
        top: Option<usize>,
    ) -> Corrected<S> {
        let here = |kind: usize| frames.iter().map_while(move |frame| frame.here.as_ref().map(|here| &here[kind]));
        let (time, around): (Vec<_>, Vec<_>) = (here(0).collect(), here(1).collect());
        let over_time = |place: usize, slot: usize| time.get(slot).map(|frame| frame.row(place));
        let over_near = |place: usize, slot: usize| {
            let place = Links::row(near.of(place)[slot % 9])?;
            around.get(slot / 9).map(|frame| frame.row(place))
        };
        let away = |place: usize, slot: usize| far(place, slot).map(|[frame, place]| frames[frame].far.row(place));
        let time = self.time.attend_to(now, self.time.bias.len(), over_time, top);
        let near = self.near.attend_to(now, self.near.bias.len(), over_near, None);
        let away = self.far.attend_to(now, self.far.bias.len(), away, None);
        self.decode(now, [time, near, away])
    }

    fn decode(&self, now: ArrayView2<'_, S>, reads: [(Array2<S>, Weighed<S>); 3]) -> Corrected<S> {
        let [(time, over_time), (near, over_near), (away, over_far)] = reads;
        let joined = concatenate(Axis(1), &[time.view(), near.view(), away.view(), now])
            .expect("one row a place in each of them")
            .as_standard_layout()
            .into_owned();
        let before = Array2::from(self.mix.forward(joined.view()).expect("the network's own shapes"));
        let mut hidden = before.clone();
        let values = hidden.as_slice_mut().expect("a product is row-major");
        wide!(for x in values {
            *x = gelu(*x).0;
        });
        let outputs = self.head.forward(hidden.view()).expect("the network's own shapes").into();
        Corrected { outputs, reads: [over_time, over_near, over_far], hidden, joined, before }
    }

    /// The part of `past` and `followed` that the attention over neighbours can reach.
    fn near_by<'a>(&self, moment: &'a Moment<S>) -> [ArrayView2<'a, S>; 2] {
        let frames = self.near.bias.len() / 9;
        let rows = moment.past.nrows().min(frames * moment.now.nrows());
        [moment.past.slice(s![..rows, ..]), moment.followed.slice(s![..rows, ..])]
    }

    /// Adds the parameters' gradient into `grad` and returns that of the moment, its links left out: history is kept as
    /// it came, so the gradient reaches every frame of it.
    pub fn backward(
        &self,
        moment: &Moment<S>,
        Corrected { reads: [time, near, away], joined, before, hidden, .. }: &Corrected<S>,
        [time_cache, near_cache, far_cache]: CorrectionCache<S>,
        dy: ArrayView2<'_, S>,
        grad: &mut Self,
    ) -> [Array2<S>; 5] {
        let mut dhidden = self.head.backward(hidden.view(), dy, &mut grad.head);
        dhidden.zip_mut_with(before, |d, &x| *d *= gelu(x).1);
        let djoined = self.mix.backward(joined.view(), dhidden.view(), &mut grad.mix);
        let read = self.time.value.weight.ncols();
        let part = |i: usize| djoined.slice(s![.., i * read..(i + 1) * read]);
        let mut dnow = djoined.slice(s![.., 3 * read..]).to_owned();
        let Moment { now, past, followed, far, far_followed, links } = moment;
        let here = [now.view(), past.view(), followed.view()];
        let [dq, mut dpast, mut dfollowed] =
            self.time.backward(here, &links[0], &time.weights, time_cache, part(0), &mut grad.time);
        dnow += &dq;
        let [near_past, near_followed] = self.near_by(moment);
        let near_by = [now.view(), near_past, near_followed];
        let [dq, dk, dv] = self.near.backward(near_by, &links[1], &near.weights, near_cache, part(1), &mut grad.near);
        dnow += &dq;
        let rows = s![..dk.nrows(), ..];
        dpast.slice_mut(rows).scaled_add(S::one(), &dk);
        dfollowed.slice_mut(rows).scaled_add(S::one(), &dv);
        let far_by = [now.view(), far.view(), far_followed.view()];
        let [dq, dfar, dfar_followed] =
            self.far.backward(far_by, &links[2], &away.weights, far_cache, part(2), &mut grad.far);
        dnow += &dq;
        [dnow, dpast, dfollowed, dfar, dfar_followed]
    }
}

#[cfg(test)]
mod tests {
    use super::super::attention::{neighbourhood_links, time_links};
    use super::*;
    use crate::spectral::proved;
    use grapheme_core::check::NumericGradient;
    use grapheme_core::param;
    use rand::RngExt;
    use std::collections::BTreeMap;

    const NAMES: [&str; 5] = ["now", "past", "followed", "far", "far_followed"];

    fn moment() -> Moment<f64> {
        let mut stream = Stream::new(1);
        let mut random = |n, m| Array2::from_shape_simple_fn((n, m), || stream.random::<f64>() - 0.5);
        let (now, past, followed) = (random(6, 3), random(18, 3), random(18, 2));
        let (far, far_followed) = (random(12, 3), random(12, 2));
        let wormholes = Links::new(6, 2, |place, slot| (place != 3).then_some(2 * place + slot));
        let links = [time_links(6, 3), neighbourhood_links([2, 3], 2), wormholes];
        Moment { now, past, followed, far, far_followed, links }
    }

    fn blocks(moment: &mut Moment<f64>) -> [&mut Array2<f64>; 5] {
        let Moment { now, past, followed, far, far_followed, .. } = moment;
        [now, past, followed, far, far_followed]
    }

    fn probe(y: &Array2<f64>) -> (f64, Array2<f64>) {
        let weight = Array2::from_shape_fn(y.dim(), |(i, j)| (1.3 * i as f64 + 0.7 * j as f64).sin());
        ((y * &weight).sum() + 0.3 * y.mapv(|y| y.powi(2)).sum(), &weight + &(y * 0.6))
    }

    #[test]
    fn every_derivative_agrees_and_planted_faults_are_caught() {
        let settings = CorrectionSettings { frames: 3, near: 2, links: 2, width: 2, read: 2, hidden: 5, top: 0 };
        let mut net = Correction::<f64>::new(&settings, [3, 2, 2], &mut Stream::new(2)).unwrap();
        let mut stream = Stream::new(3);
        net.head.weight.mapv_inplace(|_| stream.random::<f64>() - 0.5);
        let start = moment();
        for top in [None, Some(2)] {
            let loss = |net: &Correction<f64>, moment: &Moment<f64>| probe(&net.forward(moment, top).0.outputs).0;
            let mut numeric = NumericGradient::of_model(&net, |_, _| true, |net| loss(net, &start));
            for (i, name) in NAMES.into_iter().enumerate() {
                let values = blocks(&mut start.clone())[i].clone();
                numeric = numeric.and(NumericGradient::of_slice(name, values.as_slice().unwrap(), |x| {
                    let mut probe = start.clone();
                    blocks(&mut probe)[i].as_slice_mut().unwrap().copy_from_slice(x);
                    loss(&net, &probe)
                }));
            }
            let (corrected, cache) = net.forward(&start, top);
            let mut grad = param::zeros_like(&net);
            let dy = probe(&corrected.outputs).1;
            let inputs = net.backward(&start, &corrected, cache, dy.view(), &mut grad);
            let mut found = BTreeMap::new();
            param::each(&grad, |name, _, values| drop(found.insert(name.to_owned(), values.to_vec())));
            for (name, d) in NAMES.into_iter().zip(inputs) {
                found.insert(name.to_owned(), d.as_standard_layout().iter().copied().collect());
            }
            proved(&numeric, &found, &format!("{top:?}"));
        }
    }

    #[test]
    fn an_untrained_correction_corrects_nothing() {
        let settings = CorrectionSettings { frames: 3, near: 2, links: 2, ..CorrectionSettings::default() };
        let net = Correction::<f64>::new(&settings, [3, 2, 1], &mut Stream::new(2)).unwrap();
        assert!(net.forward(&moment(), None).0.outputs.iter().all(|&y| y == 0.0));
        assert!(CorrectionSettings { near: 9, ..settings }.check().is_err());
        // Without wormholes nothing comes through them.
        let mut none =
            Correction::<f64>::new(&CorrectionSettings { links: 0, ..settings }, [3, 2, 1], &mut Stream::new(2))
                .unwrap();
        none.head.weight.fill(1.0);
        let mut moment = moment();
        moment.links[2] = Links::new(6, 0, |_, _| None);
        let without = none.forward(&moment, None).0.outputs;
        moment.far_followed.fill(7.0);
        assert_eq!(none.forward(&moment, None).0.outputs, without);
    }
}
