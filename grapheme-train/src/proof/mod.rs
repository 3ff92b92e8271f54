//! What the project claims of its derivatives, as experiments that a program can repeat.
//!
//! [`pairs`] is the smallest task there is; [`descent`] goes down its loss with plain gradient descent, and [`threshold`]
//! follows the merge thresholds on the way, which [`picture`] draws.

pub mod descent;
pub mod pairs;


