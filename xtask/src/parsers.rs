//! Compiles the BPF parsers in `parsers/`, or checks that the committed objects are what their
//! sources compile to.
//!
//! The result depends on the sources and the compiler alone: paths are relative to the root, no
//! header from outside is seen. Which compiler it was is committed beside the objects.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::Tool;
use crate::setup::{self, Need};
use crate::workspace;

pub(crate) const CLANG: &str = "clang-19";
/// The instruction set that the committed objects are for.
pub(crate) const CPU: &str = "v3";
const STRIP: &str = "llvm-strip-19";

/// The parsers, by the name of their source without `.bpf.c`.
pub(crate) const PARSERS: &[&str] = &["zboot", "uki", "stream", "envelope"];

/// Each parser's two objects: the suffix of the file, and what it is compiled with.
const FORMS: &[(&str, &[&str])] = &[
    // For an image's section `.bpf`: a patched kernel knows the series' hooks only.
    (".bpf.o", &[]),
    // For `parsers.d`, where the parser is asked which images it takes apart.
    (".match.bpf.o", &["-DWITH_MATCH"]),
];

/// Where the objects are committed: in the crate that includes them.
const COMMITTED: &str = "crates/unfold/parsers";

/// The file beside the objects that says what compiled them.
const COMPILER: &str = "COMPILER";

/// Compiles every parser into [`COMMITTED`]; with `check`, into the build folder, and compares byte
/// for byte.
///
/// # Errors
///
/// The compiler is missing and cannot be installed, a source does not compile, or, with `check`,
/// a committed object is not what its source compiles to.
pub(crate) fn run(check: bool) -> Result<()> {
    setup::ensure(&[Need::Parsers])?;
    let committed = workspace::root().join(COMMITTED);
    let output = if check {
        workspace::target_dir().join("ukexec-parsers")
    } else {
        committed.clone()
    };
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    let compiler = compiler()?;
    let files = compile_all(&output, &compiler)?;
    if check {
        compare(&committed, &files, &compiler)?;
    }
    println!("{}", summary(check, &files));
    Ok(())
}

/// Compiles all forms of all parsers and returns the files that hold them, [`COMPILER`] included.
fn compile_all(output: &Path, compiler: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for parser in PARSERS {
        for (suffix, flags) in FORMS {
            let object = output.join(format!("{parser}{suffix}"));
            let source = format!("parsers/{parser}.bpf.c");
            compile(&source, CLANG, CPU, flags, &object)?;
            files.push(object);
        }
    }
    let version = output.join(COMPILER);
    fs::write(&version, compiler).with_context(|| format!("cannot write {}", version.display()))?;
    files.push(version);
    Ok(files)
}

/// Compiles `source`, a path from the root, with `clang` for the instruction set `cpu`.
///
/// # Errors
///
/// It does not compile; the compiler is quoted.
pub(crate) fn compile(
    source: &str,
    clang: &str,
    cpu: &str,
    flags: &[&str],
    object: &Path,
) -> Result<()> {
    let root = workspace::root();
    Tool::new(clang)
        .args(["-O2", "-g", "-target", "bpfel"])
        .arg(format!("-mcpu={cpu}"))
        .args(["-Wall", "-Wextra", "-Werror"])
        .args(["-nostdinc", "-I", "parsers/include"])
        .arg(format!("-ffile-prefix-map={}=.", root.display()))
        .arg("-fdebug-compilation-dir=.")
        .args(flags)
        .args(["-c", source, "-o"])
        .arg(object)
        .dir(&root)
        .run()?;
    // The DWARF goes; BTF, which loaders and error messages read, stays.
    Tool::new(STRIP).arg("-g").arg(object).run()
}

/// The compiler and its version, in the words of the tools themselves.
fn compiler() -> Result<String> {
    let clang = Tool::new(CLANG).arg("--version").text()?;
    let strip = Tool::new(STRIP).arg("--version").text()?;
    let version = |text: &str| {
        text.lines()
            .map(str::trim)
            .find(|line| line.contains("version"))
            .map(str::to_owned)
    };
    let (Some(clang), Some(strip)) = (version(&clang), version(&strip)) else {
        bail!("{CLANG} or {STRIP} does not tell its version when called with --version");
    };
    Ok(format!("{CLANG}: {clang}\n{STRIP}: {strip}\n"))
}

/// Compares `built` with the files of the same names in `committed`.
fn compare(committed: &Path, built: &[PathBuf], compiler: &str) -> Result<()> {
    let mut different = Vec::new();
    for file in built.iter().filter(|file| !file.ends_with(COMPILER)) {
        let name = file.file_name().unwrap_or_default();
        let old = committed.join(name);
        let new = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        match fs::read(&old) {
            Ok(bytes) if bytes == new => {}
            Ok(_) => different.push(format!("{} differs", workspace::shown(&old))),
            Err(error) => different.push(format!("{}: {error}", workspace::shown(&old))),
        }
    }
    let recorded = fs::read_to_string(committed.join(COMPILER))
        .with_context(|| format!("cannot read {}", committed.join(COMPILER).display()))?;
    let versions = if recorded == compiler {
        String::new()
    } else {
        format!(
            "the committed objects were compiled with\n{}but this machine has\n{}",
            indented(&recorded),
            indented(compiler)
        )
    };
    if !different.is_empty() {
        bail!(
            "the committed objects are not what the sources in parsers/ compile to:\n{}\
             {versions}run `cargo xtask parsers` and commit what it writes",
            indented(&different.join("\n"))
        );
    }
    if !versions.is_empty() {
        println!("note: {versions}which makes the same bytes of them");
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn summary(check: bool, files: &[PathBuf]) -> String {
    let objects = files.len().saturating_sub(1);
    if check {
        format!("{objects} parser objects are what their sources compile to")
    } else {
        format!("compiled {objects} parser objects into {COMMITTED}")
    }
}
