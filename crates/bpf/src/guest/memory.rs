//! Guest memory: all that a program can address.
//!
//! A guest address is `region << 32 | offset`; it is never a host address.
//! Region 0 does not exist, so NULL points nowhere. A region is a rope shown
//! read-only, private bytes, or a ring-buffer record (see `sparse`). A region
//! that was given back keeps its number, so that a late access differs from a
//! wild one.
//!
//! Bytes held are drawn from [`crate::Meter::memory`]; bytes moved are paid
//! for from [`crate::Meter::insns`], one for 64.
#![cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        reason = "addresses are taken apart here; every span is checked against its region first"
    )
)]

mod account;
mod frame;
mod page_cache;
mod reference;
mod region;
mod sparse;
#[cfg(test)]
mod tests;
mod transfer;

use std::sync::Arc;

use self::account::Account;
use self::frame::Frame;
use self::reference::References;
pub(crate) use self::reference::Site;
use self::region::{Body, CachedRope, Region};
use self::sparse::Sparse;
pub use self::transfer::Excerpt;
use crate::costs::REGION_ROOM;
pub use crate::denied::Access;
use crate::denied::{Denied, Gone, Shape, Shown, Why};
use crate::{BpfError, Rope};

/// All that a program can address.
#[derive(Debug, Default)]
pub struct Memory {
    /// Region `n` is at index `n - 1`.
    regions: Vec<Region>,
    pub(crate) account: Account,
    references: References,
}

/// The upper half of addresses that are not memory.
pub(crate) mod handle {
    /// The address of a kfunc; the lower half is its index.
    pub(crate) const KFUNC: u64 = 0x8000_0001 << 32;
    /// The address of a function; the lower half is its slot.
    pub(crate) const FUNCTION: u64 = 0x8000_0002 << 32;
}

impl Memory {
    /// Adds a read-only region that shows `rope`, and returns its address.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if the rope is 4 GiB or longer.
    pub fn add_rope(&mut self, name: impl Into<Arc<str>>, rope: Rope) -> Result<u64, BpfError> {
        self.add(name.into(), Body::Rope(Box::new(CachedRope::new(rope))))
    }

    /// Adds a region of private memory, and returns its address. The bytes are
    /// charged to [`crate::Meter::memory`].
    ///
    /// # Errors
    ///
    /// [`BpfError`] if the budget does not have them, or if they are 4 GiB or
    /// more.
    pub fn add_bytes(
        &mut self,
        name: impl Into<Arc<str>>,
        bytes: Vec<u8>,
        writable: bool,
    ) -> Result<u64, BpfError> {
        self.add(name.into(), Body::Bytes { bytes, writable })
    }

    /// Adds the values of an array, which begin `apart` bytes apart, and returns
    /// their address.
    pub(crate) fn add_array(
        &mut self,
        name: Arc<str>,
        bytes: Vec<u8>,
        writable: bool,
        apart: u32,
    ) -> Result<u64, BpfError> {
        let addr = self.add(name, Body::Bytes { bytes, writable })?;
        if let Some(region) = region_mut(&mut self.regions, addr) {
            region.apart = apart;
        }
        Ok(addr)
    }

    /// Adds a record of zeros, and returns its address.
    pub(crate) fn add_record(&mut self, name: Arc<str>, len: u32) -> Result<u64, BpfError> {
        self.add(name, Body::Record(Box::new(Sparse::new(len))))
    }

    /// Adds something that can be pointed to, and returns its address.
    pub(crate) fn add_handle(&mut self, name: Arc<str>) -> Result<u64, BpfError> {
        self.add(name, Body::Handle)
    }

    /// Adds a stack frame of `len` bytes that no function is active in, and
    /// returns its address.
    pub(crate) fn add_frame(&mut self, name: Arc<str>, len: usize) -> Result<u64, BpfError> {
        self.add(name, Body::Frame(Frame::new(len)))
    }

    /// Makes `bytes` readable at the handle `addr`.
    pub(crate) fn show_handle(&mut self, addr: u64, bytes: Vec<u8>) {
        if let Some(region) = region_mut(&mut self.regions, addr) {
            region.body = Body::Bytes {
                bytes,
                writable: false,
            };
        }
    }

    /// Fills `buf` from the bytes at `addr`.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if not all of them can be read.
    pub fn read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), BpfError> {
        self.check(Access::Read, addr, buf.len() as u64)?;
        self.at(addr, |region, offset, account| {
            region.read(offset, buf, account)
        })
    }

    /// Returns the text at `addr` up to its NUL, which is not part of it.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if there is no NUL in the first `max` bytes, or if memory
    /// ends before.
    pub fn read_cstr(&mut self, addr: u64, max: usize) -> Result<Vec<u8>, BpfError> {
        let (text, ended) = self.read_text(addr, max)?;
        if ended {
            return Ok(text);
        }
        Err(BpfError::unterminated(self.describe(addr), max))
    }

    /// Returns the text at `addr` up to its NUL or to `max` bytes, and whether
    /// the NUL was there.
    pub(crate) fn read_text(&mut self, addr: u64, max: usize) -> Result<(Vec<u8>, bool), BpfError> {
        const CHUNK: usize = 128;
        let mut text = Vec::new();
        while text.len() < max {
            let at = addr.wrapping_add(text.len() as u64);
            let rest = self.rest(at);
            if rest == 0 {
                return Err(self.refuse(Access::Read, at, 1));
            }
            let mut chunk = [0; CHUNK];
            let len = rest.min(CHUNK.min(max - text.len()) as u64) as usize;
            let (chunk, _) = chunk.split_at_mut(len);
            self.read(at, chunk)?;
            if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
                text.extend(chunk.iter().take(end));
                return Ok((text, true));
            }
            text.extend_from_slice(chunk);
        }
        Ok((text, false))
    }

    /// Writes `bytes` at `addr`.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if not all of them can be written.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), BpfError> {
        self.check(Access::Write, addr, bytes.len() as u64)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.at(addr, |region, offset, account| {
            region.write(offset, bytes, account)
        })
    }

    /// Returns `addr` as a person reads it: `image+0x1f3`.
    #[must_use]
    pub fn describe(&self, addr: u64) -> String {
        match (addr & UPPER, self.region(addr)) {
            (handle::KFUNC, _) => format!("the address of kfunc {}", addr as u32),
            (handle::FUNCTION, _) => format!("the address of the function at insn {}", addr as u32),
            (_, Some(region)) if matches!(region.body, Body::Handle) => region.name.to_string(),
            (_, Some(region)) => region.shown().at(i64::from(addr as u32)),
            (_, None) => format!("{addr:#x}"),
        }
    }

    /// Returns `value` as [`Memory::describe`] does, if it is the address of
    /// something there is.
    #[must_use]
    pub fn place(&self, value: u64) -> Option<String> {
        let is_handle = matches!(value & UPPER, handle::KFUNC | handle::FUNCTION);
        (is_handle || self.region(value).is_some()).then(|| self.describe(value))
    }

    /// Says whether `len` bytes at `addr` can be read or written.
    #[inline]
    pub(crate) fn check(&self, access: Access, addr: u64, len: u64) -> Result<(), BpfError> {
        let fits = self.region(addr).is_some_and(|region| {
            let rights = match &region.body {
                Body::Bytes { writable, .. } => *writable || access == Access::Read,
                Body::Rope(_) => access == Access::Read,
                Body::Record(_) => true,
                Body::Frame(frame) => frame.is_active(),
                Body::Handle | Body::Gone(_) => false,
            };
            rights && u64::from(addr as u32).saturating_add(len) <= region.len()
        });
        if fits {
            Ok(())
        } else {
            Err(self.refuse(access, addr, len))
        }
    }

    /// Returns the `N` bytes at `addr` if they are at hand; else
    /// [`Memory::load`] gets them or says why not.
    #[inline(always)]
    pub(crate) fn peek<const N: usize>(&self, addr: u64) -> Option<[u8; N]> {
        let index = ((addr >> 32) as usize).wrapping_sub(1);
        match &self.regions.get(index)?.body {
            Body::Bytes { bytes, .. } => bytes.get(addr as u32 as usize..)?.first_chunk().copied(),
            Body::Rope(cached) => cached.cache.peek(addr as u32),
            Body::Frame(frame) => {
                let rest = frame.bytes().get(addr as u32 as usize..)?;
                rest.first_chunk().copied()
            }
            Body::Record(record) => record.peek(addr as u32),
            Body::Handle | Body::Gone(_) => None,
        }
    }

    /// Returns the `N` bytes at `addr` for writing if they are at hand; else
    /// [`Memory::write`] writes them or says why not.
    #[inline(always)]
    pub(crate) fn poke<const N: usize>(&mut self, addr: u64) -> Option<&mut [u8; N]> {
        let index = ((addr >> 32) as usize).wrapping_sub(1);
        match &mut self.regions.get_mut(index)?.body {
            Body::Bytes {
                bytes,
                writable: true,
            } => bytes.get_mut(addr as u32 as usize..)?.first_chunk_mut(),
            Body::Frame(frame) => frame.bytes_from(addr as u32 as usize)?.first_chunk_mut(),
            Body::Record(record) => record.poke(addr as u32),
            _ => None,
        }
    }

    /// Returns the `N` bytes at `addr`.
    #[cold]
    #[inline(never)]
    pub(crate) fn load<const N: usize>(&mut self, addr: u64) -> Result<[u8; N], BpfError> {
        let mut bytes = [0; N];
        self.read(addr, &mut bytes)?;
        Ok(bytes)
    }

    /// Returns how many bytes there are from `addr` to the end of its region.
    pub(crate) fn rest(&self, addr: u64) -> u64 {
        self.region(addr).map_or(0, |region| {
            region.len().saturating_sub(u64::from(addr as u32))
        })
    }

    /// Frees the region at `addr`; a later use reports `how` it went.
    pub fn free(&mut self, addr: u64, how: &'static str) {
        let slot = self.site().slot;
        if let Some(region) = region_mut(&mut self.regions, addr) {
            self.account.give(region.cost());
            region.body = Body::Gone(Gone { how, slot });
        }
    }

    /// Makes `bytes` the start of the private region at `addr`, whether or not
    /// programs may write it.
    ///
    /// # Errors
    ///
    /// [`BpfError`] if the region has fewer bytes.
    pub fn set_constant(&mut self, addr: u64, bytes: &[u8]) -> Result<(), BpfError> {
        self.check(Access::Read, addr, bytes.len() as u64)?;
        self.at(addr, |region, offset, account| {
            region.write(offset, bytes, account)
        })
    }

    /// A function starts with the stack frame at `addr`, which is zeros.
    pub(crate) fn open_frame(&mut self, addr: u64) {
        if let Some(Body::Frame(frame)) = body_mut(&mut self.regions, addr) {
            frame.open();
        }
    }

    /// Ends the stack frame at `addr`; pointers into it are dangling now.
    pub(crate) fn close_frame(&mut self, addr: u64) {
        if let Some(Body::Frame(frame)) = body_mut(&mut self.regions, addr) {
            frame.close();
        }
    }

    fn add(&mut self, name: Arc<str>, body: Body) -> Result<u64, BpfError> {
        let region = Region {
            name,
            body,
            apart: 0,
        };
        let len = region.len();
        if len > MAX_LEN {
            return Err(too_wide(
                &format!("the {len} bytes of {}", region.name),
                MAX_LEN,
            ));
        }
        if self.regions.len() as u64 >= MAX_REGIONS {
            return Err(too_wide("more regions", MAX_REGIONS));
        }
        self.account.take(REGION_ROOM + region.cost())?;
        self.regions.push(region);
        Ok((self.regions.len() as u64) << 32)
    }

    fn region(&self, addr: u64) -> Option<&Region> {
        self.regions.get(((addr >> 32) as usize).checked_sub(1)?)
    }

    /// Does `what` with the region at `addr`, which was checked.
    fn at<T>(
        &mut self,
        addr: u64,
        what: impl FnOnce(&mut Region, u32, &mut Account) -> Result<T, BpfError>,
    ) -> Result<T, BpfError> {
        match region_mut(&mut self.regions, addr) {
            Some(region) => what(region, addr as u32, &mut self.account)
                .map_err(|error| error.in_region(&region.name)),
            None => Err(self.refuse(Access::Read, addr, 0)),
        }
    }

    /// Returns why `len` bytes at `addr` cannot be had.
    #[cold]
    #[inline(never)]
    fn refuse(&self, access: Access, addr: u64, len: u64) -> BpfError {
        let offset = u64::from(addr as u32);
        let region = self.region(addr);
        let end = region.map_or(0, Region::len);
        let mut shown = region.map(Region::shown);
        let next = self.region(addr.wrapping_add(1 << 32));
        let why = match region.map(|region| &region.body) {
            _ if matches!(addr & UPPER, handle::KFUNC | handle::FUNCTION) => {
                let (name, shape) = (self.describe(addr).into(), Shape::Plain);
                shown = Some(Shown { name, shape });
                Why::NotMemory
            }
            // `r10 - 600` borrows from the region's number.
            _ if offset >= NEARLY && end <= offset && next.is_some() => {
                shown = next.map(Region::shown);
                Why::BeforeStart
            }
            None => Why::NoRegion,
            Some(Body::Handle) => Why::NotMemory,
            Some(Body::Frame(frame)) if !frame.is_active() => Why::Idle,
            Some(Body::Gone(gone)) => Why::Gone(*gone),
            Some(_) if offset.saturating_add(len) > end => Why::PassesEnd(end),
            Some(_) => Why::ReadOnly,
        };
        BpfError::from(Denied {
            access,
            len,
            addr,
            region: shown.unwrap_or_default(),
            why,
        })
    }
}

/// Says that something does not fit guest addresses.
pub(crate) fn too_wide(what: &str, limit: u64) -> BpfError {
    BpfError::new(format!(
        "{what} do not fit the address space: at most {limit}"
    ))
}

fn region_mut(regions: &mut [Region], addr: u64) -> Option<&mut Region> {
    regions.get_mut(((addr >> 32) as usize).checked_sub(1)?)
}

fn body_mut(regions: &mut [Region], addr: u64) -> Option<&mut Body> {
    region_mut(regions, addr).map(|region| &mut region.body)
}

/// The part of an address that names the region.
const UPPER: u64 = 0xffff_ffff << 32;
/// Bytes a region may have, so that an offset fits in half an address.
const MAX_LEN: u64 = u32::MAX as u64;
/// Regions there may be; their numbers stay below those of [`handle`].
const MAX_REGIONS: u64 = 1 << 30;
/// Offsets from here on are taken for negative ones in messages.
const NEARLY: u64 = (1 << 32) - (1 << 20);
