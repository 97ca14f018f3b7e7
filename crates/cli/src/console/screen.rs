//! The screens behind stdout and stderr, each judged by itself.

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use clap::ValueEnum;
use ukexec_loader::report::page::Screen;

/// When output has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On terminals that show them.
    Auto,
    Always,
    Never,
}

/// Returns the screen behind `stream` as it is now: terminals change their size.
pub(super) fn behind(stream: impl AsFd + IsTerminal, color: Color) -> Screen {
    let terminal = stream.is_terminal();
    screen(terminal, columns_of(stream), color, |name| {
        env::var_os(name)
    })
}

/// Returns the columns of `stream` as it is now, however few they are.
pub(super) fn columns_behind(stream: impl AsFd) -> usize {
    columns(columns_of(stream), |name| env::var_os(name))
}

fn columns_of(terminal: impl AsFd) -> Option<usize> {
    let size = terminal_size::terminal_size_of(terminal);
    size.map(|(width, _)| usize::from(width.0))
}

/// Returns the columns of a terminal, of the variable, or of a file.
fn columns(terminal: Option<usize>, variable: impl Fn(&str) -> Option<OsString>) -> usize {
    let variable = || variable("COLUMNS")?.to_str()?.parse().ok();
    // A screen without columns is none.
    let has_some = |columns: &usize| *columns > 0;
    terminal
        .filter(has_some)
        .or_else(|| variable().filter(has_some))
        .unwrap_or(Screen::FILE.width)
}

/// Returns whether a line on `stream` can be replaced by another.
pub(super) fn has_lines(stream: impl IsTerminal) -> bool {
    stream.is_terminal() && !is_dumb(|name| env::var_os(name))
}

/// Returns whether a terminal understands no escape sequences.
fn is_dumb(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    variable("TERM").is_none_or(|term| term == "dumb" || term.is_empty())
}

/// Columns of a screen: no terminal is narrower, and no line of ours need be wider.
const WIDTHS: std::ops::RangeInclusive<usize> = Screen::NARROWEST.width..=1000;

fn screen(
    terminal: bool,
    size: Option<usize>,
    color: Color,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Screen {
    let width = columns(size, &variable);
    // An empty variable is as good as none.
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(variable);
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    let charset = locale.to_str().unwrap_or_default();
    Screen {
        width: width.clamp(*WIDTHS.start(), *WIDTHS.end()),
        terminal,
        color: match color {
            Color::Auto => terminal && variable("NO_COLOR").is_none() && !is_dumb(variable),
            Color::Always => true,
            Color::Never => false,
        },
        utf8: charset.contains("utf-8") || charset.contains("utf8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the screen of a stream, where these variables are set.
    fn of(terminal: bool, columns: Option<usize>, variables: &[(&str, &str)]) -> Screen {
        screen(terminal, columns, Color::Auto, of_list(variables))
    }

    fn of_list(variables: &[(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        |name| {
            let mut variables = variables.iter();
            let (_, value) = variables.find(|(it, _)| *it == name)?;
            Some(OsString::from(value))
        }
    }

    #[test]
    fn the_terminal_says_the_width_then_a_variable() {
        let columns = [("COLUMNS", "120")];
        assert_eq!(of(true, Some(80), &columns).width, 80);
        assert_eq!(of(true, Some(20), &[]).width, 40);
        assert_eq!(of(false, None, &columns).width, 120);
        for (value, width) in [
            ("", 100),
            ("x", 100),
            ("-5", 100),
            ("0", 100),
            ("1", 40),
            ("99999", 1000),
        ] {
            assert_eq!(
                of(false, None, &[("COLUMNS", value)]).width,
                width,
                "{value}"
            );
        }
    }

    #[test]
    fn terminals_that_show_colours_get_them() {
        let term = ("TERM", "xterm");
        let colored = |terminal, variables: &[_]| of(terminal, None, variables).color;
        assert!(colored(true, &[term]));
        assert!(colored(true, &[term, ("NO_COLOR", "")]));
        assert!(!colored(true, &[term, ("NO_COLOR", "1")]));
        assert!(!colored(true, &[("TERM", "dumb")]));
        assert!(!colored(true, &[]));
        assert!(!colored(false, &[term]));
        let variables = [("TERM", "dumb"), ("NO_COLOR", "1")];
        assert!(screen(false, None, Color::Always, of_list(&variables)).color);
        assert!(!screen(true, None, Color::Never, of_list(&[term])).color);
    }

    #[test]
    fn the_locale_says_the_character_set() {
        for (variables, utf8) in [
            (&[][..], false),
            (&[("LANG", "C.UTF-8")], true),
            (&[("LANG", "de_DE.utf8")], true),
            (&[("LANG", "C.UTF-8"), ("LC_ALL", "C")], false),
            (&[("LANG", "C"), ("LC_CTYPE", "en_US.UTF-8")], true),
            (&[("LC_ALL", ""), ("LANG", "C.UTF-8")], true),
        ] {
            assert_eq!(of(false, None, variables).utf8, utf8, "{variables:?}");
        }
    }
}
