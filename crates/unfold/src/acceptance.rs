//! All that an unfolding does before a parser runs.

use ukexec_bpf::{BpfError, Meter, Parser, Vm};

use crate::generation::{Generation, ParserPlace};
use crate::interface;
use crate::stage::can_hand_over;

/// A parser that an unfolding would run.
#[derive(Debug)]
#[non_exhaustive]
pub struct AcceptedParser {
    /// The parser.
    pub parser: Parser,
    /// The generation of the parser ABI that it is for.
    pub generation: Generation,
    /// Bytes of private memory that it takes before it runs.
    pub memory: u64,
}

/// One reason why an unfolding would not run a parser.
#[derive(Debug)]
pub enum ParserRefusal {
    /// A fault of the object.
    Fault(BpfError),
    /// No program is on the hook for handing over.
    HandsOverNothing(Generation),
    /// It calls kfuncs of another generation, or lies where its own does not belong, as the text
    /// says.
    Generation(String),
}

/// Returns whether an unfolding within the default budget would run the parser in
/// `object`, a plain BPF object or a light skeleton that lies in `place`. Nothing of it
/// runs.
///
/// # Errors
///
/// Every reason why it would not.
///
/// ```
/// use ukexec_unfold::{ParserPlace, accept};
///
/// let reasons = accept(b"no object", ParserPlace::Alone).unwrap_err();
/// assert_eq!(reasons.len(), 1);
/// ```
pub fn accept(object: &[u8], place: ParserPlace) -> Result<AcceptedParser, Vec<ParserRefusal>> {
    let faults = |faults: Vec<BpfError>| faults.into_iter().map(ParserRefusal::Fault);
    let loaded = Parser::load_or_explain(object, interface::interface());
    let parser = loaded.map_err(|all| faults(all).collect::<Vec<_>>())?;
    let mut reasons = Vec::new();
    let generation = match Generation::of(&parser) {
        Ok(generation) if can_hand_over(&parser, generation) => Some(generation),
        Ok(generation) => {
            reasons.push(ParserRefusal::HandsOverNothing(generation));
            None
        }
        Err(mixed) => {
            reasons.push(ParserRefusal::Generation(mixed));
            None
        }
    };
    let belongs = generation.map_or(Ok(()), |generation| generation.check_place(place));
    if let Err(elsewhere) = belongs {
        reasons.push(ParserRefusal::Generation(elsewhere));
    }
    let (verified, generation) = match (parser.verify_or_explain(), generation) {
        (Ok(verified), Some(generation)) if reasons.is_empty() => (verified, generation),
        (refused, _) => {
            reasons.extend(faults(refused.err().unwrap_or_default()));
            return Err(reasons);
        }
    };
    let mut meter = Meter::default();
    let whole = meter.memory;
    let armed = Vm::new(&verified, &mut meter).map(drop);
    armed.map_err(|fault| vec![ParserRefusal::Fault(fault)])?;
    let memory = whole.saturating_sub(meter.memory);
    Ok(AcceptedParser {
        parser,
        generation,
        memory,
    })
}
