//! The recurrence backwards, one node at a time, for whoever follows single rays.

use super::{Lstm, LstmCache, Predecessor, RecurrentCache, RecurrentRound, row};
use crate::kept::Matrix;
use crate::layers::{LayerNorm, Linear, Pass};
use crate::scalar::Scalar;
use ndarray::Array1;

/// One of the two recurrences of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From parents to children, so that gradients go to parents.
    Down,
    /// From children to parents.
    Up,
}

/// A recurrent round in one pass. From the gradient of one output row, [`enter`](Self::enter) gives that of the two states of
/// its node, and [`step`](Self::step) takes the gradient of a state to the input row of its node and to the states that were
/// visited before. All of it is linear, and summed over all ways it is the round's backward pass.
#[derive(Clone, Copy, Debug)]
pub struct Recurrence<'a, S: Scalar> {
    pub(crate) round: &'a RecurrentRound<S>,
    pub(crate) cache: &'a RecurrentCache<S>,
    pub(crate) pass: Pass<'a, S>,
}

/// Where the gradient of one state goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<S> {
    /// Gradient of the input row of the node, d.
    pub dx: Vec<S>,
    /// Nodes visited before, and the gradient of their states: hidden and cell, 2d.
    pub before: Vec<(usize, Vec<S>)>,
}

impl<S: Scalar> Recurrence<'_, S> {
    /// The gradients of the states (hidden and cell, 2d) of node `node`, down and up, for the gradient `dy` of its output row.
    /// What goes past the recurrence is `dy` itself. `O(n d + d^2)`.
    pub fn enter(&self, node: usize, dy: &[S]) -> [(Way, Vec<S>); 2] {
        let d = dy.len();
        let mut dmessage = Matrix::zeros((self.pass.topology.nodes(), d));
        dmessage.row_mut(node).iter_mut().zip(dy).for_each(|(to, &x)| *to = x);
        self.round.dropout.apply(&mut dmessage, self.pass);
        let dstates = self.round.project.weight.dot(&dmessage.row(node));
        let state = |from: usize| dstates.iter().skip(from).take(d).copied().chain((0..d).map(|_| S::zero())).collect();
        [(Way::Down, state(0)), (Way::Up, state(d))]
    }

    /// Where the gradient of the state of node `node` goes, one step backwards. `O(n d + d^2)`.
    pub fn step(&self, way: Way, node: usize, state: &[S]) -> Step<S> {
        let (lstm, cache) = match way {
            Way::Down => (&self.round.down, &self.cache.down),
            Way::Up => (&self.round.up, &self.cache.up),
        };
        let (dgates, dcell, visit) = lstm.gates_backward(cache, node, state);
        let d = state.len() / 2;
        let mut dh = Matrix::zeros((self.pass.topology.nodes(), d));
        dh.row_mut(node).assign(&lstm.input.weight.dot(&dgates));
        let dx = self.round.norm.backward(&self.cache.norm, dh, None, &mut LayerNorm::new(d));
        let dhidden = lstm.state.dot(&dgates);
        let before = cache.schedule.predecessors(visit).iter().map(|&Predecessor { before, weight, .. }| {
            let state = dhidden.iter().chain(&dcell).map(|&x| weight * x).collect();
            (cache.schedule.nodes[before as usize] as usize, state)
        });
        Step { dx: dx.row(node).to_vec(), before: before.collect() }
    }
}

impl<S: Scalar> Lstm<S> {
    /// The gradient of the arguments of a node's gates (4d) and of the cells before it (d), for that of its state; and when it
    /// was visited. The formulas are those of `backward`, for one row.
    fn gates_backward(&self, cache: &LstmCache<S>, node: usize, state: &[S]) -> (Array1<S>, Vec<S>, usize) {
        let Linear { weight, .. } = &self.input;
        let d = weight.nrows();
        let visit = cache.schedule.nodes.iter().position(|&n| n as usize == node).expect("every node is visited");
        let [gates, squashed, before] = [&cache.gates, &cache.squashed, &cache.cell_before].map(|of| row(of, visit));
        let mut dgates = Array1::zeros(4 * d);
        let mut dcell = Vec::with_capacity(d);
        for c in 0..d {
            let [i, f, g, o] = [0, 1, 2, 3].map(|gate| gates[gate * d + c]);
            let (dy, t) = (state[c], squashed[c]);
            let dc = state[d + c] + dy * o * (S::one() - t * t);
            dgates[c] = dc * g * i * (S::one() - i);
            dgates[d + c] = dc * before[c] * f * (S::one() - f);
            dgates[2 * d + c] = dc * i * (S::one() - g * g);
            dgates[3 * d + c] = dy * t * o * (S::one() - o);
            dcell.push(dc * f);
        }
        (dgates, dcell, visit)
    }
}
