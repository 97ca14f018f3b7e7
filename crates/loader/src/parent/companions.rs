//! Files beside an image that systemd-stub adds to what it boots
//! (systemd-stub(7), "Companion Files"). They are not read: a warning
//! names them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ukexec_kexec::shown_path;

use crate::files::is_stdin;

/// Returns a warning if systemd-stub would add files that lie beside `image`.
pub(crate) fn warning(image: &Path) -> Option<String> {
    if is_stdin(image) {
        return None;
    }
    let real = image.canonicalize().ok();
    let places = [Some(image), real.as_deref()].into_iter().flatten();
    places.filter_map(folder).find_map(|dir| look_into(&dir))
}

fn look_into(dir: &Path) -> Option<String> {
    let shown = shown_path(dir);
    let mut names = match names(dir) {
        Ok(names) => names,
        Err(error) if is_absent(&error) => return None,
        Err(error) => {
            return Some(format!(
                "{shown}: {error}, so that nobody knows which files systemd-stub would add from it"
            ));
        }
    };
    names.sort_unstable();
    let count = names.len();
    names.truncate(NAMES_MAX);
    let more = match count - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (count > 0).then(|| {
        format!(
            "{shown}: systemd-stub would add {}{more} to what it boots, which ukexec does not do \
             yet",
            names.join(", ")
        )
    })
}

/// Returns the folder that systemd-stub looks into: a boot counter in the name of
/// the image is no part of its name.
fn folder(image: &Path) -> Option<PathBuf> {
    let mut name = without_counter(image.file_name()?.to_str()?);
    name.push_str(".extra.d");
    Some(image.with_file_name(name))
}

/// Removes `+N` and `+N-M` before a dot or the end.
fn without_counter(name: &str) -> String {
    if let Some((before, behind)) = name.split_once('+') {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        let (counter, rest) = behind.split_at(behind.find('.').unwrap_or(behind.len()));
        let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
        if digits(left) && digits(done) {
            return format!("{before}{rest}");
        }
    }
    name.to_owned()
}

/// Returns the names of the files in `dir` that systemd-stub would take.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Names that are not ASCII are passed over, as those of hidden files.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let lower = name.to_ascii_lowercase();
        let is_taken = name.is_ascii() && !name.starts_with('.');
        let is_companion = SUFFIXES.iter().any(|suffix| lower.ends_with(suffix));
        if is_taken && is_companion && entry.path().is_file() {
            names.push(shown_path(Path::new(&name)));
        }
    }
    Ok(names)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Addons, credentials, extensions.
const SUFFIXES: [&str; 3] = [".addon.efi", ".cred", ".raw"];

/// So many files are named.
const NAMES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is said of `image` where `dir` holds files of these `names`.
    fn check(image: &str, dir: &str, names: &[&str], expected: Option<&str>) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(dir)).unwrap();
        for name in names {
            fs::write(root.path().join(dir).join(name), "").unwrap();
        }
        let image = root.path().join(image);
        fs::write(&image, "").unwrap();
        let said = warning(&image);
        let root = format!("{}/", root.path().display());
        assert_eq!(
            said.map(|said| said.replace(&root, "")).as_deref(),
            expected
        );
    }

    #[test]
    fn files_that_systemd_stub_would_add_are_named() {
        check(
            "a.efi",
            "a.efi.extra.d",
            &["b.CRED", "a.addon.efi", "x.confext.raw"],
            Some(
                "a.efi.extra.d: systemd-stub would add a.addon.efi, b.CRED, x.confext.raw to what \
                 it boots, which ukexec does not do yet",
            ),
        );
        check(
            "a.efi",
            "a.efi.extra.d",
            &["1.raw", "2.raw", "3.raw", "4.raw", "5.raw", "6.raw"],
            Some(
                "a.efi.extra.d: systemd-stub would add 1.raw, 2.raw, 3.raw, 4.raw and 2 more to \
                 what it boots, which ukexec does not do yet",
            ),
        );
    }

    #[test]
    fn a_boot_counter_is_no_part_of_the_name() {
        let expected = "a.efi.extra.d: systemd-stub would add x.cred to what it boots, which ukexec does not \
             do yet";
        for image in ["a+3.efi", "a+3-1.efi", "a.efi"] {
            check(image, "a.efi.extra.d", &["x.cred"], Some(expected));
        }
        for image in ["a+x.efi", "a+.efi", "a+3-.efi", "b.efi"] {
            check(image, "a.efi.extra.d", &["x.cred"], None);
        }
        let same = expected.replace("a.efi", "a+x.efi");
        check("a+x.efi", "a+x.efi.extra.d", &["x.cred"], Some(&same));
    }

    #[test]
    fn what_systemd_stub_passes_over_is_not_mentioned() {
        let others = [".hidden.cred", "ö.cred", "readme.txt", "addon.efi"];
        check("a.efi", "a.efi.extra.d", &others, None);
        check("a.efi", "a.efi.extra.d", &[], None);
        check("a.efi", "other", &[], None);
    }

    #[test]
    fn a_link_leads_to_what_lies_beside_the_image() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("esp/a.efi.extra.d")).unwrap();
        fs::write(root.path().join("esp/a.efi"), "").unwrap();
        fs::write(root.path().join("esp/a.efi.extra.d/x.cred"), "").unwrap();
        std::os::unix::fs::symlink("esp/a.efi", root.path().join("link")).unwrap();
        assert!(
            warning(&root.path().join("link"))
                .unwrap()
                .contains("x.cred")
        );
    }
}
