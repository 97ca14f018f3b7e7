//! The pipeline: layer after layer until a kernel is left.

use std::mem;

use ukexec_bpf::Rope;

use crate::choice::{Chooser, Taken};
use crate::cmdline::{CmdlineRequest, FinalCmdline};
use crate::container::{Container, NextLayer};
use crate::content::{holds, lent, same_bytes};
use crate::context::{Inputs, Lens};
use crate::error::{Leftovers, Place};
use crate::gate::Open;
use crate::handed_over::HandedOver;
use crate::layer::LayerImage;
use crate::observer::Nobody;
use crate::plan::{none_takes_it, try_level};
use crate::stage::Session;
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
    let [image, initrd] = lent([Some(input.image), input.initrd]);
    let layer = LayerImage::examine(options.image_name.clone(), image.unwrap_or_default())?;
    let mut nobody = Nobody;
    let mut unfolding = Unfolding {
        session: Session::new(gate, store, budget, &mut nobody),
        chooser: Chooser::new(options),
        container: None,
        is_kernel: false,
        layer,
        resources: Resources::new(initrd),
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
    /// The levels of a container that are to be tried next.
    container: Option<Box<Container>>,
    /// Whether the layer at hand is the kernel, as the parser says that handed it over.
    is_kernel: bool,
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
        while self.layer(kdump, request.input())? {}
        self.outcome(request).map_err(|error| error.at(outermost))
    }

    /// Has a parser take the layer at hand apart. Returns whether there is a next layer; else
    /// this one is the kernel.
    fn layer(&mut self, kdump: bool, callers_line: Option<&[u8]>) -> Result<bool, UnfoldError> {
        self.report.layers.push(self.layer.report());
        self.admit()?;
        if self.is_kernel {
            return Ok(false);
        }
        let step = self.step(kdump, callers_line);
        if let Some(layer) = self.report.layers.last_mut() {
            layer.asked = mem::take(&mut self.session.asked);
            layer.parser = self.session.chosen.take();
        }
        let next = match step? {
            Step::None => return Ok(false),
            Step::Apart(taken, container) => self.inside(taken, container)?,
            Step::Kernel(kernel) => kernel,
        };
        // Nothing holds on to the old image from here on but what was handed
        // over of it.
        self.layer = LayerImage::examine(next.path, next.image)?;
        Ok(true)
    }

    fn step(&mut self, kdump: bool, callers_line: Option<&[u8]>) -> Result<Step, UnfoldError> {
        let done = u32::try_from(self.report.stages.len()).unwrap_or(u32::MAX);
        let stage = done.saturating_add(1);
        let layer = &self.layer;
        let initrd = self.resources.initrd();
        let inputs = Inputs {
            kdump,
            image: &layer.image,
            more: &[],
            initrd,
            cmdline: self.resources.cmdline().or(callers_line),
            earlier: &self.resources.newest,
            there: bytes_there(&layer.image, initrd),
            earlier_lens: Lens::default(),
        };
        let session = &mut self.session;
        if let Some(mut container) = self.container.take() {
            let mut level = container.next_level();
            let inputs = container.inputs(inputs);
            if let Some(found) = try_level(stage, layer, &mut level, &inputs, session)? {
                let levels = Vec::new();
                return Ok(Step::Apart(Taken { found, levels }, Some(container)));
            }
            let meter = &mut session.budget.meter;
            let Some(kernel) = container.finish(meter) else {
                return Err(none_takes_it(stage, layer, &level, session));
            };
            let place = Place::in_layer(&layer.path, Some(stage));
            container
                .check_progress()
                .map_err(|error| error.at(&place))?;
            let is_at_hand = same_bytes(&kernel.image, &layer.image, &mut meter.insns);
            if !is_at_hand.map_err(|error| UnfoldError::from(error).at(&place))? {
                return Ok(Step::Kernel(kernel));
            }
            // The buffer, which may be another copy, is held no longer.
            self.layer.image = kernel.image;
            return self.step(kdump, callers_line);
        }
        let taken = self.chooser.take_apart(stage, layer, &inputs, session)?;
        Ok(taken.map_or(Step::None, |taken| Step::Apart(taken, None)))
    }

    /// Takes over what a stage handed over. Returns what the next layer is: the first buffer that
    /// it filled for the container's next level, else the kernel.
    fn inside(
        &mut self,
        taken: Taken,
        container: Option<Box<Container>>,
    ) -> Result<NextLayer, UnfoldError> {
        let Taken { mut found, levels } = taken;
        let mut container = container.unwrap_or_else(|| {
            let there = bytes_there(&self.layer.image, self.resources.initrd());
            Box::new(Container::new(levels, there))
        });
        let meter = &mut self.session.budget.meter;
        let mut place = Place::in_layer(&self.layer.path, Some(found.report.number));
        place.parser = Some(found.report.parser.clone());
        let in_container = found.report.parser.slot.is_some();
        let taken = container.take_over(&mut found, &self.layer, meter);
        taken.map_err(|error| UnfoldError::from(error).at(&place))?;
        let missing = found.report.without_kernel();
        self.report.stages.push(found.report);
        self.resources.newest.update(found.handed_over, meter);
        if let Some(layer) = container.next_layer() {
            self.container = Some(container);
            return Ok(layer);
        }
        // Its parser fills nothing for the levels that are left: to it this is the kernel.
        self.is_kernel = container.has_levels();
        let kernel = container.finish(meter);
        let kernel = kernel.ok_or_else(|| missing.at(&place))?;
        if in_container {
            container
                .check_progress()
                .map_err(|error| error.at(&place))?;
        }
        Ok(kernel)
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

/// The step from a layer to the next.
enum Step {
    /// No parser takes it apart.
    None,
    /// A parser did; one of a container, if there is one.
    Apart(Taken, Option<Box<Container>>),
    /// No parser of the container's level does, so that this is the kernel.
    Kernel(NextLayer),
}

/// Returns how many bytes there are to hand over.
pub(crate) fn bytes_there(image: &Rope, initrd: Option<&Rope>) -> u64 {
    image.len().saturating_add(initrd.map_or(0, Rope::len))
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
