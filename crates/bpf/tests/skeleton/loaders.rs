//! Loader programs that no libbpf makes: what is capped, and what they forget.

use expect_test::{Expect, expect};
use ukexec_bpf::Insn;

use crate::elf::object;
use crate::{hosts, refusal};

/// Bytes of blob that these loaders have.
const BLOB: usize = 4096;

/// Helpers by number.
const SYS_BPF: i32 = 166;
const FIND: i32 = 167;
const CLOSE: i32 = 168;

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn {
        code,
        dst,
        src,
        off,
        imm,
    }
}

fn mov(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

fn copy(dst: u8, src: u8) -> Insn {
    insn(0xbf, dst, src, 0, 0)
}

fn call(helper: i32) -> Insn {
    insn(0x85, 0, 0, 0, helper)
}

fn exit() -> Insn {
    insn(0x95, 0, 0, 0, 0)
}

/// `dst` = the address of byte `at` of the blob.
fn blob(dst: u8, at: i32) -> [Insn; 2] {
    [insn(0x18, dst, 6, 0, 0), insn(0, 0, 0, 0, at)]
}

/// `bpf(command, blob + at, size)`.
fn sys_bpf(command: i32, at: i32, size: i32) -> Vec<Insn> {
    let [first, second] = blob(2, at);
    vec![mov(1, command), first, second, mov(3, size), call(SYS_BPF)]
}

/// A blob with words at places.
fn words(words: &[(usize, u32)]) -> Vec<u8> {
    let mut blob = vec![0; BLOB];
    for (at, word) in words {
        blob[*at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    blob
}

fn check(data: &[u8], code: &[Insn], expected: Expect) {
    expected.assert_eq(&refusal(&object(data, code), &hosts::kexec()));
}

/// Repeats `body` as long as it returns 0 or more.
fn repeat(mut body: Vec<Insn>) -> Vec<Insn> {
    let len = i16::try_from(body.len()).unwrap();
    // if (s64)r0 s>= 0 goto the start; exit
    body.push(insn(0x75, 0, 0, -len - 1, 0));
    body.push(exit());
    body
}

/// Repeats `body` for ever.
fn forever(mut body: Vec<Insn>) -> Vec<Insn> {
    let len = i16::try_from(body.len()).unwrap();
    body.push(insn(0x05, 0, 0, -len - 1, 0));
    body
}

/// An array of one value of 4 bytes, as `BPF_MAP_CREATE` is told of it at 0.
const ARRAY: &[(usize, u32)] = &[(0, 2), (4, 4), (8, 4), (12, 1)];

#[test]
fn a_loader_that_does_nothing_leaves_no_program() {
    check(
        &words(&[]),
        &[mov(0, 0), exit()],
        expect!["the skeleton's loader left no program"],
    );
    check(
        &words(&[]),
        &[mov(0, -95), exit()],
        expect!["the skeleton's loader failed, though no call of it did (-95)"],
    );
}

#[test]
fn a_loader_is_verified() {
    check(
        &words(&[]),
        &[mov(0, 0)],
        expect![
            "the skeleton's loader is refused: program loader, insn 0: control falls off the end of the function here; its last insn must be exit or a jump"
        ],
    );
    check(
        &words(&[]),
        &[call(131), exit()],
        expect![
            "the skeleton's loader is refused: program loader, insn 0: helper 131 (bpf_ringbuf_reserve) is not offered by this loader: Linux does not offer it to such programs either"
        ],
    );
    let [first, second] = blob(1, 4096);
    check(
        &words(&[]),
        &[first, second, exit()],
        expect![
            "the skeleton's loader is refused: program loader, insn 0: offset 0x1000 lies outside the 0x1000 bytes of map opts_data"
        ],
    );
}

#[test]
fn a_loader_sees_its_blob_and_no_more() {
    let [first, second] = blob(1, 4088);
    let load = insn(0x79, 0, 1, 8, 0);
    check(
        &words(&[]),
        &[first, second, load, exit()],
        expect![
            "the skeleton's loader stopped: program loader, insn 2: read of 8 bytes at opts_data+0x1000 passes its end at 0x1000"
        ],
    );
    // The hash of a map is shown to a loader that asks for it, nothing else is.
    let map = [insn(0x18, 1, 5, 0, 0), insn(0, 0, 0, 0, 0)];
    let code = [
        map[0],
        map[1],
        insn(0x79, 0, 1, 24, 0),
        insn(0x79, 0, 1, 32, 0),
        exit(),
    ];
    check(
        &words(&[]),
        &code,
        expect![
            "the skeleton's loader stopped: program loader, insn 3: read of 8 bytes at map opts_data+0x20 passes its end at 0x20"
        ],
    );
}

#[test]
fn instructions_and_calls_are_capped() {
    check(
        &words(&[]),
        &forever(Vec::new()),
        expect![
            "the skeleton's loader stopped: program loader, insn 0: the instruction budget is used up"
        ],
    );
    let body = vec![mov(1, 0), call(CLOSE)];
    check(
        &words(&[]),
        &forever(body),
        expect![
            "the skeleton's loader stopped: program loader, insn 1: calls of the kernel: 4097, at most 4096 are taken"
        ],
    );
}

#[test]
fn maps_and_types_are_capped() {
    check(
        &words(ARRAY),
        &repeat(sys_bpf(0, 0, 72)),
        expect!["the skeleton's loader failed: maps: 65, at most 64 are taken (-E2BIG)"],
    );
    // BTF without a type: its header and one NUL.
    let types = [(16, 25), (100, 0x0001_eb9f), (104, 24), (120, 1)];
    let [from0, from1] = blob(2, 100);
    let [to0, to1] = blob(1, 0);
    let mut body = vec![from0, from1, to0, to1, insn(0x7b, 1, 2, 0, 0)];
    body.extend(sys_bpf(18, 0, 28));
    check(
        &words(&types),
        &repeat(body),
        expect!["the skeleton's loader failed: sets of types: 5, at most 4 are taken (-E2BIG)"],
    );
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let fails = |blob: &[(usize, u32)], command, size, expected| {
        check(&words(blob), &repeat(sys_bpf(command, 0, size)), expected);
    };
    fails(
        &[],
        3,
        8,
        expect![
            "the skeleton's loader failed: bpf command 3 is not offered to loaders; offered: MAP_CREATE (0), MAP_UPDATE_ELEM (2), PROG_LOAD (5), BTF_LOAD (18), MAP_FREEZE (22) (-EINVAL)"
        ],
    );
    fails(
        &[(1000, 1)],
        0,
        4096,
        expect![
            "the skeleton's loader failed: BPF_MAP_CREATE, size: expected zeros behind the fields that are known, found 4096 (-EINVAL)"
        ],
    );
    fails(
        &[],
        0,
        4097,
        expect![
            "the skeleton's loader failed: BPF_MAP_CREATE, attr: 4097 bytes, at most 4096 are taken (-E2BIG)"
        ],
    );
    fails(
        &[(0, 3), (12, 1)],
        0,
        72,
        expect![
            "the skeleton's loader failed: map (unnamed): maps of type prog_array (3) are not offered; offered: hash (1), array (2), percpu_hash (5), percpu_array (6), lru_hash (9), lru_percpu_hash (10), queue (22), stack (23), ringbuf (27) (-EINVAL)"
        ],
    );
    fails(
        &[],
        2,
        32,
        expect![
            "the skeleton's loader failed: BPF_MAP_UPDATE_ELEM, map_fd: 0 is not the descriptor of a map (-EBADF)"
        ],
    );
    fails(
        &[],
        22,
        4,
        expect![
            "the skeleton's loader failed: BPF_MAP_FREEZE, map_fd: 0 is not the descriptor of a map (-EBADF)"
        ],
    );
    fails(
        &[(16, 4)],
        18,
        28,
        expect![
            "the skeleton's loader failed: BPF_BTF_LOAD, btf: read of 4 bytes at 0x0: no region (a NULL pointer) (-EFAULT)"
        ],
    );
    fails(
        &[(16, 0xffff_ffff)],
        18,
        28,
        expect![
            "the skeleton's loader failed: bytes of BTF: 4294967295, at most 16777216 are taken (-E2BIG)"
        ],
    );
    fails(
        &[(0, 26), (68, 24)],
        5,
        140,
        expect![
            "the skeleton's loader failed: BPF_PROG_LOAD, attach_btf_id: expected an id that bpf_btf_find_by_name_kind gave, found 0 (-EINVAL)"
        ],
    );
    fails(
        &[(0, 6)],
        5,
        140,
        expect![
            "the skeleton's loader failed: program (unnamed) (prog_type 6, expected_attach_type 0): programs of this kind are not offered; offered: fentry (26, 24), fmod_ret (26, 26) (-EINVAL)"
        ],
    );
    fails(
        &[(0, 26), (68, 24), (44, 0x100)],
        5,
        140,
        expect![
            "the skeleton's loader failed: BPF_PROG_LOAD, prog_flags: expected 0x10 (sleepable) or 0, found 256 (-EINVAL)"
        ],
    );
}

#[test]
fn maps_are_written_before_they_are_frozen() {
    let mut code = sys_bpf(0, 0, 72);
    let [first, second] = blob(1, 200);
    // *(u32 *)(blob + 200) = fd
    code.extend([first, second, insn(0x63, 1, 0, 0, 0)]);
    code.extend(sys_bpf(22, 200, 4));
    code.extend(sys_bpf(2, 200, 32));
    code.push(exit());
    check(
        &words(ARRAY),
        &code,
        expect!["the skeleton's loader failed: map (unnamed) is frozen (-EPERM)"],
    );
}

#[test]
fn first_values_of_maps_are_counted_together() {
    // A value of 9 MiB, given again and again.
    let value = 9 << 20;
    let mut data = words(&[(0, 2), (4, 4), (8, value), (12, 1)]);
    data.resize(10 << 20, 0);
    let mut code = sys_bpf(0, 0, 72);
    let pointer = |at: i32, to: i32| {
        let ([first, second], [third, fourth]) = (blob(1, at), blob(2, to));
        // *(u64 *)(blob + at) = blob + to
        [first, second, third, fourth, insn(0x7b, 1, 2, 0, 0)]
    };
    let [first, second] = blob(1, 200);
    code.extend([first, second, insn(0x63, 1, 0, 0, 0)]);
    code.extend(pointer(208, 300));
    code.extend(pointer(216, 400));
    code.extend(repeat(sys_bpf(2, 200, 32)));
    check(
        &data,
        &code,
        expect![
            "the skeleton's loader failed: bytes of maps' first values: 18874368, at most 16777216 are taken (-E2BIG)"
        ],
    );
}

#[test]
fn names_are_looked_up_by_their_length() {
    let find = |size, kind| {
        let [first, second] = blob(1, 0);
        vec![
            first,
            second,
            mov(2, size),
            mov(3, kind),
            mov(4, 0),
            call(FIND),
            exit(),
        ]
    };
    let mut data = words(&[]);
    data[..8].copy_from_slice(b"do_exit\0");
    check(
        &data,
        &find(8, 12),
        expect![
            "the skeleton's loader failed: hook do_exit is not offered by this loader (-ENOENT); offered: bpf_handle_pefile, bpf_post_handle_pefile, ukexec_match_image"
        ],
    );
    check(
        &data,
        &find(7, 12),
        expect![
            "the skeleton's loader failed: bpf_btf_find_by_name_kind, name_sz: expected the length of a name with its NUL, found 7 (-EINVAL)"
        ],
    );
    check(
        &data,
        &find(0, 12),
        expect![
            "the skeleton's loader failed: bpf_btf_find_by_name_kind, name_sz: expected the length of a name with its NUL, found 0 (-EINVAL)"
        ],
    );
    check(
        &data,
        &find(100_000, 12),
        expect![
            "the skeleton's loader failed: bpf_btf_find_by_name_kind, name: 100000 bytes, at most 512 are taken (-E2BIG)"
        ],
    );
    check(
        &data,
        &find(8, 14),
        expect![
            "the skeleton's loader failed: do_exit is a symbol of the kernel, which parsers cannot see (-ENOENT)"
        ],
    );
}

#[test]
fn a_program_whose_descriptor_is_closed_is_gone() {
    let mut data = words(&[(0, 26), (4, 1), (68, 24), (108, 1), (300, 0x95)]);
    data[400..418].copy_from_slice(b"bpf_handle_pefile\0");
    let [name0, name1] = blob(1, 400);
    let mut code = vec![name0, name1, mov(2, 18), mov(3, 12), mov(4, 0), call(FIND)];
    // *(u64 *)(blob + 8) = blob + 300
    let [from0, from1] = blob(2, 300);
    let [to0, to1] = blob(1, 8);
    code.extend([from0, from1, to0, to1, insn(0x7b, 1, 2, 0, 0)]);
    code.extend(sys_bpf(5, 0, 140));
    let mut kept = code.clone();
    kept.extend([mov(0, 0), exit()]);
    check(&data, &kept, expect!["no error"]);
    code.extend([copy(1, 0), call(CLOSE), exit()]);
    check(
        &data,
        &code,
        expect!["the skeleton's loader left no program"],
    );
    // The same program again and again, every descriptor forgotten.
    let again = repeat(kept[..kept.len() - 2].to_vec());
    check(
        &data,
        &again,
        expect!["the skeleton's loader failed: programs: 33, at most 32 are taken (-E2BIG)"],
    );
}
