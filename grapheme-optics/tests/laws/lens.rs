//! Lenses with closed forms, the adjoint, and a design that finds one of them.

use grapheme_core::check::NumericGradient;
use grapheme_optics::lens::design::{Task, design, miss};
use grapheme_optics::lens::{Field, FishEye, Lens, ShootError, shoot};

#[test]
fn luneburgs_lens_focuses_a_parallel_beam_on_its_rim() {
    for i in -9..=9 {
        let height = f64::from(i) / 10.0;
        let start = [-(1.0 - height * height).sqrt(), height];
        let path = shoot(&Lens::luneburg(), start, [1.0, 0.0], 0.01).unwrap();
        let ([x, y], p) = path.end();
        assert!((x - 1.0).abs() < 1e-4 && y.abs() < 1e-4, "height {height}: leaves at ({x}, {y})");
        assert!((x * x + y * y - 1.0).abs() < 1e-12, "the end is on the rim");
        // |p| = n is conserved, and n is 1 on the rim.
        assert!((p[0] * p[0] + p[1] * p[1] - 1.0).abs() < 1e-7);
        // Within, rays are ellipses: x(s) = x0 cos s + p0 sin s.
        for (k, (found, _)) in path.states[..path.states.len() - 1].iter().enumerate() {
            let s = 0.01 * k as f64;
            assert!((found[0] - (start[0] * s.cos() + s.sin())).abs() < 1e-7);
            assert!((found[1] - start[1] * s.cos()).abs() < 1e-7);
        }
    }
    assert!(miss(&Lens::luneburg(), &Task::default()).unwrap().0 < 1e-8);
    assert!(miss(&Lens { coefficients: vec![1.8, -0.8] }, &Task::default()).unwrap().0 > 1e-3);
}

#[test]
fn the_fish_eye_images_a_rim_point_to_its_antipode() {
    for i in 0..12 {
        let angle = -1.3 + 0.2 * f64::from(i);
        let path = shoot(&FishEye, [-1.0, 0.0], [angle.cos(), angle.sin()], 0.005).unwrap();
        let ([x, y], _) = path.end();
        assert!((x - 1.0).abs() < 1e-4 && y.abs() < 1e-4, "angle {angle}: leaves at ({x}, {y})");
    }
}

/// What a field says of a point: its square index and its force.
type Seen<'a> = dyn Fn([f64; 2]) -> (f64, [f64; 2]) + 'a;

#[test]
fn forces_and_bends_are_derivatives() {
    let lens = Lens { coefficients: vec![1.9, -0.7, 0.3, -0.5] };
    let fields: [&Seen<'_>; 2] = [&|x| (lens.square(x), lens.force(x)), &|x| (FishEye.square(x), FishEye.force(x))];
    for field in fields {
        let x = [0.3, -0.6];
        let numeric = NumericGradient::of_slice("x", &x, |x| 0.5 * field([x[0], x[1]]).0);
        let force = field(x).1;
        assert!(numeric.compare(1e-7, |_| &force).passed());
    }
    let (x, v) = ([0.3, -0.6], [0.7, 0.2]);
    for (name, bend, force) in [
        ("lens", lens.bend(x, v), (&|x| lens.force(x)) as &dyn Fn([f64; 2]) -> [f64; 2]),
        ("fish-eye", FishEye.bend(x, v), &|x| FishEye.force(x)),
    ] {
        let numeric = NumericGradient::of_slice(name, &x, |x| {
            let force = force([x[0], x[1]]);
            force[0] * v[0] + force[1] * v[1]
        });
        assert!(numeric.compare(1e-7, |_| &bend).passed(), "{name}");
    }
}

#[test]
fn the_adjoint_matches_finite_differences() {
    let lens = Lens { coefficients: vec![1.9, -0.7, 0.3, -0.5] };
    let task = Task { rays: 5, step: 0.02, ..Task::default() };
    let (_, grad) = miss(&lens, &task).unwrap();
    let numeric = NumericGradient::of_slice("coefficients", &lens.coefficients, |c| {
        miss(&Lens { coefficients: c.to_vec() }, &task).unwrap().0
    });
    let report = numeric.compare(1e-6, |_| &grad);
    assert!(report.passed(), "{report}");
    let wrong: Vec<f64> = grad.iter().map(|d| 1.01 * d).collect();
    assert!(!numeric.compare(1e-6, |_| &wrong).passed(), "a gradient that is 1% off must fail");
    // The start of a ray: its place within the lens. The momentum has the length n, so it moves with the place.
    let (start, towards) = ([-0.5, 0.4], [0.8, -0.6]);
    let path = shoot(&lens, start, towards, 0.02).unwrap();
    let (dx, dp) = ([0.3, -1.2], [0.5, 0.8]);
    let adjoint = path.pull_back(&lens, dx, dp);
    let n = lens.square(start).sqrt();
    let stretch = (adjoint.dp[0] * towards[0] + adjoint.dp[1] * towards[1]) / n;
    let force = lens.force(start);
    let expected = [adjoint.dx[0] + stretch * force[0], adjoint.dx[1] + stretch * force[1]];
    let numeric = NumericGradient::of_slice("start", &start, |x| {
        let (x, p) = shoot(&lens, [x[0], x[1]], towards, 0.02).unwrap().end();
        dx[0] * x[0] + dx[1] * x[1] + dp[0] * p[0] + dp[1] * p[1]
    });
    let report = numeric.compare(1e-6, |_| &expected);
    assert!(report.passed(), "{report}");
}

#[test]
fn a_design_finds_a_lens_that_focuses() {
    let flat = Lens { coefficients: vec![1.2, -0.1, -0.1] };
    let task = Task::default();
    let drafts = design(flat, &task, 400, 0.5).unwrap();
    let (first, last) = (&drafts[0], &drafts[drafts.len() - 1]);
    assert!(last.miss < 1e-4 * first.miss, "from {:e} to {:e}: {:?}", first.miss, last.miss, last.lens);
    assert!((last.lens.coefficients.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(drafts.windows(2).all(|pair| pair[1].miss < pair[0].miss));
}

#[test]
fn what_cannot_be_followed_is_told() {
    let dark = Lens { coefficients: vec![-1.0, 0.5] };
    assert!(matches!(shoot(&dark, [0.0, 0.0], [1.0, 0.0], 0.1), Err(ShootError::NoIndex { .. })));
    // A ray at right angles to the radius in n^2 = 1 / r^2-like steepness circles for ever.
    let pit = Lens { coefficients: vec![9.0, -9.0] };
    assert!(matches!(shoot(&pit, [0.3, 0.0], [0.0, 1.0], 0.05), Err(ShootError::Caught { .. })));
}
