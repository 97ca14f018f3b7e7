//! Manual pages of a command and of its subcommands, from the definition of the command line.
//!
//! clap_mangen renders names, descriptions and options. Its text is corrected where `mandoc -Tlint`
//! is not content with it, and the sections that clap does not know are added.

use anyhow::{Context, Result};
use clap::builder::StyledStr;
use clap_mangen::Man;
use roff::{Roff, bold, roman};

use crate::after_help;

/// The files that both programs read or write, for people who look for them.
const FILES: &[(&str, &str)] = &[
    (
        "/etc/ukexec/ukexec.conf",
        "The configuration, described in ukexec.conf(5).",
    ),
    (
        "/etc/ukexec/parsers.d, /usr/lib/ukexec/parsers.d",
        "Parsers for more formats of images, as *.bpf.o.",
    ),
    (
        "/run/ukexec",
        "Records of the loads of this boot, for ukexec status.",
    ),
];

/// Other pages, for the pages of each command.
const SEE_ALSO: &[(&str, &str)] = &[
    (
        "kexec",
        "ukexec(8), ukexec.conf(5), kexec_file_load(2), reboot(2), systemctl(1)",
    ),
    (
        "ukexec",
        "kexec(8), ukexec.conf(5), kexec_file_load(2), systemctl(1)",
    ),
    (
        "ukexec-load",
        "ukexec-exec(8), ukexec-entries(8), ukexec-status(8), kexec_file_load(2)",
    ),
    (
        "ukexec-exec",
        "ukexec-load(8), ukexec-reboot(8), systemctl(1), reboot(2)",
    ),
    (
        "ukexec-reboot",
        "ukexec-load(8), ukexec-exec(8), systemctl(1)",
    ),
    (
        "ukexec-inspect",
        "ukexec-unfold(8), objdump(1), ukify(1), systemd-measure(1)",
    ),
    ("ukexec-entries", "ukexec-load(8), bootctl(1)"),
];

/// Returns the pages of `definition` and of all commands below it, with their names.
///
/// # Errors
///
/// A page is no text.
pub(crate) fn pages(definition: &clap::Command, date: &str) -> Result<Vec<(String, String)>> {
    let mut built = definition.clone().disable_help_subcommand(true);
    built.build();
    let mut pages = Vec::new();
    add(&built, None, date, &mut pages)?;
    Ok(pages)
}

fn add(
    command: &clap::Command,
    above: Option<&str>,
    date: &str,
    pages: &mut Vec<(String, String)>,
) -> Result<()> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    pages.push((name.to_owned(), page(command, name, above, date)?));
    for below in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        add(below, Some(name), date, pages)?;
    }
    Ok(())
}

fn page(command: &clap::Command, name: &str, above: Option<&str>, date: &str) -> Result<String> {
    let command = prepared(command, above.is_some());
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("8")
        .date(date)
        .source(concat!("ukexec ", env!("CARGO_PKG_VERSION")))
        .manual("System Administration");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let text = String::from_utf8(text).with_context(|| format!("{name}(8) is no UTF-8"))?;
    let text = text + &ending(&command, name, above);
    let preamble = Roff::new().render();
    let text = without_blank_lines(&text.replace(&preamble, ""));
    Ok(preamble + &with_subsections(&text, &command))
}

/// Returns `command` as its page shows it: with the usage that its help has, and without the
/// options that stand in the page of the program.
fn prepared(command: &clap::Command, is_below: bool) -> clap::Command {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").to_owned();
    let mut command = command
        .clone()
        .override_usage(usage)
        .subcommand_help_heading("COMMANDS")
        .mut_args(|arg| {
            let is_repeated = is_below && arg.is_global_set();
            // clap_mangen leaves out texts that a short help does not show.
            arg.hide(is_repeated).hide_short_help(false)
        });
    if is_below {
        let about = command.get_long_about().or_else(|| command.get_about());
        let about = about.map(StyledStr::to_string).unwrap_or_default();
        command = command.long_about(format!("{}.", about.trim_end_matches('.')));
    }
    command
}

/// Makes paragraphs of the blank lines in the texts of options, and of the lone breaks in front of
/// their possible values.
fn without_blank_lines(text: &str) -> String {
    text.replace(".br\n\n.br\n", ".IP\n")
        .replace("\n\n", "\n.IP\n")
}

/// Makes subsections of the options' headings, each of which is a section for clap_mangen.
fn with_subsections(text: &str, command: &clap::Command) -> String {
    let headings = command
        .get_arguments()
        .filter_map(|arg| arg.get_help_heading());
    headings.fold(text.to_owned(), |text, heading| {
        let upper = heading.to_uppercase();
        let quote = if heading.contains(' ') { "\"" } else { "" };
        text.replace(
            &format!("\n.SH {quote}{upper}{quote}\n"),
            &format!("\n.SS {quote}{heading}{quote}\n"),
        )
    })
}

/// Returns the sections behind those that clap knows.
fn ending(command: &clap::Command, name: &str, above: Option<&str>) -> String {
    let mut roff = Roff::new();
    if above.is_some() {
        roff.control("PP", []).text([
            roman("The options of the heading Output in "),
            bold("ukexec"),
            roman("(8) count for this command, too."),
        ]);
    }
    let after = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    after_help::add(
        &mut roff,
        &after.map(StyledStr::to_string).unwrap_or_default(),
    );
    if above.is_none() {
        roff.control("SH", ["FILES"]);
        for (file, meaning) in FILES {
            roff.control("TP", [])
                .text([bold(*file)])
                .text([roman(*meaning)]);
        }
    }
    let own = SEE_ALSO.iter().find(|(page, _)| *page == name);
    let above = above.map(|above| format!("{above}(8), ukexec.conf(5)"));
    let pages = own.map(|(_, pages)| (*pages).to_owned());
    let all: Vec<String> = above.into_iter().chain(pages).collect();
    roff.control("SH", ["SEE ALSO"])
        .text([roman(all.join(", "))]);
    roff.render()
}
