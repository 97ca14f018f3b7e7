//! Pages for authors do what they say: their files are written, their commands run, their outputs
//! compared, in the order of the page.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::command::{Tool, last_lines, said};
use crate::materials::{OS_RELEASE, Stub, Target, kernel, stub};
use crate::pki::{Kind, Signer};
use crate::stand::Stand;
use crate::uki::Ukify;
use crate::workspace;

use super::Named;
use super::uki::with_profiles;

pub(super) const CASES: &[Named] = &[
    Named::new("docs/writing-a-parser", |stand| {
        follow(stand, &["docs/writing-a-parser.md"])
    }),
    // The second page goes on where the first ends.
    Named::new("docs/kernel-series", |stand| {
        follow(
            stand,
            &["docs/writing-a-parser.md", "docs/kernel-series.md"],
        )
    }),
    Named::new("docs/auditing", |stand| {
        images(stand)?;
        let page = page("docs/auditing.md")?;
        follow_page(stand, &page)?;
        with_bad_images(stand, &page)
    }),
];

/// A fenced block of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// The words behind the fence, such as `c box.bpf.c`.
    info: &'a str,
    pub(super) text: String,
}

/// Does what `pages` say in the case's folder, which has what they take for granted: a kernel,
/// the checkout as `ukexec/`, and the program on the search path.
fn follow(stand: &Stand, pages: &[&str]) -> Result<()> {
    symlink(workspace::root(), stand.path("ukexec"))?;
    fs::copy(kernel(Target::X86_64)?, stand.path("vmlinuz"))?;
    for name in pages {
        follow_page(stand, &page(name)?).with_context(|| (*name).to_owned())?;
    }
    Ok(())
}

fn page(name: &str) -> Result<String> {
    fs::read_to_string(workspace::root().join(name)).with_context(|| format!("cannot read {name}"))
}

/// Makes the images that the page for auditors is about: a signed one, an older one that nobody
/// signed, and one with profiles and bytes that do not belong there.
fn images(stand: &Stand) -> Result<()> {
    let (profiles, _) = with_profiles(stand)?;
    let overlay = [fs::read(profiles)?, vec![b'!'; 4_321]].concat();
    fs::remove_file(stand.path("uki.efi"))?;
    stand.file("profiles.efi", overlay)?;
    for addon in ["one.efi", "two.efi"] {
        fs::remove_file(stand.path(addon))?;
    }
    let image = |cmdline: &str, name: &str| {
        Ukify::on(&stub(Target::X86_64, Stub::V257)?)?
            .linux(&kernel(Target::X86_64)?, "6.1.0")
            .text("--cmdline", cmdline)
            .text("--os-release", OS_RELEASE)
            .build(&stand.path(name))
    };
    image("console=ttyS0", "old.efi")?;
    let new = image("console=ttyS0 quiet", "new")?;
    let signer = Signer::new(stand, "owner", Kind::Rsa2048)?;
    signer.sign(&new, &[], &stand.path("new.efi")).map(drop)
}

/// Runs the recipes of a page on documents of images that are damaged, or not there.
fn with_bad_images(stand: &Stand, page: &str) -> Result<()> {
    let mut image = fs::read(stand.path("new.efi"))?;
    let table = image.len().saturating_sub(1);
    image.truncate(table);
    stand.file("short.efi", &image)?;
    image.truncate(table / 2);
    stand.file("half.efi", &image)?;
    stand.file("text.efi", "no image")?;
    let images = "short.efi half.efi text.efi none.efi . new.efi";
    shell(
        stand,
        &format!("! ukexec inspect {images} --sections --hash --measure --json > images.json"),
        true,
    )?;
    let lines = page.lines().filter_map(|line| line.strip_prefix("$ jq "));
    let recipes: Vec<&str> = lines.filter(|it| it.ends_with(" images.json")).collect();
    ensure!(recipes.len() > 5, "there are too few recipes");
    for recipe in recipes {
        shell(stand, &format!("jq {recipe}"), true)?;
    }
    Ok(())
}

fn follow_page(stand: &Stand, page: &str) -> Result<()> {
    let mut output = String::new();
    for block in blocks(page) {
        match block.info.split_whitespace().collect::<Vec<_>>()[..] {
            ["sh"] => output = shell(stand, &block.text, true)?,
            ["sh", "fails"] => output = shell(stand, &block.text, false)?,
            ["console"] => console(stand, &block.text)?,
            // It takes a machine of a certain kind.
            ["console", "elsewhere"] => {}
            ["text"] => shows(&output, &block.text)?,
            [_language, file] => drop(stand.file(file, &block.text)?),
            _ => bail!("a block is marked {:?}, which means nothing", block.info),
        }
    }
    Ok(())
}

/// Runs the commands of a block and returns what they wrote.
fn shell(stand: &Stand, commands: &str, succeeds: bool) -> Result<String> {
    let bin = stand.ukexec_path().parent().unwrap_or(Path::new("/"));
    let path = env::var_os("PATH").unwrap_or_default();
    let paths = [bin.to_path_buf()]
        .into_iter()
        .chain(env::split_paths(&path));
    let output = Tool::new("sh")
        .args(["-euc", commands])
        .env("PATH", env::join_paths(paths)?)
        .dir(stand.path(""))
        .output()?;
    let text = said(&output);
    ensure!(
        output.status.success() == succeeds,
        "these commands ended with {}:\n{commands}{}",
        output.status,
        last_lines(&text, 20)
    );
    Ok(text)
}

/// Runs each command of a session, which begins with `$` and may go on in a line that is indented,
/// and compares its lines with those below. A line that is `…` stands for any lines.
fn console(stand: &Stand, session: &str) -> Result<()> {
    for step in format!("\n{session}").split("\n$ ").skip(1) {
        let is_command = |at: &usize| !step[*at..].starts_with("\n    ");
        let ends = step.match_indices('\n').map(|(at, _)| at);
        let (command, shown) =
            step.split_at(ends.into_iter().find(is_command).unwrap_or(step.len()));
        let shown = shown.trim_start_matches('\n');
        let output = shell(stand, command, true)?;
        let lines = shown.lines().filter(|line| *line != "…");
        let expected: String = lines.map(|line| format!("{line}\n")).collect();
        let is_whole = expected.len() == shown.len();
        let matched = match is_whole && shown.lines().count() != output.lines().count() {
            true => Err(anyhow!("it printed:\n{}", last_lines(&output, 40))),
            false => shows(&output, &expected),
        };
        matched.with_context(|| format!("$ {command}"))?;
    }
    Ok(())
}

/// Checks that each line of `block` is one of `output`, in this order. `…` stands for anything.
pub(super) fn shows(output: &str, block: &str) -> Result<()> {
    let mut lines = output.lines();
    for expected in block.lines() {
        ensure!(
            lines.any(|line| fits(line, expected)),
            "the page shows a line that was not written, or not there:\n    {expected}\n{}",
            last_lines(output, 40)
        );
    }
    Ok(())
}

fn fits(line: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else {
        return line == pattern;
    };
    let Some(mut line) = line.strip_prefix(start) else {
        return false;
    };
    let mut parts = rest.split('…').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return line.ends_with(part);
        }
        match line.split_once(part) {
            Some((_, behind)) => line = behind,
            None => return false,
        }
    }
    true
}

/// The fenced blocks of a page.
pub(super) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let inside = lines.by_ref().take_while(|line| *line != "```");
            let text = inside.map(|line| format!("{line}\n")).collect();
            blocks.push(Block { info, text });
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_order_and_marks() {
        let found = blocks("text\n```c a.c\nint a;\n```\nmore\n```sh\nls\n```\n");
        let infos: Vec<_> = found.iter().map(|block| block.info).collect();
        assert_eq!(infos, ["c a.c", "sh"]);
        assert_eq!(found[0].text, "int a;\n");
    }

    #[test]
    fn an_ellipsis_stands_for_anything() {
        assert!(fits("a 12 b 34 c", "a … b … c"));
        assert!(fits("a 12 b", "a …"));
        assert!(!fits("a 12 b 34 d", "a … b … c"));
        assert!(!fits("ab", "a"));
    }

    #[test]
    fn lines_are_looked_for_in_order() {
        assert!(shows("one\ntwo\nthree\n", "one\nthree\n").is_ok());
        assert!(shows("one\ntwo\nthree\n", "three\none\n").is_err());
    }
}
