//! Reading a PE image: an image that is accepted, or left of a damaged one, has its
//! parts inside the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukexec_pe::{PeImage, UncheckedPe};

fuzz_target!(|data: &[u8]| {
    if let Ok(damaged) = UncheckedPe::parse(data) {
        check(&damaged.in_file(), data);
        assert!(damaged.holes().iter().all(|it| it.end <= data.len() as u64));
    }
    if let Ok(image) = PeImage::parse(data) {
        check(&image, data);
    }
});

fn check(image: &PeImage, data: &[u8]) {
    let len = data.len() as u64;
    for section in image.sections() {
        let content = section.content();
        assert!(content.start <= content.end && content.end <= len);
        if let Ok(name) = std::str::from_utf8(section.name().as_bytes()) {
            let first = image.section(name).expect("it is there");
            assert!(first.index() <= section.index());
        }
    }
    let mut end = 0;
    for cut in image.cuts() {
        assert!(end <= cut.start && cut.start < cut.end && cut.end <= len);
        end = cut.end;
    }
    if let Some(table) = image.certificates() {
        assert!(table.start <= table.end && table.end <= len);
    }
    let _ = image.authenticode_ranges();
}
