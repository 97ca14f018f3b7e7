//! Who reads which profile is asked for: systemd-stub's rules in Rust, and the
//! built-in parser of unified kernel images in C.

use proptest::prelude::*;
use ukexec_bpf::Rope;
use ukexec_pe::{EditOptions, PeImage, attach};
use ukexec_stub::Uki;
use ukexec_unfold::{
    Budget, Input, MemoryStore, Observer, Options, PeBytes, built_in_parsers, run_stage,
};

/// An EFI application.
const APPLICATION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../signature/testdata/signed/images/unsigned.efi"
);

/// Returns an image with a kernel, and profiles of these texts.
fn image(profiles: &[&str]) -> Vec<u8> {
    let attach = |image: &[u8], name: &str, content: &str| {
        attach(image, name, content.as_bytes(), EditOptions::default()).expect("room for it")
    };
    let application = std::fs::read(APPLICATION).expect("an image for tests");
    let mut image = attach(&application, ".linux", "kernel");
    for text in profiles {
        // A second section of one name would replace the first.
        image = attach(&image, ".attache", text);
        let name = image.windows(8).position(|bytes| bytes == b".attache");
        let name = name.expect("the section that was attached");
        image[name..name + 8].copy_from_slice(b".profile");
    }
    image
}

/// Nobody watches.
struct Nobody;

impl Observer for Nobody {}

/// Returns the profile that a built-in parser takes.
fn taken(image: &Rope, selector: &[u8]) -> Option<u32> {
    let input = Input {
        image: image.clone(),
        cmdline: Some([b"@", selector].concat()),
        ..Input::default()
    };
    built_in_parsers().iter().find_map(|parser| {
        let (mut store, mut budget) = (MemoryStore::default(), Budget::default());
        let (options, nobody) = (Options::default(), &mut Nobody);
        let input = input.clone();
        let stage = run_stage(
            input,
            parser,
            None,
            &options,
            &mut store,
            &mut budget,
            nobody,
        );
        stage.ok()?.report.profile
    })
}

/// Expects that both give the same profile, and returns it.
fn check(profiles: &[&str], selector: &str) -> Option<u32> {
    let image = Rope::from(image(profiles));
    let headers = PeImage::parse(&PeBytes(&image)).expect("a sound PE");
    let uki = Uki::select(PeBytes(&image), &headers, selector.as_bytes()).expect("bytes in memory");
    let selected = uki.map(|uki| uki.profile());
    assert_eq!(selected, taken(&image, selector.as_bytes()));
    selected
}

#[test]
fn a_stub_and_the_built_in_parser_take_the_same_profile() {
    let profiles = ["ID=main", "ID='two'", "ID=2024"];
    for (selector, expected) in [
        ("two", Some(1)),
        ("01", Some(1)),
        ("2024", Some(2)),
        ("3", None),
    ] {
        assert_eq!(check(&profiles, selector), expected);
    }
    assert_eq!(check(&[], "0"), Some(0));
}

/// Characters that mean something in a `.profile` section, and some that do not.
const CHARACTERS: &str = r#"[ID=x12'"\\\t\n\r #;$`\x00]{0,24}"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn they_read_profile_sections_alike(
        texts in prop::collection::vec(("(ID=)?", CHARACTERS), 0..4),
        selector in "[IDx12'\"\\\\#$]{1,3}",
    ) {
        let texts: Vec<_> = texts.iter().map(|(key, rest)| format!("{key}{rest}")).collect();
        check(&texts.iter().map(String::as_str).collect::<Vec<_>>(), &selector);
    }
}
