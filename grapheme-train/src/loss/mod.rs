//! What a predicted graph costs against its target.
//!
//! Start at [`StructuralLoss`]: it takes what a network says about one example ([`Predicted`]) and the graph that was
//! asked for ([`Target`]), and answers with the loss and its gradient. Knows nothing of networks.
//! [`align`] decides who is matched with whom; [`edge`] and [`clique`] are the costs besides that of nodes.

pub mod align;
pub mod band;
pub mod clique;
pub mod edge;
mod node;
mod stream;
mod structural;

pub use align::{Alignment, Assignment, Monotone, SettingError, Sinkhorn, Status};
pub use band::{Band, Banded};
pub use edge::WeightedEdge;
pub use node::{Activation, NodeWeights};
pub use stream::{Gates, Streamed};
pub use structural::{Evaluation, Gate, LossError, Parts, Predicted, PredictedGradient, StructuralLoss, Target};
