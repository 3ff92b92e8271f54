//! Whether two sets of features say the same.

use ndarray::{Array2, Axis};

/// Linear centred kernel alignment (Kornblith et al., 2019) of features over the same samples, n x d and n x e, in 0 to 1:
/// `|Y^T X|^2 / (|X^T X| |Y^T Y|)` of the centred matrices. Blind to rotation and to one common scale. 0 where one of them is constant.
///
/// # Panics
/// Different numbers of rows.
pub fn centred_kernel_alignment(x: &Array2<f64>, y: &Array2<f64>) -> f64 {
    assert_eq!(x.nrows(), y.nrows(), "features of the same samples");
    let centre = |x: &Array2<f64>| match x.mean_axis(Axis(0)) {
        Some(mean) => x - &mean,
        None => x.clone(),
    };
    let (x, y) = (centre(x), centre(y));
    let energy = |a: &Array2<f64>, b: &Array2<f64>| a.t().dot(b).mapv(|v| v * v).sum();
    let norm = (energy(&x, &x) * energy(&y, &y)).sqrt();
    if norm > 0.0 { energy(&y, &x) / norm } else { 0.0 }
}

/// The share of samples whose nearest neighbours, the `k` nearest in each set, are the same: mutual nearest neighbours (Huh et al.,
/// 2024). 1 for equal geometry, about `k / (n - 1)` by chance.
///
/// # Panics
/// Different numbers of rows.
pub fn mutual_neighbours(x: &Array2<f64>, y: &Array2<f64>, k: usize) -> f64 {
    assert_eq!(x.nrows(), y.nrows(), "features of the same samples");
    let n = x.nrows();
    let nearest = |x: &Array2<f64>, i: usize| {
        let distance = |j: usize| (&x.row(i) - &x.row(j)).mapv(|d| d * d).sum();
        let mut others: Vec<(f64, usize)> = (0..n).filter(|&j| j != i).map(|j| (distance(j), j)).collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        others.into_iter().take(k).map(|(_, j)| j).collect::<Vec<_>>()
    };
    let shared: usize = (0..n)
        .map(|i| {
            let other = nearest(y, i);
            nearest(x, i).iter().filter(|j| other.contains(j)).count()
        })
        .sum();
    shared as f64 / (n * k.min(n.saturating_sub(1))).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use grapheme_core::Stream;
    use ndarray::array;
    use rand::RngExt;

    #[test]
    fn a_rotation_changes_nothing_and_noise_everything() {
        let mut stream = Stream::new(1);
        let mut random = || Array2::from_shape_simple_fn((200, 2), || stream.random::<f64>() - 0.5);
        let (x, other) = (random(), random());
        let turned = 3.0 * x.dot(&array![[0.8, 0.6], [-0.6, 0.8]]) + 1.0;
        assert!((centred_kernel_alignment(&x, &turned) - 1.0).abs() < 1e-12);
        assert_eq!(mutual_neighbours(&x, &turned, 5), 1.0);
        assert!(centred_kernel_alignment(&x, &other) < 0.1);
        assert!(mutual_neighbours(&x, &other, 5) < 0.1);
        assert_eq!(centred_kernel_alignment(&x, &Array2::ones((200, 1))), 0.0);
    }
}
