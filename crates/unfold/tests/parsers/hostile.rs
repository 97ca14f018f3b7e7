//! Damaged images: a parser says what is wrong, or takes them; it never faults.

use proptest::prelude::*;

use crate::image::{TABLE, gzip, section, uki, zboot};
use crate::{Caller, run};

/// Runs the parsers on `image` and expects any end but a program's fault.
fn check(image: &[u8], caller: &Caller<'_>) {
    let Err(error) = run(image, caller) else {
        return;
    };
    assert!(error.fault().is_none(), "{error:?}");
    let mut notes = error.notes().iter();
    let is_silent = notes.any(|note| note == "the parser printed nothing");
    assert!(!is_silent, "a refusal without a word: {error}");
}

fn samples() -> Vec<Vec<u8>> {
    let sections = [
        section(".cmdline", "ro quiet"),
        section(".ucode", "ucode"),
        section(".initrd", "initrd"),
        section(".profile", "ID=a\n"),
        section(".profile", "ID=b\n"),
        section(".cmdline", "b"),
    ];
    vec![uki(&sections), zboot("gzip", &gzip(b"kernel"))]
}

#[test]
fn cut_at_every_byte_of_the_headers() {
    for image in samples() {
        for len in 0..(TABLE + 40 * 8).min(image.len()) {
            check(&image[..len], &Caller::cmdline("@b "));
        }
        for len in (0..image.len()).step_by(64) {
            check(&image[..len], &Caller::initrd(b"mine"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn with_any_bytes_in_the_headers(
        which in 0_usize..2,
        edits in prop::collection::vec((0_usize..TABLE + 40 * 8, any::<u8>()), 1..6),
        profile in prop::option::of("@[ab0-9]{0,3} ?[ -~]{0,8}"),
    ) {
        let mut image = samples().swap_remove(which);
        for (at, byte) in edits {
            if let Some(place) = image.get_mut(at) {
                *place = byte;
            }
        }
        let caller = Caller { initrd: Some(b"mine"), cmdline: profile.as_deref() };
        check(&image, &caller);
    }

    #[test]
    fn with_numbers_at_the_edges(
        which in 0_usize..2,
        field in 0_usize..(TABLE + 40 * 8) / 4,
        number in prop::sample::select(vec![0, 1, 0x3f, 0x7fff_ffff, 0x8000_0000, u32::MAX - 7, u32::MAX]),
    ) {
        let mut image = samples().swap_remove(which);
        if let Some(place) = image.get_mut(field * 4..field * 4 + 4) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        check(&image, &Caller::default());
        check(&image, &Caller::cmdline("@b x"));
    }
}
