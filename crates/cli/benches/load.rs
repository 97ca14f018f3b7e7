//! `load --dry-run` of a big UKI, beside a plain copy of the file, and the stage
//! that takes it apart.
//!
//! One `sendfile` pass into sealed memory is all that loading costs, so the
//! peer is `cp` of the same file into memory (`/dev/shm`), in the same run. A
//! stage (choosing, loading, verifying and running the parser) has a goal of
//! 1 ms, whatever the image's size. Memory and processor time of one load are
//! printed at the end; goals: 40 MB and 20 ms.
//!
//! A verified load is one pass as well: read, hash, write. Its peer is just
//! that, with the same digest code; goals: 1.2 times the peer, and 60 MB.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use criterion::{Criterion, criterion_group, criterion_main};
use ukexec_bpf::Rope;
use ukexec_pe::ByteRanges;
use ukexec_signature::{Algorithm, DigestRequest, Hasher, TakenDigests, digests_of};
use ukexec_unfold::{Budget, Input, MemoryStore, Options, Unfolded, built_in_parsers, unfold};

criterion_group!(benches, load);
criterion_main!(benches);

fn load(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder for the image");
    let image = dir.path().join("big.efi");
    let bytes = uki(219 << 20);
    fs::write(&image, &bytes).expect("room for the image");
    let copy = PathBuf::from("/dev/shm").join(format!("ukexec-bench-{}", std::process::id()));

    let mut group = criterion.benchmark_group("219 MiB UKI");
    group.sample_size(10);
    group.bench_function("cp to memory", |bencher| {
        bencher.iter(|| run(Command::new("cp").arg(&image).arg(&copy)));
    });
    let _may_be_absent = fs::remove_file(&copy);
    group.bench_function("load --dry-run", |bencher| {
        bencher.iter(|| run(&mut dry_run(&image)));
    });
    let keys = dir.path().join("image.esl");
    fs::write(&keys, allow(&bytes)).expect("room for a list");
    group.bench_function("read, hash, write", |bencher| {
        bencher.iter(|| read_hash_write(&image, &copy));
    });
    let _may_be_absent = fs::remove_file(&copy);
    group.bench_function("load --dry-run --verify=require", |bencher| {
        bencher.iter(|| run(&mut verified(&image, &keys)));
    });
    let rope = Rope::from(bytes);
    group.bench_function("its stage", |bencher| bencher.iter(|| stage(&rope)));
    group.finish();
    tell_cost("load --dry-run", &dry_run(&image));
    tell_cost("load --dry-run --verify=require", &verified(&image, &keys));
}

/// Reads `from`, hashes it, and writes it to `to`, in one pass.
fn read_hash_write(from: &Path, to: &Path) -> TakenDigests {
    let mut from = File::open(from).expect("the image is there");
    let mut to = File::create(to).expect("there is memory");
    let len = from.metadata().expect("it is a file").len();
    let request = DigestRequest {
        ranges: ByteRanges::from(0..len),
        algorithms: [Algorithm::Sha256].into(),
    };
    let mut hasher = Hasher::new(request).expect("one range");
    let mut buf = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        let count = from.read(&mut buf).expect("the image can be read");
        if count == 0 {
            break;
        }
        hasher.update(at, &buf[..count]).expect("all bytes come");
        to.write_all(&buf[..count]).expect("there is memory");
        at += count as u64;
    }
    hasher.finish().expect("all bytes came")
}

/// Returns an EFI signature list that allows `image` by its digest (UEFI,
/// "Signature Database").
fn allow(image: &[u8]) -> Vec<u8> {
    let pe = ukexec_pe::PeImage::parse(image).expect("a PE");
    let ranges = pe.authenticode_ranges().expect("one to be signed");
    let digests = digests_of(image, &ranges, [Algorithm::Sha256]).expect("it is in memory");
    // EFI_CERT_SHA256_GUID
    let mut list = vec![
        0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43,
        0x28,
    ];
    // SignatureListSize, SignatureHeaderSize, SignatureSize
    for size in [28 + 48, 0, 48_u32] {
        list.extend_from_slice(&size.to_le_bytes());
    }
    list.extend_from_slice(&[0; 16]); // SignatureOwner
    list.extend_from_slice(digests.get(Algorithm::Sha256).expect("it was asked for"));
    list
}

fn stage(image: &Rope) -> Unfolded {
    let input = Input {
        image: image.clone(),
        ..Input::default()
    };
    let options = Options {
        parsers: built_in_parsers(),
        ..Options::default()
    };
    let mut store = MemoryStore::default();
    unfold(input, &options, &mut store, &mut Budget::default()).expect("a sound image")
}

/// Prints what one load costs the machine, as wait4(2) reports it. The worker's
/// memory counts if it is more than the parent's.
fn tell_cost(what: &str, command: &Command) {
    const WAIT: &str = "import resource, subprocess, sys
subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f'{sys.argv[1]}: {usage.ru_maxrss / 1024:.1f} MiB of memory at most, '
      f'{usage.ru_utime * 1000:.1f} ms of user time, {usage.ru_stime * 1000:.1f} ms of system time')";
    let python = Command::new("python3")
        .args(["-c", WAIT, what])
        .arg(command.get_program())
        .args(command.get_args())
        .status();
    assert!(python.expect("python3 runs").success(), "the load failed");
}

fn dry_run(image: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukexec"));
    command.args(["load", "--dry-run"]).arg(image);
    command
}

fn verified(image: &Path, keys: &Path) -> Command {
    let mut command = dry_run(image);
    command.args(["--verify=require", "--trust"]).arg(keys);
    command
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(
        status.expect("the command runs").success(),
        "{command:?} failed"
    );
}

/// Returns a UKI of about `size` bytes: a kernel's setup header and an initrd.
fn uki(size: usize) -> Vec<u8> {
    let mut kernel = vec![0; 8 << 20];
    put(&mut kernel, 0x1f1, &[1]); // setup_sects
    put(&mut kernel, 0x1fe, &0xaa55_u16.to_le_bytes());
    put(&mut kernel, 0x202, b"HdrS");
    put(&mut kernel, 0x206, &0x020f_u16.to_le_bytes()); // protocol version
    put(&mut kernel, 0x211, &[1]); // LOADED_HIGH
    put(&mut kernel, 0x234, &[1]); // relocatable_kernel
    put(&mut kernel, 0x236, &3_u16.to_le_bytes()); // KERNEL_64, ABOVE_4G
    put(&mut kernel, 0x238, &2048_u32.to_le_bytes()); // cmdline_size
    let initrd = vec![0x55; size - kernel.len()];
    let parts: [(&str, &[u8]); 3] = [
        (".cmdline", b"console=ttyS0"),
        (".initrd", &initrd),
        (".linux", &kernel),
    ];
    parts.into_iter().fold(stub(), |image, (name, content)| {
        let options = ukexec_pe::EditOptions::default();
        ukexec_pe::attach(&image, name, content, options).expect("the stub has room for sections")
    })
}

/// Returns an EFI application with one section, and headers with room for more.
fn stub() -> Vec<u8> {
    let mut image = vec![0; 0x1200];
    put(&mut image, 0, b"MZ");
    put(&mut image, 0x3c, &0x40_u32.to_le_bytes());
    put(&mut image, 0x40, b"PE\0\0");
    put(&mut image, 0x44, &0x8664_u16.to_le_bytes()); // Machine
    put(&mut image, 0x46, &1_u16.to_le_bytes()); // NumberOfSections
    put(&mut image, 0x54, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
    put(&mut image, 0x58, &0x20b_u16.to_le_bytes()); // Magic
    put(&mut image, 0x78, &0x1000_u32.to_le_bytes()); // SectionAlignment
    put(&mut image, 0x7c, &0x200_u32.to_le_bytes()); // FileAlignment
    put(&mut image, 0x90, &0x2000_u32.to_le_bytes()); // SizeOfImage
    put(&mut image, 0x94, &0x1000_u32.to_le_bytes()); // SizeOfHeaders
    put(&mut image, 0x9c, &10_u16.to_le_bytes()); // Subsystem
    put(&mut image, 0xc4, &16_u32.to_le_bytes()); // NumberOfRvaAndSizes
    put(&mut image, 0x148, b".text");
    for (at, value) in [
        (0x150, 0x200),
        (0x154, 0x1000),
        (0x158, 0x200),
        (0x15c, 0x1000),
    ] {
        put(&mut image, at, &u32::to_le_bytes(value));
    }
    image
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}
