//! Conditions of a load that depend on the image: its kernel, its size, and its places.

use ukexec_kexec::{
    Condition, ConditionId, ConditionVerdict, KexecErrorKind, LoadCall, LoadKind, MachineState,
};
use ukexec_layout::Layout;

use crate::error::Result;
use crate::options::LoadRoom;
use crate::protocol::{Identity, Objection, Subject};
use crate::report::expanded::NO_EXPANSION;
use crate::report::failure::sentence;
use crate::report::size::Size;

/// Returns whether a machine has the memory that kernel and initrd need, if that is known.
///
/// Spec: Linux `kernel/kexec_core.c` (`sanity_check_segment_list`).
pub(crate) fn memory(
    needed: [u64; 2],
    machine: &MachineState,
    kind: LoadKind,
) -> Option<Condition> {
    let (room, of) = LoadRoom::of(machine).for_kind(kind);
    let room = room?;
    let [kernel, initrd] = needed;
    let loaded = kernel.saturating_add(initrd);
    // Its files are there before it is gone. A crash kernel has no other memory.
    let unpacks = kind == LoadKind::Crash && loaded.saturating_add(initrd) > room;
    let (kernel, initrd) = (Size(kernel), Size(initrd));
    let needed = format!("kernel ({kernel}) and unpacked initrd ({initrd})");
    let limit = format!("{of} ({})", Size(room));
    let (verdict, text) = if loaded > room {
        let text = format!("{needed} need more than {limit}");
        (ConditionVerdict::Refused, text)
    } else if unpacks {
        let text = format!(
            "{needed} fit into {limit}, but not with the files that the kernel makes of it"
        );
        (ConditionVerdict::Warning, text)
    } else {
        (ConditionVerdict::Ok, format!("{needed} fit into {limit}"))
    };
    let is_ok = verdict == ConditionVerdict::Ok;
    Some(Condition {
        id: ConditionId::Memory,
        verdict,
        text: text.into(),
        advice: (!is_ok).then_some(NO_EXPANSION.into()),
        panic: kind == LoadKind::Crash,
        kind: KexecErrorKind::Machine,
    })
}

/// Returns what the worker says of the kernel and this machine: each objection that
/// is not every machine's, or that there is none.
pub(crate) fn architecture(
    identity: &Identity,
    machine: &MachineState,
    kind: LoadKind,
    call: LoadCall,
) -> Vec<Condition> {
    let condition = |verdict, text: String| Condition {
        id: ConditionId::Architecture,
        verdict,
        text: text.into(),
        advice: None,
        panic: kind == LoadKind::Crash,
        kind: KexecErrorKind::Machine,
    };
    let objections = identity.problems.iter();
    let objections = objections.filter(|it| it.subject == Subject::Machine);
    let mut found: Vec<Condition> = objections
        .map(|it| {
            let verdict = match (it.verdict, call) {
                // That call would answer. This one does not ask.
                (ConditionVerdict::Unknown, LoadCall::KexecLoad) => ConditionVerdict::Warning,
                (verdict, _) => verdict,
            };
            condition(verdict, it.words(call).to_owned())
        })
        .collect();
    let is_refused = |it: &Objection| it.verdict == ConditionVerdict::Refused;
    if found.is_empty() && identity.problems.iter().any(is_refused) {
        let text = "the kernel is refused for another reason".to_owned();
        found.push(condition(ConditionVerdict::Unknown, text));
    } else if found.is_empty() {
        found.push(match &machine.machine {
            Some(arch) => condition(
                ConditionVerdict::Ok,
                format!("the kernel is one for this machine ({arch})"),
            ),
            None => condition(
                ConditionVerdict::Unknown,
                "nothing shows the architecture of this machine".to_owned(),
            ),
        });
    }
    found
}

/// Returns whether there is room for each part, as a condition of the load. A process that
/// lacks the right to load does not see the machine's memory, either.
pub(crate) fn segments(
    laid_out: &Result<Layout>,
    machine: &MachineState,
    kind: LoadKind,
) -> Condition {
    let (verdict, text) = match laid_out {
        Ok(layout) if !layout.warnings.is_empty() => {
            (ConditionVerdict::Warning, layout.warnings.join("; "))
        }
        Ok(layout) => {
            let (count, len) = (layout.segments.len(), Size(layout.memory_len()));
            let place = match kind {
                LoadKind::Reboot => "free memory",
                LoadKind::Crash => "the memory for a crash kernel",
            };
            let text = format!("{count} segments of {len} have their places in {place}");
            (ConditionVerdict::Ok, text)
        }
        Err(error) if machine.cap_sys_boot == Some(false) => {
            let text = format!("places are not known: {}", sentence(error));
            (ConditionVerdict::Unknown, text)
        }
        Err(error) => (ConditionVerdict::Refused, sentence(error)),
    };
    Condition {
        id: ConditionId::Segments,
        verdict,
        text: text.into(),
        advice: None,
        panic: kind == LoadKind::Crash,
        kind: KexecErrorKind::Machine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unpacked_initrd_has_to_fit() {
        let mut machine = MachineState::default();
        (machine.memory, machine.crash_size) = (Some(200 << 20), Some(100 << 20));
        for (initrd, kind, verdict) in [
            (90, LoadKind::Reboot, ConditionVerdict::Ok),
            (91, LoadKind::Reboot, ConditionVerdict::Refused),
            (45, LoadKind::Crash, ConditionVerdict::Ok),
            (46, LoadKind::Crash, ConditionVerdict::Warning),
            (91, LoadKind::Crash, ConditionVerdict::Refused),
        ] {
            let found = memory([10 << 20, initrd << 20], &machine, kind).unwrap();
            assert_eq!(found.verdict, verdict, "{initrd} {kind:?}: {}", found.text);
        }
        assert!(memory([1, 1], &MachineState::default(), LoadKind::Reboot).is_none());
    }
}
