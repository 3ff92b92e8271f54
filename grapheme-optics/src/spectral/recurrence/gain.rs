//! An oscillation that is seen through a gain that changes from frame to frame.

use super::super::History;
use ndarray::ArrayViewMut1;

/// `x[t] = (f[t] - a[t]) / b[t]`, where `f[t + 1] = c f[t] - f[t - 1] + constant` in every pixel.
///
/// So it is when a field of one frequency, `c = 2 cos(w)`, is stretched to the same range in each of its frames. Neither a nor b is seen,
/// but least squares of each frame over the two before it, `x[t + 1] = p x[t] + q x[t - 1] + constant`, have `p = c b[t] / b[t + 1]` and
/// `q = -b[t - 1] / b[t + 1]`. So `c^2 = -p[t] p[t - 1] / q[t]`, of which the median over the history is taken, and
///
/// `b[t + 1] x[t + 1] / b[t - 1] = (c^2 / p[t - 1]) x[t] - x[t - 1] + constant`,
///
/// which is stretched to the range of the newest frame. Where p is negative the field has turned over, b with it, and stays so. A jump of
/// the phase by pi is one frame that is wrong. From inner products alone, so a fit costs O(T) and a frame O(P).
#[derive(Clone, Copy, Debug)]
pub struct GainRule {
    /// `c^2`.
    squared: f64,
    /// Least and largest value.
    range: [f64; 2],
}

/// Two frames that differ by their gain alone say nothing of the third: this part of their products must be left.
const DISTINCT: f64 = 1e-9;

impl GainRule {
    /// The rule for a history of at least four frames, if it oscillates.
    pub fn new(history: &History) -> Option<Self> {
        let factors: Vec<[f64; 2]> =
            (0..history.len().saturating_sub(2)).map_while(|age| factors(history, age)).collect();
        let mut squared: Vec<f64> = factors.windows(2).map(|pair| -pair[0][0] * pair[1][0] / pair[0][1]).collect();
        squared.sort_by(f64::total_cmp);
        let squared = *squared.get(squared.len() / 2)?;
        let range = history
            .values(0)
            .iter()
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &x| [low.min(x), high.max(x)]);
        (squared.is_finite() && squared > 0.0).then_some(Self { squared, range })
    }

    /// As [`super::Rule::next`].
    pub fn next(&self, history: &History, mut out: ArrayViewMut1<'_, f64>) {
        out.assign(&history.frame(0));
        let Some([p, _]) = factors(history, 0).filter(|[p, _]| *p != 0.0) else { return };
        out *= (self.squared / p) * p.signum();
        out.scaled_add(-p.signum(), &history.frame(1));
        let [mut low, mut high] = [f64::INFINITY, f64::NEG_INFINITY];
        out.iter().for_each(|&x| (low, high) = (low.min(x), high.max(x)));
        let [least, largest] = self.range;
        let gain = (largest - least) / (high - low).max(f64::MIN_POSITIVE);
        out.mapv_inplace(|x| least + gain * (x - low));
    }
}

/// p and q of the frame of the given age.
fn factors(history: &History, age: usize) -> Option<[f64; 2]> {
    let pixels = history.pixels() as f64;
    let covariance = |i: usize, j: usize| {
        let (i, j) = (age + i, age + j);
        history.product(i, j) - history.sum(i) * history.sum(j) / pixels
    };
    let [one, two, both] = [covariance(1, 1), covariance(2, 2), covariance(1, 2)];
    let determinant = one * two - both * both;
    let [right, other] = [covariance(0, 1), covariance(0, 2)];
    (determinant > DISTINCT * one * two)
        .then(|| [(right * two - other * both) / determinant, (other * one - right * both) / determinant])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2};

    fn history(frames: usize, jump: usize) -> History {
        let mut history = History::new([3, 5], 40).unwrap();
        for t in 0..frames {
            let turned = if t >= jump { std::f64::consts::PI } else { 0.0 };
            let angle = 0.2 * t as f64 + turned;
            let field = Array2::from_shape_fn((3, 5), |(i, j)| {
                (1.0 + i as f64) * (angle + 0.9 * j as f64).sin() / (2.0 + (i * j) as f64)
            });
            let low = field.iter().copied().fold(f64::INFINITY, f64::min);
            let high = field.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            history.push(&field.mapv(|x| (x - low) / (high - low))).unwrap();
        }
        history
    }

    #[test]
    fn what_is_stretched_frame_by_frame_is_continued_as_if_it_were_not() {
        for (frames, jump) in [(5, usize::MAX), (16, usize::MAX), (16, 15), (16, 12)] {
            let mut seen = history(frames, jump);
            let rule = GainRule::new(&seen).unwrap();
            assert!((rule.squared.sqrt() - 2.0 * 0.2_f64.cos()).abs() < 1e-9, "{rule:?}");
            for t in frames..frames + 20 {
                let mut next = Array1::zeros(15);
                rule.next(&seen, next.view_mut());
                let truth = history(t + 1, jump);
                assert!(
                    (&next - &truth.frame(0)).iter().all(|gap| gap.abs() < 1e-8),
                    "frame {t} after a jump at {jump}"
                );
                seen.push_values(next.view());
            }
        }
        // A rule without a gain does not do it, and one field whatever its gain says nothing.
        let seen = history(16, usize::MAX);
        let mut next = Array1::zeros(15);
        super::super::LagRule::from_history(2, 0.0, None, &seen).unwrap().next(&seen, next.view_mut());
        assert!((&next - &history(17, usize::MAX).frame(0)).iter().any(|gap| gap.abs() > 1e-3));
        let mut still = History::new([1, 2], 9).unwrap();
        (0..9).for_each(|t| still.push(&ndarray::array![[f64::from(t % 2), f64::from(1 - t % 2)]]).unwrap());
        assert!(GainRule::new(&still).is_none());
    }
}
