//! The whole unfolding, within its budget and the same way twice.
//!
//! Input: a byte of flags, two bytes for the length of a parser object, the
//! object, and the image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukexec_bpf::{Meter, Rope};
use ukexec_unfold::{
    Budget, Input, MemoryStore, Options, ParserFile, ParserOrigin, UnfoldError, Unfolded,
    built_in_parsers, unfold,
};

const BUDGET: Budget = Budget {
    meter: Meter {
        insns: 200_000,
        memory: 4 << 20,
        log_lines: 20,
    },
    stages: 4,
    output: 1 << 20,
};

fuzz_target!(|data: &[u8]| {
    let [flags, low, high, rest @ ..] = data else {
        return;
    };
    let len = usize::from(u16::from_le_bytes([*low, *high]));
    let Some((object, image)) = rest.split_at_checked(len) else {
        return;
    };
    let given = (!object.is_empty()).then(|| ParserFile {
        name: "given.bpf.o".to_owned(),
        object: object.to_vec().into(),
        origin: ParserOrigin::Given,
    });
    let options = Options {
        parser: given,
        embedded_parsers: flags & 1 == 0,
        profile: (flags & 2 != 0).then(|| "1".to_owned()),
        kdump: flags & 4 != 0,
        parsers: built_in_parsers(),
        ..Options::default()
    };
    let initrd = flags & 8 != 0;
    let cmdline = flags & 16 != 0;
    let input = Input {
        image: Rope::from(image.to_vec()),
        initrd: initrd.then(|| Rope::from(b"initrd".to_vec())),
        cmdline: cmdline.then(|| b"root=/dev/vda".to_vec()),
        append: (flags & 32 != 0).then(|| b"quiet".to_vec()),
    };
    let once = run(input.clone(), &options);
    let twice = run(input.clone(), &options);
    assert_eq!(seen(&once), seen(&twice));
    if let Ok(unfolded) = once {
        assert!(unfolded.kernel.len() > 0 || input.image.is_empty());
    }
});

fn run(input: Input, options: &Options) -> Result<Unfolded, UnfoldError> {
    let mut budget = BUDGET;
    let mut store = MemoryStore::default();
    let outcome = unfold(input, options, &mut store, &mut budget);
    assert!(budget.meter.insns <= BUDGET.meter.insns);
    assert!(budget.output <= BUDGET.output && budget.stages <= BUDGET.stages);
    outcome
}

/// All that can be seen of an outcome, but bytes that lie in sources.
fn seen(result: &Result<Unfolded, UnfoldError>) -> String {
    match result {
        Ok(Unfolded {
            kernel,
            initrd,
            cmdline,
            report,
            ..
        }) => {
            let initrd = initrd.as_ref().map(Rope::len);
            format!("{} {initrd:?} {cmdline:?} {report:?}", kernel.len())
        }
        Err(error) => error.to_string(),
    }
}
