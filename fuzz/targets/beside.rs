//! What lies beside an image: SMBIOS structures and firmware's device tree name a machine,
//! and an addon has parts, some of them for one machine alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukexec_pe::{ByteRanges, PeImage};
use ukexec_stub::{Addon, Hardware, Smbios, Uki};

fuzz_target!(|data: &[u8]| {
    let smbios = Smbios::new(data);
    assert!(smbios.cmdline().len() <= data.len());
    let known = Hardware::new(smbios, Some(data));
    let Ok(pe) = PeImage::parse(data) else {
        return;
    };
    let uki = Uki::new(data, &pe, 0).expect("the first profile");
    for hardware in [known, Hardware::new(Smbios::new(&[]), None)] {
        let tree = uki.device_tree(&hardware).ok().flatten();
        let addon = Addon::new(&data, &pe, &uki, Some(&hardware)).unwrap_or_default();
        let parts = [tree, addon.device_tree, addon.initrd, addon.ucode];
        let inside = |it: &ByteRanges| it.ranges.iter().all(|it| it.end <= data.len() as u64);
        assert!(parts.iter().flatten().all(inside));
    }
});
