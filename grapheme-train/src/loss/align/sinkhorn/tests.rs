//! Against a reference that is written differently, and where the problem is lopsided, tied or extreme.

use super::super::tests::{check_gradient, narrow, random_problem, sharp_sinkhorn, uneven_problem};
use super::super::{Aligner, Alignment, Assignment, Problem, ProblemGradient, Status, TOGETHER, Together, Upstream};
use super::{Differentiation, Sinkhorn, Value};
use crate::loss::band::{Band, Banded};
use grapheme_core::Kept;

const EPSILONS: [f64; 4] = [1.0, 0.1, 0.01, 0.001];

/// The transport between all rows and columns, dummies included, as dense matrices.
struct Reference {
    plan: Vec<Vec<f64>>,
    transport_cost: f64,
    regularised: f64,
}

/// The textbook iteration, both potentials in the log domain one after the other, while epsilon is halved down to its value;
/// then Newton steps on all equations at once, by elimination. Shares nothing with what it judges.
fn reference(problem: &Problem<f64>, epsilon: f64) -> Reference {
    let (n, m) = (problem.deletion().len(), problem.insertion().len());
    let cost: Vec<Vec<f64>> = (0..=n)
        .map(|i| {
            let entry = |j: usize| match (i < n, j < m) {
                (true, true) => problem.cost().get(i, j).unwrap(),
                (true, false) => problem.deletion()[i],
                (false, true) => problem.insertion()[j],
                (false, false) => 0.0,
            };
            (0..=m).map(entry).collect()
        })
        .collect();
    let rows: Vec<f64> = problem.mass().iter().copied().chain([m as f64]).collect();
    let columns: Vec<f64> = std::iter::repeat_n(1.0, m).chain([problem.mass().iter().sum()]).collect();
    let (mut f, mut g) = (vec![0.0; n + 1], vec![0.0; m + 1]);
    let softmin = |exponents: &mut dyn Iterator<Item = f64>| {
        let exponents: Vec<f64> = exponents.collect();
        let high = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        high + exponents.iter().map(|x| (x - high).exp()).sum::<f64>().ln()
    };
    let mut at = 2.0_f64.max(epsilon);
    loop {
        at = (0.5 * at).max(epsilon);
        for _ in 0..300 {
            for i in 0..=n {
                f[i] = -at * softmin(&mut (0..=m).map(|j| columns[j].ln() + (g[j] - cost[i][j]) / at));
            }
            for j in 0..=m {
                g[j] = -at * softmin(&mut (0..=n).map(|i| rows[i].ln() + (f[i] - cost[i][j]) / at));
            }
        }
        if at == epsilon {
            break;
        }
    }
    let plan_of = |f: &[f64], g: &[f64]| -> Vec<Vec<f64>> {
        let entry = |i: usize, j: usize| rows[i] * columns[j] * ((f[i] + g[j] - cost[i][j]) / epsilon).exp();
        (0..=n).map(|i| (0..=m).map(|j| entry(i, j)).collect()).collect()
    };
    let missing = |plan: &[Vec<f64>]| -> Vec<f64> {
        let row = (0..=n).map(|i| rows[i] - plan[i].iter().sum::<f64>());
        row.chain((0..m).map(|j| columns[j] - plan.iter().map(|row| row[j]).sum::<f64>())).collect()
    };
    let size = |missing: &[f64]| missing.iter().map(|x| x.abs()).sum::<f64>();
    for _ in 0..200 {
        let plan = plan_of(&f, &g);
        let right = missing(&plan);
        if size(&right) < 1e-14 {
            break;
        }
        // The last potential of the columns stays, since a constant may go from the one side to the other.
        let mut system = vec![vec![0.0; n + m + 2]; n + m + 1];
        for i in 0..=n {
            for j in 0..=m {
                system[i][i] += plan[i][j];
                if j < m {
                    system[i][n + 1 + j] += plan[i][j];
                    system[n + 1 + j][i] += plan[i][j];
                    system[n + 1 + j][n + 1 + j] += plan[i][j];
                }
            }
        }
        system.iter_mut().zip(&right).for_each(|(row, x)| row[n + m + 1] = *x);
        let step = eliminate(system);
        // Halved until it helps: far away the equations bend.
        let mut share = 1.0;
        while share > 1e-9 {
            let moved = |x: &[f64], step: &[f64]| -> Vec<f64> {
                x.iter().zip(step.iter().chain([&0.0])).map(|(x, y)| x + share * epsilon * y).collect()
            };
            let (ahead_f, ahead_g) = (moved(&f, &step[..=n]), moved(&g, &step[n + 1..]));
            let left = size(&missing(&plan_of(&ahead_f, &ahead_g)));
            if left < size(&right) {
                (f, g) = (ahead_f, ahead_g);
                break;
            }
            share *= 0.5;
        }
    }
    let plan = plan_of(&f, &g);
    assert!(size(&missing(&plan)) < 1e-12, "the reference at epsilon {epsilon} misses {}", size(&missing(&plan)));
    let total: f64 = rows.iter().sum();
    let (mut transport_cost, mut entropy) = (0.0, 0.0);
    for i in 0..=n {
        for j in 0..=m {
            let p = plan[i][j];
            transport_cost += p * cost[i][j];
            entropy += if p > 0.0 { p * (p * total / (rows[i] * columns[j])).ln() } else { 0.0 };
        }
    }
    Reference { plan, transport_cost, regularised: transport_cost + epsilon * entropy }
}

/// Gauss and Jordan, with the largest pivot of each column; the right side is the last column.
fn eliminate(mut system: Vec<Vec<f64>>) -> Vec<f64> {
    let n = system.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&x, &y| system[x][column].abs().total_cmp(&system[y][column].abs())).unwrap();
        system.swap(column, pivot);
        let line = system[column].clone();
        for (row, entries) in system.iter_mut().enumerate() {
            if row != column && line[column] != 0.0 {
                let factor = entries[column] / line[column];
                entries.iter_mut().zip(&line).for_each(|(x, y)| *x -= factor * y);
            }
        }
    }
    (0..n).map(|i| if system[i][i] == 0.0 { 0.0 } else { system[i][n] / system[i][i] }).collect()
}

#[test]
fn value_and_plan_are_those_of_the_reference_at_every_epsilon() {
    for epsilon in EPSILONS {
        for (seed, (n, m)) in (0..).zip([(1, 1), (1, 4), (4, 1), (4, 4), (7, 3), (12, 2)]) {
            let problem = random_problem(seed, &Band::dense(n, m));
            let expected = reference(&problem, epsilon);
            for (value, expected_value) in
                [(Value::TransportCost, expected.transport_cost), (Value::Regularised, expected.regularised)]
            {
                let method = Sinkhorn { value, ..sharp_sinkhorn(epsilon) };
                let found = method.align(&problem);
                assert_eq!(found.status, Status::Converged, "epsilon {epsilon}, {n} x {m}: {}", found.residual);
                let gap = (found.value - expected_value).abs();
                assert!(
                    gap <= 1e-10 * expected_value.abs().max(1.0),
                    "epsilon {epsilon}, {n} x {m}, {value:?}: {gap:e}"
                );
                for i in 0..n {
                    for j in 0..m {
                        let gap = (found.plan.get(i, j).unwrap() - expected.plan[i][j]).abs();
                        assert!(gap <= 1e-9, "epsilon {epsilon}, {n} x {m}, ({i}, {j}): {gap:e}");
                    }
                    assert!((found.deleted[i] - expected.plan[i][m]).abs() <= 1e-9);
                }
                for j in 0..m {
                    assert!((found.inserted[j] - expected.plan[n][j]).abs() <= 1e-9);
                }
                // Single precision rounds the problem by 6e-8, and dividing by epsilon makes that the error of the plan.
                let single = method.align(&narrow(&problem));
                let gap = (f64::from(single.value) - expected_value).abs();
                assert!(gap <= 1e-5 * expected_value.abs().max(1.0), "epsilon {epsilon}, {n} x {m}, single: {gap:e}");
            }
        }
    }
}

/// An epsilon that is 1% off must be seen: else the tolerances above say nothing.
#[test]
fn the_reference_tells_a_slightly_wrong_epsilon() {
    let problem = random_problem(3, &Band::dense(4, 4));
    for epsilon in EPSILONS {
        let expected = reference(&problem, epsilon);
        let method = Sinkhorn { value: Value::Regularised, ..sharp_sinkhorn(1.01 * epsilon) };
        assert!((method.align(&problem).value - expected.regularised).abs() > 1e-6, "epsilon {epsilon}");
    }
}

/// What is lopsided or tied, with a zero mass where there are several.
fn hard_problems() -> Vec<(&'static str, Problem<f64>)> {
    let mut single = random_problem(1, &Band::dense(1, 5));
    single.mass[0] = 0.7;
    let mut many = random_problem(2, &Band::dense(24, 2));
    (many.mass[3], many.mass[17]) = (0.0, 0.0);
    // Rows and columns that come twice and three times.
    let base = random_problem(3, &Band::dense(2, 2));
    let cost = Banded::from_fn(&Band::dense(6, 4), |i, j| base.cost().get(i % 2, j % 2).unwrap());
    let ties =
        Problem::new(cost, Kept::filled(6, 0.6), Kept::filled(4, 0.8), vec![0.5, 0.9, 0.5, 0.9, 0.5, 0.9].into())
            .unwrap();
    let equal = Banded::filled(&Band::dense(4, 4), 0.3);
    let equal = Problem::new(equal, Kept::filled(4, 0.5), Kept::filled(4, 0.5), Kept::filled(4, 1.0)).unwrap();
    vec![("one row", single), ("many rows, some without mass", many), ("ties", ties), ("all costs equal", equal)]
}

#[test]
fn gradients_of_lopsided_and_tied_problems_are_what_finite_differences_say() {
    for (name, problem) in hard_problems() {
        for epsilon in [1.0, 0.1] {
            for value in [Value::TransportCost, Value::Regularised] {
                for differentiation in [Differentiation::Implicit, Differentiation::Unrolled] {
                    println!("{name}, epsilon {epsilon}, {value:?}, {differentiation:?}");
                    let aligner = Assignment::Sinkhorn(Sinkhorn { value, differentiation, ..sharp_sinkhorn(epsilon) });
                    check_gradient(&aligner, &problem, 0.5, 1.0, 1e-6);
                }
            }
        }
    }
}

/// At small epsilon a difference step must be far smaller than epsilon and far larger than rounding, so plans, which bend
/// within epsilon, are compared where they are smooth: through the regularised value, whose gradient they are.
#[test]
fn gradients_of_the_regularised_value_hold_down_to_the_smallest_epsilon() {
    for epsilon in [0.01, 0.001] {
        for (n, m) in [(1, 3), (4, 3), (9, 2)] {
            let problem = random_problem(8, &Band::dense(n, m));
            for differentiation in [Differentiation::Implicit, Differentiation::Unrolled] {
                let method = Sinkhorn { value: Value::Regularised, differentiation, ..sharp_sinkhorn(epsilon) };
                check_gradient(&Assignment::Sinkhorn(method), &problem, 1.0, 0.0, 1e-5);
            }
        }
    }
}

#[test]
fn costs_of_zero_and_of_a_million_side_by_side_have_the_value_that_can_be_seen() {
    // Two nodes that fit one target each, or none at all.
    let cost = Banded::from_fn(&Band::dense(2, 2), |i, j| if i == j { 0.0 } else { 1e6 });
    for epsilon in EPSILONS {
        for (unmatched, mass) in [(1e6, 1.0), (1.0, 1.0)] {
            let problem = Problem::new(
                cost.clone(),
                Kept::filled(2, unmatched),
                Kept::filled(2, unmatched),
                Kept::filled(2, mass),
            )
            .unwrap();
            let found = Sinkhorn { epsilon, max_iterations: 10_000, ..Sinkhorn::default() }.align(&problem);
            assert_eq!(found.status, Status::Converged, "epsilon {epsilon}, {unmatched}");
            let matched: f64 = (0..2).map(|i| found.plan.get(i, i).unwrap()).sum();
            let off: f64 = found.plan.get(0, 1).unwrap() + found.plan.get(1, 0).unwrap();
            // Matching costs nothing, not matching costs 2 a pair: a share of about exp(-1 / epsilon) stays apart.
            let apart = if unmatched > 1.0 { 1e-9 } else { (1.5 * (-1.0 / epsilon).exp()).max(1e-6) };
            assert!((2.0 - matched).abs() <= 2.0 * apart && off < 1e-12, "epsilon {epsilon}, {unmatched}: {matched}");
        }
        let hopeless = Banded::filled(&Band::dense(2, 2), 1e6);
        let problem = Problem::new(hopeless, Kept::filled(2, 1.0), Kept::filled(2, 1.0), Kept::filled(2, 1.0)).unwrap();
        let found: Alignment<f64> = Sinkhorn { epsilon, max_iterations: 10_000, ..Sinkhorn::default() }.align(&problem);
        assert!(found.status == Status::Converged && (found.value - 4.0).abs() < 1e-6, "{epsilon}: {}", found.value);
    }
}

#[test]
fn iterations_that_run_out_are_a_status_with_a_residual() {
    let problem = random_problem(4, &Band::dense(8, 6));
    let hasty = Sinkhorn { epsilon: 0.001, anneal_from: 0.0, max_iterations: 2, ..Sinkhorn::default() };
    let found = hasty.align(&problem);
    assert_eq!(found.status, Status::NotConverged);
    assert!(found.residual > hasty.tolerance && found.value.is_finite());
    assert!(found.plan.values().iter().all(|p| p.is_finite()));
}

/// Every number of an answer and of a gradient.
fn numbers(alignment: &Alignment<f64>, gradient: &ProblemGradient<f64>) -> Vec<f64> {
    let answers = [alignment.plan.values(), &alignment.deleted, &alignment.inserted];
    let parts = [gradient.cost.values(), &gradient.deletion, &gradient.insertion, &gradient.mass];
    let single = [alignment.value, alignment.residual];
    answers.into_iter().chain(parts).flatten().copied().chain(single).collect()
}

/// Problems of many sizes beside each other, among them some that go by themselves: too large, without mass, at an epsilon at which
/// potentials go far, without an answer, and none at all.
#[test]
fn problems_in_lockstep_have_the_answers_that_they_have_alone_whoever_stands_beside_them() {
    let (mut in_lockstep, mut gone_far) = (0, 0);
    let weights =
        |problem: &Problem<f64>| Banded::from_fn(problem.cost().band(), |i, j| ((3 * i + 5 * j) % 7) as f64 - 3.0);
    for (seed, epsilon) in (0..).zip([1.0, 0.5, 0.1, 0.02]) {
        for (anneal_from, max_iterations, tolerance, value) in [
            (0.0, 20, 0.0, Value::TransportCost),
            (0.0, 400, 1e-9, Value::Regularised),
            (3.0, 400, 1e-9, Value::TransportCost),
            (3.0, 2, 1e-9, Value::Regularised),
        ] {
            let differentiation = Differentiation::Unrolled;
            let method = Sinkhorn {
                epsilon,
                anneal_from,
                max_iterations,
                tolerance,
                value,
                differentiation,
                ..Sinkhorn::default()
            };
            let mut problems: Vec<_> = (0..TOGETHER as u64 - 1).map(|k| uneven_problem(100 * seed + k)).collect();
            problems.push(match seed {
                0 => random_problem(1, &Band::dense(40, 30)),
                1 => random_problem(2, &Band::window(12, 9, 2)),
                2 => Problem { mass: Kept::zeros(3), ..random_problem(3, &Band::dense(3, 3)) },
                _ => Problem { mass: Kept::filled(3, f64::NAN), ..random_problem(4, &Band::dense(3, 3)) },
            });
            problems[2].cost.values_mut().iter_mut().step_by(3).for_each(|c| *c = f64::INFINITY);
            for count in [1, 3, TOGETHER] {
                // Places are left free before and between.
                let some: Together<&Problem<f64>> =
                    std::array::from_fn(|k| problems.get(k).filter(|_| k >= TOGETHER - count && (count < 8 || k != 1)));
                let answers = method.align_together(some);
                let plans = some.map(|problem| problem.map(weights));
                let asked = std::array::from_fn(|k| {
                    Some((some[k]?, answers[k].as_ref()?, Upstream { value: 0.5, plan: plans[k].as_ref() }))
                });
                let gradients = method.vjp_together(asked);
                for k in 0..TOGETHER {
                    let Some(problem) = some[k] else {
                        assert!(answers[k].is_none() && gradients[k].is_none());
                        continue;
                    };
                    let (answer, gradient) = (answers[k].as_ref().unwrap(), gradients[k].as_ref().unwrap());
                    let upstream = Upstream { value: 0.5, plan: plans[k].as_ref() };
                    let only = method.align(problem);
                    let found = numbers(answer, gradient);
                    let same = numbers(&only, &method.vjp(problem, &only, upstream));
                    assert!(found.iter().zip(&same).all(|(a, b)| a.to_bits() == b.to_bits()), "problem {k} of {count}");
                    assert_eq!(answer.iterations, only.iterations);
                    if !answer.status.is_usable() {
                        continue;
                    }
                    let by_itself = method.align_alone(problem);
                    let expected = numbers(&by_itself, &method.vjp_alone(problem, &by_itself, upstream));
                    let stands = answer.potentials.as_ref().is_some_and(|potentials| potentials.is_of_lockstep);
                    (in_lockstep, gone_far) = (in_lockstep + usize::from(stands), gone_far + usize::from(!stands));
                    for (a, b) in found.iter().zip(&expected) {
                        let near = (a - b).abs() <= 1e-8 * b.abs().max(1.0);
                        assert!(near, "epsilon {epsilon}, {method:?}, problem {k} of {count}: {a}, alone {b}");
                    }
                }
            }
        }
    }
    assert!(in_lockstep > 80 && gone_far > 20, "{in_lockstep} in lockstep, {gone_far} by themselves");
}
