//! Taking companions and the caller's secrets over: all of them into one file in memory,
//! each at a multiple of 4, which is where archives have files.

use std::fs::{File, Metadata};
use std::io::Write as _;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use ukexec_kexec::{MemfdWriter, Moved, Part, shown_path};
use ukexec_stub::CompanionFolder;

use super::{Listing, Named, of_file};
use crate::console::Console;
use crate::error::{Context as _, LoaderError, Result};
use crate::files::{read_named, shown};
use crate::options::CredentialFile;
use crate::parent::input::{InputBytes, InputFile};
use crate::parent::sources::{Backing, Sources};
use crate::protocol::Span;
use crate::protocol::beside::{CallersCredential, CompanionFile, PassedOver};

/// Companions and secrets in memory, and what was left alone.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(crate) companions: Vec<CompanionFile>,
    pub(crate) credentials: Vec<CallersCredential>,
    pub(crate) passed_over: Vec<PassedOver>,
    /// Folders that are left alone although the stub would take what is in them. The
    /// worker warns of files.
    pub(crate) warnings: Vec<String>,
    /// How many bytes were moved.
    pub(crate) moved: Moved,
}

/// Bytes of all companions of an image.
const COMPANIONS_LEN_MAX: u64 = 3 << 29;

/// Bytes of a secret.
const CREDENTIAL_MAX: u64 = 1 << 20;

/// So many secrets are taken.
const CREDENTIALS_MAX: usize = 4096;

/// Bytes are aligned so.
const ALIGNMENT: u64 = 4;

impl Copies {
    /// Copies what `listing` names, and `credentials`. If it has to be `strict`, nothing
    /// that the stub would take is left alone.
    pub(crate) fn take(
        listing: Listing,
        credentials: &[CredentialFile],
        strict: bool,
        sources: &mut Sources,
        console: &dyn Console,
    ) -> Result<Self> {
        let Listing {
            named,
            passed_over,
            owners,
        } = listing;
        let mut copies = Self::default();
        for (it, would_count) in passed_over {
            copies.pass_over(it, would_count, strict)?;
        }
        let mut fit = Vec::new();
        let mut len: u64 = 0;
        for it in named {
            let file = it.open()?;
            let found = file.metadata().context(|| it.unread())?;
            if let Some(reason) = owners.distrust(&file, &found) {
                copies.pass_over(it.passed_over(reason), true, strict)?;
                continue;
            }
            len = len.saturating_add(found.len());
            if len > COMPANIONS_LEN_MAX {
                let path = it.path();
                let text = format!(
                    "{path}: the companions up to this one have {len} bytes; expected at most \
                     {COMPANIONS_LEN_MAX}"
                );
                return Err(of_file(LoaderError::new(text)));
            }
            fit.push((it, found));
        }
        let mut target = Target::new()?;
        let progress = console.progress("copying companions", Some(len));
        let mut files = Vec::new();
        for (it, found) in fit {
            let range = target.copy(&it, &found)?;
            progress.set(range.end);
            files.push((it, range));
        }
        drop(progress);
        if credentials.len() > CREDENTIALS_MAX {
            let count = credentials.len();
            let text = format!("{count} credentials; expected at most {CREDENTIALS_MAX}");
            return Err(LoaderError::new(text));
        }
        let mut secrets = Vec::new();
        for CredentialFile { name, file } in credentials {
            let failed = || format!("cannot read credential {name} from {}", shown(file));
            let value = read_named(file, CREDENTIAL_MAX).context(failed);
            let (value, _) = value.map_err(of_file)?;
            secrets.push((name.clone(), target.write(&value)?));
        }
        copies.moved = target.moved;
        if files.is_empty() && secrets.is_empty() {
            return Ok(copies);
        }
        let id = sources.add(Backing::Sealed(target.writer.finish()?))?;
        let span = |range| Span::Source { id, range };
        let companion = |(it, range): (Named, _)| CompanionFile {
            path: it.path(),
            name: it.name.to_string_lossy().into_owned(),
            kind: it.kind,
            folder: it.place,
            span: span(range),
        };
        copies.companions = files.into_iter().map(companion).collect();
        let credential = |(name, range)| CallersCredential {
            name,
            span: span(range),
        };
        copies.credentials = secrets.into_iter().map(credential).collect();
        Ok(copies)
    }

    /// Copies the extra `files` of a boot entry, each with the name that it has there. As in
    /// systemd-boot, empty ones and those of other kinds are left alone.
    pub(crate) fn add_extra(
        &mut self,
        files: Vec<(String, InputFile)>,
        sources: &mut Sources,
    ) -> Result<()> {
        let mut target = Target::new()?;
        let mut taken = Vec::new();
        for (name, file) in files {
            let path = shown_path(&file.path);
            let kind = CompanionFolder::Entry.kind_of(name.as_bytes());
            let reason = match (&file.content, kind) {
                (_, Err(reason)) => reason,
                (InputBytes::Stream(_), _) | (InputBytes::File(_, 0), _) => "it is empty",
                (InputBytes::File(file, len), Ok(kind)) => {
                    if target.writer.len().saturating_add(*len) > COMPANIONS_LEN_MAX {
                        let text = format!(
                            "{path}: the extra files of an entry up to this one have more than \
                             {COMPANIONS_LEN_MAX} bytes"
                        );
                        return Err(of_file(LoaderError::new(text)));
                    }
                    let range = target.append(file, &file.metadata()?, &path)?;
                    taken.push((path, name, kind, range));
                    continue;
                }
            };
            if kind.is_err() {
                self.warnings.push(format!("{path}: passed over: {reason}"));
            }
            self.passed_over.push(PassedOver {
                path,
                kind: kind.ok(),
                reason: reason.to_owned(),
                count: 1,
                of_entry: true,
            });
        }
        self.moved += target.moved;
        if taken.is_empty() {
            return Ok(());
        }
        let id = sources.add(Backing::Sealed(target.writer.finish()?))?;
        let taken = taken.into_iter();
        self.companions
            .extend(taken.map(|(path, name, kind, range)| CompanionFile {
                path,
                name,
                kind,
                folder: CompanionFolder::Entry,
                span: Span::Source { id, range },
            }));
        Ok(())
    }

    fn pass_over(&mut self, it: PassedOver, would_count: bool, strict: bool) -> Result<()> {
        if would_count {
            let PassedOver {
                path, reason, kind, ..
            } = &it;
            if strict {
                let text = format!("{path}: {reason}; --companions=auto passes it over");
                return Err(of_file(LoaderError::new(text)));
            }
            if kind.is_none() {
                self.warnings.push(format!("{path}: passed over: {reason}"));
            }
        }
        self.passed_over.push(it);
        Ok(())
    }
}

impl Named {
    fn path(&self) -> String {
        shown_path(&self.folder.path().join(&self.name))
    }

    fn passed_over(&self, reason: String) -> PassedOver {
        PassedOver {
            path: self.path(),
            kind: Some(self.kind),
            reason,
            count: 1,
            of_entry: false,
        }
    }

    fn unread(&self) -> String {
        format!("cannot read companion {}", self.path())
    }

    /// Opens it; it was there when its folder was read.
    pub(super) fn open(&self) -> Result<File> {
        let opened = self.folder.regular(&self.name);
        opened.context(|| self.unread()).map_err(of_file)
    }
}

/// Returns the error of a file at `path` that changes.
fn changed(path: &str) -> LoaderError {
    of_file(LoaderError::new(format!(
        "{path} changed while it was copied; try again when nothing writes to it"
    )))
}

/// The file in memory.
pub(super) struct Target {
    writer: MemfdWriter,
    moved: Moved,
}

impl Target {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            writer: MemfdWriter::new("ukexec-companions")?,
            moved: Moved::default(),
        })
    }

    /// Copies a companion as it was `found`.
    pub(super) fn copy(&mut self, it: &Named, found: &Metadata) -> Result<Range<u64>> {
        self.append(&it.open()?, found, &it.path())
    }

    /// Copies `file` as it was `found` at `path`.
    fn append(&mut self, file: &File, found: &Metadata, path: &str) -> Result<Range<u64>> {
        let is_same = || Ok::<_, LoaderError>(state(&file.metadata()?) == state(found));
        if !is_same()? {
            return Err(changed(path));
        }
        let start = self.writer.len();
        let whole = Part::File {
            fd: file.as_fd(),
            range: 0..found.len(),
        };
        let moved = self.writer.append(&[whole]);
        // One that got shorter fails for that.
        if !is_same()? {
            return Err(changed(path));
        }
        let failed = || format!("cannot read companion {path}");
        self.moved += moved.context(failed).map_err(of_file)?;
        self.end(start)
    }

    /// Puts `bytes` there, which are no companion's.
    fn write(&mut self, bytes: &[u8]) -> Result<Range<u64>> {
        let start = self.writer.len();
        self.writer.write_all(bytes)?;
        self.moved.through_user += bytes.len() as u64;
        self.end(start)
    }

    /// Returns the bytes from `start`, behind which it leaves zeros.
    fn end(&mut self, start: u64) -> Result<Range<u64>> {
        let end = self.writer.len();
        let padding = end.next_multiple_of(ALIGNMENT) - end;
        self.writer.append(&[Part::Zeros(padding)])?;
        Ok(start..end)
    }
}

/// Returns what of a file changes whenever its bytes do.
fn state(it: &Metadata) -> impl PartialEq + use<> {
    let times = (it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
    (it.dev(), it.ino(), it.len(), times)
}
