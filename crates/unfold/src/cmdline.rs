//! The command line: what the caller asked for and what parsers made of it.
//!
//! The caller's line is an input of the first stage. Afterwards it replaces
//! what came out, text to append goes behind, and a profile that was asked for
//! must have been taken by some parser: nothing of it is dropped in silence.
//! Where the image decides ([`Options::image_decides_cmdline`]), the caller's
//! line is refused instead of taking the place of the image's, or gives way to it
//! ([`Options::cmdline_gives_way`]).
//!
//! [`Options::cmdline_gives_way`]: crate::Options::cmdline_gives_way
//! [`Options::image_decides_cmdline`]: crate::Options::image_decides_cmdline

use ukexec_bpf::Rope;

use crate::chunks::{Chunks, ReadError};
use crate::costs::wide;
use crate::{ParserOrigin, StageReport, UnfoldError};

/// The caller's request for the command line.
#[derive(Debug)]
pub(crate) struct CmdlineRequest {
    /// `X`, where profile `X` is asked for.
    selector: Option<Vec<u8>>,
    /// The first stage's input.
    input: Option<Vec<u8>>,
    /// The line that the kernel gets, whatever comes out.
    explicit: Option<Vec<u8>>,
    append: Vec<u8>,
    /// Whether a line that comes out stands against the caller's.
    image_decides: bool,
    /// Whether the caller's line gives way then.
    gives_way: bool,
}

/// The command line for the kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FinalCmdline {
    pub(crate) text: Option<Vec<u8>>,
    /// How many bytes at its end are the text to append.
    pub(crate) appended: usize,
    /// Whether the caller's line gave way to what the image says.
    pub(crate) gave_way: bool,
}

/// A command line that a parser handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cmdline {
    /// The bytes before its first NUL.
    pub(crate) text: Vec<u8>,
    /// Not even a NUL was handed over. Behind a profile that was taken this says
    /// that nothing is left of the caller's line, and not that the image has an
    /// empty one.
    pub(crate) is_nothing: bool,
}

impl CmdlineRequest {
    /// Returns what `--cmdline`, `--append` and `--profile` ask for. Where the
    /// image decides, parsers see the profile and nothing else of them: what they
    /// hand over is then the image's own.
    pub(crate) fn new(
        cmdline: Option<Vec<u8>>,
        append: Option<Vec<u8>>,
        profile: Option<&str>,
        image_decides: bool,
    ) -> Result<Self, UnfoldError> {
        let cmdline = cmdline.map(until_nul);
        // To append nothing is not to append.
        let append = append.map(until_nul).unwrap_or_default();
        let line = cmdline.as_deref();
        let (selector, input, explicit) = match (profile, line.and_then(selector_of)) {
            (None, None) => (None, cmdline.clone(), cmdline),
            (None, Some(selector)) => {
                check_profile(selector)?;
                let rest = line.and_then(|line| line.splitn(2, is_blank).nth(1));
                let explicit = rest.filter(|rest| !rest.is_empty());
                let explicit = explicit.map(<[u8]>::to_vec);
                (Some(selector.to_vec()), cmdline.clone(), explicit)
            }
            (Some(profile), None) => {
                check_profile(profile.as_bytes())?;
                let input = [&word_of(profile.as_bytes()), line.unwrap_or_default()].concat();
                (Some(profile.as_bytes().to_vec()), Some(input), cmdline)
            }
            (Some(profile), Some(selector)) => {
                return Err(UnfoldError::new(format!(
                    "the command line begins with @{}, and profile {profile} is asked for as \
                     well; give one of them",
                    text(selector)
                )));
            }
        };
        check_fit("given command line", input.as_deref())?;
        check_fit("text to append", Some(&append))?;
        let input = if image_decides {
            selector.as_deref().map(word_of)
        } else {
            input
        };
        Ok(Self {
            selector,
            input,
            explicit,
            append,
            image_decides,
            gives_way: false,
        })
    }

    /// As [`new`](Self::new), where `cmdline` is the kernel's byte for byte: parsers see the
    /// profile alone.
    pub(crate) fn literal(
        cmdline: Option<Vec<u8>>,
        append: Option<Vec<u8>>,
        profile: Option<&str>,
        image_decides: bool,
    ) -> Result<Self, UnfoldError> {
        check_fit("given command line", cmdline.as_deref())?;
        let request = Self::new(None, append, profile, image_decides)?;
        let explicit = cmdline.map(until_nul);
        Ok(Self {
            explicit,
            ..request
        })
    }

    /// Has the caller's line give way where it would be refused, if `gives_way`.
    pub(crate) fn giving_way(self, gives_way: bool) -> Self {
        Self { gives_way, ..self }
    }

    /// Returns the first stage's command line.
    pub(crate) fn input(&self) -> Option<&[u8]> {
        self.input.as_deref()
    }

    /// Returns the command line for the kernel, given what parsers last handed over, and
    /// which of the `stages` that ran may have lost a line of the image's.
    pub(crate) fn outcome(
        mut self,
        mut handed_over: Option<Cmdline>,
        stages: &[StageReport],
    ) -> Result<FinalCmdline, UnfoldError> {
        if let Some(selector) = &self.selector {
            let untaken = |line: &Cmdline| selector_of(&line.text) == Some(selector);
            if handed_over.as_ref().is_none_or(untaken) {
                return Err(UnfoldError::new(format!(
                    "no parser chose profile @{}: the image has no profiles that its parser knows",
                    text(selector)
                )));
            }
            handed_over.take_if(|line| line.is_nothing);
        }
        let mut gave_way = false;
        if self.image_decides && (self.explicit.is_some() || !self.append.is_empty()) {
            match may_fill_in(handed_over.is_some(), stages) {
                Err(_refused) if self.gives_way && self.append.is_empty() => {
                    self.explicit = None;
                    gave_way = true;
                }
                allowed => allowed?,
            }
        }
        let line = self.explicit.or(handed_over.map(|line| line.text));
        if self.append.is_empty() {
            return Ok(FinalCmdline {
                text: line,
                appended: 0,
                gave_way,
            });
        }
        // Where there is no line, the text is all of it.
        let mut line = line.unwrap_or_default();
        let len = line.len();
        if !line.is_empty() {
            line.push(b' ');
        }
        line.extend_from_slice(&self.append);
        let appended = line.len().saturating_sub(len);
        Ok(FinalCmdline {
            text: Some(line),
            appended,
            gave_way,
        })
    }
}

/// Returns whether the caller's line may be the one of an image that decides: it
/// must have none, and nobody but the image's own parser, or in its absence one
/// that came with ukexec, may have said so.
fn may_fill_in(has_line: bool, stages: &[StageReport]) -> Result<(), UnfoldError> {
    if has_line {
        return Err(UnfoldError::forbidden(
            "the image has a command line of its own, which is part of what was signed, and a good \
             signature is required: leave --cmdline, --append and --reuse-cmdline out",
        ));
    }
    let is_foreign = |stage: &&StageReport| match stage.parser.origin {
        ParserOrigin::Given | ParserOrigin::ParsersD => true,
        ParserOrigin::Embedded | ParserOrigin::BuiltIn => false,
    };
    match stages.iter().find(is_foreign) {
        Some(StageReport { parser, .. }) => Err(UnfoldError::forbidden(format!(
            "whether the image has a command line of its own is known to its own parser alone, and \
             parser {parser} unfolded it; a good signature is required: leave --cmdline, \
             --append and --reuse-cmdline out, or that parser"
        ))),
        None => Ok(()),
    }
}

/// Returns the line in `rope`, or `None` where it is longer than [`LINE_MAX`].
pub(crate) fn read(rope: &Rope, insns: &mut u64) -> Result<Option<Cmdline>, ReadError> {
    let most = rope.len().min(LINE_MAX.saturating_add(1));
    let mut chunks = Chunks::new(rope, 0..most);
    let mut line = Vec::new();
    loop {
        let chunk = chunks.advance(insns)?;
        let nul = chunk.iter().position(|&byte| byte == 0);
        line.extend(chunk.iter().take(nul.unwrap_or(chunk.len())));
        if nul.is_some() || chunk.is_empty() {
            return Ok(is_fit(&line).then(|| Cmdline {
                text: line,
                is_nothing: rope.is_empty(),
            }));
        }
    }
}

/// The longest command line, in bytes before its NUL. The built-in parsers take
/// no longer one; the kernels there are take 4096 at most.
pub const LINE_MAX: u64 = 64 << 10;

fn is_fit(line: &[u8]) -> bool {
    wide(line.len()) <= LINE_MAX
}

fn check_fit(what: &'static str, line: Option<&[u8]>) -> Result<(), UnfoldError> {
    match line {
        Some(line) if !is_fit(line) => Err(UnfoldError::new(format!(
            "the {what} has {} bytes; expected at most {LINE_MAX} (kernels take 4096 at most)",
            line.len()
        ))),
        _ => Ok(()),
    }
}

/// Returns what of `line` lies before its first NUL.
fn until_nul(mut line: Vec<u8>) -> Vec<u8> {
    if let Some(nul) = line.iter().position(|&byte| byte == 0) {
        line.truncate(nul);
    }
    line
}

/// Refuses what some parser might take for more than one word: the rest would be
/// the caller's, and pass for the image's.
fn check_profile(profile: &[u8]) -> Result<(), UnfoldError> {
    if profile.is_empty() || profile.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(UnfoldError::new(format!(
            "{:?} is no profile; expected a number or an ID without blanks",
            text(profile)
        )));
    }
    Ok(())
}

/// Returns the selector of a profile in front of a command line, without the `@`
/// in front of it: `2` of `@2 quiet`.
pub fn selector_of(line: &[u8]) -> Option<&[u8]> {
    let word = line.strip_prefix(b"@")?;
    let selector = word.split(|byte| matches!(byte, b' ' | 0)).next()?;
    (!selector.is_empty()).then_some(selector)
}

/// Returns what `selector` is in front of a command line.
fn word_of(selector: &[u8]) -> Vec<u8> {
    [b"@", selector, b" "].concat()
}

fn is_blank(byte: &u8) -> bool {
    *byte == b' '
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::ParserInfo;

    /// `cmdline`, `append` and `profile` as the caller gives them, then what
    /// parsers hand over; expects the first stage's input and the outcome.
    fn check(request: [Option<&str>; 3], handed_over: Option<&str>, expected: Expect) {
        check_by(request, false, handed_over, &[], &expected);
    }

    /// As [`check`], for an image that decides and that parsers of `origins`
    /// took apart.
    fn check_decides(
        request: [Option<&str>; 3],
        handed_over: Option<&str>,
        origins: &[ParserOrigin],
        expected: Expect,
    ) {
        check_by(request, true, handed_over, origins, &expected);
    }

    fn check_by(
        [cmdline, append, profile]: [Option<&str>; 3],
        image_decides: bool,
        handed_over: Option<&str>,
        origins: &[ParserOrigin],
        expected: &Expect,
    ) {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let shown = |line: Option<&[u8]>| match line {
            Some(line) => format!("{:?}", text(line)),
            None => "absent".to_owned(),
        };
        let handed_over = handed_over.map(|bytes| {
            let rope = Rope::from(bytes.as_bytes().to_vec());
            read(&rope, &mut u64::MAX.clone()).unwrap().unwrap()
        });
        let stages: Vec<_> = origins.iter().map(|&origin| stage(origin)).collect();
        let actual =
            match CmdlineRequest::new(bytes(cmdline), bytes(append), profile, image_decides) {
                Ok(request) => {
                    let input = shown(request.input());
                    match request.outcome(handed_over, &stages) {
                        Ok(FinalCmdline {
                            text: line,
                            appended,
                            gave_way,
                        }) => {
                            assert!(!gave_way);
                            let expected = append.filter(|it| !it.is_empty());
                            let end = line.as_deref().map(|line| &line[line.len() - appended..]);
                            let end = end
                                .map(<[u8]>::trim_ascii_start)
                                .filter(|it| !it.is_empty());
                            assert_eq!(end, expected.map(str::as_bytes));
                            format!("{input} -> {}", shown(line.as_deref()))
                        }
                        Err(cause) => format!("{input} -> error: {cause}"),
                    }
                }
                Err(cause) => format!("error: {cause}"),
            };
        expected.assert_eq(&actual);
    }

    fn stage(origin: ParserOrigin) -> StageReport {
        StageReport {
            number: 1,
            layer: "image".to_owned(),
            parser: ParserInfo::new("a.bpf.o", origin),
            profile: None,
            abi: "v5",
            programs: Vec::new(),
            insns: 0,
            handed_over: Vec::new(),
            filled: Vec::new(),
            log: Vec::new(),
        }
    }

    #[test]
    fn the_image_has_its_say_when_the_caller_is_silent() {
        check([None; 3], None, expect!["absent -> absent"]);
        check([None; 3], Some("ro"), expect![[r#"absent -> "ro""#]]);
        check([None; 3], Some(""), expect![[r#"absent -> """#]]);
    }

    #[test]
    fn an_explicit_line_replaces_the_parsers() {
        check(
            [Some("a b"), None, None],
            Some("c"),
            expect![[r#""a b" -> "a b""#]],
        );
        check(
            [Some("a b"), None, None],
            None,
            expect![[r#""a b" -> "a b""#]],
        );
        check([Some(""), None, None], Some("c"), expect![[r#""" -> """#]]);
        check(
            [Some("a\0b"), None, None],
            Some("c"),
            expect![[r#""a" -> "a""#]],
        );
    }

    #[test]
    fn a_taken_profile_alone_is_no_line() {
        check(
            [None, None, Some("1")],
            Some(""),
            expect![[r#""@1 " -> absent"#]],
        );
        check(
            [Some("@1"), None, None],
            Some(""),
            expect![[r#""@1" -> absent"#]],
        );
        check(
            [Some(""), None, Some("1")],
            Some(""),
            expect![[r#""@1 " -> """#]],
        );
        // An empty line of the image's is a line.
        check(
            [None, None, Some("1")],
            Some("\0"),
            expect![[r#""@1 " -> """#]],
        );
    }

    #[test]
    fn a_literal_line_asks_for_no_profile() {
        let line = || Some(b"@1 x\t".to_vec());
        let request = CmdlineRequest::literal(line(), None, None, false).unwrap();
        assert_eq!(request.input(), None);
        let own = Cmdline {
            text: b"own".to_vec(),
            is_nothing: false,
        };
        let outcome = request.outcome(Some(own.clone()), &[]).unwrap();
        assert_eq!(outcome.text, line());
        let request = CmdlineRequest::literal(line(), None, Some("two"), false).unwrap();
        assert_eq!(request.input(), Some(&b"@two "[..]));
        let decides = CmdlineRequest::literal(line(), None, None, true).unwrap();
        assert!(decides.outcome(Some(own), &[]).unwrap_err().is_forbidden());
    }

    #[test]
    fn an_image_that_decides_keeps_its_line() {
        use ParserOrigin::{BuiltIn, Embedded};
        for request in [
            [Some("a"), None, None],
            [Some(""), None, None],
            [None, Some("x"), None],
            [Some("@1 a"), None, None],
            [Some("@1"), Some("x"), None],
            [Some("a"), None, Some("1")],
        ] {
            for line in ["c", "\0"] {
                let request = CmdlineRequest::new(
                    request[0].map(|text| text.as_bytes().to_vec()),
                    request[1].map(|text| text.as_bytes().to_vec()),
                    request[2],
                    true,
                )
                .unwrap();
                let line = read(&Rope::from(line.as_bytes().to_vec()), &mut 1000);
                let outcome = request.outcome(line.unwrap(), &[stage(BuiltIn), stage(Embedded)]);
                let error = outcome.unwrap_err().to_string();
                assert!(
                    error.starts_with("the image has a command line of its own"),
                    "{error}"
                );
            }
        }
        // A profile changes nothing that was signed, and neither does nothing.
        check_decides(
            [Some("@1"), None, None],
            Some("c"),
            &[BuiltIn],
            expect![[r#""@1 " -> "c""#]],
        );
        check_decides(
            [None, Some(""), Some("1")],
            Some("c"),
            &[BuiltIn],
            expect![[r#""@1 " -> "c""#]],
        );
        check_decides(
            [None; 3],
            Some("c"),
            &[ParserOrigin::Given],
            expect![[r#"absent -> "c""#]],
        );
    }

    #[test]
    fn a_line_gives_way_where_it_would_be_refused() {
        use ParserOrigin::{BuiltIn, Given};
        let given = |append: Option<&str>, own: Option<&str>, origin| {
            let bytes = |text: &str| text.as_bytes().to_vec();
            let request =
                CmdlineRequest::new(Some(bytes("a")), append.map(bytes), None, true).unwrap();
            let own = own.map(|own| Cmdline {
                text: bytes(own),
                is_nothing: false,
            });
            let outcome = request.giving_way(true).outcome(own, &[stage(origin)]);
            outcome.map(|it| (it.text.map(|it| text(&it)), it.gave_way))
        };
        let line = |text: &str| Some(text.to_owned());
        assert_eq!(given(None, Some("c"), BuiltIn).unwrap(), (line("c"), true));
        assert_eq!(given(None, Some(""), BuiltIn).unwrap(), (line(""), true));
        assert_eq!(given(None, None, BuiltIn).unwrap(), (line("a"), false));
        // Whether the image has a line is not known.
        assert_eq!(given(None, None, Given).unwrap(), (None, true));
        // Text that somebody appends is refused as ever.
        assert!(given(Some("x"), Some("c"), BuiltIn).is_err());
    }

    #[test]
    fn an_image_that_decides_and_has_no_line_is_given_one() {
        use ParserOrigin::{BuiltIn, Embedded, Given, ParsersD};
        // Parsers do not see the line: one that passed it on would look like an
        // image's own.
        check_decides(
            [Some("a"), Some("x"), None],
            None,
            &[Embedded, BuiltIn],
            expect![[r#"absent -> "a x""#]],
        );
        check_decides(
            [Some("a"), None, None],
            None,
            &[],
            expect![[r#"absent -> "a""#]],
        );
        check_decides(
            [Some("@dbg a"), None, None],
            Some(""),
            &[BuiltIn],
            expect![[r#""@dbg " -> "a""#]],
        );
        for origin in [Given, ParsersD] {
            let request = CmdlineRequest::new(Some(b"a".to_vec()), None, None, true).unwrap();
            let outcome = request.outcome(None, &[stage(BuiltIn), stage(origin)]);
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains("parser a.bpf.o"), "{error}");
        }
        check_decides(
            [None, Some("x"), None],
            None,
            &[Given],
            expect![
                "absent -> error: whether the image has a command line of its own is known to its own parser alone, and parser a.bpf.o, given unfolded it; a good signature is required: leave --cmdline, --append and --reuse-cmdline out, or that parser"
            ],
        );
    }

    #[test]
    fn appended_text_goes_behind_one_blank() {
        check(
            [None, Some("x"), None],
            Some("c"),
            expect![[r#"absent -> "c x""#]],
        );
        check([None, Some("x"), None], None, expect![[r#"absent -> "x""#]]);
        check(
            [None, Some("x"), None],
            Some(""),
            expect![[r#"absent -> "x""#]],
        );
        check(
            [None, Some(""), None],
            Some("c"),
            expect![[r#"absent -> "c""#]],
        );
        check(
            [Some("a"), Some("x y"), None],
            Some("c"),
            expect![[r#""a" -> "a x y""#]],
        );
    }

    #[test]
    fn a_profile_goes_in_front_and_does_not_come_out() {
        check(
            [None, None, Some("1")],
            Some("c"),
            expect![[r#""@1 " -> "c""#]],
        );
        check(
            [Some("a"), None, Some("dbg")],
            Some("a"),
            expect![[r#""@dbg a" -> "a""#]],
        );
        check(
            [Some("@1 a"), None, None],
            Some("a"),
            expect![[r#""@1 a" -> "a""#]],
        );
        check(
            [Some("@1 "), Some("x"), None],
            Some("c"),
            expect![[r#""@1 " -> "c x""#]],
        );
        check(
            [Some("@1"), None, None],
            Some("c"),
            expect![[r#""@1" -> "c""#]],
        );
        check(
            [Some("@ a"), None, None],
            Some("c"),
            expect![[r#""@ a" -> "@ a""#]],
        );
    }

    #[test]
    fn a_profile_that_nobody_took_is_an_error() {
        check(
            [None, None, Some("1")],
            None,
            expect![[
                r#""@1 " -> error: no parser chose profile @1: the image has no profiles that its parser knows"#
            ]],
        );
        check(
            [None, None, Some("1")],
            Some("@1 c"),
            expect![[
                r#""@1 " -> error: no parser chose profile @1: the image has no profiles that its parser knows"#
            ]],
        );
        check(
            [Some("@1 a"), None, None],
            Some("@1 a"),
            expect![[
                r#""@1 a" -> error: no parser chose profile @1: the image has no profiles that its parser knows"#
            ]],
        );
        check(
            [Some("@1 a"), None, None],
            None,
            expect![[
                r#""@1 a" -> error: no parser chose profile @1: the image has no profiles that its parser knows"#
            ]],
        );
    }

    #[test]
    fn lines_that_no_kernel_takes_are_errors() {
        let longest = "x".repeat(LINE_MAX as usize);
        let outcome = |cmdline: &str, append: Option<&str>, profile| {
            let append = append.map(|text| text.as_bytes().to_vec());
            CmdlineRequest::new(Some(cmdline.as_bytes().to_vec()), append, profile, false)
        };
        assert!(outcome(&longest, Some(&longest), None).is_ok());
        let longer = longest.clone() + "x";
        for (cmdline, append, profile) in [
            (&*longer, None, None),
            ("", Some(&*longer), None),
            (&longest, None, Some("1")),
        ] {
            let error = outcome(cmdline, append, profile).unwrap_err();
            assert!(
                error.to_string().contains("expected at most 65536"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_line_that_is_handed_over_ends_at_its_nul_or_is_refused() {
        let line = |rope: Rope| {
            let line = read(&rope, &mut u64::MAX.clone()).unwrap();
            line.map(|line| (line.text, line.is_nothing))
        };
        assert_eq!(
            line(Rope::from(b"a b\0c".to_vec())),
            Some((b"a b".to_vec(), false))
        );
        assert_eq!(line(Rope::from(vec![0])), Some((Vec::new(), false)));
        assert_eq!(line(Rope::new()), Some((Vec::new(), true)));
        let mut longest = Rope::from(vec![b'x'; LINE_MAX as usize]);
        assert_eq!(line(longest.clone()).unwrap().0.len() as u64, LINE_MAX);
        longest.push(ukexec_bpf::Piece::Zeros(1 << 40));
        assert_eq!(line(longest).unwrap().0.len() as u64, LINE_MAX);
        assert_eq!(line(Rope::from(vec![b'x'; LINE_MAX as usize + 1])), None);
    }

    #[test]
    fn a_profile_must_be_one_word_and_given_once() {
        check(
            [None, None, Some("")],
            None,
            expect![[r#"error: "" is no profile; expected a number or an ID without blanks"#]],
        );
        check(
            [None, None, Some("a b")],
            None,
            expect![[r#"error: "a b" is no profile; expected a number or an ID without blanks"#]],
        );
        // A parser of the image's may end a word at a tab.
        check_decides(
            [Some("@1\ta"), None, None],
            None,
            &[],
            expect![[r#"error: "1\ta" is no profile; expected a number or an ID without blanks"#]],
        );
        check(
            [Some("@1 a"), None, Some("2")],
            None,
            expect![
                "error: the command line begins with @1, and profile 2 is asked for as well; give one of them"
            ],
        );
    }

    #[test]
    fn a_command_line_begins_with_a_selector_or_not() {
        let selector = |line: &'static str| {
            let selector = selector_of(line.as_bytes());
            selector.map(|it| str::from_utf8(it).unwrap())
        };
        assert_eq!(["@a", "@a b", "@a\0b"].map(selector), [Some("a"); 3]);
        assert_eq!(["", "a", "@", "@ a", " @a", "@\0"].map(selector), [None; 6]);
    }
}
