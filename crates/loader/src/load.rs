//! From an unfolded image to the call that loads it.

use std::os::fd::AsFd as _;
use std::path::Path;

use ukexec_kexec::{
    Condition, ConditionId, ConditionVerdict, KexecErrorKind, LoadCall, LoadKind, LoadRequest,
    MachineState, Moved, Preflight, SegmentsRequest, kexec_load_flags, load, load_segments,
};
use ukexec_layout::{Content, Layout, PlacedSegment};

use crate::error::{Context as _, ErrorKind, LoaderError, Result};
use crate::files::shown;
use crate::log::verbosity;
use crate::options::LoaderOptions;
use crate::parent::sources::Descriptor;
use crate::parent::unfolding::Unfolding;
use crate::parts::PartsToLoad;
use crate::placement;
use crate::protocol::{Objection, Subject};
use crate::record::{NewLoad, Records};
use crate::report::Findings;
use crate::report::failure::sentence;
use crate::report::load::{
    InitrdReport, KernelReport, LoadReport, SegmentReport, preflight_rows, style,
};
use crate::report::page::{Page, Text};
use crate::report::part::Part;

/// The call that loads an image, and its arguments.
#[derive(Debug)]
pub struct LoadPlan<'a> {
    unfolding: &'a Unfolding,
    kernel: Descriptor<'a>,
    kernel_part: Part,
    initrd: Option<(Descriptor<'a>, Part)>,
    /// The initrd is an empty archive that stands for none.
    empty_initrd: bool,
    cmdline: Vec<u8>,
    kind: LoadKind,
    call: LoadCall,
    why: &'static str,
    /// The places of the parts, which `kexec_load(2)` takes.
    layout: Option<Result<Layout>>,
    moved: Moved,
    objections: &'a [Objection],
    preflight: Preflight,
    release: Option<&'a str>,
    dry_run: bool,
}

impl<'a> LoadPlan<'a> {
    /// Returns the call that loads an image on `machine`, which was unfolded
    /// for [`Purpose::Load`](crate::Purpose::Load); a `dry_run` is only
    /// reported.
    ///
    /// # Errors
    ///
    /// No kernel was unfolded, or the parts cannot be put together.
    pub fn new(unfolding: &'a Unfolding, machine: &MachineState, dry_run: bool) -> Result<Self> {
        let known = || Some(unfolding.answer.report.clone());
        let (call, why) = unfolding
            .syscall
            .chosen(unfolding.kind, &unfolding.device_tree, machine);
        let identity = unfolding.identified().map_err(|error| {
            judged_without(
                error.with_report(known()),
                unfolding.kind,
                call,
                machine,
                dry_run,
            )
        })?;
        let parts = PartsToLoad::new(unfolding, identity, machine, call)?;
        let layout = parts.lay_out(unfolding, identity, machine, call);
        let preflight = parts.judge(unfolding, identity, layout.as_ref(), machine, call)?;
        let moved = parts.moved(unfolding);
        let PartsToLoad {
            kernel,
            initrd,
            empty_initrd,
            cmdline,
        } = parts;
        let part =
            |it: &Descriptor<'_>| Ok::<_, LoaderError>(Part::new(&it.rope()?, unfolding.hash)?);
        let kernel_part = part(&kernel)?;
        let initrd = initrd.map(|it| part(&it).map(|part| (it, part)));
        Ok(Self {
            unfolding,
            kernel,
            kernel_part,
            initrd: initrd.transpose()?,
            empty_initrd,
            cmdline,
            kind: unfolding.kind,
            call,
            why,
            layout,
            moved,
            objections: &identity.problems,
            preflight,
            release: identity.release.as_deref(),
            dry_run,
        })
    }

    /// Returns the `error` that ended the unfolding of an image for a load on `machine`,
    /// with the conditions of that load; people see them, and what is known of the
    /// image, of a `dry_run`.
    #[must_use]
    pub fn refused(
        error: LoaderError,
        options: &LoaderOptions,
        machine: &MachineState,
        dry_run: bool,
    ) -> LoaderError {
        let (call, _) = options
            .syscall
            .chosen(options.kind, &options.device_tree, machine);
        judged_without(error, options.kind, call, machine, dry_run)
    }

    /// Returns the call.
    #[must_use]
    pub fn call(&self) -> LoadCall {
        self.call
    }

    /// Returns where the device tree is from, if one is placed.
    fn device_tree(&self) -> Option<&str> {
        let is_tree = |it: &PlacedSegment| matches!(it.content, Content::DeviceTree(_));
        let has_tree = self.layout()?.segments.iter().any(is_tree);
        let given = self.unfolding.answer.device_tree.as_ref();
        has_tree.then(|| given.map_or("the running kernel", |it| &it.name))
    }

    fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref().and_then(|it| it.as_ref().ok())
    }

    /// Returns the arguments of `kexec_load(2)`, if that is the call.
    fn segments(&self) -> Result<Option<SegmentsRequest<'_>>> {
        let layout = match &self.layout {
            None => return Ok(None),
            Some(Ok(layout)) => layout,
            Some(Err(error)) => return Err(LoaderError::new(sentence(error))),
        };
        let no_memory = || "a part is a file, and kexec_load takes memory";
        let kernel = self.kernel.sealed().context(no_memory)?;
        let initrd = self.initrd.as_ref();
        let initrd = initrd.map(|(initrd, _)| initrd.sealed().context(no_memory));
        placement::request(layout, kernel, initrd.transpose()?, self.kind).map(Some)
    }

    fn request(&self) -> LoadRequest<'_> {
        let initrd = self.initrd.as_ref().map(|(initrd, _)| initrd.as_fd());
        let mut request = LoadRequest::new(self.kernel.as_fd(), initrd, &self.cmdline, self.kind);
        request.unfolded = !matches!(self.kernel, Descriptor::Original(..));
        let mut objections = self.objections.iter();
        let doubt = objections
            .find(|it| it.verdict == ConditionVerdict::Unknown && it.subject == Subject::Machine);
        request.doubt = doubt.map(|it| it.text.as_str());
        request.more = self.unfolding.more_flags;
        request
    }

    /// Returns things worth a look that nobody refused, in words.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let answer = &self.unfolding.answer;
        let warning = |text: &String| format!("warning: {text}");
        // Some of the image's are conditions of this load, too.
        let conditions = self.preflight.conditions().iter();
        let conditions: Vec<String> = conditions.map(ToString::to_string).collect();
        let warnings = answer.warnings.iter();
        let warnings = warnings.filter(|text| !conditions.contains(text));
        let mut notes: Vec<String> = warnings.map(warning).collect();
        if self.call == LoadCall::KexecLoad && self.unfolding.required {
            notes.push(
                "note: the running kernel looks at no signature in kexec_load: the verdict on this \
                 image is that of ukexec alone"
                    .to_owned(),
            );
        }
        if answer.cmdline.is_none() {
            notes.push(
                "note: neither the image nor you gave a command line; the kernel gets an empty \
                 one (--cmdline or --reuse-cmdline gives it one)"
                    .to_owned(),
            );
        }
        // The call itself, or a refusal, answers an open question.
        let is_open = self.dry_run && self.refusal().is_none();
        let conditions = self.preflight.conditions().iter();
        let doubts = conditions.filter(|it| match it.verdict {
            ConditionVerdict::Ok | ConditionVerdict::Refused => false,
            ConditionVerdict::Warning => true,
            ConditionVerdict::Unknown => is_open,
        });
        notes.extend(doubts.map(|doubt| warning(&doubt.to_string())));
        // Those of the machine are conditions.
        let unnoticed = self
            .objections
            .iter()
            .filter(|it| it.subject != Subject::Machine && it.verdict != ConditionVerdict::Refused);
        notes.extend(unnoticed.map(|it| format!("warning: {}", it.words(self.call))));
        notes
    }

    /// Returns whether a condition of the load is worth a look before the boot.
    #[must_use]
    pub fn warns(&self) -> bool {
        let mut conditions = self.preflight.conditions().iter();
        conditions.any(|it| it.verdict == ConditionVerdict::Warning)
    }

    /// Refuses a load that this machine would refuse.
    ///
    /// # Errors
    ///
    /// It would. The error has the [report](LoaderError::report).
    pub fn check(&self) -> Result<()> {
        let action = format!("cannot load {}", shown(&self.unfolding.image.path));
        // One that lies in the image goes before those that lie in the machine.
        let checked = match self.refused_by_all() {
            Some(objection) => {
                let words = objection.words(self.call);
                let error = LoaderError::new(format!("{action}: {words}"));
                Err(match objection.subject {
                    Subject::Kernel => error.of_kind(ErrorKind::Format),
                    Subject::Machine | Subject::Cmdline => error,
                })
            }
            None => self.preflight.check(&action).map_err(LoaderError::from),
        };
        checked.map_err(|error| self.with_report(error))
    }

    /// Returns why every machine would refuse it.
    fn refused_by_all(&self) -> Option<&Objection> {
        let mut objections = self.objections.iter();
        objections
            .find(|it| it.verdict == ConditionVerdict::Refused && it.subject != Subject::Machine)
    }

    /// Returns why the load would be refused, if it would.
    fn refusal(&self) -> Option<String> {
        let worst = self.preflight.worst();
        let worst = worst.filter(|it| it.verdict == ConditionVerdict::Refused);
        let worst = || worst.map(ToString::to_string);
        let refused = self
            .refused_by_all()
            .map(|refused| refused.words(self.call).to_owned());
        refused.or_else(worst)
    }

    /// Makes the call, unless this is a dry run, and records it for `status`.
    /// Returns a note where that fails.
    ///
    /// # Errors
    ///
    /// The kernel's, with the cause that the machine's state suggests.
    pub fn load(&self) -> Result<Option<String>> {
        if self.dry_run {
            return Ok(None);
        }
        let image = &self.unfolding.image.path;
        let segments = self.segments()?;
        let load = || match &segments {
            Some(segments) => Ok(load_segments(segments)?),
            None => Ok(load(&self.request())?),
        };
        let records = Records::below(Path::new("/"));
        let after = self.unfolding.after.iter();
        let segments = self.preflight.conditions().iter();
        let segments = segments.filter(|it| it.id == ConditionId::Segments);
        let after = after.chain(segments);
        let after = after.filter(|it| it.verdict == ConditionVerdict::Warning);
        let warnings: Vec<String> = after.map(ToString::to_string).collect();
        let entry = self.unfolding.entry.as_ref();
        let new = NewLoad {
            image,
            release: self.release,
            entry: entry.map(|entry| entry.id.as_str()),
            warnings: &warnings,
        };
        let loaded = records.around(self.kind, Some(new), load);
        loaded.map_err(|error| self.with_report(error))
    }

    fn with_report(&self, error: LoaderError) -> LoaderError {
        let error = error.with_report(self.report().ok());
        match self.dry_run {
            true => error,
            // People who load want to know why not.
            false => error.without_page(),
        }
    }

    /// Returns the report.
    ///
    /// # Errors
    ///
    /// A command line that no kernel takes.
    pub fn report(&self) -> Result<Findings> {
        let load = self.load_report()?;
        let image = self.unfolding.answer.report.clone();
        judged(image, self.refusal(), Some(load), &self.preflight)
    }

    fn load_report(&self) -> Result<LoadReport<'_>> {
        let request = self.request();
        let cmdline_len = request.cmdline_with_nul()?.len();
        let layout = self.layout();
        let flags = match self.call {
            LoadCall::KexecFileLoad => request.flags(),
            LoadCall::KexecLoad => kexec_load_flags(self.kind),
        };
        Ok(LoadReport {
            dry_run: self.dry_run,
            syscall: self.call.name(),
            why: self.why,
            entry: layout.map(|it| it.entry),
            device_tree: self.device_tree(),
            segments: layout.map(|it| it.segments.iter().map(SegmentReport::of).collect()),
            panic: self.kind == LoadKind::Crash,
            kernel: KernelReport {
                part: self.kernel_part.clone(),
                descriptor: self.kernel.to_string(),
            },
            initrd: self.initrd.as_ref().map(|(initrd, part)| InitrdReport {
                part: part.clone(),
                descriptor: initrd.to_string(),
                empty_archive: self.empty_initrd,
            }),
            cmdline_len,
            flags,
            bytes_moved: self.moved,
        })
    }
}

/// Returns the `error` that ended the unfolding of an image, with the conditions of the load.
fn judged_without(
    error: LoaderError,
    kind: LoadKind,
    call: LoadCall,
    machine: &MachineState,
    dry_run: bool,
) -> LoaderError {
    let Some(image) = error.report().cloned() else {
        return error;
    };
    let mut preflight = Preflight::new(kind, call, machine, None);
    preflight.push(Condition {
        id: ConditionId::Architecture,
        verdict: ConditionVerdict::Unknown,
        text: "no kernel of the image is known".into(),
        advice: None,
        panic: kind == LoadKind::Crash,
        kind: KexecErrorKind::Machine,
    });
    let refused = Some(sentence(&error));
    let error = error.with_report(judged(image, refused, None, &preflight).ok());
    if dry_run { error } else { error.without_page() }
}

/// Returns the report of a load: why it is refused, the `image`, the call, and the
/// conditions.
fn judged(
    image: Findings,
    refused: Option<String>,
    load: Option<LoadReport<'_>>,
    preflight: &Preflight,
) -> Result<Findings> {
    Ok(match image {
        Findings::Page(image) => {
            let mut page = Page::default();
            if let Some(refused) = refused {
                let text = Text::styled(style(ConditionVerdict::Refused), refused);
                page.title("refused", text);
            }
            page.append(image);
            if let Some(load) = load {
                load.rows(&mut page, verbosity() > 0);
            }
            preflight_rows(preflight, &mut page);
            Findings::Page(page)
        }
        Findings::Document(mut document) => {
            if let Some(load) = load {
                document["load"] = serde_json::to_value(load)?;
            }
            document["preflight"] = serde_json::to_value(preflight)?;
            Findings::Document(document)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use expect_test::{Expect, expect};
    use serde_json::{Value, json};
    use ukexec_boot::EMPTY_INITRD;
    use ukexec_kexec::{MemfdWriter, Readers};
    use ukexec_signature::{Algorithm, Hex};

    use super::*;
    use crate::error::Failure;
    use crate::options::{DeviceTreeFrom, Syscall};
    use crate::parent::input::Image;
    use crate::parent::sources::{Backing, Sources};
    use crate::protocol::{Answer, Identity, Span};
    use crate::report::{Page, Screen};
    use ukexec_kexec::MoreFlags;

    /// Returns what became of an image of 6 bytes that is a kernel.
    fn unfolding(identity: Result<Identity, Box<Failure>>) -> Unfolding {
        let mut sources = Sources::default();
        let mut writer = MemfdWriter::new("test").unwrap();
        writer.write_all(b"kernel").unwrap();
        let id = sources
            .add(Backing::Sealed(writer.finish().unwrap()))
            .unwrap();
        let spans = vec![Span::Source { id, range: 0..6 }];
        let file = tempfile::tempfile().unwrap();
        Unfolding {
            image: Image {
                path: "a.efi".into(),
                spans: spans.clone(),
                readers: Readers::of(&file).unwrap(),
                sealed: true,
                moved: Moved::default(),
                file: Some(file),
            },
            initrds: Vec::new(),
            answer: Answer {
                report: Findings::Page(Page::of_lines("kernel")),
                warnings: vec!["the first".to_owned()],
                unfolded: false,
                identity,
                ..Answer::sound()
            },
            kernel: sources.check(spans, 6).unwrap(),
            initrd: None,
            sources,
            beside: Moved::default(),
            kind: LoadKind::Reboot,
            own_file: false,
            more_flags: MoreFlags::default(),
            syscall: Syscall::Auto,
            device_tree: DeviceTreeFrom::Machine,
            efi: true,
            window: 0..u64::MAX,
            required: false,
            hash: false,
            entry: None,
            expands: false,
            after: Vec::new(),
        }
    }

    type Objected<'a> = (&'a str, ConditionVerdict, Subject);

    fn kernel(x86_64: bool, problems: &[Objected<'_>]) -> Result<Identity, Box<Failure>> {
        let problems = problems.iter().map(|&(text, verdict, subject)| Objection {
            text: text.to_owned(),
            fault: text.to_owned(),
            verdict,
            subject,
        });
        Ok(Identity {
            x86_64,
            format: String::new(),
            release: None,
            signed: None,
            memory: None,
            header: Err(Box::default()),
            appended: Some(false),
            problems: problems.collect(),
        })
    }

    /// Returns what the document of a plan says of the call.
    fn load_of(plan: &LoadPlan<'_>) -> Value {
        serde_json::to_value(plan.load_report().unwrap()).unwrap()
    }

    /// Compares the report of a dry run, its notes, and the refusal.
    fn check(unfolding: &Unfolding, machine: &MachineState, expected: &Expect) {
        let plan = LoadPlan::new(unfolding, machine, true).unwrap();
        let refused = plan.check().err().map(|error| error.to_string());
        let text = plan.report().unwrap().print(&Screen::FILE);
        let notes = plan.notes().join("\n");
        let load = load_of(&plan);
        let refused = refused.unwrap_or_else(|| "not refused".to_owned());
        expected.assert_eq(&format!("{text}{notes}\n{refused}\n{load}\n"));
    }

    #[test]
    fn a_dry_run_reports_the_call_and_who_objects() {
        let machine = MachineState::default();
        let problems = [
            ("a doubt", ConditionVerdict::Warning, Subject::Machine),
            ("a long line", ConditionVerdict::Warning, Subject::Cmdline),
            ("no", ConditionVerdict::Refused, Subject::Machine),
            ("nor this", ConditionVerdict::Refused, Subject::Kernel),
        ];
        let mut unfolding = unfolding(kernel(true, &problems));
        check(
            &unfolding,
            &machine,
            &expect![[r#"
                refused       nor this
                kernel
                  call        kexec_file_load(kernel: 6 bytes, as it lies; initrd: 512 bytes, an empty archive;
                                cmdline: 1 byte with its NUL; flags: 0x0)
                  preflight
                    call          unknown  ukexec cannot ask the running kernel whether it has kexec_file_load
                    right         unknown  /proc does not show whether this process has CAP_SYS_BOOT
                    limit         unknown  /proc does not show kernel.kexec_load_disabled
                    lockdown      unknown  /sys/kernel/security does not show whether the running kernel is locked
                                           down; mount securityfs there
                    architecture  warning  a doubt
                    architecture  refused  no
                warning: the first
                note: neither the image nor you gave a command line; the kernel gets an empty one (--cmdline or --reuse-cmdline gives it one)
                warning: a doubt
                warning: a long line
                cannot load a.efi: nor this
                {"dry_run":true,"syscall":"kexec_file_load","why":"it is the usual call","entry":null,"device_tree":null,"segments":null,"panic":false,"kernel":{"size":6,"descriptor":"as it lies"},"initrd":{"size":512,"descriptor":"assembled","empty_archive":true},"cmdline_len":1,"flags":0,"bytes_moved":{"in_kernel":0,"through_user":512}}
            "#]],
        );
        let refused = |unfolding: &Unfolding, dry_run| {
            let plan = LoadPlan::new(unfolding, &machine, dry_run).unwrap();
            let report = plan.check().unwrap_err().report().cloned();
            report.map(|report| (report.print(&Screen::FILE), plan.report().unwrap()))
        };
        // People who load read the error alone.
        let (page, expected) = refused(&unfolding, true).unwrap();
        assert_eq!(page, expected.print(&Screen::FILE));
        assert!(refused(&unfolding, false).is_none());
        unfolding.answer.report = Findings::Document(json!({ "schema": 1 }));
        for dry_run in [true, false] {
            let (document, expected) = refused(&unfolding, dry_run).unwrap();
            assert_eq!(document, expected.print(&Screen::FILE));
            let document: Value = serde_json::from_str(&document).unwrap();
            assert_eq!(document["load"]["dry_run"], dry_run);
            assert_eq!(document["preflight"].as_array().map(Vec::len), Some(6));
        }
    }

    #[test]
    fn a_doubt_about_the_machine_is_passed_on() {
        let problems = [
            ("a warning", ConditionVerdict::Warning, Subject::Machine),
            ("a fault", ConditionVerdict::Unknown, Subject::Kernel),
            (
                "pages of 16 KiB",
                ConditionVerdict::Unknown,
                Subject::Machine,
            ),
        ];
        for (count, doubt) in [(2, None), (3, Some("pages of 16 KiB"))] {
            let unfolding = unfolding(kernel(true, &problems[..count]));
            let plan = LoadPlan::new(&unfolding, &MachineState::default(), false).unwrap();
            assert_eq!(plan.request().doubt, doubt);
        }
    }

    #[test]
    fn an_appended_signature_may_be_enough_for_a_locked_down_machine() {
        let mut machine = MachineState::default();
        machine.lockdown = Some(ukexec_kexec::Lockdown::Integrity);
        for (appended, verdict) in [
            (Some(false), ConditionVerdict::Refused),
            (Some(true), ConditionVerdict::Unknown),
            (None, ConditionVerdict::Unknown),
        ] {
            let identity = kernel(true, &[]).unwrap();
            let mut unfolding = unfolding(Ok(Identity {
                signed: Some(false),
                appended,
                ..identity
            }));
            for unfolded in [false, true] {
                unfolding.answer.unfolded = unfolded;
                let plan = LoadPlan::new(&unfolding, &machine, true).unwrap();
                let mut conditions = plan.preflight.conditions().iter();
                let lockdown = conditions.find(|it| it.id == ConditionId::Lockdown);
                assert_eq!(lockdown.unwrap().verdict, verdict, "{appended:?}");
            }
        }
    }

    #[test]
    fn a_machine_that_verifies_files_is_given_the_file_itself() {
        let mut unfolding = unfolding(kernel(false, &[]));
        unfolding.answer.cmdline = Some(b"quiet".to_vec());
        let mut machine = MachineState::default();
        machine.lockdown = Some(ukexec_kexec::Lockdown::Integrity);
        assert!(machine.verifies_files());
        check(
            &unfolding,
            &machine,
            &expect![[r#"
                kernel
                  call        kexec_file_load(kernel: 6 bytes, the original file; initrd: none; cmdline: 6 bytes
                                with its NUL; flags: 0x4)
                  preflight
                    call          unknown  ukexec cannot ask the running kernel whether it has kexec_file_load
                    right         unknown  /proc does not show whether this process has CAP_SYS_BOOT
                    limit         unknown  /proc does not show kernel.kexec_load_disabled
                    lockdown      unknown  whether the running kernel trusts the key that signed the kernel cannot
                                           be known from here (it is locked down: integrity)
                    architecture  unknown  nothing shows the architecture of this machine
                warning: the first
                warning: ukexec cannot ask the running kernel whether it has kexec_file_load
                warning: /proc does not show whether this process has CAP_SYS_BOOT
                warning: /proc does not show kernel.kexec_load_disabled
                warning: whether the running kernel trusts the key that signed the kernel cannot be known from here (it is locked down: integrity)
                warning: nothing shows the architecture of this machine
                not refused
                {"dry_run":true,"syscall":"kexec_file_load","why":"it is the usual call","entry":null,"device_tree":null,"segments":null,"panic":false,"kernel":{"size":6,"descriptor":"the original file"},"initrd":null,"cmdline_len":6,"flags":4,"bytes_moved":{"in_kernel":0,"through_user":0}}
            "#]],
        );
        let load = |unfolding: &Unfolding| {
            let plan = LoadPlan::new(unfolding, &machine, true).unwrap();
            load_of(&plan)
        };
        // A parser's kernel is a part, whatever the machine does: nothing else differs.
        let mut expected = load(&unfolding);
        expected["kernel"]["descriptor"] = json!("as it lies");
        unfolding.answer.unfolded = true;
        assert_eq!(load(&unfolding), expected);
    }

    #[test]
    fn digests_are_of_what_is_handed_over() {
        let mut unfolding = unfolding(kernel(true, &[]));
        unfolding.hash = true;
        let plan = LoadPlan::new(&unfolding, &MachineState::default(), true).unwrap();
        let load = load_of(&plan);
        let sha256 = |bytes: &[u8]| Hex(&Algorithm::Sha256.digest(bytes)).to_string();
        assert_eq!(load["kernel"]["sha256"], sha256(b"kernel"));
        assert_eq!(load["initrd"]["sha256"], sha256(&EMPTY_INITRD));
        let page = plan.report().unwrap().print(&Screen::FILE);
        assert!(page.contains(&sha256(b"kernel")), "{page}");
    }

    #[test]
    fn an_image_that_is_no_kernel_has_no_plan() {
        let unfolding = unfolding(Err(Failure::new("a.efi: no kernel".to_owned()).into()));
        let error = LoadPlan::new(&unfolding, &MachineState::default(), true).unwrap_err();
        assert_eq!(error.to_string(), "a.efi: no kernel");
    }
}
