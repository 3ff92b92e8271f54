//! Recurrent message passing in topological order.

mod steps;

pub use steps::{Recurrence, Step, Way};

use super::{Dropout, Layer, LayerNorm, Linear, NormCache, Pass, ShapeError, row_slices, sigmoid, tanh, uniform};
use crate::graph::Topology;
use crate::param_tree;
use crate::product::{Factor, add_product, write_product};
use crate::random::Stream;
use crate::scalar::Scalar;
use ndarray::{Array2, s};

/// `y = x + dropout([f; b] W + w)`: `f` is a long short-term memory that visits nodes in topological order, `b` one that
/// visits them in reverse, both over `h = LayerNorm(x)` and d units wide (Hochreiter and Schmidhuber, 1997; on graphs the
/// states of a node's parents are summed: Tai, Socher and Manning, 2015).
///
/// Nodes of equal depth over all graphs of a batch form a level and are computed in one matrix product, so the number of
/// products is the depth of the deepest graph.
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
pub struct RecurrentCache<S> {
    norm: NormCache<S>,
    down: LstmCache<S>,
    up: LstmCache<S>,
    states: Array2<S>,
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

    fn forward(&self, mut x: Array2<S>, pass: Pass<'_, S>) -> Result<(Array2<S>, RecurrentCache<S>), ShapeError> {
        ShapeError::check("recurrent round", &x, [pass.topology.nodes(), self.norm.gain.len()])?;
        let (h, norm) = self.norm.forward(&x)?;
        let (f, down) = self.down.forward(&h, Schedule::down(pass))?;
        let (b, up) = self.up.forward(&h, Schedule::up(pass))?;
        let states = side_by_side(&f, &b);
        let mut message = self.project.forward(states.view())?;
        self.dropout.apply(&mut message, pass);
        x += &message;
        Ok((x, RecurrentCache { norm, down, up, states }))
    }

    fn backward(
        &self,
        cache: RecurrentCache<S>,
        mut dy: Array2<S>,
        pass: Pass<'_, S>,
        dweights: &mut Vec<S>,
        grad: &mut Self,
    ) -> Array2<S> {
        let d = dy.ncols();
        let mut dmessage = dy.clone();
        self.dropout.apply(&mut dmessage, pass);
        let dstates = self.project.backward(cache.states.view(), dmessage.view(), &mut grad.project);
        let h = cache.norm.output(&self.norm);
        let mut dh = self.down.backward(&h, cache.down, dstates.slice(s![.., ..d]), dweights, &mut grad.down);
        dh += &self.up.backward(&h, cache.up, dstates.slice(s![.., d..]), dweights, &mut grad.up);
        dy += &self.norm.backward(&cache.norm, dh, &mut grad.norm);
        dy
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
struct LstmCache<S> {
    schedule: Schedule<S>,
    /// After their nonlinearities, n x 4d.
    gates: Array2<S>,
    /// Cell states, n x d.
    cell: Array2<S>,
    /// Summed hidden states of the predecessors, n x d.
    hidden_before: Array2<S>,
    /// Summed cell states of the predecessors, n x d.
    cell_before: Array2<S>,
}

impl<S: Scalar> Lstm<S> {
    fn new(width: usize, stream: &mut Stream) -> Self {
        let input = Linear::new(width, 4 * width, stream);
        Self { input, state: uniform((width, 4 * width), 1.0 / (width.max(1) as f64).sqrt(), stream) }
    }

    /// Hidden states in node order, n x d.
    fn forward(&self, h: &Array2<S>, schedule: Schedule<S>) -> Result<(Array2<S>, LstmCache<S>), ShapeError> {
        let (n, d) = h.dim();
        let mut gates = self.input.forward(schedule.to_visit_order(h).view())?;
        let (mut hidden, mut cell) = (Array2::zeros((n, d)), Array2::zeros((n, d)));
        let (mut hidden_before, mut cell_before) = (Array2::zeros((n, d)), Array2::zeros((n, d)));
        // Laid out once, since every level multiplies by it.
        let state = Factor::new(self.state.view());
        for level in schedule.levels() {
            for visit in level.clone() {
                for &Predecessor { before, weight, .. } in schedule.predecessors(visit) {
                    let before = before as usize;
                    hidden_before.row_mut(visit).scaled_add(weight, &hidden.row(before));
                    cell_before.row_mut(visit).scaled_add(weight, &cell.row(before));
                }
            }
            let p = hidden_before.slice(s![level.clone(), ..]);
            add_product(gates.slice_mut(s![level.clone(), ..]), p, &state);
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
                    let (c, y) = (row_mut(&mut cell, visit), row_mut(&mut hidden, visit));
                    let terms = i.iter().zip(f).zip(&*g).zip(row(&cell_before, visit));
                    for (c, (((&i, &f), &g), &q)) in c.iter_mut().zip(terms) {
                        *c = f * q + i * g;
                    }
                    for ((y, &o), &c) in y.iter_mut().zip(&*o).zip(&*c) {
                        *y = o * tanh(c);
                    }
                }
            }
        }
        let output = schedule.to_node_order(&hidden);
        Ok((output, LstmCache { schedule, gates, cell, hidden_before, cell_before }))
    }

    /// `dh` for the gradient `dy` of the hidden states in node order.
    fn backward(
        &self,
        h: &Array2<S>,
        cache: LstmCache<S>,
        dy: ndarray::ArrayView2<'_, S>,
        dweights: &mut [S],
        grad: &mut Self,
    ) -> Array2<S> {
        let LstmCache { schedule, mut gates, cell, hidden_before, cell_before } = cache;
        let (n, d) = h.dim();
        let mut dhidden = schedule.to_visit_order(&dy);
        let mut dcell: Array2<S> = Array2::zeros((n, d));
        let mut dbefore = Array2::zeros((schedule.widest(), d));
        let state = Factor::new(self.state.t());
        for level in schedule.levels().rev() {
            crate::wide! {
                for visit in level.clone() {
                    // The gates are replaced by the gradient of their arguments.
                    let gates = row_mut(&mut gates, visit);
                    let (i, rest) = gates.split_at_mut(d);
                    let (f, rest) = rest.split_at_mut(d);
                    let (g, o) = rest.split_at_mut(d);
                    let saved = row(&cell_before, visit).iter().zip(row(&cell, visit)).zip(row(&dhidden, visit));
                    let gates = i.iter_mut().zip(f).zip(g.iter_mut().zip(o));
                    for (((&q, &c), &dy), (dc, ((i, f), (g, o)))) in
                        saved.zip(row_mut(&mut dcell, visit).iter_mut().zip(gates))
                    {
                        let t = tanh(c);
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
            let mut dp = dbefore.slice_mut(s![..level.len(), ..]);
            let dgates = gates.slice(s![level.clone(), ..]);
            write_product(dp.view_mut(), dgates, &state);
            for (k, visit) in level.enumerate() {
                for &Predecessor { before, weight, place } in schedule.predecessors(visit) {
                    let before = before as usize;
                    if let Some(dweight) = dweights.get_mut(place as usize) {
                        // The gates of an earlier level are still what they were.
                        let o = &row(&gates, before)[3 * d..];
                        let states = o.iter().zip(row(&cell, before)).zip(dp.row(k)).zip(row(&dcell, visit));
                        *dweight += states.map(|(((&o, &c), &dp), &dc)| dp * o * tanh(c) + dc * c).sum();
                    }
                    dhidden.row_mut(before).scaled_add(weight, &dp.row(k));
                    let (mut earlier, later) = dcell.multi_slice_mut((s![before, ..], s![visit, ..]));
                    earlier.scaled_add(weight, &later);
                }
            }
        }
        add_product(grad.state.view_mut(), hidden_before.t(), gates.view());
        let dh = self.input.backward(schedule.to_visit_order(h).view(), gates.view(), &mut grad.input);
        schedule.to_node_order(&dh)
    }
}

/// The rows `[a; b]`.
fn side_by_side<S: Scalar>(a: &Array2<S>, b: &Array2<S>) -> Array2<S> {
    let (n, d) = a.dim();
    let mut both = Vec::with_capacity(2 * n * d);
    for (a, b) in row_slices(a).zip(row_slices(b)) {
        both.extend_from_slice(a);
        both.extend_from_slice(b);
    }
    Array2::from_shape_vec((n, 2 * d), both).expect("both have n rows of d columns")
}

fn row<S>(x: &Array2<S>, i: usize) -> &[S] {
    let d = x.ncols();
    &x.as_slice().expect("states are stored in row-major order")[i * d..(i + 1) * d]
}

fn row_mut<S>(x: &mut Array2<S>, i: usize) -> &mut [S] {
    let d = x.ncols();
    &mut x.as_slice_mut().expect("states are stored in row-major order")[i * d..(i + 1) * d]
}

/// The order in which nodes are visited: by level, so that every predecessor comes in an earlier level.
#[derive(Clone, Debug)]
struct Schedule<S> {
    /// The node of each visit.
    nodes: Vec<u32>,
    level_starts: Vec<usize>,
    /// For each visit, where its predecessors start.
    starts: Vec<u32>,
    predecessors: Vec<Predecessor<S>>,
}

/// A visit that comes before another.
#[derive(Clone, Copy, Debug)]
struct Predecessor<S> {
    before: u32,
    weight: S,
    /// Of the explicit edge, or [`IMPLIED`].
    place: u32,
}

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
        let mut graph_of = vec![0u32; n];
        for graph in 0..topology.graphs() {
            graph_of[topology.range(graph)].fill(graph as u32);
        }
        let range = |node: usize| topology.range(graph_of[node] as usize);
        let mut level = vec![0u32; n];
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
        let mut level_starts = vec![0; levels + 1];
        for &l in &level {
            level_starts[l as usize + 1] += 1;
        }
        for l in 0..levels {
            level_starts[l + 1] += level_starts[l];
        }
        let mut next = level_starts.clone();
        let (mut nodes, mut visit_of) = (vec![0u32; n], vec![0u32; n]);
        for node in 0..n {
            let visit = &mut next[level[node] as usize];
            nodes[*visit] = node as u32;
            visit_of[node] = *visit as u32;
            *visit += 1;
        }
        let (mut starts, mut predecessors) = (Vec::with_capacity(n + 1), Vec::with_capacity(edges));
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

    fn widest(&self) -> usize {
        self.levels().map(|level| level.len()).max().unwrap_or(0)
    }

    fn predecessors(&self, visit: usize) -> &[Predecessor<S>] {
        &self.predecessors[self.starts[visit] as usize..self.starts[visit + 1] as usize]
    }

    fn to_visit_order(&self, x: &ndarray::ArrayBase<impl ndarray::Data<Elem = S>, ndarray::Ix2>) -> Array2<S> {
        let mut y = Vec::with_capacity(x.len());
        for &node in &self.nodes {
            y.extend_from_slice(x.row(node as usize).to_slice().expect("features of a node stand side by side"));
        }
        Array2::from_shape_vec(x.dim(), y).expect("every node is visited once")
    }

    fn to_node_order(&self, x: &Array2<S>) -> Array2<S> {
        let mut y = Array2::zeros(x.dim());
        for (row, &node) in x.rows().into_iter().zip(&self.nodes) {
            y.row_mut(node as usize).assign(&row);
        }
        y
    }
}
