//! What a node reads of its neighbours, multiplied where it is.

use super::{LayerNorm, Linear, NormCache, Pass, add_row_sum, row_slices, row_slices_mut};
use crate::graph::{Edges, Topology};
use crate::kept::{Kept, Matrix};
use crate::product::{
    DEPTH, Factor, add_product, add_product_of_rows, add_product_over_rows, affine, product, write_product,
};
use crate::random::mix;
use crate::scalar::Scalar;
use crate::vector::{add, add_scaled, dot};
use crate::wide;
use ndarray::{ArrayView2, s};
use std::array::from_fn;

/// The rows `[before; h; after]` of all nodes without zeros and copies: the rows of `h`, and which of them each node has before and after it.
/// Where explicit edges meet, their weighted sum is a row of its own, beyond those of `h`.
///
/// A product with all of it is three, each of rows of `h` with a third of the weights, and takes no time for what nodes at the ends of a
/// chain do not have. Where many nodes are alike, as the letters of texts are before they have read of each other, each kind of row is
/// multiplied once, to the same bits.
pub(super) struct Neighbours<'a, S: Scalar> {
    pass: Pass<'a, S>,
    distance: usize,
    nodes: usize,
    /// Those of `h`, then the sums; or of each kind one.
    rows: Matrix<S>,
    alike: Option<Alike>,
    /// The row before a node, and the node; in the order of nodes.
    before: Kept<[u32; 2]>,
    /// The row after a node, and the node.
    after: Kept<[u32; 2]>,
}

/// Nodes of a few kinds: those of one kind have the same row.
#[derive(Clone, Debug)]
pub(super) struct Alike {
    /// The first node of each kind.
    first: Kept<u32>,
    /// The kind of each node.
    kinds: Kept<u32>,
}

impl Alike {
    /// Those of normalised rows, if there are at least twice as many nodes as kinds, and a product over kinds has the bits of that over
    /// nodes.
    pub(super) fn find<S: Scalar>(cache: &NormCache<S>, topology: &Topology) -> Option<Self> {
        let has_sums = !topology.incoming().as_slice().is_empty();
        if has_sums || cache.dim().1 > DEPTH { None } else { wide!(alike(cache.unit())) }
    }
}

/// See [`Alike::find`]. Ends early where few are alike: those that have heard of their neighbours.
#[inline(always)]
fn alike<S: Scalar>(rows: &Matrix<S>) -> Option<Alike> {
    /// Kinds that may be found before there must be twice as many nodes.
    const FEW: usize = 16;
    /// Other kinds that may be met on the way to one.
    const MET: usize = 8;
    const NONE: u32 = u32::MAX;
    let (n, d) = rows.dim();
    let row = |node: usize| &rows.values()[node * d..][..d];
    let mut table = Kept::filled(n.next_power_of_two(), NONE);
    let (mut first, mut kinds) = (Kept::with_capacity(n), Kept::with_capacity(n));
    for node in 0..n {
        let some = row(node).iter().step_by(d.div_ceil(4));
        let hash = mix(some.fold(0_u64, |hash, x| hash.rotate_left(13) ^ x.widen().to_bits())) as usize;
        let mut place = hash & (table.len() - 1);
        let mut met = 0;
        while let Some(&other) = first.get(table[place] as usize) {
            if is_same(row(node), row(other as usize)) {
                break;
            }
            (place, met) = ((place + 1) & (table.len() - 1), met + 1);
            if met == MET {
                return None;
            }
        }
        if table[place] == NONE {
            if first.len() >= FEW + node / 2 || 2 * first.len() >= n {
                return None;
            }
            table[place] = first.len() as u32;
            first.push(node as u32);
        }
        kinds.push(table[place]);
    }
    (2 * first.len() <= n).then_some(Alike { first, kinds })
}

/// On which side of a node its neighbours are.
#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

/// The rows that are sums, beyond those of the nodes, each with its node and side; from the pairs before nodes and after them.
fn sums(nodes: usize, [before, after]: [&[[u32; 2]]; 2]) -> impl Iterator<Item = (usize, (usize, Side))> {
    let sides = [(before, Side::Before), (after, Side::After)].into_iter();
    let all = sides.flat_map(|(pairs, side)| pairs.iter().map(move |pair| (pair.map(|row| row as usize), side)));
    all.filter(move |([row, _], _)| *row >= nodes).map(|([row, node], side)| (row, (node, side)))
}

/// Calls `act` with each neighbour of a node on one side, what it weighs, and the place of the edge if it is an explicit one.
fn each_neighbour<S: Scalar>(
    pass: Pass<'_, S>,
    distance: usize,
    (node, side): (usize, Side),
    mut act: impl FnMut(usize, S, Option<usize>),
) {
    let topology = pass.topology;
    let range = topology.range(topology.graph_of(node as u32));
    let next = match side {
        Side::Before => node.checked_sub(distance).filter(|before| range.contains(before)),
        Side::After => Some(node + distance).filter(|after| range.contains(after)),
    };
    if let Some(next) = next.filter(|_| topology.is_chain()) {
        act(next, S::one(), None);
    }
    match side {
        Side::Before => {
            for (place, edge) in topology.entering(node) {
                act(edge.source as usize, pass.weight(place, edge), Some(place));
            }
        }
        Side::After => {
            for (place, edge) in topology.leaving(node) {
                act(edge.target as usize, pass.weight(place, edge), Some(place));
            }
        }
    }
}

/// Whether two rows are the same, side by side to their end: nearly always they are.
#[inline(always)]
fn is_same<S: Scalar>(x: &[S], y: &[S]) -> bool {
    const LANES: usize = 16;
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    let mut differ = [0_u32; LANES];
    for (x, y) in x.iter().zip(y) {
        differ = from_fn(|k| differ[k] | u32::from(x[k] != y[k]));
    }
    differ == [0; LANES] && x_rest == y_rest
}

impl<'a, S: Scalar> Neighbours<'a, S> {
    /// Those of nodes with normalised rows, which may be alike, at the given distance along the chain.
    pub(super) fn new(
        (norm, cache): (&LayerNorm<S>, &NormCache<S>),
        alike: Option<Alike>,
        pass: Pass<'a, S>,
        distance: usize,
    ) -> Self {
        let (topology, (nodes, d)) = (pass.topology, cache.dim());
        let (mut before, mut after) = (Kept::with_capacity(nodes), Kept::with_capacity(nodes));
        let mut count = nodes as u32;
        let has_edges = !topology.incoming().as_slice().is_empty();
        for range in (0..topology.graphs()).map(|graph| topology.range(graph)) {
            for node in range.clone() {
                let is_sum = |edges: &Edges| has_edges && !edges.of(node).is_empty();
                let mut push = |pairs: &mut Kept<[u32; 2]>, is_sum: bool, next: usize| {
                    if is_sum {
                        pairs.push([count, node as u32]);
                        count += 1;
                    } else if topology.is_chain() && range.contains(&next) {
                        pairs.push([next as u32, node as u32]);
                    }
                };
                push(&mut before, is_sum(topology.incoming()), node.wrapping_sub(distance));
                push(&mut after, is_sum(topology.outgoing()), node + distance);
            }
        }
        if let Some(Alike { first, .. }) = &alike {
            let mut rows = Matrix::unset((first.len(), d));
            row_slices_mut(&mut rows).zip(first).for_each(|(row, &node)| norm.write_row(cache, node as usize, row));
            return Self { pass, distance, nodes, rows, alike, before, after };
        }
        let mut rows = Matrix::unset((count as usize, d));
        wide! {
            for (node, row) in row_slices_mut(&mut rows).take(nodes).enumerate() {
                norm.write_row(cache, node, row);
            }
        }
        let (own, totals) = rows.values_mut().split_at_mut(nodes * d);
        totals.fill(S::zero());
        for (row, place) in sums(nodes, [&before, &after]) {
            let total = &mut totals[(row - nodes) * d..][..d];
            each_neighbour(pass, distance, place, |node, weight, _| add_scaled(total, weight, &own[node * d..][..d]));
        }
        Self { pass, distance, nodes, rows, alike, before, after }
    }

    /// What [`new`](Self::new) was given.
    pub(super) fn into_alike(self) -> Option<Alike> {
        self.alike
    }

    /// Those of `h`.
    fn own(&self) -> ArrayView2<'_, S> {
        self.rows.slice(s![..self.nodes, ..])
    }

    /// `[before; h; after] W + b`, n x m for a layer of 3d x m.
    pub(super) fn forward(&self, layer: &Linear<S>) -> Matrix<S> {
        let [before, own, after] = thirds(layer);
        let Some(Alike { kinds, .. }) = &self.alike else {
            let mut y = affine(self.own(), own, layer.bias());
            add_product_of_rows(&mut y, &self.before, &self.rows, before);
            add_product_of_rows(&mut y, &self.after, &self.rows, after);
            return y;
        };
        let own = affine(self.rows.view(), own, layer.bias());
        let [before, after] = [before, after].map(|weight| product(self.rows.view(), weight));
        let mut y = Matrix::unset((self.nodes, own.ncols()));
        let m = y.ncols();
        let place = |node: usize| kinds[node] as usize * m..(kinds[node] as usize + 1) * m;
        wide! {
            for (node, y) in row_slices_mut(&mut y).enumerate() {
                y.copy_from_slice(&own.values()[place(node)]);
            }
            for (pairs, products) in [(&self.before, &before), (&self.after, &after)] {
                for &[other, node] in pairs {
                    let y = &mut y.values_mut()[node as usize * m..][..m];
                    add(y, &products.values()[place(other as usize)]);
                }
            }
        }
        y
    }

    /// Adds the gradient of the weights.
    fn backward_weight(&self, dy: &Matrix<S>, grad: &mut Linear<S>) {
        let d = self.rows.ncols();
        let Some(Alike { kinds, .. }) = &self.alike else {
            let factor = Factor::new(dy.view());
            add_product_over_rows(grad.weight.slice_mut(s![..d, ..]), &self.before, &self.rows, &factor);
            add_product(grad.weight.slice_mut(s![d..2 * d, ..]), self.own().t(), &factor);
            add_product_over_rows(grad.weight.slice_mut(s![2 * d.., ..]), &self.after, &self.rows, &factor);
            return;
        };
        let (kinds_count, m) = (self.rows.nrows(), dy.ncols());
        // What reaches the nodes of each kind, beside each other for rows before, own and after.
        let mut sums = [(); 3].map(|()| Matrix::zeros((kinds_count, m)));
        wide! {
            let [before, own, after] = sums.each_mut().map(|sums| sums.values_mut());
            for (dy, &kind) in row_slices(dy).zip(kinds) {
                add(&mut own[kind as usize * m..][..m], dy);
            }
            for (pairs, sums) in [(&self.before, before), (&self.after, after)] {
                for &[other, node] in pairs {
                    add(&mut sums[kinds[other as usize] as usize * m..][..m], &dy.values()[node as usize * m..][..m]);
                }
            }
        }
        for (part, sum) in sums.iter().enumerate() {
            add_product(grad.weight.slice_mut(s![part * d..(part + 1) * d, ..]), self.rows.t(), sum.view());
        }
    }

    /// `dh` for `dy` of [`forward`](Self::forward); adds the parameters' gradient into `grad`, and that of the edges' weights into
    /// `dweights`, by place, where it is asked for.
    pub(super) fn backward(
        &self,
        layer: &Linear<S>,
        dy: &Matrix<S>,
        dweights: &mut [S],
        grad: &mut Linear<S>,
    ) -> Matrix<S> {
        let (n, d) = (self.nodes, self.rows.ncols());
        self.backward_weight(dy, grad);
        add_row_sum(grad.bias.view_mut(), dy.view());
        let [before, own, after] = thirds(layer);
        let mut drows = Matrix::unset((n.max(self.rows.nrows()), d));
        drows.values_mut()[n * d..].fill(S::zero());
        write_product(drows.slice_mut(s![..n, ..]), dy.view(), own.t());
        let turned = |pairs: &Kept<[u32; 2]>| pairs.iter().map(|&[row, node]| [node, row]).collect::<Kept<_>>();
        add_product_of_rows(&mut drows, &turned(&self.before), dy, before.t());
        add_product_of_rows(&mut drows, &turned(&self.after), dy, after.t());
        if drows.nrows() == n {
            return drows;
        }
        let (own, dsums) = drows.values_mut().split_at_mut(n * d);
        for (row, place) in sums(n, [&self.before, &self.after]) {
            let dsum = &dsums[(row - n) * d..][..d];
            each_neighbour(self.pass, self.distance, place, |node, weight, edge| {
                add_scaled(&mut own[node * d..][..d], weight, dsum);
                if let Some(dweight) = edge.and_then(|place| dweights.get_mut(place)) {
                    *dweight += dot(dsum, &self.rows.values()[node * d..][..d]);
                }
            });
        }
        Matrix::of(drows.slice(s![..n, ..]))
    }
}

/// The weights of the rows before, of a node's own, and of those after.
fn thirds<S: Scalar>(layer: &Linear<S>) -> [ArrayView2<'_, S>; 3] {
    let d = layer.weight.nrows() / 3;
    [0, 1, 2].map(|part| layer.weight.slice(s![part * d..(part + 1) * d, ..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::NumericGradient;
    use crate::layers::{Dropout, GatedRound, Layer, uniform};
    use crate::param;
    use crate::random::Stream;
    use ndarray::Array2;
    use std::collections::BTreeMap;

    const WIDTH: usize = 20;

    /// Gradients of the rows and of the layer.
    fn back(neighbours: &Neighbours<'_, f32>, layer: &Linear<f32>, dy: &Matrix<f32>) -> (Matrix<f32>, Linear<f32>) {
        let mut grad = Linear { weight: layer.weight.clone() * 0.0, bias: layer.bias.clone() * 0.0 };
        (neighbours.backward(layer, dy, &mut [], &mut grad), grad)
    }

    /// Sixteen graphs of one to six nodes of four kinds: together they are multiplied by kinds, each alone is not. What comes out and what
    /// goes back to each row has the same bits, and the gradient of the weights is the sum.
    #[test]
    fn nodes_that_are_alike_are_as_if_alone() {
        let mut stream = Stream::new(5);
        let kinds = uniform::<f32>((4, WIDTH), 1.0, &mut stream);
        let (norm, layer) = (LayerNorm::new(WIDTH), Linear::new(3 * WIDTH, 24, &mut stream));
        let lengths: Vec<usize> = (0..16).map(|graph| 1 + graph % 6).collect();
        let topology = Topology::chains(lengths.iter().copied()).unwrap();
        let mut x = Matrix::unset((topology.nodes(), WIDTH));
        for (node, row) in row_slices_mut(&mut x).enumerate() {
            row.copy_from_slice(kinds.row((node * node) % 7 % 4).to_slice().unwrap());
        }
        let dy = Matrix::from(uniform::<f32>((topology.nodes(), 24), 1.0, &mut stream));
        for distance in [1, 2, 5] {
            let cache = norm.forward(&x).unwrap();
            let all = Neighbours::new((&norm, &cache), Alike::find(&cache, &topology), Pass::over(&topology), distance);
            assert!(all.alike.is_some() && all.rows.nrows() <= 4);
            let (y, (dh, grad)) = (all.forward(&layer), back(&all, &layer, &dy));
            let mut sum = layer.weight.clone() * 0.0;
            for (graph, &length) in lengths.iter().enumerate() {
                let (rows, alone) = (topology.range(graph), Topology::chains([length]).unwrap());
                let part = |of: &Matrix<f32>| Matrix::of(of.slice(s![rows.clone(), ..]));
                let cache = norm.forward(&part(&x)).unwrap();
                let one = Neighbours::new((&norm, &cache), None, Pass::over(&alone), distance);
                assert_eq!(one.forward(&layer), part(&y), "distance {distance}, graph {graph}");
                let (dh_one, grad_one) = back(&one, &layer, &part(&dy));
                assert_eq!(dh_one, part(&dh), "distance {distance}, graph {graph}");
                sum += &grad_one.weight;
            }
            let off = (&grad.weight - &sum).iter().fold(0.0_f32, |off, d| off.max(d.abs()));
            assert!(off < 1e-5 && sum.iter().any(|d| d.abs() > 0.1), "distance {distance}: {off}");
        }
    }

    /// Of the weights, by kinds, and of each row, which finite differences make a kind of its own.
    #[test]
    fn derivatives_agree_where_nodes_are_alike_and_a_fault_is_caught() {
        let mut stream = Stream::new(6);
        let round = GatedRound::<f64>::new(5, 2, Dropout { site: 0, rate: 0.0, isolation: 0.0 }, &mut stream);
        let topology = Topology::chains([4, 1, 3]).unwrap();
        let kinds = uniform::<f64>((2, 5), 1.0, &mut stream);
        let x: Vec<f64> = [0, 1, 0, 0, 1, 1, 0, 1].iter().flat_map(|&kind| kinds.row(kind).to_vec()).collect();
        let given = uniform::<f64>((8, 5), 1.0, &mut stream);
        let rows = |x: &[f64]| Matrix::from(Array2::from_shape_vec((8, 5), x.to_vec()).unwrap());
        let of = |round: &GatedRound<f64>, x: &[f64]| round.forward(rows(x), Pass::over(&topology)).unwrap();
        let loss = |round: &GatedRound<f64>, x: &[f64]| {
            let (y, _) = of(round, x);
            y.iter().zip(&given).map(|(y, g)| y * g + 0.5 * y * y).sum()
        };
        let (y, cache) = of(&round, &x);
        assert!(Alike::find(&round.norm.forward(&rows(&x)).unwrap(), &topology).is_some());
        let mut grad = param::zeros_like(&round);
        let dy = Matrix::from(&*y + &given);
        let dx = round.backward(cache, dy, Pass::over(&topology), &mut Kept::new(), &mut grad);
        let numeric = NumericGradient::of_model(&round, |_, _| true, |round| loss(round, &x))
            .and(NumericGradient::of_slice("features", &x, |x| loss(&round, x)));
        for fault in [None, Some("gather.weight"), Some("features")] {
            let mut blocks = BTreeMap::from([("features".to_owned(), dx.values().to_vec())]);
            param::each(&grad, |name, _, values| drop(blocks.insert(name.to_owned(), values.to_vec())));
            fault.into_iter().for_each(|name| blocks.get_mut(name).unwrap().iter_mut().for_each(|d| *d *= 1.01));
            let report = numeric.compare(1e-6, |name| &blocks[name]);
            assert_eq!(report.passed(), fault.is_none(), "{fault:?}\n{report}");
        }
    }

    #[test]
    fn few_that_are_alike_are_left_as_they_are() {
        let rows = |count: usize, of: usize| {
            let kinds = uniform::<f64>((of, WIDTH), 1.0, &mut Stream::new(1));
            let mut rows = Matrix::unset((count, WIDTH));
            row_slices_mut(&mut rows)
                .enumerate()
                .for_each(|(i, row)| row.copy_from_slice(kinds.row(i % of).to_slice().unwrap()));
            rows
        };
        let found = |count, of| alike(&rows(count, of)).map(|alike| (alike.first.len(), alike.kinds[count - 1]));
        assert_eq!(
            [found(60, 30), found(60, 31), found(1, 1), found(2, 1)],
            [Some((30, 29)), None, None, Some((1, 0))]
        );
        // A number that is none is like nothing.
        assert!(alike(&Matrix::from(ndarray::Array2::from_elem((40, 3), f64::NAN))).is_none());
    }
}
