//! The pipeline: layer after layer until a kernel is left.

use std::mem;

use ukexec_bpf::Rope;
use ukexec_pe::counted;

use crate::choice::Chooser;
use crate::cmdline::{CmdlineRequest, FinalCmdline};
use crate::content::holds;
use crate::context::Inputs;
use crate::error::{Leftovers, Place};
use crate::gate::Open;
use crate::handed_over::HandedOver;
use crate::layer::LayerImage;
use crate::observer::Nobody;
use crate::stage::{self, Attempt, Session};
use crate::{Budget, Gate, Input, LayerAtGate, Options, Report, Store, UnfoldError, Unfolded};

/// Takes `input.image` apart until a kernel is left.
///
/// Each stage runs the parser that fits the image at hand: the one that
/// [`Options`] give for the outermost image, the image's own, or the first of
/// the list that says so. Its hand-overs are the next stage's input. An
/// image that no parser fits is the kernel; whether a machine can boot it is
/// not looked at here.
///
/// `store` takes what is decompressed. The rest of `budget` stays in it.
///
/// # Errors
///
/// [`UnfoldError`] says which layer, stage, hook and instruction failed, and why.
/// No part of a failed unfolding comes out but what [`UnfoldError::left`] shows.
pub fn unfold(
    input: Input,
    options: &Options,
    store: &mut dyn Store,
    budget: &mut Budget,
) -> Result<Unfolded, UnfoldError> {
    unfold_with(input, options, &mut Open, store, budget)
}

/// As [`unfold`], but each layer must pass `gate` before anything of it runs.
///
/// # Errors
///
/// As those of [`unfold`], and one with the gate's as its source for a layer that
/// does not pass.
pub fn unfold_with(
    input: Input,
    options: &Options,
    gate: &mut dyn Gate,
    store: &mut dyn Store,
    budget: &mut Budget,
) -> Result<Unfolded, UnfoldError> {
    let outermost = Place::in_layer(&options.image_name, None);
    let profile = options.profile.as_deref();
    let decides = options.image_decides_cmdline;
    let request = match options.cmdline_is_literal {
        true => CmdlineRequest::literal(input.cmdline, input.append, profile, decides),
        false => CmdlineRequest::new(input.cmdline, input.append, profile, decides),
    };
    let request = request.map_err(|error| error.at(&outermost))?;
    let request = request.giving_way(options.cmdline_gives_way);
    let layer = LayerImage::examine(options.image_name.clone(), input.image)?;
    let mut nobody = Nobody;
    let mut unfolding = Unfolding {
        session: Session::new(gate, store, budget, &mut nobody),
        chooser: Chooser::new(options),
        layer,
        resources: Resources::new(input.initrd),
        report: Report::default(),
    };
    let parts = unfolding.run(options.kdump, request, &outermost);
    let Unfolding {
        session,
        layer,
        resources,
        mut report,
        ..
    } = unfolding;
    report.warnings = session.warnings;
    match parts {
        Ok(beside) => Ok(Unfolded {
            kernel: layer.image,
            initrd: beside.initrd,
            cmdline: beside.line.text,
            appended: beside.line.appended,
            gave_way: beside.line.gave_way,
            report,
        }),
        Err(error) => Err(error.with_report(report, resources.left())),
    }
}

/// An unfolding between two stages.
struct Unfolding<'a> {
    session: Session<'a>,
    chooser: Chooser<'a>,
    layer: LayerImage,
    resources: Resources,
    report: Report,
}

impl Unfolding<'_> {
    /// Runs stages until no parser fits any more, and returns initrd and command
    /// line.
    fn run(
        &mut self,
        kdump: bool,
        request: CmdlineRequest,
        outermost: &Place,
    ) -> Result<Beside, UnfoldError> {
        for number in 1.. {
            if !self.stage(number, kdump, request.input())? {
                break;
            }
        }
        self.outcome(request).map_err(|error| error.at(outermost))
    }

    /// Runs stage number `number` if there is a parser for it; returns whether
    /// there was.
    fn stage(
        &mut self,
        number: u32,
        kdump: bool,
        callers_line: Option<&[u8]>,
    ) -> Result<bool, UnfoldError> {
        self.report.layers.push(self.layer.report());
        self.admit()?;
        let cmdline = self.resources.cmdline().or(callers_line);
        let inputs = Inputs {
            kdump,
            image: &self.layer.image,
            initrd: self.resources.initrd(),
            cmdline,
            earlier: &self.resources.newest,
        };
        let chosen = self
            .chooser
            .choose(number, &self.layer, &inputs, &mut self.session);
        if let Some(layer) = self.report.layers.last_mut() {
            layer.asked = mem::take(&mut self.session.asked);
            let chosen = chosen.as_ref().ok().and_then(Option::as_ref);
            layer.parser = chosen.map(|it| it.info.clone());
        }
        let Some(chosen) = chosen? else {
            return Ok(false);
        };
        let path = &self.layer.path;
        let Some(left) = self.session.budget.stages.checked_sub(1) else {
            let mut place = Place::in_layer(path, Some(number));
            place.parser = Some(chosen.info);
            return Err(UnfoldError::limit(format!(
                "the budget of {} is used up, and one more parser fits; --max-stages raises it",
                counted(self.session.granted.stages.into(), "stage")
            ))
            .at(&place));
        };
        self.session.budget.stages = left;
        let found = match stage::run(number, path, &chosen, &inputs, &mut self.session)? {
            Attempt::Done(found) => found,
            Attempt::NotMine(asked) => {
                let mut place = Place::in_layer(path, Some(number));
                place.parser = Some(chosen.info);
                return Err(asked.let_it_be().at(&place));
            }
        };
        let Some(kernel) = found.kernel else {
            let mut place = Place::in_layer(path, Some(number));
            place.parser = Some(chosen.info);
            return Err(UnfoldError::new("no kernel was handed over").at(&place));
        };
        let path = self.layer.path_of(&kernel, &found.outputs, &chosen.info);
        self.report.stages.push(found.report);
        let meter = &mut self.session.budget.meter;
        self.resources.newest.update(found.handed_over, meter);
        // Nothing holds on to the old image from here on but what was handed
        // over of it.
        self.layer = LayerImage::examine(path, kernel)?;
        Ok(true)
    }

    /// Lets the layer at hand pass, before anything of it runs.
    fn admit(&mut self) -> Result<(), UnfoldError> {
        let LayerImage { path, image, .. } = &self.layer;
        let layer = LayerAtGate {
            path,
            image,
            pe: self.layer.pe(),
            pe_fault: self.layer.pe_fault(),
        };
        self.session.gate.admit(&layer).map_err(|reason| {
            UnfoldError::caused("refused", reason).at(&Place::in_layer(path, None))
        })
    }

    /// Returns initrd and command line when no parser fits any more.
    fn outcome(&mut self, request: CmdlineRequest) -> Result<Beside, UnfoldError> {
        let insns = &mut self.session.budget.meter.insns;
        let initrd = self.resources.final_initrd(insns)?;
        let handed_over = self.resources.newest.cmdline.take();
        let handed_over = handed_over.map(|line| line.value);
        let line = request.outcome(handed_over, &self.report.stages)?;
        Ok(Beside { initrd, line })
    }
}

/// The parts that a kernel gets beside its image.
struct Beside {
    initrd: Option<Rope>,
    line: FinalCmdline,
}

/// The resources that go with the image from stage to stage.
#[derive(Debug, Default)]
struct Resources {
    callers_initrd: Option<Rope>,
    newest: HandedOver,
}

impl Resources {
    /// Returns what there is before the first stage.
    fn new(callers_initrd: Option<Rope>) -> Self {
        let callers_initrd = callers_initrd.filter(|initrd| !initrd.is_empty());
        Self {
            callers_initrd,
            ..Self::default()
        }
    }

    /// Returns the initrd that there is now, never an empty one.
    fn initrd(&self) -> Option<&Rope> {
        match &self.newest.initrd {
            Some(newest) => Some(&newest.value).filter(|initrd| !initrd.is_empty()),
            None => self.callers_initrd.as_ref(),
        }
    }

    /// Returns the command line that was last handed over.
    fn cmdline(&self) -> Option<&[u8]> {
        let line = self.newest.cmdline.as_ref();
        line.map(|line| line.value.text.as_slice())
    }

    /// Returns what parsers handed over.
    fn left(self) -> Leftovers {
        let HandedOver {
            initrd, cmdline, ..
        } = self.newest;
        let initrd = initrd.map(|initrd| initrd.value);
        Leftovers {
            initrd: initrd.filter(|initrd| !initrd.is_empty()),
            cmdline: cmdline.map(|line| line.value.text),
        }
    }

    /// Returns the initrd for the kernel, which holds the caller's if there is
    /// one.
    fn final_initrd(&self, insns: &mut u64) -> Result<Option<Rope>, UnfoldError> {
        let initrd = self.initrd();
        if let Some(callers) = &self.callers_initrd {
            let held = match initrd {
                Some(initrd) => holds(initrd, callers, insns)?,
                None => false,
            };
            if !held {
                return Err(UnfoldError::new(format!(
                    "the given initrd ({} bytes) is not in what the parsers handed over; drop \
                     --initrd, or use a parser that passes it on",
                    callers.len()
                )));
            }
        }
        Ok(initrd.cloned())
    }
}
