//! The estimators by name, and which losses each can be used with.

use super::straight_through::harden;
use super::{Estimator, Marginal, Pathwise, Reinforce, SAMPLES, StraightThrough, Through};
use crate::loss::{Gate, StructuralLoss};
use crate::objective::LossName;
use grapheme_core::morph::Plan;
use grapheme_core::network::{Choice, Closing, ForwardError, ForwardOptions, MorphedGraph};
use grapheme_core::{GradientMedium, GraphBatch, GraphTransformNet, Scalar};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// The estimators by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EstimatorName {
    /// All choices summed over, exactly; for the `words` loss.
    Marginal,
    /// The most probable choices held fixed.
    Pathwise,
    /// Hard choices forward, the soft gate's derivative backward.
    StraightThrough,
    /// Hard choices forward that all candidates see, the logit's derivative backward; for the `words` loss.
    StraightThroughLogit,
    /// Sampled choices, by the score function.
    Reinforce,
}

/// A loss that an estimator is not defined for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the {loss} loss has no sum over all choices, which the estimator `{estimator}` takes: use --estimator pathwise, \
     straight-through or reinforce, or --loss words"
)]
pub struct Unsuited {
    /// The loss.
    pub loss: LossName,
    /// The estimator.
    pub estimator: EstimatorName,
}

/// What an insertion, and under hard or sampled choices a deletion, costs in the `words` loss of a plan, which may keep other
/// than as many nodes as there are units: about the log probability of a unit that was not thought of.
pub const MISMATCH: f64 = 10.0;

impl EstimatorName {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Marginal, Self::Pathwise, Self::StraightThrough, Self::StraightThroughLogit, Self::Reinforce];

    /// How the last morph closes under this estimator, in training and in use.
    pub fn closing(self) -> Closing {
        if self.sums() { Closing::Marginalised } else { Closing::Realised }
    }

    /// The estimator.
    pub fn build<S: Scalar, M: GradientMedium<S>>(self) -> Box<dyn Estimator<S, M>> {
        match self {
            Self::Marginal => Box::new(Marginal),
            Self::Pathwise => Box::new(Pathwise),
            Self::StraightThrough => Box::new(StraightThrough { through: Through::Gate }),
            Self::StraightThroughLogit => Box::new(StraightThrough { through: Through::Logit }),
            Self::Reinforce => Box::new(Reinforce { samples: SAMPLES }),
        }
    }

    /// A batch as a model that was trained under this estimator sees it in use, nothing dropped: what was certain in training
    /// is certain there as well, or the two would see different models.
    ///
    /// # Errors
    /// [`ForwardError`] if network and batch do not fit together.
    pub fn morph<S: Scalar>(
        self,
        net: &GraphTransformNet<S>,
        batch: &GraphBatch,
    ) -> Result<MorphedGraph<S>, ForwardError> {
        let opened = net.open(batch, ForwardOptions::realised())?;
        let own = opened.gates();
        let plan = Plan::most_probable(own);
        Ok(match self {
            Self::Marginal => net.close(&opened, own, Choice::Open)?.0,
            Self::Pathwise | Self::Reinforce => net.close(&opened, own, Choice::Taken(&plan))?.0,
            Self::StraightThroughLogit => net.close(&opened, &harden(Through::Logit, &plan), Choice::Open)?.0,
            Self::StraightThrough => {
                let (morphed, _) = net.close(&opened, &harden(Through::Gate, &plan), Choice::Taken(&plan))?;
                // How sure a choice was is still that of the gates.
                MorphedGraph { gates: own.clone(), ..morphed }
            }
        })
    }

    /// The default settings of a loss as this estimator needs them.
    ///
    /// In the `words` loss of one plan (`Pathwise`) an insertion is possible, at `MISMATCH`. Where choices are taken for
    /// certain (`StraightThrough`, `Reinforce`) gates are no costs besides: a node that stayed and matches nothing costs
    /// `MISMATCH` too, and `L(z)` is `-ln p(target | z)` where the count fits.
    ///
    /// # Errors
    /// [`Unsuited`] for the `graph` loss under a sum over all choices.
    pub fn loss(self, name: LossName) -> Result<StructuralLoss, Unsuited> {
        let mut loss = name.settings();
        match (name, self) {
            (LossName::Graph, _) if self.sums() => return Err(Unsuited { loss: name, estimator: self }),
            (LossName::Graph, _) => (),
            (LossName::Words, _) if self.sums() => (),
            (LossName::Words, Self::Pathwise) => loss.insertion = Some(MISMATCH),
            (LossName::Words, _) => {
                (loss.insertion, loss.gate) = (Some(MISMATCH), Gate::Mass { deletion: MISMATCH });
            }
        }
        Ok(loss)
    }

    /// Whether a loss can be used: only gates that are costs can be summed over, and only gates that are none can be
    /// certain.
    pub fn suits(self, loss: &StructuralLoss) -> bool {
        match self {
            Self::Marginal | Self::StraightThroughLogit => loss.gate == Gate::Cost,
            Self::StraightThrough | Self::Reinforce => loss.gate != Gate::Cost,
            Self::Pathwise => true,
        }
    }

    fn sums(self) -> bool {
        matches!(self, Self::Marginal | Self::StraightThroughLogit)
    }
}

impl fmt::Display for EstimatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Marginal => "marginal",
            Self::Pathwise => "pathwise",
            Self::StraightThrough => "straight-through",
            Self::StraightThroughLogit => "straight-through-logit",
            Self::Reinforce => "reinforce",
        })
    }
}
