//! This machine, as kexec(8) uses it.

use std::env;
use std::error::Error;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ukexec_kexec::{BeforeBoot, exec_now, shown_path};
use ukexec_loader::report::Findings;
use ukexec_loader::report::failure::{errno, kind_of, sentence};
use ukexec_loader::{
    CmdlineFrom, Companions, Config, Console, DeviceTreeFrom, ErrorKind, LoadCall, LoadKind,
    LoadPlan, LoaderOptions, MachineState, Purpose, SmbiosPolicy, Syscall, Unfolding, unfold,
    unload,
};

use super::definition::is_option;
use super::plan::{Load, Plan, for_other_call};
use super::{Backend, Ended, Status};
use crate::console::{self, Terminal};

/// The running machine.
#[derive(Debug)]
pub(super) struct Machine;

impl Backend for Machine {
    fn state(&self) -> MachineState {
        MachineState::of_kernel(Path::new("/"))
    }

    fn load(&mut self, load: &Load, plan: &Plan, quiet: bool) -> Result<(), Ended> {
        let kernel = load.kernel.as_deref().unwrap_or(Path::new(""));
        let console: Arc<dyn Console> = match quiet {
            true => Arc::new(()),
            false => Terminal::shared(),
        };
        let note = |text: &str| match text.strip_prefix("warning: ") {
            _ if quiet => {}
            Some(warning) => console::warn(&in_words_of_kexec(warning)),
            None => console::note(&in_words_of_kexec(text)),
        };
        load.notes.iter().for_each(|it| note(it));
        // A process more asks which call there is. Where only one comes into question, the call
        // itself answers: udev's rules load crash kernels often.
        let is_open = plan.call == Syscall::Auto
            && (plan.kind, env::consts::ARCH) != (LoadKind::Crash, "x86_64");
        let machine = match is_open {
            true => MachineState::of_this_machine(),
            false => MachineState::read(Path::new("/")),
        };
        let options = options(load, plan);
        let purpose = Purpose::load(&machine, false);
        let loaded = || {
            let unfolding = unfold(kernel, &options, &purpose, &console)?;
            notes(load, &unfolding).iter().for_each(|it| note(it));
            let call = LoadPlan::new(&unfolding, &machine, plan.dry_run)?;
            match (call.call(), plan.kind) {
                (LoadCall::KexecFileLoad, _) => {
                    let names = load.of_other_call.iter();
                    names.for_each(|name| note(&for_other_call(name)));
                }
                (LoadCall::KexecLoad, LoadKind::Crash) if load.window.is_some() => {
                    note(CRASH_WINDOW);
                }
                (LoadCall::KexecLoad, _) => {}
            }
            call.notes().iter().for_each(|it| note(it));
            if plan.dry_run
                && let Findings::Page(page) = call.report()?
            {
                console::page(&page)?;
            }
            call.check()?;
            let record = call.load()?;
            if plan.debug {
                record.iter().for_each(|it| note(it));
            }
            if plan.debug
                && !plan.dry_run
                && let Findings::Page(page) = call.report()?
            {
                console::err_page(&page);
            }
            Ok(())
        };
        let loaded: anyhow::Result<()> = loaded();
        loaded.map_err(|error| not_loaded(error.as_ref(), plan.call, kernel))
    }

    fn unload(&mut self, plan: &Plan) -> Result<(), Ended> {
        // A record that stays names a kernel that is gone, which `status` sees.
        let call = match plan.call {
            Syscall::Auto => None,
            Syscall::File => Some(LoadCall::KexecFileLoad),
            Syscall::Load => Some(LoadCall::KexecLoad),
        };
        let _record = unload(plan.kind, call).map_err(|error| {
            let is_missing = errno(&error) == Some("ENOSYS") && plan.call == Syscall::File;
            let status = if is_missing {
                Status::NO_CALL
            } else {
                Status::FAILED
            };
            let missing = if is_missing { NO_FILE_CALL } else { "" };
            let text = format!("{missing} kexec unload failed: {}", sentence(&error));
            Ended::new(status, text.trim_start())
        })?;
        Ok(())
    }

    fn exec(&mut self, before: BeforeBoot, plan: &Plan) -> Ended {
        let debug = plan.debug;
        let mut stays_up = |error| {
            if debug {
                console::warn(&sentence(&error));
            }
        };
        match exec_now(before, &mut stays_up) {
            Ok(never) => match never {},
            Err(error) => {
                let text = format!("kexec failed: {}", sentence(&error));
                Ended::new(Status::FAILED, text)
            }
        }
    }

    fn shutdown(&mut self) -> Ended {
        let run = |path: &str| Command::new(path).args(["-r", "now"]).exec();
        let mut failures = SHUTDOWN.into_iter().map(|path| (path, run(path)));
        let found = failures.find(|(_, error)| error.kind() != io::ErrorKind::NotFound);
        let text = match found {
            Some((path, error)) => format!("the kernel is loaded, and {path} failed: {error}"),
            None => format!(
                "the kernel is loaded, and there is no {}: `kexec -e` boots it at once",
                SHUTDOWN.join(", ")
            ),
        };
        Ended::new(Status::FAILED, text)
    }
}

const SHUTDOWN: [&str; 3] = ["/sbin/shutdown", "/etc/shutdown", "/bin/shutdown"];

/// Returns how `load` is taken apart: where the caller gives a part of it, as kexec-tools
/// would load that part, else as `ukexec load` does.
fn options(load: &Load, plan: &Plan) -> LoaderOptions {
    let is_bare = load.is_bare();
    let line = load.cmdline.clone();
    let (cmdline, append) = match load.reuse_cmdline {
        true => (CmdlineFrom::RunningKernel, line),
        false => (line.map_or(CmdlineFrom::Image, CmdlineFrom::Caller), None),
    };
    LoaderOptions {
        initrds: load.initrds.clone(),
        replaces_initrd: !load.initrds.is_empty(),
        extra_files: !is_bare,
        companions: is_bare.then_some(Companions::None),
        boot_secret: !is_bare,
        cmdline,
        append,
        literal_cmdline: true,
        kind: plan.kind,
        own_file: plan.call == Syscall::Auto,
        more_flags: load.more_flags,
        syscall: plan.call,
        device_tree: match &load.device_tree {
            Some(file) => DeviceTreeFrom::File(file.clone()),
            None => DeviceTreeFrom::Machine,
        },
        window: load.window.clone().unwrap_or(0..u64::MAX),
        efi: !load.no_efi,
        config: Config {
            smbios: is_bare.then_some(SmbiosPolicy::None),
            ..Config::default()
        },
        ..LoaderOptions::default()
    }
}

/// Returns notes about what the caller may not expect.
fn notes(load: &Load, unfolding: &Unfolding) -> Vec<String> {
    let (format, is_unfolded) = unfolding.kernel_format();
    let mut notes = Vec::new();
    if let Some(name) = &load.type_name
        && let Some(found) = other_type(name, format, is_unfolded)
    {
        notes.push(format!("note: --type {name} makes no difference: {found}"));
    }
    let gives_none = load.cmdline.is_none() && !load.reuse_cmdline;
    if is_unfolded && gives_none && unfolding.has_cmdline() {
        notes.push(
            "note: the kernel gets the image's own command line (--append gives it another)"
                .to_owned(),
        );
    }
    notes
}

/// Returns the kind of the kernel in words, if kexec-tools' `name` is one of another kind.
fn other_type(name: &str, format: Option<&str>, is_unfolded: bool) -> Option<String> {
    let expected: &[&str] = match name {
        "bzImage" | "bzImage64" => &["bzImage"],
        "Image" | "Image-arm64" | "image-arm64" => &["Image"],
        "vmlinux" | "elf" | "elf-x86" | "elf-x86_64" | "elf-arm64" | "elf-ppc64" => &["ELF"],
        "pei-loongarch" => &["LoongArch PE"],
        "uki" | "vmlinuz" | "zboot" if is_unfolded => return None,
        _ => &[],
    };
    let found = format.unwrap_or("no kernel");
    let inside = if is_unfolded { " inside an image" } else { "" };
    (!expected.contains(&found)).then(|| format!("found {found}{inside}"))
}

/// Returns the end of a load that failed, in the terms of kexec-tools.
fn not_loaded(error: &(dyn Error + 'static), call: Syscall, kernel: &Path) -> Ended {
    let kernel = shown_path(kernel);
    let text = in_words_of_kexec(&sentence(error));
    let answer = errno(error).filter(|_| text.contains("kexec_file_load failed"));
    let says = |words: &[&str]| words.iter().any(|it| text.contains(it));
    let status = match (call, kind_of(error)) {
        (Syscall::File, _) if says(&NOT_BY_THIS_CALL) => Status::NO_CALL,
        // kexec-tools die where they cannot read the kernel; an initrd is another matter.
        (_, ErrorKind::File) if text.contains(&format!("cannot read {kernel}: ")) => Status::WRONG,
        _ => Status::FAILED,
    };
    let text = match answer {
        Some("ENOSYS") => format!("{NO_FILE_CALL} {text}"),
        _ if text.contains(NO_SUCH_CALL) => format!("{NO_FILE_CALL} {text}"),
        _ if text.contains("not a kernel") => {
            format!("Cannot determine the file type of {kernel}: {text}")
        }
        _ if text.starts_with("cannot load") => text.replacen('c', "C", 1),
        _ => format!("Cannot load {kernel}: {text}"),
    };
    Ended::new(status, text)
}

/// The answers behind which kexec-tools would try the other call: `ENOTSUPP` has no name.
const NOT_BY_THIS_CALL: [&str; 8] = [
    NO_SUCH_CALL,
    "kexec_file_load failed with ENOSYS",
    "kexec_file_load failed with EINVAL",
    "kexec_file_load failed with ENOEXEC",
    "kexec_file_load failed with EOPNOTSUPP",
    "(os error 524)",
    "would answer ENOEXEC",
    "would answer EINVAL",
];

const CRASH_WINDOW: &str = "note: --mem-min and --mem-max make no difference: a crash kernel lies in \
                            the memory of crashkernel=";
const NO_SUCH_CALL: &str = "kexec_file_load is not in this kernel";
const NO_FILE_CALL: &str = "syscall kexec_file_load not available.";

/// Returns `text` with the options of this command in place of those of `ukexec load`, and
/// whose the others are.
fn in_words_of_kexec(text: &str) -> String {
    let text = text
        .replace("--cmdline", "--command-line")
        .replace("; --console=keep adds it", "")
        .replace("; --dtb=image takes it along", "")
        .replace("give --dtb=image, or leave it out", "leave it out")
        .replace("`ukexec load IMAGE`", "`kexec -l KERNEL`");
    let is_end = |character: char| !character.is_ascii_lowercase() && character != '-';
    let named = text.match_indices(" --").map(|(at, _)| {
        let name = text.get(at.saturating_add(3)..).unwrap_or_default();
        name.split(is_end).next().unwrap_or_default()
    });
    let mut others = named.filter(|name| !name.is_empty() && !is_option(name));
    match others.next() {
        Some(other) => format!("{text}; --{other} is an option of `ukexec`"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::definition;
    use super::*;

    #[test]
    fn a_type_is_compared_with_what_is_there() {
        let check = |name: &str, format, is_unfolded, expected: Option<&str>| {
            let found = other_type(name, Some(format), is_unfolded);
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check("bzImage64", "bzImage", false, None);
        check("bzImage", "bzImage", true, None);
        check("uki", "bzImage", true, None);
        check("uki", "bzImage", false, Some("found bzImage"));
        check(
            "vmlinux",
            "bzImage",
            true,
            Some("found bzImage inside an image"),
        );
        check("nbi", "Image", false, Some("found Image"));
    }

    #[test]
    fn an_option_that_kexec_has_not_is_named_as_another_commands() {
        for (text, expected) in [
            ("no line (--cmdline)", "no line (--command-line)"),
            (
                "give it with --initrd, and more",
                "give it with --initrd, and more",
            ),
            (
                "unknown key; --trust names keys",
                "unknown key; --trust names keys; --trust is an option of `ukexec`",
            ),
            ("has \" -- \" before", "has \" -- \" before"),
        ] {
            assert_eq!(in_words_of_kexec(text), expected);
        }
    }

    #[test]
    fn a_part_that_the_caller_gives_stands_alone() {
        let of = |args: &[&str]| {
            let args = [&["kexec", "-p"], args].concat();
            let matches = definition(None).get_matches_from(args);
            let plan = Plan::new(&matches, "x86_64").expect("a plan");
            options(plan.load.as_ref().expect("a load"), &plan)
        };
        let own = of(&["K"]);
        assert!(own.extra_files && own.boot_secret && !own.replaces_initrd);
        assert_eq!((own.companions, own.config.smbios), (None, None));
        assert!(own.own_file && own.literal_cmdline);
        for (args, replaces) in [
            (&["K", "--initrd=i"][..], true),
            (&["K", "--append="], false),
            (&["K", "--reuse-cmdline", "-s"], false),
        ] {
            let bare = of(args);
            assert!(!bare.extra_files && !bare.boot_secret, "{args:?}");
            assert_eq!(bare.companions, Some(Companions::None));
            assert_eq!(bare.config.smbios, Some(SmbiosPolicy::None));
            assert_eq!(bare.replaces_initrd, replaces);
            assert_eq!(bare.own_file, !args.contains(&"-s"));
        }
    }
}
