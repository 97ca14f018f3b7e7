//! Properties of all inputs, by example.

use std::io::BufReader;

use crate::common::{SUFFIXES, compress, run, testdata, xz};
use lzma_rust2::filter::FilterConfig;
use proptest::prelude::*;
use ukexec_decompress::{Compression, Limits, decompress};

fn any_compression() -> impl Strategy<Value = Compression> {
    (0..SUFFIXES.len()).prop_map(|index| SUFFIXES[index].1)
}

/// Runs of bytes, as noise alone would not compress.
fn any_data() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((any::<u8>(), 1..200_usize), 0..200).prop_map(|runs| {
        runs.into_iter()
            .flat_map(|(byte, count)| std::iter::repeat_n(byte, count))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn compress_then_decompress_is_identity(
        compression in any_compression(),
        data in any_data(),
        capacity in 1..300_usize,
    ) {
        let stream = compress(compression, &data);
        let mut input = BufReader::with_capacity(capacity, stream.as_slice());
        let mut output = Vec::new();
        let done = decompress(&mut input, &mut output, &Limits::default()).unwrap();
        prop_assert_eq!(done.compression, compression);
        prop_assert_eq!(done.warnings, []);
        prop_assert_eq!(done.consumed, stream.len() as u64);
        prop_assert!(output == data);
    }

    #[test]
    fn every_bcj_filter_is_undone(
        data in prop::collection::vec(any::<u8>(), 0..4000),
        filter in 0..8_usize,
    ) {
        let filters = [
            FilterConfig::new_bcj_x86,
            FilterConfig::new_bcj_arm,
            FilterConfig::new_bcj_arm_thumb,
            FilterConfig::new_bcj_arm64,
            FilterConfig::new_bcj_ia64,
            FilterConfig::new_bcj_ppc,
            FilterConfig::new_bcj_sparc,
            FilterConfig::new_bcj_risc_v,
        ];
        let stream = xz(&data, |options| options.filters = vec![filters[filter](0)]);
        let (_, output) = run(&stream).unwrap();
        prop_assert!(output == data);
    }

    #[test]
    fn random_changes_never_pass_for_good(
        compression in 0..SUFFIXES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (suffix, compression) = SUFFIXES[compression];
        let mut stream = testdata(&format!("data.{suffix}"));
        for (at, byte) in changes {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let data = testdata("data.raw");
        let unchecked = matches!(compression, Compression::Lzma | Compression::Lz4);
        for stream in [&stream[..], &stream[..cut.index(stream.len())]] {
            if let Ok((done, output)) = run(stream) {
                // A trailer that is cut off cannot be compared.
                let checked = done.warnings.is_empty() && !unchecked;
                prop_assert!(!checked || output == data);
            }
        }
    }

    #[test]
    fn noise_behind_a_magic_never_panics(
        compression in 0..SUFFIXES.len(),
        keep in 0..40_usize,
        noise in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut stream = testdata(&format!("data.{}", SUFFIXES[compression].0));
        stream.truncate(keep);
        stream.extend(noise);
        let limits = Limits { output: 1 << 20, ..Limits::default() };
        let mut output = Vec::new();
        let outcome = decompress(&mut stream.as_slice(), &mut output, &limits);
        prop_assert!(output.len() <= 1 << 20);
        if let Err(error) = outcome {
            let (text, end) = (error.to_string(), format!("ends at offset {:#x} and", stream.len()));
            prop_assert!(!text.contains("cut short") || text.contains(&end), "{}", text);
        }
    }
}
