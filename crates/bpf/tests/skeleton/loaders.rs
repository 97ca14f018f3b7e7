//! Loader programs that no libbpf makes: what is capped, and what they forget.

use std::time::{Duration, Instant};

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
const SYMBOL: i32 = 179;

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

/// An array of one value of 4 bytes, as `BPF_MAP_CREATE` receives it at 0.
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
    check(
        &words(&[]),
        &[mov(0, i32::MIN), exit()],
        expect!["the skeleton's loader failed, though no call of it did (-2147483648)"],
    );
}

#[test]
fn a_loader_is_verified() {
    check(
        &words(&[]),
        &[mov(0, 0)],
        expect![
            "the skeleton's loader is refused: loader, insn 0: control falls off the end of the function here; its last insn must be exit or a jump"
        ],
    );
    check(
        &words(&[]),
        &[call(131), exit()],
        expect![
            "the skeleton's loader is refused: loader, insn 0: helper 131 (bpf_ringbuf_reserve) is not offered by this loader: Linux does not offer it to such programs either"
        ],
    );
    let [first, second] = blob(1, 4096);
    check(
        &words(&[]),
        &[first, second, exit()],
        expect![
            "the skeleton's loader is refused: loader, insn 0: offset 0x1000 lies outside the 0x1000 bytes of map opts_data"
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
            "the skeleton's loader stopped: loader, insn 2: read of 8 bytes passes the end of map opts_data: map opts_data[1]+0x0; map opts_data has 1 value of 4096 bytes"
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
            "the skeleton's loader stopped: loader, insn 3: read of 8 bytes passes the end of map opts_data: map opts_data+0x20; map opts_data ends at 0x20"
        ],
    );
}

#[test]
fn instructions_and_calls_are_capped() {
    check(
        &words(&[]),
        &forever(Vec::new()),
        expect!["the skeleton's loader stopped: loader, insn 0: the instruction budget is used up"],
    );
    let body = vec![mov(1, 0), call(CLOSE)];
    check(
        &words(&[]),
        &forever(body),
        expect![
            "the skeleton's loader stopped: loader, insn 1: calls of the kernel: 4097, at most 4096 are taken"
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
            "the skeleton's loader failed: BPF_BTF_LOAD, btf: read of 4 bytes through a NULL pointer: NULL+0x0 (-EFAULT)"
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

/// A strong ksym without a type is looked up in this way.
#[test]
fn symbols_of_the_kernel_are_not_there() {
    let find = |at: i32| {
        let [name0, name1] = blob(1, 0);
        let [result0, result1] = blob(4, at);
        vec![
            name0,
            name1,
            mov(2, 8),
            mov(3, 0),
            result0,
            result1,
            copy(7, 4),
            call(SYMBOL),
        ]
    };
    let mut data = words(&[(16, 1), (20, 1)]);
    data[..8].copy_from_slice(b"do_exit\0");
    check(
        &data,
        &[find(16), vec![exit()]].concat(),
        expect![
            "the skeleton's loader failed: do_exit is a symbol of the kernel, which parsers cannot see (-ENOENT)"
        ],
    );
    // r0 = *(u64 *)(r7 + 0) - 5: what was found is 0.
    let tell = vec![insn(0x79, 0, 7, 0, 0), insn(0x07, 0, 0, 0, -5), exit()];
    check(
        &data,
        &[find(16), tell].concat(),
        expect!["the skeleton's loader failed, though no call of it did (-5)"],
    );
    let outside = i32::try_from(BLOB).unwrap() - 4;
    check(
        &data,
        &[find(outside), vec![exit()]].concat(),
        expect![
            "the skeleton's loader failed: bpf_kallsyms_lookup_name, res: write of 8 bytes passes the end of map opts_data: map opts_data[0]+0xffc; map opts_data has 1 value of 4096 bytes (-EFAULT)"
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

#[test]
fn kfuncs_of_linux_that_are_not_here_are_told_apart() {
    let mut data = words(&[]);
    data[..18].copy_from_slice(b"bpf_handle_pefile\0");
    data[100..117].copy_from_slice(b"bpf_obj_new_impl\0");
    let find = |at, len| {
        let [first, second] = blob(1, at);
        [
            first,
            second,
            mov(2, len),
            mov(3, 12),
            mov(4, 0),
            call(FIND),
        ]
    };
    // libbpf's loaders look up the hook first.
    let mut code = find(0, 18).to_vec();
    code.extend(find(100, 17));
    code.push(exit());
    check(
        &data,
        &code,
        expect![
            "the skeleton's loader failed: kfunc bpf_obj_new_impl is a kfunc of Linux that this loader does not offer: parsers have no heap, and thus no lists and trees on it; use maps (-ENOENT)"
        ],
    );
}

/// Where [`naming_kfuncs`] has the name that it looks up, and room for it.
const NAME: usize = 440;
const NAME_LEN: usize = 500;

/// A skeleton that looks a name up so often, and then loads a program of
/// 100,000 calls of the kfunc `id`; `types` are its types and their strings.
fn naming_kfuncs(name: &[u8], times: i32, id: i32, types: [&[u8]; 2]) -> Vec<u8> {
    let calls = 100_000;
    let [types, strings] = types;
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let header = [0x0001_eb9f, 24, 0, len(types), len(types), len(strings)];
    let header = header.iter().flat_map(|word| word.to_le_bytes());
    let btf: Vec<u8> = header.chain(types.iter().chain(strings).copied()).collect();
    // BPF_BTF_LOAD reads its attributes at 0, BPF_PROG_LOAD at 64.
    let mut data = words(&[
        (16, len(&btf)),
        (64, 26),
        (64 + 4, calls + 1),
        (64 + 68, 24),
        (64 + 108, 1),
    ]);
    data[400..418].copy_from_slice(b"bpf_handle_pefile\0");
    data[NAME..NAME + name.len()].copy_from_slice(name);
    data.extend(btf);
    data.resize(data.len().next_multiple_of(8), 0);
    let start = data.len();
    let body = (0..calls).map(|_| insn(0x85, 0, 2, 0, id)).chain([exit()]);
    data.extend(body.flat_map(|insn| insn.to_le_bytes()));
    let at = |at: usize| i32::try_from(at).unwrap();
    let find = |name: usize, len: usize| {
        let [first, second] = blob(1, at(name));
        [
            first,
            second,
            mov(2, at(len)),
            mov(3, 12),
            mov(4, 0),
            call(FIND),
        ]
    };
    let point = |from: usize, to: usize| {
        let ([first, second], [third, fourth]) = (blob(1, at(from)), blob(2, at(to)));
        [first, second, third, fourth, insn(0x7b, 1, 2, 0, 0)]
    };
    let mut code = find(400, 18).to_vec();
    code.extend(point(0, BLOB));
    code.extend(point(64 + 8, start));
    code.extend(sys_bpf(18, 0, 28));
    // prog_btf_fd
    let [first, second] = blob(1, 64 + 72);
    code.extend([first, second, insn(0x63, 1, 0, 0, 0), mov(6, times)]);
    code.extend(find(NAME, name.len()));
    // if (--r6) goto the look-up
    code.extend([insn(0x17, 6, 0, 0, 1), insn(0x55, 6, 0, -8, 0)]);
    code.extend(sys_bpf(5, 64, 140));
    code.extend([mov(0, 0), exit()]);
    object(&data, &code)
}

#[test]
fn a_kfunc_that_is_called_often_is_bound_once() {
    let check = |object: &[u8]| {
        let start = Instant::now();
        assert_eq!(refusal(object, &hosts::kexec()), "no error");
        assert!(start.elapsed() < Duration::from_secs(1));
    };
    // Of type `void`, so that there are types at all.
    let word = |number: u32| number.to_le_bytes();
    let forward = |name| [word(name), word(7 << 24), word(0)].concat();
    // As many names as calls are, of which a weak kfunc may have had each.
    let name = [&[b'y'; NAME_LEN - 1][..], &[0]].concat();
    check(&naming_kfuncs(&name, 4000, 0, [&forward(0), b"\0"]));
    // As many types as fit, which may declare the kfunc.
    let types = forward(1).repeat(200_000);
    let types = [&types[..], b"\0bpf_decompress___x\0"];
    check(&naming_kfuncs(b"bpf_decompress\0", 1, 2, types));
}
