//! `union bpf_attr` as a loader program hands it over, and what its pointers
//! lead to.
//!
//! Spec: Linux `include/uapi/linux/bpf.h`.

use super::call_error::CallError;
use crate::BpfError;
use crate::bounds::{before_nul, rest, size};
use crate::guest::errno;
use crate::guest::memory::{Access, Memory};

/// Bytes of an attr that any command here reads.
const LEN: usize = 160;
/// The most bytes of an attr (Linux takes a page).
const MAX_LEN: u64 = 4096;

/// One attr, zeros where the loader gives less.
#[derive(Debug)]
pub(super) struct Attr {
    pub(super) command: &'static str,
    bytes: [u8; LEN],
}

impl Attr {
    pub(super) fn read(
        command: &'static str,
        memory: &mut Memory,
        addr: u64,
        size: u64,
    ) -> Result<Self, CallError> {
        let bytes = [0; LEN];
        let mut attr = Self { command, bytes };
        let all = array(command, "attr", memory, addr, size, MAX_LEN)?;
        let (known, unknown) = all.split_at(all.len().min(LEN));
        if unknown.iter().any(|&byte| byte != 0) {
            let expected = "zeros behind the fields that are known";
            return Err(attr.refuse("size", expected, size));
        }
        for (to, from) in attr.bytes.iter_mut().zip(known) {
            *to = *from;
        }
        Ok(attr)
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes_at(at))
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes_at(at))
    }

    fn bytes_at<const N: usize>(&self, at: usize) -> [u8; N] {
        // Behind an attr's end there are zeros, as behind a loader's.
        let bytes = rest(&self.bytes, at).first_chunk();
        bytes.copied().unwrap_or([0; N])
    }

    /// Returns the name in the 16 bytes at byte `at`, for messages too.
    pub(super) fn name(&self, at: usize) -> String {
        let name = text(&self.bytes_at::<16>(at));
        if name.is_empty() {
            return "(unnamed)".to_owned();
        }
        name
    }

    /// Returns `len` bytes at the pointer in the field at byte `at`, called
    /// `field`; at most `limit` are taken.
    pub(super) fn array(
        &self,
        memory: &mut Memory,
        field: &'static str,
        at: usize,
        len: u64,
        limit: u64,
    ) -> Result<Vec<u8>, CallError> {
        array(self.command, field, memory, self.u64(at), len, limit)
    }

    pub(super) fn refuse(&self, field: &str, expected: &str, found: impl Into<u64>) -> CallError {
        BpfError::field(self.command, field, expected, found.into()).into()
    }
}

/// Returns the 32-bit number at `addr`, which `field` of `command` names.
pub(super) fn u32_at(
    command: &str,
    field: &str,
    memory: &mut Memory,
    addr: u64,
) -> Result<u32, CallError> {
    let mut bytes = [0; 4];
    let read = memory.read(addr, &mut bytes);
    read.map_err(|problem| CallError::memory(command, field, problem))?;
    Ok(u32::from_le_bytes(bytes))
}

/// Returns the `len` bytes at `addr`, which `field` of `command` names.
pub(super) fn array(
    command: &'static str,
    field: &'static str,
    memory: &mut Memory,
    addr: u64,
    len: u64,
    limit: u64,
) -> Result<Vec<u8>, CallError> {
    if len > limit {
        let text = format!("{command}, {field}: {len} bytes, at most {limit} are taken");
        return Err(CallError::new(errno::E2BIG, text));
    }
    if len == 0 {
        return Ok(Vec::new());
    }
    let refused = |problem| CallError::memory(command, field, problem);
    memory.check(Access::Read, addr, len).map_err(refused)?;
    let mut bytes = vec![0; size(len)];
    memory.read(addr, &mut bytes).map_err(refused)?;
    Ok(bytes)
}

/// Returns what is before the NUL of a text, as text.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(before_nul(bytes)).into_owned()
}
