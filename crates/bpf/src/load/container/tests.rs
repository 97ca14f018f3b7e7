//! A sound container, one edit, and the rule that it breaks.

use expect_test::{Expect, expect};
use proptest::collection::vec;
use proptest::prelude::*;

use super::write::write;
use super::*;

const OBJECT: &[u8] = include_bytes!("../../../testdata/objects/parser-19-v4.bpf.o");
const SKELETON: &[u8] = include_bytes!("../../../testdata/skeletons/zboot.o");

/// Fields of the header.
const E_SHOFF: usize = 0x28;
const E_SHENTSIZE: usize = 0x3a;
const E_SHNUM: usize = 0x3c;
const E_SHSTRNDX: usize = 0x3e;
/// Fields of a section header.
const SH_NAME: usize = 0;
const SH_TYPE: usize = 4;
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;
/// The sections of [`sound`], behind the null one.
const FIRST: usize = 1;
const SECOND: usize = 2;
const INNER: usize = 3;
const STRINGS: usize = 4;

/// Returns a container of two slots, with one of one slot inside.
fn sound() -> Vec<u8> {
    let inner = write(&[b"third"], None);
    write(&[b"first", b"second"], Some(&inner))
}

fn number(file: &[u8], at: usize) -> usize {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Returns where a field of a section header is.
fn field(file: &[u8], section: usize, field: usize) -> usize {
    number(file, E_SHOFF) + 64 * section + field
}

fn text(bytes: &[u8], text: &str) -> usize {
    let mut windows = bytes.windows(text.len());
    windows.position(|bytes| bytes == text.as_bytes()).unwrap()
}

/// Gives a section another name of the same length.
fn rename(file: &mut [u8], old: &str, new: &str) {
    let strings = number(file, field(file, STRINGS, SH_OFFSET));
    let at = strings + text(&file[strings..], old);
    put(file, at, new.as_bytes());
}

type Edit = Box<dyn Fn(&mut Vec<u8>)>;

fn by(edit: impl Fn(&mut Vec<u8>) + 'static) -> Edit {
    Box::new(edit)
}

fn at(at: usize, bytes: &'static [u8]) -> Edit {
    by(move |file| put(file, at, bytes))
}

fn section(section: usize, its_field: usize, bytes: &'static [u8]) -> Edit {
    by(move |file| {
        let at = field(file, section, its_field);
        put(file, at, bytes);
    })
}

fn named(old: &'static str, new: &'static str) -> Edit {
    by(move |file| rename(file, old, new))
}

/// Compares the refusal of each edit, a line each.
fn check<const N: usize>(edits: [Edit; N], expected: Expect) {
    check_by(|file| levels(file).unwrap_err(), edits, expected);
}

fn check_by<const N: usize>(
    refusal: impl Fn(&[u8]) -> BpfError,
    edits: [Edit; N],
    expected: Expect,
) {
    let refused = edits.map(|edit| {
        let mut file = sound();
        edit(&mut file);
        format!("{}\n", refusal(&file))
    });
    expected.assert_eq(&refused.concat());
}

#[test]
fn a_sound_one_has_levels_of_slots() {
    let file = sound();
    assert!(is_container(&file));
    let slots = levels(&file).unwrap().into_iter().map(|level| level.slots);
    let slots = slots.collect::<Vec<_>>();
    let first: [&[u8]; 2] = [b"first", b"second"];
    assert_eq!(slots, [&first[..], &[b"third"]]);
}

#[test]
fn the_header_is_checked() {
    check(
        [
            at(0, b"M"),
            at(4, &[1]),
            at(5, &[2]),
            at(E_SHOFF, &[0; 8]),
            at(E_SHOFF, &[0xff; 8]),
            at(E_SHENTSIZE, &[0]),
            at(E_SHENTSIZE, &[56]),
            at(E_SHNUM, &[0]),
            at(E_SHNUM, &[6]),
            at(E_SHNUM, &[0xff, 0xff]),
            at(E_SHSTRNDX, &[0]),
            at(E_SHSTRNDX, &[5]),
            at(E_SHSTRNDX, &[0xff, 0xff]),
            by(|file| file.truncate(3)),
            by(|file| file.truncate(63)),
            by(|file| file.truncate(file.len() - 1)),
        ],
        expect![[r#"
            ELF header, EI_MAG at byte 0x0: expected 7f 45 4c 46 (ELF), found 4d 45 4c 46
            ELF header, EI_CLASS at byte 0x4: expected 2 (64-bit), found 1 (32-bit)
            ELF header, EI_DATA at byte 0x5: expected 1 (little-endian), found 2 (big-endian)
            ELF header, e_shoff at byte 0x28: expected the offset of section headers, found 0
            ELF header, e_shoff: expected the start of 5 section headers in a file of 728 bytes, found 18446744073709551615
            ELF header, e_shentsize: expected 64, found 0
            ELF header, e_shentsize: expected 64, found 56
            ELF header, e_shnum: expected 1 to 4096 sections, found 0
            ELF header, e_shoff: expected the start of 6 section headers in a file of 728 bytes, found 408
            ELF header, e_shnum: expected 1 to 4096 sections, found 65535
            section 0, of the names, sh_size: expected the bytes of names, found 0
            ELF header, e_shstrndx at byte 0x3e: expected the number of a section, below 5, found 5
            ELF header, e_shstrndx at byte 0x3e: expected the number of a section, below 5, found 65535
            ELF header, EI_MAG at byte 0x0: expected an ELF file, found 3 bytes
            ELF header, its size: expected a header of 64 bytes, found 63
            ELF header, e_shoff: expected the start of 5 section headers in a file of 727 bytes, found 408
        "#]],
    );
}

#[test]
fn names_are_checked() {
    check(
        [
            section(STRINGS, SH_OFFSET, &[0xff; 8]),
            section(STRINGS, SH_SIZE, &[0xff; 8]),
            section(STRINGS, SH_SIZE, &[0; 8]),
            section(STRINGS, SH_SIZE, &[36]),
            section(SECOND, SH_NAME, &[37]),
            section(SECOND, SH_NAME, &[0xff; 4]),
            section(SECOND, SH_NAME, &[15]),
            named(".bpf.2", ".bpf.1"),
            named(".bpf.2", ".bpf.3"),
            named(".bpf.1", ".bpf.3"),
            named(".bpf.2", ".bpf.0"),
            named(".bpf.2", ".bpf.9"),
            named(".bpf.2", ".bpf.x"),
            named(".bpf.2", ".bpf.\0"),
            named(".bpf.2", ".text\0"),
            named(".bpf.nested", ".bpf.10\0\0\0\0"),
            named(".bpf.nested", ".bpf.01\0\0\0\0"),
            named(".bpf.nested", ".bpf.Nested"),
            named(".bpf.nested\0", ".bpf.nested2"),
            named(".shstrtab", ".symtab\0\0"),
            named(".shstrtab", ".strtab\0\0"),
        ],
        expect![[r#"
            section 4, of the names, sh_offset: expected an offset in a file of 728 bytes, found 18446744073709551615
            section 4, of the names, sh_size: expected at most the 360 bytes to the file's end, found 18446744073709551615
            section 4, of the names, sh_size: expected the bytes of names, found 0
            section 4, of the names, its last byte: expected 0 (NUL), found 98
            section 2, sh_name: expected an offset in the names, below 37, found 37
            section 2, sh_name: expected an offset in the names, below 37, found 4294967295
            section 3 (.bpf.nested), its name: expected one section of this name, found two
            section 2 (.bpf.1), its name: expected one section of this name, found two
            the container has a section .bpf.3 and no .bpf.2; expected numbers from 1 without a gap
            the container has a section .bpf.2 and no .bpf.1; expected numbers from 1 without a gap
            section 2, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.0
            section 2, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.9
            section 2, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.x
            section 2, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.
            section 2, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .text
            section 3, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.10
            section 3, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.01
            section 3, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.Nested
            section 3, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.nested2.shstrtab
            section 4, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .symtab, which llvm-objcopy leaves; use GNU objcopy or `ukexec parser pack`
            section 4, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .strtab, which llvm-objcopy leaves; use GNU objcopy or `ukexec parser pack`
        "#]],
    );
}

#[test]
fn sections_are_checked() {
    check(
        [
            section(0, SH_OFFSET, &[0, 0x10]),
            section(FIRST, SH_OFFSET, &[0xff; 8]),
            section(FIRST, SH_SIZE, &[0xff; 8]),
            section(FIRST, SH_SIZE, &[0, 0x10]),
            section(INNER, SH_SIZE, &[0, 0x10]),
            section(FIRST, SH_TYPE, &[8]),
            section(STRINGS, SH_TYPE, &[8]),
            by(|file| *file = write(&[], None)),
            by(|file| *file = write(&[], Some(&sound()))),
        ],
        expect![[r#"
            section 0, sh_offset: expected an offset in a file of 728 bytes, found 4096
            section 1 (.bpf.1), sh_offset: expected an offset in a file of 728 bytes, found 18446744073709551615
            section 1 (.bpf.1), sh_size: expected at most the 664 bytes to the file's end, found 18446744073709551615
            section 1 (.bpf.1), sh_size: expected at most the 664 bytes to the file's end, found 4096
            section 3 (.bpf.nested), sh_size: expected at most the 648 bytes to the file's end, found 4096
            section 1 (.bpf.1), sh_type: expected bytes in the file, found 8 (NOBITS)
            section 4 (.shstrtab), sh_type: expected bytes in the file, found 8 (NOBITS)
            the container holds no parser; expected a section .bpf.1
            the container holds no parser; expected a section .bpf.1
        "#]],
    );
}

/// Returns a container of so many levels.
fn nested(levels: usize) -> Vec<u8> {
    let inner = |inner: Option<Vec<u8>>, _| Some(write(&[b"slot"], inner.as_deref()));
    (0..levels).fold(None, inner).unwrap()
}

#[test]
fn containers_inside_are_checked() {
    assert_eq!(levels(&nested(5)).unwrap().len(), 5);
    let inside = |edit: Edit| {
        by(move |file| {
            edit(file);
            *file = write(&[b"outer"], Some(file));
        })
    };
    check(
        [
            section(INNER, SH_SIZE, &[0]),
            section(INNER, SH_SIZE, &[0; 8]),
            inside(by(|file| *file = b"text".to_vec())),
            inside(named(".bpf.2", ".bpf.9")),
            // One level further in.
            inside(by(|file| {
                let inner = text(file, "third") - 64;
                let at = inner + field(&file[inner..], FIRST, SH_SIZE);
                put(file, at, &[0xff]);
            })),
            by(|file| *file = nested(6)),
            // It holds itself.
            by(|file| {
                let (at, len) = (field(file, INNER, SH_OFFSET), file.len() as u64);
                put(file, at, &[[0; 8], len.to_le_bytes()].concat());
            }),
        ],
        expect![[r#"
            .bpf.nested: ELF header, e_shoff: expected the start of 3 section headers in a file of 256 bytes, found 96
            .bpf.nested: ELF header, EI_MAG at byte 0x0: expected an ELF file, found 0 bytes
            .bpf.nested: ELF header, EI_MAG at byte 0x0: expected an ELF file, found 4 bytes
            .bpf.nested: section 2, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.9
            .bpf.nested > .bpf.nested: section 1 (.bpf.1), sh_size: expected at most the 224 bytes to the file's end, found 255
            .bpf.nested > .bpf.nested > .bpf.nested > .bpf.nested: .bpf.nested, its depth: expected a container of at most 5 levels, found one more
            .bpf.nested > .bpf.nested > .bpf.nested > .bpf.nested: .bpf.nested, its depth: expected a container of at most 5 levels, found one more
        "#]],
    );
}

#[test]
fn what_does_not_count_may_be_anything() {
    let check = |at: usize, bytes: &[u8]| {
        let mut file = sound();
        put(&mut file, at, bytes);
        assert_eq!(levels(&file).unwrap().len(), 2);
    };
    // From the version to e_phoff, and from e_flags to e_phnum.
    check(0x6, &[0xff; 0x22]);
    check(0x30, &[0xff; 10]);
    let file = sound();
    for section in [FIRST, SECOND, INNER, STRINGS] {
        // Flags and address; link, info, alignment and the size of entries.
        check(field(&file, section, 8), &[0xff; 16]);
        check(field(&file, section, 40), &[0xff; 24]);
    }
    // A second section with the name of that for names.
    check(field(&file, 0, SH_NAME), &[27]);
    let mut signed = sound();
    signed.extend(b"~Module signature appended~\n");
    let slots = |file| -> Vec<Vec<Vec<u8>>> {
        let levels = levels(file).unwrap().into_iter();
        let owned = levels.map(|level| level.slots.iter().map(|slot| slot.to_vec()).collect());
        owned.collect()
    };
    assert_eq!(slots(&signed), slots(&file));
    assert_eq!(levels(&signed).unwrap()[0].file, signed);
}

#[test]
fn other_files_are_no_containers() {
    for other in [b"", &b"\x7fELF"[..], OBJECT, SKELETON] {
        assert!(!is_container(other));
        assert!(explain(other).is_none());
    }
    let mut foreign = sound();
    rename(&mut foreign, ".bpf.1", ".bpf.9");
    rename(&mut foreign, ".bpf.2", ".bpf.0");
    rename(&mut foreign, NESTED, ".bpf.10\0\0\0\0");
    assert!(!is_container(&foreign));
}

#[test]
fn a_container_is_no_parser() {
    let refusal = |file: &[u8]| {
        let interface = crate::Interface {
            types: vec![crate::btf::TypesBuilder::new().build().into()],
            choose: crate::Interface::only,
            hooks: Vec::new(),
            kfuncs: Vec::new(),
        };
        crate::Parser::load(file, &interface).unwrap_err()
    };
    check_by(
        refusal,
        [
            by(|_sound| ()),
            at(4, &[1]),
            at(E_SHNUM, &[0]),
            at(E_SHSTRNDX, &[5]),
            by(|file| file.truncate(file.len() - 1)),
            named(".bpf.2", ".bpf.9"),
            // Names that are none of a container's.
            by(|file| {
                rename(file, ".bpf.1", ".bpf.9");
                rename(file, ".bpf.2", ".bpf.0");
                rename(file, NESTED, ".bpf.10\0\0\0\0");
            }),
        ],
        expect![[r#"
            this is a parser container, whose place is beside an image (--parser gives it); expected one parser
            this is no sound parser container: ELF header, EI_CLASS at byte 0x4: expected 2 (64-bit), found 1 (32-bit)
            this is no sound parser container: ELF header, e_shnum: expected 1 to 4096 sections, found 0
            this is no sound parser container: ELF header, e_shstrndx at byte 0x3e: expected the number of a section, below 5, found 5
            this is no sound parser container: ELF header, e_shoff: expected the start of 5 section headers in a file of 727 bytes, found 408
            this is no sound parser container: section 2, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.9
            this is no sound parser container: section 1, its name: expected .bpf.1 to .bpf.8 or .bpf.nested, found .bpf.9
        "#]],
    );
}

#[test]
fn what_is_packed_is_what_is_read() {
    let slots = [SKELETON, OBJECT];
    let inner = pack(&[OBJECT], None).unwrap();
    let file = pack(&slots, Some(&inner)).unwrap();
    assert_eq!(file, pack(&slots, Some(&inner)).unwrap());
    let [outer, nested] = &levels(&file).unwrap()[..] else {
        panic!("not two levels")
    };
    assert_eq!(outer.slots, slots);
    assert_eq!(nested.slots, [OBJECT]);
    // e_machine
    assert_eq!(file[0x12..0x14], SKELETON[0x12..0x14]);
}

#[test]
fn what_would_be_refused_is_not_packed() {
    let mut damaged = sound();
    rename(&mut damaged, ".bpf.2", ".bpf.4");
    let refused = [
        pack(&[], None),
        pack(&[OBJECT; 9], None),
        pack(&[OBJECT, b""], None),
        pack(&[OBJECT, b"int main(void)"], None),
        pack(&[OBJECT, &OBJECT[..64]], None),
        pack(&[&SKELETON[..80]], None),
        pack(&[&sound()], None),
        pack(&[OBJECT], Some(b"text")),
        pack(&[OBJECT], Some(OBJECT)),
        pack(&[OBJECT], Some(&damaged)),
        pack(&[OBJECT], Some(&nested(5))),
    ];
    let refused = refused.map(|packed| format!("{}\n", packed.unwrap_err()));
    expect![[r#"
        the container, its parsers: expected 1 to 8, found 0
        the container, its parsers: expected 1 to 8, found 9
        .bpf.2: the file is empty; expected a BPF object
        .bpf.2: this is C source, not an object; compile it with clang -target bpf -g -O2 -c
        .bpf.2: the ELF file's section headers cannot be read
        .bpf.1: ELF header, e_shoff: expected the start of 10 section headers in a file of 80 bytes, found 17072
        .bpf.1: this is a parser container, not a parser; it can be the nested container
        .bpf.nested: this is no parser container
        .bpf.nested: this is no parser container
        .bpf.nested: the container has a section .bpf.4 and no .bpf.2; expected numbers from 1 without a gap
        .bpf.nested, its depth: expected at most 4 levels, found 5
    "#]].assert_eq(&refused.concat());
}

proptest! {
    #[test]
    fn any_bytes_come_back(
        slots in vec(vec(any::<u8>(), 0..50), 1..=8),
        inner in proptest::option::of(vec(vec(any::<u8>(), 0..50), 1..=8)),
    ) {
        let file = |slots: &[Vec<u8>], nested: Option<&[u8]>| {
            let slots: Vec<&[u8]> = slots.iter().map(Vec::as_slice).collect();
            write(&slots, nested)
        };
        let nested = inner.as_deref().map(|slots| file(slots, None));
        let file = file(&slots, nested.as_deref());
        let read = levels(&file).unwrap().into_iter().map(|level| level.slots);
        let expected = [Some(slots), inner].into_iter().flatten().collect::<Vec<_>>();
        prop_assert_eq!(read.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_edit_panics(edits: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
        let mut file = sound();
        for (at, byte) in edits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.truncate(cut.index(file.len() * 2));
        let _refused = explain(&file);
        prop_assert!(levels(&file).is_err() || is_container(&file));
    }
}
