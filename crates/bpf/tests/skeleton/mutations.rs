//! Mutated skeletons: no panic, no hang, nothing over the caps.

use std::time::{Duration, Instant};

use ukexec_bpf::Parser;

use crate::{hosts, skeleton};

/// Steele and Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// How many mutated skeletons are tried; `UKEXEC_MUTATIONS` says another
/// number.
fn count() -> usize {
    let given = std::env::var("UKEXEC_MUTATIONS").ok();
    given.and_then(|given| given.parse().ok()).unwrap_or(2_000)
}

fn check(name: &str, seed: u64) {
    let original = skeleton(name);
    let interface = hosts::kexec();
    let mut random = Random(seed);
    for round in 0..count() {
        let mut object = original.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(object.len());
            let byte = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => object[at] ^ 1 << random.below(8),
                _ => u8::try_from(random.below(256)).unwrap(),
            };
            object[at] = byte;
        }
        if random.below(50) == 0 {
            object.truncate(random.below(object.len()));
        }
        let start = Instant::now();
        if let Ok(parser) = Parser::load(&object, &interface) {
            let _any = parser.verify();
        }
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(1),
            "{name}, round {round}: {took:?}"
        );
    }
}

#[test]
fn mutated_skeletons_of_debians_bpftool() {
    check("parser-16-v2", 1);
}

#[test]
fn mutated_skeletons_of_the_newest_libbpf() {
    check("parser-19-v3", 2);
}

#[test]
fn mutated_real_parsers() {
    check("zboot", 3);
    check("uki.match", 4);
}
