//! Running an input the way the product does: objects and skeletons are parsers
//! of an image, images are unfolded with the parsers that come with ukexec.

use std::sync::LazyLock;
use std::{fmt, fs};

use ukexec_bpf::btf::Btf;
use ukexec_bpf::limits::MAX_LOADER_BYTES;
use ukexec_bpf::{HookDecl, Interface, Meter, Parser, Rope};
use ukexec_unfold::{
    Budget, Input, MemoryStore, Options, ParserFile, ParserOrigin, UnfoldError, built_in_parsers,
    unfold,
};

use crate::mutation::Random;
use crate::root;
use crate::seeds::Kind;

#[path = "../../targets/run.rs"]
mod run;

/// All the time that the product gives, and little memory, so that what is taken
/// beside it is seen.
const BUDGET: Budget = Budget {
    meter: Meter {
        insns: 20_000_000,
        memory: 20 << 20,
        log_lines: 1000,
    },
    stages: 8,
    output: 4 << 20,
};

/// Returns how many bytes of memory an input of `len` bytes may take: what the
/// budget grants, or before that a loader program its own; and beside it what
/// follows the size of the input.
pub(crate) fn memory_limit(kind: Kind, len: usize) -> u64 {
    // The store's buffers have up to two times their length, and once more while
    // they grow.
    let budget = BUDGET.meter.memory + 3 * BUDGET.output;
    let loader = match kind {
        Kind::Object => 0,
        Kind::Skeleton | Kind::Container | Kind::Image => MAX_LOADER_BYTES,
    };
    budget.max(loader) + (1 << 20) + 32 * len as u64
}

/// How an input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Before one instruction of a parser ran.
    Refused,
    /// While parsers ran, or because of what they did.
    Stopped,
    Unfolded,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Stopped => "stopped",
            Self::Unfolded => "unfolded",
        })
    }
}

/// Runs an input.
pub(crate) fn run(kind: Kind, bytes: &[u8], name: &str, random: Random) -> Ending {
    // These ask for another host.
    if name.starts_with("core-") {
        return match Parser::load(bytes, &CORE) {
            Ok(parser) => {
                run::run(parser);
                Ending::Stopped
            }
            Err(error) => {
                let _ = error.to_string();
                Ending::Refused
            }
        };
    }
    let (input, options) = equip(kind, bytes, random);
    match unfolded(input, &options) {
        (Ok(()), _) => Ending::Unfolded,
        (Err(error), BUDGET) => {
            let _ = error.to_string();
            Ending::Refused
        }
        (Err(error), _) => {
            let _ = error.to_string();
            Ending::Stopped
        }
    }
}

/// Unfolds an image as it is.
pub(crate) fn check_seed(image: &[u8]) -> Result<(), UnfoldError> {
    let options = Options {
        parsers: built_in_parsers(),
        ..Options::default()
    };
    let image = Rope::from(image.to_vec());
    let input = Input {
        image,
        ..Input::default()
    };
    unfolded(input, &options).0
}

/// Unfolds within [`BUDGET`], and returns what is left of it.
fn unfolded(input: Input, options: &Options) -> (Result<(), UnfoldError>, Budget) {
    let mut left = BUDGET;
    let mut store = MemoryStore::default();
    let result = unfold(input, options, &mut store, &mut left);
    let (given, meter) = (BUDGET.meter, &left.meter);
    assert!(meter.insns <= given.insns && meter.log_lines <= given.log_lines);
    assert!(meter.memory <= given.memory);
    assert!(left.output <= BUDGET.output && left.stages <= BUDGET.stages);
    (result.map(drop), left)
}

/// Puts together what is unfolded, and how.
fn equip(kind: Kind, bytes: &[u8], mut random: Random) -> (Input, Options) {
    let mut options = Options {
        embedded_parsers: random.below(8) != 0,
        profile: (random.below(8) == 0).then(|| "1".to_owned()),
        kdump: random.below(2) == 0,
        parsers: built_in_parsers(),
        ..Options::default()
    };
    let mut image = bytes.to_vec();
    if kind != Kind::Image {
        let origin = *random.pick(&[ParserOrigin::Given, ParserOrigin::ParsersD]);
        let parser = ParserFile {
            name: "mutated.bpf.o".to_owned(),
            object: bytes.to_vec().into(),
            origin,
        };
        // Those of parsers.d are asked first whether the image is theirs.
        match origin {
            ParserOrigin::Given => options.parser = Some(parser),
            _ => options.parsers.insert(0, parser),
        }
        image = match kind {
            Kind::Container => random.pick(&STEPS).clone(),
            _ => random.pick(&IMAGES).clone(),
        };
        if image.get(8..12) == Some(b"TEST") {
            image[12] = random.below(110) as u8;
        }
    }
    let input = Input {
        image: Rope::from(image),
        initrd: (random.below(2) == 0).then(|| Rope::from(b"initrd".to_vec())),
        cmdline: (random.below(4) == 0).then(|| b"root=/dev/vda".to_vec()),
        append: (random.below(4) == 0).then(|| b"quiet".to_vec()),
    };
    (input, options)
}

/// Images for parsers to work on.
static IMAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let seed =
        |name| fs::read(root().join("fuzz/seeds/pe").join(name)).expect("it was read before");
    let uki = seed("uki");
    vec![for_tests(&uki), seed("zboot"), uki]
});

/// Images for the parsers of containers.
static STEPS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let names = ["levels", "alternatives", "let-be"];
    let seed = |name| fs::read(root().join("fuzz/seeds/commands").join(name));
    names.map(|name| seed(name).expect("it is a seed")).into()
});

/// Makes the UKI of the seeds an image of the format of `test.bpf.c`, the tests'
/// own parser: byte 12 says what that shall do.
pub(crate) fn for_tests(uki: &[u8]) -> Vec<u8> {
    let mut image = uki.to_vec();
    image[8..12].copy_from_slice(b"TEST");
    // Offset and length of .linux, .initrd and .cmdline.
    let parts = [0xa00, 0x5b, 0xc00, 12, 0x800, 6_u32].map(u32::to_le_bytes);
    image[16..40].copy_from_slice(parts.as_flattened());
    image
}

/// A host with the types of `host.bpf.c` and the hooks of `core.bpf.c`.
static CORE: LazyLock<Interface> = LazyLock::new(|| {
    let object = root().join("crates/bpf/testdata/objects/host.bpf.o");
    let object = fs::read(object).expect("it was read before");
    let magic = [0x9f, 0xeb, 1, 0];
    let start = object.windows(4).position(|at| at == magic);
    let start = start.expect("it has types");
    let names = [
        "offsets",
        "sizes",
        "existence",
        "bitfields",
        "types",
        "matches",
        "enums",
        "poisoned",
    ];
    Interface {
        // The section's end is not sought: BTF data names its own.
        types: vec![Btf::parse(&object[start..]).expect("they are valid").into()],
        choose: Interface::only,
        hooks: names.map(|name| HookDecl { name, args: 1 }).to_vec(),
        kfuncs: Vec::new(),
    }
});
