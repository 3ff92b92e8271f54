//! The parts of a morph, on the candidates of a lane of training.

use super::{Entry, Kernel, Work};
use crate::inputs::{lane, matrix};
use grapheme_core::morph::{GatesGradient, LabelHead, Morph, MorphCache, Plan, Realised, realise};
use grapheme_core::{Matrix, Stream, Topology, param};
use std::hint::black_box;

const WIDTH: usize = 128;
const SLOTS: usize = 2;
const RANK: usize = 16;
const OUTCOMES: usize = 50;

pub(super) fn kernels() -> Vec<Entry> {
    let d = WIDTH as f64;
    let split =
        Work { bytes: 4.0 * candidates() * 3.0 * d, operations: 2.0 * candidates() * (d * d + 2.0 * d * RANK as f64) };
    let label = Work {
        bytes: 4.0 * (candidates() + d) * (d + OUTCOMES as f64),
        operations: 2.0 * candidates() * d * OUTCOMES as f64,
    };
    let twice = |work: Work| Work { bytes: 2.0 * work.bytes, operations: 2.0 * work.operations };
    let rows = Work { bytes: 4.0 * candidates() * 2.0 * d, operations: 2.0 * candidates() * d };
    vec![
        Entry::new("morph/forward", move || {
            let (morph, topology, x) = (morph(), topology(), Matrix::from(matrix::<f32>(topology().nodes(), WIDTH, 1)));
            let amount = ("nodes", x.nrows());
            Kernel::prepared(amount, split, move || x.clone(), move |x| morph.forward(x, &topology))
        }),
        Entry::new("morph/backward", move || {
            let (morph, cache) = (morph(), opened());
            let (dc, dgates) = (Matrix::from(matrix(cache.candidates.nrows(), WIDTH, 2)), upstream(&cache));
            let (amount, mut gradient) = (("nodes", topology().nodes()), param::zeros_like(&morph));
            Kernel::prepared(
                amount,
                twice(split),
                move || (cache.clone(), dc.clone()),
                move |(cache, dc)| morph.backward(cache, dc, &dgates, &mut gradient),
            )
        }),
        Entry::new("morph/plan", || {
            let gates = opened().gates;
            let work = Work { bytes: 9.0 * candidates(), operations: 0.0 };
            Kernel::new(("candidates", gates.log_stay.len()), work, move || Plan::most_probable(black_box(&gates)))
        }),
        Entry::new("morph/apply", || {
            let (cache, topology) = (opened(), topology());
            let plan = Plan::most_probable(&cache.gates);
            let work = Work { bytes: 25.0 * candidates(), operations: 0.0 };
            Kernel::new(("candidates", plan.stays.len()), work, move || {
                realise(black_box(&plan), &cache.gates, &cache.targets, &topology, SLOTS)
            })
        }),
        Entry::new("history/forward", move || {
            let (cache, realised) = carried_out();
            Kernel::new(("candidates", cache.targets.len()), rows, move || {
                realised.history.forward(black_box(&cache.candidates))
            })
        }),
        Entry::new("history/transpose", move || {
            let (cache, realised) = carried_out();
            let dout: Matrix<f32> = matrix(realised.kept.len(), WIDTH, 2).into();
            Kernel::new(("candidates", cache.targets.len()), rows, move || realised.history.backward(black_box(&dout)))
        }),
        Entry::new("history/gate gradient", move || {
            let (cache, realised) = carried_out();
            let (dout, mut dgates) = (Matrix::from(matrix(realised.kept.len(), WIDTH, 2)), upstream(&cache));
            Kernel::new(("candidates", cache.targets.len()), rows, move || {
                realised.add_gate_gradient(black_box(&dout), &cache.candidates, &mut dgates);
            })
        }),
        Entry::new("label/forward", move || {
            let (head, x) = (head(), opened().candidates);
            let amount = ("candidates", x.nrows());
            Kernel::prepared(amount, label, move || x.clone(), move |x| head.forward(x, |row| row % 7 > 0))
        }),
        Entry::new("label/backward", move || {
            let (head, x) = (head(), opened().candidates);
            let (amount, mut gradient) = (("candidates", x.nrows()), param::zeros_like(&head));
            let (again, dlog) = (head.clone(), Matrix::from(matrix::<f32>(x.nrows(), OUTCOMES, 2)));
            let prepare = move || {
                let (log, cache) = again.forward(x.clone(), |row| row % 7 > 0).expect("as wide as the head");
                (log, cache, dlog.clone())
            };
            Kernel::prepared(amount, twice(label), prepare, move |(log, cache, dlog)| {
                head.backward(cache, &log, dlog, &mut gradient)
            })
        }),
    ]
}

fn topology() -> Topology {
    lane().topology().clone()
}

fn candidates() -> f64 {
    (topology().nodes() * SLOTS) as f64
}

fn morph() -> Morph<f32> {
    Morph::new(WIDTH, SLOTS, RANK, 1.0, &mut Stream::new(1))
}

fn head() -> LabelHead<f32> {
    LabelHead::new(WIDTH, OUTCOMES, &mut Stream::new(2))
}

fn opened() -> MorphCache<f32> {
    morph().forward(matrix(topology().nodes(), WIDTH, 1).into(), &topology()).expect("as wide as the morph")
}

/// What the gates of a fresh network decide: of each node, one candidate stays.
fn carried_out() -> (MorphCache<f32>, Realised<f32>) {
    let cache = opened();
    let plan = Plan::most_probable(&cache.gates);
    let realised = realise(&plan, &cache.gates, &cache.targets, &topology(), SLOTS).expect("a chain stays a chain");
    (cache, realised)
}

fn upstream(cache: &MorphCache<f32>) -> GatesGradient<f32> {
    GatesGradient::zeros(cache.targets.len())
}
