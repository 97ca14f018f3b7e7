//! BTF and CO-RE: types and relocations of an object whose rest is right, so
//! that they are reached.
//!
//! Input: a byte that says which section the rest stands for: `.BTF` or
//! `.BTF.ext`.
#![no_main]

#[path = "run.rs"]
mod run;

use libfuzzer_sys::fuzz_target;
use ukexec_bpf::btf::Btf;
use ukexec_bpf::{Interface, Parser};
use ukexec_unfold::interface;

/// Objects of two compilers.
const OBJECTS: [&[u8]; 2] = [
    include_bytes!("../../crates/bpf/testdata/objects/core-14-v1.bpf.o"),
    include_bytes!("../../crates/bpf/testdata/objects/core-19-v4.bpf.o"),
];

fuzz_target!(|data: &[u8]| {
    let [choice, section @ ..] = data else {
        return;
    };
    let ext = choice & 1 != 0;
    if !ext && let Ok(types) = Btf::parse(section) {
        let _ = types.offset_of("kexec_context", "image_sz");
        let _ = types.size_of("kexec_context");
    }
    let object = OBJECTS[usize::from(choice >> 1 & 1)];
    let object = replace(object, if ext { ".BTF.ext" } else { ".BTF" }, section);
    if let Ok(parser) = Parser::load(&object, interface()) {
        run::run(parser);
    }
    // The object's own types as the host's.
    if let Ok(types) = Btf::parse(section) {
        let offered = interface();
        let host = Interface {
            types: vec![types.into()],
            choose: Interface::only,
            hooks: offered.hooks.clone(),
            kfuncs: offered.kfuncs.clone(),
        };
        if let Ok(parser) = Parser::load(OBJECTS[0], &host) {
            run::run(parser);
        }
    }
});

/// Returns `object`, an ELF64 file, with `content` as its section `name`.
fn replace(object: &[u8], name: &str, content: &[u8]) -> Vec<u8> {
    let word = |at: usize| u64::from_le_bytes(object[at..at + 8].try_into().expect("8 bytes"));
    let half = |at: usize| usize::from(u16::from_le_bytes([object[at], object[at + 1]]));
    let header = |index: usize| word(40) as usize + 64 * index;
    let names = word(header(half(62)) + 24) as usize;
    let section = (0..half(60)).map(header).find(|&at| {
        let text = names + (word(at) as u32) as usize;
        object[text..].starts_with(name.as_bytes()) && object[text + name.len()] == 0
    });
    let section = section.expect("the object has the section");
    let mut object = object.to_vec();
    let end = object.len() as u64;
    object[section + 24..section + 32].copy_from_slice(&end.to_le_bytes());
    object[section + 32..section + 40].copy_from_slice(&(content.len() as u64).to_le_bytes());
    object.extend_from_slice(content);
    object
}
