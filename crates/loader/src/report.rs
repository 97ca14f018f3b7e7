//! Reports for people and machines: text and JSON of the same values.

pub(crate) mod companion;
pub(crate) mod entries;
pub(crate) mod expanded;
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

pub use self::entries::EntriesReport;
pub use self::machine::MachineReport;
pub use self::page::{Page, Screen};
pub use self::parser_run::ParserRunReport;
pub use self::printable::{json_line, json_text, one_line, visible};
pub use self::size::{Count, Size};

/// For whom a report is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportForm {
    /// A page for people.
    #[default]
    Page,
    /// A document for machines.
    Document,
}

/// What is known of an image, in the form that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Findings {
    /// For people.
    Page(Page),
    /// For machines, as `docs/json.md` describes it.
    Document(Value),
}

impl Findings {
    /// Returns it as text: a page as it looks on `screen`, a document as JSON.
    #[must_use]
    pub fn print(&self, screen: &Screen) -> String {
        match self {
            Self::Page(page) => page.print(screen),
            Self::Document(document) => json_text(document),
        }
    }
}

/// The version that every document names. Within it, fields are only added.
pub const SCHEMA: u32 = 1;
