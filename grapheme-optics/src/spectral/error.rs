//! What can be wrong with a field or a setting.

use ndarray::Array2;
use thiserror::Error;

/// Why a frame, a sequence or a setting is refused.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum FieldError {
    /// A number that is not finite.
    #[error(
        "frame {step}, row {row}, column {column}: {value} is not a finite number; correct the frame or leave it out"
    )]
    NotFinite {
        /// The frame's place in its sequence, from 0.
        step: usize,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// What stands there.
        value: f64,
    },
    /// A frame of another shape than those before it.
    #[error("frame {step}: {found:?} cells where {expected:?} were expected; all frames of a sequence have one shape")]
    Shape {
        /// The frame's place in its sequence, from 0.
        step: usize,
        /// Rows and columns of the frames before.
        expected: [usize; 2],
        /// Rows and columns found.
        found: [usize; 2],
    },
    /// A frame with too few cells for what is asked of it.
    #[error("a grid of {found:?} cells: at least {least} x {least} are needed")]
    Small {
        /// Rows and columns found.
        found: [usize; 2],
        /// The least that will do.
        least: usize,
    },
    /// A sequence that ends too soon.
    #[error("{found} frames: at least {least} are needed; give a longer sequence or a shorter history")]
    Short {
        /// How many there are.
        found: usize,
        /// The least that will do.
        least: usize,
    },
    /// What was kept of a trained predictor does not belong to this one.
    #[error("`{part}` does not fit the settings and the frames; use those that it was trained with, or train again")]
    Experience {
        /// Which part.
        part: &'static str,
    },
    /// A setting outside its range.
    #[error("{name} = {value}: must be {expected}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
}

impl FieldError {
    /// Refuses a frame with a number that is not finite.
    ///
    /// # Errors
    /// [`FieldError::NotFinite`] with the first such place, row by row.
    pub fn check_finite(frame: &Array2<f64>, step: usize) -> Result<(), Self> {
        match frame.indexed_iter().find(|(_, value)| !value.is_finite()) {
            Some(((row, column), &value)) => Err(Self::NotFinite { step, row, column, value }),
            None => Ok(()),
        }
    }

    /// Refuses a setting unless `holds`; a comparison with NaN does not hold.
    ///
    /// # Errors
    /// [`FieldError::Setting`].
    pub fn require(holds: bool, name: &'static str, value: f64, expected: &'static str) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::Setting { name, value, expected }) }
    }
}
