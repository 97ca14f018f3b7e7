//! Boot partitions in memory, and images.

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::{BootFiles, ImageSummary, LoaderConf, Menu, Partition, Running, Type1, Variables};

/// An os-release file.
pub(crate) const OSREL: &[u8] =
    b"PRETTY_NAME=\"Debian 13\"\nNAME=Debian\nID=debian\nVERSION_ID=13\n";

/// Returns a unified kernel image with `sections` behind its kernel.
pub(crate) fn uki(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let sections = [&[(".linux", &b"kernel"[..])], sections].concat();
    let table = 0x40 + 24 + 240;
    let headers = (table + 40 * sections.len()).next_multiple_of(0x1000);
    let mut image = vec![0; headers];
    let mut places = Vec::new();
    for (_, content) in &sections {
        // In the file as in memory, each at a place of its own.
        places.push(image.len() as u32);
        image.extend_from_slice(content);
        image.resize((image.len() + 1).next_multiple_of(0x1000), 0);
    }
    let end = image.len() as u32;
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0\x64\x86");
    put(0x46, &(sections.len() as u16).to_le_bytes());
    put(0x54, &240_u16.to_le_bytes()); // SizeOfOptionalHeader
    put(0x58, &0x20b_u16.to_le_bytes()); // PE32+
    put(0x58 + 32, &0x1000_u32.to_le_bytes()); // SectionAlignment
    put(0x58 + 36, &0x200_u32.to_le_bytes()); // FileAlignment
    put(0x58 + 56, &end.to_le_bytes()); // SizeOfImage
    put(0x58 + 60, &(headers as u32).to_le_bytes()); // SizeOfHeaders
    put(0x58 + 68, &10_u16.to_le_bytes()); // an EFI application
    put(0x58 + 108, &16_u32.to_le_bytes()); // data directories
    for (index, ((name, content), place)) in sections.iter().zip(places).enumerate() {
        let entry = table + 40 * index;
        put(entry, name.as_bytes());
        put(entry + 8, &(content.len() as u32).to_le_bytes());
        put(entry + 12, &place.to_le_bytes());
        let raw = content.len().next_multiple_of(0x200) as u32;
        put(entry + 16, &raw.to_le_bytes());
        put(entry + 20, &place.to_le_bytes());
    }
    image
}

/// Boot partitions and variables.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<(Partition, Vec<u8>), Vec<u8>>,
    variables: BTreeMap<String, String>,
    pub(crate) running: Running,
}

impl Tree {
    /// Returns a tree with these files; those of XBOOTLDR have `x:` in front.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let mut tree = Self {
            running: Running {
                architecture: Some("x86_64".to_owned()),
                ..Running::default()
            },
            ..Self::default()
        };
        for (path, content) in files {
            tree.add(path.as_bytes(), content);
        }
        tree
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, path: &[u8], content: &[u8]) {
        let place = match path.strip_prefix(b"x:") {
            Some(path) => (Partition::Xbootldr, path.to_vec()),
            None => (Partition::Esp, path.to_vec()),
        };
        self.files.insert(place, content.to_vec());
    }

    /// Returns the tree with a variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Returns the menu.
    pub(crate) fn menu(&mut self) -> Menu {
        let variables = Values(self.variables.clone());
        let running = self.running.clone();
        Menu::read(self, &variables, &running).unwrap()
    }

    fn file(&self, partition: Partition, path: &str) -> Result<&Vec<u8>, String> {
        let file = self.files.get(&(partition, path.as_bytes().to_vec()));
        file.ok_or_else(|| "no such file".to_owned())
    }
}

impl BootFiles for Tree {
    type Error = Infallible;

    fn names(
        &mut self,
        partition: Partition,
        folder: &str,
        each: &mut dyn FnMut(&[u8], Option<&'static str>),
    ) -> Result<(), Infallible> {
        for ((at, path), content) in &self.files {
            let name = path.strip_prefix(format!("{folder}/").as_bytes());
            if let Some(name) = name.filter(|_| *at == partition) {
                each(name, (content == b"link").then_some("a symbolic link"));
            }
        }
        Ok(())
    }

    fn loader_conf(&mut self) -> Result<LoaderConf, Infallible> {
        let file = self.file(Partition::Esp, "loader/loader.conf");
        Ok(LoaderConf::parse(
            file.map(Vec::as_slice).unwrap_or_default(),
        ))
    }

    fn type1(&mut self, at: Partition, path: &str) -> Result<Result<Type1, String>, Infallible> {
        Ok(self.file(at, path).and_then(|file| Type1::parse(file)))
    }

    fn image(
        &mut self,
        at: Partition,
        path: &str,
    ) -> Result<Result<ImageSummary, String>, Infallible> {
        Ok(self.file(at, path).and_then(ImageSummary::read))
    }
}

struct Values(BTreeMap<String, String>);

impl Variables for Values {
    fn payload(&self, name: &str) -> Option<Vec<u8>> {
        let units = self.0.get(name)?.encode_utf16().chain([0]);
        Some(units.flat_map(u16::to_le_bytes).collect())
    }
}
