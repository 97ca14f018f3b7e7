//! Which program `/proc/self/exe` is: this one, unless a dynamic loader was
//! started and loaded this one as its argument.

use std::fs;

use crate::error::SandboxError;

/// This program, also when its file was replaced or removed meanwhile.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// Refuses where [`OWN_PROGRAM`] is another program, as the kernel sees it. If
/// that cannot be seen, nothing is refused.
pub(crate) fn check() -> Result<(), SandboxError> {
    match started_and_mapped() {
        Some((started, program)) if started != program => Err(SandboxError::new(format!(
            "no worker process: the kernel started {started:?}, and would start that again as the \
             worker; start {program:?} itself"
        ))),
        _ => Ok(()),
    }
}

/// Returns the file that the kernel started, and the one that this code is mapped
/// from.
fn started_and_mapped() -> Option<(String, String)> {
    let started = fs::read_link(OWN_PROGRAM).ok()?;
    let maps = fs::read("/proc/self/maps").ok()?;
    // This constant lies in the program.
    let program = mapped_at(OWN_PROGRAM.as_ptr().addr(), &String::from_utf8_lossy(&maps))?;
    // proc(5): the maps show line feeds in this way.
    let started = started.to_string_lossy().replace('\n', "\\012");
    Some((started, program))
}

/// Returns the file of the mapping around `address` (proc(5), `/proc/pid/maps`).
fn mapped_at(address: usize, maps: &str) -> Option<String> {
    maps.lines().find_map(|line| {
        let (range, mut rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        // Permissions, offset, device, inode.
        for _ in 0..4 {
            rest = rest.split_once(' ')?.1;
        }
        let path = rest.trim_start_matches(' ');
        ((start..end).contains(&address) && path.starts_with('/')).then(|| path.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_itself() {
        let (started, program) = started_and_mapped().unwrap();
        assert_eq!(started, program);
        check().unwrap();
    }

    #[test]
    fn a_mapping_names_its_file() {
        let maps = "\
            7f0000000000-7f0000002000 r--p 00000000 fe:01 123                        /usr/lib/ld.so\n\
            7f0000002000-7f0000004000 r-xp 00002000 fe:01 45 /my programs/a b (deleted)\n\
            7f0000004000-7f0000005000 rw-p 00000000 00:00 0 \n\
            7f0000005000-7f0000006000 rw-p 00000000 00:00 0                          [heap]\n";
        let check = |address, expected| {
            assert_eq!(mapped_at(address, maps).as_deref(), expected);
        };
        check(0x7f00_0000_0000, Some("/usr/lib/ld.so"));
        check(0x7f00_0000_2000, Some("/my programs/a b (deleted)"));
        check(0x7f00_0000_4000, None);
        check(0x7f00_0000_5000, None);
        check(0x7f00_0000_6000, None);
    }
}
