//! Files that are kernels with a fault, and files that are none: what they are
//! called, and that nothing is copied for what is refused.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::images::{kernel, put};
use crate::{folder, pipe, run, with_stdin};

/// Inspects the file `image`, and compares stdout and stderr.
fn check(image: &[u8], expected: Expect) {
    let dir = folder(&[("image", image)]);
    // No verdict, so that the test does not depend on the machine's keys.
    let args = ["inspect", "--verify=off", "image"];
    crate::check(dir.path(), &args, 0, expected);
}

/// Returns a bzImage of this protocol and with these `xloadflags`, 2 KiB of it.
fn bzimage(protocol: u16, xloadflags: u16) -> Vec<u8> {
    let mut image = kernel();
    image.resize(0x800, 0);
    put(&mut image, 0x1f4, &0x40_u32.to_le_bytes());
    put(&mut image, 0x206, &protocol.to_le_bytes());
    put(&mut image, 0x236, &xloadflags.to_le_bytes());
    let version = "6.6.6 (jürgen@höst)\x1b[31m\0";
    put(&mut image, 0x300, version.as_bytes());
    image
}

/// Puts the front of PE headers into it, as Linux's build does.
fn with_pe(mut image: Vec<u8>, magic: u16) -> Vec<u8> {
    put(&mut image, 0, b"MZ");
    put(&mut image, 0x3c, &0x40_u32.to_le_bytes());
    put(&mut image, 0x40, b"PE\0\0\x64\x86");
    put(&mut image, 0x54, &160_u16.to_le_bytes());
    put(&mut image, 0x58, &magic.to_le_bytes());
    put(&mut image, 0x58 + 60, &0x400_u32.to_le_bytes());
    put(&mut image, 0x58 + 68, &[10]);
    put(&mut image, 0x58 + 108, &6_u32.to_le_bytes());
    image
}

/// A bzImage whose certificate table was cut off.
fn cut_certificates() -> Vec<u8> {
    let mut image = with_pe(bzimage(0x20f, 0x3f), 0x20b);
    put(&mut image, 0x58 + 112 + 32, &0x800_u32.to_le_bytes());
    put(&mut image, 0x58 + 112 + 36, &0x5f0_u32.to_le_bytes());
    image
}

#[test]
fn a_kernel_without_sound_pe_headers_is_a_kernel_with_a_fault() {
    check(
        &cut_certificates(),
        expect![[r#"
            image         kernel (bzImage), x86_64, 2.0 KiB
              boots       Linux 6.6.6 (jürgen@höst)\u{1b}[31m), bzImage, 2.0 KiB
              initrd      none
              cmdline     none
              signature   malformed signature: no sound PE32+ file: certificate table (data directory 4) at
                            0xe8: expected an end by 0x800, found 0xdf0; is the file cut off?; not required
              [(overlay) ████████████████████████████████████████████████████████████ 1.0 KiB]
              sections
                signature  1.4 KiB  at 0x800, up to the end, not in the file
                (overlay)  1.0 KiB  at 0x400, up to the end
            --
            ukexec: warning: damaged PE headers, which no signature fits: certificate table (data directory 4) at 0xe8: expected an end by 0x800, found 0xdf0; is the file cut off? (kexec_file_load would not notice)
        "#]],
    );
    check(
        &with_pe(bzimage(0x20f, 0), 0x10b),
        expect![[r#"
            image         kernel (bzImage), x86, 2.0 KiB
              boots       Linux 6.6.6 (jürgen@höst)\u{1b}[31m), bzImage, 2.0 KiB
              initrd      none
              cmdline     none
              signature   malformed signature: no sound PE32+ file: Magic at 0x58: expected 0x20b (PE32+),
                            found 0x10b: this is a 32-bit PE32 image, and only 64-bit ones are supported; not
                            required
            --
            ukexec: warning: a 32-bit kernel (XLF_KERNEL_64 is not set): give a 64-bit one (kexec_file_load would answer ENOEXEC)
        "#]],
    );
}

#[test]
fn the_document_tells_what_is_wrong_with_pe_headers() {
    let mut nowhere = cut_certificates();
    put(&mut nowhere, 0x3c, &[0; 4]);
    let dir = folder(&[("image", &nowhere)]);
    let output = run(dir.path(), &["inspect", "--json", "--verify=off", "image"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let fault = r#"Signature at 0x0: expected 0x4550 ("PE\0\0"), found 0x5a4d"#;
    let layer = &document["layers"][0];
    assert_eq!(
        (&layer["pe"], &layer["pe_fault"]),
        (&json!(null), &json!(fault))
    );
    let kernel = &document["kernel"];
    assert_eq!(kernel["arch"], "x86_64");
    assert_eq!(kernel["version"], r"6.6.6 (jürgen@höst)\u{1b}[31m");
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(warning.contains(fault), "{warning}");
}

#[test]
fn an_old_kernel_does_not_say_its_machine() {
    check(
        &bzimage(0x20b, 0x3f),
        expect![[r#"
            image         kernel (bzImage), 2.0 KiB
              boots       Linux 6.6.6 (jürgen@höst)\u{1b}[31m), bzImage, 2.0 KiB
              initrd      none
              cmdline     none
              signature   unsigned; not required
            --
            ukexec: warning: boot protocol 2.11, and 2.12 (Linux 3.8) is needed: give a newer kernel (kexec_file_load would answer ENOEXEC)
        "#]],
    );
}

#[test]
fn what_is_no_image_is_refused_before_it_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("image")).unwrap();
    // More than is ever copied: a copy would fail for that.
    file.set_len(3 << 30).unwrap();
    let mut pe = with_pe(vec![0; 0x200], 0x20b);
    put(&mut pe, 0x46, &[1, 0]);
    put(&mut pe, 0xf8 + 16, &[0xff; 8]);
    let args = ["load", "--dry-run", "--verify=off", "image"];
    fs::create_dir(dir.path().join("none")).unwrap();
    let alone = [&args[..], &["--parsers-dir", "none"]].concat();
    let answers = [&b"MZ"[..], &pe, &b"\x7fELF\x01\x01\x01"[..], &[b'a'; 4096]].map(|front| {
        file.write_all_at(&[0; 4096], 0).unwrap();
        file.write_all_at(front, 0).unwrap();
        let output = run(dir.path(), &alone);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    });
    expect![[r#"
        ukexec: image: not a kernel but an MS-DOS program (MZ without a PE header); give a Linux kernel for a 64-bit machine
        ukexec: image: no sound PE: PointerToRawData of section 0 () at 0x10c: expected an end by 0xc0000000, found 0x1fffffffe; is the file cut off?
        ukexec: image: not a kernel: e_type of the ELF header: expected ET_EXEC (2) or ET_DYN (3), found 0x0
        ukexec: image: not a kernel but text; give the image itself
    "#]].assert_eq(&answers.concat());
    // A parser that nobody knows might take it.
    file.write_all_at(b"MZ\0\0", 0).unwrap();
    fs::write(dir.path().join("any.bpf.o"), b"unread").unwrap();
    for more in [["--parser", "any.bpf.o"], ["--parsers-dir", "."]] {
        let output = run(dir.path(), &[&args[..], &more].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("an image or initrd has"), "{stderr}");
    }
}

/// Nobody looks at a stream before it is taken over; the answer is the same.
#[test]
fn a_stream_that_is_no_image_is_refused_as_a_file_is() {
    let text = &[b'a'; 4096];
    let dir = folder(&[("standard input", text)]);
    fs::create_dir(dir.path().join("none")).unwrap();
    for verify in ["--verify=off", "--verify=require"] {
        let args = ["load", "--dry-run", "--json", "--parsers-dir=none", verify];
        let file = run(dir.path(), &[&args[..], &["standard input"]].concat());
        let stream = with_stdin(
            dir.path(),
            &[&args[..], &["-"]].concat(),
            pipe(text.to_vec()),
        );
        assert_eq!((stream.status, stream.stderr), (file.status, file.stderr));
        let read = |stdout: &[u8]| -> Value { serde_json::from_slice(stdout).unwrap() };
        let mut document = read(&stream.stdout);
        assert_eq!(document["image"]["path"], "-");
        document["image"]["path"] = "standard input".into();
        assert_eq!(document, read(&file.stdout));
        let error = &document["error"];
        let message = "standard input: not a kernel but text; give the image itself";
        assert_eq!(error["message"], message);
        assert_eq!(error["kind"], "format");
        assert_eq!(error["place"]["layer"], "standard input");
    }
}
