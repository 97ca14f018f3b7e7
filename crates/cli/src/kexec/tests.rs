//! Tests of kexec(8)'s arguments: the calls of its callers, each with the plan that
//! kexec-tools follow.

use expect_test::{Expect, expect};

use super::definition::{ELSEWHERE, ROWS};
use super::*;

/// A machine that writes down what it is asked for.
struct Recorder {
    state: MachineState,
    calls: Vec<String>,
}

impl Backend for Recorder {
    fn state(&self) -> MachineState {
        self.state.clone()
    }

    fn load(&mut self, load: &Load, plan: &Plan, quiet: bool) -> Result<(), Ended> {
        let mut call = format!("load {:?} by {:?}:", plan.kind, plan.call);
        let mut add = |text: String| call.push_str(&format!(" {text}"));
        load.kernel.iter().for_each(|it| add(shown(it)));
        load.initrds
            .iter()
            .for_each(|it| add(format!("initrd={}", shown(it))));
        if load.reuse_cmdline {
            add("the running line".to_owned());
        }
        if let Some(line) = &load.cmdline {
            add(format!("{:?}", String::from_utf8_lossy(line)));
        }
        load.type_name
            .iter()
            .for_each(|it| add(format!("type={it}")));
        if load.more_flags != ukexec_kexec::MoreFlags::default() {
            add(format!("{:?}", load.more_flags));
        }
        if quiet {
            add("quiet".to_owned());
        }
        load.device_tree
            .iter()
            .for_each(|it| add(format!("dtb={}", shown(it))));
        load.of_other_call
            .iter()
            .for_each(|it| add(format!("--{it}")));
        load.window
            .iter()
            .for_each(|it| add(format!("at {:#x}..{:#x}", it.start, it.end)));
        load.notes.iter().for_each(|it| add(format!("({it})")));
        self.calls.push(call);
        Ok(())
    }

    fn unload(&mut self, plan: &Plan) -> Result<(), Ended> {
        self.calls.push(format!("unload {:?}", plan.kind));
        Ok(())
    }

    fn exec(&mut self, before: BeforeBoot, _plan: &Plan) -> Ended {
        let sync = if before.sync { ", sync" } else { "" };
        let down = if before.interfaces_down { ", down" } else { "" };
        self.calls.push(format!("exec{sync}{down}"));
        Ended::new(Status(0), "booted")
    }

    fn shutdown(&mut self) -> Ended {
        self.calls.push("shutdown -r now".to_owned());
        Ended::new(Status(0), "shut down")
    }
}

fn shown(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// A machine with memory for a crash kernel, where nothing is loaded.
fn machine() -> MachineState {
    let mut state = MachineState::default();
    state.loaded = Some(false);
    state.crash_loaded = Some(false);
    state.crash_size = Some(256 << 20);
    state
}

/// Runs `kexec` with `words` on a machine in `state`. Returns what it did and said, and the
/// exit status.
fn run_on(state: &MachineState, words: &[&str]) -> String {
    let mut recorder = Recorder {
        state: state.clone(),
        calls: Vec::new(),
    };
    let args = ["kexec"].iter().chain(words).map(OsString::from);
    let ended = parse(args).and_then(|parsed| match parsed {
        Parsed::Text(text) => Ok(Answer::printed(text)),
        Parsed::Plan(plan) => follow(&plan, &mut recorder),
    });
    let (status, said) = match ended {
        Ok(Answer { status, stdout }) => (status, stdout),
        Err(Ended { status, text }) => (status, text),
    };
    let is_of_recorder = status == Status(0) && ["booted", "shut down"].contains(&said.as_str());
    let mut lines = recorder.calls;
    if !is_of_recorder {
        lines.extend(said.lines().map(str::to_owned));
    }
    lines.push(status.0.to_string());
    lines.join("\n")
}

/// Runs `kexec` with each line of `spellings`, split at blanks; a word of quotes alone is an
/// empty one.
fn check_on(state: &MachineState, spellings: &[&str], expected: &Expect) {
    let said = spellings.iter().map(|spelling| {
        let words = spelling.split(' ').filter(|word| !word.is_empty());
        let words: Vec<&str> = words.map(|it| it.trim_matches('"')).collect();
        run_on(state, &words)
    });
    let said: Vec<String> = said.collect();
    for (spelling, same) in spellings.iter().zip(&said) {
        assert_eq!(Some(same), said.first(), "{spelling}");
    }
    expected.assert_eq(&said[0]);
}

fn check(spellings: &[&str], expected: Expect) {
    check_on(&machine(), spellings, &expected);
}

#[test]
fn kdump_utils_load_and_unload() {
    check(
        &[
            "-s -s -p --command-line=C --initrd=I K",
            "-sp K --initrd I --append C",
            "-s -p --command-line=C --initrd=I K",
            "-s -s -p --command-line C --ramdisk I K",
        ],
        expect![[r#"
            load Crash by File: K initrd=I "C"
            0"#]],
    );
    check(
        &["-p --command-line=C --initrd=/boot/initramfs-earlykdump /boot/kernel-earlykdump"],
        expect![[r#"
            load Crash by Auto: /boot/kernel-earlykdump initrd=/boot/initramfs-earlykdump "C"
            0"#]],
    );
    check(
        &["--dt-no-old-root -p K"],
        expect![[r#"
        --dt-no-old-root: an option for another architecture
        1"#]],
    );
}

#[test]
fn suse_and_debian_load_a_crash_kernel() {
    check(
        &["-p K --append=C --initrd=I -a"],
        expect![[r#"
        load Crash by Auto: K initrd=I "C"
        0"#]],
    );
    check(
        &[
            "-p -s --args-linux --command-line=C --initrd=I K",
            "-p -s --command-line=C --initrd=I K",
        ],
        expect![[r#"
            load Crash by File: K initrd=I "C"
            0"#]],
    );
    check(
        &["-p --command-line=C /path/x.efi"],
        expect![[r#"
        load Crash by Auto: /path/x.efi "C"
        0"#]],
    );
    check(
        &["-l K --initrd=I --append=C"],
        expect![[r#"
        load Reboot by Auto: K initrd=I "C"
        0"#]],
    );
}

#[test]
fn every_order_of_unload_drops_the_crash_kernel() {
    check(
        &["-p -u", "-u -p", "-a -p -u", "-s -p -u", "-pu", "-up"],
        expect![[r#"
            unload Crash
            0"#]],
    );
    check(
        &["-u", "-l -u"],
        expect![[r#"
        unload Reboot
        0"#]],
    );
    check(
        &["-u -l"],
        expect![[r#"
            unload Reboot
            No kernel specified
            usage: kexec [OPTION]... [KERNEL]; `kexec -h` lists the options
            255"#]],
    );
    check(
        &["-u -l K"],
        expect![[r#"
        unload Reboot
        load Reboot by Auto: K
        0"#]],
    );
}

#[test]
fn systemd_and_scripts_load() {
    check(
        &["--load K --append C"],
        expect![[r#"
        load Reboot by Auto: K "C"
        0"#]],
    );
    check(
        &["--load K --append C --initrd I"],
        expect![[r#"
        load Reboot by Auto: K initrd=I "C"
        0"#]],
    );
    check(
        &["--load --initrd=I --command-line=C -- K"],
        expect![[r#"
        load Reboot by Auto: K initrd=I "C"
        0"#]],
    );
    check(
        &["-l -s --reuse-cmdline K --initrd=I"],
        expect![[r#"
        load Reboot by File: K initrd=I the running line
        0"#]],
    );
    check(
        &["-l K --initrd=I --reuse-cmdline"],
        expect![[r#"
        load Reboot by Auto: K initrd=I the running line
        0"#]],
    );
    check(
        &["-ld K"],
        expect![[r#"
        load Reboot by Auto: K
        0"#]],
    );
    check(
        &["-l -- -K"],
        expect![[r#"
        load Reboot by Auto: -K
        0"#]],
    );
    check(
        &["-l K other words"],
        expect![[r#"
        load Reboot by Auto: K
        0"#]],
    );
}

#[test]
fn installers_and_tests_load() {
    check(
        &[
            "--load K --initrd=I --append=C --no-checks",
            "-i -l K --ramdisk=I --append C",
        ],
        expect![[r#"
            load Reboot by Auto: K initrd=I "C"
            0"#]],
    );
    check(
        &["-sl K --reuse-cmdline --append=C"],
        expect![[r#"
        load Reboot by File: K the running line "C"
        0"#]],
    );
    // A shell split the line, as it does where a script forgot the quotes.
    check(
        &["-l --append root=x quiet K"],
        expect![[r#"
        load Reboot by Auto: quiet "root=x"
        0"#]],
    );
    if cfg!(target_arch = "x86_64") {
        check(
            &["--elf64-core-headers -p K"],
            expect![[r#"
            load Crash by Auto: K (--elf64-core-headers makes no difference: kexec_file_load(2) lets the kernel decide that)
            0"#]],
        );
    }
}

#[test]
fn the_last_line_counts_and_an_empty_one_too() {
    check(
        &[
            "-l K --reuse-cmdline --append=X",
            "-l K --append=X --reuse-cmdline",
            "--command-line X -l --reuse-cmdline K",
        ],
        expect![[r#"
            load Reboot by Auto: K the running line "X"
            0"#]],
    );
    check(
        &[
            "-l K --append=A --append=B",
            "-l K --command-line=A --append=B",
            "-l K --append A --command-line B",
        ],
        expect![[r#"
            load Reboot by Auto: K "B"
            0"#]],
    );
    check(
        &["-l K --append=", "-l K --append \"\""],
        expect![[r#"
        load Reboot by Auto: K ""
        0"#]],
    );
    check(
        &["-l K --append --debug"],
        expect![[r#"
        load Reboot by Auto: K "--debug"
        0"#]],
    );
    check(
        &["-l K --append --"],
        expect![[r#"
        load Reboot by Auto: K "--"
        0"#]],
    );
    check(
        &["-l UKI"],
        expect![[r#"
        load Reboot by Auto: UKI
        0"#]],
    );
    check(
        &["-l UKI --initrd=I"],
        expect![[r#"
        load Reboot by Auto: UKI initrd=I
        0"#]],
    );
    check(
        &["-l UKI --initrd=I --initrd J"],
        expect![[r#"
        load Reboot by Auto: UKI initrd=I initrd=J
        0"#]],
    );
}

#[test]
fn two_lines_are_one_on_riscv() {
    let args = ["kexec", "-l", "K", "--append=B", "--command-line=A"];
    let matches = definition(Some("riscv64")).get_matches_from(args);
    let plan = Plan::new(&matches, "riscv64").unwrap();
    assert_eq!(plan.load.unwrap().cmdline.unwrap(), b"A B");
}

#[test]
fn a_boot_at_once_and_a_boot_by_shutdown() {
    let mut state = machine();
    state.loaded = Some(true);
    let check = |spellings: &[&str], expected: Expect| check_on(&state, spellings, &expected);
    check(
        &["-e", "-d -e", "-e -a", "-l K -e"],
        expect![[r#"
        exec, sync, down
        0"#]],
    );
    check(
        &["-e -x", "-x -e"],
        expect![[r#"
        exec, sync
        0"#]],
    );
    check(
        &["-e -x -y", "-exy"],
        expect![[r#"
        exec
        0"#]],
    );
    check(
        &["-f K --append=C", "-l -f K --append=C"],
        expect![[r#"
        load Reboot by Auto: K "C"
        exec, sync, down
        0"#]],
    );
    check(
        &["-f -l K"],
        expect![[r#"
        load Reboot by Auto: K
        0"#]],
    );
    check(
        &["K"],
        expect![[r#"
        load Reboot by Auto: K
        shutdown -r now
        0"#]],
    );
    self::check(
        &["-e"],
        expect![[r#"
        Nothing has been loaded! Load a kernel with `kexec -l KERNEL` first
        1"#]],
    );
    // A machine that does not show it is asked.
    check_on(
        &MachineState::default(),
        &["-e"],
        &expect![[r#"
        exec, sync, down
        0"#]],
    );
}

#[test]
fn a_kernel_is_wanted_and_memory_for_a_crash() {
    check(
        &["", "-l", "-p", "-d", "-l --"],
        expect![[r#"
        No kernel specified
        usage: kexec [OPTION]... [KERNEL]; `kexec -h` lists the options
        255"#]],
    );
    let mut without = machine();
    without.crash_size = Some(0);
    check_on(
        &without,
        &["-p", "-p K", "-l -p nowhere"],
        &expect![[r#"
        Memory for crashkernel is not reserved: boot with crashkernel= on the command line (crashkernel=512M suits most machines)
        1"#]],
    );
    check_on(
        &without,
        &["-p -u", "-u -p"],
        &expect![[r#"
            unload Crash
            0"#]],
    );
}

#[test]
fn a_kernel_without_kexec_loads_nothing() {
    let mut without = machine();
    without.kexec = Some(false);
    check_on(
        &without,
        &["-l K", "K"],
        &expect![[r#"
        syscall kexec_file_load not available. The running kernel has no kexec, or a container hides it; boot one that has it
        255"#]],
    );
    check_on(
        &without,
        &["-s -l K"],
        &expect![[r#"
        syscall kexec_file_load not available. The running kernel has no kexec, or a container hides it; boot one that has it
        253"#]],
    );
}

#[test]
fn types_prefixes_and_wrong_words() {
    check(
        &[
            "-l K -t bzImage64 --args-linux",
            "-l K --type=bzImage64",
            "-tbzImage64 -l K",
        ],
        expect![[r#"
            load Reboot by Auto: K type=bzImage64
            0"#]],
    );
    check(
        &["-l K --initr=I --app=C"],
        expect![[r#"
        load Reboot by Auto: K initrd=I "C"
        0"#]],
    );
    for spelling in [
        "--no=",
        "--no",
        "-l --bogus K",
        "-l -q K",
        "--load-p K",
        "--reuse K",
        "--load=x K",
        "-l - --initrd=-",
        "--append",
        "--initrd",
        "-t",
        "-1",
    ] {
        let words: Vec<&str> = spelling.split(' ').collect();
        let said = run_on(&machine(), &words);
        assert!(
            said.ends_with(&format!("\n{USAGE}\n1")),
            "{spelling}: {said}"
        );
    }
    let said = run_on(&machine(), &["-l", "--bogus", "K"]);
    expect![[r#"
        unexpected argument '--bogus' found
        usage: kexec [OPTION]... [KERNEL]; `kexec -h` lists the options
        1"#]]
    .assert_eq(&said);
}

#[test]
fn addresses_are_read_and_calls_are_chosen() {
    check(
        &["-c -l K", "-l K -s -c"],
        expect![[r#"
        load Reboot by Load: K
        0"#]],
    );
    #[cfg(target_arch = "x86_64")]
    check(
        &["-c -p K"],
        expect![[r#"
        --kexec-syscall (-c) with -p is refused: on x86_64, ukexec loads crash kernels by kexec_file_load(2) alone; leave -c out, or use kexec of kexec-tools
        1"#]],
    );
    check(
        &["-c -l K --dtb=D --noefi"],
        expect![[r#"
            load Reboot by Load: K dtb=D --noefi
            0"#]],
    );
    check(
        &["-s -l K --noefi"],
        expect![[r#"
            load Reboot by File: K --noefi
            0"#]],
    );
    check(
        &["--mem-max=0x7fffffff -l K"],
        expect![[r#"
            load Reboot by Auto: K --mem-max at 0x0..0x80000000
            0"#]],
    );
    check(
        &["-l -c -s K"],
        expect![[r#"
        load Reboot by File: K
        0"#]],
    );
    check(
        &["--mem-min=0x10000000 -c -l K"],
        expect![[r#"
            load Reboot by Load: K --mem-min at 0x10000000..0xffffffffffffffff
            0"#]],
    );
    check(
        &["--mem-min=0x10000000 --mem-max=4096 -s -l K"],
        expect![[r#"
            load Reboot by File: K --mem-min --mem-max at 0x10000000..0x1001
            0"#]],
    );
    check(
        &["--mem-min=zz -l K"],
        expect![[r#"
        --mem-min: expected an address such as 0x10000000, found "zz"
        usage: kexec [OPTION]... [KERNEL]; `kexec -h` lists the options
        1"#]],
    );
    for word in ["", "0x", "-1", "8g", "0x10000000000000000"] {
        let said = run_on(&machine(), &["-l", "K", "--mem-max", word]);
        assert!(said.ends_with("\n1"), "{word}: {said}");
    }
    check(
        &["-c -p -u"],
        expect![[r#"
        unload Crash
        0"#]],
    );
}

#[test]
fn status_wins_over_all() {
    for (loaded, crash_loaded, expected) in [
        (false, false, [0, 0, 0, 0]),
        (true, false, [0, 1, 0, 0]),
        (false, true, [1, 0, 1, 1]),
        (true, true, [1, 1, 1, 1]),
    ] {
        let mut state = machine();
        state.loaded = Some(loaded);
        state.crash_loaded = Some(crash_loaded);
        let spellings = [
            ["-S", "-d -S", "-S -u -e"],
            ["-S -l", "-l -S", "-S -l -u"],
            ["-S -p", "-S -p -l", "-S -p K --initrd=I"],
            ["-S --reuseinitrd", "-Sc", "-S K"],
        ];
        for (spellings, expected) in spellings.iter().zip(expected) {
            for spelling in spellings {
                let words: Vec<&str> = spelling.split(' ').collect();
                let said = run_on(&state, &words);
                assert_eq!(said, expected.to_string(), "{spelling}");
            }
        }
    }
    check_on(
        &MachineState::default(),
        &["-S", "-S -l"],
        &expect![[r#"
        /sys/kernel does not show whether a kernel is loaded: expected kexec_loaded and kexec_crash_loaded there, or in kexec/; mount sysfs
        255"#]],
    );
    check(
        &[
            "--print-ckr-size -l K",
            "--print-ckr-size",
            "-p --print-ckr",
        ],
        expect![[r#"
            268435456
            0"#]],
    );
    check_on(
        &MachineState::default(),
        &["--print-ckr-size"],
        &expect![[r#"
        0
        0"#]],
    );
}

#[test]
fn a_crash_kernel_is_loaded_anew_without_a_word() {
    let mut state = machine();
    state.crash_loaded = Some(true);
    check_on(
        &state,
        &["-p K", "-l K -p"],
        &expect![[r#"
        load Crash by Auto: K quiet
        0"#]],
    );
    check_on(
        &state,
        &["-p -d K"],
        &expect![[r#"
        load Crash by Auto: K
        0"#]],
    );
    check_on(
        &state,
        &["-l K"],
        &expect![[r#"
        load Reboot by Auto: K
        0"#]],
    );
}

#[test]
fn options_are_refused_with_their_reason() {
    check(
        &["-l K --reuseinitrd"],
        expect![[r#"
        --reuseinitrd is refused: the running kernel keeps no initrd; name it with --initrd=FILE
        1"#]],
    );
    check(
        &["-l K --load-preserve-context"],
        expect![[r#"
        --load-preserve-context is refused: ukexec does not return to the running kernel; kexec-tools can
        1"#]],
    );
    check(
        &["-l K --entry=0x100"],
        expect![[r#"
        --entry is refused: ukexec does not return to the running kernel; kexec-tools can
        1"#]],
    );
    check(
        &["--exec-live-update K"],
        expect![[r#"
        --exec-live-update is refused: ukexec does not speak to Xen; kexec-tools does
        1"#]],
    );
    check(
        &["-l K --hotplug"],
        expect![[r#"
        --hotplug: the running kernel does not keep a crash kernel's list of processors and memory up to date (/sys/kernel/crash_elfcorehdr_size is not there); leave the option out
        1"#]],
    );
    let mut state = machine();
    state.crash_hotplug = true;
    check_on(
        &state,
        &["-l K --hotplug --no-cma"],
        &expect![[r#"
        load Reboot by Auto: K MoreFlags { no_cma: true, force_dtb: false }
        0"#]],
    );
    for option in ELSEWHERE {
        let said = run_on(&machine(), &["-l", &format!("--{option}=1"), "K"]);
        let expected = format!("--{option}: an option for machines that ukexec does not boot\n1");
        assert_eq!(said, expected);
    }
    state.xen_dom0 = true;
    check_on(
        &state,
        &["-l K", "-e", "-u"],
        &expect![[r#"
            this is Xen's dom0, where Xen loads kernels; use kexec of kexec-tools (`dpkg-divert --truename /usr/sbin/kexec` names it where ukexec-kexec is installed)
            1"#]],
    );
    check_on(&state, &["-S"], &expect!["0"]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn options_of_this_architecture() {
    check(
        &["-l K --serial=0x3f8 --console-vga --noefi"],
        expect![[r#"
            load Reboot by Auto: K --noefi (--serial makes no difference: no code of ukexec runs between the kernels) (--console-vga makes no difference: no code of ukexec runs between the kernels)
            0"#]],
    );
    check(
        &["-l K --real-mode"],
        expect![[r#"
        --real-mode is refused: ukexec boots Linux kernels by their 64-bit entry alone; kexec-tools can
        1"#]],
    );
    check(
        &["-l K --dtb=D --force-dtb"],
        expect![[r#"
        load Reboot by Auto: K MoreFlags { no_cma: false, force_dtb: true } (--dtb makes no difference: it is for kexec_load(2))
        0"#]],
    );
    let said = run_on(&machine(), &["-l", "--dt-no-old-root", "K"]);
    expect![[r#"
        --dt-no-old-root: an option for another architecture
        1"#]]
    .assert_eq(&said);
}

#[test]
fn help_has_every_option_and_the_version_is_that_of_kexec_tools() {
    let help = run_on(&machine(), &["-h"]);
    let is_end = |character: char| !character.is_ascii_alphanumeric() && character != '-';
    let words: Vec<&str> = help.split(is_end).collect();
    for option in ROWS.iter().map(|row| &row.long).chain(ELSEWHERE) {
        assert!(words.contains(&format!("--{option}").as_str()), "{option}");
    }
    assert!(help.starts_with("kexec-tools 2.0.32 (ukexec "), "{help}");
    assert!(help.ends_with("\n0"), "{help}");
    for spelling in ["-?", "--help", "-hl", "-d -h"] {
        let words: Vec<&str> = spelling.split(' ').collect();
        assert_eq!(run_on(&machine(), &words), help, "{spelling}");
    }
    for spelling in ["-v", "--version", "-v K", "--vers"] {
        let words: Vec<&str> = spelling.split(' ').collect();
        let said = run_on(&machine(), &words);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(said, format!("kexec-tools 2.0.32 (ukexec {version})\n0"));
    }
}

#[test]
fn the_definition_is_consistent() {
    for machine in [None, Some("x86_64"), Some("aarch64"), Some("s390x")] {
        definition(machine).debug_assert();
    }
    let mut names: Vec<&str> = ROWS.iter().map(|row| row.long).collect();
    names.extend(ELSEWHERE);
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn no_status_is_one_that_callers_use() {
    let all = [
        Status::DONE,
        Status::LOADED,
        Status::WRONG,
        Status::NO_CALL,
        Status::FAILED,
    ];
    assert!(all.iter().all(|Status(it)| !(2..=6).contains(it)));
}
