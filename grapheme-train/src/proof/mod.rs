//! Experiments that show what the project claims of its derivatives; the `test_*` binaries repeat them.
//!
//! [`gradient_check`] holds every derivative against finite differences; [`descent`] goes down the loss of three small
//! pairs ([`pairs`]) by plain gradient descent, with a control that forgets the merges; [`threshold`] follows the learned
//! merge thresholds on the same pairs.

pub mod descent;
pub mod gradient_check;
pub mod pairs;
pub mod threshold;
