//! The commands for authors of parsers, on the parsers that come with ukexec.

use std::fs;

use expect_test::{Expect, expect};

use crate::images::{GZIP, zboot};
use crate::{run, workspace};

/// Runs `ukexec parser` with `args` in a folder with the committed parsers and
/// two images, and compares its exit code and both streams.
fn check(args: &[&str], code: i32, expected: Expect) {
    let dir = folder();
    crate::check(dir.path(), &[&["parser"], args].concat(), code, expected);
}

pub(crate) fn folder() -> tempfile::TempDir {
    let dir = crate::folder(&[
        ("vmlinuz.efi", &zboot(GZIP)),
        ("cut.efi", &zboot(&GZIP[..16])),
        ("short.img", b"not much"),
    ]);
    for (folder, name) in [
        ("crates/unfold/parsers", "zboot.bpf.o"),
        ("crates/unfold/parsers", "zboot.match.bpf.o"),
        ("crates/bpf/testdata/objects", "refused-hook.bpf.o"),
        ("crates/bpf/testdata/objects", "refused-kfunc.bpf.o"),
    ] {
        fs::copy(workspace(folder).join(name), dir.path().join(name)).expect("a parser");
    }
    dir
}

#[test]
fn a_run_tells_hand_overs_and_results() {
    let args = ["run", "zboot.match.bpf.o", "--image", "vmlinuz.efi"];
    check(
        &args,
        0,
        expect![[r#"
            program match_image, hook ukexec_match_image
              returned 1
            program parse_pe, hook bpf_handle_pefile
              hand-over: kernel, 6 bytes
              returned 0
            program post_parse_pe, hook bpf_post_handle_pefile
              returned 0
            vmlinuz.efi   stage 1 by zboot.match.bpf.o, given, 10773 instructions
              match       yes: chosen for such images
              boots       6 bytes, not a kernel but text
              initrd      not handed over
              cmdline     not handed over
            --
        "#]],
    );
}

#[test]
fn a_run_that_fails_tells_why() {
    let args = ["run", "zboot.bpf.o", "--image", "cut.efi"];
    check(
        &args,
        1,
        expect![[r#"
            program parse_pe, hook bpf_handle_pefile
              failed: bpf_decompress at ./parsers/unpack.h:38 in parse_pe, insn 137: NULL (record 1 of
                ringbuf_1+0x0, 16 bytes): the payload cannot be decompressed: the gzip stream is cut short: the
                input ends at offset 0x10 and the data go on; check the payload's size in the image's header
              | zboot: payload at 0x1000 of 0x10 bytes: expected a whole gzip stream, it does not decompress
              returned 0
            --
            error: no kernel was handed over
              --> cut.efi, stage 1, zboot.bpf.o (given)
                 = failed: bpf_decompress: the payload cannot be decompressed: the gzip stream is cut short:
                   the input ends at offset 0x10 and the data go on; check the payload's size in the image's
                   header
                 = printed: zboot: payload at 0x1000 of 0x10 bytes: expected a whole gzip stream, it does not
                   decompress
        "#]],
    );
}

#[test]
fn a_run_can_be_told_as_a_document() {
    let run = ["run", "zboot.match.bpf.o", "--json", "--image"];
    check(
        &[&run[..], &["vmlinuz.efi"]].concat(),
        0,
        expect![[r#"
            {
              "schema": 1,
              "match": true,
              "stage": {
                "stage": 1,
                "layer": "vmlinuz.efi",
                "parser": {
                  "name": "zboot.match.bpf.o",
                  "origin": "given"
                },
                "abi": "v5",
                "programs": [
                  {
                    "name": "parse_pe",
                    "hook": "bpf_handle_pefile",
                    "insns": 10771
                  },
                  {
                    "name": "post_parse_pe",
                    "hook": "bpf_post_handle_pefile",
                    "insns": 2
                  }
                ],
                "insns": 10773,
                "handed_over": [
                  {
                    "resource": "kernel",
                    "size": 6
                  }
                ],
                "profile": null,
                "log": []
              },
              "kernel": {
                "not_a_kernel": "not a kernel but text",
                "size": 6
              },
              "initrd": null,
              "cmdline": null,
              "warnings": [],
              "failed_calls": [],
              "more_failed_calls": 0
            }
            --
        "#]],
    );
    check(
        &[&run[..], &["cut.efi"]].concat(),
        1,
        expect![[r#"
            {
              "schema": 1,
              "error": {
                "kind": "format",
                "message": "cut.efi: stage 1 (zboot.match.bpf.o, given): no kernel was handed over",
                "errno": null,
                "place": {
                  "layer": "cut.efi",
                  "stage": 1,
                  "parser": "zboot.match.bpf.o (given)",
                  "hook": null,
                  "program": null,
                  "function": null,
                  "insn": null,
                  "file": null,
                  "line": null,
                  "source": null,
                  "address": null,
                  "offset": null
                },
                "summary": "no kernel was handed over",
                "notes": [
                  "failed: bpf_decompress: the payload cannot be decompressed: the gzip stream is cut short: the input ends at offset 0x10 and the data go on; check the payload's size in the image's header",
                  "printed: zboot: payload at 0x1000 of 0x10 bytes: expected a whole gzip stream, it does not decompress"
                ]
              },
              "failed_calls": [
                {
                  "callee": "bpf_decompress",
                  "program": "parse_pe",
                  "function": "parse_pe",
                  "insn": 137,
                  "file": "./parsers/unpack.h",
                  "line": 38,
                  "answer": "NULL",
                  "reason": "the payload cannot be decompressed: the gzip stream is cut short: the input ends at offset 0x10 and the data go on; check the payload's size in the image's header",
                  "address": "record 1 of ringbuf_1+0x0",
                  "len": 16,
                  "args": [
                    {
                      "name": "payload",
                      "value": "0x1800000000",
                      "place": "record 1 of ringbuf_1+0x0"
                    },
                    {
                      "name": "size",
                      "value": "0x10",
                      "place": null
                    }
                  ],
                  "count": 1
                }
              ],
              "more_failed_calls": 0
            }
            --
            error: no kernel was handed over
              --> cut.efi, stage 1, zboot.match.bpf.o (given)
                 = failed: bpf_decompress: the payload cannot be decompressed: the gzip stream is cut short:
                   the input ends at offset 0x10 and the data go on; check the payload's size in the image's
                   header
                 = printed: zboot: payload at 0x1000 of 0x10 bytes: expected a whole gzip stream, it does not
                   decompress
        "#]],
    );
    let with_trace = [&run[..], &["vmlinuz.efi", "--trace"]].concat();
    check(
        &with_trace,
        2,
        expect![[r#"
            --
            error: --json and the trace cannot both write to stdout; add --trace=FILE

            Usage: ukexec parser run [OPTIONS] --image <IMAGE> <FILE>

            For more information, try '--help'.
        "#]],
    );
}

#[test]
fn a_trace_tells_every_instruction() {
    let args = ["run", "zboot.bpf.o", "--image", "short.img", "--trace"];
    check(
        &args,
        1,
        expect![[r#"
            program parse_pe, hook bpf_handle_pefile
            ; ./parsers/zboot.bpf.c:106: UKEXEC_PARSE(parse_pe, ctx)
                 0: r6 = 0x10                                r6=0x10 ; struct kexec_context.image_sz
                 1: r8 = *(u64 *)(r1 + 0x0)                  r8=context+0x0 [read 8 at argument list+0x0: context+0x0]
            ; ./parsers/zboot.bpf.c:62: return ukexec_image_sz(ctx) >= (int)sizeof(*header) &&
                 2: r1 = *(u32 *)(r8 + 0x10)                 r1=0x8 [read 4 at context+0x10: 0x8] ; struct kexec_context.image_sz
                 3: if w1 s< 0x40 goto L1
            ; ./parsers/zboot.bpf.c:111: if (!read_header(&header, ctx)) {
                10: r8 += r6                                 r8=context+0x10
            ; ./parsers/zboot.bpf.c:112: bpf_printk("zboot: header: expected 64 bytes, found an image of %d", ukexec_image_sz(ctx));
                11: r3 = *(u32 *)(r8 + 0x0)                  r3=0x8 [read 4 at context+0x10: 0x8]
                12: r1 = .rodata + 0x4 ll                    r1=.rodata+0x4
                14: w2 = 0x37                                r2=0x37
                15: call bpf_trace_printk#6
                      bpf_trace_printk(fmt=.rodata+0x4, fmt_size=0x37, arg3=0x8, arg4=0x0, arg5=0x0)
                      log: zboot: header: expected 64 bytes, found an image of 8
                      bpf_trace_printk = 0x35
            ; ./parsers/zboot.bpf.c:106: UKEXEC_PARSE(parse_pe, ctx)
                16: w0 = 0x0                                 r0=0x0
                17: exit
            program parse_pe returned 0
            --
            error: no kernel was handed over
              --> short.img, stage 1, zboot.bpf.o (given)
                 = printed: zboot: header: expected 64 bytes, found an image of 8
        "#]],
    );
}

#[test]
fn a_trace_in_a_file_is_json_lines() {
    let dir = folder();
    let image = "--image=vmlinuz.efi";
    let args = ["parser", "run", "zboot.bpf.o", image, "--trace=run.jsonl"];
    assert!(run(dir.path(), &args).status.success());
    let text = fs::read_to_string(dir.path().join("run.jsonl")).expect("a trace");
    let events: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a document in each line"))
        .collect();
    let of = |kind: &str| {
        let found = events.iter().filter(|event| event["event"] == kind);
        found.map(|event| format!("{event}\n")).collect::<Vec<_>>()
    };
    expect![[r#"
        {"event":"begin","program":"parse_pe","hook":"bpf_handle_pefile"}
        {"event":"begin","program":"post_parse_pe","hook":"bpf_post_handle_pefile"}
        {"event":"hand_over","resource":"kernel","size":6}
        {"event":"end","program":"parse_pe","hook":"bpf_handle_pefile","r0":"0x0"}
        {"event":"end","program":"post_parse_pe","hook":"bpf_post_handle_pefile","r0":"0x0"}
    "#]]
    .assert_eq(&[of("begin"), of("hand_over"), of("end")].concat().concat());
    expect![[r#"
        {"event":"insn","program":"parse_pe","function":"parse_pe","insn":0,"file":"./parsers/zboot.bpf.c","line":106,"text":"r6 = 0x10","note":"struct kexec_context.image_sz","depth":1,"registers":{"r6":{"value":"0x10","place":null}}}
        {"event":"insn","program":"parse_pe","function":"parse_pe","insn":1,"file":"./parsers/zboot.bpf.c","line":106,"text":"r8 = *(u64 *)(r1 + 0x0)","note":null,"depth":1,"registers":{"r8":{"value":"0x1600000000","place":"context+0x0"}},"memory":{"value":"0x1700000000","place":"argument list+0x0","access":"read","len":8,"content":"0x1600000000"}}
        {"event":"insn","program":"parse_pe","function":"parse_pe","insn":2,"file":"./parsers/zboot.bpf.c","line":62,"text":"r1 = *(u32 *)(r8 + 0x10)","note":"struct kexec_context.image_sz","depth":1,"registers":{"r1":{"value":"0x2000","place":null}},"memory":{"value":"0x1600000010","place":"context+0x10","access":"read","len":4,"content":"0x2000"}}
    "#]].assert_eq(&of("insn")[..3].concat());
    expect![[r#"
        {"event":"call","program":"parse_pe","function":"parse_pe","insn":8,"file":"./parsers/zboot.bpf.c","line":63,"callee":"bpf_probe_read_kernel","args":[{"name":"dst","value":"0x1000001c0","place":"stack-0x40"},{"name":"size","value":"0x40","place":null},{"name":"src","value":"0x1500000000","place":"image+0x0"}]}
        {"event":"return","callee":"bpf_probe_read_kernel","value":"0x0","place":null}
    "#]].assert_eq(&[&of("call")[..1], &of("return")[..1]].concat().concat());
}

#[test]
fn a_listing_has_source_lines_labels_and_fields() {
    let args = ["disasm", "zboot.match.bpf.o", "--program", "match_image"];
    check(
        &args,
        0,
        expect![[r#"
            program match_image, section fmod_ret.s/ukexec_match_image, 21 instructions

            match_image:
            ; ./parsers/zboot.bpf.c:135: UKEXEC_MATCH(match_image, ctx)
                 0: w6 = 0x0
                 1: r1 = *(u64 *)(r1 + 0x0)
            ; ./parsers/zboot.bpf.c:62: return ukexec_image_sz(ctx) >= (int)sizeof(*header) &&
                 2: r2 = *(u32 *)(r1 + 0x10)                 ; struct kexec_context.image_sz
                 3: if w2 s< 0x40 goto L3
            ; ./parsers/zboot.bpf.c:63: !bpf_probe_read_kernel(header, sizeof(*header), ukexec_image(ctx));
                 4: r3 = *(u64 *)(r1 + 0x8)                  ; struct kexec_context.image
                 5: r1 = r10
                 6: r1 += -0x40
                 7: w2 = 0x40
                 8: call bpf_probe_read_kernel#113
            ; ./parsers/zboot.bpf.c:139: return read_header(&header, ctx) && is_zboot(&header);
                 9: if r0 != 0x0 goto L3
                10: w1 = 0x1
            ; ./parsers/zboot.bpf.c:68: return header->mz == MZ && header->zimg == ZIMG;
                11: r2 = *(u16 *)(r10 - 0x40)
                12: w6 = 0x1
                13: if w2 == 0x5a4d goto L1
                14: w6 = 0x0
            L1:
                15: r2 = *(u32 *)(r10 - 0x3c)
                16: if w2 == 0x676d697a goto L2
                17: w1 = 0x0
            L2:
                18: w6 &= w1
            L3:
            ; ./parsers/zboot.bpf.c:135: UKEXEC_MATCH(match_image, ctx)
                19: w0 = w6
                20: exit
            --
        "#]],
    );
}

#[test]
fn a_listing_can_have_the_bytes() {
    let args = [
        "disasm",
        "zboot.bpf.o",
        "--program",
        "post_parse_pe",
        "--bytes",
    ];
    check(
        &args,
        0,
        expect![[r#"
            program post_parse_pe, section fentry.s/bpf_post_handle_pefile, 2 instructions

            post_parse_pe:
            ; ./parsers/zboot.bpf.c:128: UKEXEC_POST(post_parse_pe, ctx)
                 0: b4 00 00 00 00 00 00 00                          w0 = 0x0
                 1: 95 00 00 00 00 00 00 00                          exit
            --
        "#]],
    );
}

#[test]
fn a_program_that_is_not_there_is_answered_with_those_that_are() {
    let args = ["disasm", "zboot.bpf.o", "--program", "parse"];
    check(
        &args,
        1,
        expect![[r#"
        --
        ukexec: zboot.bpf.o: no program is called parse; there are parse_pe, post_parse_pe
    "#]],
    );
}

/// Names are those of files and of functions in C; nothing is overwritten.
#[test]
fn a_new_parser_is_complete_or_not_there() {
    let dir = crate::folder(&[("taken", b"precious")]);
    let longest = "x".repeat(64);
    for name in ["box", "box-2_b", "3d", "int", "_", &longest] {
        let output = run(dir.path(), &["parser", "new", name]);
        assert!(output.status.success(), "{output:?}");
        let folder = dir.path().join(name);
        let read = |file: &str| fs::read_to_string(folder.join(file)).expect("a file");
        let headers = workspace("parsers/include/ukexec");
        for header in ["parser.h", "linux_check.h"] {
            let author = fs::read_to_string(headers.join(header)).expect("a header");
            assert_eq!(read(header), author);
        }
        let source = read(&format!("{name}.bpf.c"));
        assert!(source.contains(&format!("_Bool is_{}(", name.replace('-', "_"))));
        for file in [source, read("Makefile"), read("README.md")] {
            assert!(!file.contains('@') || file.contains("$@"), "{file}");
        }
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 5);
    }
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).expect("a link");
    fs::create_dir(dir.path().join("empty")).expect("a folder");
    let entries = || fs::read_dir(dir.path()).expect("it is there").count();
    let before = entries();
    for name in ["taken", "link", "empty", "box"] {
        let output = run(dir.path(), &["parser", "new", name]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    for name in [
        "",
        "a/b",
        ".",
        "..",
        "a.b",
        "a b",
        "\u{e9}",
        "--",
        &"x".repeat(65),
    ] {
        let output = run(dir.path(), &["parser", "new", "--", name]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert_eq!(entries(), before);
    let taken = fs::read(dir.path().join("taken")).expect("it is there");
    assert_eq!(taken, b"precious");
}

#[test]
fn a_refusal_is_told_with_its_place() {
    check(
        &["check", "refused-kfunc.bpf.o", "--json"],
        1,
        expect![[r#"
            {
              "schema": 1,
              "error": {
                "kind": "failed",
                "message": "refused-kfunc.bpf.o: this loader refuses the parser: ./refused.bpf.c:25 in program (section fentry.s/bpf_handle_pefile), insn 1: kfunc bpf_missing is not offered by this loader; offered: bpf_copy_to_kernel, bpf_decompress, bpf_mem_range_result_put, bpf_get_parser_context, bpf_put_parser_context, bpf_buffer_parser",
                "errno": null,
                "place": {
                  "layer": null,
                  "stage": null,
                  "parser": null,
                  "hook": null,
                  "program": null,
                  "function": null,
                  "insn": null,
                  "file": null,
                  "line": null,
                  "source": null,
                  "address": null,
                  "offset": null
                },
                "summary": null,
                "notes": [],
                "reasons": [
                  {
                    "message": "./refused.bpf.c:25 in program (section fentry.s/bpf_handle_pefile), insn 1: kfunc bpf_missing is not offered by this loader; offered: bpf_copy_to_kernel, bpf_decompress, bpf_mem_range_result_put, bpf_get_parser_context, bpf_put_parser_context, bpf_buffer_parser",
                    "program": "program",
                    "section": "fentry.s/bpf_handle_pefile",
                    "function": "program",
                    "insn": 1,
                    "file": "./refused.bpf.c",
                    "line": 25
                  }
                ]
              }
            }
            --
            error: kfunc bpf_missing is not offered by this loader; offered: bpf_copy_to_kernel,
                   bpf_decompress, bpf_mem_range_result_put, bpf_get_parser_context, bpf_put_parser_context,
                   bpf_buffer_parser
              --> ./refused.bpf.c:25 in program
              25 |     SEC(HOOK) int program(u64 *args) { return bpf_missing(1); }
                 = instruction 1 of section fentry.s/bpf_handle_pefile
            ukexec: refused-kfunc.bpf.o: this loader refuses the parser
        "#]],
    );
}
