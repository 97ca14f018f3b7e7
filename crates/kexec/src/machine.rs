//! The running machine's state, as far as kexec depends on it.
//!
//! Everything is read from files, so that a folder can stand in for the
//! machine. A missing file means unknown, never an error: kernels are built
//! without this or that, and containers hide a lot.

use std::ffi::CStr;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::system::Uname;
use serde::{Serialize, Serializer};

use crate::probe::CallProbe;

/// The running kernel's state, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MachineState {
    /// `uname -r`.
    pub release: Option<String>,
    /// `uname -m`: `x86_64`, `aarch64`, `riscv64`, ...
    pub machine: Option<String>,
    /// Bytes in a page of memory.
    #[serde(skip)]
    pub page_size: Option<u64>,
    /// Bytes of memory, without what the running kernel's own image takes.
    #[serde(skip)]
    pub memory: Option<u64>,
    /// Whether an x86 processor runs with 5-level paging.
    #[serde(skip)]
    pub five_level_paging: Option<bool>,
    /// Whether the UEFI firmware is 32-bit.
    #[serde(skip)]
    pub efi_32bit: Option<bool>,
    /// The kernel's answers to a probe of its calls. No file has them:
    /// [`read`](Self::read) leaves them open.
    #[serde(skip)]
    pub(crate) calls: CallProbe,
    /// Whether a seccomp filter stands between this process and the kernel.
    #[serde(skip)]
    pub(crate) seccomp: Option<bool>,
    /// Whether the running kernel was built with kexec (`CONFIG_KEXEC_CORE`).
    pub kexec: Option<bool>,
    /// Whether a kernel is loaded to be booted.
    pub loaded: Option<bool>,
    /// Whether a crash kernel is loaded.
    pub crash_loaded: Option<bool>,
    /// Bytes reserved for a crash kernel.
    pub crash_size: Option<u64>,
    /// `kernel.kexec_load_disabled`.
    pub load_disabled: Option<bool>,
    /// `kernel.kexec_load_limit_reboot`.
    pub limit_reboot: Option<LoadLimit>,
    /// `kernel.kexec_load_limit_panic`.
    pub limit_panic: Option<LoadLimit>,
    /// Whether this process may load a kernel (effective `CAP_SYS_BOOT`).
    pub cap_sys_boot: Option<bool>,
    /// Whether this process is in a user namespace, where that counts for
    /// nothing.
    #[serde(skip)]
    pub(crate) user_namespace: Option<bool>,
    /// How far the kernel distrusts root.
    pub lockdown: Option<Lockdown>,
    /// Whether LoadPin lets the kernel read files of one file system only.
    #[serde(skip)]
    pub(crate) loadpin: Option<bool>,
    /// Whether IMA asks for a signature on a kernel that is loaded.
    #[serde(skip)]
    pub(crate) ima_appraises_kexec: Option<bool>,
    /// Whether the running kernel was built to refuse a kernel without a valid
    /// signature (`CONFIG_KEXEC_SIG_FORCE`).
    #[serde(skip)]
    pub(crate) signature_forced: Option<bool>,
    /// Whether the running kernel keeps a crash kernel's list of processors and memory up to
    /// date.
    #[serde(skip)]
    pub crash_hotplug: bool,
    /// Whether this is the domain of Xen that has the machine: its kexec is Xen's own.
    #[serde(skip)]
    pub xen_dom0: bool,
    /// Whether systemd runs this machine.
    pub systemd: bool,
    /// Whether systemd-logind runs.
    #[serde(skip)]
    pub(crate) logind: bool,
}

/// The occasion on which a loaded kernel boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadKind {
    /// To be booted by `ukexec exec`.
    Reboot,
    /// To be booted when the running kernel panics.
    Crash,
}

/// A system call that loads a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadCall {
    /// `kexec_file_load(2)`: the running kernel reads the files, and may verify them.
    KexecFileLoad,
    /// `kexec_load(2)`: the caller places the bytes, and the running kernel verifies none.
    KexecLoad,
}

impl LoadCall {
    /// Returns the name of the call.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KexecFileLoad => "kexec_file_load",
            Self::KexecLoad => "kexec_load",
        }
    }
}

/// How many more times a kernel may be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadLimit {
    /// As often as one likes.
    Unlimited,
    /// So many times.
    Left(u32),
}

impl fmt::Display for LoadLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Left(count) => count.fmt(f),
        }
    }
}

impl Serialize for LoadLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The kernel's lockdown level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lockdown {
    /// Root may change the running kernel.
    None,
    /// It may not: only signed kernels are loaded.
    Integrity,
    /// Nor may it read the kernel's secrets.
    Confidentiality,
}

impl MachineState {
    /// Reads the state of this machine, and has a child ask its kernel for
    /// `kexec_file_load(2)` and `kexec_load(2)`.
    ///
    /// The child is a copy of this process that makes system calls and ends. Other threads
    /// may run meanwhile.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let (calls, state) = CallProbe::beside(|| Self::read(Path::new("/")));
        Self { calls, ..state }
    }

    /// Reads the state below `root`, which is `/` but for tests.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let state = Self::of_kernel(root);
        let release = state.release.as_deref();
        let built_in = |option| Files(root).built_in(release?, option);
        Self {
            signature_forced: built_in("CONFIG_KEXEC_SIG_FORCE"),
            // sd_booted(3).
            systemd: root.join("run/systemd/system").is_dir(),
            // systemctl's own test.
            logind: root.join("run/systemd/seats").is_dir(),
            ..state
        }
    }

    /// Reads what `/proc` and `/sys` below `root` show: at the end of a shutdown no other
    /// file system may be there, and to look for one could mount it.
    #[must_use]
    pub fn of_kernel(root: &Path) -> Self {
        let files = Files(root);
        let uname = |name: fn(&Uname) -> &CStr| {
            files.here(|| {
                name(&rustix::system::uname())
                    .to_string_lossy()
                    .into_owned()
            })
        };
        let release = files
            .text("proc/sys/kernel/osrelease")
            .or_else(|| uname(Uname::release));
        let status = files.text("proc/self/status");
        Self {
            machine: files
                .text("proc/sys/kernel/arch")
                .or_else(|| uname(Uname::machine)),
            page_size: files.here(|| rustix::param::page_size() as u64),
            memory: files.memory(),
            five_level_paging: files.five_level_paging(),
            efi_32bit: files
                .number("sys/firmware/efi/fw_platform_size")
                .map(|bits| bits == 32),
            crash_size: files.kexec("crash_size"),
            load_disabled: files.flag("proc/sys/kernel/kexec_load_disabled"),
            limit_reboot: files.limit("proc/sys/kernel/kexec_load_limit_reboot"),
            limit_panic: files.limit("proc/sys/kernel/kexec_load_limit_panic"),
            calls: CallProbe::default(),
            seccomp: status.as_deref().and_then(seccomp),
            cap_sys_boot: status.as_deref().and_then(cap_sys_boot),
            user_namespace: fs::read_link(files.path("proc/self/ns/user"))
                .ok()
                .map(|namespace| namespace != Path::new(FIRST_USER_NAMESPACE)),
            lockdown: files.lockdown(),
            loadpin: files.flag("proc/sys/kernel/loadpin/enforce"),
            ima_appraises_kexec: files
                .text("sys/kernel/security/ima/policy")
                .map(|policy| appraises_kexec(&policy)),
            signature_forced: None,
            crash_hotplug: ["crash_elfcorehdr_size", "kexec/crash_elfcorehdr_size"]
                .iter()
                .any(|name| files.path("sys/kernel").join(name).exists()),
            xen_dom0: files
                .text("proc/xen/capabilities")
                .is_some_and(|it| it.contains("control_d")),
            systemd: false,
            logind: false,
            release,
            ..Self::of_loads(root)
        }
    }

    /// Reads only whether the running kernel has kexec, and what is loaded: that is all that a
    /// boot depends on.
    #[must_use]
    pub fn of_loads(root: &Path) -> Self {
        let files = Files(root);
        Self {
            kexec: files.has_kexec(),
            loaded: files.kexec("loaded").map(|count| count != 0),
            crash_loaded: files.kexec("crash_loaded").map(|count| count != 0),
            ..Self::default()
        }
    }

    /// Returns whether the running kernel is known to look at the file that a
    /// kernel comes from: at its signature, its extended attributes, or the
    /// file system that it is on. Where it does, the file itself is what to
    /// hand over, and elsewhere a snapshot of it.
    #[must_use]
    pub fn verifies_files(&self) -> bool {
        self.lockdown.is_some_and(|level| level > Lockdown::None)
            || self.ima_appraises_kexec == Some(true)
            || self.loadpin == Some(true)
            || self.signature_forced == Some(true)
    }
}

impl Lockdown {
    /// Reads `none [integrity] confidentiality`.
    fn parse(levels: &str) -> Option<Self> {
        let (_, active) = levels.split_once('[')?;
        match active.split_once(']')?.0 {
            "none" => Some(Self::None),
            "integrity" => Some(Self::Integrity),
            "confidentiality" => Some(Self::Confidentiality),
            _ => None,
        }
    }

    /// Returns the level as the kernel writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        }
    }
}

/// The files below a root folder.
struct Files<'a>(&'a Path);

impl Files<'_> {
    /// Returns what `ask` says, if the root is the machine's own.
    fn here<T>(&self, ask: impl FnOnce() -> T) -> Option<T> {
        (self.0 == Path::new("/")).then(ask)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn text(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    fn flag(&self, path: &str) -> Option<bool> {
        Some(self.number(path)? != 0)
    }

    /// Reads a number of `/sys/kernel`: `kexec_NAME`, or `kexec/NAME` of newer
    /// kernels.
    fn kexec(&self, name: &str) -> Option<u64> {
        self.number(&format!("sys/kernel/kexec_{name}"))
            .or_else(|| self.number(&format!("sys/kernel/kexec/{name}")))
    }

    /// Looks for what every kernel with kexec shows: its state and a sysctl. Where
    /// neither is, while their folders are, the kernel has none.
    fn has_kexec(&self) -> Option<bool> {
        let is_there = |path: &str| self.path(path).exists();
        let shown = [
            "sys/kernel/kexec_loaded",
            "sys/kernel/kexec/loaded",
            "proc/sys/kernel/kexec_load_disabled",
        ];
        if shown.into_iter().any(is_there) {
            return Some(true);
        }
        let folders = ["sys/kernel/mm", "proc/sys/kernel/osrelease"];
        folders.into_iter().all(is_there).then_some(false)
    }

    fn limit(&self, path: &str) -> Option<LoadLimit> {
        match self.text(path)?.parse::<i64>().ok()? {
            ..0 => Some(LoadLimit::Unlimited),
            left => u32::try_from(left).ok().map(LoadLimit::Left),
        }
    }

    /// Reads `MemTotal:        8131904 kB`.
    fn memory(&self) -> Option<u64> {
        let text = self.text("proc/meminfo")?;
        let total = text.lines().find_map(|it| it.strip_prefix("MemTotal:"))?;
        let kib: u64 = total.trim().strip_suffix(" kB")?.parse().ok()?;
        kib.checked_mul(1024)
    }

    /// Looks for `la57` among the first processor's flags. Linux drops it there
    /// when it does not use it. The file is long and made as it is read.
    fn five_level_paging(&self) -> Option<bool> {
        let mut head = Vec::new();
        let file = fs::File::open(self.path("proc/cpuinfo")).ok()?;
        file.take(16 << 10).read_to_end(&mut head).ok()?;
        let head = String::from_utf8_lossy(&head);
        let flags = head.lines().find_map(|line| line.strip_prefix("flags"))?;
        Some(flags.split_whitespace().any(|flag| flag == "la57"))
    }

    /// Reads the level. A kernel that shows which security modules it runs, but no
    /// level, does not run this one.
    fn lockdown(&self) -> Option<Lockdown> {
        if let Some(levels) = self.text("sys/kernel/security/lockdown") {
            return Lockdown::parse(&levels);
        }
        let modules = self.text("sys/kernel/security/lsm")?;
        let runs = modules.split(',').any(|module| module == "lockdown");
        (!runs).then_some(Lockdown::None)
    }

    /// Returns whether the kernel was built with `option`.
    fn built_in(&self, release: &str, option: &str) -> Option<bool> {
        // The release names a file here: it may not lead elsewhere.
        if release.contains('/') {
            return None;
        }
        let text = self
            .text(&format!("boot/config-{release}"))
            .or_else(|| self.text(&format!("lib/modules/{release}/config")))?;
        let mut lines = text.lines();
        Some(lines.any(|line| line.strip_prefix(option) == Some("=y")))
    }
}

/// Reads bit 22 of `CapEff` in `/proc/self/status`.
fn cap_sys_boot(status: &str) -> Option<bool> {
    const CAP_SYS_BOOT: u32 = 22;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> CAP_SYS_BOOT & 1 == 1)
}

/// Reads `Seccomp` of `/proc/self/status`: 1 and 2 are filters.
fn seccomp(status: &str) -> Option<bool> {
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))?;
    Some(mode.trim() != "0")
}

/// The namespace that a machine starts with (Linux, `PROC_USER_INIT_INO`).
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";

fn appraises_kexec(policy: &str) -> bool {
    policy.lines().any(|rule| {
        let mut words = rule.split_whitespace();
        let asks = ["func=KEXEC_KERNEL_CHECK", "func=KEXEC_INITRAMFS_CHECK"];
        words.next() == Some("appraise") && words.any(|word| asks.contains(&word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the state of a machine that has these files.
    fn read(files: &[(&str, &[u8])]) -> MachineState {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        MachineState::read(root.path())
    }

    #[test]
    fn knows_a_kernel_that_looks_at_files() {
        fn check(edit: impl FnOnce(&mut MachineState), expected: bool) {
            let mut machine = MachineState::default();
            edit(&mut machine);
            assert_eq!(machine.verifies_files(), expected);
        }
        check(|_| {}, false);
        check(|machine| machine.lockdown = Some(Lockdown::None), false);
        check(|machine| machine.lockdown = Some(Lockdown::Integrity), true);
        check(|machine| machine.ima_appraises_kexec = Some(true), true);
        check(|machine| machine.loadpin = Some(true), true);
    }

    #[test]
    fn reads_a_whole_machine() {
        let state = read(&[
            ("proc/sys/kernel/osrelease", b"6.1.0-56-amd64\n"),
            ("proc/sys/kernel/arch", b"x86_64\n"),
            ("proc/cpuinfo", b"processor\t: 0\nflags\t\t: fpu sse la57\n"),
            (
                "proc/meminfo",
                b"MemTotal:        8131904 kB\nMemFree: 1 kB\n",
            ),
            ("sys/firmware/efi/fw_platform_size", b"64\n"),
            ("sys/kernel/kexec_loaded", b"1\n"),
            ("sys/kernel/kexec_crash_loaded", b"0\n"),
            ("sys/kernel/kexec_crash_size", b"268435456\n"),
            ("proc/sys/kernel/kexec_load_disabled", b"0\n"),
            ("proc/sys/kernel/kexec_load_limit_panic", b"-1\n"),
            ("proc/sys/kernel/kexec_load_limit_reboot", b"3\n"),
            (
                "proc/self/status",
                b"Name:\tx\nCapEff:\t000001ffffffffff\nSeccomp:\t2\nSeccomp_filters:\t1\n",
            ),
            (
                "sys/kernel/security/lockdown",
                b"none [integrity] confidentiality\n",
            ),
            ("proc/sys/kernel/loadpin/enforce", b"0\n"),
            (
                "sys/kernel/security/ima/policy",
                b"measure func=KEXEC_KERNEL_CHECK\nappraise func=KEXEC_KERNEL_CHECK x=y\n",
            ),
            (
                "boot/config-6.1.0-56-amd64",
                b"CONFIG_KEXEC_FILE=y\nCONFIG_KEXEC_SIG=y\n# CONFIG_KEXEC_SIG_FORCE is not set\n",
            ),
            ("run/systemd/system/x", b""),
            ("proc/xen/capabilities", b"control_d\n"),
            ("sys/kernel/crash_elfcorehdr_size", b"4096\n"),
        ]);
        expect_test::expect![[r#"
            MachineState {
                release: Some(
                    "6.1.0-56-amd64",
                ),
                machine: Some(
                    "x86_64",
                ),
                page_size: None,
                memory: Some(
                    8327069696,
                ),
                five_level_paging: Some(
                    true,
                ),
                efi_32bit: Some(
                    false,
                ),
                calls: CallProbe {
                    kexec_file_load: Unknown,
                    kexec_load: Unknown,
                },
                seccomp: Some(
                    true,
                ),
                kexec: Some(
                    true,
                ),
                loaded: Some(
                    true,
                ),
                crash_loaded: Some(
                    false,
                ),
                crash_size: Some(
                    268435456,
                ),
                load_disabled: Some(
                    false,
                ),
                limit_reboot: Some(
                    Left(
                        3,
                    ),
                ),
                limit_panic: Some(
                    Unlimited,
                ),
                cap_sys_boot: Some(
                    true,
                ),
                user_namespace: None,
                lockdown: Some(
                    Integrity,
                ),
                loadpin: Some(
                    false,
                ),
                ima_appraises_kexec: Some(
                    true,
                ),
                signature_forced: Some(
                    false,
                ),
                crash_hotplug: true,
                xen_dom0: true,
                systemd: true,
                logind: false,
            }"#]]
        .assert_eq(&format!("{state:#?}"));
    }

    #[test]
    fn knows_nothing_without_files() {
        assert_eq!(read(&[]), MachineState::default());
    }

    #[test]
    fn nonsense_is_unknown() {
        let state = read(&[
            ("sys/kernel/kexec_loaded", b"maybe"),
            ("proc/self/status", b"CapEff:\tzz\n"),
            ("sys/kernel/security/lockdown", b"none integrity\n"),
            ("proc/sys/kernel/kexec_load_limit_panic", b""),
            ("proc/sys/kernel/osrelease", b"../../etc"),
            ("proc/cpuinfo", b"\xff\xff"),
        ]);
        let expected = MachineState {
            release: Some("../../etc".to_owned()),
            kexec: Some(true),
            ..MachineState::default()
        };
        assert_eq!(state, expected);
    }

    #[test]
    fn reads_where_newer_kernels_have_it() {
        let state = read(&[
            ("sys/kernel/kexec/loaded", b"0\n"),
            ("sys/kernel/kexec/crash_loaded", b"1\n"),
            ("sys/kernel/kexec/crash_size", b"42\n"),
        ]);
        assert_eq!(state.loaded, Some(false));
        assert_eq!(state.crash_loaded, Some(true));
        assert_eq!(state.crash_size, Some(42));
    }

    #[test]
    fn a_kernel_without_kexec_differs_from_a_machine_that_shows_nothing() {
        let osrelease = ("proc/sys/kernel/osrelease", &b"6.18.5\n"[..]);
        let mm = ("sys/kernel/mm/ksm/run", &b"0\n"[..]);
        let state = read(&[osrelease, mm]);
        assert_eq!(state.kexec, Some(false));
        for shown in [
            "sys/kernel/kexec_loaded",
            "sys/kernel/kexec/loaded",
            "proc/sys/kernel/kexec_load_disabled",
        ] {
            assert_eq!(read(&[osrelease, mm, (shown, b"0\n")]).kexec, Some(true));
        }
        assert_eq!(read(&[osrelease]).kexec, None);
        assert_eq!(read(&[mm]).kexec, None);
    }

    #[test]
    fn sees_a_user_namespace() {
        let root = tempfile::tempdir().unwrap();
        let namespaces = root.path().join("proc/self/ns");
        fs::create_dir_all(&namespaces).unwrap();
        let user = namespaces.join("user");
        for (target, expected) in [(FIRST_USER_NAMESPACE, false), ("user:[4026532000]", true)] {
            std::os::unix::fs::symlink(target, &user).unwrap();
            let state = MachineState::read(root.path());
            assert_eq!(state.user_namespace, Some(expected));
            fs::remove_file(&user).unwrap();
        }
    }

    #[test]
    fn a_kernel_without_lockdown_is_not_locked_down() {
        let lockdown = |modules: &[u8]| {
            let state = read(&[("sys/kernel/security/lsm", modules)]);
            state.lockdown
        };
        assert_eq!(lockdown(b"capability,yama,bpf"), Some(Lockdown::None));
        assert_eq!(lockdown(b"lockdown,capability,yama"), None);
    }

    #[test]
    fn sees_missing_capabilities() {
        let state = read(&[("proc/self/status", b"CapEff:\t0000000000000000\n")]);
        assert_eq!(state.cap_sys_boot, Some(false));
        // Bit 22 and no other.
        let state = read(&[("proc/self/status", b"CapEff:\t0000000000400000\n")]);
        assert_eq!(state.cap_sys_boot, Some(true));
    }
}
