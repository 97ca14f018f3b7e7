//! Definitions of boot entries, and the entries that they become.
//!
//! Spec: UAPI group, "Boot Loader Specification". IDs and titles are those of bootctl.

use crate::architecture::Architecture;
use crate::{Boots, Counter, Entry, EntryKind, OsSummary, Partition, ProfileSummary, Type1};

/// A definition: the file that an entry is made of.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) kind: EntryKind,
    pub(crate) partition: Partition,
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) counter: Option<Counter>,
    /// Whether systemd-boot passes over files of this name.
    pub(crate) name_is_hidden: bool,
}

impl Definition {
    /// Returns the entry of a file of keys.
    pub(crate) fn type1(self, keys: Type1, running: Option<Architecture>) -> Entry {
        let boots = boots(&keys);
        let word = keys.architecture.as_deref();
        // Of several architectures, one is another than this machine's.
        let is_for = |running: Architecture, word| running.is_called(word) && !keys.is_for_several;
        let is_foreign = running
            .zip(word)
            .is_some_and(|(running, word)| !is_for(running, word));
        let reason = match &boots {
            Boots::Nothing => Some("it names no program to boot, or several kinds".to_owned()),
            _ if is_foreign && keys.is_for_several => {
                Some("it names several architectures".to_owned())
            }
            _ if is_foreign => Some(format!(
                "it is for architecture {}",
                word.unwrap_or_default()
            )),
            Boots::Efi(_) => Some("it boots a program for firmware, no kernel".to_owned()),
            Boots::UkiUrl(_) => Some("its image is on a network".to_owned()),
            Boots::Linux(_) | Boots::Uki(_) => None,
        };
        let entry = self.entry();
        Entry {
            is_hidden: entry.is_hidden || is_foreign || boots == Boots::Nothing,
            reason: entry.reason.clone().or(reason),
            title: keys.title,
            sort_key: keys.sort_key,
            machine_id: keys.machine_id,
            version: keys.version,
            architecture: keys.architecture,
            options: keys.options,
            boots,
            initrds: keys.initrds,
            extra: keys.extra,
            devicetree: keys.devicetree,
            devicetree_overlays: keys.devicetree_overlays,
            profile: keys.profile,
            ..entry
        }
    }

    /// Returns the entry of profile `number` of a unified kernel image.
    pub(crate) fn type2(self, number: u32, profile: ProfileSummary, os: OsSummary) -> Entry {
        let ProfileSummary { id, title, .. } = profile;
        let number_if_second = (number > 0).then(|| number.to_string());
        let suffix = id.clone().or(number_if_second);
        let added = title.or_else(|| id.clone());
        let added = added.or_else(|| (number > 0).then(|| format!("@{number}")));
        let entry = Entry {
            boots: Boots::Uki(self.path.clone()),
            sort_key: os.sort_key,
            version: os.version,
            profile: number,
            profile_id: id,
            ..self.entry()
        };
        Entry {
            id: suffix.map_or(entry.id.clone(), |suffix| {
                format!("{}@{suffix}", entry.name)
            }),
            title: Some(match added {
                Some(added) => format!("{} ({added})", os.title),
                None => os.title,
            }),
            ..entry
        }
    }

    /// Returns an entry that has all that follows from the name of its file.
    fn entry(self) -> Entry {
        Entry {
            id: self.name.clone(),
            name: self.name,
            kind: self.kind,
            partition: self.partition,
            path: self.path,
            title: None,
            show_title: String::new(),
            sort_key: None,
            machine_id: None,
            version: None,
            architecture: None,
            options: None,
            boots: Boots::Nothing,
            initrds: Vec::new(),
            extra: Vec::new(),
            devicetree: None,
            devicetree_overlays: Vec::new(),
            profile: 0,
            profile_id: None,
            counter: self.counter,
            image: None,
            default: false,
            selected: false,
            oneshot: false,
            running: false,
            reason: self
                .name_is_hidden
                .then(|| "systemd-boot passes over names that begin with auto-".to_owned()),
            is_hidden: self.name_is_hidden,
        }
    }
}

/// Returns the one program that `keys` name.
fn boots(keys: &Type1) -> Boots {
    let kinds = [
        keys.linux.clone().map(Boots::Linux),
        keys.uki.clone().map(Boots::Uki),
        keys.uki_url.clone().map(Boots::UkiUrl),
        keys.efi.clone().map(Boots::Efi),
    ];
    let mut named = kinds.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(boots), None) if !keys.is_of_several_kinds => boots,
        _ => Boots::Nothing,
    }
}
