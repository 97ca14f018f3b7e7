//! Loading, dropping and booting a kernel.

use std::convert::Infallible;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno as Answer;

use crate::cause::{no_kexec, nothing_loaded};
use crate::errno::Errno;
use crate::error::KexecError;
use crate::interface;
use crate::machine::{LoadKind, MachineState};
use crate::refusal::{of_exec, of_load, of_unload};
use crate::syscall::{Call, syscall};

/// The arguments of `kexec_file_load(2)`.
#[derive(Clone, Copy, Debug)]
pub struct LoadRequest<'a> {
    /// The kernel, open for reading, and nowhere for writing.
    pub(crate) kernel: BorrowedFd<'a>,
    /// The initrd, if any.
    pub(crate) initrd: Option<BorrowedFd<'a>>,
    /// The command line, without a NUL.
    pub(crate) cmdline: &'a [u8],
    /// The occasion on which the kernel boots.
    pub(crate) kind: LoadKind,
    /// Whether the kernel was taken out of another image. Changes nothing but
    /// the words of a refusal.
    pub unfolded: bool,
    /// A reason for which this machine may refuse the kernel, in words. It is the cause
    /// where the call fails.
    pub doubt: Option<&'a str>,
    /// Flags of newer kernels.
    pub more: MoreFlags,
}

/// Flags of `kexec_file_load(2)` that only newer kernels know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoreFlags {
    /// Memory of the contiguous memory allocator is not used (`KEXEC_FILE_NO_CMA`).
    pub no_cma: bool,
    /// The running kernel's device tree goes along on x86 (`KEXEC_FILE_FORCE_DTB`).
    pub force_dtb: bool,
}

impl MoreFlags {
    fn bits(self) -> u32 {
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        bit(self.no_cma, NO_CMA) | bit(self.force_dtb, FORCE_DTB)
    }

    /// Returns their names, if any is set.
    pub(crate) fn names(self) -> Option<&'static str> {
        match (self.no_cma, self.force_dtb) {
            (false, false) => None,
            (true, false) => Some("KEXEC_FILE_NO_CMA"),
            (false, true) => Some("KEXEC_FILE_FORCE_DTB"),
            (true, true) => Some("KEXEC_FILE_NO_CMA or KEXEC_FILE_FORCE_DTB"),
        }
    }
}

impl<'a> LoadRequest<'a> {
    /// Returns a request for a kernel that was no part of another image.
    #[must_use]
    pub fn new(
        kernel: BorrowedFd<'a>,
        initrd: Option<BorrowedFd<'a>>,
        cmdline: &'a [u8],
        kind: LoadKind,
    ) -> Self {
        Self {
            kernel,
            initrd,
            cmdline,
            kind,
            unfolded: false,
            doubt: None,
            more: MoreFlags::default(),
        }
    }

    /// Returns the flags as `kexec_file_load(2)` takes them.
    #[must_use]
    pub fn flags(&self) -> u32 {
        let flags = kind_flag(self.kind) | self.more.bits();
        match self.initrd {
            Some(_) => flags,
            None => flags | NO_INITRAMFS,
        }
    }

    /// Returns the command line as `kexec_file_load(2)` takes it: with a NUL
    /// at its end, which its length counts. An empty one is one NUL.
    ///
    /// # Errors
    ///
    /// There is a NUL inside.
    pub fn cmdline_with_nul(&self) -> Result<Vec<u8>, KexecError> {
        if let Some(at) = self.cmdline.iter().position(|&byte| byte == 0) {
            return Err(KexecError::new(format!(
                "the command line has a NUL at byte {at}: the next kernel would stop reading \
                 there; remove it"
            )));
        }
        Ok([self.cmdline, b"\0"].concat())
    }
}

/// Loads a kernel, in place of one that was loaded for the same kind before.
///
/// # Errors
///
/// The running kernel refuses, or the command line cannot be passed on.
pub fn load(request: &LoadRequest<'_>) -> Result<(), KexecError> {
    load_under(Path::new("/"), request)
}

fn load_under(root: &Path, request: &LoadRequest<'_>) -> Result<(), KexecError> {
    let cmdline = request.cmdline_with_nul()?;
    // Limits count down with every try, so the state before it is what counts.
    let before = MachineState::read(root);
    let call = Call::KexecFileLoad {
        kernel: Some(request.kernel),
        initrd: request.initrd,
        cmdline: &cmdline,
        flags: request.flags(),
    };
    syscall(&call).map_err(|answer| {
        let errno = Errno(answer.raw_os_error());
        let error = of_load(errno, request, &before).failed("kexec_file_load", errno);
        error.and(before.lost_by_load(root, request.kind).unwrap_or_default())
    })
}

/// Drops the kernel that is loaded for `kind`, by `kexec_file_load(2)`. It is no error if there
/// is none.
///
/// # Errors
///
/// The running kernel refuses, or lacks the call.
pub fn unload(kind: LoadKind) -> Result<(), KexecError> {
    unload_under(Path::new("/"), kind)
}

fn unload_under(root: &Path, kind: LoadKind) -> Result<(), KexecError> {
    let before = MachineState::of_kernel(root);
    let flags = UNLOAD | kind_flag(kind);
    syscall(&Call::KexecFileLoad {
        kernel: None,
        initrd: None,
        cmdline: &[],
        flags,
    })
    .map_err(|answer| {
        let errno = Errno(answer.raw_os_error());
        of_unload(errno, kind, &before).failed("unload", errno)
    })
}

/// The steps before a boot at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeforeBoot {
    /// Dirty files are written back.
    pub sync: bool,
    /// Each network interface but the loopback is taken down: a device that goes on
    /// receiving writes to memory.
    pub interfaces_down: bool,
}

/// Boots the loaded kernel at once. No service is stopped, no file system is unmounted.
/// `stays_up` gets the failure of each interface that stays up, which stops nothing.
///
/// # Errors
///
/// The running kernel refuses.
pub fn exec_now(
    before: BeforeBoot,
    stays_up: &mut dyn FnMut(KexecError),
) -> Result<Infallible, KexecError> {
    exec_now_under(Path::new("/"), before, stays_up)
}

fn exec_now_under(
    root: &Path,
    before: BeforeBoot,
    stays_up: &mut dyn FnMut(KexecError),
) -> Result<Infallible, KexecError> {
    check_loaded(EXEC, root)?;
    #[cfg(not(test))]
    if before.sync {
        rustix::fs::sync();
    }
    if before.interfaces_down {
        interface::take_down(root, stays_up);
    }
    // The call does not come back when it works.
    let answer = syscall(&Call::RebootKexec).err();
    let errno = Errno(answer.map_or(0, Answer::raw_os_error));
    let machine = MachineState::of_kernel(root);
    Err(of_exec(errno, &machine).failed(EXEC, errno))
}

/// Has systemd stop all services, unmount, and boot the loaded kernel. Returns as
/// soon as systemd has begun.
///
/// # Errors
///
/// No kernel is loaded (systemd would then load one of its own choice), systemd
/// does not run this machine, or `systemctl` cannot be run or fails.
pub fn exec_through_systemd() -> Result<(), KexecError> {
    exec_through(Path::new("/"), Path::new("systemctl"))
}

fn exec_through(root: &Path, program: &Path) -> Result<(), KexecError> {
    check_loaded(BY_SYSTEMD, root)?;
    check_systemd_under(root)?;
    let shown = program.display();
    let output = Command::new(program).arg("kexec").output();
    let output = output.map_err(|cause| {
        let text = format!("`{shown} kexec` could not be run");
        KexecError::caused(text, format!("{cause}; {FORCE}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let status = output.status;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = match said.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    };
    Err(KexecError::new(format!(
        "`{shown} kexec` failed ({status}){said}; {FORCE}"
    )))
}

/// Refuses a boot of the loaded kernel, at once or through systemd, that is known to fail.
///
/// # Errors
///
/// No kernel is loaded, or systemd does not run this machine.
pub fn check_exec(at_once: bool) -> Result<(), KexecError> {
    let call = if at_once { EXEC } else { BY_SYSTEMD };
    check_loaded(call, Path::new("/"))?;
    if at_once { Ok(()) } else { check_systemd() }
}

/// Refuses a boot through systemd where it does not run this machine.
///
/// # Errors
///
/// It does not.
pub fn check_systemd() -> Result<(), KexecError> {
    check_systemd_under(Path::new("/"))
}

fn check_systemd_under(root: &Path) -> Result<(), KexecError> {
    if MachineState::read(root).systemd {
        return Ok(());
    }
    Err(KexecError::new(format!(
        "systemd does not run this machine, so nothing would stop the services first; {FORCE}"
    )))
}

const BY_SYSTEMD: &str = "systemctl kexec";
const FORCE: &str = "`ukexec exec --force` boots at once, without stopping services";

/// Refuses where it is known that nothing is loaded, or can be.
fn check_loaded(call: &str, root: &Path) -> Result<(), KexecError> {
    let machine = MachineState::of_loads(root);
    let cause = if machine.kexec == Some(false) {
        no_kexec()
    } else if machine.loaded == Some(false) {
        nothing_loaded()
    } else {
        return Ok(());
    };
    Err(cause.error(&format!("{call} was not tried")))
}

fn kind_flag(kind: LoadKind) -> u32 {
    match kind {
        LoadKind::Reboot => 0,
        LoadKind::Crash => ON_CRASH,
    }
}

const EXEC: &str = "reboot (kexec)";

// Linux, include/uapi/linux/kexec.h.
const UNLOAD: u32 = 1;
const ON_CRASH: u32 = 2;
const NO_INITRAMFS: u32 = 4;
const NO_CMA: u32 = 0x10;
const FORCE_DTB: u32 = 0x20;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::path::PathBuf;

    use expect_test::{Expect, expect};
    use tempfile::TempDir;

    use super::*;
    use crate::syscall::fake;
    use crate::testing::line;

    /// A machine with a kernel loaded, or not, for both kinds.
    fn machine(loaded: bool) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        let sys = root.path().join("sys/kernel");
        fs::create_dir_all(&sys).unwrap();
        for name in ["kexec_loaded", "kexec_crash_loaded"] {
            fs::write(sys.join(name), if loaded { "1\n" } else { "0\n" }).unwrap();
        }
        root
    }

    fn boots_under(root: &Path, interfaces_down: bool) -> Result<Infallible, KexecError> {
        let before = BeforeBoot {
            sync: true,
            interfaces_down,
        };
        exec_now_under(root, before, &mut |error| panic!("{error}"))
    }

    /// Loads with these arguments and compares the call that results.
    fn check(initrd: bool, cmdline: &[u8], edit: fn(&mut LoadRequest<'_>), expected: &Expect) {
        let file = fs::File::open("/dev/null").unwrap();
        let initrd = initrd.then(|| file.as_fd());
        let mut request = LoadRequest::new(file.as_fd(), initrd, cmdline, LoadKind::Reboot);
        edit(&mut request);
        fake::answer(None);
        load_under(machine(false).path(), &request).unwrap();
        expected.assert_eq(&fake::calls().join("\n"));
    }

    #[test]
    fn passes_its_arguments_on() {
        check(
            true,
            b"root=/dev/vda",
            |_| {},
            &expect![[r#"kexec_file_load(kernel fd, initrd fd, 14, "root=/dev/vda\0", 0x0)"#]],
        );
    }

    #[test]
    fn an_empty_command_line_is_one_nul() {
        check(
            true,
            b"",
            |_| {},
            &expect![[r#"kexec_file_load(kernel fd, initrd fd, 1, "\0", 0x0)"#]],
        );
    }

    #[test]
    fn says_so_when_there_is_no_initrd() {
        check(
            false,
            b"quiet",
            |_| {},
            &expect![[r#"kexec_file_load(kernel fd, initrd -1, 6, "quiet\0", 0x4)"#]],
        );
    }

    #[test]
    fn sets_the_flags() {
        check(
            true,
            b"",
            |request| request.kind = LoadKind::Crash,
            &expect![[r#"kexec_file_load(kernel fd, initrd fd, 1, "\0", 0x2)"#]],
        );
    }

    #[test]
    fn refuses_a_nul_in_the_command_line() {
        let file = fs::File::open("/dev/null").unwrap();
        let request = LoadRequest::new(file.as_fd(), None, b"a\0b", LoadKind::Reboot);
        let error = load_under(machine(false).path(), &request).unwrap_err();
        expect!["the command line has a NUL at byte 1: the next kernel would stop reading there; remove it"].assert_eq(&error.to_string());
        assert!(fake::calls().is_empty());
    }

    #[test]
    fn explains_a_refusal() {
        let file = fs::File::open("/dev/null").unwrap();
        let request = LoadRequest::new(file.as_fd(), None, b"", LoadKind::Reboot);
        fake::answer(Some(Answer::NOEXEC));
        let error = load_under(machine(true).path(), &request).unwrap_err();
        expect!["kexec_file_load failed with ENOEXEC: no loader of the running kernel knows the image; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed"].assert_eq(&error.to_string());
    }

    /// The kernel that was loaded goes when the new one is refused.
    #[test]
    fn says_that_the_crash_kernel_is_gone() {
        let (file, root) = (fs::File::open("/dev/null").unwrap(), machine(true));
        let loaded = root.path().join("sys/kernel/kexec_crash_loaded");
        let request = LoadRequest::new(file.as_fd(), None, b"", LoadKind::Crash);
        fake::answer(Some(Answer::NOEXEC));
        fake::on_call(move || fs::write(&loaded, "0\n").unwrap());
        let error = load_under(root.path(), &request).unwrap_err().to_string();
        expect![[r#"
            kexec_file_load failed with ENOEXEC: no loader of the running kernel knows the image; `ukexec inspect IMAGE` says what it is; `dmesg | tail` may say what was missed
            the crash kernel that was loaded before is gone (Linux drops it first): load one again"#]].assert_eq(&error);
    }

    #[test]
    fn unloads_by_kind() {
        fake::answer(None);
        let root = machine(true);
        unload_under(root.path(), LoadKind::Reboot).unwrap();
        unload_under(root.path(), LoadKind::Crash).unwrap();
        expect![[r#"
            kexec_file_load(kernel -1, initrd -1, 0, "", 0x1)
            kexec_file_load(kernel -1, initrd -1, 0, "", 0x3)"#]]
        .assert_eq(&fake::calls().join("\n"));
        fake::answer(Some(Answer::BUSY));
        assert!(unload_under(root.path(), LoadKind::Reboot).is_err());
    }

    #[test]
    fn boots_at_once() {
        fake::answer(Some(Answer::INVAL));
        let error = boots_under(machine(true).path(), false).unwrap_err();
        expect!["reboot (kexec) failed with EINVAL: this process is in a container; run it on the machine itself"].assert_eq(&error.to_string());
        assert_eq!(fake::calls(), ["reboot(kexec)"]);
    }

    #[test]
    fn takes_interfaces_down_before_the_boot() {
        let root = machine(true);
        for name in ["lo", "eth0", "bonding_masters"] {
            let folder = root.path().join("sys/class/net").join(name);
            fs::create_dir_all(&folder).unwrap();
            if name != "bonding_masters" {
                fs::write(folder.join("flags"), "0x1003\n").unwrap();
            }
        }
        fake::answer(None);
        boots_under(root.path(), true).unwrap_err();
        assert_eq!(fake::calls(), ["interface down(eth0)", "reboot(kexec)"]);
    }

    #[test]
    fn boots_nothing_when_nothing_is_loaded() {
        let root = machine(false);
        let error = boots_under(root.path(), false).unwrap_err();
        expect!["reboot (kexec) was not tried: no kernel is loaded; run `ukexec load IMAGE` first"]
            .assert_eq(&error.to_string());
        let error = exec_through(root.path(), Path::new("false")).unwrap_err();
        expect![
            "systemctl kexec was not tried: no kernel is loaded; run `ukexec load IMAGE` first"
        ]
        .assert_eq(&error.to_string());
        assert!(fake::calls().is_empty());
    }

    #[test]
    fn boots_nothing_where_nothing_can_be_loaded() {
        let root = tempfile::tempdir().unwrap();
        for path in ["sys/kernel/mm", "proc/sys/kernel/osrelease"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let error = boots_under(root.path(), false).unwrap_err();
        expect!["reboot (kexec) was not tried: kexec is not in this kernel (CONFIG_KEXEC_CORE is off, or a container hides it); boot one that has it"].assert_eq(&error.to_string());
        let error = exec_through(root.path(), Path::new("false")).unwrap_err();
        assert!(error.to_string().contains("CONFIG_KEXEC_CORE"), "{error}");
        assert!(fake::calls().is_empty());
    }

    #[test]
    fn stops_services_only_where_systemd_runs() {
        let error = exec_through(machine(true).path(), Path::new("true")).unwrap_err();
        expect!["systemd does not run this machine, so nothing would stop the services first; `ukexec exec --force` boots at once, without stopping services"].assert_eq(&error.to_string());
    }

    #[test]
    fn boots_through_systemd() {
        let root = machine(true);
        fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        let says = |script: &str| -> PathBuf {
            let path = root.path().join("systemctl");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            path
        };
        exec_through(root.path(), &says("[ \"$*\" = kexec ]")).unwrap();
        let error = exec_through(root.path(), &says("echo no >&2; exit 3")).unwrap_err();
        let text = error
            .to_string()
            .replace(&root.path().display().to_string(), "ROOT");
        expect!["`ROOT/systemctl kexec` failed (exit status: 3): no; `ukexec exec --force` boots at once, without stopping services"].assert_eq(&text);
        let error = exec_through(root.path(), Path::new("/nowhere/systemctl")).unwrap_err();
        expect!["`/nowhere/systemctl kexec` could not be run: No such file or directory (os error 2); `ukexec exec --force` boots at once, without stopping services"].assert_eq(&line(&error));
    }
}
