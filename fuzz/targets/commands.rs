//! Commands of parsers of v6 and v7: the image is steps for a parser that sends what is in them, in
//! a container of two levels, or alone.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ukexec_bpf::container::pack;
use ukexec_bpf::{Meter, Rope};
use ukexec_unfold::{
    Budget, Input, MemoryStore, Options, ParserFile, ParserOrigin, Unfolded, unfold,
};

/// Parsers of v7, of the first steps and of those behind them, and one of v6.
const FIRST: &[u8] = include_bytes!("../../crates/unfold/testdata/commands.first.bpf.o");
const SECOND: &[u8] = include_bytes!("../../crates/unfold/testdata/commands.second.bpf.o");
const V6: &[u8] = include_bytes!("../../crates/unfold/testdata/commands.v6.bpf.o");

static LEVELS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let inner = pack(&[FIRST, SECOND], None).expect("they are parsers");
    pack(&[FIRST, SECOND], Some(&inner)).expect("they are parsers")
});

const BUDGET: Budget = Budget {
    meter: Meter {
        insns: 200_000,
        memory: 4 << 20,
        log_lines: 100,
    },
    stages: 4,
    output: 1 << 20,
};

fuzz_target!(|data: &[u8]| {
    let input = Input {
        image: Rope::from(data.to_vec()),
        ..Input::default()
    };
    for parser in [LEVELS.as_slice(), V6] {
        let options = Options {
            parser: Some(ParserFile {
                name: "given".to_owned(),
                object: parser.to_vec().into(),
                origin: ParserOrigin::Given,
            }),
            ..Options::default()
        };
        let mut budget = BUDGET;
        let unfolded = unfold(
            input.clone(),
            &options,
            &mut MemoryStore::default(),
            &mut budget,
        );
        assert!(budget.meter.insns <= BUDGET.meter.insns);
        assert!(budget.meter.memory <= BUDGET.meter.memory);
        assert!(budget.output <= BUDGET.output && budget.stages <= BUDGET.stages);
        match unfolded {
            Ok(unfolded) => check(&unfolded, input.image.len()),
            Err(error) => drop(error.to_string()),
        }
    }
});

/// Only what a stage handed over that counts comes out, and no more than there was.
fn check(unfolded: &Unfolded, image: u64) {
    let Unfolded {
        kernel,
        initrd,
        report,
        ..
    } = unfolded;
    assert!(!report.stages.is_empty() && report.stages.len() < report.layers.len());
    let initrd = initrd.as_ref().map_or(0, Rope::len);
    assert!(kernel.len() + initrd <= image + BUDGET.output);
    for stage in &report.stages {
        assert!(!stage.handed_over.is_empty() && stage.filled.len() <= 16);
    }
}
