//! What a predicted graph costs against its target.

pub mod align;
pub mod band;
