use super::case::Inputs;
use super::*;
use crate::loss::Assignment;
use crate::objective::Objective;
use grapheme_core::check::Verdict;
use grapheme_core::{Boundary, Scalar, Topology, Vacuum};
use ndarray::Array2;
use std::collections::BTreeSet;

fn settings(filter: &str) -> Settings {
    Settings { seeds: 1, filter: filter.to_owned(), ..Settings::default() }
}

/// A backward pass that is wrong by one part in a thousand at the boundary above the first round.
struct Wrong;

impl<S: Scalar> GradientMedium<S> for Wrong {
    type Trace = ();

    fn cross(&self, boundary: Boundary, _: &Topology, gradient: &mut Array2<S>, (): &mut ()) {
        if boundary.index == 1 {
            *gradient *= S::lit(1.001);
        }
    }
}

impl Checked for Wrong {
    fn transpose(&self, _: Boundary, _: &Topology, _: &mut Array2<f64>) {}
}

/// A linear medium that is not its own transpose: it mixes features. `exact` says whether it knows its transpose.
struct Mixing {
    exact: bool,
}

/// `g A`, or `g A^T`.
fn mix<S: Scalar>(g: &mut Array2<S>, transposed: bool) {
    let d = g.ncols();
    let entry = |(i, j): (usize, usize)| S::lit(if i == j { 0.9 } else { 0.1 * (1 + i) as f64 - 0.05 * j as f64 });
    let a = Array2::from_shape_fn((d, d), |(i, j)| entry(if transposed { (j, i) } else { (i, j) }));
    *g = g.dot(&a);
}

impl<S: Scalar> GradientMedium<S> for Mixing {
    type Trace = ();

    fn cross(&self, _: Boundary, _: &Topology, gradient: &mut Array2<S>, (): &mut ()) {
        mix(gradient, false);
    }
}

impl Checked for Mixing {
    fn transpose(&self, _: Boundary, _: &Topology, x: &mut Array2<f64>) {
        mix(x, self.exact);
    }
}

#[test]
fn through_a_linear_medium_the_pass_is_the_derivative_by_its_transpose() {
    for filter in ["words/monotone/pathwise/two-stages", "words/monotone/reinforce/gated", "marginal/recurrent"] {
        let outcome = check(&settings(filter), &Mixing { exact: true }, |_, _| ()).unwrap();
        assert!(outcome.passed(), "{filter}\n{outcome}\n{:?}", outcome.complaints());
        let outcome = check(&settings(filter), &Mixing { exact: false }, |_, _| ()).unwrap();
        assert!(!outcome.passed(), "{filter}: a medium that is not the transpose it claims");
    }
}

#[test]
fn a_wrong_backward_fails_below_the_place_where_it_is_wrong() {
    let settings = settings("words/monotone/pathwise/gated");
    assert!(check(&settings, &Vacuum, |_, _| ()).unwrap().passed());
    let outcome = check(&settings, &Wrong, |_, _| ()).unwrap();
    assert!(!outcome.passed());
    for BlockOutcome { report, .. } in &outcome.blocks {
        let is_below = ["embedding", "stages.0.rounds", "features"].iter().any(|part| report.name.starts_with(part));
        let expected = if is_below { Verdict::Wrong } else { Verdict::Agrees };
        assert_eq!(report.verdict, expected, "{}", report.name);
        assert!(!is_below || (report.worst - 0.001).abs() < 1e-4, "{}: {}", report.name, report.worst);
    }
    let table = outcome.to_string();
    assert!(table.contains("disagrees") && table.contains("wrong"), "{table}");
}

#[test]
fn estimators_that_are_the_derivative_of_no_loss_are_that_of_their_surrogates() {
    for estimator in ["/straight-through/", "/straight-through-logit/", "/reinforce/"] {
        let outcome = check(&settings(estimator), &Vacuum, |_, _| ()).unwrap();
        assert!(outcome.passed(), "{estimator}\n{outcome}\n{:?}", outcome.complaints());
    }
}

#[test]
fn an_outcome_does_not_depend_on_threads_and_progress_is_told() {
    let of = |threads| {
        let told = AtomicUsize::new(0);
        let settings = Settings { threads, seeds: 2, ..settings("graph/monotone/pathwise/gated") };
        let outcome = check(&settings, &Vacuum, |_, all| {
            assert_eq!(all, 2);
            told.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(told.into_inner(), 2);
        outcome.unwrap()
    };
    assert_eq!(of(1), of(3));
}

#[test]
fn combinations_have_names_of_their_own_and_the_undefined_ones_say_why() {
    let all = Combination::all();
    let names: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!((all.len(), names.len()), (69, 69));
    let undefined: Vec<_> = all.iter().filter(|one| one.undefined().is_some()).collect();
    assert_eq!(undefined.len(), 16);
    let outcome = check(&settings("graph/monotone/marginal/gated"), &Vacuum, |_, _| ()).unwrap();
    assert!(outcome.to_string().contains("not defined: no dynamic programme"), "{outcome}");
    assert!(!outcome.passed(), "nothing was checked");
    let error = check(&settings("grpah"), &Vacuum, |_, _| ()).unwrap_err().to_string();
    assert!(error.starts_with("no combination has \"grpah\" in its name"), "{error}");
}

/// The first combination with such a name, on the inputs of a seed.
fn case(name: &str, seed: u64) -> (Subject, Objective, Inputs) {
    let combination = Combination::all().into_iter().find(|one| one.to_string().contains(name)).unwrap();
    let inputs = Inputs::of_seed(seed);
    (Subject::new(combination, seed).unwrap(), combination.objective(inputs), inputs)
}

#[test]
fn edges_cliques_and_windows_count_in_the_cases_that_are_there_for_them() {
    // Whether a plan leaves a triangle differs from seed to seed; two seeds have each kind of inputs.
    for (layers, seeds) in [
        ("gated", [1, 6]),
        ("gated", [2, 7]),
        ("gated", [3, 8]),
        ("gated", [4, 9]),
        ("gated", [5, 10]),
        ("two-stages", [2, 7]),
    ] {
        let (mut cliques, mut banded) = (false, false);
        for seed in seeds {
            let (subject, objective, _) = case(&format!("graph/monotone/pathwise/{layers}"), seed);
            let gradient = |change: &dyn Fn(&mut Objective)| {
                let mut other = objective.clone();
                change(&mut other);
                let gradient = subject.gradient(&subject.net, &other, &Vacuum, None).unwrap();
                gradient.block("stages.0.morph.gate.thresholds").to_vec()
            };
            let whole = gradient(&|_| ());
            assert_ne!(whole, gradient(&|objective| objective.loss.beta = 0.0), "edges, {layers}, seed {seed}");
            cliques |= whole != gradient(&|objective| objective.loss.gamma = 0.0);
            banded |= whole != gradient(&|objective| objective.window = None);
        }
        assert!(cliques, "cliques, {layers}, seeds {seeds:?}");
        assert_eq!(banded, Inputs::of_seed(seeds[0]) == Inputs::Banded, "window, {layers}, seeds {seeds:?}");
    }
}

#[test]
fn an_alignment_that_did_not_converge_is_an_error() {
    let (subject, mut objective, _) = case("words/sinkhorn-implicit/marginal/gated", 1);
    let Assignment::Sinkhorn(sinkhorn) = &mut objective.loss.aligner else { panic!("a Sinkhorn combination") };
    sinkhorn.max_iterations = 2;
    let Err(numeric) = subject.numeric(&objective, &Vacuum) else { panic!("converged") };
    let numeric = numeric.to_string();
    assert!(numeric.contains("words/sinkhorn-implicit/marginal/gated/1: 3 alignments did not converge"), "{numeric}");
    assert!(subject.gradient(&subject.net, &objective, &Vacuum, None).is_err());
}

#[test]
fn a_block_without_a_fault_and_a_fault_that_slips_through_are_told() {
    let mut outcome = check(&settings("words/monotone/marginal/gated"), &Vacuum, |_, _| ()).unwrap();
    assert_eq!(outcome.complaints(), Vec::<String>::new());
    let Faults { planted, caught } = outcome.faults();
    assert!(planted == caught && planted == outcome.blocks.len() + outcome.boundaries.len());
    outcome.blocks[0].faults.caught = 0;
    outcome.boundaries[1].1 = Faults::default();
    outcome.blocks[2].single = f64::INFINITY;
    let complaints = outcome.complaints();
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains("f32 gradient is off by inf"), "{complaints:?}");
    assert_eq!(complaints[1], "embedding.table: only 0 of 1 planted faults were caught");
    assert_eq!(outcome.without_gradient(), ["stages.0.rounds.0 | stages.0.morph"]);
}

#[test]
fn what_is_no_number_is_the_worst_error() {
    let error = |a: &[f64], b: &[f64]| relative_error(a, b, 1.0, |_| true);
    assert_eq!(error(&[1.0, 2.0], &[1.0, 2.5]), 0.2);
    assert_eq!(error(&[0.0], &[1e-3]), 0.1);
    assert_eq!(error(&[f64::NAN, 1.0], &[1.0, 1.0]), f64::INFINITY);
}
