//! The gradient checker: analytic derivatives against finite differences, parameter by parameter.
//!
//! Problem, method and answer are apart: [`NumericGradient`] holds what finite differences say of a loss, measured once;
//! [`NumericGradient::compare`] holds any analytic gradient against it. So planting a fault in a gradient, to see that it
//! is caught, costs no further evaluation.
//!
//! The method is Ridders' (1982): central differences at shrinking steps, extrapolated to step zero, with an estimate of
//! its own error. Where a derivative disagrees, a scan over step sizes tells rounding, a kink and a wrong derivative apart.

use crate::param::{self, ParamTree};
use std::fmt;

/// One derivative as finite differences see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Derivative {
    /// The extrapolated value.
    pub value: f64,
    /// The method's estimate of its own error.
    pub error: f64,
    /// How far the derivatives from the right and from the left stay apart as the step shrinks; near 0 for a smooth loss.
    pub jump: f64,
}

/// Differentiates `f` at 0, where its value is `at_zero`, with a first step of `step`. At most 36 evaluations, usually 6.
pub fn differentiate(mut f: impl FnMut(f64) -> f64, at_zero: f64, step: f64) -> Derivative {
    /// Shrinks the first step below a kink that lies beside the point, and leaves enough digits to see the derivative.
    const CLOSER: f64 = 128.0;
    let far = extrapolate(&mut f, at_zero, step);
    if far.error <= 1e-8 * far.value.abs().max(1e-3 * at_zero.abs()) {
        return far;
    }
    let near = extrapolate(&mut f, at_zero, step / CLOSER);
    let jump = far.jump.max(near.jump);
    Derivative { jump, ..if near.error < far.error { near } else { far } }
}

/// Ridders' extrapolation to step zero.
fn extrapolate(mut f: impl FnMut(f64) -> f64, at_zero: f64, step: f64) -> Derivative {
    const ROWS: usize = 7;
    const SHRINK: f64 = 2.0;
    let mut table = [[0.0; ROWS]; ROWS];
    let mut best = Derivative { value: f64::NAN, error: f64::INFINITY, jump: 0.0 };
    let mut h = step;
    let (mut gap, mut is_suspect) = (f64::INFINITY, false);
    for i in 0..ROWS {
        let (right, left) = (f(h), f(-h));
        table[i][0] = (right - left) / (2.0 * h);
        // The one-sided derivatives of a smooth function close up with the step.
        let previous = std::mem::replace(&mut gap, (right + left - 2.0 * at_zero).abs() / h);
        is_suspect = gap > 0.75 * previous && gap > 1e-9;
        let mut factor = SHRINK * SHRINK;
        for j in 1..=i {
            table[i][j] = (table[i][j - 1] * factor - table[i - 1][j - 1]) / (factor - 1.0);
            factor *= SHRINK * SHRINK;
            let error = (table[i][j] - table[i][j - 1]).abs().max((table[i][j] - table[i - 1][j - 1]).abs());
            if error <= best.error {
                best = Derivative { value: table[i][j], error, jump: 0.0 };
            }
        }
        // Two rows can agree by luck, so a third is asked for.
        if i > 1 {
            let leap = (table[i][i] - table[i - 1][i - 1]).abs();
            if leap >= 2.0 * best.error {
                // Rounding has taken over, or it was luck: no digit beyond this one is sure.
                best.error = leap;
                break;
            }
            if best.error <= 1e-11 * best.value.abs() {
                break;
            }
        }
        h /= SHRINK;
    }
    if is_suspect {
        best.jump = jump(f, at_zero);
    }
    // No difference is better than the rounding of the values it is made of.
    best.error = best.error.max(f64::EPSILON * at_zero.abs() / h);
    best
}

/// The gap between the one-sided derivatives of `f` at 0 where `f` has a kink there, else 0.
fn jump(mut f: impl FnMut(f64) -> f64, at_zero: f64) -> f64 {
    let mut gap = |h: f64| ((f(h) - at_zero) / h - (at_zero - f(-h)) / h).abs();
    let (wide, narrow) = (gap(1e-4), gap(1e-6));
    // From the wide to the narrow step the gap of a smooth function shrinks a hundredfold (it is |f''| h), that of
    // rounding grows a hundredfold, and that of a kink stays.
    if (0.3 * wide..3.0 * wide).contains(&narrow) { narrow } else { 0.0 }
}

/// What finite differences say of every parameter asked for.
#[derive(Clone, Debug, Default)]
pub struct NumericGradient {
    blocks: Vec<NumericBlock>,
}

#[derive(Clone, Debug)]
struct NumericBlock {
    name: String,
    /// Index within the block, and the derivative there.
    entries: Vec<(usize, Derivative)>,
}

impl NumericGradient {
    /// Differentiates `loss` with respect to every parameter that `wanted(name, index)` names.
    ///
    /// The loss must be defined in a neighbourhood of the model; it is evaluated on copies of it.
    pub fn of_model<T: ParamTree<f64> + Clone>(
        model: &T,
        wanted: impl Fn(&str, usize) -> bool,
        mut loss: impl FnMut(&T) -> f64,
    ) -> Self {
        let mut names = Vec::new();
        param::each(model, |name, _, values| names.push((name.to_owned(), values.len())));
        let mut probe = model.clone();
        let at_zero = loss(model);
        let blocks = names.into_iter().enumerate().map(|(block, (name, length))| {
            let entries = (0..length).filter(|&i| wanted(&name, i)).map(|i| {
                let start = exchange(&mut probe, block, i, None);
                let mut f = |delta: f64| {
                    exchange(&mut probe, block, i, Some(start + delta));
                    loss(&probe)
                };
                let derivative = derivative(&mut f, at_zero, start);
                exchange(&mut probe, block, i, Some(start));
                (i, derivative)
            });
            let entries = entries.collect();
            NumericBlock { name, entries }
        });
        Self { blocks: blocks.collect() }
    }

    /// Differentiates `loss` with respect to every number of `x`, as one block called `name`.
    pub fn of_slice(name: &str, x: &[f64], mut loss: impl FnMut(&[f64]) -> f64) -> Self {
        let mut probe = x.to_vec();
        let at_zero = loss(x);
        let entries = (0..x.len()).map(|i| {
            let mut f = |delta: f64| {
                probe[i] = x[i] + delta;
                loss(&probe)
            };
            let derivative = derivative(&mut f, at_zero, x[i]);
            probe[i] = x[i];
            (i, derivative)
        });
        let entries = entries.collect();
        Self { blocks: vec![NumericBlock { name: name.to_owned(), entries }] }
    }

    /// Adds the blocks of another gradient of the same loss.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.blocks.extend(other.blocks);
        self
    }

    /// Holds an analytic gradient against the numeric one. `analytic(name)` returns a block's values, row-major.
    ///
    /// The relative error is `|a - n| / max(|a|, |n|, 0.01 x root mean square of the block)`; above `tolerance` the entry
    /// has failed.
    pub fn compare<'a>(&self, tolerance: f64, analytic: impl Fn(&str) -> &'a [f64]) -> Report {
        let blocks = self.blocks.iter().filter(|block| !block.entries.is_empty()).map(|block| {
            let values = analytic(&block.name);
            let squares = block.entries.iter().map(|&(i, n)| values[i].powi(2).max(n.value.powi(2))).sum::<f64>();
            let floor = 0.01 * (squares / block.entries.len() as f64).sqrt();
            let mut report = BlockReport {
                name: block.name.clone(),
                checked: block.entries.len(),
                worst: 0.0,
                index: block.entries[0].0,
                analytic: 0.0,
                numeric: 0.0,
                rms: 100.0 * floor,
                verdict: Verdict::Agrees,
            };
            for &(i, n) in &block.entries {
                let gap = (values[i] - n.value).abs();
                let scale = values[i].abs().max(n.value.abs()).max(floor);
                // A gap that is not a number is the worst there is.
                let error = if gap == 0.0 { 0.0 } else { gap / scale };
                if error.is_nan() || error > report.worst {
                    report.worst = if error.is_nan() { f64::INFINITY } else { error };
                    (report.index, report.analytic, report.numeric) = (i, values[i], n.value);
                    report.verdict = match () {
                        () if report.worst <= tolerance => Verdict::Agrees,
                        () if n.jump > tolerance * scale => Verdict::Kink,
                        () if n.error >= 0.5 * gap => Verdict::Rounding,
                        () => Verdict::Wrong,
                    };
                }
            }
            report
        });
        Report { blocks: blocks.collect(), tolerance }
    }
}

/// Step 0.02 suits functions whose scale is one; large parameters take a step in proportion. Where its answer is doubtful, the surest of
/// three.
fn derivative(f: &mut impl FnMut(f64) -> f64, at_zero: f64, place: f64) -> Derivative {
    let scale = place.abs().max(1.0);
    let coarse = differentiate(&mut *f, at_zero, 0.02 * scale);
    if coarse.error <= 1e-7 * coarse.value.abs() {
        return coarse;
    }
    // A doubtful answer: the function may bend on a smaller scale, or what it says of so small a derivative drowns in the rounding of its
    // value, which shows less at a longer step.
    [0.001, 0.1].into_iter().fold(coarse, |best, step| {
        if best.error <= 1e-7 * best.value.abs() {
            return best;
        }
        let other = differentiate(&mut *f, at_zero, step * scale);
        if other.error < best.error { other } else { best }
    })
}

/// Reads one number of one block, and replaces it if asked.
fn exchange<T: ParamTree<f64>>(tree: &mut T, block: usize, index: usize, value: Option<f64>) -> f64 {
    let (mut seen, mut old) = (0, 0.0);
    param::each_mut(tree, |_, _, values| {
        if seen == block {
            old = values[index];
            if let Some(value) = value {
                values[index] = value;
            }
        }
        seen += 1;
    });
    old
}

/// Why a derivative disagrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It does not.
    Agrees,
    /// Finite differences cannot tell: their own error is as large as the gap.
    Rounding,
    /// The derivatives from the two sides differ: the loss is not smooth there.
    Kink,
    /// The analytic derivative is wrong.
    Wrong,
}

/// The outcome for one block.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockReport {
    /// Dotted name of the parameter block.
    pub name: String,
    /// How many of its numbers were checked.
    pub checked: usize,
    /// The largest relative error.
    pub worst: f64,
    /// Where that was, row-major.
    pub index: usize,
    /// The analytic derivative there.
    pub analytic: f64,
    /// The numeric derivative there.
    pub numeric: f64,
    /// Root mean square of the block's derivatives.
    pub rms: f64,
    /// What the error at that place means.
    pub verdict: Verdict,
}

/// The outcome of a check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// One entry a block, in walk order.
    pub blocks: Vec<BlockReport>,
    /// The largest relative error that passes.
    pub tolerance: f64,
}

impl Report {
    /// How many numbers were checked.
    pub fn checked(&self) -> usize {
        self.blocks.iter().map(|block| block.checked).sum()
    }

    /// The largest relative error of all.
    pub fn worst(&self) -> f64 {
        self.blocks.iter().map(|block| block.worst).fold(0.0, f64::max)
    }

    /// Whether every derivative agrees.
    pub fn passed(&self) -> bool {
        self.worst() <= self.tolerance
    }

    /// Joins the blocks of another report into this one: counts add, the worse entry of each name stays.
    pub fn absorb(&mut self, other: Self) {
        self.tolerance = self.tolerance.max(other.tolerance);
        for block in other.blocks {
            match self.blocks.iter_mut().find(|known| known.name == block.name) {
                None => self.blocks.push(block),
                Some(known) => {
                    let checked = known.checked + block.checked;
                    if block.worst > known.worst {
                        *known = block;
                    }
                    known.checked = checked;
                }
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.blocks.iter().map(|block| block.name.len()).max().unwrap_or(5).max(5);
        writeln!(
            f,
            "{:width$} {:>8} {:>10} {:>7} {:>14} {:>14}  verdict",
            "block", "checked", "worst", "at", "analytic", "numeric"
        )?;
        for b in &self.blocks {
            let verdict = if b.worst <= self.tolerance { Verdict::Agrees } else { b.verdict };
            writeln!(
                f,
                "{:width$} {:>8} {:>10.2e} {:>7} {:>14.6e} {:>14.6e}  {:?}",
                b.name, b.checked, b.worst, b.index, b.analytic, b.numeric, verdict
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    #[test]
    fn derivatives_of_known_functions() {
        for (f, expected) in [
            ((|x: f64| (1.0 + x).exp()) as fn(f64) -> f64, std::f64::consts::E),
            (|x| (0.3 + x).sin(), 0.3_f64.cos()),
            (|x| (2.0 + x).powi(5), 80.0),
            (|x| 1.0 / (1.0 + (-40.0 * x).exp()), 10.0),
        ] {
            let found = derivative(&mut { f }, f(0.0), 0.0);
            assert!((found.value / expected - 1.0).abs() < 1e-9, "{found:?} for {expected}");
        }
    }

    #[test]
    fn a_kink_beside_the_point_is_seen_past() {
        let f = |x: f64| x.sin() + 3.0 * (x - 0.003).max(0.0);
        let found = differentiate(f, 0.0, 0.02);
        assert!((found.value - 1.0).abs() < 1e-9 && found.error < 1e-9 && found.jump == 0.0, "{found:?}");
    }

    #[test]
    fn two_steps_that_agree_by_luck_are_not_believed() {
        // The error of a central difference, x^2 - 2000 x^4 but for x^6, is the same at the first step 0.02 and at its half.
        for luck in [1.0, 1.0 + 1e-6] {
            let f = |x: f64| x + x.powi(3) - 2000.0 * luck * x.powi(5) + x.powi(7);
            let found = derivative(&mut { f }, 0.0, 0.0);
            assert!((found.value - 1.0).abs() < 1e-9, "{found:?}");
        }
    }

    /// Beside a thousand, one in ten million shows at a step of a tenth, and hardly at a fiftieth.
    #[test]
    fn a_small_derivative_is_seen_past_the_rounding_of_a_large_value() {
        let slopes = (1..40).map(|k| 1e-7 * f64::from(k));
        type Function<'f> = dyn FnMut(f64) -> f64 + 'f;
        let mean = |derivative: fn(&mut Function<'_>) -> Derivative| {
            let error = |slope: f64| (derivative(&mut |x| 1000.0 + slope * x.sin()).value / slope - 1.0).abs();
            slopes.clone().map(error).sum::<f64>() / 39.0
        };
        let near = mean(|f| differentiate(f, 1000.0, 0.02));
        let found = mean(|mut f| derivative(&mut f, 1000.0, 0.0));
        assert!(found < 3e-6 && near > 2.0 * found, "{found:e}, at the first step alone {near:e}");
    }

    fn verdict(loss: impl Fn(f64) -> f64, analytic: f64) -> Verdict {
        let numeric = NumericGradient::of_model(&array![0.5], |_, _| true, |x: &Array1<f64>| loss(x[0]));
        numeric.compare(1e-6, |_| std::slice::from_ref(Box::leak(Box::new(analytic)))).blocks[0].verdict
    }

    #[test]
    fn right_wrong_kink_and_rounding_are_told_apart() {
        assert_eq!(verdict(|x| x * x, 1.0), Verdict::Agrees);
        assert_eq!(verdict(|x| x * x, 1.01), Verdict::Wrong);
        assert_eq!(verdict(|x| (x - 0.5).abs(), 1.0), Verdict::Kink);
        // The large constant leaves nine digits to the part that varies.
        assert_eq!(verdict(|x| x * x + 1e9, 1.000_002), Verdict::Rounding);
    }

    #[test]
    fn an_error_in_one_number_of_one_block_is_named() {
        let model = vec![array![1.0, 2.0], array![3.0]];
        let loss = |m: &Vec<Array1<f64>>| m[0][0] * m[0][1] * m[1][0];
        let numeric = NumericGradient::of_model(&model, |_, _| true, loss);
        let check = |gradient: Vec<Array1<f64>>| {
            let mut blocks = Vec::new();
            param::each(&gradient, |name, _, values| blocks.push((name.to_owned(), values.to_vec())));
            numeric.compare(1e-6, |name| {
                let (_, values) = blocks.iter().find(|(known, _)| known == name).unwrap();
                Box::leak(values.clone().into_boxed_slice())
            })
        };
        assert!(check(vec![array![6.0, 3.0], array![2.0]]).passed());
        let report = check(vec![array![6.0, 3.03], array![2.0]]);
        let block = &report.blocks[0];
        assert_eq!((block.name.as_str(), block.index, block.verdict), ("0", 1, Verdict::Wrong));
        assert!(!report.passed() && report.blocks[1].verdict == Verdict::Agrees);
    }
}
