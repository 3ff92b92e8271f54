//! Gated message passing between nodes at a fixed distance.

use super::{Dropout, Layer, LayerNorm, Linear, NormCache, Pass, ShapeError, row_slices, row_slices_mut, sigmoid};
use crate::param_tree;
use crate::random::Stream;
use crate::scalar::Scalar;
use ndarray::{Array2, s};

/// `y = x + dropout(GLU([before; h; after] W3 + b3) W + b)`, `h = LayerNorm(x)`, `GLU([u; v]) = u * sigmoid(v)`
/// (gated convolution: Dauphin et al., 2017).
///
/// `before` of a node is the row of `h` at the given distance before it in the chain, plus the rows of the nodes with an
/// explicit edge to it, times the edge's weight; `after` is the same in the other direction. Where there is no such node
/// it is zero. Gathering `before` and gathering `after` are each other's transpose, which is all that backward needs.
///
/// Without the residual connection ([`GatedRound::without_residual`]), `y = dropout(GLU(...) W + b)`.
///
/// Cost: one product n x 3d x 2d and one n x d x d each way; memory 3 n d numbers for the cache.
#[derive(Clone, Debug)]
pub struct GatedRound<S> {
    /// Normalises the input.
    pub norm: LayerNorm<S>,
    /// 3d to 2d: values and gates from the three rows.
    pub gather: Linear<S>,
    /// d to d.
    pub project: Linear<S>,
    distance: usize,
    dropout: Dropout,
    residual: bool,
}

param_tree!(GatedRound { norm, gather, project });

/// What [`GatedRound`]'s backward pass needs: the normalised rows and the input of the GLU. Gathered rows and the GLU's
/// output are computed again.
#[derive(Clone, Debug)]
pub struct GatedCache<S> {
    norm: NormCache<S>,
    glu_input: Array2<S>,
}

impl<S: Scalar> GatedRound<S> {
    /// A round over neighbours at `distance`.
    pub fn new(width: usize, distance: usize, dropout: Dropout, stream: &mut Stream) -> Self {
        Self {
            norm: LayerNorm::new(width),
            gather: Linear::new(3 * width, 2 * width, stream),
            project: Linear::new(width, width, stream),
            distance,
            dropout,
            residual: true,
        }
    }

    /// The same round, whose message replaces the node instead of being added to it.
    #[must_use]
    pub fn without_residual(self) -> Self {
        Self { residual: false, ..self }
    }
}

impl<S: Scalar> Layer<S> for GatedRound<S> {
    type Cache = GatedCache<S>;

    fn forward(&self, mut x: Array2<S>, pass: Pass<'_, S>) -> Result<(Array2<S>, GatedCache<S>), ShapeError> {
        ShapeError::check("gated round", &x, [pass.topology.nodes(), self.norm.gain.len()])?;
        let (h, norm) = self.norm.forward(&x)?;
        let glu_input = self.gather.forward(gather(&h, pass, self.distance).view())?;
        let mut message = self.project.forward(glu(&glu_input).view())?;
        self.dropout.apply(&mut message, pass);
        if self.residual {
            x += &message;
        } else {
            x = message;
        }
        Ok((x, GatedCache { norm, glu_input }))
    }

    fn backward(
        &self,
        cache: GatedCache<S>,
        mut dy: Array2<S>,
        pass: Pass<'_, S>,
        dweights: &mut Vec<S>,
        grad: &mut Self,
    ) -> Array2<S> {
        let GatedCache { norm, glu_input } = cache;
        let mut dmessage = dy.clone();
        self.dropout.apply(&mut dmessage, pass);
        let dglu = self.project.backward(glu(&glu_input).view(), dmessage.view(), &mut grad.project);
        let dglu_input = glu_backward(glu_input, &dglu);
        let gathered = gather(&norm.output(&self.norm), pass, self.distance);
        let dgathered = self.gather.backward(gathered.view(), dglu_input.view(), &mut grad.gather);
        add_weight_gradient(&dgathered, &gathered, pass, dweights);
        let dh = gather_backward(&dgathered, pass, self.distance);
        let dx = self.norm.backward(&norm, dh, &mut grad.norm);
        if !self.residual {
            return dx;
        }
        dy += &dx;
        dy
    }
}

/// The rows `[before; h; after]`, n x 3d.
fn gather<S: Scalar>(h: &Array2<S>, pass: Pass<'_, S>, distance: usize) -> Array2<S> {
    let (n, d) = h.dim();
    let topology = pass.topology;
    let rows = h.as_slice().expect("activations are stored in row-major order");
    let nothing = vec![S::zero(); d];
    let row = |i: usize| &rows[i * d..(i + 1) * d];
    let mut z = Vec::with_capacity(n * 3 * d);
    for graph in 0..topology.graphs() {
        let range = topology.range(graph);
        for i in range.clone() {
            let before = topology.is_chain() && i >= range.start + distance;
            let after = topology.is_chain() && i + distance < range.end;
            z.extend_from_slice(if before { row(i - distance) } else { &nothing });
            z.extend_from_slice(row(i));
            z.extend_from_slice(if after { row(i + distance) } else { &nothing });
        }
    }
    let mut z = Array2::from_shape_vec((n, 3 * d), z).expect("every node is in one graph");
    for (place, edge) in topology.incoming().as_slice().iter().enumerate() {
        let (source, target, weight) = (edge.source as usize, edge.target as usize, pass.weight(place, edge));
        z.slice_mut(s![target, ..d]).scaled_add(weight, &h.row(source));
        z.slice_mut(s![source, 2 * d..]).scaled_add(weight, &h.row(target));
    }
    z
}

/// The transpose of [`gather`].
fn gather_backward<S: Scalar>(dz: &Array2<S>, pass: Pass<'_, S>, distance: usize) -> Array2<S> {
    let (n, d) = (dz.nrows(), dz.ncols() / 3);
    let topology = pass.topology;
    let mut dh = Array2::zeros((n, d));
    let rows = dz.as_slice().expect("gradients are stored in row-major order");
    let row = |i: usize| rows[i * 3 * d..][..3 * d].split_at(d);
    crate::wide! {
        let mut graphs = (0..topology.graphs()).map(|graph| topology.range(graph));
        let mut range = 0..0;
        for (i, dh) in row_slices_mut(&mut dh).enumerate() {
            while i >= range.end {
                range = graphs.next().expect("every node is in one graph");
            }
            dh.copy_from_slice(&row(i).1[..d]);
            if topology.is_chain() && i + distance < range.end {
                for (dh, &d) in dh.iter_mut().zip(row(i + distance).0) {
                    *dh += d;
                }
            }
            if topology.is_chain() && i >= range.start + distance {
                for (dh, &d) in dh.iter_mut().zip(&row(i - distance).1[d..]) {
                    *dh += d;
                }
            }
        }
    }
    for (place, edge) in topology.incoming().as_slice().iter().enumerate() {
        let (source, target, weight) = (edge.source as usize, edge.target as usize, pass.weight(place, edge));
        dh.row_mut(source).scaled_add(weight, &dz.slice(s![target, ..d]));
        dh.row_mut(target).scaled_add(weight, &dz.slice(s![source, 2 * d..]));
    }
    dh
}

/// `dw = <dbefore_target, h_source> + <dafter_source, h_target>` of each explicit edge, where it is asked for.
fn add_weight_gradient<S: Scalar>(dz: &Array2<S>, z: &Array2<S>, pass: Pass<'_, S>, dweights: &mut [S]) {
    let d = z.ncols() / 3;
    let h = z.slice(s![.., d..2 * d]);
    let (dbefore, dafter) = (dz.slice(s![.., ..d]), dz.slice(s![.., 2 * d..]));
    for (dweight, edge) in dweights.iter_mut().zip(pass.topology.incoming().as_slice()) {
        let (source, target) = (edge.source as usize, edge.target as usize);
        *dweight += dbefore.row(target).dot(&h.row(source)) + dafter.row(source).dot(&h.row(target));
    }
}

/// `u * sigmoid(v)` for rows `[u; v]`.
fn glu<S: Scalar>(input: &Array2<S>) -> Array2<S> {
    let d = input.ncols() / 2;
    let mut y = Array2::zeros((input.nrows(), d));
    crate::wide! {
        for (row, y) in row_slices(input).zip(row_slices_mut(&mut y)) {
            let (u, v) = row.split_at(d);
            for ((y, &u), &v) in y.iter_mut().zip(u).zip(v) {
                *y = u * sigmoid(v);
            }
        }
    }
    y
}

/// Gradient of the GLU's input, written over the input.
fn glu_backward<S: Scalar>(mut input: Array2<S>, dy: &Array2<S>) -> Array2<S> {
    let d = dy.ncols();
    crate::wide! {
        for (row, dy) in row_slices_mut(&mut input).zip(row_slices(dy)) {
            let (u, v) = row.split_at_mut(d);
            for ((u, v), &dy) in u.iter_mut().zip(v).zip(dy) {
                let (value, gate) = (*u, sigmoid(*v));
                *u = dy * gate;
                *v = dy * value * gate * (S::one() - gate);
            }
        }
    }
    input
}
