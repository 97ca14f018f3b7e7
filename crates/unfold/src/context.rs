//! The context that programs see: what there is to take apart, and in v6 and v7 also what was
//! handed over of it so far.

use std::collections::BTreeMap;
use std::iter;

use ukexec_bpf::btf::Btf;
use ukexec_bpf::memory::Memory;
use ukexec_bpf::{BpfError, Rope};

use crate::UnfoldError;
use crate::generation::Generation;
use crate::handed_over::{Charged, HandedOver};
use crate::report::Resource;
use crate::structs::{BUFFERS, Member, kexec_context};

/// The input that programs see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) kdump: bool,
    pub(crate) image: &'a Rope,
    /// The buffers behind it that the level before filled: v7 shows them.
    pub(crate) more: &'a [Charged<Rope>],
    /// The newest initrd and command line, else the caller's: v5 shows them.
    pub(crate) initrd: Option<&'a Rope>,
    pub(crate) cmdline: Option<&'a [u8]>,
    /// The hand-overs of earlier stages: v6 and v7 show those alone.
    pub(crate) earlier: &'a HandedOver,
    /// Bytes of image and initrd when the plan began, and of what it decompressed since.
    pub(crate) there: u64,
    /// Bytes of those that earlier levels of the plan handed over.
    pub(crate) earlier_lens: Lens,
}

/// The lengths of a kernel and an initrd that were handed over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lens {
    pub(crate) kernel: u64,
    pub(crate) initrd: u64,
}

impl Lens {
    /// Puts those of what `newer` has in the place of what is here.
    pub(crate) fn update(&mut self, newer: &HandedOver) {
        let len = |held: &Charged<Rope>| held.value.len();
        self.kernel = newer.kernel.as_ref().map_or(self.kernel, len);
        self.initrd = newer.initrd.as_ref().map_or(self.initrd, len);
    }
}

/// A `struct kexec_context` in guest memory.
#[derive(Debug)]
pub(crate) struct Context {
    generation: Generation,
    /// Its address.
    pub(crate) address: u64,
    members: Vec<Member>,
    /// The regions that show hand-overs of this stage; what came before stays to be seen.
    shown: BTreeMap<Resource, u64>,
}

impl Context {
    /// Puts `inputs` into `memory`, and the context that names them.
    pub(crate) fn show(
        inputs: &Inputs<'_>,
        requires_signatures: bool,
        generation: Generation,
        types: &Btf,
        memory: &mut Memory,
    ) -> Result<Self, BpfError> {
        let mut members = vec![Member::Flag("kdump", inputs.kdump)];
        match generation {
            Generation::V5 => {
                let line = inputs.cmdline.map(|line| [line, b"\0"].concat().into());
                members.push(show("image", Some(inputs.image.clone()), memory)?);
                members.push(show("initrd", inputs.initrd.cloned(), memory)?);
                let mut cmdline = show("cmdline", line, memory)?;
                if let Member::Bytes(_, _, len) = &mut cmdline {
                    *len = len.saturating_sub(1);
                }
                members.push(cmdline);
                let context = kexec_context(types, generation, &members);
                let address = memory.add_rope("context", context.into())?;
                return Ok(Self {
                    generation,
                    address,
                    members,
                    shown: BTreeMap::new(),
                });
            }
            Generation::V6 => members.push(show("kernel", Some(inputs.image.clone()), memory)?),
            Generation::V7 => {
                // SIG_ENFORCE_SIG, else SIG_ENFORCE_NONE.
                let sig_mode = u32::from(requires_signatures);
                members.push(Member::Number("sig_mode", sig_mode));
                members.push(Member::Flag("parsed", false));
                let more = inputs.more.iter().map(|buffer| &buffer.value);
                for (number, buffer) in (0..BUFFERS).zip(iter::once(inputs.image).chain(more)) {
                    let name = if number == 0 { "image" } else { "buffer" };
                    let (address, len) = place(name, Some(buffer.clone()), memory)?;
                    members.push(Member::Buffer(number, address, len));
                }
                let kernel = inputs.earlier.kernel.as_ref();
                let kernel = kernel.map(|kernel| kernel.value.clone());
                members.push(show("kernel", kernel, memory)?);
            }
        }
        // Not the caller's: these generations do not know them.
        let initrd = inputs.earlier.initrd.as_ref();
        let initrd = initrd.map(|initrd| initrd.value.clone());
        members.push(show("initrd", initrd.filter(|it| !it.is_empty()), memory)?);
        let cmdline = inputs.earlier.cmdline.as_ref();
        let cmdline = cmdline.map(|line| with_nul(&line.value.text));
        members.push(show("cmdline", cmdline, memory)?);
        let bytes = kexec_context(types, generation, &members);
        let address = memory.add_bytes("context", bytes, false)?;
        Ok(Self {
            generation,
            address,
            members,
            shown: BTreeMap::new(),
        })
    }

    /// Shows that `rope` was handed over as `resource`.
    pub(crate) fn hand_over(
        &mut self,
        resource: Resource,
        rope: Rope,
        types: &Btf,
        memory: &mut Memory,
    ) -> Result<(), BpfError> {
        let name = match resource {
            Resource::Kernel => "kernel",
            Resource::Initrd => "initrd",
            Resource::Cmdline => "cmdline",
        };
        let (address, len) = place(name, Some(rope), memory)?;
        if let Some(older) = self.shown.insert(resource, address) {
            memory.free(older, "replaced by a later hand-over");
        }
        self.set(Member::Bytes(name, address, len), types, memory)
    }

    /// Shows that the parser is done.
    pub(crate) fn done(&mut self, types: &Btf, memory: &mut Memory) -> Result<(), BpfError> {
        self.set(Member::Flag("parsed", true), types, memory)
    }

    fn set(&mut self, member: Member, types: &Btf, memory: &mut Memory) -> Result<(), BpfError> {
        self.members.retain(|other| other.name() != member.name());
        self.members.push(member);
        let bytes = kexec_context(types, self.generation, &self.members);
        memory.set_constant(self.address, &bytes)
    }
}

/// Returns a command line with the NUL that follows it.
pub(crate) fn with_nul(line: &[u8]) -> Rope {
    [line, b"\0"].concat().into()
}

fn show(name: &'static str, rope: Option<Rope>, memory: &mut Memory) -> Result<Member, BpfError> {
    let (address, len) = place(name, rope, memory)?;
    Ok(Member::Bytes(name, address, len))
}

/// Puts `rope` into `memory`. Returns its address and length: NULL and 0 for what there is not.
fn place(
    name: &'static str,
    rope: Option<Rope>,
    memory: &mut Memory,
) -> Result<(u64, u32), BpfError> {
    let Some(rope) = rope else {
        return Ok((0, 0));
    };
    let len = rope.len();
    // An int in v5 and v6.
    let int = u32::try_from(len)
        .ok()
        .filter(|len| i32::try_from(*len).is_ok());
    let int = int.ok_or_else(|| {
        BpfError::host(UnfoldError::new(format!(
            "the {name}: expected at most {} bytes, all that a parser can see, found {len}",
            i32::MAX
        )))
    })?;
    Ok((memory.add_rope(name, rope)?, int))
}
