//! The kfuncs of every host, and helpers that are about text, arguments, time
//! and locks.

use expect_test::expect;
use ukexec_bpf::Vm;
use ukexec_bpf::{AttachKind, HELPERS, Interface, KFUNCS, Meter, REFUSED};

use crate::helpers::{check, run};
use crate::rig::{TestHost, kfunc, parser, with_lines};

/// Returns a call of built-in kfunc `name`.
fn call(name: &str) -> String {
    let place = KFUNCS.iter().position(|kfunc| kfunc.name == name);
    format!("call kfunc {}\n", place.unwrap_or_else(|| panic!("{name}")))
}

/// Calls a string kfunc with two texts (or a text and a number) in `.rodata`.
#[track_caller]
fn check_text(name: &str, texts: &'static str, [two, three]: [&str; 2], expected: i64) {
    let text = format!(
        "r1 = &value 3 0\n {} {} {}",
        if two.is_empty() {
            String::new()
        } else {
            format!("r2 = {two}\n")
        },
        if three.is_empty() {
            String::new()
        } else {
            format!("r3 = {three}\n")
        },
        call(name)
    );
    // An `int` fills half a register.
    let (r0, _) = run(&(text + "r0 = (s32)r0"), texts);
    assert_eq!(r0, expected.to_string(), "{name} {texts:?} {two} {three}");
}

#[test]
fn strings_are_compared() {
    let compare = |texts, second: i32, expected| {
        let second = format!("&value 3 {second}");
        check_text("bpf_strcmp", texts, [&second, ""], expected);
    };
    compare("abc\0abc", 4, 0);
    compare("abc\0abd", 4, -1);
    compare("abd\0abc", 4, 1);
    compare("ab\0abc", 3, -1);
    compare("\0\0", 1, 0);
    check_text("bpf_strcmp", "abc", ["0", ""], -34);
    check_text("bpf_strcmp", "abc", ["&map 1", ""], -14);
}

#[test]
fn characters_are_found() {
    for (name, byte, expected) in [
        ("bpf_strchr", "98", 1),
        ("bpf_strchr", "120", -2),
        ("bpf_strchr", "0", 4),
        ("bpf_strchrnul", "98", 1),
        ("bpf_strchrnul", "120", 4),
        ("bpf_strrchr", "98", 3),
        ("bpf_strrchr", "120", -2),
        ("bpf_strrchr", "0", 4),
    ] {
        check_text(name, "abcb", [byte, ""], expected);
    }
    check_text("bpf_strnchr", "abcb", ["3", "99"], 2);
    check_text("bpf_strnchr", "abcb", ["2", "99"], -2);
    check_text("bpf_strnchr", "abcb", ["9", "120"], -2);
}

#[test]
fn lengths_and_spans() {
    check_text("bpf_strlen", "abcb", ["", ""], 4);
    check_text("bpf_strlen", "", ["", ""], 0);
    check_text("bpf_strnlen", "abcb", ["3", ""], 3);
    check_text("bpf_strnlen", "abcb", ["9", ""], 4);
    check_text("bpf_strspn", "abcx\0cba", ["&value 3 5", ""], 3);
    check_text("bpf_strspn", "abc\0cba", ["&value 3 4", ""], 3);
    check_text("bpf_strcspn", "abcx\0yx", ["&value 3 5", ""], 3);
    check_text("bpf_strcspn", "abc\0yx", ["&value 3 4", ""], 3);
    check_text("bpf_strspn", "\0x", ["&map 1", ""], 0);
    check_text("bpf_strspn", "a\0x", ["&map 1", ""], -14);
}

#[test]
fn strings_are_found_in_strings() {
    let find = |texts, wanted: i32, expected| {
        let wanted = format!("&value 3 {wanted}");
        check_text("bpf_strstr", texts, [&wanted, ""], expected);
    };
    find("xabab\0abab", 6, 1);
    find("aaab\0aab", 5, 1);
    find("abc\0abd", 4, -2);
    find("abc\0", 4, 0);
    // Bytes above 0x7f are bytes.
    find("\u{e9}\u{e8}\0\u{e8}", 5, 2);
    let within = |len, expected| {
        check_text("bpf_strnstr", "xyabc\0abc", ["&value 3 6", len], expected);
    };
    within("5", 2);
    within("4", -2);
    within("0", -2);
}

#[test]
fn long_and_open_strings() {
    // 70,000 bytes without a NUL: too long; the end of memory: a fault.
    let mut parser = parser(&format!("{} exit", call("bpf_strlen")));
    parser.kfuncs = (Interface::BUILT_IN..)
        .zip(KFUNCS)
        .map(|(number, own)| kfunc(own.name, Some(number)))
        .collect();
    let parser = parser.verify().unwrap();
    for (len, expected) in [(70_000, -7_i64), (65_536, -7), (65_535, -14), (0, -14)] {
        let mut meter = Meter::default();
        let mut vm = Vm::new(&parser, &mut meter).unwrap();
        let text = vm
            .memory()
            .add_bytes("text", vec![b'x'; len], false)
            .unwrap();
        let r0 = vm.call(0, [text, 0, 0, 0, 0], &mut TestHost::new(), &mut meter);
        assert_eq!(r0.unwrap().cast_signed(), expected, "{len}");
        assert!(meter.insns < Meter::default().insns - len as u64 / 64);
    }
}

#[test]
fn numbers_are_read() {
    let check_number = |text: &'static str, helper: i32, base: i32, expected: (i64, i64)| {
        let read = |what: &str| {
            let text_of = format!(
                "r1 = &value 3 0\n r2 = {}\n r3 = {base}\n r4 = r10\n r4 += -8\n call helper {helper}\n {what}",
                text.len()
            );
            run(&text_of, text).0.parse::<i64>().unwrap()
        };
        let found = (read(""), read("r0 = *(u64 *)(r10 - 8)"));
        assert_eq!(found, expected, "{text:?} base {base}");
    };
    for (text, base, expected) in [
        ("123", 0, (3, 123)),
        ("  -42 x", 10, (5, -42)),
        ("0x1fz", 0, (4, 0x1f)),
        ("0x1f", 16, (4, 0x1f)),
        ("017", 0, (3, 0o17)),
        ("0xg", 0, (1, 0)),
        ("1f", 16, (2, 0x1f)),
        ("9223372036854775807", 0, (19, i64::MAX)),
        ("-9223372036854775808", 0, (20, i64::MIN)),
        ("9223372036854775808", 0, (-34, 0)),
        ("99999999999999999999", 0, (-34, 0)),
        ("", 0, (-22, 0)),
        ("x", 0, (-22, 0)),
        ("-", 0, (-22, 0)),
        ("1", 7, (-22, 0)),
        ("1", 32, (-22, 0)),
    ] {
        check_number(text, 105, base, expected);
    }
    check_number("18446744073709551615", 106, 0, (20, -1));
    check_number("-1", 106, 0, (-22, 0));
    check_number("18446744073709551616", 106, 0, (-34, 0));
}

/// A dynptr over the 16 first bytes of the array, at r10 - 16; then `text`.
fn on_dynptr(text: &str) -> String {
    format!("r1 = &value 1 0\n r2 = 16\n r3 = 0\n r4 = r10\n r4 += -16\n call helper 197\n {text}")
}

fn with_ptr(name: &str, arguments: &str) -> String {
    format!("r1 = r10\n r1 += -16\n {arguments}\n {}", call(name))
}

#[test]
fn dynptrs_are_sliced_and_adjusted() {
    let slice = |name, offset: i32, len: i32| {
        let arguments = format!("r2 = {offset}\n r3 = 0\n r4 = {len}");
        with_ptr(name, &arguments)
    };
    for name in ["bpf_dynptr_slice", "bpf_dynptr_slice_rdwr"] {
        check(&on_dynptr(&slice(name, 17, 0)), "0");
        check(&on_dynptr(&slice(name, 8, 9)), "0");
        let write =
            slice(name, 4, 4) + "*(u32 *)(r0 + 0) = 9\n r1 = &value 1 4\n r0 = *(u32 *)(r1 + 0)";
        check(&on_dynptr(&write), "9");
    }
    let size = with_ptr("bpf_dynptr_size", "");
    let adjust =
        |start: i32, end: i32| with_ptr("bpf_dynptr_adjust", &format!("r2 = {start}\n r3 = {end}"));
    check(&on_dynptr(&size), "16");
    check(&on_dynptr(&adjust(4, 12)), "0");
    check(&on_dynptr(&(adjust(4, 12) + &size)), "8");
    check(
        &on_dynptr(&(adjust(4, 12) + &slice("bpf_dynptr_slice", 8, 1))),
        "0",
    );
    check(&on_dynptr(&adjust(5, 4)), "-22");
    check(&on_dynptr(&adjust(4, 17)), "-34");
    // An empty place on the stack is a null dynptr.
    check(&adjust(0, 0), "-22");
    check(&size, "4294967274");
    check(&with_ptr("bpf_dynptr_is_null", ""), "1");
    check(&on_dynptr(&with_ptr("bpf_dynptr_is_null", "")), "0");
    check(&on_dynptr(&with_ptr("bpf_dynptr_is_rdonly", "")), "0");
    check(&with_ptr("bpf_dynptr_is_rdonly", ""), "0");
}

#[test]
fn read_only_dynptrs_stay_so() {
    let constant = |text: String| {
        let made = "r1 = &value 3 0\n r2 = 4\n r3 = 0\n r4 = r10\n r4 += -16\n call helper 197\n";
        run(&(made.to_owned() + &text), "text").0
    };
    assert_eq!(constant(with_ptr("bpf_dynptr_is_rdonly", "")), "1");
    let slice = |name| with_ptr(name, "r2 = 0\n r3 = 0\n r4 = 4");
    assert_eq!(constant(slice("bpf_dynptr_slice_rdwr")), "0");
    let read = slice("bpf_dynptr_slice") + "r0 = *(u8 *)(r0 + 0)";
    assert_eq!(constant(read), u32::from('t').to_string());
    assert_eq!(
        constant(with_ptr("bpf_dynptr_memset", "r2 = 0\n r3 = 1\n r4 = 1")),
        "-22"
    );
}

#[test]
fn dynptrs_are_cloned_copied_and_filled() {
    let clone = with_ptr("bpf_dynptr_clone", "r2 = r10\n r2 += -32");
    check(&clone, "-22");
    check(&on_dynptr(&clone), "0");
    let copy = |to: i32, from: i32, len: i32| {
        let arguments = format!("r2 = {to}\n r3 = r10\n r3 += -32\n r4 = {from}\n r5 = {len}");
        with_ptr("bpf_dynptr_copy", &arguments)
    };
    let two = "r1 = &value 1 0\n *(u32 *)(r1 + 0) = 0x04030201\n".to_owned() + &clone;
    check(&on_dynptr(&(two.clone() + &copy(8, 1, 2))), "0");
    let read = "r1 = &value 1 0\n r0 = *(u32 *)(r1 + 8)";
    check(
        &on_dynptr(&(two.clone() + &copy(8, 1, 2) + read)),
        &0x0302.to_string(),
    );
    check(&on_dynptr(&(two + &copy(15, 0, 2))), "-7");
    check(&on_dynptr(&copy(0, 0, 1)), "-22");
    let fill = |offset: i32, len: i32, value: i32| {
        with_ptr(
            "bpf_dynptr_memset",
            &format!("r2 = {offset}\n r3 = {len}\n r4 = {value}"),
        )
    };
    check(
        &on_dynptr(&(fill(8, 3, 0x1ab) + read)),
        &0xab_abab.to_string(),
    );
    check(
        &on_dynptr(&(fill(8, 4, 1) + &fill(9, 1, 0) + read)),
        &0x0101_0001.to_string(),
    );
    check(&on_dynptr(&fill(15, 2, 1)), "-7");
    check(&fill(0, 0, 1), "-22");
}

#[test]
fn an_adjusted_record_is_still_the_record() {
    let reserve = "r1 = &map 0\n r2 = 64\n r3 = 0\n r4 = r10\n r4 += -16\n call helper 198\n";
    let adjust = with_ptr("bpf_dynptr_adjust", "r2 = 8\n r3 = 16");
    let submit = "r1 = r10\n r1 += -16\n r2 = 0\n call helper 199\n r0 = 0";
    check(&(reserve.to_owned() + &adjust + submit), "0");
}

#[test]
fn locks_are_counted() {
    for (take, give) in [
        ("bpf_rcu_read_lock", "bpf_rcu_read_unlock"),
        ("bpf_preempt_disable", "bpf_preempt_enable"),
    ] {
        let (lock, unlock) = (call(take), call(give));
        check(&(lock.clone() + &lock + &unlock + &unlock + "r0 = 3"), "3");
        check(
            &(unlock.clone() + "r0 = 3"),
            &format!("{give}: no call of {take} is open"),
        );
        check(
            &(lock.clone() + &lock + &unlock + "r0 = 3"),
            &format!("{take} was called here, and {give} was not before the program ended"),
        );
    }
}

#[test]
fn a_cast_is_the_pointer_itself() {
    let cast = "r1 = r6\n r2 = 0\n".to_owned() + &call("bpf_rdonly_cast");
    check(&(cast + "r0 = *(u8 *)(r0 + 0)"), "77");
}

#[test]
fn hooks_arguments_are_found_through_the_context() {
    let run = |text: &str, attach, args: &[u64]| {
        let mut parser = parser(text);
        parser.programs[0].attach = attach;
        let mut meter = Meter::default();
        let mut vm = Vm::new(&parser.verify().unwrap(), &mut meter).unwrap();
        let r0 = vm.run(0, args, &mut TestHost::new(), &mut meter);
        r0.unwrap().cast_signed()
    };
    let (entry, modify) = (AttachKind::Fentry, AttachKind::FmodRet);
    let count = "call helper 185\n exit";
    assert_eq!(run(count, entry, &[7, 8]), 2);
    assert_eq!(run(count, modify, &[7, 8]), 1);
    let read = "r0 += r6\n exit".replace("r6", "r1");
    let argument = |index: i32| {
        format!(
            "*(u64 *)(r10 - 8) = 0\n r2 = {index}\n r3 = r10\n r3 += -8\n call helper 183\n \
             r1 = *(u64 *)(r10 - 8)\n {read}"
        )
    };
    assert_eq!(run(&argument(1), entry, &[7, 8]), 8);
    assert_eq!(run(&argument(2), entry, &[7, 8]), -22);
    assert_eq!(run(&argument(1), modify, &[7, 8]), -22);
    let previous = format!(
        "*(u64 *)(r10 - 8) = 0\n r2 = r10\n r2 += -8\n call helper 184\n r1 = *(u64 *)(r10 - 8)\n {read}"
    );
    assert_eq!(run(&previous, modify, &[7, 8]), 8);
    assert_eq!(run(&previous, entry, &[7, 8]), -95);
}

#[test]
fn chance_and_time_are_the_same_in_every_run() {
    let draw = "call helper 7\n r7 = r0\n call helper 7\n r7 <<= 32\n r0 |= r7";
    let (first, _) = run(draw, "");
    assert_eq!(first, run(draw, "").0);
    assert_ne!(first, run("call helper 7", "").0);
    for clock in [5, 118, 125, 160, 208] {
        check(
            &format!("call helper 5\n call helper 5\n call helper {clock}"),
            "2",
        );
    }
    check("call helper 42", "0");
}

#[test]
fn there_is_no_user_memory() {
    for helper in [112, 114, 148] {
        check(
            &format!(
                "*(u64 *)(r10 - 8) = -1\n r1 = r10\n r1 += -8\n r2 = 8\n r3 = 4096\n call helper {helper}\n \
                 r1 = *(u64 *)(r10 - 8)\n r0 += r1"
            ),
            "-14",
        );
        check(
            &format!("r1 = r10\n r2 = 0\n r3 = 4096\n call helper {helper}"),
            "0",
        );
    }
}

#[test]
fn no_function_is_both_offered_and_refused() {
    for refused in REFUSED {
        let taken = HELPERS
            .iter()
            .chain(KFUNCS)
            .any(|own| own.name == refused.name);
        assert!(!taken, "{refused:?}");
        assert!(refused.name.starts_with("bpf_") && !refused.reason.is_empty());
        let helpers = REFUSED.iter().filter(|other| other.name == refused.name);
        assert_eq!(helpers.count(), 1, "{refused:?}");
    }
}

#[test]
fn a_missing_kfunc_of_linux_says_why() {
    let mut parser = with_lines(parser("call kfunc 0\n exit"));
    parser.kfuncs.push(kfunc("bpf_obj_new_impl", None));
    let mut meter = Meter::default();
    let mut vm = Vm::new(&parser.verify().unwrap(), &mut meter).unwrap();
    let error = vm
        .run(0, &[], &mut TestHost::new(), &mut meter)
        .unwrap_err();
    expect!["test.bpf.c:101 in main, insn 0: kfunc bpf_obj_new_impl is not offered by this loader (parsers have no heap, and thus no lists and trees on it; use maps); test it with `bpf_ksym_exists(bpf_obj_new_impl)` before the call"]
    .assert_eq(&error.to_string());
}

#[test]
fn long_searches_are_paid_for_and_soon_over() {
    // The worst case of a naive search: 64 KiB of `a` for 32 KiB of `a` and `b`.
    let search = format!(
        "loop:\n r1 = r6\n r2 = r7\n {} goto loop",
        call("bpf_strstr")
    );
    let mut parser = parser(&format!("r6 = r1\n r7 = r2\n {search}"));
    parser.kfuncs = (Interface::BUILT_IN..)
        .zip(KFUNCS)
        .map(|(number, own)| kfunc(own.name, Some(number)))
        .collect();
    let mut meter = Meter::default();
    let mut vm = Vm::new(&parser.verify().unwrap(), &mut meter).unwrap();
    let mut add = |len: usize, end: &[u8]| {
        let text = [&vec![b'a'; len], end].concat();
        vm.memory().add_bytes("text", text, false).unwrap()
    };
    let (text, wanted) = (add(65_000, b"\0"), add(32_000, b"b\0"));
    let start = std::time::Instant::now();
    let error = vm.call(0, [text, wanted, 0, 0, 0], &mut TestHost::new(), &mut meter);
    let error = error.unwrap_err().to_string();
    assert!(
        error.ends_with("the instruction budget is used up"),
        "{error}"
    );
    // Far more than it takes, since tests share the machine with others.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
