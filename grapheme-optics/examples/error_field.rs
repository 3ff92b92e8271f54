//! The instruments over an error map, each on an error whose law is known: waves behind two slits that are predicted a step too late, a
//! pulse that spreads, and a future that forks.

use grapheme_optics::field::fringes::{Intensity, coherence, nodal_cells, order, peaks};
use grapheme_optics::field::fronts::{isoline, length, obliqueness, speed};
use grapheme_optics::field::gradient::Work;
use grapheme_optics::field::hedging::Fork;
use grapheme_optics::spectral::wave::{DoubleSlit, WaveField};
use ndarray::Array2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    fringes()?;
    front()?;
    fork();
    Ok(())
}

/// The error of a prediction that is a step late is bright where the paths from the slits differ by whole waves, as the wave is.
fn fringes() -> Result<(), Box<dyn std::error::Error>> {
    let scene = DoubleSlit { shape: [257, 200], wavelength: 12.0, distance: 48, opening: 5, barrier: 40, margin: 30 };
    let mut waves = scene.field()?;
    (0..800).for_each(|_| waves.step());
    let (mut light, mut error) = (Intensity::new(scene.shape), Intensity::new(scene.shape));
    // Two periods of 24 steps.
    for _ in 0..48 {
        let late = waves.field().clone();
        waves.step();
        light.observe(waves.field());
        error.observe(&(waves.field() - late));
    }
    let (light, error) = (light.mean(), error.mean());
    let screen = 160;
    let openings = scene.openings().map(|row| [row, scene.barrier as f64]);
    let inside = |&(row, _): &(f64, f64)| (50.0..207.0).contains(&row);
    println!("Fringes of the error, at their row; waves by which the paths differ:");
    for (row, _) in peaks(&error.column(screen).to_vec()).into_iter().filter(inside) {
        let waves = order([row, screen as f64], openings, scene.wavelength);
        println!("{row:9.1} {waves:6.2}");
        assert!((waves - waves.round()).abs() < 0.05, "{waves}");
    }
    let dark = nodal_cells(&error, 18, 0.2);
    let dark = (50..207).filter(|&row| dark[(row, screen)]).count();
    let alike = coherence(&error, &light);
    println!("dark: {dark} of 157 cells; coherence with the light {alike:.3}");
    assert!(dark > 0 && alike > 0.95);
    Ok(())
}

/// Where a pulse has been. Its front moves at the speed of the waves, and the gradient meets it at right angles.
fn front() -> Result<(), Box<dyn std::error::Error>> {
    let courant = 0.5;
    let mut waves = WaveField::new([161, 161], courant, 0)?.with_pulse([80.0, 80.0], 4.0, 1.0);
    let mut reached = Array2::zeros((161, 161));
    let mut step = |reached: &mut Array2<f64>| {
        waves.step();
        reached.zip_mut_with(waves.field(), |most, u: &f64| *most = most.max(u.abs()));
    };
    (0..80).for_each(|_| step(&mut reached));
    let before = reached.clone();
    step(&mut reached);
    let level = 0.02;
    let line = isoline(&reached, level);
    let (moved, oblique) = (speed(&before, &reached, level), obliqueness(&reached, &line));
    println!(
        "Front: {:.0} cells long, {moved:.2} cells a step, mean cosine to the gradient {oblique:.4}",
        length(&line)
    );
    assert!((moved / courant - 1.0).abs() < 0.1 && oblique < 0.02);
    Ok(())
}

/// The mean of what may come has the least expected error, and is no frame that ever comes.
fn fork() {
    let spot = |row: f64| {
        Array2::from_shape_fn((20, 20), |(i, j)| (-((i as f64 - row).powi(2) + (j as f64 - 10.0).powi(2)) / 4.0).exp())
    };
    let fork = Fork { branches: vec![spot(5.0), spot(14.0)], probabilities: vec![0.7, 0.3] };
    let mean = fork.mean();
    println!("Fork: expected error, sharpness, correlation of error and probability, nearest branch");
    for (name, frame) in [("mean", &mean), ("likelier branch", &fork.branches[0])] {
        let (error, sharp) = (fork.expected_error(frame).sum(), fork.sharpness(frame));
        let (follows, nearest) = (fork.error_follows_probability(frame), fork.nearest(frame));
        println!("{name:>18} {error:6.2} {sharp:6.2} {follows:6.2} {nearest:6}");
        assert!(fork.expected_error(&mean).sum() <= error && nearest == 0);
    }
    // Down the gradient of the expected error, 2 (frame - mean): a step does the work that its length times the squared gradient says.
    let (frame, rate) = (&fork.branches[0], 0.01);
    let gradient = (frame - &mean) * 2.0;
    let loss = |frame: &Array2<f64>| fork.expected_error(frame).sum();
    let work = Work::of_step(loss(frame), loss(&(frame - &gradient * rate)), rate, gradient.mapv(|g| g * g).sum());
    println!("work of a step towards the mean {:.3} of the expected", work.ratio());
    assert!((work.ratio() - (1.0 - rate)).abs() < 1e-9);
}
