//! The time to arm a parser: load it, verify it, make its maps.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use ukexec_bpf::Vm;
use ukexec_bpf::btf::TypesBuilder;
use ukexec_bpf::{HookDecl, Interface, KfuncDecl, Meter, Parser};

fn interface() -> Interface {
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
    let hook = |name| HookDecl { name, args: 1 };
    let kfunc = |name, args| KfuncDecl { name, args };
    Interface {
        types: types.build(),
        hooks: [
            "bpf_handle_pefile",
            "bpf_post_handle_pefile",
            "ukexec_match_image",
        ]
        .map(hook)
        .to_vec(),
        kfuncs: vec![
            kfunc("bpf_decompress", 2),
            kfunc("bpf_copy_to_kernel", 3),
            kfunc("bpf_mem_range_result_put", 1),
        ],
    }
}

fn arm(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interface = interface();
    for (name, path) in [
        ("object/zboot", "../unfold/parsers/zboot.bpf.o"),
        ("object/uki", "../unfold/parsers/uki.match.bpf.o"),
        ("skeleton/zboot", "testdata/skeletons/zboot.o"),
        ("skeleton/uki", "testdata/skeletons/uki.match.o"),
    ] {
        let object = std::fs::read(root.join(path)).unwrap();
        let arm = || {
            let parser = Parser::load(black_box(&object), &interface).unwrap();
            let mut meter = Meter::default();
            Vm::new(&parser.verify().unwrap(), &mut meter).unwrap()
        };
        criterion.bench_function(&format!("arm/{name}"), |bencher| bencher.iter(arm));
    }
}

criterion_group!(benches, arm);
criterion_main!(benches);
