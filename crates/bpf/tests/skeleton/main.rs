//! Loading light skeletons: those of `testdata/skeletons`, made by several
//! compilers and two versions of libbpf, and hostile ones.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod alike;
mod elf;
mod hosts;
mod lies;
mod loaders;
mod mutations;

use std::path::Path;

use ukexec_bpf::{BpfError, Interface, Parser};

/// Returns a file of `testdata`.
fn file(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn skeleton(name: &str) -> Vec<u8> {
    file(&format!("skeletons/{name}.o"))
}

fn refusal(object: &[u8], interface: &Interface) -> String {
    match Parser::load(object, interface) {
        Ok(_) => "no error".to_owned(),
        Err(error) => chain(&error),
    }
}

fn chain(error: &BpfError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
