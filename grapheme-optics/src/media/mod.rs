//! What a gradient crosses at a boundary: attenuation, refraction, diffusion, an energy band; any stack of them.
//!
//! Rows of a gradient are rays, `||g||^2` is energy. [`Element`] is the family, [`Stack`] any number of them in a row, and a
//! [`Ledger`] says where the energy went. Read [`attenuation`] first and [`refraction`] last. [`frozen`] makes linear maps of
//! them, for single rays.
//!
//! Sizes: n rows, d features, k dimensions of a [`refraction::Frame`].

pub mod attenuation;
pub mod band;
pub mod diffusion;
pub mod fourier;
pub mod frozen;
pub mod laplacian;
pub mod ledger;
pub mod refraction;
pub mod rows;
pub mod snell;
pub mod subspace;

pub use attenuation::{Attenuation, amplitude};
pub use band::EnergyBand;
pub use diffusion::Diffusion;
pub use fourier::FourierWindow;
pub use frozen::FrozenStack;
pub use ledger::Ledger;
pub use refraction::{Bend, Fate, Frame, Refraction};
pub use snell::Polarisation;
pub use subspace::Eye;

use grapheme_core::{Scalar, Topology};
use ndarray::Array2;

/// One thing that a gradient crosses.
#[derive(Clone, Debug, PartialEq)]
pub enum Element<S> {
    /// Fades it.
    Attenuation(Attenuation),
    /// Turns its rays.
    Refraction(Refraction<S>),
    /// Spreads it over neighbours.
    Diffusion(Diffusion),
    /// Holds its energy within a band.
    Band(EnergyBand),
}

/// What a crossing leaves behind besides the gradient.
#[derive(Debug)]
pub struct Notes<'a, S> {
    /// Where energy went; [`Stack::cross`] fills in what came and what left.
    pub ledger: &'a mut Ledger,
    /// How far rays were turned.
    pub bend: &'a mut Bend,
    /// Moments of the rays along the axes of a refraction, to be added to.
    pub watch: Option<&'a mut Array2<S>>,
    /// Memory that crossings share.
    pub scratch: &'a mut Scratch<S>,
}

impl<S: Scalar> Element<S> {
    /// Carries `g` through, in place.
    pub fn cross(&self, topology: &Topology, g: &mut Array2<S>, notes: &mut Notes<'_, S>) {
        match self {
            Self::Attenuation(attenuation) => attenuation.cross(topology, g, notes.ledger, notes.scratch),
            Self::Refraction(refraction) => {
                refraction.cross(g, notes.ledger, notes.bend, notes.watch.as_deref_mut());
            }
            Self::Diffusion(diffusion) => diffusion.cross(topology, g, notes.ledger, notes.scratch),
            Self::Band(band) => band.cross(g, notes.ledger),
        }
    }
}

/// Elements in the order in which a gradient meets them. An empty stack is a vacuum, to the bit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stack<S>(pub Vec<Element<S>>);

impl<S: Scalar> Stack<S> {
    /// This stack and then `below`: media compose.
    #[must_use]
    pub fn then(mut self, below: Self) -> Self {
        self.0.extend(below.0);
        self
    }

    /// Carries `g` through all elements, in place, and adds the energies before and behind to the ledger.
    pub fn cross(&self, topology: &Topology, g: &mut Array2<S>, notes: &mut Notes<'_, S>) {
        let before = rows::energy(g);
        notes.ledger.incoming += before;
        for element in &self.0 {
            element.cross(topology, g, notes);
        }
        notes.ledger.outgoing += if self.0.is_empty() { before } else { rows::energy(g) };
    }
}

/// Memory that is kept from crossing to crossing, so that none is asked for within.
#[derive(Clone, Debug)]
pub struct Scratch<S> {
    /// A few rows.
    pub row: Vec<S>,
    matrices: [Array2<S>; 4],
}

impl<S: Scalar> Default for Scratch<S> {
    fn default() -> Self {
        Self { row: Vec::new(), matrices: std::array::from_fn(|_| Array2::zeros((0, 0))) }
    }
}

impl<S: Scalar> Scratch<S> {
    /// Matrix `i` of 4, of a given shape; its numbers are whatever they were. All before it get the same shape.
    fn matrix(&mut self, i: usize, shape: (usize, usize)) -> &mut Array2<S> {
        for matrix in &mut self.matrices[..=i] {
            if matrix.dim() != shape {
                *matrix = Array2::zeros(shape);
            }
        }
        &mut self.matrices[i]
    }

    fn all_mut(&mut self) -> &mut [Array2<S>; 4] {
        &mut self.matrices
    }
}
