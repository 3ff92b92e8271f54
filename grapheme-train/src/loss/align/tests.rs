//! Both assignments against brute force, textbook algorithms and finite differences.

use super::*;
use crate::loss::band::Band;
use grapheme_core::Stream;
use rand::RngExt;

/// Random costs in `[0, 2)`, masses in `[0.2, 1)`.
pub(super) fn random_problem(seed: u64, band: &Band) -> Problem<f64> {
    let mut stream = Stream::new(seed);
    let mut draw = |low: f64, high: f64| low + (high - low) * stream.random::<f64>();
    let cost = Banded::from_fn(band, |_, _| draw(0.0, 2.0));
    let deletion = (0..band.rows()).map(|_| draw(0.3, 1.5)).collect();
    let insertion = (0..band.columns()).map(|_| draw(0.3, 1.5)).collect();
    let mass = (0..band.rows()).map(|_| draw(0.2, 1.0)).collect();
    Problem::new(cost, deletion, insertion, mass).unwrap()
}

fn with_insertion(mut problem: Problem<f64>, cost: f64) -> Problem<f64> {
    problem.insertion.fill(cost);
    problem
}

pub(super) fn narrow(problem: &Problem<f64>) -> Problem<f32> {
    let single = |x: &[f64]| x.iter().map(|&x| x as f32).collect();
    let cost = Banded::from_fn(problem.cost.band(), |i, j| problem.cost.get(i, j).unwrap() as f32);
    Problem::new(cost, single(&problem.deletion), single(&problem.insertion), single(&problem.mass)).unwrap()
}

/// The weights, at temperature 1, of all paths from `(i, j)` to the end, with the matches of each.
fn paths(problem: &Problem<f64>, i: usize, j: usize) -> Vec<(f64, Vec<(usize, usize)>)> {
    let (n, m) = (problem.deletion.len(), problem.insertion.len());
    if (i, j) == (n, m) {
        return vec![(1.0, Vec::new())];
    }
    let mut all = Vec::new();
    if i < n && j < m {
        for (weight, mut matches) in paths(problem, i + 1, j + 1) {
            matches.push((i, j));
            all.push((weight * (-problem.cost.get(i, j).unwrap()).exp(), matches));
        }
    }
    if i < n {
        all.extend(paths(problem, i + 1, j).into_iter().map(|(w, p)| (w * (-problem.deletion[i]).exp(), p)));
    }
    if j < m {
        all.extend(paths(problem, i, j + 1).into_iter().map(|(w, p)| (w * (-problem.insertion[j]).exp(), p)));
    }
    all
}

#[test]
fn monotone_is_the_sum_over_all_paths() {
    for (n, m) in [(0, 0), (0, 2), (2, 0), (1, 1), (3, 3), (5, 2), (2, 4)] {
        for insertion in [None, Some(f64::INFINITY)] {
            let mut problem = random_problem(1, &Band::dense(n, m));
            if let Some(cost) = insertion {
                problem = with_insertion(problem, cost);
            }
            let alignment = Monotone { tau: 1.0 }.align(&problem);
            let all = paths(&problem, 0, 0);
            let total: f64 = all.iter().map(|(weight, _)| weight).sum();
            if total == 0.0 {
                assert_eq!((alignment.status, alignment.value), (Status::Infeasible, f64::INFINITY));
                continue;
            }
            assert!((alignment.value + total.ln()).abs() < 1e-12, "{n} x {m}");
            for i in 0..n {
                for j in 0..m {
                    let through = all.iter().filter(|(_, matches)| matches.contains(&(i, j)));
                    let expected = through.map(|(weight, _)| weight).sum::<f64>() / total;
                    assert!((alignment.plan.get(i, j).unwrap() - expected).abs() < 1e-12, "{n} x {m}, ({i}, {j})");
                }
                let row: f64 = alignment.plan.row(i).iter().sum();
                assert!((row + alignment.deleted[i] - 1.0).abs() < 1e-12);
            }
            for j in 0..m {
                let column: f64 = (0..n).map(|i| alignment.plan.get(i, j).unwrap()).sum();
                assert!((column + alignment.inserted[j] - 1.0).abs() < 1e-12);
            }
        }
    }
}

/// The textbook dynamic programme (Wagner and Fischer 1974).
fn levenshtein(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let best = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

#[test]
fn cold_monotone_with_unit_costs_is_the_levenshtein_distance() {
    let cases: [(&[u8], &[u8]); 7] = [
        (b"", b""),
        (b"", b"abc"),
        (b"abc", b""),
        (b"kitten", b"sitting"),
        (b"saturday", b"sunday"),
        (b"aaaaaaaa", b"aaaa"),
        (b"abcdefgh", b"hgfedcba"),
    ];
    for (a, b) in cases {
        let cost = Banded::from_fn(&Band::dense(a.len(), b.len()), |i, j| if a[i] == b[j] { 0.0 } else { 1.0 });
        let ones = |n| Kept::filled(n, 1.0);
        let problem = Problem::new(cost, ones(a.len()), ones(b.len()), ones(a.len())).unwrap();
        let tau = 1e-4;
        let value = Monotone { tau }.align(&problem).value;
        // At most 3^16 paths share the least cost, which lowers the value by no more than tau log 3^16.
        assert!((value - levenshtein(a, b) as f64).abs() < 18.0 * tau, "{value}");
    }
}

#[test]
fn monotone_within_a_band_forbids_what_lies_without() {
    let band = Band::window(5, 4, 1);
    let banded = random_problem(2, &band);
    let outside = |i, j| banded.cost.get(i, j).unwrap_or(f64::INFINITY);
    let (deletion, insertion) = (banded.deletion.clone(), Kept::filled(4, f64::INFINITY));
    let dense = Banded::from_fn(&Band::dense(5, 4), outside);
    let dense = Problem::new(dense, deletion, insertion, banded.mass.clone()).unwrap();
    let banded = with_insertion(banded, f64::INFINITY);
    // Without insertions a path leaves the lattice rows of the band only by matches outside of the band.
    let (here, there) = (Monotone::default().align(&banded), Monotone::default().align(&dense));
    assert!((here.value - there.value).abs() < 1e-12);
    for i in 0..5 {
        for j in band.range(i) {
            assert!((here.plan.get(i, j).unwrap() - there.plan.get(i, j).unwrap()).abs() < 1e-12);
        }
    }
}

#[test]
fn a_hundred_thousand_nodes_neither_underflow_nor_lose_mass() {
    let n = 100_000;
    let band = Band::window(n, n, 32);
    let cost = Banded::from_fn(&band, |i, j| if i == j { 0.1 } else { 3.0 });
    let problem = Problem::new(cost, Kept::filled(n, 30.0f32), Kept::filled(n, 30.0f32), Kept::filled(n, 1.0)).unwrap();
    let alignment = Monotone::default().align(&problem);
    assert_eq!(alignment.status, Status::Converged);
    assert!((alignment.value - 10_000.0).abs() < 0.1, "{}", alignment.value);
    for i in (0..n).step_by(997) {
        let row: f32 = alignment.plan.row(i).iter().sum();
        assert!((row + alignment.deleted[i] - 1.0).abs() < 1e-5, "row {i} holds {row}");
    }
}

#[test]
fn input_that_is_not_a_number_is_named_and_never_passed_on() {
    let base = random_problem(3, &Band::dense(3, 2));
    for bad in [f64::NAN, f64::NEG_INFINITY, f64::MAX, -1e305] {
        for aligner in [Assignment::Monotone(Monotone::default()), Assignment::Sinkhorn(Sinkhorn::default())] {
            for slot in 0..6 {
                let mut problem = with_insertion(base.clone(), f64::INFINITY);
                problem.cost.values_mut()[slot] = bad;
                let alignment = aligner.align(&problem);
                assert_eq!((alignment.status, alignment.value), (Status::NotFinite, f64::INFINITY), "{slot}");
                let gradient = aligner.vjp(&problem, &alignment, Upstream { value: 1.0, plan: None });
                assert_eq!(gradient, ProblemGradient::zeros(&problem));
                assert!(alignment.plan.values().iter().all(|p| p.is_finite()));
            }
        }
    }
}

/// `value_weight * value + <weights, plan>`, a loss that looks at the whole answer.
fn loss(aligner: &Assignment, problem: &Problem<f64>, value_weight: f64, weights: &Banded<f64>) -> f64 {
    let alignment = aligner.align(problem);
    let plan: f64 = alignment.plan.values().iter().zip(weights.values()).map(|(p, w)| p * w).sum();
    value_weight * alignment.value + plan
}

/// Central differences of the loss for every finite number of the problem, against the gradient.
pub(super) fn check_gradient(
    aligner: &Assignment,
    problem: &Problem<f64>,
    value_weight: f64,
    plan_weight: f64,
    tolerance: f64,
) {
    let mut stream = Stream::new(99);
    let weights = Banded::from_fn(problem.cost.band(), |_, _| plan_weight * (stream.random::<f64>() - 0.5));
    let alignment = aligner.align(problem);
    let upstream = Upstream { value: value_weight, plan: (plan_weight != 0.0).then_some(&weights) };
    let gradient = aligner.vjp(problem, &alignment, upstream);
    type Part = fn(&mut Problem<f64>) -> &mut [f64];
    let parts: [(&str, Part, &[f64]); 4] = [
        ("cost", |p| p.cost.values_mut(), gradient.cost.values()),
        ("deletion", |p| &mut p.deletion, &gradient.deletion),
        ("insertion", |p| &mut p.insertion, &gradient.insertion),
        ("mass", |p| &mut p.mass, &gradient.mass),
    ];
    for (name, part, analytic) in parts {
        for (k, &analytic) in analytic.iter().enumerate() {
            let at = part(&mut problem.clone())[k];
            if !at.is_finite() {
                assert_eq!(analytic, 0.0, "{name}[{k}]");
                continue;
            }
            let moved = |step: f64| {
                let mut problem = problem.clone();
                part(&mut problem)[k] += step;
                loss(aligner, &problem, value_weight, &weights)
            };
            // A mass of zero can only grow: a one-sided difference of third order there.
            let step = 1e-4;
            let numeric = if name == "mass" && at == 0.0 {
                (-11.0 * moved(0.0) + 18.0 * moved(step) - 9.0 * moved(2.0 * step) + 2.0 * moved(3.0 * step))
                    / (6.0 * step)
            } else {
                (8.0 * (moved(step) - moved(-step)) - (moved(2.0 * step) - moved(-2.0 * step))) / (12.0 * step)
            };
            let scale = analytic.abs().max(numeric.abs()).max(0.1);
            assert!(
                (analytic - numeric).abs() <= tolerance * scale,
                "{aligner:?}: {name}[{k}] is {analytic}, finite differences say {numeric}"
            );
        }
    }
}

fn bands() -> [Band; 6] {
    [
        Band::dense(4, 3),
        Band::dense(2, 5),
        Band::dense(1, 1),
        Band::dense(3, 0),
        Band::dense(0, 2),
        Band::window(8, 6, 1),
    ]
}

#[test]
fn monotone_gradients_are_what_finite_differences_say() {
    for band in bands() {
        for tau in [1.0, 0.3] {
            let aligner = Assignment::Monotone(Monotone { tau });
            let problem = random_problem(4, &band);
            check_gradient(&aligner, &problem, 1.0, 0.0, 1e-8);
            check_gradient(&aligner, &problem, 0.7, 1.0, 1e-7);
            if band.rows() >= band.columns() {
                check_gradient(&aligner, &with_insertion(problem, f64::INFINITY), 0.7, 1.0, 1e-7);
            }
        }
    }
}

pub(super) fn sharp_sinkhorn(epsilon: f64) -> Sinkhorn {
    Sinkhorn { epsilon, tolerance: 1e-13, max_iterations: 20_000, ..Sinkhorn::default() }
}

#[test]
fn sinkhorn_gradients_are_what_finite_differences_say() {
    for band in bands() {
        for epsilon in [1.0, 0.1, 0.03] {
            for value in [Value::TransportCost, Value::Regularised] {
                for differentiation in [Differentiation::Implicit, Differentiation::Unrolled] {
                    let method = Sinkhorn { value, differentiation, ..sharp_sinkhorn(epsilon) };
                    let aligner = Assignment::Sinkhorn(method);
                    let mut problem = random_problem(5, &band);
                    check_gradient(&aligner, &problem, 1.0, 0.0, 1e-6);
                    check_gradient(&aligner, &problem, 0.5, 1.0, 1e-6);
                    // A mass of zero still has a gradient: what a little of it would cost.
                    if let Some(mass) = problem.mass.first_mut() {
                        *mass = 0.0;
                        check_gradient(&aligner, &problem, 0.5, 1.0, 1e-6);
                    }
                }
            }
        }
    }
}

#[test]
fn implicit_and_unrolled_gradients_agree_where_sinkhorn_converged() {
    for epsilon in [1.0, 0.3, 0.1, 0.03, 0.01] {
        for (seed, band) in (0..).zip(bands()) {
            let problem = random_problem(seed, &band);
            let weights = Banded::from_fn(&band, |i, j| ((3 * i + 5 * j) % 7) as f64 / 7.0);
            for value in [Value::TransportCost, Value::Regularised] {
                let gradients = [Differentiation::Implicit, Differentiation::Unrolled].map(|differentiation| {
                    let method = Sinkhorn { value, differentiation, ..sharp_sinkhorn(epsilon) };
                    let alignment = method.align(&problem);
                    assert_eq!(alignment.status, Status::Converged, "epsilon {epsilon}: {}", alignment.residual);
                    method.vjp(&problem, &alignment, Upstream { value: 0.5, plan: Some(&weights) })
                });
                let [implicit, unrolled] =
                    gradients.map(|g| [g.cost.values(), &g.deletion, &g.insertion, &g.mass].concat());
                for (a, b) in implicit.iter().zip(&unrolled) {
                    assert!((a - b).abs() <= 1e-8 * a.abs().max(1.0), "epsilon {epsilon}, {band:?}: {a} and {b}");
                }
            }
        }
    }
}

/// Of many sizes, spreads of cost and masses, some all but 0 or 1.
pub(super) fn uneven_problem(seed: u64) -> Problem<f64> {
    let mut stream = Stream::new(seed);
    let mut draw = |low: f64, high: f64| low + (high - low) * stream.random::<f64>();
    let (n, m) = (draw(1.0, 14.0) as usize, draw(0.0, 10.0) as usize);
    let (spread, sharpness) = (draw(0.5, 8.0), draw(0.0, 8.0));
    let cost = Banded::from_fn(&Band::dense(n, m), |_, _| draw(0.0, spread));
    let (deletion, insertion) = (draw(0.3, 2.0), draw(0.3, 4.0));
    let mass = (0..n).map(|_| 1.0 / (1.0 + (sharpness * draw(-1.0, 1.0)).exp())).collect();
    Problem::new(cost, Kept::filled(n, deletion), Kept::filled(m, insertion), mass).unwrap()
}

/// Groups whose masses balance, with little or nothing between them.
fn grouped_problem(seed: u64, epsilon: f64) -> Problem<f64> {
    let mut stream = Stream::new(seed);
    let mut draw = |low: f64, high: f64| low + (high - low) * stream.random::<f64>();
    let (mut rows, mut columns, mut mass) = (Vec::new(), Vec::new(), Kept::default());
    for group in 0..draw(1.0, 4.0) as usize {
        let m = draw(1.0, 5.0) as usize;
        let n = m + draw(0.0, 4.0) as usize;
        let masses: Vec<f64> = (0..n).map(|_| draw(0.3, 1.0)).collect();
        let sum: f64 = masses.iter().sum();
        mass.extend(masses.iter().map(|x| x * m as f64 / sum));
        rows.extend(vec![group; n]);
        columns.extend(vec![group; m]);
    }
    let spread = draw(0.5, 8.0) * epsilon;
    let mut far = || if draw(0.0, 1.0) < 0.3 { f64::INFINITY } else { draw(1.0, 45.0) * epsilon };
    let (across, deletion, insertion) = (far(), far(), far());
    let (n, m) = (rows.len(), columns.len());
    let mut cost = |i: usize, j: usize| draw(0.0, spread) + if rows[i] == columns[j] { 0.0 } else { across };
    let cost = Banded::from_fn(&Band::dense(n, m), &mut cost);
    Problem::new(cost, Kept::filled(n, deletion), Kept::filled(m, insertion), mass).unwrap()
}

/// Rounding must not grow along what the linear system leaves open; without either of the guards in `Schur::solve` it does,
/// and nothing else would tell.
#[test]
fn implicit_gradients_hold_where_the_linear_system_is_nearly_singular() {
    let mut compared = 0;
    for epsilon in [1.0, 0.1, 0.05, 0.01] {
        // How much flows between balanced groups is open, and so is what a change of their masses would do.
        let uneven = (0..400).map(|seed| (seed, uneven_problem(seed), true));
        let grouped = (4700..5000).map(|seed| (seed, grouped_problem(seed, epsilon), false));
        for (seed, problem, masses) in uneven.chain(grouped) {
            let weights = Banded::from_fn(problem.cost.band(), |i, j| ((3 * i + 5 * j) % 7) as f64 / 7.0);
            let gradients = [Differentiation::Implicit, Differentiation::Unrolled].map(|differentiation| {
                let method = Sinkhorn { epsilon, tolerance: 1e-12, differentiation, ..Sinkhorn::default() };
                let alignment = method.align(&problem);
                (alignment.status == Status::Converged).then(|| {
                    let g = method.vjp(&problem, &alignment, Upstream { value: 0.5, plan: Some(&weights) });
                    let masses: &[f64] = if masses { &g.mass } else { &[] };
                    [g.cost.values(), &g.deletion, &g.insertion, masses].concat()
                })
            });
            let [Some(implicit), Some(unrolled)] = gradients else { continue };
            compared += 1;
            for (a, b) in implicit.iter().zip(&unrolled) {
                // The tolerance over the least conductance between groups: both are only as exact as that.
                let bound = 1e-7 * a.abs().max(b.abs()).max(1.0);
                assert!((a - b).abs() <= bound, "epsilon {epsilon}, seed {seed}, masses {masses}: {a} and {b}");
            }
        }
    }
    assert!(compared > 1500, "{compared}");
}

/// Shapes, ties, masses and costs at the edge of what is allowed.
fn extremes() -> Vec<Problem<f64>> {
    let mut problems = Vec::new();
    for (n, m) in [(0, 0), (1, 0), (0, 1), (1, 1), (3, 3), (40, 2), (2, 9)] {
        for (near, far) in [(0.0, 0.0), (0.0, 1e6), (1e6, 1e6), (1e150, 3e18), (1e308, 3e38), (0.0, f64::INFINITY)] {
            // Some of these add up beyond what either type of numbers holds.
            for unmatched in [0.0, 1.0, 1e6, -3e18, 3e38, 1e150, -1e308, f64::INFINITY] {
                for mass in [0.0, 1e-30, 0.5, 1.0] {
                    let cost = Banded::from_fn(&Band::dense(n, m), |i, j| if i == j { near } else { far });
                    let masses = (0..n).map(|i| if i % 2 == 0 { mass } else { 1.0 }).collect();
                    problems.push(
                        Problem::new(cost, Kept::filled(n, unmatched), Kept::filled(m, unmatched), masses).unwrap(),
                    );
                }
            }
        }
    }
    problems
}

fn check_finite<S: Scalar>(aligner: &Assignment, problem: &Problem<S>) {
    let alignment = aligner.align(problem);
    assert!(alignment.value.is_finite() || !alignment.status.is_usable(), "{aligner:?} of {problem:?}");
    let weights = Banded::filled(problem.cost.band(), S::one());
    let gradient = aligner.vjp(problem, &alignment, Upstream { value: S::one(), plan: Some(&weights) });
    let parts = [gradient.cost.values(), &gradient.deletion, &gradient.insertion, &gradient.mass];
    let answers = [alignment.plan.values(), &alignment.deleted, &alignment.inserted];
    for x in parts.into_iter().chain(answers).flatten() {
        assert!(x.is_finite(), "{aligner:?} of {problem:?}: {alignment:?}, {gradient:?}");
    }
}

#[test]
fn extremes_stay_finite_in_both_precisions() {
    let mut aligners = vec![Assignment::Monotone(Monotone { tau: 1.0 }), Assignment::Monotone(Monotone { tau: 1e-6 })];
    for epsilon in [1.0, 1e-3] {
        for differentiation in [Differentiation::Implicit, Differentiation::Unrolled] {
            for value in [Value::TransportCost, Value::Regularised] {
                let method = Sinkhorn { epsilon, differentiation, value, max_iterations: 60, ..Sinkhorn::default() };
                aligners.push(Assignment::Sinkhorn(method));
            }
        }
    }
    for problem in extremes() {
        for aligner in &aligners {
            check_finite(aligner, &problem);
            check_finite(aligner, &narrow(&problem));
        }
    }
}

#[test]
fn sinkhorn_tells_what_cannot_be_assigned() {
    let infinite = f64::INFINITY;
    let problem = |cost: f64, deletion: f64, insertion: f64, n: usize, m: usize| {
        let cost = Banded::filled(&Band::dense(n, m), cost);
        Problem::new(cost, Kept::filled(n, deletion), Kept::filled(m, insertion), Kept::filled(n, 1.0)).unwrap()
    };
    let status = |problem| Sinkhorn::default().align(&problem).status;
    assert_eq!(status(problem(infinite, infinite, 1.0, 2, 2)), Status::Infeasible);
    assert_eq!(status(problem(infinite, 1.0, infinite, 2, 2)), Status::Infeasible);
    assert_eq!(status(problem(1.0, 1.0, infinite, 2, 3)), Status::Infeasible);
    assert_eq!(status(problem(1.0, infinite, 1.0, 3, 2)), Status::Infeasible);
    assert_eq!(status(problem(1.0, 1.0, infinite, 3, 2)), Status::Converged);
    assert_eq!(status(problem(1.0, infinite, infinite, 2, 2)), Status::Converged);
}

#[test]
fn a_band_that_holds_everything_equals_dense() {
    let (full, dense) = (Band::window(7, 5, 5), Band::dense(7, 5));
    assert_eq!(full, dense);
    let problem = random_problem(6, &dense);
    let wide = random_problem(6, &full);
    for aligner in [Assignment::Monotone(Monotone::default()), Assignment::Sinkhorn(Sinkhorn::default())] {
        assert_eq!(aligner.align(&problem), aligner.align(&wide));
    }
    // A band that is narrower but excludes only what costs infinity is the same problem too.
    let narrow = Band::window(7, 5, 1);
    let within = Banded::from_fn(&narrow, |i, j| problem.cost.get(i, j).unwrap());
    let outside = Banded::from_fn(&dense, |i, j| within.get(i, j).unwrap_or(f64::INFINITY));
    let rest = (problem.deletion, problem.insertion, problem.mass);
    let within = Problem::new(within, rest.0.clone(), rest.1.clone(), rest.2.clone()).unwrap();
    let outside = Problem::new(outside, rest.0, rest.1, rest.2).unwrap();
    let (here, there) = (Sinkhorn::default().align(&within), Sinkhorn::default().align(&outside));
    assert!((here.value - there.value).abs() < 1e-12);
}

#[test]
fn sinkhorn_approaches_the_cheapest_assignment() {
    // The cheapest of all ways to match, delete and insert, by trying each.
    fn cheapest(problem: &Problem<f64>, i: usize, free: &mut Vec<bool>) -> f64 {
        if i == problem.deletion.len() {
            return free.iter().zip(&problem.insertion).filter(|(free, _)| **free).map(|(_, cost)| cost).sum();
        }
        let mut best = problem.deletion[i] + cheapest(problem, i + 1, free);
        for j in 0..free.len() {
            if std::mem::replace(&mut free[j], false) {
                best = best.min(problem.cost.get(i, j).unwrap() + cheapest(problem, i + 1, free));
                free[j] = true;
            }
        }
        best
    }
    for seed in 0..10 {
        let mut problem = random_problem(seed, &Band::dense(5, 4));
        problem.mass.fill(1.0);
        let expected = cheapest(&problem, 0, &mut vec![true; 4]);
        for value in [Value::TransportCost, Value::Regularised] {
            let method =
                Sinkhorn { epsilon: 1e-3, max_iterations: 20_000, tolerance: 1e-6, value, ..Sinkhorn::default() };
            let found = method.align(&problem).value;
            // The entropy is worth no more than epsilon times the mass, 9, times the log of the 30 entries.
            assert!((found - expected).abs() < 0.03, "seed {seed}: {found}, not {expected}");
        }
    }
}
