//! Media as the linear maps that they were to one gradient, for single rays to cross.
//!
//! Bending and bands depend on the whole gradient. Held at what they did to it, they are linear, and what the rays of that
//! gradient become adds up to what the gradient became.

use super::refraction::Turn;
use super::rows::slices_mut;
use super::{Bend, Element, Ledger, Notes, Refraction, Scratch, Stack, rows};
use grapheme_core::{Scalar, Topology};
use ndarray::Array2;

/// A [`Stack`] as it was to one gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct FrozenStack<S>(Vec<Frozen<S>>);

#[derive(Clone, Debug, PartialEq)]
enum Frozen<S> {
    /// Linear by itself.
    Linear(Element<S>),
    /// Each row turned as it was.
    Turns(Refraction<S>, Vec<Turn>),
    /// The factor of a band.
    Scaled(f64),
}

impl<S: Scalar> Stack<S> {
    /// Whether it is a linear map, whatever crosses it.
    pub fn is_linear(&self) -> bool {
        self.0.iter().all(|element| matches!(element, Element::Attenuation(_) | Element::Diffusion(_)))
    }

    /// The map that it is to `g`, which is not changed.
    pub fn freeze(&self, topology: &Topology, g: &Array2<S>) -> FrozenStack<S> {
        let mut g = g.clone();
        let mut frozen = Vec::with_capacity(self.0.len());
        for element in &self.0 {
            let before = rows::energy(&g);
            let turns = match element {
                Element::Refraction(refraction) => refraction.turns(&g),
                _ => Vec::new(),
            };
            cross(element, topology, &mut g);
            frozen.push(match element {
                Element::Refraction(refraction) => Frozen::Turns(refraction.clone(), turns),
                Element::Band(_) => Frozen::Scaled(if before > 0.0 { (rows::energy(&g) / before).sqrt() } else { 1.0 }),
                linear => Frozen::Linear(linear.clone()),
            });
        }
        FrozenStack(frozen)
    }
}

impl<S: Scalar> FrozenStack<S> {
    /// Carries part of the gradient through, in place: row i as row i of the gradient went.
    pub fn cross(&self, topology: &Topology, part: &mut Array2<S>) {
        for element in &self.0 {
            match element {
                Frozen::Linear(element) => cross(element, topology, part),
                Frozen::Turns(refraction, turns) => refraction.cross_frozen(turns, part),
                Frozen::Scaled(factor) => {
                    let factor = S::lit(*factor);
                    slices_mut(part).for_each(|row| row.iter_mut().for_each(|x| *x *= factor));
                }
            }
        }
    }
}

fn cross<S: Scalar>(element: &Element<S>, topology: &Topology, g: &mut Array2<S>) {
    let (mut ledger, mut bend, mut scratch) = (Ledger::default(), Bend::default(), Scratch::default());
    let mut notes = Notes { ledger: &mut ledger, bend: &mut bend, watch: None, scratch: &mut scratch };
    element.cross(topology, g, &mut notes);
}
