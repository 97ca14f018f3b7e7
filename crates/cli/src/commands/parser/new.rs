//! `ukexec parser new`: the files that an author begins with.

use std::path::Path;

use anyhow::ensure;
use ukexec_kexec::{Folder, Part, Readers, shown_path};

use crate::args::ParserNew;
use crate::console;

/// The parser, which works as it is. `@NAME@` is its name, `@ID@` the name as a
/// part of identifiers, `@TEXT@` what its images begin with and `@MAGIC@` the
/// same with zeros behind it, up to one that C adds.
const SOURCE: &str = include_str!("new/parser.bpf.c");

/// The other files.
const BESIDE: [(&str, &str); 4] = [
    ("parser.h", include_str!("new/parser.h")),
    ("linux_check.h", include_str!("new/linux_check.h")),
    ("Makefile", include_str!("new/Makefile")),
    ("README.md", include_str!("new/README.md")),
];

pub(crate) fn new(args: &ParserNew) -> anyhow::Result<()> {
    let target = Path::new(&args.name);
    let shown = shown_path(target);
    ensure!(
        target.symlink_metadata().is_err(),
        "{shown} exists, and nothing is overwritten; choose another name, or another folder"
    );
    let (around, name) = Folder::around(target)?;
    let mut folder = around.new_folder()?;
    let source = format!("{}.bpf.c", args.name);
    let mut files = vec![(source.as_str(), SOURCE)];
    files.extend(BESIDE);
    for (file, text) in files {
        let text = filled_in(text, &args.name);
        folder.write(file, &[Part::Bytes(text.as_bytes())], Readers::everybody())?;
    }
    folder.complete(&name)?;
    console::note(&format!("wrote {shown}/{source} and the files to build it"));
    console::note(&format!("next: make -C {shown} check"));
    Ok(())
}

/// Returns `text` for the parser called `name`.
fn filled_in(text: &str, name: &str) -> String {
    const MAGIC: usize = 7;
    // A name is ASCII.
    let magic: String = name.chars().take(MAGIC).collect();
    let zeros = "\\0".repeat(MAGIC.saturating_sub(magic.len()));
    text.replace("@NAME@", name)
        .replace("@ID@", &name.replace('-', "_"))
        .replace("@MAGIC@", &format!("{magic}{zeros}"))
        .replace("@TEXT@", &magic)
}
