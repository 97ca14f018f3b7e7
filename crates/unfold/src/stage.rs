//! One stage: a parser is armed, its hooks run, it is disarmed. What it handed
//! over takes effect only if all of that went well.

use std::fmt;

use bytes::Bytes;
use tracing::{debug, info};
use ukexec_bpf::Vm;
use ukexec_bpf::btf::Btf;
use ukexec_bpf::memory::Memory;
use ukexec_bpf::{AttachKind, Interface, Meter, Parser, Rope, SourceId, VerifiedParser};

use crate::choice::Chosen;
use crate::chunks::wide;
use crate::cmdline::Cmdline;
use crate::content::same_bytes;
use crate::error::Place;
use crate::handed_over::{Charged, HandedOver};
use crate::host::{Phase, StageHost};
use crate::interface::{ABI, Context, HANDLE, MATCH, POST_HANDLE, kexec_context};
use crate::record::Record;
use crate::report::{AskedReport, HandOver, ProgramReport, Resource, StageReport, Warning};
use crate::store::Store;
use crate::{Budget, Observer, UnfoldCause, UnfoldError};

/// What programs see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) kdump: bool,
    pub(crate) image: &'a Rope,
    pub(crate) initrd: Option<&'a Rope>,
    /// With its NUL.
    pub(crate) cmdline: Option<&'a Bytes>,
}

/// State that the stages of one unfolding share.
pub(crate) struct Session<'a> {
    pub(crate) interface: &'a Interface,
    pub(crate) store: &'a mut dyn Store,
    pub(crate) budget: &'a mut Budget,
    pub(crate) observer: Option<&'a mut dyn Observer>,
    /// The parsers that were asked of the layer at hand.
    pub(crate) asked: Vec<AskedReport>,
    pub(crate) warnings: Vec<Warning>,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// What a stage found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) kernel: Charged<Rope>,
    /// `None` if none was handed over; without bytes, there shall be none.
    pub(crate) initrd: Option<Charged<Rope>>,
    pub(crate) cmdline: Option<Charged<Cmdline>>,
    /// What it decompressed.
    pub(crate) outputs: Vec<SourceId>,
    pub(crate) report: StageReport,
}

/// Runs stage number `number` on the layer at `path`.
pub(crate) fn run(
    number: u32,
    path: &str,
    chosen: &Chosen,
    inputs: &Inputs<'_>,
    session: &mut Session<'_>,
) -> Result<Found, UnfoldError> {
    let place = Place {
        layer: path.to_owned(),
        stage: Some(number),
        parser: Some(chosen.info.clone()),
        hook: None,
    };
    info!(stage = number, layer = path, parser = %chosen.info, "stage begins");
    if programs_on(&chosen.parser, HANDLE).next().is_none() {
        return Err(place.error(UnfoldCause::NoProgram));
    }
    let insns = session.budget.meter.insns;
    let mut armed = Armed::new(place.clone(), &chosen.parser, inputs, session)?;
    armed.run_hook(Phase::Handle)?;
    let kernel = armed
        .take_kernel(inputs)
        .map_err(|cause| place.error(cause))?;
    armed.run_hook(Phase::Post)?;
    let (record, programs) = armed.disarm();
    let insns = insns.saturating_sub(session.budget.meter.insns);
    info!(stage = number, insns, "stage ends");
    session
        .warnings
        .extend(record.warnings.into_iter().map(|kind| Warning {
            layer: path.to_owned(),
            stage: Some(number),
            kind,
        }));
    let HandedOver {
        initrd, cmdline, ..
    } = record.handed_over;
    let report = StageReport {
        number,
        layer: path.to_owned(),
        parser: chosen.info.clone(),
        abi: ABI,
        programs,
        insns,
        profile: record.profile,
        handed_over: summary(&kernel, initrd.as_ref(), cmdline.as_ref()),
        log: record.log,
    };
    Ok(Found {
        kernel,
        initrd,
        cmdline,
        outputs: record.outputs,
        report,
    })
}

/// Returns the programs of `parser` on `hook`, in file order.
pub(crate) fn programs_on<'a>(
    parser: &'a Parser,
    hook: &'a str,
) -> impl Iterator<Item = usize> + use<'a> {
    let programs = parser.programs.iter().enumerate();
    programs
        .filter(move |(_, program)| program.hook == hook)
        .map(|(index, _)| index)
}

/// A parser with its maps, in sight of what it shall take apart.
pub(crate) struct Armed<'a> {
    place: Place,
    parser: &'a VerifiedParser,
    vm: Vm,
    /// Address of the context.
    context: u64,
    host: StageHost<'a>,
    meter: &'a mut Meter,
    programs: Vec<ProgramReport>,
}

impl<'a> Armed<'a> {
    /// Arms `parser`; `place` says where that is.
    pub(crate) fn new(
        place: Place,
        parser: &'a VerifiedParser,
        inputs: &Inputs<'_>,
        session: &'a mut Session<'_>,
    ) -> Result<Self, UnfoldError> {
        let Budget { meter, output, .. } = &mut *session.budget;
        let types = &session.interface.types;
        let mut vm =
            Vm::new(parser, meter).map_err(|fault| place.error(UnfoldCause::Arm(fault)))?;
        let context = inputs
            .show(vm.memory(), types)
            .map_err(|cause| place.error(cause))?;
        let host = StageHost {
            stage: place.stage,
            phase: Phase::Match,
            types,
            store: &mut *session.store,
            observer: match &mut session.observer {
                Some(observer) => Some(&mut **observer),
                None => None,
            },
            output_left: output,
            inputs_len: inputs.len(),
            record: Record::default(),
        };
        Ok(Self {
            place,
            parser,
            vm,
            context,
            host,
            meter,
            programs: Vec::new(),
        })
    }

    /// Runs all programs on the hook of `phase`. Returns whether an `fmod_ret`
    /// program among them returned another value than 0.
    pub(crate) fn run_hook(&mut self, phase: Phase) -> Result<bool, UnfoldError> {
        let hook = match phase {
            Phase::Match => MATCH,
            Phase::Handle => HANDLE,
            Phase::Post => POST_HANDLE,
        };
        self.host.phase = phase;
        let mut answer = false;
        let mut previous = 0;
        for index in programs_on(self.parser, hook) {
            let Some(program) = self.parser.programs.get(index) else {
                continue;
            };
            let insns = self.meter.insns;
            if let Some(observer) = &mut self.host.observer {
                observer.begins(&program.name, hook);
            }
            let returned = match program.attach {
                AttachKind::Fentry => self.run(index, &[self.context], hook)?,
                AttachKind::FmodRet => {
                    previous = self.run(index, &[self.context, previous], hook)?;
                    // The hooks return an int: the upper half is noise.
                    answer |= previous.trailing_zeros() < i32::BITS;
                    previous
                }
            };
            debug!(program = program.name, returned, "program ended");
            if let Some(observer) = &mut self.host.observer {
                observer.ended(&program.name, hook, returned);
            }
            self.programs.push(ProgramReport {
                name: program.name.clone(),
                hook,
                insns: insns.saturating_sub(self.meter.insns),
            });
        }
        Ok(answer)
    }

    fn run(
        &mut self,
        program: usize,
        args: &[u64],
        hook: &'static str,
    ) -> Result<u64, UnfoldError> {
        self.vm
            .run(program, args, &mut self.host, self.meter)
            .map_err(|error| {
                let place = Place {
                    hook: Some(hook),
                    ..self.place.clone()
                };
                place.error(error)
            })
    }

    /// Takes the kernel that was handed over. There must be one, and it must
    /// not be the image again, or unfolding would never end.
    fn take_kernel(&mut self, inputs: &Inputs<'_>) -> Result<Charged<Rope>, UnfoldCause> {
        let record = &mut self.host.record;
        let Some(kernel) = record.handed_over.kernel.take() else {
            return Err(record.nothing_handed_over());
        };
        if let Some((resource, reason)) = record.limited.first() {
            return Err(UnfoldCause::NotTaken {
                resource: *resource,
                reason: reason.clone(),
            });
        }
        if same_bytes(&kernel.value, inputs.image, &mut self.meter.insns)? {
            return Err(UnfoldCause::NoProgress);
        }
        Ok(kernel)
    }

    /// Ends the stage: maps and memory are gone.
    pub(crate) fn disarm(self) -> (Record, Vec<ProgramReport>) {
        self.vm.finish(self.meter);
        (self.host.record, self.programs)
    }
}

impl Inputs<'_> {
    /// Returns how many bytes of image and initrd there are.
    fn len(&self) -> u64 {
        let initrd = self.initrd.map_or(0, Rope::len);
        self.image.len().saturating_add(initrd)
    }

    /// Puts the inputs into `memory`, and returns the address of the context
    /// that names them.
    fn show(&self, memory: &mut Memory, types: &Btf) -> Result<u64, UnfoldCause> {
        let image = show("image", self.image.clone(), memory)?;
        let initrd = match self.initrd {
            Some(initrd) => show("initrd", initrd.clone(), memory)?,
            None => ABSENT,
        };
        let cmdline = match self.cmdline {
            Some(line) => {
                let len = int_len("command line", wide(line.len()).saturating_sub(1))?;
                let (address, _with_nul) = show("cmdline", Rope::from(line.clone()), memory)?;
                (address, len)
            }
            None => ABSENT,
        };
        let context = Context {
            kdump: self.kdump,
            image,
            initrd,
            cmdline,
        };
        let context = kexec_context(types, &context);
        memory
            .add_rope("context", Rope::from(context))
            .map_err(UnfoldCause::Show)
    }
}

/// What the context says of what there is not: NULL and 0.
const ABSENT: (u64, i32) = (0, 0);

fn show(name: &'static str, rope: Rope, memory: &mut Memory) -> Result<(u64, i32), UnfoldCause> {
    let len = int_len(name, rope.len())?;
    let address = memory.add_rope(name, rope).map_err(UnfoldCause::Show)?;
    Ok((address, len))
}

/// Returns `len` as the `int` that the context has for it.
fn int_len(what: &'static str, len: u64) -> Result<i32, UnfoldCause> {
    i32::try_from(len).map_err(|_too_long| UnfoldCause::TooLong { what, len })
}

fn summary(
    kernel: &Charged<Rope>,
    initrd: Option<&Charged<Rope>>,
    cmdline: Option<&Charged<Cmdline>>,
) -> Vec<HandOver> {
    let all = [
        (Resource::Kernel, Some(kernel.value.len())),
        (Resource::Initrd, initrd.map(|initrd| initrd.value.len())),
        (
            Resource::Cmdline,
            cmdline.map(|line| wide(line.value.text.len())),
        ),
    ];
    let given = all
        .into_iter()
        .filter_map(|(resource, size)| Some((resource, size?)));
    given
        .map(|(resource, size)| HandOver { resource, size })
        .collect()
}
