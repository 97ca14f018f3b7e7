//! Where the fields of ELF and PE files are. Seeds are valid, so a file is read
//! the short way; a place that is not there is left out.

/// A field: its offset in the file, and its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) at: usize,
    pub(crate) width: usize,
}

/// Fields that belong together, such as those of all section headers.
pub(crate) type Group = Vec<Field>;

/// Returns the fields of a file, in groups of which none is empty.
pub(crate) fn find(bytes: &[u8]) -> Vec<Group> {
    let mut groups = match bytes {
        [0x7f, b'E', b'L', b'F', ..] => elf(bytes, 0),
        [b'M', b'Z', ..] => pe(bytes),
        _ => vec![words(0, bytes.len())],
    };
    for group in &mut groups {
        group.retain(|field| field.at + field.width <= bytes.len());
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// The fields of the ELF file at `base`.
fn elf(bytes: &[u8], base: usize) -> Vec<Group> {
    let number = |at, width| number(bytes, base + at, width);
    let (table, count) = (number(40, 8), number(60, 2));
    let mut groups = vec![fields(base, ELF_HEADER)];
    let mut headers = Group::new();
    for index in 0..count {
        let header = table + 64 * index;
        headers.extend(fields(base + header, SECTION_HEADER));
        let (kind, offset, len) = (
            number(header + 4, 4),
            number(header + 24, 8),
            number(header + 32, 8),
        );
        let entries = |layout, len_each| {
            let starts = (offset..offset + len).step_by(len_each);
            starts.flat_map(|at| fields(base + at, layout)).collect()
        };
        match kind {
            SHT_SYMTAB => groups.push(entries(SYMBOL, 24)),
            SHT_REL => groups.push(entries(RELOCATION, 16)),
            SHT_RELA => groups.push(entries(RELOCATION, 24)),
            SHT_NOBITS => {}
            // A container's parsers, or the container in it.
            _ if offset > 0 && is_elf(bytes, base + offset) => {
                groups.extend(elf(bytes, base + offset));
            }
            _ => groups.push(words(base + offset, len)),
        }
    }
    groups.push(headers);
    groups
}

/// The fields of a PE file and those of a parser in it.
fn pe(bytes: &[u8]) -> Vec<Group> {
    let number = |at, width| number(bytes, at, width);
    let start = number(0x3c, 4);
    let optional = start + 24;
    let optional_len = number(start + 20, 2);
    let mut groups = vec![
        fields(0, DOS_HEADER),
        fields(start, FILE_HEADER),
        fields(optional, OPTIONAL_HEADER),
        words(optional + 108, optional_len.saturating_sub(108)),
    ];
    let mut headers = Group::new();
    for index in 0..number(start + 6, 2) {
        let header = optional + optional_len + 40 * index;
        headers.extend(fields(header, PE_SECTION));
        let (len, at) = (number(header + 16, 4), number(header + 20, 4));
        groups.push(words(at, len));
        if is_elf(bytes, at) {
            groups.extend(elf(bytes, at));
        }
    }
    groups.push(headers);
    groups
}

fn is_elf(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..).is_some_and(|it| it.starts_with(b"\x7fELF"))
}

fn fields(base: usize, layout: &[(usize, usize)]) -> Group {
    let fields = layout.iter().map(|&(at, width)| Field {
        at: base + at,
        width,
    });
    fields.collect()
}

/// Bytes as numbers of four, which most are in BTF, maps and instructions.
fn words(start: usize, len: usize) -> Group {
    let places = (start..start.saturating_add(len)).step_by(4);
    places.map(|at| Field { at, width: 4 }).collect()
}

/// Returns the number at `at`, or 0 where there is none.
pub(crate) fn number(bytes: &[u8], at: usize, width: usize) -> usize {
    let mut buffer = [0; 8];
    if let Some(bytes) = at.checked_add(width).and_then(|end| bytes.get(at..end)) {
        buffer[..width].copy_from_slice(bytes);
    }
    u64::from_le_bytes(buffer) as usize
}

// Offset and width of fields.
const ELF_HEADER: &[(usize, usize)] = &[
    (4, 1),
    (5, 1),
    (6, 1),
    (16, 2),
    (18, 2),
    (20, 4),
    (24, 8),
    (32, 8),
    (40, 8),
    (48, 4),
    (52, 2),
    (54, 2),
    (56, 2),
    (58, 2),
    (60, 2),
    (62, 2),
];
const SECTION_HEADER: &[(usize, usize)] = &[
    (0, 4),
    (4, 4),
    (8, 8),
    (16, 8),
    (24, 8),
    (32, 8),
    (40, 4),
    (44, 4),
    (48, 8),
    (56, 8),
];
const SYMBOL: &[(usize, usize)] = &[(0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8)];
const RELOCATION: &[(usize, usize)] = &[(0, 8), (8, 4), (12, 4)];
/// `e_lfanew`, and where zboot puts its payload's place and compression.
const DOS_HEADER: &[(usize, usize)] = &[(0, 2), (4, 4), (8, 4), (12, 4), (24, 4), (0x3c, 4)];
const FILE_HEADER: &[(usize, usize)] = &[
    (0, 4),
    (4, 2),
    (6, 2),
    (8, 4),
    (12, 4),
    (16, 4),
    (20, 2),
    (22, 2),
];
const OPTIONAL_HEADER: &[(usize, usize)] = &[
    (0, 2),
    (16, 4),
    (24, 8),
    (32, 4),
    (36, 4),
    (56, 4),
    (60, 4),
    (64, 4),
    (68, 2),
    (70, 2),
    (72, 8),
    (108, 4),
];
const PE_SECTION: &[(usize, usize)] = &[
    (0, 8),
    (8, 4),
    (12, 4),
    (16, 4),
    (20, 4),
    (24, 4),
    (28, 4),
    (32, 2),
    (34, 2),
    (36, 4),
];

const SHT_SYMTAB: usize = 2;
const SHT_RELA: usize = 4;
const SHT_NOBITS: usize = 8;
const SHT_REL: usize = 9;
