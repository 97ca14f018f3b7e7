//! One stage: a parser is armed, its hooks run, it is disarmed. Its hand-overs
//! take effect only if all of that went well.

use tracing::{debug, info};
use ukexec_bpf::memory::Memory;
use ukexec_bpf::{
    AttachKind, BpfError, Interface, Meter, Parser, Rope, SourceId, VerifiedParser, Vm,
};
use ukexec_pe::counted;

use crate::chosen::Chosen;
use crate::content::same_bytes;
use crate::context::{Context, Inputs};
use crate::error::{Place, name_limit};
use crate::generation::Generation;
use crate::handed_over::{Charged, HandedOver};
use crate::host::StageHost;
use crate::interface::interface;
use crate::names::{ANCHOR, MATCH, POST_HANDLE};
use crate::record::Record;
use crate::report::{AskedReport, ParserInfo, ProgramReport, StageReport, Warning};
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
    /// How often a signature was asked about. Public-key work costs more than is charged for it.
    pub(crate) verifications: u32,
    /// The parsers that were asked about the layer at hand.
    pub(crate) asked: Vec<AskedReport>,
    /// The one that takes it apart.
    pub(crate) chosen: Option<ParserInfo>,
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
            verifications: 0,
            asked: Vec::new(),
            chosen: None,
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

/// How an attempt to take a layer apart ended. Only of one that is done anything counts.
#[derive(Debug)]
pub(crate) enum Attempt {
    Done(Box<StageResult>),
    /// The parser let the image be, which those of v7 do with an image of another format.
    NotMine(AskedReport),
    Broken(AskedReport, UnfoldError),
}

impl Attempt {
    /// Ends an attempt before the parser ran.
    pub(crate) fn not_begun(parser: ParserInfo, error: UnfoldError) -> Self {
        let asked = AskedReport {
            parser,
            fits: false,
            insns: 0,
            log: Vec::new(),
            refusals: Vec::new(),
            fault: Some(error.reason()),
            done: false,
        };
        Self::Broken(asked, error)
    }

    /// Returns the result of a parser that alone was to take the image apart.
    pub(crate) fn of_only_one(self, place: &Place) -> Result<Box<StageResult>, UnfoldError> {
        match self {
            Self::Done(result) => Ok(result),
            Self::NotMine(asked) => Err(asked.let_it_be().at(place)),
            Self::Broken(_, error) => Err(error),
        }
    }
}

/// The result of a stage.
#[derive(Debug)]
pub(crate) struct StageResult {
    /// The kernel that was handed over; a parser of v7 may leave it to the next one.
    pub(crate) kernel: Option<Rope>,
    pub(crate) handed_over: HandedOver,
    /// The buffers for the next level.
    pub(crate) filled: Vec<Charged<Rope>>,
    /// The outputs of its decompressions, and their length.
    pub(crate) outputs: Vec<SourceId>,
    pub(crate) decompressed: u64,
    /// Bytes of [`Budget::output`] that its hand-overs drew.
    pub(crate) repeated: u64,
    pub(crate) report: StageReport,
}

/// Runs stage number `number` on the layer at `path`: all that it hands over counts, or nothing.
pub(crate) fn run(
    number: u32,
    path: &str,
    chosen: &Chosen,
    inputs: &Inputs<'_>,
    session: &mut Session<'_>,
) -> Attempt {
    let place = Place {
        layer: path.to_owned(),
        stage: Some(number),
        parser: Some(chosen.info.clone()),
        hook: None,
    };
    info!(stage = number, layer = path, parser = %chosen.info, "stage begins");
    let insns = session.budget.meter.insns;
    let ran = check(&place, chosen, session)
        .and_then(|()| Armed::new(place.clone(), chosen, inputs, session))
        .map(|mut armed| (armed.take_apart(inputs), armed.disarm()));
    let (ending, (record, programs)) = match ran {
        Ok((ending, disarmed)) => (ending, disarmed),
        Err(error) => (Err(error), Default::default()),
    };
    let insns = insns.saturating_sub(session.budget.meter.insns);
    let left = session.budget.stages.checked_sub(1);
    let ending = ending.and_then(|ending| match (&ending, left) {
        (Ending::Done(_), None) => Err(too_many_stages(session).at(&place)),
        _ => Ok(ending),
    });
    let kernel = match ending {
        Ok(Ending::Done(kernel)) => kernel,
        ending => {
            let mut asked = AskedReport {
                parser: chosen.info.clone(),
                fits: false,
                insns,
                log: record.log.clone(),
                refusals: record.refusals.clone(),
                fault: None,
                done: record.done,
            };
            record.roll_back(session.budget);
            return match ending {
                Err(error) => {
                    asked.fault = Some(error.reason());
                    Attempt::Broken(asked, error)
                }
                Ok(_) => Attempt::NotMine(asked),
            };
        }
    };
    session.budget.stages = left.unwrap_or_default();
    info!(stage = number, insns, "stage ends");
    for text in record.warnings {
        session.warn(path, Some(number), text);
    }
    let filled = record.filled.iter().map(|buffer| buffer.value.len());
    let report = StageReport {
        number,
        layer: path.to_owned(),
        parser: chosen.info.clone(),
        abi: chosen.generation.name(),
        programs,
        insns,
        profile: record.profile,
        handed_over: record.handed_over.report(),
        filled: filled.collect(),
        log: record.log,
    };
    Attempt::Done(Box::new(StageResult {
        kernel,
        handed_over: record.handed_over,
        filled: record.filled,
        outputs: record.outputs,
        decompressed: record.decompressed,
        repeated: record.repeated,
        report,
    }))
}

/// Refuses a parser that cannot hand over, and one stage too many.
fn check(place: &Place, chosen: &Chosen, session: &Session<'_>) -> Result<(), UnfoldError> {
    let generation = chosen.generation;
    // One of v7 may let the image be, and is no stage then.
    if session.budget.stages == 0 && generation != Generation::V7 {
        return Err(too_many_stages(session).at(place));
    }
    if !can_hand_over(&chosen.parser, generation) {
        return Err(UnfoldError::new(format!(
            "the parser has no program on hook {}, which parsers of ABI {generation} hand over in",
            generation.hook()
        ))
        .at(place));
    }
    Ok(())
}

fn too_many_stages(session: &Session<'_>) -> UnfoldError {
    UnfoldError::limit(format!(
        "the budget of {} is used up, and one more parser fits; --max-stages raises it",
        counted(session.granted.stages.into(), "stage")
    ))
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
            verifications: &mut session.verifications,
            observer: &mut *session.observer,
            output_left: output,
            inputs_len: inputs.there,
            earlier: inputs.earlier_lens,
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
        let ending = self.host.record.check_kept_out();
        let ending = ending.and_then(|()| match generation {
            Generation::V5 | Generation::V6 => self.kernel(inputs).map(|it| Ending::Done(Some(it))),
            Generation::V7 => self.ending(inputs),
        });
        let ending = ending.map_err(|error| error.at(&self.place))?;
        self.run_hook(POST_HANDLE)?;
        Ok(ending)
    }

    /// Returns how a parser of v7 ended: it says that it is done, and is believed if it has handed
    /// something over.
    fn ending(&mut self, inputs: &Inputs<'_>) -> Result<Ending, UnfoldError> {
        let record = &self.host.record;
        if record.failed {
            return Err(match (record.limit.clone(), record.refusals.last()) {
                (Some(limit), _) => record.limited(limit),
                (None, reason) => {
                    let reason = reason.map_or("", String::as_str);
                    let text = format!("the parser did not send DONE after this failed: {reason}");
                    UnfoldError::new(&text).noted(record.notes_without(&text))
                }
            });
        }
        if !record.done || record.handed_over.is_empty() {
            return Ok(Ending::NotMine);
        }
        let parser = self.place.parser.as_ref();
        let in_container = parser.is_some_and(|parser| parser.slot.is_some());
        let kernel = record.handed_over.kernel.as_ref();
        match kernel.map(|kernel| kernel.value.clone()) {
            // A later level may hand over another one.
            Some(kernel) if in_container => Ok(Ending::Done(Some(kernel))),
            Some(_) => self.kernel(inputs).map(|it| Ending::Done(Some(it))),
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
