//! The cost of a stage: instructions and bytes, counted and not timed.

use crate::image::{Section, gzip, pe, section, uki, zboot};
use crate::{Caller, KERNEL, run};

/// At 20 ns an instruction this is less than half a millisecond.
const BOUND: u64 = 20_000;

/// Expects that the first stage of `image` costs at most `bound` instructions.
fn check(image: &[u8], caller: &Caller<'_>, bound: u64) {
    let unfolded = run(image, caller).unwrap();
    let stage = &unfolded.report.stages[0];
    assert!(
        stage.insns <= bound,
        "{} instructions, {bound} expected: {:?}",
        stage.insns,
        stage.programs
    );
}

#[test]
fn of_zboot_is_next_to_nothing() {
    // 10000 of them are for setting up the decompression.
    check(&zboot("gzip", &gzip(KERNEL)), &Caller::default(), 13_000);
}

#[test]
fn of_a_plain_uki_is_small() {
    let image = uki(&[
        section(".osrel", "ID=debian"),
        section(".cmdline", "root=/dev/vda1 ro quiet console=ttyS0,115200n8"),
        section(".initrd", "initrd"),
        section(".ucode", "ucode"),
        section(".uname", "6.1.0"),
        section(".sbat", "sbat"),
    ]);
    check(&image, &Caller::initrd(b"mine"), 3_000);
}

#[test]
fn of_ninety_six_sections_is_bounded() {
    let mut sections = vec![section(".dtbauto", "dtb"); 93];
    sections.push(section(".linux", KERNEL));
    sections.push(section(".initrd", "initrd"));
    sections.push(section(".cmdline", "x".repeat(2048)));
    check(&pe(&sections), &Caller::default(), BOUND);
}

/// Twice for each section: once to see what the image is, once for what counts.
#[test]
fn of_a_section_is_the_same_however_many_there_are() {
    let image = |count| {
        let mut sections = vec![section(".dtbauto", ""); count];
        sections.push(section(".linux", KERNEL));
        pe(&sections)
    };
    check(&image(4095), &Caller::default(), 130_000);
    check(&image(0xfffe), &Caller::default(), 2_100_000);
}

/// It is read character for character.
#[test]
fn of_a_profile_by_its_id_is_bounded() {
    let profiles: Vec<Section> = (0..47)
        .flat_map(|number| {
            [
                section(".profile", format!("ID=p{number}\nTITLE=Number {number}\n")),
                section(".cmdline", "ro"),
            ]
        })
        .collect();
    check(&uki(&profiles), &Caller::cmdline("@p46 "), 4 * BOUND);
}

#[test]
fn does_not_grow_with_the_parts() {
    let small = uki(&[section(".initrd", [1; 512])]);
    let large = uki(&[section(".initrd", vec![1; 8 << 20])]);
    let insns = |image: &[u8]| run(image, &Caller::default()).unwrap().report.stages[0].insns;
    // The charge is for looking at 8 MiB of pages, not for reading them.
    assert!(insns(&large) - insns(&small) < 100);
}
