//! Pairs of texts in, a model that rewrites texts out: losses, estimators, optimisers, data, the trainer, and all binaries.
//!
//! Read [`transducer::Transducer`] first: a model in use, text in and text out. Then, in the order of a training step:
//! [`data`] (files to examples), [`labelling`] (target texts to numbers), [`objective`] and [`loss`] (what a prediction
//! costs), [`estimator`] (how a gradient is taken through a discrete morph), [`lanes`] and [`optim`] (from gradients to a
//! step). [`trainer`] is the loop around them, [`reader`] the way back from a graph to text, [`metrics`] the judge.
//!
//! [`proof`] is what the project claims of its derivatives, as experiments that the `test_*` binaries repeat.
//!
//! [`comparison`] judges the estimators against each other, and trains under each.
//!
//! [`distance`] is apart from all that: how many edits lead from one labelled graph to another.
//!
//! In use there are more of them, or they are asked for more: [`decode`] finds the likeliest texts, [`ensemble`] is one model or
//! several, [`explain`] says what became of each node, [`report`] what a model gets wrong, [`distillation`] what it can teach.
//!
//! Ignore at first what keeps a run and talks about it: [`job`], [`settings`], [`prepare`], [`calibration`], [`checkpoint`], [`mod@file`],
//! [`run`], [`footprint`], [`event`], [`watch`], [`screen`], [`progress`], [`output`], [`locate`], [`memory`], [`origin`] and [`writing`].
//!
//! [`command`] holds the command lines of all binaries: each reads its options and calls the rest of this library. No number
//! that a training computes depends on the threads, on what listens, or on the clock, unless a person sets a limit in minutes.
//!
//! A trained model in a program:
//!
//! ```no_run
//! use grapheme_train::{ensemble::Ensemble, lanes::Lanes};
//!
//! let model = Ensemble::load("runs/hun".as_ref())?;
//! for answer in model.read(&["gyöngy", "egészség"], 1, &Lanes::new(0)?)? {
//!     println!("{} ({:.2})", answer.text(), answer.proposals[0].confidence);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod calibration;
pub mod checkpoint;
pub mod command;
pub mod comparison;
pub mod data;
pub mod decode;
pub mod distance;
pub mod distillation;
pub mod ensemble;
pub mod estimator;
pub mod event;
pub mod explain;
pub mod file;
pub mod footprint;
pub mod job;
pub mod labelling;
pub mod lanes;
pub mod locate;
pub mod loss;
pub mod memory;
pub mod metrics;
pub mod objective;
pub mod optim;
pub mod origin;
pub mod output;
pub mod prepare;
pub mod progress;
pub mod proof;
pub mod reader;
pub mod report;
pub mod run;
pub mod screen;
pub mod settings;
pub mod trainer;
pub mod transducer;
pub mod watch;
pub mod writing;

/// The snippets of the README are compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
