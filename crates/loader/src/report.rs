//! What people and machines read: text and JSON of the same values.

pub(crate) mod document;
pub mod failure;
mod machine;
pub(crate) mod printable;
pub(crate) mod size;
pub(crate) mod text;

pub use self::document::{SCHEMA, of_stage};
pub use self::machine::MachineReport;
pub use self::printable::{is_printable, json_line, json_text, one_line, visible};
pub use self::size::{Size, SizeError};
pub use self::text::identity;
