//! The running kernel's command line, for the next kernel: `--reuse-cmdline`, and
//! `--console=keep`.
//!
//! Words are what Linux takes for words (`lib/cmdline.c`, `next_arg`): a double
//! quote begins and ends a stretch in which blanks separate nothing, and nothing
//! escapes it. Behind the word `--` all is for init.

use std::iter;
use std::path::Path;

use ukexec_kexec::LoadKind;

use crate::error::{Context as _, Result};
use crate::files;

/// Returns the running kernel's command line for a kernel of this `kind`.
pub(crate) fn read(kind: LoadKind) -> Result<Vec<u8>> {
    Ok(reused(
        &running("--reuse-cmdline")?,
        kind == LoadKind::Crash,
    ))
}

/// Returns the words `console=` of the running kernel's command line that no other
/// meaning can be put into.
pub(crate) fn consoles() -> Result<Vec<String>> {
    Ok(consoles_in(&running("--console=keep")?))
}

fn running(option: &str) -> Result<Vec<u8>> {
    files::read_regular(Path::new(RUNNING), LEN_MAX)
        .context(|| format!("cannot read the running kernel's command line for {option}"))
}

fn consoles_in(line: &[u8]) -> Vec<String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b",:/._-".contains(byte);
    let console = |word| {
        let value = name(word).strip_prefix(b"console=")?;
        let value = str::from_utf8(value).ok()?;
        let is_plain = !value.is_empty() && value.as_bytes().iter().all(is_plain);
        is_plain.then(|| format!("console={value}"))
    };
    let is_kernels = |word: &&[u8]| name(word) != b"--";
    words(line)
        .take_while(is_kernels)
        .filter_map(console)
        .collect()
}

/// Returns the words of `line`.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line.trim_ascii_start();
    iter::from_fn(move || {
        let (word, behind) = rest.split_at(word_len(rest));
        let blanks = behind.iter().take_while(|&&byte| is_space(byte)).count();
        rest = behind.split_at(blanks).1;
        (!word.is_empty()).then_some(word)
    })
}

/// Returns whether a kernel with this command line sets memory aside for a crash
/// kernel. Linux looks for the text anywhere in the line (`kernel/crash_reserve.c`,
/// `get_last_crashkernel`).
pub(crate) fn reserves_memory(line: &[u8]) -> bool {
    let text = b"crashkernel=";
    line.windows(text.len()).any(|window| window == text)
}

/// Returns whether `appended`, at the end of `line`, is for init: the word `--` is
/// before it.
pub(crate) fn is_for_init(line: &[u8], appended: &[u8]) -> bool {
    let appended = appended.split(|&byte| byte == 0).next().unwrap_or_default();
    let before = line.strip_suffix(appended).unwrap_or_default();
    !appended.is_empty() && words(before).any(|word| name(word) == b"--")
}

/// Returns the running kernel's command line without what was only for it: the
/// boot loader's `BOOT_IMAGE=`, `initrd=`, and in a crash kernel the reservation
/// for the next one. All else stays as it is, byte for byte.
fn reused(running: &[u8], panic: bool) -> Vec<u8> {
    // `split` always yields a first part.
    let line = running.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut rest = line.strip_suffix(b"\n").unwrap_or(line);
    rest = rest.trim_ascii_start();
    let mut kept = Vec::new();
    // Blanks at the end of an open quote are part of the last word.
    let mut end = 0;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(word_len(rest));
        if name(word) == b"--" {
            kept.extend_from_slice(rest);
            return kept;
        }
        let blanks = behind.iter().take_while(|&&byte| is_space(byte)).count();
        let (blanks, next) = behind.split_at(blanks);
        if !is_for_one_boot(word, panic) {
            kept.extend_from_slice(word);
            end = kept.len();
            kept.extend_from_slice(blanks);
        }
        rest = next;
    }
    while kept.len() > end && kept.pop_if(|byte| byte.is_ascii()).is_some() {}
    kept
}

fn is_for_one_boot(word: &[u8], panic: bool) -> bool {
    let name = name(word);
    name.starts_with(b"BOOT_IMAGE=")
        || name.starts_with(b"initrd=")
        || (panic && name.starts_with(b"crashkernel="))
}

/// Returns a word without the quotes around it.
fn name(word: &[u8]) -> &[u8] {
    match word.strip_prefix(b"\"") {
        Some(quoted) => quoted.strip_suffix(b"\"").unwrap_or(quoted),
        None => word,
    }
}

/// Returns the length of the word that `line` begins with.
fn word_len(line: &[u8]) -> usize {
    let mut quoted = false;
    let end = line.iter().position(|&byte| {
        quoted ^= byte == b'"';
        is_space(byte) && !quoted
    });
    end.unwrap_or(line.len())
}

/// Linux's `isspace` (`lib/ctype.c`), which has a blank of Latin-1 too.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

const RUNNING: &str = "/proc/cmdline";

/// No kernel takes so many bytes.
const LEN_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(running: &[u8], expected: &[u8]) {
        let shown = |line: &[u8]| line.escape_ascii().to_string();
        assert_eq!(shown(&reused(running, false)), shown(expected));
    }

    #[test]
    fn loses_what_was_the_boot_loaders() {
        let running = b"BOOT_IMAGE=/vmlinuz root=/dev/vda1 quiet crashkernel=256M initrd=\\i.img\n";
        check(running, b"root=/dev/vda1 quiet crashkernel=256M");
        assert_eq!(reused(running, true), b"root=/dev/vda1 quiet");
        check(b"initrd=a initrd=b\n", b"");
        check(b"\n", b"");
        check(b"", b"");
        // A word of another name is another word.
        check(
            b"rd.initrd=a xBOOT_IMAGE=b initrd",
            b"rd.initrd=a xBOOT_IMAGE=b initrd",
        );
    }

    #[test]
    fn values_in_quotes_stay_whole() {
        let dyndbg = br#"dyndbg="file a  +p; file b initrd=z +p""#;
        check(
            &[b"BOOT_IMAGE=/v root=x ", &dyndbg[..], b" initrd=i quiet\n"].concat(),
            &[b"root=x ", &dyndbg[..], b" quiet"].concat(),
        );
        check(br#"BOOT_IMAGE="/my kernel" root=x"#, b"root=x");
        check(br#"BOOT_IMAGE=/my" "kernel root=x"#, b"root=x");
        check(br#""BOOT_IMAGE=/my kernel" root=x"#, b"root=x");
        check(br#"a "initrd=b c" d"#, b"a d");
        check(
            br#"a="BOOT_IMAGE=x" "b initrd=c""#,
            br#"a="BOOT_IMAGE=x" "b initrd=c""#,
        );
        let panic = reused(br#"a="crashkernel=1 b" "crashkernel=1G high" c"#, true);
        assert_eq!(panic, br#"a="crashkernel=1 b" c"#);
        // Nothing escapes a quote, and an open one ends with the line.
        check(br#"a="\" initrd=b" c" d"#, br#"a="\" d"#);
        check(b"initrd=x a=\"b initrd=c  \n", b"a=\"b initrd=c  ");
        check(b"a initrd=\"b c", b"a");
    }

    #[test]
    fn blanks_are_as_linux_has_them_and_stay() {
        check(b"  a \tb\x0b initrd=x\r\x0cc  \n", b"a \tb\x0b c");
        check(b"a\tinitrd=x\n", b"a");
        check(b"a  b", b"a  b");
    }

    #[test]
    fn bytes_may_be_any() {
        let line = b"root=x opt=\xe9t\xe9 quiet";
        check(&[&line[..], b"\n"].concat(), line);
        // The end of a letter of UTF-8 is a blank to Linux, and stays.
        check("a=à initrd=b c=à\n".as_bytes(), "a=à c=à".as_bytes());
        check(b"a\xa0initrd=b c", b"a\xa0c");
        check(b"a b\0 c initrd=d\n", b"a b");
    }

    #[test]
    fn what_is_for_init_stays() {
        check(b"initrd=a b -- initrd=c  d \n", b"b -- initrd=c  d ");
        check(b"initrd=a \"--\" BOOT_IMAGE=c", b"\"--\" BOOT_IMAGE=c");
        check(b"-- initrd=c", b"-- initrd=c");
        check(b"a --b initrd=c x--", b"a --b x--");
        let panic = reused(b"crashkernel=1 -- crashkernel=2", true);
        assert_eq!(panic, b"-- crashkernel=2");
    }

    #[test]
    fn text_behind_two_dashes_is_for_init() {
        for (line, appended, expected) in [
            (&b"quiet -- single debug"[..], &b"debug"[..], true),
            (b"-- debug", b"debug", true),
            (b"a \"--\" debug", b"debug", true),
            (b"-- debug", b"debug\0 and more", true),
            (b"quiet debug", b"debug", false),
            (b"quiet -- single", b"-- single", false),
            (b"a=\"b -- c\" debug", b"debug", false),
            (b"a --b c-- debug", b"debug", false),
            (b"quiet -- single", b"", false),
            (b"debug", b"debug", false),
            (b"", b"debug", false),
        ] {
            let line_shown = line.escape_ascii();
            assert_eq!(is_for_init(line, appended), expected, "{line_shown}");
        }
    }

    #[test]
    fn consoles_are_words_of_plain_characters() {
        let check = |line: &[u8], expected: &[&str]| {
            assert_eq!(consoles_in(line), expected, "{}", line.escape_ascii());
        };
        check(
            b"quiet console=tty0 a console=ttyS0,115200n8\n",
            &["console=tty0", "console=ttyS0,115200n8"],
        );
        check(
            b"console=uart,io,0x3f8 \"console=hvc0\"",
            &["console=uart,io,0x3f8", "console=hvc0"],
        );
        check(b"console=ttyS0 -- console=tty1", &["console=ttyS0"]);
        check(
            b"console= xconsole=a console=\"a b\" console=a;b console=\xe9 netconsole=1",
            &[],
        );
        check(b"", &[]);
        check(b"\n", &[]);
    }

    #[test]
    fn a_reservation_is_seen_wherever_linux_sees_it() {
        for line in [
            &b"crashkernel=1G"[..],
            b"a \"crashkernel=1G\"",
            b"a -- crashkernel=1G",
        ] {
            assert!(reserves_memory(line));
        }
        assert!(!reserves_memory(b"crashkernel quiet crash_kexec=1"));
    }
}
