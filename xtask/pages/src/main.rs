//! `ukexec-pages DIR CONF`: writes the manual pages and the completions of shells into the folder
//! DIR. The commands' pages come from the definitions of their command lines, `ukexec.conf(5)`
//! comes from the page CONF of the documentation.
//!
//! A program of its own, since nothing else needs the crates that it is made of.

#![forbid(unsafe_code)]

mod after_help;
mod command;
mod date;
mod markdown;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap_complete::Shell;

/// The folder of each shell's completions, and the shell.
const SHELLS: &[(&str, Shell)] = &[
    ("bash", Shell::Bash),
    ("zsh", Shell::Zsh),
    ("fish", Shell::Fish),
];

fn main() -> Result<()> {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [dir, conf] = args.as_slice() else {
        bail!("expected a folder for the pages, and docs/ukexec.conf.md");
    };
    let date = date::of_build()?;
    let commands = [ukexec::ukexec_definition(), ukexec::kexec_definition()];
    for definition in commands {
        for (name, page) in command::pages(&definition, &date)? {
            write(&dir.join("man8").join(format!("{name}.8")), &page)?;
        }
        for &(folder, shell) in SHELLS {
            completion(&dir.join(folder), shell, &definition)?;
        }
    }
    let text =
        fs::read_to_string(conf).with_context(|| format!("cannot read {}", conf.display()))?;
    write(
        &dir.join("man5/ukexec.conf.5"),
        &markdown::configuration(&text, &date),
    )
}

/// Writes the completion of one command for one shell, under the name that the shell looks for.
fn completion(dir: &Path, shell: Shell, definition: &clap::Command) -> Result<()> {
    let name = definition.get_name();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut definition.clone(), name, &mut text);
    let file = match shell {
        Shell::Zsh => format!("_{name}"),
        Shell::Fish => format!("{name}.fish"),
        _ => name.to_owned(),
    };
    let text = String::from_utf8(text).context("a completion is no UTF-8")?;
    write(&dir.join(file), &text)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let dir = path.parent().context("a page lies in a folder")?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
