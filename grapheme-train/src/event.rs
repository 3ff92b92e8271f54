//! What a trainer tells, and who listens.
//!
//! Training code only emits events. A progress bar ([`crate::screen::Screen`]), a metrics file
//! ([`crate::run::MetricsLog`]) and a report are listeners. No event carries a time or a rate: a listener that wants one
//! has its own clock, and what is written down is the same for a run that was interrupted and one that was not.

use grapheme_core::BoundaryFigures;
use serde::{Deserialize, Serialize};

/// One thing that happened in training. As JSON, an object whose `event` is the variant's name in lower case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// Training begins, or goes on after an interruption.
    Started {
        /// Scalars in the model.
        parameters: u64,
        /// Training examples, without those skipped.
        examples: u64,
        /// Epochs that are planned.
        epochs: u64,
        /// Steps that are planned.
        steps: u64,
        /// The number of steps that were taken before: 0 for a run from the beginning.
        resumed_at: u64,
    },
    /// A step was taken.
    Step {
        /// The epoch, from 1.
        epoch: u64,
        /// The step, from 1 over the whole run.
        step: u64,
        /// The mean loss of an example.
        loss: f64,
        /// The learning rate.
        learning_rate: f64,
        /// The norm of the gradient before clipping.
        gradient_norm: f64,
        /// Graphemes in the inputs of the batch.
        graphemes: u64,
    },
    /// What the gradients of the step just taken crossed, in a run with media.
    Optics {
        /// The step, from 1 over the whole run.
        step: u64,
        /// One a boundary, from the first to the last.
        boundaries: Vec<BoundaryFigures>,
    },
    /// How wrong the nodes of the held-out examples are that a run watches.
    Nodes {
        /// Steps taken so far.
        step: u64,
        /// The figures of each example.
        examples: Vec<NodeFigures>,
    },
    /// A step was not taken, because its gradient was not finite.
    StepRefused {
        /// The epoch, from 1.
        epoch: u64,
        /// The step, from 1 over the whole run.
        step: u64,
        /// Where it began: the first layer or block that was not finite, in words.
        #[serde(alias = "block")]
        origin: String,
    },
    /// An epoch ended.
    Epoch {
        /// The epoch, from 1.
        epoch: u64,
        /// Steps taken so far.
        step: u64,
        /// The mean training loss of an example.
        loss: f64,
        /// The averaged model on the dev set, if there is one.
        dev: Option<DevFigures>,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// The epoch, from 1.
        epoch: u64,
        /// Steps taken so far.
        step: u64,
        /// Whether the model is the best on dev so far.
        best: bool,
    },
    /// Something that a person should know and that does not stop the run.
    Warning {
        /// What it is, and what to do about it.
        message: String,
    },
    /// Training ended.
    Finished {
        /// Epochs finished.
        epochs: u64,
        /// Steps taken.
        steps: u64,
        /// Why it ended.
        reason: StopReason,
    },
}

/// The nodes of one example, begin and end included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFigures {
    /// One minus the probability that the node does what the likeliest way to the target asks of it; 1 where there is no way.
    pub errors: Vec<f64>,
    /// The energy of the gradient of this field over the edges of the graph.
    pub gradient_energy: f64,
    /// What broke down since the last look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakdowns: Vec<NodeCollapse>,
}

/// A sudden fall of the error of joined nodes, which had long been wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeCollapse {
    /// The nodes, from 0 for the begin.
    pub nodes: Vec<usize>,
    /// Stored error that was released.
    pub released: f64,
}

/// Figures on held-out examples; rates in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevFigures {
    /// Examples evaluated.
    pub examples: u64,
    /// The mean loss of an example.
    pub loss: f64,
    /// Predictions that are right as a whole.
    pub exact: f64,
    /// Inputs without a right prediction (word error rate).
    pub wer: f64,
    /// Edits per target unit (token error rate).
    pub ter: f64,
    /// F1 of units.
    pub f1: f64,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// All planned epochs are done.
    Complete,
    /// The dev figure no longer improved.
    EarlyStop,
    /// The time that was allowed is over.
    TimeOver,
}

impl Event {
    /// Whether a run gives this event once, at the same place, also when it is interrupted and resumed.
    ///
    /// Only such events belong in the metrics file. Not so are: the start of a resumed part; warnings, which are given
    /// again at each start; and checkpoints, which stand behind the length of the log that the checkpoint records.
    pub fn is_reproducible(&self) -> bool {
        match self {
            Self::Started { resumed_at, .. } => *resumed_at == 0,
            Self::Step { .. }
            | Self::Optics { .. }
            | Self::Nodes { .. }
            | Self::StepRefused { .. }
            | Self::Epoch { .. }
            | Self::Finished { .. } => true,
            Self::Checkpoint { .. } | Self::Warning { .. } => false,
        }
    }
}

/// What is to be said of the first step that was refused, if any was.
pub fn refusal(events: &[Event]) -> Option<String> {
    events.iter().find_map(|event| match event {
        Event::StepRefused { step, origin, .. } => {
            Some(format!("refused: {origin} was not finite at step {step}. Lower --rate or --clip."))
        }
        _ => None,
    })
}

/// Someone who hears what happens. It cannot fail and must not panic: training goes on without it.
pub trait Listener {
    /// Called once an event, in order.
    fn hear(&mut self, event: &Event);
}

/// Lent for a while.
impl<L: Listener + ?Sized> Listener for &mut L {
    fn hear(&mut self, event: &Event) {
        (**self).hear(event);
    }
}

/// Many listeners are one; they hear in order.
impl Listener for Vec<Box<dyn Listener + '_>> {
    fn hear(&mut self, event: &Event) {
        for listener in self {
            listener.hear(event);
        }
    }
}

/// Keeps everything, for a test or a report.
impl Listener for Vec<Event> {
    fn hear(&mut self, event: &Event) {
        self.push(event.clone());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One event of each kind, with numbers that no short decimal can hold.
    pub(crate) fn samples() -> Vec<Event> {
        let third = 1.0 / 3.0;
        let dev = DevFigures { examples: 3, loss: third, exact: 200.0 * third, wer: 100.0 * third, ter: 9.5, f1: 0.0 };
        vec![
            Event::Started { parameters: 7, examples: 5, epochs: 2, steps: 4, resumed_at: 0 },
            Event::Warning { message: "4 examples skipped".into() },
            Event::Step { epoch: 1, step: 1, loss: third, learning_rate: 1e-5, gradient_norm: 2e9, graphemes: 24 },
            Event::StepRefused { epoch: 1, step: 2, origin: "the output of layer `head`".into() },
            Event::Epoch { epoch: 1, step: 2, loss: third * third, dev: Some(dev) },
            Event::Nodes {
                step: 2,
                examples: vec![NodeFigures {
                    errors: vec![third, 1.0],
                    gradient_energy: third,
                    breakdowns: vec![NodeCollapse { nodes: vec![1], released: 2.0 * third }],
                }],
            },
            Event::Checkpoint { epoch: 1, step: 2, best: true },
            Event::Epoch { epoch: 2, step: 4, loss: 0.1 + 0.2, dev: None },
            Event::Finished { epochs: 2, steps: 4, reason: StopReason::Complete },
        ]
    }

    #[test]
    fn events_return_from_json_to_the_bit() {
        for event in samples() {
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event, "{json}");
        }
        let json = serde_json::to_string(&samples()[3]).unwrap();
        assert_eq!(json, r#"{"event":"step_refused","epoch":1,"step":2,"origin":"the output of layer `head`"}"#);
        assert!(serde_json::from_str::<Event>(&json.replace("origin", "clock")).is_err());
        // As runs wrote it that knew the block only.
        assert_eq!(serde_json::from_str::<Event>(&json.replace("origin", "block")).unwrap(), samples()[3]);
    }

    #[test]
    fn listeners_hear_in_order() {
        struct Count(std::rc::Rc<std::cell::RefCell<Vec<u8>>>, u8);
        impl Listener for Count {
            fn hear(&mut self, _: &Event) {
                self.0.borrow_mut().push(self.1);
            }
        }
        let heard = std::rc::Rc::default();
        let (one, two) = (Count(std::rc::Rc::clone(&heard), 1), Count(std::rc::Rc::clone(&heard), 2));
        let mut kept = Vec::new();
        let mut all: Vec<Box<dyn Listener + '_>> = vec![Box::new(one), Box::new(two), Box::new(&mut kept)];
        samples()[..2].iter().for_each(|event| all.hear(event));
        drop(all);
        assert_eq!((&heard.borrow()[..], kept), (&[1, 2, 1, 2][..], samples()[..2].to_vec()));
    }
}
