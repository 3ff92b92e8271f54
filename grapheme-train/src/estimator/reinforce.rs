//! Sampled choices.

use super::{Crossing, Estimate, EstimateError, Estimator, Held, Sample, open};
use crate::objective::{Objective, Task};
use grapheme_core::morph::{Gates, Plan};
use grapheme_core::network::{Choice, Closing, Opened, Seam, Upstream};
use grapheme_core::{GradientMedium, GraphTransformNet, Kept, Scalar, Stream};
use ndarray::{Array1, Axis, s};

/// The score-function estimator (Williams, 1992): unbiased for the gradient of `E[L]`, the expectation over the choices of the
/// last morph, each candidate merging with probability g on its own.
///
/// `1/k sum over samples z of dL(z) + (L(z) - b) d ln p(z)`. With k >= 2 samples the baseline `b` of one is the mean loss of the
/// others (leave-one-out: Kool, van Hoof and Welling, 2019), graph by graph. With one sample it is what the network has learned
/// to expect, if it has a [`baseline`](GraphTransformNet::baseline), else 0. Either is independent of the sample, so
/// neither makes a bias; a learned one would cancel among several samples. It learns by the Huber loss
/// of `b - L`, whose gradient is bounded, and none of it reaches the rest of the network.
///
/// Random numbers are a function of the pass's keys, the graph and the sample: the same for any threads, and after a resume.
/// The pass up to the gates and its way back are done once; a sample costs a merge, a label head and a loss. A medium at the
/// highest boundary is crossed once a sample.
#[derive(Clone, Copy, Debug)]
pub struct Reinforce {
    /// k.
    pub samples: usize,
}

/// Samples unless told.
pub const SAMPLES: usize = 8;

/// A purpose of random streams that is no site of dropout.
const CHOICES: u64 = 1 << 40;

impl<S: Scalar, M: GradientMedium<S>> Estimator<S, M> for Reinforce {
    fn closing(&self) -> Closing {
        Closing::Realised
    }

    fn gradient(
        &self,
        net: &GraphTransformNet<S>,
        objective: &Objective,
        task: Task<'_>,
        pass: Crossing<'_, S, M>,
        grad: &mut GraphTransformNet<S>,
    ) -> Result<Estimate<S>, EstimateError> {
        let opened = open(net, task, &pass)?;
        let (graphs, samples) = (task.batch.graphs(), self.samples.max(1));
        let share = S::lit(1.0 / samples as f64);
        let fixed = Stream::new(0);
        let stream = |graph: usize| match pass.dropout {
            Some(keys) => keys.stream(graph).fork(CHOICES),
            None => fixed.fork(graph as u64),
        };
        let Crossing { medium, record, .. } = pass;
        let mut seam = Seam::zeros(&opened);
        let (mut plans, mut losses, mut unconverged) = (Vec::new(), Vec::new(), 0);
        for sample in 0..samples {
            let plan = draw(&opened, graphs, |graph| stream(graph).fork(sample as u64));
            let (morphed, closed) = net.close(&opened, opened.gates(), Choice::Taken(&plan))?;
            let mut assessment = objective.assess(task, &morphed)?;
            scale(&mut assessment.upstream, share);
            seam.add(&net.close_backward(&opened, (&morphed, closed), assessment.upstream, medium, record, grad));
            unconverged += assessment.unconverged;
            plans.push(plan);
            losses.push(assessment.losses);
        }
        let expected: Vec<Option<f64>> = (0..graphs).map(|graph| expectation(net, &opened, graph)).collect();
        let advantage = |sample: usize, graph: usize| {
            let loss: f64 = losses[sample][graph];
            let others =
                losses.iter().enumerate().filter(|&(other, _)| other != sample).map(|(_, losses)| losses[graph]);
            let baseline =
                if samples > 1 { others.sum::<f64>() / (samples - 1) as f64 } else { expected[graph].unwrap_or(0.0) };
            // A target out of reach gives no gradient.
            if (loss - baseline).is_finite() { S::lit(loss - baseline) } else { S::zero() }
        };
        let drawn: Vec<Sample<S>> = plans
            .into_iter()
            .enumerate()
            .map(|(i, plan)| Sample { plan, advantages: (0..graphs).map(|graph| advantage(i, graph)).collect() })
            .collect();
        for Sample { plan, advantages } in &drawn {
            add_score(plan, &opened, &advantages.iter().map(|&a| a * share).collect::<Vec<_>>(), &mut seam);
        }
        let mean: Kept<f64> =
            (0..graphs).map(|graph| losses.iter().map(|l| l[graph]).sum::<f64>() / samples as f64).collect();
        learn_baseline(&opened, &expected, &mean, grad);
        let earlier = opened.plans();
        net.open_backward(opened, seam, medium, record, grad);
        Ok(Estimate { losses: mean, unconverged, earlier, held: Held::Samples(drawn) })
    }
}

/// The choices of all graphs, each by its own stream.
fn draw<S: Scalar>(opened: &Opened<'_, S>, graphs: usize, stream: impl Fn(usize) -> Stream) -> Plan {
    let gates = opened.gates();
    let mut plan = Plan::default();
    for graph in 0..graphs {
        let range = opened.range(graph);
        let of_graph = |logs: &Kept<S>| logs[range.clone()].iter().copied().collect();
        let own = Gates { log_stay: of_graph(&gates.log_stay), log_merge: of_graph(&gates.log_merge) };
        plan.stays.extend_from_slice(&Plan::sample(&own, &mut stream(graph)).stays);
    }
    plan
}

/// `ln p(plan)` of one graph's choices.
pub(super) fn log_probability<S: Scalar>(plan: &Plan, opened: &Opened<'_, S>, graph: usize) -> S {
    let gates = opened.gates();
    opened.range(graph).map(|c| if plan.stays[c] { gates.log_stay[c] } else { gates.log_merge[c] }).sum()
}

/// Adds the gradient of `sum over graphs of weight ln p(plan)`.
pub(super) fn add_score<S: Scalar>(plan: &Plan, opened: &Opened<'_, S>, weights: &[S], seam: &mut Seam<S>) {
    for (graph, &weight) in weights.iter().enumerate() {
        for c in opened.range(graph) {
            let to = if plan.stays[c] { &mut seam.gates.log_stay } else { &mut seam.gates.log_merge };
            to[c] += weight;
        }
    }
}

/// Multiplies what goes up into the network.
pub(super) fn scale<S: Scalar>(upstream: &mut Upstream<S>, factor: S) {
    *upstream.log_label *= factor;
    let gates = upstream.gates.log_stay.iter_mut().chain(upstream.gates.log_merge.iter_mut());
    gates.chain(upstream.edge_weights.iter_mut().flatten()).for_each(|d| *d *= factor);
}

/// The mean of a graph's candidates; zero where it has none left.
fn features<S: Scalar>(opened: &Opened<'_, S>, graph: usize) -> Array1<S> {
    let rows = opened.candidates().slice(s![opened.range(graph), ..]);
    rows.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(rows.ncols()))
}

/// The loss that the network expects of a graph, if it has learned to.
fn expectation<S: Scalar>(net: &GraphTransformNet<S>, opened: &Opened<'_, S>, graph: usize) -> Option<f64> {
    let baseline = net.baseline.as_ref()?;
    Some((features(opened, graph).dot(&baseline.weight.column(0)) + baseline.bias[0]).widen())
}

/// Adds the gradient of the Huber loss of `b - L`: the difference, cut off at 1.
fn learn_baseline<S: Scalar>(
    opened: &Opened<'_, S>,
    expected: &[Option<f64>],
    losses: &[f64],
    grad: &mut GraphTransformNet<S>,
) {
    let Some(to) = &mut grad.baseline else { return };
    for (graph, (expected, &loss)) in expected.iter().zip(losses).enumerate() {
        let gap = expected.unwrap_or(loss) - loss;
        if gap.is_finite() {
            let d = S::lit(gap.clamp(-1.0, 1.0));
            to.weight.column_mut(0).scaled_add(d, &features(opened, graph));
            to.bias[0] += d;
        }
    }
}
