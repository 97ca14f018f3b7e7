//! `cargo xtask dist`: manual pages, completions, and two Debian packages for each architecture.
//!
//! One commit gives the same packages in any folder: paths of this machine are replaced in what the compilers
//! write, and every date is that of the commit. `crates/cli/Cargo.toml` lists the files of the packages. Those for other architectures are
//! the same as long as Debian's compiler is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::command::Tool;
use crate::cross;
use crate::kept::remove;
use crate::materials::Target;
use crate::setup::{self, Need};
use crate::tools;
use crate::workspace;

/// The version of cargo-deb that `crates/cli/Cargo.toml` is written for.
const CARGO_DEB: &str = "3.8.0";

/// The packages, and the variant of cargo-deb's metadata that each is.
const PACKAGES: [(&str, Option<&str>); 2] = [("ukexec", None), ("ukexec-kexec", Some("kexec"))];

/// The profile of packages that people get.
const RELEASE: &str = "release";

/// Debian's number of the package of a version.
const REVISION: &str = "1";

/// The architectures whose packages are built beside those of this machine.
const FOREIGN: [Target; 2] = [Target::Arm64, Target::Riscv64];

/// Builds the packages of all architectures and prints where they are.
///
/// # Errors
///
/// As [`build`], and as [`cross::build`].
pub(crate) fn run() -> Result<()> {
    setup::ensure(&[Need::Cross])?;
    let (root, dir) = (workspace::root(), workspace::dist_dir());
    let mut all = build(&root, &dir, RELEASE)?.to_vec();
    let options = remapped(&root, "--remap-path-prefix")?;
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let tool = cross::build(RELEASE, &options)?;
    reproducibly(tool, &root, &dir, &Commit::of(&root)?.seconds)?.show()?;
    let (build, out) = (dir.join("build"), dir.join("packages"));
    for target in FOREIGN {
        all.extend(foreign(target, RELEASE, &build, &out)?);
    }
    for package in all {
        let size = fs::metadata(&package)?.len();
        println!("{} {size} bytes", workspace::shown(&package));
    }
    Ok(())
}

/// Returns the packages `ukexec` and `ukexec-kexec` of this checkout, for tests. The first call of this process builds
/// them, with the little optimisation of programs that run in emulated machines.
///
/// # Errors
///
/// As [`build`].
pub(crate) fn packages() -> Result<[PathBuf; 2]> {
    static BUILT: Mutex<Option<[PathBuf; 2]>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(packages) = built.as_ref() {
        return Ok(packages.clone());
    }
    let packages = build(&workspace::root(), &workspace::dist_dir(), cross::PROFILE)?;
    *built = Some(packages.clone());
    Ok(packages)
}

/// Builds the packages of the checkout at `root` in the folder `dir`, by a profile of cargo.
///
/// # Errors
///
/// Something does not build, or this is no Git checkout.
pub(crate) fn build(root: &Path, dir: &Path, profile: &str) -> Result<[PathBuf; 2]> {
    let commit = Commit::of(root)?;
    cargo("build", profile, root, dir, &commit.seconds)?
        .args(["--package", "ukexec", "--bins"])
        .show()?;
    let texts = dir.join("build").join(profile).join("dist");
    remove(&texts)?;
    pages(root, dir, &texts, &commit.seconds)?;
    fs::write(
        texts.join("changelog.Debian"),
        changelog(&version(), &commit),
    )?;
    compress(&texts)?;
    let out = dir.join("packages");
    remove(&out)?;
    let architecture = Tool::new("dpkg").arg("--print-architecture").text()?;
    let built = Built {
        root,
        dir: dir.join("build"),
        out,
        architecture: architecture.trim(),
        options: &["--profile", profile],
        commit: &commit,
    };
    built.packages()
}

/// Makes the packages for `target` in the folder `out`, of the programs that cargo built by `profile` in the folder
/// `build`. Their texts are those of this machine's packages, which are built before.
///
/// # Errors
///
/// As [`build`](build()).
pub(crate) fn foreign(
    target: Target,
    profile: &str,
    build: &Path,
    out: &Path,
) -> Result<[PathBuf; 2]> {
    let triple = cross::triple(target)?;
    let texts = build.join(triple).join(profile).join("dist");
    remove(&texts)?;
    Tool::new("cp")
        .arg("-a")
        .arg(output(profile).join("dist"))
        .arg(&texts)
        .run()?;
    let root = workspace::root();
    let built = Built {
        root: &root,
        dir: build.to_path_buf(),
        out: out.to_path_buf(),
        architecture: target.debian_name(),
        options: &["--target", triple, "--profile", profile],
        commit: &Commit::of(&root)?,
    };
    built.packages()
}

/// The version of the packages.
pub(crate) fn version() -> String {
    format!("{}-{REVISION}", env!("CARGO_PKG_VERSION"))
}

/// The program `name`, as it is in the [packages] once they are built.
pub(crate) fn program(name: &str) -> PathBuf {
    output(cross::PROFILE).join(name)
}

/// Where cargo puts the programs of this checkout that it builds by a profile.
fn output(profile: &str) -> PathBuf {
    workspace::dist_dir().join("build").join(profile)
}

/// The commit that is checked out.
struct Commit {
    /// Seconds since 1970, for `SOURCE_DATE_EPOCH`.
    seconds: String,
    /// The same as mail has it.
    date: String,
}

impl Commit {
    fn of(root: &Path) -> Result<Self> {
        let shown = Tool::new("git")
            .args(["log", "-1", "--format=%ct %cD"])
            .dir(root)
            .text()
            .context("packages have the date of a commit")?;
        let (seconds, date) = shown.trim().split_once(' ').context("git shows no date")?;
        Ok(Self {
            seconds: seconds.to_owned(),
            date: date.to_owned(),
        })
    }
}

/// Returns a run of `cargo` in the checkout at `root` that builds by a profile in a folder of `dir`, with dates
/// of `seconds` after 1970.
fn cargo(command: &str, profile: &str, root: &Path, dir: &Path, seconds: &str) -> Result<Tool> {
    let cargo = Tool::new("cargo")
        .args([command, "--locked", "--profile", profile])
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            remapped(root, "--remap-path-prefix")?.join("\u{1f}"),
        );
    reproducibly(cargo, root, dir, seconds)
}

/// Has `cargo` build in a folder of `dir`, with no folder of this machine in what it builds, as long as its compiler of
/// Rust has the [same options](remapped).
fn reproducibly(cargo: Tool, root: &Path, dir: &Path, seconds: &str) -> Result<Tool> {
    Ok(cargo
        .env("CFLAGS", remapped(root, "-ffile-prefix-map")?.join(" "))
        .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_TARGET_DIR", dir.join("build"))
        .env("SOURCE_DATE_EPOCH", seconds)
        .env_remove("RUSTFLAGS")
        .dir(root))
}

/// A compiler's options to name other folders than those of this machine: one `option` for each.
fn remapped(root: &Path, option: &str) -> Result<Vec<String>> {
    let sysroot = Tool::new("rustc").args(["--print", "sysroot"]).text()?;
    let folders = [
        (root.to_path_buf(), "/usr/src/ukexec"),
        (cargo_home()?, "/usr/src/cargo"),
        (PathBuf::from(sysroot.trim()), "/usr/src/rust"),
    ];
    let options = folders
        .iter()
        .map(|(from, to)| format!("{option}={}={to}", from.display()));
    Ok(options.collect())
}

/// Where cargo keeps the sources of crates.
///
/// # Errors
///
/// This user has no home.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        return Ok(home.into());
    }
    let home = std::env::home_dir().context("this user has no home")?;
    Ok(home.join(".cargo"))
}

/// Writes the manual pages and completions of the checkout at `root` into `texts`, with the date of `seconds`
/// after 1970. The program that does is built in a folder of `dir`.
///
/// # Errors
///
/// That program does not build or run.
pub(crate) fn pages(root: &Path, dir: &Path, texts: &Path, seconds: &str) -> Result<()> {
    cargo("run", cross::PROFILE, root, dir, seconds)?
        .args(["--quiet", "--package", "ukexec-pages", "--"])
        .arg(texts)
        .arg("docs/ukexec.conf.md")
        .show()
}

/// Compresses the pages and the changelog, without names and times. cargo-deb leaves files in cargo's folder as they are.
fn compress(texts: &Path) -> Result<()> {
    let mut files = vec![texts.join("changelog.Debian")];
    for section in ["man5", "man8"] {
        for page in fs::read_dir(texts.join(section))? {
            files.push(page?.path());
        }
    }
    Tool::new("gzip")
        .args(["-9", "--no-name"])
        .args(files)
        .run()
}

/// Returns the changelog in Debian's form, which is about the packages.
fn changelog(version: &str, commit: &Commit) -> String {
    format!(
        "ukexec ({version}) unstable; urgency=medium\n\n  \
         * /usr/share/doc/ukexec/changelog.gz says what this version changes.\n\n \
         -- ukexec maintainers <maintainers@ukexec.invalid>  {}\n",
        commit.date
    )
}

/// Programs that cargo built for one architecture.
struct Built<'a> {
    root: &'a Path,
    /// Cargo's folder.
    dir: PathBuf,
    /// The folder for the packages.
    out: PathBuf,
    /// Debian's name of it.
    architecture: &'a str,
    /// The options by which cargo built them.
    options: &'a [&'a str],
    commit: &'a Commit,
}

impl Built<'_> {
    fn packages(&self) -> Result<[PathBuf; 2]> {
        let [ukexec, kexec] = PACKAGES;
        let packages = [self.package(ukexec)?, self.package(kexec)?];
        let version = version();
        let depends = Tool::new("dpkg-deb")
            .arg("-f")
            .arg(&packages[1])
            .arg("Depends")
            .text()?;
        ensure!(
            depends.contains(&format!("ukexec (= {version})")),
            "ukexec-kexec depends on {depends:?}, and this is {version}: correct crates/cli/Cargo.toml"
        );
        Ok(packages)
    }

    /// Makes one package and returns its path.
    fn package(&self, (name, variant): (&str, Option<&str>)) -> Result<PathBuf> {
        let program = tools::installed("cargo-deb", CARGO_DEB)?;
        let file = format!("{name}_{}_{}.deb", version(), self.architecture);
        let path = self.out.join(file);
        let variant = variant.map(|variant| ["--variant", variant]);
        Tool::new(program)
            .args(["--package", "ukexec", "--no-build", "--no-strip"])
            .args(["--quiet", "--locked"])
            .args(["--deb-revision", REVISION, "--output"])
            .arg(&path)
            .args(self.options)
            .args(variant.into_iter().flatten())
            .env("CARGO_TARGET_DIR", &self.dir)
            .env("SOURCE_DATE_EPOCH", &self.commit.seconds)
            .dir(self.root)
            .run()
            .with_context(|| format!("cannot make the package {name}"))?;
        Ok(path)
    }
}
