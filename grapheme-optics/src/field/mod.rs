//! Instruments over an error map, and over any field.
//!
//! Each measures one thing and has a law that shows that it measures what it says: gradient energy and the first-order
//! law ([`gradient`]), stored error and its breakdown ([`charge`]), fringes and nodal lines ([`fringes`]), isolines and
//! their speed ([`fronts`]), hedging ([`hedging`]), and whether two predictors see alike ([`likeness`]). [`nodes`] has the charge and the
//! gradient energy of a field on graphs.

pub mod charge;
pub mod fringes;
pub mod fronts;
pub mod gradient;
pub mod hedging;
pub mod likeness;
pub mod nodes;
