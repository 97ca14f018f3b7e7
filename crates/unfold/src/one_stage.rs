//! One stage alone: a parser and an image, for those who write parsers.

use ukexec_bpf::Rope;

use crate::chosen::{Chosen, can_answer};
use crate::cmdline::CmdlineRequest;
use crate::content::lent;
use crate::context::{Inputs, Lens};
use crate::error::Place;
use crate::gate::Open;
use crate::handed_over::HandedOver;
use crate::layer::LayerImage;
use crate::pipeline::bytes_there;
use crate::report::ParserInfo;
use crate::stage::{self, Session};
use crate::{
    Budget, Input, Observer, Options, ParserFile, StageReport, Store, UnfoldError, Warning,
};

/// The result of one stage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stage {
    /// The answer of the parser's match program; `None` if it has none.
    pub matches: Option<bool>,
    /// The kernel that was handed over; a parser of v7 may leave it to the next level.
    pub kernel: Option<Rope>,
    /// The initrd that was handed over; one without bytes says that there shall
    /// be none.
    pub initrd: Option<Rope>,
    /// The command line that was handed over.
    pub cmdline: Option<Vec<u8>>,
    /// How it went.
    pub report: StageReport,
    /// Notes on what stopped nothing.
    pub warnings: Vec<Warning>,
}

/// Runs `parser` on `input.image`, as the first stage of an unfolding would,
/// and no further stage. Its match program is asked, and its answer changes
/// nothing.
///
/// `slot` names the slot if the parser was taken out of a container.
///
/// Of `options`, what says which parser to take is not looked at, and what is
/// about an unfolding's end (`input.append`, and that a caller's initrd must
/// come out) does not hold.
///
/// # Errors
///
/// [`UnfoldError`] as that of [`unfold`](crate::unfold).
pub fn run_stage(
    input: Input,
    parser: &ParserFile,
    slot: Option<&str>,
    options: &Options,
    store: &mut dyn Store,
    budget: &mut Budget,
    observer: &mut dyn Observer,
) -> Result<Stage, UnfoldError> {
    let mut place = Place::in_layer(&options.image_name, Some(1));
    let profile = options.profile.as_deref();
    let request = CmdlineRequest::new(input.cmdline, input.append, profile, false)
        .map_err(|error| error.at(&place))?;
    let [image, initrd] = lent([Some(input.image), input.initrd]);
    let layer = LayerImage::examine(options.image_name.clone(), image.unwrap_or_default())?;
    let mut gate = Open;
    let mut session = Session::new(&mut gate, store, budget, observer);
    let info = ParserInfo {
        slot: slot.map(str::to_owned),
        ..ParserInfo::new(&parser.name, parser.origin)
    };
    let chosen = Chosen::load(info, &parser.object, &mut place, &session)?;
    let initrd = initrd.filter(|initrd| !initrd.is_empty());
    let inputs = Inputs {
        kdump: options.kdump,
        image: &layer.image,
        more: &[],
        initrd: initrd.as_ref(),
        cmdline: request.input(),
        earlier: &HandedOver::default(),
        there: bytes_there(&layer.image, initrd.as_ref()),
        earlier_lens: Lens::default(),
    };
    let matches = match can_answer(&chosen.parser) {
        true => Some(chosen.ask(&place, &inputs, &mut session).0?),
        false => None,
    };
    let found = stage::run(1, &layer.path, &chosen, &inputs, &mut session).of_only_one(&place)?;
    Ok(Stage {
        matches,
        kernel: found.kernel,
        initrd: found.handed_over.initrd.map(|initrd| initrd.value),
        cmdline: found.handed_over.cmdline.map(|line| line.value.text),
        report: found.report,
        warnings: session.warnings,
    })
}
