//! Files of boot partitions: keys, settings and images lead to texts with an end, and paths
//! stay inside the partition.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ukexec_entries::{ImageSummary, LoaderConf, Type1};

fuzz_target!(|data: &[u8]| {
    // A byte that is no UTF-8 becomes three.
    let most = 3 * data.len();
    if let Ok(keys) = Type1::parse(data) {
        let lists = [&keys.initrds, &keys.extra, &keys.devicetree_overlays];
        let paths = lists
            .into_iter()
            .flatten()
            .chain(&keys.linux)
            .chain(&keys.uki);
        for path in paths.chain(&keys.efi).chain(&keys.devicetree) {
            assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")));
            assert!(path.len() <= most);
        }
        assert!(keys.options.is_none_or(|it| it.len() <= most));
    }
    let LoaderConf {
        preferred, default, ..
    } = LoaderConf::parse(data);
    assert!(
        [preferred, default]
            .iter()
            .flatten()
            .all(|it| it.len() <= most)
    );
    if let Ok(image) = ImageSummary::read(&data) {
        assert!(image.profiles.len() <= 256 && image.size == data.len() as u64);
        let mut len = 0;
        for profile in &image.profiles {
            let texts = [&profile.id, &profile.title].into_iter().flatten();
            let system = profile.os.iter().map(|os| &os.title);
            len += texts.chain(system).map(String::len).sum::<usize>();
        }
        assert!(len <= 64 << 10);
    }
});
