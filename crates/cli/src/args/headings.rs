//! Headings of options that several commands have.

pub(crate) const OUTPUT: &str = "Output";
pub(crate) const INPUT: &str = "Input";
pub(crate) const CMDLINE: &str = "Command line";
