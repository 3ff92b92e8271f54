//! Which gradient through a discrete change to trust, what it costs, and what training makes of it.
//!
//! [`judge`] holds every estimator against the gradient of its enumerated objective, block by block; [`curves`] trains the
//! same model under each; [`picture`] draws both.

pub mod curves;
pub mod judge;
pub mod picture;
