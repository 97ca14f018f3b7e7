//! BTF: the types of an object file and of the host.

/// A set of types.
#[derive(Debug, Default)]
pub struct Btf {}
