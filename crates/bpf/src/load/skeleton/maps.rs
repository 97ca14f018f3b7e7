//! The commands about maps and types.

use bytes::Bytes;

use super::attr::{Attr, u32_at};
use super::call_error::{CallError, check_count};
use super::kernel::{Descriptor, Kernel, Made};
use crate::bounds::wide;
use crate::btf::{Btf, MAX_BTF_BYTES};
use crate::costs::looked;
use crate::guest::errno;
use crate::guest::memory::Memory;
use crate::load::definition::Definition;
use crate::load::limits::{MAX_INITIAL_BYTES, MAX_MAPS, MAX_TYPES_LOADED};
use crate::{BpfError, MapKind};

impl Kernel<'_> {
    /// `BPF_BTF_LOAD`.
    pub(super) fn btf_load(&mut self, attr: &Attr, memory: &mut Memory) -> Result<u64, CallError> {
        let index = self.btfs.len();
        check_count("sets of types", index.saturating_add(1), MAX_TYPES_LOADED)?;
        let size = u64::from(attr.u32(16));
        let limit = wide(MAX_BTF_BYTES);
        // A failed attempt was read too.
        self.spent.types = self.spent.types.saturating_add(size);
        if self.spent.types > limit {
            return Err(CallError::too_many("bytes of BTF", self.spent.types, limit));
        }
        let bytes = attr.array(memory, "btf", 0, size, limit)?;
        memory.account.worked(looked(size));
        self.btfs.push(Btf::parse(&bytes).map_err(damaged)?);
        Ok(self.open(Descriptor::Btf(index)))
    }

    /// `BPF_MAP_CREATE`.
    pub(super) fn map_create(&mut self, attr: &Attr) -> Result<u64, CallError> {
        let index = self.maps.len();
        check_count("maps", index.saturating_add(1), MAX_MAPS)?;
        let definition = Definition {
            kind: Some(attr.u32(0)),
            key_size: attr.u32(4),
            value_size: attr.u32(8),
            max_entries: attr.u32(12),
            flags: attr.u32(16),
        };
        let map = definition.into_map(attr.name(28))?;
        self.maps.push(Made { map, frozen: false });
        Ok(self.open(Descriptor::Map(index)))
    }

    /// `BPF_MAP_UPDATE_ELEM`, which loaders use to give data sections their
    /// first value.
    pub(super) fn map_update(
        &mut self,
        attr: &Attr,
        memory: &mut Memory,
    ) -> Result<u64, CallError> {
        let index = self.map_of(attr)?;
        let Some(made) = self.maps.get_mut(index) else {
            return Ok(0);
        };
        if made.frozen {
            let text = format!("map {} is frozen", made.map.name);
            return Err(CallError::new(errno::EPERM, text));
        }
        if made.map.kind != MapKind::Array {
            return Err(attr.refuse("map_fd", "an array: only their values are set", attr.u64(0)));
        }
        if attr.u64(24) > 1 {
            return Err(attr.refuse("flags", "0 (any) or 1 (exists)", attr.u64(24)));
        }
        let key = u32_at(attr.command, "key", memory, attr.u64(8))?;
        if key != 0 {
            return Err(attr.refuse("key", "0: only the first value is set", key));
        }
        let size = u64::from(made.map.value_size);
        // One value of the blob can be given to many maps.
        self.spent.initial = self.spent.initial.saturating_add(size);
        if self.spent.initial > MAX_INITIAL_BYTES {
            let (part, found) = ("bytes of maps' first values", self.spent.initial);
            return Err(CallError::too_many(part, found, MAX_INITIAL_BYTES));
        }
        let value = attr.array(memory, "value", 16, size, MAX_INITIAL_BYTES)?;
        made.map.initial = Some(Bytes::from(value));
        Ok(0)
    }

    /// `BPF_MAP_FREEZE`.
    pub(super) fn map_freeze(&mut self, attr: &Attr) -> Result<u64, CallError> {
        let index = self.map_of(attr)?;
        if let Some(made) = self.maps.get_mut(index) {
            made.frozen = true;
        }
        Ok(0)
    }

    fn map_of(&self, attr: &Attr) -> Result<usize, CallError> {
        let fd = attr.u32(0);
        match self.descriptor(fd) {
            Some(Descriptor::Map(index)) => Ok(index),
            _ => Err(CallError::descriptor(attr.command, "map_fd", "a map", fd)),
        }
    }
}

/// Returns the error of type information that cannot be read.
pub(super) fn damaged(error: BpfError) -> CallError {
    error.of("the type information is damaged").into()
}
