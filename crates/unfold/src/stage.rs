//! One stage: a parser is armed, its hooks run, it is disarmed. Its hand-overs
//! take effect only if all of that went well.

use tracing::{debug, info};
use ukexec_bpf::btf::Btf;
use ukexec_bpf::memory::Memory;
use ukexec_bpf::{
    AttachKind, BpfError, Interface, Meter, Parser, Rope, SourceId, VerifiedParser, Vm,
};

use crate::choice::Chosen;
use crate::content::same_bytes;
use crate::error::{Place, name_limit};
use crate::handed_over::{Charged, HandedOver};
use crate::host::StageHost;
use crate::interface::{ABI, HANDLE, MATCH, POST_HANDLE, interface};
use crate::record::Record;
use crate::report::{AskedReport, ProgramReport, StageReport, Warning};
use crate::structs::kexec_context;
use crate::{Budget, Observer, Store, UnfoldError};

/// The input that programs see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) kdump: bool,
    pub(crate) image: &'a Rope,
    pub(crate) initrd: Option<&'a Rope>,
    pub(crate) cmdline: Option<&'a [u8]>,
}

/// State that the stages of one unfolding share.
pub(crate) struct Session<'a> {
    pub(crate) interface: Interface,
    pub(crate) store: &'a mut dyn Store,
    pub(crate) budget: &'a mut Budget,
    /// The budget at the beginning.
    pub(crate) granted: Budget,
    pub(crate) observer: &'a mut dyn Observer,
    /// The parsers that were asked of the layer at hand.
    pub(crate) asked: Vec<AskedReport>,
    pub(crate) warnings: Vec<Warning>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        store: &'a mut dyn Store,
        budget: &'a mut Budget,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            interface: interface(),
            store,
            granted: budget.clone(),
            budget,
            observer,
            asked: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn warn(&mut self, layer: &str, stage: Option<u32>, text: String) {
        self.warnings.push(Warning {
            layer: layer.to_owned(),
            stage,
            text,
        });
    }
}

/// The result of a stage.
#[derive(Debug)]
pub(crate) struct StageResult {
    pub(crate) kernel: Rope,
    pub(crate) handed_over: HandedOver,
    /// The outputs of its decompressions.
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
) -> Result<StageResult, UnfoldError> {
    let place = Place {
        layer: path.to_owned(),
        stage: Some(number),
        parser: Some(chosen.info.clone()),
        hook: None,
    };
    info!(stage = number, layer = path, parser = %chosen.info, "stage begins");
    if !can_hand_over(&chosen.parser) {
        return Err(UnfoldError::new(format!(
            "the parser has no program on hook {HANDLE}, which parsers of ABI {ABI} hand over in"
        ))
        .at(&place));
    }
    let insns = session.budget.meter.insns;
    let mut armed = Armed::new(place.clone(), &chosen.parser, inputs, session)?;
    armed.run_hook(HANDLE)?;
    let kernel = armed.kernel(inputs).map_err(|error| error.at(&place))?;
    armed.run_hook(POST_HANDLE)?;
    let (record, programs) = armed.disarm();
    let insns = insns.saturating_sub(session.budget.meter.insns);
    info!(stage = number, insns, "stage ends");
    for text in record.warnings {
        session.warn(path, Some(number), text);
    }
    let report = StageReport {
        number,
        layer: path.to_owned(),
        parser: chosen.info.clone(),
        abi: ABI,
        programs,
        insns,
        profile: record.profile,
        handed_over: record.handed_over.report(),
        log: record.log,
    };
    Ok(StageResult {
        kernel,
        handed_over: record.handed_over,
        outputs: record.outputs,
        report,
    })
}

/// Returns whether a program of `parser` is on the hook for handing over. A
/// parser without one is refused.
pub(crate) fn can_hand_over(parser: &Parser) -> bool {
    parser.programs.iter().any(|program| program.hook == HANDLE)
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
    granted: &'a Meter,
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
        let granted = &session.granted.meter;
        let types = &session.interface.types;
        let failed =
            |text: &str, fault| UnfoldError::caused(text, name_limit(fault, granted)).at(&place);
        let mut vm = Vm::new(parser, meter)
            .map_err(|fault| failed("the parser's maps cannot be made", fault))?;
        let context = inputs
            .show(vm.memory(), types)
            .map_err(|fault| failed("the stage's inputs cannot be shown to the parser", fault))?;
        let host = StageHost {
            stage: place.stage,
            hook: MATCH,
            types,
            store: &mut *session.store,
            observer: &mut *session.observer,
            output_left: output,
            inputs_len: inputs.len(),
            record: Record::default(),
            reason: None,
        };
        Ok(Self {
            place,
            parser,
            vm,
            context,
            host,
            meter,
            granted,
            programs: Vec::new(),
        })
    }

    /// Runs all programs on `hook`, in file order. Returns whether an `fmod_ret`
    /// program among them returned another value than 0.
    pub(crate) fn run_hook(&mut self, hook: &'static str) -> Result<bool, UnfoldError> {
        self.host.hook = hook;
        let mut answer = false;
        let mut previous = 0;
        let programs = self.parser.programs.iter().enumerate();
        for (index, program) in programs.filter(|(_, program)| program.hook == hook) {
            let insns = self.meter.insns;
            self.host.observer.begins(&program.name, hook);
            let returned = match program.attach {
                AttachKind::Fentry => self.run(index, &[self.context])?,
                AttachKind::FmodRet => {
                    previous = self.run(index, &[self.context, previous])?;
                    // The hooks return an int: the upper half is noise.
                    answer |= previous.trailing_zeros() < i32::BITS;
                    previous
                }
            };
            debug!(program = program.name, returned, "program ended");
            self.host.observer.ended(&program.name, hook, returned);
            self.programs.push(ProgramReport {
                name: program.name.clone(),
                hook,
                insns: insns.saturating_sub(self.meter.insns),
            });
        }
        Ok(answer)
    }

    fn run(&mut self, program: usize, args: &[u64]) -> Result<u64, UnfoldError> {
        let done = self.vm.run(program, args, &mut self.host, self.meter);
        done.map_err(|error| {
            self.place.hook = Some(self.host.hook);
            let error = UnfoldError::caused("", name_limit(error, self.granted));
            error.noted(self.host.record.notes()).at(&self.place)
        })
    }

    /// Returns the kernel that was handed over. There must be one, and it must
    /// not be the image again, or unfolding would never end.
    fn kernel(&mut self, inputs: &Inputs<'_>) -> Result<Rope, UnfoldError> {
        let record = &self.host.record;
        if let Some((resource, reason)) = record.kept_out.first() {
            return Err(record.limited(format!(
                "the parser supplied the {resource}, but it was rejected: {reason}"
            )));
        }
        let Some(Charged { value: kernel, .. }) = &record.handed_over.kernel else {
            return Err(record.no_kernel());
        };
        if same_bytes(kernel, inputs.image, &mut self.meter.insns)? {
            return Err(UnfoldError::new(
                "the kernel that was handed over is the stage's own image: there is no progress",
            ));
        }
        Ok(kernel.clone())
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
    fn show(&self, memory: &mut Memory, types: &Btf) -> Result<u64, BpfError> {
        let line = self.cmdline.map(|line| [line, b"\0"].concat().into());
        let image = show("image", Some(self.image.clone()), memory)?;
        let initrd = show("initrd", self.initrd.cloned(), memory)?;
        let (name, address, with_nul) = show("cmdline", line, memory)?;
        let cmdline = (name, address, with_nul.saturating_sub(1).max(0));
        let context = kexec_context(types, self.kdump, [image, initrd, cmdline]);
        memory.add_rope("context", context.into())
    }
}

/// Returns `name`, and the address and the length that the context has for `rope`:
/// NULL and 0 for what there is not.
fn show(
    name: &'static str,
    rope: Option<Rope>,
    memory: &mut Memory,
) -> Result<(&'static str, u64, i32), BpfError> {
    let Some(rope) = rope else {
        return Ok((name, 0, 0));
    };
    let len = rope.len();
    let int = i32::try_from(len).map_err(|_too_long| {
        BpfError::host(UnfoldError::new(format!(
            "the {name}: expected at most {} bytes, all that a parser can see, found {len}",
            i32::MAX
        )))
    })?;
    Ok((name, memory.add_rope(name, rope)?, int))
}
