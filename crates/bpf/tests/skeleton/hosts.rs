//! The hosts that skeletons are loaded for.

use ukexec_bpf::btf::{Btf, TypesBuilder};
use ukexec_bpf::{HookDecl, Interface, KfuncDecl};

use crate::file;

/// The v5 host's interface.
pub(crate) fn kexec() -> Interface {
    let mut types = TypesBuilder::new();
    let boolean = types.boolean();
    let char = types.char();
    let int = types.int("int", 4, true);
    let unsigned = types.int("unsigned int", 4, false);
    let bytes = types.pointer(char);
    let context = [
        ("kdump", boolean),
        ("image", bytes),
        ("image_sz", int),
        ("initrd", bytes),
        ("initrd_sz", int),
        ("cmdline", bytes),
        ("cmdline_sz", int),
    ];
    types.structure("kexec_context", &context);
    let result = [("buf", bytes), ("data_sz", unsigned)];
    types.structure("mem_range_result", &result);
    let kfunc = |name, args| KfuncDecl { name, args };
    Interface {
        types: vec![types.build().into()],
        choose: Interface::only,
        hooks: hooks(&[
            "bpf_handle_pefile",
            "bpf_post_handle_pefile",
            "ukexec_match_image",
        ]),
        kfuncs: vec![
            kfunc("bpf_decompress", 2),
            kfunc("bpf_copy_to_kernel", 3),
            kfunc("bpf_mem_range_result_put", 1),
        ],
    }
}

/// A host with the types of `host.bpf.c` and the hooks of `core.bpf.c`.
pub(crate) fn core() -> Interface {
    let object = file("objects/host.bpf.o");
    let magic = [0x9f, 0xeb, 1, 0];
    let start = object.windows(4).position(|at| at == magic).unwrap();
    Interface {
        // The section's end is not sought: BTF data names its own.
        types: vec![Btf::parse(&object[start..]).unwrap().into()],
        choose: Interface::only,
        hooks: hooks(&[
            "offsets",
            "sizes",
            "existence",
            "bitfields",
            "types",
            "matches",
            "enums",
            "poisoned",
        ]),
        kfuncs: Vec::new(),
    }
}

fn hooks(names: &[&'static str]) -> Vec<HookDecl> {
    let hook = |name: &&'static str| HookDecl { name, args: 1 };
    names.iter().map(hook).collect()
}
