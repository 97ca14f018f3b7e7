//! The cases that need real images, tools and machines. Each is one line of `cargo xtask test`.

mod attach;
mod boots;
mod case;
mod containers;
mod docs;
mod edited;
mod entries;
mod examples;
mod fleet;
mod guests;
mod hostile;
mod hostile_parsers;
mod kdump;
mod kexec8;
mod layout;
mod linux;
mod load;
mod measure;
mod outputs;
mod packages;
mod peers;
mod preflight;
mod running;
mod signed;
mod skeletons;
mod stream;
mod stub;
mod systemd;
mod uki;
mod units;
mod verdicts;
mod zboot;

use std::path::Path;

use crate::runner::Case;

use case::{Named, noise, parser_object, read, stock_kernel};

/// Every case, the ones that take longest first.
pub(crate) fn all(ukexec: &Path) -> Vec<Case> {
    [
        packages::CASES,
        packages::installing::CASES,
        zboot::CASES,
        skeletons::CASES,
        containers::CASES,
        fleet::CASES,
        systemd::CASES,
        kdump::CASES,
        guests::CASES,
        boots::CASES,
        kexec8::CASES,
        stub::CASES,
        stub::entries::CASES,
        preflight::CASES,
        uki::CASES,
        // These share the payloads that zboot's cases compress.
        stream::CASES,
        signed::CASES,
        verdicts::firmware::CASES,
        verdicts::killed::CASES,
        verdicts::changes::CASES,
        verdicts::lists::CASES,
        verdicts::damage::CASES,
        verdicts::signers::CASES,
        verdicts::policy::CASES,
        attach::CASES,
        outputs::CASES,
        peers::CASES,
        docs::CASES,
        entries::CASES,
        examples::CASES,
        layout::CASES,
        linux::CASES,
        units::CASES,
        load::CASES,
        measure::CASES,
        running::CASES,
        hostile::CASES,
        hostile_parsers::CASES,
    ]
    .concat()
    .into_iter()
    .map(|named| named.on(ukexec.to_path_buf()))
    .collect()
}
