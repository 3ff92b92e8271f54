//! The predictor of wave fields, frame by frame.

use super::{Entry, Kernel, Work};
use grapheme_core::param;
use grapheme_optics::spectral::{Pattern, Predictor, PredictorSettings, Variation};
use ndarray::Array2;

/// Cells along a side.
const SIDE: usize = 32;
/// Frames to fit the rules to, and as many to go through.
const FRAMES: usize = 500;

/// A frame taken in and the next predicted, where the correction is trusted throughout and where it is not; and learned from.
pub(super) fn kernels() -> Vec<Entry> {
    vec![
        Entry::new("spectral/predict/trusted", || kernel(|predictor, frame| step(predictor, frame, [20.0, 20.0, 1.0]))),
        Entry::new("spectral/predict/untrusted", || kernel(|predictor, frame| step(predictor, frame, [0.0; 3]))),
        Entry::new("spectral/learn", || {
            let mut gradient = None;
            kernel(move |predictor, frame| {
                predictor.predict();
                let gradient = gradient.get_or_insert_with(|| param::zeros_like(predictor.correction()));
                predictor.learn(frame, gradient);
                // As after a step of an optimiser: nothing that was made of the parameters is good any longer.
                predictor.correction_mut();
                observe(predictor, frame);
            })
        }),
    ]
}

/// With the trust that these sums of agreement give.
fn step(predictor: &mut Predictor<f32>, frame: &Array2<f64>, agreement: [f64; 3]) {
    predictor.set_agreement(agreement);
    predictor.predict();
    observe(predictor, frame);
}

fn observe(predictor: &mut Predictor<f32>, frame: &Array2<f64>) {
    predictor.observe(frame).expect("a frame of its shape");
}

fn kernel(mut run: impl FnMut(&mut Predictor<f32>, &Array2<f64>) + 'static) -> Kernel {
    let frames =
        Pattern::NoisyMotion.frames(0, 2 * FRAMES, SIDE, &Variation::default()).expect("a pattern of this size");
    let settings = PredictorSettings::default();
    let history = settings.forecast.history;
    let mut predictor = Predictor::new([SIDE, SIDE], settings, 1).expect("the default settings");
    predictor.fit(&[frames[..FRAMES].to_vec()], 1).expect("frames of one shape");
    // Past the part that was fitted, and to a full history.
    let mut ahead = frames.into_iter().skip(FRAMES).cycle();
    ahead.by_ref().take(history).for_each(|frame| observe(&mut predictor, &frame));
    // Every frame of the history is read once, in double precision, for its product with the newest.
    let numbers = (history * SIDE * SIDE) as f64;
    let work = Work { bytes: 8.0 * numbers, operations: 2.0 * numbers };
    Kernel::new(("frames", 1), work, move || run(&mut predictor, &ahead.next().expect("without end")))
}
