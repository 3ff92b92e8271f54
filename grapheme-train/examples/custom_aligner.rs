//! A method of assignment of your own: each predicted node chooses for itself.
//!
//! Node `i` takes target `j` with probability `softmax(-c_ij)`, or is left out at its deletion cost; nobody minds who else
//! took it. The value is `-sum_i log(sum_j exp(-c_ij) + exp(-d_i))`, and its gradient is the plan. It is IBM model 1 without
//! its dictionary (Brown et al., The mathematics of statistical machine translation, 1993): a lower bound of what keeping
//! order costs.

use grapheme_core::Kept;
use grapheme_core::check::NumericGradient;
use grapheme_train::loss::align::{Aligner, Problem, ProblemGradient, Upstream};
use grapheme_train::loss::{Alignment, Band, Banded, Monotone, Status};

struct Independent;

impl Aligner<f64> for Independent {
    fn align(&self, problem: &Problem<f64>) -> Alignment<f64> {
        let (band, m) = (problem.cost().band(), problem.insertion().len());
        let (mut plan, mut deleted, mut value) = (Banded::filled(band, 0.0), Kept::default(), 0.0);
        for i in 0..band.rows() {
            // Costs are not negative here, so nothing overflows.
            let absent = (-problem.deletion()[i]).exp();
            let total = absent + problem.cost().row(i).iter().map(|c| (-c).exp()).sum::<f64>();
            value -= total.ln();
            plan.row_mut(i).iter_mut().zip(problem.cost().row(i)).for_each(|(p, c)| *p = (-c).exp() / total);
            deleted.push(absent / total);
        }
        let (inserted, status) = (Kept::zeros(m), Status::Converged);
        Alignment { value, plan, deleted, inserted, residual: 0.0, iterations: 1, status, potentials: None }
    }

    fn vjp(
        &self,
        problem: &Problem<f64>,
        alignment: &Alignment<f64>,
        upstream: Upstream<'_, f64>,
    ) -> ProblemGradient<f64> {
        assert!(upstream.plan.is_none(), "this method differentiates its value alone");
        let mut cost = alignment.plan.clone();
        cost.values_mut().iter_mut().for_each(|p| *p *= upstream.value);
        let deletion = alignment.deleted.iter().map(|p| p * upstream.value).collect();
        let (n, m) = (problem.mass().len(), problem.insertion().len());
        ProblemGradient { cost, deletion, insertion: Kept::zeros(m), mass: Kept::zeros(n) }
    }
}

fn main() {
    let (n, m) = (5, 3);
    let band = Band::dense(n, m);
    let costs: Vec<f64> = (0..n * m).map(|k| 1.0 + (k as f64 * 1.3).sin()).collect();
    let problem = |costs: &[f64]| {
        let cost = Banded::from_fn(&band, |i, j| costs[i * m + j]);
        // No target may be left out by a method that keeps order, so that the two can be compared.
        Problem::new(cost, Kept::filled(n, 0.7), Kept::filled(m, f64::INFINITY), Kept::filled(n, 1.0))
            .expect("lengths fit")
    };
    let problem_here = problem(&costs);
    let free = Independent.align(&problem_here);
    let ordered: Alignment<f64> = Monotone::default().align(&problem_here);
    println!("each for itself {:.4}, in order {:.4}", free.value, ordered.value);
    assert!(free.value <= ordered.value);

    let gradient = Independent.vjp(&problem_here, &free, Upstream { value: 1.0, plan: None });
    let report = NumericGradient::of_slice("cost", &costs, |costs| Independent.align(&problem(costs)).value)
        .compare(1e-8, |_| gradient.cost.values());
    print!("{report}");
    assert!(report.passed());
}
