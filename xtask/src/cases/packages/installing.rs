//! The packages in Debian, beside kexec-tools and kdump-tools: installed, upgraded, removed.
//!
//! dpkg runs in a copy of a root, without a network. Other versions of packages are the packages themselves with
//! another number; another kexec-tools is a package with its file names.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::command::{Tool, said};
use crate::debian::{self, SERVER};
use crate::dist;
use crate::guest::reporting_uki;
use crate::stand::{Stand, check_words};

use super::super::{Named, read};

pub(in super::super) const CASES: &[Named] = &[
    Named::new("packages/bookworm", |stand| {
        in_suite(stand, "bookworm", "/sbin/kexec")
    }),
    Named::new("packages/trixie", |stand| {
        in_suite(stand, "trixie", "/usr/sbin/kexec")
    }),
];

const PAGE: &str = "usr/share/man/man8/kexec.8.gz";

/// Says to kdump-config that this machine has crash memory, and to kexec that it has none.
const KDUMP_CONFIG_LOADS: &str = "\
    mount -t tmpfs none /sys/kernel && echo 0 | tee /sys/kernel/kexec_crash_loaded \
    /sys/kernel/kexec_loaded /sys/kernel/kexec_crash_size >/dev/null && \
    echo 'crashkernel=256M root=x' >/tmp/cmdline && mount --bind /tmp/cmdline /proc/cmdline && \
    touch /boot/vmlinuz-$(uname -r) && kdump-config load";

/// A copy of a root, and the content of its own kexec and kexec.8.
struct Debian<'a> {
    stand: &'a Stand,
    dir: PathBuf,
    original: [Vec<u8>; 2],
    /// The name of the program in the list of kexec-tools.
    name: String,
}

/// Goes through the life of both packages, `kexec` being the name of the program in the list of kexec-tools.
fn in_suite(stand: &Stand, suite: &str, kexec: &str) -> Result<()> {
    let root = debian::root(suite, SERVER)?;
    let dir = stand.path("debian");
    debian::copy(&root, &dir)?;
    let original = [read(&dir.join("usr/sbin/kexec"))?, page(&dir)?];
    let debian = Debian {
        stand,
        dir,
        original,
        name: kexec.to_owned(),
    };
    let list = debian.run("dpkg -L kexec-tools")?;
    ensure!(
        list.lines().any(|line| line == kexec),
        "{suite}: no {kexec} in {list}"
    );
    refused(&debian).context("where others have diverted kexec")?;
    installed(&debian).context("installed")?;
    kdump(&debian).context("kdump-config")?;
    for removal in ["--purge", "--remove"] {
        debian.run(&format!("dpkg {removal} ukexec-kexec"))?;
        given_back(&debian).context(removal)?;
        debian.install(&dist::packages()?)?;
    }
    upgraded(&debian).context("upgraded")?;
    other_tools(debian, kexec).context("another kexec-tools")
}

impl Debian<'_> {
    /// Runs a script and returns what it printed.
    fn run(&self, script: &str) -> Result<String> {
        let output = debian::inside(&self.dir)
            .args(["sh", "-c", script])
            .output()?;
        ensure!(output.status.success(), "{script}: {}", said(&output));
        Ok(said(&output))
    }

    /// Runs a script that has to fail, and returns what it printed.
    fn fails(&self, script: &str) -> Result<String> {
        let output = debian::inside(&self.dir)
            .args(["sh", "-c", script])
            .output()?;
        ensure!(
            !output.status.success(),
            "{script} went well: {}",
            said(&output)
        );
        Ok(said(&output))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// Copies packages into the root and returns their paths in it.
    fn packages(&self, packages: &[PathBuf]) -> Result<String> {
        let mut paths = Vec::new();
        for package in packages {
            let name = package.file_name().context("a package has a name")?;
            fs::copy(package, self.dir.join("tmp").join(name))?;
            paths.push(format!("/tmp/{}", name.to_string_lossy()));
        }
        Ok(paths.join(" "))
    }

    fn install(&self, packages: &[PathBuf]) -> Result<String> {
        let paths = self.packages(packages)?;
        self.run(&format!("dpkg --install {paths}"))
    }

    /// Checks that nothing of the packages is wrong, and returns the diversions of kexec.
    fn diversions(&self) -> Result<Vec<String>> {
        let wrong = self.run("dpkg --verify; dpkg --audit")?;
        // A case may have changed the configuration.
        let mut wrong = wrong.lines().filter(|line| !line.contains(" c /etc/"));
        ensure!(
            wrong.next().is_none(),
            "`dpkg --verify; dpkg --audit` finds something"
        );
        let list = self.run("dpkg-divert --list '*kexec*'")?;
        Ok(list.lines().map(str::to_owned).collect())
    }
}

/// Roots of minbase may be without manual pages: nothing then.
fn page(dir: &Path) -> Result<Vec<u8>> {
    let page = dir.join(PAGE);
    if page.exists() {
        read(&page)
    } else {
        Ok(Vec::new())
    }
}

fn refused(debian: &Debian<'_>) -> Result<()> {
    let [ukexec, kexec] = dist::packages()?;
    debian.install(&[ukexec])?;
    let paths = debian.packages(&[kexec])?;
    for diversion in [
        "--local --rename --divert /usr/sbin/kexec.mine --add /usr/sbin/kexec",
        "--package other --no-rename --divert /sbin/kexec.mine --add /sbin/kexec",
        "--local --rename --divert /usr/share/man/man8/mine.8.gz --add /usr/share/man/man8/kexec.8.gz",
    ] {
        debian.run(&format!("dpkg-divert {diversion}"))?;
        let before = debian.run("dpkg-divert --list; ls -l /usr/sbin/kexec*")?;
        let text = debian.fails(&format!("dpkg --install {paths}"))?;
        check_words(&text, &["ukexec-kexec:", "is diverted by", "already"])?;
        let after = debian.run("dpkg-divert --list; ls -l /usr/sbin/kexec*")?;
        ensure!(before == after, "before:\n{before}\nafter:\n{after}");
        let removal = diversion.replace("--add", "--remove");
        debian.run(&format!("dpkg-divert {removal}"))?;
    }
    // The last of the renames fails, behind those that went well.
    let obstacle = debian.path("usr/share/man/man8/kexec.distrib.8.gz");
    fs::create_dir_all(obstacle.parent().context("a page lies in a folder")?)?;
    if !debian.original[1].is_empty() {
        fs::write(&obstacle, "somebody's")?;
        let text = debian.fails(&format!("dpkg --install {paths}"))?;
        check_words(&text, &["overwriting"])?;
        fs::remove_file(obstacle)?;
    }
    given_back(debian)
}

fn installed(debian: &Debian<'_>) -> Result<()> {
    debian.install(&dist::packages()?)?;
    is_ours(debian)?;
    let copied = debian
        .run("cp -a /usr/sbin/kexec /tmp/copied && /tmp/copied --version && ukexec --version")?;
    check_words(&copied, &["kexec-tools 2.0.32", "ukexec 0."])?;
    let status = debian.run("systemctl is-enabled ukexec-load@newest.service || true")?;
    ensure!(status.trim() == "disabled", "{status}");
    Ok(())
}

/// kexec is ours, and the one of kexec-tools lies beside it.
fn is_ours(debian: &Debian<'_>) -> Result<()> {
    let kexec = debian.path("usr/sbin/kexec");
    let file = fs::symlink_metadata(&kexec)?;
    ensure!(file.is_file(), "kexec is no regular file");
    ensure!(
        file.permissions().mode() & 0o7777 == 0o755,
        "{:?}",
        file.permissions()
    );
    ensure!(
        read(&kexec)? == read(&dist::program("kexec"))?,
        "kexec is another program"
    );
    let [program, page] = &debian.original;
    let place = debian.run(&format!("dpkg-divert --truename {}", debian.name))?;
    ensure!(place.contains("sbin/kexec.distrib"), "{place}");
    let beside = read(&debian.path(place.trim().trim_start_matches('/')))?;
    ensure!(&beside == program, "{place} is not that of kexec-tools");
    if !page.is_empty() {
        let beside = read(&debian.path("usr/share/man/man8/kexec.distrib.8.gz"))?;
        ensure!(
            &beside == page,
            "kexec.distrib.8.gz is not that of kexec-tools"
        );
    }
    let diversions = debian.diversions()?;
    ensure!(
        diversions.len() == 3
            && diversions
                .iter()
                .all(|one| one.ends_with(" by ukexec-kexec")),
        "{diversions:?}"
    );
    Ok(())
}

/// The script of kdump-tools runs our kexec with a UKI.
fn kdump(debian: &Debian<'_>) -> Result<()> {
    let image = reporting_uki(debian.stand, "crash", "quiet")?;
    fs::copy(image, debian.path("boot/image.efi"))?;
    let settings = "USE_KDUMP=1\nKDUMP_KERNEL=/boot/image.efi\nKDUMP_INITRD=\n";
    fs::write(debian.path("etc/default/kdump-tools"), settings)?;
    let text = debian.fails(KDUMP_CONFIG_LOADS)?;
    check_words(
        &text,
        &[
            // This machine has none, and says so in ukexec's words.
            "kexec: Memory for crashkernel is not reserved: boot with crashkernel=",
            "failed to load kdump kernel",
        ],
    )
}

fn given_back(debian: &Debian<'_>) -> Result<()> {
    let [program, page] = &debian.original;
    ensure!(
        &read(&debian.path("usr/sbin/kexec"))? == program,
        "kexec is not given back"
    );
    ensure!(
        &self::page(&debian.dir)? == page,
        "kexec.8 is not given back"
    );
    let diversions = debian.diversions()?;
    ensure!(diversions.is_empty(), "{diversions:?}");
    for left in [
        "usr/sbin/kexec.distrib",
        "usr/sbin/kexec.distrib-usrmerge",
        "usr/share/man/man8/kexec.distrib.8.gz",
    ] {
        ensure!(!debian.path(left).exists(), "{left} is left");
    }
    debian.run("kexec --version").map(drop)
}

/// An upgrade keeps the diversions and a configuration that was changed, and asks nothing.
fn upgraded(debian: &Debian<'_>) -> Result<()> {
    let conf = debian.path("etc/ukexec/ukexec.conf");
    let shipped = fs::read_to_string(&conf)?;
    let next = format!("{shipped}\n# Of the next version.\n");
    let ours = format!("{shipped}\nverify = \"require\"\n");
    // Changed by nobody, by the owner, by both.
    for (version, content, present, expected) in [
        ("9.1", &next, &shipped, &next),
        ("9.2", &next, &ours, &ours),
        ("9.3", &shipped, &ours, &ours),
    ] {
        fs::write(&conf, present)?;
        let packages = of_version(debian.stand, version, content)?;
        let paths = debian.packages(&packages)?;
        debian.run(&format!(
            "dpkg --force-confdef --force-confold --install {paths}"
        ))?;
        let content = fs::read_to_string(&conf)?;
        ensure!(&content == expected, "{version}: {content}");
        is_ours(debian).with_context(|| version.to_owned())?;
        // `dpkg --verify` would find a changed configuration.
        fs::write(&conf, &shipped)?;
    }
    Ok(())
}

/// Makes the packages anew as those of another version, with another configuration.
fn of_version(stand: &Stand, version: &str, conf: &str) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for package in dist::packages()? {
        let name = package
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let dir = stand.path(&format!("{version}-{name}"));
        Tool::new("dpkg-deb")
            .arg("-R")
            .arg(&package)
            .arg(&dir)
            .run()?;
        let control = dir.join("DEBIAN/control");
        let text = fs::read_to_string(&control)?;
        let text = text.replace(&dist::version(), version);
        fs::write(&control, text)?;
        if dir.join("etc").exists() {
            fs::write(dir.join("etc/ukexec/ukexec.conf"), conf)?;
        }
        made.push(build(stand, &dir)?);
    }
    Ok(made)
}

fn build(stand: &Stand, dir: &Path) -> Result<PathBuf> {
    let Some(name) = dir.file_name() else {
        bail!("{} has no name", dir.display());
    };
    let mut name = name.to_owned();
    name.push(".built.deb");
    let path = stand.path(&name.to_string_lossy());
    Tool::new("dpkg-deb")
        .args(["--root-owner-group", "-Zgzip", "-z1", "-b"])
        .arg(dir)
        .arg(&path)
        .run()?;
    Ok(path)
}

/// Another version of kexec-tools, with its program in either folder, is installed while ours is there; then before
/// it, as apt may order it; then ours is removed.
fn other_tools(mut debian: Debian<'_>, kexec: &str) -> Result<()> {
    debian.original[0] = b"#!/bin/sh\necho another kexec\n".to_vec();
    for (version, path) in [("9:1", kexec), ("9:2", "/usr/sbin/kexec")] {
        debian.original[0].extend_from_slice(b"# once more\n");
        let tools = kexec_tools(debian.stand, version, path, &debian.original)?;
        path.clone_into(&mut debian.name);
        debian.install(&[tools])?;
        is_ours(&debian).with_context(|| format!("{path} of {version}"))?;
    }
    debian.run("dpkg --purge ukexec-kexec && dpkg --purge --force-depends kexec-tools")?;
    ensure!(!debian.path("usr/sbin/kexec").exists(), "kexec is left");
    let [ukexec, kexec] = dist::packages()?;
    let [ukexec, kexec] = [debian.packages(&[ukexec])?, debian.packages(&[kexec])?];
    debian.run(&format!(
        "dpkg --force-downgrade --install {ukexec} && dpkg --unpack {kexec}"
    ))?;
    let tools = kexec_tools(debian.stand, "9:3", "/usr/sbin/kexec", &debian.original)?;
    debian.install(&[tools])?;
    debian.run("dpkg --configure --pending")?;
    is_ours(&debian).context("unpacked before kexec-tools")?;
    debian.run("dpkg --purge ukexec-kexec ukexec")?;
    given_back(&debian)
}

/// Makes a package with the names of kexec-tools, `program` being the name of its program.
fn kexec_tools(
    stand: &Stand,
    version: &str,
    program: &str,
    content: &[Vec<u8>; 2],
) -> Result<PathBuf> {
    let dir = stand.path(&format!("kexec-tools-{}", version.replace(':', "-")));
    let [kexec, page] = content;
    for (path, bytes) in [(program, kexec), (&format!("/{PAGE}"), page)] {
        let path = dir.join(path.trim_start_matches('/'));
        if !bytes.is_empty() {
            fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
            fs::write(&path, bytes)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
    }
    fs::create_dir_all(dir.join("DEBIAN"))?;
    let control = format!(
        "Package: kexec-tools\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <n@example.org>\n\
         Description: the names of another kexec-tools\n"
    );
    fs::write(dir.join("DEBIAN/control"), control)?;
    build(stand, &dir)
}
