//! Laws of media, rays and telemetry, from outside. One program, so that what they share is compiled once.

mod diagnosis;
mod lens;
mod media_laws;
mod network_laws;
mod rays;
mod seam_laws;
mod settings;
mod telemetry;
mod zspace;
