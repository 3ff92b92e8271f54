//! From files of text pairs to examples, target units and output labels.
//!
//! Read [`Loader`] first: it turns a file or a folder into [`Split`]s and says exactly which line is wrong and what to do
//! about it. [`propose`] names the units that targets are cut into, [`LabelInventory`] the symbols that a model may write.
//! [`generate`] makes the curriculum and the pairs' family, every answer checked by a second way of computing it.

mod error;
mod example;
mod form;
pub mod generate;
mod inventory;
mod jsonl;
mod labels;
mod lines;
mod load;
mod ngram;
mod tsv;

pub use error::{BadLine, DataError, LineFault};
pub use example::{Dataset, Example, Skipped, Split};
pub use form::GraphForm;
pub use inventory::{InventoryError, LabelInventory};
pub(crate) use labels::each_unit;
pub use labels::{TargetUnits, join, propose, segment};
pub use lines::Lines;
pub use load::{BadLines, Format, Loader};
pub use ngram::SpellingModel;
pub use tsv::two_columns;
