//! Calls, frames, budgets and the words of faults.

use expect_test::{Expect, expect};
use ukexec_bpf::{BpfError, Vm};
use ukexec_bpf::{Interface, Meter, Parser, Poisoned, Rope};

use crate::rig::{TestHost, kfunc, parser, run, with_lines};

/// Runs code that faults.
#[track_caller]
fn check(text: &str, expected: Expect) {
    check_parser(with_lines(parser(text)), expected);
}

#[track_caller]
fn check_parser(parser: Parser, expected: Expect) {
    let mut host = TestHost::new();
    let error = start(parser, &mut host, &mut Meter::default()).expect_err("no fault");
    expected.assert_eq(&error.to_string());
}

fn start(parser: Parser, host: &mut TestHost<'_>, meter: &mut Meter) -> Result<u64, BpfError> {
    let mut vm = Vm::new(&parser.verify().unwrap(), meter).unwrap();
    let rope = Rope::from(b"0123456789abcdef".to_vec());
    let image = vm.memory().add_rope("image", rope).unwrap();
    vm.run(0, &[image, 16], host, meter)
}

#[test]
fn passes_hook_arguments_in_an_array() {
    let text = "r2 = *(u64 *)(r1 + 0)\n r3 = *(u64 *)(r1 + 8)\n r0 = *(u8 *)(r2 + 15)\n r0 <<= 8\n \
                r0 |= r3\n exit";
    let r0 = start(parser(text), &mut TestHost::new(), &mut Meter::default()).unwrap();
    assert_eq!(r0, u64::from(b'f') << 8 | 16);
    check(
        "*(u64 *)(r1 + 0) = 1\n exit",
        expect![
            "test.bpf.c:101 in main, insn 0: write of 8 bytes to the argument list, which is read-only: argument list+0x0"
        ],
    );
    check(
        "r0 = *(u64 *)(r1 + 16)\n exit",
        expect![
            "test.bpf.c:101 in main, insn 0: read of 8 bytes passes the end of the argument list: argument list+0x10; the argument list ends at 0x10"
        ],
    );
}

#[test]
fn calls_keep_registers_and_give_each_function_a_stack() {
    let text = "
        fn main:
        r6 = 6
        r9 = 9
        r1 = 1
        r5 = 5
        *(u64 *)(r10 - 8) = 88
        call add
        r0 += r6
        r0 += r9
        r1 = *(u64 *)(r10 - 8)
        r0 += r1
        exit
        fn add:
        r6 = 100
        r9 = 200
        *(u64 *)(r10 - 8) = 1000
        r0 = r1
        r0 += r5
        exit";
    assert_eq!(run(text).unwrap(), 1 + 5 + 6 + 9 + 88);
}

#[test]
fn a_callee_may_use_its_callers_stack_but_not_the_other_way_round() {
    let text = "
        fn main:
        *(u64 *)(r10 - 8) = 7
        r1 = r10
        r1 += -8
        call double
        r0 = *(u64 *)(r10 - 8)
        exit
        fn double:
        r2 = *(u64 *)(r1 + 0)
        r2 += r2
        *(u64 *)(r1 + 0) = r2
        exit";
    assert_eq!(run(text).unwrap(), 14);
    let dangling =
        "fn main:\n call give\n r0 = *(u8 *)(r0 - 1)\n exit\n fn give:\n r0 = r10\n exit";
    check(
        dangling,
        expect![
            "test.bpf.c:102 in main, insn 1: read of 1 byte from stack[1] after its function has returned: stack[1]-0x1"
        ],
    );
}

#[test]
fn a_stack_is_zeros_again_for_the_next_call() {
    let text = "
        fn main:
        call use
        call use
        exit
        fn use:
        r0 = *(u64 *)(r10 - 512)
        *(u64 *)(r10 - 512) = 5
        exit";
    assert_eq!(run(text).unwrap(), 0);
}

#[test]
fn a_stack_is_zeros_again_whoever_wrote_to_it() {
    // Each call adds up what it finds, then leaves something above, below and, by a helper and by
    // the function it calls, between.
    let text = "
        fn main:
        call use
        r6 = r0
        call use
        r0 += r6
        exit
        fn use:
        r6 = *(u64 *)(r10 - 8)
        r1 = *(u64 *)(r10 - 256)
        r6 += r1
        r1 = *(u64 *)(r10 - 400)
        r6 += r1
        r1 = *(u64 *)(r10 - 512)
        r6 += r1
        *(u64 *)(r10 - 8) = 1
        *(u64 *)(r10 - 512) = 2
        r1 = r10
        r1 += -256
        r2 = 8
        r3 = r10
        r3 += -8
        call helper 113 ; bpf_probe_read_kernel
        r1 = r10
        r1 += -400
        call leave
        r0 = r6
        exit
        fn leave:
        *(u64 *)(r1 + 0) = 4
        exit";
    assert_eq!(run(text).unwrap(), 0);
}

#[test]
fn calls_through_registers() {
    let text = "
        fn main:
        r1 = 20
        r2 = &twice
        callx r2
        r6 = r0
        r2 = 8          ; bpf_get_smp_processor_id
        callx r2
        r0 += r6
        exit
        fn twice:
        r0 = r1
        r0 += r1
        exit";
    assert_eq!(run(text).unwrap(), 40);
    check(
        "r2 = 14\n callx r2\n exit",
        expect![
            "test.bpf.c:102 in main, insn 1: call to 0xe, which is neither a function of this program nor a helper"
        ],
    );
    check(
        "callx r10\n exit",
        expect![
            "test.bpf.c:101 in main, insn 0: call to 0x100000200, which is neither a function of this program nor a helper"
        ],
    );
    // Recursion that the call graph cannot see.
    let text = "fn main:\n r1 = &f\n callx r1\n exit\n fn f:\n callx r1\n exit";
    check(
        text,
        expect![
            "test.bpf.c:105 in f (program main), insn 4: calls are nested more than 8 frames deep"
        ],
    );
}

#[test]
fn an_address_inside_of_a_function_cannot_be_called() {
    check(
        "
        fn main:
        r2 = &twice
        r2 += 1
        callx r2
        exit
        fn twice:
        r0 = r1
        r0 += r1
        exit",
        expect![
            "test.bpf.c:104 in main, insn 3: call to 0x8000000200000006, which is neither a function of this program nor a helper"
        ],
    );
    // Nor by a helper: 181 is bpf_loop.
    check(
        "
        fn main:
        r1 = 1
        r2 = &step
        r2 += 1
        r3 = 0
        r4 = 0
        call helper 181
        exit
        fn step:
        r0 = 1
        r0 = 0
        exit",
        expect![
            "test.bpf.c:107 in main, insn 6: call to 0x8000000200000009, which is neither a function of this program nor a helper"
        ],
    );
}

#[test]
fn old_clang_names_the_register_of_callx_in_the_immediate() {
    let mut parser = parser("r3 = 8\n callx r3\n exit");
    parser.programs[0].code[1].dst = 0;
    parser.programs[0].code[1].imm = 3;
    assert_eq!(
        start(parser, &mut TestHost::new(), &mut Meter::default()).unwrap(),
        0
    );
}

#[test]
fn counts_instructions_exactly() {
    let text = "r0 = 10\n loop:\n r0 += -1\n if r0 != 0 goto loop\n r1 = 5 ll\n exit";
    let needed = 1 + 2 * 10 + 2;
    for (insns, left) in [
        (needed, Some(0)),
        (needed + 7, Some(7)),
        (needed - 1, None),
        (0, None),
    ] {
        let mut meter = Meter {
            insns,
            ..Meter::default()
        };
        let result = start(parser(text), &mut TestHost::new(), &mut meter);
        match left {
            Some(left) => assert_eq!((result.unwrap(), meter.insns), (0, left)),
            None => {
                let error = result.unwrap_err().to_string();
                assert!(
                    error.ends_with("the instruction budget is used up"),
                    "{error}"
                );
                assert_eq!(meter.insns, 0);
            }
        }
    }
    let meter = &mut Meter::default();
    let text = "loop:\n goto loop";
    let error = start(with_lines(parser(text)), &mut TestHost::new(), meter).unwrap_err();
    expect!["test.bpf.c:101 in main, insn 0: the instruction budget is used up"]
        .assert_eq(&error.to_string());
}

#[test]
fn says_which_access_failed() {
    check(
        "r1 = 0\n r0 = *(u64 *)(r1 + 24)\n exit",
        expect![
            "test.bpf.c:102 in main, insn 1: read of 8 bytes through a NULL pointer: NULL+0x18"
        ],
    );
    check(
        "r1 = *(u64 *)(r1 + 0)\n r0 = *(u32 *)(r1 + 13)\n exit",
        expect![
            "test.bpf.c:102 in main, insn 1: read of 4 bytes passes the end of the image: image+0xd; the image ends at 0x10"
        ],
    );
    check(
        "r1 = *(u64 *)(r1 + 0)\n r0 = *(u32 *)(r1 - 1)\n exit",
        expect![
            "test.bpf.c:102 in main, insn 1: read of 4 bytes lies before the start of the image: image-0x1"
        ],
    );
    check(
        "r1 = *(u64 *)(r1 + 0)\n *(u8 *)(r1 + 3) = 1\n exit",
        expect![
            "test.bpf.c:102 in main, insn 1: write of 1 byte to the image, which is read-only: image+0x3"
        ],
    );
    check(
        "r0 = *(u64 *)(r10 + 0)\n exit",
        expect![
            "test.bpf.c:101 in main, insn 0: read of 8 bytes passes the end of the stack: stack+0x0; the stack has 512 bytes below r10"
        ],
    );
    check(
        "*(u64 *)(r10 - 520) = 0\n exit",
        expect![
            "test.bpf.c:101 in main, insn 0: write of 8 bytes lies before the start of the stack: stack-0x208; the stack has 512 bytes below r10"
        ],
    );
    check(
        "r1 = -8\n lock *(u64 *)(r1 + 0) += r1\n exit",
        expect![
            "test.bpf.c:102 in main, insn 1: read of 8 bytes at an address where nothing is: 0xfffffffffffffff8"
        ],
    );
    let text = "fn main:\n r1 = &f\n r0 = *(u8 *)(r1 + 0)\n exit\n fn f:\n exit";
    check(
        text,
        expect![
            "test.bpf.c:103 in main, insn 2: read of 1 byte from the address of the function at insn 4, which is not memory"
        ],
    );
}

#[test]
fn kfuncs_reach_the_host() {
    let mut parser = parser(
        "r1 = 1\n r2 = 2\n r3 = 3\n r4 = 4\n r5 = 5\n call kfunc 0\n r6 = r0\n r1 = &kfunc 0\n \
         if r1 == 0 goto no\n r1 = &kfunc 1\n if r1 != 0 goto no\n r1 = &kfunc 0\n callx r1\n \
         r0 += r6\n exit\n no:\n r0 = -1\n exit",
    );
    parser.kfuncs = vec![kfunc("bpf_sum", Some(7)), kfunc("bpf_weak", None)];
    let mut host = TestHost::new();
    host.kfunc = Box::new(|number, args, _, _| {
        assert_eq!(number, 7);
        Ok(args.iter().fold(0, |sum, arg| sum + (arg & 0xff)))
    });
    let r0 = start(parser, &mut host, &mut Meter::default()).unwrap();
    // The address of a kfunc is its index above a marker.
    assert_eq!(r0, 15 + 14);
}

#[test]
fn missing_kfuncs_and_failed_relocations_trap_when_reached() {
    let mut weak = with_lines(parser("if r0 != 0 goto +1\n call kfunc 0\n exit"));
    weak.kfuncs.push(kfunc("bpf_weak", None));
    check_parser(
        weak,
        expect![
            "test.bpf.c:102 in main, insn 1: kfunc bpf_weak is not offered by this loader; test it with `bpf_ksym_exists(bpf_weak)` before the call"
        ],
    );
    let poisoned = with_lines(parser("r0 = 1\n call helper 195896080\n exit"));
    check_parser(
        poisoned.clone(),
        expect![
            "test.bpf.c:102 in main, insn 1: this instruction uses a type or field that the loader lacks; test it with bpf_core_field_exists or bpf_core_type_exists before"
        ],
    );
    let mut told = poisoned;
    let reason = "no field kexec_context::colour".into();
    told.programs[0].poisoned.push(Poisoned { slot: 1, reason });
    check_parser(
        told,
        expect![
            "test.bpf.c:102 in main, insn 1: this instruction uses a type or field that the loader lacks (no field kexec_context::colour); test it with bpf_core_field_exists or bpf_core_type_exists before"
        ],
    );
}

#[test]
fn a_hosts_fault_ends_the_run() {
    let mut parser = with_lines(parser("call kfunc 0\n exit"));
    parser.kfuncs.push(kfunc("bpf_fail", Some(0)));
    let mut host = TestHost::new();
    host.kfunc = Box::new(|_, _, _, _| Err(BpfError::host("the store is full")));
    let error = start(parser, &mut host, &mut Meter::default()).unwrap_err();
    expect!["test.bpf.c:101 in main, insn 0: the store is full"].assert_eq(&error.to_string());
}

/// A parser whose kfunc 0 acquires an object and whose kfunc 1 releases one.
fn with_objects(text: &str) -> (Parser, TestHost<'static>) {
    let mut parser = with_lines(parser(text));
    parser.kfuncs = vec![kfunc("bpf_make", Some(0)), kfunc("bpf_put", Some(1))];
    let mut host = TestHost::new();
    host.kfunc = Box::new(|number, [addr, ..], memory, _| match number {
        0 => {
            let buffer = memory.add_rope("decompressed", Rope::from(vec![7; 64]))?;
            let object = memory.add_bytes("mem_range_result", vec![1; 16], false)?;
            memory.acquire("a mem_range_result", object, &[buffer])?;
            memory.write(object, &[0]).expect_err("read-only");
            Ok(object)
        }
        _ => memory.release("a mem_range_result", addr).map(|()| 0),
    });
    (parser, host)
}

/// Runs code on counted objects; expects what goes wrong, or nothing, and that
/// all memory comes back.
#[track_caller]
fn check_objects(text: &str, expected: Expect) {
    let (parser, mut host) = with_objects(text);
    let mut meter = Meter::default();
    let before = meter.memory;
    let mut vm = Vm::new(&parser.verify().unwrap(), &mut meter).unwrap();
    let result = vm.run(0, &[], &mut host, &mut meter);
    expected.assert_eq(&result.map_or_else(|error| error.to_string(), |_| "fine".to_owned()));
    vm.finish(&mut meter);
    assert_eq!(meter.memory, before);
}

#[test]
fn references_are_counted() {
    check_objects(
        "call kfunc 0\n r1 = r0\n call kfunc 1\n exit",
        expect!["fine"],
    );
    check_objects(
        "r0 = 0\n call kfunc 0\n exit",
        expect![
            "test.bpf.c:102 in main, insn 1: a mem_range_result acquired here was not released before the program ended"
        ],
    );
    check_objects(
        "call kfunc 0\n r6 = r0\n r1 = r0\n call kfunc 1\n r1 = r6\n call kfunc 1\n exit",
        expect![
            "test.bpf.c:106 in main, insn 5: mem_range_result+0x0 is not a mem_range_result that is held: it was released by instruction 3"
        ],
    );
    check_objects(
        "call kfunc 0\n r6 = r0\n r1 = r0\n call kfunc 1\n r0 = *(u8 *)(r6 + 2)\n exit",
        expect![
            "test.bpf.c:105 in main, insn 4: read of 1 byte from the mem_range_result, which was released: mem_range_result+0x2; the mem_range_result was released by instruction 3"
        ],
    );
    check_objects(
        "call kfunc 0\n r1 = r0\n r1 += 1\n call kfunc 1\n exit",
        expect![
            "test.bpf.c:104 in main, insn 3: mem_range_result+0x1 is not a mem_range_result that is held"
        ],
    );
    check_objects(
        "r1 = 0\n call kfunc 1\n exit",
        expect![
            "test.bpf.c:102 in main, insn 1: 0x0 is not a mem_range_result that is held: it is NULL"
        ],
    );
    check_objects(
        "r1 = r10\n call kfunc 1\n exit",
        expect!["test.bpf.c:102 in main, insn 1: stack+0x0 is not a mem_range_result that is held"],
    );
    check_objects(
        "call kfunc 0\n r1 = 0\n r0 = *(u8 *)(r1 + 0)\n exit",
        expect!["test.bpf.c:103 in main, insn 2: read of 1 byte through a NULL pointer: NULL+0x0"],
    );
}

#[test]
fn memory_is_charged_and_comes_back() {
    let (parser, mut host) = with_objects("call kfunc 0\n r1 = r0\n call kfunc 1\n exit");
    let verified = parser.verify().unwrap();
    let mut meter = Meter {
        memory: 64 << 10,
        ..Meter::default()
    };
    let mut vm = Vm::new(&verified, &mut meter).unwrap();
    vm.run(0, &[], &mut host, &mut meter).unwrap();
    let after_one = meter.memory;
    vm.run(0, &[], &mut host, &mut meter).unwrap();
    // Only the number of a region is left, so that late uses are reported.
    assert_eq!(after_one - meter.memory, 3 * 128);
    let refused = vm
        .memory()
        .add_bytes("big", vec![0; 64 << 10], true)
        .unwrap_err();
    assert!(refused.is_out_of_memory(), "{refused}");
    assert!(
        refused.to_string().contains(": asked for 65664 bytes"),
        "{refused}"
    );
    vm.finish(&mut meter);
    assert_eq!(meter.memory, 64 << 10);
}

#[test]
fn what_a_host_takes_from_the_meter_counts() {
    let mut parser = parser("call kfunc 0\n exit");
    parser.kfuncs.push(kfunc("bpf_take", Some(0)));
    let verified = parser.verify().unwrap();
    for (more, fits) in [(0, true), (1, false)] {
        let mut host = TestHost::new();
        host.kfunc = Box::new(move |_, _, memory, meter| {
            meter.memory -= 1000;
            meter.insns -= 10;
            // A region costs 128 bytes beside its own.
            memory.add_bytes("rest", vec![0; meter.memory as usize - 128 + more], true)?;
            Ok(0)
        });
        let mut meter = Meter {
            memory: 100_000,
            insns: 100,
            ..Meter::default()
        };
        let mut vm = Vm::new(&verified, &mut meter).unwrap();
        let result = vm.run(0, &[], &mut host, &mut meter);
        assert_eq!(result.is_ok(), fits, "{result:?}");
        assert!(meter.insns < 100 - 10);
        vm.finish(&mut meter);
        assert_eq!(meter.memory, 100_000 - 1000);
    }
}

#[test]
fn kfuncs_of_every_host_are_found_by_name() {
    let interface = Interface {
        types: Vec::new(),
        choose: Interface::only,
        hooks: Vec::new(),
        kfuncs: vec![ukexec_bpf::KfuncDecl {
            name: "bpf_own",
            args: 1,
        }],
    };
    assert_eq!(interface.kfunc("bpf_own"), Some(0));
    assert_eq!(
        interface.kfunc("bpf_iter_num_next"),
        Some(Interface::BUILT_IN + 1)
    );
    assert_eq!(interface.kfunc("bpf_other"), None);
}
