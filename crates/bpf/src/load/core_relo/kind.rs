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

impl RelocKind {
    pub(super) fn from_number(number: u32) -> Result<Self, BpfError> {
        const ALL: [RelocKind; 13] = [
            RelocKind::FieldByteOffset,
            RelocKind::FieldByteSize,
            RelocKind::FieldExists,
            RelocKind::FieldSigned,
            RelocKind::FieldLshift,
            RelocKind::FieldRshift,
            RelocKind::TypeIdLocal,
            RelocKind::TypeIdTarget,
            RelocKind::TypeExists,
            RelocKind::TypeSize,
            RelocKind::EnumvalExists,
            RelocKind::EnumvalValue,
            RelocKind::TypeMatches,
        ];
        ALL.get(size(number)).copied().ok_or_else(|| {
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

    /// Returns the words for what a program asks with it.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::FieldByteOffset => "the offset",
            Self::FieldByteSize | Self::TypeSize => "the size",
            Self::FieldSigned => "the signedness",
            Self::FieldLshift | Self::FieldRshift => "the bits",
            Self::FieldExists | Self::TypeExists | Self::EnumvalExists | Self::TypeMatches => {
                "the existence"
            }
            Self::TypeIdLocal | Self::TypeIdTarget => "the type id",
            Self::EnumvalValue => "the value",
        }
    }
}
