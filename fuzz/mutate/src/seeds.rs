//! The seeds of mutation: the files of the tests, and images made of them.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ukexec_bpf::container::pack;
use ukexec_pe::{EditOptions, attach};

use crate::fields::{self, Group};
use crate::root;
use crate::subject::for_tests;

/// The kind of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A plain BPF object, as the parser of an image.
    Object,
    /// A light skeleton, as the parser of an image.
    Skeleton,
    /// A container of parsers for an image.
    Container,
    Image,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Object, Self::Skeleton, Self::Container, Self::Image];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "object",
            Self::Skeleton => "skeleton",
            Self::Container => "container",
            Self::Image => "image",
        })
    }
}

/// A valid input.
pub(crate) struct Seed {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Its fields, by what they belong to.
    pub(crate) groups: Vec<Group>,
}

impl Seed {
    fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            groups: fields::find(&bytes),
            bytes,
        }
    }
}

/// All seeds.
pub(crate) struct Seeds {
    kinds: [Vec<Seed>; Kind::ALL.len()],
}

impl Seeds {
    pub(crate) fn read() -> Result<Self> {
        let mut objects = files("crates/bpf/testdata/objects", ".bpf.o")?;
        objects.extend(files("crates/unfold/testdata", ".bpf.o")?);
        objects.extend(files("crates/unfold/parsers", ".bpf.o")?);
        let skeletons = files("crates/bpf/testdata/skeletons", ".o")?;
        let containers = containers(&objects)?;
        let images = images(&objects, &skeletons)?;
        Ok(Self {
            kinds: [objects, skeletons, containers, images],
        })
    }

    pub(crate) fn of(&self, kind: Kind) -> &[Seed] {
        &self.kinds[kind as usize]
    }
}

/// Containers of one level and of two, of parsers that do as their image says.
fn containers(objects: &[Seed]) -> Result<Vec<Seed>> {
    let parsers = ["commands.first.bpf.o", "commands.second.bpf.o"];
    let [first, second] = parsers.map(|name| named(objects, name));
    let slots = [first?.bytes.as_slice(), second?.bytes.as_slice()];
    let flat = pack(&slots, None)?;
    let deep = pack(&slots, Some(&flat))?;
    Ok(vec![
        Seed::new("one level", flat),
        Seed::new("two levels", deep),
    ])
}

/// One of each compression, none with a window of many megabytes.
const PAYLOADS: [&str; 7] = [
    "data.bz2",
    "data.gz",
    "data.lz4",
    "data.lzma",
    "data.lzo",
    "blocks.xz",
    "sized.zst",
];

/// Images as they are, with parsers in them, and with every compression.
fn images(objects: &[Seed], skeletons: &[Seed]) -> Result<Vec<Seed>> {
    let mut images = files("fuzz/seeds/pe", "")?;
    images.extend(files("fuzz/seeds/envelope", "").map(|seeds| {
        seeds.into_iter().map(|seed| Seed {
            name: format!("{} in an envelope", seed.name),
            ..seed
        })
    })?);
    let (uki, zboot) = (named(&images, "uki")?, named(&images, "zboot")?);
    let parsers = [
        (uki, named(objects, "uki.bpf.o")?),
        (zboot, named(objects, "zboot.bpf.o")?),
        (uki, named(skeletons, "uki.match.o")?),
        (zboot, named(skeletons, "zboot.o")?),
    ];
    let test = Seed::new("test", for_tests(&uki.bytes));
    let parsers = parsers
        .into_iter()
        .chain([(&test, named(objects, "test.bpf.o")?)]);
    let nested = attach(&uki.bytes, ".linux", &zboot.bytes, EditOptions::default());
    let mut made = vec![Seed::new("zboot in a UKI", nested?)];
    for (image, parser) in parsers {
        let bytes = attach(&image.bytes, ".bpf", &parser.bytes, EditOptions::default());
        let bytes = bytes.with_context(|| format!("{} in {}", parser.name, image.name))?;
        made.push(Seed::new(
            format!("{} with {}", image.name, parser.name),
            bytes,
        ));
    }
    let payloads = files("crates/decompress/testdata", "")?;
    for name in PAYLOADS {
        let mut payload = named(&payloads, name)?.bytes.clone();
        if name.ends_with(".lzma") {
            // The window may be as small as the budget here wants it.
            payload[1..5].copy_from_slice(&(64_u32 << 10).to_le_bytes());
        }
        let bytes = packed(&zboot.bytes, &payload)?;
        made.push(Seed::new(format!("zboot of {name}"), bytes));
        made.push(Seed::new(format!("stream {name}"), payload));
    }
    images.extend(made);
    Ok(images)
}

/// Returns a zboot image with another payload, which follows all sections.
fn packed(zboot: &[u8], payload: &[u8]) -> Result<Vec<u8>> {
    let mut image = zboot.to_vec();
    let header = image.get_mut(8..16).context("zboot is short")?;
    header[..4].copy_from_slice(&u32::try_from(zboot.len())?.to_le_bytes());
    header[4..].copy_from_slice(&u32::try_from(payload.len())?.to_le_bytes());
    image.extend_from_slice(payload);
    Ok(image)
}

fn named<'a>(seeds: &'a [Seed], name: &str) -> Result<&'a Seed> {
    let seed = seeds.iter().find(|seed| seed.name == name);
    seed.with_context(|| format!("no seed is called {name}"))
}

/// Returns the files of a folder whose names end with `ending`, by name.
fn files(folder: &str, ending: &str) -> Result<Vec<Seed>> {
    let folder = root().join(folder);
    let read = || -> Result<Vec<Seed>> {
        let mut seeds = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().map(Path::new).map(|name| name.display());
            let name = name.map_or_else(String::new, |name| name.to_string());
            if name.ends_with(ending) {
                seeds.push(Seed::new(name, fs::read(&path)?));
            }
        }
        seeds.sort_by(|one, other| one.name.cmp(&other.name));
        ensure!(!seeds.is_empty(), "there is no file {ending}");
        Ok(seeds)
    };
    read().with_context(|| folder.display().to_string())
}
