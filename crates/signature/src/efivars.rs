//! The machine's own trust, out of its UEFI variables.
//!
//! Files are read by the caller, who is asked for them by their paths below
//! `/sys/firmware/efi`:
//!
//! - `efivars/NAME-GUID`, as efivarfs has variables: four bytes of attributes,
//!   then the content;
//! - `mok-variables/NAME`: the content alone. They are what shim hands to the
//!   kernel in a table of its own, and are whole where a firmware has no room
//!   for large variables. Where one exists, its variable is not asked for.
//!
//! A machine trusts what `db` and `MokListRT` hold (unless `MokIgnoreDB` is
//! there, only the latter), and revokes what `dbx` and `MokListXRT` hold;
//! `SbatLevelRT` has the level for the generations of images' components.
//!
//! Spec: UEFI 2.10, 32.3 and 32.4; Linux, "Documentation/ABI/testing/
//! sysfs-firmware-efi-vars"; shim, `MokVars.txt`.

use ukexec_pe::counted;

use crate::error::{Cause, unexpected};
use crate::read::wide;
use crate::trust::Note;
use crate::{Guid, Origin, SignatureError, Trust};
use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

/// Returns what the machine trusts and revokes. `read` returns the content of
/// a file by its path below `/sys/firmware/efi`, `None` if there is none.
///
/// # Errors
///
/// [`SignatureError`] if a variable cannot be read or is damaged. A revocation
/// that cannot be read is no reason to trust more, so nothing is returned then.
pub fn machine_trust<E: Into<Cause>>(
    read: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Trust, SignatureError> {
    let mut variables = Variables { read };
    let mut trust = Trust::default();
    let has_variables = variables.variable("SecureBoot", GLOBAL_VARIABLE)?.is_some();
    if variables.variable("MokIgnoreDB", SHIM)?.is_some() {
        trust.note(Note {
            origin: Origin::new("db"),
            text: "passed over: MokIgnoreDB is set".to_owned(),
        });
    } else if let Some(db) = variables.variable("db", IMAGE_SECURITY_DATABASE)? {
        trust.add_firmware_list(&Origin::new("db"), &db.content)?;
    }
    let lists = variables.mok("MokListRT")?;
    let (kept, lists): (Vec<_>, Vec<_>) = lists.into_iter().partition(Variable::is_kept);
    for list in kept {
        trust.note(Note {
            origin: Origin::new(list.name),
            text: "passed over: it is kept over reboots, so it is not from shim".to_owned(),
        });
    }
    for list in lists {
        trust.add_allowed_list(&Origin::new("MokListRT"), &list.content)?;
    }
    if let Some(dbx) = variables.variable("dbx", IMAGE_SECURITY_DATABASE)? {
        trust.add_revoked_list(&Origin::new("dbx"), &dbx.content)?;
    }
    for list in variables.mok("MokListXRT")? {
        trust.add_revoked_list(&Origin::new("MokListXRT"), &list.content)?;
    }
    // The level is small: it is never in parts.
    if let Some(level) = variables.mok("SbatLevelRT")?.first() {
        trust.set_sbat_level(&level.content)?;
    }
    if !has_variables && !trust.is_empty() {
        trust.note(Note {
            origin: Origin::new("efivars"),
            text: "there is no variable SecureBoot, so dbx may be missing as well: is efivarfs \
                   mounted?"
                .to_owned(),
        });
    }
    Ok(trust)
}

/// Returns how the machine was booted. `read` is as for [`machine_trust`].
///
/// # Errors
///
/// [`SignatureError`] if a variable cannot be read or has no content.
pub fn secure_boot<E: Into<Cause>>(
    read: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<SecureBoot, SignatureError> {
    let mut variables = Variables { read };
    let enabled = variables.byte("SecureBoot")?.map(|byte| byte != 0);
    let setup_mode = variables.byte("SetupMode")? == Some(1);
    let state = variables.variable("MokSBStateRT", SHIM)?;
    let shim_insecure =
        state.is_some_and(|state| !state.is_kept() && state.content.first() == Some(&1));
    Ok(SecureBoot {
        enabled,
        setup_mode,
        shim_insecure,
    })
}

/// How a machine was booted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecureBoot {
    /// The firmware verifies what it starts: `SecureBoot` is not 0. `None` if there
    /// is no such variable, as where no UEFI is or efivarfs is not mounted.
    pub enabled: Option<bool>,
    /// It takes new keys from anyone: `SetupMode` is 1.
    pub setup_mode: bool,
    /// Its owner had shim verify nothing: `MokSBStateRT` is 1, and is not kept over
    /// reboots, as a variable that root wrote would be.
    pub shim_insecure: bool,
}

impl SecureBoot {
    /// Returns whether what was booted was verified. Linux takes the three for
    /// this in the same way.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.enabled == Some(true) && !self.setup_mode && !self.shim_insecure
    }
}

struct Variable {
    name: String,
    attributes: u32,
    content: Vec<u8>,
}

impl Variable {
    /// Returns whether it is kept over reboots. shim's copies for the system
    /// are not, while root can make only such as are.
    fn is_kept(&self) -> bool {
        self.attributes & NON_VOLATILE != 0
    }
}

struct Variables<R> {
    read: R,
}

impl<E: Into<Cause>, R: FnMut(&str) -> Result<Option<Vec<u8>>, E>> Variables<R> {
    /// Returns a list of shim's: whole, or in the parts that it was made into,
    /// `NAME`, `NAME1`, `NAME2`, each of whole EFI signature lists.
    fn mok(&mut self, name: &str) -> Result<Vec<Variable>, SignatureError> {
        if let Some(content) = self.file(&format!("mok-variables/{name}"))? {
            return Ok(vec![Variable {
                name: name.to_owned(),
                attributes: 0,
                content,
            }]);
        }
        let mut parts = Vec::new();
        for number in 0..MAX_PARTS {
            let part = match number {
                0 => name.to_owned(),
                _ => format!("{name}{number}"),
            };
            match self.variable(&part, SHIM)? {
                Some(variable) => parts.push(variable),
                None => break,
            }
        }
        Ok(parts)
    }

    /// Returns the only byte of a variable of the firmware's.
    fn byte(&mut self, name: &str) -> Result<Option<u8>, SignatureError> {
        let Some(variable) = self.variable(name, GLOBAL_VARIABLE)? else {
            return Ok(None);
        };
        match variable.content.as_slice() {
            [byte] => Ok(Some(*byte)),
            content => {
                let field = format_args!("the UEFI variable efivars/{name}-{GLOBAL_VARIABLE}");
                let expected = "one byte behind its attributes";
                Err(unexpected(field, expected, content.len()))
            }
        }
    }

    fn variable(&mut self, name: &str, vendor: Guid) -> Result<Option<Variable>, SignatureError> {
        let file = format!("efivars/{name}-{vendor}");
        let Some(bytes) = self.file(&file)? else {
            return Ok(None);
        };
        match bytes.split_first_chunk() {
            // In efivarfs a variable that was never written looks like this.
            None if bytes.is_empty() => Ok(None),
            Some((attributes, content)) => Ok(Some(Variable {
                name: name.to_owned(),
                attributes: u32::from_le_bytes(*attributes),
                content: content.to_vec(),
            })),
            None => Err(unexpected(
                format_args!("the UEFI variable {file}"),
                "4 bytes of attributes and its content, as efivarfs has them",
                counted(wide(bytes.len()), "byte"),
            )),
        }
    }

    fn file(&mut self, name: &str) -> Result<Option<Vec<u8>>, SignatureError> {
        (self.read)(name).map_err(|cause| {
            let text = format!("the UEFI variable {name} cannot be read");
            SignatureError::new(text).because(cause)
        })
    }
}

/// More parts of a list are not looked for; no firmware has room for so many.
const MAX_PARTS: usize = 256;

/// `EFI_VARIABLE_NON_VOLATILE`.
const NON_VOLATILE: u32 = 1;

/// `EFI_GLOBAL_VARIABLE`.
const GLOBAL_VARIABLE: Guid = Guid::new(0x8be4_df61, 0x93ca, 0x11d2, 0xaa0d_00e0_9803_2b8c);

/// `EFI_IMAGE_SECURITY_DATABASE_GUID`.
const IMAGE_SECURITY_DATABASE: Guid = Guid::new(0xd719_b2cb, 0x3d3a, 0x4596, 0xa3bc_dad0_0e67_656f);

/// `SHIM_LOCK_GUID`.
const SHIM: Guid = Guid::new(0x605d_ab50, 0xe046, 0x4300, 0xabb6_3dd8_10dd_8b23);

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use std::collections::BTreeMap;
    use std::error::Error as _;
    use std::io;

    const IMAGES: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
    const MOK: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";
    const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
    const CERTIFICATES: &[u8] = include_bytes!("../testdata/trust/certificates.esl");
    const IMAGE_HASH: &[u8] = include_bytes!("../testdata/trust/image-hash.esl");
    const TBS_HASHES: &[u8] = include_bytes!("../testdata/trust/tbs-hashes.esl");

    /// Files below `/sys/firmware/efi`.
    struct Files(BTreeMap<String, Vec<u8>>);

    impl Files {
        fn of_a_machine() -> Self {
            Self(BTreeMap::new()).variable(&format!("SecureBoot-{GLOBAL}"), 6, &[1])
        }

        fn variable(mut self, name: &str, attributes: u8, content: &[u8]) -> Self {
            let bytes = [&[attributes, 0, 0, 0], content].concat();
            self.0.insert(format!("efivars/{name}"), bytes);
            self
        }

        fn mok(mut self, name: &str, content: &[u8]) -> Self {
            self.0
                .insert(format!("mok-variables/{name}"), content.to_vec());
            self
        }

        fn read(&self) -> impl FnMut(&str) -> io::Result<Option<Vec<u8>>> + '_ {
            |name| Ok(self.0.get(name).cloned())
        }
    }

    fn check(files: &Files, expected: Expect) {
        let said = match machine_trust(files.read()) {
            Ok(trust) => shown(&trust),
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}"));
                format!("{error}{}", cause.unwrap_or_default())
            }
        };
        expected.assert_eq(&said);
    }

    fn shown(trust: &Trust) -> String {
        let anchors = trust
            .anchors()
            .map(|(one, from)| format!("{from}: {}\n", one.subject()));
        let revoked = trust.revoked_certificates();
        let revoked = revoked.map(|(one, from)| format!("{from} revokes: {}\n", one.subject()));
        let notes = trust.notes().iter().map(|note| format!("note: {note}\n"));
        let level = trust.sbat_level().and_then(|level| level.date.as_deref());
        let level = level.map(|date| format!("level of {date}\n"));
        anchors.chain(revoked).chain(notes).chain(level).collect()
    }

    #[test]
    fn a_machine_without_variables_trusts_nothing() {
        check(&Files(BTreeMap::new()), expect![""]);
        check(&Files::of_a_machine(), expect![""]);
    }

    #[test]
    fn says_that_dbx_cannot_be_known() {
        let files = Files(BTreeMap::new()).mok("MokListRT", CERTIFICATES);
        check(
            &files,
            expect![[r#"
            MokListRT: CN=ukexec test one
            MokListRT: CN=ukexec test two
            note: efivars: there is no variable SecureBoot, so dbx may be missing as well: is efivarfs mounted?
        "#]],
        );
    }

    #[test]
    fn takes_all_lists_from_their_variables() {
        let first_len = u16::from_le_bytes([CERTIFICATES[16], CERTIFICATES[17]]);
        let one = &CERTIFICATES[..first_len.into()];
        let files = Files::of_a_machine()
            .variable(&format!("db-{IMAGES}"), 0x27, one)
            .variable(&format!("dbx-{IMAGES}"), 0x27, TBS_HASHES)
            .variable(&format!("MokListRT-{MOK}"), 6, CERTIFICATES)
            .variable(&format!("MokListXRT-{MOK}"), 6, one)
            .variable(
                &format!("SbatLevelRT-{MOK}"),
                6,
                b"sbat,1,2024010900\nshim,4\n",
            );
        check(
            &files,
            expect![[r#"
            db: CN=ukexec test one
            MokListRT: CN=ukexec test one
            MokListRT: CN=ukexec test two
            MokListXRT revokes: CN=ukexec test one
            level of 2024010900
        "#]],
        );
    }

    #[test]
    fn takes_tables_before_variables() {
        let files = Files::of_a_machine()
            .variable(&format!("MokListRT-{MOK}"), 6, b"not looked at")
            .variable(&format!("MokListXRT-{MOK}"), 6, b"not looked at")
            .variable(&format!("SbatLevelRT-{MOK}"), 6, b"not looked at")
            .mok("MokListRT", CERTIFICATES)
            .mok("MokListXRT", CERTIFICATES)
            .mok("SbatLevelRT", b"sbat,1,2021030218\n");
        check(
            &files,
            expect![[r#"
            MokListRT: CN=ukexec test one
            MokListRT: CN=ukexec test two
            MokListXRT revokes: CN=ukexec test one
            MokListXRT revokes: CN=ukexec test two
            level of 2021030218
        "#]],
        );
    }

    #[test]
    fn takes_lists_in_parts() {
        let files = Files::of_a_machine()
            .variable(&format!("MokListRT-{MOK}"), 6, IMAGE_HASH)
            .variable(&format!("MokListRT1-{MOK}"), 6, CERTIFICATES)
            .variable(&format!("MokListRT3-{MOK}"), 6, b"behind a gap")
            .variable(&format!("MokListXRT-{MOK}"), 6, TBS_HASHES)
            .variable(&format!("MokListXRT1-{MOK}"), 6, CERTIFICATES);
        check(
            &files,
            expect![[r#"
            MokListRT: CN=ukexec test one
            MokListRT: CN=ukexec test two
            MokListXRT revokes: CN=ukexec test one
            MokListXRT revokes: CN=ukexec test two
        "#]],
        );
    }

    #[test]
    fn parts_come_to_an_end() {
        let mut asked = 0;
        let trust = machine_trust(|name| {
            asked += 1;
            let is_list = name.starts_with("efivars/MokList");
            io::Result::Ok(is_list.then(|| [&[6, 0, 0, 0], IMAGE_HASH].concat()))
        });
        assert!(trust.is_ok());
        assert!(asked < 600, "{asked}");
    }

    #[test]
    fn what_is_kept_over_reboots_is_not_from_shim() {
        let files = Files::of_a_machine()
            .variable(&format!("MokListRT-{MOK}"), 7, CERTIFICATES)
            .variable(&format!("MokListXRT-{MOK}"), 7, CERTIFICATES);
        check(
            &files,
            expect![[r#"
            MokListXRT revokes: CN=ukexec test one
            MokListXRT revokes: CN=ukexec test two
            note: MokListRT: passed over: it is kept over reboots, so it is not from shim
        "#]],
        );
    }

    #[test]
    fn db_is_ignored_where_shim_ignores_it() {
        let files = Files::of_a_machine()
            .variable(&format!("db-{IMAGES}"), 0x27, CERTIFICATES)
            .variable(&format!("MokIgnoreDB-{MOK}"), 6, &[1]);
        check(
            &files,
            expect![[r#"
            note: db: passed over: MokIgnoreDB is set
        "#]],
        );
    }

    #[test]
    fn damaged_variables_are_errors() {
        let variable = |name: &str, content| Files::of_a_machine().variable(name, 6, content);
        check(
            &variable(&format!("db-{IMAGES}"), b"short"),
            expect![
                "the EFI signature lists of db are damaged: EFI_SIGNATURE_LIST at offset 0x0: expected a header of 28 bytes, found 5 bytes; is the list cut off?"
            ],
        );
        check(
            &variable(&format!("dbx-{IMAGES}"), b"short"),
            expect![
                "the EFI signature lists of dbx are damaged: EFI_SIGNATURE_LIST at offset 0x0: expected a header of 28 bytes, found 5 bytes; is the list cut off?"
            ],
        );
        check(
            &variable(&format!("MokListXRT-{MOK}"), b"short"),
            expect![
                "the EFI signature lists of MokListXRT are damaged: EFI_SIGNATURE_LIST at offset 0x0: expected a header of 28 bytes, found 5 bytes; is the list cut off?"
            ],
        );
        check(
            &variable(&format!("SbatLevelRT-{MOK}"), b"short"),
            expect![[
                r#"the SBAT level of SbatLevelRT is damaged: line 1 of the SBAT level: expected a component and its generation, found "short""#
            ]],
        );
        let mut files = Files::of_a_machine();
        files
            .0
            .insert(format!("efivars/dbx-{IMAGES}"), vec![7, 0, 0]);
        check(
            &files,
            expect![
                "the UEFI variable efivars/dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f: expected 4 bytes of attributes and its content, as efivarfs has them, found 3 bytes"
            ],
        );
    }

    #[test]
    fn an_empty_file_is_no_variable() {
        let mut files = Files::of_a_machine();
        files.0.insert(format!("efivars/db-{IMAGES}"), Vec::new());
        check(&files, expect![""]);
    }

    #[test]
    fn a_revocation_that_cannot_be_read_is_an_error() {
        let error = machine_trust(|name| {
            if name.contains("dbx") {
                Err(io::Error::from(io::ErrorKind::PermissionDenied))
            } else {
                Ok(None)
            }
        })
        .unwrap_err();
        expect![
            "the UEFI variable efivars/dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f cannot be read"
        ]
        .assert_eq(&error.to_string());
    }

    fn check_boot(secure_boot_is: u8, setup_mode: u8, state: Option<(u8, u8)>, on: bool) {
        let mut files = Files::of_a_machine()
            .variable(&format!("SecureBoot-{GLOBAL}"), 6, &[secure_boot_is])
            .variable(&format!("SetupMode-{GLOBAL}"), 6, &[setup_mode]);
        if let Some((attributes, state)) = state {
            files = files.variable(&format!("MokSBStateRT-{MOK}"), attributes, &[state]);
        }
        let boot = secure_boot(files.read()).unwrap();
        assert_eq!(boot.is_on(), on, "{boot:?}");
    }

    #[test]
    fn a_state_of_no_byte_is_not_taken_for_off() {
        let refused = |name: &str, content: &[u8]| {
            let files = Files::of_a_machine().variable(&format!("{name}-{GLOBAL}"), 6, content);
            secure_boot(files.read()).unwrap_err().to_string()
        };
        expect!["the UEFI variable efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c: expected one byte behind its attributes, found 0"]
            .assert_eq(&refused("SecureBoot", &[]));
        expect!["the UEFI variable efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c: expected one byte behind its attributes, found 2"]
            .assert_eq(&refused("SecureBoot", &[0, 1]));
        expect!["the UEFI variable efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c: expected one byte behind its attributes, found 0"]
            .assert_eq(&refused("SetupMode", &[]));
    }

    #[test]
    fn secure_boot_is_on_as_linux_has_it() {
        check_boot(1, 0, None, true);
        check_boot(0, 0, None, false);
        check_boot(0, 1, None, false);
        check_boot(1, 1, None, false);
        // Any value but 0 is on, and only 1 is setup mode.
        check_boot(2, 0, None, true);
        check_boot(0xff, 2, None, true);
        check_boot(2, 1, None, false);
        check_boot(1, 0, Some((6, 0)), true);
        check_boot(1, 0, Some((6, 1)), false);
        // Root could have written this one.
        check_boot(1, 0, Some((7, 1)), true);
        let unknown = secure_boot(|_| io::Result::Ok(None)).unwrap();
        assert_eq!((unknown.enabled, unknown.is_on()), (None, false));
    }
}
