//! What this machine can do at best, on one core: the floor that a kernel stands on.

use crate::clock::repeat;
use crate::inputs::matrix;
use crate::kernels::Work;
use grapheme_core::product::write_product;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::hint::black_box;

/// Measured rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name, if the system tells it.
    pub processor: String,
    /// Bytes a second that one core reads and writes, in arrays that no cache holds.
    pub bandwidth: f64,
    /// Additions and multiplications a second of a product of two 512 x 512 matrices.
    pub products: f64,
}

impl Machine {
    /// Measures for about two seconds. The best of several rounds: a floor has no noise.
    pub fn measure() -> Self {
        Self { processor: processor(), bandwidth: bandwidth(), products: products() }
    }

    /// The least time that some work can take here: that of its bytes or that of its operations, whichever is longer.
    pub fn floor(&self, work: Work) -> f64 {
        (work.bytes / self.bandwidth).max(work.operations / self.products)
    }
}

fn best(rounds: usize, mut seconds: impl FnMut() -> f64) -> f64 {
    (0..rounds).map(|_| seconds()).fold(f64::INFINITY, f64::min)
}

/// `a = b + s c` over three arrays (the triad of McCalpin's STREAM, 1995).
fn bandwidth() -> f64 {
    const LENGTH: usize = 16_000_000;
    let (mut a, b, c) = (vec![0.0f32; LENGTH], vec![1.0f32; LENGTH], vec![2.0f32; LENGTH]);
    let seconds = best(8, || {
        let pass = || {
            let scale = black_box(0.5);
            a.iter_mut().zip(&b).zip(&c).for_each(|((a, b), c)| *a = b + scale * c);
            black_box(a[LENGTH / 2])
        };
        repeat(1, pass).as_secs_f64()
    });
    3.0 * size_of::<f32>() as f64 * LENGTH as f64 / seconds
}

fn products() -> f64 {
    const SIZE: usize = 512;
    let (a, b, mut c) = (matrix::<f32>(SIZE, SIZE, 1), matrix::<f32>(SIZE, SIZE, 2), Array2::zeros((SIZE, SIZE)));
    let seconds = best(30, || {
        let product = || write_product(c.view_mut(), black_box(a.view()), b.view());
        repeat(4, product).as_secs_f64() / 4.0
    });
    2.0 * (SIZE as f64).powi(3) / seconds
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |name| name.trim().to_owned())
}
