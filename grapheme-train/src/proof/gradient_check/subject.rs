//! One network on one batch, and its gradient in two ways: by the backward pass and by finite differences.

use super::case::{Combination, EDGE_THRESHOLDS, Inputs, THRESHOLDS};
use super::{CheckError, Checked, Reason};
use crate::estimator::{Crossing, Estimate, EstimateError, Surrogate};
use crate::labelling::Labelling;
use crate::objective::{Objective, Task};
use grapheme_core::check::NumericGradient;
use grapheme_core::network::ConfigError;
use grapheme_core::{
    Boundary, Detour, GradientMedium, GraphBatch, GraphTransformNet, Matrix, Scalar, Stream, Topology, Vacuum, param,
};
use ndarray::Array2;
use rand::RngExt;
use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

/// The block of the input features, beside the names of parameters.
pub(super) const FEATURES: &str = "features";

/// Networks tried until one merges a third of its candidates and keeps a third, in every realised morph, keeps enough of
/// them to write the targets, and has no block that moves the loss by hardly more than its rounding, as happens where hardly
/// anything is left for a later stage.
const ATTEMPTS: u64 = 400;

/// The least root mean square of a block that has a gradient, for a loss of 1: finite differences of f64 know about 12 digits
/// of the loss.
const IN_SIGHT: f64 = 1e-6;

/// A network, a batch and the choices that are held fixed.
pub(super) struct Subject {
    name: String,
    pub(super) net: GraphTransformNet<f64>,
    batch: GraphBatch,
    labelling: Labelling,
    combination: Combination,
    estimate: Estimate<f64>,
}

/// What a backward pass says.
pub(super) struct Gradient {
    /// Name and values of each block of parameters, and of the features at last.
    blocks: Vec<(String, Vec<f64>)>,
    /// Whether any gradient arrived at each boundary.
    pub(super) crossed: Vec<bool>,
}

impl Gradient {
    /// The values of a block, row-major.
    ///
    /// # Panics
    /// If there is no such block: names come from the same network.
    pub(super) fn block(&self, name: &str) -> &[f64] {
        let (_, values) = self.blocks.iter().find(|(known, _)| known == name).expect("a block of the same network");
        values
    }
}

impl Subject {
    /// The network and the batch of a seed.
    pub(super) fn new(combination: Combination, seed: u64) -> Result<Self, CheckError> {
        let name = format!("{combination}/{seed}");
        let fail = |reason: Reason| CheckError::Case { case: name.clone(), reason };
        let inputs = Inputs::of_seed(seed);
        let (batch, labelling) = inputs.build().map_err(|error| fail(error.into()))?;
        let objective = combination.objective(inputs);
        let task = Task { batch: &batch, labelling: &labelling };
        for attempt in 0..ATTEMPTS {
            let net = network(combination, seed, attempt).map_err(|error| fail(error.into()))?;
            let way = combination.build::<f64, Vacuum>();
            let pass = Crossing { dropout: None, medium: &Vacuum, record: &mut () };
            let mut scratch = param::zeros_like(&net);
            let estimate =
                way.gradient(&net, &objective, task, pass, &mut scratch).map_err(|error| fail(error.into()))?;
            let is_mixed = estimate.plans().iter().all(|plan| {
                let (candidates, merges) = (plan.stays.len(), plan.merges());
                3 * merges.min(candidates - merges) >= candidates
            });
            let faint = IN_SIGHT * estimate.losses.iter().sum::<f64>();
            let mut is_in_sight = true;
            param::each(&scratch, |_, _, values| {
                let rms = (values.iter().map(|d| d * d).sum::<f64>() / values.len() as f64).sqrt();
                is_in_sight &= rms == 0.0 || rms > faint;
            });
            if is_mixed && is_in_sight && estimate.losses.iter().all(|loss| loss.is_finite()) {
                return Ok(Self { name, net, batch, labelling, combination, estimate });
            }
        }
        Err(fail(Reason::TrivialPlans))
    }

    /// The same network in another type.
    pub(super) fn net_in<S: Scalar>(&self, combination: Combination) -> Result<GraphTransformNet<S>, CheckError> {
        let net = GraphTransformNet::new(&combination.network(), 0);
        let mut net = net.map_err(|error| self.fail(error.into()))?;
        let mut values = Vec::new();
        param::each(&self.net, |_, _, block| values.extend_from_slice(block));
        let mut values = values.into_iter();
        param::each_mut(&mut net, |_, _, block| block.iter_mut().zip(&mut values).for_each(|(to, x)| *to = S::lit(x)));
        Ok(net)
    }

    /// The gradient of the estimator, behind `medium` and a fault at boundary `fault`.
    pub(super) fn gradient<S: Scalar, M: GradientMedium<S>>(
        &self,
        net: &GraphTransformNet<S>,
        objective: &Objective,
        medium: &M,
        fault: Option<usize>,
    ) -> Result<Gradient, CheckError> {
        let probe = Probe { medium, fault };
        let mut seen = Seen::<S, M::Trace>::default();
        let mut grad = param::zeros_like(net);
        let pass = Crossing { dropout: None, medium: &probe, record: &mut seen };
        let estimator = self.combination.build::<S, Probe<'_, M>>();
        let estimate = estimator
            .gradient(net, objective, self.task(), pass, &mut grad)
            .map_err(|error| self.fail(error.into()))?;
        if estimate.plans() != self.estimate.plans() {
            return Err(self.fail(Reason::OtherPlans { scalar: S::NAME }));
        }
        self.total(&estimate.losses, estimate.unconverged).map_err(|reason| self.fail(reason))?;
        let widen = |values: &[S]| values.iter().map(|x| x.widen()).collect();
        let mut blocks: Vec<(String, Vec<f64>)> = Vec::new();
        param::each(&grad, |name, _, values| blocks.push((name.to_owned(), widen(values))));
        blocks.push((FEATURES.to_owned(), seen.features.iter().map(|x| x.widen()).collect()));
        seen.crossed.reverse();
        Ok(Gradient { blocks, crossed: seen.crossed })
    }

    /// The gradient of the estimator's surrogate by finite differences: of the loss, choices held fixed, where nothing is
    /// certain or sampled. What a medium does to gradients, its transpose does here to features.
    pub(super) fn numeric<M: Checked>(&self, objective: &Objective, medium: &M) -> Result<NumericGradient, CheckError> {
        let twin = Twin { medium, straight: Mutex::default() };
        let from = |features: Matrix<f64>, net: &GraphTransformNet<f64>| {
            twin.begin();
            self.total_of(self.estimate.surrogate_from(features, net, objective, self.task(), Some(&twin)))
        };
        // The first pass shows what features are straight.
        from(self.net.embedding.forward(&self.batch), &self.net).map_err(|reason| self.fail(reason))?;
        // Finite differences know no errors: the first is kept, and the loss is no number from then on.
        let error = RefCell::new(None);
        let value = |loss: Result<f64, Reason>| {
            loss.unwrap_or_else(|reason| {
                error.borrow_mut().get_or_insert(reason);
                f64::NAN
            })
        };
        let parameters = NumericGradient::of_model(
            &self.net,
            |name, i| self.reaches(name, i),
            |net| value(from(net.embedding.forward(&self.batch), net)),
        );
        let features = self.net.embedding.forward(&self.batch);
        let (shape, flat) = (features.dim(), features.values().to_vec());
        let features = NumericGradient::of_slice(FEATURES, &flat, |x| {
            let mut features = Matrix::unset(shape);
            features.values_mut().copy_from_slice(x);
            value(from(features, &self.net))
        });
        match error.into_inner() {
            Some(reason) => Err(self.fail(reason)),
            None => Ok(parameters.and(features)),
        }
    }

    /// Whether the batch reads a number: all but the rows of the embedding that no code point and no place asks for.
    pub(super) fn reaches(&self, name: &str, index: usize) -> bool {
        let embedding = &self.net.embedding;
        let row = index / embedding.table.ncols();
        let last = embedding.positions.nrows() - 1;
        match name {
            "embedding.table" => self.batch.codes().iter().any(|&code| embedding.rows(code).any(|used| used == row)),
            "embedding.positions" => (0..self.batch.nodes()).any(|node| self.batch.position(node).min(last) == row),
            _ => true,
        }
    }

    fn task(&self) -> Task<'_> {
        Task { batch: &self.batch, labelling: &self.labelling }
    }

    fn total_of(&self, found: Result<Surrogate, EstimateError>) -> Result<f64, Reason> {
        let Surrogate { values, unconverged } = found?;
        self.total(&values, unconverged)
    }

    /// The sum of the losses, all of which must mean something.
    fn total(&self, losses: &[f64], unconverged: usize) -> Result<f64, Reason> {
        if unconverged > 0 {
            return Err(Reason::NotConverged { alignments: unconverged });
        }
        match losses.iter().position(|loss| !loss.is_finite()) {
            Some(graph) => Err(Reason::Unreachable { text: self.batch.text(graph).to_owned() }),
            None => Ok(losses.iter().sum()),
        }
    }

    fn fail(&self, reason: Reason) -> CheckError {
        CheckError::Case { case: self.name.clone(), reason }
    }
}

/// A network as if trained: fresh ones have gains of 1 and biases of 0, which would hide a backward pass that forgets
/// them. Thresholds lie near the similarities, so that some candidates merge and some stay.
fn network(combination: Combination, seed: u64, attempt: u64) -> Result<GraphTransformNet<f64>, ConfigError> {
    let stream = Stream::new(seed).fork(attempt);
    let mut net = GraphTransformNet::new(&combination.network(), stream.at(0))?;
    let mut random = stream.fork(1);
    param::each_mut(&mut net, |name, _, values| {
        values.iter_mut().for_each(|value| *value += random.random::<f64>() - 0.5);
        if name.ends_with("gate.thresholds") {
            values.copy_from_slice(&THRESHOLDS);
        } else if name.ends_with("thresholds") {
            values.copy_from_slice(&EDGE_THRESHOLDS);
        }
    });
    Ok(net)
}

/// The forward twin of a medium: `h -> h0 + M^T (h - h0)`, with M that of the graph as it was with h0: a graph rounds the
/// weights that a layer has learned to `f32`, so M would change in steps with them.
struct Twin<'a, M> {
    medium: &'a M,
    straight: Mutex<Straight>,
}

/// Graph and features h0 of all crossings, in their order, and which is next. A morph that is closed several times is left as often.
#[derive(Default)]
struct Straight {
    crossings: Vec<(Topology, Array2<f64>)>,
    next: usize,
}

impl<M> Twin<'_, M> {
    fn begin(&self) {
        self.straight.lock().unwrap_or_else(PoisonError::into_inner).next = 0;
    }
}

impl<M: Checked> Detour<f64> for Twin<'_, M> {
    fn pass(&self, boundary: Boundary, topology: &Topology, features: &mut Array2<f64>) {
        let mut straight = self.straight.lock().unwrap_or_else(PoisonError::into_inner);
        let at = straight.next;
        straight.next += 1;
        match straight.crossings.get(at) {
            None => straight.crossings.push((topology.clone(), features.clone())),
            Some((topology, straight)) => {
                *features -= straight;
                self.medium.transpose(boundary, topology, features);
                *features += straight;
            }
        }
    }
}

/// The medium under test, with a fault at one boundary; notes what arrives at the features.
struct Probe<'a, M> {
    medium: &'a M,
    fault: Option<usize>,
}

struct Seen<S, T> {
    record: T,
    /// Highest boundary first.
    crossed: Vec<bool>,
    features: Array2<S>,
}

impl<S: Scalar, T: Default> Default for Seen<S, T> {
    fn default() -> Self {
        Self { record: T::default(), crossed: Vec::new(), features: Array2::zeros((0, 0)) }
    }
}

impl<S: Scalar, M: GradientMedium<S>> GradientMedium<S> for Probe<'_, M> {
    type Trace = Seen<S, M::Trace>;

    fn cross(&self, boundary: Boundary, topology: &Topology, gradient: &mut Array2<S>, seen: &mut Self::Trace) {
        self.medium.cross(boundary, topology, gradient, &mut seen.record);
        seen.crossed.push(gradient.iter().any(|&d| d != S::zero()));
        if self.fault == Some(boundary.index) {
            *gradient *= S::lit(super::FAULT);
        }
        if boundary.index == 0 {
            // Nothing is dropped here, so what leaves the lowest boundary is the gradient of the features.
            seen.features.clone_from(gradient);
        }
    }
}
