//! Gradient optics: media that a gradient crosses on its way from the loss to the input.
//!
//! [`grapheme_core`] calls a medium between each two layers of the backward pass and knows nothing else about it. The seam
//! is [`GradientMedium`], and [`Vacuum`] is the medium that changes nothing; both are core's and only re-exported. [`media`]
//! holds the physics of one crossing, with a ledger of its energy; [`Medium`] is what stands at all boundaries in one step,
//! complex amplitudes and light guides included; [`Optics`] makes it from [`settings`] and learns from step to step, its
//! [`gates`] by hypergradient.
//!
//! [`rays`] follows single paths of a gradient through a network, [`diagnosis`] puts the figures of a run into words, and
//! [`proof`] compares what media do and learn with finite differences. Apart from
//! networks stand [`lens`], rays in an index field with their adjoint, and [`zspace`], the same rays over a loss.
//!
//! A medium is a value with one method. This one leaves the gradient alone and notes its energy, `||g||^2`:
//!
//! ```
//! use grapheme_core::network::{ForwardOptions, Upstream};
//! use grapheme_core::{GraphBatch, GraphTransformNet, NetworkConfig, Topology, param};
//! use grapheme_optics::{Boundary, GradientMedium};
//! use ndarray::Array2;
//!
//! struct Meter;
//!
//! impl GradientMedium<f64> for Meter {
//!     type Trace = Vec<(usize, f64)>;
//!
//!     fn cross(&self, boundary: Boundary, _: &Topology, gradient: &mut Array2<f64>, trace: &mut Self::Trace) {
//!         trace.push((boundary.index, gradient.iter().map(|g| g * g).sum()));
//!     }
//! }
//!
//! let net = GraphTransformNet::<f64>::new(&NetworkConfig::tiny(4), 1)?;
//! let batch = GraphBatch::from_texts(&["abc"])?;
//! let (morphed, trace) = net.forward(&batch, ForwardOptions::marginalised())?;
//! let mut upstream = Upstream::zeros(&morphed);
//! upstream.log_label.column_mut(0).fill(1.0);
//! let (mut energy, mut grad) = (Vec::new(), param::zeros_like(&net));
//! net.backward(trace, &morphed, upstream, &Meter, &mut energy, &mut grad);
//!
//! let names = net.layer_names();
//! for (boundary, energy) in &energy {
//!     println!("{} -> {}: {energy:.3}", names[boundary + 1], names[*boundary]);
//! }
//! assert_eq!(energy.len(), names.len() - 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod diagnosis;
pub mod gates;
pub mod lens;
pub mod media;
pub mod medium;
pub mod optics;
pub mod proof;
pub mod rays;
pub mod settings;
pub mod zspace;

pub use medium::Medium;
pub use optics::Optics;
pub use settings::{Layout, OpticsError, OpticsSettings};

pub use grapheme_core::{Boundary, GradientMedium, Vacuum};

pub mod field;
pub mod spectral;
