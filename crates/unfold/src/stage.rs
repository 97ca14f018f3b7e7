//! One stage: a parser is armed, its hooks run, it is disarmed. Its hand-overs
//! take effect only if all of that went well.

use tracing::{debug, info};
use ukexec_bpf::memory::Memory;
use ukexec_bpf::{
    AttachKind, BpfError, Interface, Meter, Parser, Rope, SourceId, VerifiedParser, Vm,
};

use crate::choice::Chosen;
use crate::content::same_bytes;
use crate::context::{Context, Inputs};
use crate::error::{Place, name_limit};
use crate::generation::Generation;
use crate::handed_over::{Charged, HandedOver};
use crate::host::StageHost;
use crate::interface::interface;
use crate::names::{ANCHOR, MATCH, POST_HANDLE};
use crate::record::Record;
use crate::report::{AskedReport, ProgramReport, StageReport, Warning};
use crate::{Budget, Gate, Observer, Store, UnfoldError};

/// State that the stages of one unfolding share.
pub(crate) struct Session<'a> {
    pub(crate) interface: &'static Interface,
    pub(crate) gate: &'a mut dyn Gate,
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
        gate: &'a mut dyn Gate,
        store: &'a mut dyn Store,
        budget: &'a mut Budget,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self {
            interface: interface(),
            gate,
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

/// How an attempt to take a layer apart ended. A parser that is broken is an error.
#[derive(Debug)]
pub(crate) enum Attempt {
    Done(Box<StageResult>),
    /// The parser let the image be, which those of v7 do with an image of another format. Nothing
    /// of it counts.
    NotMine(AskedReport),
}

/// The result of a stage.
#[derive(Debug)]
pub(crate) struct StageResult {
    /// The kernel that was handed over; a parser of v7 may leave it to the next one.
    pub(crate) kernel: Option<Rope>,
    pub(crate) handed_over: HandedOver,
    /// The outputs of its decompressions.
    pub(crate) outputs: Vec<SourceId>,
    pub(crate) report: StageReport,
}

/// Runs stage number `number` on the layer at `path`: all that it hands over counts, or nothing.
pub(crate) fn run(
    number: u32,
    path: &str,
    chosen: &Chosen,
    inputs: &Inputs<'_>,
    session: &mut Session<'_>,
) -> Result<Attempt, UnfoldError> {
    let place = Place {
        layer: path.to_owned(),
        stage: Some(number),
        parser: Some(chosen.info.clone()),
        hook: None,
    };
    info!(stage = number, layer = path, parser = %chosen.info, "stage begins");
    let generation = chosen.generation;
    if !can_hand_over(&chosen.parser, generation) {
        return Err(UnfoldError::new(format!(
            "the parser has no program on hook {}, which parsers of ABI {generation} hand over in",
            generation.hook()
        ))
        .at(&place));
    }
    let insns = session.budget.meter.insns;
    let mut armed = Armed::new(place, chosen, inputs, session)?;
    let ending = armed.take_apart(inputs);
    let (record, programs) = armed.disarm();
    let insns = insns.saturating_sub(session.budget.meter.insns);
    let kernel = match ending {
        Ok(Ending::Done(kernel)) => kernel,
        Ok(Ending::NotMine) => {
            let asked = AskedReport {
                parser: chosen.info.clone(),
                fits: false,
                insns,
                log: record.log.clone(),
                refusals: record.refusals.clone(),
            };
            record.roll_back(session.budget);
            return Ok(Attempt::NotMine(asked));
        }
        Err(error) => {
            record.roll_back(session.budget);
            return Err(error);
        }
    };
    info!(stage = number, insns, "stage ends");
    for text in record.warnings {
        session.warn(path, Some(number), text);
    }
    let report = StageReport {
        number,
        layer: path.to_owned(),
        parser: chosen.info.clone(),
        abi: generation.name(),
        programs,
        insns,
        profile: record.profile,
        handed_over: record.handed_over.report(),
        log: record.log,
    };
    Ok(Attempt::Done(Box::new(StageResult {
        kernel,
        handed_over: record.handed_over,
        outputs: record.outputs,
        report,
    })))
}

/// How the programs of a parser ended.
enum Ending {
    /// With this kernel, where there is one.
    Done(Option<Rope>),
    NotMine,
}

/// Returns whether a program of `parser` is on the hook for handing over. A
/// parser without one is refused.
pub(crate) fn can_hand_over(parser: &Parser, generation: Generation) -> bool {
    let mut programs = parser.programs.iter();
    programs.any(|program| program.hook == generation.hook())
}

/// A parser with its maps, in sight of what it shall take apart.
pub(crate) struct Armed<'a> {
    place: Place,
    parser: &'a VerifiedParser,
    vm: Vm,
    host: StageHost<'a>,
    meter: &'a mut Meter,
    granted: &'a Meter,
    programs: Vec<ProgramReport>,
}

impl<'a> Armed<'a> {
    /// Arms the parser; `place` says where that is.
    pub(crate) fn new(
        place: Place,
        chosen: &'a Chosen,
        inputs: &Inputs<'_>,
        session: &'a mut Session<'_>,
    ) -> Result<Self, UnfoldError> {
        let Chosen {
            parser, generation, ..
        } = chosen;
        let Budget { meter, output, .. } = &mut *session.budget;
        let granted = &session.granted.meter;
        let types = session.interface.types.get(parser.types);
        let types =
            types.ok_or_else(|| UnfoldError::new("there are no types for it").at(&place))?;
        let failed =
            |text: &str, fault| UnfoldError::caused(text, name_limit(fault, granted)).at(&place);
        let mut vm = Vm::new(parser, meter)
            .map_err(|fault| failed("the parser's maps cannot be made", fault))?;
        let signed = session.gate.requires_signatures();
        let context = Context::show(inputs, signed, *generation, types, vm.memory());
        let context = context
            .map_err(|fault| failed("the stage's inputs cannot be shown to the parser", fault))?;
        let parser_id = match generation {
            Generation::V5 => 0,
            Generation::V6 | Generation::V7 => parser_id(vm.memory())
                .map_err(|fault| failed("there is no room for the parser's context", fault))?,
        };
        let host = StageHost {
            stage: place.stage,
            hook: MATCH,
            generation: *generation,
            types,
            context,
            parser_id,
            gate: &mut *session.gate,
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
            host,
            meter,
            granted,
            programs: Vec::new(),
        })
    }

    /// Runs the programs, and says what came of it.
    fn take_apart(&mut self, inputs: &Inputs<'_>) -> Result<Ending, UnfoldError> {
        let generation = self.host.generation;
        self.run_hook(generation.hook())?;
        let ending = match generation {
            Generation::V5 | Generation::V6 => self.kernel(inputs).map(|it| Ending::Done(Some(it))),
            Generation::V7 => self.ending(inputs),
        };
        let ending = ending.map_err(|error| error.at(&self.place))?;
        self.run_hook(POST_HANDLE)?;
        Ok(ending)
    }

    /// Returns how a parser of v7 ended: it says that it is done, and is believed if it has handed
    /// something over.
    fn ending(&mut self, inputs: &Inputs<'_>) -> Result<Ending, UnfoldError> {
        let record = &self.host.record;
        if record.failed {
            let limit = record.limit.clone();
            let text = "a command failed, and the parser did not send DONE afterwards";
            return Err(match limit {
                Some(limit) => record.limited(limit),
                None => UnfoldError::new(text).noted(record.notes()),
            });
        }
        if !record.done || record.handed_over.is_empty() {
            return Ok(Ending::NotMine);
        }
        match record.handed_over.kernel {
            Some(_) => Ok(Ending::Done(Some(self.kernel(inputs)?))),
            None => Ok(Ending::Done(None)),
        }
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
            let mut args = vec![self.host.context.address];
            if hook == ANCHOR {
                args.push(self.host.parser_id);
            }
            let returned = match program.attach {
                AttachKind::Fentry => self.run(index, &args)?,
                AttachKind::FmodRet => {
                    args.push(previous);
                    previous = self.run(index, &args)?;
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

/// Returns the number of a parser context: an address at which programs see nothing.
fn parser_id(memory: &mut Memory) -> Result<u64, BpfError> {
    memory.add_bytes("parser_id", Vec::new(), false)
}
