//! The command line that the caller or a boot entry gives, as systemd-boot passes it and as
//! the stub of an image takes it over.

use ukexec_bpf::Rope;
use ukexec_pe::{PeImage, counted};
use ukexec_stub::{MangledLine, Smbios, load_options, takes_load_options};
use ukexec_unfold::PeBytes;

use crate::error::Result;
use crate::protocol::beside::SmbiosText;
use crate::protocol::{Span, UnfoldRequest};

/// Why a stub takes no options.
const IGNORED: &str = "the options of the entry have control characters: systemd-stub ignores them";

/// Makes the command line of `request` the one that counts for `image`, and returns notes
/// if that is not as it was given. The request's files are in `bundle`.
pub(crate) fn settle(
    request: &mut UnfoldRequest,
    image: &Rope,
    bundle: &Rope,
) -> Result<Vec<String>> {
    if request.literal_cmdline {
        return Ok(Vec::new());
    }
    let text = boot_options(request, bundle)?;
    let given = GivenLine {
        line: request.cmdline.take(),
        is_entrys: request.is_entrys_line,
    }
    .with_text(&text);
    let is_of_entry = given.is_entrys || request.linux_entry.is_some();
    let line = given.line.as_deref().unwrap_or_default();
    let line = str::from_utf8(line).ok().filter(|_| is_of_entry);
    request.load_options = line.map(|line| {
        // Those of the entry come first, and a boot loader says nothing of empty ones.
        let lens = request
            .initrds
            .iter()
            .map(|it| it.spans.iter().map(Span::len).sum());
        let initrds = request.linux_entry.iter().flatten().zip(lens);
        let initrds = initrds.filter(|(_, len): &(_, u64)| *len > 0);
        let words = initrds.map(|(path, _)| initrd_word(path));
        let line = Some(line.to_owned()).filter(|line| !line.is_empty());
        words.chain(line).collect::<Vec<_>>().join(" ")
    });
    let mut notes = Vec::new();
    let GivenLine { line, is_entrys } = given.settled(|| has_stub(image), &mut notes);
    request.cmdline = line;
    request.is_entrys_line = is_entrys;
    Ok(notes)
}

/// Returns whether a stub boots `image`.
pub(crate) fn has_stub(image: &Rope) -> bool {
    PeImage::parse(&PeBytes(image)).is_ok_and(|pe| pe.section(".linux").is_some())
}

/// Returns the word with which systemd-boot names an initrd to a kernel: of an entry that
/// has the path with one slash in front, as entries do.
fn initrd_word(path: &str) -> String {
    format!("initrd=\\{}", path.replace('/', "\\"))
}

/// Returns the text of the machine for an entry `linux`.
fn boot_options(request: &UnfoldRequest, bundle: &Rope) -> Result<String> {
    let beside = &request.beside;
    let table = beside
        .smbios
        .as_ref()
        .filter(|_| request.linux_entry.is_some() && beside.smbios_text == SmbiosText::Added);
    let Some(table) = table else {
        return Ok(String::new());
    };
    let table = bundle.slice(table.range.clone())?.to_vec()?;
    Ok(Smbios::new(&table).boot_options())
}

/// A command line, and whether a boot entry gives it.
#[derive(Debug, PartialEq, Eq)]
struct GivenLine {
    line: Option<Vec<u8>>,
    is_entrys: bool,
}

impl GivenLine {
    /// Returns it as the boot loader passes it, with the `text` of the machine behind it.
    fn with_text(self, text: &str) -> Self {
        let is_entrys = self.is_entrys || self.line.is_none() && !text.is_empty();
        let line = match self.line {
            Some(line) if is_entrys => Some(load_options(&line).into_bytes()),
            given => given,
        };
        let mut line = line.filter(|line| !is_entrys || !line.is_empty());
        if !text.is_empty() {
            let whole = line.get_or_insert_default();
            if !whole.is_empty() {
                whole.push(b' ');
            }
            whole.extend(text.as_bytes());
        }
        Self { line, is_entrys }
    }

    /// Returns the one that counts.
    fn settled(self, has_stub: impl Fn() -> bool, notes: &mut Vec<String>) -> Self {
        let Self {
            mut line,
            is_entrys,
        } = self;
        let is_taken = |line: &[u8]| str::from_utf8(line).is_ok_and(takes_load_options);
        let is_ignored = is_entrys && line.as_deref().is_some_and(|line| !is_taken(line));
        if is_ignored && has_stub() {
            notes.push(IGNORED.to_owned());
            line = None;
        }
        let whose = match is_entrys {
            true => "the line of the entry",
            false => "the command line you gave",
        };
        Self {
            line: line.map(|line| mangled(line, has_stub, whose, notes)),
            is_entrys,
        }
    }
}

/// Returns `line` as the stub of an image takes load options over, and adds a note if that
/// changes `whose` line.
fn mangled(
    line: Vec<u8>,
    has_stub: impl Fn() -> bool,
    whose: &str,
    notes: &mut Vec<String>,
) -> Vec<u8> {
    // The stub takes the number of a profile off first, and one blank behind it.
    let (selector, rest) = around_selector(&line);
    let mangled = str::from_utf8(rest).ok().map(MangledLine::new);
    let Some(mangled) = mangled.filter(|it| it.line.as_bytes() != rest) else {
        return line;
    };
    // A text that begins like a profile is not to become one.
    if selector.is_empty() && mangled.line.starts_with('@') || !has_stub() {
        return line;
    }
    let blanked = counted(mangled.blanked as u64, "control character");
    let dropped = counted(mangled.dropped as u64, "byte");
    let changes = [
        (mangled.blanked, format!("{blanked} replaced by blanks")),
        (mangled.dropped, format!("{dropped} dropped at its ends")),
    ];
    let changes = changes.into_iter().filter(|(count, _)| *count > 0);
    let changes: Vec<String> = changes.map(|(_, text)| text).collect();
    notes.push(format!(
        "{whose} is mangled for systemd-stub: {}",
        changes.join(", ")
    ));
    [selector, mangled.line.as_bytes()].concat()
}

/// Splits a command line behind the number of a profile in front of it, `@N` with a blank
/// or the end behind it.
fn around_selector(line: &[u8]) -> (&[u8], &[u8]) {
    let digits = line.strip_prefix(b"@").unwrap_or_default();
    let count = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let len = match digits.get(count) {
        _ if count == 0 => 0,
        Some(b' ') => count.saturating_add(2),
        None => count.saturating_add(1),
        Some(_) => 0,
    };
    line.split_at_checked(len).unwrap_or((&[], line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expects what counts of the options of an entry, for an image with a stub and for
    /// another, and the number of notes about it.
    fn check(options: &str, text: &str, expected: [Option<&str>; 2], count: usize) {
        let mut notes = Vec::new();
        for (expected, has_stub) in expected.into_iter().zip([true, false]) {
            let given = GivenLine {
                line: Some(options.as_bytes().to_vec()),
                is_entrys: true,
            };
            let settled = given.with_text(text).settled(|| has_stub, &mut notes);
            let line = settled.line.map(|it| String::from_utf8(it).unwrap());
            assert_eq!(line.as_deref(), expected, "{options:?} {has_stub}");
        }
        assert_eq!(notes.len(), count, "{notes:?}");
    }

    #[test]
    fn options_of_an_entry_count_as_firmware_passes_them() {
        check("", "", [None; 2], 0);
        check("ro quiet", "", [Some("ro quiet"); 2], 0);
        check("ro", " x=1 ", [Some("ro  x=1"), Some("ro  x=1 ")], 1);
        check("", "x=1", [Some("x=1"); 2], 0);
        check("a\tb", "", [None, Some("a\tb")], 1);
        check("a", "\n", [None, Some("a \n")], 1);
        check("a\u{7f}b", "", [Some("a b"), Some("a\u{7f}b")], 1);
        check("a\u{1f600}b", "", [Some("ab"); 2], 0);
    }

    #[test]
    fn text_of_the_machine_follows_a_callers_line_and_makes_one() {
        let settled = |line: Option<&str>, text: &str| {
            let line = line.map(|line| line.as_bytes().to_vec());
            let given = GivenLine {
                line,
                is_entrys: false,
            };
            given.with_text(text).settled(|| true, &mut Vec::new())
        };
        let expected = |line: &str, is_entrys| GivenLine {
            line: Some(line.as_bytes().to_vec()),
            is_entrys,
        };
        assert_eq!(settled(Some("a\tb"), "x"), expected("a b x", false));
        assert_eq!(settled(Some(""), ""), expected("", false));
        assert_eq!(settled(None, "x"), expected("x", true));
        assert_eq!(settled(None, "").line, None);
    }

    #[test]
    fn an_initrd_is_named_as_firmware_names_files() {
        for (path, expected) in [
            ("k/ucode.cpio", "initrd=\\k\\ucode.cpio"),
            ("initrd", "initrd=\\initrd"),
        ] {
            assert_eq!(initrd_word(path), expected);
        }
    }

    #[test]
    fn a_selector_is_a_number_behind_an_at() {
        for (line, selector) in [
            ("@1", "@1"),
            ("@12 x", "@12 "),
            ("@0  x", "@0 "),
            ("@dbg x", ""),
            ("@1x", ""),
            (" @1 x", ""),
            ("@", ""),
            ("", ""),
        ] {
            let (found, rest) = around_selector(line.as_bytes());
            assert_eq!(found, selector.as_bytes(), "{line}");
            assert_eq!([found, rest].concat(), line.as_bytes());
        }
    }
}
