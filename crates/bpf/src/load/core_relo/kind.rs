//! The kinds of CO-RE records.

use crate::BpfError;
use crate::bounds::size;

/// The question that a record asks (`enum bpf_core_relo_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RelocKind {
    FieldByteOffset,
    FieldByteSize,
    FieldExists,
    FieldSigned,
    FieldLshift,
    FieldRshift,
    TypeIdLocal,
    TypeIdTarget,
    TypeExists,
    TypeSize,
    EnumvalExists,
    EnumvalValue,
    TypeMatches,
}

/// By number, with the words for what a program asks with it.
const KINDS: [(RelocKind, &str); 13] = [
    (RelocKind::FieldByteOffset, "the offset"),
    (RelocKind::FieldByteSize, "the size"),
    (RelocKind::FieldExists, "the existence"),
    (RelocKind::FieldSigned, "the signedness"),
    (RelocKind::FieldLshift, "the bits"),
    (RelocKind::FieldRshift, "the bits"),
    (RelocKind::TypeIdLocal, "the type id"),
    (RelocKind::TypeIdTarget, "the type id"),
    (RelocKind::TypeExists, "the existence"),
    (RelocKind::TypeSize, "the size"),
    (RelocKind::EnumvalExists, "the existence"),
    (RelocKind::EnumvalValue, "the value"),
    (RelocKind::TypeMatches, "the existence"),
];

impl RelocKind {
    pub(super) fn from_number(number: u32) -> Result<Self, BpfError> {
        let known = KINDS.get(size(number)).map(|(kind, _)| *kind);
        known.ok_or_else(|| {
            BpfError::new(format!(
                "the CO-RE relocation is of kind {number}, and kinds up to 12 are known"
            ))
        })
    }

    pub(super) fn is_type(self) -> bool {
        matches!(
            self,
            Self::TypeIdLocal
                | Self::TypeIdTarget
                | Self::TypeExists
                | Self::TypeSize
                | Self::TypeMatches
        )
    }

    pub(super) fn is_enumval(self) -> bool {
        matches!(self, Self::EnumvalExists | Self::EnumvalValue)
    }

    pub(super) fn wanted(self) -> &'static str {
        let row = KINDS.iter().find(|(kind, _)| *kind == self);
        row.map_or("", |(_, wanted)| wanted)
    }
}
