//! Files out of Debian packages of any suite and architecture, without installing them.
//!
//! Each (suite, architecture) pair gets an apt root of its own under the build folder, fed from
//! the mirror that the machine's own apt is set up with. Nothing of the machine's apt state is
//! read or changed, so none of this needs to be root. Files that were fetched stay there: a second run
//! needs no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::command::Tool;
use crate::kept::kept;
use crate::workspace;

/// Suites whose entry in the machine's sources shows where its Debian mirror is.
const DEBIAN_SUITES: &[&str] = &[
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One apt at a time: the roots' lists and the archive's patience are both shared.
static APT: Mutex<()> = Mutex::new(());

/// Debian's archive as one suite and architecture sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Archive {
    pub(crate) suite: &'static str,
    pub(crate) architecture: &'static str,
}

impl Archive {
    /// Returns a folder that holds those files of `package` that match one of `wanted`,
    /// patterns of paths such as `./boot/vmlinuz-*`.
    ///
    /// # Errors
    ///
    /// The package cannot be fetched or unpacked, or a pattern matches nothing in it.
    pub(crate) fn fetch(&self, package: &str, wanted: &[&str]) -> Result<PathBuf> {
        self.fetch_as(package, wanted, |_| Ok(vec![package.to_owned()]))
    }

    /// Returns a folder that holds all of `package` and of the packages that it depends on, and they on others.
    ///
    /// # Errors
    ///
    /// As [`Archive::fetch`].
    pub(crate) fn fetch_with_dependencies(&self, package: &str) -> Result<PathBuf> {
        let folder = format!("{package}-with-dependencies");
        self.fetch_as(&folder, &["./usr"], |root| root.with_dependencies(package))
    }

    /// As [`Archive::fetch`], of the package that the metapackage `name` depends on and whose
    /// name starts with `prefix`.
    ///
    /// # Errors
    ///
    /// As [`Archive::fetch`], and when the metapackage has no such dependency.
    pub(crate) fn fetch_dependency(
        &self,
        name: &str,
        prefix: &str,
        wanted: &[&str],
    ) -> Result<PathBuf> {
        self.fetch_dependency_into(name, name, prefix, wanted)
    }

    /// As [`Archive::fetch_dependency`], into a folder of another name: other files of that package are in the
    /// usual one.
    ///
    /// # Errors
    ///
    /// As [`Archive::fetch_dependency`].
    pub(crate) fn fetch_dependency_into(
        &self,
        folder: &str,
        name: &str,
        prefix: &str,
        wanted: &[&str],
    ) -> Result<PathBuf> {
        self.fetch_as(folder, wanted, |root| {
            Ok(vec![root.dependency(name, prefix)?])
        })
    }

    fn fetch_as(
        &self,
        name: &str,
        wanted: &[&str],
        resolve: impl Fn(&Root) -> Result<Vec<String>>,
    ) -> Result<PathBuf> {
        let Self {
            suite,
            architecture,
        } = self;
        let dir = self.dir().join(name);
        kept(&dir, |unfinished| {
            fs::create_dir_all(unfinished)?;
            for deb in self.download(unfinished, resolve)? {
                unpack(&deb, unfinished, wanted)?;
                fs::remove_file(deb)?;
            }
            Ok(())
        })
        .with_context(|| format!("cannot fetch {name} of Debian {suite} for {architecture}"))?;
        Ok(dir)
    }

    /// Downloads what `resolve` makes of the lists. Lists of an earlier run may name a version
    /// that the archive has replaced since: then they are read anew, once.
    fn download(
        &self,
        into: &Path,
        resolve: impl Fn(&Root) -> Result<Vec<String>>,
    ) -> Result<Vec<PathBuf>> {
        let _only_one = APT.lock().unwrap_or_else(PoisonError::into_inner);
        let root = Root::open(self)?;
        let attempt = || {
            let packages = resolve(&root)?;
            eprintln!("fetching {} ({})", packages.join(" "), self.dir_name());
            root.download(&packages, into)
        };
        if root.has_lists() {
            match attempt() {
                Ok(debs) => return Ok(debs),
                Err(error) => eprintln!("{error:#}\ntrying again with new package lists"),
            }
        }
        eprintln!("reading package lists ({})", self.dir_name());
        root.read_lists()?;
        attempt()
    }

    fn dir(&self) -> PathBuf {
        workspace::downloads_dir().join(self.dir_name())
    }

    fn dir_name(&self) -> String {
        format!("{}-{}", self.suite, self.architecture)
    }
}

/// Unpacks what matches `wanted` and checks that each pattern matched.
fn unpack(deb: &Path, into: &Path, wanted: &[&str]) -> Result<()> {
    let tar = into.join("data.tar");
    Tool::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .into_file(Path::new("/dev/null"), &tar)?;
    Tool::new("tar")
        .args(["--extract", "--wildcards", "--no-same-owner"])
        .arg("--file")
        .arg(&tar)
        .arg("--directory")
        .arg(into)
        .args(wanted)
        .run()
        .context("the package does not hold what is looked for")?;
    fs::remove_file(tar)?;
    Ok(())
}

/// An apt root: configuration, lists and cache of its own.
struct Root {
    config: PathBuf,
    /// Is there once the lists were read.
    stamp: PathBuf,
}

impl Root {
    /// Makes the root, or sets up again what an earlier run left.
    fn open(archive: &Archive) -> Result<Self> {
        let dir = archive.dir().join("apt");
        let root = Self {
            config: dir.join("apt.conf"),
            stamp: dir.join("lists-read"),
        };
        fs::create_dir_all(dir.join("state/lists/partial"))?;
        fs::create_dir_all(dir.join("cache/archives/partial"))?;
        fs::write(dir.join("state/status"), "")?;
        let signed_by = if Path::new(KEYRING).is_file() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        fs::write(
            dir.join("sources.list"),
            format!("deb {signed_by}{} {} main\n", mirror()?, archive.suite),
        )?;
        fs::write(&root.config, configuration(&dir, archive.architecture))?;
        Ok(root)
    }

    fn has_lists(&self) -> bool {
        self.stamp.is_file()
    }

    fn read_lists(&self) -> Result<()> {
        apt("apt-get", &self.config).arg("update").run()?;
        Ok(fs::write(&self.stamp, "")?)
    }

    /// The package that `name` depends on and whose name starts with `prefix`.
    fn dependency(&self, name: &str, prefix: &str) -> Result<String> {
        let shown = apt("apt-cache", &self.config)
            .args(["show", "--no-all-versions", name])
            .text()?;
        shown
            .lines()
            .filter_map(|line| line.strip_prefix("Depends: "))
            .flat_map(|depends| depends.split(", "))
            .filter_map(|one| one.split(' ').next())
            .find(|package| package.starts_with(prefix))
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("{name} depends on no package called {prefix}*:\n{shown}"))
    }

    /// The package `name`, and what it depends on.
    fn with_dependencies(&self, name: &str) -> Result<Vec<String>> {
        let listed = apt("apt-cache", &self.config)
            .args(["depends", "--recurse", "--important", name])
            .text()?;
        // Names of packages stand at the start of a line, in `<>` those that nobody has but others provide.
        let names = listed
            .lines()
            .filter(|line| line.starts_with(|it: char| it.is_ascii_alphanumeric()));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Downloads `packages` into `dir` and returns the files.
    fn download(&self, packages: &[String], dir: &Path) -> Result<Vec<PathBuf>> {
        apt("apt-get", &self.config)
            .arg("download")
            .args(packages)
            .dir(dir)
            .run()?;
        let debs = fs::read_dir(dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "deb"));
        let debs: Vec<PathBuf> = debs.collect();
        ensure!(
            debs.len() == packages.len(),
            "`apt-get download {}` wrote {} .deb files",
            packages.join(" "),
            debs.len()
        );
        Ok(debs)
    }
}

fn apt(program: &str, config: &Path) -> Tool {
    Tool::new(program)
        .arg("-q")
        .arg("-c")
        .arg(config)
        .env("LC_ALL", "C")
}

/// The configuration by which apt works inside `dir`. It is read after the machine's own configuration, whose
/// proxy and certificate settings stay in force while its hooks do not. Lists of sid are signed for a week,
/// and a mirror or a clock may be late: an old list of materials for tests harms nobody.
fn configuration(dir: &Path, architecture: &str) -> String {
    let dir = dir.display();
    format!(
        r#"#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Cache "{dir}/cache";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "-";
Dir::State "{dir}/state";
Dir::State::status "{dir}/state/status";
"#
    )
}

/// The Debian mirror that this machine's apt is set up with.
///
/// # Errors
///
/// apt cannot be asked, or has no such source.
pub(crate) fn mirror() -> Result<String> {
    let targets = Tool::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(SITE) $(RELEASE) $(COMPONENT)",
        ])
        .arg("Created-By: Packages")
        .text()
        .context("cannot ask apt for its sources (this needs a Debian machine)")?;
    for target in targets.lines() {
        if let [site, release, "main"] = target.split(' ').collect::<Vec<_>>()[..]
            && DEBIAN_SUITES.contains(&release)
        {
            return Ok(site.to_owned());
        }
    }
    bail!(
        "no source of this machine's apt is a Debian mirror with one of the suites {}: \
         add one to /etc/apt/sources.list.d and try again. apt knows:\n{targets}",
        DEBIAN_SUITES.join(", ")
    );
}
