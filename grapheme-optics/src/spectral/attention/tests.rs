//! Attention over links against finite differences and against sums written out; wormholes against exact search.

use super::*;
use grapheme_core::check::NumericGradient;
use grapheme_core::param;
use rand::RngExt;
use std::collections::BTreeMap;

fn random(n: usize, m: usize, seed: u64) -> Array2<f64> {
    let mut stream = Stream::new(seed);
    Array2::from_shape_simple_fn((n, m), || stream.random::<f64>() * 2.0 - 1.0)
}

struct Case {
    layer: LinkedAttention<f64>,
    inputs: [Array2<f64>; 3],
    links: Links,
    best: Option<usize>,
}

impl Case {
    fn new(best: Option<usize>) -> Self {
        let size = AttentionSize { features: 3, values: 2, width: 4, outputs: 3, slots: 5 };
        let mut layer = LinkedAttention::new(size, &mut Stream::new(3));
        layer.bias.assign(&random(1, 5, 8).row(0));
        let mut stream = Stream::new(4);
        // Some slots lead nowhere, some rows are linked twice, the last query has no link at all.
        let links = Links::new(6, 5, |query, _| {
            let row = stream.random_range(0..9);
            (query < 5 && row < 7).then_some(row)
        });
        Self { layer, inputs: [random(6, 3, 5), random(7, 3, 6), random(7, 2, 7)], links, best }
    }

    fn output(&self, layer: &LinkedAttention<f64>, [x, z, u]: [&Array2<f64>; 3]) -> Array2<f64> {
        layer.forward(x.view(), z.view(), u.view(), &self.links, self.best).0
    }

    fn loss(&self, layer: &LinkedAttention<f64>, inputs: [&Array2<f64>; 3]) -> f64 {
        let y = self.output(layer, inputs);
        (&y * &random(6, 3, 9)).sum() + 0.5 * y.mapv(|y| y * y).sum()
    }

    fn report(&self, fault: impl Fn(&str, &mut [f64])) -> grapheme_core::check::Report {
        let [x, z, u] = &self.inputs;
        let mut numeric = NumericGradient::of_model(&self.layer, |_, _| true, |layer| self.loss(layer, [x, z, u]));
        for (i, name) in ["queries", "keys", "values"].into_iter().enumerate() {
            numeric = numeric.and(NumericGradient::of_slice(name, self.inputs[i].as_slice().unwrap(), |values| {
                let mut inputs = self.inputs.clone();
                inputs[i] = Array2::from_shape_vec(inputs[i].dim(), values.to_vec()).unwrap();
                self.loss(&self.layer, [&inputs[0], &inputs[1], &inputs[2]])
            }));
        }
        let (y, weighed, cache) = self.layer.forward(x.view(), z.view(), u.view(), &self.links, self.best);
        let dy = &y + &random(6, 3, 9);
        let mut grad = param::zeros_like(&self.layer);
        let inputs = [x.view(), z.view(), u.view()];
        let [dx, dz, du] = self.layer.backward(inputs, &self.links, &weighed.weights, cache, dy.view(), &mut grad);
        let mut blocks = BTreeMap::new();
        param::each(&grad, |name, _, values| drop(blocks.insert(name.to_owned(), values.to_vec())));
        for (name, d) in [("queries", dx), ("keys", dz), ("values", du)] {
            blocks.insert(name.to_owned(), d.iter().copied().collect());
        }
        blocks.iter_mut().for_each(|(name, values)| fault(name, values));
        numeric.compare(1e-6, |name| &blocks[name])
    }
}

#[test]
fn every_derivative_agrees_and_every_planted_fault_is_caught() {
    for best in [None, Some(2)] {
        let report = Case::new(best).report(|_, _| {});
        assert!(report.passed() && report.blocks.len() == 11, "{best:?}\n{report}");
    }
    let case = Case::new(None);
    for block in ["query.weight", "key.weight", "value.bias", "bias", "threshold", "queries", "keys", "values"] {
        let report = case.report(|name, values| {
            if name == block {
                values.iter_mut().for_each(|value| *value *= 1.01);
            }
        });
        assert!(!report.passed(), "a fault in {block} passes");
    }
}

#[test]
fn the_output_is_the_sum_written_out() {
    let case = Case::new(None);
    let [x, z, u] = &case.inputs;
    let (y, weighed, _) = case.layer.forward(x.view(), z.view(), u.view(), &case.links, None);
    let affine = |layer: &Linear<f64>, x: &Array2<f64>| x.dot(&layer.weight) + &layer.bias;
    let (q, k, v) = (affine(&case.layer.query, x), affine(&case.layer.key, z), affine(&case.layer.value, u));
    for i in 0..6 {
        let linked: Vec<(usize, usize)> =
            case.links.of(i).iter().enumerate().filter_map(|(slot, &row)| Some((slot, Links::row(row)?))).collect();
        let score = |&(slot, row): &(usize, usize)| (q.row(i).dot(&k.row(row)) / 2.0 + case.layer.bias[slot]).exp();
        let sum = case.layer.threshold[0].exp() + linked.iter().map(score).sum::<f64>();
        let mut expected = Array1::zeros(3);
        linked.iter().for_each(|link| expected.scaled_add(score(link) / sum, &v.row(link.1)));
        assert!((&y.row(i) - &expected).iter().all(|gap| gap.abs() < 1e-12));
    }
    assert!(y.row(5).iter().all(|&y| y == 0.0), "without links nothing is read");
    assert_eq!(
        weighed.passed[1],
        (0..5).map(|i| case.links.of(i).iter().filter(|&&r| r != u32::MAX).count()).sum::<usize>()
    );
}

#[test]
fn neighbours_end_at_the_border() {
    let links = neighbourhood_links([3, 4], 2);
    let of = |place: usize| links.of(place).iter().filter_map(|&row| Links::row(row)).collect::<Vec<_>>();
    assert_eq!(of(0), [0, 1, 4, 5, 12, 13, 16, 17]);
    assert_eq!(of(5).len(), 18);
    assert_eq!(of(11)[..4], [6, 7, 10, 11]);
}

/// Looks of a travelling pattern that repeats itself.
fn travelling(step: usize) -> Vec<wormhole::Look> {
    let value = |step: usize, p: usize| ((p % 8) as f64 * 0.8 - (step % 10) as f64).sin() + (p / 8) as f64;
    let frame = |step: usize| (0..64).map(|p| value(step, p)).collect::<Vec<_>>();
    wormhole::looks(&frame(step), &frame(step + 9), [8, 8])
}

#[test]
fn buckets_find_what_exact_search_finds() {
    let nearest_found = |probes: usize| {
        let settings = WormholeSettings { probes, ..WormholeSettings::default() };
        let mut wormholes = Wormholes::new(settings, &Stream::new(2)).unwrap();
        wormholes.centre_on(&travelling(0));
        (0..10).for_each(|step| wormholes.enter(step, &wormholes.clone().hash(travelling(step))));
        let frame = wormholes.hash(travelling(13));
        let mut same = 0;
        wormholes.search(&frame, |place, quick| {
            let exact = wormholes.search_exactly(&frame, place);
            assert!(quick.len() <= 4 && exact.len() == 4);
            assert!(quick.windows(2).all(|pair| pair[0].distance <= pair[1].distance));
            // The nearest by buckets can be no nearer than the nearest of all.
            assert!(quick.first().is_none_or(|found| found.distance >= exact[0].distance));
            same += usize::from(quick.first().is_some_and(|found| found.distance == exact[0].distance));
        });
        same
    };
    // What was pushed out of its own bucket has its next nearest behind a hyperplane, so one bucket alone does not do.
    let (alone, probed) = (nearest_found(0), nearest_found(3));
    assert!(alone < probed && 10 * probed >= 9 * 64, "{alone} and {probed} of 64 nearest places found");
}

#[test]
fn a_ring_that_does_not_fill_its_lanes_gives_each_place_once() {
    let settings = WormholeSettings { depth: 5, ..WormholeSettings::default() };
    let mut wormholes = Wormholes::new(settings, &Stream::new(2)).unwrap();
    for step in 0..3 {
        let frame = wormholes.hash(travelling(step));
        wormholes.enter(step, &frame);
        wormholes.search(&frame, |_, found| {
            assert!(found.iter().all(|found| found.distance.is_finite()));
            let places: std::collections::BTreeSet<_> = found.iter().map(|found| (found.step, found.place)).collect();
            assert_eq!(places.len(), found.len());
        });
    }
}

#[test]
fn a_wormhole_leads_only_to_what_was_entered() {
    let mut wormholes = Wormholes::new(WormholeSettings::default(), &Stream::new(2)).unwrap();
    wormholes.search(&wormholes.hash(travelling(0)), |_, found| assert!(found.is_empty()));
    for step in 0..5 {
        let frame = wormholes.hash(travelling(step));
        wormholes.search(&frame, |_, found| assert!(found.iter().all(|found| found.step < step)));
        wormholes.enter(step, &frame);
    }
    assert!(WormholeSettings { probes: 9, ..WormholeSettings::default() }.check().is_err());
    assert!(WormholeSettings { depth: 2, ..WormholeSettings::default() }.check().is_err());
}
