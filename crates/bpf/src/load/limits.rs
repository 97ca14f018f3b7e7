//! How much of what is taken of an object or light skeleton.

/// The most bytes of an object.
pub const MAX_OBJECT_BYTES: usize = 16 << 20;
/// The most maps of an object, data sections included.
pub const MAX_MAPS: usize = 64;
/// The most programs of an object.
pub const MAX_PROGRAMS: usize = 32;
/// The most instruction slots of all programs of an object, linked.
pub const MAX_INSNS: usize = 1_000_000;
/// The most functions one program may reach (Linux `BPF_MAX_SUBPROGS`).
pub(crate) const MAX_FUNCTIONS: usize = 256;
/// The most kfuncs an object may name (Linux `MAX_KFUNC_DESCS`).
pub const MAX_KFUNCS: usize = 256;
/// The most CO-RE relocations of an object.
pub(crate) const MAX_CORE_RELOS: usize = 1 << 16;
/// The most externs an object may declare.
pub(crate) const MAX_EXTERNS: usize = 1 << 16;
/// The most sections of an ELF file.
pub(crate) const MAX_SECTIONS: usize = 4096;
/// The most bytes of a map's value, thus of a data section.
pub(crate) const MAX_VALUE_BYTES: u64 = 256 << 20;
/// The most bytes of a licence (Linux keeps 128).
pub(crate) const MAX_LICENSE: usize = 128;

/// The most instructions that a loader program may run, beside what its calls
/// move.
pub(crate) const MAX_LOADER_INSNS: u64 = 4_000_000;
/// The most bytes that a loader program may hold, its blob included.
pub const MAX_LOADER_BYTES: u64 = 64 << 20;
/// The most calls of the kernel that a loader program may make.
pub(crate) const MAX_CALLS: u32 = 4096;
/// The most times that a loader program may load types; libbpf's do once.
pub(crate) const MAX_TYPES_LOADED: usize = 4;
/// The most bytes of the first values of all maps of a light skeleton.
pub const MAX_INITIAL_BYTES: u64 = 16 << 20;
/// The most bytes of records about instructions, of all programs of a light
/// skeleton.
pub(crate) const MAX_RECORD_BYTES: u64 = 16 << 20;
