//! Gated message passing between nodes at a fixed distance.

use super::neighbours::{Alike, Neighbours};
use super::{Dropout, Layer, LayerNorm, Linear, NormCache, Pass, ShapeError, row_slices, row_slices_mut, sigmoid};
use crate::kept::{Kept, Matrix};
use crate::param_tree;
use crate::random::Stream;
use crate::scalar::Scalar;

/// `y = x + dropout(GLU([before; h; after] W3 + b3) W + b)`, `h = LayerNorm(x)`, `GLU([u; v]) = u * sigmoid(v)`
/// (gated convolution: Dauphin et al., 2017).
///
/// `before` of a node is the row of `h` at the given distance before it in the chain, plus the rows of the nodes with an
/// explicit edge to it, times the edge's weight; `after` is the same in the other direction. Where there is no such node
/// it is zero, and its product is left out.
///
/// Without the residual connection ([`GatedRound::without_residual`]), `y = dropout(GLU(...) W + b)`.
///
/// Cost: three products n x d x 2d and one n x d x d each way; memory 3 n d numbers for the cache.
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

/// What [`GatedRound`]'s backward pass needs: the normalised rows, which of them are alike, and the input of the GLU, whose
/// output is computed again.
#[derive(Clone, Debug)]
pub struct GatedCache<S: Scalar> {
    norm: NormCache<S>,
    alike: Option<Alike>,
    glu_input: Matrix<S>,
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

    fn forward(&self, mut x: Matrix<S>, pass: Pass<'_, S>) -> Result<(Matrix<S>, GatedCache<S>), ShapeError> {
        ShapeError::check("gated round", &x, [pass.topology.nodes(), self.norm.gain.len()])?;
        let norm = self.norm.forward(&x)?;
        let alike = Alike::find(&norm, pass.topology);
        let neighbours = Neighbours::new((&self.norm, &norm), alike, pass, self.distance);
        let (glu_input, alike) = (neighbours.forward(&self.gather), neighbours.into_alike());
        let glu = glu(&glu_input);
        if self.residual && !self.dropout.drops(pass) {
            self.project.add_forward(glu.view(), &mut x)?;
        } else {
            let mut message = self.project.forward(glu.view())?;
            self.dropout.apply(&mut message, pass);
            if self.residual {
                x += &message;
            } else {
                x = message;
            }
        }
        Ok((x, GatedCache { norm, alike, glu_input }))
    }

    fn backward(
        &self,
        cache: GatedCache<S>,
        dy: Matrix<S>,
        pass: Pass<'_, S>,
        dweights: &mut Kept<S>,
        grad: &mut Self,
    ) -> Matrix<S> {
        let GatedCache { norm, alike, glu_input } = cache;
        let masked = self.dropout.masked(&dy, pass);
        let dmessage = masked.as_ref().unwrap_or(&dy);
        let dglu = self.project.backward_input(dmessage.view());
        let (glu, dglu_input) = glu_backward(glu_input, dglu);
        self.project.backward_parameters(glu.view(), dmessage.view(), &mut grad.project);
        let neighbours = Neighbours::new((&self.norm, &norm), alike, pass, self.distance);
        let dh = neighbours.backward(&self.gather, &dglu_input, dweights, &mut grad.gather);
        self.norm.backward(&norm, dh, self.residual.then_some(&dy), &mut grad.norm)
    }
}

/// `u * sigmoid(v)` for rows `[u; v]`.
fn glu<S: Scalar>(input: &Matrix<S>) -> Matrix<S> {
    let d = input.ncols() / 2;
    let mut y = Matrix::unset((input.nrows(), d));
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

/// The GLU's output once more, written over its gradient, and the gradient of its input, written over the input: both ask for the
/// same sigmoid.
fn glu_backward<S: Scalar>(mut input: Matrix<S>, mut dy: Matrix<S>) -> (Matrix<S>, Matrix<S>) {
    let d = dy.ncols();
    crate::wide! {
        for (row, dy) in row_slices_mut(&mut input).zip(row_slices_mut(&mut dy)) {
            let (u, v) = row.split_at_mut(d);
            for ((u, v), dy) in u.iter_mut().zip(v).zip(dy) {
                let gate = sigmoid(*v);
                let y = *u * gate;
                *u = *dy * gate;
                *v = *dy * y * (S::one() - gate);
                *dy = y;
            }
        }
    }
    (dy, input)
}
