//! The laws of the media, on random gradients over chains, branching graphs and single nodes.

use grapheme_core::graph::{Edge, EdgeKind};
use grapheme_core::{Scalar, Stream, Topology};
use grapheme_optics::media::{
    Attenuation, Bend, Diffusion, Element, EnergyBand, Eye, Fate, FourierWindow, Frame, Ledger, Notes, Polarisation,
    Refraction, Scratch, Stack, amplitude, laplacian,
};
use ndarray::{Array1, Array2, Axis};
use rand::RngExt;

const D: usize = 20;

fn shapes() -> Vec<(&'static str, Topology)> {
    let edge = |source, target, weight| Edge { source, target, kind: EdgeKind::Structural, weight };
    vec![
        ("chains", Topology::chains([7, 1, 0, 2, 30]).unwrap()),
        (
            "chain and edges",
            Topology::new([6, 3], true, vec![edge(0, 4, 0.5), edge(1, 5, 2.0), edge(6, 8, -1.0)]).unwrap(),
        ),
        ("tree", Topology::new([8], false, (1..8).map(|i| edge((i - 1) / 2, i, 1.0)).collect()).unwrap()),
        ("loose nodes", Topology::new([4], false, Vec::new()).unwrap()),
        ("nothing", Topology::chains([]).unwrap()),
    ]
}

fn gradient<S: Scalar>(topology: &Topology, stream: &mut Stream) -> Array2<S> {
    Array2::from_shape_simple_fn((topology.nodes(), D), || S::lit(2.0 * stream.random::<f64>() - 1.0))
}

fn frame(stream: &mut Stream) -> Frame<f64> {
    let mut eye = Eye::new(D, 4, stream);
    eye.mean = Array1::from_shape_simple_fn(D, || stream.random::<f64>() - 0.3);
    eye.frame(None)
}

fn refraction(stream: &mut Stream, n_in: f64, n_out: f64, fresnel: Option<Polarisation>) -> Element<f64> {
    Element::Refraction(Refraction { frame: frame(stream), n_in, n_out, fresnel })
}

fn dims(amplitude: f64, window: Option<FourierWindow>) -> Element<f64> {
    Element::Attenuation(Attenuation { amplitude, window })
}

/// One of each element, and stacks of them.
fn stacks() -> Vec<(&'static str, Stack<f64>)> {
    let mut stream = Stream::new(11);
    let window = Some(FourierWindow { low: 0.3, high: 0.8 });
    let mut one = vec![
        ("attenuation", dims(amplitude(0.7, 0.4, 1.5), None)),
        ("attenuation within a window", dims(0.5, window)),
        ("closed", dims(0.0, None)),
        ("into the denser", refraction(&mut stream, 1.0, 1.5, None)),
        ("into the thinner", refraction(&mut stream, 1.5, 1.0, None)),
        ("reflected in part", refraction(&mut stream, 1.0, 2.0, Some(Polarisation::Unpolarised))),
        ("reflected in part, thinner", refraction(&mut stream, 1.3, 1.0, Some(Polarisation::P))),
        ("diffusion", Element::Diffusion(Diffusion { rate: 0.3 })),
        ("band, from above", Element::Band(EnergyBand { low: 1e-3, high: 1e-2 })),
        ("band, from below", Element::Band(EnergyBand { low: 1e3, high: 1e4 })),
    ];
    let all = Stack(one.iter().map(|(_, element)| element.clone()).filter(|e| *e != dims(0.0, None)).collect());
    let mut stacks: Vec<_> = one.drain(..).map(|(name, element)| (name, Stack(vec![element]))).collect();
    stacks.push(("all in a row", all));
    stacks.push(("vacuum", Stack::default()));
    stacks
}

fn cross<S: Scalar>(stack: &Stack<S>, topology: &Topology, g: &mut Array2<S>) -> (Ledger, Bend) {
    let (mut ledger, mut bend, mut scratch) = (Ledger::default(), Bend::default(), Scratch::default());
    let mut notes = Notes { ledger: &mut ledger, bend: &mut bend, watch: None, scratch: &mut scratch };
    stack.cross(topology, g, &mut notes);
    (ledger, bend)
}

fn energy(g: &Array2<f64>) -> f64 {
    g.iter().map(|x| x * x).sum()
}

#[test]
fn every_ledger_balances() {
    let mut stream = Stream::new(1);
    for (name, stack) in stacks() {
        for (shape, topology) in shapes() {
            let mut g = gradient::<f64>(&topology, &mut stream);
            let before = energy(&g);
            let (ledger, _) = cross(&stack, &topology, &mut g);
            assert!(ledger.imbalance() <= 1e-12, "{name} over {shape}: {:e} {ledger:?}", ledger.imbalance());
            assert!((ledger.incoming - before).abs() <= 1e-12 * before);
            assert!((ledger.outgoing - energy(&g)).abs() <= 1e-12 * before.max(energy(&g)));
            let spoilt = Ledger { absorbed: ledger.absorbed + 1e-6 * before, ..ledger };
            assert!(before == 0.0 || ledger.gained > 0.0 || spoilt.imbalance() > 1e-9, "{name}: a fault would pass");
        }
    }
}

#[test]
fn an_empty_stack_is_a_vacuum_to_the_bit_and_stacks_compose() {
    let mut stream = Stream::new(2);
    let all = stacks();
    for (shape, topology) in shapes() {
        let g = gradient::<f64>(&topology, &mut stream);
        let mut seen = g.clone();
        let (ledger, _) = cross(&Stack::default(), &topology, &mut seen);
        assert!(g.iter().zip(&seen).all(|(a, b)| a.to_bits() == b.to_bits()), "{shape}");
        assert_eq!(ledger.incoming, ledger.outgoing);
        for (first, a) in &all {
            for (second, b) in &all {
                let (mut apart, mut joined) = (g.clone(), g.clone());
                cross(a, &topology, &mut apart);
                cross(b, &topology, &mut apart);
                cross(&a.clone().then(b.clone()), &topology, &mut joined);
                assert_eq!(apart, joined, "{first}, then {second}");
            }
        }
    }
}

#[test]
fn attenuation_is_beer_lamberts_law() {
    let topology = Topology::chains([5]).unwrap();
    for (t, a, s) in [(1.0, 0.0, 1.0), (0.25, 0.0, 3.0), (1.0, 2.0, 0.7), (0.6, 0.5, 1.2), (0.0, 0.0, 1.0)] {
        let g = gradient::<f64>(&topology, &mut Stream::new(3));
        let mut out = g.clone();
        let (ledger, _) = cross(&Stack(vec![dims(amplitude(t, a, s), None)]), &topology, &mut out);
        let share = t * (-a * s).exp();
        assert!((energy(&out) - share * energy(&g)).abs() < 1e-13 * energy(&g));
        assert!((ledger.absorbed - (1.0 - share) * energy(&g)).abs() < 1e-13 * energy(&g));
        // Two thin layers are one thick one.
        let halves = amplitude(t.sqrt(), a, 0.5 * s).powi(2);
        assert!((halves - amplitude(t, a, s)).abs() < 1e-15);
    }
}

/// The angle between a ray's part in the frame and the normal, its sign taken so that it is at most 90 degrees.
fn angle(c: &[f64], normal: &[f64]) -> f64 {
    let along: f64 = c.iter().zip(normal).map(|(x, n)| x * n).sum();
    let across: f64 = c.iter().zip(normal).map(|(x, n)| (x - along * n).powi(2)).sum::<f64>().sqrt();
    across.atan2(along.abs())
}

#[test]
fn rays_turn_by_snells_law_in_the_plane_of_ray_and_normal() {
    let mut stream = Stream::new(4);
    for (n_in, n_out) in [(1.0, 1.5), (1.5, 1.0), (1.1, 1.0), (2.0, 2.5)] {
        let Element::Refraction(surface) = refraction(&mut stream, n_in, n_out, None) else { unreachable!() };
        let normal = surface.frame.normal.clone();
        let (mut passed, mut reflected) = (0, 0);
        for _ in 0..500 {
            let c: Vec<f64> = (0..4).map(|_| 2.0 * stream.random::<f64>() - 1.0).collect();
            let mut out = c.clone();
            match surface.bend(&mut out) {
                Fate::Passes { turn, share } => {
                    passed += 1;
                    assert_eq!(share, 1.0);
                    let (before, behind) = (angle(&c, &normal), angle(&out, &normal));
                    assert!((n_in * before.sin() - n_out * behind.sin()).abs() < 1e-12);
                    assert!((turn - (before - behind).abs()).abs() < 1e-9);
                    let length = |c: &[f64]| c.iter().map(|x| x * x).sum::<f64>().sqrt();
                    assert!((length(&c) - length(&out)).abs() < 1e-12);
                    // Behind, the ray is a sum of itself and the normal: what is left of it is nothing.
                    let along = |c: &[f64]| c.iter().zip(&normal).map(|(x, n)| x * n).sum::<f64>();
                    let across =
                        |c: &[f64]| -> Vec<f64> { c.iter().zip(&normal).map(|(x, n)| x - along(c) * n).collect() };
                    let (a, b) = (across(&c), across(&out));
                    let cosine = a.iter().zip(&b).map(|(x, y)| x * y).sum::<f64>() / (length(&a) * length(&b));
                    assert!((cosine - 1.0).abs() < 1e-9 && along(&c) * along(&out) >= 0.0);
                }
                Fate::Reflected => {
                    reflected += 1;
                    assert!(n_in * angle(&c, &normal).sin() > n_out && out.iter().all(|&x| x == 0.0));
                }
                Fate::Absent => panic!("no ray here is zero"),
            }
        }
        assert!(passed > 50 && (reflected > 20) == (n_in > n_out), "{passed} passed, {reflected} reflected");
    }
}

#[test]
fn zero_and_parallel_rays_pass_and_what_is_outside_the_frame_too() {
    let mut stream = Stream::new(5);
    for fresnel in [None, Some(Polarisation::S)] {
        let element = refraction(&mut stream, 1.5, 1.0, fresnel);
        let Element::Refraction(surface) = &element else { unreachable!() };
        let axes = &surface.frame.axes;
        let normal = Array1::from(surface.frame.normal.clone()).dot(axes);
        // A vector at right angles to the frame.
        let mut outside = Array1::from_shape_simple_fn(D, || stream.random::<f64>());
        for axis in axes.rows() {
            let along = outside.dot(&axis);
            outside.scaled_add(-along, &axis);
        }
        let g =
            ndarray::stack(Axis(0), &[Array1::zeros(D).view(), normal.view(), (-2.0 * &normal).view(), outside.view()])
                .unwrap();
        let mut out = g.clone();
        let topology = Topology::chains([4]).unwrap();
        let (_, bend) = cross(&Stack(vec![element.clone()]), &topology, &mut out);
        // Straight on, Fresnel's equations reflect ((n - m) / (n + m))^2 of the energy.
        let passes = if fresnel.is_some() { (1.0_f64 - 0.04).sqrt() } else { 1.0 };
        let expected = [0.0, passes, passes, 1.0];
        for (row, (before, factor)) in out.rows().into_iter().zip(g.rows().into_iter().zip(expected)) {
            assert!(row.iter().zip(before).all(|(a, b)| (a - factor * b).abs() < 1e-12), "{row} {before}");
        }
        assert!(bend.max < 1e-6);
    }
    // Without a known normal nothing is bent.
    let blind = Eye::<f64>::new(D, 4, &mut stream).frame(None);
    let surface = Refraction { frame: blind, n_in: 1.0, n_out: 2.0, fresnel: None };
    assert_eq!(surface.bend(&mut [1.0, 2.0, 3.0, 4.0]), Fate::Absent);
}

/// The Laplacian written out.
fn dense(topology: &Topology) -> Array2<f64> {
    let n = topology.nodes();
    let mut l = Array2::zeros((n, n));
    let mut join = |a: usize, b: usize, w: f64| {
        l[[a, a]] += w;
        l[[b, b]] += w;
        l[[a, b]] -= w;
        l[[b, a]] -= w;
    };
    for graph in 0..topology.graphs() {
        let range = topology.range(graph);
        if topology.is_chain() {
            (range.start + 1..range.end).for_each(|i| join(i - 1, i, 1.0));
        }
    }
    for e in topology.incoming().as_slice() {
        join(e.source as usize, e.target as usize, f64::from(e.weight.abs()));
    }
    l
}

#[test]
fn diffusion_is_one_minus_d_l_keeps_sums_and_never_raises_energy() {
    let mut stream = Stream::new(6);
    for (shape, topology) in shapes() {
        let l = dense(&topology);
        let degree = (0..topology.nodes()).map(|i| l[[i, i]]).fold(0.0, f64::max);
        assert!((laplacian::max_degree(&topology) - degree).abs() < 1e-12, "{shape}");
        for rate in [0.0, 0.1, 0.25, 0.5] {
            let g = gradient::<f64>(&topology, &mut stream);
            let mut out = g.clone();
            cross(&Stack(vec![Element::Diffusion(Diffusion { rate })]), &topology, &mut out);
            let used = if degree > 0.0 { f64::min(rate, 1.0 / degree) } else { 0.0 };
            let expected = &g - &(used * l.dot(&g));
            assert!((&out - &expected).iter().all(|d| d.abs() < 1e-12), "{shape} at {rate}");
            assert!((out.sum_axis(Axis(0)) - g.sum_axis(Axis(0))).iter().all(|d| d.abs() < 1e-12));
            assert!(energy(&out) <= energy(&g) * (1.0 + 1e-14), "{shape} at {rate}");
        }
    }
    // The roughest gradient at the bound, where a larger rate would raise its energy.
    let topology = Topology::chains([200]).unwrap();
    let rough = Array2::from_shape_fn((200, 1), |(i, _)| if i % 2 == 0 { 1.0 } else { -1.0 });
    let mut out = rough.clone();
    cross(&Stack(vec![Element::Diffusion(Diffusion { rate: 0.5 })]), &topology, &mut out);
    assert!(energy(&out) <= energy(&rough));
}

#[test]
fn a_window_of_graph_frequencies_is_a_function_of_the_laplacian() {
    // The eigenvectors of a chain are cosines, their eigenvalues 2 - 2 cos(pi k / n).
    let n = 40;
    let topology = Topology::chains([n]).unwrap();
    let window = FourierWindow { low: 0.4, high: 1.0 };
    for k in 0..n {
        let phase = std::f64::consts::PI * k as f64 / n as f64;
        let g = Array2::from_shape_fn((n, 1), |(i, _)| (phase * (i as f64 + 0.5)).cos());
        let mut out = g.clone();
        let (ledger, _) = cross(&Stack(vec![dims(0.0, Some(window))]), &topology, &mut out);
        let share = (2.0 - 2.0 * phase.cos()) / 4.0;
        let gain = 1.0 - window.gain(share);
        assert!((&out - &(gain * &g)).iter().all(|d| d.abs() < 1e-10), "frequency {k}");
        assert!(ledger.imbalance() < 1e-12);
        if share < 0.25 {
            assert!(gain > 0.95, "{share} should pass: {gain}");
        }
        if share > 0.55 {
            assert!(gain < 0.05, "{share} should be absorbed: {gain}");
        }
        assert!((-0.01..=1.01).contains(&gain));
    }
}

#[test]
fn a_band_holds_energy_between_its_ends_and_leaves_the_middle_alone() {
    let band = EnergyBand { low: 1e-2, high: 1.0 };
    for exponent in -12..=12 {
        let e = 10_f64.powi(exponent);
        let held = band.held(e);
        assert!((0.01 - 1e-12..=1.0 + 1e-12).contains(&held), "{e} {held}");
        let slope = (band.penalty(e * 1.0001) - band.penalty(e / 1.0001)) / (2.0 * 1.0001_f64.ln());
        assert!((slope - band.penalty_slope(e)).abs() < 1e-3, "{e}: {slope}");
        assert!((band.penalty(e) == 0.0) == (0.01..=1.0).contains(&e));
    }
    assert!((band.held(0.1) - 0.1).abs() < 1e-15, "the middle stays");
    assert!((band.held(0.11) / 0.11 - 1.0).abs() < 1e-3);
    let mut g = Array2::<f32>::from_elem((3, 5), 1e-30);
    cross(&Stack(vec![Element::Band(band)]), &Topology::chains([3]).unwrap(), &mut g);
    assert!(g.iter().all(|x| x.is_finite()));
    let mut g = Array2::<f32>::zeros((3, 5));
    cross(&Stack(vec![Element::Band(band)]), &Topology::chains([3]).unwrap(), &mut g);
    assert!(g.iter().all(|&x| x == 0.0));
}

#[test]
fn a_crossing_is_homogeneous_of_degree_one() {
    let mut stream = Stream::new(8);
    for (name, stack) in stacks().into_iter().filter(|(name, _)| !name.contains("band") && !name.contains("all")) {
        for (shape, topology) in shapes() {
            let g = gradient::<f64>(&topology, &mut stream);
            let (mut one, mut three) = (g.clone(), 3.0 * &g);
            cross(&stack, &topology, &mut one);
            cross(&stack, &topology, &mut three);
            let gap = (&three - &(3.0 * &one)).iter().fold(0.0_f64, |w, d| w.max(d.abs()));
            assert!(gap < 1e-12, "{name} over {shape}: {gap:e}");
        }
    }
}
