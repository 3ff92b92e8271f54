//! Rays over losses: what they conserve, where they end, and how they compare with gradient descent.

use grapheme_optics::zspace::{LossRay, RayError, RaySettings, ZSpace, descend, trace};
use ndarray::{Array1, array};

/// A narrow valley, its curvatures 1 and 200.
fn valley(z: &[f64]) -> (f64, Vec<f64>) {
    (0.5 * z[0] * z[0] + 100.0 * z[1] * z[1], vec![z[0], 200.0 * z[1]])
}

/// Rosenbrock's function (1960).
fn banana(z: &[f64]) -> (f64, Vec<f64>) {
    let (a, b) = (1.0 - z[0], z[1] - z[0] * z[0]);
    (a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * z[0] * b, 200.0 * b])
}

/// Two wells, the deeper one behind a ridge of height 1 over the other.
fn wells(z: &[f64]) -> (f64, Vec<f64>) {
    let x = z[0];
    ((x * x - 1.0).powi(2) + 0.3 * x, vec![4.0 * x * (x * x - 1.0) + 0.3])
}

type Landscape = fn(&[f64]) -> (f64, Vec<f64>);

#[test]
fn without_damping_the_length_of_the_momentum_is_the_index() {
    let settings = RaySettings { step: 1e-3, damping: 0.0, surplus: 0.7 };
    for (f, start) in [(valley as Landscape, vec![1.0, 0.3]), (banana, vec![-1.2, 1.0])] {
        let path = trace(settings, &start, 3000, f).unwrap();
        let energy = path[0].energy;
        for LossRay { p, loss, .. } in &path {
            let index = 2.0 * (energy - loss);
            let length: f64 = p.iter().map(|p| p * p).sum();
            assert!((length - index).abs() < 2e-3 * energy, "{length} {index}");
        }
    }
}

#[test]
fn damped_rays_come_to_rest_in_a_minimum() {
    let settings = RaySettings { step: 0.05, damping: 1.0, surplus: 0.1 };
    let path = trace(settings, &[1.0, 0.3], 800, valley).unwrap();
    let last = &path[path.len() - 1];
    assert!(last.loss < 1e-9 && last.p.iter().all(|p| p.abs() < 1e-4), "{last:?}");
    assert!(last.energy < path[0].energy);
}

/// Both methods get the same evaluations, and the best of the same number of settings.
#[test]
fn compared_with_gradient_descent() {
    let rates = [3e-4, 1e-3, 3e-3, 9e-3];
    let rays = [0.03, 0.06].map(|step| [1.0, 3.0].map(|damping| RaySettings { step, damping, surplus: 0.1 }));
    for (name, f, start) in [("valley", valley as Landscape, vec![1.0, 0.3]), ("banana", banana, vec![-1.2, 1.0])] {
        let best = |losses: Vec<f64>| losses.into_iter().filter(|loss| loss.is_finite()).fold(f64::INFINITY, f64::min);
        let descent = best(rates.iter().map(|&rate| *descend(rate, &start, 300, f).last().unwrap()).collect());
        let light =
            rays.iter().flatten().map(|&settings| trace(settings, &start, 300, f).unwrap().last().unwrap().loss);
        let light = best(light.collect());
        println!("{name}: gradient descent {descent:.2e}, rays {light:.2e}");
        assert!(light < descent, "{name}: gradient descent {descent:.2e}, rays {light:.2e}");
    }
    // With enough energy light crosses a ridge that descent cannot; with too little it does not either.
    let over = |surplus| trace(RaySettings { step: 0.02, damping: 0.3, surplus }, &[1.3], 2000, wells).unwrap();
    let last = |path: Vec<LossRay>| path[path.len() - 1].z[0];
    assert!(last(over(2.0)) < -0.9);
    assert!(last(over(0.01)) > 0.9);
    assert!(*descend(0.01, &[1.3], 2000, wells).last().unwrap() > 0.2);
}

#[test]
fn what_is_dark_is_told() {
    let settings = RaySettings { step: 0.1, damping: 0.0, surplus: -0.1 };
    assert!(matches!(trace(settings, &[1.0, 0.3], 5, valley), Err(RayError::Dark { .. })));
    let settings = RaySettings { step: 0.0, damping: 0.0, surplus: 1.0 };
    assert!(matches!(trace(settings, &[1.0, 0.3], 5, valley), Err(RayError::Setting { name: "step", .. })));
}

#[test]
fn a_subspace_of_a_path_contains_it() {
    let path: Vec<Vec<Array1<f64>>> = vec![
        vec![array![1.0, 0.0], array![3.0]],
        vec![array![0.5, 1.0], array![1.0]],
        vec![array![0.0, 2.0], array![-1.0]],
        vec![array![0.0, 0.0], array![0.0]],
    ];
    let space = ZSpace::of_path(&path, 2).unwrap();
    assert_eq!(space.rank(), 2, "the first state lies in the plane of the two after it");
    // Every state is reached by its own coordinates.
    for state in &path {
        let z = space.slope(state);
        let found = space.at(&z);
        assert!(state.iter().zip(&found).all(|(a, b)| (a - b).iter().all(|d| d.abs() < 1e-12)), "{state:?} {found:?}");
    }
}
