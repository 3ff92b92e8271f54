//! What a predictor of wave fields holds: O(history x pixels).

use grapheme_optics::spectral::{Pattern, Predictor, PredictorSettings, Variation};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes that a predictor holds whose history of so many frames of n x n cells is full, and those that predicting the next one takes
/// besides at its height.
fn bytes(n: usize, history: usize) -> [f64; 2] {
    let mut settings = PredictorSettings::default();
    settings.forecast.history = history;
    let frames = Pattern::Bifurcation.frames(0, history + 3, n, &Variation::default()).unwrap();
    let before = ALLOCATOR.current_usage();
    let mut predictor = Predictor::<f32>::new([n, n], settings, 1).unwrap();
    for frame in &frames {
        predictor.observe(frame).unwrap();
        // Trusted, so that every frame is read.
        predictor.set_agreement([20.0, 20.0, 1.0]);
        predictor.predict();
    }
    let held = ALLOCATOR.current_usage() - before;
    ALLOCATOR.reset_peak_usage();
    predictor.predict();
    [held as f64, (ALLOCATOR.peak_usage() - before - held) as f64]
}

/// One test in this file: another thread would be counted too. The figures are those of docs/spectral.md, with `MEMORY=all` in the
/// environment those of the large grids too.
#[test]
fn memory_grows_with_the_history_and_with_the_number_of_pixels() {
    let sizes: &[usize] = if std::env::var("MEMORY").is_ok() { &[32, 64, 128, 256] } else { &[16, 32] };
    // The product kernel takes its buffers once a thread.
    bytes(sizes[0], 16);
    for &n in sizes {
        let pixels = (n * n) as f64;
        let all = [16, 64, 128].map(|history| bytes(n, history));
        for (history, [held, more]) in [16, 64, 128].into_iter().zip(all) {
            println!(
                "{n} x {n} cells, history {history}: {:.2} MB held, {:.2} MB to predict",
                held * 1e-6,
                more * 1e-6
            );
        }
        let [short, middle, long] = all.map(|[held, _]| held);
        // A frame more costs the same for each pixel, however long the history is: its value, 7 features, 4 numbers of what followed,
        // and the 8 numbers that wormholes read of them, beside a row of the inner products.
        let [first, second] = [(middle - short) / 48.0, (long - middle) / 64.0];
        for (frame, products) in [(first, 8.0 * 80.0), (second, 8.0 * 192.0)] {
            let expected = pixels * (8.0 + 4.0 * 7.0 + 4.0 * 4.0 + 4.0 * 8.0) + products;
            assert!((frame / expected - 1.0).abs() < 0.1, "{n}: {frame:.0} bytes a frame, {expected:.0} expected");
        }
        // What does not depend on the history: what rules expect, what attention reads, and the buckets.
        assert!(short < pixels * (16.0 * 84.0 + 2500.0) + 1e6, "{n}: {short:.0}");
        // Predicting takes as much whatever the length of the history.
        assert!((all[2][1] / all[1][1] - 1.0).abs() < 0.05, "{n}: {all:?}");
    }
}
