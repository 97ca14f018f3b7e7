//! Reports for people and machines: text and JSON of the same values.

pub mod failure;
pub mod fault;
pub(crate) mod image;
pub(crate) mod layers;
pub(crate) mod load;
mod machine;
pub(crate) mod measurements;
pub mod page;
mod parser_run;
pub(crate) mod part;
pub(crate) mod printable;
pub(crate) mod sections;
pub(crate) mod signature;
pub(crate) mod size;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::machine::MachineReport;
pub use self::page::{Page, Screen};
pub use self::parser_run::ParserRunReport;
pub use self::printable::{json_line, json_text, one_line, visible};
pub use self::size::{Count, Size};

/// What is known of an image: for people and for machines.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// For people.
    pub page: Page,
    /// For machines, as `docs/json.md` describes it.
    pub document: Value,
}

/// The version that every document names. Within it, fields are only added.
pub const SCHEMA: u32 = 1;
