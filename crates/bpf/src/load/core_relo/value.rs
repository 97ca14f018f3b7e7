//! The value of a path's end for each kind of record.

use super::kind::RelocKind;
use super::spec::Spec;
use crate::BpfError;
use crate::bounds;
use crate::btf::{Btf, Kind, TypeId};

/// The largest load, in bytes.
const MAX_LOAD: u64 = 8;

/// The most dimensions of an array whose elements are looked at.
const MAX_DIMENSIONS: u32 = 32;

/// The constant that an instruction should have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) value: u64,
    /// Whether the compiler must have found the same value.
    pub(super) certain: bool,
    /// The type of the field whose offset this is; an array's element.
    pub(super) field: Option<TypeId>,
    /// The size of that type.
    pub(super) field_size: u64,
}

/// A constant to be patched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolution {
    /// By the program's own types.
    pub(super) old: Value,
    /// By the host's; `None` if they say nothing.
    pub(super) new: Option<Value>,
    /// Whether a load or store may become one of another size.
    pub(super) resizable: bool,
}

impl Value {
    fn plain(value: u64) -> Self {
        Self {
            value,
            certain: true,
            field: None,
            field_size: 0,
        }
    }
}

/// Returns the value where the host has nothing of the kind; `None` if the
/// instruction then has no meaning.
pub(super) fn absent(kind: RelocKind) -> Option<Value> {
    let answers =
        kind.is_type() || matches!(kind, RelocKind::FieldExists | RelocKind::EnumvalExists);
    answers.then(|| Value::plain(0))
}

pub(super) fn value(btf: &Btf, spec: &Spec, kind: RelocKind) -> Result<Value, BpfError> {
    Ok(match kind {
        RelocKind::FieldExists
        | RelocKind::TypeExists
        | RelocKind::TypeMatches
        | RelocKind::EnumvalExists => Value::plain(1),
        RelocKind::TypeIdLocal => Value::plain(u64::from(spec.root.0)),
        // A linker may have renumbered the types since.
        RelocKind::TypeIdTarget => Value {
            certain: false,
            ..Value::plain(u64::from(spec.root.0))
        },
        RelocKind::TypeSize => Value::plain(size(btf, spec, spec.root)?),
        RelocKind::EnumvalValue => Value::plain(enum_value(btf, spec)?),
        RelocKind::FieldByteOffset
        | RelocKind::FieldByteSize
        | RelocKind::FieldSigned
        | RelocKind::FieldLshift
        | RelocKind::FieldRshift => field_value(btf, spec, kind)?,
    })
}

fn enum_value(btf: &Btf, spec: &Spec) -> Result<u64, BpfError> {
    let step = spec.steps.first();
    let value = step.and_then(|step| btf.values(step.ty).get(bounds::size(step.index)));
    let value = value.map(|value| value.value);
    value.ok_or_else(|| {
        let spec = spec.describe(btf);
        BpfError::new(format!("{spec} is no value of the enum"))
    })
}

fn size(btf: &Btf, spec: &Spec, ty: TypeId) -> Result<u64, BpfError> {
    btf.size(ty).ok_or_else(|| {
        let ty = btf.describe(ty);
        BpfError::new(format!("type {ty} has no size")).of(spec.describe(btf))
    })
}

fn field_value(btf: &Btf, spec: &Spec, kind: RelocKind) -> Result<Value, BpfError> {
    // A path of no steps ends where it begins.
    let (ty, named) = spec.steps.last().map_or_else(
        || (btf.resolve(spec.root), None),
        |step| (step.ty, step.name.and(Some(step.index))),
    );
    let member = named.and_then(|index| btf.members(ty).get(bounds::size(index)));
    let Some(member) = member else {
        let size = size(btf, spec, ty)?;
        return match kind {
            RelocKind::FieldByteOffset => Ok(Value {
                field: Some(ty),
                field_size: size,
                ..Value::plain(spec.bit_offset / 8)
            }),
            RelocKind::FieldByteSize => Ok(Value::plain(size)),
            _ => {
                let text = "an array element can be asked for its offset and size only";
                Err(BpfError::new(text).of(spec.describe(btf)))
            }
        };
    };
    let ty = btf.resolve(member.ty);
    let bits = u64::from(member.bitfield_size);
    let load = Load::new(spec.bit_offset, bits, size(btf, spec, ty)?);
    let load = load.ok_or_else(|| {
        let text = "the bitfield cannot be covered by a load of 8 bytes";
        BpfError::new(text).of(spec.describe(btf))
    })?;
    // How to load a bitfield is the compiler's choice, which may differ.
    let certain = bits == 0;
    let plain = |value| Value {
        certain,
        ..Value::plain(value)
    };
    Ok(match kind {
        RelocKind::FieldByteOffset if certain => {
            let elem = element(btf, ty);
            Value {
                field: Some(elem),
                field_size: size(btf, spec, elem)?,
                ..Value::plain(load.offset)
            }
        }
        RelocKind::FieldByteOffset => plain(load.offset),
        RelocKind::FieldByteSize => plain(load.size),
        RelocKind::FieldSigned => Value::plain(u64::from(signed(&btf.get(ty).kind))),
        RelocKind::FieldLshift => plain(load.lshift),
        _ => Value::plain(load.rshift),
    })
}

/// The type of an array's elements, also of arrays of arrays.
fn element(btf: &Btf, ty: TypeId) -> TypeId {
    let mut ty = btf.resolve(ty);
    for _ in 0..MAX_DIMENSIONS {
        let Kind::Array { elem, .. } = btf.get(ty).kind else {
            break;
        };
        ty = btf.resolve(elem);
    }
    ty
}

fn signed(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Int { signed: true, .. } | Kind::Enum { signed: true, .. }
    )
}

/// The load that covers a field, and the shifts that cut it out of the 64-bit
/// register on a little-endian machine.
struct Load {
    offset: u64,
    size: u64,
    lshift: u64,
    rshift: u64,
}

impl Load {
    fn new(bit_offset: u64, bitfield_bits: u64, type_size: u64) -> Option<Self> {
        let (mut size, mut bits) = (type_size, bitfield_bits);
        let mut offset = bit_offset / 8;
        let end = |offset: u64, bits: u64| {
            let end = bit_offset.checked_add(bits)?;
            end.checked_sub(offset.checked_mul(8)?)
        };
        if bits == 0 {
            bits = size.checked_mul(8)?;
        } else {
            loop {
                offset = (bit_offset / 8).checked_div(size)?.checked_mul(size)?;
                if end(offset, bits)? <= size.checked_mul(8)? {
                    break;
                }
                size = size.checked_mul(2).filter(|size| *size <= MAX_LOAD)?;
            }
        }
        Some(Self {
            offset,
            size,
            lshift: 64_u64.wrapping_sub(end(offset, bits)?),
            rshift: 64_u64.wrapping_sub(bits),
        })
    }
}

/// Returns whether a load of the old field may become one of the new field:
/// only where no sign can be lost.
pub(super) fn resizable(local: &Btf, host: &Btf, old: &Value, new: &Value) -> bool {
    let (Some(ours), Some(theirs)) = (old.field, new.field) else {
        return true;
    };
    if old.field_size == new.field_size {
        return true;
    }
    matches!(
        (local.resolved_kind(ours), host.resolved_kind(theirs)),
        (Kind::Ptr(_), Kind::Ptr(_))
            | (
                Kind::Int { signed: false, .. },
                Kind::Int { signed: false, .. }
            )
    )
}
