//! Gradient optics: media that a gradient crosses on its way from the loss to the input.
//!
//! [`grapheme_core`] calls a medium between each two layers of the backward pass and knows nothing else about it. The seam
//! is [`GradientMedium`], and [`Vacuum`] is the medium that changes nothing; both are core's and only re-exported. This
//! crate is the place of media that do change something. It holds none yet, only the laws of the seam, as tests: a vacuum
//! is ordinary backpropagation to the bit, each boundary is crossed once, from the last to the first, and what a medium
//! does reaches the layers below it and no other.
//!
//! A medium is a value with one method. This one leaves the gradient alone and notes its energy, `||g||^2`:
//!
//! ```
//! use grapheme_core::network::{ForwardOptions, Upstream};
//! use grapheme_core::{GraphBatch, GraphTransformNet, NetworkConfig, param};
//! use grapheme_optics::{Boundary, GradientMedium};
//! use ndarray::Array2;
//!
//! struct Meter;
//!
//! impl GradientMedium<f64> for Meter {
//!     type Trace = Vec<(usize, f64)>;
//!
//!     fn cross(&self, boundary: Boundary, gradient: &mut Array2<f64>, trace: &mut Self::Trace) {
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

pub use grapheme_core::{Boundary, GradientMedium, Vacuum};

pub mod field;
pub mod spectral;
