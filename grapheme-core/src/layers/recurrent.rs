//! Recurrent message passing in topological order.

mod steps;

pub use steps::{Recurrence, Step, Way};

use super::{
    Dropout, Layer, LayerNorm, Linear, NormCache, Pass, ShapeError, row_slices, row_slices_mut, sigmoid, tanh, uniform,
};
use crate::graph::Topology;
use crate::kept::{Keep, Kept, Matrix};
use crate::param_tree;
use crate::product::{Factor, add_product, write_product};
use crate::random::Stream;
use crate::scalar::Scalar;
use crate::vector::{add, add_scaled, dot};
use ndarray::{Array2, s};

/// `y = x + dropout([f; b] W + w)`: `f` is a long short-term memory that visits nodes in topological order, `b` one that
/// visits them in reverse, both over `h = LayerNorm(x)` and d units wide (Hochreiter and Schmidhuber, 1997; on graphs the
/// states of a node's parents are summed: Tai, Socher and Manning, 2015).
///
/// Nodes of equal depth over all graphs of a batch form a level and are computed in one matrix product, so the number of
/// products is the depth of the deepest graph. The first level has heard of nothing, and no product is made of its zeros.
#[derive(Clone, Debug)]
pub struct RecurrentRound<S> {
    /// Normalises the input.
    pub norm: LayerNorm<S>,
    /// From parents to children.
    pub down: Lstm<S>,
    /// From children to parents.
    pub up: Lstm<S>,
    /// 2d to d.
    pub project: Linear<S>,
    dropout: Dropout,
}

param_tree!(RecurrentRound { norm, down, up, project });

/// What [`RecurrentRound`]'s backward pass needs.
#[derive(Clone, Debug)]
pub struct RecurrentCache<S: Scalar> {
    norm: NormCache<S>,
    down: LstmCache<S>,
    up: LstmCache<S>,
    states: Matrix<S>,
}

impl<S: Scalar> RecurrentRound<S> {
    /// A round with fresh parameters.
    pub fn new(width: usize, dropout: Dropout, stream: &mut Stream) -> Self {
        Self {
            norm: LayerNorm::new(width),
            down: Lstm::new(width, stream),
            up: Lstm::new(width, stream),
            project: Linear::new(2 * width, width, stream),
            dropout,
        }
    }
}

impl<S: Scalar> Layer<S> for RecurrentRound<S> {
    type Cache = RecurrentCache<S>;

    fn forward(&self, mut x: Matrix<S>, pass: Pass<'_, S>) -> Result<(Matrix<S>, RecurrentCache<S>), ShapeError> {
        ShapeError::check("recurrent round", &x, [pass.topology.nodes(), self.norm.gain.len()])?;
        let norm = self.norm.forward(&x)?;
        let (n, d) = x.dim();
        let mut states = Matrix::unset((n, 2 * d));
        let down = self.down.forward((&self.norm, &norm), Schedule::down(pass), (&mut states, 0))?;
        let up = self.up.forward((&self.norm, &norm), Schedule::up(pass), (&mut states, d))?;
        if self.dropout.drops(pass) {
            let mut message = self.project.forward(states.view())?;
            self.dropout.apply(&mut message, pass);
            x += &message;
        } else {
            self.project.add_forward(states.view(), &mut x)?;
        }
        Ok((x, RecurrentCache { norm, down, up, states }))
    }

    fn backward(
        &self,
        cache: RecurrentCache<S>,
        dy: Matrix<S>,
        pass: Pass<'_, S>,
        dweights: &mut Kept<S>,
        grad: &mut Self,
    ) -> Matrix<S> {
        let RecurrentCache { norm, down, up, states } = cache;
        let masked = self.dropout.masked(&dy, pass);
        let dmessage = masked.as_ref().unwrap_or(&dy);
        let dstates = self.project.backward(states.view(), dmessage.view(), &mut grad.project);
        let mut dh = Matrix::zeros(dy.dim());
        let d = dy.ncols();
        self.down.backward((&self.norm, &norm), down, (&dstates, 0), dweights, &mut dh, &mut grad.down);
        self.up.backward((&self.norm, &norm), up, (&dstates, d), dweights, &mut dh, &mut grad.up);
        self.norm.backward(&norm, dh, Some(&dy), &mut grad.norm)
    }
}

/// One direction. With `p`, `q` the summed hidden and cell states of the nodes visited before:
/// `[i; f; g; o] = h Wx + p Wh + b`, `c = sigmoid(f) q + sigmoid(i) tanh(g)`, output `sigmoid(o) tanh(c)`.
#[derive(Clone, Debug)]
pub struct Lstm<S> {
    /// d to 4d, with the bias of the gates.
    pub input: Linear<S>,
    /// d x 4d, without a bias.
    pub state: Array2<S>,
}

param_tree!(Lstm { input, state });

/// All rows are in the order of the schedule.
#[derive(Clone, Debug)]
struct LstmCache<S: Scalar> {
    schedule: Schedule<S>,
    /// After their nonlinearities, n x 4d.
    gates: Matrix<S>,
    /// Cell states, n x d.
    cell: Matrix<S>,
    /// Their hyperbolic tangents, n x d.
    squashed: Matrix<S>,
    /// Summed hidden states of the predecessors, of the visits that have any.
    hidden_before: Matrix<S>,
    /// Summed cell states of the predecessors, n x d.
    cell_before: Matrix<S>,
}

impl<S: Scalar> Lstm<S> {
    fn new(width: usize, stream: &mut Stream) -> Self {
        let input = Linear::new(width, 4 * width, stream);
        Self { input, state: uniform((width, 4 * width), 1.0 / (width.max(1) as f64).sqrt(), stream) }
    }

    /// Writes the hidden states of the nodes into d columns of `states`, from one on.
    fn forward(
        &self,
        (norm, normed): (&LayerNorm<S>, &NormCache<S>),
        schedule: Schedule<S>,
        (states, from): (&mut Matrix<S>, usize),
    ) -> Result<LstmCache<S>, ShapeError> {
        let (n, d) = normed.dim();
        let mut gates = self.input.forward(schedule.visited(norm, normed).view())?;
        let roots = schedule.roots();
        let [mut hidden, mut cell, mut squashed] = [(); 3].map(|()| Matrix::unset((n, d)));
        let (mut hidden_before, mut cell_before) = (Matrix::zeros((n - roots, d)), Matrix::zeros((n, d)));
        // Laid out once, since every level multiplies by it.
        let state = Factor::new(self.state.view());
        for level in schedule.levels() {
            if level.start > 0 {
                crate::wide! {
                    for visit in level.clone() {
                        let (h, c) = (row_mut(&mut hidden_before, visit - roots), row_mut(&mut cell_before, visit));
                        for &Predecessor { before, weight, .. } in schedule.predecessors(visit) {
                            let before = before as usize;
                            add_scaled(h, weight, row(&hidden, before));
                            add_scaled(c, weight, row(&cell, before));
                        }
                    }
                }
                let p = hidden_before.slice(s![level.start - roots..level.end - roots, ..]);
                add_product(gates.slice_mut(s![level.clone(), ..]), p, &state);
            }
            crate::wide! {
                for visit in level {
                    let gates = row_mut(&mut gates, visit);
                    // One pass a nonlinearity, so that each is a plain loop over neighbours: [i; f] and o, then g.
                    let (input_forget, rest) = gates.split_at_mut(2 * d);
                    let (g, o) = rest.split_at_mut(d);
                    input_forget.iter_mut().for_each(|x| *x = sigmoid(*x));
                    o.iter_mut().for_each(|x| *x = sigmoid(*x));
                    g.iter_mut().for_each(|x| *x = tanh(*x));
                    let (i, f) = input_forget.split_at(d);
                    let (c, t, y) = (row_mut(&mut cell, visit), row_mut(&mut squashed, visit), row_mut(&mut hidden, visit));
                    let terms = i.iter().zip(f).zip(&*g).zip(row(&cell_before, visit));
                    for (c, (((&i, &f), &g), &q)) in c.iter_mut().zip(terms) {
                        *c = f * q + i * g;
                    }
                    for ((y, &o), (t, &c)) in y.iter_mut().zip(&*o).zip(t.iter_mut().zip(&*c)) {
                        *t = tanh(c);
                        *y = o * *t;
                    }
                }
            }
        }
        for (hidden, &node) in row_slices(&hidden).zip(&schedule.nodes) {
            row_mut(states, node as usize)[from..from + d].copy_from_slice(hidden);
        }
        Ok(LstmCache { schedule, gates, cell, squashed, hidden_before, cell_before })
    }

    /// Adds to `dh` the gradient of the normalised rows, for that of the hidden states, which is d columns of `dstates` from one on.
    fn backward(
        &self,
        (norm, normed): (&LayerNorm<S>, &NormCache<S>),
        cache: LstmCache<S>,
        (dstates, from): (&Matrix<S>, usize),
        dweights: &mut [S],
        dh: &mut Matrix<S>,
        grad: &mut Self,
    ) {
        let LstmCache { schedule, mut gates, cell, squashed, hidden_before, cell_before } = cache;
        let (n, d) = normed.dim();
        let mut dhidden = Matrix::unset((n, d));
        for (dhidden, &node) in row_slices_mut(&mut dhidden).zip(&schedule.nodes) {
            dhidden.copy_from_slice(&row(dstates, node as usize)[from..from + d]);
        }
        let mut dcell = Matrix::zeros((n, d));
        let mut dbefore = Matrix::unset((schedule.widest(), d));
        let state = Factor::new(self.state.t());
        for level in schedule.levels().rev() {
            crate::wide! {
                for visit in level.clone() {
                    // The gates are replaced by the gradient of their arguments.
                    let gates = row_mut(&mut gates, visit);
                    let (i, rest) = gates.split_at_mut(d);
                    let (f, rest) = rest.split_at_mut(d);
                    let (g, o) = rest.split_at_mut(d);
                    let saved = row(&cell_before, visit).iter().zip(row(&squashed, visit)).zip(row(&dhidden, visit));
                    let gates = i.iter_mut().zip(f).zip(g.iter_mut().zip(o));
                    for (((&q, &t), &dy), (dc, ((i, f), (g, o)))) in
                        saved.zip(row_mut(&mut dcell, visit).iter_mut().zip(gates))
                    {
                        let dc_total = *dc + dy * *o * (S::one() - t * t);
                        // The gradient of the predecessors' cells, handed on below.
                        *dc = dc_total * *f;
                        *o = dy * t * *o * (S::one() - *o);
                        *f = dc_total * q * *f * (S::one() - *f);
                        let (input, candidate) = (*i, *g);
                        *i = dc_total * candidate * input * (S::one() - input);
                        *g = dc_total * input * (S::one() - candidate * candidate);
                    }
                }
            }
            if level.start == 0 {
                break;
            }
            let mut dp = dbefore.slice_mut(s![..level.len(), ..]);
            let dgates = gates.slice(s![level.clone(), ..]);
            write_product(dp.view_mut(), dgates, &state);
            crate::wide! {
                for (k, visit) in level.enumerate() {
                    let (dp, dcells) = (row(&dbefore, k), dcell.values_mut());
                    for &Predecessor { before, weight, place } in schedule.predecessors(visit) {
                        let before = before as usize;
                        // What was visited before comes first.
                        let (earlier, later) = dcells.split_at_mut(visit * d);
                        let (dcell_before, dcell) = (&mut earlier[before * d..][..d], &later[..d]);
                        if let Some(dweight) = dweights.get_mut(place as usize) {
                            // The gates of an earlier level are still what they were.
                            let o = &row(&gates, before)[3 * d..];
                            let states = o.iter().zip(row(&squashed, before)).zip(dp);
                            *dweight += states.map(|((&o, &t), &dp)| dp * o * t).sum::<S>() + dot(dcell, row(&cell, before));
                        }
                        add_scaled(row_mut(&mut dhidden, before), weight, dp);
                        add_scaled(dcell_before, weight, dcell);
                    }
                }
            }
        }
        add_product(grad.state.view_mut(), hidden_before.t(), gates.slice(s![schedule.roots().., ..]));
        let visited = self.input.backward(schedule.visited(norm, normed).view(), gates.view(), &mut grad.input);
        for (visited, &node) in row_slices(&visited).zip(&schedule.nodes) {
            add(row_mut(dh, node as usize), visited);
        }
    }
}

fn row<S: Scalar>(x: &Matrix<S>, i: usize) -> &[S] {
    let d = x.ncols();
    &x.values()[i * d..][..d]
}

fn row_mut<S: Scalar>(x: &mut Matrix<S>, i: usize) -> &mut [S] {
    let d = x.ncols();
    &mut x.values_mut()[i * d..][..d]
}

/// The order in which nodes are visited: by level, so that every predecessor comes in an earlier level.
#[derive(Clone, Debug)]
struct Schedule<S: Scalar> {
    /// The node of each visit.
    nodes: Kept<u32>,
    level_starts: Kept<usize>,
    /// For each visit, where its predecessors start.
    starts: Kept<u32>,
    predecessors: Kept<Predecessor<S>>,
}

/// A visit that comes before another.
#[derive(Clone, Copy, Debug)]
struct Predecessor<S> {
    before: u32,
    weight: S,
    /// Of the explicit edge, or [`IMPLIED`].
    place: u32,
}

impl<S: Scalar> Keep for Predecessor<S> {}

/// Marks an edge that is implied by the chain.
const IMPLIED: u32 = u32::MAX;

impl<S: Scalar> Schedule<S> {
    /// From the sources of the graphs on.
    fn down(pass: Pass<'_, S>) -> Self {
        let topology = pass.topology;
        Self::new(topology, 0..topology.nodes(), |node, first, f| {
            if topology.is_chain() && node > first.start {
                f(node - 1, S::one(), IMPLIED);
            }
            for (place, edge) in topology.entering(node) {
                f(edge.source as usize, pass.weight(place, edge), place as u32);
            }
        })
    }

    /// From the sinks of the graphs on.
    fn up(pass: Pass<'_, S>) -> Self {
        let topology = pass.topology;
        Self::new(topology, (0..topology.nodes()).rev(), |node, range, f| {
            if topology.is_chain() && node + 1 < range.end {
                f(node + 1, S::one(), IMPLIED);
            }
            for (place, edge) in topology.leaving(node) {
                f(edge.target as usize, pass.weight(place, edge), place as u32);
            }
        })
    }

    /// Two counting sorts, `O(nodes + edges)`: `order` is a topological order, `visit_before` names the predecessors of
    /// a node, given the nodes of its graph.
    fn new(
        topology: &Topology,
        order: impl Iterator<Item = usize>,
        visit_before: impl Fn(usize, &std::ops::Range<usize>, &mut dyn FnMut(usize, S, u32)),
    ) -> Self {
        let n = topology.nodes();
        let mut graph_of = Kept::<u32>::zeros(n);
        for graph in 0..topology.graphs() {
            graph_of[topology.range(graph)].fill(graph as u32);
        }
        let range = |node: usize| topology.range(graph_of[node] as usize);
        let mut level = Kept::<u32>::zeros(n);
        let mut edges = 0;
        for node in order {
            let mut deepest = 0;
            visit_before(node, &range(node), &mut |before, _, _| {
                deepest = deepest.max(level[before] + 1);
                edges += 1;
            });
            level[node] = deepest;
        }
        let levels = level.iter().max().map_or(0, |&deepest| deepest as usize + 1);
        let mut level_starts = Kept::<usize>::zeros(levels + 1);
        for &l in &level {
            level_starts[l as usize + 1] += 1;
        }
        for l in 0..levels {
            level_starts[l + 1] += level_starts[l];
        }
        let mut next = level_starts.clone();
        let (mut nodes, mut visit_of) = (Kept::<u32>::zeros(n), Kept::<u32>::zeros(n));
        for node in 0..n {
            let visit = &mut next[level[node] as usize];
            nodes[*visit] = node as u32;
            visit_of[node] = *visit as u32;
            *visit += 1;
        }
        let (mut starts, mut predecessors) = (Kept::with_capacity(n + 1), Kept::with_capacity(edges));
        starts.push(0);
        for &node in &nodes {
            let node = node as usize;
            visit_before(node, &range(node), &mut |before, weight, place| {
                predecessors.push(Predecessor { before: visit_of[before], weight, place });
            });
            starts.push(predecessors.len() as u32);
        }
        Self { nodes, level_starts, starts, predecessors }
    }

    fn levels(&self) -> impl DoubleEndedIterator<Item = std::ops::Range<usize>> + '_ {
        self.level_starts.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// The visits of the first level, which are those without predecessors.
    fn roots(&self) -> usize {
        self.levels().next().map_or(0, |level| level.len())
    }

    fn widest(&self) -> usize {
        self.levels().map(|level| level.len()).max().unwrap_or(0)
    }

    fn predecessors(&self, visit: usize) -> &[Predecessor<S>] {
        &self.predecessors[self.starts[visit] as usize..self.starts[visit + 1] as usize]
    }

    /// The normalised rows in the order of visits.
    fn visited(&self, norm: &LayerNorm<S>, cache: &NormCache<S>) -> Matrix<S> {
        let mut y = Matrix::unset(cache.dim());
        crate::wide! {
            for (y, &node) in row_slices_mut(&mut y).zip(&self.nodes) {
                norm.write_row(cache, node as usize, y);
            }
        }
        y
    }
}
