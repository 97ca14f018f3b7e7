//! Helpers, one by one.

use std::sync::Arc;

use bytes::Bytes;
use ukexec_bpf::Vm;
use ukexec_bpf::{HELPERS, Interface, KFUNCS, MapKind, Meter, Parser, Rope, Source, SourceId};

use crate::rig::{TestHost, kfunc, map, parser, verify, with_lines};

const IMAGE: &[u8] = b"MZ\0\0image of 32 bytes, for tests\0";

/// A parser with a ring (0), an array (1), a hash (2), `.rodata` (3), a per-CPU
/// array (4) and hash (5), an LRU hash (6), a queue (7), a stack (8) and all
/// built-in kfuncs.
fn equipped(text: &str, rodata: &'static str) -> Parser {
    let mut parser = with_lines(parser(text));
    let mut constants = map(".rodata", MapKind::Array, [4, rodata.len() as u32 + 1, 1]);
    constants.initial = Some(Bytes::from_static(rodata.as_bytes()));
    constants.read_only = true;
    parser.maps = vec![
        map("ring", MapKind::RingBuffer, [0, 0, 1]),
        map("array", MapKind::Array, [4, 12, 3]),
        map("hash", MapKind::Hash, [2, 8, 2]),
        constants,
        map("cpu_array", MapKind::PerCpuArray, [4, 8, 2]),
        map("cpu_hash", MapKind::PerCpuHash, [2, 8, 2]),
        map("lru", MapKind::LruHash { per_cpu: false }, [2, 8, 2]),
        map("queue", MapKind::Queue, [0, 8, 2]),
        map("stack", MapKind::Stack, [0, 8, 2]),
    ];
    let numbers = Interface::BUILT_IN..;
    parser.kfuncs = KFUNCS
        .iter()
        .zip(numbers)
        .map(|(own, n)| kfunc(own.name, Some(n)))
        .collect();
    parser
}

/// Runs `text` with r6 = the image's address. Returns r0, or the fault, and
/// what was printed.
pub(crate) fn run(text: &str, rodata: &'static str) -> (String, Vec<String>) {
    run_with(text, rodata, &mut Meter::default())
}

fn run_with(text: &str, rodata: &'static str, meter: &mut Meter) -> (String, Vec<String>) {
    let parser = equipped(&format!("r6 = r1\n {text}\n exit"), rodata)
        .verify()
        .unwrap();
    let before = meter.memory;
    let mut vm = Vm::new(&parser, meter).unwrap();
    let image: Arc<dyn Source> = Arc::new(Bytes::from_static(IMAGE));
    let image = vm
        .memory()
        .add_rope("image", Rope::from_source(SourceId(0), image))
        .unwrap();
    let mut host = TestHost::new();
    let result = vm.call(0, [image, 0, 0, 0, 0], &mut host, meter);
    vm.finish(meter);
    assert_eq!(meter.memory, before, "memory comes back");
    let text = match result {
        Ok(r0) => (r0 as i64).to_string(),
        Err(error) => {
            // Without the place, which other tests look at.
            let text = error.to_string();
            text.split_once(": ")
                .map_or(text.clone(), |(_, fault)| fault.to_owned())
        }
    };
    (text, host.lines)
}

#[track_caller]
pub(crate) fn check(text: &str, expected: &str) {
    assert_eq!(run(text, "").0, expected, "{text}");
}

/// Prints `format` with arguments r3 to r5 and expects the line.
#[track_caller]
fn check_print(format: &'static str, args: [i64; 3], expected: &str) {
    let [one, two, three] = args;
    let len = format.len() + 1;
    let text = format!(
        "r1 = &value 3 0\n r2 = {len}\n r3 = {one:#x} ll\n r4 = {two:#x} ll\n r5 = {three:#x} ll\n \
         call helper 6"
    );
    let (r0, lines) = run(&text, format);
    assert_eq!(
        (r0.as_str(), lines.join("\n").as_str()),
        (expected.len().to_string().as_str(), expected)
    );
}

/// Prints a format that is refused.
#[track_caller]
fn check_bad_print(format: &'static str) {
    let text = format!(
        "r1 = &value 3 0\n r2 = {}\n call helper 6",
        format.len() + 1
    );
    assert_eq!(
        run(&text, format),
        ("-22".to_owned(), Vec::new()),
        "{format:?}"
    );
}

#[test]
fn the_table_is_in_order_and_complete() {
    assert!(HELPERS.is_sorted_by_key(|helper| helper.number));
    assert!(
        HELPERS
            .iter()
            .chain(KFUNCS)
            .all(|one| one.name.starts_with("bpf_"))
    );
    let numbers: Vec<_> = HELPERS.iter().map(|helper| helper.number).collect();
    for needed in [
        1, 2, 3, 4, 6, 45, 113, 115, 130, 131, 132, 133, 165, 177, 181, 182,
    ] {
        assert!(numbers.contains(&needed), "{needed}");
    }
    assert!((197..=203).all(|dynptr| numbers.contains(&dynptr)));
}

#[test]
fn probe_read_copies_or_fills_with_zeros() {
    for helper in [4, 113] {
        check(
            &format!(
                "r1 = r10\n r1 += -8\n r2 = 4\n r3 = r6\n call helper {helper}\n \
                 r1 = *(u32 *)(r10 - 8)\n r0 <<= 32\n r0 |= r1"
            ),
            &0x5a4d.to_string(),
        );
        // A NULL source: -EFAULT and zeros.
        check(
            &format!(
                "*(u64 *)(r10 - 8) = -1\n r1 = r10\n r1 += -8\n r2 = 8\n r3 = 0\n call helper {helper}\n \
                 r1 = *(u64 *)(r10 - 8)\n r0 += r1"
            ),
            "-14",
        );
    }
    check(
        "r1 = r10\n r1 += -8\n r2 = 8\n r3 = r6\n r3 += 28\n call helper 113",
        "-14",
    );
    check("r1 = 0\n r2 = 0\n r3 = 0\n call helper 113", "0");
    check(
        "*(u8 *)(r10 - 1) = 1\n r1 = r10\n r1 += -1\n r2 = 1\n r3 = r6\n call helper 112\n \
           r1 = *(u8 *)(r10 - 1)\n r0 += r1",
        "-14",
    );
    check(
        "r1 = r10\n r2 = 8\n r3 = r6\n call helper 113",
        "write of 8 bytes passes the end of the stack: stack+0x0; the stack has 512 bytes below r10",
    );
    check(
        "r1 = r6\n r2 = 8\n r3 = r10\n call helper 113",
        "write of 8 bytes to the image, which is read-only: image+0x0",
    );
}

#[test]
fn probe_read_str_returns_the_length_with_the_nul() {
    for helper in [45, 115] {
        let read = |size: i32, from: i32| {
            format!(
                "*(u64 *)(r10 - 8) = -1\n r1 = r10\n r1 += -8\n r2 = {size}\n r3 = r6\n r3 += {from}\n \
                 call helper {helper}"
            )
        };
        check(&read(8, 0), "3");
        check(&read(8, 4), "8");
        check(&read(0, 4), "0");
        check(&read(8, 33), "-14");
        check(
            &(read(4, 4) + "\n r0 = *(u64 *)(r10 - 8)"),
            &0xffff_ffff_0061_6d69_u64.cast_signed().to_string(),
        );
        check(&(read(8, 100) + "\n r0 = *(u64 *)(r10 - 8)"), "0");
    }
}

#[test]
fn arrays_hash_maps_and_their_errors() {
    let lookup = |map: i32, key: i32| {
        format!(
            "*(u64 *)(r10 - 8) = {key}\n r1 = &map {map}\n r2 = r10\n r2 += -8\n call helper 1\n"
        )
    };
    let update = |map: i32, key: i32, value: i32, flags: i32| {
        format!(
            "*(u64 *)(r10 - 8) = {key}\n *(u64 *)(r10 - 16) = 0\n *(u64 *)(r10 - 24) = {value}\n \
             r1 = &map {map}\n r2 = r10\n r2 += -8\n r3 = r10\n r3 += -24\n r4 = {flags}\n call helper 2\n"
        )
    };
    let delete = |map: i32, key: i32| {
        format!(
            "*(u64 *)(r10 - 8) = {key}\n r1 = &map {map}\n r2 = r10\n r2 += -8\n call helper 3\n"
        )
    };
    let value = "if r0 == 0 goto +1\n r0 = *(u64 *)(r0 + 0)\n";
    check(&(lookup(1, 2) + value), "0");
    check(&lookup(1, 3), "0");
    check(&update(1, 3, 1, 0), "-7");
    check(&update(1, 0, 1, 1), "-17");
    check(&update(1, 0, 1, 9), "-22");
    check(&(update(1, 1, 77, 2) + &lookup(1, 1) + value), "77");
    check(&(update(1, 1, 77, 0) + &lookup(1, 0) + value), "0");
    check(&delete(1, 0), "-22");
    check(&lookup(2, 5), "0");
    check(&update(2, 5, 1, 2), "-2");
    check(&(update(2, 5, 55, 1) + &lookup(2, 5) + value), "55");
    check(&(update(2, 5, 55, 0) + &update(2, 5, 56, 1)), "-17");
    check(
        &(update(2, 5, 55, 0) + &update(2, 5, 56, 2) + &lookup(2, 5) + value),
        "56",
    );
    check(
        &(update(2, 5, 1, 0) + &update(2, 6, 2, 0) + &update(2, 7, 3, 0)),
        "-7",
    );
    check(&delete(2, 5), "-2");
    check(&(update(2, 5, 1, 0) + &delete(2, 5) + &lookup(2, 5)), "0");
    check(
        &(update(2, 5, 1, 0)
            + &lookup(2, 5)
            + "r7 = r0\n"
            + &delete(2, 5)
            + "r0 = *(u64 *)(r7 + 0)"),
        "read of 8 bytes from the value of hash, which was deleted: value of hash+0x0; \
         the value of hash was deleted by instruction 24",
    );
    check(&update(3, 0, 1, 0), "-1");
    check(
        &lookup(0, 0),
        "bpf_map_lookup_elem: map ring has no elements with keys; its type is ring buffer",
    );
    check(
        "r1 = r6\n call helper 1",
        "bpf_map_lookup_elem: image+0x0 is no map",
    );
    check(
        "r1 = &map 1\n r0 = *(u8 *)(r1 + 0)",
        "read of 1 byte from map array, which is not memory",
    );
    check(
        "r1 = &value 3 0\n *(u8 *)(r1 + 0) = 1",
        "write of 1 byte to .rodata, which is read-only: .rodata+0x0",
    );
    check(
        "r1 = &value 1 16\n *(u64 *)(r1 + 0) = 9\n"
            .to_owned()
            .as_str(),
        "0",
    );
    check(
        &("r1 = &value 1 16\n *(u32 *)(r1 + 0) = 9\n".to_owned() + &lookup(1, 1) + value),
        "9",
    );
}

#[test]
fn ring_buffers_without_a_reader() {
    let reserve = |size: i32| format!("r1 = &map 0\n r2 = {size}\n r3 = 0\n call helper 131\n");
    let end = |helper: i32| format!("r1 = r0\n r2 = 0\n call helper {helper}\n");
    // One page: 4096 bytes, 8 of them the record's header.
    for (size, there) in [(4088, true), (4089, false), (4081, true), (-1, false)] {
        let text =
            reserve(size) + "if r0 == 0 goto null\n" + &end(133) + "r0 = 1\n exit\n null:\n r0 = 0";
        check(&text, if there { "1" } else { "0" });
    }
    // A record that was discarded or submitted is not used again.
    for helper in [132, 133] {
        let text = reserve(2000) + &end(helper) + &reserve(2000) + &end(helper) + &reserve(2000);
        check(&(text + "if r0 == 0 goto +1\n r0 = 1"), "0");
    }
    check(
        &(reserve(100) + "r7 = r0\n r1 = *(u64 *)(r7 + 92)\n r7 = r1\n" + &end(132) + "r0 = r7"),
        "0",
    );
    check(
        &(reserve(8) + "r0 = 0"),
        "a ring-buffer record acquired here was not released before the program ended",
    );
    check(
        &(reserve(8) + "r7 = r0\n" + &end(132) + "r1 = r7\n call helper 133"),
        "record 1 of ring+0x0 is not a ring-buffer record that is held: it was submitted by \
         instruction 9",
    );
    check(
        &(reserve(8) + "r7 = r0\n" + &end(133) + "r0 = *(u8 *)(r7 + 1)"),
        "read of 1 byte from record 1 of ring, which was discarded: record 1 of ring+0x1; \
         record 1 of ring was discarded by instruction 9",
    );
    check(
        &(reserve(8) + "r0 = *(u8 *)(r0 + 8)"),
        "read of 1 byte passes the end of record 1 of ring: record 1 of ring+0x8; record 1 of ring ends at 0x8",
    );
    check(
        "r1 = &map 1\n r2 = 8\n r3 = 0\n call helper 131",
        "bpf_ringbuf_reserve: map array is not a ring buffer",
    );
    check("r1 = &map 0\n r2 = 8\n r3 = 1\n call helper 131", "0");
    let output =
        |size: i32| format!("r1 = &map 0\n r2 = r6\n r3 = {size}\n r4 = 0\n call helper 130\n");
    check(&output(32), "0");
    // Available data, size, consumer's and producer's position; nobody consumes here.
    for (flags, answer) in [(0, "40"), (1, "4096"), (2, "0"), (3, "40"), (4, "0")] {
        let query = format!("r1 = &map 0\n r2 = {flags}\n call helper 134");
        check(&(output(32) + &query), answer);
    }
    check(
        &(reserve(4000) + &end(132) + &output(32) + &output(32) + &output(32)),
        "-11",
    );
    check(
        &output(100),
        "read of 100 bytes passes the end of the image: image+0x0; the image ends at 0x21",
    );
}

#[test]
fn prints_as_linux_does() {
    check_print("plain", [0; 3], "plain");
    check_print("100%%", [0; 3], "100%");
    check_print("%d %i %u", [-5, -6, -7], "-5 -6 4294967289");
    check_print("%x %X %lx", [0xab, 0xab, -1], "ab AB ffffffffffffffff");
    check_print(
        "%ld %lld %llu",
        [-5, i64::MIN, -1],
        "-5 -9223372036854775808 18446744073709551615",
    );
    check_print("%d", [0x1_0000_0005, 0, 0], "5");
    check_print(
        "[%5d] [%-5d] [%05d]",
        [-42, -42, -42],
        "[  -42] [-42  ] [-0042]",
    );
    check_print("[%+d] [% d] [%08x]", [7, 7, 0xbeef], "[+7] [ 7] [0000beef]");
    check_print("%c%c%c", [65, 66, 67], "ABC");
    check_print(
        "%p %px",
        [0x10, 0x20, 0],
        "0000000000000010 0000000000000020",
    );
    check_print(
        "%pK|%pB",
        [0x10, 0x20, 0],
        "0000000000000010|0000000000000020",
    );
    check_print("none: '%s'", [0, 0, 0], "none: ''");
    for bad in [
        "%d %d %d %d",
        "%",
        "%q",
        "%5",
        "%hd",
        "%pI4",
        "%lc",
        "\u{1}",
        "caf\u{e9}",
    ] {
        check_bad_print(bad);
    }
}

#[test]
fn prints_strings_and_lines() {
    let print = "r2 = 40\n call helper 6";
    let (_, lines) = run(
        &format!("r1 = &value 3 0\n r3 = r6\n r4 = r6\n r4 += 4\n {print}"),
        "%s-%8.8s",
    );
    assert_eq!(lines, [""; 0], "precisions are refused");
    let text = format!("r1 = &value 3 0\n r3 = r6\n r4 = r6\n r4 += 27\n r5 = r6\n {print}");
    assert_eq!(run(&text, "%s|%8s|%-4s|").1, ["MZ|   tests|MZ  |"]);
    assert_eq!(run(&text, "one\ntwo %s\n").1, ["one", "two MZ"]);
    let escape = "*(u64 *)(r10 - 8) = 0x6d311b\n r1 = &value 3 0\n r3 = r10\n r3 += -8\n r2 = 5\n call helper 6";
    assert_eq!(run(escape, "> %s").1, [r"> \u{1b}1m"]);
    // The size must reach the NUL.
    let text = "r1 = &value 3 0\n r2 = 3\n call helper 6";
    assert_eq!(run(text, "long"), ("-22".to_owned(), Vec::new()));
}

#[test]
fn caps_lines_and_says_so_once() {
    let text = "r7 = 5\n loop:\n r1 = &value 3 0\n r2 = 4\n r3 = r7\n call helper 6\n r7 += -1\n \
                if r7 != 0 goto loop";
    let mut meter = Meter {
        log_lines: 2,
        ..Meter::default()
    };
    let (_, lines) = run_with(text, "%d\n", &mut meter);
    assert_eq!(
        lines,
        [
            "5",
            "4",
            "(the budget of log lines is used up; later lines are dropped)"
        ]
    );
}

#[test]
fn vprintk_and_snprintf_take_arrays() {
    let array = "*(u64 *)(r10 - 32) = 1\n *(u64 *)(r10 - 24) = 2\n *(u64 *)(r10 - 16) = 3\n \
                 *(u64 *)(r10 - 8) = 4\n r3 = r10\n r3 += -32\n";
    let print =
        |len: i32| format!("{array} r1 = &value 3 0\n r2 = 12\n r4 = {len}\n call helper 177");
    assert_eq!(run(&print(32), "%d %d %d %d").1, ["1 2 3 4"]);
    assert_eq!(run(&print(24), "%d %d %d %d").0, "-22");
    assert_eq!(run(&print(31), "%d").0, "-22");
    assert_eq!(run(&print(0), "text").1, ["text"]);
    let snprintf = |size: i32| {
        format!(
            "{array} r4 = r3\n r3 = &value 3 0\n r1 = r10\n r1 += -64\n r2 = {size}\n r5 = 16\n \
             call helper 165\n"
        )
    };
    assert_eq!(run(&snprintf(16), "<%d,%d>").0, "6");
    assert_eq!(run(&snprintf(0), "<%d,%d>").0, "6");
    let (r0, _) = run(&(snprintf(4) + "r0 = *(u64 *)(r10 - 64)"), "<%d,%d>");
    assert_eq!(r0, i64::from_le_bytes(*b"<1,\0\0\0\0\0").to_string());
}

#[test]
fn loops_call_back() {
    let text = |rounds: i32, stop: i32| {
        format!(
            "*(u64 *)(r10 - 8) = 0\n r1 = {rounds}\n r2 = &body\n r3 = r10\n r3 += -8\n r4 = 0\n \
             call helper 181\n r1 = *(u64 *)(r10 - 8)\n r0 <<= 32\n r0 |= r1\n exit\n fn body:\n \
             r3 = *(u64 *)(r2 + 0)\n r3 += r1\n *(u64 *)(r2 + 0) = r3\n r0 = 0\n if r1 != {stop} goto out\n \
             r0 = 1\n out:"
        )
    };
    check(&text(5, 100), &((5_i64 << 32) | 10).to_string());
    check(&text(5, 2), &((3_i64 << 32) | 3).to_string());
    check(&text(0, 2), "0");
    check(
        "r1 = 8388609\n r2 = 0\n r3 = 0\n r4 = 0\n call helper 181",
        "-7",
    );
    check("r1 = 1\n r2 = 0\n r3 = 0\n r4 = 1\n call helper 181", "-22");
    check(
        "r1 = 1\n r2 = 8\n r3 = 0\n r4 = 0\n call helper 181",
        "call to 0x8, which is neither a function of this program nor a helper",
    );
    let endless =
        "r1 = 8388608\n r2 = &body\n r3 = 0\n r4 = 0\n call helper 181\n exit\n fn body:\n r0 = 0";
    let mut meter = Meter {
        insns: 1000,
        ..Meter::default()
    };
    assert_eq!(
        run_with(endless, "", &mut meter).0,
        "the instruction budget is used up"
    );
    assert_eq!(meter.insns, 0);
}

#[test]
fn number_iterators() {
    let text = |start: i32, end: i32| {
        format!(
            "r7 = 0\n r1 = r10\n r1 += -8\n r2 = {start}\n r3 = {end}\n call kfunc 0\n r8 = r0\n next:\n \
             r1 = r10\n r1 += -8\n call kfunc 1\n if r0 == 0 goto done\n r0 = *(s32 *)(r0 + 0)\n \
             r7 += r0\n r8 += 100\n goto next\n done:\n r1 = r10\n r1 += -8\n call kfunc 2\n r0 = r7\n \
             r0 += r8"
        )
    };
    check(&text(3, 6), &(3 + 4 + 5 + 300).to_string());
    check(&text(-2, 1), &(300 - 3).to_string());
    check(&text(6, 6), "0");
    check(&text(7, 6), "-22");
    check(&text(0, 8_388_609), "-7");
}

#[test]
fn compares_strings() {
    let text = |other: &'static str, len: i32| {
        let text = format!("r1 = r6\n r2 = {len}\n r3 = &value 3 0\n call helper 182");
        run(&text, other).0
    };
    assert_eq!(text("MZ", 3), "0");
    assert_eq!(text("MZ", 33), "0");
    assert_eq!(text("M", 1), "0");
    assert_eq!(text("M", 2), "1");
    assert_eq!(text("MZZ", 33), "-1");
    assert_eq!(text("x", 0), "0");
}

#[test]
fn dynptrs_over_memory_and_records() {
    let ptr = |register: i32| format!("r{register} = r10\n r{register} += -16\n");
    let from_mem = |len: i32| {
        format!(
            "r1 = &value 1 0\n r2 = {len}\n r3 = 0\n {} call helper 197\n",
            ptr(4)
        )
    };
    check(&from_mem(16), "0");
    check(&from_mem(1 << 24), "-7");
    let write = |offset: i32, len: i32| {
        format!(
            "{}r2 = {offset}\n r3 = r6\n r4 = {len}\n r5 = 0\n call helper 202\n",
            ptr(1)
        )
    };
    let read = |offset: i32, len: i32| {
        let dst = "*(u64 *)(r10 - 24) = 0\n r1 = r10\n r1 += -24\n";
        format!(
            "{dst}r2 = {len}\n {}r4 = {offset}\n r5 = 0\n call helper 201\n",
            ptr(3)
        )
    };
    check(
        &(from_mem(16) + &write(4, 2) + &read(4, 8) + "r0 = *(u64 *)(r10 - 24)"),
        &0x5a4d.to_string(),
    );
    check(&(from_mem(16) + &write(15, 2)), "-7");
    check(&(from_mem(16) + &read(17, 0)), "-7");
    check(&(from_mem(1 << 24) + &read(0, 1)), "-22");
    let data =
        |offset: i32, len: i32| format!("{}r2 = {offset}\n r3 = {len}\n call helper 203\n", ptr(1));
    check(
        &(from_mem(16) + &write(0, 2) + &data(1, 1) + "r0 = *(u8 *)(r0 + 0)"),
        "90",
    );
    check(&(from_mem(16) + &data(9, 8)), "0");
    let reserve = |len: i32| {
        format!(
            "r1 = &map 0\n r2 = {len}\n r3 = 0\n {} call helper 198\n",
            ptr(4)
        )
    };
    let end = |helper: i32| format!("{}r2 = 0\n call helper {helper}\n", ptr(1));
    for helper in [199, 200] {
        check(&(reserve(64) + &write(0, 8) + &end(helper)), "0");
        // A reserve that failed has to be ended all the same.
        check(
            &(reserve(5000) + "r7 = r0\n" + &end(helper) + "r0 = r7"),
            "-22",
        );
    }
    check(
        &reserve(64),
        "a ring-buffer record acquired here was not released before the program ended",
    );
    check(
        &(from_mem(16) + &end(199)),
        "map array[0]+0x0 is not a ring-buffer record that is held",
    );
}

#[test]
fn the_clock_counts_its_calls() {
    check("call helper 5\n call helper 5\n call helper 5", "2");
}

#[test]
fn helpers_that_move_bytes_cost_instructions() {
    let mut meter = Meter::default();
    let before = meter.insns;
    let text = "r1 = &value 1 0\n r2 = 28\n r3 = r6\n call helper 113";
    assert_eq!(run_with(text, "", &mut meter).0, "0");
    assert!(
        (7..200).contains(&(before - meter.insns)),
        "{}",
        before - meter.insns
    );
}

/// The words for a price name what a run is charged.
#[test]
fn prices_in_words_are_those_that_are_charged() {
    let charged = |text: &str, own: u64| {
        let parser = verify(text).unwrap();
        let mut meter = Meter::default();
        let mut vm = Vm::new(&parser, &mut meter).unwrap();
        let memory = vec![1; 8192];
        let memory = vm.memory().add_bytes("memory", memory, true).unwrap();
        let (host, before) = (&mut TestHost::new(), meter.insns);
        vm.call(0, [memory, 0, 0, 0, 0], host, &mut meter).unwrap();
        before - meter.insns - own
    };
    let price = |number: i32| {
        let mut helpers = HELPERS.iter();
        (helpers.find(|it| it.number == number).unwrap().price)()
    };
    let copied = charged(
        "r3 = r1\n r3 += 4096\n r2 = 4096\n call helper 113\n exit",
        5,
    );
    let words = format!("copying 4 KiB of memory costs {copied};");
    assert!(price(113).contains(&words), "{copied}: {}", price(113));
    let looped = "
        fn main:
        r1 = 1000
        r2 = &nothing
        r3 = 0
        r4 = 0
        call helper 181
        exit
        fn nothing:
        r0 = 0
        exit";
    let rounds = charged(looped, 6 + 2 * 1000);
    let words = format!("1,000 rounds cost {rounds} and");
    assert!(price(181).contains(&words), "{rounds}: {}", price(181));
}
